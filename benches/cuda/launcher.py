"""Launches the compiled kernels by name.

The table beside the kernels says how each one is launched; the engine in Rust reads it too.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_int, c_longlong, c_uint, c_void_p
from dataclasses import dataclass

import torch
from compiler import FOLDER, CudaError, compile_cubin

POINTER, INT, LONG, FLOAT = c_void_p, c_int, c_longlong, c_float
LETTERS = {"p": POINTER, "i": INT, "l": LONG, "f": FLOAT}


@dataclass(frozen=True)
class Kernel:
    """`arguments`: a letter each, see LETTERS. `threads`: a block's. `shared`: dynamic shared memory in bytes.

    `architectures`: `any`, `89+` for those from 8.9 on, or `90a` for Hopper alone.
    """

    arguments: str
    threads: int
    shared: int
    architectures: str

    def is_in(self, major: int, minor: int) -> bool:
        return {"any": True, "89+": (major, minor) >= (8, 9), "90a": (major, minor) == (9, 0)}[self.architectures]


def table() -> dict[str, Kernel]:
    kernels = {}
    for line in (FOLDER / "launches.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, arguments, threads, shared, architectures = line.split()
            kernels[name] = Kernel(arguments, int(threads), int(shared), architectures)
    return kernels


KERNELS = table()


class Launcher:
    """The kernels on torch's current device; they run on torch's current stream."""

    def __init__(self) -> None:
        torch.zeros(1, device="cuda")  # makes the primary context current
        major, minor = torch.cuda.get_device_capability()
        self.architecture = f"sm_{major}{minor}" + ("a" if major == 9 else "")
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.cuda.cuLaunchKernel.argtypes = [c_void_p, *[c_uint] * 7, c_void_p, c_void_p, c_void_p]
        self.image = compile_cubin(self.architecture)
        self.module = c_void_p()
        self.check("cuModuleLoadData", self.cuda.cuModuleLoadData(byref(self.module), self.image))
        self.functions = {}
        for name, kernel in KERNELS.items():
            if not kernel.is_in(major, minor):
                continue
            function = c_void_p()
            self.check(name, self.cuda.cuModuleGetFunction(byref(function), self.module, name.encode()))
            if kernel.shared > 48 * 1024:
                # 8 is CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                self.check(name, self.cuda.cuFuncSetAttribute(function, 8, kernel.shared))
            self.functions[name] = function

    def check(self, what: str, status: int) -> None:
        if status:
            text = c_char_p()
            self.cuda.cuGetErrorString(status, byref(text))
            raise CudaError(f"{what}: {(text.value or b'unknown error').decode()} ({status})")

    def has(self, name: str) -> bool:
        return name in self.functions

    def __call__(self, name: str, grid: Sequence[int], *arguments, threads: int | None = None) -> None:
        """Tensors pass as pointers to their first element, None as a null pointer."""
        kernel = KERNELS[name]
        values = pack(name, arguments)
        pointers = (c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        x, y, z = (*grid, 1, 1)[:3]
        stream = torch.cuda.current_stream().cuda_stream
        status = self.cuda.cuLaunchKernel(
            self.functions[name], x, y, z, threads or kernel.threads, 1, 1, kernel.shared, stream, pointers, None
        )
        self.check(name, status)


def pack(name: str, arguments: Sequence) -> list:
    letters = KERNELS[name].arguments
    if len(letters) != len(arguments):
        raise TypeError(f"{name} takes {len(letters)} arguments, not {len(arguments)}")
    values = []
    for letter, argument in zip(letters, arguments):
        if isinstance(argument, torch.Tensor):
            if letter != "p":
                raise TypeError(f"{name}: a tensor where {letter} is expected")
            argument = argument.data_ptr()
        values.append(LETTERS[letter](argument))
    return values
