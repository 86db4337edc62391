//! Builds modules without memory: every parameter waits for a loader.

use backends::weight::uninitialized_float;
use backends::{Weight, WeightFormat};
use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::linear::{Embedding, Linear};
use crate::norm::RmsNorm;

/// Where in the checkpoint a module's parameters lie, and how they are stored there.
///
/// Names are the reference's (diffusers, transformers); a path such as
/// `transformer_blocks.0.attn.to_q` is built piece by piece with [`at`](Self::at).
pub struct Builder<'a, B: Backend> {
    device: &'a B::Device,
    formats: &'a dyn Fn(&str) -> WeightFormat,
    path: String,
}

impl<'a, B: Backend> Builder<'a, B> {
    /// A builder at the root. `formats` tells how the rank-2 weight of a name, such as
    /// `proj_out.weight`, is stored.
    pub fn new(device: &'a B::Device, formats: &'a dyn Fn(&str) -> WeightFormat) -> Self {
        Self {
            device,
            formats,
            path: String::new(),
        }
    }

    /// The builder of a child.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        };
        Self { path, ..*self }
    }

    /// `count` children of the list `name`.
    pub fn list<M>(&self, name: &str, count: usize, child: impl Fn(&Self, usize) -> M) -> Vec<M> {
        let list = self.at(name);
        (0..count).map(|i| child(&list.at(i), i)).collect()
    }

    /// The device on which parameters will lie.
    pub fn device(&self) -> &B::Device {
        self.device
    }

    /// The linear layer `name`, from `input` to `output` features.
    pub fn linear(&self, name: &str, input: usize, output: usize, bias: bool) -> Linear<B> {
        let format = (self.formats)(&self.at(name).at("weight").path);
        Linear {
            weight: Weight::uninitialized([output, input], format, self.device),
            bias: bias.then(|| self.parameter([output])),
            adapter: None,
        }
    }

    /// The embedding `name` of `rows` vectors.
    pub fn embedding(&self, name: &str, rows: usize, channels: usize) -> Embedding<B> {
        let format = (self.formats)(&self.at(name).at("weight").path);
        Embedding {
            weight: Weight::uninitialized([rows, channels], format, self.device),
        }
    }

    /// A root-mean-square norm over `channels`.
    pub fn rms_norm(&self, channels: usize, epsilon: f64) -> RmsNorm<B> {
        RmsNorm {
            weight: self.parameter([channels]),
            epsilon,
        }
    }

    /// A float parameter.
    pub fn parameter<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<B, D>> {
        uninitialized_float(shape, self.device)
    }
}
