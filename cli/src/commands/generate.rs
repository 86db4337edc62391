//! `generate`: prompts become images. Everything that can be refused is refused before the first
//! model loads.

mod decode;
mod denoise;
mod device_peak;
mod draw;
mod encode;
mod job;
mod leak;
mod noise_file;
mod observer;
mod picture;
mod preview;
mod request;
mod run;
mod seed;
mod texts;

use super::plan;
use crate::args::{Environment, GenerateArgs, GenerateConfig, Verbosity};
use crate::console::{Console, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use crate::output::{atomic_file, preview_file};
use crate::plan::{Plan, Setting, Subject};
use crate::survey::Survey;
use job::Job;
use request::Request;

/// Makes the images, and prints the path of each to stdout.
///
/// # Errors
/// Whatever stands in the way; then no image is half-written.
pub(crate) fn run(args: GenerateArgs) -> Result<(), CliError> {
    let config = GenerateConfig::resolve(args, Environment(&|name| std::env::var_os(name)))?;
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
    let requests = Request::all(&config, seed);
    if !config.dry_run {
        check_writable(&config, &requests)?;
    }
    let device = config.compute.choose(&config.sources)?;
    config.compute.advise(console, &device);
    let job = Job::prepare(&config, requests, console)?;
    let survey = Survey {
        models: &job.models,
        dtype: config.compute.dtype,
    };
    let facts = backends::dispatch(&device, survey)??;
    let setting = Setting::on(&config.compute, &device, facts);
    let plan = Plan::new(&Subject::of(&job.models), job.work(), setting);
    if config.dry_run {
        plan::print(&plan, false)?;
        return plan.check();
    }
    plan.check()?;
    if config.seed.is_none() && config.noise.is_none() {
        console.note(&format!("Seed: {seed}"));
    }
    job.run(&device, setting)
}

/// Everything to be written can be, and no two are the same file.
fn check_writable(config: &GenerateConfig, requests: &[Request]) -> Result<(), CliError> {
    let images = requests.iter().map(|request| &request.target.path);
    config.check_distinct(images.clone())?;
    let records = [&config.trace, &config.report].into_iter().flatten();
    let outputs = images.clone().chain(records);
    if config.preview.is_some() {
        for preview in images.map(|image| preview_file::path_of(image)) {
            if outputs.clone().any(|output| *output == preview) {
                return Err(CliError::Usage(format!(
                    "{} is where a preview goes: give it another name",
                    preview.display()
                )));
            }
            atomic_file::probe(&preview)?;
        }
    }
    outputs
        .into_iter()
        .try_for_each(|path| atomic_file::probe(path))
}
