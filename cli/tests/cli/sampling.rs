//! `--sampler` and `--preset`.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use serde_json::Value;

use crate::safetensors_file;
use crate::support::{Place, Run, fixtures, program};

/// What several steps and the VAE go through without a difference that matters, in f32.
const TOLERANCE: f32 = 5e-5;

/// `generate` of 80x48 pixels, an odd number of tokens each way, to `out/x.png`.
fn odd_grid(place: &Place, more: &[&str]) -> Run {
    let mut command = program();
    command
        .current_dir(place.path("."))
        .args(["generate", "--models", "models", "--backend", "flex"])
        .args(["--width", "80", "--height", "48", "--seed", "7"])
        .args(["--output", "out/x.png"])
        .args(more);
    command.output().unwrap().into()
}

fn fixture(name: &str) -> safetensors_file::File {
    safetensors_file::File::read(&fixtures().join(name))
}

/// A tensor of the trace beside the image, compared with a fixture's.
#[track_caller]
fn compare(place: &Place, name: &str, expected: &[f32]) {
    let trace = safetensors_file::File::read(&place.path("out/t.safetensors"));
    let found = trace.get(name).f32s();
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(1.0_f32, |max, v| max.max(v.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let distance = (found - expected).abs();
        assert!(
            distance <= TOLERANCE * largest,
            "{name}: {found}, not {expected}"
        );
    }
}

/// The pixels of a PNG and its `parameters` text.
pub(crate) fn png(path: &Path) -> (Vec<u8>, String) {
    let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let text = &reader.info().uncompressed_latin1_text[0];
    assert_eq!(text.keyword, "parameters");
    (pixels, text.text.clone())
}

#[test]
fn samplers_draw_what_the_reference_draws_and_say_so() {
    let place = Place::new();
    let reference = fixture("samplers.safetensors");
    for (sampler, label, calls) in [
        ("euler", "Euler", 5),
        ("heun", "Heun", 9),
        ("dpmpp2m", "DPM++ 2M", 5),
        ("unipc", "UniPC", 5),
    ] {
        let flags = [
            [
                "--prompt",
                "A red fox jumps over the lazy dog, ultra HD, 4K.",
            ],
            ["--steps", "5"],
            ["--sampler", sampler],
            ["--schedule", "simple"],
            ["--trace", "out/t.safetensors"],
            ["--report", "out/r.json"],
        ];
        let run = odd_grid(&place, &flags.concat()).expect(0);
        // The bar counts steps, whatever a step takes.
        assert!(!run.stderr.contains("error"), "{}", run.stderr);
        compare(&place, "sigmas", &reference.get("sigmas").f32s());
        for step in 0..5 {
            let expected = reference.get(&format!("{sampler}/latents.step{step}"));
            compare(&place, &format!("latents.step{step}"), &expected.f32s());
        }
        let report: Value =
            serde_json::from_slice(&fs::read(place.path("out/r.json")).unwrap()).unwrap();
        assert_eq!(report["sampler"], sampler);
        assert_eq!(report["schedule"], "simple=3.1");
        assert_eq!(report["preset"], "diffusers");
        assert_eq!(report["steps"], 5);
        assert_eq!(report["model_calls"], calls);
        let (_, text) = png(&place.path("out/x.png"));
        let fields = format!("Steps: 5, Sampler: {label}, Schedule type: Simple, Shift: 3.1, ");
        assert!(text.contains(&fields), "{text}");
    }
}

#[test]
fn the_preset_comfyui_draws_comfyuis_image() {
    let place = Place::new();
    let flags = [
        [
            "--prompt",
            "<|im_start|>system\nPaint.<|im_end|>\n<|im_start|>user\nA (red) fox<|im_end|>\n",
        ],
        ["--negative-prompt", ""],
        ["--steps", "4"],
        ["--cfg-scale", "2.5"],
        ["--preset", "comfyui"],
        ["--trace", "out/t.safetensors"],
    ];
    odd_grid(&place, &flags.concat()).expect(0);
    let reference = fixture("preset_comfyui.safetensors");
    for name in ["sigmas", "prompt_embeds", "latents.final", "image"] {
        compare(&place, name, &reference.get(name).f32s());
    }
    let (pixels, text) = png(&place.path("out/x.png"));
    assert!(text.contains(", Preset: ComfyUI, "), "{text}");
    let expected = &reference.get("png").bytes;
    assert_eq!(pixels.len(), expected.len());
    // Rounding would raise every second level: a last bit does so for next to none.
    let other = pixels.iter().zip(expected).filter(|(a, b)| a != b);
    let other = other.count();
    assert!(other * 100 < pixels.len(), "{other} of {}", pixels.len());
    let far = pixels.iter().zip(expected).any(|(a, b)| a.abs_diff(*b) > 1);
    assert!(!far, "a level is further than 1 away");
}

#[test]
fn the_preset_comfyui_starts_from_an_image_as_ksampler_does() {
    let place = Place::new();
    let images = fixtures().join("images");
    let file = |name: &str| images.join(name).to_str().unwrap().to_owned();
    let reference = fixture("preset_comfyui_starts.safetensors");
    for (name, strength, mask, sampler) in [
        ("img2img", "0.5", None, "euler"),
        ("uneven", "0.6", None, "euler"),
        ("inpaint", "0.5", Some("mask_48x32.png"), "euler"),
        ("inpaint_heun", "0.7", Some("mask_30x40.png"), "heun"),
    ] {
        let scene = file("scene_48x32.png");
        let mask = mask.map(file);
        let mut flags = vec!["--prompt", "A (red) fox", "--negative-prompt", ""];
        flags.extend(["--width=48", "--height=32", "--seed=8", "--steps=4"]);
        flags.extend(["--cfg-scale=2.5", "--preset=comfyui", "--sampler", sampler]);
        flags.extend(["--init-image", &scene, "--strength", strength]);
        flags.extend(["--output=out/x.png", "--trace=out/t.safetensors"]);
        flags.extend(mask.iter().flat_map(|mask| ["--mask", mask]));
        let mut command = program();
        command
            .current_dir(place.path("."))
            .args(["generate", "--backend=flex"]);
        let run = command.args(["--models", "models"]).args(flags).output();
        Run::from(run.unwrap()).expect(0);
        for tensor in ["sigmas", "latents.start", "latents.step3", "image"] {
            compare(
                &place,
                tensor,
                &reference.get(&format!("{name}/{tensor}")).f32s(),
            );
        }
        if mask.is_some() {
            compare(
                &place,
                "mask",
                &reference.get(&format!("{name}/mask")).f32s(),
            );
        }
    }
}

#[test]
fn the_preset_comfyui_runs_all_steps_whatever_the_strength() {
    let place = Place::new();
    let scene = fixtures().join("images/scene_48x32.png");
    let scene = scene.to_str().unwrap();
    let calls = |more: &[&str]| {
        let start = [
            "--init-image",
            scene,
            "--preset=comfyui",
            "--report=out/r.json",
        ];
        let run = place.generate(&[&start[..], more].concat()).expect(0);
        let report = fs::read(place.path("out/r.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        (report["model_calls"].as_u64().unwrap(), run.stderr)
    };
    assert_eq!(calls(&["--steps=4", "--strength=0.5"]).0, 4);
    assert_eq!(calls(&["--steps=4", "--strength=0.07"]).0, 4);
    assert_eq!(calls(&["--steps=4", "--strength=1"]).0, 4);
    let (listed, said) = calls(&[
        "--steps=4",
        "--schedule=sigmas=1,0.8,0.5,0.2",
        "--strength=0.5",
    ]);
    assert_eq!(listed, 2);
    assert!(!said.contains("different noise levels"), "{said}");
    let flags = [
        "--init-image",
        scene,
        "--preset=comfyui",
        "--steps=4",
        "--strength=1e-9",
    ];
    let parts = ["--strength 0.000000001 leaves none of 4 steps"];
    place.generate(&flags).expect_error(2, &parts);
}

#[test]
fn a_prompt_of_another_template_is_told_what_becomes_of_it() {
    let place = Place::new();
    let prompt = "--prompt=<|start_header_id|>a fox";
    let said = |more: &[&str]| {
        let run = place.generate(&[&[prompt][..], more].concat());
        run.expect(0).stderr
    };
    let note = "ComfyUI gives the transformer only the last token of such a prompt";
    assert!(said(&["--preset=comfyui"]).contains(note));
    assert!(!said(&[]).contains(note));
}

#[test]
fn flags_win_over_the_preset() {
    let place = Place::new();
    let sigmas = |more: &[&str]| {
        let flags = ["--preset", "comfyui", "--trace", "out/t.safetensors"];
        place.generate(&[&flags, more].concat()).expect(0);
        let trace = safetensors_file::File::read(&place.path("out/t.safetensors"));
        trace.get("sigmas").f32s()
    };
    let simple = sigmas(&[]);
    assert!((simple[1] - 3.1 * 0.5 / 2.05).abs() < 1e-6, "{simple:?}");
    assert_eq!(sigmas(&["--schedule", "shift=3"])[1], 0.75);
    let dynamic = sigmas(&["--schedule", "dynamic"]);
    assert!((dynamic[1] - 0.02).abs() < 1e-6, "{dynamic:?}");
}

#[test]
fn comfyui_guides_at_any_scale_but_one() {
    let place = Place::new();
    for (scale, guided) in [("0.5", true), ("0", true), ("1", false)] {
        let flags = ["--preset", "comfyui", "--report", "out/r.json"];
        place
            .generate(&[&flags[..], &["--cfg-scale", scale]].concat())
            .expect(0);
        let report: Value =
            serde_json::from_slice(&fs::read(place.path("out/r.json")).unwrap()).unwrap();
        assert_eq!(report["guided"], guided, "{scale}");
    }
    place
        .generate(&["--preset", "comfyui", "--cfg-scale=-0.1"])
        .expect_error(2, &["--cfg-scale", "from 0 to 100"]);
    place
        .generate(&["--cfg-scale", "0.5"])
        .expect_error(2, &["--cfg-scale", "from 1 to 100"]);
}

#[test]
fn an_image_is_made_again_as_it_was_sampled() {
    let place = Place::new();
    let flags = [
        "--preset",
        "comfyui",
        "--sampler",
        "unipc",
        "--schedule",
        "beta=2",
    ];
    place
        .generate(&[&flags[..], &["--steps", "4"]].concat())
        .expect(0);
    let again = |more: &[&str]| {
        let mut command = program();
        command
            .current_dir(place.path("."))
            .args(["generate", "--models", "models", "--backend", "flex"])
            .args(["--from", "out/x.png", "--output", "out/y.png"])
            .args(more);
        Run::from(command.output().unwrap()).expect(0);
        png(&place.path("out/y.png"))
    };
    let first = png(&place.path("out/x.png"));
    assert_eq!(again(&[]), first);
    let (pixels, text) = again(&["--sampler", "heun", "--schedule", "sigmas=1,0.5"]);
    assert_ne!(pixels, first.0);
    assert!(text.contains("Steps: 2, Sampler: Heun, "), "{text}");
    assert!(text.contains("Preset: ComfyUI, "), "{text}");
}
