//! The blocks of a model, whose weights can be streamed.

use std::collections::BTreeMap;

use backends::WeightFormat;
use loader::{Component, GroupBytes, Weights, group_bytes};

/// Weights of a transformer's block that depend on the noise level alone, and not on the image.
const MODULATIONS: [&str; 2] = ["img_mod.1.weight", "txt_mod.1.weight"];
/// The text encoder's table of embeddings, of which a prompt needs a few rows.
pub const TABLE: &str = "model.embed_tokens.weight";

/// The bytes of a model's blocks that can be streamed: matrices that go to the device as they lie
/// in their file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    /// The bytes of each block, in the order in which a pass goes through them.
    pub bytes: Vec<u64>,
    /// The bytes of a slot that holds any of them.
    pub slot: u64,
    /// Bytes of a table that is read by rows where blocks are streamed.
    pub table: u64,
    /// The weights that modulate the blocks.
    pub modulations: ModulationBytes,
}

/// The bytes of weights that depend on the timestep alone. Where they are not mapped they are read
/// once, before the first step, and do not stay in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModulationBytes {
    /// Those in FP8.
    pub fp8: u64,
    /// Those in wider floats.
    pub dense: u64,
    /// The bytes of a slot that holds those of any block.
    pub slot: u64,
}

impl ModulationBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.fp8 + self.dense
    }

    fn of(weights: &Weights) -> Self {
        let component = weights.component();
        let is_dense = |name: &str| weights.format(name) == WeightFormat::Dense;
        let groups = group_bytes(weights, &|name| modulated_block(component, name));
        let dense = group_bytes(weights, &|name| {
            modulated_block(component, name).filter(|_| is_dense(name))
        });
        let bytes = |groups: &BTreeMap<usize, GroupBytes>| -> u64 {
            groups.values().map(|group| group.bytes).sum()
        };
        Self {
            fp8: bytes(&groups) - bytes(&dense),
            dense: bytes(&dense),
            slot: groups.values().map(|group| group.slot).max().unwrap_or(0),
        }
    }

    fn as_fp8(self, weights: &Weights) -> Self {
        let component = weights.component();
        let mut blocks = BTreeMap::<usize, u64>::new();
        for name in weights.names() {
            if let Some(block) = modulated_block(component, name) {
                let shape = weights.shape(name).unwrap_or_default();
                *blocks.entry(block).or_default() += shape.iter().product::<usize>() as u64;
            }
        }
        // What is converted when it is loaded cannot be left out, in whatever format it would be.
        match self.total() {
            0 => self,
            _ => Self {
                fp8: blocks.values().sum(),
                dense: 0,
                slot: blocks.values().copied().max().unwrap_or(0),
            },
        }
    }
}

impl Blocks {
    /// Finds the blocks of a model in its header.
    pub(super) fn of(weights: &Weights) -> Self {
        let component = weights.component();
        let groups = group_bytes(weights, &|name| block_of(component, name));
        let count = groups.keys().last().map_or(0, |last| last + 1);
        let of = |block| groups.get(&block).copied().unwrap_or_default();
        let table = group_bytes(weights, &|name| is_table(component, name).then_some(0));
        Self {
            bytes: (0..count).map(|block| of(block).bytes).collect(),
            slot: groups.values().map(|group| group.slot).max().unwrap_or(0),
            table: table.get(&0).map_or(0, |table| table.bytes),
            modulations: ModulationBytes::of(weights),
        }
    }

    /// Finds what the blocks of the same model would be in FP8.
    pub(super) fn as_fp8(weights: &Weights) -> Self {
        let component = weights.component();
        let mut blocks = Self::of(weights);
        blocks.bytes.fill(0);
        for name in weights.names() {
            let block = block_of(component, name);
            if let Some(bytes) = block.and_then(|block| blocks.bytes.get_mut(block)) {
                let shape = weights.shape(name).unwrap_or_default();
                *bytes += shape.iter().product::<usize>() as u64;
            }
        }
        blocks.slot = blocks.bytes.iter().copied().max().unwrap_or(0);
        blocks.modulations = blocks.modulations.as_fp8(weights);
        blocks
    }
}

/// Tells whether a parameter is the table that is read by rows where blocks are streamed.
pub fn is_table(component: Component, name: &str) -> bool {
    component == Component::TextEncoder && name == TABLE
}

/// Returns the block, counted from 0, that streams the parameter with a canonical name, if it is a
/// matrix that can be streamed; `None` for all that stays in memory.
pub(super) fn block_of(component: Component, name: &str) -> Option<usize> {
    let prefix = match component {
        Component::Transformer => "transformer_blocks.",
        Component::TextEncoder => "model.layers.",
        Component::Vae => return None,
    };
    let (number, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    let matrix = rest.ends_with(".weight") && !MODULATIONS.contains(&rest);
    number.parse().ok().filter(|_| matrix)
}

/// Returns the block, counted from 0, that the parameter with a canonical name modulates, if it is a
/// weight that is read once and does not stay.
pub fn modulated_block(component: Component, name: &str) -> Option<usize> {
    let name = match component {
        Component::Transformer => name.strip_prefix("transformer_blocks.")?,
        Component::TextEncoder | Component::Vae => return None,
    };
    let (number, rest) = name.split_once('.')?;
    number.parse().ok().filter(|_| MODULATIONS.contains(&rest))
}

#[cfg(test)]
mod tests {
    use loader::Component;

    use super::{block_of, modulated_block};

    #[test]
    fn the_matrices_of_blocks_are_streamed_and_modulations_are_not() {
        let transformer = |name| block_of(Component::Transformer, name);
        assert_eq!(
            transformer("transformer_blocks.17.attn.to_q.weight"),
            Some(17)
        );
        assert_eq!(
            transformer("transformer_blocks.0.img_mlp.net.2.weight"),
            Some(0)
        );
        assert_eq!(transformer("transformer_blocks.0.attn.to_q.bias"), None);
        assert_eq!(transformer("transformer_blocks.3.img_mod.1.weight"), None);
        assert_eq!(transformer("transformer_blocks.3.txt_mod.1.weight"), None);
        assert_eq!(transformer("img_in.weight"), None);
        let modulated = |name| modulated_block(Component::Transformer, name);
        assert_eq!(modulated("transformer_blocks.3.img_mod.1.weight"), Some(3));
        assert_eq!(
            modulated("transformer_blocks.59.txt_mod.1.weight"),
            Some(59)
        );
        assert_eq!(modulated("transformer_blocks.3.img_mod.1.bias"), None);
        assert_eq!(modulated("transformer_blocks.3.attn.to_q.weight"), None);
        assert_eq!(modulated("norm_out.linear.weight"), None);
        let encoder = |name| block_of(Component::TextEncoder, name);
        assert_eq!(encoder("model.layers.27.mlp.up_proj.weight"), Some(27));
        assert_eq!(encoder("model.embed_tokens.weight"), None);
        assert_eq!(block_of(Component::Vae, "decoder.mid.0.weight"), None);
    }
}
