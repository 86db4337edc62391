"""Porting mistakes, made on purpose in the reference."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Callable
from unittest.mock import patch

import torch
from diffusers.models.transformers import transformer_qwenimage
from diffusers.pipelines.qwenimage import pipeline_qwenimage
from peft.utils.other import get_pattern_key

import loras

BLOCK = transformer_qwenimage.QwenImageTransformerBlock


@dataclass
class Mistake:
    name: str
    make: Callable  # (pipe, ExitStack) -> None; what it enters is undone afterwards
    cases: tuple[str, ...] = ("base",)

    @contextmanager
    def made_in(self, pipe):
        with ExitStack() as stack:
            self.make(pipe, stack)
            yield


class TorchBut:
    """The torch module as one other module sees it, with some functions exchanged."""

    def __init__(self, **changed):
        self.__dict__.update(changed)

    def __getattr__(self, name):
        return getattr(torch, name)


def erf_gelu(pipe, _stack):
    for module in pipe.transformer.modules():
        if hasattr(module, "approximate"):
            module.approximate = "none"


def wrong_eps(kind: str):
    def make(pipe, _stack):
        for name, module in pipe.transformer.named_modules():
            is_layer_norm = isinstance(module, torch.nn.LayerNorm)
            if hasattr(module, "eps") and {
                "layer": is_layer_norm,
                "qk": ".attn.norm_" in name,
                "txt": name == "txt_norm",
            }[kind]:
                module.eps = 1e-5

    return make


def wrong_text_eps(pipe, _stack):
    for module in pipe.text_encoder.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1e-5


def swapped_modulation(_pipe, stack):
    right = BLOCK._modulate

    def swapped(self, x, params, index=None):
        shift, scale, gate = params.chunk(3, dim=-1)
        return right(self, x, torch.cat([scale, shift, gate], dim=-1), index)

    stack.enter_context(patch.object(BLOCK, "_modulate", swapped))


def swapped_final_modulation(pipe, _stack):
    linear = pipe.transformer.norm_out.linear
    linear.weight.data = linear.weight.data.roll(linear.out_features // 2, 0)
    linear.bias.data = linear.bias.data.roll(linear.out_features // 2, 0)


def drop_one_less(pipe, _stack):
    pipe.prompt_template_encode_start_idx -= 1


def wrong_norm(norm: Callable):
    def make(_pipe, stack):
        stack.enter_context(patch.object(pipeline_qwenimage, "torch", TorchBut(norm=norm)))

    return make


def no_stretch(pipe, _stack):
    pipe.scheduler.register_to_config(shift_terminal=None)


def default_shift(pipe, _stack):
    pipe.scheduler.register_to_config(max_shift=1.15, max_image_seq_len=4096)


def sin_before_cos(pipe, _stack):
    pipe.transformer.time_text_embed.time_proj.flip_sin_to_cos = False


def before_final_norm(pipe, stack):
    norm = pipe.text_encoder.model.language_model.norm
    stack.callback(norm.register_forward_hook(lambda _module, inputs, _out: inputs[0]).remove)


def rolled_rope(part: int):
    def make(pipe, stack):
        def roll(_module, _inputs, out):
            out = list(out)
            out[part] = out[part].roll(1, 0)
            return tuple(out)

        stack.callback(pipe.transformer.pos_embed.register_forward_hook(roll).remove)

    return make


def half_split_rotation(_pipe, stack):
    right = transformer_qwenimage.apply_rotary_emb_qwen

    def wrong(x, freqs, use_real=True):
        half = x.shape[-1] // 2
        pairs = torch.stack([x[..., :half], x[..., half:]], dim=-1).flatten(-2)
        out = right(pairs, freqs, use_real=use_real)
        return torch.cat([out[..., 0::2], out[..., 1::2]], dim=-1)

    stack.enter_context(patch.object(transformer_qwenimage, "apply_rotary_emb_qwen", wrong))


def image_before_text(_pipe, stack):
    """Concatenating [image, text] is harmless by itself; splitting it as [text, image] is not."""

    def cat(tensors, dim=0):
        streams = dim == 1 and tensors[0].ndim == 4
        return torch.cat(list(tensors)[::-1] if streams else tensors, dim)

    stack.enter_context(patch.object(transformer_qwenimage, "torch", TorchBut(cat=cat)))


def centre_tap(pipe, _stack):
    for module in pipe.vae.decoder.modules():
        if isinstance(module, torch.nn.Conv3d) and module.kernel_size[0] == 3:
            module.weight.data = module.weight.data.roll(1, 2)


def bilinear_upsampling(pipe, _stack):
    for module in pipe.vae.decoder.modules():
        if isinstance(module, torch.nn.Upsample):
            module.mode = "bilinear"


def ignored_input_bias(pipe, _stack):
    pipe.transformer.img_in.bias.data.zero_()


def alpha_ignored(pipe, _stack):
    """Products scaled by 1 instead of alpha over the rank."""
    for name, parameter in pipe.transformer.named_parameters():
        before = pipe.before_loras[name]
        parameter.data = before + (parameter.data - before) * (loras.RANK / loras.ALPHA)


def patterns_ignored(pipe, _stack):
    """The products of layers with an alpha of their own scaled by that of the others."""
    for name, parameter in pipe.transformer.named_parameters():
        before = pipe.before_loras[name]
        alpha = loras.ALPHAS.get(get_pattern_key(loras.ALPHAS, name.removesuffix(".weight")), loras.RANK)
        parameter.data = before + (parameter.data - before) * (loras.RANK / alpha)


def merged_into_fp8(pipe, _stack):
    """Products added to the weights, and those rounded to FP8 again."""
    for parameter in pipe.transformer.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.to(torch.float8_e4m3fn).to(parameter.dtype)


MISTAKES = [
    Mistake("erf GELU", erf_gelu, ("base", "head128")),
    Mistake("LayerNorm eps 1e-5", wrong_eps("layer"), ("base", "tiny_activations")),
    Mistake("q/k norm eps 1e-5", wrong_eps("qk"), ("base", "tiny_activations")),
    Mistake("txt_norm eps 1e-5", wrong_eps("txt"), ("base", "tiny_activations")),
    Mistake("text RMSNorm eps 1e-5", wrong_text_eps, ("base", "tiny_activations")),
    Mistake("shift and scale swapped", swapped_modulation),
    Mistake("final shift/scale swapped", swapped_final_modulation),
    Mistake("drop index off by one", drop_one_less),
    Mistake("no renormalisation", wrong_norm(lambda x, **_: torch.ones_like(x[..., :1]))),
    Mistake("global renormalisation", wrong_norm(lambda x, **_: torch.norm(x))),
    Mistake("no terminal stretch", no_stretch),
    Mistake("default shift parameters", default_shift),
    Mistake("sin before cos", sin_before_cos),
    Mistake("before the final norm", before_final_norm),
    Mistake("image rope off by one", rolled_rope(0), ("odd_grid", "head128")),
    Mistake("text rope off by one", rolled_rope(1), ("base", "head128")),
    Mistake("half-split rotation", half_split_rotation, ("base", "head128")),
    Mistake("image before text", image_before_text),
    Mistake("centre temporal tap", centre_tap),
    Mistake("bilinear upsampling", bilinear_upsampling),
    Mistake("img_in bias ignored", ignored_input_bias),
    Mistake("alpha ignored", alpha_ignored, ("lora", "lightning")),
    Mistake("alphas by layer ignored", patterns_ignored, ("lora_patterns",)),
    Mistake("LoRA merged into FP8", merged_into_fp8, ("lora", "lightning")),
]
