//! The recipe in a ComfyUI graph, where its nodes leave no doubt.

mod inputs;

use std::path::Path;

use loader::lora::lightning_steps;
use model::family::QWEN_IMAGE;
use model::scheduler::ScheduleKind;
use serde_json::Value;

use super::graph::{Graph, Input, Node};
use super::{Foreign, sampler};
use crate::record::UsedLora;
use crate::request::{Preset, SamplerName, Sampling};
use inputs::{
    Encoded, MAX_CHAIN, base_name, encoded, loaded_image, number_at, stem, takes_from, text_at,
    whole_at,
};

/// The shift of Qwen-Image in ComfyUI where no node sets another.
const OWN_SHIFT: f64 = 3.158_192_909_689_768;
/// Nodes between a sampler and its image that change nothing, and those that give them models.
const HARMLESS: [&str; 8] = [
    "VAEDecode",
    "VAEDecodeTiled",
    "VAELoader",
    "UNETLoader",
    "CheckpointLoaderSimple",
    "Reroute",
    "PreviewImage",
    "SaveImage",
];

/// The recipe of a graph.
///
/// # Errors
/// A description of a graph that does not tell how its image was made.
pub(super) fn read(graph: &Graph) -> Result<Foreign, String> {
    let workflow = |reason: String| format!("holds a ComfyUI workflow {reason}");
    let ends = ends(graph);
    let mut samplers: Vec<Node<'_>> = Vec::new();
    for end in &ends {
        for node in end.reached(|_| false) {
            if is_sampler(node) && !samplers.iter().any(|known| known.id == node.id) {
                samplers.push(node);
            }
        }
    }
    let sampler = match samplers.as_slice() {
        [only] if matches!(only.class, "KSampler" | "KSamplerAdvanced") => *only,
        [only] => {
            let class = only.class;
            let reason = format!("whose sampler is the node {class}, which is not read");
            return Err(workflow(reason));
        }
        [] => {
            let reason = "without a KSampler on the way to its image, which is not read";
            return Err(workflow(reason.to_owned()));
        }
        several => {
            let count = several.len();
            let reason =
                format!("with {count} samplers on the way to its image, which is not read");
            return Err(workflow(reason));
        }
    };
    let mut reading = Reading {
        sampler,
        found: Foreign {
            program: "ComfyUI (a workflow)".to_owned(),
            ..Foreign::default()
        },
        shift: None,
    };
    reading
        .all(&ends)
        .map_err(|reason| workflow(format!("{reason}, which is not read")))?;
    Ok(reading.found)
}

/// The nodes that an image leaves the graph by.
fn ends(graph: &Graph) -> Vec<Node<'_>> {
    let of = |wanted: &dyn Fn(&str) -> bool| -> Vec<Node<'_>> {
        graph.nodes().filter(|node| wanted(node.class)).collect()
    };
    let squeezed = |class: &str| class.to_lowercase().replace([' ', '_'], "");
    let saves = of(&|class| {
        let class = squeezed(class);
        class.contains("saveimage") || class.contains("imagesave") || class.contains("saveanimated")
    });
    if !saves.is_empty() {
        return saves;
    }
    let previews = of(&|class| squeezed(class).contains("previewimage"));
    if previews.is_empty() {
        graph.last()
    } else {
        previews
    }
}

/// Tells whether a node makes latents out of noise.
fn is_sampler(node: Node<'_>) -> bool {
    let class = node.class.to_lowercase();
    (class.contains("ksampler") || class.contains("samplercustom")) && !class.contains("select")
}

/// A graph that is being read from its sampler on.
struct Reading<'a> {
    sampler: Node<'a>,
    found: Foreign,
    shift: Option<f64>,
}

