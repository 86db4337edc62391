//! The device memory that kernels hold while they run, in bytes.
//!
//! A plan adds these figures up before anything is loaded. They are upper bounds. Inputs belong to
//! the caller and are not counted; results are, unless they take the place of an input.
//!
//! Each file of figures lies beside the kernels that it speaks of, and has the sizes of tiles and
//! scratch memory that those kernels use. All are part of every build, since a plan can be made for
//! a device that the build cannot use.

#[path = "cuda/working_memory.rs"]
pub(crate) mod cuda;
#[path = "flex/working_memory.rs"]
pub(crate) mod flex;
mod portable;

use std::num::NonZeroUsize;

use burn::tensor::{DType, FloatDType};

use crate::fp8::Arithmetic;
use crate::storage::{KernelSet, ModelBackend};

pub use cuda::FEW_ROWS;

/// Bytes of an f32.
pub const F32: u64 = size_of::<f32>() as u64;

/// Bytes of an f64.
const F64: u64 = size_of::<f64>() as u64;

/// Everything but the sizes that decides how much memory a computation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numerics {
    /// The dtype of activations.
    pub dtype: FloatDType,
    /// The kernels that run.
    pub kernels: RunningKernels,
    /// How FP8 weights of the transformer's blocks are multiplied.
    pub arithmetic: Arithmetic,
}

/// The kernels of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningKernels {
    /// The processor's own. They work in f32 and in place, and each thread has scratch memory of
    /// its own.
    Processor {
        /// Threads that work at the same time.
        threads: NonZeroUsize,
    },
    /// The kernels for NVIDIA GPUs. Each makes its result in one go, and all share scratch memory.
    Cuda,
    /// Compositions of Burn's operations, which hold f32 copies and attention scores, with
    /// kernels that decode a part of a weight at a time.
    Portable,
}

impl RunningKernels {
    /// The kernels of a set, on this machine.
    pub fn of(set: KernelSet) -> Self {
        match set {
            KernelSet::Processor => Self::Processor {
                threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            },
            KernelSet::Cuda => Self::Cuda,
            KernelSet::Portable => Self::Portable,
        }
    }
}

/// The sizes of an attention call.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Queries.
    pub tokens: u64,
    /// Keys.
    pub keys: u64,
    /// Heads of the queries.
    pub heads: u64,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// Channels of a head.
    pub dim: u64,
    /// Set where a query sees only the keys up to its own place.
    pub causal: bool,
}

impl AttentionShape {
    /// Elements of the queries, and of the result.
    fn queries(self) -> u64 {
        self.tokens * self.heads * self.dim
    }
}

impl Numerics {
    /// The numerics of a backend that computes in `dtype`, without quantizing activations to FP8.
    pub fn of<B: ModelBackend>(dtype: FloatDType) -> Self {
        Self {
            dtype,
            kernels: RunningKernels::of(B::KERNELS),
            arithmetic: Arithmetic::Exact,
        }
    }

    /// The same with activations in f32.
    pub fn in_f32(self) -> Self {
        Self {
            dtype: FloatDType::F32,
            ..self
        }
    }

    /// The memory that a phase takes of a device whose pool keeps blocks of every size that was in
    /// use: `percent` of the `bytes` that are in use at the same time.
    pub fn pooled(self, bytes: u64, percent: u64) -> u64 {
        match self.kernels {
            RunningKernels::Cuda => bytes / 100 * percent,
            RunningKernels::Processor { .. } | RunningKernels::Portable => bytes,
        }
    }

    /// Bytes of an activation.
    fn element(self) -> u64 {
        DType::from(self.dtype).size() as u64
    }

    /// Bytes of `elements` activations.
    pub fn bytes(self, elements: u64) -> u64 {
        elements * self.element()
    }

    /// Bytes of an f32 copy: none if activations are f32.
    fn widened(self, elements: u64) -> u64 {
        match self.element() == F32 {
            true => 0,
            false => F32 * elements,
        }
    }

    /// The memory that stays allocated between two products.
    pub fn kept_between_products(self) -> u64 {
        match self.kernels {
            RunningKernels::Processor { threads } => flex::kept_between_products(threads),
            RunningKernels::Cuda => cuda::WORKSPACE as u64,
            RunningKernels::Portable => 0,
        }
    }

    /// The memory that stays allocated between linear layers of `rows` rows whose weights are
    /// decoded from the formats of their files.
    pub fn kept_between_layers(self, rows: u64) -> u64 {
        let decoded = match self.kernels {
            RunningKernels::Processor { threads } => flex::kept_tiles(threads, rows),
            RunningKernels::Cuda | RunningKernels::Portable => 0,
        };
        decoded + self.kept_between_products()
    }

    /// The memory that a linear layer holds on the side stream, beside another one on the main
    /// stream, with a weight of so many elements.
    pub fn side_stream(self, weight: u64) -> u64 {
        match self.kernels {
            RunningKernels::Cuda => cuda::side_stream(self, weight),
            RunningKernels::Processor { .. } | RunningKernels::Portable => 0,
        }
    }

    /// The part of `bytes` that a device keeps until a stream ends, if they are dropped between
    /// the layers of the stream: a device that is handed all layers at once keeps everything.
    pub fn kept_until_stream_ends(self, bytes: u64) -> u64 {
        match self.kernels {
            RunningKernels::Cuda => bytes,
            RunningKernels::Processor { .. } | RunningKernels::Portable => 0,
        }
    }

