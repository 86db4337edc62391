//! Which flag's value is not UTF-8, which clap does not tell.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// The first flag among the arguments (without the program's name) that takes text and has a value
/// that is none.
pub(super) fn flag(arguments: &[OsString]) -> Option<String> {
    let program = Cli::command();
    let find = |argument: &OsString| program.find_subcommand(argument);
    let command = arguments.iter().find_map(find)?;
    let mut before: Option<&OsStr> = None;
    for argument in arguments {
        if argument.to_str().is_none() {
            let named = named(command, argument).or_else(|| named(command, before?));
            if let Some(flag) = named.filter(|flag| takes_text(flag)) {
                return flag.get_long().map(|long| format!("--{long}"));
            }
        }
        before = Some(argument);
    }
    None
}

/// The flag at the beginning of an argument: `--flag`, `--flag=value`, `-f` or `-fvalue`.
fn named<'a>(command: &'a Command, argument: &OsStr) -> Option<&'a Arg> {
    let text = argument.to_string_lossy();
    let mut flags = command.get_arguments();
    if let Some(long) = text.strip_prefix("--") {
        let name = long.split_once('=').map_or(long, |(name, _)| name);
        return flags.find(|flag| flag.get_long() == Some(name));
    }
    let short = text.strip_prefix('-')?.chars().next();
    flags.find(|flag| short.is_some() && flag.get_short() == short)
}

/// Tells whether a flag takes anything but what may be any bytes.
fn takes_text(flag: &Arg) -> bool {
    let kind = flag.get_value_parser().type_id();
    kind != TypeId::of::<PathBuf>() && kind != TypeId::of::<OsString>()
}
