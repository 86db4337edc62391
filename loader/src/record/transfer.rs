//! Tensors from a file onto a device.

use std::collections::BTreeMap;

use backends::storage::ModelBackend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{AllocationProperty, Bytes, DType, Element, TensorData, bf16, f16};
use bytemuck::{AnyBitPattern, NoUninit};

use super::LoadObserver;
use super::schedule::{Action, Item};
use crate::checkpoint::Entry;
use crate::convert::{last_tap, to_f32};
use crate::dialect::DialectError;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;
use crate::weights::Weights;

/// How much is read between two looks at the observer.
const CHUNK_BYTES: usize = 16 << 20;

/// How much may wait in a device's queue, and so in host memory.
const QUEUE_BYTES: u64 = 512 << 20;

/// A parameter's value on the device.
pub(super) enum Loaded<B: ModelBackend> {
    Float(FloatTensor<B>),
    Int(IntTensor<B>),
}

/// Reads the tensors of a checkpoint one after the other.
pub(super) struct Transfer<'a, B: ModelBackend> {
    weights: &'a Weights,
    device: &'a B::Device,
    observer: &'a mut dyn LoadObserver,
    source: Source,
    /// Scale values by entry.
    scales: BTreeMap<usize, f32>,
    done: u64,
    total: u64,
    queued: u64,
    mapped: u64,
}

impl<'a, B: ModelBackend> Transfer<'a, B> {
    /// Opens the files and reads all scales, so that a bad one is found before anything is loaded.
    pub(super) fn new(
        weights: &'a Weights,
        items: &[Item],
        device: &'a B::Device,
        observer: &'a mut dyn LoadObserver,
    ) -> Result<Self, LoadError> {
        let source = Source::open(weights.checkpoint().files())?;
        let mut scales = BTreeMap::new();
        for parameter in weights.parameters().values() {
            if let Some(scale) = parameter.scale {
                scales.insert(scale, scale_value(weights, &source, scale)?);
            }
        }
        let entries = items.iter().flat_map(|item| item.action.entries());
        let total = entries
            .flatten()
            .map(|index| weights.entry(index).tensor.bytes())
            .sum();
        Ok(Self {
            weights,
            device,
            observer,
            source,
            scales,
            done: 0,
            total,
            queued: 0,
            mapped: 0,
        })
    }

    /// All bytes that the items take up in the files.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The bytes that were mapped instead of read so far.
    pub(super) fn mapped(&self) -> u64 {
        self.mapped
    }

    /// Brings one parameter's value onto the device.
    pub(super) fn load(&mut self, item: &Item) -> Result<Loaded<B>, LoadError> {
        let shape = item.shape.as_slice();
        let loaded = match item.action {
            Action::Codes { entry } => {
                let entry = self.weights.entry(entry);
                let codes = self.in_dtype(entry, DType::U8, shape)?;
                Loaded::Int(B::int_from_data(codes, self.device))
            }
            Action::Keep { entry, dtype } => {
                let entry = self.weights.entry(entry);
                let values = self.in_dtype(entry, dtype, shape)?;
                Loaded::Float(B::float_from_data(values, self.device))
            }
            Action::Scale { entry } => {
                let value = self.scale(entry)?;
                let data = TensorData::new(vec![value], shape.to_vec());
                Loaded::Float(B::float_from_data(data, self.device))
            }
            Action::Convert { entry, scale, taps } => {
                let entry = self.weights.entry(entry);
                let values = self.converted(entry, scale, taps)?;
                let data = TensorData::new(values, shape.to_vec());
                Loaded::Float(B::float_from_data(data, self.device))
            }
        };
        if !B::HOST_MEMORY && self.queued >= QUEUE_BYTES {
            self.wait()?;
        }
        Ok(loaded)
    }

    /// Waits until the device has everything, so that nothing is left in host memory.
    pub(super) fn wait(&mut self) -> Result<(), LoadError> {
        self.queued = 0;
        B::sync(self.device).map_err(|error| LoadError::Device {
            file: self.weights.source().into(),
            message: Excerpt::new(&format!("{error:?}")),
        })
    }

