//! Models that no flag names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Run, copy_tree, fixtures, program};

const DEMO: &str = "built-in demo model";

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The folder that `download` puts files into.
    fn downloads(&self) -> PathBuf {
        self.path("data/qwen-image-burn/models")
    }

    /// The snapshot of diffusers' model.
    fn snapshot(&self) -> PathBuf {
        self.path("hf/hub/models--Qwen--Qwen-Image/snapshots/abc")
    }

    /// Puts the snapshot there.
    fn cache_snapshot(&self) {
        copy_tree(&fixtures().join("diffusers"), &self.snapshot());
        let refs = self.path("hf/hub/models--Qwen--Qwen-Image/refs");
        fs::create_dir(&refs).unwrap();
        fs::write(refs.join("main"), "abc").unwrap();
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = program();
        command
            .current_dir(self.0.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("HF_HOME", self.path("hf"))
            .env("XDG_STATE_HOME", self.path("state"))
            .args(["generate", "--dry-run", "--backend=flex", "-p", "x"])
            .args(flags);
        command
    }

    fn generate(&self, flags: &[&str]) -> Run {
        self.command(flags).output().unwrap().into()
    }

    /// Demands that a run without flags uses the models of this folder.
    #[track_caller]
    fn uses(&self, folder: &Path) {
        let run = self.generate(&["-v"]).expect(0);
        let told = format!("using the models in {} ", folder.display());
        assert!(run.stderr.contains(&told), "{}", run.stderr);
        let opened = format!("The transformer: {}", folder.display());
        assert!(run.stderr.contains(&opened), "{}", run.stderr);
    }

    /// Demands that a run without flags does not draw with the demo model.
    #[track_caller]
    fn refuses(&self, parts: &[&str]) {
        let parts = [parts, &["--demo"]].concat();
        self.generate(&["-q"]).expect_error(3, &parts);
    }

    /// Demands that a run with these flags uses the demo model.
    #[track_caller]
    fn draws_the_demo(&self, flags: &[&str]) -> Run {
        let run = self.generate(&[&["-v"], flags].concat()).expect(0);
        assert!(run.stderr.contains("qwen_image_demo"), "{}", run.stderr);
        run
    }
}

#[test]
fn a_fresh_machine_draws_with_the_demo_model_and_says_so() {
    let run = Home::new().draws_the_demo(&[]);
    assert!(run.stderr.contains(DEMO), "{}", run.stderr);
    assert!(run.stderr.contains("qwen-image download"), "{}", run.stderr);
}

#[test]
fn downloads_come_before_the_cache_of_diffusers() {
    let home = Home::new();
    home.cache_snapshot();
    home.uses(&home.snapshot());
    copy_tree(&fixtures().join("comfyui"), &home.downloads());
    home.uses(&home.downloads());
}

#[test]
fn the_demo_model_can_be_asked_for() {
    let home = Home::new();
    copy_tree(&fixtures().join("comfyui"), &home.downloads());
    let run = home.draws_the_demo(&["--demo"]);
    assert!(!run.stderr.contains("note:"), "{}", run.stderr);
    let mut command = home.command(&["-v", "--demo"]);
    command.env("QWEN_IMAGE_MODELS", home.path("nowhere"));
    Run::from(command.output().unwrap()).expect(0);
    for flag in [
        "--models=m",
        "--transformer=t",
        "--text-encoder=e",
        "--vae=v",
        "--tokenizer=t",
    ] {
        let run = home.generate(&["--demo", flag]).expect(2);
        assert!(run.stderr.contains("--demo"), "{}", run.stderr);
    }
}

#[test]
fn a_flag_for_one_model_leaves_the_others_to_the_usual_place() {
    let home = Home::new();
    copy_tree(&fixtures().join("comfyui"), &home.downloads());
    let folder = home.downloads().join("diffusion_models");
    let name = "qwen_image_small_fp8_e4m3fn.safetensors";
    fs::rename(folder.join(name), home.path("mine.safetensors")).unwrap();
    fs::write(folder.join("other.safetensors"), "").unwrap();
    home.generate(&["--transformer=mine.safetensors"]).expect(0);
}

#[test]
fn the_demo_model_stands_in_for_no_models_that_are_there_in_part() {
    let home = Home::new();
    home.cache_snapshot();
    let shard = "text_encoder/model-00002-of-00002.safetensors";
    fs::remove_file(home.snapshot().join(shard)).unwrap();
    home.refuses(&["models--Qwen--Qwen-Image", "holds a part"]);
    let home = Home::new();
    fs::create_dir_all(home.path("hf/hub/models--Comfy-Org--Qwen-Image_ComfyUI")).unwrap();
    home.refuses(&["models--Comfy-Org", "holds a part"]);
    for left in [
        "diffusion_models/x.safetensors.0123456789ab.part",
        "text_encoders/whole.safetensors",
    ] {
        let home = Home::new();
        let file = home.downloads().join(left);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
        home.refuses(&["is not finished", "qwen-image download"]);
    }
    let home = Home::new();
    fs::create_dir_all(home.downloads()).unwrap();
    home.refuses(&["is not finished", "qwen-image download"]);
}

