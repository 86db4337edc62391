//! The libraries leave flags to the hints: no text of theirs names one.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::args::Cli;

/// The crates below this one.
const LIBRARIES: [&str; 5] = ["backends", "loader", "model", "engine", "hub"];

/// All flags of the program, as `--seed`.
fn flags() -> Vec<String> {
    let program = Cli::command();
    let commands = program.get_subcommands();
    let mut flags: Vec<String> = commands
        .flat_map(clap::Command::get_arguments)
        .filter_map(|flag| Some(format!("--{}", flag.get_long()?)))
        .collect();
    flags.sort();
    flags.dedup();
    flags
}

/// The source files of a folder that are no tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "tests" {
            continue;
        } else if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// A source text up to what is compiled for tests alone, which comes last.
fn without_tests(source: &str) -> &str {
    let mut attributes = source.match_indices("#[cfg(test)]").map(|(at, _)| at);
    // Where the tests are a file of their own, the text goes on.
    let inline = attributes.find(|at| {
        let mut ends = source[*at..]
            .chars()
            .filter(|letter| "{;".contains(*letter));
        ends.next() == Some('{')
    });
    inline.map_or(source, |at| &source[..at])
}

/// The string literals of a source text, less its comments and tests.
fn literals(source: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut letters = without_tests(source).chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => {
                letters.by_ref().find(|letter| *letter == '\n');
            }
            // A quotation mark as a character.
            '\'' if letters.peek() == Some(&'"') => {
                letters.next();
            }
            '"' => {
                let mut literal = String::new();
                while let Some(letter) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' => literal.extend(letters.next()),
                        letter => literal.push(letter),
                    }
                }
                literals.push(literal);
            }
            _ => {}
        }
    }
    literals
}

/// The flag or variable that a text names, if it names one.
fn named<'a>(text: &str, flags: &'a [String]) -> Option<&'a str> {
    if text.contains("QWEN_IMAGE_") {
        return Some("QWEN_IMAGE_");
    }
    let names = |flag: &str| {
        text.match_indices(flag).any(|(at, _)| {
            let after = text[at + flag.len()..].chars().next();
            !after.is_some_and(|letter| letter == '-' || letter.is_alphanumeric())
        })
    };
    flags.iter().map(String::as_str).find(|flag| names(flag))
}

#[test]
fn no_text_of_a_library_names_a_flag() {
    let flags = flags();
    assert!(flags.iter().any(|flag| flag == "--seed"), "{flags:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for library in LIBRARIES {
        let sources = sources(&root.join(library).join("src"));
        assert!(!sources.is_empty(), "{library}");
        for path in sources {
            let source = fs::read_to_string(&path).unwrap();
            for literal in literals(&source) {
                let found = named(&literal, &flags);
                assert_eq!(found, None, "{}: {literal:?}", path.display());
            }
        }
    }
}

#[test]
fn a_flag_is_found_in_a_text_and_nowhere_else() {
    let flags = flags();
    for (source, found) in [
        (r#"let a = "give --seed";"#, Some("--seed")),
        ("let a = \"give\n --seed=1\";", Some("--seed")),
        (r#"let a = "--seedling --see";"#, None),
        (r#"f('"'); g("--seed")"#, Some("--seed")),
        (r#"f("\"--seed")"#, Some("--seed")),
        ("// \"--seed\"\nf(\"a\")", None),
        ("f(\"a\")\n#[cfg(test)]\nmod tests { \"--seed\" }", None),
        ("#[cfg(test)]\nmod tests;\nf(\"--seed\")", Some("--seed")),
        (r#"f("in QWEN_IMAGE_MODELS")"#, Some("QWEN_IMAGE_")),
    ] {
        let literals = literals(source);
        let first = literals.iter().find_map(|text| named(text, &flags));
        assert_eq!(first, found, "{source}");
    }
}
