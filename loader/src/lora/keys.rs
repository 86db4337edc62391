//! Keys of LoRA files, in all the ways in which programs write them.
//!
//! A key is prefixes, the name of a layer, and what is told of it. Prefixes and the parts' names
//! are those of diffusers and PEFT, kohya's sd-scripts, ComfyUI, DiffSynth, LyCORIS and OneTrainer;
//! any may stand with any other, and prefixes may be doubled. Names are diffusers', with dots, or
//! with underscores in their place.

#[cfg(test)]
mod tests;

use super::error::AdapterMethod;
use super::text_encoder::is_of_text_encoder;
use crate::checkpoint::Checkpoint;
use crate::keymap::transformer_layer;

/// The meaning of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A part of a low-rank product beside a layer.
    Part(Named),
    /// A method that is not a plain low-rank product.
    Unsupported(AdapterMethod),
    /// The text encoder.
    TextEncoder,
    /// Nothing that is known.
    Unknown,
}

/// A part of a low-rank product, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The layer's canonical name.
    pub(super) layer: String,
    /// The layer as the file names it.
    pub(super) path: String,
    /// Which part.
    pub(super) part: Part,
    /// True if the part has PEFT's name, `lora_A` or `lora_B`.
    pub(super) peft: bool,
    /// PEFT's name of the adapter, where the key has one.
    pub(super) adapter: Option<String>,
}

/// A part of a low-rank product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `[rank, in]`, the first factor that an activation meets.
    Down,
    /// `[out, rank]`.
    Up,
    /// A scalar: the product is scaled by it over the rank.
    Alpha,
}

/// The prefix that PEFT puts before every key.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

/// Prefixes that programs put before a layer's name, in any number and order.
const PREFIXES: [&str; 16] = [
    "base_model.",
    "model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "pipe.",
    "pipeline.",
    "dit.",
    "net.",
    "module.",
    "_orig_mod.",
    "lora_unet_",
    "lora_transformer_",
    "lycoris_",
    "diffusion_model_",
    "transformer_",
];

/// The matrices, after a layer's name; `.weight` may follow.
const MATRICES: [(&str, Part); 10] = [
    (".lora_down", Part::Down),
    (".lora_up", Part::Up),
    (".lora_A", Part::Down),
    (".lora_B", Part::Up),
    (".lora.down", Part::Down),
    (".lora.up", Part::Up),
    ("_lora.down", Part::Down),
    ("_lora.up", Part::Up),
    (".lora_linear_layer.down", Part::Down),
    (".lora_linear_layer.up", Part::Up),
];

/// The same of PEFT, which may put the adapter's name behind them.
const PEFT_MATRICES: [&str; 2] = [".lora_A", ".lora_B"];

/// Words that may stand between a layer's name and `.alpha`.
const BEFORE_ALPHA: [&str; 3] = [".lora", "_lora", ".lora_linear_layer"];

/// Words between dots that tell of other methods; those that end in `_` begin the word.
const METHODS: [(&str, AdapterMethod); 10] = [
    ("dora_scale", AdapterMethod::Dora),
    ("lora_magnitude_vector", AdapterMethod::Dora),
    ("hada_", AdapterMethod::Loha),
    ("lokr_", AdapterMethod::Lokr),
    ("oft_", AdapterMethod::Oft),
    ("boft_", AdapterMethod::Oft),
    ("lora_mid", AdapterMethod::Tucker),
    ("diff", AdapterMethod::Difference),
    ("diff_b", AdapterMethod::Difference),
    ("set_weight", AdapterMethod::Difference),
];

impl Key {
    /// The meaning of a tensor's name in a file.
    pub(super) fn parse(key: &str) -> Self {
        let mut inner = key;
        loop {
            if is_of_text_encoder(inner) {
                return Self::TextEncoder;
            }
            match without_prefix(inner) {
                Some(rest) => inner = rest,
                None => break,
            }
        }
        let is_of =
            |word: &str, mark: &str| word == mark || mark.ends_with('_') && word.starts_with(mark);
        let method = METHODS
            .iter()
            .find(|(mark, _)| key.split('.').any(|word| is_of(word, mark)));
        if let Some((_, method)) = method {
            return Self::Unsupported(*method);
        }
        if let Some(matrix) = key.strip_suffix(".bias")
            && matrix_of(matrix).is_some_and(|(path, ..)| layer(path).is_some())
        {
            return Self::Unsupported(AdapterMethod::Bias);
        }
        Self::part(key).map_or(Self::Unknown, Self::Part)
    }

    fn part(key: &str) -> Option<Named> {
        if let Some(path) = key.strip_suffix(".alpha") {
            let inner = BEFORE_ALPHA.iter().find_map(|end| path.strip_suffix(end));
            let path = inner.unwrap_or(path);
            return Some(Named {
                layer: layer(path)?,
                path: path.to_owned(),
                part: Part::Alpha,
                peft: false,
                adapter: None,
            });
        }
        let (path, mark, part, adapter) = matrix_of(key.strip_suffix(".weight").unwrap_or(key))?;
        Some(Named {
            layer: layer(path)?,
            path: path.to_owned(),
            part,
            peft: PEFT_MATRICES.contains(&mark),
            adapter: adapter.map(str::to_owned),
        })
    }

    /// Tells whether a tensor's name is one of a LoRA's, whichever model's.
    pub(super) fn is_of_a_lora(key: &str) -> bool {
        let in_name = ["lora_unet_", "lora_te", "lycoris_"];
        in_name.iter().any(|mark| key.starts_with(mark))
            || matrix_of(key.strip_suffix(".weight").unwrap_or(key)).is_some()
            || matches!(Self::parse(key), Self::Part(_) | Self::Unsupported(_))
    }
}

/// The layer's name before the name of a matrix, that name, what the matrix is, and PEFT's name of
/// the adapter.
fn matrix_of(key: &str) -> Option<(&str, &'static str, Part, Option<&str>)> {
    let mut matrices = MATRICES.iter();
    let plain = matrices.find_map(|(mark, part)| Some((key.strip_suffix(mark)?, *mark, *part)));
    if let Some((path, mark, part)) = plain {
        return Some((path, mark, part, None));
    }
    let (before, adapter) = key.rsplit_once('.')?;
    let mut matrices = MATRICES.iter();
    let (path, mark, part) = matrices.find_map(|(mark, part)| {
        let peft = PEFT_MATRICES.contains(mark);
        Some((before.strip_suffix(mark).filter(|_| peft)?, *mark, *part))
    })?;
    Some((path, mark, part, Some(adapter)))
}

/// The canonical name of the layer that a file's name stands for.
fn layer(path: &str) -> Option<String> {
    // Attention processors of old versions of diffusers had the LoRA's layers.
    let old = path.replace(".attn.processor.", ".attn.");
    let mut name = old.as_str();
    loop {
        let found = transformer_layer(name).or_else(|| {
            let output = name.ends_with(".attn.to_out");
            output.then(|| transformer_layer(&format!("{name}.0")))?
        });
        if found.is_some() {
            return found;
        }
        name = without_prefix(name)?;
    }
}

/// A name without the first of its prefixes.
fn without_prefix(name: &str) -> Option<&str> {
    let mut prefixes = PREFIXES.iter();
    prefixes.find_map(|prefix| name.strip_prefix(prefix))
}

/// Tells whether any key is one of a LoRA, be it another model's.
pub fn looks_like_a_lora(checkpoint: &Checkpoint) -> bool {
    let mut entries = checkpoint.entries().iter();
    entries.any(|entry| Key::is_of_a_lora(&entry.tensor.key))
}
