//! LoRAs with their weights, fitted to a transformer and stacked layer by layer.

use std::collections::BTreeMap;

use burn::tensor::{DType, FloatDType};

use super::error::{LoraError, OtherSize};
use super::{Lora, TargetLayer};
use crate::error::LoadError;
use crate::text::{Excerpt, shown};
use crate::weights::Weights;

/// Ranks are filled up with zeros to a multiple of this, so that a matrix's rows begin where a
/// device's matrix products want them in every dtype.
const RANK_MULTIPLE: usize = 8;

/// Several LoRAs for one transformer. Nothing but headers and alphas has been read.
#[derive(Clone, Debug, Default)]
pub struct Adapters {
    loras: Vec<(Lora, f64)>,
    stacks: BTreeMap<String, Stack>,
}

/// All products beside one layer, as one of the sum of their ranks.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) input: usize,
    pub(super) output: usize,
    /// In the order in which they were named.
    pub(super) parts: Vec<Part>,
}

/// One LoRA's product in a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Which LoRA.
    pub(super) lora: usize,
    pub(super) target: TargetLayer,
    /// The scale by alpha, rank and the LoRA's weight.
    pub(super) scale: f64,
}

impl Stack {
    /// The sum of the ranks, filled up.
    pub(super) fn rank(&self) -> usize {
        let ranks = self.parts.iter().map(|part| part.target.rank);
        ranks.sum::<usize>().next_multiple_of(RANK_MULTIPLE)
    }

    /// Elements of both matrices.
    pub(super) fn elements(&self) -> usize {
        self.rank() * (self.input + self.output)
    }
}

impl Adapters {
    /// Stacks LoRAs, each with the weight that multiplies all of it. A weight of zero leaves a
    /// LoRA out.
    ///
    /// # Errors
    /// [`LoadError::Lora`] for one that has layers which the transformer lacks, or has in another
    /// size.
    pub fn new(loras: Vec<(Lora, f64)>, transformer: &Weights) -> Result<Self, LoadError> {
        let mut stacks: BTreeMap<String, Stack> = BTreeMap::new();
        for (index, (lora, weight)) in loras.iter().enumerate() {
            check_fit(lora, transformer)?;
            if *weight == 0.0 {
                continue;
            }
            for (layer, &target) in &lora.targets {
                let stack = stacks.entry(layer.clone()).or_insert_with(|| Stack {
                    input: target.input,
                    output: target.output,
                    parts: Vec::new(),
                });
                stack.parts.push(Part {
                    lora: index,
                    target,
                    scale: target.scale * weight,
                });
            }
        }
        Ok(Self { loras, stacks })
    }

    /// Tells whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// The LoRAs and their weights, in the order in which they were named.
    pub fn loras(&self) -> &[(Lora, f64)] {
        &self.loras
    }

    /// The layers that are changed, by their canonical names.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.stacks.keys().map(String::as_str)
    }

    /// The largest rank beside any layer, as it is in memory.
    pub fn largest_rank(&self) -> usize {
        self.stacks.values().map(Stack::rank).max().unwrap_or(0)
    }

    /// Elements of all matrices in memory.
    pub fn elements(&self) -> u64 {
        let elements = self.stacks.values().map(Stack::elements);
        elements.map(|elements| elements as u64).sum()
    }

    /// Bytes of all matrices in memory, in the dtype that products are computed in.
    pub fn bytes(&self, dtype: FloatDType) -> u64 {
        self.elements() * DType::from(dtype).size() as u64
    }

    /// How many matrices of the LoRAs' files are read.
    pub fn tensors(&self) -> usize {
        let stacks = self.stacks.values();
        2 * stacks.map(|stack| stack.parts.len()).sum::<usize>()
    }

    /// Bytes of the matrices in the LoRAs' files.
    pub fn file_bytes(&self) -> u64 {
        self.stacks
            .values()
            .map(|stack| self.stack_bytes(stack))
            .sum()
    }

    /// Bytes of the files that one stack is made of.
    pub(super) fn stack_bytes(&self, stack: &Stack) -> u64 {
        let matrices = stack.parts.iter().flat_map(|part| {
            let lora = &self.loras[part.lora].0;
            [part.target.down, part.target.up].map(|index| lora.entry(index))
        });
        matrices.map(|entry| entry.tensor.bytes()).sum()
    }

    pub(super) fn stacks(&self) -> &BTreeMap<String, Stack> {
        &self.stacks
    }
}

/// Tells whether the transformer has every layer of a LoRA, in the same size.
pub(super) fn check_fit(lora: &Lora, transformer: &Weights) -> Result<(), LoadError> {
    let mut missing = Vec::new();
    let mut others = Vec::new();
    for (layer, target) in &lora.targets {
        let found = [target.output, target.input];
        match transformer.shape(&format!("{layer}.weight")) {
            None => missing.push(Excerpt::new(layer)),
            Some(expected) if expected == found => {}
            Some(expected) => others.push(OtherSize {
                layer: Excerpt::new(layer),
                found,
                expected: expected.to_vec(),
            }),
        }
    }
    let transformer = Excerpt::new(&shown(transformer.source()));
    let fault = if !others.is_empty() {
        LoraError::OtherModel {
            transformer,
            layers: others,
        }
    } else if !missing.is_empty() {
        LoraError::NotInModel {
            transformer,
            layers: missing,
        }
    } else {
        return Ok(());
    };
    Err(LoadError::Lora {
        file: lora.source().into(),
        fault: Box::new(fault),
    })
}
