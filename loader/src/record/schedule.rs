//! Which tensor of a checkpoint fills which parameter of a module, and how.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use backends::parameters::{ParameterSource, TensorPart, UnfilledModule};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor};

use super::misfit::{Misfit, Shape, WrongShape};
use crate::component::Component;
use crate::keymap::video;
use crate::text::Excerpt;
use crate::weights::{Parameter, Weights};

/// One parameter and where its value comes from. Indices are those of the checkpoint's entries.
pub(super) struct Item {
    /// The parameter's id in the module.
    pub(super) id: ParamId,
    /// The canonical name of the tensor.
    pub(super) name: String,
    /// The parameter's shape.
    pub(super) shape: Vec<usize>,
    pub(super) action: Action,
}

/// The way from a tensor to a parameter.
pub(super) enum Action {
    /// FP8 codes, unchanged.
    Codes { entry: usize },
    /// The scales of an FP8 weight, for it or for each row; 1 without one.
    Scale { entry: Option<usize> },
    /// A rank-2 weight in its own dtype.
    Keep { entry: usize, dtype: DType },
    /// Anything else: f32, multiplied by its scales, and of `slices` slices over time the last.
    Convert {
        entry: usize,
        scale: Option<usize>,
        slices: usize,
    },
}

impl Action {
    /// The tensor that is read, and the scale that is read with it.
    pub(super) fn entries(&self) -> [Option<usize>; 2] {
        match *self {
            Self::Codes { entry } | Self::Keep { entry, .. } => [Some(entry), None],
            Self::Scale { entry } => [entry, None],
            Self::Convert { entry, scale, .. } => [Some(entry), scale],
        }
    }
}

/// Matches all parameters of a module with the tensors of a checkpoint; the items come in the
/// order of the files' bytes.
pub(super) fn schedule<B: Backend, M: Module<B>>(
    UnfilledModule { module, names }: &UnfilledModule<M>,
    weights: &Weights,
) -> Result<Vec<Item>, Box<Misfit>> {
    let mut collector = Collector::<B> {
        found: Vec::new(),
        backend: PhantomData,
    };
    module.visit(&mut collector);

    let mut misfit = Misfit::default();
    let mut items = Vec::new();
    let mut taken: BTreeSet<(&str, TensorPart)> = BTreeSet::new();
    for Found { id, shape, is_int } in collector.found {
        let Some(ParameterSource { name, part }) = names.get(id) else {
            misfit.unnamed.push(Shape(shape));
            continue;
        };
        let part = *part;
        match weights.parameters().get(name) {
            Some(&parameter) if is_int == (part == TensorPart::Codes) => {
                match action(weights, parameter, name, part, &shape) {
                    Ok(action) => items.push(Item {
                        id,
                        name: name.clone(),
                        shape: match action {
                            // One, or one for each row, as the file has it.
                            Action::Scale { entry } => vec![weights.scales().values(entry).len()],
                            _ => shape,
                        },
                        action,
                    }),
                    Err(Fault::Shape(fault)) => misfit.wrong_shape.push(fault),
                    // Said once, for the codes, not again for the scale.
                    Err(Fault::Storage) if part == TensorPart::Scale => {}
                    Err(Fault::Storage) => misfit.wrong_format.push(Excerpt::new(name)),
                }
            }
            _ if part == TensorPart::Scale => {}
            _ => misfit.missing.push(Excerpt::new(name)),
        }
        if !taken.insert((name, part)) {
            misfit.repeated.push(Excerpt::new(name));
        }
    }
    let taken: BTreeSet<&str> = taken.iter().map(|(name, _)| *name).collect();
    let left = weights.names().filter(|name| !taken.contains(name));
    misfit.unexpected.extend(left.map(Excerpt::new));
    if !misfit.is_empty() {
        return Err(Box::new(misfit));
    }
    // Reading forwards is what disks do best; scales that the file lacks come first.
    items.sort_by_key(|item| {
        let entry = item.action.entries()[0].map(|index| weights.entry(index));
        entry.map(|entry| (entry.file, entry.tensor.range.start))
    });
    Ok(items)
}

enum Fault {
    Shape(WrongShape),
    /// FP8 in the module or in the file, but not in both.
    Storage,
}

fn action(
    weights: &Weights,
    Parameter { entry, scale }: Parameter,
    name: &str,
    part: TensorPart,
    expected: &[usize],
) -> Result<Action, Fault> {
    let tensor = &weights.entry(entry).tensor;
    let fp8 = tensor.dtype.fp8_format().is_some();
    let wrong_shape = || {
        Fault::Shape(WrongShape {
            key: Excerpt::new(name),
            found: tensor.shape.clone(),
            expected: expected.to_vec(),
        })
    };
    let action = match part {
        TensorPart::Codes | TensorPart::Scale if !fp8 => return Err(Fault::Storage),
        TensorPart::Elements if fp8 => return Err(Fault::Storage),
        TensorPart::Scale => return Ok(Action::Scale { entry: scale }),
        TensorPart::Codes => Action::Codes { entry },
        TensorPart::Elements => match tensor.dtype.dense_format() {
            Some(dtype) => Action::Keep { entry, dtype },
            None => Action::Convert {
                entry,
                scale,
                slices: 1,
            },
        },
        TensorPart::Values => {
            let slices = time_slices(weights.component(), &tensor.shape, expected);
            return match slices {
                Some(slices) => Ok(Action::Convert {
                    entry,
                    scale,
                    slices,
                }),
                None => Err(wrong_shape()),
            };
        }
    };
    if tensor.shape == expected {
        Ok(action)
    } else {
        Err(wrong_shape())
    }
}

/// How many slices over time the file's tensor has for each of the parameter's; `None` if their
/// shapes do not fit.
fn time_slices(component: Component, file: &[usize], module: &[usize]) -> Option<usize> {
    match component {
        _ if file == module => Some(1),
        Component::Vae => video::time_slices(file, module),
        Component::Transformer | Component::TextEncoder => None,
    }
}

/// A parameter of a module.
struct Found {
    id: ParamId,
    shape: Vec<usize>,
    is_int: bool,
}

/// Lists a module's parameters without initialising any.
struct Collector<B> {
    found: Vec<Found>,
    backend: PhantomData<B>,
}

impl<B> Collector<B> {
    fn push(&mut self, id: ParamId, shape: &[usize], is_int: bool) {
        let shape = shape.to_vec();
        self.found.push(Found { id, shape, is_int });
    }
}

impl<B: Backend> ModuleVisitor<B> for Collector<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.push(param.id, param.lazy_shape().as_slice(), false);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.push(param.id, param.lazy_shape().as_slice(), true);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<B, D, Bool>>) {
        // No file holds one, so that it is reported as missing.
        self.push(param.id, param.lazy_shape().as_slice(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_components_are_exact() {
        assert_eq!(time_slices(Component::Transformer, &[8, 1], &[8]), None);
        assert_eq!(time_slices(Component::Vae, &[8, 1], &[8]), Some(1));
        assert_eq!(time_slices(Component::TextEncoder, &[8], &[8]), Some(1));
    }
}
