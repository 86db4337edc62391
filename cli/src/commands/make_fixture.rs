//! `make-fixture`: files with the published headers and made-up weights, where the real ones are
//! not at hand.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use engine::bytes::format_bytes;
use engine::files::atomic;
use engine::models::demo;
use loader::published::{Filling, Layout, Overwrite, Published, WriteError, WriteFault};
use loader::published::{check_space, write};

use crate::args::{FixturePart, MakeFixtureArgs, Verbosity};
use crate::console::{self, Console, stderr_line};
use crate::error::CliError;
use crate::interrupt;
use crate::progress::Progress;

/// The tokenizer's folder in the tree.
const TOKENIZER: &str = "tokenizer";

/// A file to be made.
struct Planned {
    path: PathBuf,
    what: String,
    layout: Layout,
}

/// Writes the files and prints the path of each to stdout.
///
/// # Errors
/// [`engine::Error::Output`] before anything is written if a file is there already or the disk has
/// no room; [`engine::Error::Interrupted`]. No file is half-written.
pub(crate) fn run(args: &MakeFixtureArgs) -> Result<(), CliError> {
    let verbosity = if args.quiet {
        Verbosity::Quiet
    } else {
        Verbosity::Normal
    };
    let console = Console::new(verbosity);
    interrupt::listen(move || {
        if verbosity > Verbosity::Quiet {
            stderr_line("stopping");
        }
    });
    let filling = if args.sparse {
        Filling::Holes
    } else {
        Filling::Random { seed: args.seed }
    };
    let overwrite = if args.force {
        Overwrite::Replace
    } else {
        Overwrite::Refuse
    };
    let planned = plan(args, filling)?;
    let progress = Progress::new(console);
    for file in &planned {
        make_file(file, filling, overwrite, progress)?;
        print(&file.path)?;
    }
    for path in write_tokenizer(&args.real_shapes.join(TOKENIZER), overwrite, console)? {
        print(&path)?;
    }
    Ok(())
}

/// Plans the files to be made; an error if one of them cannot be.
fn plan(args: &MakeFixtureArgs, filling: Filling) -> Result<Vec<Planned>, CliError> {
    let chosen = Published::COMFYUI
        .into_iter()
        .filter(|file| args.only.is_empty() || args.only.iter().any(|part| part.is(*file)));
    let mut planned = Vec::new();
    for file in chosen {
        let path = args.real_shapes.join(file.path_in_tree());
        if !args.force && path.symlink_metadata().is_ok() {
            let fault = WriteFault::Exists;
            return Err(WriteError { path, fault }.into());
        }
        planned.push(Planned {
            path,
            what: file.component().to_string(),
            layout: file.layout(),
        });
    }
    let bytes = planned.iter().map(|file| filling.disk_bytes(&file.layout));
    check_space(&args.real_shapes, bytes.sum())?;
    Ok(planned)
}

fn make_file(
    file: &Planned,
    filling: Filling,
    overwrite: Overwrite,
    progress: Progress,
) -> Result<(), CliError> {
    interrupt::check()?;
    make_folder_of(&file.path)?;
    let size = match filling {
        Filling::Holes => "sparse".to_owned(),
        Filling::Random { .. } => format_bytes(file.layout.file_len()),
    };
    let mut bar = progress.bytes(&format!("Writing the {}, {size}", file.what));
    let watch = &mut |done, total| {
        bar.show(done, total);
        if interrupt::requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    Ok(write(&file.path, &file.layout, filling, overwrite, watch)?)
}

/// Writes the demo model's tokenizer, whose ids the text encoder's embedding has rows for, and
/// returns what was written. A tokenizer that is there, such as the real one, is kept.
fn write_tokenizer(
    folder: &Path,
    overwrite: Overwrite,
    console: Console,
) -> Result<Vec<PathBuf>, CliError> {
    interrupt::check()?;
    let holds_any = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if overwrite == Overwrite::Refuse && holds_any {
        let path = folder.display();
        console.note(&format!("note: {path} is there already and kept"));
        return Ok(Vec::new());
    }
    let mut written = Vec::new();
    for (name, bytes) in demo::tokenizer() {
        let path = folder.join(name);
        make_folder_of(&path)?;
        atomic::write(&path, bytes)?;
        written.push(path);
    }
    Ok(written)
}

fn make_folder_of(path: &Path) -> Result<(), CliError> {
    let folder = path.parent().unwrap_or(path);
    Ok(fs::create_dir_all(folder).map_err(|error| atomic::failed(folder, error))?)
}

fn print(path: &Path) -> Result<(), CliError> {
    console::stdout(&format!("{}\n", path.display()))
}

impl FixturePart {
    /// Tells whether `--only` of this part means that file.
    fn is(self, file: Published) -> bool {
        file == match self {
            Self::Transformer => Published::Transformer,
            Self::TextEncoder => Published::TextEncoder,
            Self::Vae => Published::Vae,
        }
    }
}
