//! Where models are that no flag names: the folder that `download` fills, and the snapshot that
//! diffusers leaves in the Hub's cache.

use std::fs;
use std::path::{Path, PathBuf};

use loader::{Component, ModelFiles, Weights};

use crate::args::Environment;
use crate::download::{TRANSFORMER_FOLDER, is_partial, repository_in_cache};

/// The repository that diffusers loads Qwen-Image from.
const DIFFUSERS: &str = "Qwen/Qwen-Image";

/// What the usual places hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UsualPlaces {
    /// Nothing.
    Empty,
    /// A model.
    Models(PathBuf),
    /// A download that is not finished.
    Unfinished(PathBuf),
}

impl UsualPlaces {
    /// Looks into each; the first that holds a model counts.
    pub(crate) fn look(environment: Environment<'_>) -> Self {
        let downloads = environment.models_folder();
        if let Some(folder) = downloads
            .as_deref()
            .filter(|folder| has_transformer(folder))
        {
            return Self::Models(folder.to_owned());
        }
        let cache = environment.hub_cache();
        if let Some(snapshot) = cache.and_then(|cache| diffusers_snapshot(&cache)) {
            return Self::Models(snapshot);
        }
        match downloads {
            Some(folder) if is_unfinished(&folder) => Self::Unfinished(folder),
            _ => Self::Empty,
        }
    }
}

/// Whether a `models` tree has a transformer, which `download` fetches last. What else it may lack
/// is for the loader to tell.
fn has_transformer(models: &Path) -> bool {
    names_in(&models.join(TRANSFORMER_FOLDER)).any(|name| {
        // macOS leaves `._` files beside others.
        name.to_ascii_lowercase().ends_with(".safetensors") && !name.starts_with("._")
    })
}

/// Whether a `models` tree holds a part of a file.
fn is_unfinished(models: &Path) -> bool {
    let mut folders = fs::read_dir(models).into_iter().flatten().flatten();
    folders.any(|folder| names_in(&folder.path()).any(|name| is_partial(&name)))
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The snapshot that diffusers loads by default, if all its weights are there: a cache may hold any
/// part of a repository.
fn diffusers_snapshot(cache: &Path) -> Option<PathBuf> {
    let repository = cache.join(repository_in_cache(DIFFUSERS));
    let commit = fs::read_to_string(repository.join("refs").join("main")).ok()?;
    let snapshot = repository.join("snapshots").join(commit.trim());
    if !snapshot.join("model_index.json").is_file() {
        return None;
    }
    let found = ModelFiles::discover(&snapshot).ok()?;
    found.tokenizer?;
    for (path, component) in [
        (found.transformer?, Component::Transformer),
        (found.text_encoder?, Component::TextEncoder),
        (found.vae?, Component::Vae),
    ] {
        Weights::open(&path, component).ok()?;
    }
    Some(snapshot)
}
