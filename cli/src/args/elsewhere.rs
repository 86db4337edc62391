//! The names that other programs have for this one's flags: sd-cli (stable-diffusion.cpp), mflux,
//! diffusers' arguments, ComfyUI's fields, stable-diffusion-webui. Whoever types one of their names
//! is told the name that it has here.

mod forms;
mod tables;
mod values;

pub(super) use values::value;

use clap::Command;

use Here::{Is, Made, Say};
use tables::{COMMANDS, DOWNLOADING, DRAWING};

/// The counterpart in this program of a flag of another program.
#[derive(Clone, Copy)]
enum Here {
    /// A flag that takes the same values.
    Is(&'static str),
    /// Flags that the value is written into, or an example where there is no value.
    Made(fn(Option<&str>) -> String),
    /// A sentence, where no flag does the same.
    Say(&'static str),
}

/// Names with spaces between them and without dashes before them, and what stands here for them.
type Table = &'static [(&'static str, Here)];

/// Translates a flag of another program's, as it is typed and with its value if there is one, for
/// one of this program's commands.
pub(super) fn flag(command: &Command, typed: &str, value: Option<&str>) -> Option<String> {
    let table = match command.get_name() {
        "generate" | "plan" => DRAWING,
        "download" => DOWNLOADING,
        _ => return None,
    };
    let name = name_of(typed);
    let (_, here) = table.iter().find(|(names, _)| has(names, &name))?;
    Some(match here {
        Is(flag) => renamed(command, flag, value),
        Made(form) => forms::here(&form(value)),
        Say(words) => (*words).to_owned(),
    })
}

/// The tip on a flag of another spelling; its value goes with it if it takes one.
pub(super) fn renamed(command: &Command, flag: &str, value: Option<&str>) -> String {
    let takes_value = command.get_arguments().any(|argument| {
        let long = flag.strip_prefix("--");
        argument.get_long() == long && argument.get_action().takes_values()
    });
    forms::here(&forms::with_value(flag, value.filter(|_| takes_value)))
}

/// This program's command of a name that other programs have for it.
pub(super) fn command(typed: &str) -> Option<&'static str> {
    let name = name_of(typed);
    let found = COMMANDS.iter().find(|(names, _)| has(names, &name));
    found.map(|(_, here)| *here)
}

/// Tells whether a name is among those of an entry.
fn has(names: &str, name: &str) -> bool {
    names.split(' ').any(|known| known == name)
}

/// A name as the tables have it: `--Cfg_Scale` is `cfg-scale`.
fn name_of(typed: &str) -> String {
    let name = typed.trim_start_matches('-');
    name.replace('_', "-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::{Command, CommandFactory};

    use super::{COMMANDS, DOWNLOADING, DRAWING, Is, Table};
    use crate::args::Cli;

    fn check(table: Table, command: &Command) {
        let flags: HashSet<_> = command
            .get_arguments()
            .filter_map(|it| it.get_long())
            .collect();
        let mut seen = HashSet::new();
        for (names, here) in table {
            for name in names.split(' ') {
                assert!(seen.insert(name), "{name} is there twice");
                assert!(!flags.contains(name), "{name} is a flag itself");
                assert_eq!(super::name_of(name), name);
            }
            if let Is(flag) = here {
                assert!(
                    flags.contains(flag.trim_start_matches("--")),
                    "there is no {flag}"
                );
            }
        }
    }

    #[test]
    fn the_tables_lead_to_flags_and_commands_that_there_are() {
        let program = Cli::command();
        for (name, table) in [
            ("generate", DRAWING),
            ("plan", DRAWING),
            ("download", DOWNLOADING),
        ] {
            let command = program.find_subcommand(name);
            check(table, command.unwrap_or_else(|| panic!("no {name}")));
        }
        for (_, here) in COMMANDS {
            assert!(here.starts_with("--") || program.find_subcommand(here).is_some());
        }
    }
}
