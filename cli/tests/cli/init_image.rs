//! `--init-image`, `--mask` and `--strength`: the reference's images, and what is said of them.

use std::fs::{self, File as StdFile};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::safetensors_file::File;
use crate::support::{Place, Run, fixtures, program};

/// A committed image.
pub(crate) fn image(name: &str) -> String {
    let path = fixtures().join("images").join(name);
    path.to_str().unwrap().to_owned()
}

/// Width, height and RGB samples of a PNG.
pub(crate) fn pixels(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = BufReader::new(StdFile::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut samples = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut samples).unwrap();
    let info = reader.info();
    (info.width, info.height, samples)
}

/// The folder of one test, and `generate` of a recorded case in it.
pub(crate) struct Recorded {
    folder: tempfile::TempDir,
    trace: File,
    case: Value,
}

impl Recorded {
    pub(crate) fn new(name: &str) -> Self {
        let text = fs::read(fixtures().join("image_cases.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        let cases = manifest["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            trace: File::read(&fixtures().join(case["trace"].as_str().unwrap())),
            case: case.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let case = &self.case;
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        let mut command = program();
        command.arg("generate").arg("--backend=flex");
        command
            .arg("--models")
            .arg(fixtures().join(text("models")))
            .args(["--prompt", &text("prompt")])
            .arg("--init-image")
            .arg(fixtures().join(text("image")))
            .arg("--output")
            .arg(self.path("x.png"))
            .arg("--trace")
            .arg(self.path("t.safetensors"));
        for (flag, key) in [
            ("--width", "width"),
            ("--height", "height"),
            ("--steps", "steps"),
            ("--seed", "seed"),
            ("--strength", "strength"),
            ("--cfg-scale", "cfg"),
        ] {
            command.args([flag, &case[key].to_string()]);
        }
        match case["negative"].as_str() {
            Some(negative) => command.args(["--negative-prompt", negative]),
            None => command.arg("--no-negative-prompt"),
        };
        if let Some(mask) = case["mask"].as_str() {
            command.arg("--mask").arg(fixtures().join(mask));
        }
        if let Some(padding) = case["mask_crop"].as_u64() {
            command.args(["--mask-crop", &padding.to_string()]);
        }
        command
    }

    /// Runs it and compares tensors and image with the reference's.
    pub(crate) fn check(&self, tolerance: f32, levels: u8) {
        let run: Run = self.command().output().unwrap().into();
        let run = run.expect(0);
        assert_eq!(
            run.stdout.trim_end(),
            self.path("x.png").to_str().unwrap(),
            "{}",
            run.stderr
        );
        let found = File::read(&self.path("t.safetensors"));
        for entry in &self.trace.tensors {
            let compared = !entry.key.starts_with("vae.") && entry.dtype == "F32";
            if !compared {
                continue;
            }
            let ours = found.get(&entry.key);
            assert_eq!(ours.shape, entry.shape, "{}", entry.key);
            let (ours, theirs) = (ours.f32s(), entry.f32s());
            let largest = theirs
                .iter()
                .fold(1f32, |most, value| most.max(value.abs()));
            let distance = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
            let distance = distance.fold(0f32, f32::max);
            assert!(
                distance <= tolerance * largest,
                "{}: {distance:e} of {largest}",
                entry.key
            );
        }
        assert_eq!(found.get("start").bytes, self.trace.get("start").bytes);
        let (width, height, ours) = pixels(&self.path("x.png"));
        let theirs = self.trace.get("png");
        assert_eq!(theirs.shape, [height as usize, width as usize, 3]);
        let pairs = ours.iter().zip(&theirs.bytes);
        let most = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most <= levels, "{most} levels");
    }
}

#[test]
fn a_changed_image_is_the_references() {
    Recorded::new("demo_img2img").check(5e-5, 1);
    Recorded::new("img2img").check(5e-5, 1);
}

#[test]
fn an_inpainted_image_is_the_references() {
    Recorded::new("demo_inpaint").check(5e-5, 1);
    Recorded::new("inpaint").check(5e-5, 1);
}

#[test]
fn resized_images_and_masks_are_the_references() {
    Recorded::new("img2img_resized").check(5e-5, 1);
    Recorded::new("inpaint_resized").check(5e-5, 1);
}

#[test]
fn an_image_has_its_init_images_size_unless_asked_otherwise() {
    let place = Place::new();
    let generate = |more: &[&str]| {
        let mut command = program();
        command
            .args(["generate", "--backend=flex", "--models"])
            .arg(fixtures().join("comfyui"))
            .args(["-p", "a fox", "--steps=2", "--seed=1", "--init-image"])
            .args([&image("scene_61x45.png"), "--output"])
            .arg(place.path("out/x.png"))
            .args(more);
        let run = Run::from(command.output().unwrap()).expect(0);
        let (width, height, _) = pixels(&place.path("out/x.png"));
        (width, height, run.stderr)
    };
    let (width, height, said) = generate(&[]);
    assert_eq!((width, height), (48, 32));
    let note = "note: the init image of 61x45 pixels is resized to 48x32";
    assert!(said.contains(note), "{said}");
    let (width, height, _) = generate(&["-W", "80"]);
    assert_eq!((width, height), (80, 48));
    let (width, height, _) = generate(&["-W", "32", "-H", "48"]);
    assert_eq!((width, height), (32, 48));
}

#[test]
fn the_parameters_name_image_mask_and_strength() {
    let place = Place::new();
    let run = place.generate(&[
        "--init-image",
        &image("scene_48x32.png"),
        "--mask",
        &image("mask_48x32.png"),
        "--strength=0.5",
        "--report",
        "out/r.json",
    ]);
    run.expect(0);
    let file = BufReader::new(StdFile::open(place.path("out/x.png")).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    reader.finish().unwrap();
    let info = reader.info();
    let latin1 = info.uncompressed_latin1_text.iter();
    let utf8 = info.utf8_text.iter();
    let texts: Vec<String> = latin1
        .map(|chunk| chunk.text.clone())
        .chain(utf8.map(|chunk| chunk.get_text().unwrap()))
        .collect();
    let expected = "Seed: 9, Denoising strength: 0.5, Init image: scene_48x32.png, \
                    Mask: mask_48x32.png, Size: 48x32";
    assert!(
        texts.iter().any(|text| text.contains(expected)),
        "{texts:?}"
    );

    let report: Value =
        serde_json::from_slice(&fs::read(place.path("out/r.json")).unwrap()).unwrap();
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "load_text_encoder",
            "encode",
            "load_vae_encoder",
            "encode_image",
            "load_transformer",
            "denoise",
            "load_vae",
            "decode",
        ]
    );
    let encoder = &phases[2];
    assert!(encoder["tensors"].as_u64().unwrap() > 50, "{encoder}");
}

