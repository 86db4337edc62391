//! `--from` and `inspect` on images of other programs.

use std::fs;
use std::path::Path;

use image::ImageEncoder;
use serde_json::{Value, json};

use crate::from::{bytes, foreign, from, with_text};
use crate::lora::{STYLE, place};
use crate::support::{Place, Run, program};

/// An image with this chunk.
fn with_chunk(path: &Path, kind: &[u8; 4], data: &[u8]) {
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, 1, 1).write_header().unwrap();
    writer
        .write_chunk(png::chunk::ChunkType(*kind), data)
        .unwrap();
    writer.write_image_data(&[7]).unwrap();
    writer.finish().unwrap();
    fs::write(path, bytes).unwrap();
}

/// A graph as ComfyUI's template for Qwen-Image has it, of a small image.
fn graph() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 77, "steps": 2, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple",
            "denoise": 1, "model": ["66", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["58", 0]
        }, "is_changed": ["NOT A NUMBER"]},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox", "clip": ["38", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["38", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["39", 0]}},
        "37": {"class_type": "UNETLoader", "inputs": {
            "unet_name": "qwen_image_small_fp8_e4m3fn.safetensors", "weight_dtype": "default"
        }},
        "38": {"class_type": "CLIPLoader", "inputs": {
            "clip_name": "qwen_2.5_vl_7b_fp8_scaled.safetensors", "type": "qwen_image"
        }},
        "39": {"class_type": "VAELoader", "inputs": {"vae_name": "qwen_image_vae.safetensors"}},
        "58": {"class_type": "EmptySD3LatentImage", "inputs": {
            "width": 48, "height": 32, "batch_size": 1
        }},
        "60": {"class_type": "SaveImage", "inputs": {
            "filename_prefix": "ComfyUI", "images": ["8", 0]
        }},
        "66": {"class_type": "ModelSamplingAuraFlow", "inputs": {"shift": 2, "model": ["37", 0]}}
    })
}

/// Its text, as Python writes it.
fn text(graph: &Value) -> String {
    graph.to_string().replace("\"NOT A NUMBER\"", "NaN")
}

/// An image as ComfyUI's node for WebP files writes it.
fn webp(path: &Path, graph: &Value) {
    let ascii = |tag, text: String| exif::Field {
        tag,
        ifd_num: exif::In::PRIMARY,
        value: exif::Value::Ascii(vec![text.into_bytes()]),
    };
    let fields = [
        ascii(exif::Tag::Make, "workflow:{\"nodes\": []}".to_owned()),
        ascii(exif::Tag::Model, format!("prompt:{}", text(graph))),
    ];
    let mut writer = exif::experimental::Writer::new();
    for field in &fields {
        writer.push_field(field);
    }
    let mut block = std::io::Cursor::new(Vec::new());
    writer.write(&mut block, false).unwrap();
    let mut file = Vec::new();
    let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut file);
    encoder.set_exif_metadata(block.into_inner()).unwrap();
    let pixels = [0; 3 * 8 * 8];
    encoder
        .write_image(&pixels, 8, 8, image::ExtendedColorType::Rgb8)
        .unwrap();
    fs::write(path, file).unwrap();
}

fn inspect(place: &Place, name: &str, more: &[&str]) -> String {
    let mut command = program();
    command.current_dir(place.path("")).args(["inspect", name]);
    let run: Run = command.args(more).output().unwrap().into();
    run.expect(0).stdout
}

fn json_of(place: &Place, name: &str) -> Value {
    let text = inspect(place, name, &["--json"]);
    serde_json::from_str::<Value>(&text).unwrap()["image"].take()
}

