use std::path::Path;

use clap::Parser;

use super::super::{Cli, Command, Environment};
use super::{GenerateConfig, PromptSource, Verbosity};
use crate::error::CliError;

fn resolve(flags: &[&str]) -> Result<GenerateConfig, CliError> {
    let line = ["qwen-image", "generate", "--models", "m", "-p", "a cat"];
    let cli = Cli::try_parse_from(line.iter().chain(flags)).unwrap();
    let Command::Generate(args) = cli.command else {
        panic!("parsed as another command")
    };
    GenerateConfig::resolve(*args, Environment(&|_| None))
}

fn refusal(flags: &[&str]) -> String {
    match resolve(flags) {
        Err(CliError::Usage(message)) => message,
        other => panic!("{flags:?} gave {other:?}"),
    }
}

fn negative_prompt(config: &GenerateConfig) -> Option<String> {
    config.negative_prompt.at(config.cfg_scale, None)
}

#[test]
fn defaults_are_the_model_cards() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.steps, None);
    assert_eq!(config.cfg_scale, 4.0);
    assert_eq!(negative_prompt(&config).as_deref(), Some(" "));
    assert_eq!(config.count, 1);
    assert_eq!(config.seed, None);
    assert_eq!(config.verbosity, Verbosity::Normal);
    assert!(config.notices.is_empty());
}

#[test]
fn guidance_is_off_without_a_negative_prompt_or_at_scale_one() {
    assert_eq!(
        negative_prompt(&resolve(&["--no-negative-prompt"]).unwrap()),
        None
    );
    assert_eq!(
        negative_prompt(&resolve(&["--cfg-scale", "1"]).unwrap()),
        None
    );
    let both = resolve(&["--cfg-scale", "1.0", "-n", "blur"]).unwrap();
    assert_eq!(negative_prompt(&both), None);
    assert_eq!(both.notices.len(), 1);
    let empty = resolve(&["-n", ""]).unwrap();
    assert_eq!(negative_prompt(&empty).as_deref(), Some(""));
}

