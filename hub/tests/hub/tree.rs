//! A `models` tree to download into, and what the Hub publishes for it.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use hub::{Config, Error, Hub, Token, Variant};
use tempfile::TempDir;

use crate::server::{Reply, Repositories, Request, Server};

const COMFYUI: &str = "Comfy-Org/Qwen-Image_ComfyUI/split_files";
pub(crate) const TRANSFORMER: &str = "qwen_image_fp8_e4m3fn.safetensors";
pub(crate) const VOCABULARY: &str = "Qwen/Qwen-Image/tokenizer/vocab.json";

/// The path of the transformer among the published files.
pub(crate) fn transformer() -> String {
    format!("{COMFYUI}/diffusion_models/{TRANSFORMER}")
}

/// The transformer's bytes.
pub(crate) fn transformer_bytes() -> Vec<u8> {
    (0..5000_u32).map(|n| (n * n / 7) as u8).collect()
}

/// The files of [`Variant::Fp8`], and a second transformer.
pub(crate) fn published() -> Repositories {
    let mut published = Repositories::default();
    published.add(&transformer(), transformer_bytes());
    for other in [
        "diffusion_models/qwen_image_bf16.safetensors",
        "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "vae/qwen_image_vae.safetensors",
    ] {
        published.add(&format!("{COMFYUI}/{other}"), other);
    }
    published.add_small(VOCABULARY, "{}");
    for other in ["merges.txt", "tokenizer_config.json"] {
        published.add_small(&format!("Qwen/Qwen-Image/tokenizer/{other}"), other);
    }
    published
}

/// Answers the `count` first requests for the transformer in another way.
pub(crate) fn at_first(
    count: usize,
    other: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    published().serve_at_first(TRANSFORMER, count, other)
}

/// A tree that is empty at first.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.0.path().join("models")
    }

    pub(crate) fn transformer(&self) -> PathBuf {
        self.models().join("diffusion_models").join(TRANSFORMER)
    }

    /// Downloads [`Variant::Fp8`].
    pub(crate) fn download(&self, server: &Server) -> Result<(), Error> {
        self.download_watched(server, None, &mut |_, _| ControlFlow::Continue(()))
    }

    /// The same with a token.
    pub(crate) fn download_with(&self, server: &Server, token: &str) -> Result<(), Error> {
        self.download_watched(server, Some(token), &mut |_, _| ControlFlow::Continue(()))
    }

    /// The same, where `watch` is told each file's name and how many bytes of it are there.
    pub(crate) fn download_watched(
        &self,
        server: &Server,
        token: Option<&str>,
        watch: &mut dyn FnMut(&str, u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let hub = Hub::new(Config {
            endpoint: server.url(),
            token: token.map(|token| Token {
                text: token.to_owned(),
                origin: "the test".to_owned(),
            }),
            ..Config::default()
        })?;
        let go_on = ControlFlow::Continue(());
        let planned = hub::plan(&hub, Variant::Fp8, &self.models(), &mut |_| go_on)?;
        for file in &planned {
            hub::fetch(&hub, file, &mut |done| watch(file.source.name(), done))?;
        }
        Ok(())
    }

    /// Demands a download that fails, and returns its error.
    #[track_caller]
    pub(crate) fn refused(&self, server: &Server) -> Error {
        self.download(server).unwrap_err()
    }

    /// The names of all files, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let folders = fs::read_dir(self.models()).into_iter().flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Demands that the transformer is the published one.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        assert!(fs::read(self.transformer()).unwrap() == transformer_bytes());
    }
}
