//! The backend extension that multiplies with weights in their file's format.

use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};

use super::codec::Fp8Format;
use super::layer::Activations;
use super::stream_call::{StreamCall, StreamResult};
use super::{portable, rounding};
use crate::fused::{FusedOps, Rotation, Turned};

/// What a linear layer with an FP8 weight multiplies it with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Activations as they are; the weight is decoded, which is exact.
    #[default]
    Exact,
    /// Activations rounded to E4M3, each token by a scale of its own, for products on FP8 tensor
    /// cores ("W8A8").
    Fp8,
}

/// What a linear layer does to its result, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// The tanh form of GELU, as [`gelu_tanh`](crate::fused::gelu_tanh).
    GeluTanh,
}

/// What follows a product: `activation(product + bias + addend)`, rounded to the result's dtype at
/// the end, or at each step.
#[derive(Clone, Debug)]
pub struct Epilogue<B: Backend> {
    /// Float `[out]`.
    pub bias: Option<FloatTensor<B>>,
    /// Float `[rows, out]`, in the dtype of the result.
    pub addend: Option<FloatTensor<B>>,
    /// The last to be applied.
    pub activation: Activation,
}

impl<B: Backend> Epilogue<B> {
    /// Nothing.
    pub const NONE: Self = Self {
        bias: None,
        addend: None,
        activation: Activation::None,
    };
}

/// Rows `[rows, in]` of activations rounded to E4M3, each divided by a scale of its own, as the
/// backend that made them keeps them.
#[derive(Clone, Debug)]
pub struct RoundedRows<B: Backend> {
    /// Numbers of the format, or their codes.
    pub(crate) values: FloatTensor<B>,
    /// f32, one for each row.
    pub(crate) scales: FloatTensor<B>,
    /// The activations' dtype.
    pub(crate) dtype: FloatDType,
}

/// Linear layers on weights that stay in their storage format.
///
/// Every method has a portable body made of Burn operations; a backend overrides it where it
/// can do better. Weights are decoded exactly (each FP8 code is exact in bf16 and f32) and the
/// scale of the tensor, or of each of its rows, multiplies the result, not the weight.
pub trait Fp8Ops: FusedOps {
    /// Whether the device multiplies FP8 numbers as they are where activations are of `dtype`, so
    /// that [`fp8_linear_rounded`](Self::fp8_linear_rounded) gains something.
    fn multiplies_fp8(device: &Self::Device, dtype: FloatDType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// `y = epilogue((x · decode(weight)ᵀ) * scale)`.
    ///
    /// * `x`: float `[rows, in]`; `y` has its dtype.
    /// * `weight`: U8 `[out, in]`, FP8 codes.
    /// * `scale`: f32 `[1]`, or `[out]` with one for each row of the weight.
    fn fp8_linear(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        scale: FloatTensor<Self>,
        format: Fp8Format,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        portable::fp8_linear::<Self>(x, weight, scale, format, epilogue)
    }

    /// Rounds each row of `x`, float `[rows, in]`, to E4M3: it is divided by its scale, which is its
    /// largest magnitude over 448 (1 for a row of zeros), and rounded to nearest even.
    fn round_rows(x: FloatTensor<Self>) -> RoundedRows<Self> {
        rounding::round_rows::<Self>(x)
    }

    /// As [`fp8_linear`](Self::fp8_linear) for rounded rows: the product is multiplied by their
    /// scales too. A device with FP8 tensor cores multiplies the codes themselves, and may keep sums
    /// in less than f32; elsewhere nothing is gained.
    fn fp8_linear_rounded(
        x: RoundedRows<Self>,
        weight: IntTensor<Self>,
        scale: FloatTensor<Self>,
        format: Fp8Format,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        rounding::fp8_linear_rounded::<Self>(x, weight, scale, format, epilogue)
    }

    /// [`rms_norm_rotate_joined`](crate::fused::rms_norm_rotate_joined) of queries and of keys, then
    /// [`joint_attention`](crate::fused::joint_attention). Where the device gains something by that,
    /// each 128 tokens of a head's queries and keys are rounded to integers of 8 bits with one scale,
    /// and its values, and the weights that multiply these, to E4M3 (after "SageAttention2", Zhang
    /// et al., 2024), which have three bits after the first: where scores do not lie far apart, weights
    /// then run straight between powers of two, up to 6 % from the exponential; elsewhere all stay as
    /// they are.
    ///
    /// * `q`, `k`: of the first and of the second sequence.
    /// * `rounded`: whether the results are, too.
    ///
    /// Returns `[rows, channels]` of the tokens of the first and of the second sequence.
    fn joint_attention_rounded(
        q: [Turned<Self>; 2],
        k: [Turned<Self>; 2],
        v: [FloatTensor<Self>; 2],
        lengths: &[usize],
        (rotation, epsilon): (Rotation, f64),
        rounded: bool,
    ) -> [Activations<Self>; 2] {
        rounding::joint_attention::<Self>(q, k, v, lengths, (rotation, epsilon), rounded)
    }

    /// `y = epilogue(x · weightᵀ)` for a dense weight in any float dtype.
    ///
    /// * `x`: float `[rows, in]`; `y` has its dtype.
    /// * `weight`: float `[out, in]`.
    fn dense_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        portable::dense_linear::<Self>(x, weight, epilogue)
    }

    /// Two streams that need nothing of each other, which a device may compute at the same time; results
    /// are those of [`StreamCall::compute`].
    fn streams<const N: usize>(calls: [StreamCall<Self, N>; 2]) -> [StreamResult<Self, N>; 2] {
        calls.map(StreamCall::compute)
    }

    /// The rows of an embedding that `indices` name, as `dtype` `[n, in]`: `decode(code) * scale`.
    ///
    /// * `weight`: U8 `[out, in]`, FP8 codes.
    /// * `scale`: f32 `[1]`, or `[out]` with one for each row of the weight.
    /// * `indices`: int `[n]`, each below `out`.
    fn fp8_rows(
        weight: IntTensor<Self>,
        scale: FloatTensor<Self>,
        indices: IntTensor<Self>,
        format: Fp8Format,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        portable::fp8_rows::<Self>(weight, scale, indices, format, dtype)
    }

    /// The rows of an embedding in any float dtype that `indices` name, as `dtype` `[n, in]`.
    ///
    /// * `weight`: float `[out, in]`.
    /// * `indices`: int `[n]`, each below `out`.
    fn dense_rows(
        weight: FloatTensor<Self>,
        indices: IntTensor<Self>,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        portable::dense_rows::<Self>(weight, indices, dtype)
    }
}
