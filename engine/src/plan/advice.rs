//! Advice for a plan that does not fit. Each piece was tried: the phases it names fit with it.

use backends::{BackendKind, DeviceMemory};
use serde::Serialize;

use super::phase::{PhaseName, PhasePlan, phases};
use super::remedy::{Remedy, Shape};
use super::setting::{Place, Setting};
use super::subject::Subject;
use super::work::Work;
use crate::bytes::limit_for;
use crate::request::{MAX_SIDE, SIDE_MULTIPLE, StreamChoice, VaeTiling};

/// One thing that would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The phases that do not fit now and would.
    pub phases: Vec<PhaseName>,
    /// The thing to do.
    #[serde(flatten)]
    pub remedy: Remedy,
}

/// Finds what would make the phases fit that do not, and those of them that nothing makes fit.
pub(super) fn advice(
    subject: &Subject,
    work: &Work,
    setting: &Setting,
    now: &[PhasePlan],
) -> (Vec<Advice>, Vec<PhaseName>) {
    let failing: Vec<PhaseName> = now
        .iter()
        .filter(|phase| phase.too_large())
        .map(|phase| phase.phase)
        .collect();
    let search = Search {
        subject,
        work,
        setting,
        failing,
    };
    let mut found = Vec::new();
    found.extend(search.stream());
    found.extend(search.text_encoder_on_cpu());
    found.extend(now.iter().flat_map(|phase| search.fp8(phase)));
    found.extend(search.vae_tiling());
    found.extend(search.sizes());
    found.extend(search.limit(now));
    found.extend(search.free_device());
    let is_mended = |name: &PhaseName| found.iter().any(|advice| advice.phases.contains(name));
    let mut beyond_help = search.failing;
    beyond_help.retain(|name| !is_mended(name));
    (found, beyond_help)
}

struct Search<'a> {
    subject: &'a Subject,
    work: &'a Work,
    setting: &'a Setting,
    failing: Vec<PhaseName>,
}

