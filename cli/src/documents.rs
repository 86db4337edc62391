//! The documents of the repository say what is so: links lead somewhere, command lines parse,
//! named files exist, and the guide has every flag.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use crate::args::Cli;

/// Folders at the top of the repository, by which a path in a text is known.
const FOLDERS: [&str; 12] = [
    ".ci", "backends", "benches", "cli", "demo", "docs", "engine", "fuzz", "hub", "loader",
    "model", "tests",
];
/// The longest README.
const MAX_README_LINES: usize = 150;

/// A Markdown file.
struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// The lines outside of code blocks.
    fn prose(&self) -> String {
        let mut in_code = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            } else if !in_code {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose
    }

    /// The lines within code blocks, with the block's language.
    fn code(&self) -> Vec<(&str, &str)> {
        let mut block = None;
        let mut code = Vec::new();
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), block) {
                (Some(language), None) => block = Some(language),
                (Some(_), Some(_)) => block = None,
                (None, Some(language)) => code.push((language, line)),
                (None, None) => {}
            }
        }
        code
    }

    /// The texts between backticks in a line of prose.
    fn inline_code(&self) -> Vec<String> {
        let prose = self.prose();
        let spans = |line: &str| -> Vec<String> {
            let parts = line.split('`').skip(1).step_by(2);
            parts.map(str::to_owned).collect()
        };
        prose.lines().flat_map(spans).collect()
    }

    /// The targets of the links and images.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1);
        targets
            .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
            .collect()
    }

    /// The anchors of the headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
                let text: String = line
                    .trim_start_matches('#')
                    .trim()
                    .chars()
                    .filter(kept)
                    .collect();
                text.to_lowercase().replace(' ', "-")
            })
            .collect()
    }

    /// The command lines of this program: those of shell blocks, those after a prompt, and those
    /// between backticks that have arguments.
    fn command_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .code()
            .into_iter()
            .filter_map(|(language, line)| match language {
                "sh" => Some(line),
                "console" => line.strip_prefix("$ "),
                _ => None,
            })
            .map(str::to_owned)
            .collect();
        lines.extend(self.inline_code());
        // A command within another one, as of `source <(..)`.
        let inner = |line: &String| Some(line.split_once("<(")?.1.strip_suffix(')')?.to_owned());
        let within: Vec<String> = lines.iter().filter_map(inner).collect();
        lines.extend(within);
        lines
            .into_iter()
            .filter_map(|line| {
                let own = line.strip_prefix("qwen-image ");
                let built = || Some(line.split_once("-p cli -- ")?.1);
                own.or_else(built).map(|rest| format!("qwen-image {rest}"))
            })
            .collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All documents but the fixtures'.
fn documents() -> Vec<Document> {
    let mut paths = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_looked_into =
                !name.starts_with('.') && !["target", "fixtures", "src"].contains(&&*name);
            if path.is_dir() {
                folders.extend(is_looked_into.then_some(path));
            } else if name.ends_with(".md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(Document::read).collect()
}

/// The words of a line as a shell takes them, without what it would expand.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(
        words(r#"a "b c" -n '' d  # e"#),
        ["a", "b c", "-n", "", "d"]
    );
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let mut checked = 0;
    for document in &documents {
        for link in document.links() {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            let shown = document.path.display();
            assert!(path.exists(), "{shown}: {link} does not exist");
            if !anchor.is_empty() {
                let there = Document::read(path).anchors();
                assert!(there.contains(anchor), "{shown}: {link}: {there:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn command_lines_are_understood() {
    let mut checked = 0;
    for document in documents() {
        for line in document.command_lines() {
            let parsed = Cli::try_parse_from(words(&line));
            // To ask for help is no mistake.
            let error = parsed.err().filter(|error| error.exit_code() != 0);
            let error = error.map(|error| error.to_string());
            assert_eq!(error, None, "{}: {line}", document.path.display());
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn named_files_exist() {
    let is_path = |text: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
        let first = text.split('/').next().unwrap_or_default();
        text.contains('/') && text.chars().all(plain) && FOLDERS.contains(&first)
    };
    let mut checked = 0;
    for document in documents() {
        let folder = document.path.parent().unwrap();
        // Those of the scripts name what they make as well.
        if folder != root() && folder != root().join("docs") {
            continue;
        }
        for path in document.inline_code().into_iter().filter(is_path) {
            let there = root().join(&path).exists() || folder.join(&path).exists();
            assert!(there, "{}: {path}", document.path.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_guide_has_every_flag() {
    let guide = Document::read(root().join("docs/guide.md"));
    let named: BTreeSet<String> = guide
        .inline_code()
        .iter()
        .flat_map(|code| words(code))
        .filter_map(|word| Some(word.strip_prefix("--")?.to_owned()))
        .collect();
    let program = Cli::command();
    let shown = |name: &str| {
        let command = program.find_subcommand(name).unwrap();
        let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
        let flags: Vec<&str> = flags.filter_map(|flag| flag.get_long()).collect();
        flags
    };
    for command in ["generate", "plan", "download", "inspect"] {
        for flag in shown(command) {
            let is_there = named.contains(flag) || ["help", "version"].contains(&flag);
            assert!(is_there, "{command} --{flag} is not in docs/guide.md");
        }
    }
}

#[test]
fn the_readme_is_short_and_has_the_gates_commands() {
    let readme = Document::read(root().join("README.md"));
    let lines: Vec<&str> = readme.text.lines().collect();
    assert!(lines.len() <= MAX_README_LINES, "{}", lines.len());
    let gate = fs::read_to_string(root().join(".ci/run")).unwrap();
    let commands: Vec<&str> = gate
        .lines()
        .filter_map(|line| line.strip_prefix("from_readme '")?.strip_suffix('\''))
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        assert!(lines.contains(&command), "{command}");
    }
}

#[test]
fn the_test_command_is_the_gates_everywhere() {
    let gate = fs::read_to_string(root().join(".ci/run")).unwrap();
    for document in documents() {
        for (_, line) in document.code() {
            let shown = document.path.display();
            let is_it = line.starts_with("cargo test") && line.contains("--workspace");
            assert!(!is_it || gate.contains(line), "{shown}: {line}");
        }
    }
}

#[test]
fn rust_code_is_the_examples() {
    let example = fs::read_to_string(root().join("cli/examples/generate.rs")).unwrap();
    let known: BTreeSet<&str> = example.lines().map(str::trim).collect();
    let mut checked = 0;
    for document in documents() {
        for (language, line) in document.code() {
            if language == "rust" {
                let line = line.trim();
                assert!(known.contains(line), "{}: {line}", document.path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "{checked}");
}
