//! The writing side of slots, on a thread of its own where the device copies while it computes.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use backends::upload::{HostBuffer, MemoryId, Piece};
use backends::{DeviceSink, ModelBackend, SlotSink, Slots, UploadError};

use crate::work::{Lent, PATTERNS, SLOT, byte};

/// Buffers of NaNs, so that one can be filled again while another is copied.
const POISONS: usize = 2;
/// Bytes of a copy.
const PIECE: usize = 16 << 20;
/// A NaN of E4M3 and of bf16.
const POISON: u8 = 0xff;

type Written<B> = <<B as backends::DeviceStorage>::Sink as SlotSink<B>>::Written;
type Used<B> = <<B as backends::DeviceStorage>::Sink as SlotSink<B>>::Used;

/// The marks that are waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// Those of both sides.
    Both,
    /// Work does not wait for its bytes.
    NoReadAfter,
    /// Bytes do not wait for the work that uses what they replace.
    NoWriteAfter,
}

/// Slots and what refills them.
pub(crate) struct Feed<B: ModelBackend> {
    device: B::Device,
    slots: <B::Sink as SlotSink<B>>::Slots,
    memories: Vec<MemoryId>,
    writer: Writer<B>,
}

impl<B: ModelBackend> Feed<B> {
    /// Takes so many slots.
    pub(crate) fn new(device: &B::Device, slots: usize) -> Result<Self, UploadError> {
        let mut sink = B::sink(device)?;
        let memories = (0..slots).map(|_| sink.allocate(SLOT));
        let memories = memories.collect::<Result<Vec<_>, _>>()?;
        let buffers = (0..PATTERNS + POISONS).map(|i| {
            let mut buffer = sink.host_buffer(SLOT)?;
            for (at, value) in buffer[..SLOT].iter_mut().enumerate() {
                *value = if i < PATTERNS { byte(i, at) } else { POISON };
            }
            Ok(Some(buffer))
        });
        let buffers = buffers.collect::<Result<_, UploadError>>()?;
        Ok(Self {
            device: device.clone(),
            slots: sink.slots(),
            memories,
            writer: Writer {
                buffers,
                copied: VecDeque::new(),
                poisons: 0,
                sink,
            },
        })
    }

    /// The number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.memories.len()
    }

    /// The device's queues of work that marks tell apart from copies.
    pub(crate) fn queues(&self) -> usize {
        self.slots.queues()
    }

    /// Does `work` with the first slot as it is.
    pub(crate) fn lend<T>(&mut self, work: impl FnOnce(Lent<B>) -> T) -> Result<T, UploadError> {
        Ok(work(Lent::new(
            &self.device,
            &self.slots,
            self.memories[0],
        )?))
    }

    /// Does `work` with contents that the device has wholly received before.
    pub(crate) fn at_rest<T>(
        &mut self,
        pattern: usize,
        work: impl FnOnce(Lent<B>) -> T,
    ) -> Result<T, UploadError> {
        let wait = |device: &B::Device| {
            B::sync(device).map_err(|error| UploadError::Device(error.to_string()))
        };
        wait(&self.device)?;
        self.writer.write(pattern, self.memories[0])?;
        self.writer.sink.finish()?;
        let result = self.lend(work);
        wait(&self.device)?;
        result
    }

    /// Refills the slots in turn, and does `work` with each filling; gives the results. With
    /// `poisoned`, a slot is filled with NaNs before it is refilled.
    pub(crate) fn run<T>(
        &mut self,
        refills: usize,
        poisoned: bool,
        marks: Marks,
        mut work: impl FnMut(Lent<B>) -> T,
    ) -> Result<Vec<T>, UploadError> {
        self.writer.sink.finish()?;
        let (free, to_fill) = channel::<(MemoryId, Option<Used<B>>)>();
        let (filled, to_use) = channel::<Result<Written<B>, UploadError>>();
        for &memory in &self.memories {
            let _ = free.send((memory, None));
        }
        let (device, slots, memories) = (&self.device, &self.slots, &self.memories);
        let writer = &mut self.writer;
        // The computing side: the filling number `i`.
        let mut use_one = |i: usize, free: &Sender<_>| -> Result<T, UploadError> {
            let ended = |_| UploadError::Device("the writing side has ended".to_owned());
            let written = to_use.recv().map_err(ended)??;
            if marks != Marks::NoReadAfter {
                slots.read_after(&written)?;
            }
            let memory = memories[i % memories.len()];
            let result = work(Lent::new(device, slots, memory)?);
            // The writing side ends before the last slots are free again.
            let _ = free.send((memory, Some(slots.used()?)));
            Ok(result)
        };
        let mut refill_one = move |i: usize| {
            let Ok(slot) = to_fill.recv() else {
                return false;
            };
            let filling = writer.refill(i % PATTERNS, slot, poisoned, marks);
            filled.send(filling).is_ok()
        };
        if !B::COPIES_BESIDE {
            let both = |i| {
                refill_one(i);
                use_one(i, &free)
            };
            return (0..refills).map(both).collect();
        }
        thread::scope(|scope| {
            scope.spawn(move || (0..refills).all(refill_one));
            // An error drops this, which ends the writing side.
            let free = free;
            (0..refills).map(|i| use_one(i, &free)).collect()
        })
    }
}

/// The sink, and the host's copies of all contents.
struct Writer<B: ModelBackend> {
    sink: B::Sink,
    /// The contents, then the NaNs; none while the sink has the buffer.
    buffers: Vec<Option<HostBuffer>>,
    /// The buffers that the sink has, in the order in which they come back.
    copied: VecDeque<usize>,
    poisons: usize,
}

impl<B: ModelBackend> Writer<B> {
    fn refill(
        &mut self,
        pattern: usize,
        (memory, used): (MemoryId, Option<Used<B>>),
        poisoned: bool,
        marks: Marks,
    ) -> Result<Written<B>, UploadError> {
        if marks != Marks::NoWriteAfter
            && let Some(used) = used
        {
            self.sink.write_after(&used)?;
        }
        if poisoned {
            self.poisons += 1;
            self.write(PATTERNS + self.poisons % POISONS, memory)?;
        }
        self.write(pattern, memory)?;
        self.sink.written()
    }

    fn write(&mut self, index: usize, memory: MemoryId) -> Result<(), UploadError> {
        let buffer = loop {
            if let Some(buffer) = self.buffers[index].take() {
                break buffer;
            }
            self.reclaim()?;
        };
        let starts = (0..SLOT).step_by(PIECE);
        let pieces: Vec<Piece> = starts
            .map(|start| Piece {
                memory,
                offset: start,
                source: start..SLOT.min(start + PIECE),
            })
            .collect();
        self.sink.write(buffer, &pieces)?;
        self.copied.push_back(index);
        if !B::COPIES_BESIDE {
            self.reclaim()?;
        }
        Ok(())
    }

    fn reclaim(&mut self) -> Result<(), UploadError> {
        let buffer = self.sink.reclaim(true)?;
        match (buffer, self.copied.pop_front()) {
            (Some(buffer), Some(index)) => self.buffers[index] = Some(buffer),
            _ => return Err(UploadError::Device("a buffer is lost".to_owned())),
        }
        Ok(())
    }
}
