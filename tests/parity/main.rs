//! The reference's tensors, one after the other.

mod comfyui;
mod full_size;
mod init_image;
mod lora;
mod modulations;
mod numbers;
mod pipeline;
mod preview;
mod quantized;
mod resident;
mod samplers;
mod text_encoder;
mod tiling;
mod tokenizer;
mod transformer;
mod vae;
mod vae_encoder;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use tests::{Case, Trace, cases, check};

/// The backend under test.
type Flex = burn_flex::Flex;

/// The cases whose inner tensors of one model were recorded.
fn deep(model: &str) -> Vec<(Case, Trace)> {
    let found: Vec<_> = cases()
        .into_iter()
        .filter(|case| case.deep.iter().any(|deep| deep == model))
        .map(|case| {
            let trace = Trace::open(&case.trace);
            (case, trace)
        })
        .collect();
    assert!(!found.is_empty(), "no case records the {model}");
    found
}

/// A recorded tensor on the device.
fn recorded<B: Backend, const D: usize>(
    trace: &Trace,
    name: &str,
    device: &B::Device,
) -> Tensor<B, D> {
    let (shape, values) = trace.f32(name);
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), device)
}

/// Compares a tensor with the one recorded under `name`.
fn compare<B: Backend, const D: usize>(
    case: &str,
    trace: &Trace,
    name: &str,
    tensor: Tensor<B, D>,
    tolerance: f32,
) {
    let shape = tensor.dims();
    let values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
    check(
        &format!("{case}: {name}"),
        &shape,
        &values,
        trace.f32(name),
        tolerance,
    );
}
