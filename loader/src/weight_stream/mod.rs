//! Weights that are streamed to a device again and again, because it has no room for all of them.
//!
//! A load leaves them out ([`load_deferring`](crate::load_deferring)). A [`WeightStream`] has a few
//! device slots, each as large as the largest group of weights (a block of the transformer), and
//! fills them with one group after the other, round after round:
//!
//! ```text
//! files ── readers ──► ring of host buffers ── feeder ──► slot ── lent ──► work
//!                           cache in host memory ──┘        ▲────── used ────┘
//! ```
//!
//! The readers and the ring are those of a load. They run on over the ends of groups and of rounds,
//! so that the disk never waits for the device as long as there is room, which is the ring and the
//! slots. On the device, bytes wait for the work that used their slot before, and work for its
//! bytes; the host waits for neither, but for the disk.
//!
//! Where copies run beside the device's work, the feeder has a thread of its own. Elsewhere the
//! thread that computes fills a slot when it needs it.

mod beside;
mod feeder;
mod figures;
mod files;
mod layout;
mod lender;
mod readers;

#[cfg(all(test, feature = "flex"))]
mod tests;

use backends::storage::{DeviceStorage, ModelBackend};
use backends::upload::SlotSink;
use burn::module::Module;

pub use figures::StreamFigures;
use layout::Layout;
use lender::{Lender, Streamed};

use crate::error::LoadError;
use crate::record::Deferred;
use crate::source::Source;
use crate::stream::Ring;
use crate::weights::Weights;

/// How weights are streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Number of device slots, at least one. With two, one fills while the device computes with the
    /// other.
    pub slots: usize,
    /// Bytes of host memory that weights stay in once they were read. The stream has its ring
    /// beside it.
    pub ram_cache: u64,
    /// Whether the first group follows on the last one. Otherwise nothing is read ahead past the
    /// last one.
    pub endless: bool,
}

impl Default for StreamOptions {
    /// Two slots, nothing kept in host memory, round after round.
    fn default() -> Self {
        Self {
            slots: 2,
            ram_cache: 0,
            endless: true,
        }
    }
}

/// Lends groups of weights that a load left out, through the backend's sink or another one.
///
/// Dropping it ends its threads, after the reads and copies under way.
pub struct WeightStream<B: ModelBackend, K: SlotSink<B> = <B as DeviceStorage>::Sink> {
    lender: Lender<B, K, Source>,
}

impl<B: ModelBackend> WeightStream<B> {
    /// Takes the memory of the slots and of the ring, and begins to read. `group_of` says to which
    /// group, if to any, the weight with a canonical name belongs; groups are lent in the order of
    /// their numbers. [`group_bytes`](crate::group_bytes) tells the memory of a slot.
    ///
    /// # Errors
    /// [`LoadError::OutOfMemory`] if the device has no room for the slots;
    /// [`LoadError::HostMemory`]; a file that cannot be opened, or has changed since its header
    /// was read.
    pub fn open(
        weights: &Weights,
        deferred: &Deferred,
        group_of: &dyn Fn(&str) -> Option<usize>,
        options: StreamOptions,
        device: &B::Device,
    ) -> Result<Self, LoadError> {
        let sink = B::sink(device);
        let sink = sink.map_err(|error| LoadError::upload(weights.source(), error))?;
        Self::through(sink, B::COPIES_BESIDE, weights, deferred, group_of, options)
    }
}

impl<B: ModelBackend, K: SlotSink<B> + Send + 'static> WeightStream<B, K> {
    /// The same through a sink of the caller's choice. With `beside`, the sink is used by a thread
    /// of its own.
    ///
    /// # Errors
    /// The same as of [`open`](WeightStream::open).
    pub fn through(
        sink: K,
        beside: bool,
        weights: &Weights,
        deferred: &Deferred,
        group_of: &dyn Fn(&str) -> Option<usize>,
        options: StreamOptions,
    ) -> Result<Self, LoadError> {
        let streamed = Streamed {
            path: weights.source().into(),
            layout: Layout::new(deferred, group_of, Ring::default(), options.ram_cache),
            files: Source::open(weights.checkpoint().files())?,
        };
        let lender = Lender::new(streamed, options, beside, sink)?;
        Ok(Self { lender })
    }

    /// Runs work on a module whose weights of a group are lent to it. The module is the one that
    /// the load gave, or a part of it; it is cloned, and keeps what it holds itself. A group
    /// without weights has nothing to lend, and the work is run all the same.
    ///
    /// The groups are meant to be asked for in order, round after round. After any other, or after
    /// an error, reading begins again with the group that is asked for.
    ///
    /// Nothing that shares memory with the lent weights may leave the work: other bytes take their
    /// place. `cancelled` is asked now and then while this waits for bytes.
    ///
    /// # Errors
    /// A file that cannot be read, or has changed; a failing device; [`LoadError::Cancelled`]. The
    /// work was not run then, unless the device failed after it.
    pub fn with_group<M: Module<B>, T>(
        &mut self,
        group: usize,
        module: &M,
        cancelled: &dyn Fn() -> bool,
        work: impl FnOnce(&M) -> T,
    ) -> Result<T, LoadError> {
        self.lender.with_group(group, module, cancelled, work)
    }

    /// What it has done so far.
    pub fn figures(&self) -> StreamFigures {
        self.lender.figures()
    }
}
