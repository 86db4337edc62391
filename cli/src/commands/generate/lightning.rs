//! A Lightning LoRA in a run that is not made for it.

use model::SchedulerConfig;
use model::family::QWEN_IMAGE;

use super::image_job::ImageJob;
use crate::models::Models;

/// What is to be known where a Lightning LoRA is used without what it was distilled for.
pub(super) fn notice(models: &Models, images: &[ImageJob]) -> Option<String> {
    if models.lightning.is_some() {
        return None;
    }
    let loras = models.adapters.loras().iter();
    let mut loras = loras.filter(|(_, weight)| *weight != 0.0);
    let (name, steps) = loras.find_map(|(lora, _)| Some((lora.name(), lora.lightning_steps()?)))?;
    let others = images
        .iter()
        .find(|image| image.recipe.steps != steps || image.negative.is_some());
    let own_levels = |image: &&ImageJob| {
        image.sampling.schedule.is_dynamic()
            && *models.scheduler.constants() != SchedulerConfig::lightning()
    };
    let fault = match others {
        Some(image) => {
            let steps = image.recipe.steps;
            let guidance = match image.negative {
                Some(_) => format!("with a CFG scale of {}", image.recipe.cfg_scale),
                None => "without guidance".to_owned(),
            };
            format!("this run has {steps} steps {guidance}")
        }
        None => {
            images.iter().find(own_levels)?;
            "this run has the model's own noise levels".to_owned()
        }
    };
    let tip = if QWEN_IMAGE.lightning.steps.contains(&steps) {
        format!("--lightning {steps} sets all of it")
    } else {
        format!("--steps {steps} --cfg-scale 1 --schedule shift=3 fits it")
    };
    Some(format!(
        "LoRA {name} was made for {steps} steps without guidance, and noise levels with a shift of \
         3; {fault}; {tip}"
    ))
}
