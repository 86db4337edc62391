//! Which LoRAs are used: those that flags name, and the Lightning LoRA of the models folder.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::files::digest;
use engine::record::UsedLora;
use engine::request::{ModelSources, NamedLoras, RecordedLoras};
use loader::lora::{find_by_name, find_lightning, fitting, lightning_steps, locate};
use loader::{Adapters, Lora, Weights};
use sha2::{Digest, Sha256};

use crate::error::CliError;

/// How much of a LoRA's file is in its stamp: the header and the first weights.
const STAMPED_BYTES: u64 = 1 << 20;

/// Opens the LoRAs and fits them to the transformer. Adds what the user should know of them.
///
/// # Errors
/// One that is missing, damaged or another model's; no Lightning LoRA, or several.
pub(crate) fn open(
    sources: &ModelSources,
    transformer: &Weights,
    notes: &mut Vec<String>,
) -> Result<Adapters, CliError> {
    let models = sources.models.as_deref();
    let given = sources.loras.loras.iter();
    let mut files: Vec<(PathBuf, f64)> = given
        .map(|(path, weight)| Ok((locate(path, models, transformer)?, *weight)))
        .collect::<Result<_, CliError>>()?;
    if let Some(recorded) = &sources.loras.recorded {
        files.extend(of_image(recorded, models, transformer)?);
    }
    if let Some(named) = &sources.loras.named {
        files.extend(of_prompt(named, models, transformer, notes)?);
    }
    if let Some(steps) = sources.loras.lightning {
        let lightning = lightning(&files, steps, models, transformer)?;
        files.extend(lightning.map(|path| (path, 1.0)));
    }
    let loras = files
        .into_iter()
        .map(|(path, weight)| Ok((Lora::open(&path)?, weight)))
        .collect::<Result<Vec<_>, CliError>>()?;
    for (lora, _) in &loras {
        let own = lora.notes().iter();
        notes.extend(own.map(|note| format!("LoRA {}: {note}", lora.name())));
    }
    Ok(Adapters::new(loras, transformer)?)
}

/// The files of the LoRAs that another program's prompt names, as far as they are in the models
/// folder's `loras` and for this model; a note tells of each.
fn of_prompt(
    named: &NamedLoras,
    models: Option<&Path>,
    transformer: &Weights,
    notes: &mut Vec<String>,
) -> Result<Vec<(PathBuf, f64)>, CliError> {
    let mut files = Vec::new();
    for tag in &named.tags {
        let image = named.image.display();
        let found = match models {
            Some(models) => fitting(find_by_name(models, &tag.name)?, transformer),
            None => Vec::new(),
        };
        let fault = match (found.as_slice(), tag.weight) {
            (_, None) => "its weight is not understood".to_owned(),
            ([], _) => match models {
                Some(models) => format!("the `loras` folder of {} has none", models.display()),
                None => "there is no models folder".to_owned(),
            },
            ([only], Some(weight)) => match loader::lora::check(only, transformer) {
                Ok(()) => {
                    notes.push(format!(
                        "{image} names the LoRA {} in its prompt; {} is used, with a weight of \
                         {weight}",
                        tag.name,
                        only.display()
                    ));
                    files.push((only.clone(), weight));
                    continue;
                }
                Err(error) => error.to_string(),
            },
            ([first, second, ..], _) => {
                format!("there are {} and {}", first.display(), second.display())
            }
        };
        notes.push(format!(
            "{image} names the LoRA {} in its prompt, which is left out: {fault} (--lora {} adds \
             one)",
            tag.name,
            tag.value()
        ));
    }
    Ok(files)
}

