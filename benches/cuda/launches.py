"""Each kernel as a function of tensors: its grid and its arguments."""

import math
from collections.abc import Sequence

import torch
from launcher import Launcher

SUFFIXES = {torch.bfloat16: "bf16", torch.float32: "f32"}


def blocks(work: int, each: int) -> int:
    return -(-work // each)


def suffix(tensor: torch.Tensor) -> str:
    return SUFFIXES[tensor.dtype]


def fp8_decode(launch: Launcher, codes, out, format, bias=None, narrow_bias=None):
    tile = 256 * 4 * 16 // out.element_size()
    arguments = codes, out, codes.numel(), format
    if out.dtype == torch.bfloat16:
        outputs = 0 if bias is None else bias.numel()
        arguments += bias, narrow_bias, outputs
    launch(f"fp8_decode_{suffix(out)}", [blocks(codes.numel(), tile)], *arguments)


def fp8_quantize(launch: Launcher, x, codes, scales):
    rows, cols = x.shape
    grid = [blocks(rows, 4) if cols <= 3072 else rows]
    launch("fp8_quantize_bf16", grid, x, codes, scales, rows, cols)


def scale_rows(launch: Launcher, y, scales, bias, gelu, grid=None):
    rows, cols = y.shape
    launch("scale_rows_bf16", [grid or blocks(y.numel(), 2048)], y, scales, bias, rows, cols, int(gelu))


def fp8_gemv(launch: Launcher, x, w, scale, bias, y, format):
    (rows, inputs), outputs = x.shape, w.shape[0]
    grid = [blocks(outputs, 16 if x.dtype == torch.bfloat16 else 8), blocks(rows, 8)]
    launch(f"fp8_gemv_{suffix(x)}", grid, x, w, scale, bias, y, rows, inputs, outputs, format)


def layer_norm_modulate(launch: Launcher, x, shift, scale, y, eps):
    batch, tokens, cols = x.shape
    strides = shift.stride(0), scale.stride(0)
    grid = [blocks(tokens, 4), batch]
    launch(f"layer_norm_modulate_{suffix(x)}", grid, x, shift, scale, y, cols, tokens, *strides, eps)


def layer_norm_modulate_quantize(launch: Launcher, x, shift, scale, codes, scales, eps):
    batch, tokens, cols = x.shape
    strides = shift.stride(0), scale.stride(0)
    grid = [blocks(tokens, 4), batch]
    launch("layer_norm_modulate_quantize_bf16", grid, x, shift, scale, codes, scales, cols, tokens, *strides, eps)


def gated_add_layer_norm(launch: Launcher, residual, x, gate, shift, scale, total, y, eps):
    batch, tokens, cols = x.shape
    strides = gate.stride(0), shift.stride(0), scale.stride(0)
    tensors = residual, x, gate, shift, scale, total, y
    grid = [blocks(tokens, 4), batch]
    launch(f"gated_add_layer_norm_{suffix(x)}", grid, *tensors, cols, tokens, *strides, eps)


def gated_add_layer_norm_quantize(launch: Launcher, residual, x, gate, shift, scale, total, codes, scales, eps):
    batch, tokens, cols = x.shape
    strides = gate.stride(0), shift.stride(0), scale.stride(0)
    tensors = residual, x, gate, shift, scale, total, codes, scales
    grid = [blocks(tokens, 4), batch]
    launch("gated_add_layer_norm_quantize_bf16", grid, *tensors, cols, tokens, *strides, eps)


def rms_norm(launch: Launcher, x, w, y, eps, grid=None):
    rows, cols = x.shape
    each = 32 if cols <= 64 else 16 if cols <= 128 else 8 if cols <= 1024 else 1
    launch(f"rms_norm_{suffix(x)}", [grid or blocks(rows, each)], x, w, y, rows, cols, eps)


def rotate_blocks(tokens: int, heads: int, dim: int) -> int:
    return blocks(tokens * blocks(heads, 4), 32 if dim <= 64 else 16 if dim <= 128 else 8)


def rms_norm_rotate(launch: Launcher, x, w, cos, sin, y, eps, halves, grid=None):
    """x and y are views [batch, tokens, heads, dim] whose heads lie side by side."""
    batch, tokens, heads, dim = x.shape
    grid = [grid or rotate_blocks(tokens, heads, dim), 1, batch]
    strides = x.stride(1), y.stride(1), x.stride(0), y.stride(0)
    launch(f"rms_norm_rotate_{suffix(x)}", grid, x, w, cos, sin, y, tokens, heads, dim, *strides, eps, int(halves))


def rms_norm_rotate_joined(launch: Launcher, first, second, ys, lengths, eps, halves, grid=None):
    """`first` and `second` are each a tensor, its weight, cosines and sines; `ys` one or two results."""
    tokens, heads, dim = second[0].shape[1:]
    grid = [grid or rotate_blocks(max(lengths) + tokens, heads, dim), 1, len(ys)]
    sizes = *two_lengths(lengths), tokens, heads, dim
    launch(f"rms_norm_rotate_joined_{suffix(ys[0])}", grid, *first, *second, *one_or_two(ys), *sizes, eps, int(halves))


def rms_norm_rotate_joined_quantize(launch: Launcher, queries, keys, q, k, lengths, eps):
    """`queries` and `keys` are each two tensors with their weights, cosines and sines.

    `q` and `k`: for each of `lengths` tiles of integers, then as many times their scales [heads, tiles, 2].
    """
    tokens, heads, dim = queries[1][0].shape[1:]
    count = len(lengths)
    grid = [blocks(max(lengths) + tokens, 128), blocks(heads, 6), 2 * count]
    tiles, scales = ([one_or_two(part[i : i + count]) for part in (q, k)] for i in (0, count))
    places = [place for pairs in (tiles, scales) for pair in pairs for place in pair]
    sizes = *two_lengths(lengths), tokens, heads, dim
    parts = [part for pair in (*queries, *keys) for part in pair]
    launch("rms_norm_rotate_joined_quantize_bf16", grid, *parts, *places, *sizes, eps)


def one_or_two(parts: Sequence) -> list:
    """And None, where there is one."""
    return [*parts, None][:2]


def two_lengths(lengths: Sequence[int]) -> list[int]:
    """And 0, where there is one."""
    return [*lengths, 0][:2]


def gelu_tanh(launch: Launcher, x, y, grid=None):
    launch(f"gelu_tanh_{suffix(x)}", [grid or blocks(x.numel(), 2048)], x, y, x.numel())


def finish(launch: Launcher, y, addend, gelu, grid=None):
    launch(f"finish_{suffix(y)}", [grid or blocks(y.numel(), 2048)], y, addend, y.numel(), int(gelu))


def silu_mul(launch: Launcher, gate, up, y, grid=None):
    launch(f"silu_mul_{suffix(y)}", [grid or blocks(y.numel(), 2048)], gate, up, y, y.numel())


def gated_add(launch: Launcher, residual, x, gate, y):
    batch, tokens, cols = x.shape
    launch(f"gated_add_{suffix(x)}", [batch * tokens], residual, x, gate, y, cols, tokens, gate.stride(0))


def channel_norm(launch: Launcher, x, gamma, y, silu):
    batch, channels, plane = x.shape
    grid = [blocks(plane, 128 // x.element_size()), batch]
    launch(f"channel_norm_{suffix(x)}", grid, x, gamma, y, channels, plane, int(silu))


def im2col(launch: Launcher, x, columns, side, first_pixel):
    channels, height, width = x.shape
    pixels = columns.shape[1]
    name = f"im2col_{suffix(x)}" if x.dtype == columns.dtype else "im2col_f32_bf16"
    grid = [blocks(pixels, 1024), channels * side]
    launch(name, grid, x, columns, channels, height, width, side, first_pixel, pixels)


def attention(launch: Launcher, q, k, v, out, causal, kernel=None, rest=None):
    """Views [batch, tokens, heads, dim] whose heads lie side by side; `kernel` such as `bf16_d64`.

    `rest`: the tokens of v and of out that follow theirs, with the same strides.
    """
    batch, q_len, heads, dim = q.shape
    k_len, kv_heads = k.shape[1:3]
    if kernel is None:
        kernel = "f32" if q.dtype == torch.float32 else "bf16_d64" if dim <= 64 else "bf16_d128"
    queries = {"f32": 64, "bf16_d128_sm90": 192}.get(kernel, 128)
    grid = [blocks(q_len, queries), heads, batch]
    views = q, k, v, out
    strides = [view.stride(1) for view in views] + [view.stride(0) for view in views]
    name = f"attention_{kernel}" + ("_causal" if causal else "")
    if rest is None:
        split, rest = max(q_len, k_len), (v, out)
    else:
        split = v.shape[1]
        rest = [counted_from(part, split) for part in rest]
    launch(name, grid, *views, q_len, k_len, heads, kv_heads, dim, *strides, 1 / math.sqrt(dim), *rest, split)


def counted_from(rest, split: int) -> int:
    """The address of `rest` [1, tokens, ..] as if `split` tokens lay before it."""
    return rest.data_ptr() - split * rest.stride(1) * rest.element_size()


def fp8_quantize_values(launch: Launcher, first, second, codes, powers, lengths):
    """`first` [1, all lengths, heads, dim], `second` [lengths, tokens, heads, dim]; `codes` are tiles."""
    tokens, heads, dim = second.shape[1:]
    grid = [blocks(max(lengths) + tokens, 128), heads, len(lengths)]
    places = *one_or_two(codes), *one_or_two(powers)
    sizes = *two_lengths(lengths), tokens, heads, dim
    launch("fp8_quantize_values_bf16", grid, first, second, *places, *sizes)


def attention_quantized(launch: Launcher, q, k, v, q_scales, k_scales, powers, out, rest, scales=None):
    """`q`, `k` and `v` are tiles, the former's scales [heads, tiles, 2]; see the kernel.

    `out` and `rest` [1, tokens, heads, dim] follow each other. Where these are codes, `scales` are
    those of both parts' rows.
    """
    split, heads, dim = out.shape[1:]
    tokens = split + rest.shape[1]
    grid = [blocks(tokens, 192), heads]
    row_scales = (None, None) if scales is None else (scales[0], counted_from(scales[1], split))
    where = out, counted_from(rest, split), *row_scales, split
    tensors = q, k, v, q_scales, k_scales, powers, *where
    launch("attention_quantized_d128_sm90", grid, *tensors, tokens, heads, dim, 1 / math.sqrt(dim))
