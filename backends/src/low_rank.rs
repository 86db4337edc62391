//! A product of two thin matrices beside a weight (LoRA; Hu et al., "LoRA: Low-Rank Adaptation of
//! Large Language Models", 2021).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::{DenseLinear, Epilogue, Kernels};
use crate::weight::linear::dense_linear;

/// The update that adapters add to a linear layer: `up · down`. It is never merged into the weight,
/// which stays in its file's format.
///
/// The matrices are no parameters of the checkpoint: a loader's visitors do not see them.
#[derive(Module, Debug)]
pub struct LowRank<B: Backend> {
    /// Float `[rank, in]`.
    pub down: Tensor<B, 2>,
    /// Float `[out, rank]`; adapters' scales are in it.
    pub up: Tensor<B, 2>,
}

impl<B: Kernels> LowRank<B> {
    /// `(x · downᵀ) · upᵀ` for `x` float `[..., in]`, giving `[..., out]`. Both products are in
    /// `x`'s dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let mut shape = x.dims();
        let width = shape[D - 1];
        let rows = shape[..D - 1].iter().product::<usize>();
        let product = |x, matrix: &Tensor<B, 2>| {
            dense_linear(DenseLinear {
                x,
                weight: matrix.clone(),
                epilogue: Epilogue::NONE,
            })
        };
        let x = x.reshape([rows, width]);
        let y = product(product(x, &self.down), &self.up);
        shape[D - 1] = self.up.dims()[0];
        y.reshape(shape)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn it_is_the_product_by_hand() {
        let device = Default::default();
        let pair = LowRank::<Flex> {
            // Rank 2, from 3 features to 2.
            down: Tensor::from_floats([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]], &device),
            up: Tensor::from_floats([[3.0, 0.5], [-2.0, 4.0]], &device),
        };
        // x · downᵀ = [[7, 1], [1, -4]] for the two tokens.
        let x = Tensor::<Flex, 3>::from_floats([[[1.0, 2.0, 3.0], [1.0, 4.0, 0.0]]], &device);
        let y = pair.forward(x);
        assert_eq!(y.dims(), [1, 2, 2]);
        let y: Vec<f32> = y.into_data().iter().collect();
        assert_eq!(y, [21.5, -10.0, 1.0, -18.0]);
    }
}
