#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use backends::fp8::Fp8Format;
use half::bf16;
use safetensors::SafeTensors;

use super::*;
use crate::Weights;
use crate::container::safetensors::Header;

const ALL: [Published; 4] = [
    Published::Transformer,
    Published::TextEncoder,
    Published::Vae,
    Published::DiffusersVae,
];

fn spec(key: &str, dtype: ElementType, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        key: key.to_owned(),
        dtype,
        shape: shape.to_vec(),
    }
}

/// One tensor of each kind, the matrix of several pieces' length.
fn few() -> Layout {
    Layout::new(vec![
        spec("a.weight", ElementType::F8E4M3, &[4100, 1024]),
        spec("a.bias", ElementType::F8E4M3, &[4099]),
        spec("a.scale_weight", ElementType::F32, &[]),
        spec("conv.weight", ElementType::BF16, &[64, 32, 1, 3, 3]),
        spec("norm.weight", ElementType::BF16, &[1001]),
        spec("scaled_fp8", ElementType::F8E4M3, &[0]),
    ])
    .unwrap()
}

fn write_to(path: &Path, layout: &Layout, filling: Filling) -> Result<(), WriteError> {
    let watch = &mut |_, _| ControlFlow::Continue(());
    write(path, layout, filling, Overwrite::Refuse, watch)
}

/// The bytes of a random file.
fn random(layout: &Layout, seed: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    write_to(&path, layout, Filling::Random { seed }).unwrap();
    std::fs::read(path).unwrap()
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / count;
    (mean, variance.sqrt())
}

#[test]
fn the_lists_are_those_of_the_published_files() {
    let counts = ALL.map(|file| file.tensors().len());
    assert_eq!(counts, [1933, 1446, 194, 194]);
    let data: Vec<u64> = ALL
        .iter()
        .map(|file| {
            let layout = file.layout();
            layout.file_len() - layout.header().len() as u64
        })
        .collect();
    assert_eq!(
        data,
        [20_430_401_088, 9_384_518_448, 253_785_062, 253_785_062]
    );
    let shape = |file: Published, key: &str| {
        let tensors = file.tensors();
        tensors
            .into_iter()
            .find(|tensor| tensor.key == key)
            .unwrap()
            .shape
    };
    let key = "transformer_blocks.59.txt_mlp.net.0.proj.weight";
    assert_eq!(shape(Published::Transformer, key), [12_288, 3072]);
    assert_eq!(
        shape(Published::TextEncoder, "lm_head.weight"),
        [152_064, 3584]
    );
    assert_eq!(shape(Published::TextEncoder, "scaled_fp8"), [0]);
    let key = "model.layers.27.self_attn.k_proj.scale_weight";
    assert_eq!(shape(Published::TextEncoder, key), [0; 0]);
    let key = "decoder.upsamples.14.residual.3.gamma";
    assert_eq!(shape(Published::Vae, key), [96, 1, 1, 1]);
    let key = "decoder.up_blocks.3.resnets.2.norm2.gamma";
    assert_eq!(shape(Published::DiffusersVae, key), [96, 1, 1, 1]);
}

/// The sizes under which the files can be downloaded: order, spelling and padding of the header
/// are the publisher's, or they would differ.
#[test]
fn files_have_the_published_size_to_the_byte() {
    let files = [
        Published::Transformer,
        Published::TextEncoder,
        Published::Vae,
    ];
    let sizes = files.map(|file| file.layout().file_len());
    assert_eq!(sizes, [20_430_635_136, 9_384_670_680, 253_806_246]);
}

#[test]
fn sparse_files_are_opened_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    for file in ALL {
        let path = dir.path().join(file.file_name());
        let layout = file.layout();
        write_to(&path, &layout, Filling::Holes).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), layout.file_len());
        Weights::open(&path, file.component()).unwrap();
        let header = Header::open(&path).unwrap();
        let found = header
            .tensors
            .iter()
            .map(|tensor| (&tensor.key, tensor.range.clone()));
        let expected = layout.tensors().map(|(tensor, range)| (&tensor.key, range));
        assert!(found.eq(expected));
    }
}

#[cfg(unix)]
#[test]
fn sparse_files_take_next_to_no_space_and_have_scales() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let layout = few();
    write_to(&path, &layout, Filling::Holes).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let scale = tensors.tensor("a.scale_weight").unwrap();
    assert_eq!(scale.data(), 1f32.to_le_bytes());
    let weight = tensors.tensor("a.weight").unwrap();
    assert!(weight.data().iter().all(|&byte| byte == 0));
    let on_disk = std::fs::metadata(&path).unwrap().blocks() * 512;
    assert!(on_disk < layout.file_len() / 8, "{on_disk}");
    assert!(Filling::Holes.disk_bytes(&layout) < 1000);
}