#[test]
fn a_download_that_failed_is_remembered_wherever_it_was_to_go() {
    for flags in [&[][..], &["--models=elsewhere"]] {
        let home = Home::new();
        let download = |more: &[&str]| {
            let mut command = program();
            command
                .current_dir(home.path(""))
                .env("XDG_DATA_HOME", home.path("data"))
                .env("HF_HOME", home.path("hf"))
                .env("XDG_STATE_HOME", home.path("state"))
                // Whatever answers there is no Hub.
                .env("HF_ENDPOINT", "ftp://nowhere")
                .args(["download", "-q"])
                .args(flags)
                .args(more);
            assert!(!command.output().unwrap().status.success());
        };
        download(&["--dry-run"]);
        home.draws_the_demo(&[]);
        download(&[]);
        home.refuses(&["used before", "QWEN_IMAGE_MODELS"]);
        home.draws_the_demo(&["--demo"]);
    }
}

#[test]
fn models_that_were_used_once_are_not_replaced_by_the_demo_model() {
    let home = Home::new();
    copy_tree(&fixtures().join("comfyui"), &home.path("mine"));
    let small = ["-W16", "-H16", "--steps=2"];
    let draw = |more: &[&str]| -> Run {
        let mut command = program();
        command
            .current_dir(home.path(""))
            .env("XDG_STATE_HOME", home.path("state"))
            .args(["generate", "--backend=flex", "-px", "-oone.png"])
            .args(small)
            .args(more);
        command.output().unwrap().into()
    };
    // To look is not to use.
    draw(&["--models=mine", "--dry-run"]).expect(0);
    home.draws_the_demo(&[]);
    draw(&["--models=mine"]).expect(0);
    let before = fs::read(home.path("one.png")).unwrap();
    let mine = home.path("mine");
    home.refuses(&[mine.to_str().unwrap(), "used before"]);
    draw(&["-q"]).expect_error(3, &["used before", "--demo"]);
    assert!(fs::read(home.path("one.png")).unwrap() == before);
    // A folder that is named and not there is an error of its own.
    draw(&["-q", "--models=gone"]).expect_error(3, &["gone"]);
    draw(&["--demo"]).expect(0);
    assert!(fs::read(home.path("one.png")).unwrap() != before);
}

#[test]
fn the_demo_model_replaces_nothing_that_another_has_drawn() {
    // Nothing is remembered, as by a job of cron's of a user without a home.
    let home = Home::new();
    copy_tree(&fixtures().join("comfyui"), &home.path("mine"));
    fs::write(home.path("p.txt"), "a fox\na cat\n").unwrap();
    fs::create_dir(home.path("folder")).unwrap();
    let draw = |flags: &[&str]| -> Run {
        let mut command = program();
        command.current_dir(home.path(""));
        for variable in ["HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env(variable, home.path("p.txt"));
        }
        command
            .args([
                "generate",
                "--backend=flex",
                "-q",
                "-W16",
                "-H16",
                "--steps=2",
            ])
            .args(flags);
        command.output().unwrap().into()
    };
    for flags in [
        &["--prompt-file=p.txt", "-oout/%d.png"][..],
        &["--prompt-file=p.txt", "-ofolder"],
        &["-px", "-s1", "-oone.png"],
    ] {
        let made = draw(&[flags, &["--models=mine"]].concat()).expect(0).stdout;
        let files = || {
            let read = |name: &str| fs::read(home.path(name)).unwrap();
            made.lines().map(read).collect::<Vec<_>>()
        };
        let before = files();
        draw(flags).expect_error(3, &["no models are named", "--demo"]);
        draw(&[flags, &["--overwrite"]].concat()).expect_error(3, &["no models are named"]);
        assert!(files() == before);
    }
    assert_eq!(fs::read_dir(home.path("folder")).unwrap().count(), 2);
    // Somebody's image is not the demo's either; the demo's own is.
    fs::write(home.path("mine.png"), "junk").unwrap();
    draw(&["-px", "-omine.png"]).expect_error(3, &["mine.png", "--output"]);
    for _ in 0..2 {
        draw(&["-pa circle", "-ocircle.png"]).expect(0);
    }
}