impl Search<'_> {
    /// The phases that fail now and fit in these plans.
    fn mended(&self, phases: &[PhasePlan]) -> Vec<PhaseName> {
        let fits = |name: &PhaseName| {
            phases
                .iter()
                .any(|phase| phase.phase == *name && !phase.too_large())
        };
        self.failing.iter().copied().filter(fits).collect()
    }

    /// The advice, if it mends anything.
    fn propose(&self, phases: &[PhasePlan], remedy: Remedy) -> Option<Advice> {
        let phases = self.mended(phases);
        (!phases.is_empty()).then_some(Advice { phases, remedy })
    }

    fn stream(&self) -> Option<Advice> {
        let setting = Setting {
            stream: StreamChoice::Auto,
            ..*self.setting
        };
        self.propose(&phases(self.subject, self.work, &setting), Remedy::Stream)
    }

    fn text_encoder_on_cpu(&self) -> Option<Advice> {
        if !BackendKind::Flex.compiled_in() {
            return None;
        }
        let setting = Setting {
            encoder_place: Place::Processor,
            ..*self.setting
        };
        self.propose(
            &phases(self.subject, self.work, &setting),
            Remedy::TextEncoderOnCpu,
        )
    }

    /// An FP8 checkpoint for a phase, alone or, where neither is enough, with a smaller image.
    fn fp8(&self, phase: &PhasePlan) -> Vec<Advice> {
        if !self.failing.contains(&phase.phase) {
            return Vec::new();
        }
        let subject = &self.subject.with_fp8(phase.model);
        let with_fp8 = Search {
            subject,
            failing: self.failing.clone(),
            ..*self
        };
        let phases = phases(subject, self.work, self.setting);
        let Some(with) = phases.iter().find(|with| with.phase == phase.phase) else {
            return Vec::new();
        };
        let weight_bytes = with.fp8_bytes + with.other_bytes;
        let (model, instead_of) = (phase.model, phase.fp8_bytes + phase.other_bytes);
        if !with.too_large() {
            let remedy = Remedy::Fp8Checkpoint {
                weight_bytes,
                model,
                instead_of,
            };
            return self.propose(&phases, remedy).into_iter().collect();
        }
        let smallest = self.at(SIDE_MULTIPLE, SIDE_MULTIPLE);
        if self.mended(&smallest).contains(&phase.phase) {
            return Vec::new();
        }
        let and_sizes = with_fp8.sizes().into_iter().map(|advice| {
            let Remedy::Size {
                width,
                height,
                shape,
            } = advice.remedy
            else {
                return advice;
            };
            Advice {
                remedy: Remedy::Fp8CheckpointAndSize {
                    weight_bytes,
                    model,
                    instead_of,
                    width,
                    height,
                    shape,
                },
                ..advice
            }
        });
        and_sizes
            .filter(|advice| advice.phases.contains(&phase.phase))
            .collect()
    }

    fn vae_tiling(&self) -> Option<Advice> {
        let setting = Setting {
            vae_tiling: VaeTiling::On,
            ..*self.setting
        };
        self.propose(
            &phases(self.subject, self.work, &setting),
            Remedy::VaeTiling,
        )
    }

    /// The phases of an image of another size.
    fn at(&self, width: u32, height: u32) -> Vec<PhasePlan> {
        let work = Work {
            width,
            height,
            ..*self.work
        };
        phases(self.subject, &work, self.setting)
    }

    /// The largest square and the largest image of about the same shape at which every phase fits that
    /// can fit at any size.
    fn sizes(&self) -> Vec<Advice> {
        // Whatever fits at some size fits at the smallest.
        let possible = self.mended(&self.at(SIDE_MULTIPLE, SIDE_MULTIPLE));
        if possible.is_empty() {
            return Vec::new();
        }
        let all_fit = |&(width, height): &(u32, u32)| {
            let phases = self.at(width, height);
            self.mended(&phases) == possible
                && phases
                    .iter()
                    .all(|phase| !phase.too_large() || self.failing.contains(&phase.phase))
        };
        let (width, height) = (self.work.width, self.work.height);
        let side_at_most =
            |limit: u32| (1..=limit / SIDE_MULTIPLE).rev().map(|n| n * SIDE_MULTIPLE);
        let square = side_at_most(MAX_SIDE)
            .map(|side| (side, side))
            .find(all_fit);
        let same_shape = side_at_most(width)
            .map(|across| {
                let down = u64::from(across) * u64::from(height) / u64::from(width);
                let down = u32::try_from(down).unwrap_or(MAX_SIDE);
                (across, (down - down % SIDE_MULTIPLE).max(SIDE_MULTIPLE))
            })
            .find(all_fit);
        let squares = square.map(|size| (size, Shape::Square));
        let others = same_shape
            .filter(|&size| width != height && Some(size) != square)
            .map(|size| (size, Shape::Same));
        squares
            .into_iter()
            .chain(others)
            .filter_map(|((width, height), shape)| {
                let remedy = Remedy::Size {
                    width,
                    height,
                    shape,
                };
                self.propose(&self.at(width, height), remedy)
            })
            .collect()
    }

    /// A larger limit, if that alone makes everything fit.
    fn limit(&self, now: &[PhasePlan]) -> Option<Advice> {
        if !self.setting.is_limited() {
            return None;
        }
        let on_device = now.iter().filter(|phase| phase.place == Place::Device);
        let peak = on_device.map(|phase| phase.peak_bytes).max()?;
        let (_, bytes) = limit_for(peak + self.setting.held());
        let mut setting = *self.setting;
        setting.budget.limit = Some(bytes);
        let phases = phases(self.subject, self.work, &setting);
        if self.mended(&phases) != self.failing {
            return None;
        }
        self.propose(&phases, Remedy::Limit { bytes })
    }

    /// An empty device, if that alone makes everything fit.
    fn free_device(&self) -> Option<Advice> {
        let DeviceMemory { free, total } = self.setting.device?.into();
        let others = self.setting.budget.used_before;
        if others == 0 {
            return None;
        }
        let mut setting = *self.setting;
        setting.budget.used_before = 0;
        setting.device = Some(
            DeviceMemory {
                free: (free + others).min(total),
                total,
            }
            .into(),
        );
        let phases = phases(self.subject, self.work, &setting);
        if self.mended(&phases) != self.failing {
            return None;
        }
        let bytes = others;
        self.propose(&phases, Remedy::FreeDevice { bytes })
    }
}
