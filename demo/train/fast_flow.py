"""Text encoder and transformer as plain functions of a dict of weights.

The same numbers as the classes compute (`check` compares them), in a form that torch.compile
takes well: no complex numbers, no caches, padded prompts masked out.
"""

import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F

TEXT_PREFIX = "model.language_model."


def rms(x, weight, eps=1e-6):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps) * weight.float()).to(x.dtype)


def heads(x, n):
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def text_rope(length, dim, device):
    inverse = 1e6 ** (-torch.arange(0, dim, 2, device=device).float() / dim)
    angle = torch.arange(length, device=device).float()[:, None] * inverse
    return torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)


def rotate_halves(x, cos, sin):
    a, b = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat([-b, a], -1) * sin).to(x.dtype)


def text_layer(x, cos, sin, w):
    h = rms(x, w["input_layernorm.weight"])
    q = heads(F.linear(h, w["self_attn.q_proj.weight"], w["self_attn.q_proj.bias"]), 4)
    k = heads(F.linear(h, w["self_attn.k_proj.weight"], w["self_attn.k_proj.bias"]), 2)
    v = heads(F.linear(h, w["self_attn.v_proj.weight"], w["self_attn.v_proj.bias"]), 2)
    q, k = rotate_halves(q, cos, sin), rotate_halves(k, cos, sin)
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + F.linear(h.transpose(1, 2).flatten(2), w["self_attn.o_proj.weight"])
    h = rms(x, w["post_attention_layernorm.weight"])
    gate = F.silu(F.linear(h, w["mlp.gate_proj.weight"])) * F.linear(h, w["mlp.up_proj.weight"])
    return x + F.linear(gate, w["mlp.down_proj.weight"])


