//! Shards and their index.

use std::path::PathBuf;

use loader::checkpoint::IndexError;
use loader::{Checkpoint, Component, ElementType, LoadError, Summary, Weights};
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::writer::{Writer, transformer, write};

/// Two shards, `a` with the detection key and `b` with one more tensor, and an index of this
/// `weight_map`.
fn shards(weight_map: &str) -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    transformer("").write(dir.path().join("a.safetensors"));
    Writer::default()
        .zeros("img_in.bias", ElementType::BF16, &[4])
        .write(dir.path().join("b.safetensors"));
    let index = format!(r#"{{"metadata": {{"total_size": 16}}, "weight_map": {weight_map}}}"#);
    let path = write(dir.path().join("x.safetensors.index.json"), index);
    (dir, path)
}

fn fault(weight_map: &str) -> IndexError {
    let (_dir, path) = shards(weight_map);
    index_fault(Checkpoint::open(&path).unwrap_err())
}

fn index_fault(error: LoadError) -> IndexError {
    match error {
        LoadError::Index { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

const GOOD: &str = r#"{"txt_norm.weight": "a.safetensors", "img_in.bias": "b.safetensors"}"#;

#[test]
fn sound_shards_are_one_checkpoint() {
    let (dir, path) = shards(GOOD);
    write(dir.path().join("config.json"), r#"{"num_layers": 2}"#);
    for path in [path.as_path(), dir.path()] {
        let weights = Weights::open(path, Component::Transformer).unwrap();
        assert_eq!(weights.checkpoint().files().len(), 2);
        assert_eq!(
            weights.names().collect::<Vec<_>>(),
            ["img_in.bias", "txt_norm.weight"]
        );
        assert_eq!(weights.config().unwrap()["num_layers"], 2);
        assert_eq!(Summary::of(&weights).bytes, 16);
    }
}

#[test]
fn not_an_index() {
    for text in [
        "[]",
        "{}",
        "{\"weight_map\": []}",
        "{\"weight_map\": {\"a\": 1}}",
        "no",
    ] {
        let dir = tempdir().unwrap();
        let path = write(dir.path().join("x.safetensors.index.json"), text);
        let fault = index_fault(Checkpoint::open(&path).unwrap_err());
        assert!(matches!(fault, IndexError::NotAnIndex { .. }), "{text}");
    }
}

#[test]
fn a_key_listed_twice() {
    let fault =
        fault(r#"{"txt_norm.weight": "a.safetensors", "txt_norm.weight": "b.safetensors"}"#);
    assert!(matches!(fault, IndexError::DuplicateKey { .. }));
}

#[test]
fn absolute_paths() {
    for shard in ["/etc/passwd", "\\\\server\\x", "C:\\x.safetensors", "c:x"] {
        let fault = fault(&json!({ "txt_norm.weight": shard }).to_string());
        assert!(matches!(fault, IndexError::AbsolutePath { .. }), "{shard}");
    }
}

#[test]
fn paths_that_leave_the_folder() {
    for shard in [
        "../a.safetensors",
        "x/../../a.safetensors",
        "..\\a",
        "x\\..\\a",
        "..",
    ] {
        let fault = fault(&json!({ "txt_norm.weight": shard }).to_string());
        assert!(matches!(fault, IndexError::LeavesFolder { .. }), "{shard}");
    }
}

#[test]
fn a_missing_shard() {
    let fault = fault(r#"{"txt_norm.weight": "c.safetensors"}"#);
    assert_eq!(
        fault.to_string(),
        "shard `c.safetensors` is missing: download it into the same folder"
    );
}

#[test]
fn a_shard_under_two_spellings() {
    let fault = fault(r#"{"txt_norm.weight": "a.safetensors", "img_in.bias": "./a.safetensors"}"#);
    assert!(matches!(fault, IndexError::SameShard { .. }));
}

#[cfg(unix)]
#[test]
fn a_shard_under_two_links() {
    let (dir, path) =
        shards(r#"{"txt_norm.weight": "a.safetensors", "img_in.bias": "link.safetensors"}"#);
    std::os::unix::fs::symlink("a.safetensors", dir.path().join("link.safetensors")).unwrap();
    let fault = index_fault(Checkpoint::open(&path).unwrap_err());
    assert!(matches!(fault, IndexError::SameShard { .. }));
}

#[test]
fn a_key_in_two_shards() {
    let (dir, path) = shards(GOOD);
    transformer("")
        .zeros("img_in.bias", ElementType::BF16, &[4])
        .write(dir.path().join("a.safetensors"));
    let fault = index_fault(Checkpoint::open(&path).unwrap_err());
    assert!(matches!(fault, IndexError::KeyInTwoShards { .. }));
}

#[test]
fn a_key_that_its_shard_lacks() {
    let fault = fault(
        r#"{"txt_norm.weight": "a.safetensors", "img_in.bias": "b.safetensors",
            "img_in.weight": "b.safetensors"}"#,
    );
    assert!(matches!(fault, IndexError::KeyNotInShard { .. }));
}

#[test]
fn a_key_in_another_shard() {
    let fault = fault(r#"{"txt_norm.weight": "b.safetensors", "img_in.bias": "a.safetensors"}"#);
    assert!(matches!(fault, IndexError::KeyInOtherShard { .. }));
}

#[test]
fn a_key_that_is_not_listed() {
    let (dir, path) = shards(GOOD);
    Writer::default()
        .zeros("img_in.bias", ElementType::BF16, &[4])
        .zeros("proj_out.bias", ElementType::BF16, &[4])
        .write(dir.path().join("b.safetensors"));
    let fault = index_fault(Checkpoint::open(&path).unwrap_err());
    assert!(matches!(fault, IndexError::KeyNotListed { .. }));
}

#[test]
fn a_damaged_shard_is_named() {
    let (dir, path) = shards(GOOD);
    write(dir.path().join("b.safetensors"), "");
    let message = Checkpoint::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("b.safetensors: the file is empty"),
        "{message}"
    );
}
