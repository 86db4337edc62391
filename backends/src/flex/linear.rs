//! The CPU: each thread decodes a tile of weight rows into its own cache and multiplies with it
//! at once, so that no more than a tile per thread ever exists as `f32`.

use std::cell::RefCell;

use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{Bytes, DType, Shape, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use half::{bf16, f16};
use rayon::prelude::*;

use super::decode::{decode_bf16, decode_f16, decode_fp8};
#[cfg(target_arch = "x86_64")]
use super::narrow::{self, DEPTH, GROUP, LaneMatrix};
use super::rows::gelu_tanh;
use super::tensor::{in_dtype, raw, to_f32, typed};
use crate::kernels::{Activation, DenseLinear, Epilogue, PackedLinear, PackedMatrix};
use crate::weight::PackedFormat;
use crate::working_memory::flex::{
    KEPT_ELEMENTS, MANY_ROWS, SMALL_TILE_ELEMENTS, SMALL_TILE_ROWS, TILE_ROWS,
};

thread_local! {
    /// The decoded tile of a thread.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Multiply-adds below which waking other threads costs more than it saves.
const PARALLEL_THRESHOLD: usize = 1 << 18;

/// Computes [`PackedLinear`].
pub(super) fn packed_linear(call: PackedLinear<Flex>) -> Tensor<Flex, 2> {
    let PackedMatrix {
        bytes,
        scale,
        format: PackedFormat::Fp8(format),
    } = call.weight;
    let weight = bytes.into_primitive().to_contiguous();
    let scales = to_f32(raw(scale));
    let finish = Finish {
        scales: scales.storage::<f32>(),
        epilogue: call.epilogue,
    };
    linear(call.x, &weight, weight.bytes(), finish, |codes, scratch| {
        decode_fp8(codes, scratch, format);
        scratch
    })
}

/// Computes [`DenseLinear`].
pub(super) fn dense_linear(call: DenseLinear<Flex>) -> Tensor<Flex, 2> {
    let DenseLinear {
        x,
        weight,
        epilogue,
    } = call;
    let weight = raw(weight).to_contiguous();
    let finish = Finish {
        scales: &[1.0],
        epilogue,
    };
    match weight.dtype() {
        DType::BF16 => {
            let elements = weight.storage::<bf16>();
            linear(x, &weight, elements, finish, |elements, scratch| {
                decode_bf16(elements, scratch);
                scratch
            })
        }
        DType::F16 => {
            let elements = weight.storage::<f16>();
            linear(x, &weight, elements, finish, |elements, scratch| {
                decode_f16(elements, scratch);
                scratch
            })
        }
        _ => {
            let weight = to_f32(weight);
            let elements = weight.storage::<f32>();
            linear(x, &weight, elements, finish, |elements, _| elements)
        }
    }
}

/// The end of a layer.
struct Finish<'a> {
    /// One, or one for each row of the weight.
    scales: &'a [f32],
    epilogue: Epilogue<Flex>,
}

/// `epilogue((x · weightᵀ) * scale)` in f32, returned in `x`'s dtype.
///
/// `decode` gives a tile of `elements` as f32: in the scratch slice of the same length, or as
/// it lies.
fn linear<T: Sync>(
    x: Tensor<Flex, 2>,
    weight: &FlexTensor,
    elements: &[T],
    finish: Finish<'_>,
    decode: impl for<'a> Fn(&'a [T], &'a mut [f32]) -> &'a [f32] + Sync,
) -> Tensor<Flex, 2> {
    let dtype = x.dtype();
    let x = to_f32(raw(x));
    let Epilogue {
        bias,
        addend,
        activation,
    } = finish.epilogue;
    let bias = bias.map(|bias| to_f32(raw(bias)));
    let [rows, width] = x.layout().shape().dims();
    let [out, _] = weight.layout().shape().dims();
    assert_eq!(width, weight.layout().shape()[1], "inner dimensions differ");

    let x = x.storage::<f32>();
    let bias = bias.as_ref().map(|bias| bias.storage::<f32>());
    let mut y = vec![0.0f32; rows * out];
    let columns = Columns {
        data: y.as_mut_ptr(),
        rows,
        stride: out,
    };
    let product = Product {
        x,
        width,
        elements,
        scales: finish.scales,
        bias,
        out,
        columns,
    };
    #[cfg(target_arch = "x86_64")]
    let done = product.narrow(&decode);
    #[cfg(not(target_arch = "x86_64"))]
    let done = false;
    if !done {
        product.tiled(&decode);
    }

    let y = FlexTensor::new(
        Bytes::from_elems(y),
        Layout::contiguous(Shape::new([rows, out])),
        DType::F32,
    );
    let y = match addend {
        Some(addend) => Flex::float_add(y, to_f32(raw(addend))),
        None => y,
    };
    let y = match activation {
        Activation::None => y,
        Activation::GeluTanh => gelu_tanh(y),
    };
    typed(in_dtype(y, dtype))
}

/// One linear layer's operands and its output.
struct Product<'a, T> {
    /// `[rows, width]`.
    x: &'a [f32],
    width: usize,
    /// `[out, width]`.
    elements: &'a [T],
    /// `[1]` or `[out]`.
    scales: &'a [f32],
    /// `[out]`.
    bias: Option<&'a [f32]>,
    out: usize,
    columns: Columns,
}

