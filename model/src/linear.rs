//! Linear layers and embeddings over weights in their file's format.

use backends::{Activation, Activations, Arithmetic, Epilogue, Kernels, LowRank, Weight};
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
        let mut shape = x.dims();
        [shape[D - 1], _] = self.weight.shape();
        let y = self.multiply(Activations::of(x), Activation::None);
        y.reshape(shape)
    }

    /// `activation(x · weightᵀ + bias + adapters(x))` for rows `[rows, in]`: float `[rows, out]`, in the
    /// dtype of the activations.
    pub fn multiply(&self, x: Activations<B>, activation: Activation) -> Tensor<B, 2> {
        let adapter = self.adapter.as_ref();
        let epilogue = Epilogue {
            bias: self.bias.as_ref().map(Param::val),
            addend: adapter.map(|adapter| adapter.forward(x.clone().float())),
            activation,
        };
        self.weight.multiply(x, epilogue)
    }

    /// Tells whether the layer reads nothing but quantized activations, so that what comes before it may
    /// quantize them. An adapter reads them as they were.
    pub fn wants_quantized(&self) -> bool {
        self.weight.quantizes_activations() && self.adapter.is_none()
    }

    /// Says what an FP8 weight is multiplied with. Where the device multiplies FP8 numbers as they
    /// are, the bias becomes bf16, as it is added there.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        self.weight.set_arithmetic(arithmetic);
        if !self.weight.quantizes_activations() {
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
    use backends::{Fp8Format, PackedFormat, PackedWeight};
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

    /// The same as [`layer`], with an FP8 weight `[[1, 1], [1, 1]]`.
    fn fp8_layer(adapted: bool) -> Linear<Flex> {
        let device = Default::default();
        let codes = Tensor::from_data(TensorData::from([[0x38u8; 2]; 2]), (&device, DType::U8));
        Linear {
            weight: Weight::Packed(PackedWeight {
                bytes: Param::initialized(ParamId::new(), codes),
                scale: Param::from_data([1.0], &device),
                format: PackedFormat::Fp8(Fp8Format::E4M3),
                arithmetic: Arithmetic::Exact,
            }),
            ..layer(adapted)
        }
    }

    #[test]
    fn a_bias_stays_as_it_is_where_nothing_multiplies_fp8() {
        let mut layer = fp8_layer(false);
        layer.set_arithmetic(Arithmetic::Fp8);
        assert!(layer.wants_quantized());
        let bias = layer.bias.expect("the layer has one").val();
        assert_eq!(bias.dtype(), DType::F32);
        assert_eq!(bias.into_data().to_vec::<f32>().ok(), Some(vec![0.5, -0.5]));
    }

    #[test]
    fn an_adapter_is_never_left_out() {
        let mut layers = [fp8_layer(false), fp8_layer(true)];
        for layer in &mut layers {
            layer.set_arithmetic(Arithmetic::Fp8);
        }
        let [plain, adapted] = layers;
        assert!(!adapted.wants_quantized());
        // Both numbers of the input are powers of two times one another, which E4M3 has exactly.
        for x in [
            Activations::of(x()),
            Activations::Quantized(Activations::of(x()).quantized()),
        ] {
            let without = values(plain.multiply(x.clone(), Activation::None));
            let with = values(adapted.multiply(x, Activation::None));
            // x · (up · down)ᵀ = [2, 4].
            assert_eq!(with, [without[0] + 2.0, without[1] + 4.0]);
        }
    }

    fn gelu(x: f32) -> f32 {
        let x = f64::from(x);
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        (0.5 * x * (1.0 + inner.tanh())) as f32
    }

    #[test]
    fn gelu_comes_after_the_sum() {
        for (adapted, expected) in [(false, [-0.5, -1.5]), (true, [1.5, 2.5])] {
            let x = Activations::of(x());
            let found = values(layer(adapted).multiply(x, Activation::GeluTanh));
            for (found, expected) in found.into_iter().zip(expected.map(gelu)) {
                assert!((found - expected).abs() < 1e-6, "{found}: not {expected}");
            }
        }
    }
}
