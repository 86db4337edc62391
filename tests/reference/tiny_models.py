"""The tiny random models: configurations and seeded weights.

Weights come from numpy's PCG64, keyed by tensor name, so they depend neither on torch's
generator nor on the order in which modules are built.
"""

import zlib

import numpy as np
import torch
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

TEXT_HIDDEN = 32

TRANSFORMERS = {
    "small": dict(num_layers=2, num_attention_heads=2, attention_head_dim=16, axes_dims_rope=(4, 6, 6)),
    # One head of the real width, so that the real rope axes are exercised at a small size.
    "head128": dict(num_layers=1, num_attention_heads=1, attention_head_dim=128, axes_dims_rope=(16, 56, 56)),
    "tiny_activations": dict(
        num_layers=1, num_attention_heads=2, attention_head_dim=16, axes_dims_rope=(4, 6, 6)
    ),
}

# Residual streams of the "tiny_activations" models have about this size, so that their
# variance (1e-7) is below the 1e-6 that the norms add to it.
TINY = 3e-4


def transformer(name: str) -> QwenImageTransformer2DModel:
    model = QwenImageTransformer2DModel(
        in_channels=64, out_channels=16, patch_size=2, joint_attention_dim=TEXT_HIDDEN, **TRANSFORMERS[name]
    )
    fill(model, f"transformer/{name}", transformer_tensor)
    if name == "tiny_activations":
        shrink(model, ["img_in", "txt_in", "to_out.0", "to_add_out", "mlp.net.2"], TINY)
        shrink(model, ["to_q", "to_k", "add_q_proj", "add_k_proj"], TINY)
    return model


def text_config(tokenizer) -> Qwen2_5_VLConfig:
    """A config with a few more embedding rows than the tokenizer has tokens, as in the real one."""
    ids = {token: tokenizer.convert_tokens_to_ids(f"<|{token}|>") for token in SPECIAL_IDS}
    vocab = -(-len(tokenizer) // 16) * 16 + 16
    return Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=vocab,
            hidden_size=TEXT_HIDDEN,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-6,
            max_position_embeddings=4096,
            rope_parameters=dict(rope_theta=1000000.0, rope_type="default", mrope_section=[2, 1, 1]),
            bos_token_id=ids["endoftext"],
            eos_token_id=ids["im_end"],
        ),
        vision_config=dict(
            depth=2,
            hidden_size=16,
            intermediate_size=24,
            num_heads=2,
            patch_size=4,
            window_size=16,
            out_hidden_size=TEXT_HIDDEN,
            fullatt_block_indexes=[1],
        ),
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )


SPECIAL_IDS = ["endoftext", "im_end", "image_pad", "video_pad", "vision_start", "vision_end"]


def text_encoder(name: str, tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    model = Qwen2_5_VLForConditionalGeneration(text_config(tokenizer))
    fill(model, f"text_encoder/{name}", text_tensor)
    if name == "tiny_activations":
        shrink(model, ["embed_tokens", "o_proj", "down_proj"], TINY)
        # Small embeddings reach the transformer's own text norm, whose epsilon then matters too.
        shrink(model, ["language_model.norm"], 1e-3)
    return model.eval()


def vae() -> AutoencoderKLQwenImage:
    # Everything else, the latents' mean and deviation among it, is the class's default: the real values.
    model = AutoencoderKLQwenImage(base_dim=4)
    fill(model, "vae/small", vae_tensor)
    return model.eval()


@torch.no_grad()
def fill(model, seed: str, rule):
    """Gives every parameter of `model` the value that `rule` makes from a generator of its own."""
    for name, parameter in model.named_parameters():
        keys = [zlib.crc32(seed.encode()), zlib.crc32(name.encode())]
        rng = np.random.Generator(np.random.PCG64(keys))
        normal = rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
        parameter.copy_(torch.from_numpy(rule(name, normal)))


@torch.no_grad()
def shrink(model, layers: list[str], factor: float):
    for name, parameter in model.named_parameters():
        if any(name.rsplit(".", 1)[0].endswith(layer) for layer in layers):
            parameter.mul_(factor)


def norm_weight(normal):
    return np.clip(1 + 0.3 * normal, 0.3, 2.0)


def linear_weight(normal, gain):
    return normal * (gain / np.sqrt(normal.shape[1]))


def transformer_tensor(name, normal):
    modulation = "_mod.1" in name or name.startswith("norm_out")
    if normal.ndim == 1 and "norm" in name and not modulation:
        return norm_weight(normal)
    if normal.ndim == 1:
        return normal * (0.4 if modulation else 0.2)
    # GELU and SiLU halve what passes through them: the layer behind makes up for it. Wide GELU
    # inputs are where its tanh and erf forms differ.
    gains = {"net.0.proj.weight": 2.5, "net.2.weight": 2.0, "linear_2.weight": 1.5}
    gain = next((gain for layer, gain in gains.items() if name.endswith(layer)), 1.0)
    return linear_weight(normal, gain)


def text_tensor(name, normal):
    if "norm" in name or "ln_q" in name:
        return norm_weight(normal)
    if normal.ndim == 1:
        return normal * 0.2
    if "embed_tokens" in name:
        return normal
    fan_in = normal.reshape(normal.shape[0], -1)
    return linear_weight(fan_in, 1.5 if "down_proj" in name else 1.0).reshape(normal.shape)


def vae_tensor(name, normal):
    if name.endswith("gamma"):
        return norm_weight(normal)
    # Few channels make for pixels whose features nearly vanish, and normalising those would
    # blow rounding errors up. Strong biases and calm residual branches keep them away from zero.
    if normal.ndim == 1:
        return normal * (0.1 if name == "decoder.conv_out.bias" else 0.4)
    # A single frame sees one temporal tap only, but all taps get the same size, so that
    # using a wrong one shows.
    fan_in = normal.shape[1] * int(np.prod(normal.shape[-2:]))
    if name == "decoder.conv_out.weight":
        gain = 0.8  # keeps the image inside [-1, 1] but for a few pixels
    else:
        gain = 0.75
    return normal * (gain / np.sqrt(fan_in))
