//! `download`: the published files come into a ComfyUI `models` tree.

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use engine::bytes::format_bytes;
use hub::{Asked, Hub, Known, Planned, Source, State, TRANSFORMER_FOLDER};
use loader::published::Published;

use crate::args::{DownloadArgs, DownloadConfig, Environment, Verbosity};
use crate::console::{self, Console, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use crate::known_models;
use crate::progress::{ByteProgress, Progress};

/// Fetches what is missing and prints the path of each file to stdout.
///
/// # Errors
/// The error that ended the download. Files that are whole stay, and so do parts of files.
pub(crate) fn run(args: DownloadArgs) -> Result<(), CliError> {
    let environment = Environment::of_process();
    let config = DownloadConfig::resolve(args, environment)?;
    let console = Console::new(config.verbosity);
    let quiet = config.verbosity == Verbosity::Quiet;
    interrupt::listen(move || {
        if !quiet {
            stderr_line("stopping; Ctrl-C again ends at once");
        }
    });
    if !config.dry_run {
        // Whatever becomes of the download, the demo model is not what was wanted.
        known_models::remember(environment, &config.models);
    }
    let asked =
        Hub::new(environment.hub()).and_then(|hub| Ok((plan(&config, &hub, console)?, hub)));
    if config.dry_run
        && let Err(error) = &asked
        && error.is_silence()
    {
        console.note("note: without the Hub, this is what the program itself knows of the files");
        console::stdout(&offline_table(&config))?;
    }
    let (mut planned, hub) = asked?;
    if config.verify {
        for file in &mut planned {
            verify(file, console)?;
        }
    }
    let missing: u64 = planned.iter().map(Planned::missing).sum();
    if config.dry_run {
        console::stdout(&table(&planned, missing))?;
    }
    loader::published::check_space(&config.models, missing)?;
    if config.dry_run {
        return Ok(());
    }
    if missing > 0 {
        let folder = config.models.display();
        console.note(&format!(
            "{} to download to {folder}",
            format_bytes(missing)
        ));
    }
    for file in &planned {
        fetch(&hub, file, console)?;
        console::stdout(&format!("{}\n", file.place.display()))?;
    }
    advise(&config, console);
    Ok(())
}

/// Asks the Hub for the files, and notes the licence of each repository.
fn plan(config: &DownloadConfig, hub: &Hub, console: Console) -> Result<Vec<Planned>, hub::Error> {
    hub::plan(hub, config.variant, &config.models, &mut |asked| {
        match asked {
            Asked::Before(_) => return unless_interrupted(),
            Asked::After(name, listing) => {
                let licence = listing.licence.as_deref().unwrap_or("see the page");
                console.note(&format!("{}: licence {licence}", hub.page(name)));
            }
        }
        ControlFlow::Continue(())
    })
}

fn fetch(hub: &Hub, file: &Planned, console: Console) -> Result<(), CliError> {
    if unless_interrupted().is_break() {
        return Err(hub::Error::Cancelled.into());
    }
    let size = file.entry.size;
    let name = file.source.name();
    match &file.state {
        State::Present => {
            console.note(&format!("{name} is there already"));
            return Ok(());
        }
        State::Cached(blob) => console.note(&format!("{name} is linked from {}", blob.display())),
        State::Missing { .. } => {}
    }
    let message = match file.state {
        State::Missing { partial: 1.. } => format!("Resuming {name}, {}", format_bytes(size)),
        _ => format!("Downloading {name}, {}", format_bytes(size)),
    };
    let mut bar = match file.state {
        State::Cached(_) => None,
        _ => Some(Progress::new(console).bytes(&message)),
    };
    Ok(hub::fetch(hub, file, &mut |done| {
        show(bar.as_mut(), done, size)
    })?)
}

/// Shows how far a file is, and asks whether to go on.
fn show(bar: Option<&mut ByteProgress>, done: u64, size: u64) -> ControlFlow<()> {
    if let Some(bar) = bar {
        bar.show(done, size);
    }
    unless_interrupted()
}

fn unless_interrupted() -> ControlFlow<()> {
    if interrupt::requested() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Checks a file that is there already, and says so if it has to be downloaded anew.
fn verify(file: &mut Planned, console: Console) -> Result<(), CliError> {
    let there = match &file.state {
        State::Present => file.place.clone(),
        State::Cached(blob) => blob.clone(),
        State::Missing { .. } => return Ok(()),
    };
    let size = file.entry.size;
    let message = format!("Checking {}, {}", file.source.name(), format_bytes(size));
    let mut bar = Progress::new(console).bytes(&message);
    let right = hub::verify(file, &mut |done| show(Some(&mut bar), done, size))?;
    drop(bar);
    if !right {
        let there = there.display();
        console.note(&format!(
            "{there} is not the published file: it is downloaded anew"
        ));
    }
    Ok(())
}

/// The table that `--dry-run` prints.
fn table(planned: &[Planned], missing: u64) -> String {
    let mut text = String::new();
    for file in planned {
        let state = match &file.state {
            State::Present => "there already".to_owned(),
            State::Cached(blob) => format!("to be linked from {}", blob.display()),
            State::Missing { partial: 0 } => {
                format!("to be downloaded from {}", hub::shown(&file.url))
            }
            State::Missing { partial } => format!(
                "{} there, the rest to be downloaded from {}",
                format_bytes(*partial),
                hub::shown(&file.url)
            ),
        };
        let size = format_bytes(file.entry.size);
        let line = format!("{}  {size}  {state}", file.place.display());
        let _ = writeln!(text, "{}", console::printable(&line));
    }
    let _ = writeln!(text, "{} to download", format_bytes(missing));
    text
}

/// The table that `--dry-run` prints where the Hub is not asked.
fn offline_table(config: &DownloadConfig) -> String {
    let mut text = String::new();
    let (mut missing, mut all_known) = (0, true);
    for source in config.variant.sources(&config.models) {
        let file = Known::look(source, &config.models);
        let from = format!("{}, {}", file.source.repository, file.source.path);
        let state = match (file.there, file.partial) {
            (Some(_), _) => "there already, not compared with the published file".to_owned(),
            (None, 0) => format!("to be downloaded from {from}"),
            (None, partial) => format!(
                "{} there, the rest to be downloaded from {from}",
                format_bytes(partial)
            ),
        };
        let size = file.there.or_else(|| published_size(&file.source));
        if file.there.is_none() {
            missing += size.unwrap_or(0).saturating_sub(file.partial);
            all_known &= size.is_some();
        }
        let size = size.map_or("size unknown".to_owned(), format_bytes);
        let line = format!("{}  {size}  {state}", file.place.display());
        let _ = writeln!(text, "{}", console::printable(&line));
    }
    let more = if all_known { "" } else { " or more" };
    let _ = writeln!(text, "{}{more} to download", format_bytes(missing));
    text
}

/// The size of a file that the program itself knows, in bytes. The Hub may have another one by now.
fn published_size(source: &Source) -> Option<u64> {
    Published::COMFYUI
        .into_iter()
        .find(|file| file.file_name() == source.name())
        .map(|file| file.layout().file_len())
}

/// How to use what is there now.
fn advise(config: &DownloadConfig, console: Console) {
    let folder = config.models.display();
    let models = if config.is_usual {
        String::new()
    } else {
        format!(" --models {folder}")
    };
    let several = transformers(&config.models.join(TRANSFORMER_FOLDER)) > 1;
    let transformer = if several {
        format!(" --transformer {folder}/{TRANSFORMER_FOLDER}/NAME")
    } else {
        String::new()
    };
    console.note(&format!(
        "Ready: qwen-image generate{models}{transformer} --prompt \"…\""
    ));
    if several {
        console.note(&format!(
            "note: {folder}/{TRANSFORMER_FOLDER} holds several transformers: name one"
        ));
    }
}

fn transformers(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".safetensors")).count()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hub::Variant;
    use loader::published::Published;

    use super::published_size;

    #[test]
    fn the_files_of_known_headers_are_downloaded_to_their_places() {
        let models = Path::new("models");
        let sources = Variant::Fp8.sources(models);
        for file in Published::COMFYUI {
            let place = models.join(file.path_in_tree());
            let source = sources
                .iter()
                .find(|source| source.place_in(models) == place);
            assert!(
                source.is_some_and(|source| published_size(source).is_some()),
                "{place:?}"
            );
        }
    }
}
