//! What a stream of tokens goes through, as a value.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::layer::Layer;
use super::norm_call::NormCall;
use crate::kernels::{Activations, Kernels};

/// A norm and chains of linear layers on its tokens, to be computed: each chain gives one output.
#[derive(Clone, Debug)]
pub struct StreamCall<B: Backend, const N: usize> {
    /// What gives the normalised tokens that all chains begin with.
    pub norm: NormCall<B>,
    /// The chains.
    pub chains: [Chain<B>; N],
}

/// Linear layers, each on the result of the one before.
#[derive(Clone, Debug)]
pub struct Chain<B: Backend> {
    first: Layer<B>,
    rest: Vec<Layer<B>>,
}

/// A chain on an input, to be computed.
#[derive(Clone, Debug)]
pub struct ChainCall<B: Backend> {
    /// Its input.
    pub x: Activations<B>,
    /// The chain.
    pub chain: Chain<B>,
}

/// What a stream has become.
#[derive(Clone, Debug)]
pub struct StreamResult<B: Backend, const N: usize> {
    /// The input of the norm with its update, float `[batch, tokens, channels]`.
    pub sum: Tensor<B, 3>,
    /// What each chain gives, float `[rows, channels]`.
    pub outputs: [Tensor<B, 2>; N],
}

impl<B: Backend> Chain<B> {
    /// One layer.
    pub fn new(first: Layer<B>) -> Self {
        let rest = vec![];
        Self { first, rest }
    }

    /// With another layer at its end.
    pub fn then(mut self, layer: Layer<B>) -> Self {
        self.rest.push(layer);
        self
    }

    /// Its layers, in order.
    pub fn into_layers(self) -> impl Iterator<Item = Layer<B>> {
        std::iter::once(self.first).chain(self.rest)
    }
}

impl<B: Backend, const N: usize> StreamCall<B, N> {
    /// Whether nothing but rounded normalised tokens is needed.
    pub fn takes_rounded(&self) -> bool {
        let mut chains = self.chains.iter();
        chains.all(|chain| chain.first.takes_rounded())
    }
}

impl<B: Kernels> ChainCall<B> {
    /// Float `[rows, channels]`.
    ///
    /// # Panics
    /// If activations are rounded, and the first layer does not [take](Layer::takes_rounded) that.
    pub fn compute(self) -> Tensor<B, 2> {
        let Chain { first, rest } = self.chain;
        go_on(first.compute(self.x), rest)
    }
}

/// Through further layers.
fn go_on<B: Kernels>(y: Tensor<B, 2>, layers: Vec<Layer<B>>) -> Tensor<B, 2> {
    let layers = layers.into_iter();
    layers.fold(y, |y, layer| layer.compute(Activations::Float(y)))
}

impl<B: Kernels, const N: usize> StreamCall<B, N> {
    /// One after the other; tokens that are needed rounded only are rounded once.
    ///
    /// # Panics
    /// As [`ChainCall::compute`].
    pub fn compute(self) -> StreamResult<B, N> {
        let takes_rounded = self.takes_rounded();
        let [sum, y] = self.norm.compute();
        let x = Activations::Float(y.flatten::<2>(0, 1));
        let x = match takes_rounded {
            true => Activations::Quantized(x.quantized()),
            false => x,
        };
        let begun = self
            .chains
            .map(|Chain { first, rest }| (first.compute(x.clone()), rest));
        // Its memory is for what follows.
        drop(x);
        let outputs = begun.map(|(y, rest)| go_on(y, rest));
        StreamResult { sum, outputs }
    }
}

/// Computes two streams that need nothing of each other, at the same time where the device can;
/// results are those of [`StreamCall::compute`].
pub fn streams<B: Kernels, const N: usize>(
    calls: [StreamCall<B, N>; 2],
) -> [StreamResult<B, N>; 2] {
    B::streams(calls).unwrap_or_else(|calls| calls.map(StreamCall::compute))
}
