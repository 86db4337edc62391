//! How an image was made, by its file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use engine::files::json_path::lossy;
use engine::record::{Foreign, Recorded};
use engine::record::{ImageFile, PARAMETERS};
use image::ImageFormat;
use serde::Serialize;
use serde_json::{Map, Value};

use super::line;
use crate::console::printable;
use crate::error::CliError;
use crate::hints;

#[derive(Debug, Serialize)]
struct Inspection<'a> {
    image: Described<'a>,
}

#[derive(Debug, Serialize)]
struct Described<'a> {
    #[serde(serialize_with = "lossy")]
    path: &'a Path,
    format: &'static str,
    width: u32,
    height: u32,
    /// stable-diffusion-webui's text.
    parameters: Option<&'a str>,
    /// This program's own record.
    recipe: Option<Value>,
    /// The settings of another program that are understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<Map<String, Value>>,
    /// Why there is a record and it is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
}

/// The description of an image's file, as text or as JSON.
///
/// # Errors
/// [`engine::Error::Input`] for a damaged file.
pub(super) fn describe(path: &Path, json: bool) -> Result<String, CliError> {
    let file = ImageFile::open(path)?;
    let recipe = file.recipe_json()?;
    let (foreign, not_read) = match Recorded::foreign_of(&file.texts) {
        _ if recipe.is_some() => (None, None),
        Ok(foreign) => (foreign.as_ref().map(fields), None),
        Err(reason) => (None, Some(reason)),
    };
    let described = Described {
        path: &file.path,
        format: file.format.as_str(),
        width: file.width,
        height: file.height,
        parameters: file.texts.get(PARAMETERS),
        recipe,
        foreign,
        not_read,
    };
    if !json {
        return Ok(as_text(&described));
    }
    let inspection = Inspection { image: described };
    serde_json::to_string_pretty(&inspection)
        .map(|text| text + "\n")
        .map_err(|error| CliError::internal(error.to_string()))
}

/// The kind of an image that can be read to begin with, and never holds a recipe.
pub(super) fn other_kind(path: &Path) -> Option<&'static str> {
    // A pipe would be waited for.
    if !path.is_file() {
        return None;
    }
    let mut start = Vec::new();
    let mut file = File::open(path).ok()?.take(16);
    file.read_to_end(&mut start).ok()?;
    match image::guess_format(&start).ok()? {
        ImageFormat::Bmp => Some("BMP"),
        ImageFormat::Gif => Some("GIF"),
        ImageFormat::Tiff => Some("TIFF"),
        _ => None,
    }
}

/// The fields of another program's record.
fn fields(found: &Foreign) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            facts.insert(name.to_owned(), value);
        }
    };
    add("made_by", found.program.as_str().into());
    add("model", json_of(&found.model));
    add("prompt", found.prompt.as_str().into());
    add("negative_prompt", json_of(&found.negative_prompt));
    add("width", json_of(&found.width));
    add("height", json_of(&found.height));
    add("steps", json_of(&found.steps));
    add("cfg_scale", json_of(&found.cfg_scale));
    // Seeds beyond 64 bits are none, and JSON has no place for them.
    let seed = found.seed.map(|seed| match u64::try_from(seed) {
        Ok(seed) => Value::from(seed),
        Err(_) => Value::from(seed.to_string()),
    });
    add("seed", seed.unwrap_or_default());
    if let Some(sampling) = &found.sampling {
        add("sampler", json_of(&sampling.sampler));
        add("schedule", sampling.schedule.to_string().into());
        add("preset", json_of(&sampling.preset));
    }
    add("strength", json_of(&found.strength));
    add("init_image", json_of(&found.init_image));
    if !found.loras.is_empty() {
        add("loras", json_of(&found.loras));
    }
    if !found.not_taken.is_empty() {
        let left: Vec<String> = found.not_taken.iter().map(hints::not_taken).collect();
        add("not_taken", json_of(&left));
    }
    facts
}

fn json_of<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn as_text(image: &Described<'_>) -> String {
    let mut text = printable(&image.path.to_string_lossy());
    text.push('\n');
    let size = format!("{}, {}x{}", image.format, image.width, image.height);
    line(&mut text, "image", &size);
    let parameters = image
        .parameters
        .filter(|text| !text.trim_start().starts_with('{'));
    match (&image.recipe, parameters) {
        (Some(Value::Object(fields)), _) => facts(&mut text, fields, |_| true),
        (_, Some(parameters)) => {
            for parameter in parameters.lines() {
                let _ = writeln!(text, "  {}", printable(parameter));
            }
            let fields = image.foreign.iter();
            let added = |name: &str| matches!(name, "made_by" | "not_taken");
            fields.for_each(|fields| facts(&mut text, fields, added));
        }
        _ => match &image.foreign {
            Some(fields) => facts(&mut text, fields, |_| true),
            None if image.not_read.is_none() => {
                line(&mut text, "parameters", "none in the file");
            }
            None => {}
        },
    }
    if let Some(reason) = &image.not_read {
        line(&mut text, "not read", &printable(reason));
    }
    text
}

/// A line for each field that is wanted.
fn facts(text: &mut String, fields: &Map<String, Value>, wanted: impl Fn(&str) -> bool) {
    for (field, value) in fields.iter().filter(|(field, _)| wanted(field)) {
        line(text, &printable(field), &printable(&value.to_string()));
    }
}
