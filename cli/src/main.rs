//! `qwen-image`: Qwen-Image text-to-image at the command line.
//!
//! Flags, phases, progress and files live here; what tensors compute lives in `model`, how files
//! become parameters in `loader`, and where tensors are in `backends`.

mod args;
mod bad_lines;
mod commands;
mod console;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod documents;
mod error;
mod exit;
mod guard;
mod hints;
mod hold;
mod interrupt;
mod known_models;
mod mapping_fault;
mod output;
mod panics;
mod plan;
mod progress;
mod running_on;
mod usual_places;

use args::Command;

fn main() -> std::process::ExitCode {
    let cli = match args::from_command_line() {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    mapping_fault::listen();
    let done = panics::caught(|| match cli.command {
        Command::Generate(args) => commands::generate::run(*args),
        Command::Plan(args) => commands::plan::run(*args),
        Command::Download(args) => commands::download::run(args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::MakeFixture(args) => commands::make_fixture::run(&args),
    });
    let code = match done {
        Ok(()) => exit::ExitCode::Done,
        Err(error) => {
            console::stderr_line(&format!("error: {error}"));
            for line in error.following() {
                console::stderr_line(&line);
            }
            error.exit_code()
        }
    };
    code.into()
}
