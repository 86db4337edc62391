"""Trains the VAE on pictures drawn on the fly."""

import fast_vae
import nets
import torch
import torch.nn.functional as F
from clock import Clock, Log, rate
from optim import ConvOptimizer

LR, MATRIX_LR = 2e-3, 3e-3
# Information that a latent number may carry (nats); the weight of the KL term is steered towards it.
KL_TARGET = 1.4
EQUIVARIANCE = 0.1
# From here on without bf16, whose rounding is as large as the errors that are left.
PRECISE_FROM = 0.6


def picture_loss(error):
    """L1 at several scales and on the edges."""
    loss = error.abs().mean() + error.square().mean()
    for scale in (2, 4, 8):
        loss = loss + 0.5 * F.avg_pool2d(error, scale).abs().mean()
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return loss + edges


class Pool:
    """Drawn pictures, kept on the device; new ones replace the oldest."""

    def __init__(self, source, buckets, scenes: int, device):
        self.source, self.buckets, self.device = source, list(buckets), device
        self.weights = list(buckets.values())
        self.images, self.at = {}, dict.fromkeys(self.buckets, 0)
        for size, share in buckets.items():
            chunks = max(1, round(scenes * share / source.chunk))
            self.images[size] = torch.cat([source.images(size, device)[0] for _ in range(chunks)])

    def refresh(self, size):
        fresh = self.source.images(size, self.device)[0]
        images, at = self.images[size], self.at[size]
        images[at : at + len(fresh)] = fresh
        self.at[size] = (at + len(fresh)) % len(images)

    def batch(self, size, count: int):
        images = self.images[size]
        rows = torch.randint(len(images), (count,), device=images.device)
        return images[rows].float() / 127.5 - 1


def count_of(size, batch: int) -> int:
    """As many pictures as have the pixels of `batch` square ones."""
    return max(2, round(batch * 65536 / (size[0] * size[1])))


def loss_of(vae, x, kl_weight, equivariance: float):
    mean, logvar = fast_vae.encode(vae, x)
    mean, logvar = mean.float(), logvar.float().clamp(-12, 8)
    z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
    error = fast_vae.decode(vae, z).float() - x
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    loss = picture_loss(error) + kl_weight * kl
    if equivariance > 0:  # half the latents must draw half the picture: smoother latents are easier to generate
        n = max(1, len(x) // 4)
        half = fast_vae.decode(vae, F.avg_pool2d(z[:n], 2)).float() - F.avg_pool2d(x[:n], 2)
        loss = loss + equivariance * half.abs().mean()
    return loss, error.detach().abs().mean(), kl.detach()


def train(out, source, size, buckets, seconds: float, batch: int, scenes: int, device, compiled: bool):
    """Leaves out/vae.pt: the averaged weights."""
    log = Log(out, "vae", ["seconds", "step", "loss", "l1", "kl", "kl_weight", "lr"])
    vae = nets.vae(size)
    fast_vae.check(vae)
    vae.to(device)
    cuda = device.startswith("cuda")
    if compiled:
        fast_vae.use_compiler()
    optimizer = ConvOptimizer(vae.named_parameters(), LR, MATRIX_LR)
    average = {name: value.clone() for name, value in vae.state_dict().items()}
    step, kl_weight, spent = 0, 1e-3, 0.0
    state_path = out / "state" / "vae.pt"
    if state_path.exists():
        state = torch.load(state_path, map_location=device)
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, step, spent, kl_weight = state["average"], state["step"], state["spent"], state["kl_weight"]
        log.say(f"resumed at step {step}, {spent:.0f} s")
    clock = Clock(seconds, spent)
    pool = Pool(source, buckets, scenes, device)
    log.say(f"{sum(map(len, pool.images.values()))} pictures drawn")
    torch.backends.cudnn.benchmark = True
    generator = torch.Generator().manual_seed(1)
    saved, sums, seen = clock.spent(), torch.zeros(3, device=device), 0
    window = clock.spent()
    while (fraction := clock.fraction()) < 1:
        pick = pool.buckets[torch.multinomial(torch.tensor(pool.weights), 1, generator=generator)]
        x = pool.batch(pick, count_of(pick, batch)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda" if cuda else "cpu", torch.bfloat16, enabled=cuda and fraction < PRECISE_FROM):
            loss, l1, kl = loss_of(vae, x, kl_weight, EQUIVARIANCE if fraction < 0.7 else 0)
        vae.zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step(rate(fraction))
        step += 1
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), [v.detach() for v in vae.state_dict().values()], 1 - decay)
        sums += torch.stack([loss.detach(), l1, kl])
        seen += 1
        if step % 20 == 0:
            value, l1, kl = (sums / seen).tolist()
            sums.zero_()
            seen = 0
            kl_weight = min(max(kl_weight * (1.05 if kl > KL_TARGET else 0.95), 1e-6), 3e-2)
            log.row(seconds=clock.spent(), step=step, loss=value, l1=l1, kl=kl, kl_weight=kl_weight, lr=LR * rate(fraction))
            each, window = 1000 * (clock.spent() - window) / 20, clock.spent()
            if step % 400 == 0 or seconds < 100:
                log.say(f"step {step} {100 * fraction:.0f} % loss {value:.4f} l1 {l1:.4f} kl {kl:.3f} weight {kl_weight:.1e}, {each:.1f} ms a step")
        if step % 25 == 0:
            pool.refresh(pool.buckets[(step // 25) % len(pool.buckets)])
        if clock.spent() - saved > 120:
            saved = clock.spent()
            state = dict(model=vae.state_dict(), optimizer=optimizer.state_dict(), average=average, step=step,
                         spent=saved, kl_weight=kl_weight)  # fmt: skip
            log.attempt("saving", save_state, state, state_path)
            log.attempt("picture", grid, vae, average, pool, out / "vae.png")
    vae.load_state_dict(average)
    vae.eval()
    log.attempt("picture", grid, vae, average, pool, out / "vae.png")
    torch.save({name: value.detach().bfloat16().cpu().contiguous() for name, value in average.items()}, out / "vae.pt")
    log.say(f"done after {step} steps")


def save_state(state, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


@torch.no_grad()
def grid(vae, average, pool, path):
    """Pictures above what the averaged weights make of them."""
    from PIL import Image

    kept = {name: value.clone() for name, value in vae.state_dict().items()}
    vae.load_state_dict(average)
    x = pool.images[pool.buckets[0]][:8].float() / 127.5 - 1
    y = fast_vae.decode(vae, fast_vae.encode(vae, x)[0])
    vae.load_state_dict(kept)
    rows = torch.cat([torch.cat(list(part), dim=2) for part in (x, y.float())], dim=1)
    image = ((rows * 0.5 + 0.5).clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(image).save(path)
