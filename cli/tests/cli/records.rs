//! `--trace`, `--report`, `--noise` and `--vram-limit`.

use std::fs;

use serde_json::Value;

use crate::safetensors_file::{Entry, File};
use crate::support::Place;

#[cfg(target_os = "linux")]
#[test]
fn a_report_of_a_path_that_is_no_text_is_written() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let folder = place.path("out").join(OsStr::from_bytes(b"pict\xffures"));
    fs::create_dir(&folder).unwrap();
    let mut command = place.command();
    command.args(["--report", "out/r.json", "-o"]);
    let output = command.arg(folder.join("x.png")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(folder.join("x.png").is_file());
    let report = fs::read(place.path("out/r.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let path = report["images"][0]["path"].as_str().unwrap();
    assert_eq!(
        path,
        "out/pict\u{fffd}ures/x.png".replace("out", place.path("out").to_str().unwrap())
    );
}

#[test]
fn the_trace_has_every_tensor_of_the_contract() {
    let place = Place::new();
    place.generate(&["--trace", "out/t.safetensors"]).expect(0);
    let trace = File::read(&place.path("out/t.safetensors"));
    assert_eq!(
        trace.names(),
        [
            "image",
            "input_ids",
            "latents.final",
            "latents.step0",
            "latents.step1",
            "negative_prompt_embeds",
            "noise",
            "prompt_embeds",
            "sigmas",
            "step0.cond",
            "step0.uncond",
        ]
    );
    let ids = trace.get("input_ids");
    assert_eq!(
        (ids.dtype.as_str(), ids.shape[0], ids.shape.len()),
        ("I64", 1, 2)
    );
    let width = trace.get("prompt_embeds").shape[2];
    assert_eq!(trace.get("prompt_embeds").shape.len(), 3);
    assert_eq!(trace.get("negative_prompt_embeds").shape[2], width);
    for (key, shape) in [
        ("noise", &[1, 1, 16, 4, 6][..]),
        ("sigmas", &[3]),
        ("step0.cond", &[1, 6, 64]),
        ("step0.uncond", &[1, 6, 64]),
        ("latents.step0", &[1, 6, 64]),
        ("latents.step1", &[1, 6, 64]),
        ("latents.final", &[1, 6, 64]),
        ("image", &[1, 3, 32, 48]),
    ] {
        assert_eq!(trace.get(key).shape, shape, "{key}");
        assert!(
            trace.get(key).f32s().iter().all(|value| value.is_finite()),
            "{key}"
        );
    }
    assert_eq!(
        trace.get("latents.final").bytes,
        trace.get("latents.step1").bytes
    );
    let sigmas = trace.get("sigmas").f32s();
    assert_eq!((sigmas[0], sigmas[2]), (1.0, 0.0));
    assert!(
        trace
            .get("image")
            .f32s()
            .iter()
            .all(|value| (-1.0..=1.0).contains(value))
    );
}

#[test]
fn without_guidance_the_trace_has_one_pass() {
    let place = Place::new();
    for flags in [["--no-negative-prompt", "-q"], ["--cfg-scale", "1"]] {
        let trace = ["--trace", "out/t.safetensors"];
        place.generate(&[flags, trace].concat()).expect(0);
        let trace = File::read(&place.path("out/t.safetensors"));
        let names = trace.names();
        assert!(!names.contains(&"step0.uncond") && !names.contains(&"negative_prompt_embeds"));
    }
}

#[test]
fn the_report_has_every_phase() {
    let place = Place::new();
    place
        .generate(&["-b", "2", "--report", "out/r.json"])
        .expect(0);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(place.path("out/r.json")).unwrap()).unwrap();
    assert_eq!(report["backend"], "flex");
    assert_eq!(report["images"][0]["path"], "out/x-1.png");
    assert_eq!(report["images"][1]["seed"], 10);
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases
        .iter()
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "load_text_encoder",
            "encode",
            "load_transformer",
            "denoise",
            "load_vae",
            "decode",
        ]
    );
    for phase in phases {
        assert!(phase["seconds"].as_f64().unwrap() >= 0.0);
        // The processor has no memory of its own whose peak could be told.
        assert_eq!(phase.get("device_peak"), Some(&Value::Null), "{phase}");
        if !phase["name"].as_str().unwrap().starts_with("load_") {
            assert!(phase["working_estimate"].as_u64().unwrap() > 0, "{phase}");
            continue;
        }
        assert!(phase["tensors"].as_u64().unwrap() > 0, "{phase}");
        assert!(phase["bytes"].as_u64().unwrap() > 0, "{phase}");
        assert!(phase["gb_per_s"].as_f64().unwrap() > 0.0, "{phase}");
        for key in [
            "peak_anonymous_bytes",
            "page_cache_growth",
            "device_used_before",
            "device_used_after",
            "device_used_after_drop",
            "device_freed",
            "vram_limit",
        ] {
            assert!(phase.get(key).is_some(), "{key} in {phase}");
        }
        #[cfg(target_os = "linux")]
        assert!(phase["peak_anonymous_bytes"].as_u64().unwrap() > 0);
        assert!(phase["device_used_after"].is_null());
    }
    assert_eq!(phases[2]["tensors"], 77);
}

#[test]
fn noise_from_a_file_takes_the_seeds_place() {
    let place = Place::new();
    place.generate(&["--trace", "out/t.safetensors"]).expect(0);
    let image = |flags: &[&str]| {
        place.generate(flags).expect(0);
        fs::read(place.path("out/x.png")).unwrap()
    };
    let trace = File::read(&place.path("out/t.safetensors"));
    let noise = |entry: Entry, name: &str| {
        let file = File {
            metadata: Value::Null,
            tensors: vec![entry],
        };
        file.write(&place.path(name));
    };
    noise(trace.get("noise").clone(), "noise.safetensors");
    image(&[
        "--noise",
        "noise.safetensors",
        "--trace",
        "out/u.safetensors",
    ]);
    let again = File::read(&place.path("out/u.safetensors"));
    assert_eq!(again.get("image").bytes, trace.get("image").bytes);
    // A trace holds the noise, too, beside other tensors.
    let from_trace = image(&["--noise", "out/t.safetensors"]);
    assert!(String::from_utf8_lossy(&from_trace).contains("Noise: t.safetensors"));

    let mut wrong = trace.get("noise").clone();
    wrong.shape = vec![1, 1, 16, 6, 4];
    noise(wrong, "shape.safetensors");
    let mut wrong = trace.get("noise").clone();
    wrong.dtype = "I32".to_owned();
    noise(wrong, "dtype.safetensors");
    let mut wrong = trace.get("noise").clone();
    wrong.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    noise(wrong, "nan.safetensors");
    noise(trace.get("sigmas").clone(), "name.safetensors");
    fs::write(place.path("junk.safetensors"), "junk").unwrap();
    for (name, part) in [
        ("shape.safetensors", "[1, 1, 16, 4, 6]"),
        ("dtype.safetensors", "F32"),
        ("nan.safetensors", "finite"),
        ("name.safetensors", "noise"),
        ("junk.safetensors", "download incomplete"),
        ("none.safetensors", "no such"),
    ] {
        let run = place.generate(&["-q", "--noise", name]);
        run.expect_error(3, &[name, part]);
    }
}

#[test]
fn a_memory_limit_means_nothing_on_the_processor_and_says_so() {
    let place = Place::new();
    let run = place.generate(&["--vram-limit", "1KB"]).expect(0);
    assert!(run.stderr.contains("--vram-limit"), "{}", run.stderr);
}
