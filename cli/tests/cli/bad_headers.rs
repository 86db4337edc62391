//! Files that are no whole safetensors file: exit 3, one line, nothing written.

use std::fs;

use serde_json::{Value, json};

use crate::safetensors_file::{File, write_raw};
use crate::support::Place;

/// Puts `bytes` where the transformer was and tries to use it.
#[track_caller]
fn refuses_bytes(bytes: &[u8], parts: &[&str]) {
    let place = Place::new();
    fs::write(place.path("bad.safetensors"), bytes).unwrap();
    let parts: Vec<&str> = ["bad.safetensors"].iter().chain(parts).copied().collect();
    place.refuses(&["--transformer", "bad.safetensors"], &parts);
}

/// The same with this header over `data` bytes of data.
#[track_caller]
fn refuses_header(header: &str, data: usize, parts: &[&str]) {
    let place = Place::new();
    write_raw(&place.path("bad.safetensors"), header, &vec![0; data]);
    place.refuses(&["--transformer", "bad.safetensors"], parts);
}

fn entry(dtype: &str, shape: &[u64], offsets: [u64; 2]) -> Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": offsets})
}

#[test]
fn a_missing_file() {
    let place = Place::new();
    for flag in ["--transformer", "--text-encoder", "--vae"] {
        place.refuses(
            &[flag, "not-there.safetensors"],
            &["not-there.safetensors", "no such"],
        );
    }
    place.refuses(&["--models", "not-there"], &["not-there"]);
}

#[test]
fn a_folder_without_a_checkpoint() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.refuses(&["--transformer", "empty"], &["empty", "safetensors"]);
    place.refuses(&["--models", "empty"], &["empty"]);
}

#[test]
fn an_empty_file() {
    refuses_bytes(b"", &["empty"]);
}

#[test]
fn a_truncated_file_says_how_much_is_there() {
    let whole = fs::read(Place::new().transformer()).unwrap();
    let total = whole.len();
    for kept in [total - 1, total / 2] {
        let told = format!("{kept} of {total} bytes");
        refuses_bytes(&whole[..kept], &["download incomplete", &told]);
    }
    for kept in [5, 8, 100] {
        refuses_bytes(&whole[..kept], &["download incomplete"]);
    }
}

#[test]
fn a_git_lfs_pointer() {
    refuses_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 20430635136\n",
        &["git-lfs pointer"],
    );
}

#[test]
fn a_web_page() {
    refuses_bytes(
        b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>",
        &["web page"],
    );
    refuses_bytes(b"<html>\n<body>404 Not Found</body></html>", &["web page"]);
}

#[test]
fn a_header_length_that_cannot_be() {
    refuses_bytes(&[&u64::MAX.to_le_bytes()[..], b"{}"].concat(), &["header"]);
    refuses_bytes(
        &[&200_000_000_u64.to_le_bytes()[..], &[b' '; 64]].concat(),
        &["header"],
    );
    refuses_bytes(
        &[&5000_u64.to_le_bytes()[..], b"{\"a\":"].concat(),
        &["incomplete"],
    );
}

#[test]
fn a_header_that_is_not_json() {
    refuses_header("{\"a\": ", 0, &["header"]);
    refuses_header("[1, 2, 3]", 0, &["header"]);
    refuses_header("{\"a\": 5}", 0, &["header"]);
    refuses_bytes(
        &[&4_u64.to_le_bytes()[..], &[0xff, 0xfe, 0xfd, 0xfc]].concat(),
        &["header"],
    );
}

#[test]
fn offsets_that_overlap_or_leave_gaps() {
    let (a, b) = (entry("F32", &[2], [0, 8]), entry("F32", &[2], [4, 12]));
    refuses_header(&json!({"a": a, "b": b}).to_string(), 12, &["overlap"]);
    let (a, b) = (entry("F32", &[2], [0, 8]), entry("F32", &[2], [12, 20]));
    refuses_header(&json!({"a": a, "b": b}).to_string(), 20, &["unused bytes"]);
    let a = entry("F32", &[2], [8, 0]);
    refuses_header(&json!({"a": a}).to_string(), 8, &["`a`"]);
    let a = entry("F32", &[2], [0, 8]);
    refuses_header(&json!({"a": a}).to_string(), 12, &["damaged file"]);
}

#[test]
fn shapes_that_overflow_or_do_not_fill_their_span() {
    let a = entry("F32", &[1 << 40, 1 << 40], [0, 8]);
    refuses_header(&json!({"a": a}).to_string(), 8, &["overflow"]);
    let a = entry("BF16", &[2], [0, 8]);
    refuses_header(&json!({"a": a}).to_string(), 8, &["needs 4 bytes"]);
}

#[test]
fn a_duplicate_key() {
    let a = entry("F32", &[1], [0, 4]);
    let b = entry("F32", &[1], [4, 8]);
    refuses_header(&format!("{{\"a\": {a}, \"a\": {b}}}"), 8, &["`a`", "twice"]);
}

#[test]
fn an_unknown_dtype() {
    let a = entry("F7_X", &[1], [0, 4]);
    refuses_header(&json!({"a": a}).to_string(), 4, &["F7_X"]);
}

#[test]
fn names_from_a_file_cannot_command_the_terminal() {
    let mut file = File::read(&Place::new().transformer());
    file.tensors[0].key = "evil\u{1b}[2J\nname".to_owned();
    let place = Place::new();
    file.write(&place.path("bad.safetensors"));
    let run = place
        .generate(&["-q", "--transformer", "bad.safetensors"])
        .expect(3);
    assert!(run.stderr.contains("evil"), "{}", run.stderr);
    assert!(!run.stderr.contains('\u{1b}') && run.stderr.lines().count() == 1);
}
