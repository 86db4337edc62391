//! Folders: of one checkpoint, and of a whole model.

use std::path::{Path, PathBuf};

use loader::{Checkpoint, Component, FoundCheckpoint, LoadError, ModelFiles, Weights};
use tempfile::tempdir;

use crate::writer::{Writer, text_encoder, transformer, vae, write};

fn checkpoint_error(dir: &Path) -> LoadError {
    Checkpoint::open(dir).unwrap_err()
}

/// The places where the parts of a model were found.
#[derive(Clone, Debug, Default, PartialEq)]
struct Places {
    transformer: Option<PathBuf>,
    text_encoder: Option<PathBuf>,
    vae: Option<PathBuf>,
    tokenizer: Option<PathBuf>,
    scheduler: Option<PathBuf>,
}

fn discover(dir: &Path) -> Result<Places, LoadError> {
    let path = |found: Option<FoundCheckpoint>| found.map(|found| found.path().to_path_buf());
    let found = ModelFiles::discover(dir)?;
    Ok(Places {
        transformer: path(found.transformer),
        text_encoder: path(found.text_encoder),
        vae: path(found.vae),
        tokenizer: found.tokenizer,
        scheduler: found.scheduler,
    })
}

fn discover_error(dir: &Path) -> LoadError {
    discover(dir).unwrap_err()
}

#[test]
fn a_folder_of_one_file_is_that_file() {
    let dir = tempdir().unwrap();
    transformer("").write(dir.path().join("any.safetensors"));
    write(dir.path().join("README.md"), "");
    assert_eq!(Checkpoint::open(dir.path()).unwrap().entries().len(), 1);
}

#[test]
fn an_empty_folder() {
    let dir = tempdir().unwrap();
    assert!(matches!(
        checkpoint_error(dir.path()),
        LoadError::EmptyFolder { .. }
    ));
}

#[test]
fn several_checkpoints_in_a_folder() {
    let dir = tempdir().unwrap();
    for name in ["model.safetensors", "model.fp16.safetensors"] {
        transformer("").write(dir.path().join(name));
    }
    let error = checkpoint_error(dir.path());
    assert!(matches!(error, LoadError::AmbiguousFolder { .. }));
    assert!(
        error
            .to_string()
            .contains("model.fp16.safetensors, model.safetensors")
    );
}

#[test]
fn shards_without_their_index() {
    let dir = tempdir().unwrap();
    for i in 1..=2 {
        let name = format!("model-0000{i}-of-00002.safetensors");
        transformer("").write(dir.path().join(name));
    }
    let error = checkpoint_error(dir.path());
    assert!(matches!(error, LoadError::ShardsWithoutIndex { .. }));
    let second = dir.path().join("model-00002-of-00002.safetensors");
    let error = checkpoint_error(&second);
    assert!(
        matches!(
            error,
            LoadError::ShardAlone {
                number: 2,
                of: 2,
                ..
            }
        ),
        "{error}"
    );
    std::fs::remove_file(second).unwrap();
    let error = checkpoint_error(dir.path());
    assert!(matches!(error, LoadError::ShardsWithoutIndex { .. }));
}

#[test]
fn a_whole_model_in_place_of_a_part() {
    let dir = tempdir().unwrap();
    write(dir.path().join("model_index.json"), "{}");
    let error = checkpoint_error(dir.path());
    assert!(matches!(error, LoadError::WholeModel { .. }), "{error}");
}

/// A complete ComfyUI tree.
fn comfyui(dir: &Path) {
    transformer("").write(dir.join("diffusion_models/qwen/fp8.safetensors"));
    text_encoder().write(dir.join("text_encoders/qwen.safetensors"));
    vae().write(dir.join("vae/vae.safetensors"));
    // Of other models, which a user also has.
    Writer::default()
        .f32("double_blocks.0.x", &[1], &[0.0])
        .write(dir.join("diffusion_models/flux.safetensors"));
    write(dir.join("vae/put_vae_here"), "");
}

#[test]
fn a_comfyui_tree() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    comfyui(dir);
    let expected = Places {
        transformer: Some(dir.join("diffusion_models/qwen/fp8.safetensors")),
        text_encoder: Some(dir.join("text_encoders/qwen.safetensors")),
        vae: Some(dir.join("vae/vae.safetensors")),
        ..Places::default()
    };
    assert_eq!(discover(dir).unwrap(), expected);
    write(dir.join("tokenizer/vocab.json"), "{}");
    let found = discover(dir).unwrap();
    assert_eq!(found.tokenizer, Some(dir.join("tokenizer")));
}

