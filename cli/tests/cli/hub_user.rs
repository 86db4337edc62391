//! A user with a home of their own, and what the Hub publishes for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::hub_server::{Reply, Repositories, Request, Server};
use crate::support::{Run, fixtures, program};

pub(crate) const COMFYUI: &str = "Comfy-Org/Qwen-Image_ComfyUI/split_files";
pub(crate) const TRANSFORMER: &str = "qwen_image_fp8_e4m3fn.safetensors";

/// A repository path of the transformer.
pub(crate) fn transformer() -> String {
    format!("{COMFYUI}/diffusion_models/{TRANSFORMER}")
}

/// All files that variants name, with the tiny models as those of `fp8`.
pub(crate) fn published() -> Repositories {
    let models = fixtures().join("comfyui");
    let read = |path: &str| fs::read(models.join(path)).unwrap();
    let mut published = Repositories::default();
    published.add(
        &transformer(),
        read("diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors"),
    );
    published.add(
        &format!("{COMFYUI}/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors"),
        read("text_encoders/qwen_2.5_vl_small_fp8_scaled.safetensors"),
    );
    published.add(
        &format!("{COMFYUI}/vae/qwen_image_vae.safetensors"),
        read("vae/qwen_image_small_vae.safetensors"),
    );
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let path = format!("tokenizer/{name}");
        published.add_small(&format!("Qwen/Qwen-Image/{path}"), read(&path));
    }
    for other in [
        "Comfy-Org/Qwen-Image_ComfyUI/split_files/diffusion_models/qwen_image_bf16.safetensors",
        "Comfy-Org/Qwen-Image_ComfyUI/split_files/diffusion_models/\
         qwen_image_2512_fp8_e4m3fn.safetensors",
        "lightx2v/Qwen-Image-Lightning/Qwen-Image/qwen_image_fp8_e4m3fn_scaled.safetensors",
        "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-4steps-V1.0-bf16.safetensors",
        "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V1.1-bf16.safetensors",
    ] {
        published.add(other, other);
    }
    published
}

/// A user with a home of their own.
pub(crate) struct User {
    pub(crate) folder: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The tree that `download` fills where no other is named.
    pub(crate) fn models(&self) -> PathBuf {
        self.path("data/qwen-image-burn/models")
    }

    pub(crate) fn transformer(&self) -> PathBuf {
        self.models().join("diffusion_models").join(TRANSFORMER)
    }

    /// The program in that home.
    pub(crate) fn program(&self) -> Command {
        let mut command = program();
        command
            .env("HOME", self.folder.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("HF_HOME", self.path("hf"));
        command
    }

    pub(crate) fn command(&self, server: &Server, flags: &[&str]) -> Command {
        let mut command = self.program();
        command
            .arg("download")
            .args(flags)
            .env("HF_ENDPOINT", server.url());
        command
    }

    pub(crate) fn download(&self, server: &Server, flags: &[&str]) -> Run {
        self.command(server, flags).output().unwrap().into()
    }

    /// The files in the tree by their paths in it, sorted.
    pub(crate) fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.models()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let shown = path.strip_prefix(self.models()).unwrap();
                    found.push(shown.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }
}

/// Answers the `count` first requests for the transformer in another way.
pub(crate) fn at_first(
    count: usize,
    other: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    published().serve_at_first(TRANSFORMER, count, other)
}

pub(crate) fn published_transformer() -> Vec<u8> {
    let path = "comfyui/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors";
    fs::read(fixtures().join(path)).unwrap()
}

#[track_caller]
pub(crate) fn assert_whole(path: &Path) {
    assert!(fs::read(path).unwrap() == published_transformer());
}
