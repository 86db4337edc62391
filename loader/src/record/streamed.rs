//! Parameters through the ring: weights go to the device as they are, what becomes f32 is
//! converted on the way.

use backends::storage::ModelBackend;
use backends::upload::{DeviceSink, MemoryId, TensorSink, UploadError};
use burn::tensor::TensorData;

use super::Loaded;
use super::schedule::{Action, Item};
use super::values::converted;
use crate::error::LoadError;
use crate::progress::Progress;
use crate::source::Source;
use crate::stream::{Destination, Follow, Need, ring_bytes, stream};
use crate::text::Excerpt;
use crate::weights::Weights;

/// How many bytes of converted parameters may wait in a device's queue, and so in host memory.
const QUEUE_BYTES: usize = 32 << 20;

/// Makes a parameter of each item, in their order, and says how large the ring was.
///
/// # Errors
/// A file that cannot be read, or changes meanwhile; a device without room for everything;
/// [`LoadError::Cancelled`].
pub(super) fn load<B: ModelBackend>(
    weights: &Weights,
    source: &Source,
    items: &[Item],
    device: &B::Device,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Loaded<B>>, u64), LoadError> {
    let upload = |error| LoadError::upload(weights.source(), error);
    let mut sink = B::sink(device).map_err(upload)?;
    let mut needs = Vec::new();
    let mut memories = Vec::with_capacity(items.len());
    let mut follower = Follower::<B> {
        weights,
        items,
        device,
        progress,
        pending: Vec::new(),
        queued: 0,
    };
    // All memory is taken before the first byte is read: what does not fit is known at once.
    for (index, item) in items.iter().enumerate() {
        let mut memory = None;
        let mut pending = Pending::Nothing;
        match item.action {
            Action::Codes { entry } | Action::Keep { entry, .. } => {
                let bytes = weights.entry(entry).tensor.bytes() as usize;
                let id = sink.allocate(bytes).map_err(upload)?;
                memory = Some(id);
                needs.push(need(weights, entry, Destination::Device(id)));
            }
            Action::Convert { entry, .. } => {
                pending = Pending::Missing;
                needs.push(need(weights, entry, Destination::Host(index)));
            }
            Action::Scale { .. } => {}
        }
        memories.push(memory);
        follower.pending.push(pending);
    }
    follower.scales_and_empty()?;
    stream(&source.raws(), &needs, &mut sink, &mut follower)
        .map_err(|error| error.of(weights, source))?;
    source.check_versions()?;
    follower.wait()?;

    let converted = follower.pending;
    let loaded = items.iter().zip(memories).zip(converted);
    let loaded = loaded.map(|((item, memory), pending)| match (memory, pending) {
        (Some(memory), _) => tensor::<B>(&mut sink, memory, item).map_err(upload),
        (None, Pending::Done(loaded)) => Ok(loaded),
        (None, _) => Err(LoadError::Changed {
            file: weights.source().into(),
        }),
    });
    let loaded = loaded.collect::<Result<_, _>>()?;
    Ok((loaded, ring_bytes(&needs)))
}

fn need(weights: &Weights, entry: usize, destination: Destination) -> Need {
    let entry = weights.entry(entry);
    Need {
        file: entry.file,
        range: entry.tensor.range.clone(),
        destination,
    }
}

fn tensor<B: ModelBackend>(
    sink: &mut B::Sink,
    memory: MemoryId,
    item: &Item,
) -> Result<Loaded<B>, UploadError> {
    Ok(match item.action {
        Action::Keep { dtype, .. } => Loaded::Float(sink.floats(memory, &item.shape, dtype)?),
        _ => Loaded::Int(sink.codes(memory, &item.shape)?),
    })
}

/// A parameter that does not go to the device as it is.
enum Pending<B: ModelBackend> {
    /// It goes as it is.
    Nothing,
    /// None of its bytes are there.
    Missing,
    /// So many of its bytes are there.
    Part(Vec<u8>, usize),
    /// It is on the device.
    Done(Loaded<B>),
}

/// Collects and converts what becomes f32.
struct Follower<'a, 'b, B: ModelBackend> {
    weights: &'a Weights,
    items: &'a [Item],
    device: &'a B::Device,
    progress: &'a mut Progress<'b>,
    /// The state of each item.
    pending: Vec<Pending<B>>,
    queued: usize,
}

impl<B: ModelBackend> Follower<'_, '_, B> {
    /// Makes the parameters that no byte of the stream is for.
    fn scales_and_empty(&mut self) -> Result<(), LoadError> {
        for index in 0..self.items.len() {
            match self.items[index].action {
                Action::Scale { entry } => {
                    let bytes = entry.map_or(0, |entry| self.weights.entry(entry).tensor.bytes());
                    self.progress.advance(bytes)?;
                    let values = self.weights.scales().values(entry).to_vec();
                    self.put(index, values)?;
                }
                Action::Convert { entry, .. } if self.weights.entry(entry).tensor.bytes() == 0 => {
                    self.put(index, Vec::new())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn put(&mut self, index: usize, values: Vec<f32>) -> Result<(), LoadError> {
        self.queued += values.len() * size_of::<f32>();
        let data = TensorData::new(values, self.items[index].shape.clone());
        // Weights live as long as the model: kept apart, they leave the pools for what comes
        // and goes in one piece.
        let device = self.device;
        let value =
            B::memory_persistent_allocations(device, data, |data| B::float_from_data(data, device));
        self.pending[index] = Pending::Done(Loaded::Float(value));
        if self.queued >= QUEUE_BYTES {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits until the device has everything, so that nothing is left in host memory.
    fn wait(&mut self) -> Result<(), LoadError> {
        self.queued = 0;
        B::sync(self.device).map_err(|error| LoadError::Device {
            file: self.weights.source().into(),
            message: Excerpt::new(&format!("{error:?}")),
        })
    }
}

impl<B: ModelBackend> Follow for Follower<'_, '_, B> {
    fn receive(&mut self, index: usize, offset: u64, bytes: &[u8]) -> Result<(), LoadError> {
        let Action::Convert {
            entry,
            scale,
            slices,
        } = self.items[index].action
        else {
            return Ok(());
        };
        let entry = self.weights.entry(entry);
        let length = entry.tensor.bytes() as usize;
        let scales = self.weights.scales().values(scale);
        let values = |bytes: &[u8]| converted(self.weights, entry, bytes, slices, scales);
        if bytes.len() == length {
            let values = values(bytes)?;
            return self.put(index, values);
        }
        let pending = std::mem::replace(&mut self.pending[index], Pending::Missing);
        let (mut whole, received) = match pending {
            Pending::Part(whole, received) => (whole, received),
            _ => (vec![0; length], 0),
        };
        let begin = offset as usize;
        whole[begin..begin + bytes.len()].copy_from_slice(bytes);
        let received = received + bytes.len();
        if received == length {
            let values = values(&whole)?;
            return self.put(index, values);
        }
        self.pending[index] = Pending::Part(whole, received);
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<(), LoadError> {
        self.progress.advance(bytes)
    }
}
