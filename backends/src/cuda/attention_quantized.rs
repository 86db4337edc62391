//! Attention on eight bits: queries and keys as integers, values and weights as E4M3 codes.

use burn::tensor::DType;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::rotate::{JoinedIntegers, rms_norm_rotate_joined_rounded};
use super::tensor::{Tensor, contiguous, dims, over};
use crate::fused::{Rotation, Turned};

/// Tokens of a tile, and the widest head.
pub(super) const TILE: usize = 128;

/// Bytes of tiles, for so many tokens of each head.
pub(super) fn tile_bytes(tokens: usize, heads: usize) -> usize {
    heads * tokens.div_ceil(TILE) * TILE * TILE
}

/// Bytes of an f32 for each tile.
pub(super) fn scale_bytes(tokens: usize, heads: usize) -> usize {
    heads * tokens.div_ceil(TILE) * size_of::<f32>()
}

/// Whether there are kernels for a joint attention: on Hopper, in bf16.
pub(super) fn is_possible(
    turned: [&[Turned<Cuda>; 2]; 2],
    v: &[Tensor; 2],
    lengths: &[usize],
    rotation: Rotation,
) -> bool {
    /// Elements that the kernels move at once.
    const GROUP: usize = 8;
    let [firsts, heads, dim] = [1, 2, 3].map(|axis| v[0].meta.shape()[axis]);
    let [batch, seconds, ..]: [usize; 4] = dims(&v[1]);
    let shapes = [[1, firsts, heads, dim], [batch, seconds, heads, dim]];
    let fits = |tensor: &Tensor, shape| tensor.dtype == DType::BF16 && dims::<4>(tensor) == shape;
    let all_fit = |tensors: [&Tensor; 2]| tensors.into_iter().zip(shapes).all(|(x, s)| fits(x, s));
    let alike = all_fit([&v[0], &v[1]]) && turned.iter().all(|[a, b]| all_fit([&a.x, &b.x]));
    alike
        && firsts == lengths.iter().sum::<usize>()
        && batch == lengths.len()
        && dim <= TILE
        && dim.is_multiple_of(GROUP)
        && rotation == Rotation::AdjacentPairs
        && Engine::of(&v[0].device).is_ok_and(|engine| engine.is_hopper())
}

/// See [`Fp8Ops::joint_attention_rounded`](crate::fp8::Fp8Ops::joint_attention_rounded), where it
/// [is possible](is_possible).
///
/// # Panics
/// Where it is not.
pub(super) fn joint_attention_rounded(
    q: [Turned<Cuda>; 2],
    k: [Turned<Cuda>; 2],
    v: [Tensor; 2],
    lengths: &[usize],
    epsilon: f64,
) -> [Tensor; 2] {
    let [Some(q), Some(k)] =
        [q, k].map(|turned| rms_norm_rotate_joined_rounded(turned, lengths, epsilon))
    else {
        panic!("queries and keys have a form that attention on eight bits does not know");
    };
    let Ok(engine) = Engine::of(&v[0].device) else {
        panic!("attention on eight bits without a CUDA engine");
    };
    let [first, second] = v.map(contiguous);
    let [firsts, heads, dim] = [1, 2, 3].map(|axis| first.meta.shape()[axis]);
    let [batch, seconds, ..]: [usize; 4] = dims(&second);
    let [first_out, second_out] = engine.run(&first.client, |scope| {
        let token_bytes = heads * dim * size_of::<u16>();
        let out = [firsts, batch * seconds].map(|tokens| scope.empty(tokens * token_bytes));
        // One sequence's values at a time: the next one's take their place.
        let longest = lengths.iter().max().map_or(0, |length| length + seconds);
        let values = Values {
            tiles: scope.empty(tile_bytes(longest, heads)),
            powers: scope.empty(scale_bytes(longest, heads)),
        };
        let mut start = 0;
        for (index, &length) in lengths.iter().enumerate() {
            let sequence = |parts: [&Handle; 2]| {
                let [first, second] = parts.map(|part| scope.pointer(part));
                let second = second + (index * seconds * token_bytes) as u64;
                Split {
                    first: first + (start * token_bytes) as u64,
                    // As if the tokens before them lay there too.
                    rest: second.wrapping_sub((length * token_bytes) as u64),
                    split: length,
                }
            };
            if length + seconds > 0 {
                let shape = [length + seconds, heads, dim];
                values.round(scope, sequence([&first.handle, &second.handle]), shape)?;
                let out = sequence([&out[0], &out[1]]);
                attend(scope, [&q, &k], index, &values, out, shape)?;
            }
            start += length;
        }
        Ok(out)
    });
    [
        over(&first, first_out, first.meta.shape().clone(), DType::BF16),
        over(
            &second,
            second_out,
            second.meta.shape().clone(),
            DType::BF16,
        ),
    ]
}

/// Where tokens of values or results are; from `split` on they are counted from `rest`.
#[derive(Clone, Copy)]
struct Split {
    first: u64,
    rest: u64,
    split: usize,
}

/// Values as codes, and the powers of two that multiply their tiles.
struct Values {
    tiles: Handle,
    powers: Handle,
}

impl Values {
    /// Starts to round values.
    fn round(
        &self,
        scope: &Scope<'_>,
        values: Split,
        [tokens, heads, dim]: [usize; 3],
    ) -> Result<(), DriverError> {
        let mut args = [values.first, values.rest].map(Arg::Pointer).to_vec();
        args.extend([&self.tiles, &self.powers].map(|part| Arg::Pointer(scope.pointer(part))));
        args.extend([values.split, tokens, heads, dim].map(|size| Arg::Int(size as i32)));
        let grid = Grid {
            blocks: (tokens.div_ceil(TILE) as u32, heads as u32, 1),
            threads: 256,
            shared: 0,
        };
        scope.launch("fp8_quantize_values_bf16", grid, &args)
    }
}

/// Starts the attention within the sequence of an index.
fn attend(
    scope: &Scope<'_>,
    [q, k]: [&JoinedIntegers; 2],
    index: usize,
    values: &Values,
    out: Split,
    [tokens, heads, dim]: [usize; 3],
) -> Result<(), DriverError> {
    let inputs = [
        &q.tiles[index],
        &k.tiles[index],
        &values.tiles,
        &q.scales[index],
        &k.scales[index],
        &values.powers,
    ];
    let mut args = inputs
        .map(|input| Arg::Pointer(scope.pointer(input)))
        .to_vec();
    args.extend([out.first, out.rest].map(Arg::Pointer));
    args.extend([out.split, tokens, heads, dim].map(|size| Arg::Int(size as i32)));
    args.push(Arg::Float(1.0 / (dim as f32).sqrt()));
    let grid = Grid {
        blocks: (tokens.div_ceil(TILE) as u32, heads as u32, 1),
        threads: 384,
        shared: 180_352,
    };
    scope.launch("attention_quantized_d128_sm90", grid, &args)
}
