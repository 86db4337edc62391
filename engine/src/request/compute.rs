//! The device, and how to compute on it.

use backends::{Arithmetic, BackendKind, Selection};
use loader::LoadMethod;

use super::sources::ModelSources;
use crate::error::Error;

/// A backend by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackendName {
    /// The best one that is compiled in and finds a device.
    #[default]
    Auto,
    /// This one.
    Kind(BackendKind),
}

impl BackendName {
    /// The name that [`backends::choose`] takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kind(kind) => kind.name(),
        }
    }
}

/// The number format of the computation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DtypeChoice {
    /// f32 on a processor, bf16 on a GPU that has it.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// bfloat16 matrix products, f32 for the rest.
    Bf16,
}

/// The choice of tiles for the VAE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VaeTiling {
    /// In tiles where the whole image would not fit.
    #[default]
    Auto,
    /// In tiles.
    On,
    /// On the whole image at once.
    Off,
}

/// Whether blocks that do not fit in memory are read anew in each step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamChoice {
    /// Those that do not fit.
    #[default]
    Auto,
    /// None: what does not fit is refused.
    Off,
}

/// The device, and how to compute on it.
#[derive(Debug, Clone, Copy)]
pub struct ComputeConfig {
    /// The backend by its name, or auto.
    pub backend: BackendName,
    /// The number of the device among the backend's; the first where there is none.
    pub device: Option<usize>,
    /// The number format of the computation.
    pub dtype: DtypeChoice,
    /// Bytes of device memory that may be used; all that is free where there is no limit.
    pub vram_limit: Option<u64>,
    /// The name of the limit in messages, such as the flag or the setting that it came from.
    pub limit_name: &'static str,
    /// True if the text encoder runs on the processor while the rest runs on the device.
    pub text_encoder_on_cpu: bool,
    /// The arithmetic of FP8 weights.
    pub arithmetic: Arithmetic,
    /// The choice of tiles for the VAE.
    pub vae_tiling: VaeTiling,
    /// The way to load weights on the processor.
    pub weights: LoadMethod,
    /// True if the decoder is never beside the transformer, whatever is free.
    pub one_model: bool,
    /// Whether blocks that do not fit are streamed.
    pub stream: StreamChoice,
    /// The most bytes of streamed blocks that stay in host memory.
    pub ram_cache: u64,
    /// The most host memory to count on; all that there is where there is no limit.
    pub host_limit: Option<u64>,
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self {
            backend: BackendName::default(),
            device: None,
            dtype: DtypeChoice::default(),
            vram_limit: None,
            limit_name: "the limit",
            text_encoder_on_cpu: false,
            arithmetic: Arithmetic::Exact,
            vae_tiling: VaeTiling::default(),
            weights: LoadMethod::InPlace,
            one_model: false,
            stream: StreamChoice::default(),
            ram_cache: 0,
            host_limit: None,
        }
    }
}

impl ComputeConfig {
    /// Chooses the device. A demo-sized image is done on the processor before a GPU has compiled
    /// its kernels, so for the demo model `auto` does not look for one.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn choose(&self, sources: &ModelSources) -> Result<Selection, Error> {
        let name = if self.is_demos_own(sources) {
            BackendKind::Flex.name()
        } else {
            self.backend.as_str()
        };
        Ok(backends::select(name, self.device)?)
    }

    /// Tells whether no device is looked for, since the demo model is drawn with.
    pub fn is_demos_own(&self, sources: &ModelSources) -> bool {
        sources.is_demo()
            && self.backend == BackendName::Auto
            && self.device.is_none()
            && BackendKind::Flex.compiled_in()
    }

    /// Tells whether the text encoder runs elsewhere than on `device`.
    pub fn splits_encoder(&self, device: BackendKind) -> bool {
        self.text_encoder_on_cpu && device != BackendKind::Flex
    }
}