#[test]
fn headers_are_those_of_the_safetensors_library() {
    let layout = few();
    let data: BTreeMap<String, (Vec<u8>, TensorSpec)> = layout
        .tensors()
        .map(|(tensor, range)| {
            let zeros = vec![0; (range.end - range.start) as usize];
            (tensor.key.clone(), (zeros, tensor.clone()))
        })
        .collect();
    let views = data.iter().map(|(key, (bytes, tensor))| {
        let shape = tensor.shape.clone();
        let view =
            safetensors::tensor::TensorView::new(layout::dtype(tensor).unwrap(), shape, bytes);
        (key, view.unwrap())
    });
    let expected = safetensors::serialize(views, None).unwrap();
    assert_eq!(expected.len() as u64, layout.file_len());
    assert_eq!(&expected[..layout.header().len()], layout.header());
}

#[test]
fn random_files_hold_values_that_suit_their_tensors() {
    let bytes = random(&few(), 1);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = |key: &str| tensors.tensor(key).unwrap().data().to_vec();
    let fp8 = |key: &str| -> Vec<f64> {
        let codes = data(key);
        assert!(
            !codes.contains(&0x7f) && !codes.contains(&0xff),
            "NaN in {key}"
        );
        let values = codes
            .iter()
            .map(|&code| Fp8Format::E4M3.decode(code).into());
        values.collect()
    };
    let brain = |key: &str| -> Vec<f64> {
        let bytes = data(key);
        let values = bytes.as_chunks().0.iter();
        values
            .map(|&bytes| bf16::from_le_bytes(bytes).to_f64())
            .collect()
    };
    // Expected mean and deviation, each with its tolerance: sampling and rounding to the dtype.
    for (key, values, (mean, mean_off), (std, std_off)) in [
        ("a.weight", fp8("a.weight"), (0.0, 1e-4), (1.0 / 32.0, 3e-4)),
        ("a.bias", fp8("a.bias"), (0.0, 2e-3), (0.02, 1e-3)),
        (
            "conv.weight",
            brain("conv.weight"),
            (0.0, 2e-3),
            (1.0 / 288f64.sqrt(), 1e-3),
        ),
        (
            "norm.weight",
            brain("norm.weight"),
            (1.0, 1e-2),
            (0.05, 5e-3),
        ),
    ] {
        let found = moments(&values);
        assert!((found.0 - mean).abs() < mean_off, "{key}: {found:?}");
        assert!((found.1 - std).abs() < std_off, "{key}: {found:?}");
    }
    assert_eq!(data("a.scale_weight"), 1f32.to_le_bytes());
}

#[test]
fn every_part_of_a_random_tensor_is_filled() {
    let bytes = random(&few(), 1);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let weight = tensors.tensor("a.weight").unwrap();
    // Most weights are no zeros: a stretch without any was written.
    for stretch in weight.data().chunks(1024) {
        let zeros = stretch.iter().filter(|&&byte| byte & 0x7f == 0).count();
        assert!(zeros < 128, "{zeros}");
    }
    let [first, second] = [0, 1 << 22].map(|at| &weight.data()[at..at + 1024]);
    assert_ne!(first, second);
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_does_not() {
    let layout = few();
    assert_eq!(random(&layout, 5), random(&layout, 5));
    assert_ne!(random(&layout, 5), random(&layout, 6));
}

#[test]
fn files_are_replaced_only_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    std::fs::write(&path, "mine").unwrap();
    let error = write_to(&path, &few(), Filling::Holes).unwrap_err();
    assert!(matches!(error.fault, WriteFault::Exists));
    assert!(error.to_string().ends_with("is there already"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let watch = &mut |_, _| ControlFlow::Continue(());
    write(&path, &few(), Filling::Holes, Overwrite::Replace, watch).unwrap();
    Header::open(&path).unwrap();
}

#[test]
fn cancelling_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let mut told = Vec::new();
    let watch = &mut |done, total| {
        told.push((done, total));
        ControlFlow::Break(())
    };
    let filling = Filling::Random { seed: 0 };
    let error = write(&path, &few(), filling, Overwrite::Refuse, watch).unwrap_err();
    assert!(matches!(error.fault, WriteFault::Cancelled));
    assert_eq!(told.len(), 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn progress_ends_at_the_total() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let layout = few();
    let mut last = (0, 0);
    let watch = &mut |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
        ControlFlow::Continue(())
    };
    let filling = Filling::Random { seed: 0 };
    write(&path, &layout, filling, Overwrite::Refuse, watch).unwrap();
    let data = layout.file_len() - layout.header().len() as u64;
    assert_eq!(last, (data, data));
}

#[test]
fn lists_that_make_no_file_are_refused() {
    let same = || spec("a", ElementType::F32, &[]);
    let fault = Layout::new(vec![same(), same()]).unwrap_err();
    assert!(matches!(fault, WriteFault::SameKey(_)));
    let fault = Layout::new(vec![spec("a", ElementType::I64, &[1])]).unwrap_err();
    assert!(matches!(fault, WriteFault::UnsupportedDtype { .. }));
    let fault = Layout::new(vec![spec("a", ElementType::F32, &[usize::MAX, 2])]).unwrap_err();
    assert!(matches!(fault, WriteFault::TooLarge(_)));
    assert_eq!(Layout::new(Vec::new()).unwrap().file_len(), 16);
}
