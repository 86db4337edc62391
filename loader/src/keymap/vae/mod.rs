//! The VAE: diffusers' names (`AutoencoderKLQwenImage`), or those of Wan's own code, which
//! ComfyUI keeps.
//!
//! The correspondence is the inverse of diffusers' `convert_wan_vae_to_diffusers`
//! (`loaders/single_file_utils.py`).

pub(crate) mod video;

use super::{Role, Unused, indexed};

/// The half of the VAE whose names these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Decoder,
    Encoder,
}

/// Wan's names of a residual block's layers, and diffusers'.
const RESIDUAL: [(&str, &str); 5] = [
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
];

/// The facts about the whole file by which Wan's names are read.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Wan numbers the residual blocks and the upsampler of all stages through; this many are in
    /// each stage. `None` if there is no upsampler, so one stage.
    per_stage: Option<usize>,
    half: Half,
}

impl Layout {
    pub(super) fn of<'a>(half: Half, keys: impl Iterator<Item = &'a str>) -> Self {
        let upsampler = |key: &'a str| {
            let (index, rest) = indexed(key.strip_prefix("decoder.upsamples.")?)?;
            (rest.starts_with("resample.") || rest.starts_with("time_conv.")).then_some(index)
        };
        // The upsampler ends its stage, so the first one tells the stages' length; any tensor of it
        // does, so that one may be missing, and be told to be.
        let per_stage = keys.filter_map(upsampler).min().map(|first| first + 1);
        Self { per_stage, half }
    }

    pub(super) fn role(&self, key: &str) -> Option<Role> {
        let starts = |prefixes: [&str; 3]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let in_encoder = starts(["encoder.", "quant_conv.", "conv1."]);
        let in_decoder = starts(["decoder.", "post_quant_conv.", "conv2."]);
        match self.half {
            Half::Decoder if in_encoder => return Some(Role::Unused(Unused::VaeEncoder)),
            Half::Encoder if in_decoder => return Some(Role::Unused(Unused::VaeDecoder)),
            Half::Decoder | Half::Encoder => {}
        }
        let name = match self.half {
            Half::Decoder => self.diffusers_name(key)?,
            Half::Encoder => encoder_name(key)?,
        };
        if is_time_conv(&name) {
            return Some(Role::Unused(Unused::TimeConvolution));
        }
        let known = match self.half {
            Half::Decoder => is_parameter(&name),
            Half::Encoder => is_encoder_parameter(&name),
        };
        known.then_some(Role::Parameter(name))
    }

    /// A decoder's key in diffusers' names; those of diffusers are returned unchanged.
    fn diffusers_name(&self, key: &str) -> Option<String> {
        if let Some(rest) = key.strip_prefix("conv2.") {
            return Some(format!("post_quant_conv.{rest}"));
        }
        let Some(key) = key.strip_prefix("decoder.") else {
            return Some(key.to_owned());
        };
        let name = if let Some(name) = ends_and_middle(key) {
            name?
        } else if let Some(rest) = key.strip_prefix("upsamples.") {
            let (index, layer) = indexed(rest)?;
            let per_stage = self.per_stage.unwrap_or(usize::MAX);
            let (stage, index) = (index / per_stage, index % per_stage);
            if index + 1 == per_stage {
                format!("up_blocks.{stage}.upsamplers.0.{layer}")
            } else {
                format!(
                    "up_blocks.{stage}.resnets.{index}.{}",
                    residual_name(layer)?
                )
            }
        } else {
            key.to_owned()
        };
        Some(format!("decoder.{name}"))
    }
}

/// An encoder's key in diffusers' names; those of diffusers are returned unchanged.
fn encoder_name(key: &str) -> Option<String> {
    if let Some(rest) = key.strip_prefix("conv1.") {
        return Some(format!("quant_conv.{rest}"));
    }
    let Some(key) = key.strip_prefix("encoder.") else {
        return Some(key.to_owned());
    };
    let name = if let Some(name) = ends_and_middle(key) {
        name?
    } else if let Some(rest) = key.strip_prefix("downsamples.") {
        let (index, layer) = indexed(rest)?;
        let layer = residual_name(layer).unwrap_or_else(|| layer.to_owned());
        format!("down_blocks.{index}.{layer}")
    } else {
        key.to_owned()
    };
    Some(format!("encoder.{name}"))
}

