//! The `scheduler_config.json` of a diffusers folder. Every field is treated as diffusers 0.42.1
//! and its `QwenImagePipeline` do: it is used, refused by its name, or has no effect there either.
//!
//! The pipeline gives its scheduler `N` levels from 1 to `1 / N` and the number `mu` of the dynamic
//! shift, which only `FlowMatchEulerDiscreteScheduler` and `UniPCMultistepScheduler` take.

use serde::Deserialize;
use serde_json::Value;

use super::scheduler::MODEL;
use super::{ConfigError, SchedulerConfig, TimeShift, require};
use crate::sampler::SamplerKind;
use crate::scheduler::ScheduleKind;

/// The class if neither the config nor the caller names one.
const EULER: &str = "FlowMatchEulerDiscreteScheduler";
/// The multistep solver that the pipeline takes.
const UNIPC: &str = "UniPCMultistepScheduler";
/// Classes whose solvers are implemented, but that diffusers' pipeline does not accept: their
/// `set_timesteps` takes no noise levels.
const NOT_FOR_THE_PIPELINE: [&str; 2] = [
    "FlowMatchHeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
];

/// The number of training steps, in which the transformer is given noise levels.
const TRAIN_STEPS: f64 = 1000.0;

/// The sampler and the schedule that a scheduler config asks for.
///
/// A sampler or a schedule that is not implemented is an error in its own field, since a caller may
/// choose another one.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderScheduler {
    /// The constants of the noise levels.
    pub constants: SchedulerConfig,
    /// The solver.
    pub sampler: Result<SamplerKind, ConfigError>,
    /// The noise levels between the first and the last.
    pub schedule: Result<ScheduleKind, ConfigError>,
}

impl Default for FolderScheduler {
    /// Qwen-Image's own scheduler.
    fn default() -> Self {
        Self {
            constants: SchedulerConfig::default(),
            sampler: Ok(SamplerKind::Euler),
            schedule: Ok(ScheduleKind::Dynamic),
        }
    }
}

/// The fields of all four classes that have an effect. A field that is missing or null has the
/// default of its class.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "_class_name")]
    class: Option<String>,
    num_train_timesteps: Option<f64>,
    // The levels.
    shift: Option<f64>,
    flow_shift: Option<f64>,
    use_dynamic_shifting: Option<bool>,
    base_shift: Option<f64>,
    max_shift: Option<f64>,
    base_image_seq_len: Option<f64>,
    max_image_seq_len: Option<f64>,
    time_shift_type: Option<String>,
    shift_terminal: Option<f64>,
    invert_sigmas: Option<bool>,
    use_karras_sigmas: Option<bool>,
    use_exponential_sigmas: Option<bool>,
    use_beta_sigmas: Option<bool>,
    use_flow_sigmas: Option<bool>,
    final_sigmas_type: Option<String>,
    // The solver.
    stochastic_sampling: Option<bool>,
    prediction_type: Option<String>,
    solver_order: Option<u64>,
    solver_type: Option<String>,
    predict_x0: Option<bool>,
    thresholding: Option<bool>,
    lower_order_final: Option<bool>,
    disable_corrector: Option<Vec<Value>>,
    solver_p: Option<Value>,
}

impl FolderScheduler {
    /// Reads a `scheduler_config.json`. `class` is the scheduler's class where the config names
    /// none.
    ///
    /// # Errors
    /// The JSON is no scheduler's config, or its numbers make no schedule.
    pub fn resolve(config: &Value, class: Option<&str>) -> Result<Self, ConfigError> {
        let fields: Fields = super::parse(MODEL, Some(config))?;
        let class = fields.class.as_deref().or(class).unwrap_or(EULER);
        let constants = fields.constants(class)?;
        let (sampler, schedule) = match class {
            EULER => (fields.euler(), fields.euler_levels()),
            UNIPC => (fields.unipc(), fields.unipc_levels()),
            _ => {
                let known = NOT_FOR_THE_PIPELINE.contains(&class);
                let why = match known {
                    true => "diffusers' own pipeline does not take it",
                    false => "it is not known here",
                };
                let refused = supported("_class_name", class, false, why);
                // A config that was converted from Euler's still has the fields of its levels.
                let levels = match fields.use_dynamic_shifting {
                    Some(_) if known => fields.euler_levels(),
                    _ => refused.clone().map(|()| ScheduleKind::Dynamic),
                };
                (refused.map(|()| SamplerKind::Euler), levels)
            }
        };
        let schedule = fields.check_train_steps().and(schedule).map(|kind| {
            let fixed = !constants.use_dynamic_shifting && constants.shift_terminal.is_none();
            match kind {
                // Its own name says everything about it.
                ScheduleKind::Dynamic if fixed => ScheduleKind::Shift(constants.shift),
                kind => kind,
            }
        });
        Ok(Self {
            constants,
            sampler,
            schedule,
        })
    }
}

