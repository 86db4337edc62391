//! Attention on eight bits: queries and keys as integers, values and weights as E4M3 codes.

use burn::tensor::DType;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::quantize::empty_rows;
use super::rotary::{AT_ONCE, Rotary, two_lengths};
use crate::cuda::element::Element;
use crate::cuda::engine::Engine;
use crate::cuda::launch::{Arg, Grid};
use crate::cuda::scope::Scope;
use crate::cuda::tensor::{Tensor, Typed, contiguous, dims, empty, engine_of, raw, typed};
use crate::kernels::{Activations, NormedJointAttention, Rotation};

/// Tokens of a tile, and the widest head.
const TILE: usize = 128;
/// Queries of a block.
const QUERIES: usize = 192;

/// Computes the whole attention in one run. The kernels are for Hopper and bf16.
pub(super) fn joint_attention(
    call: NormedJointAttention<'_, Cuda>,
) -> Result<[Activations<Cuda>; 2], NormedJointAttention<'_, Cuda>> {
    match engine_of(&call.v[0]) {
        Some((engine, Element::Bf16)) if engine.is_hopper() && fits(&call) => {
            Ok(QuantizedAttention::new(call).run(&engine))
        }
        _ => Err(call),
    }
}

/// An attention with memory for its results.
struct QuantizedAttention<'a> {
    /// The queries of the first and of the second tensor.
    q: [Rotary; 2],
    k: [Rotary; 2],
    v: [Tensor; 2],
    lengths: &'a [usize],
    epsilon: f64,
    results: [Activations<Cuda>; 2],
}

/// Queries, keys or values of one sequence, in tiles.
struct Tiles {
    /// One byte for each element; the last tile of a head has its full size.
    codes: Handle,
    /// Numbers for each tile of a head, f32. Queries and keys have two: the scale of their integers
    /// and the length of the longest row. Values have one: the exponent of the power of two that
    /// scales their codes.
    scales: Handle,
}

/// The sequences of a launch.
#[derive(Clone, Copy)]
struct Group<'a> {
    lengths: &'a [usize],
    /// Tokens of the first tensors before them, and batches of the second.
    tokens: usize,
    batches: usize,
}

impl<'a> QuantizedAttention<'a> {
    fn new(call: NormedJointAttention<'a, Cuda>) -> Self {
        let constants = (call.rotation, call.epsilon);
        let rotary = |sequence| Rotary::of(Element::Bf16, sequence, constants);
        let v = call.v.map(|v| contiguous(raw(v)));
        let results = v.each_ref().map(|v| {
            let [batch, tokens, heads, dim] = dims(v);
            let (rows, width) = (batch * tokens, heads * dim);
            match call.quantize_results {
                false => Activations::Float(typed(empty(v, [rows, width].into(), DType::BF16))),
                true => Activations::Quantized(empty_rows(v, rows, width)),
            }
        });
        Self {
            q: call.q.map(rotary),
            k: call.k.map(rotary),
            v,
            lengths: call.lengths,
            epsilon: call.epsilon,
            results,
        }
    }

    /// Runs all kernels: `[rows, channels]` of the tokens of the first and of the second tensor.
    fn run(self, engine: &Engine) -> [Activations<Cuda>; 2] {
        let [_, seconds, heads, _]: [usize; 4] = dims(&self.v[1]);
        engine.run(&self.v[0].client, |scope| {
            let longest = self.lengths.iter().max().map_or(0, |first| first + seconds);
            let tiles = heads * longest.div_ceil(TILE);
            // Each group's take the place of the last one's.
            let [q, k, v]: [[Tiles; AT_ONCE]; 3] = std::array::from_fn(|_| {
                std::array::from_fn(|_| Tiles {
                    codes: scope.empty(tiles * TILE * TILE),
                    scales: scope.empty(tiles * size_of::<[f32; 2]>()),
                })
            });
            let mut tokens = 0;
            for (index, lengths) in self.lengths.chunks(AT_ONCE).enumerate() {
                let group = Group {
                    lengths,
                    tokens,
                    batches: index * AT_ONCE,
                };
                self.quantize_queries_and_keys(scope, group, [&q, &k])?;
                self.quantize_values(scope, group, &v)?;
                for i in 0..lengths.len() {
                    self.attend(scope, group, i, [&q[i], &k[i], &v[i]])?;
                }
                tokens += lengths.iter().sum::<usize>();
            }
            Ok(())
        });
        self.results
    }

    /// Tokens of the second tensors, heads, and their size.
    fn shape(&self) -> [usize; 3] {
        let [_, seconds, heads, dim] = dims(&self.v[1]);
        [seconds, heads, dim]
    }

    /// The arguments of a kernel that fills tiles: where codes and scales go, and the sizes.
    fn places_and_sizes(
        &self,
        scope: &Scope<'_>,
        group: Group<'_>,
        places: &[&[Tiles; AT_ONCE]],
    ) -> Vec<Arg> {
        let tiles = || places.iter().copied().flatten();
        let codes = tiles().map(|tiles| &tiles.codes);
        let handles = codes.chain(tiles().map(|tiles| &tiles.scales));
        let pointers = handles.map(|handle| Arg::Pointer(scope.pointer(handle)));
        pointers
            .chain(two_lengths(group.lengths))
            .chain(self.shape().map(|size| Arg::Int(size as i32)))
            .collect()
    }

