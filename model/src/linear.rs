//! Linear layers and embeddings over weights in their file's format.

use backends::{Activation, Arithmetic, Kernels, Layer, LowRank, Weight};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Int, Tensor};

/// `y = x · weightᵀ + bias`, and what adapters add to it.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`.
    pub weight: Weight<B>,
    /// f32 `[out]`; bf16 where [`set_arithmetic`](Self::set_arithmetic) says so.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// All adapters of this layer together, from `in` to `out` features.
    pub adapter: Option<LowRank<B>>,
}

impl<B: Kernels> Linear<B> {
    /// Float `[.., in]` to `[.., out]`, in the input's dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let (bias, addend) = (self.bias.as_ref(), self.addend(&x));
        self.weight.linear(x, bias, addend, Activation::None)
    }

    /// What the adapters add.
    fn addend<const D: usize>(&self, x: &Tensor<B, D>) -> Option<Tensor<B, D>> {
        let adapter = self.adapter.as_ref();
        adapter.map(|adapter| adapter.forward(x.clone()))
    }
}

impl<B: Kernels> Linear<B> {
    /// Says what an FP8 weight is multiplied with. Where the device multiplies FP8 numbers as they
    /// are, the bias becomes bf16, as it is added there.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        self.weight.set_arithmetic(arithmetic);
        if !self.weight.takes_rounded() {
            return;
        }
        self.bias = self.bias.take().map(|bias| {
            bias.map(
                |bias| match B::multiplies_fp8(&bias.device(), FloatDType::BF16) {
                    true => bias.cast(FloatDType::BF16),
                    false => bias,
                },
            )
        });
    }

    /// The layer, with an activation of its results, as one of a stream's.
    pub fn layer(&self, activation: Activation) -> Layer<B> {
        let bias = self.bias.as_ref();
        Layer {
            weight: self.weight.of_layer(),
            bias: bias.map(Param::val),
            adapter: self.adapter.clone(),
            activation,
        }
    }
}

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding<B: Backend> {
    /// `[rows, channels]`.
    pub weight: Weight<B>,
}

impl<B: Kernels> Embedding<B> {
    /// The vectors of `ids` (int `[n]`) as `dtype` `[n, channels]`.
    pub fn forward(&self, ids: Tensor<B, 1, Int>, dtype: FloatDType) -> Tensor<B, 2> {
        self.weight.rows(ids, dtype)
    }
}

#[cfg(test)]
mod tests {
    use backends::{Activations, Arithmetic, Chain, ChainCall, Fp8Format, Fp8Weight};
    use burn::module::ParamId;
    use burn::tensor::{DType, TensorData};
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

    /// As [`layer`], with an FP8 weight `[[1, 1], [1, 1]]`.
    fn fp8_layer(adapted: bool) -> Linear<Flex> {
        let device = Default::default();
        let codes = Tensor::from_data(TensorData::from([[0x38u8; 2]; 2]), (&device, DType::U8));
        Linear {
            weight: Weight::Fp8(Fp8Weight {
                bytes: Param::initialized(ParamId::new(), codes),
                scale: Param::from_data([1.0], &device),
                format: Fp8Format::E4M3,
                arithmetic: Arithmetic::Exact,
            }),
            ..layer(adapted)
        }
    }

    #[test]
    fn a_bias_stays_as_it_is_where_nothing_multiplies_fp8() {
        let mut layer = fp8_layer(false);
        layer.set_arithmetic(Arithmetic::Fp8);
        assert!(layer.layer(Activation::None).takes_rounded());
        let bias = layer.bias.expect("the layer has one").val();
        assert_eq!(bias.dtype(), DType::F32);
        assert_eq!(bias.into_data().to_vec::<f32>().ok(), Some(vec![0.5, -0.5]));
    }

    #[test]
    #[should_panic(expected = "takes exact activations")]
    fn an_adapter_is_never_left_out() {
        let mut layer = fp8_layer(true);
        layer.set_arithmetic(Arithmetic::Fp8);
        let layer = layer.layer(Activation::None);
        assert!(!layer.takes_rounded());
        layer.compute(Activations::Quantized(Activations::Float(x()).quantized()));
    }

    fn gelu(x: f32) -> f32 {
        let x = f64::from(x);
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        (0.5 * x * (1.0 + inner.tanh())) as f32
    }

    fn assert_close(found: Tensor<Flex, 2>, expected: &[f32]) {
        let found = values(found);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found}: not {expected}");
        }
    }

    #[test]
    fn gelu_comes_after_the_sum() {
        for (adapted, expected) in [(false, [-0.5, -1.5]), (true, [1.5, 2.5])] {
            let layer = layer(adapted).layer(Activation::GeluTanh);
            let found = layer.compute(Activations::Float(x()));
            assert_close(found, &expected.map(gelu));
        }
    }

    #[test]
    fn chains_go_on_from_their_own_results() {
        let (plain, adapted) = (layer(false), layer(true));
        let call = ChainCall {
            x: Activations::Float(x()),
            chain: Chain::new(plain.layer(Activation::GeluTanh))
                .then(adapted.layer(Activation::None)),
        };
        let inner = values(plain.forward(x())).into_iter().map(gelu);
        let inner = TensorData::new(inner.collect::<Vec<_>>(), [1, 2]);
        let inner = Tensor::from_data(inner, &Default::default());
        assert_close(call.compute(), &values(adapted.forward(inner)));
    }
}