impl Fields {
    /// The constants, with the defaults of diffusers' classes and pipeline. These differ from
    /// Qwen-Image's own config.
    fn constants(&self, class: &str) -> Result<SchedulerConfig, ConfigError> {
        let time_shift_type = match self.time_shift_type.as_deref() {
            None | Some("exponential") => TimeShift::Exponential,
            Some("linear") => TimeShift::Linear,
            Some(_) => {
                let rule = "must be \"exponential\" or \"linear\"";
                require(MODEL, "time_shift_type", false, rule)?;
                TimeShift::default()
            }
        };
        let shift = match class {
            UNIPC | "DPMSolverMultistepScheduler" => self.flow_shift,
            _ => self.shift,
        };
        SchedulerConfig {
            base_shift: self.base_shift.unwrap_or(0.5),
            max_shift: self.max_shift.unwrap_or(1.15),
            base_image_seq_len: self.base_image_seq_len.unwrap_or(256.0),
            max_image_seq_len: self.max_image_seq_len.unwrap_or(4096.0),
            // In Python, 0 counts as none.
            shift_terminal: self.shift_terminal.filter(|&terminal| terminal != 0.0),
            use_dynamic_shifting: self.use_dynamic_shifting.unwrap_or(false),
            shift: shift.unwrap_or(1.0),
            time_shift_type,
        }
        .check()
    }

    fn euler(&self) -> Result<SamplerKind, ConfigError> {
        off("stochastic_sampling", self.stochastic_sampling)?;
        Ok(SamplerKind::Euler)
    }

    fn euler_levels(&self) -> Result<ScheduleKind, ConfigError> {
        off("invert_sigmas", self.invert_sigmas)?;
        let kinds = [
            (self.use_beta_sigmas, ScheduleKind::DynamicBeta),
            (self.use_karras_sigmas, ScheduleKind::DynamicKarras),
            (
                self.use_exponential_sigmas,
                ScheduleKind::DynamicExponential,
            ),
        ];
        let mut asked = kinds.into_iter().filter(|(on, _)| *on == Some(true));
        match (asked.next(), asked.next()) {
            (None, _) => Ok(ScheduleKind::Dynamic),
            (Some((_, kind)), None) => Ok(kind),
            (Some(_), Some(_)) => Err(ConfigError::Invalid {
                model: MODEL,
                field: "use_beta_sigmas",
                rule: "cannot be set together with use_karras_sigmas or use_exponential_sigmas",
            }),
        }
    }

    /// UniPC, of which order 2 with `bh2` is implemented, predicting the image, down to no noise.
    fn unipc(&self) -> Result<SamplerKind, ConfigError> {
        let text = |field, value: &Option<String>, default, allowed: &[&str], why| {
            let value = value.as_deref().unwrap_or(default);
            supported(field, value, allowed.contains(&value), why)
        };
        let flow = "only flow matching makes Qwen-Image's images";
        text(
            "prediction_type",
            &self.prediction_type,
            "epsilon",
            &["flow_prediction"],
            flow,
        )?;
        // diffusers takes the names of other solvers' types as bh2.
        let types = ["bh2", "midpoint", "heun", "logrho"];
        text(
            "solver_type",
            &self.solver_type,
            "bh2",
            &types,
            "only bh2 is",
        )?;
        let order = self.solver_order.unwrap_or(2);
        supported("solver_order", order, order == 2, "only order 2 is")?;
        on("predict_x0", self.predict_x0, true)?;
        on("lower_order_final", self.lower_order_final, true)?;
        off("thresholding", self.thresholding)?;
        let corrector = self.disable_corrector.as_ref();
        let whole = corrector.is_none_or(Vec::is_empty);
        supported(
            "disable_corrector",
            "a list",
            whole,
            "every step is corrected",
        )?;
        let same = self.solver_p.as_ref().is_none_or(Value::is_null);
        supported(
            "solver_p",
            "a scheduler",
            same,
            "the predictor is UniPC's own",
        )?;
        Ok(SamplerKind::UniPc)
    }

    fn unipc_levels(&self) -> Result<ScheduleKind, ConfigError> {
        off("use_karras_sigmas", self.use_karras_sigmas)?;
        off("use_exponential_sigmas", self.use_exponential_sigmas)?;
        off("use_beta_sigmas", self.use_beta_sigmas)?;
        on("use_flow_sigmas", self.use_flow_sigmas, false)?;
        let last = self.final_sigmas_type.as_deref().unwrap_or("zero");
        let why = "the last noise level is always zero";
        supported("final_sigmas_type", last, last == "zero", why)?;
        Ok(ScheduleKind::Dynamic)
    }

    fn check_train_steps(&self) -> Result<(), ConfigError> {
        let steps = self.num_train_timesteps.unwrap_or(TRAIN_STEPS);
        let why = "the transformer is told noise levels in thousandths";
        supported("num_train_timesteps", steps, steps == TRAIN_STEPS, why)
    }
}

/// Refuses a switch that is on.
fn off(field: &'static str, switch: Option<bool>) -> Result<(), ConfigError> {
    let on = switch.unwrap_or(false);
    supported(field, on, !on, "it is not computed here")
}

/// Refuses a switch that is off.
fn on(field: &'static str, switch: Option<bool>, default: bool) -> Result<(), ConfigError> {
    let on = switch.unwrap_or(default);
    supported(field, on, on, "it is not computed here")
}

fn supported(
    field: &'static str,
    value: impl ToString,
    holds: bool,
    why: &'static str,
) -> Result<(), ConfigError> {
    super::supported(MODEL, field, value, holds, why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