impl<'a> Reading<'a> {
    fn all(&mut self, ends: &[Node<'a>]) -> Result<(), String> {
        self.numbers()?;
        self.texts()?;
        self.latent()?;
        self.model();
        self.sampling();
        for end in ends {
            for node in end.reached(|node| node.id == self.sampler.id) {
                let is_end = ends.iter().any(|end| end.id == node.id);
                let is_known = is_end
                    || node.id == self.sampler.id
                    || HARMLESS.contains(&node.class)
                    || node.class.starts_with("Primitive");
                // What leads to the sampler alone was looked at.
                if !is_known && takes_from(node, self.sampler) {
                    self.found.leave("after the sampler", node.class);
                }
            }
        }
        Ok(())
    }

    /// The values that the sampler has.
    fn numbers(&mut self) -> Result<(), String> {
        let advanced = self.sampler.class == "KSamplerAdvanced";
        let seed = if advanced { "noise_seed" } else { "seed" };
        self.found.seed = match self.sampler.input(seed) {
            Input::Value(Value::Number(number)) => number.as_u64().map(i128::from),
            _ => None,
        };
        self.found.steps = whole_at(self.sampler, "steps");
        self.found.cfg_scale = self.number("cfg");
        for (name, is_there) in [
            (seed, self.found.seed.is_some()),
            ("steps", self.found.steps.is_some()),
            ("cfg", self.found.cfg_scale.is_some()),
        ] {
            if !is_there {
                self.leave_input(name);
            }
        }
        if !advanced {
            return Ok(());
        }
        let starts = self.number("start_at_step").unwrap_or_default() == 0.0;
        let steps = self.number("steps").unwrap_or(f64::MAX);
        let ends = self.number("end_at_step").unwrap_or(f64::MAX) >= steps;
        let leftover = self.text("return_with_leftover_noise") == Some("enable");
        if starts && ends && !leftover && self.text("add_noise") != Some("disable") {
            Ok(())
        } else {
            Err("whose KSamplerAdvanced goes through a part of the steps".to_owned())
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        number_at(self.sampler, name)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        text_at(self.sampler, name)
    }

    /// Names an input of the sampler that is not taken.
    fn leave_input(&mut self, name: &str) {
        let value = match self.sampler.input(name) {
            Input::Value(value) => value.to_string(),
            Input::Node(node) => format!("from the node {}", node.class),
            Input::Nothing => return,
        };
        self.found.leave(name, &value);
    }

    fn texts(&mut self) -> Result<(), String> {
        self.found.prompt = match encoded(self.sampler, "positive") {
            Encoded::Text(text) => text.to_owned(),
            Encoded::Zeros => return Err("whose prompt is made zero".to_owned()),
            Encoded::Unknown(what) => return Err(format!("whose prompt comes from {what}")),
        };
        let guided = self.found.cfg_scale != Some(1.0);
        match encoded(self.sampler, "negative") {
            Encoded::Text(text) => self.found.negative_prompt = Some(text.to_owned()),
            Encoded::Zeros if guided => {
                self.found.negative_prompt = Some(String::new());
                self.found
                    .leave("negative prompt", "zeros (ConditioningZeroOut)");
            }
            Encoded::Unknown(what) if guided => {
                return Err(format!("whose negative prompt comes from {what}"));
            }
            // Without guidance it does nothing.
            Encoded::Zeros | Encoded::Unknown(_) => {}
        }
        Ok(())
    }

    /// Takes the size, or the image that the sampler starts from.
    fn latent(&mut self) -> Result<(), String> {
        let Some(latent) = self.sampler.source("latent_image") else {
            return Err("whose latents come from nowhere".to_owned());
        };
        let denoise = self.number("denoise").unwrap_or(1.0);
        if latent.class.starts_with("Empty") && latent.class.contains("Latent") {
            let side = |name: &str| whole_at(latent, name);
            (self.found.width, self.found.height) = (side("width"), side("height"));
            for (name, side) in [("width", self.found.width), ("height", self.found.height)] {
                if let (None, Input::Node(node)) = (side, latent.input(name)) {
                    self.found
                        .leave(name, &format!("from the node {}", node.class));
                }
            }
            if let Some(batch) = number_at(latent, "batch_size").filter(|batch| *batch > 1.0) {
                self.found.leave(
                    "batch_size",
                    &format!("{batch} (the first image alone is drawn)"),
                );
            }
            if denoise < 1.0 {
                self.found.leave("denoise", &denoise.to_string());
            }
            return Ok(());
        }
        if latent.class == "VAEEncode"
            && let Some(image) = loaded_image(latent)
        {
            self.found.init_image = Some(image.to_owned());
            self.found.strength = Some(denoise).filter(|part| *part > 0.0 && *part <= 1.0);
            if self.found.strength.is_none() {
                self.found.leave("denoise", &denoise.to_string());
            }
            return Ok(());
        }
        Err(format!("that starts from the node {}", latent.class))
    }

    /// The model, and what changes it on the way to the sampler.
    fn model(&mut self) {
        let mut loras = Vec::new();
        let mut at = self.sampler.source("model");
        for _ in 0..MAX_CHAIN {
            let Some(node) = at else { break };
            match node.class {
                "LoraLoaderModelOnly" | "LoraLoader" => {
                    let name = text_at(node, "lora_name");
                    let weight = number_at(node, "strength_model");
                    match (name, weight) {
                        (Some(_), Some(0.0)) => {}
                        (Some(name), Some(weight)) => loras.push((name, weight)),
                        _ => self
                            .found
                            .leave("LoRA", "its name or its weight is no value"),
                    }
                }
                "ModelSamplingAuraFlow" | "ModelSamplingSD3" => {
                    // The last one before the sampler counts.
                    self.shift = self.shift.or(number_at(node, "shift"));
                }
                class => {
                    let file = ["unet_name", "ckpt_name", "model_name", "gguf_name"];
                    let file = file.iter().find_map(|name| text_at(node, name));
                    match file {
                        Some(file) => {
                            self.found.model = Some(stem(file));
                            break;
                        }
                        None => self.found.leave("node", class),
                    }
                }
            }
            at = node.source("model");
        }
        self.found.is_our_model = self.is_ours();
        if !self.found.is_our_model {
            for (name, weight) in loras {
                self.found.leave("LoRA", &format!("{name} {weight}"));
            }
            return;
        }
        // The one nearest to the model comes first.
        let used = loras.into_iter().rev().map(|(name, weight)| UsedLora {
            file: base_name(name).to_owned(),
            weight,
            stamp: None,
            digest: None,
        });
        self.found.loras = used.collect();
        let mut loras = self.found.loras.iter();
        let lightning = loras.find_map(|lora| lightning_steps(Path::new(&lora.file)));
        self.found.lightning = lightning.filter(|&steps| {
            QWEN_IMAGE.lightning.steps.contains(&steps)
                && self.found.cfg_scale == Some(1.0)
                && self.found.steps == Some(steps as i64)
        });
    }

    /// Tells whether the model is a Qwen-Image.
    fn is_ours(&self) -> bool {
        let named = self.found.model.as_deref().unwrap_or_default();
        let reached = self.sampler.reached(|_| false);
        let encoder = reached.iter().find_map(|node| text_at(*node, "type"));
        named.to_lowercase().contains("qwen") || encoder == Some("qwen_image")
    }

    fn sampling(&mut self) {
        let name = self.text("sampler_name");
        let known = name.and_then(sampler);
        match (name, known) {
            // ComfyUI weighs the step before in a way of its own there.
            (Some(name), Some(SamplerName::DpmPp2m | SamplerName::UniPc)) => {
                let value = format!("{name} (drawn as diffusers has it)");
                self.found.leave("sampler_name", &value);
            }
            (Some(_), Some(_)) => {}
            _ => self.leave_input("sampler_name"),
        }
        let shift = self.shift.filter(|_| self.found.is_our_model);
        let shift = shift.unwrap_or(if self.found.is_our_model {
            OWN_SHIFT
        } else {
            QWEN_IMAGE.comfyui_shift
        });
        let kind = match self.text("scheduler") {
            Some(name @ ("simple" | "beta")) => name,
            _ => {
                self.leave_input("scheduler");
                "simple"
            }
        };
        let schedule = format!("{kind}={shift}").parse();
        let schedule = schedule.unwrap_or_else(|_| {
            self.found.leave("shift", &shift.to_string());
            ScheduleKind::Simple(QWEN_IMAGE.comfyui_shift)
        });
        self.found.sampling = Some(Sampling {
            sampler: known.unwrap_or_default(),
            schedule,
            preset: Preset::ComfyUi,
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