#[test]
fn sides_are_rounded_down_with_a_notice() {
    let config = resolve(&["-W", "1000", "-H", "512"]).unwrap();
    assert_eq!(
        (config.size.width, config.size.height),
        (Some(992), Some(512))
    );
    assert_eq!(
        config.notices,
        ["width 1000 is not a multiple of 16; using 992"]
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    for flags in [
        ["--width", "0"],
        ["--width", "15"],
        ["--height", "-16"],
        ["--height", "8193"],
        ["--steps", "0"],
        ["--steps", "1"],
        ["--steps", "-3"],
        ["--steps", "100000"],
        ["--cfg-scale", "nan"],
        ["--cfg-scale", "inf"],
        ["--cfg-scale", "0"],
        ["--cfg-scale", "-4"],
        ["--cfg-scale", "0.5"],
        ["--batch-count", "0"],
        ["--batch-count", "-1"],
        ["--quality", "0"],
        ["--quality", "101"],
        ["--quality", "-1"],
        ["--seed", "-1"],
        ["--seed", "18446744073709551616"],
    ] {
        let message = refusal(&flags);
        assert!(message.starts_with(flags[0]), "{flags:?}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    assert!(refusal(&["--steps", "1"]).contains("at least 2"));
}

#[test]
fn seeds_have_64_bits() {
    let config = resolve(&["--seed", "18446744073709551615"]).unwrap();
    assert_eq!(config.seed, Some(u64::MAX));
}

#[test]
fn trace_and_noise_are_for_one_image() {
    assert!(refusal(&["-b", "2", "--trace", "t"]).contains("--trace"));
    assert!(refusal(&["-b", "2", "--noise", "n"]).contains("--noise"));
    assert!(refusal(&["--trace", "x", "--report", "x"]).contains("same file"));
}

#[test]
fn a_prompt_may_start_with_a_dash() {
    assert_eq!(
        negative_prompt(&resolve(&["-n", "-blurry"]).unwrap()).as_deref(),
        Some("-blurry")
    );
}

#[test]
fn models_or_all_three_files_are_needed() {
    let parse = |flags: &[&str], variable: Option<&str>| {
        let line = ["qwen-image", "generate", "-p", "x"];
        let Command::Generate(args) = Cli::try_parse_from(line.iter().chain(flags))
            .unwrap()
            .command
        else {
            panic!("parsed as another command")
        };
        let environment = |name: &str| {
            variable
                .filter(|_| name == "QWEN_IMAGE_MODELS")
                .map(Into::into)
        };
        GenerateConfig::resolve(*args, Environment(&environment))
    };
    let files = ["--transformer", "t", "--text-encoder", "e", "--vae", "v"];
    assert!(parse(&files, None).is_ok());
    let error = parse(&files[..4], None).unwrap_err().to_string();
    assert!(error.starts_with("--vae is missing"), "{error}");
    let error = parse(&["--tokenizer", "t"], None).unwrap_err().to_string();
    assert!(error.contains("QWEN_IMAGE_MODELS"), "{error}");
    for nothing in [None, Some("")] {
        let config = parse(&[], nothing).unwrap();
        assert!(config.sources.is_demo());
        assert!(config.notices[0].contains("demo model"));
    }
    let config = parse(&[], Some("there")).unwrap();
    assert_eq!(config.sources.models.unwrap(), Path::new("there"));
    let config = parse(&["--models", "here"], Some("there")).unwrap();
    assert_eq!(config.sources.models.unwrap(), Path::new("here"));
}

#[test]
fn a_memory_limit_comes_from_the_flag_or_the_environment() {
    let resolve = |flags: &[&str], value: &'static str| {
        let line = ["qwen-image", "generate", "-p", "x"];
        let Command::Generate(args) = Cli::try_parse_from(line.iter().chain(flags))
            .unwrap()
            .command
        else {
            panic!("parsed as another command")
        };
        let environment =
            |name: &str| (name == "QWEN_IMAGE_VRAM_LIMIT").then(|| std::ffi::OsString::from(value));
        GenerateConfig::resolve(*args, Environment(&environment))
            .map(|config| config.compute.vram_limit)
    };
    assert_eq!(resolve(&[], "29GB").unwrap(), Some(29_000_000_000));
    assert_eq!(resolve(&[], "").unwrap(), None);
    let flag = ["--vram-limit", "1GiB"];
    assert_eq!(resolve(&flag, "29GB").unwrap(), Some(1 << 30));
    // A flag is all that counts where there is one.
    assert_eq!(resolve(&flag, "much").unwrap(), Some(1 << 30));
    let error = resolve(&[], "much").unwrap_err().to_string();
    assert!(
        error.starts_with("QWEN_IMAGE_VRAM_LIMIT is 'much'"),
        "{error}"
    );
}

#[test]
fn a_run_that_is_to_be_continued_has_a_seed() {
    assert!(refusal(&["--resume"]).contains("--seed"));
    let config = resolve(&["--resume", "--seed", "7"]).unwrap();
    assert!(config.resume && config.seed == Some(7));
    let line = ["qwen-image", "generate", "--models=m", "--prompt-file=p"];
    let Command::Generate(args) = Cli::try_parse_from(line).unwrap().command else {
        panic!("parsed as another command")
    };
    let config = GenerateConfig::resolve(*args, Environment(&|_| None)).unwrap();
    assert_eq!(config.prompt, PromptSource::File("p".into()));
    assert!(config.resume && config.seed == Some(0));
}

#[test]
fn a_prompt_of_its_own_has_its_own_negative_prompt() {
    let negative = |flags: &[&str]| resolve(flags).unwrap().negative_prompt;
    let own = || Some("own".to_owned());
    assert_eq!(negative(&[]).at(4.0, own()), own());
    assert_eq!(negative(&[]).at(1.0, own()), None);
    assert_eq!(negative(&["-n=all"]).at(4.0, None).as_deref(), Some("all"));
    assert_eq!(negative(&["--no-negative-prompt"]).at(4.0, own()), own());
    assert_eq!(
        negative(&["--cfg-scale=1"]).at(4.0, None).as_deref(),
        Some(" ")
    );
}
