//! How FP8 weights are scaled, and the contradictions that are refused.

use backends::{Fp8Format, PackedFormat, WeightFormat};
use loader::dialect::{Dialect, DialectError};
use loader::{Component, ElementType, LoadError, Summary, Weights};
use tempfile::tempdir;

use crate::writer::{Writer, transformer};

const E4M3: ElementType = ElementType::F8E4M3;

fn open(file: &Writer) -> Result<Weights, LoadError> {
    let dir = tempdir().unwrap();
    Weights::open(
        &file.write(dir.path().join("x.safetensors")),
        Component::Transformer,
    )
}

fn fault(file: &Writer) -> DialectError {
    match open(file).unwrap_err() {
        LoadError::Dialect { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

fn fp8_weight() -> Writer {
    transformer("").zeros("img_in.weight", E4M3, &[2, 2])
}

fn marked(file: Writer) -> Writer {
    file.zeros("scaled_fp8", E4M3, &[0])
}

const E4M3_FORMAT: &str = r#"{"format": "float8_e4m3fn", "full_precision_matrix_mult": true}"#;

/// A layer of the comfy_quant kind.
fn comfy(format: &str) -> Writer {
    fp8_weight()
        .f32("img_in.weight_scale", &[], &[0.5])
        .text("img_in.comfy_quant", format)
}

fn quantization_metadata(layer: &str) -> String {
    format!(
        r#"{{"format_version": "1.0", "layers": {{"{layer}": {{"format": "float8_e4m3fn"}}}}}}"#
    )
}

#[test]
fn each_dialect_is_recognised() {
    let in_metadata = fp8_weight()
        .f32("img_in.weight_scale", &[], &[0.5])
        .metadata("_quantization_metadata", &quantization_metadata("img_in"));
    let bare = fp8_weight().f32("img_in.weight_scale", &[1], &[0.5]);
    let legacy = fp8_weight().f32("img_in.scale_weight", &[1], &[0.5]);
    for (file, dialect) in [
        (transformer(""), Dialect::Dense),
        (fp8_weight(), Dialect::PlainFp8),
        (legacy.clone(), Dialect::LegacyScaled),
        (marked(legacy), Dialect::LegacyScaled),
        (comfy(E4M3_FORMAT), Dialect::ComfyQuant),
        (in_metadata, Dialect::QuantizationMetadata),
        (bare, Dialect::WeightScale),
    ] {
        let weights = open(&file).unwrap();
        assert_eq!(weights.dialect(), dialect);
        let stored = match dialect {
            Dialect::Dense => WeightFormat::Dense,
            _ => WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3)),
        };
        assert_eq!(weights.format("img_in.weight"), stored);
        assert_eq!(weights.format("txt_norm.weight"), WeightFormat::Dense);
    }
}

#[test]
fn both_fp8_formats_are_told_apart() {
    let file = transformer("")
        .zeros("img_in.weight", ElementType::F8E5M2, &[2, 2])
        .f32("img_in.weight_scale", &[], &[1.0])
        .text("img_in.comfy_quant", r#"{"format": "float8_e5m2"}"#);
    let stored = open(&file).unwrap().format("img_in.weight");
    assert_eq!(
        stored,
        WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E5M2))
    );
}

#[test]
fn prefixes_reach_companions_and_metadata() {
    let prefix = "model.diffusion_model.";
    let layer = format!("{prefix}img_in");
    for marker in ["scaled_fp8".to_owned(), format!("{prefix}scaled_fp8")] {
        let file = transformer(prefix)
            .zeros(&format!("{layer}.weight"), E4M3, &[2, 2])
            .f32(&format!("{layer}.scale_weight"), &[], &[1.0])
            .zeros(&marker, E4M3, &[0]);
        assert_eq!(open(&file).unwrap().dialect(), Dialect::LegacyScaled);
    }
    for named in [layer.as_str(), "img_in"] {
        let file = transformer(prefix)
            .zeros(&format!("{layer}.weight"), E4M3, &[2, 2])
            .f32(&format!("{layer}.weight_scale"), &[], &[1.0])
            .metadata("_quantization_metadata", &quantization_metadata(named));
        assert_eq!(
            open(&file).unwrap().dialect(),
            Dialect::QuantizationMetadata
        );
    }
}

#[test]
fn activation_scales_are_ignored() {
    for key in ["img_in.scale_input", "img_in.input_scale"] {
        let file = comfy(E4M3_FORMAT).f32(key, &[], &[f32::NAN]);
        let summary = Summary::of(&open(&file).unwrap());
        assert_eq!((summary.tensors, summary.used), (5, 3));
    }
}

