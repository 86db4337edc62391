//! The processor's own kernels against the portable bodies on the same processor.

use burn::module::Param;
use burn::tensor::TensorPrimitive;
use burn_flex::Flex;

use super::*;
use crate::fp8::Arithmetic;
use crate::fp8::quantize::quantize_rows;
use crate::kernels::QuantizedLinear;
use crate::test_random::random;
use crate::weight::by_row::{packed_linear_by_row, quantized_linear_by_row};
use crate::weight::{PackedWeight, Weight, linear};

/// All finite codes in turn.
fn codes(shape: [usize; 2], format: Fp8Format) -> Tensor<Flex, 2, Int> {
    let finite = (0..=255u8).filter(|&code| format.decode(code).is_finite());
    let codes: Vec<u8> = finite
        .cycle()
        .step_by(37)
        .take(shape[0] * shape[1])
        .collect();
    Tensor::from_data(
        TensorData::new(codes, shape),
        (&Default::default(), DType::U8),
    )
}

fn close(what: &str, fast: Tensor<Flex, 2>, portable: Tensor<Flex, 2>) {
    assert_eq!(fast.dims(), portable.dims(), "{what}");
    let largest = portable.clone().abs().max().into_scalar();
    let distance = (fast - portable).abs().max().into_scalar();
    assert!(
        largest > 0.0 && distance <= largest * 1e-5,
        "{what}: {distance} of {largest}"
    );
}

/// One row, fewer outputs than threads, odd sizes, several tiles.
const SHAPES: [[usize; 3]; 8] = [
    [1, 3072, 700],
    [2, 1025, 130],
    [100, 2048, 77],
    [127, 70, 101],
    [5, 7, 1],
    [33, 129, 301],
    [64, 256, 2000],
    [3, 1, 5],
];

const ACTIVATIONS: [Activation; 2] = [Activation::None, Activation::GeluTanh];

#[test]
fn packed_linear_agrees() {
    for format in [Fp8Format::E4M3, Fp8Format::E5M2] {
        for ([rows, input, output], activation) in shapes_and_activations() {
            let call = PackedLinear {
                x: random([rows, input]),
                weight: PackedMatrix {
                    bytes: codes([output, input], format),
                    scale: Tensor::from_floats([0.37], &Default::default()),
                    format: PackedFormat::Fp8(format),
                },
                epilogue: Epilogue {
                    bias: Some(random([output])),
                    addend: (rows % 2 == 1).then(|| random([rows, output])),
                    activation,
                },
            };
            close(
                &format!("{format:?} {rows}x{input}x{output} {activation:?}"),
                linear::packed_linear(call.clone()),
                packed_linear(call),
            );
        }
    }
}

#[test]
fn a_scale_for_each_row_is_the_product_with_the_decoded_and_scaled_weight() {
    let device = Default::default();
    for ([rows, input, output], activation) in shapes_and_activations() {
        if output == 1 {
            continue;
        }
        let format = Fp8Format::E4M3;
        let x = random([rows, input]);
        let codes = codes([output, input], format);
        let scales: Vec<f32> = (0..output).map(|row| 0.1 + row as f32 * 0.01).collect();
        let scales = Tensor::<Flex, 1>::from_floats(scales.as_slice(), &device);
        let epilogue = Epilogue {
            bias: Some(random([output])),
            addend: (rows % 2 == 1).then(|| random([rows, output])),
            activation,
        };
        let dense = decode_all(codes.clone(), format) * scales.clone().unsqueeze_dim(1);
        let exact = |x| {
            let (weight, epilogue) = (dense.clone(), epilogue.clone());
            dense_linear(DenseLinear {
                x,
                weight,
                epilogue,
            })
        };
        let weight = PackedMatrix {
            bytes: codes,
            scale: scales,
            format: PackedFormat::Fp8(format),
        };
        let expected = exact(x.clone());
        let call = PackedLinear {
            x: x.clone(),
            weight: weight.clone(),
            epilogue: epilogue.clone(),
        };
        let what = format!("{rows}x{input}x{output} {activation:?}");
        for (by, found) in [
            ("processor", linear::packed_linear(call.clone())),
            ("portable", packed_linear(call.clone())),
            ("in two steps", packed_linear_by_row(call)),
        ] {
            close(&format!("{what} {by}"), found, expected.clone());
        }
        // Activations that are quantized to FP8 are scaled by row too.
        let quantized = quantize_rows(x);
        let [values, scales] = [&quantized.values, &quantized.scales].map(|primitive| {
            Tensor::<Flex, 2>::from_primitive(TensorPrimitive::Float(primitive.clone()))
        });
        let expected = exact(values * scales);
        let call = QuantizedLinear {
            x: quantized,
            weight,
            epilogue,
        };
        for (by, found) in [
            ("quantized", linear::quantized_linear(call.clone())),
            ("quantized in two steps", quantized_linear_by_row(call)),
        ] {
            close(&format!("{what} {by}"), found, expected.clone());
        }
    }
}