/// Wan's names that encoder and decoder have in common, in diffusers': the first and last
/// convolutions and the blocks of the smallest resolution. `None` if it is none of them,
/// `Some(None)` if it would be one but for its end.
fn ends_and_middle(key: &str) -> Option<Option<String>> {
    let ends = [
        ("conv1.", "conv_in"),
        ("head.0.", "norm_out"),
        ("head.2.", "conv_out"),
    ];
    let end = ends.iter().find_map(|(wan, diffusers)| {
        let rest = key.strip_prefix(wan)?;
        Some(format!("{diffusers}.{rest}"))
    });
    if end.is_some() {
        return Some(end);
    }
    let middle = indexed(key.strip_prefix("middle.")?);
    Some(middle.and_then(|(block, layer)| match block {
        0 => Some(format!("mid_block.resnets.0.{}", residual_name(layer)?)),
        1 => Some(format!("mid_block.attentions.0.{layer}")),
        2 => Some(format!("mid_block.resnets.1.{}", residual_name(layer)?)),
        _ => None,
    }))
}

/// `residual.2.weight` as `conv1.weight`.
fn residual_name(layer: &str) -> Option<String> {
    RESIDUAL.iter().find_map(|(wan, diffusers)| {
        let rest = layer.strip_prefix(wan)?.strip_prefix('.')?;
        Some(format!("{diffusers}.{rest}"))
    })
}

fn is_time_conv(name: &str) -> bool {
    let layer = name.strip_suffix(".weight").or(name.strip_suffix(".bias"));
    layer.is_some_and(|layer| {
        let up = layer.starts_with("decoder.up_blocks.");
        up && layer.ends_with(".upsamplers.0.time_conv")
            || layer.starts_with("encoder.down_blocks.") && layer.ends_with(".time_conv")
    })
}

/// Tells whether a diffusers name is of a parameter that decoding needs.
fn is_parameter(name: &str) -> bool {
    let convolution = |rest: &str| matches!(rest, "weight" | "bias");
    let Some(name) = name.strip_prefix("decoder.") else {
        return name
            .strip_prefix("post_quant_conv.")
            .is_some_and(convolution);
    };
    let (head, rest) = name.split_once('.').unwrap_or((name, ""));
    match head {
        "up_blocks" => indexed(rest).is_some_and(|(_, rest)| {
            in_list(rest, "resnets", is_resnet) || in_list(rest, "upsamplers", is_resampler)
        }),
        _ => is_end_or_middle(head, rest),
    }
}

/// Tells whether a diffusers name is of a parameter that encoding needs.
fn is_encoder_parameter(name: &str) -> bool {
    let Some(name) = name.strip_prefix("encoder.") else {
        let rest = name.strip_prefix("quant_conv.");
        return rest.is_some_and(|rest| matches!(rest, "weight" | "bias"));
    };
    let (head, rest) = name.split_once('.').unwrap_or((name, ""));
    match head {
        "down_blocks" => {
            indexed(rest).is_some_and(|(_, rest)| is_resnet(rest) || is_resampler(rest))
        }
        _ => is_end_or_middle(head, rest),
    }
}

/// Tells whether `head.rest` is one of the layers that encoder and decoder have in common.
fn is_end_or_middle(head: &str, rest: &str) -> bool {
    match head {
        "conv_in" | "conv_out" => matches!(rest, "weight" | "bias"),
        "norm_out" => rest == "gamma",
        "mid_block" => {
            in_list(rest, "resnets", is_resnet) || in_list(rest, "attentions", is_attention)
        }
        _ => false,
    }
}

/// Tells whether `key` is `list.N.` and then something that `item` accepts.
fn in_list(key: &str, list: &str, item: fn(&str) -> bool) -> bool {
    let rest = key
        .strip_prefix(list)
        .and_then(|rest| rest.strip_prefix('.'));
    rest.and_then(indexed).is_some_and(|(_, key)| item(key))
}

fn is_resnet(key: &str) -> bool {
    match key.split_once('.') {
        Some(("norm1" | "norm2", rest)) => rest == "gamma",
        Some(("conv1" | "conv2" | "conv_shortcut", rest)) => matches!(rest, "weight" | "bias"),
        _ => false,
    }
}

fn is_attention(key: &str) -> bool {
    match key.split_once('.') {
        Some(("norm", rest)) => rest == "gamma",
        Some(("to_qkv" | "proj", rest)) => matches!(rest, "weight" | "bias"),
        _ => false,
    }
}

fn is_resampler(key: &str) -> bool {
    matches!(key, "resample.1.weight" | "resample.1.bias")
}
