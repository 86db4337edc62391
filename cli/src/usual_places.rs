//! The places of models that no flag names: the folder that `download` fills, and the snapshot that
//! diffusers leaves in the Hub's cache.

use std::fs;
use std::path::{Path, PathBuf};

use hub::{REPOSITORIES, TRANSFORMER_FOLDER, cache};
use loader::{Component, ModelFiles, Weights};

use crate::args::Environment;
use crate::known_models;

/// The repository that diffusers loads Qwen-Image from.
const DIFFUSERS: &str = "Qwen/Qwen-Image";

/// The models in the usual places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UsualPlaces {
    /// Nothing, and nothing tells that it was ever otherwise.
    Empty,
    /// A model.
    Models(PathBuf),
    /// A download by this program that is not finished.
    Unfinished(PathBuf),
    /// A part of a repository that models come from, in the cache of huggingface_hub.
    InPart(PathBuf),
    /// Nothing; real models were used, or a download was begun, in this place.
    Elsewhere(PathBuf),
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
        let hub_cache = environment.hub_cache();
        if let Some(snapshot) = hub_cache.as_deref().and_then(diffusers_snapshot) {
            return Self::Models(snapshot);
        }
        // Whatever else there may be, `download` has made its folder.
        if let Some(folder) = downloads.filter(|folder| folder.is_dir()) {
            return Self::Unfinished(folder);
        }
        let in_cache = |folder: PathBuf| {
            let mut repositories = REPOSITORIES
                .iter()
                .map(|name| cache::repository(&folder, name));
            repositories.find(|repository| repository.is_dir())
        };
        if let Some(repository) = hub_cache.and_then(in_cache) {
            return Self::InPart(repository);
        }
        match known_models::recall(environment) {
            Some(place) => Self::Elsewhere(place),
            None => Self::Empty,
        }
    }
}

/// Tells whether a `models` tree has a transformer, which `download` fetches last. What else it may
/// lack is for the loader to tell.
fn has_transformer(models: &Path) -> bool {
    names_in(&models.join(TRANSFORMER_FOLDER)).any(|name| {
        // macOS leaves `._` files beside others.
        name.to_ascii_lowercase().ends_with(".safetensors") && !name.starts_with("._")
    })
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The snapshot that diffusers loads by default, if all its weights are there: a cache may hold any
/// part of a repository.
fn diffusers_snapshot(hub_cache: &Path) -> Option<PathBuf> {
    let snapshot = cache::snapshot(hub_cache, DIFFUSERS)?;
    if !snapshot.join("model_index.json").is_file() {
        return None;
    }
    let found = ModelFiles::discover(&snapshot).ok()?;
    found.tokenizer?;
    for (checkpoint, component) in [
        (found.transformer?, Component::Transformer),
        (found.text_encoder?, Component::TextEncoder),
        (found.vae?, Component::Vae),
    ] {
        Weights::of(checkpoint.open().ok()?, component).ok()?;
    }
    Some(snapshot)
}
