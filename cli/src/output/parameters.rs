//! The `parameters` text that stable-diffusion-webui writes into its images and other tools read:
//! the prompt, a `Negative prompt:` line, and one line of `key: value` pairs.

use std::fmt::Write;

use model::scheduler::ScheduleKind;

use super::recipe::Recipe;
use crate::args::Preset;

/// The text of a recipe.
pub(crate) fn text(recipe: &Recipe) -> String {
    let mut text = recipe.prompt.clone();
    if let Some(negative) = &recipe.negative_prompt {
        let _ = write!(text, "\nNegative prompt: {negative}");
    }
    let _ = write!(
        text,
        "\nSteps: {}, Sampler: {}, {}CFG scale: {}, ",
        recipe.steps,
        recipe.sampling.sampler.label(),
        schedule(&recipe.sampling.schedule),
        recipe.cfg_scale
    );
    if recipe.sampling.preset == Preset::ComfyUi {
        text.push_str("Preset: ComfyUI, ");
    }
    if let Some(seed) = recipe.seed {
        let _ = write!(text, "Seed: {seed}, ");
    }
    if let Some(name) = &recipe.noise {
        let _ = write!(text, "Noise: {}, ", quoted(name));
    }
    let _ = write!(
        text,
        "Size: {}x{}, Model: {}, Version: qwen-image-burn {}",
        recipe.width,
        recipe.height,
        quoted(&recipe.model),
        env!("CARGO_PKG_VERSION")
    );
    text
}

/// The fields of a schedule, its name as webui writes names, and its number or list; none for the
/// model's own schedule.
fn schedule(kind: &ScheduleKind) -> String {
    let shifted = |name, shift| format!("Schedule type: {name}, Shift: {shift}, ");
    match kind {
        ScheduleKind::Dynamic => String::new(),
        ScheduleKind::DynamicBeta => "Schedule type: Dynamic Beta, ".to_owned(),
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
    use super::text;
    use crate::args::{Preset, SamplerName, Sampling};
    use crate::output::recipe::Recipe;

    fn recipe() -> Recipe {
        Recipe {
            prompt: "a red fox".to_owned(),
            negative_prompt: Some("blurry".to_owned()),
            width: 1328,
            height: 1328,
            steps: 50,
            sampling: Sampling::default(),
            cfg_scale: 4.0,
            seed: Some(42),
            noise: None,
            model: "qwen_image_fp8_e4m3fn".to_owned(),
        }
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
    }

    #[test]
    fn samplers_and_schedules_have_webuis_names() {
        let with = |sampler, schedule: &str, preset| {
            text(&Recipe {
                sampling: Sampling {
                    sampler,
                    schedule: schedule.parse().expect("a schedule"),
                    preset,
                },
                ..recipe()
            })
        };
        let text = with(SamplerName::DpmPp2m, "simple", Preset::ComfyUi);
        assert!(text.contains(
            "Sampler: DPM++ 2M, Schedule type: Simple, Shift: 3.1, CFG scale: 4, Preset: ComfyUI, "
        ));
        let text = with(SamplerName::UniPc, "sigmas=1,0.5", Preset::Diffusers);
        assert!(text.contains(
            "Sampler: UniPC, Schedule type: Sigmas, Sigmas: \"1,0.5\", CFG scale: 4, Seed: 42"
        ));
    }
}
