//! A residual stream.

use backends::fp8::layer_norm;
use backends::fused::gated_add;
use backends::kernels::{GatedUpdate, LayerNorm, Normed};
use backends::{Activations, ModelBackend};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::modulation::{EPSILON, Modulation};
use super::streams::of_one_branch;

/// The tokens of one stream. What a sub-layer adds to them is added when they are next read, which
/// a device does in one pass with the norm that reads them.
#[derive(Clone, Debug)]
pub struct Residual<B: Backend> {
    /// `[1, branches * tokens, channels]`: one modulation serves the tokens of all branches.
    x: Tensor<B, 3>,
    /// The output of a sub-layer, in the shape of `x`, and its gate, float `[1, 1, channels]`.
    update: Option<GatedUpdate<B>>,
    branches: usize,
}

impl<B: ModelBackend> Residual<B> {
    /// A stream of float `[branches, tokens, channels]`, to which nothing has been added yet.
    pub fn new(x: Tensor<B, 3>) -> Self {
        Self {
            branches: x.dims()[0],
            x: of_one_branch(x),
            update: None,
        }
    }

    /// Adds `gate * output`: float `[1, 1, channels]` and `[branches * tokens, channels]`.
    pub(super) fn add(self, gate: &Tensor<B, 3>, output: Tensor<B, 2>) -> Self {
        let update = GatedUpdate {
            gate: gate.clone(),
            output: output.unsqueeze(),
        };
        Self {
            update: Some(update),
            ..self.added()
        }
    }

    /// Returns the stream, and `norm(x) * (1 + scale) + shift` as rows
    /// `[branches * tokens, channels]`, which are quantized if `quantize` says so.
    pub(super) fn norm(self, by: &Modulation<B>, quantize: bool) -> (Self, Activations<B>) {
        let Normed { sum, y } = layer_norm(LayerNorm {
            x: self.x,
            update: self.update,
            shift: by.shift.clone(),
            scale: by.scale.clone(),
            epsilon: EPSILON,
            quantize,
        });
        let stream = Self {
            x: sum,
            update: None,
            branches: self.branches,
        };
        (stream, y)
    }

    /// Rows `[branches * tokens, channels]` of any channels as `[branches, tokens, channels]`.
    pub(super) fn tokens(&self, rows: Tensor<B, 2>) -> Tensor<B, 3> {
        let [all, channels] = rows.dims();
        rows.reshape([self.branches, all / self.branches.max(1), channels])
    }

    /// The tokens with all that was added to them, float `[branches, tokens, channels]`.
    pub fn into_tensor(self) -> Tensor<B, 3> {
        let stream = self.added();
        let [_, all, channels] = stream.x.dims();
        let branches = stream.branches;
        stream
            .x
            .reshape([branches, all / branches.max(1), channels])
    }

    fn added(self) -> Self {
        Self {
            x: match self.update {
                None => self.x,
                Some(GatedUpdate { gate, output }) => gated_add(self.x, output, gate),
            },
            update: None,
            branches: self.branches,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use backends::fp8::modulated_layer_norm;
    use burn::tensor::TensorData;
    use burn_flex::Flex;

    use super::*;
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

    fn rows(x: Tensor<Flex, 3>) -> Tensor<Flex, 2> {
        x.flatten(0, 1)
    }

    fn assert_close<const D: usize>(a: Tensor<Flex, D>, b: Tensor<Flex, D>) {
        assert_eq!(a.dims(), b.dims());
        let distance = (a - b).abs().max().into_scalar();
        assert!(distance < 1e-5, "{distance}");
    }

    fn normed(x: Tensor<Flex, 3>, by: &Modulation<Flex>) -> Tensor<Flex, 2> {
        let (shift, scale) = (by.shift.clone(), by.scale.clone());
        rows(modulated_layer_norm(
            of_one_branch(x),
            shift,
            scale,
            EPSILON,
        ))
    }

    #[test]
    fn what_is_added_late_is_added_all_the_same() {
        let (x, first, second) = (random([2, 5, 24]), random([2, 5, 24]), random([2, 5, 24]));
        let (a, b) = (modulation(), modulation());
        let stream = Residual::new(x.clone());
        let (unchanged, y) = stream.clone().norm(&b, false);
        assert_close(y.float(), normed(x.clone(), &b));
        assert_close(unchanged.into_tensor(), x.clone());
        let (stream, y) = stream.add(&a.gate, rows(first.clone())).norm(&b, false);
        let sum = x + first * a.gate;
        assert_close(y.float(), normed(sum.clone(), &b));
        assert_close(stream.clone().into_tensor(), sum.clone());
        // Twice in a row, and then read.
        let stream = stream.add(&b.gate, rows(second.clone()));
        let stream = stream.add(&b.gate, rows(second.clone()));
        assert_close(stream.into_tensor(), sum + second * b.gate * 2.0);
    }

    #[test]
    fn quantized_tokens_are_those_of_the_norm() {
        let modulation = modulation();
        let stream = Residual::new(random([2, 5, 24]));
        let updated = stream
            .clone()
            .add(&modulation.gate, rows(random([2, 5, 24])));
        for stream in [stream, updated] {
            let (quantized, y) = stream.clone().norm(&modulation, true);
            let sum = stream.into_tensor();
            assert_close(quantized.into_tensor(), sum.clone());
            let exact = normed(sum, &modulation);
            let expected = Activations::Quantized(Activations::of(exact.clone()).quantized());
            let y = y.float();
            assert_close(y.clone(), expected.float());
            assert!((y - exact).abs().max().into_scalar() > 1e-4);
        }
    }

    #[test]
    fn rows_are_tokens_of_their_branches() {
        let (x, y) = (random([2, 5, 24]), random([2, 5, 3]));
        let stream = Residual::new(x);
        assert_close(stream.tokens(rows(y.clone())), y);
    }
}
