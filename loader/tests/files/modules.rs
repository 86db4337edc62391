//! Modules with parameters to fill.

use std::cell::RefCell;
use std::path::PathBuf;

use backends::WeightFormat;
use backends::parameters::{ParameterNames, TensorPart, UnfilledModule};
use backends::weight::{Weight, uninitialized_float};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_flex::{Flex, FlexDevice};
use loader::{Component, Weights};
use tempfile::{TempDir, tempdir};

use crate::writer::Writer;

#[derive(Module, Debug)]
pub(crate) struct Norm<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
pub(crate) struct Linear<B: Backend> {
    pub(crate) weight: Weight<B>,
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
}

/// Makes parameters that wait to be filled, and notes the names of their tensors.
#[derive(Default)]
pub(crate) struct Names(RefCell<ParameterNames>);

impl Names {
    pub(crate) fn float<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Param<Tensor<Flex, D>> {
        let parameter = uninitialized_float(shape, &FlexDevice);
        let mut names = self.0.borrow_mut();
        names.note(parameter.id, name, TensorPart::Values);
        parameter
    }

    /// The norm whose weight is `name.weight`.
    pub(crate) fn norm(&self, name: &str, length: usize) -> Norm<Flex> {
        Norm {
            weight: self.float(&format!("{name}.weight"), [length]),
        }
    }

    /// The layer of `name.weight`, without a bias.
    pub(crate) fn linear(
        &self,
        name: &str,
        shape: [usize; 2],
        format: WeightFormat,
    ) -> Linear<Flex> {
        let weight = Weight::uninitialized(shape, format, &FlexDevice);
        let mut names = self.0.borrow_mut();
        names.note_weight(&weight, &format!("{name}.weight"));
        Linear { weight, bias: None }
    }

    /// The module that the parameters have become.
    pub(crate) fn of<M>(self, module: M) -> UnfilledModule<M> {
        let names = self.0.into_inner();
        UnfilledModule { module, names }
    }
}

/// A checkpoint in a folder that lives as long as it does.
pub(crate) struct OnDisk {
    _dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) weights: Weights,
}

pub(crate) fn on_disk(file: &Writer, component: Component) -> OnDisk {
    let dir = tempdir().unwrap();
    let path = file.write(dir.path().join("x.safetensors"));
    let weights = Weights::open(&path, component).unwrap();
    OnDisk {
        _dir: dir,
        path,
        weights,
    }
}

pub(crate) fn values<const D: usize>(param: &Param<Tensor<Flex, D>>) -> Vec<f32> {
    assert_eq!(param.val().dtype(), DType::F32);
    param.val().into_data().to_vec().unwrap()
}
