//! The device and the numerics of a run, checked.

use backends::{Arithmetic, BackendKind, Selection};
use engine::bytes::{format_bytes, parse_bytes};
use engine::request::{BackendName, ComputeConfig, ModelSources, StreamChoice};
use loader::LoadMethod;

use super::checks::parse_cache;
use super::environment::Environment;
use super::groups::ComputeArgs;
use crate::console::Console;
use crate::error::CliError;
use crate::running_on;

/// The variable that stands for `--vram-limit`.
const LIMIT_VARIABLE: &str = "QWEN_IMAGE_VRAM_LIMIT";
/// The variable that stands for `--ram-cache`.
const CACHE_VARIABLE: &str = "QWEN_IMAGE_RAM_CACHE";
/// For tests without a GPU: the host memory that there is.
const HOST_VARIABLE: &str = "QWEN_IMAGE_TEST_HOST_MEMORY";
/// For tests on the processor, where the decoder always has room beside the transformer.
const ONE_MODEL_VARIABLE: &str = "QWEN_IMAGE_TEST_ONE_MODEL";
/// That flag.
const LIMIT_FLAG: &str = "--vram-limit";

/// The flags, completed by QWEN_IMAGE_VRAM_LIMIT.
///
/// # Errors
/// [`CliError::Usage`] for a variable that is no size, or a text encoder on a processor that
/// this build has no backend for.
pub(super) fn resolve(
    args: &ComputeArgs,
    environment: Environment<'_>,
) -> Result<ComputeConfig, CliError> {
    if args.text_encoder_on_cpu && !BackendKind::Flex.compiled_in() {
        return Err(CliError::Usage(
            "--text-encoder-on-cpu: the processor's backend is not compiled in: build with \
             `--features flex`"
                .to_owned(),
        ));
    }
    let size = |variable: &str, parse: fn(&str) -> Result<u64, String>| {
        let Some(value) = environment.get(variable) else {
            return Ok(None);
        };
        let text = value.to_string_lossy();
        let bytes = parse(&text);
        bytes
            .map(Some)
            .map_err(|reason| CliError::Usage(format!("{variable} is '{text}': {reason}")))
    };
    let vram_limit = match args.vram_limit {
        Some(limit) => Some(limit),
        None => size(LIMIT_VARIABLE, parse_bytes)?,
    };
    let ram_cache = match args.ram_cache {
        Some(size) => Some(size),
        None => size(CACHE_VARIABLE, parse_cache)?,
    };
    Ok(ComputeConfig {
        backend: args.backend.0,
        device: args.device,
        dtype: args.dtype.0,
        vram_limit,
        limit_name: if args.vram_limit.is_some() {
            LIMIT_FLAG
        } else {
            LIMIT_VARIABLE
        },
        text_encoder_on_cpu: args.text_encoder_on_cpu,
        arithmetic: if args.fp8_compute {
            Arithmetic::Fp8
        } else {
            Arithmetic::Exact
        },
        vae_tiling: args.vae_tiling.0,
        weights: if args.no_mmap {
            LoadMethod::Read
        } else {
            LoadMethod::InPlace
        },
        one_model: environment.get(ONE_MODEL_VARIABLE).is_some(),
        stream: args.stream.0,
        ram_cache: ram_cache.unwrap_or(0),
        host_limit: size(HOST_VARIABLE, parse_bytes)?,
    })
}

/// Tells which device was chosen where the user named none, and what else the user should know
/// about it.
pub(crate) fn advise(
    compute: &ComputeConfig,
    console: Console,
    selection: &Selection,
    sources: &ModelSources,
    environment: Environment<'_>,
) {
    let device = &selection.device;
    if compute.is_demos_own(sources) {
        let name = &selection.name;
        console.note(&format!("Running on the {name}, as the demo model does"));
    } else if compute.backend == BackendName::Auto {
        let words = running_on::words(selection, environment.gpu_signs());
        console.note(&format!("Running on {words}"));
    }
    if compute.ram_cache > 0 && compute.stream == StreamChoice::Off {
        console.note("note: --ram-cache has no effect with --stream off");
    }
    if device.kind == BackendKind::Flex {
        if compute.limit_name == LIMIT_FLAG {
            console
                .note("note: --vram-limit is about GPU memory; on the processor it has no effect");
        }
        if compute.text_encoder_on_cpu {
            console.note(
                "note: --text-encoder-on-cpu has no effect: everything runs on the processor",
            );
        }
    } else if let Some(limit) = compute.vram_limit {
        console.detail(&format!("Memory limit: {}", format_bytes(limit)));
    }
    console.detail(&format!(
        "Backend: {}, device {}",
        device.kind, device.index
    ));
}
