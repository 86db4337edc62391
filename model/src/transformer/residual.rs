//! A residual stream.

use backends::fused::gated_add;
use backends::{ModelBackend, NormCall, NormResult, Normed};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};

use super::EPSILON;
use super::block::Modulation;
use crate::linear::LayerInput;

/// The tokens of one stream. What a sub-layer adds to them is added when they are next read, which
/// a device does in one pass with the norm that reads them.
#[derive(Clone, Debug)]
pub struct Residual<B: Backend> {
    /// As the tokens of one branch, `[1, branches * tokens, channels]`: one modulation is for all.
    x: Tensor<B, 3>,
    update: Option<Update<B>>,
    /// `[branches, tokens]`
    leading: [usize; 2],
}

#[derive(Clone, Debug)]
struct Update<B: Backend> {
    /// As the stream.
    output: Tensor<B, 3>,
    /// Float `[1, 1, channels]`.
    gate: Tensor<B, 3>,
}

impl<B: Backend> Residual<B> {
    /// A stream of float `[branches, tokens, channels]`, to which nothing has been added yet.
    pub fn new(x: Tensor<B, 3>) -> Self {
        let [branches, tokens, _] = x.dims();
        Self {
            x: as_one(x),
            update: None,
            leading: [branches, tokens],
        }
    }
}

impl<B: ModelBackend> Residual<B> {
    /// Adds `output * gate`: float `[branches, tokens, channels]` and `[1, 1, channels]`.
    pub fn add_gated(self, output: Tensor<B, 3>, gate: Tensor<B, 3>) -> Self {
        let output = as_one(output);
        Self {
            leading: self.leading,
            x: self.added(),
            update: Some(Update { output, gate }),
        }
    }

    /// The tokens with all that was added to them, float `[branches, tokens, channels]`.
    pub fn into_tensor(self) -> Tensor<B, 3> {
        let [branches, tokens] = self.leading;
        let x = self.added();
        let [_, _, channels] = x.dims();
        x.reshape([branches, tokens, channels])
    }

    fn added(self) -> Tensor<B, 3> {
        match self.update {
            None => self.x,
            Some(Update { output, gate }) => gated_add(self.x, output, gate),
        }
    }

    /// Two streams, and the normalised, scaled and shifted tokens of each: rounded to FP8 or not.
    pub fn normed(
        streams: [Self; 2],
        modulations: [&Modulation<B>; 2],
        rounded: [bool; 2],
    ) -> [(Self, LayerInput<B>); 2] {
        let [first, second] = streams;
        let leading = [first.leading, second.leading];
        let calls = [
            first.norm_call(modulations[0], rounded[0]),
            second.norm_call(modulations[1], rounded[1]),
        ];
        let [x, y] = B::norm_both(calls);
        [stream(x, leading[0]), stream(y, leading[1])]
    }

    fn norm_call(self, modulation: &Modulation<B>, rounded: bool) -> NormCall<B> {
        let raw = |tensor: Tensor<B, 3>| tensor.into_primitive().tensor();
        let update = self.update;
        NormCall {
            x: raw(self.x),
            update: update.map(|Update { output, gate }| [output, gate].map(raw)),
            shift: raw(modulation.shift.clone()),
            scale: raw(modulation.scale.clone()),
            epsilon: EPSILON,
            rounded,
        }
    }
}

/// What a norm gave of the `[branches, tokens]` of a stream.
fn stream<B: ModelBackend>(
    result: NormResult<B>,
    leading: [usize; 2],
) -> (Residual<B>, LayerInput<B>) {
    let float = |tensor| Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(tensor));
    let stream = Residual {
        x: float(result.sum),
        update: None,
        leading,
    };
    let input = match result.normed {
        Normed::Rounded(rows) => LayerInput::Rounded { rows, leading },
        Normed::Exact(y) => {
            let y = float(y);
            let ([branches, tokens], [_, _, channels]) = (leading, y.dims());
            LayerInput::Exact(y.reshape([branches, tokens, channels]))
        }
    };
    (stream, input)
}

/// The tokens of all branches as those of one, `[1, branches * tokens, channels]`, since one
/// modulation is for all of them.
pub(super) fn as_one<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [branches, tokens, channels] = x.dims();
    x.reshape([1, branches * tokens, channels])
}

