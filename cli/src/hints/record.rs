//! Records of images, in the words of the command line.

use std::path::Path;

use engine::record::{Foreign, Incomplete, LostSetting, NotTaken};
use engine::request::Preset;
use engine::text::beginning;

/// The most characters of a value that are shown.
const MAX_SHOWN: usize = 60;

/// The flags that give what a record lacks.
pub(super) fn incomplete(reason: &Incomplete) -> String {
    match reason {
        Incomplete::Lost { setting, .. } => format!("give {}", flags(*setting)),
        Incomplete::Noise(_) => "name that file with --noise, or give a --seed".to_owned(),
        Incomplete::InitImage { mask, .. } => {
            let mask = mask.as_ref();
            let mask = mask.map_or_else(String::new, |mask| format!(", and {mask} with --mask"));
            format!("name that file with --init-image{mask}")
        }
        Incomplete::OtherModel { recorded, .. } => format!(
            "name the folder with {recorded} by --models, or a file to draw with by --transformer"
        ),
    }
}

const fn flags(setting: LostSetting) -> &'static str {
    match setting {
        LostSetting::Loras => "--lora",
        LostSetting::Lightning => "--lightning",
        LostSetting::InitImage => "--init-image",
        LostSetting::Mask => "--mask",
        LostSetting::MaskCrop => "--mask-crop",
        LostSetting::Noise => "--noise or --seed",
        LostSetting::Strength => "--strength",
        LostSetting::Fp8Compute => "--fp8-compute",
    }
}

/// A setting of another program that is not taken, with the flag that changes that.
pub(crate) fn not_taken(left: &NotTaken) -> String {
    let NotTaken { setting, value, .. } = left;
    if left.unless_init_image {
        let value = format!("{value} (unless there is an --init-image)");
        format!("{setting}: {}", beginning(&value, MAX_SHOWN))
    } else {
        left.to_string()
    }
}

/// The note on an image that another program made, before it is made again with the model `here`.
pub(crate) fn foreign(path: &Path, made: &Foreign, here: &str) -> String {
    let model = made.model.as_deref().unwrap_or("an unknown model");
    let preset = match &made.sampling {
        Some(sampling) if sampling.preset == Preset::ComfyUi => " with --preset comfyui",
        _ => "",
    };
    let mut note = format!(
        "{} was made by {} with {model}; taken{preset}, where no flag says otherwise: {}",
        path.display(),
        made.program,
        made.taken().join(", ")
    );
    if let Some(left) = made.left(not_taken) {
        note.push_str(&format!("; not taken: {left}"));
    }
    if !made.is_of_model(here) {
        note.push_str("; the image will be another");
    }
    note
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use engine::record::{Foreign, NotTaken};
    use engine::request::{Preset, Sampling};

    use super::{foreign, not_taken};

    #[test]
    fn a_note_says_what_is_taken_and_what_is_not() {
        let made = Foreign {
            program: "ComfyUI (a workflow)".to_owned(),
            model: Some("qwen".to_owned()),
            is_our_model: true,
            steps: Some(4),
            sampling: Some(Sampling {
                preset: Preset::ComfyUi,
                ..Sampling::default()
            }),
            ..Foreign::default()
        };
        let path = Path::new("a.png");
        assert_eq!(
            foreign(path, &made, "qwen"),
            "a.png was made by ComfyUI (a workflow) with qwen; taken with --preset comfyui, where \
             no flag says otherwise: prompt, steps, sampler and schedule"
        );
        assert!(foreign(path, &made, "other").ends_with("; the image will be another"));
        let left = NotTaken {
            setting: "Denoising strength".to_owned(),
            value: "0.5".to_owned(),
            unless_init_image: true,
        };
        let text = "Denoising strength: 0.5 (unless there is an --init-image)";
        assert_eq!(not_taken(&left), text);
        let made = Foreign {
            not_taken: vec![left],
            is_our_model: false,
            ..made
        };
        let note = foreign(path, &made, "qwen");
        let end = format!("; not taken: {text}; the image will be another");
        assert!(note.ends_with(&end), "{note}");
    }
}
