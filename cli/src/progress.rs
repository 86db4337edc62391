//! Progress on stderr: bars on a terminal, now and then a plain line elsewhere, nothing with
//! `--quiet`. Bars use no colours, so NO_COLOR has nothing to turn off.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::args::Verbosity;
use crate::console::Console;
use crate::hold;
use crate::interrupt;

/// In a log, steps are told at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(200);

const LOAD: &str = "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {decimal_bytes_per_sec}";
const STEPS: &str = "{msg} [{bar:30}] {pos}/{len} {elapsed} {pace} eta {eta}";
const BUSY: &str = "{msg} {spinner} {elapsed}";

/// Makes the progress displays of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    console: Console,
    bars: bool,
}

impl Progress {
    /// Progress on `console`.
    pub(crate) fn new(console: Console) -> Self {
        let shown = console.verbosity() >= Verbosity::Normal;
        Self {
            console,
            bars: shown && std::io::stderr().is_terminal(),
        }
    }

    /// For reading a checkpoint: bytes and GB/s.
    pub(crate) fn load(self, message: &str) -> LoadProgress {
        let bar = self.bar(LOAD, message);
        LoadProgress { bar }
    }

    /// For writing a file: bytes and GB/s.
    pub(crate) fn bytes(self, message: &str) -> ByteProgress {
        ByteProgress {
            bar: self.bar(LOAD, message),
        }
    }

    /// For `total` steps: s/it.
    pub(crate) fn steps(self, message: &str, total: usize) -> StepProgress {
        let bar = self.bar(STEPS, message);
        bar.set_length(total as u64);
        StepProgress {
            bar,
            console: self.console,
            plain: !self.bars,
            message: message.to_owned(),
            total,
            started: Instant::now(),
            told: Instant::now(),
        }
    }

    /// For work of one piece.
    pub(crate) fn busy(self, message: &str) -> Busy {
        Busy {
            bar: self.bar(BUSY, message),
        }
    }

    fn bar(self, template: &str, message: &str) -> ProgressBar {
        if !self.bars {
            self.console.note(message);
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("pace", pace)
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(style)
            .with_message(message.to_owned());
        bar.enable_steady_tick(TICK);
        bar
    }
}

/// Seconds per step so far, for indicatif.
fn pace(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    if state.pos() > 0 {
        let seconds = state.elapsed().as_secs_f64() / state.pos() as f64;
        let _ = write!(out, "{seconds:.2} s/it");
    }
}

/// A checkpoint being read; the loader's observer.
#[derive(Debug)]
pub(crate) struct LoadProgress {
    bar: ProgressBar,
}

impl loader::LoadObserver for LoadProgress {
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        self.bar.set_length(bytes_total);
        self.bar.set_position(bytes_done);
        hold::at(hold::Point::Read);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

impl Drop for LoadProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A file being written.
#[derive(Debug)]
pub(crate) struct ByteProgress {
    bar: ProgressBar,
}

impl ByteProgress {
    /// `done` of `total` bytes are written.
    pub(crate) fn show(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        hold::at(hold::Point::Write);
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
    plain: bool,
    message: String,
    total: usize,
    started: Instant,
    told: Instant,
}

impl StepProgress {
    /// Does something on the terminal with the bar out of the way.
    pub(crate) fn aside(&self, work: impl FnOnce()) {
        self.bar.suspend(work);
    }

    /// `done` steps are done.
    pub(crate) fn done(&mut self, done: usize) {
        self.bar.set_position(done as u64);
        let due =
            self.told.elapsed() >= LINE_INTERVAL || self.console.verbosity() == Verbosity::Verbose;
        if self.plain && (due || done == self.total) {
            let mut line = format!("{} {done}/{}", self.message, self.total);
            let seconds = self.started.elapsed().as_secs_f64() / done.max(1) as f64;
            let _ = write!(line, ", {seconds:.2} s/it");
            self.console.note(&line);
            self.told = Instant::now();
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
