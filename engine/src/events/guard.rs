//! Faults that only a whole process can see: a front end watches for them, and a session asks.

use std::fmt::Debug;

use loader::WatchedFiles;

/// Watches over the threads of devices and the files that are used from their mappings.
///
/// A device works on threads of its own, whose panics reach nobody: the result stays as it was.
/// Only a panic hook of the process sees them, and only a signal handler of the process sees that
/// a mapped file was cut off. A program that has such hooks gives them to a session by this trait.
/// A fault ends each job that is at work then, since nothing tells whose it is.
pub trait Guard: Debug + Send + Sync {
    /// A mark in the list of faults, for [`Self::fault_since`].
    fn mark(&self) -> u64;

    /// The message of the first fault on another thread since a mark, if there was one.
    fn fault_since(&self, mark: u64) -> Option<String>;

    /// Watches files that are in use from their mappings, as long as the returned value lives.
    fn watch(&self, files: &WatchedFiles) -> Box<dyn Send + Sync>;
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGuard;

impl Guard for NoGuard {
    fn mark(&self) -> u64 {
        0
    }

    fn fault_since(&self, _: u64) -> Option<String> {
        None
    }

    fn watch(&self, _: &WatchedFiles) -> Box<dyn Send + Sync> {
        Box::new(())
    }
}
