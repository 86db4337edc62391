//! stable-diffusion-webui's text, which Forge, SD.Next, stable-diffusion.cpp and others write too.

use model::scheduler::ScheduleKind;

use super::{Foreign, sampler, size};
use crate::record::parameters::parsed::Parsed;
use crate::request::Sampling;

/// Settings, in small letters, that do not change the image or only name the model and its parts.
const TELL_NOTHING: [&str; 25] = [
    "model",
    "model hash",
    "vae",
    "vae hash",
    "version",
    "hashes",
    "lora hashes",
    "ti hashes",
    "created date",
    "civitai resources",
    "civitai metadata",
    "user",
    "backend",
    "app",
    "parser",
    "pipeline",
    "operations",
    "template",
    "negative template",
    "time taken",
    "batch size",
    "batch pos",
    "module 1",
    "module 2",
    "module 3",
];

/// The recipe of such a text.
pub(super) fn read(text: &Parsed) -> Foreign {
    let version = text.value("Version").unwrap_or_default();
    let mut found = Foreign {
        program: program(version),
        model: text.value("Model").map(str::to_owned),
        prompt: text.prompt.clone(),
        negative_prompt: text.negative_prompt.clone(),
        ..Foreign::default()
    };
    for (key, value) in text.pairs() {
        take(&mut found, key, value);
    }
    sampling(&mut found, text);
    found
}

/// The program of a `Version`.
fn program(version: &str) -> String {
    let lower = version.to_lowercase();
    let name = if version.is_empty() {
        "another program"
    } else if lower.contains("stable-diffusion.cpp") || lower.contains("sd.cpp") {
        "stable-diffusion.cpp"
    } else if lower.starts_with('f') || lower.contains("forge") || lower.contains("neo") {
        "stable-diffusion-webui-forge"
    } else if lower.starts_with('v') {
        "stable-diffusion-webui"
    } else {
        return super::shown(version);
    };
    name.to_owned()
}

