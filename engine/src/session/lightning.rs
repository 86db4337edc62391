//! A Lightning LoRA in a job that is not made for it.

use model::SchedulerConfig;

use super::Session;
use super::job::Job;
use super::settle::Settled;
use crate::events::Note;
use crate::models::adapters::lightning_is_assumed;

impl Session {
    /// Notes on Lightning LoRAs in a job.
    pub fn lightning_notes(&self, job: &Job) -> Vec<Note> {
        let models = &self.models;
        let assumed = models
            .lightning
            .filter(|steps| lightning_is_assumed(&models.adapters, *steps));
        let assumed = assumed.map(|steps| Note::LightningAssumed { steps });
        assumed.into_iter().chain(self.misused(job)).collect()
    }

    /// A note on a Lightning LoRA that is used without what it was distilled for.
    fn misused(&self, job: &Job) -> Option<Note> {
        let models = &self.models;
        if models.lightning.is_some() {
            return None;
        }
        let loras = models.adapters.loras().iter();
        let mut loras = loras.filter(|(_, weight)| *weight != 0.0);
        let (name, steps) =
            loras.find_map(|(lora, _)| Some((lora.name(), lora.lightning_steps()?)))?;
        let mut images = job.images().iter().map(|image| &image.settled);
        let others = images
            .clone()
            .find(|image| image.recipe.steps != steps || image.guided());
        let own_levels = |image: &&Settled| {
            image.sampling.schedule.is_dynamic()
                && *models.scheduler.constants() != SchedulerConfig::lightning()
        };
        let instead = match others {
            Some(image) => {
                let recipe = &image.recipe;
                let guidance = if image.guided() {
                    format!("with a CFG scale of {}", recipe.cfg_scale)
                } else {
                    "without guidance".to_owned()
                };
                format!("{} steps {guidance}", recipe.steps)
            }
            None => {
                images.find(own_levels)?;
                "the model's own noise levels".to_owned()
            }
        };
        Some(Note::LightningMisused {
            name,
            steps,
            instead,
        })
    }
}
