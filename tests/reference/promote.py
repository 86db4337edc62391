"""Runs torch code that asks for float32 in float64 instead, to see what rounding costs."""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode


class Promote(TorchFunctionMode):
    """Turns every request for float32 (`.float()`, `.to(torch.float32)`, `dtype=`) into float64."""

    active = True

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.active:
            if func is torch.Tensor.float:
                func = torch.Tensor.double
            args = [promoted(value) for value in args]
            kwargs = {key: promoted(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


def promoted(value):
    return torch.float64 if value is torch.float32 else value


@contextmanager
def in_float64(pipe, keep_float32):
    """Casts the pipeline to float64 for a while; the modules in `keep_float32` compute as before.

    Angles (time embedding, rope) belong there: their float32 rounding is part of the definition.
    """
    parts = (pipe.transformer, pipe.text_encoder, pipe.vae)
    mode = Promote()
    handles = []
    for module in keep_float32:
        handles.append(module.register_forward_pre_hook(lambda *_: setattr(mode, "active", False)))
        handles.append(module.register_forward_hook(lambda *_: setattr(mode, "active", True)))
    for part in parts:
        part.double()
    try:
        with mode:
            yield
    finally:
        for part in parts:
            part.float()
        for handle in handles:
            handle.remove()
