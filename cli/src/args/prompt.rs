//! The prompt and the negative prompt, each given once and not by mistake.

use clap::{Args, CommandFactory};

use super::groups::IMAGE;
use super::raw::Cli;
use super::shell::{quoted, start};
use crate::error::CliError;

/// What the image shows, and what it does not.
#[derive(Debug, Args)]
#[command(next_help_heading = IMAGE)]
pub(crate) struct PromptArgs {
    /// What the image shows, in quotes
    #[arg(value_name = "PROMPT", help_heading = IMAGE)]
    words: Vec<String>,

    /// The same as PROMPT
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Vec<String>,

    /// What the image should not show [default: a single space]
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    negative_prompt: Vec<String>,

    /// No guidance by a negative prompt: one model pass a step instead of two
    #[arg(long, conflicts_with = "negative_prompt")]
    pub(super) no_negative_prompt: bool,
}

impl PromptArgs {
    /// Tells whether there is any prompt at all.
    pub(super) fn is_given(&self) -> bool {
        !(self.words.is_empty() && self.prompt.is_empty())
    }

    /// The prompt, if one is given. The last of several counts, with a notice: a script can add to
    /// a shorter one's flags, and somebody who hoped for two images is told. An empty one is
    /// drawn, as diffusers draws it, with a notice too.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a prompt without quotes, and for what is no prompt but the name of a
    /// flag or a file.
    pub(super) fn prompt(&self, notices: &mut Vec<String>) -> Result<Option<String>, CliError> {
        let prompt = last("--prompt", &self.prompt, notices)?;
        let words = self.words.join(" ");
        if let Some(word) = self.words.iter().find(|word| is_switch(word))
            && (prompt.is_some() || self.words.len() > 1)
        {
            return usage(format!(
                "{} is the value of no flag; tip: leave it out: flags such as --resume take none",
                shown(word)
            ));
        }
        let prompt = match (prompt, self.words.as_slice()) {
            (None, []) => return Ok(None),
            (Some(prompt), []) => prompt,
            (Some(prompt), _) => {
                return usage(format!(
                    "{} stands beside --prompt {}: there is one prompt, in quotes; tip: --prompt {}",
                    shown(&words),
                    shown(prompt),
                    quoted(&format!("{prompt} {words}"))
                ));
            }
            (None, [word]) if word == "help" => {
                return usage(
                    "'help' is no prompt; tip: `generate --help` is the help, `--prompt help` draws the word"
                        .to_owned(),
                );
            }
            (None, [word]) => {
                check_no_file(word)?;
                word
            }
            (None, _) => {
                return usage(format!(
                    "a prompt of several words is put in quotes; tip: generate {}",
                    quoted(&words)
                ));
            }
        };
        if prompt.is_empty() {
            notices.push(
                "the prompt is empty (is a shell variable unset?): what is drawn is left to the \
                 model"
                    .to_owned(),
            );
        }
        Ok(Some(prompt.clone()))
    }

    /// The negative prompt, if one is given; it may be empty. The last of several counts, with a
    /// notice.
    ///
    /// # Errors
    /// [`CliError::Usage`] for the name of a flag.
    pub(super) fn negative_prompt(
        &self,
        notices: &mut Vec<String>,
    ) -> Result<Option<&String>, CliError> {
        last("--negative-prompt", &self.negative_prompt, notices)
    }
}

/// The text that counts.
fn last<'a>(
    flag: &str,
    texts: &'a [String],
    notices: &mut Vec<String>,
) -> Result<Option<&'a String>, CliError> {
    for text in texts {
        check_no_flag(flag, text)?;
    }
    if let [.., before, last] = texts {
        notices.push(format!(
            "{flag} is given {} times and the last one counts, {} (before it {}); --prompt-file \
             FILE draws an image for each line of a file",
            texts.len(),
            shown(last),
            shown(before)
        ));
    }
    Ok(texts.last())
}

/// Refuses the name of a flag: a shell leaves nothing of an unset variable, and the flag behind it
/// is taken for the text.
fn check_no_flag(flag: &str, text: &str) -> Result<(), CliError> {
    let program = Cli::command();
    let known = program.find_subcommand("generate").is_some_and(|command| {
        let mut flags = command.get_arguments();
        flags.any(|argument| is_named(argument, text))
    });
    if known {
        return usage(format!(
            "{flag} has no text: behind it comes {}, which is a flag (is a shell variable \
             unset?); tip: put variables in quotes, as \"$TEXT\"",
            shown(text)
        ));
    }
    Ok(())
}

/// Tells whether a text is a flag as it is typed: `--seed`, `--seed=5`, `-s` or `-s5`.
fn is_named(argument: &clap::Arg, text: &str) -> bool {
    if let Some(text) = text.strip_prefix("--") {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        return argument.get_long() == Some(name);
    }
    let mut letters = text.strip_prefix('-').unwrap_or_default().chars();
    let short = letters.next();
    short.is_some() && argument.get_short() == short && letters.all(|c| c.is_ascii_digit())
}

