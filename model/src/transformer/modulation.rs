//! What the noise level does to a sub-layer (adaLN-Zero; Peebles & Xie, "Scalable Diffusion Models with
//! Transformers", 2022).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Added to the variances and mean squares of the transformer's norms.
pub(super) const EPSILON: f64 = 1e-6;

/// How one sub-layer is modulated; each part is float `[1, 1, channels]`.
#[derive(Clone, Debug)]
pub struct Modulation<B: Backend> {
    /// Added to the normalised input.
    pub shift: Tensor<B, 3>,
    /// Multiplies the normalised input, as `1 + scale`.
    pub scale: Tensor<B, 3>,
    /// Multiplies the output.
    pub gate: Tensor<B, 3>,
}

impl<B: Backend> Modulation<B> {
    /// The modulations of attention and feed-forward, from `[1, 1, 6 * channels]`.
    pub(super) fn pair(x: Tensor<B, 3>) -> [Self; 2] {
        split::<B, 2>(x).map(|half| {
            let [shift, scale, gate] = split(half);
            Self { shift, scale, gate }
        })
    }
}

/// `N` equal parts of the last dimension.
pub(super) fn split<B: Backend, const N: usize>(x: Tensor<B, 3>) -> [Tensor<B, 3>; N] {
    let width = x.dims()[2] / N;
    std::array::from_fn(|i| x.clone().narrow(2, i * width, width))
}
