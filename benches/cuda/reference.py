"""What the kernels compute, in float64."""

import torch
from torch import Tensor

FORMATS = {0: torch.float8_e4m3fn, 1: torch.float8_e5m2}


def fp8_decode(codes: Tensor, format: int) -> Tensor:
    return codes.view(FORMATS[format]).to(torch.float32).double()


def fp8_gemv(x, w, scale, bias, format) -> Tensor:
    y = x.double() @ fp8_decode(w, format).T * scale.double()
    return y if bias is None else y + bias.double()


def fp8_scales(x) -> Tensor:
    largest = x.double().abs().amax(-1)
    return torch.where(largest >= 1e-30, largest / 448, 1.0)


def scale_rows(y, scales, bias, gelu) -> Tensor:
    y = y.double() * scales.double()[:, None]
    y = y if bias is None else y + bias.double()
    return gelu_tanh(y) if gelu else y


def layer_norm_modulate(x, shift, scale, eps) -> Tensor:
    normal = torch.nn.functional.layer_norm(x.double(), x.shape[-1:], eps=eps)
    return normal * (1 + scale.double()[:, None]) + shift.double()[:, None]


def rms_norm(x, w, eps) -> Tensor:
    x = x.double()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w.double()


def rms_norm_rotate(x, w, cos, sin, eps, halves) -> Tensor:
    x = x.double() if w is None else rms_norm(x, w, eps)
    cos, sin = cos.double()[:, None], sin.double()[:, None]
    if halves:
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


def gelu_tanh(x) -> Tensor:
    return torch.nn.functional.gelu(x.double(), approximate="tanh")


def silu_mul(gate, up) -> Tensor:
    return torch.nn.functional.silu(gate.double()) * up.double()


def gated_add(residual, x, gate) -> Tensor:
    return residual.double() + x.double() * gate.double()[:, None]


def channel_norm(x, gamma, silu) -> Tensor:
    x = x.double()
    norm = x.norm(dim=1, keepdim=True).clamp_min(1e-12)
    y = x / norm * x.shape[1] ** 0.5 * gamma.double()[:, None]
    return torch.nn.functional.silu(y) if silu else y


def im2col(x, side, first_pixel, pixels) -> Tensor:
    columns = torch.nn.functional.unfold(x.double()[None], side, padding=side // 2)[0]
    return columns[:, first_pixel : first_pixel + pixels]


def attention(q, k, v, causal) -> Tensor:
    """Tokens that see no key get zeros."""
    group = q.shape[2] // k.shape[2]
    q, k, v = (t.double().transpose(1, 2) for t in (q, k, v))
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if causal:
        rows, keys = scores.shape[-2:]
        hidden = torch.ones(rows, keys, dtype=torch.bool, device=q.device).triu(keys - rows + 1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return (scores.softmax(-1).nan_to_num() @ v).transpose(1, 2)


def tiles(rows) -> Tensor:
    """Bytes [heads, tiles, 128, 128] as shared memory holds them: each row's chunks change places. And back."""
    row = torch.arange(128, device=rows.device)[:, None]
    places = torch.arange(8, device=rows.device) ^ row % 8
    chunks = rows.unflatten(3, (8, 16))
    return chunks.gather(3, places[None, None, :, :, None].expand(chunks.shape)).flatten(3)


def token_tiles(x) -> Tensor:
    """[1, tokens, heads, dim] as [heads, tiles, 128, 128], with zeros for what there is not."""
    _, tokens, heads, dim = x.shape
    padded = torch.zeros(-(-tokens // 128) * 128, heads, 128, dtype=x.dtype, device=x.device)
    padded[:tokens, :, :dim] = x[0]
    return padded.transpose(0, 1).unflatten(1, (-1, 128))


def fp8_values(v) -> tuple[Tensor, Tensor]:
    """Tiles of codes and powers [heads, tiles] of values [1, tokens, heads, dim]; see the kernel."""
    numbers = token_tiles(v.double())
    largest = numbers.abs().amax((2, 3))
    mantissas, exponents = torch.frexp(largest / 448)
    powers = (exponents - (mantissas == 0.5).int()).clamp(-60, 60).where(largest > 0, -60).double()
    numbers = numbers[:, :, FP8_VALUES_ORDER] * torch.exp2(-powers)[:, :, None, None]
    codes = numbers.float().to(torch.float8_e4m3fn).view(torch.uint8)
    return tiles(codes.transpose(2, 3)), powers


# The token of each code in a tile.
FP8_VALUES_ORDER = [16 * (i // 16) + 2 * (i % 16 // 4) + 8 * (i % 4 // 2) + i % 2 for i in range(128)]


def fp8_values_decoded(codes, powers) -> Tensor:
    """Back to [1, padded, heads, 128]."""
    ordered = fp8_decode(tiles(codes), 0).permute(1, 3, 0, 2)
    values = torch.empty_like(ordered)
    values[:, FP8_VALUES_ORDER] = ordered
    return (values * torch.exp2(powers.T)[:, None, :, None]).flatten(0, 1)[None]