def image_rope(tokens_h, tokens_w, text, axes, device):
    """Angles (text + image tokens, head_dim / 2)."""
    inverse = [10000 ** (-torch.arange(0, axis, 2, device=device).float() / axis) for axis in axes]
    y = torch.arange(tokens_h, device=device).float() - (tokens_h - tokens_h // 2)
    x = torch.arange(tokens_w, device=device).float() - (tokens_w - tokens_w // 2)
    parts = [
        torch.zeros(tokens_h, tokens_w, len(inverse[0]), device=device),
        (y[:, None] * inverse[1])[:, None].expand(-1, tokens_w, -1),
        (x[:, None] * inverse[2])[None].expand(tokens_h, -1, -1),
    ]
    image = torch.cat(parts, -1).flatten(0, 1)
    words = max(tokens_h // 2, tokens_w // 2) + torch.arange(text, device=device).float()
    angle = torch.cat([words[:, None] * torch.cat(inverse), image])
    return angle.cos(), angle.sin()


def rotate_pairs(x, cos, sin):
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).to(x.dtype)


def layer_norm(x, shift, scale):
    wide = F.layer_norm(x.float(), x.shape[-1:], eps=1e-6)
    return (wide * (1 + scale.float()) + shift.float()).to(x.dtype)


def linear(x, w, name):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def qkv(x, w, names, norms, n):
    q, k, v = (heads(linear(x, w, f"attn.{name}"), n) for name in names)
    return rms(q, w[f"attn.{norms[0]}.weight"]), rms(k, w[f"attn.{norms[1]}.weight"]), v


def mlp(x, w, name):
    return linear(F.gelu(linear(x, w, f"{name}.net.0.proj"), approximate="tanh"), w, f"{name}.net.2")


def block(x, txt, temb, cos, sin, mask, w, n: int):
    ix = linear(temb, w, "img_mod.1").unsqueeze(1).chunk(6, dim=-1)
    tx = linear(temb, w, "txt_mod.1").unsqueeze(1).chunk(6, dim=-1)
    iq, ik, iv = qkv(layer_norm(x, *ix[:2]), w, ("to_q", "to_k", "to_v"), ("norm_q", "norm_k"), n)
    tq, tk, tv = qkv(
        layer_norm(txt, *tx[:2]), w, ("add_q_proj", "add_k_proj", "add_v_proj"), ("norm_added_q", "norm_added_k"), n
    )
    q = rotate_pairs(torch.cat([tq, iq], 2), cos, sin)
    k = rotate_pairs(torch.cat([tk, ik], 2), cos, sin)
    out = F.scaled_dot_product_attention(q, k, torch.cat([tv, iv], 2), attn_mask=mask)
    out = out.transpose(1, 2).flatten(2)
    words = txt.shape[1]
    x = x + ix[2] * linear(out[:, words:], w, "attn.to_out.0")
    txt = txt + tx[2] * linear(out[:, :words], w, "attn.to_add_out")
    x = x + ix[5] * mlp(layer_norm(x, *ix[3:5]), w, "img_mlp")
    txt = txt + tx[5] * mlp(layer_norm(txt, *tx[3:5]), w, "txt_mlp")
    return x, txt


TEXT_LAYER, BLOCK = text_layer, block


def use_compiler():
    global TEXT_LAYER, BLOCK
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch._dynamo.config.recompile_limit = 64
    TEXT_LAYER, BLOCK = torch.compile(text_layer), torch.compile(block)


@contextmanager
def eager():
    """Runs without the compiler, for the odd shapes of sampling."""
    global TEXT_LAYER, BLOCK
    kept = TEXT_LAYER, BLOCK
    TEXT_LAYER, BLOCK = text_layer, block
    try:
        yield
    finally:
        TEXT_LAYER, BLOCK = kept


def part(weights, prefix):
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def text_embeds(weights, ids, prefix: int, layers: int):
    """Embeddings of what follows the template's prefix, after the final norm."""
    w = part(weights, TEXT_PREFIX)
    x = F.embedding(ids, w["embed_tokens.weight"])
    cos, sin = text_rope(ids.shape[1], x.shape[-1] // 4, ids.device)
    for i in range(layers):
        x = TEXT_LAYER(x, cos, sin, part(w, f"layers.{i}."))
    return rms(x, w["norm.weight"])[:, prefix:]


def time_embedding(sigma, w):
    freqs = torch.exp(-math.log(10000) * torch.arange(128, device=sigma.device) / 128)
    arg = 1000 * sigma[:, None].float() * freqs
    h = torch.cat([arg.cos(), arg.sin()], -1).to(w["proj_out.weight"].dtype)
    h = F.silu(linear(h, w, "time_text_embed.timestep_embedder.linear_1"))
    return linear(h, w, "time_text_embed.timestep_embedder.linear_2")


def velocity(w, x, sigma, embeds, lengths, grid, size):
    """`x` holds packed latents (batch, tokens, 64), `lengths` each prompt's number of embeddings."""
    dtype = w["proj_out.weight"].dtype
    words = embeds.shape[1]
    temb = F.silu(time_embedding(sigma, w))
    cos, sin = image_rope(*grid, words, size["axes"], x.device)
    keep = torch.arange(words, device=x.device) < lengths[:, None]
    mask = F.pad(keep, (0, x.shape[1]), value=True)[:, None, None]
    txt = linear(rms(embeds, w["txt_norm.weight"]), w, "txt_in")
    x = linear(x.to(dtype), w, "img_in")
    for i in range(size["layers"]):
        x, txt = BLOCK(x, txt, temb, cos, sin, mask, part(w, f"transformer_blocks.{i}."), size["heads"])
    scale, shift = linear(temb, w, "norm_out.linear").unsqueeze(1).chunk(2, dim=-1)
    return linear(layer_norm(x, shift, scale), w, "proj_out").float()


@torch.no_grad()
def check(transformer, text, size, encoder):
    """Fails if this differs from what the classes compute (on random modulation, so that it shows)."""
    from copy import deepcopy

    transformer = deepcopy(transformer).eval()
    for name, parameter in transformer.named_parameters():
        if "_mod.1." in name or name.startswith(("norm_out.", "proj_out.")):
            parameter.normal_(0, 0.2)
    ids, lengths = encoder(["a red circle", "two small stars above a house"])
    prefix = len(encoder.prefix)
    full = torch.tensor([encoder.prefix + list(map(int, row)) for row in ids])
    lengths = torch.from_numpy(lengths).long()
    weights = {**text.state_dict(), **transformer.state_dict()}
    embeds = text_embeds(weights, full, prefix, size["text_layers"])
    x, sigma, grid = torch.randn(2, 6 * 5, 64), torch.tensor([0.3, 0.9]), (6, 5)
    out = velocity(weights, x, sigma, embeds, lengths, grid, size)
    for i, n in enumerate(lengths.tolist()):
        states = text(input_ids=full[i : i + 1, : prefix + n], output_hidden_states=True).hidden_states[-1][:, prefix:]
        torch.testing.assert_close(embeds[i : i + 1, :n], states, atol=1e-4, rtol=1e-4)
        want = transformer(
            hidden_states=x[i : i + 1], encoder_hidden_states=states, timestep=sigma[i : i + 1], img_shapes=[[(1, *grid)]]
        ).sample
        torch.testing.assert_close(out[i : i + 1], want, atol=1e-4, rtol=1e-4)
