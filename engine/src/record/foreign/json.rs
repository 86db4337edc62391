//! Recipes that are one JSON object: those of InvokeAI, Fooocus, SwarmUI, NovelAI, mflux and Draw
//! Things.

use serde_json::{Map, Value};

use super::graph::Graph;
use super::{Foreign, comfyui, sampler, size};
use crate::record::texts::Texts;
use crate::request::Sampling;
use names::{DRAW_THINGS, FOOOCUS, INVOKEAI, MFLUX, NOVELAI, Names, SWARMUI};

mod names;

type Object = Map<String, Value>;

/// The recipe in the texts that only one program writes.
///
/// # Errors
/// A description of a recipe that is not read.
pub(super) fn of_texts(texts: &Texts) -> Result<Option<Foreign>, String> {
    if let Some(text) = texts.get("invokeai_metadata") {
        return match object(text) {
            Some(object) => INVOKEAI.read(&object).map(Some),
            None => Err(not_read("InvokeAI")),
        };
    }
    if let Some(text) = texts.get("sd-metadata") {
        let whole = object(text).ok_or_else(|| not_read("InvokeAI"))?;
        let mut image = match whole.get("image") {
            Some(Value::Object(image)) => image.clone(),
            _ => return Err(not_read("InvokeAI")),
        };
        if let Some(model) = whole.get("model_weights") {
            image.insert("model".to_owned(), model.clone());
        }
        return INVOKEAI.read(&image).map(Some);
    }
    if texts.get("dream").is_some() {
        return Err(not_read("InvokeAI (the text Dream)"));
    }
    let software = texts.get("software").unwrap_or_default();
    let comment = texts.get("comment").and_then(object);
    match comment {
        Some(comment) if software.to_lowercase().contains("novelai") => {
            NOVELAI.read(&comment).map(Some)
        }
        None if software.to_lowercase().contains("novelai") => Err(not_read("NovelAI")),
        Some(comment) if FOOOCUS.is_told_by(&comment) => FOOOCUS.read(&comment).map(Some),
        _ => Ok(None),
    }
}

/// The recipe that a text holds, if it is a JSON object.
///
/// # Errors
/// A description of an object of no program that is known.
pub(super) fn identify(text: &str) -> Result<Option<Foreign>, String> {
    let Some(object) = object(text) else {
        return Ok(None);
    };
    // Some nodes of ComfyUI put its two texts into one.
    let graph = match object.get("prompt") {
        Some(Value::String(text)) => Graph::parse(text),
        Some(value @ Value::Object(_)) => Graph::of(value.clone()),
        _ => None,
    };
    if let Some(graph) = graph.or_else(|| Graph::parse(text)) {
        return comfyui::read(&graph).map(Some);
    }
    if let Some(Value::Object(params)) = object.get("sui_image_params") {
        return SWARMUI.read(params).map(Some);
    }
    let has = |name: &str| object.contains_key(name);
    let names = if has("mflux_version") {
        MFLUX
    } else if has("c") && (has("uc") || has("scale")) {
        DRAW_THINGS
    } else if has("app_version") || has("positive_prompt") {
        INVOKEAI
    } else if FOOOCUS.is_told_by(&object) {
        FOOOCUS
    } else {
        let keys: Vec<&str> = object.keys().take(3).map(String::as_str).collect();
        return Err(format!(
            "holds a recipe of a program that is not known (JSON with {}), which is not read",
            keys.join(", ")
        ));
    };
    names.read(&object).map(Some)
}

fn not_read(program: &str) -> String {
    format!("holds a recipe of {program}, which is not read")
}

fn object(text: &str) -> Option<Object> {
    let text = super::graph::without_nan(text.trim());
    serde_json::from_str(&text).ok()
}

/// A name in small letters, without what stands between its words.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric());
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

impl Names {
    /// Tells whether an object has the names that only Fooocus has.
    fn is_told_by(&self, object: &Object) -> bool {
        let names: Vec<String> = object.keys().map(|name| plain(name)).collect();
        let has = |name: &str| names.iter().any(|known| known == name);
        let version = object.get("version").or(object.get("Version"));
        let version = version.and_then(Value::as_str).unwrap_or_default();
        version.contains(self.program)
            || (has("prompt") && has("guidancescale") && (has("basemodel") || has("performance")))
    }

