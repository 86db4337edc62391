//! The effect of PEFT's settings on a LoRA's scales: in its header, and in a file beside it.

use std::fs;
use std::path::Path;

use loader::ElementType;
use loader::Lora;
use serde_json::json;

use crate::lora::{PROJ_OUT, TO_Q};
use crate::writer::Writer;

/// Products of ranks 2 and 4 as PEFT names them.
fn peft(prefix: &str) -> Writer {
    let key = |layer: &str, matrix: &str| format!("{prefix}{layer}.{matrix}.weight");
    Writer::default()
        .zeros(&key(TO_Q, "lora_A"), ElementType::F32, &[2, 3])
        .zeros(&key(TO_Q, "lora_B"), ElementType::F32, &[2, 2])
        .zeros(&key(PROJ_OUT, "lora_A"), ElementType::F32, &[4, 2])
        .zeros(&key(PROJ_OUT, "lora_B"), ElementType::F32, &[4, 4])
}

const PEFT: &str = "base_model.model.";

/// Settings that fit these ranks.
fn config() -> serde_json::Value {
    json!({
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 4,
        "rank_pattern": {r"^transformer_blocks\.\d+\.attn\.to_q": 2},
        "alpha_pattern": {"attn.to_q": 6},
    })
}

/// A folder with a LoRA and PEFT's settings in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("adapter_config.json"), config).unwrap();
        Self(folder)
    }

    /// The scales of a LoRA in it and what is told, or why it is refused.
    fn open(&self, name: &str, lora: &Writer) -> Result<([f64; 2], Vec<String>), String> {
        lora.write(self.0.path().join(name));
        open(&self.0.path().join(name))
    }
}

fn open(path: &Path) -> Result<([f64; 2], Vec<String>), String> {
    let lora = Lora::open(path).map_err(|error| error.to_string())?;
    let summary = lora.summary();
    Ok((summary.scale, summary.notes))
}

#[test]
fn the_config_beside_a_peft_file_scales_it() {
    let place = Place::new(&config().to_string());
    let used = "it is scaled by 1 to 3, as adapter_config.json beside it says";
    let expected = ([1.0, 3.0], vec![used.to_owned()]);
    for name in ["adapter_model.safetensors", "style.safetensors"] {
        assert_eq!(place.open(name, &peft(PEFT)).unwrap(), expected, "{name}");
    }
    assert_eq!(
        place.open("adapter_model.safetensors", &peft("")).unwrap(),
        expected
    );
    // The folder stands for PEFT's file in it.
    assert_eq!(open(place.0.path()).unwrap(), expected);
    let lora = Lora::open(place.0.path()).unwrap();
    assert_eq!(lora.files().count(), 2);
    let alpha = lora.summary().alpha.unwrap();
    assert_eq!((alpha.least, alpha.most, alpha.layers), (4.0, 6.0, 2));
}

#[test]
fn a_file_of_peft_names_takes_the_config_if_the_ranks_agree() {
    let place = Place::new(&config().to_string());
    let (scale, notes) = place
        .open("style.safetensors", &peft("transformer."))
        .unwrap();
    assert_eq!((scale, notes.len()), ([1.0, 3.0], 1));
    // Another LoRA in the same folder.
    let other = Writer::default()
        .zeros("img_in.lora_A.weight", ElementType::F32, &[3, 3])
        .zeros("img_in.lora_B.weight", ElementType::F32, &[2, 3]);
    let (scale, notes) = place.open("other.safetensors", &other).unwrap();
    assert_eq!(scale, [1.0, 1.0]);
    assert_eq!(
        notes,
        ["adapter_config.json beside it is not used: its ranks are not the LoRA's"]
    );
    // The one that it belongs to.
    place
        .open("adapter_model.safetensors", &peft(PEFT))
        .unwrap();
    let (scale, notes) = place.open("style.safetensors", &peft("")).unwrap();
    assert_eq!(scale, [1.0, 1.0]);
    assert!(
        notes[0].ends_with("it belongs to adapter_model.safetensors"),
        "{notes:?}"
    );
}

#[test]
fn files_of_other_programs_do_not_take_the_config() {
    let place = Place::new(&config().to_string());
    let kohya = Writer::default()
        .zeros(
            "lora_unet_img_in.lora_down.weight",
            ElementType::F32,
            &[4, 3],
        )
        .zeros("lora_unet_img_in.lora_up.weight", ElementType::F32, &[2, 4]);
    let expected = ([1.0, 1.0], Vec::new());
    assert_eq!(place.open("style.safetensors", &kohya).unwrap(), expected);
    // Nor does one with alphas of its own.
    let alpha = peft(PEFT).f32(&format!("{TO_Q}.alpha"), &[], &[2.0]).f32(
        &format!("{PROJ_OUT}.alpha"),
        &[],
        &[4.0],
    );
    assert_eq!(place.open("style.safetensors", &alpha).unwrap(), expected);
}

