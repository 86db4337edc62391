//! Linear layers and embeddings over weights in their file's format.

use backends::fused::gelu_tanh;
use backends::{Activation, Fp8Ops, LowRank, Weight};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Int, Tensor};

/// `y = x · weightᵀ + bias`, and what adapters add to it.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`.
    pub weight: Weight<B>,
    /// f32 `[out]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// All adapters of this layer together, from `in` to `out` features.
    pub adapter: Option<LowRank<B>>,
}

impl<B: Fp8Ops> Linear<B> {
    /// Float `[.., in]` to `[.., out]`, in the input's dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let base = |x| self.weight.linear(x, self.bias.as_ref(), Activation::None);
        match &self.adapter {
            None => base(x),
            Some(adapter) => base(x.clone()) + adapter.forward(x),
        }
    }

    /// As [`forward`](Self::forward), with the tanh form of GELU on the result.
    pub fn forward_gelu<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        match &self.adapter {
            None => self
                .weight
                .linear(x, self.bias.as_ref(), Activation::GeluTanh),
            // GELU is of the sum, so that it cannot be part of the weight's product.
            Some(_) => gelu_tanh(self.forward(x)),
        }
    }
}

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding<B: Backend> {
    /// `[rows, channels]`.
    pub weight: Weight<B>,
}

impl<B: Fp8Ops> Embedding<B> {
    /// The vectors of `ids` (int `[n]`) as `dtype` `[n, channels]`.
    pub fn forward(&self, ids: Tensor<B, 1, Int>, dtype: FloatDType) -> Tensor<B, 2> {
        self.weight.rows(ids, dtype)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn_flex::Flex;

    use super::*;

    /// Weight `[[1, 2], [3, 4]]`, bias `[0.5, -0.5]`, and `up · down` = `[[2, 0], [0, -4]]`.
    fn layer(adapted: bool) -> Linear<Flex> {
        let device = Default::default();
        let values = |values: [[f32; 2]; 2]| Tensor::from_data(TensorData::from(values), &device);
        let adapter = LowRank {
            down: values([[1.0, 0.0], [0.0, 2.0]]),
            up: values([[2.0, 0.0], [0.0, -2.0]]),
        };
        Linear {
            weight: Weight::Dense(Param::from_tensor(values([[1.0, 2.0], [3.0, 4.0]]))),
            bias: Some(Param::from_data([0.5, -0.5], &device)),
            adapter: adapted.then_some(adapter),
        }
    }

    fn x() -> Tensor<Flex, 2> {
        Tensor::from_floats([[1.0, -1.0]], &Default::default())
    }

    fn values(x: Tensor<Flex, 2>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    #[test]
    fn an_adapter_is_added_after_the_bias() {
        // x · weightᵀ + bias = [-0.5, -1.5]; x · (up · down)ᵀ = [2, 4].
        assert_eq!(values(layer(false).forward(x())), [-0.5, -1.5]);
        assert_eq!(values(layer(true).forward(x())), [1.5, 2.5]);
    }

    #[test]
    fn gelu_comes_after_the_sum() {
        let gelu = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        };
        for (adapted, expected) in [(false, [-0.5, -1.5]), (true, [1.5, 2.5])] {
            let found = values(layer(adapted).forward_gelu(x()));
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((f64::from(found) - gelu(expected)).abs() < 1e-6);
            }
        }
    }
}
