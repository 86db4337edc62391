use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{PARAMETERS, Recorded, Texts};
use crate::error::Error;
use crate::record::Incomplete;

fn read(text: &str) -> Option<Recorded> {
    let mut texts = Texts::default();
    texts.add(PARAMETERS, text.to_owned());
    Recorded::of_texts(Path::new("x.png"), &texts).ok()
}

#[test]
fn webuis_text_is_read() {
    let found = read(
        "a cat, <lora:x:1>\nsecond line\nNegative prompt: blurry,\nlow quality\nSteps: 20, \
         Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 965400086, \
         Size: 512x768, Model hash: 6ce0161689, Model: v1-5, Lora hashes: \"x: ab, y: cd\", \
         Version: v1.10.1",
    )
    .unwrap();
    assert_eq!(found.prompt, "a cat, <lora:x:1>\nsecond line");
    assert_eq!(
        found.negative_prompt.as_deref(),
        Some("blurry,\nlow quality")
    );
    assert_eq!((found.width, found.height), (Some(512), Some(768)));
    assert_eq!(found.steps, Some(20));
    assert_eq!(found.cfg_scale, Some(7.5));
    assert_eq!(found.seed, Some(965_400_086));
    let foreign = found.foreign().unwrap();
    assert_eq!(foreign.model.as_deref(), Some("v1-5"));
    let left = foreign.left(ToString::to_string);
    assert_eq!(left.as_deref(), Some("Schedule type: Karras"));
}

#[test]
fn what_is_missing_or_strange_is_left_to_the_flags() {
    let found = read("fox\nSteps: many, Seed: -, Size: 12").unwrap();
    assert_eq!(found.prompt, "fox");
    assert_eq!((found.steps, found.seed, found.width), (None, None, None));
    assert_eq!(found.negative_prompt, None);
    let left = found.foreign().unwrap().left(ToString::to_string);
    assert_eq!(left.as_deref(), Some("Steps: many, Seed: -, Size: 12"));
    for text in ["", "only a prompt", "Steps", "Steps:", "\n\n"] {
        assert!(read(text).is_none(), "{text}");
    }
}

#[test]
fn what_is_not_understood_of_our_own_text_is_told() {
    let own = "fox\nSteps: 2, Sampler: LMS, Seed: x, Size: 16x16, Version: qwen-image-burn 9";
    let note = read(own).unwrap().check_model("a", false).unwrap().unwrap();
    assert!(note.contains("not taken: Seed: x, Sampler: LMS"), "{note}");
}

#[test]
fn another_model_of_ours_is_refused_unless_it_was_chosen() {
    let found = read("fox\nSteps: 2, Seed: 1, Model: a, Version: qwen-image-burn 0.1.0").unwrap();
    assert_eq!(found.check_model("a", false).unwrap(), None);
    let error = found.check_model("b", false).unwrap_err();
    let expected = "x.png: it was made with the model a, and the one found is b";
    assert_eq!(error.to_string(), expected);
    assert!(found.check_model("b", true).unwrap().is_some());
}

/// Writes an image with this text under a keyword.
fn with_text(path: &Path, keyword: &str, text: &str) {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder
        .add_itxt_chunk(keyword.to_owned(), text.to_owned())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[7]).unwrap();
    writer.finish().unwrap();
    fs::write(path, bytes).unwrap();
}

/// A ComfyUI graph with one sampler.
fn graph() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 77, "steps": 2, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple",
            "denoise": 1, "model": ["37", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["58", 0]
        }},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0]}},
        "37": {"class_type": "UNETLoader", "inputs": {"unet_name": "qwen_image.safetensors"}},
        "58": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 48, "height": 32}},
        "60": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}
    })
}

#[test]
fn what_a_file_holds_is_said_where_it_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.png");
    with_text(&path, "prompt", &graph().to_string());
    assert_eq!(Recorded::read(&path).unwrap().prompt, "a red fox");
    let mut two = graph();
    two["70"] = json!({"class_type": "KSampler", "inputs": {"latent_image": ["3", 0]}});
    two["8"]["inputs"]["samples"] = json!(["70", 0]);
    let two = two.to_string();
    for (keyword, text, parts) in [
        (
            "prompt",
            two.as_str(),
            &["ComfyUI workflow with 2 samplers"][..],
        ),
        (
            "workflow",
            "{\"nodes\": []}",
            &["ComfyUI workflow", "not read"],
        ),
        ("prompt", "a fox", &["the text prompt"]),
        ("Dream", "\"a fox\" -s 50", &["InvokeAI", "not read"]),
        ("Title", "a fox", &["the text Title"]),
        ("parameters", "{\"x\": 1}", &["JSON with x", "not read"]),
        ("parameters", "a fox", &["not understood"]),
    ] {
        with_text(&path, keyword, text);
        let error = Recorded::read(&path).unwrap_err();
        assert!(matches!(error, Error::Input(_)), "{error}");
        let error = error.to_string();
        for part in ["other.png: "].iter().chain(parts) {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    }
}

#[test]
fn an_image_that_started_from_another_is_not_made_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.png");
    let mut started = graph();
    started["70"] = json!({"class_type": "VAEEncode", "inputs": {"pixels": ["71", 0]}});
    started["71"] = json!({"class_type": "LoadImage", "inputs": {"image": "scene.png"}});
    started["3"]["inputs"]["latent_image"] = json!(["70", 0]);
    with_text(&path, "prompt", &started.to_string());
    let found = Recorded::read(&path).unwrap();
    let error = found.check_init_image().unwrap_err();
    let Error::Incomplete { reason, .. } = error else {
        panic!("{error}")
    };
    let expected = Incomplete::InitImage {
        image: "scene.png".to_owned(),
        mask: None,
    };
    assert_eq!(reason, expected);
}
