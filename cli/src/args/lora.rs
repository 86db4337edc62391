//! `--lora` and `--lightning`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;
use engine::record::{Recorded, UsedLora};
use engine::request::{
    LightningSteps, LoraConfig, LoraTag, MAX_LORA_WEIGHT, NamedLoras, RecordedLoras,
};
use loader::lora::lightning_steps;

use super::choice::Choice;
use crate::error::CliError;

/// Their heading in help texts.
const HEADING: &str = "LoRA";

/// The flags that change the transformer.
#[derive(Debug, Args)]
pub(crate) struct LoraArgs {
    /// Add a LoRA beside the transformer's weights, times WEIGHT, which may be negative
    /// [default: 1]; can be given several times. FILE is a path, also of a folder that PEFT wrote,
    /// or a name in the models folder's `loras`
    #[arg(
        long = "lora",
        value_name = "FILE[:WEIGHT]",
        allow_hyphen_values = true,
        help_heading = HEADING
    )]
    pub(crate) loras: Vec<OsString>,

    /// Draw in 4 or 8 steps without guidance, with the Lightning LoRA for as many steps: the one
    /// named by --lora, or else the one in the models folder's `loras`
    #[arg(long, value_enum, value_name = "STEPS", help_heading = HEADING)]
    pub(crate) lightning: Option<Choice<LightningSteps>>,
}

/// The flags, checked; where `--lora` or `--lightning` is not among them, what an image that
/// is made again was made with. The Lightning LoRA of another number of steps is left out.
///
/// # Errors
/// [`CliError::Usage`] for a weight that is none.
pub(super) fn resolve(
    args: &LoraArgs,
    recorded: Option<&Recorded>,
) -> Result<LoraConfig, CliError> {
    let asked = args.lightning.map(|steps| steps.0.steps());
    let another = |lora: &UsedLora| {
        let steps = lightning_steps(Path::new(&lora.file));
        asked.is_some() && steps.is_some() && steps != asked
    };
    let used = recorded.filter(|_| args.loras.is_empty());
    let used = used.map(|from| RecordedLoras {
        image: from.path.clone(),
        loras: from
            .loras
            .iter()
            .filter(|lora| !another(lora))
            .cloned()
            .collect(),
    });
    let foreign = recorded.filter(|from| from.recipe.is_none() && args.loras.is_empty());
    let named = foreign.map(|from| NamedLoras {
        image: from.path.clone(),
        tags: LoraTag::all(&from.prompt),
    });
    Ok(LoraConfig {
        loras: args
            .loras
            .iter()
            .map(|value| lora(value))
            .collect::<Result<_, _>>()?,
        recorded: used.filter(|used| !used.loras.is_empty()),
        named: named.filter(|named| !named.tags.is_empty()),
        lightning: asked.or(recorded.and_then(|from| from.lightning)),
    })
}

/// Refuses flags that contradict `--lightning`.
///
/// # Errors
/// [`CliError::Usage`].
pub(crate) fn check_lightning(
    loras: &LoraConfig,
    steps: Option<i64>,
    cfg_scale: Option<f64>,
    negative_prompt: bool,
) -> Result<(), CliError> {
    let Some(lightning) = loras.lightning else {
        return Ok(());
    };
    let fault = if let Some(steps) = steps.filter(|&steps| steps != lightning as i64) {
        format!("takes {lightning} steps: leave out --steps {steps}")
    } else if let Some(scale) = cfg_scale.filter(|&scale| scale != 1.0) {
        format!("is drawn without guidance: leave out --cfg-scale {scale}")
    } else if negative_prompt {
        "is drawn without guidance: leave out --negative-prompt".to_owned()
    } else {
        return Ok(());
    };
    Err(CliError::Usage(format!("--lightning {lightning} {fault}")))
}

/// A path and its weight: what follows the last colon, if it is a number.
fn lora(value: &OsStr) -> Result<(PathBuf, f64), CliError> {
    let whole = || PathBuf::from(value);
    if value.is_empty() {
        return usage("--lora '' names no file".to_owned());
    }
    let split = at_last_colon(value).filter(|(path, _)| !path.as_os_str().is_empty());
    let Some((path, tail)) = split else {
        return Ok((whole(), 1.0));
    };
    let shown = path.display();
    match tail.trim().parse::<f64>() {
        Ok(weight) if (-MAX_LORA_WEIGHT..=MAX_LORA_WEIGHT).contains(&weight) => {
            Ok((path.to_owned(), weight))
        }
        Ok(_) => usage(format!(
            "--lora {shown}: the weight must be from -{MAX_LORA_WEIGHT} to {MAX_LORA_WEIGHT}, not {tail}"
        )),
        Err(_) if !whole().exists() && path.exists() => usage(format!(
            "--lora {shown}: the weight '{tail}' is no number; write it as 0.8"
        )),
        Err(_) => Ok((whole(), 1.0)),
    }
}

/// The two parts of a value, if there is a colon in it and text behind the last one; the path before
/// it may be any bytes.
#[cfg(unix)]
fn at_last_colon(value: &OsStr) -> Option<(&Path, &str)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = value.as_bytes();
    let colon = bytes.iter().rposition(|byte| *byte == b':')?;
    let tail = std::str::from_utf8(&bytes[colon + 1..]).ok()?;
    Some((Path::new(OsStr::from_bytes(&bytes[..colon])), tail))
}

/// The two parts of a value, if there is a colon in it.
#[cfg(not(unix))]
fn at_last_colon(value: &OsStr) -> Option<(&Path, &str)> {
    let (path, tail) = value.to_str()?.rsplit_once(':')?;
    Some((Path::new(path), tail))
}

fn usage<T>(message: String) -> Result<T, CliError> {
    Err(CliError::Usage(message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_what_follows_the_last_colon() {
        for (value, path, weight) in [
            ("style.safetensors", "style.safetensors", 1.0),
            ("style.safetensors:0.8", "style.safetensors", 0.8),
            ("style:-1.5", "style", -1.5),
            ("style:1e-1", "style", 0.1),
            ("style:0", "style", 0.0),
            (
                r"C:\loras\style.safetensors",
                r"C:\loras\style.safetensors",
                1.0,
            ),
            (
                r"C:\loras\style.safetensors:0.5",
                r"C:\loras\style.safetensors",
                0.5,
            ),
            ("a:b/style.safetensors", "a:b/style.safetensors", 1.0),
            ("a:b/style.safetensors:2", "a:b/style.safetensors", 2.0),
            ("12:30", "12", 30.0),
            ("style:", "style:", 1.0),
            (":5", ":5", 1.0),
        ] {
            let found = lora(OsStr::new(value)).unwrap();
            assert_eq!(found, (PathBuf::from(path), weight), "{value}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_has_a_weight_too() {
        use std::os::unix::ffi::OsStrExt;
        let found = lora(OsStr::from_bytes(b"st\xffyle:0.5")).unwrap();
        let path = PathBuf::from(OsStr::from_bytes(b"st\xffyle"));
        assert_eq!(found, (path, 0.5));
        let whole = OsStr::from_bytes(b"style:\xff");
        assert_eq!(lora(whole).unwrap(), (PathBuf::from(whole), 1.0));
    }

    #[test]
    fn weights_that_are_no_use_are_refused() {
        for value in ["style:nan", "style:inf", "style:-101", "style:1e300", ""] {
            let refused = lora(OsStr::new(value));
            assert!(matches!(refused, Err(CliError::Usage(_))), "{value}");
        }
    }
}
