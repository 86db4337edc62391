//! The noise level as a vector.

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor, TensorData, activation};

use crate::builder::Builder;
use crate::linear::Linear;

/// Channels of the sinusoid.
const CHANNELS: usize = 256;

/// The longest period of the sinusoid.
const MAX_PERIOD: f64 = 10_000.0;

/// Noise levels from 0 to 1 are embedded as if they were training steps up to this number.
const SCALE: f32 = 1000.0;

/// The embedding of the noise level.
#[derive(Module, Debug)]
pub struct TimestepEmbedding<B: Backend> {
    /// Two linear layers on the sinusoid.
    pub timestep_embedder: TimestepProjection<B>,
}

/// Two linear layers with a SiLU between them.
#[derive(Module, Debug)]
pub struct TimestepProjection<B: Backend> {
    /// From the sinusoid to the model's width.
    pub linear_1: Linear<B>,
    /// Width to width.
    pub linear_2: Linear<B>,
}

impl<B: Backend> TimestepEmbedding<B> {
    /// An embedding whose parameters wait for a loader.
    pub fn uninitialized(inner: usize, at: &Builder<B>) -> Self {
        let at = at.at("timestep_embedder");
        Self {
            timestep_embedder: TimestepProjection {
                linear_1: at.linear("linear_1", CHANNELS, inner, true),
                linear_2: at.linear("linear_2", inner, inner, true),
            },
        }
    }
}

impl<B: ModelBackend> TimestepEmbedding<B> {
    /// The vectors of noise levels from 0 to 1: f32 `[1, levels, channels]`.
    pub fn forward(&self, timesteps: &[f32], device: &B::Device) -> Tensor<B, 3> {
        let sinusoids: Vec<f32> = timesteps.iter().copied().flat_map(sinusoid).collect();
        let sinusoids = TensorData::new(sinusoids, [1, timesteps.len(), CHANNELS]);
        let x = Tensor::from_data(sinusoids, (device, DType::F32));
        let x = self.timestep_embedder.linear_1.forward(x);
        let x = self.timestep_embedder.linear_2.forward(activation::silu(x));
        x.cast(FloatDType::F32)
    }
}

/// Cosines, then sines, of the noise level at frequencies from 1 down to 1 / 10000 (Vaswani et
/// al., 2017), rounded where the reference rounds: at arguments up to 1000, one unit in the
/// last place of a frequency is visible in the result.
pub fn sinusoid(timestep: f32) -> Vec<f32> {
    let half = CHANNELS / 2;
    let arguments: Vec<f64> = (0..half)
        .map(|i| {
            let exponent = -MAX_PERIOD.ln() as f32 * i as f32 / half as f32;
            let frequency = f64::from(exponent).exp() as f32;
            f64::from(SCALE * (timestep * frequency))
        })
        .collect();
    let cosines = arguments.iter().map(|argument| argument.cos() as f32);
    let sines = arguments.iter().map(|argument| argument.sin() as f32);
    cosines.chain(sines).collect()
}
