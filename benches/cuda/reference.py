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
