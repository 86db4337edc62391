//! A panic below (a driver that gives up, a mistake of ours) becomes one line and an exit code.
//!
//! A device's work is done on a thread of CubeCL's, which swallows the panic of a kernel that
//! cannot be compiled or of memory that cannot be had: the kernel's result stays as it was, and
//! whoever reads it knows nothing. So every panic is noted, and [`since`] tells of it before a
//! result is used.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use engine::{Error, one_line};

use crate::error::CliError;

static NOTED: Mutex<Noted> = Mutex::new(Noted::new());

/// A panic that nobody may have been told of.
#[derive(Debug)]
struct Untold {
    /// Its place among all panics, from 0.
    number: u64,
    thread: ThreadId,
    message: String,
}

/// The panics that nobody may have been told of.
#[derive(Debug)]
struct Noted {
    untold: Vec<Untold>,
    /// The number of panics that were noted in all.
    count: u64,
    /// The last panic that was told to whoever asked for the work.
    told: Option<String>,
    /// The thread whose last panic was one about another.
    telling: Option<ThreadId>,
}

impl Noted {
    const fn new() -> Self {
        Self {
            untold: Vec::new(),
            count: 0,
            told: None,
            telling: None,
        }
    }

    /// Notes a panic of a thread.
    fn add(&mut self, thread: ThreadId, message: String) {
        if !tells_of_another(&message) {
            self.telling.take_if(|telling| *telling == thread);
            self.untold.push(Untold {
                number: self.count,
                thread,
                message,
            });
            self.count += 1;
        } else if self.telling != Some(thread) {
            // Work within a device's work went wrong, and the outer work ends by this panic, of
            // which its caller is told. Where kernels are tried out, that is all there is to it.
            self.telling = Some(thread);
            let last = self
                .untold
                .iter()
                .rposition(|untold| untold.thread == thread);
            if let Some(last) = last {
                self.told = Some(self.untold.remove(last).message);
            }
        }
    }

    /// The first untold panic since a mark.
    fn since(&self, mark: u64) -> Option<&str> {
        let mut untold = self.untold.iter();
        let found = untold.find(|untold| untold.number >= mark)?;
        Some(&found.message)
    }

    /// The panic behind the one that ended the work with `message`.
    fn behind(&self, message: &str) -> Option<&str> {
        let untold = self.untold.first().map(|untold| untold.message.as_str());
        let told = self.told.as_deref().filter(|_| tells_of_another(message));
        untold.or(told)
    }
}

/// Tells whether a message is CubeCL's about work for a device that ended in a panic of its own.
fn tells_of_another(message: &str) -> bool {
    message.contains("CallError")
}

fn noted() -> MutexGuard<'static, Noted> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work`; a panic ends it with [`engine::Error::OutOfMemory`] or [`engine::Error::Internal`].
/// With `RUST_BACKTRACE` set, panics are printed in full as well.
///
/// # Errors
/// Runs `work`; returns its result, or its panic as an error.
pub(crate) fn caught(work: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
    let previous = std::panic::take_hook();
    let in_full = std::env::var_os("RUST_BACKTRACE").is_some();
    set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" ({place})"));
        let message = one_line(message(panic.payload())) + &place;
        noted().add(std::thread::current().id(), message);
        if in_full {
            previous(panic);
        }
    }));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = message(payload.as_ref());
        let behind = noted().behind(message).map(str::to_owned);
        let message = behind.unwrap_or_else(|| one_line(message));
        Err(Error::out_of_memory(&message)
            .unwrap_or(Error::Internal(message))
            .into())
    })
}

/// A mark behind all panics so far, for [`since`].
pub(crate) fn mark() -> u64 {
    noted().count
}

/// The first panic on another thread since a mark that nobody may have been told of.
pub(crate) fn since(mark: u64) -> Option<String> {
    noted().since(mark).map(str::to_owned)
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::Noted;

    const TELLING: &str = "Can't have an error when submitting a task: CallError";

    fn other_thread() -> ThreadId {
        thread::spawn(|| thread::current().id())
            .join()
            .expect("nothing can fail")
    }

    fn untold(noted: &Noted) -> Vec<&str> {
        let messages = noted.untold.iter().map(|untold| untold.message.as_str());
        messages.collect()
    }

    #[test]
    fn a_panic_that_nobody_is_told_of_is_kept() {
        let mut noted = Noted::new();
        let device = other_thread();
        noted.add(device, "no such type".to_owned());
        noted.add(other_thread(), "another".to_owned());
        assert_eq!(untold(&noted), ["no such type", "another"]);
        assert_eq!(noted.behind("index out of bounds"), Some("no such type"));
    }

    #[test]
    fn a_panic_of_an_earlier_job_is_none_of_a_later_one() {
        let mut noted = Noted::new();
        noted.add(other_thread(), "first job".to_owned());
        assert_eq!(noted.since(0), Some("first job"));
        let mark = noted.count;
        assert_eq!(noted.since(mark), None);
        noted.add(other_thread(), "second job".to_owned());
        assert_eq!(noted.since(mark), Some("second job"));
    }

    #[test]
    fn a_kernel_that_is_tried_out_in_vain_is_no_failure() {
        let mut noted = Noted::new();
        let device = other_thread();
        for _ in 0..3 {
            noted.add(device, "no such type".to_owned());
            noted.add(device, TELLING.to_owned());
            noted.add(device, TELLING.to_owned());
        }
        assert!(noted.untold.is_empty());
        // Unless whoever asked cannot do without it.
        assert_eq!(noted.behind(TELLING), Some("no such type"));
        assert_eq!(noted.behind("index out of bounds"), None);
    }

    #[test]
    fn trying_out_hides_no_failure_before_or_after() {
        let mut noted = Noted::new();
        let device = other_thread();
        noted.add(device, "before".to_owned());
        noted.add(device, "tried".to_owned());
        noted.add(device, TELLING.to_owned());
        noted.add(device, TELLING.to_owned());
        noted.add(device, "after".to_owned());
        noted.add(other_thread(), TELLING.to_owned());
        assert_eq!(untold(&noted), ["before", "after"]);
    }
}
