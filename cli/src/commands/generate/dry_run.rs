//! The plan of a run: what it would take, without loading or writing anything.

use backends::Selection;
use engine::request::ComputeConfig;

use super::request::Request;
use super::{requests, seed, settle};
use crate::args::{GenerateConfig, PlanConfig, PromptSource};
use crate::console::{self, Console};
use crate::error::CliError;
use crate::plan::{Plan, Setting, Subject};
use crate::survey::{Survey, processor};

/// Where a run is planned for.
#[derive(Debug, Clone)]
pub(super) enum Where {
    /// A device of this machine.
    Device(Selection),
    /// A GPU of so many bytes, which need not be there.
    Gpu(u64),
}

impl Where {
    /// Its number format and memory, once the models are known to be usable there.
    ///
    /// # Errors
    /// What is wrong with the models' files, or a number format that the device does not have.
    pub(super) fn setting(
        self,
        compute: &ComputeConfig,
        survey: Survey<'_>,
    ) -> Result<Setting, CliError> {
        match self {
            Self::Device(Selection { device, .. }) => {
                let facts = backends::dispatch(&device, survey)??;
                Ok(Setting::on(compute, &device, facts))
            }
            Self::Gpu(total) => {
                if let Some(processor) = processor() {
                    // Of a device that is not there nothing can be asked, but the files can be
                    // checked.
                    backends::dispatch(&processor, survey)??;
                }
                Ok(Setting::on_gpu_of(compute, total))
            }
        }
    }
}

/// Prints the plan of `plan`'s flags.
///
/// # Errors
/// What makes the files unusable; [`CliError::Memory`] for a plan that does not fit.
pub(crate) fn plan(config: &PlanConfig) -> Result<(), CliError> {
    let generate = &config.generate;
    let console = Console::new(generate.verbosity);
    for notice in &generate.notices {
        console.note(&format!("note: {notice}"));
    }
    let seed = generate.seed.unwrap_or_else(seed::random);
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
/// As of [`plan`].
pub(super) fn run(
    config: &GenerateConfig,
    requests: Vec<Request>,
    place: Where,
    json: bool,
    console: Console,
) -> Result<(), CliError> {
    let (job, setting) = settle(config, requests, place, console)?;
    if job.images.is_empty() {
        console.note("nothing is left to do");
        return if json {
            console::stdout("null\n")
        } else {
            Ok(())
        };
    }
    let mut work = job.work();
    if config.prompt == PromptSource::Longest {
        work = work.with_longest_text(&job.models.tokenizer)?;
    }
    let plan = Plan::new(&Subject::of(&job.models), work, setting);
    let text = if json {
        let json = serde_json::to_string_pretty(&plan);
        json.map_err(|error| CliError::internal(error.to_string()))? + "\n"
    } else {
        plan.table()
    };
    console::stdout(&text)?;
    plan.check()
}
