//! The recipe of an image: everything needed to make it again.

use std::ffi::OsStr;
use std::path::Path;

use model::family::QWEN_IMAGE;
use model::scheduler::ScheduleKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::UsedLora;
use crate::error::Error;
use crate::image::Stamp;
use crate::request::{MAX_LORA_WEIGHT, Preset, STEPS, SamplerName, Sampling};

/// The recipe of an image. Equal recipes give equal images on the same device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt; none where there is no guidance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Denoising steps.
    pub steps: usize,
    /// The solver.
    #[serde(default)]
    pub sampler: SamplerName,
    /// The noise levels.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// Whose habits were followed.
    #[serde(default)]
    pub preset: Preset,
    /// The constants of the model's own noise levels, where they are not the published model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Guidance scale; 1 without guidance.
    pub cfg_scale: f64,
    /// Seed of the noise; none where the noise came from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Name of the file that the noise came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<String>,
    /// The image that it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<Stamp>,
    /// The mask of what is repainted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Stamp>,
    /// The pixels around the masked part that were drawn with it, where only that part was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_crop: Option<u32>,
    /// The strength: how much of the image is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Name of the transformer's file without its extension.
    pub model: String,
    /// Name of the text encoder's file, alike; unknown in a recipe of an earlier version, as the
    /// two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder: Option<String>,
    /// Name of the VAE's file, alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    /// The number format that was computed in, `f32` or `bf16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// True if activations were quantized to FP8.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fp8_compute: bool,
    /// The digest that tells the transformer's file from another one of its name; unknown in a
    /// recipe of an earlier version, as the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
    /// The digest of the text encoder's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder_digest: Option<String>,
    /// The digest of the VAE's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae_digest: Option<String>,
    /// The LoRAs, in the order in which they were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, if there is one among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lightning: Option<usize>,
}

