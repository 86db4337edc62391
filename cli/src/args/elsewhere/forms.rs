//! Flags that say something in another form than elsewhere, with the user's own value where it is
//! understood.

use std::path::Path;

use model::family::QWEN_IMAGE;

use super::values;
use crate::args::shell::word;

/// Formats a tip: `here it is '--steps 20'`.
pub(super) fn here(flags: &str) -> String {
    format!("here it is '{flags}'")
}

/// A flag and its value under this program's name, as a shell takes them.
pub(super) fn with_value(flag: &str, value: Option<&str>) -> String {
    let Some(value) = value else {
        return flag.to_owned();
    };
    match values::known(flag, value) {
        Some(own) => format!("{flag} {own}"),
        None => format!("{flag} {}", word(value)),
    }
}

pub(super) fn size(value: Option<&str>) -> String {
    let (width, height) = value.and_then(sides).unwrap_or((512, 512));
    format!("--width {width} --height {height}")
}

/// Both sides, of `512x768`, `512*768`, `512,768` or `512`.
pub(super) fn sides(value: &str) -> Option<(u32, u32)> {
    let digits = |text: &str| text.trim().parse::<u32>().ok();
    match value.split_once(['x', 'X', '×', '*', ',', ':']) {
        Some((width, height)) => Some((digits(width)?, digits(height)?)),
        None => digits(value).map(|side| (side, side)),
    }
}

pub(super) fn ratio(value: Option<&str>) -> String {
    let ratio = value.map(|value| value.replace(['x', '/'], ":"));
    let sizes = QWEN_IMAGE.sizes;
    let named = |name: &str| sizes.iter().find(|size| size.ratio == name);
    // An example, where the ratio is none of the model's.
    let size = ratio.as_deref().and_then(named).unwrap_or(&sizes[1]);
    format!("--width {} --height {}", size.width, size.height)
}

/// Other programs have samplers among their schedulers: diffusers' classes are both.
pub(super) fn scheduler(value: Option<&str>) -> String {
    match value {
        None => "--schedule simple".to_owned(),
        Some(value) => match values::known("--sampler", value) {
            Some(sampler) => format!("--sampler {sampler}"),
            None => with_value("--schedule", Some(value)),
        },
    }
}

pub(super) fn shift(value: Option<&str>) -> String {
    format!("--schedule shift={}", value.unwrap_or("3"))
}

pub(super) fn sigmas(value: Option<&str>) -> String {
    let levels = value.unwrap_or("1,0.75,0.5").replace(' ', "");
    format!("--schedule sigmas={levels}")
}

/// mflux says how much of an image is kept, and not how much is changed.
pub(super) fn kept(value: Option<&str>) -> String {
    let kept = value.and_then(|value| value.parse::<f64>().ok());
    match kept.filter(|kept| (0.0..1.0).contains(kept)) {
        // Rounded, so that 1 - 0.4 is written as 0.6.
        Some(kept) => format!("--strength {}", (1e6 * (1.0 - kept)).round() / 1e6),
        None => "--strength 0.6".to_owned(),
    }
}

pub(super) fn lora_weight(value: Option<&str>) -> String {
    format!("--lora FILE:{}", value.unwrap_or("0.8"))
}

pub(super) fn lightning(value: Option<&str>) -> String {
    let steps = value.filter(|value| *value == "8").unwrap_or("4");
    format!("--lightning {steps}")
}

/// A file is the transformer's, a folder has all models.
pub(super) fn model(value: Option<&str>) -> String {
    let Some(value) = value else {
        return "--models DIR".to_owned();
    };
    let ending = Path::new(value).extension();
    let is_file = ending.is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    let flag = if is_file { "--transformer" } else { "--models" };
    with_value(flag, Some(value))
}

pub(super) fn gpu(value: Option<&str>) -> String {
    let number = value.and_then(|value| value.trim_start_matches("cuda:").parse::<u32>().ok());
    format!("--backend cuda --device {}", number.unwrap_or(0))
}

pub(super) fn folder(value: Option<&str>) -> String {
    let folder = value.unwrap_or("DIR").trim_end_matches('/');
    format!("--output {}", word(&format!("{folder}/")))
}

pub(super) fn prefix(value: Option<&str>) -> String {
    let prefix = value.unwrap_or("fox");
    format!("--output {}", word(&format!("{prefix}-%03d.png")))
}
