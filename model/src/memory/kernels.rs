//! What a kernel holds while it runs. Inputs are the caller's, so they are not counted; outputs
//! are, unless they take the place of an input.

use backends::Arithmetic;
use burn::tensor::DType;

use super::{Kernels, Numerics};

/// Bytes of an f32.
pub(super) const F32: u64 = 4;

/// Bytes of an f64.
const F64: u64 = 8;

/// Weight elements that the portable linear layer decodes at a time.
const DECODE_CHUNK: u64 = 16 << 20;

/// Rows of a weight that a thread of the processor decodes at a time, if there are many rows of
/// activations.
const TILE_ROWS: u64 = 256;

/// Rows of activations from which that applies.
const MANY_ROWS: u64 = 128;

/// Elements that a thread decodes at a time for fewer rows, and the fewest rows of a weight.
const SMALL_TILE_ELEMENTS: u64 = 256 << 10;
const SMALL_TILE_ROWS: u64 = 48;

/// Rows of activations that fill a vector.
const LANES: u64 = 16;

/// Most elements of a decoded tile that a thread keeps for its next one.
const KEPT_ELEMENTS: u64 = 1 << 20;

/// What a thread keeps from one product to the next: a slab of the size of a second-level cache.
const SLAB: u64 = 2 << 20;

/// How many rows of an operand a product packs at a time.
const PACKED_DEPTH: u64 = 512;

/// Accumulators in a convolution's block, and the fewest pixels.
const CONVOLUTION_ELEMENTS: u64 = 256 << 10;
const CONVOLUTION_PIXELS: u64 = 512;

/// Scores in a block of attention, and the fewest and most queries.
const SCORES: u64 = 256 << 10;
const QUERIES: std::ops::RangeInclusive<u64> = 64..=256;

/// Scratch memory of the products on an NVIDIA GPU, and that of columns and wide heads' scores.
const PRODUCT_SCRATCH: u64 = 32 << 20;
const COLUMN_SCRATCH: u64 = 128 << 20;

/// The widest head whose scores stay in a GPU's registers.
const WIDEST_HEAD: u64 = 128;

/// The sizes of an attention call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    /// Queries.
    pub(super) tokens: u64,
    /// Keys.
    pub(super) keys: u64,
    /// Heads of the queries.
    pub(super) heads: u64,
    /// Heads of keys and values.
    pub(super) kv_heads: u64,
    /// Channels of a head.
    pub(super) dim: u64,
    /// Whether a mask is needed.
    pub(super) causal: bool,
}

impl Numerics {
    /// Bytes of an element.
    fn size(self) -> u64 {
        DType::from(self.dtype).size() as u64
    }

    /// Bytes of `elements` activations.
    pub(super) fn bytes(self, elements: u64) -> u64 {
        elements * self.size()
    }

    /// Bytes of an f32 copy: none if activations are f32.
    fn widened(self, elements: u64) -> u64 {
        if self.size() == F32 {
            0
        } else {
            F32 * elements
        }
    }

    /// What the processor holds while it makes an f32 copy, the copy included: casts go through
    /// f64.
    fn widening(self, elements: u64) -> u64 {
        if self.size() == F32 {
            0
        } else {
            (F64 + F32) * elements
        }
    }

    /// What the processor holds beside an f32 result while it casts it to `dtype`.
    fn narrowing(self, elements: u64) -> u64 {
        if self.size() == F32 {
            0
        } else {
            F64 * elements + self.bytes(elements)
        }
    }

    /// What threads keep between products.
    pub(super) fn slabs(self) -> u64 {
        match self.kernels {
            Kernels::Processor { threads } => threads.get() as u64 * SLAB,
            Kernels::Cuda => PRODUCT_SCRATCH,
            Kernels::Portable => 0,
        }
    }

    /// What threads keep between products of `rows` rows with weights in their files' formats: a
    /// decoded tile too, if there are many rows.
    pub(super) fn tiles_and_slabs(self, rows: u64) -> u64 {
        match self.kernels {
            Kernels::Processor { threads } if rows >= MANY_ROWS => {
                threads.get() as u64 * F32 * KEPT_ELEMENTS + self.slabs()
            }
            _ => self.slabs(),
        }
    }

    /// What a second linear layer at the same time holds, with a weight of so many elements: room for
    /// products, and for the decoded weight.
    pub(super) fn beside(self, elements: u64) -> u64 {
        match (self.kernels, self.arithmetic) {
            (Kernels::Cuda, Arithmetic::Exact) => PRODUCT_SCRATCH + self.bytes(elements),
            (Kernels::Cuda, Arithmetic::Fp8) => PRODUCT_SCRATCH,
            _ => 0,
        }
    }

