//! Where and how to compute, checked.

use backends::{Arithmetic, BackendKind, Selection};
use loader::Method;

use super::environment::Environment;
use super::format_bytes;
use super::groups::{BackendName, ComputeArgs, DtypeChoice, VaeTiling};
use super::size::parse_bytes;
use super::sources::ModelSources;
use crate::console::Console;
use crate::error::CliError;
use crate::running_on;

/// The variable that stands for `--vram-limit`.
const LIMIT_VARIABLE: &str = "QWEN_IMAGE_VRAM_LIMIT";
/// For tests on the processor, where the decoder always has room beside the transformer.
const ONE_MODEL_VARIABLE: &str = "QWEN_IMAGE_TEST_ONE_MODEL";
/// That flag.
const LIMIT_FLAG: &str = "--vram-limit";

/// Where and how to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ComputeConfig {
    /// Backend by name, or auto.
    pub(crate) backend: BackendName,
    /// Device number.
    pub(crate) device: Option<usize>,
    /// Compute format.
    pub(crate) dtype: DtypeChoice,
    /// Bytes of device memory that may be used.
    pub(crate) vram_limit: Option<u64>,
    /// Whether the limit was given for this run, and not in the environment for all.
    limit_flag: bool,
    /// Whether the text encoder runs on the processor while the rest runs on the device.
    pub(crate) text_encoder_on_cpu: bool,
    /// What FP8 weights are multiplied with.
    pub(crate) arithmetic: Arithmetic,
    /// Whether to decode in tiles.
    pub(crate) vae_tiling: VaeTiling,
    /// Whether the processor uses weights in their files, or reads them first.
    pub(crate) weights: Method,
    /// Whether the decoder is never beside the transformer, whatever is free.
    pub(crate) one_model: bool,
}

impl ComputeConfig {
    /// The flags, completed by QWEN_IMAGE_VRAM_LIMIT.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a variable that is no size, or a text encoder on a processor that
    /// this build has no backend for.
    pub(super) fn resolve(
        args: &ComputeArgs,
        environment: Environment<'_>,
    ) -> Result<Self, CliError> {
        if args.text_encoder_on_cpu && !BackendKind::Flex.compiled_in() {
            return Err(CliError::Usage(
                "--text-encoder-on-cpu: the processor's backend is not compiled in: build with \
                 `--features flex`"
                    .to_owned(),
            ));
        }
        let from_variable = || {
            let value = environment.get(LIMIT_VARIABLE)?;
            let text = value.to_string_lossy();
            Some(parse_bytes(&text).map_err(|reason| {
                CliError::Usage(format!("{LIMIT_VARIABLE} is '{text}': {reason}"))
            }))
        };
        let vram_limit = match args.vram_limit {
            Some(limit) => Some(limit),
            None => from_variable().transpose()?,
        };
        Ok(Self {
            backend: args.backend,
            device: args.device,
            dtype: args.dtype,
            vram_limit,
            limit_flag: args.vram_limit.is_some(),
            text_encoder_on_cpu: args.text_encoder_on_cpu,
            arithmetic: if args.fp8_compute {
                Arithmetic::Fp8
            } else {
                Arithmetic::Exact
            },
            vae_tiling: args.vae_tiling,
            weights: if args.no_mmap {
                Method::Read
            } else {
                Method::InPlace
            },
            one_model: environment.get(ONE_MODEL_VARIABLE).is_some(),
        })
    }

    /// The device that the user means. A demo-sized image is done on the processor before a
    /// GPU has compiled its kernels, so for the demo model `auto` does not look for one.
    ///
    /// # Errors
    /// [`CliError::Device`].
    pub(crate) fn choose(&self, sources: &ModelSources) -> Result<Selection, CliError> {
        let name = if self.is_demos_own(sources) {
            BackendKind::Flex.name()
        } else {
            self.backend.as_str()
        };
        Ok(backends::select(name, self.device)?)
    }

    /// Whether no device is looked for, since the demo model is drawn.
    fn is_demos_own(&self, sources: &ModelSources) -> bool {
        sources.is_demo()
            && self.backend == BackendName::Auto
            && self.device.is_none()
            && BackendKind::Flex.compiled_in()
    }

    /// Where the limit came from: the flag, or the variable.
    pub(crate) const fn limit_name(&self) -> &'static str {
        if self.limit_flag {
            LIMIT_FLAG
        } else {
            LIMIT_VARIABLE
        }
    }

    /// Whether the text encoder runs elsewhere than on `device`.
    pub(crate) fn splits_encoder(&self, device: BackendKind) -> bool {
        self.text_encoder_on_cpu && device != BackendKind::Flex
    }

    /// Tells which device was chosen where the user named none, and what else the user should know
    /// about it.
    pub(crate) fn advise(
        &self,
        console: Console,
        selection: &Selection,
        sources: &ModelSources,
        environment: Environment<'_>,
    ) {
        let device = &selection.device;
        if self.is_demos_own(sources) {
            let name = &selection.name;
            console.note(&format!("Running on the {name}, as the demo model does"));
        } else if self.backend == BackendName::Auto {
            let words = running_on::words(selection, environment.gpu_signs());
            console.note(&format!("Running on {words}"));
        }
        if device.kind == BackendKind::Flex {
            if self.limit_flag {
                console.note(
                    "note: --vram-limit is about GPU memory; on the processor it has no effect",
                );
            }
            if self.text_encoder_on_cpu {
                console.note(
                    "note: --text-encoder-on-cpu has no effect: everything runs on the processor",
                );
            }
        } else if let Some(limit) = self.vram_limit {
            console.detail(&format!("Memory limit: {}", format_bytes(limit)));
        }
        console.detail(&format!(
            "Backend: {}, device {}",
            device.kind, device.index
        ));
    }
}
