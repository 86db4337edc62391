//! The scheduler of a models folder: its noise levels, and its solver.

use std::path::{Path, PathBuf};

use model::scheduler::ScheduleKind;
use model::{ConfigError, FolderScheduler, SchedulerConfig, TimeShift};
use serde_json::Value;

use crate::error::Error;
use crate::events::Note;
use crate::request::{Asked, SamplerName, Sampling};

/// The largest scheduler_config.json that is read.
const MAX_JSON_BYTES: u64 = 1 << 20;

/// How the models folder's images are sampled, as far as nobody asks for something else.
#[derive(Debug, Default)]
pub struct Scheduler {
    folder: FolderScheduler,
    /// The folder's file, where there is one.
    path: PathBuf,
    /// True if [`FolderScheduler::constants`] are those of the Lightning LoRAs.
    lightning: bool,
}

impl Scheduler {
    /// The scheduler of the Lightning LoRAs, whatever the folder's is.
    pub fn lightning() -> Self {
        Self {
            folder: FolderScheduler {
                constants: SchedulerConfig::lightning(),
                ..FolderScheduler::default()
            },
            lightning: true,
            ..Self::default()
        }
    }

    /// The scheduler of a diffusers folder's `scheduler_config.json`, or the published model's.
    /// Adds a note where the folder's two files name different classes.
    ///
    /// # Errors
    /// A file that cannot be read, or whose numbers make no schedule.
    pub fn open(path: Option<&Path>, notes: &mut Vec<Note>) -> Result<Self, Error> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let config = read(path)?;
        let class = class_in_index(path)?;
        let own = config.get("_class_name").and_then(Value::as_str);
        if let (Some(own), Some(class)) = (own, &class)
            && own != class
        {
            notes.push(Note::File(format!(
                "{}: names {own:?} and model_index.json {class:?}: the former counts",
                path.display()
            )));
        }
        Ok(Self {
            folder: FolderScheduler::resolve(&config, class.as_deref())
                .map_err(Error::config(path))?,
            path: path.to_owned(),
            lightning: false,
        })
    }

    /// The constants of the noise levels.
    pub fn constants(&self) -> &SchedulerConfig {
        &self.folder.constants
    }

    /// Fills in the folder's solver and noise levels where nothing else was asked for.
    ///
    /// # Errors
    /// [`Error::ModelFile`] if these are not computed here.
    pub fn settle(&self, sampling: &mut Sampling, asked: Asked) -> Result<(), Error> {
        let folder = &self.folder;
        if !asked.sampler {
            let kind = folder.sampler.clone();
            let kind = kind.map_err(|error| self.refused(error, true))?;
            let mut names = SamplerName::ALL.into_iter();
            let name = names.find(|name| name.kind() == kind);
            sampling.sampler = name.unwrap_or_default();
        }
        if !asked.schedule {
            let kind = folder.schedule.clone();
            sampling.schedule = kind.map_err(|error| self.refused(error, false))?;
        }
        Ok(())
    }

    fn refused(&self, source: ConfigError, solver: bool) -> Error {
        Error::Scheduler {
            path: self.path.clone(),
            source,
            solver,
        }
    }

    /// The constants as a recipe has them, where a schedule uses them and they are not the published
    /// model's.
    pub fn recorded(&self, schedule: &ScheduleKind) -> Option<String> {
        let constants = self.constants();
        let usual = self.lightning || *constants == SchedulerConfig::default();
        if usual || !schedule.is_dynamic() {
            return None;
        }
        let mut text = match constants.use_dynamic_shifting {
            true => format!(
                "base_shift={},max_shift={},base_image_seq_len={},max_image_seq_len={}{}",
                constants.base_shift,
                constants.max_shift,
                constants.base_image_seq_len,
                constants.max_image_seq_len,
                match constants.time_shift_type {
                    TimeShift::Exponential => "",
                    TimeShift::Linear => ",time_shift_type=linear",
                }
            ),
            false => format!("shift={}", constants.shift),
        };
        if let Some(terminal) = constants.shift_terminal {
            text.push_str(&format!(",shift_terminal={terminal}"));
        }
        Some(text)
    }
}

/// The scheduler's class that the folder's `model_index.json` names.
fn class_in_index(scheduler: &Path) -> Result<Option<String>, Error> {
    let folder = scheduler.parent().and_then(Path::parent);
    let index = folder.map(|folder| folder.join("model_index.json"));
    let Some(index) = index.filter(|index| index.is_file()) else {
        return Ok(None);
    };
    let index = read(&index)?;
    let class = index.pointer("/scheduler/1").and_then(Value::as_str);
    Ok(class.map(str::to_owned))
}

fn read(path: &Path) -> Result<Value, Error> {
    let bad =
        |reason: &dyn std::fmt::Display| Error::ModelFile(format!("{}: {reason}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| bad(&error))?.len();
    if length > MAX_JSON_BYTES {
        return Err(bad(&"too large for a diffusers config"));
    }
    let text = std::fs::read(path).map_err(|error| bad(&error))?;
    // Editors of other systems leave a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let json: Value =
        serde_json::from_slice(text).map_err(|error| bad(&format_args!("is not JSON: {error}")))?;
    match json.is_object() {
        true => Ok(json),
        false => Err(bad(&"is not a JSON object")),
    }
}
