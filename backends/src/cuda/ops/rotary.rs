//! Norm and rotary embedding of queries and keys.

use std::sync::Arc;

use burn::tensor::DType;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::linear::blocks;
use crate::cuda::element::Element;
use crate::cuda::engine::Engine;
use crate::cuda::launch::{Arg, Grid};
use crate::cuda::scope::Scope;
use crate::cuda::tensor::{Tensor, Typed, contiguous, dims, engine_of, in_dtype, over, raw, typed};
use crate::kernels::{JointRmsNormRotary, RmsNormRotary, RotaryEmbedding, Rotation, Sequence};

/// The most sequences that one launch joins.
pub(super) const AT_ONCE: usize = 2;

pub(super) fn rotary_embedding(
    call: RotaryEmbedding<Cuda>,
) -> Result<Typed<4>, RotaryEmbedding<Cuda>> {
    let Some((engine, element)) = engine_for(&call.x) else {
        return Err(call);
    };
    let RotaryEmbedding {
        x,
        cos,
        sin,
        rotation,
    } = call;
    let rotary = Rotary::new(element, x, None, [cos, sin], (rotation, 0.0));
    Ok(rotary.run_alone(&engine))
}

pub(super) fn rms_norm_rotary(call: RmsNormRotary<Cuda>) -> Result<Typed<4>, RmsNormRotary<Cuda>> {
    let Some((engine, element)) = engine_for(&call.sequence.x) else {
        return Err(call);
    };
    let rotary = Rotary::of(element, call.sequence, (call.rotation, call.epsilon));
    Ok(rotary.run_alone(&engine))
}

pub(super) fn joint_rms_norm_rotary(
    call: JointRmsNormRotary<'_, Cuda>,
) -> Result<Vec<Typed<4>>, JointRmsNormRotary<'_, Cuda>> {
    let [batch, tokens, heads, dim] = call.second.x.dims();
    let lengths = call.lengths;
    let (engine, element) = match [&call.first.x, &call.second.x].map(engine_for) {
        [Some((_, first)), Some((engine, second))]
            if first == second
                && call.first.x.dims() == [1, lengths.iter().sum(), heads, dim]
                && batch == lengths.len() =>
        {
            (engine, second)
        }
        _ => return Err(call),
    };
    let constants = (call.rotation, call.epsilon);
    let first = Rotary::of(element, call.first, constants);
    let second = Rotary::of(element, call.second, constants);
    let x = &second.x;
    let token_bytes = heads * dim * element.size();
    let joined = engine.run(&x.client, |scope| {
        let joined: Vec<Handle> = lengths
            .iter()
            .map(|length| scope.empty((length + tokens) * token_bytes))
            .collect();
        join_all(scope, (&first, &second), lengths, &joined)?;
        Ok(joined)
    });
    let joined = joined.into_iter().zip(lengths);
    let tensors = joined
        .map(|(y, length)| over(x, y, [1, length + tokens, heads, dim].into(), x.dtype))
        .map(typed)
        .collect();
    Ok(tensors)
}

/// The engine that rotates a tensor's heads; `None` where the kernel does not know the dtype or
/// the size of the heads.
fn engine_for(x: &Typed<4>) -> Option<(Arc<Engine>, Element)> {
    const LARGEST_DIM: usize = 256;
    let [_, _, _, dim] = x.dims();
    let fits = dim <= LARGEST_DIM && dim.is_multiple_of(2);
    fits.then(|| engine_of(x)).flatten()
}

/// Starts the kernel for all joint sequences `ys`, each of which begins with a length of tokens of
/// `first`.
fn join_all(
    scope: &Scope<'_>,
    (first, second): (&Rotary, &Rotary),
    lengths: &[usize],
    ys: &[Handle],
) -> Result<(), DriverError> {
    let mut start = 0;
    for (pair, lengths) in lengths.chunks(AT_ONCE).enumerate() {
        let range = pair * AT_ONCE..pair * AT_ONCE + lengths.len();
        let parts = (
            first.after_tokens(start),
            second.after_batches(pair * AT_ONCE),
        );
        join(scope, parts, lengths, &ys[range])?;
        start += lengths.iter().sum::<usize>();
    }
    Ok(())
}

/// Starts the kernel that joins the tokens of two tensors to at most [`AT_ONCE`] sequences `ys`,
/// each of which has a length of tokens of the first tensor.
fn join(
    scope: &Scope<'_>,
    (first, second): (Part<'_>, Part<'_>),
    lengths: &[usize],
    ys: &[Handle],
) -> Result<(), DriverError> {
    let rotary = second.rotary;
    let [_, tokens, heads, dim]: [usize; 4] = dims(&rotary.x);
    let longest = lengths.iter().max().map_or(0, |length| length + tokens);
    if longest * heads * dim == 0 {
        return Ok(());
    }
    let mut args: Vec<Arg> = [first, second]
        .into_iter()
        .flat_map(|part| part.pointers(scope))
        .map(Arg::Pointer)
        .collect();
    args.extend([0, 1].map(|i| Arg::Pointer(ys.get(i).map_or(0, |y| scope.pointer(y)))));
    args.extend(two_lengths(lengths));
    args.extend([tokens, heads, dim].map(|size| Arg::Int(size as i32)));
    args.extend(rotary.constants());
    let grid = rotary.grid(longest, lengths.len());
    scope.launch(
        &rotary.element.kernel("rms_norm_rotate_joined"),
        grid,
        &args,
    )
}

