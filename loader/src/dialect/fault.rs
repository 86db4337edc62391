//! Faults in the quantisation of a checkpoint.

use crate::element::ElementType;
use crate::text::Excerpt;

/// Contradictory or unsupported quantisation; [`crate::LoadError::Dialect`] adds the file's name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DialectError {
    /// Two ways of quantisation in one file that exclude each other.
    #[error("has both {first} and {second}: it is not clear how its FP8 weights are scaled")]
    Contradiction {
        /// One sign.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A format other than FP8 with one scale for each tensor.
    #[error(
        "layer `{layer}` is quantised as {format}, which is not supported: use a BF16 or FP8 \
         (float8_e4m3fn, float8_e5m2) version"
    )]
    UnsupportedFormat {
        /// The layer.
        layer: Excerpt,
        /// The format's name.
        format: Excerpt,
    },
    /// A tensor of a quantisation method that is not known.
    #[error(
        "tensor `{key}` belongs to a quantisation that is not supported: use a BF16 or FP8 \
         (float8_e4m3fn, float8_e5m2) version"
    )]
    UnsupportedTensor {
        /// The tensor.
        key: Excerpt,
    },
    /// A `comfy_quant` tensor, or `_quantization_metadata`, that cannot be read.
    #[error("the quantisation of `{layer}` cannot be read: {message}")]
    UnreadableFormat {
        /// The layer, or `_quantization_metadata`.
        layer: Excerpt,
        /// The fault.
        message: Excerpt,
    },
    /// A layer said to be quantised that has no weight.
    #[error("layer `{layer}` is said to be quantised but has no weight")]
    FormatWithoutWeight {
        /// The layer.
        layer: Excerpt,
    },
    /// A layer whose weight is not of the dtype that its format says.
    #[error("layer `{layer}` is said to be {format} but its weight is {dtype}")]
    FormatMismatch {
        /// The layer.
        layer: Excerpt,
        /// The format's name.
        format: &'static str,
        /// The weight's dtype.
        dtype: ElementType,
    },
    /// A scale of a layer that is not said to be quantised, in a file that says it of others.
    #[error("scale `{key}` is of a layer that the file does not say is quantised")]
    ScaleWithoutFormat {
        /// The scale.
        key: Excerpt,
    },
    /// A scale of a layer that has no weight.
    #[error("scale `{key}` has no weight to scale")]
    ScaleWithoutWeight {
        /// The scale.
        key: Excerpt,
    },
    /// A scale other than 1 of a weight that is not FP8.
    #[error("scale `{key}` is {value}, for a weight stored as {dtype}, not as FP8")]
    ScaleOnDense {
        /// The scale.
        key: Excerpt,
        /// The weight's dtype.
        dtype: ElementType,
        /// The scale, or the first of its values that is not 1.
        value: f32,
    },
    /// Two scales for one weight.
    #[error("layer `{layer}` has two weight scales")]
    TwoScales {
        /// The layer.
        layer: Excerpt,
    },
    /// An FP8 weight without scale among scaled ones.
    #[error("FP8 weight `{key}` has no scale, though the file is of the scaled kind")]
    MissingScale {
        /// The weight.
        key: Excerpt,
    },
    /// A scale for columns or blocks.
    #[error(
        "scale `{key}` has shape {shape:?}: only one scale for each tensor, or for each of its \
         rows, is supported"
    )]
    ScaleShape {
        /// The scale.
        key: Excerpt,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A scale that is not a float.
    #[error("scale `{key}` is {dtype}: only F32, F64, F16 and BF16 are supported")]
    ScaleDtype {
        /// The scale.
        key: Excerpt,
        /// Its dtype.
        dtype: ElementType,
    },
    /// A scale that cannot be one.
    #[error("scale `{key}` is {value}, not a positive number: the file is damaged")]
    ScaleValue {
        /// The scale.
        key: Excerpt,
        /// Its value.
        value: f32,
    },
}