/// The files of an image's LoRAs. Their names are another's word, so they are looked for by name,
/// and only in the models folder's `loras`.
fn of_image(
    recorded: &RecordedLoras,
    models: Option<&Path>,
    transformer: &Weights,
) -> Result<Vec<(PathBuf, f64)>, CliError> {
    let bad = |reason: String| CliError::input(format!("{}: {reason}", recorded.image.display()));
    let find = |lora: &UsedLora| {
        let UsedLora { file, weight, .. } = lora;
        let found = match models {
            Some(models) => {
                let found = fitting(find_by_name(models, file)?, transformer);
                of_digest(found, lora.digest.as_deref())
            }
            None => Vec::new(),
        };
        let made_with = format!("it was made with the LoRA {file}");
        let name_it = format!("name it with --lora FILE:{weight}");
        match found.as_slice() {
            [only] => Ok((only.clone(), *weight)),
            [] => Err(bad(match models {
                Some(models) => format!(
                    "{made_with}, which is not in the `loras` folder of {}: {name_it}",
                    models.display()
                ),
                None => format!("{made_with}, and there is no models folder: {name_it}"),
            })),
            [first, second, ..] => Err(bad(format!(
                "{made_with}, and there are {} and {}: {name_it}",
                first.display(),
                second.display()
            ))),
        }
    };
    recorded.loras.iter().map(find).collect()
}

/// The one of several LoRAs of one name that has the recorded contents; all of them if not one
/// alone has.
fn of_digest(found: Vec<PathBuf>, recorded: Option<&str>) -> Vec<PathBuf> {
    if found.len() < 2 || recorded.is_none() {
        return found;
    }
    let is_it = |path: &&PathBuf| {
        let lora = Lora::open(path).ok();
        let digest = lora.and_then(|lora| digest::of_files(lora.files()).ok());
        digest.as_deref() == recorded
    };
    let same: Vec<&PathBuf> = found.iter().filter(is_it).collect();
    match same.as_slice() {
        [only] => vec![PathBuf::clone(only)],
        _ => found,
    }
}

/// The Lightning LoRA to add to those that were named, if it is not among them. Where its name
/// tells nothing, one that was named is taken for it.
fn lightning(
    given: &[(PathBuf, f64)],
    steps: usize,
    models: Option<&Path>,
    transformer: &Weights,
) -> Result<Option<PathBuf>, CliError> {
    let mut told = given.iter().filter_map(|(path, _)| {
        let of_name = lightning_steps(path)?;
        Some((path, of_name))
    });
    if let Some((path, other)) = told.clone().find(|(_, of_name)| *of_name != steps) {
        return Err(CliError::Usage(format!(
            "--lightning {steps}: {} is for {other} steps",
            path.display()
        )));
    }
    if told.next().is_some() {
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
    match find_lightning(models, steps, transformer) {
        Ok(path) => Ok(Some(path)),
        Err(loader::LoadError::Lightning { files, .. })
            if files.is_empty() && !given.is_empty() =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The LoRAs for metadata.
///
/// # Errors
/// [`CliError::ModelFile`] for a file that cannot be read.
pub(crate) fn used(adapters: &Adapters) -> Result<Vec<UsedLora>, CliError> {
    let loras = adapters.loras().iter();
    loras
        .map(|(lora, weight)| {
            let source = lora.source();
            // Of a folder earlier versions knew the name alone.
            let stamp = source.is_file().then(|| stamp(source)).transpose();
            Ok(UsedLora {
                file: lora.file_name(),
                weight: *weight,
                stamp: stamp.map_err(|error| {
                    CliError::model_file(format!("{}: {error}", source.display()))
                })?,
                digest: Some(digest::of_files(lora.files())?),
            })
        })
        .collect()
}

/// A file's length and the SHA-256 of its beginning, by which images of earlier versions know
/// their LoRAs.
fn stamp(source: &Path) -> std::io::Result<String> {
    let file = File::open(source)?;
    let length = file.metadata()?.len();
    let mut start = Vec::new();
    file.take(STAMPED_BYTES).read_to_end(&mut start)?;
    Ok(format!("{length}-{:x}", Sha256::digest(&start)))
}

/// Whether a LoRA is taken for the Lightning LoRA though its name does not say so.
pub(crate) fn lightning_is_assumed(adapters: &Adapters, steps: usize) -> bool {
    let mut loras = adapters.loras().iter();
    !loras.any(|(lora, _)| lora.lightning_steps() == Some(steps))
}
