//! `generate`: prompts become images. Everything that can be refused is refused before the first
//! model loads.

mod job;
mod memory;
mod noise_file;
mod observer;
mod phases;
mod seed;

use backends::{BackendKind, DeviceChoice};

use crate::args::{GenerateArgs, GenerateConfig, Verbosity, format_bytes};
use crate::console::{Console, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use crate::output::atomic_file;
use crate::output::names::Target;
use job::Job;

/// Makes the images, and prints the path of each to stdout.
///
/// # Errors
/// Whatever stands in the way; then no image is half-written.
pub(crate) fn run(args: GenerateArgs) -> Result<(), CliError> {
    let config = GenerateConfig::resolve(args, &|name| std::env::var_os(name))?;
    let console = Console::new(config.verbosity);
    for notice in &config.notices {
        console.note(&format!("note: {notice}"));
    }
    let quiet = config.verbosity == Verbosity::Quiet;
    interrupt::listen(move || {
        if !quiet {
            stderr_line("stopping; Ctrl-C again ends at once");
        }
    });

    let seed = config.seed.unwrap_or_else(seed::random);
    let targets = config.output.targets(seed, config.count);
    check_writable(&config, &targets)?;
    let device = backends::choose(backend(&config), config.device)?;
    advise(console, &config, &device);
    let job = Job::prepare(&config, seed, targets, console)?;
    if config.seed.is_none() && config.noise.is_none() {
        console.note(&format!("Seed: {seed}"));
    }
    job.run(&device)
}

/// The backend's name. A demo-sized picture is done on the processor before a GPU has compiled
/// its kernels, so there `auto` does not look for one.
fn backend(config: &GenerateConfig) -> &'static str {
    let demo = config.sources.is_demo() && config.device.is_none();
    match config.backend.as_str() {
        "auto" if demo && BackendKind::Flex.compiled_in() => BackendKind::Flex.name(),
        name => name,
    }
}

/// Everything to be written can be, and no two are the same file.
fn check_writable(config: &GenerateConfig, targets: &[Target]) -> Result<(), CliError> {
    config.check_distinct(targets)?;
    let records = [&config.trace, &config.report].into_iter().flatten();
    let images = targets.iter().map(|target| &target.path);
    images
        .chain(records)
        .try_for_each(|path| atomic_file::probe(path))
}

/// What the user should know about the device that was chosen.
fn advise(console: Console, config: &GenerateConfig, device: &DeviceChoice) {
    if let Some(advice) = backends::device::missed_gpu(device) {
        console.note(&format!("note: {advice}"));
    }
    if let Some(limit) = config.vram_limit {
        if device.kind == BackendKind::Flex {
            console
                .note("note: --vram-limit is about GPU memory; on the processor it has no effect");
        } else {
            console.detail(&format!("Memory limit: {}", format_bytes(limit)));
        }
    }
    console.detail(&format!(
        "Backend: {}, device {}",
        device.kind, device.index
    ));
}
