//! How noise becomes an image: the sampler, its noise levels, and whose habits are followed.

use clap::{Args, ValueEnum};
use model::family::QWEN_IMAGE;
use model::guidance::GuidanceRule;
use model::init_image::StartStyle;
use model::sampler::SamplerKind;
use model::scheduler::{ScheduleKind, ScheduleKindError};
use model::tokenizer::PromptStyle;
use model::transformer::RopeCentring;
use serde::{Deserialize, Serialize};

use crate::input::Ground;
use crate::output::image::Rounding;

/// The flags' heading in the help text.
const SAMPLING: &str = "Sampling";

/// Flags of sampling.
#[derive(Debug, Args)]
pub(crate) struct SamplingArgs {
    /// How noise levels are gone through [default: the model's, euler for Qwen-Image]
    #[arg(help_heading = SAMPLING, long, value_enum, ignore_case = true, value_name = "NAME")]
    pub(crate) sampler: Option<SamplerName>,

    /// Noise levels: dynamic (the model's own), dynamic-beta, dynamic-karras, dynamic-exponential,
    /// shift=S, simple, simple=S, beta, beta=S, or a list, sigmas=1,0.75,0.5
    /// [default: the model's, dynamic for Qwen-Image; simple with --preset comfyui]
    ///
    /// dynamic: as the model's scheduler config has it, shifted by the size of the image.
    /// dynamic-beta, dynamic-karras, dynamic-exponential: its first and last level, and diffusers'
    /// schedule of that name between them.
    /// shift=S: equal distances with a shift of S. simple, beta: ComfyUI's schedulers of these
    /// names, with a shift of S or 3.1. sigmas=A,B,...: these levels, each below the one before,
    /// and 0 after them; they set the number of steps.
    #[arg(help_heading = SAMPLING, long, value_name = "SCHEDULE", value_parser = schedule)]
    pub(crate) schedule: Option<ScheduleKind>,

    /// Whose image to make, where diffusers and ComfyUI would make different ones
    /// [default: diffusers]
    #[arg(help_heading = SAMPLING, long, value_enum, ignore_case = true, value_name = "NAME")]
    pub(crate) preset: Option<Preset>,
}

/// `--sampler`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SamplerName {
    /// First order
    #[default]
    Euler,
    /// Second order; asks the model twice a step, but once in the last
    Heun,
    /// DPM-Solver++(2M), second order from the step before
    #[value(name = "dpmpp2m")]
    #[serde(rename = "dpmpp2m")]
    DpmPp2m,
    /// UniPC, second order with a corrector
    #[value(name = "unipc")]
    #[serde(rename = "unipc")]
    UniPc,
}

/// `--preset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    /// diffusers' QwenImagePipeline
    #[default]
    Diffusers,
    /// ComfyUI's Qwen-Image workflow: schedule simple, plain guidance, prompts not cut
    #[value(name = "comfyui")]
    ComfyUi,
}

/// How an image is sampled, settled.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Sampling {
    /// The solver.
    pub(crate) sampler: SamplerName,
    /// The noise levels.
    pub(crate) schedule: ScheduleKind,
    /// Whose habits.
    pub(crate) preset: Preset,
}

/// Which parts of a [`Sampling`] were asked for: by flags, by an image that is made again, by a
/// preset of other levels than the model's, or by a Lightning LoRA. The rest is left to the models
/// folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The solver.
    pub(crate) sampler: bool,
    /// The noise levels.
    pub(crate) schedule: bool,
}

impl Asked {
    /// What flags, a record and Lightning ask for.
    pub(crate) fn of(args: &SamplingArgs, recorded: Option<&Sampling>, lightning: bool) -> Self {
        let preset = args.preset.or(recorded.map(|from| from.preset));
        let all = lightning || preset == Some(Preset::ComfyUi);
        // A preset that is asked for brings its schedule, not the image's.
        let recorded_schedule = recorded.is_some() && args.preset.is_none();
        Self {
            sampler: all || args.sampler.is_some() || recorded.is_some(),
            schedule: all || args.schedule.is_some() || recorded_schedule,
        }
    }
}

/// A schedule, in letters of any case.
fn schedule(text: &str) -> Result<ScheduleKind, ScheduleKindError> {
    text.to_ascii_lowercase().parse()
}

impl Sampling {
    /// What flags say; where they say nothing, what is recorded of an image that is to be made
    /// again; then the preset, which has levels of its own for Lightning.
    pub(crate) fn resolve(args: SamplingArgs, recorded: Option<&Self>, lightning: bool) -> Self {
        let recorded_schedule = || recorded.map(|from| from.schedule.clone());
        let preset = args.preset.or(recorded.map(|from| from.preset));
        let preset = preset.unwrap_or_default();
        let schedule = match args.preset {
            Some(_) => args.schedule,
            None => args.schedule.or_else(recorded_schedule),
        };
        Self {
            sampler: args
                .sampler
                .or(recorded.map(|from| from.sampler))
                .unwrap_or_default(),
            schedule: schedule.unwrap_or_else(|| preset.schedule(lightning)),
            preset,
        }
    }
}

