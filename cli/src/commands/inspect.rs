//! `inspect`: what a checkpoint is.

mod picture;
mod read;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use loader::{Component, LoadError, LoadReport, ModelFiles, Summary, Weights};
use model::Tokenizer;
use serde::Serialize;
use serde_json::Value;

use crate::args::{InspectArgs, format_bytes};
use crate::console::{self, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use crate::models::{text_encoder_part, transformer_part, vae_part};
use crate::output::metadata::PictureFile;
use read::Target;

/// What was found.
#[derive(Debug, Serialize)]
struct Inspection {
    checkpoints: Vec<Described>,
    tokenizer: Option<DescribedTokenizer>,
}

#[derive(Debug, Serialize)]
struct Described {
    #[serde(flatten)]
    summary: Summary,
    /// Sizes, from the file's config and its shapes.
    config: Value,
    /// What reading it took, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<LoadReport>,
    #[serde(skip)]
    dialect: String,
}

#[derive(Debug, Serialize)]
struct DescribedTokenizer {
    path: PathBuf,
    tokens: usize,
}

/// Prints it.
///
/// # Errors
/// What makes the files unusable; [`CliError::Stdout`].
pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    if PictureFile::is_one(&args.path) {
        if args.read {
            return Err(CliError::Usage(format!(
                "--read is about checkpoints, and {} is a picture",
                args.path.display()
            )));
        }
        return console::stdout(&picture::describe(&args.path, args.json)?);
    }
    let inspector = Inspector {
        target: Target::of(args)?,
    };
    if inspector.target.is_some() {
        interrupt::listen(|| stderr_line("stopping; Ctrl-C again ends at once"));
    }
    let inspection = inspector.inspect(&args.path)?;
    let text = if args.json {
        let json = serde_json::to_string_pretty(&inspection)
            .map_err(|error| CliError::Internal(error.to_string()))?;
        json + "\n"
    } else {
        as_text(&inspection)
    };
    console::stdout(&text)
}

/// Looks at files, and into them if asked to.
struct Inspector {
    /// Where tensors are read to, if they are.
    target: Option<Target>,
}

impl Inspector {
    fn inspect(&self, path: &Path) -> Result<Inspection, CliError> {
        match Weights::open_any(path) {
            Ok(weights) => Ok(Inspection {
                checkpoints: vec![self.describe(weights)?],
                tokenizer: None,
            }),
            // A folder that is no checkpoint may hold several.
            Err(
                LoadError::WholeModel { .. }
                | LoadError::EmptyFolder { .. }
                | LoadError::AmbiguousFolder { .. },
            ) => self.inspect_folder(path),
            Err(error) => Err(error.into()),
        }
    }

    fn inspect_folder(&self, dir: &Path) -> Result<Inspection, CliError> {
        let found = ModelFiles::discover(dir)?;
        let parts = [
            (Component::TextEncoder, found.text_encoder),
            (Component::Transformer, found.transformer),
            (Component::Vae, found.vae),
        ];
        let mut checkpoints = Vec::new();
        for (component, path) in parts {
            if let Some(path) = path {
                checkpoints.push(self.describe(Weights::open(&path, component)?)?);
            }
        }
        let tokenizer = match found.tokenizer {
            Some(path) => Some(DescribedTokenizer {
                tokens: Tokenizer::open(&path)?.len(),
                path,
            }),
            None => None,
        };
        Ok(Inspection {
            checkpoints,
            tokenizer,
        })
    }

    fn describe(&self, weights: Weights) -> Result<Described, CliError> {
        let summary = weights.summary();
        let dialect = weights.dialect().to_string();
        let target = self.target.as_ref();
        let read = target.map(|target| target.read(&weights)).transpose()?;
        let config = match weights.component() {
            Component::Transformer => serde_json::to_value(transformer_part(weights)?.config),
            Component::TextEncoder => serde_json::to_value(text_encoder_part(weights)?.config),
            Component::Vae => serde_json::to_value(vae_part(weights)?.config),
        };
        Ok(Described {
            summary,
            config: config.map_err(|error| CliError::Internal(error.to_string()))?,
            read,
            dialect,
        })
    }
}

fn as_text(inspection: &Inspection) -> String {
    let mut text = String::new();
    for (i, described) in inspection.checkpoints.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        checkpoint_text(&mut text, described);
    }
    if let Some(tokenizer) = &inspection.tokenizer {
        let path = console::printable(&tokenizer.path.to_string_lossy());
        let _ = writeln!(text, "\n{path}");
        line(&mut text, "component", "tokenizer");
        line(&mut text, "tokens", &tokenizer.tokens.to_string());
    }
    text
}

fn checkpoint_text(text: &mut String, described: &Described) {
    let Described {
        summary,
        config,
        dialect,
        ..
    } = described;
    let _ = writeln!(text, "{}", console::printable(&summary.source));
    line(text, "component", &summary.component.to_string());
    line(text, "dialect", dialect);
    if summary.files.len() > 1 {
        line(text, "files", &summary.files.len().to_string());
    }
    line(
        text,
        "tensors",
        &format!(
            "{} tensors, {}; {} loaded",
            summary.tensors,
            format_bytes(summary.bytes),
            summary.used
        ),
    );
    for (dtype, share) in &summary.dtypes {
        let value = format!("{} tensors, {}", share.tensors, format_bytes(share.bytes));
        line(text, &format!("  {dtype}"), &value);
    }
    for (reason, count) in &summary.unused {
        line(text, "not used", &format!("{count} of: {reason}"));
    }
    if let Some(report) = &described.read {
        line(text, "read", &read::text(report));
    }
    line(text, "in memory", &format_bytes(summary.footprint.total()));
    if let Value::Object(fields) = config {
        for (field, value) in fields {
            line(text, &format!("  {field}"), &value.to_string());
        }
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<23} {value}");
}
