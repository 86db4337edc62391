//! Attention without a matrix of all scores.

use burn::tensor::DType;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use crate::cuda::blas::{Layout, Operands, Product};
use crate::cuda::element::Element;
use crate::cuda::engine::Engine;
use crate::cuda::launch::{Arg, Grid};
use crate::cuda::scope::Scope;
use crate::cuda::scratch::Use;
use crate::cuda::tensor::{
    Tensor, Typed, contiguous, dims, engine_of, in_dtype, over, raw, strides, typed,
};
use crate::kernels::{Attention, JointAttention};
use crate::working_memory::cuda::{COLUMNS, WIDEST_HEAD};

pub(super) fn attention(call: Attention<Cuda>) -> Result<Typed<4>, Attention<Cuda>> {
    let Some((engine, element)) = engine_of(&call.q) else {
        return Err(call);
    };
    let [[_, _, heads, dim], [_, _, kv_heads, _]] = [call.q.dims(), call.k.dims()];
    let is_wide = dim > WIDEST_HEAD;
    let one_head = heads == 1 && kv_heads == 1 && !call.causal;
    if is_wide && !(element == Element::F32 && one_head && engine.has_blas()) {
        return Err(call);
    }
    let q = raw(call.q);
    let [k, v] = [call.k, call.v].map(|tensor| in_dtype(raw(tensor), q.dtype));
    Ok(typed(if is_wide {
        wide(&engine, q, k, v)
    } else {
        narrow(&engine, element, [q, k, v].map(rows_of_heads), call.causal)
    }))
}

/// A tensor `[batch, tokens, heads, dim]` whose heads lie side by side; tokens and batches may
/// have something between them.
fn rows_of_heads(tensor: Tensor) -> Tensor {
    let [_, _, heads, dim]: [usize; 4] = dims(&tensor);
    let [_, _, head_stride, stride]: [i64; 4] = strides(&tensor);
    if (stride == 1 || dim == 1) && (head_stride == dim as i64 || heads == 1) {
        tensor
    } else {
        contiguous(tensor)
    }
}

fn narrow(engine: &Engine, element: Element, qkv: [Tensor; 3], causal: bool) -> Tensor {
    let [q, k, v] = qkv;
    let [batch, tokens, heads, dim] = dims(&q);
    let [_, keys, _, _] = dims::<4>(&k);
    let elements = batch * tokens * heads * dim;
    let out = engine.run(&q.client, |scope| {
        let out = scope.empty(elements * element.size());
        if elements > 0 {
            let [batch_stride, token_stride, ..] = strides::<4>(&v);
            // All values are in one tensor.
            let values = Tokens {
                first: scope.pointer(&v.handle),
                rest: 0,
                split: tokens.max(keys),
                token_stride,
                batch_stride,
            };
            let result = Tokens {
                first: scope.pointer(&out),
                token_stride: (heads * dim) as i64,
                batch_stride: (tokens * heads * dim) as i64,
                ..values
            };
            start(engine, scope, element, [&q, &k], [values, result], causal)?;
        }
        Ok(out)
    });
    over(&q, out, [batch, tokens, heads, dim].into(), q.dtype)
}

