//! The blocks of a model, whose weights can be streamed.

use std::collections::BTreeMap;

use backends::WeightFormat;
use loader::{Component, Weights, group_bytes};

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
    /// The weights that only modulations are computed with.
    pub modulations: ModulationWeights,
}

/// Bytes of the weights that only modulations are computed with. They come in once before the
/// first step, block after block, and never stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModulationWeights {
    /// Those in FP8.
    pub fp8: u64,
    /// The others.
    pub dense: u64,
    /// A slot that holds those of any block.
    pub slot: u64,
}

impl ModulationWeights {
    /// Adds up all of them.
    pub fn total(self) -> u64 {
        self.fp8 + self.dense
    }

    fn of(weights: &Weights) -> Self {
        let component = weights.component();
        let groups = group_bytes(weights, &|name| modulated_block(component, name));
        let total: u64 = groups.values().map(|group| group.bytes).sum();
        let fp8 = weights.names().filter(|name| {
            let packed = weights.format(name) != WeightFormat::Dense;
            packed && modulated_block(component, name).is_some()
        });
        let fp8 = fp8.map(|name| elements(weights, name)).sum();
        Self {
            fp8,
            dense: total - fp8,
            slot: groups.values().map(|group| group.slot).max().unwrap_or(0),
        }
    }

    fn as_fp8(weights: &Weights) -> Self {
        let component = weights.component();
        let mut blocks = BTreeMap::new();
        for name in weights.names() {
            if let Some(block) = modulated_block(component, name) {
                *blocks.entry(block).or_insert(0) += elements(weights, name);
            }
        }
        Self {
            fp8: blocks.values().sum(),
            dense: 0,
            slot: blocks.values().copied().max().unwrap_or(0),
        }
    }
}

fn elements(weights: &Weights, name: &str) -> u64 {
    let shape = weights.shape(name).unwrap_or_default();
    shape.iter().product::<usize>() as u64
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
            modulations: ModulationWeights::of(weights),
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
                *bytes += elements(weights, name);
            }
        }
        blocks.slot = blocks.bytes.iter().copied().max().unwrap_or(0);
        blocks.modulations = ModulationWeights::as_fp8(weights);
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
    let (block, rest) = in_block(component, name)?;
    let matrix = rest.ends_with(".weight") && !is_modulation(component, rest);
    matrix.then_some(block)
}

/// Returns the block, counted from 0, whose modulations are computed with the parameter with a
/// canonical name; `None` for any other parameter.
pub fn modulated_block(component: Component, name: &str) -> Option<usize> {
    let (block, rest) = in_block(component, name)?;
    is_modulation(component, rest).then_some(block)
}

fn is_modulation(component: Component, name_in_block: &str) -> bool {
    component == Component::Transformer && MODULATIONS.contains(&name_in_block)
}

/// The block of a parameter, and the parameter's name in it.
fn in_block(component: Component, name: &str) -> Option<(usize, &str)> {
    let prefix = match component {
        Component::Transformer => "transformer_blocks.",
        Component::TextEncoder => "model.layers.",
        Component::Vae => return None,
    };
    let (number, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((number.parse().ok()?, rest))
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
        let name = "transformer_blocks.3.txt_mod.1.weight";
        assert_eq!(modulated(name), Some(3));
        assert_eq!(modulated("transformer_blocks.3.txt_mod.1.bias"), None);
        assert_eq!(modulated("transformer_blocks.3.attn.to_q.weight"), None);
        let encoder = |name| block_of(Component::TextEncoder, name);
        assert_eq!(encoder("model.layers.27.mlp.up_proj.weight"), Some(27));
        assert_eq!(encoder("model.embed_tokens.weight"), None);
        assert_eq!(block_of(Component::Vae, "decoder.mid.0.weight"), None);
    }
}
