//! How noise becomes an image: the sampler, its noise levels, and whose habits are followed.

use model::family::QWEN_IMAGE;
use model::guidance::GuidanceRule;
use model::init_image::StartStyle;
use model::sampler::SamplerKind;
use model::scheduler::ScheduleKind;
use model::tokenizer::PromptStyle;
use model::transformer::RopeCentring;
use serde::{Deserialize, Serialize};

use crate::image::{Ground, Rounding};

/// A sampler by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplerName {
    /// First order.
    #[default]
    Euler,
    /// Second order; asks the model twice a step, but once in the last.
    Heun,
    /// DPM-Solver++(2M), second order from the step before.
    #[serde(rename = "dpmpp2m")]
    DpmPp2m,
    /// UniPC, second order with a corrector.
    #[serde(rename = "unipc")]
    UniPc,
}

/// Whose image to make, where diffusers and ComfyUI would make different ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// diffusers' QwenImagePipeline.
    #[default]
    Diffusers,
    /// ComfyUI's Qwen-Image workflow: schedule simple, plain guidance, prompts not cut.
    ComfyUi,
}

/// How an image is sampled.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sampling {
    /// The solver.
    pub sampler: SamplerName,
    /// The noise levels.
    pub schedule: ScheduleKind,
    /// Whose habits are followed.
    pub preset: Preset,
}

/// Which parts of a [`Sampling`] were asked for: by flags, by an image that is made again, by a
/// preset of other levels than the model's, or by a Lightning LoRA. The rest is left to the models
/// folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// True if the solver was asked for.
    pub sampler: bool,
    /// True if the noise levels were asked for.
    pub schedule: bool,
}

impl SamplerName {
    /// The samplers in the order of help texts.
    pub const ALL: [Self; 4] = [Self::Euler, Self::Heun, Self::DpmPp2m, Self::UniPc];

    /// The model's name for it.
    pub const fn kind(self) -> SamplerKind {
        match self {
            Self::Euler => SamplerKind::Euler,
            Self::Heun => SamplerKind::Heun,
            Self::DpmPp2m => SamplerKind::DpmPp2m,
            Self::UniPc => SamplerKind::UniPc,
        }
    }

    /// The name that stable-diffusion-webui has for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Euler => "Euler",
            Self::Heun => "Heun",
            Self::DpmPp2m => "DPM++ 2M",
            Self::UniPc => "UniPC",
        }
    }
}

impl Preset {
    /// The noise levels where none are asked for, with the Lightning LoRA or without.
    pub fn schedule(self, lightning: bool) -> ScheduleKind {
        match self {
            Self::Diffusers => ScheduleKind::Dynamic,
            Self::ComfyUi if lightning => ScheduleKind::Simple(QWEN_IMAGE.lightning.comfyui_shift),
            Self::ComfyUi => ScheduleKind::Simple(QWEN_IMAGE.comfyui_shift),
        }
    }

    /// The least guidance scale: below 1, diffusers has no guidance at all.
    pub const fn least_cfg_scale(self) -> f64 {
        match self {
            Self::Diffusers => 1.0,
            Self::ComfyUi => 0.0,
        }
    }

    /// The rule for the guided prediction's length.
    pub const fn guidance_rule(self) -> GuidanceRule {
        match self {
            Self::Diffusers => GuidanceRule::Renormalised,
            Self::ComfyUi => GuidanceRule::Plain,
        }
    }

    /// The place of the image's middle.
    pub const fn centring(self) -> RopeCentring {
        match self {
            Self::Diffusers => RopeCentring::Diffusers,
            Self::ComfyUi => RopeCentring::ComfyUi,
        }
    }

    /// The way in which a prompt is tokenized.
    pub const fn prompt_style(self) -> PromptStyle {
        match self {
            Self::Diffusers => PromptStyle::Diffusers,
            Self::ComfyUi => PromptStyle::ComfyUi,
        }
    }

    /// How a run starts from an image.
    pub const fn start_style(self) -> StartStyle {
        match self {
            Self::Diffusers => StartStyle::Diffusers,
            Self::ComfyUi => StartStyle::ComfyUi,
        }
    }

    /// The ground behind the transparent parts of an image to start from.
    pub const fn image_ground(self) -> Ground {
        match self {
            Self::Diffusers => Ground::White,
            Self::ComfyUi => Ground::Own,
        }
    }

    /// How pixels become bytes.
    pub const fn rounding(self) -> Rounding {
        match self {
            Self::Diffusers => Rounding::HalfToEven,
            Self::ComfyUi => Rounding::Down,
        }
    }
}
