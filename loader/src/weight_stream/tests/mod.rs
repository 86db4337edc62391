#![allow(clippy::unwrap_used)]

mod cache;
mod device;
mod disk;
mod faults;
mod order;
mod passes;

use std::ops::Range;
use std::sync::mpsc::channel;
use std::time::Duration;

use backends::upload::{NullSink, SlotSink};
use backends::weight::Weight;
use backends::{Fp8Format, PackedFormat, WeightFormat};
use burn::module::Module;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};

use super::StreamOptions;
use super::layout::Layout;
use super::lender::{Lender, Streamed};
use crate::error::LoadError;
use crate::record::{Deferred, DeferredWeight, StoredAs};
use crate::source::BLOCK;
use crate::stream::Ring;
use device::Device;
use disk::{Disks, byte};

type HostSink = <Flex as backends::DeviceStorage>::Sink;

/// The layers of a group.
#[derive(Module, Debug)]
struct Layers<B: Backend> {
    weights: Vec<Weight<B>>,
}

/// A weight in a file.
#[derive(Clone, Debug)]
struct InFile {
    file: usize,
    range: Range<u64>,
    stored_as: StoredAs,
}

/// A model of which all weights are streamed.
struct Model {
    groups: Vec<Layers<Flex>>,
    /// The places of the weights of each group.
    places: Vec<Vec<InFile>>,
    deferred: Deferred,
}

impl Model {
    /// Groups of weights at these places, each of one row.
    fn new(places: &[Vec<InFile>]) -> Self {
        let mut weights = Vec::new();
        let mut groups = Vec::new();
        for (group, places) in places.iter().enumerate() {
            let mut layers = Vec::new();
            for InFile {
                file,
                range,
                stored_as,
            } in places
            {
                let bytes = (range.end - range.start) as usize;
                let (shape, format) = match stored_as {
                    StoredAs::Codes => (
                        [1, bytes],
                        WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3)),
                    ),
                    StoredAs::Floats(dtype) => ([1, bytes / dtype.size()], WeightFormat::Dense),
                };
                let weight = Weight::uninitialized(shape, format, &FlexDevice);
                weights.push(DeferredWeight {
                    name: format!("{group}"),
                    id: weight.parameters()[0].0,
                    shape: shape.to_vec(),
                    stored_as: *stored_as,
                    file: *file,
                    range: range.clone(),
                });
                layers.push(weight);
            }
            groups.push(Layers { weights: layers });
        }
        // As a load gives them.
        weights.sort_by_key(|weight| (weight.file, weight.range.start));
        Self {
            groups,
            places: places.to_vec(),
            deferred: Deferred { weights },
        }
    }

    /// `groups` groups that lie one behind the other in one file, each of `blocks` blocks of codes.
    fn plain(groups: usize, blocks: usize) -> Self {
        let bytes = (blocks * BLOCK) as u64;
        let place = |group: usize| {
            let start = group as u64 * bytes;
            vec![codes(0, start..start + bytes)]
        };
        Self::new(&(0..groups).map(place).collect::<Vec<_>>())
    }

    /// Bytes of a group.
    fn bytes(&self, group: usize) -> u64 {
        let places = self.places[group].iter();
        places
            .map(|place| place.range.end - place.range.start)
            .sum()
    }

    /// Bytes of all groups.
    fn total(&self) -> u64 {
        (0..self.groups.len()).map(|group| self.bytes(group)).sum()
    }

    /// A stream of the model that reads one block at a time.
    fn stream<K: SlotSink<Flex> + Send + 'static>(
        &self,
        files: Disks,
        options: StreamOptions,
        beside: bool,
        sink: K,
    ) -> Result<Stream<K>, LoadError> {
        let group_of = |name: &str| name.parse().ok();
        let streamed = Streamed {
            path: "model.safetensors".into(),
            layout: Layout::new(&self.deferred, &group_of, ring(), options.ram_cache),
            files,
        };
        Lender::new(streamed, options, beside, sink)
    }

    /// Checks that a group's weights, and nothing else, are lent.
    fn check<K: SlotSink<Flex> + Send + 'static>(
        &self,
        stream: &mut Stream<K>,
        group: usize,
    ) -> Result<(), LoadError> {
        stream.with_group(group, &self.groups[group], &|| false, |layers| {
            for (weight, place) in layers.weights.iter().zip(&self.places[group]) {
                let expected: Vec<u8> =
                    place.range.clone().map(|at| byte(place.file, at)).collect();
                assert!(bytes(weight) == expected, "group {group}, {place:?}");
            }
        })
    }

    /// Lends a group, whatever its bytes.
    fn lend<K: SlotSink<Flex> + Send + 'static>(
        &self,
        stream: &mut Stream<K>,
        group: usize,
    ) -> Result<(), LoadError> {
        stream.with_group(group, &self.groups[group], &|| false, |_| ())
    }
}

type Stream<K> = Lender<Flex, K, Disks>;

fn codes(file: usize, range: Range<u64>) -> InFile {
    InFile {
        file,
        range,
        stored_as: StoredAs::Codes,
    }
}

fn bf16(file: usize, range: Range<u64>) -> InFile {
    InFile {
        file,
        range,
        stored_as: StoredAs::Floats(DType::BF16),
    }
}

/// The bytes of a weight.
fn bytes(weight: &Weight<Flex>) -> Vec<u8> {
    match weight {
        Weight::Packed(weight) => weight.bytes.val().into_data().to_vec::<u8>().unwrap(),
        Weight::Dense(weight) => weight.val().into_data().as_bytes().to_vec(),
    }
}

/// One block at a time, in sixteen buffers.
fn ring() -> Ring {
    Ring {
        readers: 8,
        buffers: 16,
        buffer_bytes: BLOCK,
    }
}

fn slots(slots: usize) -> StreamOptions {
    StreamOptions {
        slots,
        ..StreamOptions::default()
    }
}

fn null() -> Device<NullSink> {
    Device::new(NullSink::new())
}

fn host() -> Device<HostSink> {
    Device::new(HostSink::new())
}

/// Runs a test that must not hang.
fn soon(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    let ended = ended.recv_timeout(Duration::from_secs(120));
    assert!(
        ended != Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "it hangs"
    );
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until something is so, which it must become.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
