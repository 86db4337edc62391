//! Norm and rotation of queries and keys.

use burn::tensor::DType;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::{THREADS, blocks, in_dtype};
use super::tensor::{Element, Tensor, contiguous, dims, over};
use crate::fused::{Rotation, Turned};

/// Sequences of a launch that joins them.
pub(super) const AT_ONCE: usize = 2;

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
        turning.run(scope, scope.pointer(&y))?;
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
    let first = Turning::of(first, rotation, epsilon)?;
    let second = Turning::of(second, rotation, epsilon)?;
    let x = &second.x;
    let [batch, tokens, heads, dim] = dims(x);
    let fits = dims(&first.x) == [1, lengths.iter().sum(), heads, dim] && batch == lengths.len();
    if first.element != second.element || !fits {
        return None;
    }
    let token_bytes = heads * dim * second.element.size();
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
        .collect();
    Some(tensors)
}

/// Starts the kernel on all sequences `ys`, in which so many tokens of `first` come first.
fn join_all(
    scope: &Scope<'_>,
    (first, second): (&Turning, &Turning),
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

/// Starts the kernel that joins tokens of two tensors to at most two sequences `ys`, of which the
/// first tensor has `lengths` tokens.
fn join(
    scope: &Scope<'_>,
    (first, second): (Part<'_>, Part<'_>),
    lengths: &[usize],
    ys: &[Handle],
) -> Result<(), DriverError> {
    let turning = second.turning;
    let [_, tokens, heads, dim]: [usize; 4] = dims(&turning.x);
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
    args.extend(turning.constants());
    let grid = turning.grid(longest, lengths.len());
    scope.launch(
        &turning.element.kernel("rms_norm_rotate_joined"),
        grid,
        &args,
    )
}

/// The arguments of a kernel that takes the lengths of [`AT_ONCE`] sequences, or of fewer.
pub(super) fn two_lengths(lengths: &[usize]) -> [Arg; AT_ONCE] {
    std::array::from_fn(|i| Arg::Int(lengths.get(i).map_or(0, |&length| length as i32)))
}

/// A tensor from some token on.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    turning: &'a Turning,
    /// Of the whole memory.
    token: usize,
    /// Of the table of angles.
    angle: usize,
}

impl Part<'_> {
    /// Where the tokens, the weight (or none) and the angles are.
    pub(super) fn pointers(&self, scope: &Scope<'_>) -> [u64; 4] {
        let Turning {
            x,
            weight,
            cos,
            sin,
            element,
            ..
        } = self.turning;
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

/// Norm and rotation of a tensor `[batch, tokens, heads, dim]`.
pub(super) struct Turning {
    element: Element,
    x: Tensor,
    weight: Option<Tensor>,
    cos: Tensor,
    sin: Tensor,
    rotation: Rotation,
    epsilon: f64,
}

impl Turning {
    /// See [`new`](Self::new).
    pub(super) fn of(sequence: Turned<Cuda>, rotation: Rotation, epsilon: f64) -> Option<Self> {
        let table = (sequence.cos, sequence.sin);
        Self::new(sequence.x, Some(sequence.weight), table, rotation, epsilon)
    }

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

    /// The tensor after so many tokens of its only batch.
    pub(super) fn after_tokens(&self, tokens: usize) -> Part<'_> {
        Part {
            turning: self,
            token: tokens,
            angle: tokens,
        }
    }

    /// The tensor after so many batches.
    pub(super) fn after_batches(&self, batches: usize) -> Part<'_> {
        let [_, tokens, ..]: [usize; 4] = dims(&self.x);
        Part {
            turning: self,
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
        Grid {
            blocks: (
                blocks(tokens * heads.div_ceil(HEADS), at_once),
                1,
                batches as u32,
            ),
            threads: THREADS,
            shared: 0,
        }
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
