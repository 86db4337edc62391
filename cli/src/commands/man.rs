//! `man`: the manual pages, made of the same text as `--help`.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, ManArgs};
use crate::console;
use crate::error::CliError;
use crate::output::atomic_file;

/// What every page is part of.
const SOURCE: &str = concat!("qwen-image ", env!("CARGO_PKG_VERSION"));

/// Prints the program's page, or writes it and those of its commands into a folder and prints
/// their paths.
///
/// # Errors
/// [`CliError::Output`] naming the page; [`CliError::Stdout`].
pub(crate) fn run(args: &ManArgs) -> Result<(), CliError> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives each command its whole name, as `qwen-image-generate`.
    program.build();
    let Some(folder) = &args.folder else {
        return console::stdout(&String::from_utf8_lossy(&page(Man::new(program))?));
    };
    fs::create_dir_all(folder).map_err(|error| atomic_file::failed(folder, error))?;
    write(&program, folder)?;
    let shown = program.get_subcommands().filter(|it| !it.is_hide_set());
    shown
        .into_iter()
        .try_for_each(|command| write(command, folder))
}

fn write(command: &Command, folder: &Path) -> Result<(), CliError> {
    let man = Man::new(command.clone());
    let path = folder.join(man.get_filename());
    atomic_file::write(&path, &page(man)?)?;
    console::stdout(&format!("{}\n", path.display()))
}

fn page(man: Man) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    man.source(SOURCE)
        .render(&mut text)
        .map_err(|error| CliError::Internal(error.to_string()))?;
    Ok(in_ascii(&String::from_utf8_lossy(&text)).into_bytes())
}

/// The text with groff's escapes for what is not ASCII, since its input is bytes of no certain
/// encoding.
fn in_ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Devices without this character have no other for it either.
            '…' => ascii.push_str("..."),
            c if c.is_ascii() => ascii.push(c),
            c => ascii.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    ascii
}
