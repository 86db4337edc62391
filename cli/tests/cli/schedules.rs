//! `--schedule`: noise levels, and what they need of the steps.

use std::fs;
use std::process::Command;

use crate::safetensors_file;
use crate::sampling::png;
use crate::support::{Place, Run, program};

#[test]
fn listed_levels_set_the_number_of_steps() {
    let place = Place::new();
    let list = ["--schedule", "sigmas=1,0.7,0.25"];
    let mut command: Command = program();
    command
        .current_dir(place.path("."))
        .args(["generate", "--models", "models", "--backend", "flex"])
        .args(["-p", "x", "-W", "48", "-H", "32", "-o", "out/x.png"])
        .args(["--trace", "out/t.safetensors"])
        .args(list);
    Run::from(command.output().unwrap()).expect(0);
    let trace = safetensors_file::File::read(&place.path("out/t.safetensors"));
    assert_eq!(trace.get("sigmas").f32s(), [1.0, 0.7, 0.25, 0.0]);
    let (_, text) = png(&place.path("out/x.png"));
    assert!(text.contains("Steps: 3, "), "{text}");
    assert!(text.contains("Sigmas: \"1,0.7,0.25\", "), "{text}");
    fs::remove_file(place.path("out/x.png")).unwrap();
    fs::remove_file(place.path("out/t.safetensors")).unwrap();

    place
        .generate(&[&list[..], &["--steps", "3"]].concat())
        .expect(0);
    fs::remove_file(place.path("out/x.png")).unwrap();
    // The command names two steps.
    place
        .generate(&list)
        .expect_error(2, &["--steps 2", "3 noise levels", "--schedule"]);
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn one_step_is_enough_without_a_stretch() {
    let place = Place::new();
    for sampler in ["euler", "heun", "dpmpp2m", "unipc"] {
        for schedule in ["shift=3.1", "simple", "beta", "sigmas=1"] {
            let flags = ["--steps", "1", "--sampler", sampler, "--schedule", schedule];
            place
                .generate(&[&flags[..], &["--trace", "out/t.safetensors"]].concat())
                .expect(0);
            let trace = safetensors_file::File::read(&place.path("out/t.safetensors"));
            assert_eq!(trace.get("sigmas").f32s(), [1.0, 0.0], "{schedule}");
        }
    }
    for schedule in ["dynamic", "dynamic-beta"] {
        place
            .generate(&["--steps", "1", "--schedule", schedule])
            .expect_error(2, &["--steps", "at least 2", "--schedule simple"]);
    }
}

#[test]
fn a_schedule_that_cannot_be_made_is_one_line() {
    let place = Place::new();
    place
        .generate(&["--steps", "20", "--schedule", "shift=1e9"])
        .expect_error(2, &["--schedule shift=1000000000", "meet"]);
    for (flag, value, part) in [
        ("--sampler", "lms", "euler, heun, dpmpp2m, unipc"),
        ("--preset", "forge", "diffusers, comfyui"),
        ("--schedule", "karras", "dynamic-beta"),
        ("--schedule", "shift=0", "above 0"),
        ("--schedule", "simple=", "above 0"),
        ("--schedule", "sigmas=1,half", "'half'"),
        ("--schedule", "sigmas=0.5,0.7", "must fall"),
        ("--schedule", "sigmas=2,1", "from 0 to 1"),
    ] {
        place
            .generate(&[flag, value])
            .expect_error(2, &[flag, part]);
    }
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn levels_met_twice_are_told_of() {
    let place = Place::new();
    let flags = [
        "--steps",
        "150",
        "--schedule",
        "beta",
        "--no-negative-prompt",
    ];
    let run = place.generate(&flags).expect(0);
    let told = "--schedule beta=3.1 has 149 different noise levels for 150 steps";
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

#[test]
fn lines_of_a_prompt_file_keep_to_the_schedule_and_the_preset() {
    let place = Place::new();
    let run = |lines: &str, more: &[&str]| {
        fs::write(place.path("p.jsonl"), lines).unwrap();
        let mut command = program();
        command
            .current_dir(place.path("."))
            .args(["generate", "--models", "models", "--backend", "flex", "-q"])
            .args([
                "-W",
                "48",
                "-H",
                "32",
                "--prompt-file",
                "p.jsonl",
                "--output",
                "out",
            ])
            .args(more);
        Run::from(command.output().unwrap())
    };
    let line = "{\"prompt\": \"a\", \"steps\": 1, \"cfg_scale\": 0.5}";
    run(line, &["--preset", "comfyui"]).expect(0);
    run("{\"prompt\": \"a\", \"steps\": 1}", &[])
        .expect_error(2, &["p.jsonl:1: ", "`steps` must be at least 2"]);
    run(
        "{\"prompt\": \"a\", \"steps\": 4}",
        &["--schedule", "sigmas=1,0.5"],
    )
    .expect_error(2, &["p.jsonl:1: ", "`steps` 4", "2 noise levels"]);
    run("{\"prompt\": \"a\", \"cfg_scale\": 0.5}", &[])
        .expect_error(2, &["p.jsonl:1: ", "`cfg_scale` must be a number from 1"]);
}

#[test]
fn levels_that_meet_are_told_with_the_size() {
    let place = Place::new();
    let run = place.generate(&["--schedule", "shift=100000000", "--steps", "20"]);
    run.expect_error(2, &["--schedule", "48x32", "20 steps", "meet"]);
    let run = place.generate(&["--schedule", "sigmas=0.5,0.75"]);
    run.expect_error(2, &["sigmas", "must fall"]);
}
