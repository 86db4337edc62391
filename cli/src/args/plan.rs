//! `plan`'s flags, checked.

use backends::BackendKind;
use engine::request::BackendName;

use super::environment::Environment;
use super::generate::GenerateConfig;
use super::raw::PlanArgs;
use crate::error::CliError;

/// The checked arguments of `plan`.
#[derive(Debug)]
pub(crate) struct PlanConfig {
    /// The run of `generate` that is planned.
    pub(crate) generate: GenerateConfig,
    /// Bytes of a GPU to plan for instead of a device of this machine.
    pub(crate) vram_total: Option<u64>,
    /// True if JSON is printed.
    pub(crate) json: bool,
}

impl PlanConfig {
    /// Checks every flag and combination of flags, as `generate` does.
    ///
    /// # Errors
    /// [`CliError::Usage`], naming the flag and what it takes; [`engine::Error::Input`] about the
    /// image of `--from`.
    pub(crate) fn resolve(args: PlanArgs, environment: Environment<'_>) -> Result<Self, CliError> {
        if args.vram_total.is_some()
            && args.generate.compute.backend.0 == BackendName::Kind(BackendKind::Flex)
        {
            return Err(CliError::Usage(
                "--vram-total stands for a GPU: leave out --backend flex".to_owned(),
            ));
        }
        let mut generate = GenerateConfig::of_plan(args.generate, environment)?;
        generate.dry_run = true;
        Ok(Self {
            generate,
            vram_total: args.vram_total,
            json: args.json,
        })
    }
}
