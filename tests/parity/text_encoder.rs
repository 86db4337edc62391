//! The text encoder, layer by layer.

use burn::tensor::FloatDType;
use tests::{Models, TOLERANCE};

use crate::{Flex, compare, deep};

#[test]
fn hidden_states_are_those_of_the_reference() {
    for (case, trace) in deep("text") {
        let device = Default::default();
        let encoder = Models::<Flex>::new(&case, device).text_encoder();
        let ids: Vec<u32> = trace.i64("input_ids").iter().map(|&id| id as u32).collect();
        let rotary = encoder.rotary(ids.len(), &device);
        let mut x = encoder.embed(&ids, FloatDType::F32, &device);
        for (i, layer) in encoder.layers.iter().enumerate() {
            compare(
                &case.name,
                &trace,
                &format!("text.hidden{i}"),
                x.clone(),
                TOLERANCE,
            );
            x = layer.forward(x, &rotary);
        }
        let last = format!("text.hidden{}", encoder.layers.len());
        compare(
            &case.name,
            &trace,
            &last,
            encoder.norm.forward(x),
            TOLERANCE,
        );
    }
}
