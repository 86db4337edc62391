//! Types of elements: how a file stores the numbers of a tensor.

use std::fmt;

use backends::fp8::Fp8Format;
use burn::tensor::DType;

/// How the elements of a tensor are stored, in the order of their widths.
///
/// A type is described by its smallest piece of whole bytes, a [`Block`]. Most types have blocks
/// of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// A truth value in a byte.
    Bool,
    /// Four-bit float (MXFP4): 2 exponent bits, 1 mantissa bit.
    F4,
    /// Six-bit float (MXFP6): 2 exponent bits, 3 mantissa bits.
    F6E2M3,
    /// Six-bit float (MXFP6): 3 exponent bits, 2 mantissa bits.
    F6E3M2,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Eight-bit float: 5 exponent bits, 2 mantissa bits.
    F8E5M2,
    /// Eight-bit float: 4 exponent bits, 3 mantissa bits, no infinity.
    F8E4M3,
    /// Eight-bit power of two, a scale.
    F8E8M0,
    /// F8E4M3 without a negative zero, with another bias.
    F8E4M3Fnuz,
    /// F8E5M2 without infinity and negative zero, with another bias.
    F8E5M2Fnuz,
    /// Signed integer of two bytes.
    I16,
    /// Unsigned integer of two bytes.
    U16,
    /// Half-precision float.
    F16,
    /// The upper half of an F32.
    BF16,
    /// Signed integer of four bytes.
    I32,
    /// Unsigned integer of four bytes.
    U32,
    /// Single-precision float.
    F32,
    /// Complex number of two F32.
    C64,
    /// Double-precision float.
    F64,
    /// Signed integer of eight bytes.
    I64,
    /// Unsigned integer of eight bytes.
    U64,
}

/// The smallest number of elements that fill whole bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Elements of a block.
    pub elements: usize,
    /// Bytes of a block.
    pub bytes: usize,
}

impl ElementType {
    /// All types.
    pub const ALL: [Self; 22] = [
        Self::Bool,
        Self::F4,
        Self::F6E2M3,
        Self::F6E3M2,
        Self::U8,
        Self::I8,
        Self::F8E5M2,
        Self::F8E4M3,
        Self::F8E8M0,
        Self::F8E4M3Fnuz,
        Self::F8E5M2Fnuz,
        Self::I16,
        Self::U16,
        Self::F16,
        Self::BF16,
        Self::I32,
        Self::U32,
        Self::F32,
        Self::C64,
        Self::F64,
        Self::I64,
        Self::U64,
    ];

    /// Its name in messages and reports, which is that of safetensors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::F4 => "F4",
            Self::F6E2M3 => "F6_E2M3",
            Self::F6E3M2 => "F6_E3M2",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::F8E5M2 => "F8_E5M2",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E8M0 => "F8_E8M0",
            Self::F8E4M3Fnuz => "F8_E4M3FNUZ",
            Self::F8E5M2Fnuz => "F8_E5M2FNUZ",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I32 => "I32",
            Self::U32 => "U32",
            Self::F32 => "F32",
            Self::C64 => "C64",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::U64 => "U64",
        }
    }

    /// The type with a [name](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|element| element.name() == name)
    }

    /// Its block.
    pub const fn block(self) -> Block {
        let (elements, bytes) = match self {
            Self::F4 => (2, 1),
            Self::F6E2M3 | Self::F6E3M2 => (4, 3),
            Self::Bool
            | Self::U8
            | Self::I8
            | Self::F8E5M2
            | Self::F8E4M3
            | Self::F8E8M0
            | Self::F8E4M3Fnuz
            | Self::F8E5M2Fnuz => (1, 1),
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => (1, 2),
            Self::I32 | Self::U32 | Self::F32 => (1, 4),
            Self::C64 | Self::F64 | Self::I64 | Self::U64 => (1, 8),
        };
        Block { elements, bytes }
    }

    /// The format of an FP8 weight of this type, which stays as it is in the file; `None` for all
    /// other types.
    pub(crate) fn fp8_format(self) -> Option<Fp8Format> {
        match self {
            Self::F8E4M3 => Some(Fp8Format::E4M3),
            Self::F8E5M2 => Some(Fp8Format::E5M2),
            _ => None,
        }
    }

    /// The type of a dense weight's elements on a device, where they stay as they are in the file.
    pub(crate) fn dense_format(self) -> Option<DType> {
        match self {
            Self::BF16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
            Self::F32 => Some(DType::F32),
            _ => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_safetensors() {
        use serde::Deserialize;
        use serde::de::value::{Error, StrDeserializer};
        for element in ElementType::ALL {
            assert_eq!(ElementType::named(element.name()), Some(element));
            let name = StrDeserializer::<Error>::new(element.name());
            let theirs = safetensors::Dtype::deserialize(name).expect("a type of both");
            let Block { elements, bytes } = element.block();
            assert_eq!(theirs.bitsize() * elements, 8 * bytes, "{element}");
        }
        assert!(ElementType::ALL.is_sorted());
        assert_eq!(ElementType::named("F9"), None);
    }
}
