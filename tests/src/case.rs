//! The list of fixtures.

use std::path::PathBuf;

use model::SchedulerConfig;
use serde::Deserialize;

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
    /// Whether the noise schedule is that of the Lightning adapters.
    #[serde(default)]
    pub lightning: bool,
    /// The models whose inner tensors were recorded too.
    #[serde(default)]
    pub deep: Vec<String>,
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
struct Manifest {
    cases: Vec<Case>,
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

    /// Whether two passes a step are run.
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

/// All cases.
pub fn cases() -> Vec<Case> {
    let text = std::fs::read(fixture("cases.json")).expect("cases.json");
    let manifest: Manifest = serde_json::from_slice(&text).expect("cases.json");
    assert!(manifest.cases.len() >= 23, "fixtures are missing");
    manifest.cases
}
