//! Rotary position embedding (Su et al., "RoFormer", 2021): tables of angles.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

/// Cosines and sines of the angle of each token and each plane of a head's vector.
#[derive(Clone, Debug)]
pub struct RotaryTable<B: Backend> {
    /// f32 `[tokens, head_dim / 2]`.
    pub cos: Tensor<B, 2>,
    /// f32 `[tokens, head_dim / 2]`.
    pub sin: Tensor<B, 2>,
}

impl<B: Backend> RotaryTable<B> {
    /// The table of `angles` in radians, row by row, `planes` a token.
    pub fn new(angles: &[f32], planes: usize, device: &B::Device) -> Self {
        let tokens = angles.len() / planes.max(1);
        let table = |f: fn(f64) -> f64| {
            // The angle is f32 as in the reference; its cosine is correctly rounded.
            let values: Vec<f32> = angles.iter().map(|&a| f(f64::from(a)) as f32).collect();
            Tensor::from_data(
                TensorData::new(values, [tokens, planes]),
                (device, DType::F32),
            )
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// The table of positions `0..tokens`, each turning by every one of `frequencies`.
    pub fn of_sequence(tokens: usize, frequencies: &[f32], device: &B::Device) -> Self {
        let angles: Vec<f32> = (0..tokens)
            .flat_map(|position| frequencies.iter().map(move |f| position as f32 * f))
            .collect();
        Self::new(&angles, frequencies.len(), device)
    }
}

/// `1 / theta^(2i / dim)` for `i` in `0..dim / 2`, rounded where the reference rounds: the
/// exponent, the power and the quotient are each f32.
pub fn inverse_frequencies(dim: usize, theta: f64) -> Vec<f32> {
    (0..dim / 2)
        .map(|i| {
            let exponent = (2 * i) as f32 / dim as f32;
            1.0 / theta.powf(f64::from(exponent)) as f32
        })
        .collect()
}
