//! The message about a command line that is not understood: clap's own, and a tip that
//! leads on.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};

use super::Cli;
use super::elsewhere;
use super::shell::word;

/// The longest command line that a tip repeats.
const MAX_LINE: usize = 160;
/// The most letters in which a flag that clap takes for a misspelt one may differ from it.
const MAX_SLIPS: usize = 2;

/// Gives an error about these arguments (without the program's name) the tips that help. Clap's
/// own are kept where they are about a misspelt flag: the one that is nearest by letters often
/// means something else.
pub(super) fn explain(error: &mut clap::Error, arguments: &[OsString]) {
    let arguments = texts(arguments);
    let mut program = Cli::command();
    // Gives each command its whole name for the line on its usage.
    program.build();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let Some(typed) = text(error, ContextKind::InvalidArg) else {
                return;
            };
            let command = arguments.first();
            let command = command.and_then(|name| program.find_subcommand(name));
            let tip = match command {
                None => Some(without_command(&program, &arguments)),
                Some(command) => unknown(command, &typed, &arguments[1..]),
            };
            error.remove(ContextKind::Suggested);
            if tip.is_some() || !is_slip(error, &typed) {
                error.remove(ContextKind::SuggestedArg);
            }
            set_tip(error, tip);
            // Clap's has the flag in it that it suggests.
            if let Some(command) = command {
                let usage = ContextValue::StyledStr(command.clone().render_usage());
                error.insert(ContextKind::Usage, usage);
            }
        }
        ErrorKind::InvalidSubcommand => {
            let Some(typed) = text(error, ContextKind::InvalidSubcommand) else {
                return;
            };
            if let Some(tip) = no_command(error, &typed, &arguments) {
                error.remove(ContextKind::SuggestedSubcommand);
                set_tip(error, Some(tip));
            }
        }
        _ => {}
    }
}

/// A tip on a value that a flag does not take.
pub(super) fn value_tip(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let flag = text(error, ContextKind::InvalidArg)?;
    let typed = text(error, ContextKind::InvalidValue)?;
    if typed.is_empty() && arguments.iter().any(|argument| argument.is_empty()) {
        return Some("the value is empty: is a shell variable unset?".to_owned());
    }
    elsewhere::value(flag.split(' ').next()?, &typed)
}

/// Explains a long flag that was typed with one dash: `-seed 5` would be read as `-s eed`, and
/// `-out x.png` as `-o ut`.
pub(super) fn one_dash_flag(arguments: &[OsString]) -> Option<String> {
    let arguments = texts(arguments);
    let program = Cli::command();
    let command = program.find_subcommand(arguments.first()?)?;
    let mut before = "";
    for argument in arguments.iter().skip(1).take_while(|word| *word != "--") {
        let is_text = command
            .get_arguments()
            .any(|flag| flag.is_allow_hyphen_values_set() && flag_is(flag, before));
        let letters = argument.strip_prefix('-').unwrap_or_default();
        let long = format!("-{argument}");
        let name = long.split_once('=').map_or(long.as_str(), |(name, _)| name);
        // One letter is a short flag, with its value behind a sign of equality too.
        let is_short = name.chars().count() == 3;
        if !is_text && !is_short && letters.len() > 1 && !letters.starts_with('-') {
            let tip = if has_flag(command, name) {
                Some(format!("here it is '{name}'"))
            } else {
                let value = value_of(argument, &arguments);
                elsewhere::flag(command, name, value.as_deref())
            };
            if let Some(tip) = tip {
                return Some(format!(
                    "'{argument}': long flags have two dashes; tip: {tip}"
                ));
            }
        }
        before = argument;
    }
    None
}

/// The tip on a flag, or a word without one, that a command does not know.
fn unknown(command: &Command, typed: &str, arguments: &[String]) -> Option<String> {
    let name = command.get_name();
    let value = value_of(typed, arguments);
    if !typed.starts_with('-') {
        return match name {
            "download" if elsewhere::value("--variant", typed).is_some() || is_variant(typed) => {
                Some(format!("here it is '--variant {typed}'"))
            }
            _ => None,
        };
    }
    // `--negative_prompt` is a flag of this program's, but for the letter between.
    let dashes = typed.replace('_', "-").to_ascii_lowercase();
    if dashes != typed && has_flag(command, &dashes) {
        return Some(elsewhere::renamed(command, &dashes, value.as_deref()));
    }
    if let Some(tip) = elsewhere::flag(command, typed, value.as_deref()) {
        return Some(tip);
    }
    let takes_a_word = command.get_positionals().next().is_some();
    match (name, value) {
        ("completions" | "man" | "inspect", Some(value)) if takes_a_word => {
            Some(format!("without a flag: 'qwen-image {name} {value}'"))
        }
        _ => None,
    }
}

