//! Values of the engine as flags take them: a name for each, and a line of help.

use backends::BackendKind;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use engine::request::{
    BackendName, DtypeChoice, LightningSteps, Preset, SamplerName, StreamChoice, VaeTiling,
};

/// A value of the engine that a flag takes by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice<T>(pub(crate) T);

/// A type with a name and a line of help for each of its values.
pub(crate) trait Named: Copy + 'static {
    /// The values in the order of the help text.
    const ALL: &'static [Choice<Self>];

    /// The value's name and what the help text says of it.
    fn named(self) -> (&'static str, &'static str);

    /// Other names of the value.
    fn alias(self) -> Option<&'static str> {
        None
    }
}

impl<T: Named> ValueEnum for Choice<T> {
    fn value_variants<'a>() -> &'a [Self] {
        T::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = self.0.named();
        Some(PossibleValue::new(name).help(help).aliases(self.0.alias()))
    }
}

impl Named for BackendName {
    const ALL: &'static [Choice<Self>] = &[
        Choice(Self::Auto),
        Choice(Self::Kind(BackendKind::Cuda)),
        Choice(Self::Kind(BackendKind::Rocm)),
        Choice(Self::Kind(BackendKind::Metal)),
        Choice(Self::Kind(BackendKind::Vulkan)),
        Choice(Self::Kind(BackendKind::WebGpu)),
        Choice(Self::Kind(BackendKind::Flex)),
    ];

    fn named(self) -> (&'static str, &'static str) {
        let help = match self {
            Self::Auto => "The best one that is compiled in and finds a device",
            Self::Kind(BackendKind::Cuda) => "NVIDIA GPUs",
            Self::Kind(BackendKind::Rocm) => "AMD GPUs",
            Self::Kind(BackendKind::Metal) => "Apple GPUs",
            Self::Kind(BackendKind::Vulkan) => "Any GPU with a Vulkan driver",
            Self::Kind(BackendKind::WebGpu) => "Any GPU through WebGPU",
            Self::Kind(BackendKind::Flex) => "The CPU",
        };
        (self.as_str(), help)
    }

    fn alias(self) -> Option<&'static str> {
        (self == Self::Kind(BackendKind::Flex)).then_some("cpu")
    }
}

impl Named for DtypeChoice {
    const ALL: &'static [Choice<Self>] =
        &[Choice(Self::Auto), Choice(Self::F32), Choice(Self::Bf16)];

    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Auto => ("auto", "f32 on a CPU, bf16 on a GPU"),
            Self::F32 => ("f32", "Single precision"),
            Self::Bf16 => ("bf16", "bfloat16 matrix products, f32 for the rest"),
        }
    }
}

impl Named for VaeTiling {
    const ALL: &'static [Choice<Self>] = &[Choice(Self::Auto), Choice(Self::On), Choice(Self::Off)];

    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Auto => ("auto", "In tiles where the whole image would not fit"),
            Self::On => ("on", "In tiles"),
            Self::Off => ("off", "The whole image at once"),
        }
    }
}

impl Named for StreamChoice {
    const ALL: &'static [Choice<Self>] = &[Choice(Self::Auto), Choice(Self::Off)];

    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Auto => ("auto", "Blocks that do not fit are read anew in each step"),
            Self::Off => ("off", "What does not fit is refused"),
        }
    }
}

impl Named for LightningSteps {
    const ALL: &'static [Choice<Self>] = &[Choice(Self::Four), Choice(Self::Eight)];

    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Four => ("4", "Four steps"),
            Self::Eight => ("8", "Eight steps"),
        }
    }
}

impl Named for SamplerName {
    const ALL: &'static [Choice<Self>] = &[
        Choice(Self::Euler),
        Choice(Self::Heun),
        Choice(Self::DpmPp2m),
        Choice(Self::UniPc),
    ];

    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Euler => ("euler", "First order"),
            Self::Heun => (
                "heun",
                "Second order; asks the model twice a step, but once in the last",
            ),
            Self::DpmPp2m => (
                "dpmpp2m",
                "DPM-Solver++(2M), second order from the step before",
            ),
            Self::UniPc => ("unipc", "UniPC, second order with a corrector"),
        }
    }
}

impl Named for Preset {
    const ALL: &'static [Choice<Self>] = &[Choice(Self::Diffusers), Choice(Self::ComfyUi)];

    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Diffusers => ("diffusers", "diffusers' QwenImagePipeline"),
            Self::ComfyUi => (
                "comfyui",
                "ComfyUI's Qwen-Image workflow: schedule simple, plain guidance, prompts not cut",
            ),
        }
    }
}
