//! Checkpoints that cannot be loaded, and files that are not written: the flags that help.

use loader::published::WriteFault;
use loader::{Component, LoadError, Resemblance};

/// The flag that takes a component's checkpoint.
pub(crate) fn flag(component: Component) -> &'static str {
    match component {
        Component::Transformer => "--transformer",
        Component::TextEncoder => "--text-encoder",
        Component::Vae => "--vae",
    }
}

/// The line for a checkpoint that cannot be loaded.
pub(super) fn load(error: &LoadError) -> String {
    let advice = match error {
        LoadError::ChangedInUse { .. } => {
            "; with --no-mmap files are read before they are used".to_owned()
        }
        LoadError::WholeModel { .. } => {
            ": pass it with --models, or name its transformer, text_encoder or vae folder"
                .to_owned()
        }
        LoadError::SeveralCandidates { component, .. } => {
            format!(": choose one with {}", flag(*component))
        }
        LoadError::WrongComponent { found, .. } => format!(": pass it with {}", flag(*found)),
        LoadError::UnknownComponent {
            resembles: Some(Resemblance::Lora),
            ..
        } => ", which goes with --lora".to_owned(),
        LoadError::NoVaeEncoder { .. } => ": pass another file with --vae".to_owned(),
        LoadError::Lightning { .. } => ": name the one to use with --lora".to_owned(),
        _ => String::new(),
    };
    format!("{error}{advice}")
}

/// Why a file is not written.
pub(crate) fn write(fault: &WriteFault) -> String {
    let advice = match fault {
        WriteFault::Exists => "; --force replaces it",
        _ => "",
    };
    format!("{fault}{advice}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use loader::published::{WriteError, WriteFault};
    use loader::{Component, LoadError, Resemblance};

    use crate::error::CliError;

    #[test]
    fn errors_of_the_loader_end_with_the_flag_that_helps() {
        let path = || PathBuf::from("x");
        for (error, line) in [
            (
                LoadError::ChangedInUse { file: path() },
                "x: was written to while it was in use, so what was computed with it is not kept: \
                 run again once it is complete; with --no-mmap files are read before they are used",
            ),
            (
                LoadError::WholeModel { dir: path() },
                "x: is a whole diffusers model: pass it with --models, or name its transformer, \
                 text_encoder or vae folder",
            ),
            (
                LoadError::SeveralCandidates {
                    dir: path(),
                    component: Component::TextEncoder,
                    files: vec!["a".into(), "b".into()],
                },
                "x: 2 files are text encoders (a, b): choose one with --text-encoder",
            ),
            (
                LoadError::WrongComponent {
                    file: path(),
                    expected: Component::Transformer,
                    found: Component::Vae,
                },
                "x: is a VAE, not a transformer: pass it with --vae",
            ),
            (
                LoadError::UnknownComponent {
                    file: path(),
                    resembles: Some(Resemblance::Lora),
                    keys: Vec::new(),
                },
                "x: not a Qwen-Image transformer, text encoder or VAE: it looks like a LoRA, which \
                 goes with --lora",
            ),
            (
                LoadError::NoVaeEncoder { file: path() },
                "x: this VAE holds no encoder, which a run that begins with an image needs: pass \
                 another file with --vae",
            ),
            (
                LoadError::Lightning {
                    dir: path(),
                    steps: 4,
                    files: Vec::new(),
                },
                "x: holds no Lightning LoRA for 4 steps: name the one to use with --lora",
            ),
            (
                LoadError::NotFound { path: path() },
                "x: no such file or folder",
            ),
        ] {
            assert_eq!(CliError::from(error).to_string(), line);
        }
    }

    #[test]
    fn a_file_that_is_kept_is_told_with_what_replaces_it() {
        let error = WriteError {
            path: "x".into(),
            fault: WriteFault::Exists,
        };
        assert_eq!(
            CliError::from(error).to_string(),
            "cannot write x: is there already; --force replaces it"
        );
    }
}
