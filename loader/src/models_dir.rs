//! Finds the parts of a model in a folder: a ComfyUI `models` tree, a diffusers folder, or a
//! folder that simply holds the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, FoundCheckpoint, file_names, is_index};
use crate::component::Component;
use crate::container;
use crate::detect::components;
use crate::error::LoadError;
use crate::lora::looks_like_a_lora;
use crate::text::Excerpt;

/// How deep folders are searched, as users sort their models into subfolders.
pub(crate) const MAX_DEPTH: usize = 3;

/// The places of a model's parts. A part that is `None` was not found.
#[derive(Clone, Debug, Default)]
pub struct ModelFiles {
    /// The transformer.
    pub transformer: Option<FoundCheckpoint>,
    /// The text encoder.
    pub text_encoder: Option<FoundCheckpoint>,
    /// The VAE.
    pub vae: Option<FoundCheckpoint>,
    /// The tokenizer: `tokenizer.json`, or a folder with the tokenizer's files.
    pub tokenizer: Option<PathBuf>,
    /// `scheduler_config.json`, which only diffusers folders have.
    pub scheduler: Option<PathBuf>,
}

/// Everything in a folder that [`ModelFiles`] would choose from, and what is used beside it.
#[derive(Clone, Debug, Default)]
pub struct FolderContents {
    /// The checkpoints, by component.
    pub checkpoints: Vec<(Component, FoundCheckpoint)>,
    /// Files that look like LoRAs, be they another model's.
    pub loras: Vec<PathBuf>,
    /// The tokenizer, as in [`ModelFiles`], or the folder itself if it is a tokenizer's.
    pub tokenizer: Option<PathBuf>,
}

impl FolderContents {
    /// Looks into the folders that [`ModelFiles::discover`] looks into, and into `loras`.
    ///
    /// # Errors
    /// A damaged file if there is no sound one of its kind; [`LoadError::NotAModelsFolder`] if
    /// there is nothing at all.
    pub fn of(dir: &Path) -> Result<Self, LoadError> {
        if dir.join("model_index.json").is_file() {
            let found = ModelFiles::discover(dir)?;
            let parts = [
                (Component::TextEncoder, found.text_encoder),
                (Component::Transformer, found.transformer),
                (Component::Vae, found.vae),
            ];
            let parts = parts.into_iter();
            return Ok(Self {
                checkpoints: parts
                    .filter_map(|(kind, found)| Some((kind, found?)))
                    .collect(),
                loras: Vec::new(),
                tokenizer: found.tokenizer,
            });
        }
        let dir = &tree(dir);
        let mut candidates = Candidates::in_tree(dir)?;
        let mut checkpoints = Vec::new();
        for component in [
            Component::TextEncoder,
            Component::Transformer,
            Component::Vae,
        ] {
            let sound = candidates.sound.iter();
            let alone = sound.filter(|(kind, _)| *kind == component);
            let alone = alone.map(|(_, checkpoint)| checkpoint);
            let of_it = alone.chain(candidates.combined_with(component));
            let of_it: Vec<_> = of_it
                .map(|checkpoint| (component, FoundCheckpoint::from(checkpoint.clone())))
                .collect();
            if of_it.is_empty() {
                candidates.choose(dir, component)?;
            }
            checkpoints.extend(of_it);
        }
        let folder = dir.join(LORAS);
        if folder.is_dir() {
            candidates.collect(&folder, MAX_DEPTH)?;
        }
        let contents = Self {
            checkpoints,
            loras: candidates.loras,
            tokenizer: find_tokenizer(dir),
        };
        let Self {
            checkpoints,
            loras,
            tokenizer,
        } = &contents;
        if checkpoints.is_empty() && loras.is_empty() && tokenizer.is_none() {
            if let Some((_, error)) = candidates.damaged.pop() {
                return Err(error);
            }
            if !is_models_tree(dir) {
                return Err(LoadError::NotAModelsFolder { dir: dir.into() });
            }
        }
        Ok(contents)
    }
}

impl ModelFiles {
    /// Looks for a model's parts in a folder.
    ///
    /// In a diffusers folder (with a `model_index.json`) they are where diffusers puts them. In
    /// any other, the `.safetensors` files of `diffusion_models`, `unet`, `text_encoders`, `clip`,
    /// `vae`, `checkpoints` and of the folder itself are opened, and each is what its tensors say.
    /// A file of several models in one counts where there is none of a model alone.
    ///
    /// # Errors
    /// [`LoadError::SeveralCandidates`] if there is a choice to be made; a damaged file if there
    /// is no sound one of its kind; [`LoadError::NotAModelsFolder`] if there is nothing at all.
    pub fn discover(dir: &Path) -> Result<Self, LoadError> {
        Self::discover_except(dir, &[])
    }

