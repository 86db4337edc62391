"""What PyTorch computes for each criterion benchmark.

A unit builds the peers of some benchmarks one after the other, so that never more than one
block's weights are in memory. Weights are the classes' own random initialisation, whose small
values keep activations in the range of the real model; the time does not depend on them.
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d
from diffusers.models.transformers.transformer_qwenimage import QwenEmbedRope, QwenImageTransformerBlock
from safetensors import safe_open
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLDecoderLayer, Qwen2_5_VLRotaryEmbedding

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "reference"))

import real_headers  # noqa: E402

TEXT_TOKENS = 64


@dataclass
class Peer:
    name: str
    # More than one where ours differ in how they store the weights only.
    benchmarks: list[str]
    run: Callable[[], object]


@dataclass
class Unit:
    benchmarks: list[str]
    build: Callable[[], Iterator[Peer]]


def units() -> list[Unit]:
    """Every unit, in the order of the table."""
    shapes = [(256, 3072, 12288), (1024, 3072, 3072), (1, 3072, 18432)]
    return [
        *(Unit(linear_names(*shape), partial(linear, *shape)) for shape in shapes),
        Unit([f"transformer_block/{tokens}" for tokens in (256, 1024)], transformer_block),
        Unit([f"text_encoder_layer/{tokens}" for tokens in (64, 512)], text_encoder_layer),
        Unit(["vae_decoder/256"], vae_decoder),
        Unit(["header/transformer_1933"], header),
    ]


def linear_names(rows: int, inputs: int, outputs: int) -> list[str]:
    return [f"linear/{kind}_{rows}x{inputs}x{outputs}" for kind in ("fp8", "f32", "bf16")]


def linear(rows: int, inputs: int, outputs: int) -> Iterator[Peer]:
    """PyTorch has no linear layer of FP8 weights on the CPU: its user holds them as f32, or as
    FP8 at a conversion per call.
    """
    fp8, f32, bf16 = linear_names(rows, inputs, outputs)
    x = torch.randn(rows, inputs)
    weight = torch.randn(outputs, inputs) * 0.02
    bias = torch.randn(outputs) * 0.02
    yield Peer("torch f32", [fp8, f32, bf16], partial(F.linear, x, weight, bias))

    packed = weight.to(torch.float8_e4m3fn)
    yield Peer("torch: fp8 -> f32 at each call", [fp8], lambda: F.linear(x, packed.to(torch.float32), bias))

    halves = [tensor.to(torch.bfloat16) for tensor in (x, weight, bias)]
    yield Peer("torch bf16", [bf16], partial(F.linear, *halves))


def transformer_block() -> Iterator[Peer]:
    block = QwenImageTransformerBlock(dim=3072, num_attention_heads=24, attention_head_dim=128).eval()
    # The tables of angles are made once for all steps and blocks, and so stay outside.
    rope = QwenEmbedRope(theta=10000, axes_dim=[16, 56, 56], scale_rope=True)
    text = torch.randn(1, TEXT_TOKENS, 3072)
    temb = torch.randn(1, 3072)
    for side in (16, 32):
        image = torch.randn(1, side * side, 3072)
        angles = rope([(1, side, side)], device=torch.device("cpu"), max_txt_seq_len=TEXT_TOKENS)
        # No mask: the pipeline drops one that hides nothing.
        yield Peer(
            "diffusers",
            [f"transformer_block/{side * side}"],
            partial(block, image, text, encoder_hidden_states_mask=None, temb=temb, image_rotary_emb=angles),
        )


def text_encoder_layer() -> Iterator[Peer]:
    config = Qwen2_5_VLTextConfig(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=1,
        num_attention_heads=28,
        num_key_value_heads=4,
        rms_norm_eps=1e-6,
        rope_parameters=dict(rope_theta=1000000.0, rope_type="default", mrope_section=[16, 24, 24]),
        attn_implementation="sdpa",
    )
    layer = Qwen2_5_VLDecoderLayer(config, layer_idx=0).eval()
    rope = Qwen2_5_VLRotaryEmbedding(config)
    for tokens in (64, 512):
        x = torch.randn(1, tokens, 3584)
        angles = rope(x, torch.arange(tokens).expand(3, 1, tokens))
        # Without a mask, as the model calls it for a prompt without padding, SDPA is causal.
        yield Peer("transformers", [f"text_encoder_layer/{tokens}"], partial(layer, x, position_embeddings=angles))


class LastTap(torch.nn.Module):
    """What a causal 3-D convolution does to a single frame: earlier frames are zero padding, so
    only the kernel's last temporal tap meets data.
    """

    def __init__(self, conv: QwenImageCausalConv3d):
        super().__init__()
        self.weight = torch.nn.Parameter(conv.weight[:, :, -1].contiguous())
        self.bias = conv.bias
        self.padding = conv._padding[2], conv._padding[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x.squeeze(2), self.weight, self.bias, padding=self.padding).unsqueeze(2)


def vae_decoder() -> Iterator[Peer]:
    """diffusers convolves two frames of padding with every image; the second peer, which does
    not, is the fair one.
    """
    vae = AutoencoderKLQwenImage().eval()
    latent = torch.randn(1, 16, 1, 32, 32)
    yield Peer("diffusers, 3-D convolutions", ["vae_decoder/256"], partial(vae.decode, latent))

    expected = vae.decode(latent).sample
    for module in list(vae.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, QwenImageCausalConv3d):
                setattr(module, name, LastTap(child))

    def flat() -> torch.Tensor:
        # Not through `decode`, which hands the convolutions a cache of earlier frames.
        return vae.decoder(vae.post_quant_conv(latent)).clamp(-1, 1)

    torch.testing.assert_close(flat(), expected, atol=1e-4, rtol=1e-4)
    yield Peer("diffusers, last temporal tap in 2-D", ["vae_decoder/256"], flat)


def header() -> Iterator[Peer]:
    """Opens a file with the transformer's header, maps it and lists its keys."""
    source = real_headers.LISTS / "qwen_image_fp8_e4m3fn.txt"
    keys = real_headers.unpack(source.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transformer.safetensors"
        write_sparse(path, keys)

        def parse() -> list[str]:
            with safe_open(path, framework="pt") as file:
                return file.keys()

        assert sorted(parse()) == sorted(keys) and len(keys) == 1933
        yield Peer("safetensors safe_open", ["header/transformer_1933"], parse)


def write_sparse(path: Path, keys: dict[str, tuple[str, tuple[int, ...]]]):
    """Writes the header and, as a hole, the data: the reader checks the file's length."""
    sizes = {"F8_E4M3": 1, "BF16": 2, "F32": 4}
    ends = list(itertools.accumulate(sizes[dtype] * prod(shape) for dtype, shape in keys.values()))
    entries = {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        for (name, (dtype, shape)), start, end in zip(keys.items(), [0, *ends], ends)
    }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + ends[-1])
