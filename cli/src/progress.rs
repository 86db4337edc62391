//! Progress on stderr: bars on a terminal, now and then a plain line elsewhere, nothing with
//! `--quiet`. Bars use no colours, so NO_COLOR has nothing to turn off.

mod line;
mod log;
mod run_time;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use engine::bytes::format_bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::args::Verbosity;
use crate::console::{self, Console};
use crate::hold;
use crate::interrupt;
use line::{clock, fit};
use log::{ByteLines, StepLines};
pub(crate) use run_time::{RunTime, Share};

const TICK: Duration = Duration::from_millis(200);
/// The frames of the spinner that turns while work without steps is done.
const SPINNER: [&str; 4] = ["-", "\\", "|", "/"];

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Lines that are drawn again and again.
    Bars,
    /// Plain lines about everything that takes long: a terminal that draws nothing again.
    Lines,
    /// Plain lines about steps: a file or another program reads along, or nobody.
    Log,
}

/// Makes the progress displays of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    console: Console,
    form: Form,
}

impl Progress {
    /// Progress on `console`.
    pub(crate) fn new(console: Console) -> Self {
        let shown = console.verbosity() >= Verbosity::Normal;
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let form = match (shown && std::io::stderr().is_terminal(), is_dumb) {
            (true, false) => Form::Bars,
            (true, true) => Form::Lines,
            (false, _) => Form::Log,
        };
        Self { console, form }
    }

    /// For reading a checkpoint: bytes and GB/s.
    pub(crate) fn load(self, message: &str) -> LoadProgress {
        LoadProgress(self.bytes(message))
    }

    /// For writing a file: bytes and GB/s.
    pub(crate) fn bytes(self, message: &str) -> ByteProgress {
        let lines = || ByteLines::new(message, Instant::now());
        ByteProgress {
            bar: self.bar(message, byte_figures),
            console: self.console,
            lines: (self.form == Form::Lines).then(lines),
        }
    }

    /// For `total` steps, of an image that is a `share` of a run of several.
    pub(crate) fn steps(self, message: &str, total: usize, share: Option<Share>) -> StepProgress {
        let bar = self.bar(message, move |state| step_figures(state, share));
        bar.set_length(total as u64);
        let lines = || StepLines::new(message, total, share, Instant::now());
        StepProgress {
            bar,
            console: self.console,
            lines: (self.form != Form::Bars).then(lines),
        }
    }

    /// For work of one piece.
    pub(crate) fn busy(self, message: &str) -> Busy {
        Busy {
            bar: self.bar(message, |state| {
                let turn = state.elapsed().as_millis() / TICK.as_millis();
                let spinner = SPINNER[turn as usize % SPINNER.len()];
                vec![format!("{spinner} {}", clock(state.elapsed()))]
            }),
        }
    }

    /// A bar with figures behind it, no wider than the terminal is at the time.
    fn bar(
        self,
        message: &str,
        figures: impl Fn(&ProgressState) -> Vec<String> + Clone + Send + Sync + 'static,
    ) -> ProgressBar {
        if self.form != Form::Bars {
            self.console.note(message);
            return ProgressBar::hidden();
        }
        let message = message.to_owned();
        let line = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let part = state
                .len()
                .map(|len| state.pos() as f64 / len.max(1) as f64);
            let line = fit(console::columns(), &message, part, &figures(state));
            let _ = out.write_str(&line);
        };
        let style = ProgressStyle::with_template("{line}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("line", line);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let bar = bar.with_style(style);
        bar.enable_steady_tick(TICK);
        bar
    }
}

/// Bytes and their rate, in the order of their worth.
fn byte_figures(state: &ProgressState) -> Vec<String> {
    let Some(total) = state.len() else {
        return Vec::new();
    };
    let rate = state.pos() as f64 / state.elapsed().as_secs_f64().max(1e-3);
    vec![
        format!("{}/{}", format_bytes(state.pos()), format_bytes(total)),
        format!("{:.2} GB/s", rate / 1e9),
    ]
}

/// Steps, what is left of them and of the run, and their rate, in the order of their worth.
fn step_figures(state: &ProgressState, share: Option<Share>) -> Vec<String> {
    let (done, total) = (state.pos(), state.len().unwrap_or(0));
    let mut figures = vec![format!("{done}/{total}")];
    let seconds = state.elapsed().as_secs_f64() / done.max(1) as f64;
    if done > 0 {
        let left = Duration::from_secs_f64(seconds * total.saturating_sub(done) as f64);
        figures.push(format!("eta {}", clock(left)));
    }
    if let Some(left) = share.and_then(|share| share.left(done, Instant::now())) {
        figures.push(format!("all {}", clock(left)));
    }
    if done > 0 {
        figures.push(format!("{seconds:.2} s/it"));
    }
    figures.push(clock(state.elapsed()));
    figures
}

/// A checkpoint being read; the loader's observer.
#[derive(Debug)]
pub(crate) struct LoadProgress(ByteProgress);

impl LoadProgress {
    /// Shows that `done` of `total` bytes are read.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        self.0.draw(done, total);
        hold::at(hold::Point::Read);
    }
}

impl loader::LoadObserver for LoadProgress {
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        self.show(bytes_done, bytes_total);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

/// A file being read or written.
#[derive(Debug)]
pub(crate) struct ByteProgress {
    bar: ProgressBar,
    console: Console,
    lines: Option<ByteLines>,
}

impl ByteProgress {
    /// `done` of `total` bytes are written.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        self.draw(done, total);
        hold::at(hold::Point::Write);
    }

    fn draw(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        let lines = self.lines.as_mut();
        if let Some(line) = lines.and_then(|lines| lines.at(done, total, Instant::now())) {
            self.console.note(&line);
        }
    }
}

impl Drop for ByteProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Steps being done.
#[derive(Debug)]
pub(crate) struct StepProgress {
    bar: ProgressBar,
    console: Console,
    lines: Option<StepLines>,
}

impl StepProgress {
    /// Does something on the terminal with the bar out of the way.
    pub(crate) fn aside(&self, work: impl FnOnce()) {
        self.bar.suspend(work);
    }

    /// `done` steps are done.
    pub(crate) fn done(&mut self, done: usize) {
        self.bar.set_position(done as u64);
        let always = self.console.verbosity() == Verbosity::Verbose;
        let lines = self.lines.as_mut();
        if let Some(line) = lines.and_then(|lines| lines.after(done, Instant::now(), always)) {
            self.console.note(&line);
        }
        hold::at(hold::Point::Step);
    }
}

impl Drop for StepProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Work under way, until dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    bar: ProgressBar,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
