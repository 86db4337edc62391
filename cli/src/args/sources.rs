//! The places of the model files, checked.

use std::path::PathBuf;

use engine::request::{LoraConfig, ModelSources};

use super::environment::Environment;
use super::groups::SourceArgs;
use crate::error::CliError;
use crate::usual_places::UsualPlaces;

/// The notice that the demo model is used unasked.
const DEMO_NOTICE: &str = "no models given: drawing with the built-in demo model, which \
    knows simple shapes and scenes; `qwen-image download` fetches the real one";

/// The flags, completed by QWEN_IMAGE_MODELS, QWEN_IMAGE_TOKENIZER and what the usual places
/// hold; adds a notice where that or the demo model is used unasked.
///
/// # Errors
/// [`CliError::Usage`] naming the flags that are missing; [`engine::Error::ModelFile`] where
/// nothing is named and not found, and real models are or were somewhere.
pub(super) fn resolve(
    args: SourceArgs,
    loras: LoraConfig,
    environment: Environment<'_>,
    notices: &mut Vec<String>,
) -> Result<ModelSources, CliError> {
    let mut sources = ModelSources {
        models: args.models,
        checkpoint: args.checkpoint,
        transformer: args.transformer,
        text_encoder: args.text_encoder,
        vae: args.vae,
        tokenizer: args.tokenizer,
        loras,
        demo_asked: args.demo,
    };
    if args.demo {
        return Ok(sources);
    }
    if sources.models.is_none() {
        sources.models = environment.models_variable();
    }
    if missing(&sources).next().is_some() {
        look_around(&mut sources, environment, notices)?;
    }
    check_complete(&sources)?;
    if !sources.is_demo() && sources.tokenizer.is_none() {
        sources.tokenizer = environment.get("QWEN_IMAGE_TOKENIZER").map(PathBuf::from);
    }
    Ok(sources)
}

/// Takes the models of a usual place for those that are not named. The demo model is only for
/// who has no others.
fn look_around(
    sources: &mut ModelSources,
    environment: Environment<'_>,
    notices: &mut Vec<String>,
) -> Result<(), CliError> {
    let found = UsualPlaces::look(environment);
    if let UsualPlaces::Models(folder) = found {
        notices.push(format!(
            "using the models in {} (--models names others, --demo the built-in demo model)",
            folder.display()
        ));
        sources.models = Some(folder);
        return Ok(());
    }
    if !sources.is_demo() {
        return Ok(());
    }
    let refused = |what: String| {
        Err(CliError::model_file(format!(
            "{what}; --demo draws with the built-in demo model"
        )))
    };
    match found {
        UsualPlaces::Unfinished(folder) => refused(format!(
            "the download to {} is not finished: `qwen-image download` goes on with it",
            folder.display()
        )),
        UsualPlaces::InPart(repository) => refused(format!(
            "no models are named, and {} holds a part of some: `qwen-image download` fetches \
             what is missing, --models DIR names a folder",
            repository.display()
        )),
        UsualPlaces::Elsewhere(place) => refused(format!(
            "no models are named, and those in {} were used before: name a folder by --models \
             DIR or in QWEN_IMAGE_MODELS",
            place.display()
        )),
        UsualPlaces::Models(_) | UsualPlaces::Empty => {
            notices.push(DEMO_NOTICE.to_owned());
            Ok(())
        }
    }
}

/// The flags of models that neither have their own nor are in a folder.
fn missing(sources: &ModelSources) -> impl Iterator<Item = &'static str> {
    let parts = [
        ("--transformer", &sources.transformer),
        ("--text-encoder", &sources.text_encoder),
        ("--vae", &sources.vae),
    ];
    // What a checkpoint holds is seen when it is opened.
    let in_folder = sources.models.is_some() || sources.checkpoint.is_some();
    parts
        .into_iter()
        .filter_map(move |(flag, path)| (path.is_none() && !in_folder).then_some(flag))
}

/// Without a folder, every model or none must have its own flag.
fn check_complete(sources: &ModelSources) -> Result<(), CliError> {
    if sources.is_demo() {
        return Ok(());
    }
    let missing: Vec<&str> = missing(sources).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [_, _, _] => Err(CliError::Usage(
            "--tokenizer alone names no models: name a ComfyUI `models` tree or a diffusers \
             folder with --models DIR or in QWEN_IMAGE_MODELS"
                .to_owned(),
        )),
        [one] => Err(CliError::Usage(format!(
            "{one} is missing: give it, or a folder with --models DIR"
        ))),
        some => Err(CliError::Usage(format!(
            "{} are missing: give them, or a folder with --models DIR",
            some.join(" and ")
        ))),
    }
}
