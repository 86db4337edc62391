//! Which of the models a checkpoint holds, told by keys that only that model has.

use crate::checkpoint::Checkpoint;
use crate::component::Component;
use crate::error::LoadError;
use crate::keymap::LANGUAGE;
use crate::resemblance::unknown;

/// Prefixes that programs put before the transformer's keys, the longest first
/// (ComfyUI: `comfy/model_detection.py`, `unet_prefix_from_state_dict`).
const TRANSFORMER_PREFIXES: [&str; 7] = [
    "model.diffusion_model.",
    "diffusion_model.",
    "model.model.",
    "transformer.",
    "net.",
    "model.",
    "",
];

/// Prefixes that programs put before the VAE's keys.
const VAE_PREFIXES: [&str; 3] = ["vae.", "first_stage_model.", ""];

/// Keys that only this transformer has. A second one of each model tells what a file is that lacks
/// the first.
const TRANSFORMER_KEYS: [&str; 2] = ["txt_norm.weight", "transformer_blocks.0.img_mod.1.weight"];

/// Keys of which two are in every text encoder, after the prefixes of its
/// [language model](LANGUAGE) and of the file.
const TEXT_ENCODER_KEYS: [&str; 2] = [
    "layers.0.self_attn.k_proj.bias",
    "layers.0.self_attn.q_proj.bias",
];

/// Keys of which two are in every VAE: diffusers names, Wan names. Other VAEs have no `gamma`.
const VAE_KEYS: [&str; 4] = [
    "decoder.mid_block.resnets.0.norm1.gamma",
    "decoder.mid_block.resnets.0.norm2.gamma",
    "decoder.middle.0.residual.0.gamma",
    "decoder.middle.0.residual.3.gamma",
];

/// The prefix of a component's keys in a checkpoint, or `None` if it has none of its keys.
pub(crate) fn prefix_in(component: Component, checkpoint: &Checkpoint) -> Option<String> {
    let before = |prefixes: &[&'static str], keys: &[&str]| {
        let has = |prefix: &str| {
            let mut keys = keys.iter();
            keys.any(|key| checkpoint.find(&format!("{prefix}{key}")).is_some())
        };
        let mut prefixes = prefixes.iter();
        prefixes
            .find(|prefix| has(prefix))
            .map(|&prefix| prefix.to_owned())
    };
    match component {
        Component::Transformer => before(&TRANSFORMER_PREFIXES, &TRANSFORMER_KEYS),
        Component::TextEncoder => checkpoint
            .entries()
            .iter()
            .find_map(|entry| before_language_model(&entry.tensor.key)),
        Component::Vae => before(&VAE_PREFIXES, &VAE_KEYS),
    }
}

/// The prefix of a text encoder's names in a file, by one of [its keys](TEXT_ENCODER_KEYS).
fn before_language_model(key: &str) -> Option<String> {
    let mut keys = TEXT_ENCODER_KEYS.iter();
    let before = keys.find_map(|known| key.strip_suffix(known))?;
    let mut language = LANGUAGE.iter();
    language.find_map(|language| {
        let prefix = before.strip_suffix(language)?;
        // Other text encoders beside it, such as CLIP's, have layers of these names further down.
        let parts: Vec<&str> = prefix.split_terminator('.').collect();
        let known = matches!(
            parts.as_slice(),
            [] | ["text_encoder"]
                | ["text_encoders" | "cond_stage_model", _]
                | ["text_encoders" | "cond_stage_model", _, "transformer"]
        );
        known.then(|| prefix.to_owned())
    })
}

/// The components that a checkpoint holds, in the order in which they run, each with what stands
/// before its keys.
pub(crate) fn parts(checkpoint: &Checkpoint) -> Vec<(Component, String)> {
    let all = Component::ALL.into_iter();
    all.filter_map(|component| Some((component, prefix_in(component, checkpoint)?)))
        .collect()
}

/// The components that a checkpoint holds, in the order in which they run: several in a file of
/// all models in one.
pub fn components(checkpoint: &Checkpoint) -> Vec<Component> {
    let parts = parts(checkpoint);
    parts.into_iter().map(|(component, _)| component).collect()
}

/// Finds out which model a checkpoint is, from the keys that only that model has.
///
/// # Errors
/// [`LoadError::UnknownComponent`] if it is none, [`LoadError::SeveralComponents`] if it is more
/// than one.
pub(crate) fn detect(checkpoint: &Checkpoint) -> Result<Component, LoadError> {
    match components(checkpoint).as_slice() {
        [] => Err(unknown(checkpoint)),
        [only] => Ok(*only),
        &[first, second, ..] => Err(LoadError::SeveralComponents {
            file: checkpoint.source().into(),
            first,
            second,
        }),
    }
}
