//! Ctrl-C.
#![cfg(unix)]

use crate::hold::Held;
use crate::support::{Place, program};

#[test]
fn ctrl_c_ends_within_a_step_and_leaves_nothing() {
    let place = Place::new();
    let mut generate = place.command();
    generate.args(["--steps=4", "--verbose", "--output=out/x.png"]);
    generate.args(["--trace=out/t.safetensors", "--report=out/r.json"]);
    let mut held = Held::at("step", 2, &generate);
    held.interrupt();
    let ended = held.release();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
    // Each step is told; the third was not begun.
    assert!(ended.stderr.contains("2/4"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("3/4"), "{}", ended.stderr);
    assert_eq!(place.written(), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_while_a_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::reading::sparse_transformer(&folder);
    let mut inspect = program();
    inspect.args(["inspect", "--read"]).arg(&path);
    let mut held = Held::at("read", 2, &inspect);
    held.interrupt();
    let ended = held.release();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("Reading"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}
