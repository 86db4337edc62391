//! `inspect`: what a checkpoint is.

mod image;
mod lora;
mod read;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use engine::bytes::format_bytes;
use engine::files::json_path::lossy;
use engine::models::survey::{self, Sizes};
use engine::models::{Part, text_encoder_part, transformer_part, vae_part};
use engine::record::ImageFile;
use loader::lora::{LoraSummary, looks_like_a_lora};
use loader::{
    Checkpoint, Component, FolderContents, LoadError, LoadReport, Lora, Summary, Weights,
};
use model::Tokenizer;
use serde::Serialize;
use serde_json::Value;

use crate::args::InspectArgs;
use crate::console::{self, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use read::Target;

/// The result of an inspection.
#[derive(Debug, Serialize)]
struct Inspection {
    checkpoints: Vec<Described>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loras: Vec<LoraSummary>,
    tokenizer: Option<DescribedTokenizer>,
}

#[derive(Debug, Serialize)]
struct Described {
    #[serde(flatten)]
    summary: Summary,
    /// Sizes, from the file's config and its shapes.
    config: Value,
    /// The figures of reading the file, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<LoadReport>,
    #[serde(skip)]
    dialect: String,
}

#[derive(Debug, Serialize)]
struct DescribedTokenizer {
    #[serde(serialize_with = "lossy")]
    path: PathBuf,
    tokens: usize,
}

/// Prints it.
///
/// # Errors
/// The fault of unusable files; [`CliError::Stdout`].
pub(crate) fn run(args: &InspectArgs) -> Result<(), CliError> {
    if ImageFile::is_one(&args.path) {
        if args.read {
            return Err(CliError::Usage(format!(
                "--read is about checkpoints, and {} is an image",
                args.path.display()
            )));
        }
        return console::stdout(&image::describe(&args.path, args.json)?);
    }
    let inspector = Inspector {
        target: Target::of(args)?,
    };
    if inspector.target.is_some() {
        interrupt::listen(|| stderr_line("stopping; Ctrl-C again ends at once"));
    }
    let inspection = inspector
        .inspect(&args.path)
        .map_err(|error| without_recipe(&args.path).unwrap_or(error))?;
    let text = if args.json {
        let json = serde_json::to_string_pretty(&inspection)
            .map_err(|error| CliError::internal(error.to_string()))?;
        json + "\n"
    } else {
        as_text(&inspection)
    };
    console::stdout(&text)
}

/// The error for a file that is no checkpoint but an image of a kind that has no place for a recipe.
fn without_recipe(path: &Path) -> Option<CliError> {
    let kind = image::other_kind(path)?;
    Some(CliError::input(format!(
        "{}: is a {kind} image, which holds no recipe: PNG, JPEG and WebP files do",
        path.display()
    )))
}

/// Looks at files, and into them if asked to.
struct Inspector {
    /// The memory that tensors are read into, if they are read.
    target: Option<Target>,
}

impl Inspector {
    fn inspect(&self, path: &Path) -> Result<Inspection, CliError> {
        match Weights::open_any(path) {
            Ok(weights) => Ok(Inspection {
                checkpoints: vec![self.describe(weights)?],
                loras: Vec::new(),
                tokenizer: None,
            }),
            Err(LoadError::UnknownComponent { .. })
                if looks_like_a_lora(&Checkpoint::open(path)?) =>
            {
                self.inspect_lora(path)
            }
            Err(LoadError::SeveralComponents { .. }) => self.inspect_parts(path),
            // A folder that is no checkpoint may hold several.
            Err(
                LoadError::WholeModel { .. }
                | LoadError::EmptyFolder { .. }
                | LoadError::AmbiguousFolder { .. },
            ) => self.inspect_folder(path),
            Err(error) => Err(error.into()),
        }
    }

    /// A file of several models in one.
    fn inspect_parts(&self, path: &Path) -> Result<Inspection, CliError> {
        let parts = loader::components(&Checkpoint::open(path)?).into_iter();
        let describe = |part| self.describe(Weights::open(path, part)?);
        Ok(Inspection {
            checkpoints: parts.map(describe).collect::<Result<_, CliError>>()?,
            loras: Vec::new(),
            tokenizer: None,
        })
    }

    fn inspect_lora(&self, path: &Path) -> Result<Inspection, CliError> {
        if self.target.is_some() {
            return Err(CliError::Usage(format!(
                "--read is for checkpoints; {} is a LoRA",
                path.display()
            )));
        }
        Ok(Inspection {
            checkpoints: Vec::new(),
            loras: vec![Lora::open(path)?.summary()],
            tokenizer: None,
        })
    }

    fn inspect_folder(&self, dir: &Path) -> Result<Inspection, CliError> {
        let found = FolderContents::of(dir)?;
        let mut checkpoints = Vec::new();
        for (component, checkpoint) in found.checkpoints {
            checkpoints.push(self.describe(Weights::of(checkpoint.open()?, component)?)?);
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
            loras: loras(&found.loras),
            tokenizer,
        })
    }

    fn describe(&self, weights: Weights) -> Result<Described, CliError> {
        match weights.component() {
            Component::Transformer => self.describe_part(transformer_part(weights)?),
            Component::TextEncoder => self.describe_part(text_encoder_part(weights)?),
            Component::Vae => self.describe_part(vae_part(weights)?),
        }
    }

    fn describe_part<C: Sizes + Serialize>(&self, part: Part<C>) -> Result<Described, CliError> {
        // Reading is refused where memory is short; the check would only fail there in its own way.
        let target = self.target.as_ref();
        let read = target.map(|target| target.read(&part.weights));
        let read = read.transpose()?;
        survey::check(&part)?;
        let Part { weights, config } = part;
        Ok(Described {
            summary: Summary::of(&weights),
            config: serde_json::to_value(config)
                .map_err(|error| CliError::internal(error.to_string()))?,
            read,
            dialect: weights.dialect().to_string(),
        })
    }
}

/// The LoRAs among a folder's files. One that cannot be used, as another model's, is named on
/// stderr and left out.
fn loras(paths: &[PathBuf]) -> Vec<LoraSummary> {
    let mut summaries = Vec::new();
    for path in paths {
        match Lora::open(path) {
            Ok(lora) => summaries.push(lora.summary()),
            Err(error) => stderr_line(&format!("note: left out: {error}")),
        }
    }
    summaries
}

fn as_text(inspection: &Inspection) -> String {
    let mut parts = Vec::new();
    for described in &inspection.checkpoints {
        let mut text = String::new();
        checkpoint_text(&mut text, described);
        parts.push(text);
    }
    for summary in &inspection.loras {
        let mut text = String::new();
        lora::text(&mut text, summary);
        parts.push(text);
    }
    if let Some(tokenizer) = &inspection.tokenizer {
        let mut text = console::printable(&tokenizer.path.to_string_lossy()) + "\n";
        line(&mut text, "component", "tokenizer");
        line(&mut text, "tokens", &tokenizer.tokens.to_string());
        parts.push(text);
    }
    parts.join("\n")
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
