//! Tokenizers that are missing, broken, or of another model.

use std::fs;

use serde_json::{Map, Value};

use crate::support::Place;

#[test]
fn a_missing_tokenizer_names_the_files_and_where_they_come_from() {
    let place = Place::new();
    fs::rename(place.path("models/tokenizer"), place.path("elsewhere")).unwrap();
    place.refuses(
        &[],
        &[
            "vocab.json",
            "merges.txt",
            "tokenizer_config.json",
            "Qwen/Qwen-Image",
            "--tokenizer",
        ],
    );
    place.generate(&["--tokenizer", "elsewhere"]).expect(0);

    // The environment, too, and beside the text encoder.
    let mut command = place.command();
    command
        .args(["-o", "out/y.png"])
        .env("QWEN_IMAGE_TOKENIZER", place.path("elsewhere"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let target = place.path("models/text_encoders").join(name);
        fs::copy(place.path("elsewhere").join(name), target).unwrap();
    }
    place.generate(&[]).expect(0);
}

#[test]
fn a_tokenizer_path_that_holds_none() {
    let place = Place::new();
    place.refuses(&["--tokenizer", "nowhere"], &["nowhere"]);
    place.refuses(&["--tokenizer", "out"], &["out", "vocab.json"]);
}

#[test]
fn broken_tokenizer_files() {
    for (name, text) in [
        ("vocab.json", "{"),
        ("vocab.json", "[]"),
        ("tokenizer_config.json", "{"),
    ] {
        let place = Place::new();
        fs::write(place.path("models/tokenizer").join(name), text).unwrap();
        place.refuses(&[], &["tokenizer"]);
    }
    // A part of the merges would make other tokens of the same text.
    let place = Place::new();
    let merges = place.path("models/tokenizer/merges.txt");
    let whole = fs::read_to_string(&merges).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for kept in [0, 1, 100, lines.len() - 1] {
        fs::write(&merges, lines[..kept].join("\n")).unwrap();
        place.refuses(&[], &["merges.txt", "cannot be made"]);
    }
    for name in ["vocab.json", "merges.txt"] {
        let place = Place::new();
        fs::remove_file(place.path("models/tokenizer").join(name)).unwrap();
        place.refuses(&[], &[name]);
    }
}

#[test]
fn a_tokenizer_of_a_larger_vocabulary_than_the_embedding() {
    let place = Place::new();
    let path = place.path("models/tokenizer/vocab.json");
    let mut vocab: Map<String, Value> =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    // As if a single letter came from the real vocabulary's far end.
    vocab.insert("a".to_owned(), 150_000.into());
    fs::write(&path, Value::Object(vocab).to_string()).unwrap();
    place.refuses(&[], &["tokenizer", "embedding"]);
}

#[test]
fn an_empty_variable_is_not_a_path() {
    let place = Place::new();
    let mut command = place.command();
    command
        .args(["-oout/x.png"])
        .env("QWEN_IMAGE_TOKENIZER", "");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}