fn is_switch(word: &str) -> bool {
    ["true", "false"].contains(&word.to_ascii_lowercase().as_str())
}

/// Refuses the name of a file that is there, without a flag that says what to do with it.
fn check_no_file(word: &str) -> Result<(), CliError> {
    let path = std::path::Path::new(word);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let Some(ending) = ending.map(str::to_ascii_lowercase) else {
        return Ok(());
    };
    if !path.is_file() {
        return Ok(());
    }
    let flags = match ending.as_str() {
        "txt" | "jsonl" | "ndjson" => "--prompt-file draws its lines",
        "png" | "jpg" | "jpeg" | "webp" => {
            "--from draws its image again, --init-image starts from it"
        }
        "safetensors" => "--transformer and --lora take model files",
        _ => "a flag says what a file is for",
    };
    usage(format!(
        "{} is a file: {flags}; tip: --prompt {} draws the name itself",
        shown(word),
        quoted(word)
    ))
}

/// At most the beginning of a text, in single quotes.
fn shown(text: &str) -> String {
    format!("'{}'", start(text))
}

fn usage<T>(message: String) -> Result<T, CliError> {
    Err(CliError::Usage(message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::PromptArgs;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        prompt: PromptArgs,
        #[arg(long)]
        steps: Option<u32>,
    }

    /// The prompt, with the notices.
    fn read(line: &[&str]) -> Result<(Option<String>, Vec<String>), String> {
        let flags = Flags::try_parse_from(["generate"].iter().chain(line)).unwrap();
        let mut notices = Vec::new();
        let prompt = flags.prompt.prompt(&mut notices);
        Ok((prompt.map_err(|error| error.to_string())?, notices))
    }

    #[test]
    fn a_prompt_needs_no_flag() {
        for line in [
            &["a red circle"][..],
            &["--steps=4", "a red circle"],
            &["a red circle", "--steps", "4"],
            &["--", "a red circle"],
            &["-p", "a red circle"],
            &["--prompt=a red circle"],
        ] {
            let (prompt, notices) = read(line).unwrap();
            assert_eq!(prompt.as_deref(), Some("a red circle"), "{line:?}");
            assert!(notices.is_empty());
        }
        assert_eq!(read(&["--steps=4"]).unwrap().0, None);
        assert_eq!(read(&["--", "-x-"]).unwrap().0.as_deref(), Some("-x-"));
        assert_eq!(read(&["-p", " "]).unwrap().0.as_deref(), Some(" "));
        assert_eq!(read(&["-p", "-x-"]).unwrap().0.as_deref(), Some("-x-"));
    }

    #[test]
    fn what_is_no_prompt_is_refused_with_what_to_do() {
        for (line, tip) in [
            (
                &["a", "red", "circle"][..],
                "tip: generate \"a red circle\"",
            ),
            (
                &["a", "red", "--steps=4", "fox!"],
                "tip: generate 'a red fox!'",
            ),
            (
                &["-p", "a", "red", "circle"],
                "tip: --prompt \"a red circle\"",
            ),
            (
                &["-p", "a fox", "a cat"],
                "'a cat' stands beside --prompt 'a fox'",
            ),
            (&["a fox", "true"], "tip: leave it out"),
            (&["help"], "--help"),
            (
                &["-p", "--steps", "4"],
                "--prompt has no text: behind it comes '--steps'",
            ),
            (&["-p", "--steps=4"], "which is a flag"),
            (&["-p", "-s5"], "put variables in quotes"),
            (
                &[concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
                "is a file",
            ),
        ] {
            let refused = read(line).unwrap_err();
            assert!(refused.contains(tip), "{line:?}: {refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn an_empty_prompt_is_drawn_and_told_of() {
        for line in [&["-p", ""][..], &[""]] {
            let (prompt, notices) = read(line).unwrap();
            assert_eq!(prompt.as_deref(), Some(""));
            assert!(notices[0].contains("the prompt is empty"), "{notices:?}");
            assert!(notices[0].contains("variable unset"), "{notices:?}");
        }
    }

    #[test]
    fn the_last_of_two_prompts_counts_and_that_is_told() {
        let (prompt, notices) = read(&["-p", "a fox", "-p", "a cat"]).unwrap();
        assert_eq!(prompt.as_deref(), Some("a cat"));
        assert_eq!(notices.len(), 1);
        for part in [
            "--prompt is given 2 times",
            "'a cat'",
            "'a fox'",
            "--prompt-file",
        ] {
            assert!(notices[0].contains(part), "{notices:?}");
        }
    }
}