#[test]
fn a_black_mask_leaves_the_image_and_says_so() {
    let place = Place::new();
    let mask = place.path("black.png");
    let file = StdFile::create(&mask).unwrap();
    let mut encoder = png::Encoder::new(file, 7, 5);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0; 35]).unwrap();
    writer.finish().unwrap();

    let generate = |prompt: &str, output: &str| {
        let scene = image("scene_48x32.png");
        let flags = ["--init-image", &scene, "--mask", "black.png", "-p", prompt];
        let mut command = place.command();
        command.args(flags).args(["--output", output]);
        let run = Run::from(command.output().unwrap()).expect(0);
        (run.stderr, pixels(&place.path(output)))
    };
    let (said, cat) = generate("a cat", "out/cat.png");
    assert!(said.contains("note: the mask is white nowhere"), "{said}");
    let (_, dog) = generate("a dog", "out/dog.png");
    assert!(cat == dog, "the prompt changes what is to stay");
}

#[test]
fn each_image_of_a_batch_draws_by_its_own_seed() {
    let place = Place::new();
    let scene = image("scene_48x32.png");
    let generate = |seed: &str, more: &[&str]| {
        let mut command = place.command();
        command
            .args(["--init-image", &scene, "--seed", seed])
            .args(more);
        Run::from(command.output().unwrap()).expect(0);
    };
    generate("5", &["--batch-count=2", "--output", "out/%d.png"]);
    generate("6", &["--output", "out/one.png"]);
    let written = place.written();
    let [first, second, one] = written.as_slice() else {
        panic!("{written:?}")
    };
    let read = |name: &String| pixels(&place.path(&format!("out/{name}")));
    assert_eq!(one, "one.png");
    assert!(read(first) != read(second));
    assert!(read(second) == read(one));
}

