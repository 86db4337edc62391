//! Products of activations quantized to FP8 differ from the reference by a small, measured amount.

use backends::Arithmetic;
use burn::tensor::Tensor;
use model::latents::{TokenGrid, pack};
use model::transformer::RopeCentring;
use tests::{Models, Trace, cases};

use crate::resident::predictions;
use crate::{Flex, recorded};

/// The least cosine between a prediction and the reference's.
const LEAST_COSINE: f64 = 0.999;
/// A prediction with a higher cosine was computed without quantized activations.
const EXACT: f64 = 0.999_999_9;

#[test]
fn quantized_activations_give_nearly_the_reference_s_prediction() {
    let mut quantized = 0;
    for case in cases() {
        let trace = Trace::open(&case.trace);
        let device = Default::default();
        let mut transformer = Models::<Flex>::new(&case, device).transformer();
        transformer.set_arithmetic(Arithmetic::Fp8);
        let grid = TokenGrid::of_image(case.width, case.height);
        let embeds = recorded::<Flex, 3>(&trace, "prompt_embeds", &device);
        let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
        let prompts = transformer.prompts(vec![embeds], grid, RopeCentring::default());
        let timestep = trace.f32("sigmas").1[0];
        let found = predictions(&transformer, pack(noise), &prompts, timestep);
        let found: Vec<f32> = found.into_data().iter().collect();
        let cosine = cosine(&found, &trace.f32("step0.cond").1);
        println!("{}: cosine {cosine:.6}", case.name);
        assert!(cosine >= LEAST_COSINE, "{}: {cosine}", case.name);
        quantized += usize::from(cosine < EXACT);
    }
    // A case without FP8 weights stays exact; most have them.
    assert!(quantized >= 15, "only {quantized} cases were quantized");
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
