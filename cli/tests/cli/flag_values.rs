//! Values of flags: which are refused, and how.

use crate::flags::run;
use crate::support::{Place, program};

#[test]
fn a_bad_value_is_one_line_that_names_the_flag() {
    let place = Place::new();
    for (flag, value) in [
        ("--width", "abc"),
        ("--width", "0"),
        ("--width", "-16"),
        ("--width", "9000"),
        ("--height", "1.5"),
        ("--height", "99999999999999999999"),
        ("--steps", "1"),
        ("--steps", "0"),
        ("--steps", "-1"),
        ("--steps", "1000000"),
        ("--cfg-scale", "nan"),
        ("--cfg-scale", "inf"),
        ("--cfg-scale", "-1"),
        ("--cfg-scale", "0"),
        ("--seed", "-1"),
        ("--seed", "18446744073709551616"),
        ("--batch-count", "0"),
        ("--batch-count", "-2"),
        ("--vram-limit", "0"),
        ("--vram-limit", "lots"),
        ("--vram-limit", "-1GB"),
        ("--stream", "on"),
        ("--ram-cache", "some"),
        ("--ram-cache", "-1GB"),
        ("--vae-tiling", "maybe"),
        ("--device", "-1"),
        ("--dtype", "f16"),
        ("--backend", "abacus"),
        ("--output", "x.gif"),
        ("--quality", "0"),
        ("--quality", "101"),
        ("--quality", "high"),
        ("--output", "%d-%d.png"),
    ] {
        let mut command = program();
        command
            .args(["generate", "-q", "-p", "x", "--models"])
            .arg(place.path("models"));
        // `=`, since a value with a dash would be taken for a flag.
        command.arg(format!("{flag}={value}"));
        let run: crate::support::Run = command.output().unwrap().into();
        run.expect_error(2, &[flag]);
    }
}

#[test]
fn numbers_that_are_none_are_told_with_their_flag() {
    for (args, flag) in [
        (&["generate", "-p", "x", "--device", "-1"][..], "--device"),
        (&["plan", "--device", "-1"], "--device"),
        (
            &["inspect", "x", "--read", "--backend=flex", "--device", "-1"],
            "--device",
        ),
        (
            &["make-fixture", "--real-shapes", "x", "--seed", "-1"],
            "--seed",
        ),
        (
            &["make-fixture", "--real-shapes", "x", "--seed", "one"],
            "--seed",
        ),
    ] {
        run(args).expect_error(2, &[flag, "whole number from 0"]);
    }
}

#[test]
fn a_value_that_is_none_says_what_is_wanted() {
    for (flag, value, wanted) in [
        ("--width", "abc", "a whole number from 16 to 8192 pixels"),
        ("--width", "", "a whole number from 16 to 8192 pixels"),
        ("--width", "99999999999999999999", "from 16 to 8192 pixels"),
        ("--height", "512px", "tip: here it is '512'"),
        (
            "-W",
            "512x768",
            "tip: here it is '--width 512 --height 768'",
        ),
        ("--steps", "20.5", "a whole number from 1 to 1000"),
        (
            "--cfg-scale",
            "4,5",
            "a number from 1 to 100, as 4 or 2.5; tip: here it is '4.5'",
        ),
        (
            "--seed",
            "random",
            "18446744073709551615; tip: leave it out for a random one",
        ),
        (
            "--seed",
            "9999999999999999999999999999999999999999",
            "from 0 to 18446744073709551615",
        ),
        ("--batch-count", "many", "a whole number from 1 to 1000"),
        ("--quality", "high", "a whole number from 1 to 100"),
        (
            "--strength",
            "60%",
            "above 0 and at most 1, as 0.6; tip: here it is '0.6'",
        ),
        ("--preview", "often", "a whole number from 1 to 1000"),
        (
            "--device",
            "cuda:1",
            "tip: here it is '--backend cuda --device 1'",
        ),
        ("--vram-limit", "24", "tip: write 24GB"),
        ("--vram-limit", "24576", "tip: write 24576MiB"),
        (
            "--sampler",
            "dpm++2m",
            "dpmpp2m, unipc]; tip: here it is 'dpmpp2m'",
        ),
        ("--schedule", "karras", "here it is 'dynamic-karras'"),
        ("--dtype", "fp16", "tip: here it is 'bf16'"),
        ("--backend", "mps", "tip: here it is 'metal'"),
    ] {
        for command in ["generate", "plan"] {
            let run = run(&[command, "x", "-q", flag, value]).expect(2);
            for raw in [
                "invalid digit",
                "invalid float",
                "too large to fit",
                "empty string",
                "provided string",
            ] {
                assert!(!run.stderr.contains(raw), "{}", run.stderr);
            }
            run.expect_error(2, &[wanted]);
        }
    }
    run(&["plan", "--vram-total=24"]).expect_error(2, &["bytes", "tip: write 24GB"]);
    let mut command = program();
    command
        .args(["plan", "--demo"])
        .env("QWEN_IMAGE_VRAM_LIMIT", "24");
    let limited: crate::support::Run = command.output().unwrap().into();
    limited.expect_error(2, &["QWEN_IMAGE_VRAM_LIMIT is '24'", "tip: write 24GB"]);
}

#[test]
fn names_of_values_are_read_in_any_case() {
    let flags = [
        "--dry-run",
        "--demo",
        "--backend=FLEX",
        "--sampler=Heun",
        "--schedule=Simple",
    ];
    run(&[&["generate", "x"], &flags[..]].concat()).expect(0);
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_told_with_its_flag() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let refused = |command: &str, args: &[&[u8]]| -> crate::support::Run {
        let mut program = program();
        program.arg(command);
        program.args(args.iter().map(|bytes| OsStr::from_bytes(bytes)));
        program.output().unwrap().into()
    };
    for args in [
        &[&b"-p"[..], b"a\xff"][..],
        &[b"-pa\xff"],
        &[b"--prompt=a\xff"],
        // A path may be any bytes.
        &[b"--models", b"m\xff", b"--lora", b"l\xff", b"-p", b"a\xff"],
    ] {
        refused("generate", args).expect_error(2, &["--prompt", "UTF-8"]);
    }
    refused("plan", &[b"--dtype", b"\xff"]).expect_error(2, &["--dtype"]);
    // No flag's.
    assert_eq!(refused("completions", &[b"\xff"]).code, 2);
}
