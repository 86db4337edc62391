//! The `parameters` text that stable-diffusion-webui writes into its images and other tools read:
//! the prompt, a `Negative prompt:` line, and one line of `key: value` pairs.

use std::fmt::Write;

use super::recipe::{Recipe, UsedLora};

/// What the negative prompt's line begins with.
const NEGATIVE: &str = "Negative prompt:";

/// The text of a recipe.
pub(crate) fn text(recipe: &Recipe) -> String {
    let mut text = recipe.prompt.clone();
    if let Some(negative) = &recipe.negative_prompt {
        let _ = write!(text, "\n{NEGATIVE} {negative}");
    }
    let _ = write!(
        text,
        "\nSteps: {}, Sampler: Euler, CFG scale: {}, ",
        recipe.steps, recipe.cfg_scale
    );
    if let Some(seed) = recipe.seed {
        let _ = write!(text, "Seed: {seed}, ");
    }
    if let Some(name) = &recipe.noise {
        let _ = write!(text, "Noise: {}, ", quoted(name));
    }
    if let Some(strength) = recipe.strength {
        let _ = write!(text, "Denoising strength: {strength}, ");
    }
    let files = [("Init image", &recipe.init_image), ("Mask", &recipe.mask)];
    for (key, file) in files {
        if let Some(file) = file {
            let _ = write!(text, "{key}: {}, ", quoted(&file.name));
        }
    }
    let _ = write!(
        text,
        "Size: {}x{}, Model: {}, ",
        recipe.width,
        recipe.height,
        quoted(&recipe.model)
    );
    if !recipe.loras.is_empty() {
        let _ = write!(text, "Lora: {}, ", quoted(&loras(&recipe.loras)));
    }
    if let Some(steps) = recipe.lightning {
        let _ = write!(text, "Lightning: {steps}, ");
    }
    let _ = write!(
        text,
        "Version: qwen-image-burn {}",
        env!("CARGO_PKG_VERSION")
    );
    text
}

/// As `style: 0.8, Qwen-Image-Lightning-4steps: 1`; webui writes them into the prompt, which here
/// stays as it was given.
fn loras(loras: &[UsedLora]) -> String {
    let named = loras.iter().map(|lora| {
        let name = lora.file.strip_suffix(".safetensors");
        format!("{}: {}", name.unwrap_or(&lora.file), lora.weight)
    });
    named.collect::<Vec<_>>().join(", ")
}

/// The parts of such a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The prompt.
    pub(super) prompt: String,
    /// The negative prompt, where there is one.
    pub(super) negative_prompt: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Parsed {
    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        let (_, value) = pairs.find(|(name, _)| name == key)?;
        Some(value)
    }
}

/// Takes a text apart; `None` for one without a line of `Steps: …, key: value`.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with("Steps: "))?;
    let (body, rest) = lines.split_at(at);
    let negative = body
        .iter()
        .position(|line| line.starts_with(NEGATIVE))
        .unwrap_or(body.len());
    let (prompt, negative) = body.split_at(negative);
    let negative = negative.join("\n");
    Some(Parsed {
        prompt: prompt.join("\n"),
        negative_prompt: negative.strip_prefix(NEGATIVE).map(|text| {
            // The line always has this space; an empty prompt may have lost it.
            text.strip_prefix(' ').unwrap_or(text).to_owned()
        }),
        pairs: pairs(rest.first()?),
    })
}

/// `key: value, key: "a, b"` by key.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once(':') {
        let after = after.trim_start();
        // A quoted value is a JSON string, and may hold the separators.
        let mut quoted = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let value = match quoted.next() {
            Some(Ok(value)) => {
                rest = after.get(quoted.byte_offset()..).unwrap_or_default();
                rest = rest.split_once(',').map_or("", |(_, rest)| rest);
                value
            }
            _ => {
                let (value, next) = after.split_once(',').unwrap_or((after, ""));
                rest = next;
                value.trim().to_owned()
            }
        };
        pairs.push((key.trim().to_owned(), value));
    }
    pairs
}

