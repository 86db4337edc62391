//! Names: from a file's keys to canonical names.
//!
//! Canonical names are those of diffusers (transformer, VAE) and of transformers (text encoder).
//! Each key of a file has a [`Role`]; a key without one is an error, so nothing is ignored by
//! accident.

mod text_encoder;
mod transformer;
mod vae;

use std::fmt;

use serde::Serialize;

pub(crate) use text_encoder::LANGUAGE;
pub(crate) use transformer::layer as transformer_layer;
pub(crate) use vae::video;

use crate::component::ModelPart;

/// The use of a key of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A parameter of the module, with its canonical name.
    Parameter(String),
    /// Known, and not needed to make an image from a prompt.
    Unused(Unused),
}

/// Why a tensor is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unused {
    /// The text encoder's image input.
    VisionTower,
    /// The text encoder's next-token output.
    LanguageHead,
    /// A buffer that is computed here (rotary frequencies).
    Buffer,
    /// The VAE's image input.
    VaeEncoder,
    /// The VAE's image output.
    VaeDecoder,
    /// Convolutions over several video frames.
    TimeConvolution,
    /// A tensor without contents that says how a model is to be used.
    Marker,
    /// A scale for 8-bit activations, which are not used.
    ActivationScale,
    /// The format or weight scale of a layer that is itself unused.
    UnusedLayerScale,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VisionTower => "vision tower",
            Self::LanguageHead => "language head",
            Self::Buffer => "computed buffer",
            Self::VaeEncoder => "VAE encoder",
            Self::VaeDecoder => "VAE decoder",
            Self::TimeConvolution => "time convolution",
            Self::Marker => "marker",
            Self::ActivationScale => "activation scale",
            Self::UnusedLayerScale => "scale of an unused layer",
        })
    }
}

/// The names of one part of a model, fitted to one checkpoint.
#[derive(Clone, Debug)]
pub struct KeyMap(Names);

#[derive(Clone, Debug)]
enum Names {
    Transformer,
    TextEncoder,
    Vae(vae::Layout),
}

impl KeyMap {
    /// The map for a part of a model whose checkpoint has these keys (any prefix stripped).
    ///
    /// Only the VAE's Wan names depend on the other keys: they number a stage's layers through.
    pub fn new<'a>(part: ModelPart, keys: impl Iterator<Item = &'a str>) -> Self {
        Self(match part {
            ModelPart::Transformer => Names::Transformer,
            ModelPart::LanguageModel => Names::TextEncoder,
            ModelPart::VaeDecoder => Names::Vae(vae::Layout::of(vae::Half::Decoder, keys)),
            ModelPart::VaeEncoder => Names::Vae(vae::Layout::of(vae::Half::Encoder, keys)),
        })
    }

    /// The role of a key (any prefix stripped), or `None` if it is not known.
    pub fn role(&self, key: &str) -> Option<Role> {
        match &self.0 {
            Names::Transformer => transformer::role(key),
            Names::TextEncoder => text_encoder::role(key),
            Names::Vae(layout) => layout.role(key),
        }
    }
}

/// Splits `3.rest` into the index and `rest`; `None` if it does not begin with an index as a
/// module list writes it.
fn indexed(text: &str) -> Option<(usize, &str)> {
    let (number, rest) = text.split_once('.')?;
    Some((index(number)?, rest))
}

/// An index as a module list writes it.
fn index(text: &str) -> Option<usize> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

/// Tells whether `key` is `layer.weight` or `layer.bias`.
fn is_weight_or_bias(key: &str, layer: &str) -> bool {
    matches!(key.strip_prefix(layer), Some(".weight" | ".bias"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_read_as_lists_write_them() {
        assert_eq!(indexed("12.attn"), Some((12, "attn")));
        assert_eq!(indexed("0.attn"), Some((0, "attn")));
        for bad in [
            "01.attn",
            "+1.attn",
            "-1.attn",
            "x.attn",
            ".attn",
            "1",
            "99999999999999999999.a",
        ] {
            assert_eq!(indexed(bad), None, "{bad}");
        }
    }
}
