//! How much memory a component will take, from its headers alone.

use serde::Serialize;

use crate::component::Component;
use crate::container::TensorEntry;
use crate::element::ElementType;
use crate::keymap::video;
use crate::weights::Weights;

/// Bytes of a loaded component, by how its tensors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// FP8 weights, which stay FP8, with their scales as f32.
    pub fp8: u64,
    /// Other rank-2 weights, which stay in the file's float dtype.
    pub dense: u64,
    /// Everything else, which becomes f32: biases, norms, convolutions.
    pub converted: u64,
}

impl Footprint {
    /// The footprint of a checkpoint's component.
    pub fn of(weights: &Weights) -> Self {
        let mut footprint = Self::default();
        for parameter in weights.parameters().values() {
            let scales = weights.scales().values(parameter.scale).len() as u64;
            let tensor = &weights.entry(parameter.entry).tensor;
            let matrix = tensor.shape.len() == 2;
            if matrix && tensor.dtype.fp8_format().is_some() {
                footprint.fp8 += tensor.bytes() + 4 * scales;
            } else if matrix && tensor.dtype != ElementType::F64 {
                footprint.dense += tensor.bytes();
            } else {
                footprint.converted += 4 * converted_elements(weights.component(), tensor);
            }
        }
        footprint
    }

    /// All bytes together.
    pub fn total(&self) -> u64 {
        self.fp8 + self.dense + self.converted
    }
}

/// How many elements of a tensor are converted.
fn converted_elements(component: Component, tensor: &TensorEntry) -> u64 {
    let elements = match component {
        Component::Vae => video::loaded_elements(&tensor.shape),
        Component::Transformer | Component::TextEncoder => tensor.elements(),
    };
    elements as u64
}
