//! Timesteps become modulations, for as many images at once as may be in memory together.

use std::sync::Mutex;

use backends::ModelBackend;
use burn::tensor::{DType, Tensor};
use loader::{Component, StreamOptions, WeightStream};
use model::transformer::{Modulations, table_rows};
use model::{Resident, Transformer, pipeline};

use super::Session;
use super::blocks::Blocks;
use super::load::Loaded;
use super::run::Run;
use super::to_host::{Interruptible, to_host_data};
use crate::error::Error;
use crate::modulation_cache::{Modulated, ModulationCache};
use crate::plan::modulated_block;

/// Sees that a table has the timesteps of an image counted from 0. What it lacks comes from earlier
/// runs, or else is computed, together with what the images after it need.
///
/// # Errors
/// The errors of computing; [`Error::Interrupted`].
pub(super) fn ensure<B: ModelBackend>(
    run: &Run<'_>,
    transformer: &Loaded<B, Transformer<B>>,
    table: &mut Modulations<B>,
    index: usize,
    device: &B::Device,
) -> Result<(), Error> {
    let wanted = run.job.images()[index].settled.timesteps();
    if lacking(table, wanted).is_empty() {
        return Ok(());
    }
    let wanted = run.job.timesteps_from(index);
    let mut lacking = lacking(table, wanted.clone());
    // The plan has room for so many rows. A group of them may have one timestep alone.
    let room = table_rows(run.job.most_timesteps());
    if table.rows() + table_rows(lacking.len()) > room {
        *table = Modulations::default();
        lacking = wanted;
    }
    let cache = run.session.modulation_cache();
    let dtype = DType::from(run.setting.dtype);
    let blocks = transformer.module.transformer_blocks.len();
    let mut unknown = Vec::new();
    for timestep in lacking {
        if run.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let kept = cache.as_ref().and_then(|cache| cache.get(timestep));
        let kept = kept.and_then(|kept| {
            let vector = Tensor::from_data(kept, (device, dtype));
            Modulations::from_vector(timestep, blocks, vector)
        });
        match kept {
            Some(kept) => table.append(kept),
            None => unknown.push(timestep),
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let computed = compute(run, transformer, &unknown, device)?;
    if let Some(cache) = cache {
        keep(run, &computed, &unknown, &cache)?;
    }
    table.append(computed);
    Ok(())
}

fn lacking<B: ModelBackend>(table: &Modulations<B>, mut timesteps: Vec<f32>) -> Vec<f32> {
    timesteps.retain(|timestep| table.find(*timestep).is_none());
    timesteps
}

fn compute<B: ModelBackend>(
    run: &Run<'_>,
    transformer: &Loaded<B, Transformer<B>>,
    timesteps: &[f32],
    device: &B::Device,
) -> Result<Modulations<B>, Error> {
    let module = &transformer.module;
    let layers = module.block_modulations.as_slice();
    let (dtype, cancel) = (run.setting.dtype, run.cancel);
    let seen = Interruptible(cancel);
    let computed = if transformer.planned.read_once_bytes == 0 {
        B::with_exact_allocations(device, || {
            let mut layers = Resident(layers);
            pipeline::modulations(module, &mut layers, timesteps, dtype, device, &seen)
        })?
    } else {
        let weights = &run.session.models.transformer.weights;
        let group_of = |name: &str| modulated_block(Component::Transformer, name);
        let options = StreamOptions {
            endless: false,
            ..StreamOptions::default()
        };
        let stream =
            WeightStream::open(weights, &transformer.deferred, &group_of, options, device)?;
        let stream = Mutex::new(stream);
        let computed = B::with_exact_allocations(device, || {
            let mut layers = Blocks::new(layers, Some(&stream), cancel, None);
            pipeline::modulations(module, &mut layers, timesteps, dtype, device, &seen)
        });
        drop(stream);
        // The slots' memory is what the denoising works in.
        B::release_unused(device);
        computed?
    };
    transformer.check_files()?;
    Ok(computed)
}

/// Keeps what was computed for later runs.
///
/// # Errors
/// The device fails.
fn keep<B: ModelBackend>(
    run: &Run<'_>,
    computed: &Modulations<B>,
    timesteps: &[f32],
    cache: &ModulationCache,
) -> Result<(), Error> {
    for &timestep in timesteps {
        if run.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        if let Some(found) = computed.find(timestep) {
            let values = to_host_data(run, found.to_vector())?;
            cache.put(timestep, &values);
        }
    }
    Ok(())
}

impl Session {
    /// The modulations that earlier runs have left, if they are kept.
    fn modulation_cache(&self) -> Option<ModulationCache> {
        let folder = self.kept.modulations.as_deref()?;
        let models = &self.models;
        let numerics = self.setting.numerics(self.setting.place);
        let modulated = Modulated {
            config: &models.transformer.config,
            weights: &models.transformer.weights,
            adapters: &models.adapters,
            dtype: self.setting.dtype.into(),
            numerics: &format!(
                "{numerics:?} {:?} {:?}",
                self.setting.weights, self.setting.arithmetic
            ),
        };
        ModulationCache::open(folder, modulated, &self.device?)
    }
}
