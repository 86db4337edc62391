//! The command line itself.

use crate::support::{Place, program};

fn run(args: &[&str]) -> crate::support::Run {
    program().args(args).output().unwrap().into()
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["help", "generate"],
        &["generate", "--help"],
        &["plan", "--help"],
        &["inspect", "--help"],
        &["devices", "--help"],
        &["--version"],
        &["generate", "--version"],
    ] {
        let run = run(args).expect(0);
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{args:?}");
    }
    assert!(
        run(&["--version"])
            .stdout
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn help_names_every_flag_that_scripts_use() {
    let help = run(&["generate", "--help"]).stdout;
    for flag in [
        "-p, --prompt",
        "-n, --negative-prompt",
        "--no-negative-prompt",
        "-W, --width",
        "-H, --height",
        "--steps",
        "--sampler",
        "--schedule",
        "--preset",
        "--cfg-scale",
        "-s, --seed",
        "-b, --batch-count",
        "-o, --output",
        "--models",
        "--transformer",
        "--text-encoder",
        "--vae",
        "--tokenizer",
        "--backend",
        "--device",
        "--dtype",
        "--vram-limit",
        "--text-encoder-on-cpu",
        "--vae-tiling",
        "--lora",
        "--lightning",
        "--dry-run",
        "--noise",
        "--trace",
        "--report",
        "--from",
        "--prompt-file",
        "--resume",
        "--quality",
        "--no-prompt-cache",
        "-q, --quiet",
        "-v, --verbose",
        "QWEN_IMAGE_MODELS",
        "QWEN_IMAGE_TOKENIZER",
        "QWEN_IMAGE_VRAM_LIMIT",
        "QWEN_IMAGE_CACHE",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}

#[test]
fn a_mistyped_command_line_is_exit_2() {
    for args in [
        &[][..],
        &["generat"],
        &["generate"],
        &["generate", "--models", "m"],
        &["generate", "-p", "x", "--no-such-flag"],
        &["generate", "-p", "x", "extra"],
        &["generate", "-p", "x", "--models", "m", "-q", "-v"],
        &[
            "generate",
            "-p",
            "x",
            "--models",
            "m",
            "-n",
            "y",
            "--no-negative-prompt",
        ],
        &["generate", "-p", "x", "--prompt-file", "p.txt"],
        &["generate", "--from", "x.png", "--prompt-file", "p.txt"],
        &["generate", "--prompt-file", "p.txt", "--noise", "n"],
        &["generate", "--prompt-file", "p.txt", "--trace", "t"],
        &["generate", "-p", "x", "--resume"],
        &["generate", "-p", "x", "--resume", "-s1", "--noise", "n"],
        &["inspect"],
        &["devices", "extra"],
    ] {
        let run = run(args).expect(2);
        assert!(run.stdout.is_empty(), "{args:?}: {}", run.stdout);
    }
}

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
fn a_tokenizer_without_models_says_how_to_name_them() {
    let run = run(&["generate", "-p", "x", "--tokenizer", "t"]);
    run.expect_error(2, &["--models", "QWEN_IMAGE_MODELS"]);
}

#[test]
fn trace_and_report_may_not_share_a_file() {
    let place = Place::new();
    for flags in [
        ["--trace", "out/a", "--report", "out/a"],
        ["--trace", "out/x.png", "--report", "out/r"],
        ["--trace", "out/t", "--report", "out/x.png"],
    ] {
        place.generate(&flags).expect(2);
    }
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn an_unavailable_backend_is_exit_5() {
    let place = Place::new();
    // None of the test machines has device 99.
    place
        .generate(&["-q", "--device", "99"])
        .expect_error(5, &["99"]);
    #[cfg(not(feature = "rocm"))]
    place
        .generate(&["-q", "--backend", "rocm"])
        .expect_error(5, &["rocm", "--features rocm"]);
}

#[test]
fn models_can_come_from_the_environment() {
    let place = Place::new();
    let mut command = program();
    command
        .args([
            "generate",
            "--backend=flex",
            "-p",
            "x",
            "--steps=2",
            "-W16",
            "-H16",
            "-o",
        ])
        .arg(place.path("out/x.png"))
        .env("QWEN_IMAGE_MODELS", place.path("models"));
    let run: crate::support::Run = command.output().unwrap().into();
    run.expect(0);
    assert_eq!(place.written(), ["x.png"]);
}
