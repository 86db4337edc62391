//! A residual stream.

use backends::fp8;
use backends::fused::gated_add;
use backends::{
    Chain, ChainCall, ModelBackend, NormCall, Output, StreamCall, StreamResult, Update,
};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::EPSILON;
use super::block::Modulation;

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
        self.update(Output::Known(as_one(output)), gate)
    }

    /// Adds `output * gate`, where layers are still to give the output: float
    /// `[branches * tokens, channels]`. The gate is float `[1, 1, channels]`.
    pub fn add_gated_later(self, output: ChainCall<B>, gate: Tensor<B, 3>) -> Self {
        self.update(Output::Of(output), gate)
    }

    fn update(self, output: Output<B>, gate: Tensor<B, 3>) -> Self {
        Self {
            leading: self.leading,
            x: self.added(),
            update: Some(Update { gate, output }),
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
            Some(Update { gate, output }) => {
                let output = output.compute(self.x.dims());
                gated_add(self.x, output, gate)
            }
        }
    }

    /// Two streams, and what chains of layers make of the normalised, scaled and shifted tokens of each:
    /// float `[branches, tokens, channels]`.
    pub fn through<const N: usize>(
        streams: [Self; 2],
        modulations: [&Modulation<B>; 2],
        chains: [[Chain<B>; N]; 2],
    ) -> [(Self, [Tensor<B, 3>; N]); 2] {
        let leading = streams.each_ref().map(|stream| stream.leading);
        let [first, second] = streams;
        let [first_chains, second_chains] = chains;
        let results = fp8::streams([
            StreamCall {
                norm: first.norm_call(modulations[0]),
                chains: first_chains,
            },
            StreamCall {
                norm: second.norm_call(modulations[1]),
                chains: second_chains,
            },
        ]);
        let [x, y] = results;
        [stream(x, leading[0]), stream(y, leading[1])]
    }

    fn norm_call(self, modulation: &Modulation<B>) -> NormCall<B> {
        NormCall {
            x: self.x,
            update: self.update,
            shift: modulation.shift.clone(),
            scale: modulation.scale.clone(),
            epsilon: EPSILON,
        }
    }
}

/// What became of the `[branches, tokens]` of a stream.
fn stream<B: ModelBackend, const N: usize>(
    result: StreamResult<B, N>,
    leading: [usize; 2],
) -> (Residual<B>, [Tensor<B, 3>; N]) {
    let stream = Residual {
        x: result.sum,
        update: None,
        leading,
    };
    (stream, result.outputs.map(|rows| tokens(rows, leading)))
}

/// Rows `[branches * tokens, channels]` as `[branches, tokens, channels]`.
fn tokens<B: Backend>(rows: Tensor<B, 2>, [branches, tokens]: [usize; 2]) -> Tensor<B, 3> {
    let [_, channels] = rows.dims();
    rows.reshape([branches, tokens, channels])
}

/// The tokens of all branches as those of one, `[1, branches * tokens, channels]`, since one
/// modulation is for all of them.
pub(super) fn as_one<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [branches, tokens, channels] = x.dims();
    x.reshape([1, branches * tokens, channels])
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use backends::fused::modulated_layer_norm;
    use backends::{Activation, Activations, Arithmetic, Fp8Format, Fp8Weight, Weight};
    use burn::module::{Param, ParamId};
    use burn::tensor::{DType, TensorData};
    use burn_flex::Flex;

    use super::*;
    use crate::linear::Linear;
    use crate::noise::NoiseGenerator;

    thread_local! {
        /// Each test has a thread of its own, and so the same numbers at each run.
        static NOISE: RefCell<NoiseGenerator> = RefCell::new(NoiseGenerator::new(0));
    }

    fn random(shape: [usize; 3]) -> Tensor<Flex, 3> {
        let values = NOISE.with_borrow_mut(|noise| noise.draw(shape.iter().product()));
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
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
    fn layer(arithmetic: Arithmetic) -> Linear<Flex> {
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
                arithmetic,
            }),
            bias: None,
            adapter: None,
        }
    }

    /// Through that layer, beside a stream of another size.
    fn through(
        stream: Residual<Flex>,
        by: &Modulation<Flex>,
        arithmetic: Arithmetic,
    ) -> (Residual<Flex>, Tensor<Flex, 3>) {
        let other = Residual::new(random([1, 3, 24]));
        let other_modulation = modulation();
        let modulations = [&other_modulation, by];
        let chains = [Arithmetic::Exact, arithmetic]
            .map(|arithmetic| [Chain::new(layer(arithmetic).layer(Activation::None))]);
        let [(other, [other_output]), (stream, [output])] =
            Residual::through([other, stream], modulations, chains);
        assert_eq!(other.into_tensor().dims(), [1, 3, 24]);
        assert_eq!(other_output.dims(), [1, 3, 1]);
        (stream, output)
    }

    fn assert_close(a: Tensor<Flex, 3>, b: Tensor<Flex, 3>) {
        assert_eq!(a.dims(), b.dims());
        let distance = (a - b).abs().max().into_scalar();
        assert!(distance < 1e-5, "{distance}");
    }

    fn normed(x: Tensor<Flex, 3>, by: &Modulation<Flex>) -> Tensor<Flex, 3> {
        let shape = x.dims();
        let (shift, scale) = (by.shift.clone(), by.scale.clone());
        modulated_layer_norm(as_one(x), shift, scale, EPSILON).reshape(shape)
    }

    #[test]
    fn what_is_added_late_is_added_all_the_same() {
        let (x, first, second) = (random([2, 5, 24]), random([2, 5, 24]), random([2, 5, 24]));
        let (a, b) = (modulation(), modulation());
        let stream = Residual::new(x.clone()).add_gated(first.clone(), a.gate.clone());
        let (stream, output) = through(stream, &b, Arithmetic::Exact);
        let sum = x + first * a.gate;
        let expected = layer(Arithmetic::Exact).forward(normed(sum.clone(), &b));
        assert_close(output, expected);
        assert_close(stream.clone().into_tensor(), sum.clone());
        // By layers that are still to give it.
        let x = second.clone().flatten::<2>(0, 1);
        let square = Linear {
            weight: Weight::Dense(Param::from_tensor(random([1, 24, 24]).squeeze_dim(0))),
            bias: None,
            adapter: None,
        };
        let call = ChainCall {
            x: Activations::Float(x),
            chain: Chain::new(square.layer(Activation::None)),
        };
        let later = Output::Of(call.clone()).compute([2, 5, 24]);
        let changed = stream.clone().add_gated_later(call, b.gate.clone());
        let expected = sum.clone() + later * b.gate.clone();
        assert_close(changed.clone().into_tensor(), expected.clone());
        let (changed, _) = through(changed, &b, Arithmetic::Exact);
        assert_close(changed.into_tensor(), expected);
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
            let (rounded, output) = through(stream.clone(), &modulation, Arithmetic::Fp8);
            let sum = stream.into_tensor();
            assert_close(rounded.into_tensor(), sum.clone());
            let exact = normed(sum, &modulation);
            // The layer rounds what is exact in the same way.
            assert_close(
                output.clone(),
                layer(Arithmetic::Fp8).forward(exact.clone()),
            );
            let unrounded = layer(Arithmetic::Exact).forward(exact);
            assert!((output - unrounded).abs().max().into_scalar() > 1e-4);
        }
    }
}
