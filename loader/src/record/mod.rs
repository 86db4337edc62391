//! Fills a Burn module from a checkpoint: a record loader of our own.
//!
//! Whoever builds the module notes the name of each parameter's tensor by the parameter's id
//! ([`ParameterNames`](backends::parameters::ParameterNames)); the loader knows nothing of fields.
//!
//! The module is visited first, so that anything missing, left over or of the wrong shape is found before
//! a byte is read. Then the tensors come in, in the order of the file, and last the module is
//! mapped and takes them. Nothing is initialised only to be replaced.
//!
//! A tensor is loaded as the parameter that asks for it needs it:
//! * [`Weight::Packed`](backends::weight::Weight): the bytes unchanged as U8, the scale as f32 `[1]`;
//! * [`Weight::Dense`](backends::weight::Weight): BF16, F16 or F32 as in the file;
//! * any other float parameter: f32.
//!
//! On a backend in host memory, codes and dense weights are the mapping of the file itself, if its
//! alignment allows. Everything else goes through a small ring of host buffers to the device.

mod deferred;
mod mapped;
mod misfit;
mod schedule;
mod streamed;
mod values;

use std::collections::HashMap;

use backends::parameters::UnfilledModule;
use backends::storage::{DeviceMemory, ModelBackend};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Int, Tensor, TensorPrimitive};

pub use deferred::{Deferred, DeferredWeight, StoredAs};
pub use misfit::{Misfit, Shape, WrongShape};

use crate::error::LoadError;
use crate::measurement::Measurement;
use crate::progress::{LoadObserver, Progress};
use crate::report::{LoadReport, ReadMethod};
use crate::source::Source;
use crate::weights::Weights;

/// The two ways to load weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadMethod {
    /// The mapping of the file is the storage on the processor; for a device the file is read.
    #[default]
    InPlace,
    /// The file is always read: for files that may be written to while they are in use, and for
    /// disks that are slow at random access.
    Read,
}

/// Checks that [`load`] would find every parameter of a module in a checkpoint, and no tensor
/// left over. Reads nothing and fills nothing.
///
/// # Errors
/// [`LoadError::Misfit`].
pub fn check<B: Backend, M: Module<B>>(
    unfilled: &UnfilledModule<M>,
    weights: &Weights,
) -> Result<(), LoadError> {
    planned(unfilled, weights).map(drop)
}

fn planned<B: Backend, M: Module<B>>(
    unfilled: &UnfilledModule<M>,
    weights: &Weights,
) -> Result<Vec<schedule::Item>, LoadError> {
    schedule::schedule(unfilled, weights).map_err(|misfit| LoadError::Misfit {
        file: weights.source().into(),
        misfit,
    })
}

/// Fills every parameter of a module from a checkpoint, [in place](LoadMethod::InPlace) where that is
/// possible.
///
/// # Errors
/// The same as of [`load_by`].
pub fn load<B: ModelBackend, M: Module<B>>(
    unfilled: UnfilledModule<M>,
    weights: &Weights,
    device: &B::Device,
    observer: &mut dyn LoadObserver,
) -> Result<(M, LoadReport), LoadError> {
    load_by(LoadMethod::default(), unfilled, weights, device, observer)
}

/// Fills every parameter of a module from a checkpoint.
///
/// On an error, the memory that was taken is given back.
///
/// # Errors
/// [`LoadError::Misfit`] if a parameter has no tensor of the right shape, or a tensor no
/// parameter; whatever keeps the files from being read;
/// [`LoadError::OutOfMemory`]; [`LoadError::Cancelled`].
pub fn load_by<B: ModelBackend, M: Module<B>>(
    method: LoadMethod,
    unfilled: UnfilledModule<M>,
    weights: &Weights,
    device: &B::Device,
    observer: &mut dyn LoadObserver,
) -> Result<(M, LoadReport), LoadError> {
    let nothing = &|_: &str| false;
    let (module, _, report) = load_deferring(method, unfilled, weights, nothing, device, observer)?;
    Ok((module, report))
}

/// Fills a module from a checkpoint as [`load_by`] does, but leaves out the weights whose canonical
/// names `defer` picks. The module holds no memory for them.
///
/// Only rank-2 weights that go to the device as they are in the file can be left out. Of anything
/// else that `defer` picks (scales, biases, norms, weights that are converted) nothing is left out.
///
/// # Errors
/// The same as of [`load_by`]. A parameter that is left out has to fit its tensor all the same.
pub fn load_deferring<B: ModelBackend, M: Module<B>>(
    method: LoadMethod,
    unfilled: UnfilledModule<M>,
    weights: &Weights,
    defer: &dyn Fn(&str) -> bool,
    device: &B::Device,
    observer: &mut dyn LoadObserver,
) -> Result<(M, Deferred, LoadReport), LoadError> {
    let measurement = Measurement::start();
    let device_used = || B::memory(device).as_ref().map(DeviceMemory::used);
    let device_used_before = device_used();

    let (deferred, items) = Deferred::split(planned(&unfilled, weights)?, weights, defer);
    let source = Source::open(weights.checkpoint().files())?;
    let mut progress = Progress::new(bytes_of(weights, &items), observer);
    let in_place = B::HOST_MEMORY && method == LoadMethod::InPlace;
    let (mapped, read): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|item| in_place && mapped::can_be_mapped(weights, item));
    let mut loaded = mapped::load::<B>(weights, &source, &mapped, device, &mut progress)?;
    let (others, ring_bytes) = streamed::load::<B>(weights, &source, &read, device, &mut progress)?;
    loaded.extend(others);
    let ids = mapped.iter().chain(&read).map(|item| item.id);
    let module = unfilled.module.map(&mut Filler {
        loaded: ids.zip(loaded).collect(),
    });

    let (method, memory_bytes) = source.method();
    let mut report = LoadReport {
        tensors: weights.used().count() - deferred.weights().len(),
        unused: weights.unused().len(),
        in_files: weights.checkpoint().tensors_in_files(),
        part: weights.part().name(),
        bytes: progress.total(),
        mapped_bytes: bytes_of(weights, &mapped),
        method: match mapped.is_empty() {
            false => ReadMethod::Mapped,
            true => method,
        },
        memory_bytes: memory_bytes.min(bytes_of(weights, &read)),
        ring_bytes,
        device_used_before,
        device_used_after: device_used(),
        ..LoadReport::default()
    };
    measurement.finish(&mut report);
    Ok((module, deferred, report))
}

/// Bytes of the tensors that items are made of.
fn bytes_of(weights: &Weights, items: &[schedule::Item]) -> u64 {
    let entries = items.iter().flat_map(|item| item.action.entries());
    let entries = entries.flatten().map(|entry| weights.entry(entry));
    entries.map(|entry| entry.tensor.bytes()).sum()
}

/// A parameter's value on the device.
pub(crate) enum Loaded<B: ModelBackend> {
    Float(FloatTensor<B>),
    Int(IntTensor<B>),
}

/// Puts the loaded tensors into a module, by the parameters' ids.
pub(crate) struct Filler<B: ModelBackend> {
    pub(crate) loaded: HashMap<ParamId, Loaded<B>>,
}

impl<B: ModelBackend> ModuleMapper<B> for Filler<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.loaded.remove(&param.id) {
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
        match self.loaded.remove(&param.id) {
            Some(Loaded::Int(value)) => Param::initialized(param.id, Tensor::from_primitive(value)),
            Some(Loaded::Float(_)) | None => param,
        }
    }
}
