//! How noise becomes an image: the sampler, its noise levels, and whose habits are followed.

use clap::Args;
use engine::request::{Asked, Preset, SamplerName, Sampling};
use model::scheduler::{ScheduleKind, ScheduleKindError};

use super::choice::Choice;

/// The flags' heading in the help text.
const SAMPLING: &str = "Sampling";

/// Flags of sampling.
#[derive(Debug, Args)]
pub(crate) struct SamplingArgs {
    /// How noise levels are gone through [default: the model's, euler for Qwen-Image]
    #[arg(help_heading = SAMPLING, long, value_enum, ignore_case = true, value_name = "NAME")]
    pub(crate) sampler: Option<Choice<SamplerName>>,

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
    pub(crate) preset: Option<Choice<Preset>>,
}

/// The sampling that flags, a record and Lightning ask for.
pub(crate) fn asked(args: &SamplingArgs, recorded: Option<&Sampling>, lightning: bool) -> Asked {
    let preset = args.preset.map(|preset| preset.0);
    let preset = preset.or(recorded.map(|from| from.preset));
    let all = lightning || preset == Some(Preset::ComfyUi);
    // A preset that is asked for brings its schedule, not the image's.
    let recorded_schedule = recorded.is_some() && args.preset.is_none();
    Asked {
        sampler: all || args.sampler.is_some() || recorded.is_some(),
        schedule: all || args.schedule.is_some() || recorded_schedule,
    }
}

/// A schedule, in letters of any case.
fn schedule(text: &str) -> Result<ScheduleKind, ScheduleKindError> {
    text.to_ascii_lowercase().parse()
}

/// Takes each setting from the flags; where they say nothing, from the record of an image that is
/// to be made again; then from the preset, which has levels of its own for Lightning.
pub(crate) fn resolve(
    args: SamplingArgs,
    recorded: Option<&Sampling>,
    lightning: bool,
) -> Sampling {
    let recorded_schedule = || recorded.map(|from| from.schedule.clone());
    let preset = args.preset.map(|preset| preset.0);
    let preset = preset.or(recorded.map(|from| from.preset));
    let preset = preset.unwrap_or_default();
    let schedule = match args.preset {
        Some(_) => args.schedule,
        None => args.schedule.or_else(recorded_schedule),
    };
    Sampling {
        sampler: args
            .sampler
            .map(|sampler| sampler.0)
            .or(recorded.map(|from| from.sampler))
            .unwrap_or_default(),
        schedule: schedule.unwrap_or_else(|| preset.schedule(lightning)),
        preset,
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
        super::resolve(parse(flags), recorded, false)
    }

    #[test]
    fn what_nobody_asks_for_is_left_to_the_model() {
        let recorded = Sampling::default();
        let asked = |flags: &[&str], recorded, lightning| {
            let Asked { sampler, schedule } = super::asked(&parse(flags), recorded, lightning);
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