impl SamplerName {
    /// The model's name for it.
    pub(crate) const fn kind(self) -> SamplerKind {
        match self {
            Self::Euler => SamplerKind::Euler,
            Self::Heun => SamplerKind::Heun,
            Self::DpmPp2m => SamplerKind::DpmPp2m,
            Self::UniPc => SamplerKind::UniPc,
        }
    }

    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Euler, Self::Heun, Self::DpmPp2m, Self::UniPc];

    /// The name that stable-diffusion-webui has for it.
    pub(crate) const fn label(self) -> &'static str {
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
    pub(super) fn schedule(self, lightning: bool) -> ScheduleKind {
        match self {
            Self::Diffusers => ScheduleKind::Dynamic,
            Self::ComfyUi if lightning => ScheduleKind::Simple(QWEN_IMAGE.lightning.comfyui_shift),
            Self::ComfyUi => ScheduleKind::Simple(QWEN_IMAGE.comfyui_shift),
        }
    }

    /// The least guidance scale: below 1, diffusers has no guidance at all.
    pub(crate) const fn least_cfg_scale(self) -> f64 {
        match self {
            Self::Diffusers => 1.0,
            Self::ComfyUi => 0.0,
        }
    }

    /// What becomes of the guided prediction's length.
    pub(crate) const fn guidance_rule(self) -> GuidanceRule {
        match self {
            Self::Diffusers => GuidanceRule::Renormalised,
            Self::ComfyUi => GuidanceRule::Plain,
        }
    }

    /// Where the middle of the image lies.
    pub(crate) const fn centring(self) -> RopeCentring {
        match self {
            Self::Diffusers => RopeCentring::Diffusers,
            Self::ComfyUi => RopeCentring::ComfyUi,
        }
    }

    /// What becomes of a prompt.
    pub(crate) const fn prompt_style(self) -> PromptStyle {
        match self {
            Self::Diffusers => PromptStyle::Diffusers,
            Self::ComfyUi => PromptStyle::ComfyUi,
        }
    }

    /// How a run starts from an image.
    pub(crate) const fn start_style(self) -> StartStyle {
        match self {
            Self::Diffusers => StartStyle::Diffusers,
            Self::ComfyUi => StartStyle::ComfyUi,
        }
    }

    /// What lies behind the transparent parts of an image to start from.
    pub(crate) const fn image_ground(self) -> Ground {
        match self {
            Self::Diffusers => Ground::White,
            Self::ComfyUi => Ground::Own,
        }
    }

    /// How pixels become bytes.
    pub(crate) const fn rounding(self) -> Rounding {
        match self {
            Self::Diffusers => Rounding::HalfToEven,
            Self::ComfyUi => Rounding::Down,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::{Asked, Preset, SamplerName, Sampling, SamplingArgs};

    fn parse(flags: &[&str]) -> SamplingArgs {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            sampling: SamplingArgs,
        }
        let flags = Flags::try_parse_from(["x"].iter().chain(flags)).unwrap();
        flags.sampling
    }

    fn resolve(flags: &[&str], recorded: Option<&Sampling>) -> Sampling {
        Sampling::resolve(parse(flags), recorded, false)
    }

    #[test]
    fn what_nobody_asks_for_is_left_to_the_model() {
        let recorded = Sampling::default();
        let asked = |flags: &[&str], recorded, lightning| {
            let Asked { sampler, schedule } = Asked::of(&parse(flags), recorded, lightning);
            (sampler, schedule)
        };
        assert_eq!(asked(&[], None, false), (false, false));
        assert_eq!(
            asked(&["--preset", "diffusers"], None, false),
            (false, false)
        );
        assert_eq!(asked(&["--sampler", "heun"], None, false), (true, false));
        assert_eq!(asked(&["--schedule", "simple"], None, false), (false, true));
        assert_eq!(asked(&["--preset", "comfyui"], None, false), (true, true));
        assert_eq!(asked(&[], None, true), (true, true));
        assert_eq!(asked(&[], Some(&recorded), false), (true, true));
        let preset = ["--preset", "diffusers"];
        assert_eq!(asked(&preset, Some(&recorded), false), (true, false));
    }

    #[test]
    fn flags_win_over_the_record_and_the_record_over_the_preset() {
        let recorded = Sampling {
            sampler: SamplerName::Heun,
            schedule: "beta=2".parse().unwrap(),
            preset: Preset::ComfyUi,
        };
        assert_eq!(resolve(&[], None), Sampling::default());
        assert_eq!(resolve(&[], Some(&recorded)), recorded);
        let sampler = resolve(&["--sampler", "unipc"], Some(&recorded));
        assert_eq!(sampler.sampler, SamplerName::UniPc);
        assert_eq!(sampler.schedule, recorded.schedule);
        // A preset that is asked for brings its schedule.
        let preset = resolve(&["--preset", "diffusers"], Some(&recorded));
        assert_eq!(preset.schedule.to_string(), "dynamic");
        assert_eq!(preset.sampler, SamplerName::Heun);
        let both = resolve(&["--preset", "comfyui", "--schedule", "shift=3"], None);
        assert_eq!(both.schedule.to_string(), "shift=3");
        assert_eq!(both.preset, Preset::ComfyUi);
    }
}