fn is_variant(typed: &str) -> bool {
    use clap::ValueEnum;
    crate::args::Variant::from_str(typed, true).is_ok()
}

/// The tip on a command line whose first word is a flag.
fn without_command(program: &Command, arguments: &[String]) -> String {
    if let [flag] = arguments
        && ["-v", "-version", "--v"].contains(&flag.as_str())
    {
        return "here it is '--version'".to_owned();
    }
    let named = arguments
        .iter()
        .position(|word| program.find_subcommand(word).is_some());
    let (command, flags) = match named {
        Some(place) => {
            let mut flags = arguments.to_vec();
            (flags.remove(place), flags)
        }
        None => (owner(program, arguments).to_owned(), arguments.to_vec()),
    };
    format!(
        "flags follow a command: '{}'",
        line(&command, flags.iter().map(String::as_str))
    )
}

/// The command that the flags belong to: the one that draws, unless it does not know one of them
/// and another does.
fn owner<'a>(program: &'a Command, arguments: &[String]) -> &'a str {
    let flags = || arguments.iter().filter(|word| word.starts_with('-'));
    let mut others = program.get_subcommands().filter(|command| {
        let known = |flag: &String| has_flag(command, flag.split('=').next().unwrap_or(flag));
        flags().all(known)
    });
    others.next().map_or("generate", Command::get_name)
}

/// The tip on a first word that is no command.
fn no_command(error: &clap::Error, typed: &str, arguments: &[String]) -> Option<String> {
    if arguments.first().is_none_or(|first| first == "help") {
        return None;
    }
    if let Some(command) = elsewhere::command(typed) {
        let rest = arguments.iter().skip(1).map(String::as_str);
        return Some(format!("here it is '{}'", line(command, rest)));
    }
    let is_misspelt = error.get(ContextKind::SuggestedSubcommand).is_some();
    if is_misspelt && !typed.contains(char::is_whitespace) {
        return None;
    }
    let words = arguments.iter().take_while(|word| !word.starts_with('-'));
    let words: Vec<&str> = words.map(String::as_str).collect();
    let flags = arguments.iter().skip(words.len()).map(String::as_str);
    let prompt = words.join(" ");
    Some(format!(
        "to draw it: {}",
        line("generate", std::iter::once(prompt.as_str()).chain(flags))
    ))
}

/// A command line as it can be typed.
fn line<'a>(command: &str, arguments: impl Iterator<Item = &'a str>) -> String {
    let mut line = format!("qwen-image {command}");
    for argument in arguments {
        line.push(' ');
        line.push_str(&word(argument));
        if line.chars().count() > MAX_LINE {
            line.push_str(" …");
            break;
        }
    }
    line
}

/// The value of a flag as it stands in the command line.
fn value_of(flag: &str, arguments: &[String]) -> Option<String> {
    let place = arguments.iter().position(|argument| {
        let rest = argument.strip_prefix(flag);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })?;
    if let Some((_, value)) = arguments[place].split_once('=') {
        return Some(value.to_owned());
    }
    let next = arguments.get(place + 1)?;
    let is_value = !next.starts_with('-') || next.parse::<f64>().is_ok();
    is_value.then(|| next.clone())
}

fn has_flag(command: &Command, typed: &str) -> bool {
    command.get_arguments().any(|flag| flag_is(flag, typed))
}

fn flag_is(flag: &Arg, typed: &str) -> bool {
    let long = flag.get_long().map(|long| format!("--{long}"));
    let short = flag.get_short().map(|short| format!("-{short}"));
    long.as_deref() == Some(typed) || short.as_deref() == Some(typed)
}

fn texts(arguments: &[OsString]) -> Vec<String> {
    let text = |argument: &OsString| argument.to_string_lossy().into_owned();
    arguments.iter().map(text).collect()
}

/// Tells whether the flag that clap suggests is the one that was typed, misspelt or cut off.
fn is_slip(error: &clap::Error, typed: &str) -> bool {
    let Some(suggested) = text(error, ContextKind::SuggestedArg) else {
        return false;
    };
    suggested.starts_with(typed) || strsim::damerau_levenshtein(&suggested, typed) <= MAX_SLIPS
}

fn set_tip(error: &mut clap::Error, tip: Option<String>) {
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
