"""Trains text encoder and transformer together, by flow matching on the VAE's latents."""

import json
import math

import fast_flow
import fast_vae
import nets
import samples
import torch
import torch.nn.functional as F
from clock import Clock, Log, rate
from optim import Flat, Optimizer
from samples import pack
from vae_stage import save_state

LR, MATRIX_LR = 1.5e-3, 3e-3
DROP = 0.1
QUANTISE_FROM = 0.6
# exp of this shifts the noise levels as the pipeline's schedule does for small pictures.
SHIFT = 0.5
REFRESH_EVERY = 48


def form(name: str, value) -> str:
    """How the exported file will hold a weight."""
    if not name.startswith(fast_flow.TEXT_PREFIX):
        return "plain"
    return "scaled" if value.ndim == 2 and "embed_tokens" not in name else "bf16"


def is_matrix(name: str, value) -> bool:
    if name.startswith(fast_flow.TEXT_PREFIX):
        return value.ndim == 2 and "layers" in name
    return value.ndim == 2 and name.startswith("transformer_blocks.") and "_mod.1" not in name


class Latents:
    """Encoded scenes on the device, several captions each; new ones join, then replace the oldest."""

    def __init__(self, source, vae, buckets, capacity: int, start: int, device, stats=None):
        self.source, self.vae, self.device, self.buckets = source, vae, device, list(buckets)
        self.weights = torch.tensor(list(buckets.values()))
        self.data, self.filled, self.at = {}, dict.fromkeys(self.buckets, 0), dict.fromkeys(self.buckets, 0)
        self.mean, self.std = (torch.tensor(v, device=device) for v in stats) if stats else self.statistics(buckets)
        for size, share in buckets.items():
            chunk = source.chunk
            n = max(1, round(capacity * share / chunk)) * chunk
            tokens, dtype = size[0] * size[1] // 256, torch.bfloat16
            _, ids, lengths = source.next(size)
            self.data[size] = (
                torch.zeros(n, tokens, 64, dtype=dtype, device=device),
                torch.zeros(n, *ids.shape[1:], dtype=torch.int16, device=device),
                torch.zeros(n, *lengths.shape[1:], dtype=torch.int16, device=device),
            )
            for _ in range(max(1, round(start * share / chunk))):
                self.add(size)

    @torch.no_grad()
    def encode(self, size):
        images, ids, lengths = self.source.images(size, self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
            mean, logvar = fast_vae.encode(self.vae, images.float().contiguous(memory_format=torch.channels_last) / 127.5 - 1)
        return mean.float(), logvar.float(), ids, lengths

    def statistics(self, buckets):
        """Per channel; the encoder's own uncertainty counts, so that unused channels stay small."""
        sums, count = torch.zeros(3, 16, device=self.device), 0
        for size in list(buckets)[:2] * 4:
            mean, logvar, _, _ = self.encode(size)
            parts = [mean, mean.square(), logvar.exp()]
            sums += torch.stack([part.mean((0, 2, 3)) for part in parts])
            count += 1
        first, second, noise = sums / count
        return first, (second - first.square() + noise).clamp_min(1e-6).sqrt()

    def add(self, size):
        mean, _, ids, lengths = self.encode(size)
        scaled = (mean - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)
        latents, all_ids, all_lengths = self.data[size]
        at, n = self.at[size], len(scaled)
        latents[at : at + n] = pack(scaled).to(latents.dtype)
        all_ids[at : at + n] = torch.from_numpy(ids).to(self.device)
        all_lengths[at : at + n] = torch.from_numpy(lengths).to(self.device)
        self.filled[size] = max(self.filled[size], at + n)
        self.at[size] = (at + n) % len(latents)

    def batch(self, size, count: int):
        latents, ids, lengths = self.data[size]
        rows = torch.randint(self.filled[size], (count,), device=self.device)
        which = torch.randint(ids.shape[1], (count,), device=self.device)
        return latents[rows].float(), ids[rows, which].long(), lengths[rows, which].long()


def noise_levels(count: int, device):
    """Logit-normal around the schedule's shift, one level a stratum, with a few uniform ones."""
    spread = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    spread = spread[torch.randperm(count, device=device)]
    normal = torch.sigmoid(SHIFT + 1.0 * math.sqrt(2) * torch.erfinv((2 * spread - 1).clamp(-0.9999, 0.9999)))
    return torch.where(torch.rand(count, device=device) < 0.15, spread, normal).clamp(1e-3, 1)


class Prompts:
    """Adds the template's prefix, and empties some prompts for guidance."""

    def __init__(self, encoder, device):
        self.prefix = torch.tensor(encoder.prefix, device=device)
        ids, lengths = encoder([" ", ""])
        self.empty_ids = torch.from_numpy(ids).long().to(device)
        self.empty_lengths = torch.from_numpy(lengths).long().to(device)

    def drop(self, ids, lengths):
        dropped = torch.rand(len(ids), device=ids.device) < DROP
        which = (torch.rand(len(ids), device=ids.device) < 0.25).long()
        ids = torch.where(dropped[:, None], self.empty_ids[which], ids)
        return ids, torch.where(dropped, self.empty_lengths[which], lengths)

    def full(self, ids):
        return torch.cat([self.prefix.expand(len(ids), -1), ids], 1)


def loss_of(weights, size, prompts, grid, x0, ids, lengths):
    ids, lengths = prompts.drop(ids, lengths)
    embeds = fast_flow.text_embeds(weights, prompts.full(ids), len(prompts.prefix), size["text_layers"])
    noise, sigma = torch.randn_like(x0), noise_levels(len(x0), x0.device)
    x = torch.lerp(x0, noise, sigma.view(-1, 1, 1))
    out = fast_flow.velocity(weights, x, sigma, embeds, lengths, grid, size)
    return F.mse_loss(out, noise - x0)


def count_of(size, batch: int) -> int:
    tokens = size[0] * size[1] // 256
    return max(4, min(round(batch * 256 / tokens), batch * 2) // 4 * 4)


def train(out, source, size, buckets, seconds, batch, capacity, start, device, compiled, every=120):
    """Leaves out/flow.pt: averaged weights in bf16, and the latents' statistics."""
    log = Log(out, "flow", ["seconds", "step", "loss", "grad_norm", "lr", "quantised"])
    cuda = device.startswith("cuda")
    encoder = source.encoder
    vae = nets.vae(size).eval()
    vae.load_state_dict(torch.load(out / "vae.pt"))
    vae.to(device)
    transformer, text = nets.transformer(size), nets.text_encoder(size, encoder.tokenizer)
    fast_flow.check(transformer, text, size, encoder)
    if compiled:
        fast_flow.use_compiler()
        fast_vae.use_compiler()
    words = {k: v for k, v in text.state_dict().items() if k.startswith(fast_flow.TEXT_PREFIX)}
    flat = Flat({**words, **transformer.state_dict()}, form, device)
    optimizer = Optimizer(flat, is_matrix, LR, MATRIX_LR)
    average, step, spent = flat.master.detach().clone(), 0, 0.0
    state_path = out / "state" / "flow.pt"
    if state_path.exists():
        state = torch.load(state_path, map_location=device)
        flat.master.data.copy_(state["master"])
        average, step, spent = state["average"], state["step"], state["spent"]
        optimizer.load(state["optimizer"])
    if step:
        log.say(f"resumed at step {step}, {spent:.0f} s")
    clock = Clock(seconds, spent)
    stats_path = out / "stats.json"
    known = json.loads(stats_path.read_text()) if stats_path.exists() else None
    pool = Latents(source, vae, buckets, capacity, start, device, known and (known["mean"], known["std"]))
    prompts = Prompts(encoder, device)
    stats = dict(mean=pool.mean.tolist(), std=pool.std.tolist())
    stats_path.write_text(json.dumps(stats))
    log.say(f"{sum(pool.filled.values())} scenes encoded; {flat.master.numel()} weights; latents' std {[round(s, 2) for s in stats['std']]}")

    def light():
        weights = {name: view.bfloat16().cpu().clone() for name, view in flat.dict(average).items()}
        save_state(dict(weights=weights, stats=stats, step=step), out / "flow.pt")

    def show():
        weights = {name: view.clone() for name, view in flat.dict(flat.rounded(average)).items()}
        samples.grid(weights, vae, stats, size, encoder, out / "samples.png", list(buckets), device)

    torch.manual_seed(2)
    chooser = torch.Generator().manual_seed(2)
    saved, total, seen = clock.spent(), torch.zeros(2, device=device), 0
    window = clock.spent()
    while (fraction := clock.fraction()) < 1:
        pick = pool.buckets[torch.multinomial(pool.weights, 1, generator=chooser)]
        grid = (pick[1] // 16, pick[0] // 16)
        quantised = fraction > QUANTISE_FROM
        weights = flat.used(quantised, torch.bfloat16 if cuda else torch.float32)
        loss = loss_of(weights, size, prompts, grid, *pool.batch(pick, count_of(pick, batch)))
        flat.master.grad = None
        loss.backward()
        norm = optimizer.step(rate(fraction, hold=0.45))
        step += 1
        with torch.no_grad():
            average.lerp_(flat.master, 1 - min(0.9993, (1 + step) / (10 + step)))
            total += torch.stack([loss.detach(), norm])
        seen += 1
        if step % 50 == 0:
            value, norm = (total / seen).tolist()
            total.zero_()
            seen = 0
            log.row(seconds=clock.spent(), step=step, loss=value, grad_norm=norm, lr=LR * rate(fraction, hold=0.45), quantised=quantised)
            each, window = 1000 * (clock.spent() - window) / 50, clock.spent()
            if step % 500 == 0 or seconds < 100:
                log.say(f"step {step} {100 * fraction:.0f} % loss {value:.4f} norm {norm:.2f}, {each:.1f} ms a step")
        if step % REFRESH_EVERY == 0:
            turn = torch.multinomial(pool.weights, 1, generator=chooser)
            pool.add(pool.buckets[turn])
        if clock.spent() - saved > every:
            saved = clock.spent()
            state = dict(master=flat.master.data, average=average, optimizer=optimizer.state(), step=step, spent=saved)
            log.attempt("saving", save_state, state, state_path)
            log.attempt("saving", light)
            log.attempt("samples", show)
    light()
    log.attempt("samples", show)
    log.say(f"done after {step} steps")