#[test]
fn what_macos_leaves_beside_models_is_passed_over() {
    let dir = tempdir().unwrap();
    comfyui(dir.path());
    let expected = discover(dir.path()).unwrap();
    for name in [
        "vae/._vae.safetensors",
        "diffusion_models/qwen/._fp8.safetensors",
        "text_encoders/._x.safetensors.index.json",
        "._c.safetensors",
    ] {
        write(dir.path().join(name), [0, 5, 22, 7]);
    }
    assert_eq!(discover(dir.path()).unwrap(), expected);
    let folder = dir.path().join("vae");
    assert_eq!(Checkpoint::open(&folder).unwrap().entries().len(), 1);
}

#[test]
fn endings_may_be_in_capitals() {
    let dir = tempdir().unwrap();
    transformer("").write(dir.path().join("diffusion_models/a.SAFETENSORS"));
    vae().write(dir.path().join("vae/b.Safetensors"));
    let found = discover(dir.path()).unwrap();
    assert!(
        found.transformer.is_some() && found.vae.is_some(),
        "{found:?}"
    );
    assert!(Checkpoint::open(&dir.path().join("vae")).is_ok());
    let shard = vae().write(dir.path().join("model-00001-of-00002.SAFETENSORS"));
    let error = checkpoint_error(&shard);
    assert!(matches!(error, LoadError::ShardAlone { .. }), "{error}");
}

/// All models in one file.
fn all_in_one() -> Writer {
    let keys = [
        "text_encoders.q.transformer.model.layers.0.self_attn.k_proj.bias",
        "vae.decoder.middle.0.residual.0.gamma",
    ];
    let file = transformer("model.diffusion_model.");
    keys.iter()
        .fold(file, |file, key| file.f32(key, &[1], &[0.0]))
}

#[test]
fn files_of_all_models_stand_in_for_those_that_are_not_there_alone() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    let both = all_in_one().write(dir.join("checkpoints/qwen/all.safetensors"));
    // Of another family, with the VAE that Qwen-Image's was made from.
    vae()
        .f32("model.diffusion_model.blocks.0.x", &[1], &[0.0])
        .write(dir.join("checkpoints/wan.safetensors"));
    let found = discover(dir).unwrap();
    let all = [&found.transformer, &found.text_encoder, &found.vae];
    assert!(
        all.iter().all(|path| path.as_ref() == Some(&both)),
        "{found:?}"
    );
    let own = vae().write(dir.join("vae/vae.safetensors"));
    let found = discover(dir).unwrap();
    assert_eq!((found.vae, found.transformer), (Some(own), Some(both)));
    // Two are one too many, but only for what is not there alone.
    all_in_one().write(dir.join("checkpoints/other.safetensors"));
    let error = discover_error(dir);
    assert!(
        matches!(error, LoadError::SeveralCandidates { .. }),
        "{error}"
    );
    comfyui(dir);
    assert!(discover(dir).is_ok());
}

#[test]
fn comfyui_itself() {
    let dir = tempdir().unwrap();
    comfyui(&dir.path().join("models"));
    let found = discover(dir.path()).unwrap();
    assert_eq!(
        found.vae,
        Some(dir.path().join("models/vae/vae.safetensors"))
    );
}

#[test]
fn headers_that_were_read_to_find_a_model_are_not_read_again() {
    let dir = tempdir().unwrap();
    comfyui(dir.path());
    let found = ModelFiles::discover(dir.path()).unwrap().vae.unwrap();
    std::fs::remove_file(found.path()).unwrap();
    let weights = Weights::of(found.open().unwrap(), Component::Vae).unwrap();
    assert_eq!(weights.names().count(), 1);
}

#[test]
fn the_old_folder_names() {
    let dir = tempdir().unwrap();
    transformer("").write(dir.path().join("unet/a.safetensors"));
    text_encoder().write(dir.path().join("clip/b.safetensors"));
    let found = discover(dir.path()).unwrap();
    assert!(found.transformer.is_some() && found.text_encoder.is_some());
    assert_eq!(found.vae, None);
}

