//! The plan of a run: what it would take, without loading or writing anything.

use backends::Selection;
use engine::request::random_seed;

use super::request::Wanted;
use super::{requests, settle};
use crate::args::{GenerateConfig, PlanConfig, PromptSource};
use crate::console::{self, Console};
use crate::error::CliError;
use crate::plan;

/// The device that a run is planned for.
#[derive(Debug, Clone)]
pub(super) enum Where {
    /// A device of this machine.
    Device(Selection),
    /// A GPU of so many bytes, which need not be there.
    Gpu(u64),
}

/// Prints the plan of `plan`'s flags.
///
/// # Errors
/// The fault of unusable files; [`engine::Error::Memory`] for a plan that does not fit.
pub(crate) fn plan(config: &PlanConfig) -> Result<(), CliError> {
    let generate = &config.generate;
    let console = Console::new(generate.verbosity);
    for notice in &generate.notices {
        console.note(&format!("note: {notice}"));
    }
    let seed = generate.seed.unwrap_or_else(random_seed);
    let requests = requests(generate, seed, console)?;
    let place = match config.vram_total {
        Some(total) => Where::Gpu(total),
        None => Where::Device(generate.compute.choose(&generate.sources)?),
    };
    run(generate, requests, place, config.json, console)
}

/// Prints the plan of what is asked for.
///
/// # Errors
/// The same as [`plan`].
pub(super) fn run(
    config: &GenerateConfig,
    requests: Vec<Wanted>,
    place: Where,
    json: bool,
    console: Console,
) -> Result<(), CliError> {
    let (session, batch) = settle(config, requests, place, console)?;
    if batch.job.is_empty() {
        console.note("nothing is left to do");
        return if json {
            console::stdout("null\n")
        } else {
            Ok(())
        };
    }
    let mut work = batch.job.work();
    if config.prompt == PromptSource::Longest {
        work = work.with_longest_text(&session.models().tokenizer)?;
    }
    let plan = session.plan_of(work);
    let text = if json {
        plan::json(&plan)?
            + "
"
    } else {
        plan::table(&plan)
    };
    console::stdout(&text)?;
    Ok(plan.check()?)
}
