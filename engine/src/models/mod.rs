//! Finds the model files, and settles from their headers alone what will be loaded.

pub mod adapters;
mod defaults;
pub mod demo;
mod load;
mod scheduler;
pub mod survey;
mod tokenizer;

use std::path::{Path, PathBuf};

use loader::{Adapters, Checkpoint, Component, FoundCheckpoint, ModelFiles, Weights};
use model::{ConfigError, TextEncoderConfig, Tokenizer, TransformerConfig, VaeConfig};
use serde_json::Value;

use crate::error::Error;
use crate::events::Note;
use crate::record::UsedLora;
use crate::request::ModelSources;
use demo::Unpacked;
pub use scheduler::Scheduler;

/// One model of the pipeline: its file, validated, and its sizes.
#[derive(Debug)]
pub struct Part<C> {
    /// The checkpoint.
    pub weights: Weights,
    /// The sizes of its layers.
    pub config: C,
}

/// The models of a session: found and checked, none of them loaded.
#[derive(Debug)]
pub struct Models {
    /// Qwen2.5-VL's language model.
    pub text_encoder: Part<TextEncoderConfig>,
    /// The diffusion transformer.
    pub transformer: Part<TransformerConfig>,
    /// The VAE; its weights are those of the decoder.
    pub vae: Part<VaeConfig>,
    /// The weights of the VAE's encoder, where they are needed.
    pub vae_encoder: Option<Weights>,
    /// The LoRAs beside the transformer's weights.
    pub adapters: Adapters,
    /// The LoRAs as recipes have them.
    pub used_loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, if there is one among them.
    pub lightning: Option<usize>,
    /// The solver and the noise levels where nobody asks for others.
    pub scheduler: Scheduler,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The tokenizer's file, or the folder of its files.
    tokenizer_source: PathBuf,
    /// Notes on the files.
    pub notes: Vec<Note>,
    /// The demo model's files, if it is the one; they are removed with this value.
    demo: Option<Unpacked>,
}

impl Models {
    /// Finds and opens all parts and checks that they fit each other.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another model.
    pub fn open(sources: &ModelSources) -> Result<Self, Error> {
        Self::open_if(sources, |_| Ok(()))
    }

    /// Opens all parts as [`Self::open`] does. `accept` is asked about the transformer's name before
    /// LoRAs are looked for, which may be another model's.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another model; the error of `accept`.
    pub fn open_if(
        sources: &ModelSources,
        accept: impl FnOnce(&str) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let (sources, checkpoint) = &with_checkpoint(sources)?;
        let demo = sources.is_demo().then(demo::unpack).transpose()?;
        let demo_folder = demo.as_ref().map(Unpacked::path);
        let found = match sources.models.as_deref().or(demo_folder) {
            Some(dir) => ModelFiles::discover_except(dir, &given(sources))?,
            None => ModelFiles::default(),
        };
        let find = |component, flag: &Option<PathBuf>, found: Option<FoundCheckpoint>| {
            let given = flag.as_ref().map(|path| match checkpoint {
                Some(open) if open.source() == path => open.clone().into(),
                _ => path.clone().into(),
            });
            given.or(found).ok_or_else(|| not_found(component, sources))
        };
        let transformer = find(
            Component::Transformer,
            &sources.transformer,
            found.transformer,
        )?;
        let text_encoder = find(
            Component::TextEncoder,
            &sources.text_encoder,
            found.text_encoder,
        )?;
        let vae = find(Component::Vae, &sources.vae, found.vae)?;
        let tokenizer = tokenizer::find(sources, found.tokenizer, text_encoder.path())?;
        let transformer =
            transformer_part(Weights::of(transformer.open()?, Component::Transformer)?)?;
        accept(&name(&transformer.weights))?;
        let lightning = sources.loras.lightning;
        let mut notes = Vec::new();
        let adapters = adapters::open(sources, &transformer.weights, &mut notes)?;
        let mut models = Self {
            used_loras: adapters::used(&adapters)?,
            adapters,
            transformer,
            lightning,
            text_encoder: text_encoder_part(Weights::of(
                text_encoder.open()?,
                Component::TextEncoder,
            )?)?,
            vae: vae_part(Weights::of(vae.open()?, Component::Vae)?)?,
            vae_encoder: None,
            scheduler: match lightning {
                Some(_) => Scheduler::lightning(),
                None => Scheduler::open(found.scheduler.as_deref(), &mut notes)?,
            },
            tokenizer: Tokenizer::open(&tokenizer)?,
            tokenizer_source: tokenizer,
            notes: Vec::new(),
            demo,
        };
        models.check_fit()?;
        notes.extend(models.smaller_than_published().map(Note::File));
        models.notes = notes;
        let source = &models.tokenizer_source;
        tokenizer::check_fit(&models.tokenizer, source, &models.text_encoder)?;
        Ok(models)
    }

    /// The temporary folder of the demo model's files, if it is the one that is used.
    pub fn demo_folder(&self) -> Option<&Path> {
        self.demo.as_ref().map(Unpacked::path)
    }

    /// Finds the VAE's encoder too, which only a run that begins with an image needs.
    ///
    /// # Errors
    /// The VAE has none.
    pub fn open_vae_encoder(&mut self) -> Result<(), Error> {
        self.vae_encoder = Some(self.vae.weights.vae_encoder()?);
        Ok(())
    }

