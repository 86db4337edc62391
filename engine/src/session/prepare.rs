//! A device is made ready before the first model is loaded.

use backends::{Arithmetic, ModelBackend, OnBackend};
use burn::tensor::FloatDType;

use crate::events::Note;

/// Makes a device ready for some arithmetic.
pub(super) struct Prepare {
    /// The form of the activations that FP8 weights are multiplied with.
    pub(super) arithmetic: Arithmetic,
    /// The number format of the computation.
    pub(super) dtype: FloatDType,
}

impl OnBackend for Prepare {
    type Output = Vec<Note>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let mut notes = Vec::new();
        if let Err(reason) = B::prepare(&device) {
            notes.push(Note::NoKernels {
                reason: reason.to_string(),
            });
        }
        if self.arithmetic == Arithmetic::Fp8 && !B::multiplies_fp8(&device, self.dtype) {
            notes.push(Note::NoFp8Products);
        }
        notes
    }
}
