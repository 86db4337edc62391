//! The program's own documentation: help, completions, manual pages.

use std::fs;

use crate::support::{Run, program};

fn run(args: &[&str]) -> Run {
    program().args(args).output().unwrap().into()
}

#[test]
fn the_flags_of_generate_are_grouped_by_topic() {
    let help = run(&["generate", "--help"]).expect(0).stdout;
    let mut heading = "";
    let mut groups = Vec::new();
    for line in help.lines() {
        if !line.starts_with(' ') && line.ends_with(':') {
            heading = line.trim_end_matches(':');
        } else if let Some(flag) = line
            .trim_start()
            .split([' ', ','])
            .find(|w| w.starts_with("--"))
            && line.starts_with("  ")
            && !line.starts_with("          ")
        {
            groups.push((flag, heading));
        }
    }
    for (flag, expected) in [
        ("--prompt", "Image"),
        ("--width", "Image"),
        ("--steps", "Image"),
        ("--seed", "Image"),
        ("--noise", "Image"),
        ("--models", "Models"),
        ("--demo", "Models"),
        ("--backend", "Compute"),
        ("--vram-limit", "Compute"),
        ("--dry-run", "Compute"),
        ("--output", "Output"),
        ("--report", "Output"),
        ("--quiet", "Output"),
        ("--help", "Options"),
    ] {
        let found = groups.iter().find(|(name, _)| *name == flag);
        assert_eq!(found, Some(&(flag, expected)), "{groups:?}");
    }
    // Nothing is left without a topic but what clap adds.
    let loose = groups.iter().filter(|(_, heading)| *heading == "Options");
    assert!(loose.count() <= 2, "{groups:?}");
}

#[test]
fn colours_can_be_forced_and_forbidden() {
    let coloured = |variables: &[(&str, &str)]| {
        let mut command = program();
        command.arg("--help").envs(variables.iter().copied());
        Run::from(command.output().unwrap())
            .expect(0)
            .stdout
            .contains('\x1b')
    };
    assert!(!coloured(&[]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn completions_know_commands_and_flags() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = run(&["completions", shell]).expect(0);
        for word in ["generate", "vram-limit"] {
            assert!(run.stdout.contains(word), "{shell}: {word}");
        }
        // The other two complete no values.
        let values = ["bash", "zsh", "fish"].contains(&shell);
        assert_eq!(run.stdout.contains("fp8-scaled"), values, "{shell}");
        assert!(run.stderr.is_empty(), "{}", run.stderr);
    }
    run(&["completions", "cmd"]).expect_error(2, &["cmd", "powershell"]);
    run(&["completions"]).expect(2);
}

#[cfg(unix)]
#[test]
fn the_script_is_good_shell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completion");
    fs::write(&path, run(&["completions", "bash"]).stdout).unwrap();
    let checked = std::process::Command::new("bash")
        .arg("-n")
        .arg(&path)
        .status();
    assert!(checked.unwrap().success());
}

/// The completions that bash offers for the last of these words, by the script's own function.
#[cfg(unix)]
fn offered(script: &str, words: &[&str]) -> Option<Vec<String>> {
    const ASK: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p qwen-image)
        function=${function#* -F }; function=${function%% *}
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completion");
    fs::write(&path, script).unwrap();
    let mut bash = std::process::Command::new("bash");
    bash.args(["--norc", "-c", ASK, "bash"]);
    let asked = bash.arg(&path).args(words).output().ok()?;
    let asked = Run::from(asked).expect(0);
    assert!(asked.stderr.is_empty(), "{}", asked.stderr);
    Some(asked.stdout.lines().map(str::to_owned).collect())
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_flags_and_values() {
    let script = run(&["completions", "bash"]).expect(0).stdout;
    for (words, expected) in [
        (&["qwen-image", "gen"][..], &["generate"][..]),
        (&["qwen-image", "generate", "--sam"], &["--sampler"]),
        (&["qwen-image", "generate", "--repo"], &["--report"]),
        (
            &["qwen-image", "download", "--variant", ""],
            &["fp8", "fp8-scaled", "bf16", "2512", "lightning"],
        ),
        (&["qwen-image", "plan", "--vram-t"], &["--vram-total"]),
    ] {
        let Some(offered) = offered(&script, words) else {
            eprintln!("not checked: there is no bash");
            return;
        };
        assert_eq!(offered, expected, "{words:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    let pages = share.join("man1");
    let run = run(&["man", share.to_str().unwrap()]).expect(0);
    let names = [
        "",
        "-generate",
        "-plan",
        "-download",
        "-inspect",
        "-devices",
    ];
    for name in names {
        let path = pages.join(format!("qwen-image{name}.1"));
        let told = format!("{}\n", path.display());
        assert!(run.stdout.contains(&told), "{}", run.stdout);
        let page = fs::read_to_string(&path).unwrap();
        for section in ["SYNOPSIS", "\"EXIT STATUS\"", "ENVIRONMENT", "EXAMPLES"] {
            let heading = format!(".SH {section}\n");
            assert_eq!(page.matches(&heading).count(), 1, "{name}: {section}");
        }
        let header = page.lines().find(|line| line.starts_with(".TH")).unwrap();
        let program = concat!("\"qwen-image ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(header.contains(program), "{header}");
        assert!(page.is_ascii(), "{name}");
    }
    let generate = fs::read_to_string(pages.join("qwen-image-generate.1")).unwrap();
    assert!(generate.contains("What the image shows"));
    for part in [
        "QWEN_IMAGE_VRAM_LIMIT",
        "COLORTERM",
        "qwen\\-image generate",
    ] {
        assert!(generate.contains(part), "{part}");
    }
    assert!(!pages.join("qwen-image-make-fixture.1").exists());
    // The folder of the section itself is meant as well.
    self::run(&["man", pages.to_str().unwrap()]).expect(0);
    assert!(!pages.join("man1").exists());
}

#[test]
fn manual_pages_are_good_roff() {
    let folder = tempfile::tempdir().unwrap();
    run(&["man", folder.path().to_str().unwrap()]).expect(0);
    for entry in fs::read_dir(folder.path().join("man1")).unwrap() {
        let path = entry.unwrap().path();
        let groff = std::process::Command::new("groff")
            .args(["-man", "-ww", "-z", "-Tutf8"])
            .arg(&path)
            .output();
        let Ok(groff) = groff else {
            eprintln!("not checked: there is no groff");
            return;
        };
        let said = Run::from(groff).expect(0).stderr;
        assert_eq!(said, "", "{}", path.display());
    }
}

#[test]
fn exit_codes_are_the_same_in_the_guide_and_in_the_manual() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, table) = guide
        .split_once("| exit code | |\n| --- | --- |\n")
        .unwrap();
    let page = run(&["man"]).expect(0).stdout;
    let (_, section) = page.split_once(".SH \"EXIT STATUS\"\n").unwrap();
    let (section, _) = section.split_once(".SH ").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(section.matches(".TP").count(), rows.len(), "{section}");
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let entry = format!("\\fB{}\\fR\n", cells[1]);
        let (_, meaning) = section.split_once(&entry).unwrap();
        let meaning = meaning.lines().next().unwrap().to_lowercase();
        assert_eq!(meaning.trim_end_matches('.'), cells[2], "{row}");
    }
}

#[test]
fn the_manual_page_goes_to_stdout_or_says_why_not() {
    let page = run(&["man"]).expect(0).stdout;
    assert!(page.contains(".TH qwen-image 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    run(&["man", file.to_str().unwrap()]).expect_error(1, &["file", "name a folder"]);
}
