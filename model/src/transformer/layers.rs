//! The transformer's linear layers by the names that they have in checkpoints.

use burn::tensor::backend::Backend;

use super::{BlockModulation, FeedForward, JointAttention, Transformer, TransformerBlock};
use crate::linear::Linear;

impl<B: Backend> Transformer<B> {
    /// The linear layer of a name such as `transformer_blocks.0.attn.to_q`: diffusers' name of
    /// its weight, without `.weight`.
    pub fn layer_mut(&mut self, name: &str) -> Option<&mut Linear<B>> {
        if let Some(name) = name.strip_prefix("transformer_blocks.") {
            let (index, name) = name.split_once('.')?;
            let index = index.parse::<usize>().ok()?;
            let modulation = self.block_modulations.get_mut(index);
            if let Some(layer) = modulation.and_then(|layers| layers.layer_mut(name)) {
                return Some(layer);
            }
            return self.transformer_blocks.get_mut(index)?.layer_mut(name);
        }
        let time = &mut self.time_text_embed.timestep_embedder;
        Some(match name {
            "img_in" => &mut self.img_in,
            "txt_in" => &mut self.txt_in,
            "time_text_embed.timestep_embedder.linear_1" => &mut time.linear_1,
            "time_text_embed.timestep_embedder.linear_2" => &mut time.linear_2,
            "norm_out.linear" => &mut self.norm_out.linear,
            "proj_out" => &mut self.proj_out,
            _ => return None,
        })
    }
}

impl<B: Backend> BlockModulation<B> {
    /// The linear layer of a name within the block, such as `img_mod.1`.
    pub fn layer_mut(&mut self, name: &str) -> Option<&mut Linear<B>> {
        Some(match name {
            "img_mod.1" => &mut self.img_mod,
            "txt_mod.1" => &mut self.txt_mod,
            _ => return None,
        })
    }
}

impl<B: Backend> TransformerBlock<B> {
    /// The linear layer of a name within the block, such as `attn.to_q`.
    pub fn layer_mut(&mut self, name: &str) -> Option<&mut Linear<B>> {
        let (part, name) = name.split_once('.')?;
        match part {
            "attn" => self.attn.layer_mut(name),
            "img_mlp" => self.img_mlp.layer_mut(name),
            "txt_mlp" => self.txt_mlp.layer_mut(name),
            _ => None,
        }
    }
}

impl<B: Backend> JointAttention<B> {
    fn layer_mut(&mut self, name: &str) -> Option<&mut Linear<B>> {
        Some(match name {
            "to_q" => &mut self.to_q,
            "to_k" => &mut self.to_k,
            "to_v" => &mut self.to_v,
            "to_out.0" => &mut self.to_out,
            "add_q_proj" => &mut self.add_q_proj,
            "add_k_proj" => &mut self.add_k_proj,
            "add_v_proj" => &mut self.add_v_proj,
            "to_add_out" => &mut self.to_add_out,
            _ => return None,
        })
    }
}

impl<B: Backend> FeedForward<B> {
    fn layer_mut(&mut self, name: &str) -> Option<&mut Linear<B>> {
        Some(match name {
            "net.0.proj" => &mut self.net_0_proj,
            "net.2" => &mut self.net_2,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use backends::WeightFormat;
    use burn_flex::Flex;

    use super::*;
    use crate::builder::Builder;
    use crate::config::TransformerConfig;

    #[test]
    fn every_linear_layer_is_found_by_its_own_name() {
        let config = TransformerConfig {
            num_layers: 2,
            num_attention_heads: 1,
            ..TransformerConfig::published()
        };
        // The builder asks for the format of each layer's weight, once, by its name.
        let names = RefCell::new(Vec::new());
        let formats = |name: &str| {
            names.borrow_mut().push(name.to_owned());
            WeightFormat::Dense
        };
        let device = Default::default();
        let mut transformer =
            Transformer::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
        let names = names.take();
        assert_eq!(names.len(), 2 * 14 + 6);
        let mut seen = Vec::new();
        for name in names {
            let layer = name.strip_suffix(".weight").expect("a weight");
            let found = transformer.layer_mut(layer);
            seen.push(std::ptr::from_mut(
                found.unwrap_or_else(|| panic!("{name}")),
            ));
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "two names for one layer");
    }

    #[test]
    fn other_names_are_none() {
        let config = TransformerConfig {
            num_layers: 1,
            num_attention_heads: 1,
            ..TransformerConfig::published()
        };
        let formats = |_: &str| WeightFormat::Dense;
        let device = Default::default();
        let mut transformer =
            Transformer::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
        for name in [
            "transformer_blocks.1.attn.to_q",
            "transformer_blocks.0.attn.norm_q",
            "transformer_blocks.x.attn.to_q",
            "transformer_blocks.0.attn",
            "transformer_blocks.0",
            "txt_norm",
            "",
        ] {
            assert!(transformer.layer_mut(name).is_none(), "{name}");
        }
    }
}
