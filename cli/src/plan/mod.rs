//! The memory plan: what each phase needs, from the files' headers alone, and whether it fits.

mod advice;
mod budget;
mod phase;
mod setting;
mod subject;
mod table;
mod tiling;
mod work;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

use backends::BackendKind;
use engine::Error;
use engine::bytes::format_bytes;
use serde::Serialize;

use crate::error::CliError;
use setting::Place;

pub(crate) use advice::Advice;
pub(crate) use budget::{Budget, RUNTIME_ALLOWANCE};
pub(crate) use phase::{PhaseName, PhasePlan};
pub(crate) use setting::{Facts, Setting, dtype_str, facts};
pub(crate) use subject::Subject;
pub(crate) use work::Work;

/// Every phase, what it needs and what there is. Figures are bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// What is to be computed.
    pub(crate) work: Work,
    /// Where, and with how much memory.
    pub(crate) setting: Setting,
    /// Those of [`PhaseName::ALL`] that there are, in that order.
    pub(crate) phases: Vec<PhasePlan>,
    /// Whether no phase is known not to fit.
    pub(crate) fits: bool,
    /// What would make phases fit.
    pub(crate) advice: Vec<Advice>,
    /// Phases that nothing makes fit on this device.
    pub(crate) beyond_help: Vec<PhaseName>,
    /// When images are written.
    pub(crate) images_written: Written,
}

/// When the images of a run are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Written {
    /// Each as soon as it is made: the decoder stays beside the transformer.
    AsTheyAreMade,
    /// When all are denoised. Until then their latents wait on disk.
    AtTheEnd,
}

impl Plan {
    /// The plan of some work with these models.
    pub(crate) fn new(subject: &Subject, work: Work, setting: Setting) -> Self {
        let phases = phase::phases(subject, &work, &setting);
        let fits = phases.iter().all(|phase| !phase.too_large());
        let (advice, beyond_help) = if fits {
            (Vec::new(), Vec::new())
        } else {
            advice::advice(subject, &work, &setting, &phases)
        };
        let mut plan = Self {
            work,
            setting,
            phases,
            fits,
            advice,
            beyond_help,
            images_written: Written::AtTheEnd,
        };
        if work.images > 1 && plan.decodes_beside() {
            plan.images_written = Written::AsTheyAreMade;
        }
        plan
    }

    /// One phase, if it is part of the work.
    pub(crate) fn phase(&self, name: PhaseName) -> Option<&PhasePlan> {
        self.phases.iter().find(|phase| phase.phase == name)
    }

    /// Refuses a plan of which a phase does not fit.
    ///
    /// # Errors
    /// [`CliError::Memory`] about the first such phase.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.check_from(PhaseName::Encode)
    }

    /// Refuses a plan of which this phase or a later one does not fit.
    ///
    /// # Errors
    /// [`CliError::Memory`] about the first such phase.
    pub(crate) fn check_from(&self, first: PhaseName) -> Result<(), CliError> {
        PhaseName::ALL
            .into_iter()
            .skip_while(|name| *name != first)
            .try_for_each(|name| self.check_phase(name))
    }

    /// Refuses one phase if it does not fit.
    ///
    /// # Errors
    /// [`CliError::Memory`] with both figures and what would make it fit.
    pub(crate) fn check_phase(&self, name: PhaseName) -> Result<(), CliError> {
        let phase = self.phase(name).filter(|phase| phase.too_large());
        let Some(phase) = phase else {
            return Ok(());
        };
        let helpful = self
            .helpful()
            .iter()
            .filter(|advice| advice.phases.contains(&name));
        let advice: Vec<String> = helpful.map(|advice| advice.text.clone()).collect();
        Err(Error::Memory {
            what: phase.model.to_string(),
            needed: phase.peak_bytes,
            available: phase.available_bytes.unwrap_or(0),
            limit: self.setting.is_limited().then_some(self.setting.limit_name),
            advice: if advice.is_empty() {
                self.other_device()
            } else {
                advice.join("; or ")
            },
        }
        .into())
    }

    /// Whether the decoder can stay in memory beside the transformer, each with its working
    /// memory. Where nothing tells how much memory there is, it cannot.
    pub(crate) fn decodes_beside(&self) -> bool {
        let [Some(denoise), Some(decode)] =
            [PhaseName::Denoise, PhaseName::Decode].map(|name| self.phase(name))
        else {
            return false;
        };
        if self.setting.one_model {
            return false;
        }
        // Pages of a mapped file are given back by themselves; what is left is small.
        if decode.mapped_bytes > 0 {
            return true;
        }
        let both = denoise.peak_bytes.saturating_add(decode.peak_bytes);
        decode.available_bytes.is_some_and(|bytes| both <= bytes)
    }

    /// The advice, unless another phase is beyond help, so that following it would be in vain. Only
    /// encoding can be left out, where its result is kept from an earlier run.
    fn helpful(&self) -> &[Advice] {
        let mut beyond_help = self.beyond_help.iter();
        if beyond_help.any(|name| *name != PhaseName::Encode) {
            &[]
        } else {
            &self.advice
        }
    }

    /// Where the work can be done, if nothing makes it fit here.
    fn other_device(&self) -> String {
        let peak = format_bytes(self.device_peak());
        let processor = if BackendKind::Flex.compiled_in() {
            ", or --backend flex, which computes on the processor and is slow"
        } else {
            ""
        };
        format!("it takes a device with {peak} free{processor}")
    }

    /// The most device memory that any phase takes.
    fn device_peak(&self) -> u64 {
        let on_device = self
            .phases
            .iter()
            .filter(|phase| phase.place == Place::Device);
        on_device.map(|phase| phase.peak_bytes).max().unwrap_or(0)
    }

    /// The plan as a table for people.
    pub(crate) fn table(&self) -> String {
        table::table(self)
    }
}
