//! Streams the blocks of a transformer's file through slots of a device, round after round, and
//! prints the rate of each round as JSON, and before and after them that of the disk alone.
//!
//!     weight_stream FILE [null | BACKEND] [ROUNDS] [SLOTS] [RAM_CACHE_BYTES]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backends::upload::SlotSink;
use backends::{ModelBackend, NullSink, OnBackend, dispatch, host_memory::host_memory};
use burn_flex::{Flex, FlexDevice};
use loader::{
    Component, Deferred, LoadError, LoadMethod, StreamFigures, StreamOptions, WeightStream,
    Weights, load_deferring, read_rate,
};
use model::{Builder, Transformer, TransformerConfig};

/// For so long the disk alone is measured.
const DISK: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file: PathBuf = args
        .next()
        .ok_or("usage: FILE [null | BACKEND] [ROUNDS] [SLOTS] [RAM_CACHE_BYTES]")?
        .into();
    let device = args.next().unwrap_or_else(|| "null".into());
    let mut number = |default| args.next().map_or(Ok(default), |text| text.parse());
    let rounds = number(3)?;
    let options = StreamOptions {
        slots: number(2)? as usize,
        ram_cache: number(0)?,
        ..StreamOptions::default()
    };
    let weights = Weights::open(&file, Component::Transformer)?;
    let config = TransformerConfig::resolve(weights.config(), &|name| {
        weights.shape(name).map(<[usize]>::to_vec)
    })?;
    let streaming = Streaming {
        weights: &weights,
        config,
        rounds,
        options,
        disk: read_rate(&weights, DISK)?,
    };
    match device.as_str() {
        "null" => streaming.into_nothing()?,
        backend => dispatch(&backends::choose(backend, None)?, streaming)??,
    }
    let after = read_rate(&weights, DISK)? / 1e9;
    println!("{{\"disk_gb_per_second_after\": {after:.3}}}");
    Ok(())
}

struct Streaming<'a> {
    weights: &'a Weights,
    config: TransformerConfig,
    rounds: u64,
    options: StreamOptions,
    /// Bytes a second of the disk alone.
    disk: f64,
}

impl OnBackend for Streaming<'_> {
    type Output = Result<(), LoadError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let (module, deferred) = self.load::<B>(&device)?;
        let (weights, options) = (self.weights, self.options);
        let stream = WeightStream::<B>::open(weights, &deferred, &group_of, options, &device)?;
        self.stream(&module, stream)
    }
}

impl Streaming<'_> {
    /// Streams to a device that keeps nothing.
    fn into_nothing(self) -> Result<(), LoadError> {
        let (module, deferred) = self.load::<Flex>(&FlexDevice)?;
        let sink = NullSink::new();
        let stream = WeightStream::<Flex, _>::through(
            sink,
            true,
            self.weights,
            &deferred,
            &group_of,
            self.options,
        )?;
        self.stream(&module, stream)
    }

    /// Loads all but the matrices of the blocks.
    fn load<B: ModelBackend>(
        &self,
        device: &B::Device,
    ) -> Result<(Transformer<B>, Deferred), LoadError> {
        let formats = |name: &str| self.weights.format(name);
        let module = Builder::build(device, &formats, |root| {
            Transformer::uninitialized(&self.config, root)
        });
        let defer = |name: &str| name.starts_with(BLOCKS);
        let method = LoadMethod::Read;
        let loaded = load_deferring(method, module, self.weights, &defer, device, &mut ())?;
        Ok((loaded.0, loaded.1))
    }

    fn stream<B: ModelBackend, K: SlotSink<B> + Send + 'static>(
        &self,
        module: &Transformer<B>,
        mut stream: WeightStream<B, K>,
    ) -> Result<(), LoadError> {
        let mut before = StreamFigures::default();
        for round in 1..=self.rounds {
            let start = Instant::now();
            for (index, block) in module.transformer_blocks.iter().enumerate() {
                stream.with_group(index, block, &|| false, |_| ())?;
            }
            let seconds = start.elapsed().as_secs_f64();
            let figures = stream.figures();
            let read = figures.bytes_read - before.bytes_read;
            let cached = figures.bytes_from_cache - before.bytes_from_cache;
            let anonymous = host_memory().map_or(0, |memory| memory.anonymous);
            println!(
                "{{\"round\": {round}, \"seconds\": {seconds:.3}, \"gb_per_second\": {:.3}, \
                 \"disk_gb_per_second_before\": {:.3}, \"gb_read\": {:.3}, \"gb_from_cache\": {:.3}, \
                 \"seconds_waited\": {:.3}, \"seconds_stalled\": {:.3}, \"anonymous_mib\": {}}}",
                (read + cached) as f64 / seconds / 1e9,
                self.disk / 1e9,
                read as f64 / 1e9,
                cached as f64 / 1e9,
                figures.seconds_waited - before.seconds_waited,
                figures.seconds_stalled - before.seconds_stalled,
                anonymous >> 20,
            );
            before = figures;
        }
        Ok(())
    }
}

/// The beginning of the names of the blocks' weights.
const BLOCKS: &str = "transformer_blocks.";

/// A block is a group. Modulations are of none, since a run computes them before its steps.
fn group_of(name: &str) -> Option<usize> {
    let (block, layer) = name.strip_prefix(BLOCKS)?.split_once('.')?;
    let is_modulation = layer.starts_with("img_mod.") || layer.starts_with("txt_mod.");
    block.parse().ok().filter(|_| !is_modulation)
}
