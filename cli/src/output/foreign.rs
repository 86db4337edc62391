//! What other programs write into their images of how they were made.

mod comfyui;
mod graph;
mod json;
mod webui;
mod xmp;

use engine::record::UsedLora;
use engine::request::{SamplerName, Sampling};
use serde::Serialize;
use serde_json::{Map, Value};

use super::parameters::parsed::{self, Parsed};
use super::texts::{Texts, XMP};
use crate::console::beginning;
use graph::Graph;

/// The most settings that a note names.
const MOST_NAMED: usize = 8;
/// The longest value that a note shows.
const MAX_SHOWN: usize = 60;

/// A recipe of another program's, as far as it is understood.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Foreign {
    /// The program, or the form that several write.
    pub(crate) program: String,
    /// Name of the model.
    pub(crate) model: Option<String>,
    /// Whether that is a Qwen-Image, as far as the recipe tells.
    pub(crate) is_our_model: bool,
    /// The prompt.
    pub(crate) prompt: String,
    /// The negative prompt.
    pub(crate) negative_prompt: Option<String>,
    /// Pixels across.
    pub(crate) width: Option<i64>,
    /// Pixels down.
    pub(crate) height: Option<i64>,
    /// Denoising steps.
    pub(crate) steps: Option<i64>,
    /// Guidance scale.
    pub(crate) cfg_scale: Option<f64>,
    /// Seed of the noise.
    pub(crate) seed: Option<i128>,
    /// How it was sampled, where that can be done here.
    pub(crate) sampling: Option<Sampling>,
    /// How much of the image that it starts from is changed.
    pub(crate) strength: Option<f64>,
    /// Name of the image that it starts from.
    pub(crate) init_image: Option<String>,
    /// LoRAs by their files' names.
    pub(crate) loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, if there is one among them.
    pub(crate) lightning: Option<usize>,
    /// Settings that are not taken, each with its value.
    pub(crate) not_taken: Vec<String>,
}

/// The recipe in a file's texts; `None` where there is none.
///
/// # Errors
/// What the file holds, for a recipe that is not read.
pub(crate) fn recognise(texts: &Texts) -> Result<Option<Foreign>, String> {
    let mut refused = None;
    let graph = texts.get("prompt").and_then(Graph::parse);
    if let Some(graph) = graph {
        match comfyui::read(&graph) {
            Ok(found) => return Ok(Some(found)),
            Err(reason) => refused = Some(reason),
        }
    }
    if let Some(found) = json::of_texts(texts)? {
        return Ok(Some(found));
    }
    if let Some(text) = texts.get(super::metadata::PARAMETERS) {
        if let Some(found) = json::identify(text)? {
            return Ok(Some(found));
        }
        match parsed::parse(text) {
            Some(text) => return Ok(Some(webui::read(&text))),
            None if refused.is_none() => {
                refused = Some(
                    "its generation parameters are not understood: they have no line \
                     `Steps: …, Seed: …`"
                        .to_owned(),
                );
            }
            None => {}
        }
    }
    if let Some(comment) = texts.get(XMP).and_then(xmp::user_comment)
        && let Some(found) = json::identify(&comment)?
    {
        return Ok(Some(found));
    }
    match refused {
        Some(reason) => Err(reason),
        None if texts.get("workflow").is_some() => Err(
            "holds a ComfyUI workflow as its editor draws it, without the graph that was run \
             (the text `prompt`), and that is not read"
                .to_owned(),
        ),
        None => Ok(None),
    }
}

impl Foreign {
    /// What webui's text says, also of this program's own.
    pub(crate) fn of_parameters(text: &Parsed) -> Self {
        webui::read(text)
    }

    /// Adds a setting that is not taken.
    fn leave(&mut self, setting: &str, value: &str) {
        let value = shown(value);
        self.not_taken.push(format!("{setting}: {value}"));
    }