    /// The files and folders that all this is read from.
    pub fn sources(&self) -> impl Iterator<Item = &Path> {
        let weights = [
            &self.transformer.weights,
            &self.text_encoder.weights,
            &self.vae.weights,
        ];
        let loras = self.adapters.loras().iter().map(|(lora, _)| lora.source());
        let tokenizer = self.tokenizer_source.as_path();
        weights
            .map(Weights::source)
            .into_iter()
            .chain([tokenizer])
            .chain(loras)
    }

    /// A note on each model that has fewer layers than the published one of its width, as its config
    /// says.
    fn smaller_than_published(&self) -> impl Iterator<Item = String> {
        let transformer = &self.transformer.config;
        let encoder = &self.text_encoder.config;
        let models = [
            (
                &self.transformer.weights,
                "blocks",
                transformer.num_layers,
                transformer.published_layers(),
            ),
            (
                &self.text_encoder.weights,
                "layers",
                encoder.num_hidden_layers,
                encoder.published_layers(),
            ),
        ];
        models
            .into_iter()
            .filter_map(|(weights, what, found, published)| {
                let published = published.filter(|published| found < *published)?;
                Some(format!(
                    "{}: has {found} {what}, as its config says, of the {published} that the \
                     published {} of its width has",
                    weights.source().display(),
                    weights.component()
                ))
            })
    }

    /// Checks that each model takes what the one before it gives.
    fn check_fit(&self) -> Result<(), Error> {
        let transformer = &self.transformer.config;
        let mismatch = |other: &Path, what: &str, gives: usize, takes: usize| {
            Error::ModelFile(format!(
                "{}: the {what} of {gives} channels is not for the transformer {}, which takes \
                 {takes}",
                other.display(),
                self.transformer.weights.source().display()
            ))
        };
        let (gives, takes) = (
            self.text_encoder.config.hidden_size,
            transformer.joint_attention_dim,
        );
        if gives != takes {
            let source = self.text_encoder.weights.source();
            return Err(mismatch(source, "text encoder", gives, takes));
        }
        let (gives, takes) = (self.vae.config.z_dim, transformer.out_channels);
        if gives != takes {
            return Err(mismatch(self.vae.weights.source(), "VAE", gives, takes));
        }
        Ok(())
    }
}

/// A model's name for metadata: its file's without the extension.
pub fn name(weights: &Weights) -> String {
    let source = weights.source();
    let stem = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    // The parts of diffusers' folders are called the same in all of them.
    match source.file_name().and_then(|name| name.to_str()) {
        Some("transformer" | "text_encoder" | "vae") => {
            source.parent().map(stem).unwrap_or_default()
        }
        _ => stem(source),
    }
}

/// Takes the models that the file of all models holds for those that have no file of their own, and
/// returns that checkpoint too.
fn with_checkpoint(sources: &ModelSources) -> Result<(ModelSources, Option<Checkpoint>), Error> {
    let mut sources = sources.clone();
    let Some(path) = &sources.checkpoint else {
        return Ok((sources, None));
    };
    let checkpoint = Checkpoint::open(path)?;
    let held = loader::components(&checkpoint);
    if held.is_empty() {
        // For what it is, and what to do.
        Weights::open_any(path)?;
    }
    for component in held {
        let own = match component {
            Component::Transformer => &mut sources.transformer,
            Component::TextEncoder => &mut sources.text_encoder,
            Component::Vae => &mut sources.vae,
        };
        own.get_or_insert_with(|| path.clone());
    }
    Ok((sources, Some(checkpoint)))
}

/// The components that have a file of their own: the folder need not hold exactly one of them.
fn given(sources: &ModelSources) -> Vec<Component> {
    [
        (Component::Transformer, &sources.transformer),
        (Component::TextEncoder, &sources.text_encoder),
        (Component::Vae, &sources.vae),
    ]
    .into_iter()
    .filter_map(|(component, flag)| flag.as_ref().map(|_| component))
    .collect()
}

fn not_found(component: Component, sources: &ModelSources) -> Error {
    Error::NoModel {
        component,
        folder: sources.models.clone(),
        file: sources.checkpoint.clone(),
    }
}

/// Looks shapes up for the configs.
fn resolve<C>(
    weights: Weights,
    resolver: impl FnOnce(Option<&Value>, &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<C, ConfigError>,
) -> Result<Part<C>, Error> {
    let shape = |name: &str| weights.shape(name).map(<[usize]>::to_vec);
    let config = resolver(weights.config(), &shape).map_err(Error::config(weights.source()))?;
    Ok(Part { weights, config })
}

/// The transformer with its sizes.
///
/// # Errors
/// [`Error::Config`], as of the other two.
pub fn transformer_part(weights: Weights) -> Result<Part<TransformerConfig>, Error> {
    resolve(weights, |config, shape| {
        TransformerConfig::resolve(config, shape)
    })
}

/// The text encoder with its sizes.
pub fn text_encoder_part(weights: Weights) -> Result<Part<TextEncoderConfig>, Error> {
    resolve(weights, |config, shape| {
        TextEncoderConfig::resolve(config, shape)
    })
}

/// The VAE with its sizes.
pub fn vae_part(weights: Weights) -> Result<Part<VaeConfig>, Error> {
    resolve(weights, |config, shape| VaeConfig::resolve(config, shape))
}
