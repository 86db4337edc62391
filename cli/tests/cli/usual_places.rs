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

    /// Where `download` puts files.
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
fn what_is_not_whole_is_not_used() {
    let home = Home::new();
    home.cache_snapshot();
    fs::remove_file(
        home.snapshot()
            .join("text_encoder/model-00002-of-00002.safetensors"),
    )
    .unwrap();
    home.draws_the_demo(&[]);
    let folder = home.downloads().join("diffusion_models");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("x.safetensors.0123456789ab.part"), "").unwrap();
    let run = home.draws_the_demo(&[]);
    assert!(run.stderr.contains("is not finished"), "{}", run.stderr);
}