impl<T: Sync> Product<'_, T> {
    /// Tile by tile with a general matrix product.
    fn tiled(&self, decode: &(impl for<'a> Fn(&'a [T], &'a mut [f32]) -> &'a [f32] + Sync)) {
        let Self { width, out, .. } = *self;
        let rows = self.columns.rows;
        let tile_rows = if rows < MANY_ROWS {
            (SMALL_TILE_ELEMENTS / width.max(1)).clamp(SMALL_TILE_ROWS, TILE_ROWS)
        } else {
            TILE_ROWS
        };
        // No thread without a tile.
        let threads = rayon::current_num_threads();
        let tile_rows = tile_rows.min(out.div_ceil(threads)).max(1);
        let one_tile = |tile: usize, scratch: &mut Vec<f32>| {
            let start = tile * tile_rows;
            let count = tile_rows.min(out - start);
            scratch.resize(count * width, 0.0);
            let elements = &self.elements[start * width..(start + count) * width];
            let values = decode(elements, scratch);
            // SAFETY: each tile owns the columns [start, start + count) of the output, which
            // outlives this call, and tiles do not overlap.
            unsafe {
                let (scale, scales) = match self.scales {
                    [scale] => (*scale, None),
                    scales => (1.0, Some(&scales[start..start + count])),
                };
                self.columns
                    .multiply(self.x, width, values, start, count, scale);
                if let Some(scales) = scales {
                    self.columns.scale(start, scales);
                }
                if let Some(bias) = self.bias {
                    self.columns.add(start, &bias[start..start + count]);
                }
            }
        };
        let tiles = out.div_ceil(tile_rows);
        let with_kept = |tile| SCRATCH.with_borrow_mut(|scratch| one_tile(tile, scratch));
        if rows * width * out < PARALLEL_THRESHOLD {
            (0..tiles).for_each(with_kept);
        } else if tile_rows * width <= KEPT_ELEMENTS {
            (0..tiles).into_par_iter().for_each(with_kept);
        } else {
            (0..tiles)
                .into_par_iter()
                .for_each_init(Vec::new, |scratch, tile| one_tile(tile, scratch));
        }
    }

    /// Computes the product with all rows of `x` in vector lanes, where that is faster; returns
    /// whether it did.
    #[cfg(target_arch = "x86_64")]
    fn narrow(
        &self,
        decode: &(impl for<'a> Fn(&'a [T], &'a mut [f32]) -> &'a [f32] + Sync),
    ) -> bool {
        let Self { width, out, .. } = *self;
        let rows = self.columns.rows;
        if !narrow::suits(rows) || rows * width * out < PARALLEL_THRESHOLD {
            return false;
        }
        let x = LaneMatrix::new(self.x, rows, width);
        let buffers = || (vec![0.0; x.sums()], vec![0.0; GROUP * DEPTH], [0.0; DEPTH]);
        (0..out.div_ceil(GROUP)).into_par_iter().for_each_init(
            buffers,
            |(sums, weights, decoded), group| {
                let first = group * GROUP;
                let count = GROUP.min(out - first);
                sums.fill(0.0);
                for start in (0..width).step_by(DEPTH) {
                    let depth = DEPTH.min(width - start);
                    for row in 0..count {
                        let at = (first + row) * width + start;
                        let elements = &self.elements[at..at + depth];
                        let values = decode(elements, &mut decoded[..depth]);
                        weights[row * DEPTH..row * DEPTH + depth].copy_from_slice(values);
                    }
                    x.multiply(weights, start, depth, sums);
                }
                for row in 0..count {
                    let bias = self.bias.map_or(0.0, |bias| bias[first + row]);
                    let scale = match self.scales {
                        [scale] => *scale,
                        scales => scales[first + row],
                    };
                    for x_row in 0..rows {
                        let value = x.sum(sums, row, x_row) * scale + bias;
                        // SAFETY: each group has its own columns of the output, which outlives
                        // this call.
                        unsafe { self.columns.set(x_row, first + row, value) };
                    }
                }
            },
        );
        true
    }
}

