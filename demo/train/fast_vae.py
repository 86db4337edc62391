"""The VAE on single frames as plain 2-D convolutions: the same numbers as the class computes, faster."""

import torch
import torch.nn.functional as F

EPS = 1e-12


def norm_silu(x, gamma):
    return F.silu(norm(x, gamma))


def norm(x, gamma):
    wide = x.float()
    length = wide.square().sum(1, keepdim=True).sqrt().clamp_min(EPS)
    return (wide / length * (x.shape[1] ** 0.5 * gamma.float().view(1, -1, 1, 1))).to(x.dtype)


ACTIVATION = norm_silu


def rows_norm_silu(rows, gamma):
    wide = rows.float()
    length = wide.square().sum(1, keepdim=True).sqrt().clamp_min(EPS)
    return F.silu(wide / length * (rows.shape[1] ** 0.5 * gamma.float())).to(rows.dtype)


def use_compiler():
    """One fused kernel for norm and activation, compiled once for each number of channels.

    Expects channels-last memory, where a pixel's channels are one row.
    """
    global ACTIVATION
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch._dynamo.config.recompile_limit = 64
    fused = torch.compile(rows_norm_silu)

    def activation(x, gamma):
        b, c, h, w = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, c)
        torch._dynamo.mark_dynamic(rows, 0)
        return fused(rows, gamma.flatten()).view(b, h, w, c).permute(0, 3, 1, 2)

    ACTIVATION = activation


def conv(module, x):
    return F.conv2d(x, module.weight[:, :, -1], module.bias, padding=module.weight.shape[-1] // 2)


def residual(block, x):
    skip = x if isinstance(block.conv_shortcut, torch.nn.Identity) else conv(block.conv_shortcut, x)
    x = conv(block.conv1, ACTIVATION(x, block.norm1.gamma))
    return conv(block.conv2, ACTIVATION(x, block.norm2.gamma)) + skip


def attention(block, x):
    b, c, h, w = x.shape
    qkv = block.to_qkv(norm(x, block.norm.gamma)).flatten(2).transpose(1, 2).unsqueeze(1)
    out = F.scaled_dot_product_attention(*(part.contiguous() for part in qkv.chunk(3, dim=-1)))
    return block.proj(out.squeeze(1).transpose(1, 2).reshape(b, c, h, w)) + x


def middle(block, x):
    return residual(block.resnets[1], attention(block.attentions[0], residual(block.resnets[0], x)))


def down(block, x):
    return F.conv2d(F.pad(x, (0, 1, 0, 1)), block.resample[1].weight, block.resample[1].bias, stride=2)


def up(block, x):
    return block.resample[1](F.interpolate(x, scale_factor=2.0, mode="nearest"))


def encode(vae, x):
    """Mean and log variance of the latents of images in [-1, 1]."""
    coder = vae.encoder
    x = conv(coder.conv_in, x)
    for block in coder.down_blocks:
        x = down(block, x) if hasattr(block, "resample") else residual(block, x)
    x = middle(coder.mid_block, x)
    x = conv(coder.conv_out, ACTIVATION(x, coder.norm_out.gamma))
    return conv(vae.quant_conv, x).chunk(2, dim=1)


def decode(vae, z):
    coder = vae.decoder
    x = middle(coder.mid_block, conv(coder.conv_in, conv(vae.post_quant_conv, z)))
    for block in coder.up_blocks:
        for part in block.resnets:
            x = residual(part, x)
        if block.upsamplers is not None:
            x = up(block.upsamplers[0], x)
    return conv(coder.conv_out, ACTIVATION(x, coder.norm_out.gamma))


def check(vae):
    """Fails if this differs from what the class computes."""
    x = torch.rand(1, 3, 48, 32) * 2 - 1
    with torch.no_grad():
        posterior = vae.encode(x.unsqueeze(2)).latent_dist
        mean, logvar = encode(vae, x)
        image = vae.decode(posterior.mean).sample[:, :, 0]
        torch.testing.assert_close(mean, posterior.mean[:, :, 0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(decode(vae, mean).clamp(-1, 1), image, atol=1e-4, rtol=1e-4)
