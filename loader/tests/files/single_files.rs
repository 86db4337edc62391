//! One file: the errors of the file system, and configs.

use loader::{Checkpoint, Component, HeaderError, LoadError, Weights};
use tempfile::tempdir;

use crate::writer::{Writer, transformer, write};

#[test]
fn a_missing_file() {
    let dir = tempdir().unwrap();
    let error = Checkpoint::open(&dir.path().join("none.safetensors")).unwrap_err();
    assert!(matches!(error, LoadError::NotFound { .. }));
    assert!(
        error
            .to_string()
            .ends_with("none.safetensors: no such file or folder")
    );
}

#[test]
fn a_folder_in_place_of_a_file() {
    let dir = tempdir().unwrap();
    let error = loader::Header::open(dir.path()).unwrap_err();
    assert!(matches!(error, LoadError::IsDirectory { .. }));
}

#[cfg(unix)]
#[test]
fn a_device_in_place_of_a_file() {
    let error = Checkpoint::open("/dev/zero".as_ref()).unwrap_err();
    assert!(matches!(error, LoadError::NotAFile { .. }));
}

#[test]
fn a_truncated_file_names_itself_and_both_sizes() {
    let dir = tempdir().unwrap();
    let bytes = transformer("").bytes();
    let path = write(
        dir.path().join("a\u{1b}b.safetensors"),
        &bytes[..bytes.len() - 3],
    );
    let error = Checkpoint::open(&path).unwrap_err();
    let (found, needed) = (bytes.len() as u64 - 3, bytes.len() as u64);
    let expected = HeaderError::Truncated { found, needed };
    assert!(matches!(&error, LoadError::Header { fault, .. } if *fault == expected));
    let message = error.to_string();
    let sizes = format!("download incomplete: {found} of {needed} bytes: download it again");
    assert!(
        message.ends_with(&format!("a\\u{{1b}}b.safetensors: {sizes}")),
        "{message}"
    );
}

#[test]
fn a_header_longer_than_the_first_read_is_read_whole() {
    let dir = tempdir().unwrap();
    let mut file = transformer("");
    for i in 0..100 {
        file = file.bf16(
            &format!("transformer_blocks.{i}.attn.norm_q.weight"),
            &[1],
            &[1.0],
        );
    }
    let path = file.write(dir.path().join("x.safetensors"));
    assert_eq!(Checkpoint::open(&path).unwrap().entries().len(), 101);
}

#[test]
fn config_comes_from_the_metadata_before_config_json() {
    let dir = tempdir().unwrap();
    let path = transformer("")
        .metadata("config", r#"{"num_layers": 1}"#)
        .write(dir.path().join("diffusion_pytorch_model.safetensors"));
    write(dir.path().join("config.json"), r#"{"num_layers": 2}"#);
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    assert_eq!(weights.config().unwrap()["num_layers"], 1);
}

#[test]
fn config_json_counts_only_beside_files_of_standard_names() {
    let dir = tempdir().unwrap();
    write(dir.path().join("config.json"), r#"{"num_layers": 2}"#);
    let standard = transformer("").write(dir.path().join("diffusion_pytorch_model.safetensors"));
    let other = transformer("").write(dir.path().join("other.safetensors"));
    let config = |path| Checkpoint::open(path).unwrap().config().cloned();
    assert_eq!(config(&standard).unwrap()["num_layers"], 2);
    assert_eq!(config(&other), None);
}

#[test]
fn a_config_that_is_no_object() {
    let dir = tempdir().unwrap();
    for text in ["[1]", "{", "nonsense"] {
        let path = transformer("")
            .metadata("config", text)
            .write(dir.path().join("x.safetensors"));
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(matches!(error, LoadError::BadConfig { .. }), "{text}");
        assert!(error.to_string().contains("config in its metadata"));
    }
}

#[test]
fn keys_are_sanitised_in_messages() {
    let dir = tempdir().unwrap();
    let key = format!("evil\x1b[2J\n{}", "k".repeat(5000));
    let path = transformer("")
        .zeros(&key, loader::ElementType::U8, &[1])
        .write(dir.path().join("x.safetensors"));
    let message = Weights::open(&path, Component::Transformer)
        .unwrap_err()
        .to_string();
    assert!(!message.contains(['\x1b', '\n']));
    assert!(message.contains("evil\\u{1b}[2J\\n"), "{message}");
    assert!(message.len() < 600, "{}", message.len());
}

#[test]
fn a_file_without_tensors() {
    let dir = tempdir().unwrap();
    let path = Writer::default().write(dir.path().join("x.safetensors"));
    let message = Weights::open_any(&path).unwrap_err().to_string();
    assert!(message.contains("it holds no tensors"), "{message}");
}
