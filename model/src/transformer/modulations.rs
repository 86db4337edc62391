//! The modulations of timesteps, which depend on the noise level alone.

use backends::ModelBackend;
use backends::fused::concatenate;
use backends::working_memory::FEW_ROWS;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor, activation};

use super::streams::Streams;
use super::{BlockModulation, Transformer};
use crate::block_source::BlockSource;

/// The number of timesteps whose modulations are computed together: as many rows as go through a
/// layer in little more than the time of one.
pub const TIMESTEPS_AT_ONCE: usize = FEW_ROWS;

/// The most rows of a table of so many timesteps, some of which were computed and others not:
/// timesteps, and what fills the last group up.
pub fn table_rows(timesteps: usize) -> usize {
    match timesteps {
        0 => 0,
        timesteps => timesteps + TIMESTEPS_AT_ONCE - 1,
    }
}

/// A table of timesteps and how the blocks and the output are modulated at each. A third of all
/// weights is read to compute it, for one timestep as for several.
#[derive(Clone, Debug)]
pub struct Modulations<B: Backend> {
    groups: Vec<Group<B>>,
}

/// The modulations of up to [`TIMESTEPS_AT_ONCE`] timesteps.
#[derive(Clone, Debug)]
struct Group<B: Backend> {
    /// The timesteps of the first rows; the rows after them mean nothing.
    timesteps: Vec<f32>,
    /// Those of each block, float `[1, rows, 6 * channels]`.
    blocks: Vec<Streams<Tensor<B, 3>>>,
    /// Those of the output, float `[1, rows, 2 * channels]`.
    output: Tensor<B, 3>,
}

impl<B: Backend> Default for Modulations<B> {
    fn default() -> Self {
        Self { groups: Vec::new() }
    }
}

impl<B: Backend> Modulations<B> {
    /// Finds the modulations of a timestep.
    pub fn find(&self, timestep: f32) -> Option<TimestepModulation<'_, B>> {
        self.groups.iter().find_map(|group| {
            let row = group
                .timesteps
                .iter()
                .position(|&known| known == timestep)?;
            Some(TimestepModulation { group, row })
        })
    }

    /// Adds the timesteps of another table.
    pub fn append(&mut self, other: Self) {
        self.groups.extend(other.groups);
    }

    /// The number of rows that are held, timesteps and what fills their groups up.
    pub fn rows(&self) -> usize {
        let rows = |group: &Group<B>| group.output.dims()[1];
        self.groups.iter().map(rows).sum()
    }

    /// Makes the table of one timestep from what [`TimestepModulation::to_vector`] gave: float
    /// `[elements]`, for a transformer of so many `blocks`; `None` for another number of elements
    /// than such vectors of some width have.
    pub fn from_vector(timestep: f32, blocks: usize, vector: Tensor<B, 1>) -> Option<Self> {
        let [elements] = vector.dims();
        let parts = 2 * 6 * blocks + 2;
        let channels = elements / parts;
        if channels * parts != elements {
            return None;
        }
        let mut start = 0;
        let mut next = |width: usize| {
            let part = vector.clone().narrow(0, start, width);
            start += width;
            part.reshape([1, 1, width])
        };
        let blocks = (0..blocks).map(|_| Streams {
            image: next(6 * channels),
            text: next(6 * channels),
        });
        let group = Group {
            timesteps: vec![timestep],
            blocks: blocks.collect(),
            output: next(2 * channels),
        };
        Some(Self {
            groups: vec![group],
        })
    }
}

/// The modulations of one timestep.
#[derive(Clone, Copy, Debug)]
pub struct TimestepModulation<'a, B: Backend> {
    group: &'a Group<B>,
    row: usize,
}

impl<B: Backend> TimestepModulation<'_, B> {
    /// Returns those of a block, float `[1, 1, 6 * channels]`.
    pub(super) fn block(&self, index: usize) -> Streams<Tensor<B, 3>> {
        let Streams { image, text } = &self.group.blocks[index];
        Streams {
            image: self.row_of(image),
            text: self.row_of(text),
        }
    }

    /// Returns those of the output, float `[1, 1, 2 * channels]`.
    pub(super) fn output(&self) -> Tensor<B, 3> {
        self.row_of(&self.group.output)
    }

    fn row_of(&self, rows: &Tensor<B, 3>) -> Tensor<B, 3> {
        rows.clone().narrow(1, self.row, 1)
    }
}

impl<B: ModelBackend> TimestepModulation<'_, B> {
    /// All of them in one vector, float `[elements]`: block after block the image's and the text's,
    /// then the output's.
    pub fn to_vector(&self) -> Tensor<B, 1> {
        let blocks = self.group.blocks.iter();
        let parts = blocks.flat_map(|Streams { image, text }| [image, text]);
        let parts = parts.chain([&self.group.output]);
        concatenate(parts.map(|rows| self.row_of(rows)).collect(), 2).flatten(0, 2)
    }
}

impl<B: ModelBackend> Transformer<B> {
    /// Computes the modulations of `timesteps`, each from 0 to 1.
    ///
    /// A timestep's modulations are the same to the bit whatever else is in the table: they are
    /// computed in groups of exactly [`TIMESTEPS_AT_ONCE`] rows, since the number of rows decides
    /// which kernel multiplies and in which order it adds. The last group is filled up.
    ///
    /// * `dtype`: the dtype in which the blocks compute.
    /// * `layers`: lends the layers of each block once, in order.
    ///
    /// `cancelled` is asked before each block; once it says so, there is no result.
    ///
    /// # Errors
    /// The source could not lend a block's layers.
    pub fn modulations<S: BlockSource<BlockModulation<B>>>(
        &self,
        timesteps: &[f32],
        dtype: FloatDType,
        device: &B::Device,
        layers: &mut S,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Modulations<B>>, S::Error> {
        let groups = timesteps.chunks(TIMESTEPS_AT_ONCE);
        let mut groups: Vec<(Tensor<B, 3>, Group<B>)> = groups
            .map(|timesteps| {
                let mut rows = timesteps.to_vec();
                rows.resize(TIMESTEPS_AT_ONCE, timesteps[timesteps.len() - 1]);
                let temb = self.time_text_embed.forward(&rows, device);
                // Every modulation starts with this activation of the same vectors.
                let temb = activation::silu(temb).cast(dtype);
                let group = Group {
                    timesteps: timesteps.to_vec(),
                    blocks: Vec::with_capacity(layers.count()),
                    output: self.norm_out.linear.forward(temb.clone()),
                };
                (temb, group)
            })
            .collect();
        if groups.is_empty() {
            return Ok(Some(Modulations::default()));
        }
        for index in 0..layers.count() {
            if cancelled() {
                return Ok(None);
            }
            layers.with_block(index, |layers| {
                for (temb, group) in &mut groups {
                    group.blocks.push(layers.forward(temb.clone()));
                }
            })?;
        }
        let groups = groups.into_iter().map(|(_, group)| group).collect();
        Ok(Some(Modulations { groups }))
    }
}