    /// Looks as [`ModelFiles::discover`] does, but not for the `given` components, which the caller
    /// has from elsewhere: neither several of them nor damaged ones are an error.
    ///
    /// # Errors
    /// The same as of [`ModelFiles::discover`].
    pub fn discover_except(dir: &Path, given: &[Component]) -> Result<Self, LoadError> {
        if !dir.exists() {
            return Err(LoadError::NotFound { path: dir.into() });
        }
        if !dir.is_dir() {
            return Err(LoadError::NotADirectory { path: dir.into() });
        }
        if dir.join("model_index.json").is_file() {
            return Ok(Self::diffusers(dir));
        }
        Self::comfyui(&tree(dir), given)
    }

    fn diffusers(dir: &Path) -> Self {
        let folder = |name: &str| Some(dir.join(name)).filter(|path| path.is_dir());
        let checkpoint = |name: &str| folder(name).map(FoundCheckpoint::from);
        Self {
            transformer: checkpoint("transformer"),
            text_encoder: checkpoint("text_encoder"),
            vae: checkpoint("vae"),
            tokenizer: folder("tokenizer"),
            scheduler: Some(dir.join("scheduler").join("scheduler_config.json"))
                .filter(|path| path.is_file()),
        }
    }

    fn comfyui(dir: &Path, given: &[Component]) -> Result<Self, LoadError> {
        let mut candidates = Candidates::in_tree(dir)?;
        let mut choose = |component| {
            if given.contains(&component) {
                Ok(None)
            } else {
                candidates.choose(dir, component)
            }
        };
        let found = Self {
            transformer: choose(Component::Transformer)?,
            text_encoder: choose(Component::TextEncoder)?,
            vae: choose(Component::Vae)?,
            tokenizer: find_tokenizer(dir),
            scheduler: None,
        };
        let weights = [&found.transformer, &found.text_encoder, &found.vae];
        if given.is_empty() && weights.iter().all(|found| found.is_none()) {
            // A damaged file explains the lack of sound ones.
            if let Some((_, error)) = candidates.damaged.pop() {
                return Err(error);
            }
            if !is_models_tree(dir) {
                return Err(LoadError::NotAModelsFolder { dir: dir.into() });
            }
        }
        Ok(found)
    }
}

/// The folders of a ComfyUI `models` tree that can hold parts of this model.
const MODEL_FOLDERS: [&str; 6] = [
    "diffusion_models",
    "unet",
    "text_encoders",
    "clip",
    "vae",
    CHECKPOINTS,
];

/// The folder of a ComfyUI `models` tree that holds files of several models in one, most of them
/// of other kinds.
const CHECKPOINTS: &str = "checkpoints";

/// The folder of a ComfyUI `models` tree that holds LoRAs.
pub(crate) const LORAS: &str = "loras";

/// The folder that holds a tree's folders: `dir`, or the `models` folder in it where `dir` is
/// ComfyUI itself.
pub(crate) fn tree(dir: &Path) -> PathBuf {
    let inner = dir.join("models");
    if !is_models_tree(dir) && is_models_tree(&inner) {
        inner
    } else {
        dir.to_path_buf()
    }
}

fn is_models_tree(dir: &Path) -> bool {
    MODEL_FOLDERS.iter().any(|folder| dir.join(folder).is_dir())
}

fn find_tokenizer(dir: &Path) -> Option<PathBuf> {
    let folder = dir.join("tokenizer");
    if folder.is_dir() {
        return Some(folder);
    }
    let file = dir.join("tokenizer.json");
    if file.is_file() {
        return Some(file);
    }
    let has = |name: &str| dir.join(name).is_file();
    (has("vocab.json") && has("merges.txt")).then(|| dir.to_path_buf())
}

/// The checkpoints found so far.
#[derive(Default)]
struct Candidates {
    seen: BTreeSet<PathBuf>,
    sound: Vec<(Component, Checkpoint)>,
    /// Files of several models in one, the transformer among them.
    combined: Vec<(Vec<Component>, Checkpoint)>,
    loras: Vec<PathBuf>,
    damaged: Vec<(PathBuf, LoadError)>,
    /// True if the folder at hand is that of files of several models in one.
    among_all_in_one: bool,
}

