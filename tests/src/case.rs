//! The list of fixtures.

use std::path::PathBuf;

use model::SchedulerConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::trace::fixture;

/// One run of the reference pipeline.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// A short name.
    pub name: String,
    files: Files,
    /// The prompt.
    pub prompt: String,
    /// The negative prompt, or none.
    pub negative: Option<String>,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Denoising steps.
    pub steps: usize,
    /// The scale of guidance.
    pub cfg: f64,
    /// The seed of the noise.
    pub seed: u64,
    /// The file of recorded tensors, below the fixtures folder.
    pub trace: String,
    /// Tokens of the template before the prompt.
    pub drop_index: usize,
    #[serde(default)]
    loras: Vec<StoredLora>,
    /// True if the noise schedule is that of the Lightning adapters.
    #[serde(default)]
    pub lightning: bool,
    /// The models whose inner tensors were recorded too.
    #[serde(default)]
    pub deep: Vec<String>,
}

/// One run of the reference's pipelines that begin with an image.
#[derive(Clone, Debug, Deserialize)]
pub struct ImageCase {
    /// The settings that all cases have.
    #[serde(flatten)]
    pub case: Case,
    image: PathBuf,
    mask: Option<PathBuf>,
    /// How much of the image is changed, from 0 to 1.
    pub strength: f64,
}

impl ImageCase {
    /// The image's file.
    pub fn image(&self) -> PathBuf {
        fixture(&self.image)
    }

    /// The mask's file, where a part is to stay.
    pub fn mask(&self) -> Option<PathBuf> {
        self.mask.as_deref().map(fixture)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct StoredLora {
    file: PathBuf,
    weight: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct Files {
    transformer: Vec<PathBuf>,
    text_encoder: Vec<PathBuf>,
    vae: Vec<PathBuf>,
    tokenizer: PathBuf,
}

#[derive(Deserialize)]
struct Manifest<C> {
    cases: Vec<C>,
}

impl Case {
    /// The transformer's checkpoint.
    pub fn transformer(&self) -> PathBuf {
        checkpoint(&self.files.transformer)
    }

    /// The text encoder's checkpoint.
    pub fn text_encoder(&self) -> PathBuf {
        checkpoint(&self.files.text_encoder)
    }

    /// The VAE's checkpoint.
    pub fn vae(&self) -> PathBuf {
        checkpoint(&self.files.vae)
    }

    /// The tokenizer's folder.
    pub fn tokenizer(&self) -> PathBuf {
        fixture(&self.files.tokenizer)
    }

    /// The LoRAs and their weights.
    pub fn loras(&self) -> Vec<(PathBuf, f64)> {
        let loras = self.loras.iter();
        loras
            .map(|lora| (fixture(&lora.file), lora.weight))
            .collect()
    }

    /// The constants of the noise schedule.
    pub fn scheduler(&self) -> SchedulerConfig {
        if self.lightning {
            SchedulerConfig::lightning()
        } else {
            SchedulerConfig::default()
        }
    }

    /// Tells whether two passes a step are run.
    pub fn guided(&self) -> bool {
        self.negative.is_some() && self.cfg > 1.0
    }
}

/// A single file, or the folder of several shards.
fn checkpoint(files: &[PathBuf]) -> PathBuf {
    let first = fixture(files.first().expect("a file"));
    match files {
        [_] => first,
        _ => first.parent().expect("a folder").to_owned(),
    }
}

/// All cases that begin with noise.
pub fn cases() -> Vec<Case> {
    let cases = listed("cases.json");
    assert!(cases.len() >= 23, "fixtures are missing");
    cases
}

/// All cases that begin with an image.
pub fn image_cases() -> Vec<ImageCase> {
    let cases = listed("image_cases.json");
    assert!(cases.len() >= 8, "fixtures are missing");
    cases
}

fn listed<C: DeserializeOwned>(file: &str) -> Vec<C> {
    let text = std::fs::read(fixture(file)).expect(file);
    let manifest: Manifest<C> = serde_json::from_slice(&text).expect(file);
    manifest.cases
}
