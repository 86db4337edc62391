//! The recipes that other programs write into their images.

mod comfyui;
mod graph;
mod json;
mod webui;
mod xmp;

use std::fmt;

use super::parameters::parsed::{self, Parsed};
use super::texts::{Texts, XMP};
use crate::record::UsedLora;
use crate::request::{SamplerName, Sampling};
use crate::text::beginning;
use graph::Graph;

/// The most settings that are named together.
const MOST_NAMED: usize = 8;
/// The most characters of a value that are shown.
const MAX_SHOWN: usize = 60;

/// A recipe of another program's, as far as it is understood.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Foreign {
    /// The program, or the form that several write.
    pub program: String,
    /// Name of the model.
    pub model: Option<String>,
    /// True if the model is a Qwen-Image, as far as the recipe tells.
    pub is_our_model: bool,
    /// The prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative_prompt: Option<String>,
    /// The width in pixels.
    pub width: Option<i64>,
    /// The height in pixels.
    pub height: Option<i64>,
    /// Denoising steps.
    pub steps: Option<i64>,
    /// Guidance scale.
    pub cfg_scale: Option<f64>,
    /// Seed of the noise.
    pub seed: Option<i128>,
    /// The sampler and schedule, where that can be done here.
    pub sampling: Option<Sampling>,
    /// The strength: how much of the image that it starts from is changed.
    pub strength: Option<f64>,
    /// Name of the image that it starts from.
    pub init_image: Option<String>,
    /// LoRAs by their files' names.
    pub loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, if there is one among them.
    pub lightning: Option<usize>,
    /// The settings that are not taken.
    pub not_taken: Vec<NotTaken>,
}

/// A setting of another program that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Its name there.
    pub setting: String,
    /// The beginning of its value, on one line.
    pub value: String,
    /// True if the setting is taken where an image to start from is named.
    pub unless_init_image: bool,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unless = if self.unless_init_image {
            " (unless there is an init image)"
        } else {
            ""
        };
        write!(f, "{}: {}{unless}", self.setting, self.value)
    }
}

/// The recipe in a file's texts; `None` where there is none.
///
/// # Errors
/// A description of a recipe that is not read.
pub(super) fn recognise(texts: &Texts) -> Result<Option<Foreign>, String> {
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
    /// The recipe in a text of stable-diffusion-webui's form, which this program writes too.
    pub(super) fn of_parameters(text: &Parsed) -> Self {
        webui::read(text)
    }

    /// Adds a setting that is not taken.
    fn leave(&mut self, setting: &str, value: &str) {
        self.not_taken.push(NotTaken {
            setting: setting.to_owned(),
            value: shown(value),
            unless_init_image: false,
        });
    }

    /// Adds a strength, which is taken where an image to start from is named.
    fn leave_strength(&mut self, setting: &str, value: &str) {
        self.leave(setting, value);
        if let Some(left) = self.not_taken.last_mut() {
            left.unless_init_image = true;
        }
    }

    /// The names of the settings that are taken.
    pub fn taken(&self) -> Vec<&'static str> {
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

    /// Tells whether the image is known to be of the model `here`.
    pub fn is_of_model(&self, here: &str) -> bool {
        self.is_our_model && self.model.as_deref() == Some(here)
    }

    /// The settings that are not taken in one line, each as `written` writes it; some of them where
    /// they are many, and `None` where there are none.
    pub fn left(&self, written: impl Fn(&NotTaken) -> String) -> Option<String> {
        if self.not_taken.is_empty() {
            return None;
        }
        let named = self.not_taken.iter().take(MOST_NAMED).map(written);
        let rest = self.not_taken.len().saturating_sub(MOST_NAMED);
        let more = (rest > 0).then(|| format!("and {rest} more"));
        Some(named.chain(more).collect::<Vec<_>>().join(", "))
    }
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
    use crate::request::SamplerName;

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