#[cfg(test)]
mod tests {
    use backends::fused::modulated_layer_norm;
    use backends::{Activation, Arithmetic, Fp8Format, Fp8Weight, Weight};
    use burn::module::{Param, ParamId};
    use burn::tensor::{DType, Distribution, TensorData};
    use burn_flex::Flex;

    use super::*;
    use crate::linear::Linear;

    fn random(shape: [usize; 3]) -> Tensor<Flex, 3> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Default::default())
    }

    fn modulation() -> Modulation<Flex> {
        let vector = || random([1, 1, 24]);
        Modulation {
            shift: vector(),
            scale: vector(),
            gate: vector(),
        }
    }

    /// From 24 features to one, by FP8 codes that stand for 1.
    fn rounding_layer() -> Linear<Flex> {
        let device = Default::default();
        let codes = TensorData::new(vec![0x38u8; 24], [1, 24]);
        Linear {
            weight: Weight::Fp8(Fp8Weight {
                bytes: Param::initialized(
                    ParamId::new(),
                    Tensor::from_data(codes, (&device, DType::U8)),
                ),
                scale: Param::from_data([0.5], &device),
                format: Fp8Format::E4M3,
                arithmetic: Arithmetic::Fp8,
            }),
            bias: None,
            adapter: None,
        }
    }

    /// Beside a stream of another size.
    fn normed(
        stream: Residual<Flex>,
        by: &Modulation<Flex>,
        rounded: bool,
    ) -> (Residual<Flex>, LayerInput<Flex>) {
        let other = Residual::new(random([1, 3, 24]));
        let other_modulation = modulation();
        let modulations = [&other_modulation, by];
        let [(other, _), result] =
            Residual::normed([other, stream], modulations, [!rounded, rounded]);
        assert_eq!(other.into_tensor().dims(), [1, 3, 24]);
        result
    }

    fn assert_close(a: Tensor<Flex, 3>, b: Tensor<Flex, 3>) {
        assert_eq!(a.dims(), b.dims());
        let distance = (a - b).abs().max().into_scalar();
        assert!(distance < 1e-5, "{distance}");
    }

    #[test]
    fn what_is_added_late_is_added_all_the_same() {
        let (x, first, second) = (random([2, 5, 24]), random([2, 5, 24]), random([2, 5, 24]));
        let (a, b) = (modulation(), modulation());
        let stream = Residual::new(x.clone()).add_gated(first.clone(), a.gate.clone());
        let (stream, input) = normed(stream, &b, false);
        let sum = x + first * a.gate;
        let LayerInput::Exact(normed) = input else {
            panic!("rounded without being asked to");
        };
        let expected = modulated_layer_norm(as_one(sum.clone()), b.shift, b.scale, EPSILON);
        assert_close(normed, expected.reshape([2, 5, 24]));
        assert_close(stream.clone().into_tensor(), sum.clone());
        // Twice in a row, and then read.
        let stream = stream.add_gated(second.clone(), b.gate.clone());
        let stream = stream.add_gated(second.clone(), b.gate.clone());
        assert_close(stream.into_tensor(), sum + second * b.gate * 2.0);
    }

    #[test]
    fn rounded_tokens_are_those_of_the_exact_norm() {
        let modulation = modulation();
        let stream = Residual::new(random([2, 5, 24]));
        for stream in [
            stream.clone(),
            stream.add_gated(random([2, 5, 24]), modulation.gate.clone()),
        ] {
            let (rounded_stream, rounded) = normed(stream.clone(), &modulation, true);
            let (exact_stream, exact) = normed(stream, &modulation, false);
            assert_close(rounded_stream.into_tensor(), exact_stream.into_tensor());
            let (LayerInput::Rounded { rows, leading }, LayerInput::Exact(exact)) =
                (rounded, exact)
            else {
                panic!("not what was asked for");
            };
            assert_eq!(leading, [2, 5]);
            // The layer rounds what is exact in the same way.
            let layer = rounding_layer();
            assert!(layer.takes_rounded());
            let inputs = [
                LayerInput::Rounded { rows, leading },
                LayerInput::Exact(exact.clone()),
            ];
            let [rounded, _] = Linear::forward_both([&layer, &layer], inputs, Activation::None);
            assert_close(rounded, layer.forward(exact));
        }
    }
}
