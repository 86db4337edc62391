//! Stacks of LoRAs to a device, one layer after the other.

use backends::storage::{DeviceMemory, ModelBackend};
use backends::upload::{DeviceSink, HostBuffer, MemoryId, Piece, TensorSink};
use backends::{LowRank, UploadError};
use burn::tensor::{DType, FloatDType, Tensor, TensorPrimitive};

use super::adapters::{Adapters, Part, Stack};
use super::error::LoraError;
use crate::convert::to_f32;
use crate::error::LoadError;
use crate::measurement::Measurement;
use crate::progress::{LoadObserver, Progress};
use crate::report::{LoadReport, ReadMethod};
use crate::source::Source;
use crate::stream::Follow;
use crate::text::Excerpt;

/// Host buffers: one fills while the other is copied.
const BUFFERS: usize = 2;

/// Pairs of matrices, and the canonical names of the layers that they go beside.
pub type LoadedAdapters<B> = Vec<(String, LowRank<B>)>;

/// Brings adapters to a device in `dtype`, in which products with them are computed: for each
/// layer, by its canonical name, the first factors one above the other, and the second ones, with
/// their scales, side by side. F32 where `dtype` is neither F32 nor BF16.
///
/// Host memory is that of the largest layer, a few times over.
///
/// # Errors
/// [`LoadError::Lora`] for matrices that hold or give numbers that are not finite; a file that
/// cannot be read, or changes meanwhile; [`LoadError::OutOfMemory`]; [`LoadError::Cancelled`].
pub fn load_adapters<B: ModelBackend>(
    adapters: &Adapters,
    dtype: FloatDType,
    device: &B::Device,
    observer: &mut dyn LoadObserver,
) -> Result<(LoadedAdapters<B>, LoadReport), LoadError> {
    let measurement = Measurement::start();
    let device_used = || B::memory(device).as_ref().map(DeviceMemory::used);
    let device_used_before = device_used();
    let dtype = match dtype {
        FloatDType::BF16 => DType::BF16,
        _ => DType::F32,
    };
    let mut loading = Loading::<B> {
        adapters,
        sources: Vec::new(),
        sink: B::sink(device).map_err(|error| upload(adapters, error))?,
        buffers: 0,
        dtype,
    };
    for (lora, _) in adapters.loras() {
        loading.sources.push(Source::open(lora.checkpoint.files())?);
    }
    let mut progress = Progress::new(adapters.file_bytes(), observer);
    let loaded = loading.run(&mut progress)?;
    let methods: Vec<_> = loading.sources.iter().map(Source::method).collect();
    let memory_bytes = methods.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let mut report = LoadReport {
        tensors: adapters.tensors(),
        bytes: progress.total(),
        method: ReadMethod::of_all(methods.into_iter().map(|(method, _)| method)),
        memory_bytes: memory_bytes.min(progress.total()),
        ring_bytes: (loading.buffers * loading.largest()) as u64,
        device_used_before,
        device_used_after: device_used(),
        ..LoadReport::default()
    };
    measurement.finish(&mut report);
    Ok((loaded, report))
}

struct Loading<'a, B: ModelBackend> {
    adapters: &'a Adapters,
    /// The open files of each LoRA.
    sources: Vec<Source>,
    sink: B::Sink,
    /// Host buffers that were taken.
    buffers: usize,
    dtype: DType,
}

