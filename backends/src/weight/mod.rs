//! Rank-2 weights as Burn modules, and the products with them.

#[cfg(any(feature = "cuda", all(test, feature = "flex")))]
pub(crate) mod by_row;
mod format;
pub(crate) mod linear;
pub(crate) mod portable;

use burn::module::{Module, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Int, Tensor};

use self::linear::{dense_linear, dense_rows, packed_linear, packed_rows, quantized_linear};
use crate::fp8::Arithmetic;
use crate::kernels::{
    Activation, Activations, DenseLinear, DenseRows, Epilogue, Kernels, PackedLinear, PackedMatrix,
    PackedRows, QuantizedLinear,
};
use crate::parameters::TensorPart;

pub use format::{PackedFormat, WeightFormat};

/// The weight `[out, in]` of a linear layer, or the rows of an embedding, in its file's format.
#[derive(Module, Debug)]
pub enum Weight<B: Backend> {
    /// Float elements: BF16, F16 or F32 `[out, in]`.
    Dense(Param<Tensor<B, 2>>),
    /// Blocks of bytes and their scale.
    Packed(PackedWeight<B>),
}

/// Blocks of a [`PackedFormat`] with one scale for the whole tensor, or for each row:
/// `value = unpack(block) * scale`.
#[derive(Module, Debug)]
pub struct PackedWeight<B: Backend> {
    /// U8 `[out, bytes of a row]`: the bytes of the file, unchanged.
    pub bytes: Param<Tensor<B, 2, Int>>,
    /// f32 `[1]`, or `[out]` with one for each row; 1 where the file has none. It is the loader that
    /// knows which.
    pub scale: Param<Tensor<B, 1>>,
    /// The format of the blocks.
    pub format: PackedFormat,
    /// The form of the activations that the weight is multiplied with.
    pub arithmetic: Arithmetic,
}

impl<B: Backend> Weight<B> {
    /// A weight `[out, in]` that holds no memory until a loader fills it; read before that, it
    /// is zero.
    pub fn uninitialized(shape: [usize; 2], format: WeightFormat, device: &B::Device) -> Self {
        match format {
            WeightFormat::Dense => Self::Dense(uninitialized_float(shape, device)),
            WeightFormat::Packed(format) => {
                let [out, width] = shape;
                let shape = [out, format.row_bytes(width)];
                Self::Packed(PackedWeight {
                    bytes: Param::uninitialized(
                        ParamId::new(),
                        move |device, _| Tensor::zeros(shape, (device, DType::U8)),
                        device.clone(),
                        false,
                        shape.into(),
                    ),
                    scale: uninitialized_float([1], device),
                    format,
                    arithmetic: Arithmetic::Exact,
                })
            }
        }
    }

    /// Its parameters' ids, with what each takes of the weight's tensor in a file.
    pub fn parameters(&self) -> Vec<(ParamId, TensorPart)> {
        match self {
            Self::Dense(elements) => vec![(elements.id, TensorPart::Elements)],
            Self::Packed(weight) => vec![
                (weight.bytes.id, TensorPart::Codes),
                (weight.scale.id, TensorPart::Scale),
            ],
        }
    }

    /// Sets what an FP8 weight is multiplied with; any other stays exact.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        if let Self::Packed(weight) = self {
            let PackedFormat::Fp8(_) = weight.format;
            weight.arithmetic = arithmetic;
        }
    }

    /// Tells whether the weight is multiplied with activations that are quantized to FP8.
    pub fn quantizes_activations(&self) -> bool {
        matches!(self, Self::Packed(weight) if weight.arithmetic == Arithmetic::Fp8)
    }

    /// `[out, in]`, without filling the weight.
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight) => weight.lazy_shape().dims(),
            Self::Packed(weight) => {
                let [out, bytes] = weight.bytes.lazy_shape().dims();
                [out, weight.format.row_elements(bytes)]
            }
        }
    }
}

impl<B: Kernels> Weight<B> {
    /// `activation(x · weightᵀ + bias + addend)` for `x` float `[..., in]`, giving `[..., out]` in
    /// `x`'s dtype; `addend` is of that shape and dtype.
    pub fn linear<const D: usize>(
        &self,
        x: Tensor<B, D>,
        bias: Option<&Param<Tensor<B, 1>>>,
        addend: Option<Tensor<B, D>>,
        activation: Activation,
    ) -> Tensor<B, D> {
        let mut shape = x.dims();
        let rows = shape[..D - 1].iter().product::<usize>();
        let [out, _] = self.shape();
        shape[D - 1] = out;
        let epilogue = Epilogue {
            bias: bias.map(Param::val),
            addend: addend.map(|addend| addend.reshape([rows, out])),
            activation,
        };
        self.multiply(Activations::of(x), epilogue).reshape(shape)
    }

    /// `epilogue(x · weightᵀ)`, float `[rows, out]`, in the dtype that the activations have or had
    /// before they were quantized.
    pub fn multiply(&self, x: Activations<B>, epilogue: Epilogue<B>) -> Tensor<B, 2> {
        match self {
            Self::Dense(weight) => dense_linear(DenseLinear {
                x: x.float(),
                weight: weight.val(),
                epilogue,
            }),
            Self::Packed(weight) => match weight.arithmetic {
                Arithmetic::Exact => packed_linear(PackedLinear {
                    x: x.float(),
                    weight: weight.matrix(),
                    epilogue,
                }),
                Arithmetic::Fp8 => quantized_linear(QuantizedLinear {
                    x: x.quantized(),
                    weight: weight.matrix(),
                    epilogue,
                }),
            },
        }
    }

    /// The rows named by `indices` (int `[n]`), as `dtype` `[n, in]`: an embedding look-up.
    pub fn rows(&self, indices: Tensor<B, 1, Int>, dtype: FloatDType) -> Tensor<B, 2> {
        match self {
            Self::Dense(weight) => dense_rows(DenseRows {
                weight: weight.val(),
                indices,
                dtype,
            }),
            Self::Packed(weight) => packed_rows(PackedRows {
                weight: weight.matrix(),
                indices,
                dtype,
            }),
        }
    }
}

impl<B: Kernels> PackedWeight<B> {
    fn matrix(&self) -> PackedMatrix<B> {
        PackedMatrix {
            bytes: self.bytes.val(),
            scale: self.scale.val(),
            format: self.format,
        }
    }
}

/// A float parameter that holds no memory until a loader fills it; read before that, it is
/// zero.
pub fn uninitialized_float<B: Backend, const D: usize>(
    shape: [usize; D],
    device: &B::Device,
) -> Param<Tensor<B, D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, _| Tensor::zeros(shape, (device, DType::F32)),
        device.clone(),
        false,
        shape.into(),
    )
}
