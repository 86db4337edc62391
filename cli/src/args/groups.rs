//! Flags that several commands share.

use std::path::PathBuf;

use clap::Args;
use engine::request::{BackendName, DtypeChoice, StreamChoice, VaeTiling};

use super::choice::Choice;

/// Help heading of flags about what is drawn.
pub(super) const IMAGE: &str = "Image";
/// Help heading of flags about which files the models are.
pub(super) const MODELS: &str = "Models";
/// Help heading of flags about where and how to compute.
pub(super) const COMPUTE: &str = "Compute";
/// Help heading of flags about what is written and said.
pub(super) const OUTPUT: &str = "Output";

/// How large the image is.
#[derive(Debug, Args)]
#[command(next_help_heading = IMAGE)]
pub(crate) struct SizeArgs {
    /// Width in pixels, rounded down to a multiple of 16
    /// [default: the model's, 1328 for Qwen-Image]
    #[arg(short = 'W', long, value_name = "PX", value_parser = super::checks::parse_side, allow_negative_numbers = true)]
    pub(crate) width: Option<i64>,

    /// Height in pixels, rounded down to a multiple of 16
    /// [default: the model's, 1328 for Qwen-Image]
    #[arg(short = 'H', long, value_name = "PX", value_parser = super::checks::parse_side, allow_negative_numbers = true)]
    pub(crate) height: Option<i64>,
}

/// Where the model files are.
#[derive(Debug, Args)]
#[command(next_help_heading = MODELS)]
pub(crate) struct SourceArgs {
    /// Folder with the model files: a ComfyUI `models` tree or a diffusers folder
    /// [default: the one in QWEN_IMAGE_MODELS, else what `download` fetched, else Qwen/Qwen-Image
    /// in the cache of huggingface_hub, else, where there never were any, the built-in demo model]
    #[arg(long, value_name = "DIR")]
    pub(crate) models: Option<PathBuf>,

    /// A file of all models in one, as ComfyUI's `checkpoints` folder has them: each model that it
    /// holds is taken from it instead of from --models
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Transformer checkpoint (file, index.json or folder) instead of the one in --models
    #[arg(long, value_name = "PATH")]
    pub(crate) transformer: Option<PathBuf>,

    /// Text encoder checkpoint instead of the one in --models
    #[arg(long, value_name = "PATH")]
    pub(crate) text_encoder: Option<PathBuf>,

    /// VAE checkpoint instead of the one in --models
    #[arg(long, value_name = "PATH")]
    pub(crate) vae: Option<PathBuf>,

    /// Tokenizer: tokenizer.json, or a folder with it or with vocab.json and merges.txt
    /// [default: QWEN_IMAGE_TOKENIZER, or found with the models]
    #[arg(long, value_name = "PATH")]
    pub(crate) tokenizer: Option<PathBuf>,

    /// Use the built-in demo model, whatever else is there
    #[arg(
        long,
        conflicts_with_all = ["models", "checkpoint", "transformer", "text_encoder", "vae", "tokenizer"]
    )]
    pub(crate) demo: bool,
}

/// Where and how to compute.
#[derive(Debug, Args)]
#[command(next_help_heading = COMPUTE)]
pub(crate) struct ComputeArgs {
    /// Where to compute
    #[arg(long, value_enum, ignore_case = true, value_name = "NAME", default_value_t = Choice(BackendName::Auto))]
    pub(crate) backend: Choice<BackendName>,

    /// Number of the device, as listed by `devices` [default: the first]
    #[arg(
        long,
        value_name = "INDEX",
        value_parser = super::checks::whole::<usize>,
        allow_negative_numbers = true
    )]
    pub(crate) device: Option<usize>,

    /// Number format of the computation; auto is f32 on a CPU and bf16 on a GPU
    #[arg(long, value_enum, ignore_case = true, value_name = "DTYPE", default_value_t = Choice(DtypeChoice::Auto))]
    pub(crate) dtype: Choice<DtypeChoice>,

    /// Use at most this much device memory, as 12GB, 12GiB or bytes
    /// [default: QWEN_IMAGE_VRAM_LIMIT, or all that is free]
    #[arg(long, value_name = "SIZE", value_parser = engine::bytes::parse_bytes, allow_negative_numbers = true)]
    pub(crate) vram_limit: Option<u64>,

    /// Blocks of a model that do not fit in memory: auto reads them anew in each step, off refuses
    /// the model
    #[arg(long, value_enum, ignore_case = true, value_name = "WHEN", default_value_t = Choice(StreamChoice::Auto))]
    pub(crate) stream: Choice<StreamChoice>,

    /// Keep at most this much of what is streamed in host memory, as 5GB, 5GiB or bytes
    /// [default: QWEN_IMAGE_RAM_CACHE, or nothing]
    #[arg(long, value_name = "SIZE", value_parser = super::checks::parse_cache, allow_negative_numbers = true)]
    pub(crate) ram_cache: Option<u64>,

    /// Run the text encoder on the processor, from its file's mapping, and the rest on the GPU
    #[arg(long)]
    pub(crate) text_encoder_on_cpu: bool,

    /// On the processor, read weights into memory instead of using them in place in their files:
    /// for files that may change meanwhile, or disks that are slow at random
    #[arg(long)]
    pub(crate) no_mmap: bool,

    /// Multiply in FP8 on tensor cores that can (NVIDIA Ada, Hopper and later): faster, and a
    /// little less exact
    #[arg(long)]
    pub(crate) fp8_compute: bool,

    /// Let the VAE work in tiles, which takes less memory; auto does so where the whole would not
    /// fit
    #[arg(long, value_enum, ignore_case = true, value_name = "WHEN", default_value_t = Choice(VaeTiling::Auto))]
    pub(crate) vae_tiling: Choice<VaeTiling>,
}
