//! Which LoRAs are used: those that are named, and the Lightning LoRA of the models folder.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use backends::ModelBackend;
use loader::lora::{
    LoadedAdapters, find_by_name, find_lightning, fitting, lightning_steps, locate,
};
use loader::{Adapters, Lora, Weights};
use model::Transformer;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::events::Note;
use crate::files::digest;
use crate::record::UsedLora;
use crate::request::{ModelSources, NamedLoras, RecordedLoras};

/// How much of a LoRA's file is in its stamp: the header and the first weights.
const STAMPED_BYTES: u64 = 1 << 20;

/// Opens the LoRAs and fits them to the transformer. Adds what the user should know of them.
///
/// # Errors
/// One that is missing, damaged or another model's; no Lightning LoRA, or several.
pub fn open(
    sources: &ModelSources,
    transformer: &Weights,
    notes: &mut Vec<Note>,
) -> Result<Adapters, Error> {
    let models = sources.models.as_deref();
    let given = sources.loras.loras.iter();
    let mut files: Vec<(PathBuf, f64)> = given
        .map(|(path, weight)| Ok((locate(path, models, transformer)?, *weight)))
        .collect::<Result<_, Error>>()?;
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
        .collect::<Result<Vec<_>, Error>>()?;
    for (lora, _) in &loras {
        let own = lora.notes().iter();
        notes.extend(own.map(|note| Note::File(format!("LoRA {}: {note}", lora.name()))));
    }
    Ok(Adapters::new(loras, transformer)?)
}

/// The files of the LoRAs that another program's prompt names, as far as they are in the models
/// folder's `loras` and for this model; a note tells of each.
fn of_prompt(
    named: &NamedLoras,
    models: Option<&Path>,
    transformer: &Weights,
    notes: &mut Vec<Note>,
) -> Result<Vec<(PathBuf, f64)>, Error> {
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
                    notes.push(Note::File(format!(
                        "{image} names the LoRA {} in its prompt; {} is used, with a weight of \
                         {weight}",
                        tag.name,
                        only.display()
                    )));
                    files.push((only.clone(), weight));
                    continue;
                }
                Err(error) => error.to_string(),
            },
            ([first, second, ..], _) => {
                format!("there are {} and {}", first.display(), second.display())
            }
        };
        notes.push(Note::LoraLeftOut {
            image: named.image.clone(),
            tag: tag.clone(),
            fault,
        });
    }
    Ok(files)
}

/// The files of an image's LoRAs. Their names are another's word, so they are looked for by name,
/// and only in the models folder's `loras`.
fn of_image(
    recorded: &RecordedLoras,
    models: Option<&Path>,
    transformer: &Weights,
) -> Result<Vec<(PathBuf, f64)>, Error> {
    let find = |lora: &UsedLora| {
        let UsedLora { file, weight, .. } = lora;
        let found = match models {
            Some(models) => {
                let found = fitting(find_by_name(models, file)?, transformer);
                of_digest(found, lora.digest.as_deref())
            }
            None => Vec::new(),
        };
        let fault = match found.as_slice() {
            [only] => return Ok((only.clone(), *weight)),
            [] => match models {
                Some(models) => {
                    format!("which is not in the `loras` folder of {}", models.display())
                }
                None => "and there is no models folder".to_owned(),
            },
            [first, second, ..] => {
                format!("and there are {} and {}", first.display(), second.display())
            }
        };
        Err(Error::RecordedLora {
            image: recorded.image.clone(),
            file: file.clone(),
            weight: *weight,
            fault,
        })
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
) -> Result<Option<PathBuf>, Error> {
    let mut told = given.iter().filter_map(|(path, _)| {
        let of_name = lightning_steps(path)?;
        Some((path, of_name))
    });
    if let Some((path, other)) = told.clone().find(|(_, of_name)| *of_name != steps) {
        return Err(Error::WrongLightning {
            steps,
            file: path.clone(),
            other,
        });
    }
    if told.next().is_some() {
        return Ok(None);
    }
    let Some(models) = models else {
        return match given {
            [] => Err(Error::NoLightning { steps }),
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

/// Puts loaded LoRAs beside the layers that they change.
///
/// # Errors
/// [`Error::Internal`] for a layer that the transformer does not have, which is checked before
/// anything is loaded.
pub(crate) fn attach<B: ModelBackend>(
    transformer: &mut Transformer<B>,
    pairs: LoadedAdapters<B>,
) -> Result<(), Error> {
    for (name, pair) in pairs {
        let layer = transformer.layer_mut(&name).ok_or_else(|| {
            Error::Internal(format!("the transformer has no linear layer {name}"))
        })?;
        layer.adapter = Some(pair);
    }
    Ok(())
}

/// The LoRAs for metadata.
///
/// # Errors
/// [`Error::ModelFile`] for a file that cannot be read.
pub fn used(adapters: &Adapters) -> Result<Vec<UsedLora>, Error> {
    let loras = adapters.loras().iter();
    loras
        .map(|(lora, weight)| {
            let source = lora.source();
            // Of a folder earlier versions knew the name alone.
            let stamp = source.is_file().then(|| stamp(source)).transpose();
            Ok(UsedLora {
                file: lora.file_name(),
                weight: *weight,
                stamp: stamp
                    .map_err(|error| Error::ModelFile(format!("{}: {error}", source.display())))?,
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

/// Tells whether a LoRA is taken for the Lightning LoRA though its name does not say so.
pub fn lightning_is_assumed(adapters: &Adapters, steps: usize) -> bool {
    let mut loras = adapters.loras().iter();
    !loras.any(|(lora, _)| lora.lightning_steps() == Some(steps))
}
