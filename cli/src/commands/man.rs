//! `man`: the manual pages, made of the same text as `--help`.

mod sections;

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use engine::files::atomic;

use crate::args::{Cli, ManArgs};
use crate::console;
use crate::error::CliError;

/// The name and version at the foot of every page.
const SOURCE: &str = concat!("qwen-image ", env!("CARGO_PKG_VERSION"));

/// The folder of commands' pages below one that man looks in.
const SECTION: &str = "man1";

/// Prints the program's page, or writes it and those of its commands where man finds them in a
/// folder, and prints their paths.
///
/// # Errors
/// [`engine::Error::Output`] naming the page; [`CliError::Stdout`].
pub(crate) fn run(args: &ManArgs) -> Result<(), CliError> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives each command its whole name, as `qwen-image-generate`.
    program.build();
    let Some(given) = &args.folder else {
        return console::stdout(&String::from_utf8_lossy(&page(&program)?));
    };
    // Somebody who names the section's folder itself has it there.
    let folder = if given.ends_with(SECTION) {
        given.clone()
    } else {
        given.join(SECTION)
    };
    for needed in [given, &folder] {
        fs::create_dir_all(needed).map_err(|error| atomic::failed(needed, error))?;
    }
    write(&program, &folder)?;
    let shown = program.get_subcommands().filter(|it| !it.is_hide_set());
    shown
        .into_iter()
        .try_for_each(|command| write(command, &folder))
}

fn write(command: &Command, folder: &Path) -> Result<(), CliError> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    atomic::write(&path, &page(command)?)?;
    console::stdout(&format!("{}\n", path.display()))
}

fn page(command: &Command) -> Result<Vec<u8>, CliError> {
    let text = render(command).map_err(|error| CliError::internal(error.to_string()))?;
    Ok(in_ascii(&String::from_utf8_lossy(&text)).into_bytes())
}

/// The page in the order of man-pages(7).
fn render(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(SOURCE);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|flag| !flag.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(sections::render(command.get_name()).as_bytes());
    man.render_version_section(&mut text)?;
    Ok(text)
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