#[test]
fn a_plan_has_the_image_encoded() {
    let place = Place::new();
    let scene = image("scene_48x32.png");
    let run = place.generate(&["--dry-run", "--init-image", &scene]);
    let run = run.expect(0);
    let phases: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| ["encode", "encode_image", "denoise", "decode"].contains(word))
        .collect();
    assert_eq!(phases, ["encode", "encode_image", "denoise", "decode"]);
    let without = place.generate(&["--dry-run"]).expect(0);
    assert!(
        !without.stdout.contains("encode_image"),
        "{}",
        without.stdout
    );
}

#[test]
fn noise_from_a_file_takes_the_likeliest_latents() {
    let place = Place::new();
    let scene = image("scene_48x32.png");
    place
        .generate(&["--init-image", &scene, "--trace", "out/t.safetensors"])
        .expect(0);
    let first = File::read(&place.path("out/t.safetensors"));
    File {
        metadata: Value::Null,
        tensors: vec![first.get("noise").clone()],
    }
    .write(&place.path("noise.safetensors"));
    place
        .generate(&[
            "--init-image",
            &scene,
            "--noise",
            "noise.safetensors",
            "--trace",
            "out/u.safetensors",
        ])
        .expect(0);
    let second = File::read(&place.path("out/u.safetensors"));
    let bytes = |file: &File, key: &str| file.get(key).bytes.clone();
    assert!(bytes(&first, "noise") == bytes(&second, "noise"));
    assert!(bytes(&first, "image_latents") != bytes(&second, "image_latents"));
}

#[test]
fn the_report_counts_the_steps_that_are_run() {
    let place = Place::new();
    let scene = image("scene_48x32.png");
    let calls = |more: &[&str]| {
        let flags = ["--steps=4", "--report=out/r.json"];
        place.generate(&[&flags[..], more].concat()).expect(0);
        let report = fs::read(place.path("out/r.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        report["model_calls"].as_u64().unwrap()
    };
    assert_eq!(calls(&[]), 4);
    assert_eq!(calls(&["--init-image", &scene, "--strength=0.5"]), 2);
    let heun = ["--init-image", &scene, "--strength=0.5", "--sampler=heun"];
    assert_eq!(calls(&heun), 3);
}

/// The most memory, in bytes, that a run has had.
#[cfg(target_os = "linux")]
// It is waited for by `wait4`, which alone tells of its memory.
#[allow(clippy::zombie_processes)]
fn peak_memory(command: &mut Command) -> u64 {
    use std::process::Stdio;

    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values, and nobody else waits for this child.
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert_eq!((waited, status), (child.id() as i32, 0));
    usage.ru_maxrss as u64 * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn many_sizes_are_not_in_memory_at_once() {
    let place = Place::new();
    let scene = image("scene_48x32.png");
    let run = |sizes: u32| {
        let lines: String = (0..sizes)
            .map(|n| format!("{{\"prompt\":\"x\",\"width\":{}}}\n", 1024 + 16 * n))
            .collect();
        fs::write(place.path("p.jsonl"), lines).unwrap();
        let mut command = program();
        command.current_dir(place.path("")).args([
            "generate",
            "--models=models",
            "--backend=flex",
            "--dry-run",
            "--steps=2",
            "-H1024",
            "--prompt-file=p.jsonl",
            "--init-image",
            &scene,
        ]);
        peak_memory(&mut command)
    };
    let (one, many) = (run(1), run(20));
    // An image of this size is 12 MiB in f32.
    assert!(many < one + (64 << 20), "{one} and {many} bytes");
}
