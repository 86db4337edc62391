"""Where a step's time goes on the GPU, kernel by kernel, from a run under CUPTI."""

import os
import re
import site
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

# Attention runs once for each block and branch; the text encoder's is causal.
ATTENTION = re.compile(r"^attention_(?!.*causal)")
# What the recording library says where it must.
LOST = "trace: records were lost"
PRODUCT = re.compile(r"nvjet|gemm|cutlass|splitK|cublas|^fill$", re.IGNORECASE)


def run(command: list[str], folder: Path) -> list[tuple[int, int, str]]:
    """Runs a command; start and end in ns, and the name, of all that its GPU did, in order."""
    output = folder / "trace.tsv"
    environment = {**os.environ, "CUDA_INJECTION64_PATH": str(library(folder)), "TRACE_OUTPUT": str(output)}
    folders = [str(path.parent) for path in cupti("lib", "libcupti.so.*")]
    environment["LD_LIBRARY_PATH"] = ":".join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])
    traced = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    if LOST in traced.stderr:
        raise SystemExit(f"{LOST}: take fewer steps")
    return read(output)


def library(folder: Path) -> Path:
    """The library that records, compiled with CUPTI's headers; those of CUDA must be there too."""
    source, target = Path(__file__).with_suffix(".cpp"), folder / "libtrace.so"
    headers = [path.parent for path in cupti("include", "cupti.h")]
    [linked, *_] = cupti("lib", "libcupti.so.*")
    headers.append(Path(os.environ.get("CUDA_PATH", "/usr/local/cuda")) / "include")
    flags = [f"-I{path}" for path in headers] + [f"-L{linked.parent}", f"-l:{linked.name}"]
    subprocess.run(["c++", "-O2", "-shared", "-fPIC", "-o", target, source, *flags], check=True)
    return target


def cupti(kind: str, name: str) -> list[Path]:
    """Files of CUPTI, of PyTorch's packages or of a CUDA toolkit."""
    found = [path for root in site.getsitepackages() for path in sorted(Path(root).glob(f"nvidia/*/{kind}/{name}"))]
    found += sorted(Path("/usr/local").glob(f"cuda*/extras/CUPTI/{kind}*/{name}"))
    if not found:
        raise SystemExit(f"no {name} of CUPTI found: install the CUDA toolkit or the package nvidia-cuda-cupti")
    return found


def read(path: Path) -> list[tuple[int, int, str]]:
    fields = (line.rstrip("\n").split("\t") for line in path.read_text().splitlines())
    return sorted((int(start), int(end), name) for start, end, name in fields)


def last_step(rows: list[tuple[int, int, str]], attentions: int) -> list[tuple[int, int, str]]:
    """What runs from the first attention of the last step but one to that of the last."""
    starts = [start for start, _, name in rows if ATTENTION.match(name)]
    if len(starts) < 2 * attentions or len(starts) % attentions:
        raise SystemExit(f"{len(starts)} attentions are no whole number of steps of {attentions}")
    begin, end = starts[-2 * attentions], starts[-attentions]
    return [row for row in rows if begin <= row[0] < end]


def report(step: list[tuple[int, int, str]], kernels: int = 12) -> list[str]:
    """Milliseconds of a step by what they went to, then its longest kernels."""
    parts, times, counts = Counter(), defaultdict(float), Counter()
    done = step[0][0]
    for start, end, name in step:
        parts["nothing"] += max(start - done, 0) / 1e6
        spent = max(end - max(start, done), 0) / 1e6
        done = max(done, end)
        kind = "attention" if ATTENTION.match(name) else "products" if PRODUCT.search(name) else "other kernels"
        parts[kind] += spent
        times[name] += spent
        counts[name] += 1
    total = sum(parts.values())
    line = ", ".join(f"{kind} {time:.1f} ({time / total:.0%})" for kind, time in parts.most_common())
    lines = [f"{total:.1f} ms in {len(step)} launches: {line}"]
    for name in sorted(times, key=times.get, reverse=True)[:kernels]:
        lines.append(f"{times[name]:9.2f} ms {counts[name]:5} x {1e3 * times[name] / counts[name]:7.1f} us  {name[:60]}")
    return lines
