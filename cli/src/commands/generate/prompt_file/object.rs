//! A JSON object of a prompt file: its fields, checked.

use engine::request::Sampling;
use engine::text::beginning;
use serde_json::Value;

use super::Own;
use crate::args::checks;
use crate::error::CliError;

/// The longest part of a wrong value that is shown.
const MAX_SHOWN: usize = 40;
/// The fields there are.
const FIELDS: [&str; 8] = [
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "seed",
    "steps",
    "cfg_scale",
    "output",
];
/// The names of fields in other programs, and the fields here.
const ELSEWHERE: [(&str, &str); 21] = [
    ("text", "prompt"),
    ("caption", "prompt"),
    ("positive", "prompt"),
    ("negative", "negative_prompt"),
    ("neg", "negative_prompt"),
    ("uc", "negative_prompt"),
    ("w", "width"),
    ("h", "height"),
    ("size", "width` and `height"),
    ("resolution", "width` and `height"),
    ("cfg", "cfg_scale"),
    ("guidance", "cfg_scale"),
    ("guidance_scale", "cfg_scale"),
    ("true_cfg_scale", "cfg_scale"),
    ("scale", "cfg_scale"),
    ("num_inference_steps", "steps"),
    ("sample_steps", "steps"),
    ("file", "output"),
    ("filename", "output"),
    ("file_name", "output"),
    ("path", "output"),
];
/// The most faults of an object that are told.
const MOST_FAULTS: usize = 4;
/// How like two names must be for one to be meant by the other.
const LIKENESS: f64 = 0.75;

/// The prompt and the other fields of an object. Adds a notice for each side that is rounded.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(
    fields: &[(String, Value)],
    sampling: &Sampling,
    notices: &mut Vec<String>,
) -> Result<(String, Own), String> {
    let mut own = Own::default();
    let mut prompt = None;
    let mut faults = Vec::new();
    for (index, (field, value)) in fields.iter().enumerate() {
        if fields.iter().take(index).any(|(other, _)| other == field) {
            faults.push(format!("`{}` is given twice", shown(field)));
        } else if let Err(fault) = set(&mut prompt, &mut own, (field, value), sampling, notices) {
            faults.push(fault.to_string());
        }
    }
    if prompt.is_none() && !fields.iter().any(|(field, _)| field == "prompt") {
        faults.insert(0, "has no `prompt`".to_owned());
    }
    let more = faults.len().saturating_sub(MOST_FAULTS);
    faults.truncate(MOST_FAULTS);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    match prompt {
        Some(prompt) if faults.is_empty() => Ok((prompt, own)),
        _ => Err(faults.join("; ")),
    }
}

fn set(
    prompt: &mut Option<String>,
    own: &mut Own,
    (field, value): (&str, &Value),
    sampling: &Sampling,
    notices: &mut Vec<String>,
) -> Result<(), CliError> {
    let what = format!("`{field}`");
    let what = what.as_str();
    match field {
        "prompt" => *prompt = Some(string(what, value)?),
        "negative_prompt" => own.negative_prompt = Some(string(what, value)?),
        "width" => own.width = Some(checks::side(what, whole(what, value)?, notices)?),
        "height" => own.height = Some(checks::side(what, whole(what, value)?, notices)?),
        "steps" => {
            let steps = whole(what, value)?;
            own.steps = Some(checks::steps(what, steps, &sampling.schedule)?);
        }
        "seed" => own.seed = Some(value.as_u64().ok_or_else(|| wrong(what, value, "a seed"))?),
        "cfg_scale" => {
            let scale = value.as_f64();
            let scale = scale.ok_or_else(|| wrong(what, value, "a number"))?;
            own.cfg_scale = Some(checks::cfg_scale(what, scale, sampling.preset)?);
        }
        "output" => own.output = Some(string(what, value)?.into()),
        _ => return Err(CliError::Usage(unknown(field))),
    }
    Ok(())
}

/// The message about a field that does not exist.
fn unknown(field: &str) -> String {
    let name = field.trim().to_lowercase().replace(['-', ' '], "_");
    let squeezed = |name: &str| name.replace('_', "");
    let likeness = |known: &str| strsim::jaro_winkler(&squeezed(&name), &squeezed(known));
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == name);
    let meant = elsewhere.map(|(_, known)| *known).or_else(|| {
        let likely = FIELDS.into_iter().map(|known| (known, likeness(known)));
        let best = likely.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        (best.1 >= LIKENESS).then_some(best.0)
    });
    let shown = shown(field);
    match meant {
        Some(known) => format!("unknown field `{shown}`: `{known}` is what it is called here"),
        None => format!("unknown field `{shown}`; there are {}", FIELDS.join(", ")),
    }
}

fn string(what: &str, value: &Value) -> Result<String, CliError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(wrong(what, value, "a string")),
    }
}

fn whole(what: &str, value: &Value) -> Result<i64, CliError> {
    value
        .as_i64()
        .ok_or_else(|| wrong(what, value, "a whole number"))
}

fn wrong(what: &str, value: &Value, expected: &str) -> CliError {
    let value = value.to_string();
    CliError::Usage(format!("{what} must be {expected}, not {}", shown(&value)))
}

/// At most the beginning of a text.
fn shown(text: &str) -> String {
    beginning(text, MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::unknown;

    #[test]
    fn the_nearest_field_is_named() {
        for (field, meant) in [
            ("stepz", "`steps`"),
            ("promt", "`prompt`"),
            ("Prompt", "`prompt`"),
            ("cfg", "`cfg_scale`"),
            ("cfg-scale", "`cfg_scale`"),
            ("CfgScale", "`cfg_scale`"),
            ("guidance_scale", "`cfg_scale`"),
            ("negative", "`negative_prompt`"),
            ("negativeprompt", "`negative_prompt`"),
            ("num_inference_steps", "`steps`"),
            ("hight", "`height`"),
            ("size", "`width` and `height`"),
            ("outptu", "`output`"),
        ] {
            let said = unknown(field);
            assert!(said.contains(&format!("`{field}`: {meant}")), "{said}");
        }
        assert!(unknown("zzz").ends_with("cfg_scale, output"));
        assert!(unknown(&"x".repeat(1000)).len() < 300);
    }
}