#[test]
fn an_alpha_of_the_file_counts_more_than_settings() {
    let place = Place::new(&config().to_string());
    let one = peft(PEFT).f32(&format!("{TO_Q}.alpha"), &[], &[1.0]);
    let (scale, _) = place.open("style.safetensors", &one).unwrap();
    assert_eq!(scale, [0.5, 1.0]);
}

#[test]
fn the_header_counts_more_than_the_config() {
    let place = Place::new(&config().to_string());
    let with = |header: &serde_json::Value| {
        peft("transformer.").metadata("lora_adapter_metadata", &header.to_string())
    };
    let mut header = config();
    let same = with(&header);
    let expected = ([1.0, 3.0], Vec::new());
    assert_eq!(place.open("style.safetensors", &same).unwrap(), expected);
    header["lora_alpha"] = json!(8);
    let (scale, notes) = place.open("style.safetensors", &with(&header)).unwrap();
    assert_eq!(scale, [2.0, 3.0]);
    assert_eq!(
        notes,
        [
            "adapter_config.json beside it is not used: the settings in the LoRA's header say \
          otherwise"
        ]
    );
}

#[test]
fn ranks_that_settings_tell_otherwise_are_told_or_refused() {
    let mut other = config();
    other["r"] = json!(16);
    let place = Place::new(&other.to_string());
    let refused = place
        .open("adapter_model.safetensors", &peft(PEFT))
        .unwrap_err();
    assert!(
        refused.contains("gives rank 16 to proj_out, whose matrices have rank 4"),
        "{refused}"
    );
    let folder = tempfile::tempdir().unwrap();
    let header = peft("").metadata("lora_adapter_metadata", &other.to_string());
    let path = header.write(folder.path().join("style.safetensors"));
    let (scale, notes) = open(&path).unwrap();
    assert_eq!(scale, [1.0, 3.0]);
    assert_eq!(
        notes,
        [
            "lora_adapter_metadata in its header gives rank 16 to proj_out, whose matrices have \
          rank 4; alphas are divided by the latter"
        ]
    );
}

#[test]
fn a_config_that_cannot_be_read_is_refused_or_told() {
    for (text, part) in [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        (r#"{"lora_alpha": "8"}"#, "lora_alpha is not a number"),
        (
            r#"{"r": 4, "use_dora": true}"#,
            "use_dora, which is not supported",
        ),
        (r#"{"alpha_pattern": {"(a": 1}}"#, "alpha_pattern `(a`"),
    ] {
        let place = Place::new(text);
        let refused = place
            .open("adapter_model.safetensors", &peft(PEFT))
            .unwrap_err();
        assert!(
            refused.contains("adapter_config.json beside it"),
            "{refused}"
        );
        assert!(refused.contains(part), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
        fs::remove_file(place.0.path().join("adapter_model.safetensors")).unwrap();
        let (scale, notes) = place.open("style.safetensors", &peft("")).unwrap();
        assert_eq!(scale, [1.0, 1.0]);
        assert!(notes[0].contains(part), "{notes:?}");
    }
}

#[test]
fn layers_have_the_names_that_peft_saw() {
    // Trained inside of a pipeline, and as diffusers or ComfyUI name it.
    let inside = r"^pipe\.dit\.transformer_blocks.0.attn.to_q";
    let layer = "^transformer_blocks.0.attn.to_q";
    for (prefix, key, expected) in [
        ("base_model.model.pipe.dit.", inside, true),
        ("base_model.model.pipe.dit.", layer, false),
        ("base_model.model.pipe.dit.", "attn.to_q", true),
        ("base_model.model.", layer, true),
        ("diffusion_model.", layer, true),
    ] {
        let config = json!({"lora_alpha": 4, "alpha_pattern": {key: 6}});
        let place = Place::new(&config.to_string());
        let opened = place.open("adapter_model.safetensors", &peft(prefix));
        let most = if expected { 3.0 } else { 2.0 };
        assert_eq!(opened.unwrap().0, [1.0, most], "{prefix} {key}");
    }
    // diffusers drops the component's name.
    for (key, scale) in [(layer, [1.0, 3.0]), (r"^transformer\..*to_q", [1.0, 2.0])] {
        let header = json!({"transformer.lora_alpha": 4, "transformer.alpha_pattern": {key: 6}});
        let folder = tempfile::tempdir().unwrap();
        let lora = peft("transformer.").metadata("lora_adapter_metadata", &header.to_string());
        let path = lora.write(folder.path().join("style.safetensors"));
        assert_eq!(open(&path).unwrap().0, scale, "{key}");
    }
}
