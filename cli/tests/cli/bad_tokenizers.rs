//! Tokenizers that are missing, broken, or of another model.

use std::fs;

use serde_json::{Map, Value, json};

use crate::safetensors_file::File;
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

/// The place's tokenizer as one file.
fn single(place: &Place) -> Value {
    let text = |name: &str| fs::read_to_string(place.path("models/tokenizer").join(name)).unwrap();
    let config: Value = serde_json::from_str(&text("tokenizer_config.json")).unwrap();
    let added = config["added_tokens_decoder"].as_object().unwrap();
    let added = added.iter().map(|(id, token)| {
        let mut token = token.clone();
        token["id"] = id.parse::<u32>().unwrap().into();
        token
    });
    let merges = text("merges.txt");
    let merges = merges.lines().filter(|line| !line.starts_with("#version"));
    let split = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|\
                 \u{20}?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false
    });
    let split = json!({
        "type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": false
    });
    json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes]},
        "post_processor": null,
        "decoder": bytes,
        "model": {
            "type": "BPE",
            "vocab": serde_json::from_str::<Value>(&text("vocab.json")).unwrap(),
            "merges": merges.collect::<Vec<_>>(),
        },
    })
}

fn ids(place: &Place, flags: &[&str]) -> Vec<u8> {
    let trace = [
        "--trace",
        "out/t.safetensors",
        "--prompt",
        "A red fox, 狐狸 it's",
    ];
    place.generate(&[&trace[..], flags].concat()).expect(0);
    let trace = File::read(&place.path("out/t.safetensors"));
    trace.get("input_ids").bytes.clone()
}

#[test]
fn a_tokenizer_json_that_lacks_a_part_says_what_is_needed() {
    let place = Place::new();
    let expected = ids(&place, &[]);
    let file = place.path("tokenizer.json");
    let flags = ["--tokenizer", "tokenizer.json"];
    let whole = single(&place);
    fs::write(&file, whole.to_string()).unwrap();
    assert_eq!(ids(&place, &flags), expected);
    fs::remove_dir_all(place.path("out")).unwrap();
    fs::create_dir(place.path("out")).unwrap();

    let without = |change: &dyn Fn(&mut Value)| {
        let mut broken = whole.clone();
        change(&mut broken);
        broken.to_string()
    };
    let merges = |broken: &mut Value| {
        broken["model"].as_object_mut().unwrap().remove("merges");
    };
    for (text, part) in [
        (without(&merges), "has no merges"),
        (
            without(&|broken| broken["model"]["merges"] = json!([])),
            "has no merges",
        ),
        (
            without(&|broken| {
                broken["model"]["merges"].as_array_mut().unwrap().pop();
            }),
            "cannot be made",
        ),
        (
            without(&|broken| broken["pre_tokenizer"] = Value::Null),
            "pre_tokenizer",
        ),
        (
            without(&|broken| broken["model"]["type"] = "WordLevel".into()),
            "WordLevel",
        ),
    ] {
        fs::write(&file, text).unwrap();
        place.refuses(
            &flags,
            &["tokenizer.json", part, "merges.txt", "Qwen/Qwen-Image"],
        );
    }
}

#[test]
fn special_tokens_are_also_read_from_added_tokens_json() {
    let place = Place::new();
    let expected = ids(&place, &[]);
    let folder = place.path("models/tokenizer");
    let path = folder.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let added = config["added_tokens_decoder"].as_object().unwrap();
    let older: Map<String, Value> = added
        .iter()
        .map(|(id, token)| {
            let content = token["content"].as_str().unwrap();
            (content.to_owned(), id.parse::<u32>().unwrap().into())
        })
        .collect();
    let older = Value::Object(older);
    config
        .as_object_mut()
        .unwrap()
        .remove("added_tokens_decoder");
    fs::write(&path, config.to_string()).unwrap();
    fs::write(folder.join("added_tokens.json"), older.to_string()).unwrap();
    assert_eq!(ids(&place, &[]), expected);
    fs::remove_file(&path).unwrap();
    assert_eq!(ids(&place, &[]), expected);
    // Beside a tokenizer.json without them.
    let place = Place::new();
    let mut whole = single(&place);
    whole["added_tokens"] = json!([]);
    fs::write(place.path("tokenizer.json"), whole.to_string()).unwrap();
    fs::write(place.path("added_tokens.json"), older.to_string()).unwrap();
    assert_eq!(ids(&place, &["--tokenizer", "tokenizer.json"]), expected);
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
