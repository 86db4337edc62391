//! The VAE: diffusers' names (`AutoencoderKLQwenImage`), or those of Wan's own code, which
//! ComfyUI keeps.
//!
//! The correspondence is the inverse of diffusers' `convert_wan_vae_to_diffusers`
//! (`loaders/single_file_utils.py`).

use super::{Role, Unused, indexed};

/// Module fields whose names in a file are not Rust identifiers.
pub(super) const FIELDS: [(&str, &str); 1] = [("resample_1", "resample.1")];

/// Wan's names of a residual block's layers, and diffusers'.
const RESIDUAL: [(&str, &str); 5] = [
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
];

/// What must be known of the whole file to read Wan's names.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Wan numbers the residual blocks and the upsampler of all stages through; this many are in
    /// each stage. `None` if there is no upsampler, so one stage.
    per_stage: Option<usize>,
}

impl Layout {
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        let upsampler = |key: &'a str| {
            let (index, rest) = indexed(key.strip_prefix("decoder.upsamples.")?)?;
            (rest == "resample.1.weight").then_some(index)
        };
        // The upsampler ends its stage, so the first one tells the stages' length.
        let per_stage = keys.filter_map(upsampler).min().map(|first| first + 1);
        Self { per_stage }
    }

    pub(super) fn role(&self, key: &str) -> Option<Role> {
        let encoder = ["encoder.", "quant_conv.", "conv1."];
        if encoder.iter().any(|prefix| key.starts_with(prefix)) {
            return Some(Role::Unused(Unused::VaeEncoder));
        }
        let name = self.diffusers_name(key)?;
        if is_time_conv(&name) {
            return Some(Role::Unused(Unused::TimeConvolution));
        }
        is_parameter(&name).then_some(Role::Parameter(name))
    }

    /// A key in diffusers' names; those of diffusers are returned unchanged.
    fn diffusers_name(&self, key: &str) -> Option<String> {
        if let Some(rest) = key.strip_prefix("conv2.") {
            return Some(format!("post_quant_conv.{rest}"));
        }
        let Some(key) = key.strip_prefix("decoder.") else {
            return Some(key.to_owned());
        };
        let name = if let Some(rest) = key.strip_prefix("conv1.") {
            format!("conv_in.{rest}")
        } else if let Some(rest) = key.strip_prefix("head.0.") {
            format!("norm_out.{rest}")
        } else if let Some(rest) = key.strip_prefix("head.2.") {
            format!("conv_out.{rest}")
        } else if let Some(rest) = key.strip_prefix("middle.") {
            match indexed(rest)? {
                (0, layer) => format!("mid_block.resnets.0.{}", residual_name(layer)?),
                (1, layer) => format!("mid_block.attentions.0.{layer}"),
                (2, layer) => format!("mid_block.resnets.1.{}", residual_name(layer)?),
                _ => return None,
            }
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
        layer.starts_with("decoder.up_blocks.") && layer.ends_with(".upsamplers.0.time_conv")
    })
}

/// Whether a diffusers name is of a parameter that decoding needs.
fn is_parameter(name: &str) -> bool {
    let convolution = |rest: &str| matches!(rest, "weight" | "bias");
    let Some(name) = name.strip_prefix("decoder.") else {
        return name
            .strip_prefix("post_quant_conv.")
            .is_some_and(convolution);
    };
    let (head, rest) = name.split_once('.').unwrap_or((name, ""));
    match head {
        "conv_in" | "conv_out" => convolution(rest),
        "norm_out" => rest == "gamma",
        "mid_block" => {
            in_list(rest, "resnets", is_resnet) || in_list(rest, "attentions", is_attention)
        }
        "up_blocks" => indexed(rest).is_some_and(|(_, rest)| {
            in_list(rest, "resnets", is_resnet) || in_list(rest, "upsamplers", is_upsampler)
        }),
        _ => false,
    }
}

/// Whether `key` is `list.N.` and then something that `item` accepts.
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

fn is_upsampler(key: &str) -> bool {
    matches!(key, "resample.1.weight" | "resample.1.bias")
}
