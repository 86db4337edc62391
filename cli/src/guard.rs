//! Answers the engine's questions about this process: panics on other threads, and files that are
//! cut off.

use engine::events::Guard;
use loader::WatchedFiles;

use crate::{mapping_fault, panics};

/// The panic hook and the signal handler of this process.
#[derive(Debug)]
pub(crate) struct ProcessGuard;

impl Guard for ProcessGuard {
    fn mark(&self) -> u64 {
        panics::mark()
    }

    fn fault_since(&self, mark: u64) -> Option<String> {
        panics::since(mark)
    }

    fn watch(&self, files: &WatchedFiles) -> Box<dyn Send + Sync> {
        Box::new(mapping_fault::Named::of(files))
    }
}
