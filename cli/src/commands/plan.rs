//! `plan`: how much memory each phase takes, and whether it fits, without loading anything.

use crate::args::{Environment, NEGATIVE_PROMPT, PlanArgs, PlanConfig, Verbosity};
use crate::console::{self, Console};
use crate::error::CliError;
use crate::models::Models;
use crate::plan::{Plan, Setting, Subject, Work};
use crate::survey::{Survey, processor};

/// Prints the plan.
///
/// # Errors
/// What makes the files unusable; [`CliError::Memory`] for a plan that does not fit.
pub(crate) fn run(args: PlanArgs) -> Result<(), CliError> {
    let config = PlanConfig::resolve(args, Environment(&|name| std::env::var_os(name)))?;
    let console = Console::new(Verbosity::Normal);
    for notice in &config.notices {
        console.note(&format!("note: {notice}"));
    }
    let models = Models::open(&config.sources, |_| Ok(()))?;
    let setting = setting(&config, &models, console)?;
    let plan = Plan::new(&Subject::of(&models), work(&config, &models)?, setting);
    print(&plan, config.json)?;
    plan.check()
}

/// Writes a plan to stdout.
///
/// # Errors
/// [`CliError::Stdout`].
pub(crate) fn print(plan: &Plan, json: bool) -> Result<(), CliError> {
    let text = if json {
        serde_json::to_string_pretty(plan).map_err(|error| CliError::Internal(error.to_string()))?
            + "\n"
    } else {
        plan.table()
    };
    console::stdout(&text)
}

fn work(config: &PlanConfig, models: &Models) -> Result<Work, CliError> {
    let (width, height) = models.size(config.size)?;
    let work = Work {
        width,
        height,
        encoder_tokens: 0,
        text_tokens: 0,
        guided: config.guided,
        images: config.count,
    };
    let negative = config
        .guided
        .then(|| models.tokenizer.encode_prompt(NEGATIVE_PROMPT))
        .transpose()?;
    let work = work.with_texts(&negative);
    match &config.prompt {
        Some(prompt) => Ok(work.with_texts([&models.tokenizer.encode_prompt(prompt)?])),
        None => work.with_longest_text(&models.tokenizer),
    }
}

fn setting(config: &PlanConfig, models: &Models, console: Console) -> Result<Setting, CliError> {
    let compute = &config.compute;
    let survey = Survey {
        models,
        dtype: compute.dtype,
    };
    let Some(total) = config.vram_total else {
        let device = compute.choose(&config.sources)?;
        compute.advise(console, &device);
        let facts = backends::dispatch(&device, survey)??;
        return Ok(Setting::on(compute, &device, facts));
    };
    if let Some(processor) = processor() {
        // Of a device that is not there nothing can be asked, but the files can be checked.
        backends::dispatch(&processor, survey)??;
    }
    Ok(Setting::on_gpu_of(compute, total))
}
