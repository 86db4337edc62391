//! Reads a checkpoint through rings of several shapes, and times the fixed costs of a load.
//!
//! rings FILE [BACKEND]: without a backend the bytes go nowhere.

use std::path::{Path, PathBuf};
use std::time::Instant;

use backends::storage::ModelBackend;
use backends::upload::DeviceSink;
use backends::{NullSink, OnBackend};
use burn::tensor::TensorData;
use loader::{Component, LoadError, LoadReport, Ring, Weights, read_through_by};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Each shape is measured so often; the best counts, since others use the machine too.
const ROUNDS: usize = 3;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().ok_or("rings FILE [BACKEND]")?);
    let weights = open(&file)?;
    match arguments.next() {
        None => shapes(|ring| read_through_by(ring, &weights, &mut NullSink::new(), &mut ())),
        Some(name) => {
            let name = name.into_string().map_err(|_| "no backend's name")?;
            let choice = backends::choose(&name, None)?;
            backends::dispatch(&choice, OnDevice { weights: &weights })?
        }
    }
}

/// The first model that a file has tensors of.
fn open(file: &Path) -> Result<Weights, LoadError> {
    let transformer = Weights::open(file, Component::Transformer);
    transformer
        .or_else(|_| Weights::open(file, Component::TextEncoder))
        .or_else(|_| Weights::open(file, Component::Vae))
}

/// Prints the rate of each shape.
fn shapes(read: impl Fn(&Ring) -> Result<LoadReport, LoadError>) -> Result<(), Failure> {
    println!("this machine's default: {:?}\n", Ring::default());
    println!("readers  buffers  MiB each   GB/s  way");
    for mib in [1, 2, 4, 8] {
        for (readers, buffers) in [(8, 16), (8, 32), (12, 24), (14, 32), (16, 32), (24, 48)] {
            let ring = Ring {
                readers,
                buffers,
                buffer_bytes: mib << 20,
            };
            let reports = (0..ROUNDS)
                .map(|_| read(&ring))
                .collect::<Result<Vec<_>, _>>()?;
            let rate = |report: &LoadReport| report.bytes_per_second() / 1e9;
            let best = reports.iter().map(rate).fold(0.0, f64::max);
            let way = reports[0].way();
            println!("{readers:7} {buffers:8} {mib:9} {best:6.2}  {way}");
        }
    }
    Ok(())
}

struct OnDevice<'a> {
    weights: &'a Weights,
}

impl OnBackend for OnDevice<'_> {
    type Output = Result<(), Failure>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        self.fixed_costs::<B>(&device)?;
        shapes(|ring| {
            let mut sink = self.sink::<B>(&device)?;
            let report = read_through_by(ring, self.weights, &mut sink, &mut ())?;
            drop(sink);
            B::release_unused(&device);
            Ok(report)
        })
    }
}

impl OnDevice<'_> {
    fn sink<B: ModelBackend>(&self, device: &B::Device) -> Result<B::Sink, LoadError> {
        B::sink(device).map_err(|error| LoadError::upload(self.weights.source(), error))
    }

    /// Times what a load does beside reading and copying.
    fn fixed_costs<B: ModelBackend>(&self, device: &B::Device) -> Result<(), Failure> {
        let ring = Ring::default();
        // What only the first use of a device costs is no cost of a load.
        drop(self.sink::<B>(device)?);
        timed("ask for the device's free memory", || B::memory(device));
        let mut sink = timed("make a sink", || self.sink::<B>(device))?;
        let buffers = timed("make the ring's buffers", || {
            let buffers = (0..ring.buffers).map(|_| sink.host_buffer(ring.buffer_bytes));
            buffers.collect::<Result<Vec<_>, _>>()
        })?;
        timed("drop them", || drop(buffers));
        timed("take memory of 100 tensors of 16 MiB", || {
            (0..100).try_for_each(|_| sink.allocate(16 << 20).map(drop))
        })?;
        timed("drop the sink", || drop(sink));
        timed("give its memory back", || B::release_unused(device));
        let converted = timed("make 1000 parameters of 3072 numbers", || {
            let parameters = (0..1000).map(|_| {
                let data = TensorData::new(vec![0f32; 3072], [3072]);
                B::memory_persistent_allocations(device, data, |data| {
                    B::float_from_data(data, device)
                })
            });
            parameters.collect::<Vec<_>>()
        });
        timed("wait for the device", || B::sync(device)).map_err(|error| format!("{error:?}"))?;
        drop(converted);
        timed("make a parameter of 5 million numbers", || {
            let data = TensorData::new(vec![0f32; 5 << 20], [5 << 20]);
            let value = B::float_from_data(data, device);
            B::sync(device).map(|()| drop(value))
        })
        .map_err(|error| format!("{error:?}"))?;
        println!();
        Ok(())
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{:8.2} ms to {what}", start.elapsed().as_secs_f64() * 1e3);
    result
}