impl<B: ModelBackend> Loading<'_, B> {
    fn run(&mut self, progress: &mut Progress<'_>) -> Result<LoadedAdapters<B>, LoadError> {
        let adapters = self.adapters;
        // All memory is taken before the first byte is read: what does not fit is known at once.
        let mut memories = Vec::with_capacity(adapters.stacks().len());
        for stack in adapters.stacks().values() {
            let mut allocate = |features| {
                let bytes = stack.rank() * features * self.dtype.size();
                let memory = self.sink.allocate(bytes);
                memory.map_err(|error| upload(adapters, error))
            };
            memories.push([allocate(stack.input)?, allocate(stack.output)?]);
        }
        for (stack, &memories) in adapters.stacks().values().zip(&memories) {
            self.write(stack, memories)?;
            progress.advance(adapters.stack_bytes(stack))?;
        }
        self.finish()?;
        let stacks = adapters.stacks().iter().zip(memories);
        let pairs = stacks.map(|((layer, stack), [down, up])| {
            let pair = LowRank {
                down: self.tensor(down, [stack.rank(), stack.input])?,
                up: self.tensor(up, [stack.output, stack.rank()])?,
            };
            Ok((layer.clone(), pair))
        });
        let pairs: Result<_, UploadError> = pairs.collect();
        pairs.map_err(|error| upload(adapters, error))
    }

    /// Starts one stack's way to its memory.
    fn write(&mut self, stack: &Stack, memories: [MemoryId; 2]) -> Result<(), LoadError> {
        let adapters = self.adapters;
        let buffer = self.buffer();
        let mut buffer = buffer.map_err(|error| upload(adapters, error))?;
        let split = stack.rank() * stack.input * self.dtype.size();
        let end = stack.elements() * self.dtype.size();
        // What fills the rank up is zero, and the buffer may have been used before.
        buffer[..end].fill(0);
        let (down, up) = buffer[..end].split_at_mut(split);
        let mut first = 0;
        for part in &stack.parts {
            let rank = part.target.rank;
            let values = self.values(part, part.target.down)?;
            let largest_down = largest(&values);
            self.put(down, first * stack.input, &values);
            let mut values = self.values(part, part.target.up)?;
            for value in &mut values {
                *value = (f64::from(*value) * part.scale) as f32;
            }
            // The sum of as many products as the rank has.
            let most = rank as f32 * largest_down * largest(&values);
            if !most.is_finite() {
                return Err(self.too_large(part));
            }
            for (row, values) in values.chunks_exact(rank).enumerate() {
                self.put(up, row * stack.rank() + first, values);
            }
            first += rank;
        }
        let pieces = memories.into_iter().zip([0..split, split..end]);
        let pieces = pieces.map(|(memory, source)| Piece {
            memory,
            offset: 0,
            source,
        });
        let written = self.sink.write(buffer, &pieces.collect::<Vec<_>>());
        written.map_err(|error| upload(adapters, error))
    }

    /// A buffer that holds any stack.
    fn buffer(&mut self) -> Result<HostBuffer, UploadError> {
        if let Some(buffer) = self.sink.reclaim(self.buffers == BUFFERS)? {
            return Ok(buffer);
        }
        self.buffers += 1;
        self.sink.host_buffer(self.largest())
    }

    /// Bytes of the largest stack.
    fn largest(&self) -> usize {
        let stacks = self.adapters.stacks().values();
        stacks.map(Stack::elements).max().unwrap_or(0) * self.dtype.size()
    }

    /// A matrix's elements, all of them finite.
    fn values(&self, part: &Part, index: usize) -> Result<Vec<f32>, LoadError> {
        let lora = &self.adapters.loras()[part.lora].0;
        let entry = lora.entry(index);
        let bytes = self.sources[part.lora].read(entry)?;
        let values = to_f32(entry.tensor.dtype, &bytes);
        let values = values.ok_or_else(|| LoadError::UnsupportedDtype {
            file: lora.source().into(),
            key: Excerpt::new(&entry.tensor.key),
            dtype: entry.tensor.dtype,
        })?;
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        Err(LoadError::Lora {
            file: lora.source().into(),
            fault: Box::new(LoraError::NotFinite {
                key: Excerpt::new(&entry.tensor.key),
            }),
        })
    }

    /// That a product of two matrices is.
    fn too_large(&self, part: &Part) -> LoadError {
        let lora = &self.adapters.loras()[part.lora].0;
        let key = |index| Excerpt::new(&lora.entry(index).tensor.key);
        LoadError::Lora {
            file: lora.source().into(),
            fault: Box::new(LoraError::TooLarge {
                down: key(part.target.down),
                up: key(part.target.up),
                scale: part.scale,
            }),
        }
    }

    /// Writes elements into a matrix's bytes from its element `start` on.
    fn put(&self, matrix: &mut [u8], start: usize, values: &[f32]) {
        let size = self.dtype.size();
        let place = &mut matrix[start * size..(start + values.len()) * size];
        for (place, &value) in place.chunks_exact_mut(size).zip(values) {
            match self.dtype {
                DType::BF16 => place.copy_from_slice(&half::bf16::from_f32(value).to_le_bytes()),
                _ => place.copy_from_slice(&value.to_le_bytes()),
            }
        }
    }

    /// Waits until everything is in its place, and looks whether the files are still the same.
    fn finish(&mut self) -> Result<(), LoadError> {
        let finished = self.sink.finish();
        finished.map_err(|error| upload(self.adapters, error))?;
        self.sources.iter().try_for_each(Source::check_versions)
    }

    fn tensor(&mut self, memory: MemoryId, shape: [usize; 2]) -> Result<Tensor<B, 2>, UploadError> {
        let floats = self.sink.floats(memory, &shape, self.dtype)?;
        Ok(Tensor::from_primitive(TensorPrimitive::Float(floats)))
    }
}

/// The largest magnitude, or NaN where one is.
fn largest(values: &[f32]) -> f32 {
    let magnitudes = values.iter().map(|value| value.abs());
    magnitudes.fold(0.0, |most, value| {
        if value > most || value.is_nan() {
            value
        } else {
            most
        }
    })
}

/// An upload's failure, of the first LoRA: they go to the device together.
fn upload(adapters: &Adapters, error: UploadError) -> LoadError {
    let first = adapters.loras().first().map(|(lora, _)| lora.source());
    LoadError::upload(first.unwrap_or("LoRA".as_ref()), error)
}
