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
        "--stream",
        "--ram-cache",
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

#[test]
fn a_command_line_without_a_command_is_told_where_its_flags_belong() {
    for (args, tip) in [
        (
            &["--prompt", "a fox"][..],
            "'qwen-image generate --prompt \"a fox\"'",
        ),
        (&["a red circle"], "qwen-image generate \"a red circle\""),
        (
            &["generate", "--size", "512x512", "-px"],
            "'--width 512 --height 512'",
        ),
    ] {
        let run = run(args).expect(2);
        assert!(run.stderr.contains("tip: "), "{}", run.stderr);
        assert!(run.stderr.contains(tip), "{}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_quality_that_has_no_effect_is_told() {
    let place = Place::new();
    let told = |more: &[&str]| {
        let mut command = place.command();
        let run: crate::support::Run = command.arg("--dry-run").args(more).output().unwrap().into();
        run.expect(0).stderr.contains("--quality has no effect")
    };
    assert!(told(&["--quality=80"]));
    assert!(told(&["--quality=80", "-oout/x.webp"]));
    assert!(!told(&["--quality=80", "-oout/x.jpg"]));
    assert!(!told(&[]));
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

#[cfg(target_os = "linux")]
#[test]
fn help_that_cannot_be_written_is_a_failure() {
    for args in [&["--help"][..], &["--version"], &["generate", "--help"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = program().args(args).stdout(full.unwrap()).output();
        let run = crate::support::Run::from(output.unwrap());
        run.expect_error(1, &["stdout"]);
    }
}

#[test]
fn models_that_are_missing_are_counted() {
    let generate = [
        "generate",
        "-p",
        "x",
        "--backend=flex",
        "--transformer",
        "t",
    ];
    let missing = "--text-encoder and --vae are missing: give them";
    run(&generate).expect_error(2, &[missing]);
    let more = [&generate[..], &["--text-encoder", "e"]].concat();
    run(&more).expect_error(2, &["--vae is missing: give it"]);
}

#[test]
fn help_says_what_is_done() {
    let words = |args: &[&str]| -> String {
        let help = run(args).expect(0).stdout;
        help.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let help = words(&["generate", "--help"]);
    for side in ["Width", "Height"] {
        let said = format!("{side} in pixels, rounded down to a multiple of 16");
        assert!(help.contains(&said), "{help}");
    }
    assert!(words(&["make-fixture", "--help"]).contains("Only this model, and the tokenizer"));
}