#[test]
fn dense_linear_agrees_in_every_dtype() {
    for dtype in [FloatDType::F32, FloatDType::BF16, FloatDType::F16] {
        for ([rows, input, output], activation) in shapes_and_activations() {
            let call = DenseLinear {
                x: random([rows, input]),
                weight: random([output, input]).cast(dtype),
                epilogue: Epilogue {
                    activation,
                    ..Epilogue::NONE
                },
            };
            close(
                &format!("{dtype:?} {rows}x{input}x{output} {activation:?}"),
                linear::dense_linear(call.clone()),
                dense_linear(call),
            );
        }
    }
}

fn shapes_and_activations() -> impl Iterator<Item = ([usize; 3], Activation)> {
    let each = |shape| ACTIVATIONS.map(|activation| (shape, activation));
    SHAPES.into_iter().flat_map(each)
}

#[test]
fn an_activation_is_what_follows_the_layer_without() {
    let device = Default::default();
    let format = Fp8Format::E4M3;
    let fp8 = Weight::<Flex>::Packed(PackedWeight {
        bytes: Param::initialized(Default::default(), codes([130, 70], format)),
        scale: Param::from_tensor(Tensor::from_floats([0.002], &device)),
        format: PackedFormat::Fp8(format),
        arithmetic: Arithmetic::Exact,
    });
    let dense = Weight::Dense(Param::from_tensor(random([130, 70]) * 0.1));
    let bias = Param::from_tensor(random([130]));
    for weight in [fp8, dense] {
        // Few rows and many go different ways.
        for rows in [1, 5, 200] {
            let x = random([1, rows, 70]);
            let plain = weight.linear(x.clone(), Some(&bias), None, Activation::None);
            let expected = crate::fused::gelu_tanh(plain.clone());
            let found = weight.linear(x, Some(&bias), None, Activation::GeluTanh);
            let moved = (plain - expected.clone()).abs().max().into_scalar();
            assert!(moved > 0.01, "{rows} rows: GELU changes nothing");
            found.into_data().assert_eq(&expected.into_data(), true);
        }
    }
}

#[test]
fn an_embedding_row_is_its_decoded_codes() {
    let device = Default::default();
    let format = Fp8Format::E4M3;
    let weight = Weight::<Flex>::Packed(PackedWeight {
        bytes: Param::initialized(Default::default(), codes([9, 4], format)),
        scale: Param::from_tensor(Tensor::from_floats([0.5], &device)),
        format: PackedFormat::Fp8(format),
        arithmetic: Arithmetic::Exact,
    });
    let ids = Tensor::<Flex, 1, Int>::from_ints([8, 0, 8], &device);
    let rows: Vec<f32> = weight
        .rows(ids, FloatDType::F32)
        .into_data()
        .iter()
        .collect();
    let all: Vec<u8> = codes([9, 4], format).into_data().iter().collect();
    let expected: Vec<f32> = [8, 0, 8]
        .iter()
        .flat_map(|row| &all[row * 4..row * 4 + 4])
        .map(|&code| format.decode(code) * 0.5)
        .collect();
    assert_eq!(rows, expected);

    let scales = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.25];
    let by_row = Weight::<Flex>::Packed(PackedWeight {
        bytes: Param::initialized(Default::default(), codes([9, 4], format)),
        scale: Param::from_tensor(Tensor::from_floats(scales, &device)),
        format: PackedFormat::Fp8(format),
        arithmetic: Arithmetic::Exact,
    });
    let ids = Tensor::<Flex, 1, Int>::from_ints([8, 0, 2], &device);
    let rows = by_row.rows(ids, FloatDType::F32).into_data();
    let expected = [8, 0, 2].iter().flat_map(|&row| {
        let codes = &all[row * 4..row * 4 + 4];
        codes
            .iter()
            .map(move |&code| format.decode(code) * scales[row])
    });
    let rows: Vec<f32> = rows.iter().collect();
    assert_eq!(rows, expected.collect::<Vec<_>>());
}
