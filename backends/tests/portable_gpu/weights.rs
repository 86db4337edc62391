//! Weights in the formats of files.

use backends::{
    Activation, Arithmetic, Fp8Format, ModelBackend, OnBackend, PackedFormat, PackedWeight,
    TensorSink, Weight,
};
use burn::module::Param;
use burn::tensor::{FloatDType, Int, Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexDevice};

use crate::uploads::uploaded;
use crate::{close, everywhere, on, random, same, values};

fn fp8_weight<B: ModelBackend>(
    device: &B::Device,
    shape: [usize; 2],
    codes: &[u8],
    format: Fp8Format,
    scale: f32,
) -> Weight<B> {
    let (mut sink, memory) = uploaded::<B>(device, codes, &[codes.len()]);
    let codes = sink.codes(memory, &shape).expect("of this size");
    of_codes(device, Tensor::from_primitive(codes), format, scale)
}

/// The weight of codes that are on the device.
pub(crate) fn of_codes<B: ModelBackend>(
    device: &B::Device,
    codes: Tensor<B, 2, Int>,
    format: Fp8Format,
    scale: f32,
) -> Weight<B> {
    Weight::Packed(PackedWeight {
        bytes: Param::initialized(Default::default(), codes),
        scale: Param::from_tensor(Tensor::from_floats([scale], device)),
        format: PackedFormat::Fp8(format),
        arithmetic: Arithmetic::Exact,
    })
}

fn dense_weight<B: ModelBackend>(device: &B::Device, values: &Tensor<Flex, 2>) -> Weight<B> {
    let data = values.to_data();
    let (mut sink, memory) = uploaded::<B>(device, data.as_bytes(), &[data.as_bytes().len()]);
    let floats = sink
        .floats(memory, &values.dims(), values.dtype())
        .expect("of this size");
    let floats = Tensor::from_primitive(TensorPrimitive::Float(floats));
    Weight::Dense(Param::from_tensor(floats))
}

#[derive(Clone, Copy)]
struct Rows;

impl OnBackend for Rows {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        let named = [8i32, 0, 3, 8];
        let indices = Tensor::<B, 1, Int>::from_ints(named, &device);
        // Every code, in rows that are no whole words and in rows that are.
        for (format, width) in [
            (Fp8Format::E4M3, 29),
            (Fp8Format::E5M2, 31),
            (Fp8Format::E4M3, 32),
        ] {
            let all: Vec<u8> = (0..9 * width).map(|i| (i % 256) as u8).collect();
            let weight = fp8_weight::<B>(&device, [9, width], &all, format, 0.5);
            let every = Tensor::<B, 1, Int>::arange(0..9, &device);
            let found = values(weight.rows(every, FloatDType::F32));
            let all: Vec<f32> = all.iter().map(|&code| format.decode(code) * 0.5).collect();
            same(&format!("{format:?}, every row"), &found, &all);
            let found = values(weight.rows(indices.clone(), FloatDType::F32));
            let rows = named.map(|row| &all[row as usize * width..][..width]);
            same(&format!("{format:?}, some rows"), &found, &rows.concat());
        }
        let special = [
            0.0,
            -0.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            // The least of F16, and one without an exponent.
            6e-8,
            -3.1e-5,
        ];
        let few = Tensor::<Flex, 1>::from_floats(special, &FlexDevice);
        let many = Tensor::cat(vec![few, random([9 * 5 - special.len()])], 0).reshape([9, 5]);
        for dtype in [FloatDType::F32, FloatDType::F16, FloatDType::BF16] {
            let many: Tensor<Flex, 2> = many.clone().cast(dtype);
            let weight = dense_weight::<B>(&device, &many);
            let found = values(weight.rows(indices.clone(), FloatDType::F32));
            let named = Tensor::<Flex, 1, Int>::from_ints(named, &FlexDevice);
            let expected = values(many.select(0, named));
            same(&format!("{dtype:?}"), &found, &expected);
        }
    }
}

#[test]
fn embedding_rows_are_exact_in_every_format() {
    everywhere(Rows);
}

#[derive(Clone, Copy)]
struct Linear;

impl OnBackend for Linear {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        for [rows, input, output] in [[1, 70, 33], [5, 7, 1], [37, 129, 61]] {
            let x = random([1, rows, input]);
            // Large enough that a GELU of a single output is not all but zero.
            let bias = random([output]).abs() + 2.0;
            let on_device = Param::from_tensor(on::<B, 1>(&device, &bias));
            let bias = Param::from_tensor(bias);
            let addend = random([1, rows, output]);
            let check = |what: &str, ours: &Weight<B>, theirs: &Weight<Flex>| {
                for (activation, addend) in [
                    (Activation::None, None),
                    (Activation::GeluTanh, None),
                    (Activation::GeluTanh, Some(&addend)),
                ] {
                    let added = addend.map(|addend| on::<B, 3>(&device, addend));
                    let adds = addend.is_some();
                    close(
                        &format!("{what} {rows}x{input}x{output} {activation:?}, adds: {adds}"),
                        ours.linear(on::<B, 3>(&device, &x), Some(&on_device), added, activation),
                        theirs.linear(x.clone(), Some(&bias), addend.cloned(), activation),
                    );
                }
            };
            let shape = [output, input];
            for format in [Fp8Format::E4M3, Fp8Format::E5M2] {
                let finite = (0..=255u8).filter(|&code| format.decode(code).is_finite());
                let codes: Vec<u8> = finite.cycle().step_by(37).take(output * input).collect();
                let what = format!("{format:?}");
                let ours = fp8_weight(&device, shape, &codes, format, 0.37);
                let theirs = fp8_weight(&FlexDevice, shape, &codes, format, 0.37);
                check(&what, &ours, &theirs);
            }
            for dtype in [FloatDType::F32, FloatDType::F16, FloatDType::BF16] {
                let weight = random(shape).cast(dtype);
                let what = format!("{dtype:?}");
                let ours = dense_weight(&device, &weight);
                check(&what, &ours, &Weight::Dense(Param::from_tensor(weight)));
            }
        }
    }
}

#[test]
fn linear_layers_agree_in_every_format() {
    everywhere(Linear);
}