#[test]
fn texts_are_read_as_their_program_meant_them() {
    let place = Place::new();
    let settings = "Steps: 2, Sampler: Euler, CFG scale: 2.5, Seed: 7, Size: 48x32";
    let chinese = format!("一只红色的狐狸，café\nNegative prompt: 模糊\n{settings}");
    let bars = settings.replace(',', " |");
    place
        .generate(&[
            "-p一只红色的狐狸，café",
            "-n模糊",
            "--cfg-scale=2.5",
            "-s7",
            "-oout/x.png",
        ])
        .expect(0);
    place
        .generate(&["-pun café", "--cfg-scale=2.5", "-s7", "-oout/y.png"])
        .expect(0);
    let latin1 = format!("un caf\u{e9}\n{settings}")
        .chars()
        .map(|c| c as u8)
        .collect();
    for (name, text, expected) in [
        ("utf8.png", chinese.clone().into_bytes(), "out/x.png"),
        (
            "bars.png",
            chinese.replace(settings, &bars).into_bytes(),
            "out/x.png",
        ),
        ("latin1.png", latin1, "out/y.png"),
    ] {
        let data = [b"parameters\0", text.as_slice()].concat();
        with_chunk(&place.path(name), b"tEXt", &data);
        let run = from(&place, name, &["-oout/z.png"]).expect(0);
        assert!(!run.stderr.contains("not taken"), "{}", run.stderr);
        assert!(
            bytes(&place, "out/z.png") == bytes(&place, expected),
            "{name}"
        );
    }
    let shown = inspect(&place, "utf8.png", &[]);
    for part in ["一只红色的狐狸，café", "Negative prompt: 模糊", "Seed: 7"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert_eq!(
        json_of(&place, "utf8.png")["foreign"]["negative_prompt"],
        "模糊"
    );
}

#[test]
fn what_is_not_taken_is_told() {
    let place = Place::new();
    let settings = "Steps: 2, Sampler: DPM++ 2M Karras, CFG scale: 4, Seed: 7, Size: 48by32, \
                    Clip skip: 2, Hires upscale: 2, Version: v1.10.1";
    foreign(&place.path("webui.png"), &format!("a red fox\n{settings}"));
    let run = from(&place, "webui.png", &["-W48", "-H32", "-oout/y.png"]).expect(0);
    let said = "not taken: Size: 48by32, Clip skip: 2, Hires upscale: 2, Sampler: DPM++ 2M Karras";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    let taken = "otherwise: prompt, steps, CFG scale, seed;";
    assert!(run.stderr.contains(taken), "{}", run.stderr);
    let left = &json_of(&place, "webui.png")["foreign"]["not_taken"];
    assert_eq!(left[3], "Sampler: DPM++ 2M Karras");
    assert!(inspect(&place, "webui.png", &[]).contains("Hires upscale: 2\""));
}

#[test]
fn a_comfyui_image_is_made_again_from_its_graph() {
    let place = Place::new();
    with_text(&place.path("comfy.png"), "prompt", &text(&graph()));
    webp(&place.path("comfy.webp"), &graph());
    let flags = [
        "-nblurry",
        "--cfg-scale=3",
        "--seed=77",
        "--preset=comfyui",
        "--schedule=simple=2",
        "-oout/x.png",
    ];
    place.generate(&flags).expect(0);
    for name in ["comfy.png", "comfy.webp"] {
        let run = from(&place, name, &["-oout/y.png"]).expect(0);
        for part in [
            "ComfyUI (a workflow)",
            "--preset comfyui",
            "sampler and schedule",
        ] {
            assert!(run.stderr.contains(part), "{}", run.stderr);
        }
        assert!(!run.stderr.contains("not taken"), "{}", run.stderr);
        assert!(
            bytes(&place, "out/x.png") == bytes(&place, "out/y.png"),
            "{name}"
        );
        let shown = inspect(&place, name, &[]);
        for part in ["ComfyUI (a workflow)", "a red fox", "simple=2", "comfyui"] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
        let foreign = &json_of(&place, name)["foreign"];
        assert_eq!(
            (&foreign["seed"], &foreign["steps"]),
            (&json!(77), &json!(2))
        );
    }
    // A flag counts more than the file.
    from(&place, "comfy.png", &["-s9", "-oout/y.png"]).expect(0);
    place
        .generate(&[&flags[..2], &["--seed=9"], &flags[3..]].concat())
        .expect(0);
    assert!(bytes(&place, "out/x.png") == bytes(&place, "out/y.png"));
}

#[test]
fn loras_of_a_comfyui_image_are_looked_for_by_name() {
    let place = place();
    let mut graph = graph();
    graph["70"] = json!({"class_type": "LoraLoaderModelOnly", "inputs": {
        "lora_name": format!("art\\{STYLE}"), "strength_model": 0.5, "model": ["37", 0]
    }});
    graph["66"]["inputs"]["model"] = json!(["70", 0]);
    with_text(&place.path("comfy.png"), "prompt", &text(&graph));
    from(&place, "comfy.png", &["-oout/y.png"]).expect(0);
    let lora = format!("--lora={STYLE}:0.5");
    place
        .generate(&[
            "-nblurry",
            "--cfg-scale=3",
            "--seed=77",
            "--preset=comfyui",
            "--schedule=simple=2",
            &lora,
        ])
        .expect(0);
    assert!(bytes(&place, "out/x.png") == bytes(&place, "out/y.png"));
    fs::remove_file(place.path("models/loras").join(STYLE)).unwrap();
    let parts = ["comfy.png", STYLE, "name it with --lora FILE:0.5"];
    from(&place, "comfy.png", &["-q"]).expect_error(3, &parts);
}

#[test]
fn what_a_file_holds_is_said_where_it_is_not_read() {
    let place = Place::new();
    let mut started = graph();
    started["70"] = json!({"class_type": "VAEEncode", "inputs": {"pixels": ["71", 0]}});
    started["71"] = json!({"class_type": "LoadImage", "inputs": {"image": "scene.png"}});
    started["3"]["inputs"]["latent_image"] = json!(["70", 0]);
    let started = text(&started);
    for (keyword, text, parts) in [
        (
            "prompt",
            started.as_str(),
            &["the image scene.png", "--init-image"][..],
        ),
        ("Title", "a fox", &["the text Title"]),
    ] {
        with_text(&place.path("other.png"), keyword, text);
        let all = [&["other.png"], parts].concat();
        from(&place, "other.png", &["-q"]).expect_error(3, &all);
        if !parts.contains(&"--init-image") {
            let shown = inspect(&place, "other.png", &[]);
            assert!(shown.contains(parts[0]), "{shown}");
        }
    }
}

#[test]
fn other_programs_objects_are_read() {
    let place = Place::new();
    let swarm = json!({"sui_image_params": {
        "prompt": "a red fox", "negativeprompt": "blurry", "width": 48, "height": 32, "steps": 2,
        "seed": 77, "cfgscale": 3.0, "sampler": "euler", "model": "x", "clipstopatlayer": -2
    }});
    with_text(&place.path("swarm.png"), "parameters", &swarm.to_string());
    let run = from(&place, "swarm.png", &["-oout/y.png"]).expect(0);
    for part in ["SwarmUI", "not taken: clipstopatlayer: -2"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    place
        .generate(&["-nblurry", "--cfg-scale=3", "--seed=77"])
        .expect(0);
    assert!(bytes(&place, "out/x.png") == bytes(&place, "out/y.png"));
    let shown = inspect(&place, "swarm.png", &[]);
    assert!(
        shown.contains("SwarmUI") && shown.contains("clipstopatlayer"),
        "{shown}"
    );
}
