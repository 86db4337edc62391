//! Which LoRAs are used: those that flags name, and the Lightning LoRA of the models folder.

use std::path::{Path, PathBuf};

use loader::lora::{find_lightning, is_lightning, locate};
use loader::{Adapters, Lora, Weights};

use crate::args::{LightningSteps, ModelSources};
use crate::error::CliError;

/// Opens the LoRAs and fits them to the transformer.
///
/// # Errors
/// One that is missing, damaged or another model's; no Lightning LoRA, or several.
pub(crate) fn open(sources: &ModelSources, transformer: &Weights) -> Result<Adapters, CliError> {
    let models = sources.models.as_deref();
    let given = sources.loras.loras.iter();
    let mut files: Vec<(PathBuf, f64)> = given
        .map(|(path, weight)| (locate(path, models), *weight))
        .collect();
    if let Some(steps) = sources.loras.lightning {
        files.extend(lightning(&files, steps, models)?.map(|path| (path, 1.0)));
    }
    let loras = files
        .into_iter()
        .map(|(path, weight)| Ok((Lora::open(&path)?, weight)))
        .collect::<Result<_, CliError>>()?;
    Ok(Adapters::new(loras, transformer)?)
}

/// The Lightning LoRA to add to those that were named, if it is not among them. Where its name
/// tells nothing, one that was named is taken for it.
fn lightning(
    given: &[(PathBuf, f64)],
    steps: usize,
    models: Option<&Path>,
) -> Result<Option<PathBuf>, CliError> {
    let mut others = LightningSteps::ALL.into_iter().filter(|&n| n != steps);
    let paths = || given.iter().map(|(path, _)| path.as_path());
    if let Some((path, other)) = others.find_map(|other| {
        let mut paths = paths();
        Some((paths.find(|path| is_lightning(path, other))?, other))
    }) {
        return Err(CliError::Usage(format!(
            "--lightning {steps}: {} is for {other} steps",
            path.display()
        )));
    }
    if paths().any(|path| is_lightning(path, steps)) {
        return Ok(None);
    }
    let Some(models) = models else {
        return match given {
            [] => Err(CliError::Usage(format!(
                "--lightning {steps} needs the Lightning LoRA for {steps} steps: name it with \
                 --lora, or a folder that has it in its `loras` with --models"
            ))),
            _ => Ok(None),
        };
    };
    match find_lightning(models, steps) {
        Ok(path) => Ok(Some(path)),
        Err(loader::LoadError::Lightning { files, .. })
            if files.is_empty() && !given.is_empty() =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a LoRA is taken for the Lightning LoRA though its name does not say so.
pub(crate) fn lightning_is_assumed(adapters: &Adapters, steps: usize) -> bool {
    let mut loras = adapters.loras().iter();
    !loras.any(|(lora, _)| is_lightning(lora.source(), steps))
}