impl Candidates {
    /// Those of a folder itself and of a tree's folders in it.
    fn in_tree(dir: &Path) -> Result<Self, LoadError> {
        let mut candidates = Self::default();
        candidates.collect(dir, 0)?;
        for name in MODEL_FOLDERS {
            let folder = dir.join(name);
            candidates.among_all_in_one = name == CHECKPOINTS;
            if folder.is_dir() {
                candidates.collect(&folder, MAX_DEPTH)?;
            }
        }
        candidates.among_all_in_one = false;
        Ok(candidates)
    }

    /// Opens the checkpoints of a folder and of `depth` levels below it.
    fn collect(&mut self, dir: &Path, depth: usize) -> Result<(), LoadError> {
        let names = file_names(dir)?;
        let sharded = names.iter().any(|name| is_index(name));
        for name in names {
            let path = dir.join(&name);
            if path.is_dir() {
                if depth > 0 {
                    self.collect(&path, depth - 1)?;
                }
                continue;
            }
            // A shard alone is no checkpoint.
            let is_file = container::without_ending(&name).is_some();
            let whole = is_file && !(sharded && name.contains("-of-"));
            if whole || is_index(&name) {
                self.consider(path);
            }
        }
        Ok(())
    }

    fn consider(&mut self, path: PathBuf) {
        // `unet` is often a link to `diffusion_models`.
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        if !self.seen.insert(identity) {
            return;
        }
        let checkpoint = match Checkpoint::open(&path) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return self.damaged.push((path, error)),
        };
        // Files of other models are none of our business.
        match components(&checkpoint).as_slice() {
            [] if looks_like_a_lora(&checkpoint) => self.loras.push(path),
            [] => {}
            // Wan's all-in-one files have the VAE that Qwen-Image's was made from.
            [Component::Vae] if self.among_all_in_one => {}
            [only] => self.sound.push((*only, checkpoint)),
            several if several.contains(&Component::Transformer) => {
                self.combined.push((several.to_vec(), checkpoint));
            }
            _ => {}
        }
    }

    /// The files of several models in one that hold a component.
    fn combined_with(&self, component: Component) -> impl Iterator<Item = &Checkpoint> {
        let combined = self.combined.iter();
        combined
            .filter(move |(components, _)| components.contains(&component))
            .map(|(_, checkpoint)| checkpoint)
    }

    /// The one checkpoint of a component.
    fn choose(
        &mut self,
        dir: &Path,
        component: Component,
    ) -> Result<Option<FoundCheckpoint>, LoadError> {
        let alone = self.sound.iter().filter(|(kind, _)| *kind == component);
        let mut found: Vec<&Checkpoint> = alone.map(|(_, checkpoint)| checkpoint).collect();
        if found.is_empty() {
            found.extend(self.combined_with(component));
        }
        match found.as_slice() {
            &[only] => Ok(Some(only.clone().into())),
            [_, ..] => {
                let files = found.iter().map(|checkpoint| {
                    let path = checkpoint.source();
                    let shown = path.strip_prefix(dir).unwrap_or(path);
                    Excerpt::new(&shown.to_string_lossy())
                });
                Err(LoadError::SeveralCandidates {
                    dir: dir.into(),
                    component,
                    files: files.collect(),
                })
            }
            // A damaged file that may be the one says more than that there is none.
            [] => {
                let belongs = |path: &Path| {
                    let shown = path.strip_prefix(dir).unwrap_or(path);
                    let folder = shown.components().next().map(|first| first.as_os_str());
                    path.parent() == Some(dir)
                        || folders_of(component)
                            .iter()
                            .any(|name| folder == Some(name.as_ref()))
                };
                let mut damaged = self.damaged.iter();
                let at = damaged.position(|(path, _)| belongs(path));
                at.map_or(Ok(None), |at| Err(self.damaged.swap_remove(at).1))
            }
        }
    }
}

/// The folders of a ComfyUI tree where a component belongs.
fn folders_of(component: Component) -> &'static [&'static str] {
    match component {
        Component::Transformer => &["diffusion_models", "unet"],
        Component::TextEncoder => &["text_encoders", "clip"],
        Component::Vae => &["vae"],
    }
}