    /// Names of what is taken.
    fn taken(&self) -> Vec<&'static str> {
        let size = match (self.width, self.height) {
            (None, None) => "",
            (Some(_), Some(_)) => "size",
            (Some(_), None) => "width",
            (None, Some(_)) => "height",
        };
        let all = [
            ("prompt", true),
            ("negative prompt", self.negative_prompt.is_some()),
            (size, !size.is_empty()),
            ("steps", self.steps.is_some()),
            ("CFG scale", self.cfg_scale.is_some()),
            ("seed", self.seed.is_some()),
            ("sampler and schedule", self.sampling.is_some()),
            ("LoRAs", !self.loras.is_empty()),
        ];
        let taken = all.into_iter().filter(|(_, is_there)| *is_there);
        taken.map(|(name, _)| name).collect()
    }

    /// What the user should know before an image is made of it, to follow the file's name. `here`
    /// is the model at hand.
    pub(crate) fn note(&self, here: &str) -> String {
        let model = self.model.as_deref().unwrap_or("an unknown model");
        let taken = self.taken().join(", ");
        let preset = match &self.sampling {
            Some(sampling) if sampling.preset == engine::request::Preset::ComfyUi => {
                " with --preset comfyui"
            }
            _ => "",
        };
        let mut note = format!(
            "was made by {} with {model}; taken{preset}, where no flag says otherwise: {taken}",
            self.program
        );
        if let Some(left) = self.left() {
            note.push_str(&format!("; not taken: {left}"));
        }
        if !self.is_our_model || self.model.as_deref() != Some(here) {
            note.push_str("; the image will be another");
        }
        note
    }

    /// The settings that are not taken, at most some.
    pub(crate) fn left(&self) -> Option<String> {
        if self.not_taken.is_empty() {
            return None;
        }
        let named = self.not_taken.iter().take(MOST_NAMED).cloned();
        let rest = self.not_taken.len().saturating_sub(MOST_NAMED);
        let more = (rest > 0).then(|| format!("and {rest} more"));
        Some(named.chain(more).collect::<Vec<_>>().join(", "))
    }

    /// What `inspect` shows.
    pub(crate) fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        let mut add = |name: &str, value: Value| {
            if !value.is_null() {
                facts.insert(name.to_owned(), value);
            }
        };
        add("made_by", self.program.as_str().into());
        add("model", json_of(&self.model));
        add("prompt", self.prompt.as_str().into());
        add("negative_prompt", json_of(&self.negative_prompt));
        add("width", json_of(&self.width));
        add("height", json_of(&self.height));
        add("steps", json_of(&self.steps));
        add("cfg_scale", json_of(&self.cfg_scale));
        // Seeds beyond 64 bits are none, and JSON has no place for them.
        let seed = self.seed.map(|seed| match u64::try_from(seed) {
            Ok(seed) => Value::from(seed),
            Err(_) => Value::from(seed.to_string()),
        });
        add("seed", seed.unwrap_or_default());
        if let Some(sampling) = &self.sampling {
            add("sampler", json_of(&sampling.sampler));
            add("schedule", sampling.schedule.to_string().into());
            add("preset", json_of(&sampling.preset));
        }
        add("strength", json_of(&self.strength));
        add("init_image", json_of(&self.init_image));
        if !self.loras.is_empty() {
            add("loras", json_of(&self.loras));
        }
        if !self.not_taken.is_empty() {
            add("not_taken", json_of(&self.not_taken));
        }
        facts
    }
}

fn json_of<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The beginning of a value, on one line.
fn shown(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    beginning(&line, MAX_SHOWN)
}

/// The solver of a name that webui, ComfyUI or stable-diffusion.cpp has for it.
fn sampler(name: &str) -> Option<SamplerName> {
    let plain = |name: &str| -> String {
        let name = name.to_lowercase().replace("++", "pp");
        name.chars().filter(char::is_ascii_alphanumeric).collect()
    };
    let name = plain(name);
    let mut all = SamplerName::ALL.into_iter();
    all.find(|known| plain(known.label()) == name)
}

/// Two sides, as `512x768`, `512 × 768` or `(512, 768)`.
fn size(text: &str) -> Option<(i64, i64)> {
    let text = text.trim().trim_matches(['(', ')', '[', ']']);
    let (width, height) = text.split_once(['x', 'X', '×', '*', ','])?;
    let side = |side: &str| side.trim().parse::<i64>().ok().filter(|&side| side > 0);
    Some((side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use engine::request::SamplerName;

    use super::{sampler, shown, size};

    #[test]
    fn samplers_have_several_names() {
        for (name, expected) in [
            ("Euler", Some(SamplerName::Euler)),
            ("euler", Some(SamplerName::Euler)),
            ("DPM++ 2M", Some(SamplerName::DpmPp2m)),
            ("dpmpp_2m", Some(SamplerName::DpmPp2m)),
            ("dpm++2m", Some(SamplerName::DpmPp2m)),
            ("uni_pc", Some(SamplerName::UniPc)),
            ("UniPC", Some(SamplerName::UniPc)),
            ("heun", Some(SamplerName::Heun)),
            ("Euler a", None),
            ("DPM++ 2M Karras", None),
            ("DPM++ 2M SDE", None),
            ("euler_ancestral", None),
            ("", None),
        ] {
            assert_eq!(sampler(name), expected, "{name}");
        }
    }

    #[test]
    fn sizes_and_long_values() {
        for text in ["64x32", "64 x 32", "64X32", "64×32", "(64, 32)", "64*32"] {
            assert_eq!(size(text), Some((64, 32)), "{text}");
        }
        for text in ["64", "x", "64x", "64x32x3", "-64x32", "0x0", "1e3x2", ""] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(shown("a\n b"), "a b");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 61);
    }
}
