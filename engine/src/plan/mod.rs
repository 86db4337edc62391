//! The memory plan: what each phase needs, from the files' headers alone, and whether it fits.

mod advice;
mod blocks;
mod budget;
mod flops;
mod phase;
mod remedy;
mod setting;
mod streaming;
mod subject;
mod tiling;
mod work;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests;

use serde::Serialize;

use crate::error::Error;

pub use advice::Advice;
pub use blocks::{Blocks, ModulationBytes, TABLE, is_table, modulated_block};
pub use budget::{Budget, RUNTIME_ALLOWANCE};
pub use flops::pass_flops;
pub use phase::{PhaseName, PhasePlan, Verdict};
pub use remedy::{Remedy, Shape, remedies_in_words};
pub use setting::{Chosen, Facts, Place, Setting, dtype_str, facts};
pub use streaming::{Streaming, streamed_block};
pub use subject::{AdapterSizes, Described, ModelBytes, Subject};
pub use work::Work;

/// Every phase, what it needs and what there is. Figures are bytes.
#[derive(Debug)]
pub struct Plan {
    /// The work.
    pub work: Work,
    /// The device and its memory.
    pub setting: Setting,
    /// The phases of the work, in the order of [`PhaseName::ALL`].
    pub phases: Vec<PhasePlan>,
    /// True if no phase is known not to fit.
    pub fits: bool,
    /// Advice that would make phases fit.
    pub advice: Vec<Advice>,
    /// Phases that nothing makes fit on this device.
    pub beyond_help: Vec<PhaseName>,
    /// When images are written.
    pub images_written: Written,
}

/// When the images of a run are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// Each as soon as it is made: the decoder stays beside the transformer.
    AsTheyAreMade,
    /// When all are denoised. Until then their latents wait on disk.
    AtTheEnd,
}

impl Plan {
    /// The plan of some work with these models.
    pub fn new(subject: &Subject, work: Work, setting: Setting) -> Self {
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
    pub fn phase(&self, name: PhaseName) -> Option<&PhasePlan> {
        self.phases.iter().find(|phase| phase.phase == name)
    }

    /// Refuses a plan of which a phase does not fit.
    ///
    /// # Errors
    /// [`Error::Memory`] about the first such phase.
    pub fn check(&self) -> Result<(), Error> {
        self.check_from(PhaseName::Encode)
    }

    /// Refuses a plan of which this phase or a later one does not fit.
    ///
    /// # Errors
    /// [`Error::Memory`] about the first such phase.
    pub fn check_from(&self, first: PhaseName) -> Result<(), Error> {
        PhaseName::ALL
            .into_iter()
            .skip_while(|name| *name != first)
            .try_for_each(|name| self.check_phase(name))
    }

    /// Refuses one phase if it does not fit.
    ///
    /// # Errors
    /// [`Error::Memory`] with both figures and what would make it fit.
    pub fn check_phase(&self, name: PhaseName) -> Result<(), Error> {
        let phase = self.phase(name).filter(|phase| phase.too_large());
        let Some(phase) = phase else {
            return Ok(());
        };
        let helpful = self
            .helpful()
            .iter()
            .filter(|advice| advice.phases.contains(&name));
        Err(Error::Memory {
            what: phase.model.to_string(),
            needed: phase.peak_bytes,
            available: phase.available_bytes.unwrap_or(0),
            limit: self.setting.is_limited().then_some(self.setting.limit_name),
            remedies: helpful.map(|advice| advice.remedy).collect(),
            peak: self.device_peak(),
        })
    }

    /// Tells whether the decoder can stay in memory beside the transformer, each with its working
    /// memory. Where nothing tells how much memory there is, it cannot.
    pub fn decodes_beside(&self) -> bool {
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
    pub fn helpful(&self) -> &[Advice] {
        let mut beyond_help = self.beyond_help.iter();
        if beyond_help.any(|name| *name != PhaseName::Encode) {
            &[]
        } else {
            &self.advice
        }
    }

    /// The most device memory that any phase takes.
    pub fn device_peak(&self) -> u64 {
        let on_device = self
            .phases
            .iter()
            .filter(|phase| phase.place == Place::Device);
        on_device.map(|phase| phase.peak_bytes).max().unwrap_or(0)
    }
}