    /// Of what is given back between the layers of a stream, what a device holds to their end that is given
    /// all of them at once.
    pub(super) fn held_to_the_end(self, bytes: u64) -> u64 {
        match self.kernels {
            Kernels::Cuda => bytes,
            Kernels::Processor { .. } | Kernels::Portable => 0,
        }
    }

    /// A linear layer from `input` to `output` features.
    pub(super) fn linear(self, rows: u64, input: u64, output: u64) -> u64 {
        self.rounding(rows, input, output) + self.exact_linear(rows, input, output)
    }

    /// What rounding a layer's input to FP8 adds. The layers with many rows that do so are not
    /// wider than their result.
    fn rounding(self, rows: u64, input: u64, output: u64) -> u64 {
        let elements = rows * input.min(output);
        match (self.arithmetic, self.kernels) {
            (Arithmetic::Exact, _) => 0,
            (Arithmetic::Fp8, Kernels::Cuda) if self.size() < F32 => {
                elements + F32 * (rows + output)
            }
            // The input, divided and rounded, with its step; then the result, scaled.
            (Arithmetic::Fp8, _) => (4 * F32 * elements).max(F32 * (elements + 2 * rows * output)),
        }
    }

    fn exact_linear(self, rows: u64, input: u64, output: u64) -> u64 {
        let result = rows * output;
        match self.kernels {
            Kernels::Processor { threads } => {
                let threads = threads.get() as u64;
                let tile = if rows < MANY_ROWS {
                    let tile = (SMALL_TILE_ELEMENTS / input.max(1)).max(SMALL_TILE_ROWS) * input;
                    // The rows may instead be transposed into vector lanes.
                    (threads * tile).max((rows + LANES) * input)
                } else {
                    let tile = TILE_ROWS.min(output.div_ceil(threads)) * input;
                    let kept = if tile <= KEPT_ELEMENTS { tile } else { 0 };
                    let packed = PACKED_DEPTH.min(input) * (rows + TILE_ROWS);
                    threads * (tile - kept + packed)
                };
                let x = self.widened(rows * input);
                let scratch = (F32 * tile).max(self.narrowing(result));
                self.widening(rows * input).max(x + F32 * result + scratch)
            }
            // The decoded weight, and the bias.
            Kernels::Cuda => self.bytes(result + output * input + output),
            Kernels::Portable => {
                let chunk = (DECODE_CHUNK / input.max(1)).max(1).min(output) * input;
                let decoding = self.bytes(chunk + rows * chunk / input.max(1));
                let chunks = self.bytes(result);
                let joined = 2 * self.bytes(result);
                let scaled = self.bytes(result) + F32 * result;
                (decoding + chunks).max(joined).max(scaled)
            }
        }
    }

    /// A linear layer with adapters of a rank, if it is not 0, whose product is added to its
    /// result.
    pub(super) fn adapted_linear(self, rows: u64, input: u64, output: u64, rank: u64) -> u64 {
        let linear = self.linear(rows, input, output);
        if rank == 0 {
            return linear;
        }
        // What the adapters give comes first, and waits for the product that it is added to.
        let elements = rows * output;
        let (down, up) = (
            self.linear(rows, input, rank),
            self.bytes(rows * rank) + self.linear(rows, rank, output),
        );
        let sum = match self.kernels {
            Kernels::Processor { .. } => F32 * elements + self.widening(elements),
            // In place, or as part of the product.
            Kernels::Cuda | Kernels::Portable => self.bytes(elements),
        };
        down.max(up).max(self.bytes(elements) + linear.max(sum))
    }

    /// A linear layer with an activation of its result.
    pub(super) fn activated_linear(self, rows: u64, input: u64, output: u64) -> u64 {
        let linear = self.linear(rows, input, output);
        match self.kernels {
            // In place, before the result is cast, or as part of the product.
            Kernels::Processor { .. } | Kernels::Cuda => linear,
            Kernels::Portable => {
                let result = rows * output;
                linear.max(self.bytes(result) + self.replace(result))
            }
        }
    }

    /// A norm of rows whose input stays.
    pub(super) fn norm(self, elements: u64) -> u64 {
        match self.kernels {
            Kernels::Processor { .. } => F32 * elements + self.narrowing(elements),
            Kernels::Cuda => self.bytes(elements),
            // The centred rows and their squares.
            Kernels::Portable => 2 * F32 * elements,
        }
    }

