//! Names of a module's parameters: which tensor of a checkpoint fills each of them.
//!
//! Whoever builds a module without memory notes the name of each parameter by the parameter's id.
//! A loader looks the name up by that id, so that it needs to know nothing of the module's fields.

use std::collections::HashMap;

use burn::module::ParamId;
use burn::tensor::backend::Backend;

use crate::weight::Weight;

/// The part of a tensor that a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorPart {
    /// The values, converted to f32.
    Values,
    /// The elements in the float format that the file has them in ([`Weight::Dense`]).
    Elements,
    /// The bytes of a packed tensor, unchanged ([`Weight::Packed`]).
    Codes,
    /// The scales of a packed tensor, as f32 ([`Weight::Packed`]).
    Scale,
}

/// A tensor of a checkpoint, and what a parameter takes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSource {
    /// The tensor's name in the reference (diffusers, transformers).
    pub name: String,
    /// The part of it that is taken.
    pub part: TensorPart,
}

/// The sources of a module's parameters, by the parameters' ids.
#[derive(Clone, Debug, Default)]
pub struct ParameterNames(HashMap<ParamId, ParameterSource>);

impl ParameterNames {
    /// Notes the tensor that fills a parameter.
    pub fn note(&mut self, id: ParamId, name: &str, part: TensorPart) {
        let name = name.to_owned();
        self.0.insert(id, ParameterSource { name, part });
    }

    /// Notes the tensor that fills the parameters of a weight.
    pub fn note_weight<B: Backend>(&mut self, weight: &Weight<B>, name: &str) {
        for (id, part) in weight.parameters() {
            self.note(id, name, part);
        }
    }

    /// The tensor that fills a parameter, or `None` for a parameter that was not noted.
    pub fn get(&self, id: ParamId) -> Option<&ParameterSource> {
        self.0.get(&id)
    }
}

/// A module whose parameters hold no memory yet, with what a loader needs to fill them.
#[derive(Debug)]
pub struct UnfilledModule<M> {
    /// The module.
    pub module: M,
    /// The tensors that fill its parameters.
    pub names: ParameterNames,
}
