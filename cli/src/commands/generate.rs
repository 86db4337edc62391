//! `generate`: prompts become images. Everything that can be refused is refused before the first
//! model loads.

mod batch;
mod dry_run;
mod files;
mod lines;
mod lora_tags;
mod made;
mod preview;
mod prompt_file;
mod replacing;
mod request;
mod terminal;

use std::sync::Arc;

use engine::image::InitImage;
use engine::models::Models;
use engine::plan::{PhaseName, Plan, dtype_str};
use engine::request::random_seed;
use engine::{Embeddings, KeptFolders, Session};

use crate::args::{Environment, GenerateArgs, GenerateConfig, Verbosity, advise};
use crate::console::{Console, stderr_line};
use crate::error::CliError;
use crate::guard::ProcessGuard;
use crate::{hints, interrupt, known_models, plan};
use batch::Batch;
use dry_run::Where;
use request::Wanted;

pub(crate) use dry_run::plan;

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

    let seed = config.seed.unwrap_or_else(random_seed);
    let requests = requests(&config, seed, console)?;
    if config.dry_run {
        let selection = config.compute.choose(&config.sources)?;
        return dry_run::run(&config, requests, Where::Device(selection), false, console);
    }
    files::check_writable(&config, &requests)?;
    replacing::check_demo(&config, &requests)?;
    let selection = config.compute.choose(&config.sources)?;
    let device = selection.device;
    let (mut session, batch) = settle(&config, requests, Where::Device(selection), console)?;
    if !config.sources.is_demo() {
        let transformer = session.models().transformer.weights.source();
        let models = config.sources.models.as_deref();
        known_models::remember(environment, models.unwrap_or(transformer));
    }
    if batch.job.is_empty() {
        console.note("nothing is left to do");
        let none = session.embeddings(&batch.job);
        return batch.run(&mut session, &device, none);
    }
    let embeddings = session.embeddings(&batch.job);
    if let Some(status) = embeddings.status() {
        console.note(&hints::status(&status, batch.total));
    }
    session.check(&batch.job, &embeddings)?;
    tell_streaming(&session.plan_of(batch.job.work()), &embeddings, console);
    if config.seed.is_none() && config.noise.is_none() {
        console.note(&format!("Seed: {seed}"));
    }
    batch.run(&mut session, &device, embeddings)
}

/// Says what will be streamed, and how long that takes.
fn tell_streaming(plan: &Plan, embeddings: &Embeddings, console: Console) {
    for phase in &plan.phases {
        if phase.phase == PhaseName::Encode && embeddings.complete() {
            continue;
        }
        for line in plan::streaming(plan, phase) {
            console.note(&line);
        }
    }
}

/// Makes the requests, one for each image, and prints what the user should know of them.
fn requests(config: &GenerateConfig, seed: u64, console: Console) -> Result<Vec<Wanted>, CliError> {
    let mut notices = Vec::new();
    let mut requests = Wanted::all(config, seed, &mut notices)?;
    lora_tags::leave_out(&mut requests, config, &mut notices);
    for notice in &notices {
        console.note(&format!("note: {notice}"));
    }
    Ok(requests)
}

/// Opens all files and settles what is left to the models and the device.
fn settle<'a>(
    config: &'a GenerateConfig,
    mut requests: Vec<Wanted>,
    place: Where,
    console: Console,
) -> Result<(Session, Batch<'a>), CliError> {
    let ground = config.sampling.preset.image_ground();
    let read = |image| InitImage::read(image, ground);
    let init = config.image.as_ref().map(read).transpose()?;
    for notice in init.iter().flat_map(InitImage::notices) {
        console.note(&format!("note: {notice}"));
    }
    let models = open_models(config, init.as_ref(), console)?;
    let init = init.map(Arc::new);
    for Wanted { request, .. } in &mut requests {
        models
            .scheduler
            .settle(&mut request.sampling, config.asked)?;
        request.image.clone_from(&init);
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
    let mut session = match place {
        Where::Device(selection) => Session::new(models, config.compute, selection.device)?,
        Where::Gpu(total) => Session::planned(models, config.compute, total)?,
    };
    session.set_guard(Arc::new(ProcessGuard));
    // The built-in model's files are written anew each time, and it takes no time.
    if !config.sources.is_demo() {
        session.keep_in(KeptFolders {
            embeddings: config.prompt_cache.clone(),
            modulations: config.modulations.clone(),
            latents: config.latents.clone(),
            rates: config.rates.clone(),
        });
    }
    let from = config.from.as_ref();
    let dtype = dtype_str(session.setting().dtype);
    if let Some(notice) = from.and_then(|from| from.check_dtype(dtype)) {
        console.note(&format!("note: {notice}"));
    }
    let batch = Batch::prepare(config, &session, init, requests, console)?;
    Ok((session, batch))
}

/// Says that the image which is made again had noise levels of other constants.
fn other_constants(
    config: &GenerateConfig,
    models: &Models,
    requests: &[Wanted],
) -> Option<String> {
    let from = config.from.as_ref()?;
    let recipe = from.recipe.as_ref()?;
    let schedule = &requests.first()?.request.sampling.schedule;
    let same = recipe.scheduler == models.scheduler.recorded(schedule);
    (schedule.is_dynamic() && recipe.schedule.is_dynamic() && !same).then(|| {
        format!(
            "{}: was made with other constants of the noise levels than this model's scheduler has",
            from.path.display()
        )
    })
}

/// Opens the models' files and checks them, also against the image that is made again.
///
/// # Errors
/// Whatever is wrong with a file.
fn open_models(
    config: &GenerateConfig,
    init: Option<&InitImage>,
    console: Console,
) -> Result<Models, CliError> {
    let from = config.from.as_ref();
    let tell = |notice: Option<String>| {
        if let Some(notice) = notice {
            console.note(&format!("note: {notice}"));
        }
    };
    let mut models = Models::open_if(&config.sources, |name| {
        let sources = &config.sources;
        let chosen = sources.transformer.is_some() || sources.checkpoint.is_some();
        if let Some(from) = from {
            let notice = from.check_model(name, chosen)?;
            let foreign = from
                .foreign()
                .map(|made| hints::foreign(&from.path, made, name));
            tell(notice.or(foreign));
        }
        Ok(())
    })?;
    for note in &models.notes {
        console.note(&format!("note: {}", hints::note(note)));
    }
    interrupt::remove_at_exit(models.demo_folder());
    if init.is_some() {
        models.open_vae_encoder()?;
    }
    if let Some(from) = from {
        let stamp = init.map(|init| &init.stamp);
        let mask_stamp = init.and_then(|init| init.mask_stamp.as_ref());
        tell(from.check_stamps(stamp, mask_stamp));
        tell(from.check_loras(&models.used_loras));
    }
    Ok(models)
}
