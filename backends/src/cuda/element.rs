//! The elements that kernels compute with.

use burn::tensor::DType;

/// The elements of the activations that kernels compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    /// bfloat16, with f32 arithmetic between load and store.
    Bf16,
    /// Single precision.
    F32,
}

impl Element {
    /// Looks up the element of a dtype; `None` where kernels do not know it.
    pub(super) fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::BF16 => Some(Self::Bf16),
            DType::F32 => Some(Self::F32),
            _ => None,
        }
    }

    /// Bytes of one.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The name of a kernel's variant for it.
    pub(super) fn kernel(self, name: &str) -> String {
        match self {
            Self::Bf16 => format!("{name}_bf16"),
            Self::F32 => format!("{name}_f32"),
        }
    }
}
