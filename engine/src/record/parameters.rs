//! The `parameters` text that stable-diffusion-webui writes into its images and other tools read:
//! the prompt, a `Negative prompt:` line, and one line of `key: value` pairs.

pub(crate) mod parsed;

use std::fmt::Write;

use model::scheduler::ScheduleKind;

use super::recipe::Recipe;
use crate::record::UsedLora;
use crate::request::{Preset, SamplerName, Sampling};
use parsed::{NEGATIVE, Parsed};

/// The text of a recipe.
pub(crate) fn text(recipe: &Recipe) -> String {
    let mut text = recipe.prompt.clone();
    if let Some(negative) = &recipe.negative_prompt {
        let _ = write!(text, "\n{NEGATIVE} {negative}");
    }
    let _ = write!(
        text,
        "\nSteps: {}, Sampler: {}, {}CFG scale: {}, ",
        recipe.steps,
        recipe.sampler.label(),
        schedule(&recipe.schedule),
        recipe.cfg_scale
    );
    if recipe.preset == Preset::ComfyUi {
        text.push_str("Preset: ComfyUI, ");
    }
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
    if let Some(pixels) = recipe.mask_crop {
        // webui's words for it.
        let _ = write!(
            text,
            "Inpaint area: Only masked, Masked area padding: {pixels}, "
        );
    }
    let _ = write!(
        text,
        "Size: {}x{}, Model: {}, ",
        recipe.width,
        recipe.height,
        quoted(&recipe.model)
    );
    if recipe.fp8_compute {
        text.push_str("FP8 compute: True, ");
    }
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

/// The LoRAs as `style: 0.8, Qwen-Image-Lightning-4steps: 1`; webui writes them into the prompt, which here
/// stays as it was given.
fn loras(loras: &[UsedLora]) -> String {
    let named = loras.iter().map(|lora| {
        let name = lora.file.strip_suffix(".safetensors");
        format!("{}: {}", name.unwrap_or(&lora.file), lora.weight)
    });
    named.collect::<Vec<_>>().join(", ")
}

/// The fields of a schedule, its name as webui writes names, and its number or list; none for the
/// model's own schedule.
fn schedule(kind: &ScheduleKind) -> String {
    let shifted = |name, shift| format!("Schedule type: {name}, Shift: {shift}, ");
    match kind {
        ScheduleKind::Dynamic => String::new(),
        ScheduleKind::DynamicBeta => "Schedule type: Dynamic Beta, ".to_owned(),
        ScheduleKind::DynamicKarras => "Schedule type: Dynamic Karras, ".to_owned(),
        ScheduleKind::DynamicExponential => "Schedule type: Dynamic Exponential, ".to_owned(),
        ScheduleKind::Shift(shift) => shifted("Shift", shift),
        ScheduleKind::Simple(shift) => shifted("Simple", shift),
        ScheduleKind::Beta(shift) => shifted("Beta", shift),
        ScheduleKind::Sigmas(sigmas) => {
            let list: Vec<String> = sigmas.iter().map(f32::to_string).collect();
            let list = quoted(&list.join(","));
            format!("Schedule type: Sigmas, Sigmas: {list}, ")
        }
    }
}

/// The sampling in a text of this program's; `None` where a value is not one of
/// those that are written.
pub(super) fn sampling(text: &Parsed) -> Option<Sampling> {
    let label = text.value("Sampler")?;
    let shift = |name: &str| Some(format!("{name}={}", text.value("Shift")?));
    let schedule = match text.value("Schedule type") {
        None => "dynamic".to_owned(),
        Some("Dynamic Beta") => "dynamic-beta".to_owned(),
        Some("Dynamic Karras") => "dynamic-karras".to_owned(),
        Some("Dynamic Exponential") => "dynamic-exponential".to_owned(),
        Some("Shift") => shift("shift")?,
        Some("Simple") => shift("simple")?,
        Some("Beta") => shift("beta")?,
        Some("Sigmas") => format!("sigmas={}", text.value("Sigmas")?),
        Some(_) => return None,
    };
    let samplers = SamplerName::ALL;
    Some(Sampling {
        sampler: samplers.into_iter().find(|name| name.label() == label)?,
        schedule: schedule.parse().ok()?,
        preset: match text.value("Preset") {
            None => Preset::Diffusers,
            Some("ComfyUI") => Preset::ComfyUi,
            Some(_) => return None,
        },
    })
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
    use crate::record::UsedLora;
    use crate::request::{Preset, SamplerName};
    use model::scheduler::ScheduleKind;

    use super::parsed::parse;
    use super::{sampling, text};
    use crate::image::Stamp;
    use crate::record::recipe::Recipe;

    fn recipe() -> Recipe {
        Recipe {
            prompt: "a red fox".to_owned(),
            negative_prompt: Some("blurry".to_owned()),
            width: 1328,
            height: 1328,
            steps: 50,
            sampler: SamplerName::Euler,
            schedule: ScheduleKind::Dynamic,
            preset: Preset::Diffusers,
            scheduler: None,
            cfg_scale: 4.0,
            seed: Some(42),
            noise: None,
            init_image: None,
            mask: None,
            mask_crop: None,
            strength: None,
            fp8_compute: false,
            model: "qwen_image_fp8_e4m3fn".to_owned(),
            text_encoder: None,
            vae: None,
            dtype: None,
            loras: Vec::new(),
            lightning: None,
            model_digest: None,
            text_encoder_digest: None,
            vae_digest: None,
        }
    }

    #[test]
    fn loras_have_a_field_of_their_own() {
        let lora = |file: &str, weight| UsedLora {
            file: file.to_owned(),
            weight,
            stamp: None,
            digest: None,
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
    fn an_image_to_start_from_is_named() {
        let stamp = |name: &str| {
            Some(Stamp {
                name: name.to_owned(),
                sha256: String::new(),
            })
        };
        let text = text(&Recipe {
            init_image: stamp("fox.png"),
            mask: stamp("a, b.png"),
            mask_crop: Some(8),
            strength: Some(0.6),
            ..recipe()
        });
        assert!(text.contains(concat!(
            "Seed: 42, Denoising strength: 0.6, Init image: fox.png, ",
            "Mask: \"a, b.png\", Inpaint area: Only masked, Masked area padding: 8, ",
            "Size: 1328x1328"
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

    #[test]
    fn samplers_and_schedules_have_webuis_names_and_come_back() {
        let with = |sampler, schedule: &str, preset| Recipe {
            sampler,
            schedule: schedule.parse().unwrap(),
            preset,
            ..recipe()
        };
        let comfyui = text(&with(SamplerName::DpmPp2m, "simple", Preset::ComfyUi));
        assert!(comfyui.contains(
            "Sampler: DPM++ 2M, Schedule type: Simple, Shift: 3.1, CFG scale: 4, Preset: ComfyUI, "
        ));
        let listed = text(&with(SamplerName::UniPc, "sigmas=1,0.5", Preset::Diffusers));
        assert!(listed.contains(
            "Sampler: UniPC, Schedule type: Sigmas, Sigmas: \"1,0.5\", CFG scale: 4, Seed: 42"
        ));
        for sampler in SamplerName::ALL {
            for schedule in [
                "dynamic",
                "dynamic-beta",
                "dynamic-karras",
                "dynamic-exponential",
                "shift=2",
                "beta=1.5",
                "sigmas=1,0.5",
            ] {
                let recipe = with(sampler, schedule, Preset::ComfyUi);
                let parsed = parse(&text(&recipe)).unwrap();
                assert_eq!(sampling(&parsed), Some(recipe.sampling()), "{schedule}");
            }
        }
        let other = parse("a\nSteps: 2, Sampler: LMS, Seed: 1").unwrap();
        assert_eq!(sampling(&other), None);
    }
}