/// A value that holds the format's own separators is written as a JSON string, as webui does.
fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n', '"']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{parse, text};
    use crate::input::Stamp;
    use crate::output::recipe::{Recipe, UsedLora};

    fn recipe() -> Recipe {
        Recipe {
            prompt: "a red fox".to_owned(),
            negative_prompt: Some("blurry".to_owned()),
            width: 1328,
            height: 1328,
            steps: 50,
            cfg_scale: 4.0,
            seed: Some(42),
            noise: None,
            init_image: None,
            mask: None,
            strength: None,
            model: "qwen_image_fp8_e4m3fn".to_owned(),
            loras: Vec::new(),
            lightning: None,
        }
    }

    #[test]
    fn loras_have_a_field_of_their_own() {
        let lora = |file: &str, weight| UsedLora {
            file: file.to_owned(),
            weight,
        };
        let text = text(&Recipe {
            loras: vec![
                lora("style.safetensors", -0.5),
                lora("fast.safetensors", 1.0),
            ],
            lightning: Some(4),
            ..recipe()
        });
        let expected = "fn, Lora: \"style: -0.5, fast: 1\", Lightning: 4, Version: ";
        assert!(text.contains(expected), "{text}");
        assert!(text.starts_with("a red fox\n"));
    }

    #[test]
    fn reads_as_webui_writes_it() {
        assert_eq!(
            text(&recipe()),
            concat!(
                "a red fox\nNegative prompt: blurry\nSteps: 50, Sampler: Euler, CFG scale: 4, ",
                "Seed: 42, Size: 1328x1328, Model: qwen_image_fp8_e4m3fn, ",
                "Version: qwen-image-burn ",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn without_guidance_there_is_no_negative_line() {
        let text = text(&Recipe {
            negative_prompt: None,
            cfg_scale: 1.0,
            ..recipe()
        });
        assert!(text.starts_with("a red fox\nSteps: 50, Sampler: Euler, CFG scale: 1, Seed: 42"));
    }

    #[test]
    fn a_picture_to_start_from_is_named() {
        let stamp = |name: &str| {
            Some(Stamp {
                name: name.to_owned(),
                sha256: String::new(),
            })
        };
        let text = text(&Recipe {
            init_image: stamp("fox.png"),
            mask: stamp("a, b.png"),
            strength: Some(0.6),
            ..recipe()
        });
        assert!(text.contains(concat!(
            "Seed: 42, Denoising strength: 0.6, Init image: fox.png, ",
            "Mask: \"a, b.png\", Size: 1328x1328"
        )));
    }

    #[test]
    fn fractions_and_separators_survive() {
        let text = text(&Recipe {
            cfg_scale: 2.5,
            seed: None,
            noise: Some("n,1.safetensors".to_owned()),
            model: "my: model".to_owned(),
            ..recipe()
        });
        assert!(text.contains("CFG scale: 2.5, Noise: \"n,1.safetensors\", "));
        assert!(text.contains("Model: \"my: model\""));
        let parsed = parse(&text).unwrap();
        assert_eq!(parsed.value("Model"), Some("my: model"));
        assert_eq!(parsed.value("Noise"), Some("n,1.safetensors"));
        assert_eq!(parsed.value("Size"), Some("1328x1328"));
    }

    #[test]
    fn prompts_of_several_lines_come_back() {
        let recipe = Recipe {
            prompt: "a fox\nSteps: to the door".to_owned(),
            negative_prompt: Some(" ".to_owned()),
            ..recipe()
        };
        let parsed = parse(&text(&recipe)).unwrap();
        assert_eq!(parsed.prompt, recipe.prompt);
        assert_eq!(parsed.negative_prompt, recipe.negative_prompt);
    }
}
