//! The contents of a module once it is loaded.

use std::cell::Cell;

use backends::parameters::{TensorPart, UnfilledModule};
use backends::weight::{Weight, uninitialized_float};
use backends::{Fp8Format, PackedFormat, WeightFormat};
use burn::module::Module;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use loader::dialect::DialectError;
use loader::record::Misfit;
use loader::{Component, ElementType, LoadError, LoadObserver, LoadReport, Weights, check, load};

use crate::modules::{Linear, Names, Norm, on_disk, values};
use crate::writer::{Writer, transformer};

/// Two of the transformer's layers.
#[derive(Module, Debug)]
struct Layers<B: Backend> {
    txt_norm: Norm<B>,
    img_in: Linear<B>,
}

/// `img_in` with a weight `[2, 3]` in the checkpoint's format.
fn layers(weights: &Weights, bias: bool) -> UnfilledModule<Layers<Flex>> {
    layers_as(weights.format("img_in.weight"), bias)
}

fn layers_as(format: WeightFormat, bias: bool) -> UnfilledModule<Layers<Flex>> {
    let names = Names::default();
    let module = Layers {
        txt_norm: names.norm("txt_norm", 4),
        img_in: Linear {
            bias: bias.then(|| names.float("img_in.bias", [2])),
            ..names.linear("img_in", [2, 3], format)
        },
    };
    names.of(module)
}

fn load_layers(file: &Writer, bias: bool) -> Result<(Layers<Flex>, LoadReport), LoadError> {
    let disk = on_disk(file, Component::Transformer);
    load(
        layers(&disk.weights, bias),
        &disk.weights,
        &FlexDevice,
        &mut (),
    )
}

fn misfit(file: &Writer, bias: bool) -> Misfit {
    match load_layers(file, bias).unwrap_err() {
        LoadError::Misfit { misfit, .. } => *misfit,
        other => panic!("{other}"),
    }
}

const CODES: [u8; 6] = [0x38, 0xc0, 0x01, 0x7e, 0x00, 0xfe];

/// `img_in.weight` as FP8.
fn fp8(dtype: ElementType) -> Writer {
    transformer("").tensor("img_in.weight", dtype, &[2, 3], &CODES)
}

fn assert_codes(file: &Writer, format: Fp8Format, scale: f32) {
    let (module, report) = load_layers(file, false).unwrap();
    let Weight::Packed(weight) = &module.img_in.weight else {
        panic!("not FP8")
    };
    assert_eq!(weight.format, PackedFormat::Fp8(format));
    let codes = weight.bytes.val().into_data();
    assert_eq!(
        (codes.dtype, codes.shape.as_slice()),
        (DType::U8, [2, 3].as_slice())
    );
    assert_eq!(codes.to_vec::<u8>().unwrap(), CODES);
    assert_eq!(values(&weight.scale), [scale]);
    assert_eq!(report.mapped_bytes, 6);
}

