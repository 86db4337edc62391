//! The formats in which files store rank-2 weights.

use crate::fp8::Fp8Format;

/// The form in which a rank-2 weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// A float tensor in whatever float dtype its file has.
    Dense,
    /// Blocks of bytes, with a scale beside them.
    Packed(PackedFormat),
}

/// A format that stores a row of a weight as blocks of equal size, which a kernel unpacks.
///
/// A block holds the same number of neighbouring elements of a row in the same number of bytes, with
/// whatever the format needs to unpack it alone. The numbers of a block are multiplied by a scale
/// that lies beside the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackedFormat {
    /// A block is the code of one element.
    Fp8(Fp8Format),
}

impl PackedFormat {
    /// Elements of a block.
    pub const fn block_elements(self) -> usize {
        match self {
            Self::Fp8(_) => 1,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Fp8(_) => 1,
        }
    }

    /// Bytes of a row of `elements`.
    pub const fn row_bytes(self, elements: usize) -> usize {
        elements.div_ceil(self.block_elements()) * self.block_bytes()
    }

    /// Elements of a row of `bytes`.
    pub const fn row_elements(self, bytes: usize) -> usize {
        bytes / self.block_bytes() * self.block_elements()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fp8_row_has_a_byte_for_each_element() {
        for format in [Fp8Format::E4M3, Fp8Format::E5M2] {
            let format = PackedFormat::Fp8(format);
            assert_eq!(format.row_bytes(3072), 3072);
            assert_eq!(format.row_elements(3072), 3072);
        }
    }
}
