//! The flags as typed. Ranges and combinations are checked in [`super::generate`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::request::BackendName;

use super::checks;
use super::choice::Choice;
use super::download::DownloadArgs;
use super::groups::{COMPUTE, ComputeArgs, IMAGE, OUTPUT, SizeArgs, SourceArgs};
use super::image_input::ImageInputArgs;
use super::images::ImagesArgs;
use super::lora::LoraArgs;
use super::preview::PreviewArgs;
use super::prompt::PromptArgs;
use super::sampling::SamplingArgs;

/// Qwen-Image: a prompt becomes an image.
#[derive(Debug, Parser)]
#[command(name = "qwen-image", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make images from a prompt
    // A repeated flag's last value counts, so that a script can add to a shorter one's flags.
    #[command(args_override_self = true)]
    Generate(Box<GenerateArgs>),
    /// Say how much memory an image takes, and whether it fits
    ///
    /// The flags are those of `generate`, and the plan is that of `generate` with them; nothing is
    /// loaded or written. Without a prompt the longest one is assumed.
    #[command(args_override_self = true)]
    Plan(Box<PlanArgs>),
    /// Download the published model files from the Hugging Face Hub
    ///
    /// The files come into a ComfyUI `models` tree, each checked against its published digest.
    /// A download that was cut goes on where it ended. HF_TOKEN, HF_HOME, HF_ENDPOINT (a mirror)
    /// and HTTPS_PROXY are honoured; what the Hub's cache holds is linked, not downloaded.
    #[command(args_override_self = true)]
    Download(DownloadArgs),
    /// Say what a checkpoint file or folder is
    Inspect(InspectArgs),
    /// List the compute backends compiled in and the devices found
    Devices(DevicesArgs),
    /// Print a script that completes flags, for bash: source <(qwen-image completions bash)
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands into a folder
    Man(ManArgs),
    /// Write files of the published sizes without the trained weights, to try and to measure with
    ///
    /// The files have the header of the published ones, byte for byte their size, and random
    /// weights (30 GB in all) or, with --sparse, none (no disk space). With the demo model's
    /// tokenizer beside them, `generate --models DIR` runs on them; the image is noise.
    #[command(hide = true)]
    MakeFixture(MakeFixtureArgs),
}

/// Flags of `generate`.
#[derive(Debug, Args)]
#[command(next_help_heading = IMAGE)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) prompt: PromptArgs,

    #[command(flatten)]
    pub(crate) size: SizeArgs,

    /// Denoising steps [default: the model's, 50 for Qwen-Image]
    #[arg(long, value_name = "N", value_parser = checks::parse_steps, allow_negative_numbers = true)]
    pub(crate) steps: Option<i64>,

    /// Strength of the guidance; 1 turns it off [default: 4]
    #[arg(long, value_name = "SCALE", value_parser = checks::parse_cfg_scale, allow_negative_numbers = true)]
    pub(crate) cfg_scale: Option<f64>,

    /// Seed of the noise, the same numbers as torch's CPU generator [default: random, printed]
    #[arg(short, long, value_name = "SEED", value_parser = checks::parse_seed, allow_negative_numbers = true)]
    pub(crate) seed: Option<i128>,

    /// How many images to make of each prompt, with seeds SEED, SEED+1, …
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = checks::parse_count,
        allow_negative_numbers = true
    )]
    pub(crate) batch_count: i64,

    /// File or folder to write: .png, .webp (lossless) or .jpg; `%d` or `%04d` in the name becomes
    /// the image's number, `%h` a digest of all that makes the image. A folder that is not there
    /// is made; a name that ends with a slash is a folder [default: qwen-image-SEED.png in the current folder]
    #[arg(help_heading = OUTPUT, short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,

    #[command(flatten)]
    pub(crate) preview: PreviewArgs,

    #[command(flatten)]
    pub(crate) sources: SourceArgs,

    #[command(flatten)]
    pub(crate) loras: LoraArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,

    #[command(flatten)]
    pub(crate) image: ImageInputArgs,

    /// Print the memory plan, as `plan` does, and load nothing
    #[arg(help_heading = COMPUTE, long)]
    pub(crate) dry_run: bool,

    /// Start from this noise instead of the seed's: safetensors with `noise`, F32 [1, 1, 16, h, w]
    #[arg(help_heading = IMAGE, long, value_name = "FILE")]
    pub(crate) noise: Option<PathBuf>,

    /// Write every intermediate tensor to this safetensors file
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Write times and memory of every phase to this JSON file
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Say nothing but errors
    #[arg(help_heading = OUTPUT, short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say more
    #[arg(help_heading = OUTPUT, short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) images: ImagesArgs,
}

/// Flags of `plan`: those of `generate`, whose plan it is, and where it would run.
#[derive(Debug, Args)]
#[command(next_help_heading = IMAGE)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,

    /// Plan for a GPU with this much memory and nothing in use, instead of a device of this
    /// machine; as 24GB, 24GiB or bytes
    #[arg(help_heading = COMPUTE,
        long,
        value_name = "SIZE",
        value_parser = engine::bytes::parse_bytes,
        allow_negative_numbers = true,
        conflicts_with = "device"
    )]
    pub(crate) vram_total: Option<u64>,

    /// Print JSON instead of a table
    #[arg(help_heading = OUTPUT, long)]
    pub(crate) json: bool,
}

/// Flags of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A .safetensors file, an index.json, or a folder of either, of a whole model or of a
    /// ComfyUI `models` tree; or an image, to see how it was made
    #[arg(value_name = "FILE|DIR")]
    pub(crate) path: PathBuf,

    /// Also read every tensor, the way a GPU is filled, to try the file and its disk
    #[arg(long)]
    pub(crate) read: bool,

    /// Read into the memory of this backend's device instead of nowhere
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "NAME",
        requires = "read"
    )]
    pub(crate) backend: Option<Choice<BackendName>>,

    /// Number of the device, as listed by `devices` [default: the first]
    #[arg(
        long,
        value_name = "INDEX",
        value_parser = checks::whole::<usize>,
        allow_negative_numbers = true,
        requires = "backend"
    )]
    pub(crate) device: Option<usize>,

    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder of manual pages: a page for each command is written to DIR/man1, where `man -M DIR`
    /// finds it
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// Flags of `make-fixture`.
#[derive(Debug, Args)]
pub(crate) struct MakeFixtureArgs {
    /// Folder to make a ComfyUI `models` tree in, with the shapes of the published files
    #[arg(long, value_name = "DIR")]
    pub(crate) real_shapes: PathBuf,

    /// Holes instead of weights: zeros that take no disk space
    #[arg(long)]
    pub(crate) sparse: bool,

    /// Seed of the weights: the same one gives the same bytes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = checks::whole::<u64>,
        allow_negative_numbers = true,
        conflicts_with = "sparse"
    )]
    pub(crate) seed: u64,

    /// Only this model, and the tokenizer; may be given several times
    #[arg(long, value_enum, value_name = "PART")]
    pub(crate) only: Vec<FixturePart>,

    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FixturePart {
    /// The FP8 transformer, 20.4 GB
    Transformer,
    /// The scaled FP8 text encoder, 9.4 GB
    TextEncoder,
    /// The BF16 VAE, 0.25 GB
    Vae,
}
