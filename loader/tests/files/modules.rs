//! Modules with parameters to fill.

use std::path::PathBuf;

use backends::weight::Weight;
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_flex::Flex;
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
