"""Compiles the CUDA sources with NVRTC, which needs no GPU.

    python benches/cuda/compiler.py sm_80 sm_89 sm_90a sm_120a

Needs libnvrtc: of a CUDA toolkit, of PyTorch's packages, or of the package nvidia-cuda-nvrtc.
"""

import ctypes
import re
import site
import sys
import time
from ctypes import byref, c_char_p, c_size_t, c_void_p
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "backends" / "src" / "cuda" / "kernels"

# The engine says which files are one program, and in which order.
SOURCES = re.findall(r'include_str!\("kernels/([^"]+)"\)', (FOLDER.parent / "compile.rs").read_text())



class CudaError(RuntimeError):
    """A call of the driver or of NVRTC failed."""


def source() -> str:
    """The one program; its messages name the files."""
    return "".join(f'#line 1 "{name}"\n{(FOLDER / name).read_text()}' for name in SOURCES)


def compile_cubin(architecture: str) -> bytes:
    """Machine code for an architecture such as `sm_89`; no headers are needed."""
    nvrtc = load_nvrtc()
    program = c_void_p()
    status = nvrtc.nvrtcCreateProgram(byref(program), source().encode(), b"kernels.cu", 0, None, None)
    if status:
        raise CudaError(f"nvrtcCreateProgram: error {status}")
    options = (c_char_p * 2)(f"--gpu-architecture={architecture}".encode(), b"--std=c++17")
    status = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = nvrtc_bytes(nvrtc, program, "ProgramLog").rstrip(b"\0").decode()
    if log.strip():
        print(log, file=sys.stderr)
    if status:
        raise CudaError(f"nvrtcCompileProgram: error {status}")
    return nvrtc_bytes(nvrtc, program, "CUBIN")


def nvrtc_bytes(nvrtc: ctypes.CDLL, program: c_void_p, what: str) -> bytes:
    size = c_size_t()
    status = getattr(nvrtc, f"nvrtcGet{what}Size")(program, byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    status = status or getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    if status:
        raise CudaError(f"nvrtcGet{what}: error {status}")
    return buffer.raw


def load_nvrtc() -> ctypes.CDLL:
    names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]
    folders = [Path(folder) for folder in (*site.getsitepackages(), *sys.path) if folder]
    found = [path for folder in folders for path in sorted(folder.glob("nvidia/*/lib/libnvrtc.so.1?"))]
    found += sorted(Path("/usr/local").glob("cuda*/lib64/libnvrtc.so.1?"))
    for name in [*names, *map(str, found)]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CudaError("no libnvrtc found: install the CUDA toolkit or the package nvidia-cuda-nvrtc")


def main() -> int:
    for architecture in sys.argv[1:]:
        start = time.monotonic()
        try:
            size = len(compile_cubin(architecture))
        except CudaError as error:
            print(f"{architecture}: {error}", file=sys.stderr)
            return 1
        print(f"{architecture}: {size // 1024} KiB in {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