    /// A linear layer from `input` to `output` features.
    pub fn linear(self, rows: u64, input: u64, output: u64) -> u64 {
        let product = match self.kernels {
            RunningKernels::Processor { threads } => {
                flex::linear(self, threads, rows, input, output)
            }
            RunningKernels::Cuda => cuda::linear(self, rows, input, output),
            RunningKernels::Portable => portable::linear(self, rows, input, output),
        };
        self.quantizing(rows, input, output) + product
    }

    /// The memory that quantizing a layer's input to FP8 adds. The layers with many rows that do so
    /// have no more input than output features.
    fn quantizing(self, rows: u64, input: u64, output: u64) -> u64 {
        let elements = rows * input.min(output);
        match (self.arithmetic, self.kernels) {
            (Arithmetic::Exact, _) => 0,
            (Arithmetic::Fp8, RunningKernels::Cuda) if self.element() < F32 => {
                cuda::quantizing(elements, rows, output)
            }
            (Arithmetic::Fp8, _) => portable::quantizing(elements, rows, output),
        }
    }

    /// A linear layer with LoRA adapters of a rank, whose product is added to its result. Rank 0
    /// stands for no adapter.
    pub fn adapted_linear(self, rows: u64, input: u64, output: u64, rank: u64) -> u64 {
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
            RunningKernels::Processor { .. } => flex::sum(self, elements),
            // In place, or as part of the product.
            RunningKernels::Cuda | RunningKernels::Portable => self.bytes(elements),
        };
        down.max(up).max(self.bytes(elements) + linear.max(sum))
    }

    /// A linear layer with an activation function of its result.
    pub fn activated_linear(self, rows: u64, input: u64, output: u64) -> u64 {
        let linear = self.linear(rows, input, output);
        match self.kernels {
            // In place, before the result is cast, or as part of the product.
            RunningKernels::Processor { .. } | RunningKernels::Cuda => linear,
            RunningKernels::Portable => {
                let result = rows * output;
                linear.max(self.bytes(result) + self.in_place(result))
            }
        }
    }

    /// A norm of rows whose input stays.
    pub fn norm(self, elements: u64) -> u64 {
        match self.kernels {
            RunningKernels::Processor { .. } => flex::norm(self, elements),
            RunningKernels::Cuda => self.bytes(elements),
            RunningKernels::Portable => portable::norm(elements),
        }
    }

    /// A norm, a rotary embedding or an activation function whose result takes the place of its
    /// input.
    pub fn in_place(self, elements: u64) -> u64 {
        match self.kernels {
            RunningKernels::Processor { .. } => flex::in_place(self, elements),
            RunningKernels::Cuda => self.bytes(elements),
            RunningKernels::Portable => portable::in_place(self, elements),
        }
    }

    /// `silu(gate) * up`, which takes the place of `gate`.
    pub fn silu_mul(self, elements: u64) -> u64 {
        match self.kernels {
            RunningKernels::Processor { .. } => flex::of_two(self, elements),
            RunningKernels::Cuda => self.bytes(elements),
            RunningKernels::Portable => portable::silu_mul(self, elements),
        }
    }

    /// A gated sum, which takes the place of the residual.
    fn gated_add(self, elements: u64) -> u64 {
        match self.kernels {
            RunningKernels::Processor { .. } => flex::of_two(self, elements),
            RunningKernels::Cuda => self.bytes(elements),
            RunningKernels::Portable => 2 * self.widened(elements),
        }
    }

    /// A gated sum, which takes the place of the residual, and its norm, which takes the place of
    /// what was added.
    pub fn gated_add_norm(self, elements: u64) -> u64 {
        match self.kernels {
            // Both at the same time.
            RunningKernels::Cuda => 2 * self.bytes(elements),
            RunningKernels::Processor { .. } | RunningKernels::Portable => {
                self.gated_add(elements).max(self.norm(elements))
            }
        }
    }

    /// Attention, after which queries, keys and values are not needed.
    pub fn attention(self, shape: AttentionShape) -> u64 {
        match self.kernels {
            RunningKernels::Processor { threads } => flex::attention(self, threads, shape),
            RunningKernels::Cuda => cuda::attention(self, shape),
            RunningKernels::Portable => portable::attention(self, shape),
        }
    }

    /// The elements of the f32 maps of `[height, width]` that a 3 x 3 convolution holds, its input
    /// and its output included.
    pub fn convolution_maps(self, [height, width]: [u64; 2], input: u64, output: u64) -> u64 {
        let area = height * width;
        match self.kernels {
            // The input is copied into a map with a border of zeros.
            RunningKernels::Processor { .. } | RunningKernels::Cuda => {
                input * (area + (height + 2) * (width + 2)) + output * area
            }
            RunningKernels::Portable => portable::convolution_maps(area, input, output),
        }
    }

    /// The elements of the f32 maps of `[height, width]` that a norm of a pixel's channels holds,
    /// with the activation function after it, without its input.
    pub fn channel_norm_maps(self, [height, width]: [u64; 2], channels: u64) -> u64 {
        let map = channels * height * width;
        match self.kernels {
            RunningKernels::Processor { .. } | RunningKernels::Cuda => map,
            RunningKernels::Portable => portable::channel_norm_maps(map),
        }
    }

    /// A 3 x 3 convolution's scratch memory on maps of `[height, width]`, without its input, its
    /// padded input and its output. The weight is f32 `[output, input, 3, 3]`.
    pub fn convolution_scratch(self, size: [u64; 2], input: u64, output: u64) -> u64 {
        match self.kernels {
            RunningKernels::Processor { threads } => {
                flex::convolution_scratch(threads, size, input, output)
            }
            RunningKernels::Cuda => cuda::COLUMNS as u64,
            RunningKernels::Portable => portable::convolution_scratch(input, output),
        }
    }
}
