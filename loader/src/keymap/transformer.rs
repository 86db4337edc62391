//! The transformer: files have diffusers' names (`QwenImageTransformer2DModel`).

use super::{Role, Unused, index, indexed, is_weight_or_bias};

/// Layers with weight and bias outside the blocks.
const LAYERS: [&str; 6] = [
    "time_text_embed.timestep_embedder.linear_1",
    "time_text_embed.timestep_embedder.linear_2",
    "img_in",
    "txt_in",
    "norm_out.linear",
    "proj_out",
];

/// Layers with weight and bias of each block.
const BLOCK_LAYERS: [&str; 14] = [
    "img_mod.1",
    "txt_mod.1",
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
    "img_mlp.net.0.proj",
    "img_mlp.net.2",
    "txt_mlp.net.0.proj",
    "txt_mlp.net.2",
];

/// Norms of each block, without bias.
const BLOCK_NORMS: [&str; 4] = [
    "attn.norm_q.weight",
    "attn.norm_k.weight",
    "attn.norm_added_q.weight",
    "attn.norm_added_k.weight",
];

/// Says of Edit-2511 files that reference images are modulated at time 0; without reference
/// images the model is the same.
const EDIT_MARKER: &str = "__index_timestep_zero__";

pub(super) fn role(key: &str) -> Option<Role> {
    if key == EDIT_MARKER {
        return Some(Role::Unused(Unused::Marker));
    }
    let known = match key.strip_prefix("transformer_blocks.") {
        Some(block) => {
            let (_, key) = indexed(block)?;
            BLOCK_NORMS.contains(&key)
                || BLOCK_LAYERS
                    .iter()
                    .any(|layer| is_weight_or_bias(key, layer))
        }
        None => {
            key == "txt_norm.weight" || LAYERS.iter().any(|layer| is_weight_or_bias(key, layer))
        }
    };
    known.then(|| Role::Parameter(key.to_owned()))
}

/// The name of a linear layer as diffusers has it (`transformer_blocks.0.attn.to_q`), from that
/// name, or from the same with underscores for its dots; `None` if no transformer has such a
/// layer.
pub(crate) fn layer(name: &str) -> Option<String> {
    let spelled = |layers: &[&'static str], name: &str| {
        let mut layers = layers.iter().copied();
        layers.find(|layer| *layer == name || layer.replace('.', "_") == name)
    };
    let Some(block) = name.strip_prefix("transformer_blocks") else {
        return spelled(&LAYERS, name).map(str::to_owned);
    };
    let separator = if block.starts_with('.') { '.' } else { '_' };
    let (number, layer) = block.strip_prefix(separator)?.split_once(separator)?;
    let (number, layer) = (index(number)?, spelled(&BLOCK_LAYERS, layer)?);
    Some(format!("transformer_blocks.{number}.{layer}"))
}