    /// A tensor in the file's own dtype: its mapping where that can be the storage, else a copy.
    fn in_dtype(
        &mut self,
        entry: &Entry,
        dtype: DType,
        shape: &[usize],
    ) -> Result<TensorData, LoadError> {
        if B::HOST_MEMORY {
            let bytes = self.source.map(entry)?;
            // Files align the data to 8 bytes at best, and old ones not at all.
            if (bytes.as_ptr() as usize).is_multiple_of(dtype.size()) {
                self.mapped += entry.tensor.bytes();
                self.advance(entry.tensor.bytes())?;
                let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
                return Ok(TensorData::from_bytes(bytes, shape.to_vec(), dtype));
            }
        }
        match dtype {
            DType::BF16 => self.copied::<bf16>(entry, shape),
            DType::F16 => self.copied::<f16>(entry, shape),
            DType::F32 => self.copied::<f32>(entry, shape),
            _ => self.copied::<u8>(entry, shape),
        }
    }

    /// A tensor read into memory that is aligned for its elements.
    fn copied<E: Element + AnyBitPattern + NoUninit>(
        &mut self,
        entry: &Entry,
        shape: &[usize],
    ) -> Result<TensorData, LoadError> {
        let mut values = vec![E::zeroed(); entry.tensor.elements()];
        self.read(entry, bytemuck::cast_slice_mut(&mut values))?;
        Ok(TensorData::new(values, shape.to_vec()))
    }

    fn converted(
        &mut self,
        entry: &Entry,
        scale: Option<usize>,
        taps: usize,
    ) -> Result<Vec<f32>, LoadError> {
        let tensor = &entry.tensor;
        let mut bytes = vec![0; tensor.bytes() as usize];
        self.read(entry, &mut bytes)?;
        let values = to_f32(tensor.dtype, &bytes);
        let mut values = values.ok_or_else(|| LoadError::UnsupportedDtype {
            file: self.weights.source().into(),
            key: Excerpt::new(&tensor.key),
            dtype: tensor.dtype,
        })?;
        if taps > 1 {
            let plane = tensor.shape.iter().rev().take(2).product();
            values = last_tap(&values, taps, plane);
        }
        if scale.is_some() {
            let scale = self.scale(scale)?;
            values.iter_mut().for_each(|value| *value *= scale);
        }
        Ok(values)
    }

    /// The value of a scale, which counts as read now; 1 where there is none.
    fn scale(&mut self, index: Option<usize>) -> Result<f32, LoadError> {
        let Some(index) = index else { return Ok(1.0) };
        self.advance(self.weights.entry(index).tensor.bytes())?;
        Ok(self.scales.get(&index).copied().unwrap_or(1.0))
    }

    /// Reads a tensor piece by piece.
    fn read(&mut self, entry: &Entry, buffer: &mut [u8]) -> Result<(), LoadError> {
        let mut offset = entry.tensor.range.start;
        for chunk in buffer.chunks_mut(CHUNK_BYTES) {
            self.source.read_into(entry.file, offset, chunk)?;
            offset += chunk.len() as u64;
            self.advance(chunk.len() as u64)?;
        }
        self.queued += buffer.len() as u64;
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<(), LoadError> {
        if self.observer.cancelled() {
            return Err(LoadError::Cancelled);
        }
        self.done += bytes;
        self.observer.progress(self.done, self.total);
        Ok(())
    }
}

fn scale_value(weights: &Weights, source: &Source, index: usize) -> Result<f32, LoadError> {
    let entry = weights.entry(index);
    let key = Excerpt::new(&entry.tensor.key);
    let fault = |fault| LoadError::Dialect {
        file: weights.source().into(),
        fault,
    };
    let bytes = source.read(entry)?;
    let values = to_f32(entry.tensor.dtype, &bytes);
    let Some([value]) = values.as_deref() else {
        let dtype = entry.tensor.dtype;
        return Err(fault(DialectError::ScaleDtype { key, dtype }));
    };
    if value.is_finite() && *value > 0.0 {
        Ok(*value)
    } else {
        let value = *value;
        Err(fault(DialectError::ScaleValue { key, value }))
    }
}