    /// A norm, a rotation or an activation that takes the place of its input.
    pub(super) fn replace(self, elements: u64) -> u64 {
        match self.kernels {
            Kernels::Processor { .. } => self.widening(elements),
            Kernels::Cuda => self.bytes(elements),
            // The rows and their squares, cubes or rotated halves, both in f32.
            Kernels::Portable => 2 * F32 * elements - self.bytes(elements),
        }
    }

    /// `silu(gate) * up`, which takes the place of `gate`.
    pub(super) fn silu_mul(self, elements: u64) -> u64 {
        match self.kernels {
            Kernels::Processor { .. } => self.widened(elements) + self.narrowing(elements),
            Kernels::Cuda => self.bytes(elements),
            // Both factors and the sigmoid, all in f32.
            Kernels::Portable => F32 * elements + 2 * self.widened(elements),
        }
    }

    /// A gated sum, which takes the place of the residual.
    pub(super) fn gated_add(self, elements: u64) -> u64 {
        match self.kernels {
            Kernels::Processor { .. } => self.widened(elements) + self.narrowing(elements),
            Kernels::Cuda => self.bytes(elements),
            Kernels::Portable => 2 * self.widened(elements),
        }
    }

    /// A gated sum, which takes the place of the residual, and the norm of it, which takes that of
    /// what was added.
    pub(super) fn gated_add_norm(self, elements: u64) -> u64 {
        match self.kernels {
            // Both at once.
            Kernels::Cuda => 2 * self.bytes(elements),
            Kernels::Processor { .. } | Kernels::Portable => {
                self.gated_add(elements).max(self.norm(elements))
            }
        }
    }

    /// Attention. Queries, keys and values are not needed afterwards.
    pub(super) fn attention(self, sizes: Attention) -> u64 {
        let Attention {
            tokens,
            keys,
            heads,
            kv_heads,
            dim,
            causal,
        } = sizes;
        let queries = tokens * heads * dim;
        let pairs = 2 * keys * kv_heads * dim;
        match self.kernels {
            Kernels::Processor { threads } => {
                let rows = (SCORES / keys.max(1)).clamp(*QUERIES.start(), *QUERIES.end());
                let rows = rows.min(tokens);
                let scratch = rows * (keys + 2 * dim) + PACKED_DEPTH * (keys + rows + dim);
                // A head's keys and values, side by side.
                let by_head = if kv_heads == 1 { 0 } else { pairs };
                let scratch = F32 * threads.get() as u64 * scratch;
                self.widened(queries + pairs)
                    + F32 * (by_head + queries)
                    + scratch.max(self.narrowing(queries))
            }
            // Wide heads, which the VAE has, meet a share of their scores at a time.
            Kernels::Cuda => {
                let scores = if dim > WIDEST_HEAD { COLUMN_SCRATCH } else { 0 };
                self.bytes(queries) + scores
            }
            Kernels::Portable => {
                // Keys and values once for each head that shares them, and what the products
                // want contiguous.
                let repeated = if kv_heads == heads {
                    0
                } else {
                    2 * keys * heads * dim
                };
                let contiguous = queries + 2 * keys * heads * dim;
                // The flash kernels fall back to a matrix of scores, and tuning tries it.
                let scores = heads * tokens * keys;
                let mask = if causal { (4 + 1) * tokens * keys } else { 0 };
                self.bytes(repeated + contiguous + scores + queries) + mask
            }
        }
    }

    /// A convolution's scratch on maps of `height` x `width`, beside its input, its padded input
    /// and its output: the weight tap by tap, the threads' accumulators and packed operands.
    pub(super) fn convolution_scratch(
        self,
        [height, width]: [u64; 2],
        input: u64,
        output: u64,
    ) -> u64 {
        match self.kernels {
            Kernels::Processor { threads } => {
                let threads = threads.get() as u64;
                let width = width + 2;
                let pixels = CONVOLUTION_PIXELS.max(CONVOLUTION_ELEMENTS / output.max(1));
                let rows = (pixels / width).min(height.div_ceil(threads)).max(1);
                let pixels = rows * width;
                let packed = PACKED_DEPTH.min(input) * (pixels + output);
                F32 * (9 * input * output + threads * (pixels * output + packed))
            }
            Kernels::Cuda => COLUMN_SCRATCH,
            Kernels::Portable => F32 * 9 * input * output,
        }
    }
}