#[test]
fn mixtures_of_fp8_and_dense_layers_are_sound() {
    let file = comfy(E4M3_FORMAT).bf16("txt_in.weight", &[1, 2], &[1.0, 2.0]);
    let weights = open(&file).unwrap();
    assert_eq!(weights.format("txt_in.weight"), WeightFormat::Dense);
    // Biases have no scale of their own.
    assert!(open(&comfy(E4M3_FORMAT).zeros("img_in.bias", E4M3, &[2])).is_ok());
}

#[test]
fn contradictions() {
    let metadata =
        |file: Writer| file.metadata("_quantization_metadata", &quantization_metadata("img_in"));
    let legacy = fp8_weight().f32("img_in.scale_weight", &[], &[1.0]);
    let new = fp8_weight().f32("img_in.weight_scale", &[], &[1.0]);
    for file in [
        marked(comfy(E4M3_FORMAT)),
        marked(metadata(new.clone())),
        marked(new.clone()),
        metadata(comfy(E4M3_FORMAT)),
        metadata(legacy.clone()),
        legacy.f32("img_in.weight_scale", &[], &[1.0]),
    ] {
        let fault = fault(&file);
        assert!(
            matches!(fault, DialectError::Contradiction { .. }),
            "{fault}"
        );
    }
}

