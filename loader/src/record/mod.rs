//! Fills a Burn module from a checkpoint: a record loader of our own.
//!
//! The module is visited first, so that anything missing, left over or misshapen is found before
//! a byte is read. Then the tensors are read in the order of the file, and last the module is
//! mapped and takes them. Nothing is initialised only to be replaced.
//!
//! What becomes of a tensor depends on the parameter that asks for it:
//! * [`Weight::Fp8`](backends::weight::Weight): the codes unchanged as U8, the scale as f32 `[1]`;
//! * [`Weight::Dense`](backends::weight::Weight): BF16, F16 or F32 as in the file;
//! * any other float parameter: f32.
//!
//! On a backend in host memory, codes and dense weights are the mapping of the file itself, if its
//! alignment allows; on others they are read into memory of ours and uploaded.

mod misfit;
mod schedule;
mod transfer;

use std::collections::HashMap;
use std::time::Instant;

use backends::host_memory::{PeakSampler, host_memory};
use backends::storage::{DeviceMemory, ModelBackend};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorPrimitive};

pub use misfit::{Misfit, Misshapen};

use crate::error::LoadError;
use crate::report::LoadReport;
use crate::weights::Weights;
use transfer::{Loaded, Transfer};

/// Is told how far loading is, and may stop it. `()` does neither.
pub trait LoadObserver {
    /// `bytes_done` of `bytes_total` bytes of the checkpoint are in place.
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        let _ = (bytes_done, bytes_total);
    }

    /// Whether to stop with [`LoadError::Cancelled`]. Asked after at most 16 MiB.
    fn cancelled(&self) -> bool {
        false
    }
}

impl LoadObserver for () {}

/// Checks that [`load`] would find every parameter of a module in a checkpoint, and no tensor
/// left over. Reads nothing and fills nothing.
///
/// # Errors
/// [`LoadError::Misfit`].
pub fn check<B: Backend, M: Module<B>>(module: &M, weights: &Weights) -> Result<(), LoadError> {
    planned(module, weights).map(drop)
}

fn planned<B: Backend, M: Module<B>>(
    module: &M,
    weights: &Weights,
) -> Result<Vec<schedule::Item>, LoadError> {
    schedule::schedule(module, weights).map_err(|misfit| LoadError::Misfit {
        file: weights.source().into(),
        misfit: Box::new(misfit),
    })
}

/// Fills every parameter of a module from a checkpoint.
///
/// # Errors
/// [`LoadError::Misfit`] if a parameter has no tensor of the right shape, or a tensor no
/// parameter; a bad scale; whatever keeps the files from being read; [`LoadError::Cancelled`].
pub fn load<B: ModelBackend, M: Module<B>>(
    module: M,
    weights: &Weights,
    device: &B::Device,
    observer: &mut dyn LoadObserver,
) -> Result<(M, LoadReport), LoadError> {
    let start = Instant::now();
    let cache_before = host_memory().map(|memory| memory.page_cache);
    let device_before = B::memory(device).as_ref().map(DeviceMemory::used);
    let sampler = PeakSampler::start();

    let items = planned(&module, weights)?;
    let mut transfer = Transfer::<B>::new(weights, &items, device, observer)?;
    let mut loaded = HashMap::with_capacity(items.len());
    for item in items {
        let value = transfer.load(&item)?;
        loaded.insert(item.path, value);
    }
    if !B::HOST_MEMORY {
        transfer.wait()?;
    }
    let module = module.map(&mut Filler {
        path: Vec::new(),
        loaded,
    });

    let cache_after = host_memory().map(|memory| memory.page_cache);
    let report = LoadReport {
        tensors: weights.used().count(),
        unused: weights.unused().len(),
        bytes: transfer.total(),
        mapped_bytes: transfer.mapped(),
        seconds: start.elapsed().as_secs_f64(),
        peak_anonymous_bytes: sampler.finish(),
        page_cache_growth: cache_before
            .zip(cache_after)
            .map(|(before, after)| after as i64 - before as i64),
        device_used_before: device_before,
        device_used_after: B::memory(device).as_ref().map(DeviceMemory::used),
    };
    Ok((module, report))
}

/// Puts the loaded tensors into a module, by path.
struct Filler<B: ModelBackend> {
    path: Vec<String>,
    loaded: HashMap<String, Loaded<B>>,
}

impl<B: ModelBackend> ModuleMapper<B> for Filler<B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.loaded.remove(&self.path.join(".")) {
            Some(Loaded::Float(value)) => {
                let value = Tensor::from_primitive(TensorPrimitive::Float(value));
                Param::initialized(param.id, value)
            }
            // The schedule has an item for each parameter that the visitor saw.
            Some(Loaded::Int(_)) | None => param,
        }
    }

    fn map_int<const D: usize>(
        &mut self,
        param: Param<Tensor<B, D, Int>>,
    ) -> Param<Tensor<B, D, Int>> {
        match self.loaded.remove(&self.path.join(".")) {
            Some(Loaded::Int(value)) => Param::initialized(param.id, Tensor::from_primitive(value)),
            Some(Loaded::Float(_)) | None => param,
        }
    }
}