#[test]
fn codes_are_unchanged_and_scales_found_in_every_dialect() {
    let scale = 0.0625;
    let format = |name: &str| format!(r#"{{"format": "{name}"}}"#);
    for (dtype, fp8_format, name) in [
        (ElementType::F8E4M3, Fp8Format::E4M3, "float8_e4m3fn"),
        (ElementType::F8E5M2, Fp8Format::E5M2, "float8_e5m2"),
    ] {
        let metadata = format!(r#"{{"layers": {{"img_in": {}}}}}"#, format(name));
        assert_codes(&fp8(dtype), fp8_format, 1.0);
        for file in [
            fp8(dtype)
                .f32("img_in.scale_weight", &[], &[scale])
                .f32("img_in.scale_input", &[], &[7.0])
                .zeros("scaled_fp8", dtype, &[0]),
            fp8(dtype).f32("img_in.weight_scale", &[1], &[scale]),
            fp8(dtype).bf16("img_in.weight_scale", &[1], &[scale]),
            fp8(dtype)
                .f32("img_in.weight_scale", &[], &[scale])
                .text("img_in.comfy_quant", &format(name)),
            fp8(dtype)
                .f32("img_in.weight_scale", &[], &[scale])
                .metadata("_quantization_metadata", &metadata),
        ] {
            assert_codes(&file, fp8_format, scale);
        }
    }
}

#[test]
fn dense_weights_keep_their_dtype() {
    let numbers = [1.0f32, -2.0, 0.5, 3.0, -0.25, 8.0];
    let bytes = |encode: fn(f32) -> Vec<u8>| numbers.iter().flat_map(|&v| encode(v)).collect();
    let cases: [(ElementType, Vec<u8>, DType); 4] = [
        (
            ElementType::BF16,
            bytes(|v| half::bf16::from_f32(v).to_le_bytes().into()),
            DType::BF16,
        ),
        (
            ElementType::F16,
            bytes(|v| half::f16::from_f32(v).to_le_bytes().into()),
            DType::F16,
        ),
        (
            ElementType::F32,
            bytes(|v| v.to_le_bytes().into()),
            DType::F32,
        ),
        (
            ElementType::F64,
            bytes(|v| f64::from(v).to_le_bytes().into()),
            DType::F32,
        ),
    ];
    for (dtype, bytes, expected) in cases {
        let file = transformer("").tensor("img_in.weight", dtype, &[2, 3], &bytes);
        // Odd offsets cannot be the storage; the values are the same.
        for (file, mapped) in [
            (file.clone(), dtype != ElementType::F64),
            (file.misaligned(), false),
        ] {
            let (module, report) = load_layers(&file, false).unwrap();
            let Weight::Dense(weight) = &module.img_in.weight else {
                panic!("not dense")
            };
            let data = weight.val().into_data();
            assert_eq!(
                (data.dtype, data.shape.as_slice()),
                (expected, [2, 3].as_slice())
            );
            assert_eq!(data.iter::<f32>().collect::<Vec<_>>(), numbers);
            assert_eq!(
                report.mapped_bytes,
                if mapped { bytes.len() as u64 } else { 0 }
            );
        }
    }
}

#[test]
fn scales_of_rows_are_kept_or_multiplied() {
    for shape in [[2].as_slice(), &[2, 1]] {
        let file = fp8(ElementType::F8E4M3).f32("img_in.weight_scale", shape, &[0.5, 4.0]);
        let (module, report) = load_layers(&file, false).unwrap();
        let Weight::Packed(weight) = &module.img_in.weight else {
            panic!("not FP8")
        };
        assert_eq!(values(&weight.scale), [0.5, 4.0]);
        assert_eq!((report.tensors, report.bytes), (3, 8 + 6 + 8));
    }
    // Of what becomes f32, each row has its factor.
    let weight = [0x38, 0xc0, 0x38, 0xc0];
    let file = Writer::default()
        .tensor("txt_norm.weight", ElementType::F8E4M3, &[4], &weight)
        .f32("txt_norm.weight_scale", &[4], &[1.0, 2.0, 3.0, 4.0])
        .bf16("img_in.weight", &[2, 3], &[0.0; 6]);
    let (module, _) = load_layers(&file, false).unwrap();
    assert_eq!(values(&module.txt_norm.weight), [1.0, -4.0, 3.0, -8.0]);
}

#[test]
fn everything_else_becomes_f32() {
    let norm = [1.0f32, 2.0, -0.5, 0.0];
    let bias = [0x38, 0xc0];
    let file = Writer::default()
        .bf16("txt_norm.weight", &[4], &norm)
        .tensor("img_in.weight", ElementType::F8E4M3, &[2, 3], &CODES)
        .tensor("img_in.bias", ElementType::F8E4M3, &[2], &bias)
        .misaligned();
    let (module, report) = load_layers(&file, true).unwrap();
    assert_eq!(values(&module.txt_norm.weight), norm);
    assert_eq!(values(module.img_in.bias.as_ref().unwrap()), [1.0, -2.0]);
    assert_eq!(
        (report.tensors, report.unused, report.bytes),
        (3, 0, 8 + 6 + 2)
    );
    assert!(
        report
            .to_string()
            .starts_with("Loaded 3 tensors (16 B) in "),
        "{report}"
    );
}

#[test]
fn all_that_does_not_fit_is_reported_at_once() {
    let file = transformer("")
        .bf16("img_in.weight", &[3, 2], &[0.0; 6])
        .bf16("txt_in.bias", &[1], &[0.0])
        .bf16("proj_out.bias", &[1], &[0.0]);
    let misfit = misfit(&file, true);
    assert_eq!(
        misfit.to_string(),
        "1 tensor missing (img_in.bias); 2 tensors not expected (proj_out.bias, txt_in.bias); \
         1 tensor of the wrong shape (img_in.weight is [3, 2] instead of [2, 3])"
    );
}

#[test]
fn fields_may_have_any_names() {
    #[derive(Module, Debug)]
    struct Renamed<B: Backend> {
        first: Norm<B>,
        others: Vec<Linear<B>>,
    }
    let disk = on_disk(&fp8(ElementType::F8E4M3), Component::Transformer);
    let names = Names::default();
    let format = disk.weights.format("img_in.weight");
    let module = Renamed {
        first: names.norm("txt_norm", 4),
        others: vec![names.linear("img_in", [2, 3], format)],
    };
    let (module, _) = load(names.of(module), &disk.weights, &FlexDevice, &mut ()).unwrap();
    assert_eq!(values(&module.first.weight).len(), 4);
    let Weight::Packed(weight) = &module.others[0].weight else {
        panic!("not FP8")
    };
    assert_eq!(
        weight.bytes.val().into_data().to_vec::<u8>().unwrap(),
        CODES
    );
}

#[test]
fn parameters_without_a_name_and_with_the_same_are_refused() {
    let disk = on_disk(&fp8(ElementType::F8E4M3), Component::Transformer);
    let mut unfilled = layers(&disk.weights, false);
    unfilled.module.img_in.bias = Some(uninitialized_float([2], &FlexDevice));
    let again = uninitialized_float([4], &FlexDevice);
    let name = "txt_norm.weight";
    unfilled.names.note(again.id, name, TensorPart::Values);
    let twice = UnfilledModule {
        module: (unfilled.module, Norm { weight: again }),
        names: unfilled.names,
    };
    let error = check::<Flex, _>(&twice, &disk.weights).unwrap_err();
    let LoadError::Misfit { misfit, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        misfit.to_string(),
        "1 tensor asked for twice (txt_norm.weight); 1 tensor without a name ([2])"
    );
}

#[test]
fn a_module_of_another_storage_format_is_refused() {
    let dense = transformer("").bf16("img_in.weight", &[2, 3], &[0.0; 6]);
    let as_fp8 = WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3));
    for (file, format) in [
        (fp8(ElementType::F8E4M3), WeightFormat::Dense),
        (dense, as_fp8),
    ] {
        let disk = on_disk(&file, Component::Transformer);
        let module = layers_as(format, false);
        let error = load(module, &disk.weights, &FlexDevice, &mut ()).unwrap_err();
        let LoadError::Misfit { misfit, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(misfit.wrong_format, ["img_in.weight".into()]);
        assert_eq!(
            misfit.to_string(),
            "1 tensor in another storage format (img_in.weight)"
        );
    }
}

#[test]
fn scales_that_are_not_positive_numbers() {
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let file = fp8(ElementType::F8E4M3).f32("img_in.weight_scale", &[], &[value]);
        let folder = tempfile::tempdir().unwrap();
        let path = file.write(folder.path().join("model.safetensors"));
        // Before anything is loaded.
        let error = Weights::open(&path, Component::Transformer).unwrap_err();
        let bad = |error: &LoadError| {
            matches!(
                error,
                LoadError::Dialect {
                    fault: DialectError::ScaleValue { .. },
                    ..
                }
            )
        };
        assert!(bad(&error), "{error}");
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_opened() {
    let disk = on_disk(&fp8(ElementType::F8E4M3), Component::Transformer);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&disk.path)
        .unwrap();
    file.set_len(64).unwrap();
    let module = layers(&disk.weights, false);
    let error = load(module, &disk.weights, &FlexDevice, &mut ()).unwrap_err();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
}

/// Remembers what it is told; stops after some reports.
#[derive(Default)]
struct Recorder {
    reports: Vec<(u64, u64)>,
    stop_after: Option<usize>,
    asked: Cell<usize>,
}

impl LoadObserver for Recorder {
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        self.reports.push((bytes_done, bytes_total));
    }

    fn cancelled(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.stop_after
            .is_some_and(|after| self.reports.len() >= after)
    }
}

#[test]
fn progress_grows_to_the_whole() {
    let disk = on_disk(
        &fp8(ElementType::F8E4M3).f32("img_in.weight_scale", &[], &[1.0]),
        Component::Transformer,
    );
    let mut observer = Recorder::default();
    let module = layers(&disk.weights, false);
    let (_, report) = load(module, &disk.weights, &FlexDevice, &mut observer).unwrap();
    assert!(observer.reports.is_sorted());
    assert_eq!(observer.reports.last(), Some(&(report.bytes, report.bytes)));
    assert_eq!(report.bytes, 8 + 6 + 4);
}

#[test]
fn loading_can_be_stopped() {
    let disk = on_disk(&fp8(ElementType::F8E4M3), Component::Transformer);
    let mut observer = Recorder {
        stop_after: Some(1),
        ..Recorder::default()
    };
    let module = layers(&disk.weights, false);
    let error = load(module, &disk.weights, &FlexDevice, &mut observer).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(observer.reports.len(), 1);
}
