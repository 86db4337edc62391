//! The files of a run: what is written must not lie over what is read, nor over itself.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use engine::files::atomic;
use engine::models::Models;

use super::request::Wanted;
use crate::args::{GenerateConfig, PromptSource, image_files};
use crate::error::CliError;
use crate::output::{file_key::file_key, preview_file};

/// Everything to be written can be, no two are the same file, and nothing of the user's is lost.
///
/// # Errors
/// [`CliError::Usage`] naming the flag or the file; [`engine::Error::Output`].
pub(super) fn check_writable(config: &GenerateConfig, requests: &[Wanted]) -> Result<(), CliError> {
    let images: Vec<&PathBuf> = requests
        .iter()
        .map(|request| &request.target.path)
        .collect();
    let mut taken: HashSet<PathBuf> = images.iter().map(|image| file_key(image)).collect();
    let inputs = inputs(config);
    let usage = |message: String| Err(CliError::Usage(message));

    // An image that is made again may take its own place.
    let read = inputs.iter().filter(|(flag, _)| *flag != "--from");
    let read = read.map(|&(flag, path)| (flag, path));
    let written = records(config).map(|(flag, path)| (flag, path.as_path()));
    for (flag, file) in written.chain(read) {
        if taken.contains(&file_key(file)) {
            return usage(format!(
                "{flag} names the image's own file {}",
                file.display()
            ));
        }
    }
    for (flag, record) in records(config) {
        let key = file_key(record);
        if let Some((other, _)) = inputs.iter().find(|(_, input)| file_key(input) == key) {
            return Err(would_write_over(flag, record, &format!("{other} names")));
        }
        taken.insert(key);
    }
    let records = records(config).map(|(_, path)| path);
    atomic::probe(records)?;
    atomic::probe_with_folders(images.iter().copied())?;
    if config.preview.is_none() {
        return Ok(());
    }
    taken.extend(inputs.iter().map(|(_, input)| file_key(input)));
    let previews: Vec<PathBuf> = images
        .iter()
        .map(|image| preview_file::path_of(image))
        .collect();
    for preview in &previews {
        if taken.contains(&file_key(preview)) {
            return usage(format!(
                "{} is where a preview goes: give it another name",
                preview.display()
            ));
        }
        preview_file::check_free(preview)?;
    }
    Ok(atomic::probe_with_folders(&previews)?)
}

/// Nothing is written over a file of the models.
///
/// # Errors
/// [`CliError::Usage`] naming the flag and the file.
pub(super) fn check_models(config: &GenerateConfig, models: &Models) -> Result<(), CliError> {
    for (flag, record) in records(config) {
        let key = file_key(record);
        let belongs = models.sources().any(|source| {
            let source = file_key(source);
            key == source || (key.parent() == Some(&source) && is_model_file(&key))
        });
        if belongs {
            return Err(would_write_over(flag, record, "belongs to the models"));
        }
    }
    Ok(())
}

/// The files that are written beside images, with their flags.
fn records(config: &GenerateConfig) -> impl Iterator<Item = (&'static str, &PathBuf)> {
    let records = [("--trace", &config.trace), ("--report", &config.report)];
    records
        .into_iter()
        .filter_map(|(flag, file)| Some((flag, file.as_ref()?)))
}

/// Says of a file to be written what is there.
fn would_write_over(flag: &str, record: &Path, what: &str) -> CliError {
    CliError::Usage(format!(
        "{flag} would write over {}, which {what}",
        record.display()
    ))
}

/// Tells whether a file in a model's folder is one of its own, by its name.
fn is_model_file(path: &Path) -> bool {
    const NAMES: [&str; 5] = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
    ];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    let is_shard = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    path.exists() && (is_shard || NAMES.contains(&name.as_str()))
}

/// The files that are read beside the models, with their flags.
fn inputs(config: &GenerateConfig) -> Vec<(&'static str, &Path)> {
    let images = config.image.iter().flat_map(image_files);
    let mut inputs: Vec<_> = images.map(|(flag, path)| (flag, path.as_path())).collect();
    if let Some(noise) = &config.noise {
        inputs.push(("--noise", noise));
    }
    if let Some(from) = &config.from {
        inputs.push(("--from", &from.path));
    }
    if let PromptSource::File(file) = &config.prompt
        && file.as_os_str() != "-"
    {
        inputs.push(("--prompt-file", file));
    }
    inputs
}
