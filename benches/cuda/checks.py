"""Holds every kernel against float64 on fresh random inputs.

Inputs lie between NaNs, outputs in memory filled with a mark that must survive around them.
"""

import random
from collections.abc import Iterator, Sequence

import launches
import reference
import torch
from launcher import Launcher
from torch import Tensor

BF16, F32 = torch.bfloat16, torch.float32
MARK = -12288.0
# Elements of a buffer before and after a tensor: a multiple of 16 bytes in every dtype.
MARGIN = 64
# A result may be off by the rounding to its dtype, and by f32 arithmetic before that.
RELATIVE = {BF16: 1 / 200, F32: 1e-5}
ABSOLUTE = {BF16: 1e-5, F32: 1e-5}


class Mismatch(Exception):
    """A kernel's result is wrong."""


class Checks:
    """`small` leaves out the model's own sizes."""

    def __init__(self, launch: Launcher, device: str, small: bool = False) -> None:
        self.launch, self.device, self.small = launch, device, small
        self.count = 0
        self.failed: list[str] = []

    def kernels(self) -> Iterator[str]:
        """Runs everything; yields a line for each kernel, which it leaves at its first mismatch."""
        for check in (
            self.fp8_decode,
            self.fp8_gemv,
            *([self.fp8_quantize] if self.launch.has("fp8_quantize_bf16") else []),
            self.scale_rows,
            self.layer_norm_modulate,
            self.gated_add_layer_norm,
            *([self.layer_norm_quantize] if self.launch.has("fp8_quantize_bf16") else []),
            self.rms_norm,
            self.rms_norm_rotate,
            self.rms_norm_rotate_joined,
            self.gelu_tanh,
            self.finish,
            self.silu_mul,
            self.gated_add,
            self.channel_norm,
            self.im2col,
            self.attention_f32,
            self.attention_bf16,
            *([self.attention_bf16_sm90] if self.launch.has("attention_bf16_d128_sm90") else []),
            self.rotate_quantize,
            *([self.fp8_quantize_values] if self.launch.has("fp8_quantize_bf16") else []),
            *([self.attention_quantized] if self.launch.has("attention_quantized_d128_sm90") else []),
        ):
            self.count = 0
            try:
                worst = max(check())
            except Mismatch as error:
                self.failed.append(check.__name__)
                yield f"{check.__name__:22} FAILED {error}"
            else:
                yield f"{check.__name__:22} {self.count:4} cases   largest error {worst:.2f} of the tolerance"

    # Tensors

    def random(self, *shape: int, dtype=F32, offset: int = 0, scale: float = 1.0) -> Tensor:
        """Normal numbers, `offset` elements past a 16-byte aligned address, between NaNs."""
        values = torch.randn(shape, device=self.device) * scale
        return self.place(values.to(dtype), offset, torch.nan)

    def codes(self, *shape: int, format: int, offset: int = 0, specials: bool = False) -> Tensor:
        codes = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)
        if not specials:
            first = 0x7F if format == 0 else 0x7C
            codes = torch.where(codes.bitwise_and(0x7F) >= first, codes.bitwise_and(0x9F), codes)
        return self.place(codes, offset, 0x7F)

    def place(self, values: Tensor, offset: int, around: float) -> Tensor:
        count = values.numel()
        buffer = torch.full((2 * MARGIN + offset + count,), around, dtype=values.dtype, device=self.device)
        view = buffer[MARGIN + offset : MARGIN + offset + count].view(values.shape)
        return view.copy_(values)

    def output(self, *shape: int, dtype, offset: int = 0) -> Tensor:
        return self.place(torch.full(shape, MARK, dtype=dtype, device=self.device), offset, MARK)

    # Comparison

    def compare(
        self, what: str, ours: Tensor, expected: Tensor, absolute: float | None = None, whole: Tensor | None = None
    ) -> float:
        """The largest error in units of the tolerance, of which `absolute` is a part.

        `whole` contains `ours`; the rest of its memory must be intact.
        """
        self.count += 1
        whole = ours if whole is None else whole
        memory = torch.empty(0, dtype=whole.dtype, device=whole.device).set_(whole.untyped_storage()).clone()
        values = ours.double()
        memory.as_strided(ours.shape, ours.stride(), ours.storage_offset()).fill_(MARK)
        touched = int((memory != MARK).sum())
        if touched:
            raise Mismatch(f"{what}: {touched} elements outside of the result were written")
        equal = (values == expected) | (values.isnan() & expected.isnan())
        finite = values.isfinite() & expected.isfinite()
        absolute = ABSOLUTE[ours.dtype] if absolute is None else absolute
        error = (values - expected).abs() / (absolute + RELATIVE[ours.dtype] * expected.abs())
        error = torch.where(equal, 0.0, torch.where(finite, error, torch.inf))
        worst = float(error.max())
        if not worst <= 1:
            at = torch.unravel_index(error.argmax(), error.shape)
            place = tuple(int(i) for i in at)
            raise Mismatch(
                f"{what}: {int((error > 1).sum())} of {error.numel()} wrong; at {place} {float(values[place])!r} "
                f"instead of {float(expected[place])!r}"
            )
        return worst

    # Kernels

    def fp8_decode(self):
        for dtype in (BF16, F32):
            for format in (0, 1):
                every = self.place(torch.arange(256, device=self.device).to(torch.uint8), 0, 0)
                out = self.output(256, dtype=dtype)
                launches.fp8_decode(self.launch, every, out, format)
                yield self.exact(f"fp8_decode {dtype} {format} each code", out, reference.fp8_decode(every, format))
                for n in (1, 15, 16, 31, 4096, 8192, 20_001, *([] if self.small else [50_000_003])):
                    for offset in (0, 1, 8):
                        codes = self.codes(n, format=format, offset=offset, specials=True)
                        out = self.output(n, dtype=dtype, offset=offset // 8)
                        bias, narrow = self.random(300), self.output(300, dtype=BF16)
                        launches.fp8_decode(self.launch, codes, out, format, bias, narrow)
                        if dtype == BF16:
                            yield self.exact(f"fp8_decode bias n {n}", narrow, bias.to(BF16).double())
                        expected = reference.fp8_decode(codes, format)
                        yield self.exact(f"fp8_decode {dtype} {format} n {n} offset {offset}", out, expected)

    def exact(self, what: str, ours: Tensor, expected: Tensor) -> float:
        """Zero where every element is the same, NaN being equal to NaN."""
        self.compare(what, ours, expected)
        wrong = int(((ours.double() != expected) & ~expected.isnan()).sum())
        if wrong:
            raise Mismatch(f"{what}: {wrong} of {expected.numel()} elements are not exact")
        return 0.0

    def fp8_gemv(self):
        sizes = [(1, 1), (3, 7), (16, 9), (48, 8), (64, 16), (130, 33), (512, 17), (528, 31), (1040, 5), (2064, 21)]
        sizes += [] if self.small else [(3072, 18432), (3584, 3072)]
        for dtype in (BF16, F32):
            for inputs, outputs in sizes:
                for rows in (1, 2, 3, 4, 5, 8, 11) if outputs < 1000 else (1, 2, 8):
                    format, offset = rows % 2, rows == 3
                    x = self.random(rows, inputs, dtype=dtype, offset=offset)
                    w = self.codes(outputs, inputs, format=format, offset=offset, specials=False)
                    # E5M2 reaches 57344: keep sums in reach of the absolute tolerance.
                    scale = self.place(torch.tensor([2e-3 if format == 0 else 2e-5], device=self.device), 0, torch.nan)
                    bias = self.random(outputs) if rows != 2 else None
                    y = self.output(rows, outputs, dtype=dtype, offset=offset)
                    launches.fp8_gemv(self.launch, x, w, scale, bias, y, format)
                    expected = reference.fp8_gemv(x, w, scale, bias, format)
                    # Rounding errors grow with the terms, not with their sum.
                    terms = reference.fp8_gemv(x.abs(), w.bitwise_and(0x7F), scale, None, format)
                    absolute = ABSOLUTE[dtype] + 1e-6 * float(terms.max())
                    what = f"fp8_gemv {dtype} rows {rows} in {inputs} out {outputs}"
                    yield self.compare(what, y, expected, absolute)
        yield from self.fp8_gemv_specials()

    def fp8_gemv_specials(self):
        """Codes without a number reach their own outputs and no others."""
        for dtype in (BF16, F32):
            for format, code in ((0, 0xFF), (1, 0x7D), (1, 0xFC)):
                x = self.random(3, 1040, dtype=dtype).abs()
                w = self.codes(40, 1040, format=format)
                w[21, 1000] = code
                scale = torch.ones(1, device=self.device) * (1e-2 if format == 0 else 1e-5)
                y = self.output(3, 40, dtype=dtype)
                launches.fp8_gemv(self.launch, x, w, scale, None, y, format)
                expected = reference.fp8_gemv(x, w, scale, None, format)
                yield self.compare(f"fp8_gemv {dtype} {format} code {code:#x}", y, expected, 1e-2)

    def norm_sizes(self):
        sizes = [(1, 1, 1), (1, 3, 7), (2, 5, 64), (3, 2, 1000), (2, 3, 3072), (1, 6, 3080), (1, 2, 4097), (1, 2, 8192)]
        sizes += [(2, 1, 9001), (2, 9, 264)] + ([] if self.small else [(2, 4173, 3072)])
        return [(*size, offset) for size in sizes for offset in (0, 3)]

    def far_from_zero(self, *shape: int, dtype, offset: int) -> Tensor:
        """Activations of the model reach far from their mean."""
        return self.place(self.random(*shape, dtype=dtype, scale=20.0) + 5, offset, torch.nan)

    def layer_norm_modulate(self):
        for dtype in (BF16, F32):
            for batch, tokens, cols, offset in self.norm_sizes():
                x = self.far_from_zero(batch, tokens, cols, dtype=dtype, offset=offset)
                modulation = self.random(batch, 6 * cols, dtype=dtype, offset=offset)
                shift, scale = modulation[:, cols : 2 * cols], modulation[:, 2 * cols : 3 * cols]
                y = self.output(batch, tokens, cols, dtype=dtype, offset=offset)
                launches.layer_norm_modulate(self.launch, x, shift, scale, y, 1e-6)
                what = f"layer_norm_modulate {dtype} {batch}x{tokens}x{cols} offset {offset}"
                yield self.compare(what, y, reference.layer_norm_modulate(x, shift, scale, 1e-6), 3e-5)

    def gated_add_layer_norm(self):
        """Both results must be those of the two kernels in a row, bit for bit."""
        for dtype in (BF16, F32):
            for batch, tokens, cols, offset in self.norm_sizes():
                residual = self.far_from_zero(batch, tokens, cols, dtype=dtype, offset=offset)
                x = self.random(batch, tokens, cols, dtype=dtype, offset=offset, scale=9.0)
                modulation = self.random(batch, 6 * cols, dtype=dtype, offset=offset)
                gate, shift, scale = modulation[:, :cols], modulation[:, cols : 2 * cols], modulation[:, 4 * cols : 5 * cols]
                apart, expected = torch.empty_like(x), torch.empty_like(x)
                launches.gated_add(self.launch, residual, x, gate, apart)
                launches.layer_norm_modulate(self.launch, apart, shift, scale, expected, 1e-6)
                total, y = (self.output(batch, tokens, cols, dtype=dtype, offset=offset) for _ in range(2))
                tensors = residual, x, gate, shift, scale
                launches.gated_add_layer_norm(self.launch, *tensors, total, y, 1e-6)
                what = f"gated_add_layer_norm {dtype} {batch}x{tokens}x{cols} offset {offset}"
                yield self.compare(f"{what} sum", total, reference.gated_add(residual, x, gate))
                yield self.compare(what, y, reference.layer_norm_modulate(total, shift, scale, 1e-6), 3e-5)
                yield self.exact(f"{what} sum", total, apart.double())
                # The rows of an unaligned tensor are added up in another order than those of an aligned one.
                if offset == 0:
                    yield self.exact(what, y, expected.double())
                residual = self.place(residual, offset, MARK)
                y = self.output(batch, tokens, cols, dtype=dtype, offset=offset)
                launches.gated_add_layer_norm(self.launch, residual, *tensors[1:], residual, y, 1e-6)
                yield self.exact(f"{what} sum in place", residual, total.double())
                yield self.compare(f"{what} in place", y, reference.layer_norm_modulate(total, shift, scale, 1e-6), 3e-5)

    def layer_norm_quantize(self):
        """Codes and scales must be those of fp8_quantize for the norm in bf16, bit for bit."""
        for batch, tokens, cols, offset in self.norm_sizes():
            shape = batch, tokens, cols
            residual = self.far_from_zero(*shape, dtype=BF16, offset=offset)
            residual[0, 0] = 1.0
            x = self.random(*shape, dtype=BF16, offset=offset, scale=9.0)
            x[0, 0] = 0.0
            modulation = self.random(batch, 6 * cols, dtype=BF16, offset=offset)
            gate, shift, scale = modulation[:, :cols], modulation[:, cols : 2 * cols], modulation[:, 4 * cols : 5 * cols]
            # A row of equal numbers is a row of zeros where nothing is added to it.
            shift[0] = 0.0
            for fused in (False, True):
                total, expected_total, y = (self.output(*shape, dtype=BF16, offset=offset) for _ in range(3))
                codes, scales = self.code_output(*shape, offset=offset), self.output(batch * tokens, dtype=F32)
                expected, expected_scales = torch.empty_like(codes), torch.empty_like(scales)
                if fused:
                    added = residual, x, gate, shift, scale
                    launches.gated_add_layer_norm(self.launch, *added, expected_total, y, 1e-6)
                    launches.gated_add_layer_norm_quantize(self.launch, *added, total, codes, scales, 1e-6)
                else:
                    launches.layer_norm_modulate(self.launch, residual, shift, scale, y, 1e-6)
                    launches.layer_norm_modulate_quantize(self.launch, residual, shift, scale, codes, scales, 1e-6)
                rows = y.view(-1, cols)
                launches.fp8_quantize(self.launch, rows, expected.view(-1, cols), expected_scales)
                what = f"layer_norm_quantize {batch}x{tokens}x{cols} offset {offset} fused {fused}"
                if fused:
                    yield self.exact(f"{what} sum", total, expected_total.double())
                yield self.exact(f"{what} scales", scales, expected_scales.double())
                yield self.same_codes(what, codes, expected)

    def rms_norm(self):
        sizes = [(1, 1), (5, 3), (33, 64), (17, 65), (100, 128), (9, 129), (9, 1000), (9, 1024), (3, 1025), (2, 3584)]
        sizes += [(2, 9001)] + ([] if self.small else [(400_003, 128), (4173, 3584)])
        for dtype in (BF16, F32):
            for rows, cols in sizes:
                for offset in (0, 1):
                    # Small activations show a wrong epsilon.
                    x = self.random(rows, cols, dtype=dtype, offset=offset, scale=1e-3 if offset else 1.0)
                    w = self.random(cols, offset=offset)
                    y = self.output(rows, cols, dtype=dtype, offset=offset)
                    launches.rms_norm(self.launch, x, w, y, 1e-6, grid=2 if rows < 1000 else None)
                    what = f"rms_norm {dtype} {rows}x{cols} offset {offset}"
                    yield self.compare(what, y, reference.rms_norm(x, w, 1e-6))

    def rms_norm_rotate(self):
        sizes = [(1, 1, 1, 2), (2, 3, 2, 6), (1, 5, 3, 8), (2, 4, 3, 40), (1, 9, 4, 64), (2, 5, 3, 66)]
        sizes += [(2, 7, 3, 128), (1, 3, 2, 250), (2, 3, 5, 256)] + ([] if self.small else [(2, 4173, 24, 128)])
        for dtype in (BF16, F32):
            for batch, tokens, heads, dim in sizes:
                for halves in (False, True):
                    for normed, offset in ((True, 0), (False, 0), (True, 1)):
                        x = self.random(batch, tokens, 3, heads, dim, dtype=dtype, offset=offset)[:, :, 1]
                        w = self.random(dim) if normed else None
                        angles = self.random(tokens, dim // 2) * 3
                        cos, sin = (self.place(t, 0, torch.nan) for t in (angles.cos(), angles.sin()))
                        joint = self.output(batch, tokens + 4, heads, dim, dtype=dtype, offset=offset)
                        y = joint[:, 3 : 3 + tokens]
                        grid = 1 if tokens < 1000 and offset else None
                        launches.rms_norm_rotate(self.launch, x, w, cos, sin, y, 1e-6, halves, grid)
                        expected = reference.rms_norm_rotate(x, w, cos, sin, 1e-6, halves)
                        what = f"rms_norm_rotate {dtype} {batch}x{tokens}x{heads}x{dim} {halves} {normed} {offset}"
                        yield self.compare(what, y, expected, whole=joint)
            x = self.place(torch.randn(1, 5, 3, 128, device=self.device).to(dtype), 0, MARK)
            w, cos, sin = self.random(128), self.random(5, 64), self.random(5, 64)
            expected = reference.rms_norm_rotate(x, w, cos, sin, 1e-6, True)
            launches.rms_norm_rotate(self.launch, x, w, cos, sin, x, 1e-6, True)
            yield self.compare(f"rms_norm_rotate {dtype} in place", x, expected)

    def rms_norm_rotate_joined(self):
        cases = [((3,), 5, 3, 6), ((2, 5), 1, 4, 64), ((0, 4), 7, 5, 128), ((9, 1), 3, 3, 128), ((4, 2), 6, 2, 256)]
        cases += [((1, 3), 4, 7, 66)] + ([] if self.small else [((77, 30), 4096, 24, 128)])
        for dtype in (BF16, F32):
            for lengths, tokens, heads, dim in cases:
                for halves in (False, True):
                    for offset in (0, 1):
                        text, image = (
                            self.turned(batch, count, heads, dim, dtype, offset)
                            for batch, count in ((1, sum(lengths)), (len(lengths), tokens))
                        )
                        sizes = [(1, length + tokens, heads, dim) for length in lengths]
                        ys = [self.output(*size, dtype=dtype, offset=offset) for size in sizes]
                        grid = 2 if tokens < 1000 and offset else None
                        launches.rms_norm_rotate_joined(self.launch, text, image, ys, lengths, 1e-6, halves, grid)
                        normal = [reference.rms_norm_rotate(*part, 1e-6, halves) for part in (text, image)]
                        for i, (y, length) in enumerate(zip(ys, lengths)):
                            start = sum(lengths[:i])
                            expected = torch.cat([normal[0][:, start : start + length], normal[1][i : i + 1]], 1)
                            what = f"rms_norm_rotate_joined {dtype} {lengths}+{tokens}x{heads}x{dim} {halves} {offset}"
                            yield self.compare(f"{what} sequence {i}", y, expected)

    def turned(self, batch: int, tokens: int, heads: int, dim: int, dtype, offset: int) -> tuple[Tensor, ...]:
        """A tensor, the weight of its norm, cosines and sines."""
        angles = self.random(tokens, dim // 2, offset=offset, scale=2.0)
        x = self.random(batch, tokens, heads, dim, dtype=dtype, offset=offset)
        tables = (self.place(table, offset, torch.nan) for table in (angles.cos(), angles.sin()))
        return x, self.random(dim), *tables

    def rotate_quantize(self):
        cases = [((3,), 5, 3, 8), ((2, 5), 1, 4, 64), ((0, 4), 127, 5, 128), ((130, 3), 4, 7, 56)]
        for lengths, tokens, heads, dim in cases + ([] if self.small else [((77, 30), 4096, 24, 128)]):
            for offset in (0, 1) if tokens < 1000 else (0,):
                text, image = (
                    self.turned(batch, count, heads, dim, BF16, offset)
                    for batch, count in ((1, sum(lengths)), (len(lengths), tokens))
                )
                text[0][:, :, 0] = 0
                keys = [self.turned(*part[0].shape, BF16, offset) for part in (text, image)]
                counts = [-(-(length + tokens) // 128) for length in lengths]
                places = [
                    [self.code_output(heads, count, 128, 128, offset=0) for count in counts]
                    + [self.output(heads, count, 2, dtype=F32) for count in counts]
                    for _ in range(2)
                ]
                both = (text, image), keys
                launches.rms_norm_rotate_joined_quantize(self.launch, *both, *places, lengths, 1e-6)
                for name, place, parts in zip("qk", places, both):
                    normal = [reference.rms_norm_rotate(*part, 1e-6, False) for part in parts]
                    what = f"rotate_quantize {lengths}+{tokens}x{heads}x{dim} {offset} {name}"
                    yield from self.joined_integers(what, place, normal, lengths)

    def joined_integers(self, what: str, place: list[Tensor], normal: list[Tensor], lengths: Sequence[int]):
        for i, length in enumerate(lengths):
            integers, scales = place[i], place[len(lengths) + i]
            start = sum(lengths[:i])
            whole = torch.cat([normal[0][:, start : start + length], normal[1][i : i + 1]], 1)
            expected = reference.token_tiles(whole)
            largest = expected.abs().amax((2, 3))
            steps = (largest / 127).clamp_min(1 / 512)
            longest = expected.norm(dim=3).amax(2)
            yield self.compare(f"{what} scales of sequence {i}", scales, torch.stack([steps, longest], 2))
            # Near ties, f32 arithmetic decides.
            numbers = reference.tiles(integers).view(torch.int8).double() * steps[:, :, None, None]
            worst = float(((numbers - expected).abs() / steps[:, :, None, None]).max())
            if not worst <= 0.501:
                raise Mismatch(f"{what}: an integer of sequence {i} is {worst:.2f} from its number")
            self.count += 1
            yield worst

    def fp8_quantize_values(self):
        cases = [
            ((1,), 0, 1, 8), ((3, 9), 5, 2, 128), ((0,), 128, 3, 24), ((77, 0), 52, 2, 64), ((100, 260), 200, 3, 128)
        ]  # fmt: skip
        for lengths, tokens, heads, dim in cases + ([] if self.small else [((77, 6), 4096, 24, 128)]):
            vs = [self.random(1, length + tokens, heads, dim, dtype=BF16, scale=3.0) for length in lengths]
            for v in vs:
                v[:, :128] *= 1e-4
                v[:, -1:, :1] *= 1e4
                if v.shape[1] == 300:
                    v[:, 128:256] = 0
            offset = random.choice((0, 1))
            first = torch.cat([v[:, :length] for v, length in zip(vs, lengths)], 1)
            second = torch.cat([v[:, length:] for v, length in zip(vs, lengths)])
            parts = (self.place(part, offset, torch.nan) for part in (first, second))
            counts = [-(-v.shape[1] // 128) for v in vs]
            codes = [self.code_output(heads, tiles, 128, 128, offset=0) for tiles in counts]
            powers = [self.output(heads, tiles, dtype=F32) for tiles in counts]
            launches.fp8_quantize_values(self.launch, *parts, codes, powers, lengths)
            for i, v in enumerate(vs):
                what = f"fp8_quantize_values {lengths}+{tokens}x{heads}x{dim} sequence {i}"
                expected, expected_powers = reference.fp8_values(v)
                yield self.exact(f"{what} powers", powers[i], expected_powers)
                expected[:, :, dim:] = 0x7F
                yield self.same_codes(what, codes[i], expected)

    def attention_quantized(self):
        cases = [(1, 1, 1, 16), (3, 5, 2, 128), (1, 127, 3, 32), (77, 52, 2, 64), (100, 200, 3, 128), (999, 31, 2, 96)]
        for first, second, heads, dim in cases + ([] if self.small else [(77, 4096, 6, 128), (3, 2080, 24, 128)]):
            for scale in (1.0, 1.4, 6.0):
                tokens = first + second
                tiles = -(-tokens // 128)
                integers = [
                    torch.randint(-127, 128, (1, tokens, heads, dim), dtype=torch.int8, device=self.device)
                    for _ in range(2)
                ]
                # Scores as far from 0 as they can be.
                integers[1][:, ::7] = integers[0][:, ::7]
                integers[1][:, 3::7] = -integers[0][:, 3::7]
                # With the greatest, heads are too wide for weights by the bits of a float.
                scales = [(torch.rand(heads, tiles, device=self.device) + 0.3) * scale / 80 for _ in range(2)]
                # Tiles of very different magnitudes.
                v = self.random(1, tokens, heads, dim, dtype=BF16, scale=3.0)
                v[:, :128] *= 0.01 if scale < 2 else 1e-30
                v[:, 256:384] *= 20.0
                values, powers = reference.fp8_values(v)
                values[:, :, dim:] = 0x7F
                out, rest = (self.output(1, count, heads, dim, dtype=BF16) for count in (first, second))
                rows = [reference.token_tiles(part) for part in integers]
                for part in rows:
                    part[:, -1, (tokens - 1) % 128 + 1 :] = 99
                lengths = [part.double().norm(dim=3).amax(2) * by for part, by in zip(rows, scales)]
                pairs = [torch.stack([by, length.float()], 2) for by, length in zip(scales, lengths)]
                inputs = *(reference.tiles(part) for part in rows), values, *pairs, powers.float()
                inputs = [part.contiguous() for part in inputs]
                launches.attention_quantized(self.launch, *inputs, out, rest)
                q, k = (
                    part[0].double() * by.double().repeat_interleave(128, 1)[:, :tokens].T[:, :, None]
                    for part, by in zip(integers, scales)
                )
                v = reference.fp8_values_decoded(values, powers)[:, :tokens, :, :dim]
                expected = reference.attention(q[None], k[None], v, False)
                what = f"attention_quantized {first}+{second} heads {heads} dim {dim} scale {scale}"
                got = torch.cat([out, rest], 1)
                # Weights are rounded to three bits after the first, and those of lesser scales run straight
                # between powers of two.
                self.check_norm(what, got, expected, 0.04 if scale < 2 else 0.03)
                absolute = float(v.abs().max()) * 2**-4
                yield self.compare(what, out, expected[:, :first], absolute)
                yield self.compare(what, rest, expected[:, first:], absolute)
                if dim % 16 == 0:
                    yield self.attention_codes(what, inputs, got, first)

    def attention_codes(self, what: str, inputs: list[Tensor], exact: Tensor, first: int) -> float:
        """Results as codes, against those in bf16."""
        counts = first, exact.shape[1] - first
        codes = [self.code_output(1, count, *exact.shape[2:], offset=0) for count in counts]
        scales = [self.output(1, count, dtype=F32) for count in counts]
        launches.attention_quantized(self.launch, *inputs, *codes, scales)
        power = inputs[-1].max().exp2()
        row_scales = torch.cat(scales, 1)
        if not bool((row_scales == power).all()):
            raise Mismatch(f"{what}: rows have other scales than {float(power)}")
        got = reference.fp8_decode(torch.cat(codes, 1), 0) * power.double()
        # Three bits after the first, or the format's smallest number.
        tolerance = exact.double().abs() * (2**-4 + 2**-7) + power.double() * 2**-10
        worst = float(((got - exact.double()).abs() / tolerance).max())
        if not worst <= 1:
            raise Mismatch(f"{what}: a code is {worst:.2f} tolerances off")
        self.count += 1
        return worst

    def elementwise_sizes(self):
        for dtype in (BF16, F32):
            for n in (1, 7, 8, 2047, 2048, 10_001, *([] if self.small else [30_000_001])):
                for offset in (0, 1):
                    yield dtype, n, offset, 2 if n < 100_000 else None

    def gelu_tanh(self):
        for dtype, n, offset, grid in self.elementwise_sizes():
            x = self.random(n, dtype=dtype, offset=offset, scale=3.0)
            x[: min(n, 6)] = torch.tensor([0.0, -0.0, 60.0, -60.0, 1e4, -1e4])[:n]
            y = self.output(n, dtype=dtype, offset=offset)
            launches.gelu_tanh(self.launch, x, y, grid)
            yield self.compare(f"gelu_tanh {dtype} n {n} offset {offset}", y, reference.gelu_tanh(x))

    def finish(self):
        for dtype, n, offset, grid in self.elementwise_sizes():
            for gelu in (False, True):
                x, addend = (self.random(n, dtype=dtype, offset=offset, scale=3.0) for _ in range(2))
                addend = None if n % 2 and gelu else addend
                expected = x.double() if addend is None else x.double() + addend.double()
                expected = reference.gelu_tanh(expected) if gelu else expected
                y = self.output(n, dtype=dtype, offset=offset).copy_(x)
                launches.finish(self.launch, y, addend, gelu, grid)
                yield self.compare(f"finish {dtype} n {n} offset {offset} gelu {gelu}", y, expected)

    def silu_mul(self):
        for dtype, n, offset, grid in self.elementwise_sizes():
            gate = self.random(n, dtype=dtype, offset=offset, scale=3.0)
            gate[: min(n, 4)] = torch.tensor([0.0, 1e3, -1e3, -80.0])[:n]
            up = self.random(n, dtype=dtype)
            y = self.output(n, dtype=dtype, offset=offset)
            launches.silu_mul(self.launch, gate, up, y, grid)
            yield self.compare(f"silu_mul {dtype} n {n} offset {offset}", y, reference.silu_mul(gate, up))

    def code_output(self, *shape: int, offset: int) -> Tensor:
        return self.place(torch.full(shape, 0x7F, dtype=torch.uint8, device=self.device), offset, 0x7F)

    def fp8_quantize(self):
        sizes = [(1, 1), (3, 7), (5, 128), (2, 1000), (7, 1032), (4, 3072), (9, 3072), (3, 3080), (3, 12288), (2, 12296)]
        for rows, cols in sizes + ([] if self.small else [(8194, 3072), (513, 12288)]):
            for offset in (0, 1):
                x = self.random(rows, cols, dtype=BF16, offset=offset, scale=3.0)
                x[0] *= 1e-3
                if rows > 1:
                    x[1] = 0
                if rows > 2:
                    x[2] *= 1e-37
                    x[2, 0] = 0
                codes, scales = self.code_output(rows, cols, offset=offset), self.output(rows, dtype=F32)
                launches.fp8_quantize(self.launch, x, codes, scales)
                what = f"fp8_quantize {rows}x{cols} offset {offset}"
                yield self.compare(f"{what} scales", scales, reference.fp8_scales(x))
                yield self.nearest_codes(what, x, codes, scales)

    def same_codes(self, what: str, codes: Tensor, expected: Tensor) -> float:
        """And the memory around them intact."""
        self.count += 1
        wrong = int((codes != expected).sum())
        memory = torch.empty(0, dtype=codes.dtype, device=codes.device).set_(codes.untyped_storage()).clone()
        memory.as_strided(codes.shape, codes.stride(), codes.storage_offset()).fill_(0x7F)
        touched = int((memory != 0x7F).sum())
        if wrong or touched:
            raise Mismatch(f"{what}: {wrong} of {codes.numel()} codes differ, {touched} bytes outside were written")
        return 0.0

    def nearest_codes(self, what: str, x: Tensor, codes: Tensor, scales: Tensor) -> float:
        """Codes must be those that torch rounds to, but where f32 arithmetic decides a near tie."""
        self.count += 1
        exact = x.double() / scales.double()[:, None]
        error = (reference.fp8_decode(codes, 0) - exact).abs()
        best = (reference.fp8_decode(exact.float().to(torch.float8_e4m3fn).view(torch.uint8), 0) - exact).abs()
        worst = float(((error - best) / exact.abs().clamp_min(2**-6)).max())
        if not worst <= 1e-6:
            raise Mismatch(f"{what}: a code is {worst:.1e} farther from its number than the nearest one")
        return worst * 1e6

    def scale_rows(self):
        for rows, cols in [(1, 1), (3, 7), (5, 128), (2, 3072), (3, 1001)]:
            for offset in (0, 1):
                for gelu in (False, True):
                    y = self.random(rows, cols, dtype=BF16, offset=offset)
                    y = self.place(y, offset, MARK)
                    scales = self.random(rows).abs()
                    bias = self.random(cols, dtype=BF16, offset=offset) if rows != 3 else None
                    expected = reference.scale_rows(y, scales, bias, gelu)
                    launches.scale_rows(self.launch, y, scales, bias, gelu)
                    yield self.compare(f"scale_rows {rows}x{cols} offset {offset} gelu {gelu}", y, expected)

    def gated_add(self):
        sizes = [(1, 1, 1), (2, 3, 7), (3, 2, 1024), (2, 5, 3072), (1, 2, 3001)]
        for dtype in (BF16, F32):
            for batch, tokens, cols in sizes + ([] if self.small else [(2, 4173, 3072)]):
                for offset in (0, 1):
                    residual = self.random(batch, tokens, cols, dtype=dtype)
                    x = self.random(batch, tokens, cols, dtype=dtype, offset=offset)
                    gate = self.random(batch, 6 * cols, dtype=dtype)[:, 2 * cols : 3 * cols]
                    expected = reference.gated_add(residual, x, gate)
                    what = f"gated_add {dtype} {batch}x{tokens}x{cols} offset {offset}"
                    y = self.output(batch, tokens, cols, dtype=dtype, offset=offset)
                    launches.gated_add(self.launch, residual, x, gate, y)
                    yield self.compare(what, y, expected)
                    x = self.place(x, offset, MARK)
                    launches.gated_add(self.launch, residual, x, gate, x)
                    yield self.compare(f"{what} in place", x, expected)

    def channel_norm(self):
        sizes = [(1, 1, 1), (2, 3, 7), (1, 96, 64), (2, 96, 130), (1, 97, 33), (2, 192, 100), (1, 384, 65), (1, 385, 66)]
        for dtype in (BF16, F32):
            for batch, channels, plane in sizes + [(1, 1000, 31)] + ([] if self.small else [(1, 384, 16_384)]):
                for silu, offset in ((False, 0), (True, 0), (True, 1)):
                    x = self.random(batch, channels, plane, dtype=dtype, offset=offset)
                    x[:, :, 0] = 0
                    gamma = self.random(channels)
                    y = self.output(batch, channels, plane, dtype=dtype, offset=offset)
                    launches.channel_norm(self.launch, x, gamma, y, silu)
                    what = f"channel_norm {dtype} {batch}x{channels}x{plane} silu {silu} offset {offset}"
                    yield self.compare(what, y, reference.channel_norm(x, gamma, silu))

    def im2col(self):
        sizes = [(1, 1, 1), (2, 3, 5), (3, 8, 8), (2, 5, 16), (4, 9, 33), (1, 40, 40)]
        for dtypes in ((BF16, BF16), (F32, F32), (F32, BF16)):
            for channels, height, width in sizes + ([] if self.small else [(96, 129, 256)]):
                for side in (1, 3, 5):
                    whole = height * width
                    runs = {(0, whole), (whole // 2, whole - whole // 2), (whole // 3, max(1, whole // 3))}
                    for first, pixels in sorted(runs):
                        offset = random.choice((0, 0, 1))
                        x = self.random(channels, height, width, dtype=dtypes[0], offset=offset)
                        columns = self.output(channels * side * side, pixels, dtype=dtypes[1], offset=offset)
                        launches.im2col(self.launch, x, columns, side, first)
                        expected = reference.im2col(x, side, first, pixels).to(dtypes[1]).double()
                        what = f"im2col {dtypes} {channels}x{height}x{width} side {side} pixels {first}+{pixels}"
                        yield self.exact(what, columns, expected)

    def attention_f32(self):
        yield from self.attention(F32, {"f32": 128})

    def attention_bf16(self):
        yield from self.attention(BF16, {"bf16_d64": 64, "bf16_d128": 128, "bf16_d128_narrow": 128})

    def attention_bf16_sm90(self):
        yield from self.attention(BF16, {"bf16_d128_sm90": 128})

    def attention(self, dtype, kernels: dict[str, int]):
        # batch, q_len, k_len, heads, kv_heads, dim
        sizes = [
            (1, 1, 1, 1, 1, 8),
            (2, 5, 9, 2, 1, 24),
            (1, 64, 64, 2, 2, 64),
            (1, 70, 129, 3, 3, 40),
            (1, 130, 63, 4, 2, 64),
            (1, 129, 200, 2, 1, 128),
            (2, 33, 65, 2, 2, 120),
            (1, 300, 300, 2, 2, 128),
            (1, 17, 40, 2, 1, 13),
            (1, 40, 700, 1, 1, 128),
        ]
        # Elements past an aligned address (which takes the slow loads), and the queries' size: large
        # scores make the running maximum grow again and again.
        variants = [(0, 1.0), (0, 16.0), (1, 4.0)]
        cases = [(*size, *variant) for size in sizes for variant in variants]
        if not self.small:
            cases += [(1, 4173, 4173, 6, 6, 128, 0, 2.0), (2, 1031, 1031, 28, 4, 128, 0, 1.0)]
            cases += [(1, 257, 999, 8, 2, 56, 0, 1.0), (1, 2085, 2085, 3, 3, 128, 0, 1.0)]
        for kernel, limit in kernels.items():
            for batch, q_len, k_len, heads, kv_heads, dim, offset, scale in cases:
                if dim > limit:
                    continue
                for causal in (False, True):
                    q = self.random(batch, q_len, heads, dim, dtype=dtype, offset=offset, scale=scale)
                    kv = self.random(batch, k_len, 2, kv_heads, dim, dtype=dtype, offset=offset)
                    k, v = kv[:, :, 0], kv[:, :, 1]
                    joint = self.output(batch, q_len + 2, heads, dim, dtype=dtype, offset=offset)
                    out = joint[:, 1 : 1 + q_len]
                    launches.attention(self.launch, q, k, v, out, causal, kernel)
                    expected = reference.attention(q, k, v, causal)
                    what = f"attention {kernel} {batch}x{q_len}x{k_len} heads {heads}/{kv_heads} dim {dim}"
                    what += f" causal {causal} offset {offset} scale {scale}"
                    # bf16: weights are rounded before they multiply the values. f32: what rounding
                    # the scores changes grows with them.
                    growth = max(1.0, scale)
                    self.check_norm(what, out, expected, 6e-3 if dtype == BF16 else 5e-6 * growth)
                    absolute = float(v.abs().max()) * 2**-8 if dtype == BF16 else 1e-5 * growth
                    yield self.compare(what, out, expected, absolute, whole=joint)
                    if batch > 1 or q_len != k_len or q_len == 1:
                        continue
                    split = random.randint(1, q_len - 1)
                    first, rest = (self.place(part, offset, torch.nan) for part in (v[:, :split], v[:, split:]))
                    first_out = self.output(1, split, heads, dim, dtype=dtype, offset=offset)
                    rest_out = self.output(1, q_len - split, heads, dim, dtype=dtype, offset=offset)
                    launches.attention(self.launch, q, k, first, first_out, causal, kernel, (rest, rest_out))
                    what += f" split at {split}"
                    yield self.compare(what, first_out, expected[:, :split], absolute)
                    yield self.compare(what, rest_out, expected[:, split:], absolute)

    def check_norm(self, what: str, ours: Tensor, expected: Tensor, limit: float) -> None:
        error = float((ours.double() - expected).norm() / expected.norm().clamp_min(1e-30))
        if not error <= limit:
            raise Mismatch(f"{what}: relative error {error:.2e} of the whole, more than {limit:.0e}")
