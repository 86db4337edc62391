"""All weights in one flat buffer: fake FP8, averaging and both optimisers are then a few kernels."""

import torch

ALIGN = 64
E4M3 = torch.float8_e4m3fn
E4M3_MAX = 448.0


class Flat:
    """`weights` maps names to tensors; `form(name, tensor)` says how the file will hold it:
    "plain" FP8, "scaled" FP8, or "bf16"."""

    def __init__(self, weights: dict, form, device):
        self.names = list(weights)
        self.shapes = [weights[name].shape for name in self.names]
        self.sizes = [-(-shape.numel() // ALIGN) * ALIGN for shape in self.shapes]
        forms = [form(name, weights[name]) for name in self.names]
        self.master = torch.zeros(sum(self.sizes), device=device)
        for view, name in zip(self.views(self.master), self.names):
            view.copy_(weights[name])
        repeat = torch.tensor(self.sizes, device=device)
        self.segment = torch.repeat_interleave(torch.arange(len(forms), device=device), repeat)
        self.scaled = [i for i, f in enumerate(forms) if f == "scaled"]
        self.scaled_rows = torch.tensor(self.scaled, device=device)
        self.fp8 = torch.tensor([f != "bf16" for f in forms], device=device)[self.segment]
        self.master.requires_grad_()

    def views(self, flat):
        parts = flat.split(self.sizes)
        return [part[: shape.numel()].view(shape) for part, shape in zip(parts, self.shapes)]

    def dict(self, flat) -> dict:
        return dict(zip(self.names, self.views(flat)))

    @torch.no_grad()
    def rounded(self, flat):
        """What the exported files will hold for these values."""
        views = self.views(flat)
        peaks = torch.stack(torch._foreach_norm([views[i] for i in self.scaled], torch.inf))
        scales = torch.ones(len(views), device=flat.device)
        scales[self.scaled_rows] = peaks.clamp_min(1e-6) / E4M3_MAX
        scale = scales[self.segment]
        eight = (flat / scale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3).float() * scale
        return torch.where(self.fp8, eight, flat.bfloat16().float())

    def used(self, quantised: bool, dtype):
        """The weights for a training step; gradients pass the rounding straight through."""
        flat = self.master
        if quantised:
            flat = flat + (self.rounded(flat.detach()) - flat.detach())
        return self.dict(flat.to(dtype))


def orthogonal(x, steps=5):
    """Newton-Schulz iteration towards the nearest orthogonal matrices (a batch of them)."""
    tall = x.shape[-2] > x.shape[-1]
    x = (x.mT if tall else x).to(torch.bfloat16 if x.is_cuda else torch.float32)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    """Muon for the matrices inside the blocks, Adam for everything else."""

    def __init__(self, flat: Flat, is_matrix, lr: float, matrix_lr: float, decay: float = 0.02):
        self.flat, self.lr, self.matrix_lr, self.decay = flat, lr, matrix_lr, decay
        self.first, self.second = torch.zeros_like(flat.master), torch.zeros_like(flat.master)
        self.momentum = torch.zeros_like(flat.master)
        self.steps, self.groups = 0, {}
        mark = torch.zeros_like(flat.master)
        for i, (name, view) in enumerate(zip(flat.names, flat.views(mark))):
            if is_matrix(name, view):
                view.fill_(1)
                self.groups.setdefault(tuple(view.shape), []).append(i)
        self.by_muon = mark > 0

    def state(self):
        return dict(first=self.first, second=self.second, momentum=self.momentum, steps=self.steps)

    def load(self, state):
        self.first, self.second, self.momentum, self.steps = (state[k] for k in ("first", "second", "momentum", "steps"))

    @torch.no_grad()
    def step(self, factor: float, clip: float = 1.0) -> torch.Tensor:
        master, grad = self.flat.master, self.flat.master.grad
        norm = grad.norm()
        grad.mul_((clip / (norm + 1e-6)).clamp(max=1.0).nan_to_num(0.0))
        grad.nan_to_num_(0.0)
        self.steps += 1
        self.first.lerp_(grad, 0.1)
        self.second.lerp_(grad.square(), 0.01)
        ahead = (self.first / (1 - 0.9**self.steps)) / ((self.second / (1 - 0.99**self.steps)).sqrt() + 1e-8)
        change = ahead * (self.lr * factor)
        self.momentum.lerp_(grad, 0.05)
        nesterov = self.flat.views(grad.lerp(self.momentum, 0.95))
        targets = self.flat.views(change)
        for shape, rows in self.groups.items():
            update = orthogonal(torch.stack([nesterov[i] for i in rows]))
            update *= 0.2 * max(shape) ** 0.5 * self.matrix_lr * factor
            torch._foreach_copy_([targets[i] for i in rows], list(update.unbind(0)))
        change = torch.where(self.by_muon, change + master * (self.decay * self.matrix_lr * factor), change)
        master.sub_(change)
        return norm


class ConvOptimizer:
    """Muon for a network's convolutions (the tap that single frames see, as a matrix), AdamW for the rest."""

    def __init__(self, named_parameters, lr: float, matrix_lr: float, skip=("conv_in", "conv_out")):
        self.lr, self.matrix_lr, self.groups, rest = lr, matrix_lr, {}, []
        for name, p in named_parameters:
            if p.ndim >= 4 and p.shape[-1] > 1 and not any(part in name for part in skip) and "time_conv" not in name:
                shape = (p.shape[0], p.shape[1] * p.shape[-1] * p.shape[-2])
                self.groups.setdefault(shape, []).append(p)
            else:
                rest.append(p)
        self.adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0, fused=rest[0].is_cuda)
        self.momentum = {shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.groups.items()}

    def state_dict(self):
        return dict(adam=self.adam.state_dict(), momentum=self.momentum)

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        self.momentum = state["momentum"]

    @torch.no_grad()
    def step(self, factor: float):
        for group in self.adam.param_groups:
            group["lr"] = self.lr * factor
        self.adam.step()
        for shape, parameters in self.groups.items():
            grad = torch.stack([last_tap(p.grad).reshape(shape) for p in parameters])
            self.momentum[shape].lerp_(grad, 0.05)
            update = orthogonal(grad.lerp(self.momentum[shape], 0.95))
            update *= -0.2 * max(shape) ** 0.5 * self.matrix_lr * factor
            for p, change in zip(parameters, update):
                tap = last_tap(p)
                tap.add_(change.view(tap.shape))


def last_tap(p):
    return p[:, :, -1] if p.ndim == 5 else p