/// A row-major `[rows, stride]` matrix that threads fill by columns.
struct Columns {
    data: *mut f32,
    rows: usize,
    stride: usize,
}

// SAFETY: the methods are unsafe and ask their callers for disjoint columns.
unsafe impl Sync for Columns {}

impl Columns {
    /// Columns `[start, start + count)` become `(x · valuesᵀ) * scale`.
    ///
    /// # Safety
    /// The columns exist and no other thread touches them; `x` is `[rows, width]` and `values`
    /// `[count, width]`.
    unsafe fn multiply(
        &self,
        x: &[f32],
        width: usize,
        values: &[f32],
        start: usize,
        count: usize,
        scale: f32,
    ) {
        debug_assert!(x.len() >= self.rows * width && values.len() >= count * width);
        // SAFETY: by the caller, all three matrices are in bounds, and the destination is ours.
        unsafe {
            gemm::gemm(
                self.rows,
                count,
                width,
                self.data.add(start),
                1,
                self.stride as isize,
                false,
                x.as_ptr(),
                1,
                width as isize,
                values.as_ptr(),
                width as isize,
                1,
                0.0,
                scale,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }

    /// Sets one element.
    ///
    /// # Safety
    /// The element exists, and no other thread touches its column.
    #[cfg(target_arch = "x86_64")]
    unsafe fn set(&self, row: usize, column: usize, value: f32) {
        // SAFETY: by the caller.
        unsafe { *self.data.add(row * self.stride + column) = value };
    }

    /// Adds `bias` to the columns that begin at `start`.
    ///
    /// # Safety
    /// The columns exist and no other thread touches them.
    unsafe fn add(&self, start: usize, bias: &[f32]) {
        // SAFETY: by the caller.
        unsafe { self.change(start, bias, |value, bias| *value += bias) };
    }

    /// Multiplies the columns that begin at `start` by one factor each.
    ///
    /// # Safety
    /// The columns exist and no other thread touches them.
    unsafe fn scale(&self, start: usize, factors: &[f32]) {
        // SAFETY: by the caller.
        unsafe { self.change(start, factors, |value, factor| *value *= factor) };
    }

    /// Changes the columns that begin at `start` by one number each.
    ///
    /// # Safety
    /// The columns exist and no other thread touches them.
    unsafe fn change(&self, start: usize, numbers: &[f32], change: impl Fn(&mut f32, f32)) {
        for row in 0..self.rows {
            // SAFETY: in bounds and ours, by the caller.
            let row = unsafe {
                let first = self.data.add(row * self.stride + start);
                std::slice::from_raw_parts_mut(first, numbers.len())
            };
            for (value, &number) in row.iter_mut().zip(numbers) {
                change(value, number);
            }
        }
    }
}
