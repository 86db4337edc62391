//! The `parameters` text that stable-diffusion-webui writes into its images and other tools read:
//! the prompt, a `Negative prompt:` line, and one line of `key: value` pairs.

use std::fmt::Write;

/// How an image was made.
#[derive(Debug, Clone)]
pub(crate) struct Parameters<'a> {
    /// The prompt.
    pub(crate) prompt: &'a str,
    /// The negative prompt, if there was one.
    pub(crate) negative_prompt: Option<&'a str>,
    /// Denoising steps.
    pub(crate) steps: usize,
    /// Guidance scale; written as 1 when there was no negative prompt.
    pub(crate) cfg_scale: f64,
    /// Where the noise came from.
    pub(crate) noise: NoiseSource<'a>,
    /// Pixels across.
    pub(crate) width: u32,
    /// Pixels down.
    pub(crate) height: u32,
    /// The transformer's file name without its extension.
    pub(crate) model: &'a str,
}

/// Where the starting noise came from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoiseSource<'a> {
    /// This seed.
    Seed(u64),
    /// A file of this name.
    File(&'a str),
}

impl Parameters<'_> {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = self.prompt.to_owned();
        if let Some(negative) = self.negative_prompt {
            let _ = write!(text, "\nNegative prompt: {negative}");
        }
        let cfg_scale = match self.negative_prompt {
            Some(_) => self.cfg_scale,
            None => 1.0,
        };
        let _ = write!(
            text,
            "\nSteps: {}, Sampler: Euler, CFG scale: {cfg_scale}, ",
            self.steps
        );
        let _ = match self.noise {
            NoiseSource::Seed(seed) => write!(text, "Seed: {seed}, "),
            NoiseSource::File(name) => write!(text, "Noise: {}, ", quoted(name)),
        };
        let _ = write!(
            text,
            "Size: {}x{}, Model: {}, Version: qwen-image-burn {}",
            self.width,
            self.height,
            quoted(self.model),
            env!("CARGO_PKG_VERSION")
        );
        text
    }
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
mod tests {
    use super::{NoiseSource, Parameters};

    const BASE: Parameters<'_> = Parameters {
        prompt: "a red fox",
        negative_prompt: Some("blurry"),
        steps: 50,
        cfg_scale: 4.0,
        noise: NoiseSource::Seed(42),
        width: 1328,
        height: 1328,
        model: "qwen_image_fp8_e4m3fn",
    };

    #[test]
    fn reads_as_webui_writes_it() {
        assert_eq!(
            BASE.text(),
            concat!(
                "a red fox\nNegative prompt: blurry\nSteps: 50, Sampler: Euler, CFG scale: 4, ",
                "Seed: 42, Size: 1328x1328, Model: qwen_image_fp8_e4m3fn, ",
                "Version: qwen-image-burn ",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn without_guidance_there_is_no_negative_line_and_the_scale_is_one() {
        let text = Parameters {
            negative_prompt: None,
            ..BASE
        }
        .text();
        assert!(text.starts_with("a red fox\nSteps: 50, Sampler: Euler, CFG scale: 1, Seed: 42"));
    }

    #[test]
    fn fractions_and_separators_survive() {
        let text = Parameters {
            cfg_scale: 2.5,
            noise: NoiseSource::File("n,1.safetensors"),
            model: "my: model",
            ..BASE
        }
        .text();
        assert!(text.contains("CFG scale: 2.5, Noise: \"n,1.safetensors\", "));
        assert!(text.contains("Model: \"my: model\""));
    }
}
