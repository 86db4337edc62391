"""Writes safetensors files byte for byte reproducibly.

The official writer keeps `__metadata__` in a hash map, so a file with two metadata
entries may differ from run to run. Reading is left to the official library, which thereby
checks what is written here.
"""

import json
from pathlib import Path

import torch

DTYPE_NAMES = {
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float32: "F32",
    torch.int64: "I64",
    torch.uint8: "U8",
}


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None):
    """Writes `tensors` in their given order, but with wide element types first.

    That order keeps every tensor aligned to its element size, as the official writer does.
    """
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, tensor in ordered:
            if tensor.numel():
                file.write(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
