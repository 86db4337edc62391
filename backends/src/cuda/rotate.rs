//! Norm and rotation of queries and keys.

use burn::tensor::DType;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::{THREADS, blocks, in_dtype};
use super::tensor::{Element, Tensor, contiguous, dims, over};
use crate::fused::{Rotation, Turned};

/// See [`crate::fused::rms_norm_rotate`]; without a weight there is no norm.
pub(super) fn rms_norm_rotate(
    x: Tensor,
    weight: Option<Tensor>,
    (cos, sin): (Tensor, Tensor),
    rotation: Rotation,
    epsilon: f64,
) -> Option<Tensor> {
    let engine = Engine::of(&x.device).ok()?;
    let turning = Turning::new(x, weight, (cos, sin), rotation, epsilon)?;
    let x = &turning.x;
    let [batch, tokens, heads, dim] = dims(x);
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(batch * tokens * heads * dim * turning.element.size());
        let all = Tokens {
            first_token: 0,
            tokens,
            first_batch: 0,
            batches: batch,
        };
        turning.run(scope, all, scope.pointer(&y))?;
        Ok(y)
    });
    Some(over(x, y, [batch, tokens, heads, dim].into(), x.dtype))
}

/// See [`crate::fused::rms_norm_rotate_joined`].
pub(super) fn rms_norm_rotate_joined(
    first: Turned<Cuda>,
    second: Turned<Cuda>,
    lengths: &[usize],
    rotation: Rotation,
    epsilon: f64,
) -> Option<Vec<Tensor>> {
    let engine = Engine::of(&first.x.device).ok()?;
    let turning = |sequence: Turned<Cuda>| {
        let table = (sequence.cos, sequence.sin);
        Turning::new(sequence.x, Some(sequence.weight), table, rotation, epsilon)
    };
    let (first, second) = (turning(first)?, turning(second)?);
    let x = &second.x;
    let [_, tokens, heads, dim] = dims(x);
    let token_bytes = heads * dim * second.element.size();
    let joined = engine.run(&x.client, |scope| {
        let joined: Vec<Handle> = lengths
            .iter()
            .map(|length| scope.empty((length + tokens) * token_bytes))
            .collect();
        let mut start = 0;
        for (batch, (&length, y)) in lengths.iter().zip(&joined).enumerate() {
            let y = scope.pointer(y);
            let of_first = Tokens {
                first_token: start,
                tokens: length,
                first_batch: 0,
                batches: 1,
            };
            first.run(scope, of_first, y)?;
            let of_second = Tokens {
                first_token: 0,
                tokens,
                first_batch: batch,
                batches: 1,
            };
            second.run(scope, of_second, y + (length * token_bytes) as u64)?;
            start += length;
        }
        Ok(joined)
    });
    let joined = joined.into_iter().zip(lengths);
    let tensors = joined
        .map(|(y, length)| over(x, y, [1, length + tokens, heads, dim].into(), x.dtype))
        .collect();
    Some(tensors)
}

/// Some of a tensor's tokens.
#[derive(Clone, Copy)]
struct Tokens {
    first_token: usize,
    tokens: usize,
    first_batch: usize,
    batches: usize,
}

/// Norm and rotation of a tensor `[batch, tokens, heads, dim]`.
struct Turning {
    element: Element,
    x: Tensor,
    weight: Option<Tensor>,
    cos: Tensor,
    sin: Tensor,
    rotation: Rotation,
    epsilon: f64,
}

impl Turning {
    /// `None` where the kernel does not know the dtype or the heads' size.
    fn new(
        x: Tensor,
        weight: Option<Tensor>,
        (cos, sin): (Tensor, Tensor),
        rotation: Rotation,
        epsilon: f64,
    ) -> Option<Self> {
        const LARGEST_DIM: usize = 256;
        let element = Element::of(x.dtype)?;
        let [_, _, _, dim]: [usize; 4] = dims(&x);
        if dim > LARGEST_DIM || !dim.is_multiple_of(2) {
            return None;
        }
        let [cos, sin] = [cos, sin].map(|table| contiguous(in_dtype(table, DType::F32)));
        Some(Self {
            element,
            x: contiguous(x),
            weight: weight.map(|weight| contiguous(in_dtype(weight, DType::F32))),
            cos,
            sin,
            rotation,
            epsilon,
        })
    }

    /// Starts the kernel on some tokens, whose results follow each other from `y` on.
    fn run(&self, scope: &Scope<'_>, part: Tokens, y: u64) -> Result<(), DriverError> {
        let [_, tokens, heads, dim]: [usize; 4] = dims(&self.x);
        if part.tokens * part.batches * heads * dim == 0 {
            return Ok(());
        }
        // Vectors that a block takes at a time.
        let at_once = match dim {
            0..=64 => 32,
            65..=128 => 16,
            _ => 8,
        };
        let first = (part.first_batch * tokens + part.first_token) * heads * dim;
        let x = scope.pointer(&self.x.handle) + (first * self.element.size()) as u64;
        let weight = self.weight.as_ref();
        let weight = weight.map_or(0, |weight| scope.pointer(&weight.handle));
        let row = part.first_token * (dim / 2) * size_of::<f32>();
        let angles = |table: &Tensor| Arg::Pointer(scope.pointer(&table.handle) + row as u64);
        let grid = Grid {
            blocks: (blocks(part.tokens * heads, at_once), 1, part.batches as u32),
            threads: THREADS,
            shared: 0,
        };
        let token_stride = (heads * dim) as i64;
        scope.launch(
            &self.element.kernel("rms_norm_rotate"),
            grid,
            &[
                Arg::Pointer(x),
                Arg::Pointer(weight),
                angles(&self.cos),
                angles(&self.sin),
                Arg::Pointer(y),
                Arg::Int(part.tokens as i32),
                Arg::Int(heads as i32),
                Arg::Int(dim as i32),
                Arg::Long(token_stride),
                Arg::Long(token_stride),
                Arg::Long(tokens as i64 * token_stride),
                Arg::Long(part.tokens as i64 * token_stride),
                Arg::Float(self.epsilon as f32),
                Arg::Int(i32::from(self.rotation == Rotation::Halves)),
            ],
        )
    }
}