#[test]
fn unsupported_formats() {
    for format in [
        "nvfp4",
        "mxfp8",
        "int8_tensorwise",
        "convrot_w4a4",
        "asym_w4a8_int8",
        "awq_w4a16",
    ] {
        let message = fault(&comfy(&format!(r#"{{"format": "{format}"}}"#))).to_string();
        let expected = format!("layer `img_in` is quantised as {format}, which is not supported");
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn unsupported_companions() {
    for auxiliary in [
        "weight_scale_2",
        "weight_scale_inv",
        "weight_zero_point",
        "qweight",
    ] {
        let key = format!("img_in.{auxiliary}");
        let fault = fault(&fp8_weight().f32(&key, &[], &[1.0]));
        assert!(
            matches!(fault, DialectError::UnsupportedTensor { .. }),
            "{fault}"
        );
    }
}

#[test]
fn unreadable_formats() {
    for text in ["", "{}", "[]", "{\"format\": 1}", "nonsense\x1b[0m"] {
        let fault = fault(&comfy(text));
        assert!(
            matches!(fault, DialectError::UnreadableFormat { .. }),
            "{fault}"
        );
        assert!(!fault.to_string().contains('\x1b'));
    }
    for file in [
        fp8_weight().f32("img_in.comfy_quant", &[], &[1.0]),
        fp8_weight().zeros("img_in.comfy_quant", ElementType::U8, &[100_000]),
        fp8_weight().metadata("_quantization_metadata", "{}"),
    ] {
        let fault = fault(&file);
        assert!(
            matches!(fault, DialectError::UnreadableFormat { .. }),
            "{fault}"
        );
    }
}

#[test]
fn a_format_without_weight() {
    let file = comfy(E4M3_FORMAT).text("txt_in.comfy_quant", E4M3_FORMAT);
    assert!(matches!(
        fault(&file),
        DialectError::FormatWithoutWeight { .. }
    ));
}

#[test]
fn a_format_that_is_not_the_weights() {
    let file = comfy(r#"{"format": "float8_e5m2"}"#);
    assert!(matches!(fault(&file), DialectError::FormatMismatch { .. }));
}

#[test]
fn a_scale_of_a_layer_that_is_not_declared() {
    let file = comfy(E4M3_FORMAT)
        .zeros("txt_in.weight", E4M3, &[2, 2])
        .f32("txt_in.weight_scale", &[], &[1.0]);
    assert!(matches!(
        fault(&file),
        DialectError::ScaleWithoutFormat { .. }
    ));
}

#[test]
fn a_scale_without_weight() {
    let file = marked(transformer("").f32("img_in.scale_weight", &[], &[1.0]));
    assert!(matches!(
        fault(&file),
        DialectError::ScaleWithoutWeight { .. }
    ));
}

#[test]
fn a_scale_of_a_dense_weight_must_be_one() {
    let file = |scale: f32| {
        marked(transformer(""))
            .bf16("img_in.weight", &[1, 2], &[1.0, 1.0])
            .f32("img_in.scale_weight", &[], &[scale])
    };
    let weights = open(&file(1.0)).unwrap();
    assert_eq!(weights.format("img_in.weight"), WeightFormat::Dense);
    let fault = fault(&file(0.5));
    assert!(matches!(fault, DialectError::ScaleOnDense { .. }));
    assert!(
        fault
            .to_string()
            .contains("is 0.5, for a weight stored as BF16"),
        "{fault}"
    );
}

#[test]
fn two_scales_for_one_weight() {
    let file = transformer("net.")
        .zeros("net.img_in.weight", E4M3, &[2, 2])
        .f32("net.img_in.scale_weight", &[], &[1.0])
        .f32("img_in.scale_weight", &[], &[1.0]);
    assert!(matches!(fault(&file), DialectError::TwoScales { .. }));
}

#[test]
fn an_fp8_weight_without_scale_among_scaled_ones() {
    let unscaled = |file: Writer| file.zeros("txt_in.weight", E4M3, &[2, 2]);
    for file in [
        marked(fp8_weight()),
        unscaled(fp8_weight().f32("img_in.scale_weight", &[], &[1.0])),
        unscaled(comfy(E4M3_FORMAT)),
        fp8_weight().text("img_in.comfy_quant", E4M3_FORMAT),
    ] {
        assert!(matches!(fault(&file), DialectError::MissingScale { .. }));
    }
}

#[test]
fn one_scale_for_the_tensor_or_for_each_row() {
    for (shape, values) in [
        ([].as_slice(), [0.5].as_slice()),
        (&[1], &[0.5]),
        (&[1, 1], &[0.5]),
        (&[2], &[0.5, 2.0]),
        (&[2, 1], &[0.5, 2.0]),
    ] {
        let file = fp8_weight().f32("img_in.weight_scale", shape, values);
        assert!(open(&file).is_ok(), "{shape:?}");
    }
    for shape in [
        [0].as_slice(),
        &[3],
        &[1, 2],
        &[2, 2],
        &[2, 1, 2],
        &[1, 2, 1],
    ] {
        let file = fp8_weight().zeros("img_in.weight_scale", ElementType::F32, shape);
        assert!(
            matches!(fault(&file), DialectError::ScaleShape { .. }),
            "{shape:?}"
        );
    }
    // One bad number among the rows' is told.
    for bad in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        let file = fp8_weight().f32("img_in.weight_scale", &[2], &[1.0, bad]);
        assert!(
            matches!(fault(&file), DialectError::ScaleValue { .. }),
            "{bad}"
        );
    }
}

#[test]
fn formats_with_bytes_behind_them_and_bare_names_are_read() {
    let padded = format!("{E4M3_FORMAT}\0\0\0 \n\0");
    for text in [
        &padded,
        "\"float8_e4m3fn\"",
        "float8_e4m3fn",
        "float8_e4m3fn\0\0",
    ] {
        let weights = open(&comfy(text)).unwrap();
        assert_eq!(weights.dialect(), Dialect::ComfyQuant, "{text:?}");
    }
    let named = quantization_metadata("img_in");
    let bare = r#"{"layers": {"img_in": "float8_e4m3fn"}}"#;
    for text in [&format!("{named}\0\0"), bare, &format!("{bare}\n\0")] {
        let file = fp8_weight()
            .f32("img_in.weight_scale", &[], &[0.5])
            .metadata("_quantization_metadata", text);
        let weights = open(&file).unwrap();
        assert_eq!(weights.dialect(), Dialect::QuantizationMetadata, "{text:?}");
    }
    let other = fault(&comfy("\"nvfp4\""));
    assert!(
        matches!(other, DialectError::UnsupportedFormat { .. }),
        "{other}"
    );
}

#[test]
fn what_is_wrong_with_layers_that_are_not_needed_does_not_matter() {
    let tower = "visual.blocks.0.attn.qkv";
    let used = "model.layers.0.self_attn.q_proj";
    let file = || {
        crate::writer::text_encoder()
            .zeros(&format!("{used}.weight"), E4M3, &[2, 2])
            .f32(&format!("{used}.scale_weight"), &[], &[0.5])
            .zeros(&format!("{tower}.weight"), E4M3, &[2, 2])
    };
    let open = |file: Writer| {
        let dir = tempdir().unwrap();
        let path = file.write(dir.path().join("x.safetensors"));
        Weights::open(&path, Component::TextEncoder)
    };
    for file in [
        file(),
        file().f32(&format!("{tower}.scale_weight"), &[1, 2], &[1.0, 1.0]),
        file().f32(&format!("{tower}.weight_scale_2"), &[], &[1.0]),
        file().f32("visual.blocks.1.attn.qkv.scale_weight", &[], &[f32::NAN]),
    ] {
        let weights = open(file).unwrap();
        assert_eq!(weights.dialect(), Dialect::LegacyScaled);
    }
    // A needed one still needs its scale.
    let bare = "model.layers.0.self_attn.v_proj.weight";
    let error = open(file().zeros(bare, E4M3, &[2, 2])).unwrap_err();
    assert!(error.to_string().contains("has no scale"), "{error}");
}

#[test]
fn scales_that_are_not_floats() {
    for dtype in [ElementType::U8, ElementType::I32, ElementType::F8E8M0] {
        let file = fp8_weight().zeros("img_in.weight_scale", dtype, &[]);
        assert!(matches!(fault(&file), DialectError::ScaleDtype { .. }));
    }
}