/// The lengths of at most [`AT_ONCE`] sequences as arguments of a kernel; missing ones are 0.
pub(super) fn two_lengths(lengths: &[usize]) -> [Arg; AT_ONCE] {
    std::array::from_fn(|i| Arg::Int(lengths.get(i).map_or(0, |&length| length as i32)))
}

/// A tensor from some token on.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    rotary: &'a Rotary,
    /// The index of its first token in the memory of the tensor.
    token: usize,
    /// The index of its first token in the table of angles.
    angle: usize,
}

impl Part<'_> {
    /// The addresses of the tokens, of the weight (0 if there is none) and of the angles.
    pub(super) fn pointers(&self, scope: &Scope<'_>) -> [u64; 4] {
        let Rotary {
            x,
            weight,
            cos,
            sin,
            element,
            ..
        } = self.rotary;
        let [_, _, heads, dim]: [usize; 4] = dims(x);
        let first = self.token * heads * dim * element.size();
        let row = self.angle * (dim / 2) * size_of::<f32>();
        let weight = weight.as_ref();
        [
            scope.pointer(&x.handle) + first as u64,
            weight.map_or(0, |weight| scope.pointer(&weight.handle)),
            scope.pointer(&cos.handle) + row as u64,
            scope.pointer(&sin.handle) + row as u64,
        ]
    }
}

/// Norm and rotary embedding of a tensor `[batch, tokens, heads, dim]`.
pub(super) struct Rotary {
    element: Element,
    x: Tensor,
    weight: Option<Tensor>,
    cos: Tensor,
    sin: Tensor,
    rotation: Rotation,
    epsilon: f64,
}

impl Rotary {
    /// Prepares norm and rotary embedding of a sequence.
    pub(super) fn of(
        element: Element,
        sequence: Sequence<Cuda>,
        constants: (Rotation, f64),
    ) -> Self {
        let Sequence {
            x,
            weight,
            cos,
            sin,
        } = sequence;
        Self::new(element, x, Some(weight), [cos, sin], constants)
    }

    /// Prepares the rotary embedding of a tensor, with a norm before it if there is a weight.
    fn new(
        element: Element,
        x: Typed<4>,
        weight: Option<Typed<1>>,
        angles: [Typed<2>; 2],
        (rotation, epsilon): (Rotation, f64),
    ) -> Self {
        let [cos, sin] = angles.map(|table| contiguous(in_dtype(raw(table), DType::F32)));
        Self {
            element,
            x: contiguous(raw(x)),
            weight: weight.map(|weight| contiguous(in_dtype(raw(weight), DType::F32))),
            cos,
            sin,
            rotation,
            epsilon,
        }
    }

    /// Starts the kernel on the whole tensor, as a run of its own.
    fn run_alone(&self, engine: &Engine) -> Typed<4> {
        let [batch, tokens, heads, dim] = dims(&self.x);
        let y = engine.run(&self.x.client, |scope| {
            let y = scope.empty(batch * tokens * heads * dim * self.element.size());
            self.run(scope, scope.pointer(&y))?;
            Ok(y)
        });
        let shape = [batch, tokens, heads, dim].into();
        typed(over(&self.x, y, shape, self.x.dtype))
    }

    /// The tensor after so many tokens of its only batch.
    pub(super) fn after_tokens(&self, tokens: usize) -> Part<'_> {
        Part {
            rotary: self,
            token: tokens,
            angle: tokens,
        }
    }

    /// The tensor after so many batches.
    pub(super) fn after_batches(&self, batches: usize) -> Part<'_> {
        let [_, tokens, ..]: [usize; 4] = dims(&self.x);
        Part {
            rotary: self,
            token: batches * tokens,
            angle: 0,
        }
    }

    /// A grid for so many tokens of each of `batches`.
    fn grid(&self, tokens: usize, batches: usize) -> Grid {
        /// Heads that a thread has at a time.
        const HEADS: usize = 4;
        let [_, _, heads, dim]: [usize; 4] = dims(&self.x);
        // Runs of heads that a block takes at a time.
        let at_once = match dim {
            0..=64 => 32,
            65..=128 => 16,
            _ => 8,
        };
        (
            blocks(tokens * heads.div_ceil(HEADS), at_once),
            1,
            batches as u32,
        )
    }

    /// The last arguments of the kernels.
    fn constants(&self) -> [Arg; 2] {
        [
            Arg::Float(self.epsilon as f32),
            Arg::Int(i32::from(self.rotation == Rotation::Halves)),
        ]
    }

    /// Starts the kernel on the whole tensor, with results from `y` on.
    fn run(&self, scope: &Scope<'_>, y: u64) -> Result<(), DriverError> {
        let [batch, tokens, heads, dim]: [usize; 4] = dims(&self.x);
        if batch * tokens * heads * dim == 0 {
            return Ok(());
        }
        let token_stride = (heads * dim) as i64;
        let batch_stride = tokens as i64 * token_stride;
        let mut args: Vec<Arg> = self
            .after_batches(0)
            .pointers(scope)
            .map(Arg::Pointer)
            .to_vec();
        args.push(Arg::Pointer(y));
        args.extend([tokens, heads, dim].map(|n| Arg::Int(n as i32)));
        args.extend([token_stride, token_stride, batch_stride, batch_stride].map(Arg::Long));
        args.extend(self.constants());
        scope.launch(
            &self.element.kernel("rms_norm_rotate"),
            self.grid(tokens, batch),
            &args,
        )
    }
}