    fn quantize_queries_and_keys(
        &self,
        scope: &Scope<'_>,
        group: Group<'_>,
        places: [&[Tiles; AT_ONCE]; 2],
    ) -> Result<(), DriverError> {
        /// Heads of a block.
        const HEADS: usize = 6;
        let parts = [&self.q, &self.k].into_iter().flat_map(|[first, second]| {
            let (tokens, batches) = (group.tokens, group.batches);
            [first.after_tokens(tokens), second.after_batches(batches)]
        });
        let mut args: Vec<Arg> = parts
            .flat_map(|part| part.pointers(scope))
            .map(Arg::Pointer)
            .collect();
        args.extend(self.places_and_sizes(scope, group, &places));
        args.push(Arg::Float(self.epsilon as f32));
        let [seconds, heads, _] = self.shape();
        let grid = group.blocks(seconds, heads.div_ceil(HEADS), places.len());
        launch(scope, "rms_norm_rotate_joined_quantize_bf16", grid, &args)
    }

    fn quantize_values(
        &self,
        scope: &Scope<'_>,
        group: Group<'_>,
        places: &[Tiles; AT_ONCE],
    ) -> Result<(), DriverError> {
        let [seconds, heads, dim] = self.shape();
        let token_bytes = heads * dim * size_of::<u16>();
        let before = [group.tokens, group.batches * seconds];
        let mut args = vec![];
        for (v, tokens) in self.v.iter().zip(before) {
            let first = scope.pointer(&v.handle) + (tokens * token_bytes) as u64;
            args.push(Arg::Pointer(first));
        }
        args.extend(self.places_and_sizes(scope, group, &[places]));
        let grid = group.blocks(seconds, heads, 1);
        launch(scope, "fp8_quantize_values_bf16", grid, &args)
    }

    /// Starts the attention within the sequence of an index of the group.
    fn attend(
        &self,
        scope: &Scope<'_>,
        group: Group<'_>,
        index: usize,
        qkv: [&Tiles; 3],
    ) -> Result<(), DriverError> {
        let [seconds, heads, dim] = self.shape();
        let length = group.lengths[index];
        let before = [
            group.tokens + group.lengths[..index].iter().sum::<usize>(),
            (group.batches + index) * seconds,
        ];
        let mut args = qkv
            .map(|tiles| Arg::Pointer(scope.pointer(&tiles.codes)))
            .to_vec();
        args.extend(qkv.map(|tiles| Arg::Pointer(scope.pointer(&tiles.scales))));
        // The second tensor's as if the tokens of the first lay before them.
        let places = |tensors: [&Tensor; 2], row_bytes: usize| {
            let [first, second] = std::array::from_fn(|i| {
                scope.pointer(&tensors[i].handle) + (before[i] * row_bytes) as u64
            });
            [first, second.wrapping_sub((length * row_bytes) as u64)].map(Arg::Pointer)
        };
        let row = heads * dim;
        match &self.results {
            [Activations::Quantized(a), Activations::Quantized(b)] => {
                args.extend(places([&a.values, &b.values], row));
                args.extend(places([&a.scales, &b.scales], size_of::<f32>()));
            }
            [Activations::Float(a), Activations::Float(b)] => {
                let [a, b] = [a, b].map(|result| raw(result.clone()));
                args.extend(places([&a, &b], row * size_of::<u16>()));
                args.extend([Arg::Pointer(0); 2]);
            }
            _ => unreachable!("results are of one form"),
        }
        let tokens = length + seconds;
        args.extend([length, tokens, heads, dim].map(|size| Arg::Int(size as i32)));
        args.push(Arg::Float(1.0 / (dim as f32).sqrt()));
        let grid = (tokens.div_ceil(QUERIES) as u32, heads as u32, 1);
        launch(scope, "attention_quantized_d128_sm90", grid, &args)
    }
}

/// Tells whether the kernels know the dtypes, the shapes and the rotation of a call.
fn fits(call: &NormedJointAttention<'_, Cuda>) -> bool {
    let NormedJointAttention { q, k, v, .. } = call;
    // Elements that the kernels move at once.
    let group = if call.quantize_results { 16 } else { 8 };
    let [[_, firsts, heads, dim], [batch, seconds, ..]] = v.each_ref().map(Typed::dims);
    let shapes = [[1, firsts, heads, dim], [batch, seconds, heads, dim]];
    let all_fit = |tensors: [&Typed<4>; 2]| {
        let mut tensors = tensors.into_iter().zip(shapes);
        tensors.all(|(tensor, shape)| tensor.dtype() == DType::BF16 && tensor.dims() == shape)
    };
    let alike = all_fit([&v[0], &v[1]]) && [q, k].into_iter().all(|[a, b]| all_fit([&a.x, &b.x]));
    alike
        && firsts == call.lengths.iter().sum::<usize>()
        && batch == call.lengths.len()
        && dim <= TILE
        && dim.is_multiple_of(group)
        && call.rotation == Rotation::AdjacentPairs
}

impl Group<'_> {
    /// A grid over the tiles of the longest sequence (each has `seconds` tokens of the second
    /// tensor), over runs of heads, and over the tensors of each sequence.
    fn blocks(&self, seconds: usize, runs: usize, tensors: usize) -> (u32, u32, u32) {
        let longest = self.lengths.iter().max().map_or(0, |first| first + seconds);
        let tiles = longest.div_ceil(TILE) as u32;
        (tiles, runs as u32, (tensors * self.lengths.len()) as u32)
    }
}

/// Starts a kernel, unless there is nothing to do.
fn launch(scope: &Scope<'_>, name: &str, grid: Grid, args: &[Arg]) -> Result<(), DriverError> {
    let (x, y, z) = grid;
    match x * y * z {
        0 => Ok(()),
        _ => scope.launch(name, grid, args),
    }
}
