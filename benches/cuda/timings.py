"""Times the hot kernels at the model's sizes, each beside what PyTorch offers for the same work."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import launches
import torch
from launcher import Launcher
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

BF16 = torch.bfloat16
DIM, HEADS, HEAD_DIM = 3072, 24, 128
# Image and text of 1024x1024 and of 1328x1328 pixels.
TOKENS = 4096 + 77
IMAGE_TOKENS = 4096
# Inputs take turns among so many bytes, more than any cache holds.
ROTATION = 400e6
TARGET_SECONDS = 0.03


@dataclass
class Work:
    """`ours` and `peer` run variant i of `variants`. `bytes` moved and `flops` done in one run."""

    name: str
    variants: int
    ours: Callable[[int], object]
    peer: Callable[[int], object] | None
    peer_name: str = ""
    bytes: float = 0
    flops: float = 0


def seconds(run: Callable[[int], object], variants: int) -> float:
    """Of one run, the median of several replays of a graph, which leaves out the launches' own cost."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for i in range(min(variants, 3)):
            run(i)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run(0)
        end.record()
    torch.cuda.synchronize()
    once = max(begin.elapsed_time(end) * 1e-3, 2e-6)
    runs = max(1, min(200, int(TARGET_SECONDS / 5 / once)))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(runs):
            run(i % variants)
    graph.replay()
    times = []
    for _ in range(5):
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3 / runs)
    graph.reset()
    return sorted(times)[len(times) // 2]


def rows(launch: Launcher) -> Iterator[str]:
    yield f"{'':46} {'ours':>9} {'rate':>14} {'peer':>9} {'ours/peer':>9}  peer"
    for make in (device_copy, fp8, norms, tokens, activations, convolution, attention):
        for work in make(launch):
            ours = seconds(work.ours, work.variants)
            rate = f"{work.flops / ours / 1e12:8.0f} TFLOP/s" if work.flops else f"{work.bytes / ours / 1e9:8.0f} GB/s  "
            line = f"{work.name:46} {ours * 1e6:7.1f}us {rate:>16}"
            if work.peer is not None:
                try:
                    peer = seconds(work.peer, work.variants)
                    line += f" {peer * 1e6:7.1f}us {ours / peer:9.2f}  {work.peer_name}"
                except RuntimeError as error:
                    line += f"  {work.peer_name}: {str(error).splitlines()[0]}"
            yield line


def variants(bytes: float) -> int:
    return max(2, min(40, int(ROTATION / bytes) + 1))


def random(*shape: int, dtype=BF16) -> torch.Tensor:
    return torch.randn(shape, device="cuda", dtype=dtype)


def device_copy(_: Launcher) -> Iterator[Work]:
    x = [random(500_000_000) for _ in range(2)]
    yield Work("device copy (torch)", 1, lambda i: x[1].copy_(x[0]), None, bytes=2e9)


def fp8(launch: Launcher) -> Iterator[Work]:
    for outputs, inputs in ((12288, 3072), (18432, 3072), (3584, 18944)):
        n = outputs * inputs
        count = variants(3 * n)
        codes = [torch.randint(0, 120, (outputs, inputs), dtype=torch.uint8, device="cuda") for _ in range(count)]
        out = torch.empty(outputs, inputs, dtype=BF16, device="cuda")
        yield Work(
            f"fp8_decode_bf16 {outputs}x{inputs}",
            count,
            lambda i: launches.fp8_decode(launch, codes[i], out, 0),
            lambda i: out.copy_(codes[i].view(torch.float8_e4m3fn)),
            "torch .to(bfloat16)",
            bytes=3 * n,
        )
        if outputs != 18432:
            continue
        scale = torch.ones(1, device="cuda")
        for batch in (1, 2, 8):
            x, y = random(batch, inputs), random(batch, outputs)
            weights = [code.view(torch.float8_e4m3fn).to(BF16) for code in codes]
            yield Work(
                f"fp8_gemv_bf16 {batch} x {outputs}x{inputs}",
                count,
                lambda i: launches.fp8_gemv(launch, x, codes[i], scale, None, y, 0),
                lambda i: functional.linear(x, weights[i]),
                "torch linear on bf16 weights",
                bytes=n,
            )


def norms(launch: Launcher) -> Iterator[Work]:
    for batch, count in ((1, TOKENS), (2, IMAGE_TOKENS)):
        yield from layer_norms(launch, batch, count)
    moved = 2 * TOKENS * DIM * 2
    count = variants(moved)
    x, y = random(count, TOKENS, DIM), random(TOKENS, DIM)
    w = random(DIM, dtype=torch.float32)
    yield Work(
        f"rms_norm_bf16 {TOKENS}x{DIM}",
        count,
        lambda i: launches.rms_norm(launch, x[i], w, y, 1e-6),
        lambda i: functional.rms_norm(x[i], (DIM,), w.to(BF16), 1e-6),
        "rms_norm",
        bytes=moved,
    )


def layer_norms(launch: Launcher, batch: int, tokens: int) -> Iterator[Work]:
    rows = batch * tokens
    elements = rows * DIM
    count = variants(4 * elements)
    # Results take turns too: what stays in a cache is written again for less.
    x, residual, total, y = ([random(batch, tokens, DIM) for _ in range(count)] for _ in range(4))
    modulation = random(batch, 6 * DIM)
    gate, shift, scale = (modulation[:, i * DIM : (i + 1) * DIM] for i in range(3))
    shape = f"{rows}x{DIM}"

    def norm(i: int) -> None:
        launches.layer_norm_modulate(launch, x[i], shift, scale, y[i], 1e-6)

    def add(i: int) -> None:
        launches.gated_add(launch, residual[i], x[i], gate, total[i])

    def add_norm(i: int) -> None:
        launches.gated_add_layer_norm(launch, residual[i], x[i], gate, shift, scale, total[i], y[i], 1e-6)

    def add_then_norm(i: int) -> None:
        add(i)
        launches.layer_norm_modulate(launch, total[i], shift, scale, y[i], 1e-6)

    yield Work(
        f"layer_norm_modulate_bf16 {shape}",
        count,
        norm,
        lambda i: functional.layer_norm(x[i], (DIM,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None],
        "layer_norm, mul, add",
        bytes=4 * elements,
    )
    yield Work(
        f"gated_add_bf16 {shape}",
        count,
        add,
        lambda i: torch.addcmul(residual[i], x[i], gate[:, None]),
        "addcmul",
        bytes=6 * elements,
    )
    yield Work(f"gated_add_layer_norm_bf16 {shape}", count, add_norm, add_then_norm, "the two", bytes=8 * elements)
    if not launch.has("fp8_quantize_bf16"):
        return
    codes = [torch.empty(rows, DIM, dtype=torch.uint8, device="cuda") for _ in range(count)]
    scales = torch.empty(rows, device="cuda")

    def quantize(i: int) -> None:
        launches.fp8_quantize(launch, y[i].view(rows, DIM), codes[i], scales)

    yield Work(f"fp8_quantize_bf16 {shape}", count, quantize, None, bytes=3 * elements)
    yield Work(
        f"layer_norm_modulate_quantize_bf16 {shape}",
        count,
        lambda i: launches.layer_norm_modulate_quantize(launch, x[i], shift, scale, codes[i], scales, 1e-6),
        lambda i: (norm(i), quantize(i)),
        "the two",
        bytes=3 * elements,
    )
    added = gate, shift, scale
    yield Work(
        f"gated_add_layer_norm_quantize_bf16 {shape}",
        count,
        lambda i: launches.gated_add_layer_norm_quantize(
            launch, residual[i], x[i], *added, total[i], codes[i], scales, 1e-6
        ),
        lambda i: (add_then_norm(i), quantize(i)),
        "the three",
        bytes=7 * elements,
    )


def tokens(launch: Launcher) -> Iterator[Work]:
    moved = 2 * TOKENS * DIM * 2
    count = variants(moved)
    x = [random(1, TOKENS, HEADS, HEAD_DIM) for _ in range(count)]
    joint = random(1, TOKENS + 100, HEADS, HEAD_DIM)
    y = joint[:, 100:]
    w = random(HEAD_DIM, dtype=torch.float32)
    cos, sin = (random(TOKENS, HEAD_DIM // 2, dtype=torch.float32) for _ in range(2))
    angles = torch.complex(cos, sin)[:, None]

    def peer(i: int) -> None:
        normal = functional.rms_norm(x[i], (HEAD_DIM,), w.to(BF16), 1e-6).float()
        pairs = torch.view_as_complex(normal.unflatten(-1, (-1, 2))) * angles
        y.copy_(torch.view_as_real(pairs).flatten(-2))

    for halves in (False, True):
        yield Work(
            f"rms_norm_rotate_bf16 {TOKENS} {'halves' if halves else 'pairs'}",
            count,
            lambda i: launches.rms_norm_rotate(launch, x[i], w, cos, sin, y, 1e-6, halves),
            None if halves else peer,
            "rms_norm, complex mul, copy",
            bytes=moved,
        )
    yield from joined_tokens(launch, (77, 30))


def joined_tokens(launch: Launcher, lengths: tuple[int, int]) -> Iterator[Work]:
    moved = 2 * (2 * IMAGE_TOKENS + sum(lengths)) * DIM * 2
    count = variants(moved)
    image = [random(2, IMAGE_TOKENS, HEADS, HEAD_DIM) for _ in range(count)]
    text = random(1, sum(lengths), HEADS, HEAD_DIM)
    ys = [[random(1, length + IMAGE_TOKENS, HEADS, HEAD_DIM) for length in lengths] for _ in range(count)]
    w = random(HEAD_DIM, dtype=torch.float32)
    of_image, of_text = (
        [random(tokens, HEAD_DIM // 2, dtype=torch.float32) for _ in range(2)] for tokens in (IMAGE_TOKENS, sum(lengths))
    )

    def apart(i: int) -> None:
        start = 0
        for batch, (y, length) in enumerate(zip(ys[i], lengths)):
            end = start + length
            angles = [table[start:end] for table in of_text]
            launches.rms_norm_rotate(launch, text[:, start:end], w, *angles, y[:, :length], 1e-6, False)
            launches.rms_norm_rotate(launch, image[i][batch : batch + 1], w, *of_image, y[:, length:], 1e-6, False)
            start = end

    yield Work(
        f"rms_norm_rotate_joined_bf16 2x{IMAGE_TOKENS}",
        count,
        lambda i: launches.rms_norm_rotate_joined(
            launch, (text, w, *of_text), (image[i], w, *of_image), ys[i], lengths, 1e-6, False
        ),
        apart,
        "a launch for each part",
        bytes=moved,
    )
    tiles = -(-(max(lengths) + IMAGE_TOKENS) // 128)
    places = [
        [torch.empty(HEADS, tiles, 128, 128, dtype=torch.int8, device="cuda") for _ in lengths]
        + [torch.empty(HEADS, tiles, device="cuda") for _ in lengths]
        for _ in range(2 * count)
    ]
    yield Work(
        f"rms_norm_rotate_joined_quantize_bf16 2x{IMAGE_TOKENS}",
        count,
        lambda i: launches.rms_norm_rotate_joined_quantize(
            launch,
            ((text, w, *of_text), (image[i], w, *of_image)),
            ((text, w, *of_text), (image[(i + 1) % count], w, *of_image)),
            *places[2 * i : 2 * i + 2],
            lengths,
            1e-6,
        ),
        None,
        bytes=2 * moved * 3 / 4,
    )


def activations(launch: Launcher) -> Iterator[Work]:
    n = TOKENS * 4 * DIM
    count = variants(4 * n)
    x = [random(n) for _ in range(count)]
    y = torch.empty_like(x[0])
    yield Work(
        f"gelu_tanh_bf16 {TOKENS}x{4 * DIM}",
        count,
        lambda i: launches.gelu_tanh(launch, x[i], y),
        lambda i: functional.gelu(x[i], approximate="tanh"),
        "gelu",
        bytes=4 * n,
    )
    yield Work(
        f"silu_mul_bf16 {TOKENS}x{4 * DIM}",
        count,
        lambda i: launches.silu_mul(launch, x[i], x[(i + 1) % count], y),
        lambda i: functional.silu(x[i]) * x[(i + 1) % count],
        "silu, mul",
        bytes=6 * n,
    )


def convolution(launch: Launcher) -> Iterator[Work]:
    for channels, side in ((96, 1024), (384, 128)):
        for dtype in (BF16, torch.float32):
            moved = 2 * channels * side * side * dtype.itemsize
            count = min(variants(moved), 8)
            x = [random(1, channels, side * side, dtype=dtype) for _ in range(count)]
            y = torch.empty_like(x[0])
            gamma = random(channels, dtype=torch.float32)
            same = gamma.to(dtype)[:, None] * channels**0.5
            yield Work(
                f"channel_norm_{launches.suffix(y)} {channels}x{side}x{side} silu",
                count,
                lambda i: launches.channel_norm(launch, x[i], gamma, y, True),
                lambda i: functional.silu(functional.normalize(x[i], dim=1) * same),
                "normalize, mul, silu",
                bytes=moved,
            )
    channels, side = 96, 1024
    pixels = 128 * side
    image = [random(channels, side, side) for _ in range(2)]
    columns = torch.empty(channels * 9, pixels, dtype=BF16, device="cuda")
    strip = [x[:, :130].contiguous() for x in image]
    yield Work(
        f"im2col_bf16 {channels}x{side}x{side}, 128 lines",
        2,
        lambda i: launches.im2col(launch, image[i], columns, 3, 10 * side),
        lambda i: functional.unfold(strip[i][None], 3, padding=(0, 1)),
        "unfold",
        bytes=(9 * pixels + 130 * side) * channels * 2,
    )


def attention(launch: Launcher) -> Iterator[Work]:
    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
    for length, heads, kv_heads, causal in (
        (TOKENS, HEADS, HEADS, False),
        (7168, HEADS, HEADS, False),
        (1024, 28, 4, True),
        (4096, 28, 4, True),
    ):
        q, out = (random(1, length, heads, HEAD_DIM) for _ in range(2))
        k, v = (random(1, length, kv_heads, HEAD_DIM) for _ in range(2))
        k_all, v_all = (t.repeat_interleave(heads // kv_heads, 2) for t in (k, v))
        flops = 4 * length * length * heads * HEAD_DIM * (0.5 if causal else 1)

        def peer(_: int, backend: SDPBackend) -> torch.Tensor:
            with sdpa_kernel(backend):
                inputs = (t.transpose(1, 2) for t in (q, k_all, v_all))
                return functional.scaled_dot_product_attention(*inputs, is_causal=causal)

        for kernel, name in (("bf16_d128", "flash"), ("bf16_d128_narrow", None), ("bf16_d128_sm90", "cuDNN")):
            if not launch.has(f"attention_{kernel}"):
                continue
            yield Work(
                f"{kernel} {length} {heads}/{kv_heads}{' causal' if causal else ''}",
                1,
                lambda i: launches.attention(launch, q, k, v, out, causal, kernel),
                None if name is None else lambda i: peer(i, backends[name]),
                f"SDPA {name}",
                flops=flops,
            )
    yield from attention_quantized(launch)
    length = 1024
    q, k, v, out = (random(1, length, HEADS, HEAD_DIM, dtype=torch.float32) for _ in range(4))
    yield Work(
        f"attention_f32 {length} {HEADS}/{HEADS}",
        1,
        lambda i: launches.attention(launch, q, k, v, out, False),
        lambda i: functional.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v))),
        "SDPA",
        flops=4 * length * length * HEADS * HEAD_DIM,
    )


def attention_quantized(launch: Launcher) -> Iterator[Work]:
    """And what prepares its values."""
    if not launch.has("attention_quantized_d128_sm90"):
        return
    text = 77
    for length in (TOKENS, 7168):
        tiles = -(-length // 128)
        codes = lambda least, most: torch.randint(least, most, (HEADS, tiles, 128, 128), device="cuda")
        q, k = (codes(-127, 128).to(torch.int8) for _ in range(2))
        values, others = (codes(0, 56).to(torch.uint8) for _ in range(2))
        v, v_rest = random(1, 2 * text, HEADS, HEAD_DIM), random(2, length - text, HEADS, HEAD_DIM)
        out, rest = (random(1, n, HEADS, HEAD_DIM) for n in (text, length - text))
        rounded = [part.to(torch.float8_e4m3fn).view(torch.uint8) for part in (out, rest)]
        row_scales = [torch.empty(1, n, device="cuda") for n in (text, length - text)]
        powers = torch.empty(HEADS, tiles, device="cuda")
        # The lengths of rows of such integers, and a bit more.
        scales = torch.tensor([0.02, 18.0], device="cuda").repeat(HEADS, tiles, 1)
        wide = [random(1, HEADS, length, HEAD_DIM) for _ in range(3)]

        def peer(_: int) -> torch.Tensor:
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                return functional.scaled_dot_product_attention(*wide)

        yield Work(
            f"fp8_quantize_values_bf16 2x{length}",
            1,
            lambda i: launches.fp8_quantize_values(launch, v, v_rest, [values, others], [powers, powers], [text] * 2),
            None,
            bytes=2 * 3 * length * DIM,
        )
        yield Work(
            f"attention_quantized_d128_sm90 {length}",
            1,
            lambda i: launches.attention_quantized(launch, q, k, values, scales, scales, powers, out, rest),
            peer,
            "SDPA cuDNN, bf16",
            flops=4 * length * length * DIM,
        )
        yield Work(
            f"attention_quantized_d128_sm90 {length}, to codes",
            1,
            lambda i: launches.attention_quantized(
                launch, q, k, values, scales, scales, powers, *rounded, row_scales
            ),
            None,
            flops=4 * length * length * DIM,
        )
