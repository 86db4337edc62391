//! `generate`: prompts become images. Everything that can be refused is refused before the first
//! model loads.

mod adapters;
mod damage;
mod decode;
mod denoise;
mod device_peak;
mod draw;
mod dry_run;
mod embeddings;
mod encode;
mod encode_image;
mod files;
mod image_job;
mod job;
mod leak;
mod lightning;
mod lora_tags;
mod noise_file;
mod observer;
mod preview;
mod prompt_file;
mod replacing;
mod request;
mod run;
mod seed;
mod start;
mod texts;
mod waiting;

pub(crate) use dry_run::plan;

use engine::image::InitImage;

use crate::args::{Environment, GenerateArgs, GenerateConfig, Verbosity, advise};
use crate::console::{Console, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use crate::known_models;
use crate::models::Models;
use crate::plan::{PhaseName, Plan, Setting, Subject, dtype_str};
use crate::survey::Survey;
use dry_run::Where;
use embeddings::Embeddings;
use job::Job;
use request::Request;

/// Makes the images, and prints the path of each to stdout.
///
/// # Errors
/// Whatever stands in the way; then no image is half-written.
pub(crate) fn run(args: GenerateArgs) -> Result<(), CliError> {
    let environment = Environment::of_process();
    let config = GenerateConfig::resolve(args, environment)?;
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
    let requests = requests(&config, seed, console)?;
    if config.dry_run {
        let selection = config.compute.choose(&config.sources)?;
        return dry_run::run(&config, requests, Where::Device(selection), false, console);
    }
    files::check_writable(&config, &requests)?;
    replacing::check_demo(&config, &requests)?;
    let selection = config.compute.choose(&config.sources)?;
    let device = selection.device;
    let (job, setting) = settle(&config, requests, Where::Device(selection), console)?;
    if !config.sources.is_demo() {
        let transformer = job.models.transformer.weights.source();
        let models = config.sources.models.as_deref();
        known_models::remember(environment, models.unwrap_or(transformer));
    }
    if job.images.is_empty() {
        console.note("nothing is left to do");
        return job.run(&device, setting, Embeddings::default());
    }
    let plan = Plan::new(&Subject::of(&job.models), job.work(), setting);
    let embeds = Embeddings::look_up(&job, &job.encoder_device(&device), &setting);
    plan.check_from(if embeds.complete() {
        PhaseName::EncodeImage
    } else {
        PhaseName::Encode
    })?;
    job.check_host_memory(!plan.decodes_beside())?;
    if config.seed.is_none() && config.noise.is_none() {
        console.note(&format!("Seed: {seed}"));
    }
    job.run(&device, setting, embeds)
}

/// What is asked for, image by image; tells what the user should know of it.
fn requests(
    config: &GenerateConfig,
    seed: u64,
    console: Console,
) -> Result<Vec<Request>, CliError> {
    let mut notices = Vec::new();
    let mut requests = Request::all(config, seed, &mut notices)?;
    lora_tags::leave_out(&mut requests, config, &mut notices);
    for notice in &notices {
        console.note(&format!("note: {notice}"));
    }
    Ok(requests)
}

/// Opens all files and settles what is left to the models and the device.
fn settle<'a>(
    config: &'a GenerateConfig,
    mut requests: Vec<Request>,
    place: Where,
    console: Console,
) -> Result<(Job<'a>, Setting), CliError> {
    let ground = config.sampling.preset.image_ground();
    let read = |image| InitImage::read(image, ground);
    let init = config.image.as_ref().map(read).transpose()?;
    for notice in init.iter().flat_map(InitImage::notices) {
        console.note(&format!("note: {notice}"));
    }
    let models = job::open_models(config, init.as_ref(), console)?;
    for request in &mut requests {
        models
            .scheduler
            .settle(&mut request.sampling, config.asked)?;
    }
    if let Some(notice) = other_constants(config, &models, &requests) {
        console.note(&format!("note: {notice}"));
    }
    if !config.dry_run {
        files::check_models(config, &models)?;
    }
    if let Where::Device(selection) = &place {
        let environment = Environment::of_process();
        advise(
            &config.compute,
            console,
            selection,
            &config.sources,
            environment,
        );
    }
    let survey = Survey {
        models: &models,
        dtype: config.compute.dtype,
    };
    let setting = place.setting(&config.compute, survey)?;
    let from = config.from.as_ref();
    if let Some(notice) = from.and_then(|from| from.check_dtype(dtype_str(setting.dtype))) {
        console.note(&format!("note: {notice} (--dtype chooses)"));
    }
    let job = Job::prepare(config, models, init, requests, setting.dtype, console)?;
    Ok((job, setting))
}

/// Says that the image which is made again had noise levels of other constants.
fn other_constants(
    config: &GenerateConfig,
    models: &Models,
    requests: &[Request],
) -> Option<String> {
    let from = config.from.as_ref()?;
    let recipe = from.recipe.as_ref()?;
    let schedule = &requests.first()?.sampling.schedule;
    let same = recipe.scheduler == models.scheduler.recorded(schedule);
    (schedule.is_dynamic() && recipe.schedule.is_dynamic() && !same).then(|| {
        format!(
            "{}: was made with other constants of the noise levels than this model's scheduler has",
            from.path.display()
        )
    })
}
