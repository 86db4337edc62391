//! Flags for many images, for images that are there already, and for their files.

use std::path::PathBuf;

use clap::Args;

/// Many images, and images again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many images, and images again")]
pub(crate) struct ImagesArgs {
    /// Make the image of this file again: PNG, WebP or JPEG with the recipe of this program, of
    /// ComfyUI (its standard nodes), of webui or of others. Flags given beside it count more
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_file")]
    pub(crate) from: Option<PathBuf>,

    /// Make an image for each line of this file, loading each model once; `-` is standard input.
    ///
    /// A .txt file has a prompt on each line; blank lines and those that begin with # are skipped.
    /// A .jsonl file has an object on each line, and a .json file a list of objects (as standard
    /// input may, too): prompt, and what is to differ from the flags of negative_prompt, width,
    /// height, seed, steps, cfg_scale, output. Other forms (CSV, Markdown, YAML, ...) are refused.
    /// The images have the seeds SEED, SEED+1, … [default: from 0] and are called FILE-1.png,
    /// FILE-2.png, … With `%h` in --output, each line begins at SEED anew and its name follows its
    /// content, so that lines may come and go. Images that are there already are skipped, as with
    /// --resume. Each image is written as soon as it is made where the VAE fits beside the
    /// transformer; otherwise all are written at the end, those that are done also after Ctrl-C
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "prompt", "noise", "trace"])]
    pub(crate) prompt_file: Option<PathBuf>,

    /// Skip images that are there already, made in the same way; needs --seed
    ///
    /// The same are prompts, size, steps, sampler, noise levels, guidance, seed, preset, number
    /// format, init image and mask (by their contents), and the files of LoRAs, transformer, text
    /// encoder and VAE, by their names and by samples spread over their contents. Backends and
    /// devices are not told apart
    #[arg(long, conflicts_with = "noise")]
    pub(crate) resume: bool,

    /// Replace files that hold other images
    ///
    /// Without it, a file that several images, a pattern or a prompt file would put another
    /// image into is kept, and nothing is drawn; a single file that is named by -o is replaced
    /// in any case, and the default names of a folder replace nothing in any case
    #[arg(long, help_heading = super::groups::OUTPUT)]
    pub(crate) overwrite: bool,

    /// Quality of a JPEG file, from 1 to 100 [default: 95]
    #[arg(
        long,
        value_name = "N",
        help_heading = super::groups::OUTPUT,
        value_parser = super::checks::parse_quality,
        allow_negative_numbers = true
    )]
    pub(crate) quality: Option<i64>,

    /// Encode every prompt, instead of taking embeddings from earlier runs with the same text
    /// encoder out of the cache in QWEN_IMAGE_CACHE [default: the user's cache folder]; the same
    /// for the modulations of timesteps
    #[arg(long)]
    pub(crate) no_prompt_cache: bool,
}