pub(super) fn joint_attention(
    call: JointAttention<'_, Cuda>,
) -> Result<[Typed<4>; 2], JointAttention<'_, Cuda>> {
    let [[_, firsts, heads, dim], [batch, seconds, ..]] = call.v.each_ref().map(Typed::dims);
    let lengths = call.lengths;
    let of_lengths = |sequences: &[Typed<4>]| {
        let expected = lengths
            .iter()
            .map(|length| [1, length + seconds, heads, dim]);
        sequences.iter().map(Typed::dims).eq(expected)
    };
    let fits = dim <= WIDEST_HEAD
        && firsts == lengths.iter().sum::<usize>()
        && batch == lengths.len()
        && of_lengths(&call.q)
        && of_lengths(&call.k);
    let (engine, element) = match engine_of(&call.v[0]) {
        Some(engine) if fits => engine,
        _ => return Err(call),
    };
    let JointAttention { q, k, v, .. } = call;
    let dtype = v[0].dtype();
    let [first, second] = v.map(|v| contiguous(in_dtype(raw(v), dtype)));
    let of_heads = |tensors: Vec<Typed<4>>| -> Vec<Tensor> {
        let tensors = tensors.into_iter();
        tensors
            .map(|tensor| rows_of_heads(in_dtype(raw(tensor), dtype)))
            .collect()
    };
    let (q, k) = (of_heads(q), of_heads(k));
    let token_bytes = (heads * dim * element.size()) as u64;
    let out = engine.run(&first.client, |scope| {
        let out = [firsts, batch * seconds]
            .map(|tokens| scope.empty(tokens * heads * dim * element.size()));
        let mut start_of_first = 0;
        for (index, &length) in lengths.iter().enumerate() {
            let sequence = |[first, second]: [u64; 2]| {
                let second = second + (index * seconds) as u64 * token_bytes;
                Tokens {
                    first: first + start_of_first as u64 * token_bytes,
                    // The kernel counts tokens of the whole sequence from here.
                    rest: second.wrapping_sub(length as u64 * token_bytes),
                    split: length,
                    token_stride: (heads * dim) as i64,
                    batch_stride: 0,
                }
            };
            let values = sequence([&first, &second].map(|v| scope.pointer(&v.handle)));
            let result = sequence([&out[0], &out[1]].map(|out| scope.pointer(out)));
            let tokens = [values, result];
            if length + seconds > 0 {
                start(
                    &engine,
                    scope,
                    element,
                    [&q[index], &k[index]],
                    tokens,
                    false,
                )?;
            }
            start_of_first += length;
        }
        Ok(out)
    });
    let [first_out, second_out] = out;
    let first_shape = [1, firsts, heads, dim].into();
    let second_shape = [batch, seconds, heads, dim].into();
    Ok([
        typed(over(&first, first_out, first_shape, dtype)),
        typed(over(&second, second_out, second_shape, dtype)),
    ])
}

/// The place of values or results, whose heads lie side by side.
#[derive(Clone, Copy)]
struct Tokens {
    first: u64,
    /// The address that tokens from `split` on are counted from.
    rest: u64,
    split: usize,
    token_stride: i64,
    batch_stride: i64,
}

/// Starts the kernel for queries and keys, values and results.
fn start(
    engine: &Engine,
    scope: &Scope<'_>,
    element: Element,
    [q, k]: [&Tensor; 2],
    [v, out]: [Tokens; 2],
    causal: bool,
) -> Result<(), DriverError> {
    let [batch, tokens, heads, dim] = dims(q);
    let [_, keys, kv_heads, _] = dims::<4>(k);
    let (kernel, grid) = launch(engine, element, [batch, tokens, heads, dim], causal);
    let [[q_batch, q_token, ..], [k_batch, k_token, ..]] = [q, k].map(strides::<4>);
    let mut args = vec![
        Arg::Pointer(scope.pointer(&q.handle)),
        Arg::Pointer(scope.pointer(&k.handle)),
        Arg::Pointer(v.first),
        Arg::Pointer(out.first),
    ];
    args.extend([tokens, keys, heads, kv_heads, dim].map(|size| Arg::Int(size as i32)));
    let token_strides = [q_token, k_token, v.token_stride, out.token_stride];
    let batch_strides = [q_batch, k_batch, v.batch_stride, out.batch_stride];
    args.extend(token_strides.map(Arg::Long));
    args.extend(batch_strides.map(Arg::Long));
    args.extend([
        Arg::Float(1.0 / (dim as f32).sqrt()),
        Arg::Pointer(v.rest),
        Arg::Pointer(out.rest),
        Arg::Int(v.split as i32),
    ]);
    scope.launch(&kernel, grid, &args)
}

