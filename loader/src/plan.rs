//! How much memory a component will take, from its headers alone.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::component::Component;
use crate::container::TensorEntry;
use crate::element::ElementType;
use crate::keymap::video;
use crate::weights::Weights;

/// The bytes that a weight's offset in a slot is a multiple of.
const SLOT_ALIGNMENT: u64 = 256;

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

/// Weights that can be left out of a load and streamed together: a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupBytes {
    /// Number of weights.
    pub tensors: usize,
    /// Their bytes, which are the same in the file and on the device.
    pub bytes: u64,
    /// Bytes of device memory that hold all of them, each aligned as a slot asks for.
    pub slot: u64,
}

impl GroupBytes {
    /// Adds a weight of so many bytes behind the others of the group; returns its offset in the
    /// slot.
    pub(crate) fn add(&mut self, bytes: u64) -> u64 {
        let offset = self.slot.next_multiple_of(SLOT_ALIGNMENT);
        self.tensors += 1;
        self.bytes += bytes;
        self.slot = offset + bytes;
        offset
    }
}

/// The bytes of each group of weights that [`load_deferring`](crate::load_deferring) can leave out
/// so that they are streamed. `group_of` says to which group, if to any,
/// the weight with a canonical name belongs; weights that cannot be left out are in none. The
/// largest `slot` is the size of each slot of the stream.
///
/// The rest of a [`Footprint`], its total without the `bytes` of what is left out, stays on the
/// device.
pub fn group_bytes(
    weights: &Weights,
    group_of: &dyn Fn(&str) -> Option<usize>,
) -> BTreeMap<usize, GroupBytes> {
    let mut groups: BTreeMap<usize, GroupBytes> = BTreeMap::new();
    let parameters = weights.parameters().iter();
    let mut parameters: Vec<_> = parameters
        .map(|(name, place)| (name, place.entry))
        .collect();
    // A stream lays its slots out in the order of the file.
    parameters.sort_by_key(|&(_, entry)| {
        let entry = weights.entry(entry);
        (entry.file, entry.tensor.range.start)
    });
    for (name, entry) in parameters {
        let tensor = &weights.entry(entry).tensor;
        if is_kept_as_it_is(tensor)
            && let Some(group) = group_of(name)
        {
            groups.entry(group).or_default().add(tensor.bytes());
        }
    }
    groups
}

/// Tells whether a tensor is a weight that goes to the device as it is in the file.
fn is_kept_as_it_is(tensor: &TensorEntry) -> bool {
    let dtype = tensor.dtype;
    tensor.shape.len() == 2 && (dtype.fp8_format().is_some() || dtype.dense_format().is_some())
}

/// How many elements of a tensor are converted.
fn converted_elements(component: Component, tensor: &TensorEntry) -> u64 {
    let elements = match component {
        Component::Vae => video::loaded_elements(&tensor.shape),
        Component::Transformer | Component::TextEncoder => tensor.elements(),
    };
    elements as u64
}