#[test]
fn files_that_lie_in_one_folder() {
    let dir = tempdir().unwrap();
    transformer("").write(dir.path().join("a.safetensors"));
    text_encoder().write(dir.path().join("b.safetensors"));
    vae().write(dir.path().join("c.safetensors"));
    write(dir.path().join("tokenizer.json"), "{}");
    let found = discover(dir.path()).unwrap();
    assert_eq!(found.vae, Some(dir.path().join("c.safetensors")));
    assert_eq!(found.tokenizer, Some(dir.path().join("tokenizer.json")));
}

#[test]
fn shards_in_a_comfyui_tree() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("text_encoders/qwen");
    text_encoder().write(folder.join("model-00001-of-00001.safetensors"));
    let index = folder.join("model.safetensors.index.json");
    let map = r#"{"weight_map":
        {"model.layers.0.self_attn.k_proj.bias": "model-00001-of-00001.safetensors"}}"#;
    write(&index, map);
    let found = discover(dir.path()).unwrap();
    assert_eq!(found.text_encoder, Some(index));
}

#[cfg(unix)]
#[test]
fn a_linked_folder_is_no_second_candidate() {
    let dir = tempdir().unwrap();
    comfyui(dir.path());
    std::os::unix::fs::symlink("diffusion_models", dir.path().join("unet")).unwrap();
    assert!(discover(dir.path()).unwrap().transformer.is_some());
}

#[test]
fn several_candidates_need_a_choice() {
    let dir = tempdir().unwrap();
    comfyui(dir.path());
    transformer("net.").write(dir.path().join("unet/bf16.safetensors"));
    let error = discover_error(dir.path());
    assert!(matches!(
        error,
        LoadError::SeveralCandidates {
            component: Component::Transformer,
            ..
        }
    ));
    let message = error.to_string();
    assert!(message.contains("2 files are transformers ("), "{message}");
    assert!(message.ends_with(".safetensors)"), "{message}");
}

#[test]
fn a_damaged_file_is_reported_if_there_is_no_sound_one() {
    let dir = tempdir().unwrap();
    comfyui(dir.path());
    write(dir.path().join("vae/partial.safetensors"), "");
    assert!(discover(dir.path()).unwrap().vae.is_some());
    std::fs::remove_file(dir.path().join("vae/vae.safetensors")).unwrap();
    let message = discover_error(dir.path()).to_string();
    assert!(
        message.contains("partial.safetensors: the file is empty"),
        "{message}"
    );
}

#[test]
fn a_damaged_file_without_folder_may_be_any_part() {
    let dir = tempdir().unwrap();
    transformer("").write(dir.path().join("a.safetensors"));
    text_encoder().write(dir.path().join("b.safetensors"));
    let path = write(dir.path().join("c.safetensors"), "");
    let message = discover_error(dir.path()).to_string();
    assert!(
        message.contains("c.safetensors: the file is empty"),
        "{message}"
    );
    vae().write(path);
    assert!(discover(dir.path()).is_ok());
}

#[test]
fn a_diffusers_folder() {
    let dir = tempdir().unwrap();
    let dir = dir.path();
    write(dir.join("model_index.json"), "{}");
    write(dir.join("tokenizer/vocab.json"), "{}");
    write(dir.join("scheduler/scheduler_config.json"), "{}");
    transformer("").write(dir.join("transformer/diffusion_pytorch_model.safetensors"));
    vae().write(dir.join("vae/diffusion_pytorch_model.safetensors"));
    let expected = Places {
        transformer: Some(dir.join("transformer")),
        text_encoder: None,
        vae: Some(dir.join("vae")),
        tokenizer: Some(dir.join("tokenizer")),
        scheduler: Some(dir.join("scheduler/scheduler_config.json")),
    };
    assert_eq!(discover(dir).unwrap(), expected);
}

#[test]
fn folders_of_no_models() {
    let dir = tempdir().unwrap();
    assert!(matches!(
        discover_error(dir.path()),
        LoadError::NotAModelsFolder { .. }
    ));
    let none = dir.path().join("none");
    assert!(matches!(discover_error(&none), LoadError::NotFound { .. }));
    let file = write(dir.path().join("file"), "");
    assert!(matches!(
        discover_error(&file),
        LoadError::NotADirectory { .. }
    ));
    std::fs::create_dir(dir.path().join("vae")).unwrap();
    assert_eq!(discover(dir.path()).unwrap(), Places::default());
}