/// The kernel for a shape, and its grid.
fn launch(
    engine: &Engine,
    element: Element,
    [batch, tokens, heads, dim]: [usize; 4],
    causal: bool,
) -> (String, Grid) {
    let (name, queries) = match element {
        Element::F32 => ("attention_f32", 64),
        Element::Bf16 if dim <= 64 => ("attention_bf16_d64", 128),
        Element::Bf16 if engine.is_hopper() => ("attention_bf16_d128_sm90", 192),
        // Two blocks to a multiprocessor hide each other's waits, if both fit.
        Element::Bf16 if engine.shared_memory() >= 2 * 66_560 => ("attention_bf16_d128", 128),
        Element::Bf16 => ("attention_bf16_d128_narrow", 128),
    };
    let name = if causal {
        format!("{name}_causal")
    } else {
        name.to_owned()
    };
    let grid = (tokens.div_ceil(queries) as u32, heads as u32, batch as u32);
    (name, grid)
}

/// One head that is wider than the kernels hold, f32: scores of some rows at a time, by products.
fn wide(engine: &Engine, q: Tensor, k: Tensor, v: Tensor) -> Tensor {
    let [q, k, v] = [q, k, v].map(contiguous);
    let [batch, tokens, _, dim] = dims(&q);
    let [_, keys, _, _] = dims::<4>(&k);
    let size = size_of::<f32>();
    let out = engine.run(&q.client, |scope| {
        let out = scope.empty(batch * tokens * dim * size);
        let rows = (COLUMNS / (keys * size).max(1)).clamp(1, tokens.max(1));
        for image in 0..batch {
            let at = |tensor: u64, row: usize, length: usize| {
                tensor + ((image * length + row) * dim * size) as u64
            };
            for row in (0..tokens).step_by(rows) {
                let count = rows.min(tokens - row);
                let operands = Wide {
                    q: at(scope.pointer(&q.handle), row, tokens),
                    k: at(scope.pointer(&k.handle), 0, keys),
                    v: at(scope.pointer(&v.handle), 0, keys),
                    out: at(scope.pointer(&out), row, tokens),
                };
                operands.attend(scope, [count, keys, dim])?;
            }
        }
        Ok(out)
    });
    over(&q, out, [batch, tokens, 1, dim].into(), DType::F32)
}

/// The addresses of some rows of one image.
struct Wide {
    q: u64,
    k: u64,
    v: u64,
    out: u64,
}

impl Wide {
    fn attend(&self, scope: &Scope<'_>, [rows, keys, dim]: [usize; 3]) -> Result<(), DriverError> {
        let Some(blas) = scope.blas() else {
            return Ok(());
        };
        let scores = scope.scratch(Use::Columns, rows * keys * size_of::<f32>())?;
        let product = Product {
            m: rows,
            n: keys,
            k: dim,
            weight: Layout::Rows,
            y_leading: keys,
            element: Element::F32,
            codes: None,
            addend: false,
            bias: false,
            gelu: false,
        };
        let operands = |x, w, y| Operands {
            x,
            w,
            y,
            addend: 0,
            bias: 0,
            alpha: None,
            scales: None,
        };
        blas.multiply(scope.lane()?, product, operands(self.q, self.k, scores));
        let grid = (rows as u32, 1, 1);
        let scale = 1.0 / (dim as f32).sqrt();
        scope.launch(
            "softmax_rows_f32",
            grid,
            &[
                Arg::Pointer(scores),
                Arg::Long(keys as i64),
                Arg::Float(scale),
            ],
        )?;
        let product = Product {
            n: dim,
            k: keys,
            weight: Layout::Columns,
            y_leading: dim,
            ..product
        };
        blas.multiply(scope.lane()?, product, operands(scores, self.v, self.out));
        Ok(())
    }
}
