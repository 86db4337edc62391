"""Launches the compiled kernels by name.

The table says how each kernel is launched; the engine in Rust does the same.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_int, c_longlong, c_uint, c_void_p
from dataclasses import dataclass

import torch
from compiler import CudaError, compile_cubin

POINTER, INT, LONG, FLOAT = c_void_p, c_int, c_longlong, c_float
LETTERS = {"p": POINTER, "i": INT, "l": LONG, "f": FLOAT}


@dataclass(frozen=True)
class Kernel:
    """`arguments`: a letter each, see LETTERS. `threads`: a block's. `shared`: dynamic shared memory in bytes.

    `only`: the one architecture that has it. `since`: the oldest, as 89.
    """

    arguments: str
    threads: int
    shared: int = 0
    only: str | None = None
    since: int = 0


def both(name: str, kernel: Kernel) -> dict[str, Kernel]:
    return {f"{name}_{dtype}": kernel for dtype in ("bf16", "f32")}


# q, k, v, out, q_len, k_len, heads, kv_heads, dim, token strides of the four, batch strides, scale,
# the other tokens of v and of out, and where they begin
ATTENTION = "ppppiiiiillllllllfppi"

KERNELS: dict[str, Kernel] = {
    "fp8_decode_bf16": Kernel("pplippi", 256),
    "fp8_decode_f32": Kernel("ppli", 256),
    "fp8_quantize_bf16": Kernel("pppii", 128, since=89),
    "scale_rows_bf16": Kernel("ppplii", 256),
    "fp8_gemv_bf16": Kernel("pppppiiii", 256),
    "fp8_gemv_f32": Kernel("pppppiiii", 128),
    **both("layer_norm_modulate", Kernel("ppppiillf", 128)),
    "layer_norm_modulate_quantize_bf16": Kernel("pppppiillf", 128, since=89),
    **both("gated_add_layer_norm", Kernel("pppppppiilllf", 128)),
    "gated_add_layer_norm_quantize_bf16": Kernel("ppppppppiilllf", 128, since=89),
    **both("rms_norm", Kernel("ppplif", 256)),
    **both("rms_norm_rotate", Kernel("pppppiiillllfi", 256)),
    **both("rms_norm_rotate_joined", Kernel("ppppppppppiiiiifi", 256)),
    "rms_norm_rotate_joined_quantize_bf16": Kernel("p" * 24 + "iiiiif", 512),
    **both("gelu_tanh", Kernel("ppl", 256)),
    **both("finish", Kernel("ppli", 256)),
    **both("silu_mul", Kernel("pppl", 256)),
    **both("gated_add", Kernel("ppppiil", 128)),
    **both("channel_norm", Kernel("pppili", 256)),
    **both("im2col", Kernel("ppiiiill", 128)),
    "im2col_f32_bf16": Kernel("ppiiiill", 128),
    "fp8_quantize_values_bf16": Kernel("ppppppiiiii", 256, since=89),
    "attention_quantized_d128_sm90": Kernel("ppppppppppiiiif", 512, 204944, "sm_90a"),
    **{
        f"attention_{name}{causal}": Kernel(ATTENTION, threads, shared, only)
        for name, threads, shared, only in (
            ("bf16_d128", 128, 65536, None),
            ("bf16_d128_narrow", 128, 49152, None),
            ("bf16_d128_sm90", 512, 180288, "sm_90a"),
            ("bf16_d64", 128, 32768, None),
            ("f32", 256, 76800, None),
        )
        for causal in ("", "_causal")
    },
}


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
            if kernel.only not in (None, self.architecture) or kernel.since > 10 * major + minor:
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