/// Takes a setting, or leaves it.
fn take(found: &mut Foreign, key: &str, value: &str) {
    let number = value.trim();
    let taken = match key.to_lowercase().as_str() {
        "steps" => set(&mut found.steps, number.parse().ok()),
        "cfg scale" => {
            let scale = number.parse().ok().filter(|scale: &f64| scale.is_finite());
            set(&mut found.cfg_scale, scale)
        }
        "seed" => set(&mut found.seed, number.parse().ok()),
        "size" => match size(number) {
            Some((width, height)) => {
                (found.width, found.height) = (Some(width), Some(height));
                true
            }
            None => false,
        },
        "denoising strength" => {
            found.strength = number
                .parse()
                .ok()
                .filter(|part| *part > 0.0 && *part <= 1.0);
            return found.leave_strength(key, number);
        }
        // These are looked at together.
        "sampler" | "schedule type" | "scheduler" | "shift" => true,
        // Settings that are told also where they do nothing.
        "clip skip" => number == "1" || number == "0",
        "eta" => number.parse() == Ok(0.0),
        "tiling" | "face restoration" | "restore faces" => number.eq_ignore_ascii_case("false"),
        other => TELL_NOTHING.contains(&other) || other.is_empty(),
    };
    if !taken {
        found.leave(key, value);
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    *place = value.or(place.take());
    is_there
}

/// Takes sampler and schedule as far as they exist here.
fn sampling(found: &mut Foreign, text: &Parsed) {
    let shift = text.value("Shift");
    let kind = text.value("Schedule type").or(text.value("Scheduler"));
    let schedule = match (kind.map(str::to_lowercase).as_deref(), shift) {
        (None | Some("automatic" | "discrete" | "default"), None) => Ok(None),
        (Some(name @ ("simple" | "beta")), Some(shift)) => {
            format!("{name}={shift}").parse().map(Some).map_err(|_| ())
        }
        _ => Err(()),
    };
    if schedule.is_err() {
        if let Some(kind) = kind {
            found.leave("Schedule type", kind);
        }
        if let Some(shift) = shift {
            found.leave("Shift", shift);
        }
    }
    let schedule: Option<ScheduleKind> = schedule.ok().flatten();
    let label = text.value("Sampler");
    let known = label.and_then(sampler);
    if let (Some(label), None) = (label, known) {
        found.leave("Sampler", label);
    }
    if known.is_some() || schedule.is_some() {
        found.sampling = Some(Sampling {
            sampler: known.unwrap_or_default(),
            schedule: schedule.unwrap_or_default(),
            ..Sampling::default()
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::request::SamplerName;

    use super::read;
    use crate::record::foreign::Foreign;
    use crate::record::parameters::parsed::parse;

    fn of(settings: &str) -> Foreign {
        read(&parse(&format!("a fox\nSteps: 3, {settings}")).unwrap())
    }

    #[test]
    fn what_is_not_taken_is_named() {
        for (settings, named) in [
            ("Sampler: DPM++ 2M Karras", "Sampler: DPM++ 2M Karras"),
            ("Sampler: Euler a", "Sampler: Euler a"),
            (
                "Sampler: Euler, Schedule type: Karras",
                "Schedule type: Karras",
            ),
            (
                "Sampler: Euler, Schedule type: Simple",
                "Schedule type: Simple",
            ),
            ("Size: 12", "Size: 12"),
            ("Size: 512x", "Size: 512x"),
            ("Seed: -", "Seed: -"),
            ("CFG scale: x", "CFG scale: x"),
            ("CFG scale: nan", "CFG scale: nan"),
            ("Clip skip: 2", "Clip skip: 2"),
            (
                "Hires upscale: 2, Hires steps: 5",
                "Hires upscale: 2, Hires steps: 5",
            ),
            ("RNG: NV", "RNG: NV"),
            ("ENSD: 31337", "ENSD: 31337"),
            ("Variation seed: 1", "Variation seed: 1"),
            ("Refiner: x", "Refiner: x"),
            ("Eta: 0.5", "Eta: 0.5"),
            ("Distilled CFG Scale: 3.5", "Distilled CFG Scale: 3.5"),
            (
                "Denoising strength: 0.5",
                "Denoising strength: 0.5 (unless there is an init image)",
            ),
            ("Something new: 7", "Something new: 7"),
        ] {
            let found = of(settings);
            let left = found.left(ToString::to_string);
            assert_eq!(left.as_deref(), Some(named), "{settings}");
        }
        let nothing = "Model: x, Model hash: ab, Version: v1.10.1, Lora hashes: \"a: b\", \
                       Clip skip: 1, Eta: 0";
        assert_eq!(of(nothing).left(ToString::to_string), None);
        let many: String = (0..20).map(|n| format!("Key {n}: {n}, ")).collect();
        let many = of(&many).left(ToString::to_string).unwrap();
        assert!(many.ends_with("and 12 more"), "{many}");
    }

    #[test]
    fn what_exists_here_is_taken() {
        let found = of("Sampler: DPM++ 2M, CFG scale: 2.5, Seed: 7, Size: 512×768, Version: f2.0");
        assert_eq!((found.width, found.height), (Some(512), Some(768)));
        assert_eq!((found.steps, found.seed), (Some(3), Some(7)));
        assert_eq!(found.sampling.unwrap().sampler, SamplerName::DpmPp2m);
        assert_eq!(found.program, "stable-diffusion-webui-forge");
        let found = of("Sampler: Euler, Schedule type: Simple, Shift: 3");
        assert_eq!(
            found.sampling.clone().unwrap().schedule.to_string(),
            "simple=3"
        );
        assert_eq!(found.left(ToString::to_string), None);
        let cpp = of("Sampler: euler, Version: stable-diffusion.cpp");
        assert_eq!(cpp.program, "stable-diffusion.cpp");
        assert!(cpp.sampling.is_some());
        assert_eq!(cpp.taken(), ["prompt", "steps", "sampler and schedule"]);
    }
}
