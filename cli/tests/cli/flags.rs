//! The command line itself.

use crate::support::{Place, program};

pub(crate) fn run(args: &[&str]) -> crate::support::Run {
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