impl Recipe {
    /// The sampler, schedule and preset.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            sampler: self.sampler,
            schedule: self.schedule.clone(),
            preset: self.preset,
        }
    }

    /// Writes the recipe as JSON, on one line.
    ///
    /// # Errors
    /// [`Error::Internal`] for a number that JSON does not have.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::Internal(format!("recipe: {error}")))
    }

    /// The digest that tells this recipe from every other one.
    ///
    /// # Errors
    /// The same as [`Self::to_json`].
    pub fn digest(&self) -> Result<String, Error> {
        Ok(format!("{:x}", Sha256::digest(self.to_json()?)))
    }

    /// Reads a recipe's JSON. A field that is not known may change the image, so it is an error.
    ///
    /// # Errors
    /// The fault in the text.
    pub fn from_json(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }

    /// Checks what flags of this program can have said, for a recipe that was read from a file:
    /// anybody may have written it. Sizes, the schedule and the guidance scale are checked where
    /// they are used as flags.
    ///
    /// # Errors
    /// The value that is out of range, in words.
    pub fn check(&self) -> Result<(), String> {
        if !STEPS.contains(&self.steps) {
            return Err(format!("{} steps", self.steps));
        }
        if let Some(steps) = self.lightning
            && !QWEN_IMAGE.lightning.steps.contains(&steps)
        {
            return Err(format!("a Lightning LoRA for {steps} steps"));
        }
        if let Some(strength) = self.strength
            && !(strength > 0.0 && strength <= 1.0)
        {
            return Err(format!("a strength of {strength}"));
        }
        for UsedLora { file, weight, .. } in &self.loras {
            if !(-MAX_LORA_WEIGHT..=MAX_LORA_WEIGHT).contains(weight) {
                return Err(format!("a LoRA's weight of {weight}"));
            }
            if Path::new(file).file_name() != Some(OsStr::new(file)) {
                return Err(format!("a LoRA called {file:?}, which is no file's name"));
            }
        }
        Ok(())
    }

    /// Tells whether `other`, which was read from a file, is this recipe. Numbers are compared as they
    /// come back from text; digests where `other` has them, which recipes of earlier versions have
    /// not.
    pub fn is_recorded_as(&self, other: &Self) -> bool {
        let written = self.to_json().ok();
        let Some(mut written) = written.and_then(|json| Self::from_json(&json).ok()) else {
            return false;
        };
        let forget = |digest: &mut Option<String>, other: &Option<String>| {
            if other.is_none() {
                *digest = None;
            }
        };
        forget(&mut written.model_digest, &other.model_digest);
        forget(&mut written.text_encoder_digest, &other.text_encoder_digest);
        forget(&mut written.vae_digest, &other.vae_digest);
        for (lora, other) in written.loras.iter_mut().zip(&other.loras) {
            forget(&mut lora.digest, &other.digest);
        }
        written == *other
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Recipe, UsedLora};
    use crate::request::{Preset, SamplerName};

    #[test]
    fn a_recipe_survives_its_text() {
        let recipe = Recipe {
            prompt: "a\n\"fox\" 🦊".to_owned(),
            negative_prompt: None,
            width: 16,
            height: 32,
            steps: 2,
            sampler: SamplerName::DpmPp2m,
            schedule: "sigmas=1,0.5".parse().unwrap(),
            preset: Preset::ComfyUi,
            scheduler: None,
            cfg_scale: 2.300_000_000_000_000_3,
            seed: Some(u64::MAX),
            noise: None,
            init_image: None,
            mask: None,
            mask_crop: Some(32),
            strength: None,
            fp8_compute: true,
            loras: vec![UsedLora {
                file: "style.safetensors".to_owned(),
                weight: 0.1,
                stamp: Some("12-ab".to_owned()),
                digest: Some("cd".to_owned()),
            }],
            model_digest: Some("m".to_owned()),
            text_encoder_digest: Some("t".to_owned()),
            vae_digest: Some("v".to_owned()),
            text_encoder: Some("t".to_owned()),
            vae: Some("v".to_owned()),
            dtype: Some("bf16".to_owned()),
            lightning: None,
            model: "m".to_owned(),
        };
        recipe.check().unwrap();
        let read = Recipe::from_json(&recipe.to_json().unwrap()).unwrap();
        assert!(recipe.is_recorded_as(&read));
        let other = Recipe {
            steps: 3,
            ..recipe.clone()
        };
        assert!(!other.is_recorded_as(&read));
        let json = recipe.to_json().unwrap();
        let sampling =
            ",\"sampler\":\"dpmpp2m\",\"schedule\":\"sigmas=1,0.5\",\"preset\":\"comfyui\"";
        assert!(json.contains(sampling), "{json}");
        // Recipes from before there was a choice.
        let silent = Recipe::from_json(&json.replace(sampling, "")).unwrap();
        assert_eq!(silent.sampling(), crate::request::Sampling::default());
        assert!(Recipe::from_json(&json.replace("dpmpp2m", "lms")).is_err());
        assert!(Recipe::from_json(&json.replace("sigmas=", "levels=")).is_err());
        for silent in [
            ",\"text_encoder\":\"t\",\"vae\":\"v\",\"dtype\":\"bf16\"",
            ",\"stamp\":\"12-ab\"",
        ] {
            assert!(json.contains(silent), "{json}");
            let silent = Recipe::from_json(&json.replace(silent, "")).unwrap();
            assert!(!recipe.is_recorded_as(&silent));
        }
        for digest in [
            ",\"model_digest\":\"m\"",
            ",\"text_encoder_digest\":\"t\"",
            ",\"vae_digest\":\"v\"",
            ",\"digest\":\"cd\"",
        ] {
            assert!(json.contains(digest), "{json}");
            let silent = Recipe::from_json(&json.replace(digest, "")).unwrap();
            assert!(recipe.is_recorded_as(&silent), "{digest}");
            let value = digest.rsplit(':').next().unwrap();
            let other = digest.replace(value, "\"other\"");
            let other = Recipe::from_json(&json.replace(digest, &other)).unwrap();
            assert!(!recipe.is_recorded_as(&other), "{digest}");
        }
        let json = json.replace("\"steps\"", "\"stairs\"");
        assert!(
            Recipe::from_json(&json)
                .unwrap_err()
                .to_string()
                .contains("stairs")
        );
    }
}
