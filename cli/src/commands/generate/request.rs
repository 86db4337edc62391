//! The requests, one for each image, before any model file is opened.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use engine::files::Target;
use engine::image::Format;
use engine::request::Request;

use super::prompt_file::{self, Line, Own};
use crate::args::{GenerateConfig, PromptSource, check_lightning};
use crate::bad_lines::BadLines;
use crate::error::CliError;
use crate::output::file_key::file_key;
use crate::output::names::OutputNames;

/// The most images of one run.
const MAX_IMAGES: usize = 100_000;

/// One image as it is asked for, and its file.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The image.
    pub(super) request: Request,
    /// The image's file.
    pub(super) target: Target,
    /// The line of the file that asks for it.
    pub(super) origin: Option<String>,
}

impl Wanted {
    /// All images that the flags ask for; `seed` is the first one's. Adds what the user should
    /// know of them.
    ///
    /// # Errors
    /// The fault of the file of prompts.
    pub(super) fn all(
        config: &GenerateConfig,
        seed: u64,
        notices: &mut Vec<String>,
    ) -> Result<Vec<Self>, CliError> {
        let requests = match &config.prompt {
            PromptSource::One(prompt) => of_prompt(config, prompt, seed),
            PromptSource::Longest => of_prompt(config, "", seed),
            PromptSource::File(path) => of_file(config, path, seed, notices)?,
        };
        let is_jpeg = |request: &Self| request.target.format() == Format::Jpeg;
        if config.quality_given && !requests.iter().any(is_jpeg) {
            notices.push(
                "--quality has no effect: it is about JPEG files, which a name such as image.jpg \
                 makes"
                    .to_owned(),
            );
        }
        Ok(requests)
    }
}

fn of_prompt(config: &GenerateConfig, prompt: &str, seed: u64) -> Vec<Wanted> {
    let targets = config.output.targets(seed, config.count);
    let request = |(index, target)| Wanted {
        request: Request {
            prompt: prompt.to_owned(),
            negative_prompt: config.negative_prompt.at(config.cfg_scale, None),
            size: config.size,
            steps: config.steps,
            sampling: config.sampling.clone(),
            cfg_scale: config.cfg_scale,
            seed: seed.wrapping_add(index as u64),
            asked: config.asked,
            noise: config.noise.clone(),
            image: None,
        },
        target,
        origin: None,
    };
    targets.into_iter().enumerate().map(request).collect()
}

fn of_file(
    config: &GenerateConfig,
    path: &Path,
    seed: u64,
    notices: &mut Vec<String>,
) -> Result<Vec<Wanted>, CliError> {
    let mut bad = BadLines::default();
    let lines = prompt_file::read(path, &config.sampling, notices, &mut bad)?;
    if lines.len().saturating_mul(config.count) > MAX_IMAGES {
        return Err(CliError::Usage(format!(
            "{}: {} prompts with {} images each; at most {MAX_IMAGES} images are made in \
             one run: split the file",
            path.display(),
            lines.len(),
            config.count
        )));
    }
    let names = Names::of(config, path);
    let mut requests = Vec::with_capacity(lines.len() * config.count);
    let mut same: HashMap<String, usize> = HashMap::new();
    for Line {
        number: line,
        origin,
        prompt,
        own,
    } in lines
    {
        let own_names = names.own(&own).unwrap_or_else(|error| {
            bad.push(line, &origin, error);
            None
        });
        let own_steps = own.steps.map(|steps| steps as i64);
        let loras = &config.sources.loras;
        if let Err(error) = check_lightning(
            loras,
            own_steps,
            own.cfg_scale,
            own.negative_prompt.is_some(),
        ) {
            bad.push(line, &origin, error);
        }
        let cfg_scale = own.cfg_scale.unwrap_or(config.cfg_scale);
        if cfg_scale == 1.0 && own.negative_prompt.is_some() {
            notices.push(format!(
                "{origin}: `negative_prompt` is not used at a scale of 1"
            ));
        }
        // A line's place is to make no difference to names that follow its content. Lines with the
        // same content have the seeds after those of the ones before.
        let follows_content = own_names
            .as_ref()
            .unwrap_or(&config.output)
            .follows_recipes();
        let first = if follows_content {
            let before = same.entry(format!("{prompt:?} {own:?}")).or_insert(0);
            let first = *before;
            *before += config.count;
            first
        } else {
            requests.len()
        };
        for copy in 0..config.count {
            let number = requests.len();
            let of_line = |first: u64| first.wrapping_add(copy as u64);
            requests.push(Wanted {
                request: Request {
                    prompt: prompt.clone(),
                    negative_prompt: config
                        .negative_prompt
                        .at(cfg_scale, own.negative_prompt.clone()),
                    size: own.size(config.size),
                    steps: own.steps.or(config.steps),
                    sampling: config.sampling.clone(),
                    cfg_scale,
                    seed: own
                        .seed
                        .map_or_else(|| of_line(seed.wrapping_add(first as u64)), of_line),
                    asked: config.asked,
                    noise: config.noise.clone(),
                    image: None,
                },
                target: match &own_names {
                    Some(own) => own.target(copy + 1, config.count > 1, &names.stem(number)),
                    None => config.output.target(number + 1, true, &names.stem(number)),
                }
                .of_many(),
                origin: Some(origin.clone()),
            });
        }
    }
    bad.check()?;
    check_distinct(&requests)?;
    Ok(requests)
}

/// The names of the images of a prompt file.
struct Names {
    /// The folder that names of lines are relative to.
    folder: PathBuf,
    /// The file's name without its extension.
    stem: String,
}

impl Names {
    fn of(config: &GenerateConfig, path: &Path) -> Self {
        let stem = match path.file_stem() {
            Some(stem) if path.as_os_str() != "-" => stem.to_string_lossy().into_owned(),
            _ => "prompt".to_owned(),
        };
        Self {
            folder: match &config.output {
                OutputNames::Default { folder } => folder.clone(),
                OutputNames::Explicit { .. } => PathBuf::new(),
            },
            stem,
        }
    }

    /// The default name of an image counted from 0.
    fn stem(&self, image: usize) -> String {
        format!("{}-{}", self.stem, image + 1)
    }

    /// The names of a line's images, if the line gives them.
    fn own(&self, own: &Own) -> Result<Option<OutputNames>, CliError> {
        let output = own.output.as_ref();
        let parse = |output: &PathBuf| OutputNames::parse_as("`output`", &self.folder.join(output));
        output.map(parse).transpose()
    }
}

/// Refuses two images in one file, as far as names are known before the models are.
fn check_distinct(requests: &[Wanted]) -> Result<(), BadLines> {
    let mut bad = BadLines::default();
    let mut seen: HashMap<PathBuf, &Wanted> = HashMap::new();
    let known = requests
        .iter()
        .enumerate()
        .filter(|(_, request)| !request.target.waits_for_digest());
    for (place, request) in known {
        let path = &request.target.path;
        if let Some(other) = seen.insert(file_key(path), request) {
            let [first, second] = [other, request].map(|of| of.origin.as_deref().unwrap_or(""));
            let reason = format!(
                "its image {} is also that of {first}; give each an `output`, or --output a \
                 name with %d or %h",
                path.display()
            );
            bad.push(place, second, reason);
        }
    }
    bad.check()
}
