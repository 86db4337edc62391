//! `plan`'s flags, checked.

use super::compute::ComputeConfig;
use super::environment::Environment;
use super::generate::batch_count;
use super::groups::BackendName;
use super::image_size::ImageSize;
use super::lora::LoraConfig;
use super::raw::PlanArgs;
use super::sources::ModelSources;
use crate::error::CliError;

/// What `plan` was asked to plan.
#[derive(Debug)]
pub(crate) struct PlanConfig {
    /// The prompt whose tokens count; `None` for the longest.
    pub(crate) prompt: Option<String>,
    /// Whether there is a pass with a negative prompt.
    pub(crate) guided: bool,
    /// Sides asked for; `None` leaves them to the model.
    pub(crate) size: ImageSize,
    /// Images, at least 1.
    pub(crate) count: usize,
    /// Where the model files are.
    pub(crate) sources: ModelSources,
    /// Where and how to compute.
    pub(crate) compute: ComputeConfig,
    /// Bytes of a GPU to plan for instead of a device of this machine.
    pub(crate) vram_total: Option<u64>,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// Things the user should know about how the flags were read.
    pub(crate) notices: Vec<String>,
}

impl PlanConfig {
    /// Checks every flag and combination of flags.
    ///
    /// # Errors
    /// [`CliError::Usage`], naming the flag and what it takes.
    pub(crate) fn resolve(args: PlanArgs, environment: Environment<'_>) -> Result<Self, CliError> {
        if args.vram_total.is_some() && args.compute.backend == BackendName::Flex {
            return Err(CliError::Usage(
                "--vram-total stands for a GPU: leave out --backend flex".to_owned(),
            ));
        }
        let mut notices = Vec::new();
        let loras = LoraConfig::resolve(&args.loras, None)?;
        let guided = !args.no_negative_prompt && loras.lightning.is_none();
        Ok(Self {
            size: ImageSize::resolve(&args.size, &mut notices)?,
            count: batch_count(args.batch_count)?,
            compute: ComputeConfig::resolve(&args.compute, environment)?,
            sources: ModelSources::resolve(args.sources, loras, environment, &mut notices)?,
            prompt: args.prompt,
            guided,
            vram_total: args.vram_total,
            json: args.json,
            notices,
        })
    }
}
