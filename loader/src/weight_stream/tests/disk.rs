//! Files whose bytes tell their place, and which can be made to fail.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::LoadError;
use crate::source::ReadAt;
use crate::weight_stream::files::Files;

/// The byte of a file at an offset.
pub(super) fn byte(file: usize, offset: u64) -> u8 {
    (offset * 7 + offset / 251 + 31 * file as u64) as u8
}

/// Two files. Clones are the same.
#[derive(Clone)]
pub(super) struct Disks {
    files: Arc<[Disk; 2]>,
    pub(super) state: Arc<State>,
}

/// What a test can see of the files, and do to them.
#[derive(Default)]
pub(super) struct State {
    /// Bytes that were read.
    pub(super) read: AtomicU64,
    /// How often the versions were compared.
    pub(super) checks: AtomicU64,
    /// The files were written to.
    pub(super) changed: AtomicBool,
    /// Reads wait until this is false again.
    pub(super) hangs: AtomicBool,
    /// Reads of the first file that touch this byte fail.
    pub(super) broken: Mutex<Option<u64>>,
    /// Each read takes so long.
    pub(super) delay: Mutex<Duration>,
    /// The first file has shrunk to so many bytes.
    pub(super) length: Mutex<Option<u64>>,
}

pub(super) struct Disk {
    number: usize,
    state: Arc<State>,
}

impl Disks {
    pub(super) fn new() -> Self {
        let state = Arc::new(State::default());
        let disk = |number| Disk {
            number,
            state: state.clone(),
        };
        Self {
            files: Arc::new([disk(0), disk(1)]),
            state,
        }
    }

    /// How many clones there are.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.files)
    }
}

impl State {
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn set_hangs(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::Relaxed);
    }
}

impl ReadAt for Disk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = &self.state;
        std::thread::sleep(*state.delay.lock().unwrap());
        super::until(|| !state.hangs.load(Ordering::Relaxed));
        let first = self.number == 0;
        let length = state.length.lock().unwrap().filter(|_| first);
        let rest = length.unwrap_or(u64::MAX).saturating_sub(offset);
        let read = rest.min(buffer.len() as u64);
        let touched = offset..offset + read;
        let broken = state.broken.lock().unwrap().filter(|_| first);
        if broken.is_some_and(|at| touched.contains(&at)) {
            // EIO, as a failing disk gives.
            return Err(io::Error::from_raw_os_error(5));
        }
        for (target, at) in buffer.iter_mut().zip(touched) {
            *target = byte(self.number, at);
        }
        state.read.fetch_add(read, Ordering::Relaxed);
        Ok(read as usize)
    }
}

impl Files for Disks {
    type File = Disk;

    fn all(&self) -> Vec<&Disk> {
        self.files.iter().collect()
    }

    fn path(&self, file: usize) -> &Path {
        ["first.safetensors", "second.safetensors"][file].as_ref()
    }

    fn check_versions(&self) -> Result<(), LoadError> {
        self.state.checks.fetch_add(1, Ordering::Relaxed);
        match self.state.changed.load(Ordering::Relaxed) {
            true => Err(LoadError::Changed {
                file: self.path(0).into(),
            }),
            false => Ok(()),
        }
    }
}
