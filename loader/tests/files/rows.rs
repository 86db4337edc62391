//! Rows that are read straight from a file.

use backends::weight::Weight;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use loader::{Component, ElementType, LoadError, load, read_rows};

use crate::modules::{Linear, Names, Norm, on_disk};
use crate::writer::{Writer, transformer};

/// Layers of a name that the loader knows, as embeddings.
#[derive(Module, Debug)]
struct Embeddings<B: Backend> {
    txt_norm: Norm<B>,
    img_in: Linear<B>,
}

const HEIGHT: usize = 300;
const WIDTH: usize = 70;

fn file(dtype: ElementType, scales: &[f32]) -> Writer {
    let size = dtype.block().bytes;
    let bytes = (0..HEIGHT * WIDTH * size).map(|i| (i * 31 % 113) as u8);
    let file = transformer("").tensor(
        "img_in.weight",
        dtype,
        &[HEIGHT, WIDTH],
        &bytes.collect::<Vec<u8>>(),
    );
    match scales {
        [] => file,
        [_] => file.f32("img_in.weight_scale", &[], scales),
        _ => file.f32("img_in.weight_scale", &[scales.len()], scales),
    }
}

/// The rows as a look-up in the loaded weight gives them.
fn looked_up(file: &Writer, rows: &[u32]) -> Vec<f32> {
    let disk = on_disk(file, Component::Transformer);
    let names = Names::default();
    let format = disk.weights.format("img_in.weight");
    let module = Embeddings {
        txt_norm: names.norm("txt_norm", 4),
        img_in: names.linear("img_in", [HEIGHT, WIDTH], format),
    };
    let (module, _) = load(names.of(module), &disk.weights, &FlexDevice, &mut ()).unwrap();
    let rows = TensorData::new(
        rows.iter().map(|&row| i64::from(row)).collect::<Vec<_>>(),
        [rows.len()],
    );
    let rows = Tensor::<Flex, 1, Int>::from_data(rows, &FlexDevice);
    let weight: &Weight<Flex> = &module.img_in.weight;
    let values = weight.rows(rows, FloatDType::F32).into_data();
    values.to_vec().unwrap()
}

#[test]
fn rows_are_those_of_the_loaded_weight() {
    let each: Vec<f32> = (0..HEIGHT).map(|row| 0.5 + row as f32 / 64.0).collect();
    let rows = [7, 299, 0, 7, 150, 151];
    for file in [
        file(ElementType::BF16, &[]),
        file(ElementType::F16, &[]),
        file(ElementType::F32, &[]),
        file(ElementType::F8E4M3, &[]),
        file(ElementType::F8E4M3, &[0.3]),
        file(ElementType::F8E5M2, &each),
        file(ElementType::BF16, &[]).misaligned(),
    ] {
        let disk = on_disk(&file, Component::Transformer);
        let read = read_rows(&disk.weights, "img_in.weight", &rows).unwrap();
        assert_eq!(read.len(), rows.len() * WIDTH);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(read), bits(looked_up(&file, &rows)));
    }
    let disk = on_disk(&file(ElementType::BF16, &[]), Component::Transformer);
    assert_eq!(
        read_rows(&disk.weights, "img_in.weight", &[]).unwrap(),
        [0.0; 0]
    );
}

#[test]
fn rows_that_are_not_there() {
    let disk = on_disk(&file(ElementType::BF16, &[]), Component::Transformer);
    for (name, rows, message) in [
        (
            "txt_in.weight",
            [0].as_slice(),
            "1 tensor missing (txt_in.weight)",
        ),
        (
            "img_in.weight",
            &[0, 300],
            "1 tensor of the wrong shape (img_in.weight is [300, 70] instead of [301, 70])",
        ),
        (
            "txt_norm.weight",
            &[0],
            "1 tensor of the wrong shape (txt_norm.weight is [4] instead of [1, 4])",
        ),
    ] {
        let error = read_rows(&disk.weights, name, rows).unwrap_err();
        let LoadError::Misfit { misfit, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(misfit.to_string(), message);
    }
}

#[test]
fn rows_of_a_file_that_was_written_to() {
    let disk = on_disk(&file(ElementType::BF16, &[]), Component::Transformer);
    let bytes = std::fs::read(&disk.path).unwrap();
    std::fs::write(&disk.path, &bytes[..bytes.len() - 1]).unwrap();
    let error = read_rows(&disk.weights, "img_in.weight", &[299]).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
}