    fn read(&self, object: &Object) -> Result<Foreign, String> {
        let mut found = Foreign {
            program: self.program.to_owned(),
            ..Foreign::default()
        };
        let mut prompt = None;
        for (name, value) in object {
            let name_here = plain(name);
            let is_of = |names: &[&str]| names.contains(&name_here.as_str());
            if is_of(self.prompt) {
                prompt = prompt.or(text(value));
            } else if is_of(self.negative) {
                found.negative_prompt = text(value);
            } else if is_of(self.model) {
                // The first of its names counts, wherever it stands.
            } else if is_of(self.scale) {
                found.cfg_scale = number(value).filter(|scale| scale.is_finite());
                let taken = found.cfg_scale.is_some();
                leave_unless(&mut found, taken, name, value);
            } else if is_of(self.strength) {
                self.take_strength(&mut found, name, value);
            } else if !is_of(self.tell_nothing) {
                take(&mut found, &name_here, name, value);
            }
        }
        found.model = self.model.iter().find_map(|wanted| {
            let mut fields = object.iter();
            let (_, value) = fields.find(|(name, _)| plain(name) == *wanted)?;
            model(value).filter(|model| model != "None")
        });
        found.prompt = prompt.ok_or_else(|| {
            format!(
                "holds a recipe of {}, in which no prompt is found",
                self.program
            )
        })?;
        // An empty one is none where a program writes it always.
        found.negative_prompt = found.negative_prompt.filter(|text| !text.is_empty());
        Ok(found)
    }

    /// Takes how much of an image is changed, which says nothing where there is none.
    fn take_strength(&self, found: &mut Foreign, name: &str, value: &Value) {
        found.strength = number(value).filter(|part| *part > 0.0 && *part < 1.0);
        if let Some(strength) = found.strength {
            found.leave_strength(name, &strength.to_string());
        }
    }
}

/// Takes a setting that every program calls so, or leaves it.
fn take(found: &mut Foreign, name_here: &str, name: &str, value: &Value) {
    let whole = || number(value).filter(|number| number.fract() == 0.0);
    let taken = match name_here {
        "steps" => set(&mut found.steps, whole().map(|number| number as i64)),
        "seed" => set(&mut found.seed, seed(value)),
        "width" => set(&mut found.width, whole().map(|number| number as i64)),
        "height" => set(&mut found.height, whole().map(|number| number as i64)),
        "size" | "resolution" => match text(value).as_deref().and_then(size) {
            Some((width, height)) => {
                (found.width, found.height) = (Some(width), Some(height));
                true
            }
            None => false,
        },
        "sampler" | "comfyuisampler" | "scheduler" if text(value).is_some() => {
            match text(value).as_deref().and_then(sampler) {
                Some(sampler) => {
                    found.sampling = Some(Sampling {
                        sampler,
                        ..Sampling::default()
                    });
                    true
                }
                None => false,
            }
        }
        _ => false,
    };
    leave_unless(found, taken, name, value);
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    *place = value;
    is_there
}

/// Names a setting that was not taken, unless it asks for nothing.
fn leave_unless(found: &mut Foreign, taken: bool, name: &str, value: &Value) {
    let asks_nothing = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.to_lowercase().as_str(), "" | "none" | "false" | "0"),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    if taken || asks_nothing {
        return;
    }
    match value {
        Value::String(text) => found.leave(name, text),
        value => found.leave(name, &value.to_string()),
    }
}

/// A text; of a list of prompts with weights (InvokeAI's old form) the only one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => match items.as_slice() {
            [Value::Object(only)] => only.get("prompt").and_then(text),
            [only @ Value::String(_)] => text(only),
            _ => None,
        },
        _ => None,
    }
}

/// A number, also one that is written as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn seed(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .map(i128::from)
            .or(number.as_i64().map(i128::from)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn model(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => ["name", "model_name", "key"]
            .iter()
            .find_map(|name| fields.get(*name)?.as_str())
            .map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
