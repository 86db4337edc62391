//! `--stream` and `--ram-cache`: blocks that do not fit are read anew in each step. On the
//! processor weights that are read are streamed where host memory is short.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Run, program};

/// `generate` of a small image of the demo model, with so much host memory.
fn draw(folder: &TempDir, host_memory: Option<&str>, more: &[&str]) -> Run {
    let mut command = program();
    command.current_dir(folder.path());
    if let Some(bytes) = host_memory {
        command.env("QWEN_IMAGE_TEST_HOST_MEMORY", bytes);
    }
    command
        .args(["generate", "--demo", "--backend=flex", "--no-mmap"])
        .args(["-W64", "-H64", "--steps=2", "--seed=3"]);
    command.args(more).output().unwrap().into()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_streamed_image_is_that_of_a_model_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| fs::read(folder.path().join(name)).unwrap();
    draw(&folder, None, &["a red circle", "-owhole.png"]).expect(0);
    let flags = ["a red circle", "-ostreamed.png", "-v", "--report=r.json"];
    let run = draw(&folder, Some("1MB"), &flags).expect(0);
    assert!(file("whole.png") == file("streamed.png"), "another image");
    // What is streamed is told beforehand, and with -v what came of it.
    let told = "Of the transformer's 7 blocks 0 stay in memory, and 7 are read in each step";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert!(
        run.stderr.contains("Streamed the transformer: "),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains(" in 2 passes, "), "{}", run.stderr);
    let report = json(&folder.path().join("r.json"));
    let phases = report["phases"].as_array().unwrap();
    let streamed = |name: &str| {
        let phase = phases.iter().find(|phase| phase["name"] == name);
        phase.unwrap()["streamed"].clone()
    };
    let denoise = streamed("denoise");
    assert_eq!(
        (&denoise["passes"], &denoise["streamed_blocks"]),
        (&2.into(), &7.into())
    );
    assert!(
        denoise["stall_seconds"].as_f64().unwrap() > 0.0,
        "{denoise}"
    );
    // Where not even this fits, the prompt and the negative prompt are encoded one at a time.
    assert_eq!(streamed("encode")["passes"], 2);
    assert!(streamed("decode").is_null());
}

#[test]
fn the_prompts_of_a_file_are_streamed_alike() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.txt"), "a red circle\na blue square\n").unwrap();
    let images = |memory, pattern: &str| {
        let flags = ["--prompt-file=p.txt", &format!("-o{pattern}-%d.png")];
        draw(&folder, memory, &flags).expect(0);
        [1, 2].map(|n| fs::read(folder.path().join(format!("{pattern}-{n}.png"))).unwrap())
    };
    assert!(
        images(None, "whole") == images(Some("1MB"), "streamed"),
        "other images"
    );
}

#[test]
fn nothing_is_streamed_where_it_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["a red circle", "--stream=off", "--report=r.json", "-ox.png"];
    let run = draw(&folder, Some("1MB"), &flags).expect(0);
    assert!(!run.stderr.contains("in each step"), "{}", run.stderr);
    for phase in json(&folder.path().join("r.json"))["phases"]
        .as_array()
        .unwrap()
    {
        assert!(phase["streamed"].is_null(), "{phase}");
    }
    let both = ["a red circle", "--stream=off", "--ram-cache=1GB", "-oy.png"];
    let run = draw(&folder, None, &both).expect(0);
    assert!(
        run.stderr.contains("--ram-cache has no effect"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_ram_cache_may_come_from_the_environment() {
    let plan = |variable: &str, flags: &[&str]| -> Run {
        let mut command = program();
        command
            .args(["plan", "--demo", "--vram-total=8GB"])
            .args(flags);
        command
            .env("QWEN_IMAGE_RAM_CACHE", variable)
            .output()
            .unwrap()
            .into()
    };
    let size = |variable: &str, flags: &[&str]| {
        let run = plan(variable, &[flags, &["--json"]].concat()).expect(0);
        let plan: Value = serde_json::from_str(&run.stdout).unwrap();
        plan["setting"]["ram_cache"].clone()
    };
    assert_eq!(size("", &[]), 0);
    assert_eq!(size("5GB", &[]), 5_000_000_000_u64);
    assert_eq!(size("5GB", &["--ram-cache=1GiB"]), 1 << 30);
    assert_eq!(size("5GB", &["--ram-cache=0"]), 0);
    plan("some", &[]).expect_error(2, &["QWEN_IMAGE_RAM_CACHE", "some", "12GB"]);
}
