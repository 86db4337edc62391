//! Asks the system which bytes of a file it has in memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use memmap2::Mmap;
use rustix::fs::{Access, AtFlags, CWD, accessat, fstatfs};

use super::readahead;
use super::stretch::{Stretch, first_stretch};

/// What the page cache holds of a file. A read that must not wait (`RWF_NOWAIT`) would tell the
/// same, but has the system read what is missing.
pub(super) struct PageCache {
    length: u64,
    window: u64,
    way: Way,
}

/// How the system is asked.
enum Way {
    /// Not at all: the file system is in memory.
    AllThere,
    /// By `cachestat`, which Linux has since 6.5.
    CacheStat,
    /// By `mincore` over a mapping of the file.
    Mincore(Mmap),
}

impl PageCache {
    /// `None` where the system does not tell, as it does not of files that one neither owns nor may
    /// write to.
    pub(super) fn of(file: &File, path: &Path) -> Option<Self> {
        let length = file.metadata().ok()?.len();
        Some(Self {
            length,
            window: readahead::window(file),
            way: Way::of(file, path)?,
        })
    }

    /// Finds out where the first bytes of a range are.
    pub(super) fn stretch(&self, file: &File, range: Range<u64>) -> Stretch {
        if matches!(self.way, Way::AllThere) {
            return Stretch::present(range.end - range.start);
        }
        let page = page_size();
        let pages = |range: &Range<u64>| range.end.div_ceil(page) - range.start / page;
        first_stretch(
            range,
            self.length,
            self.window,
            |range| self.count(file, &range, page) == Some(pages(&range)),
            |range| {
                self.count(file, &range, page)
                    .is_none_or(|there| there == 0)
            },
        )
    }

    /// Tells whether there is a disk behind it.
    #[cfg(test)]
    pub(super) fn has_disk(&self) -> bool {
        !matches!(self.way, Way::AllThere)
    }

    /// The number of pages of the file that are in memory.
    #[cfg(test)]
    pub(super) fn pages(&self, file: &File) -> Option<u64> {
        self.count(file, &(0..self.length), page_size())
    }

    /// The number of pages of a range that are in memory; `None` where the system fails to tell.
    fn count(&self, file: &File, range: &Range<u64>, page: u64) -> Option<u64> {
        match &self.way {
            Way::AllThere => Some(range.end.div_ceil(page) - range.start / page),
            Way::CacheStat => cachestat(file, range).ok(),
            Way::Mincore(mapping) => mincore(mapping, range, page).ok(),
        }
    }
}

impl Way {
    fn of(file: &File, path: &Path) -> Option<Self> {
        if is_in_memory(file) {
            return Some(Self::AllThere);
        }
        if cachestat(file, &(0..1)).is_ok() {
            return Some(Self::CacheStat);
        }
        // Of a file that one may not ask about, `mincore` says that all of it is there.
        if !may_ask(file, path) {
            return None;
        }
        // SAFETY: nothing reads the mapping; it is only asked about.
        let mapping = unsafe { Mmap::map(file) }.ok()?;
        Some(Self::Mincore(mapping))
    }
}

/// Tells whether a file system has no disk: tmpfs or ramfs.
fn is_in_memory(file: &File) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    // The type's width depends on the machine; the numbers have 32 bits everywhere.
    fstatfs(file).is_ok_and(|system| matches!(system.f_type as u32, TMPFS | RAMFS))
}

/// The condition under which Linux answers `mincore` truly.
fn may_ask(file: &File, path: &Path) -> bool {
    // SAFETY: reads a number.
    let user = unsafe { libc::geteuid() };
    let is_owner = file.metadata().is_ok_and(|file| file.uid() == user);
    is_owner || accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Counts the pages of a range that are in memory.
fn cachestat(file: &File, range: &Range<u64>) -> io::Result<u64> {
    /// The same on all machines that Linux numbers its calls alike on.
    const NUMBER: libc::c_long = 451;
    let range = [range.start, range.end - range.start];
    // Pages in the cache, dirty, under way to the disk, dropped, dropped a short while ago.
    let mut counts = [0u64; 5];
    // SAFETY: the kernel reads two numbers of 64 bits and writes five.
    let answer = unsafe {
        libc::syscall(
            NUMBER,
            file.as_raw_fd(),
            range.as_ptr(),
            counts.as_mut_ptr(),
            0,
        )
    };
    match answer {
        0 => Ok(counts[0]),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Counts the pages of a range that are in memory.
fn mincore(mapping: &Mmap, range: &Range<u64>, page: u64) -> io::Result<u64> {
    const AT_ONCE: usize = 1024;
    let (mut at, end) = (range.start / page, range.end.div_ceil(page));
    if end > (mapping.len() as u64).div_ceil(page) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut there = 0;
    let mut states = [0u8; AT_ONCE];
    while at < end {
        let count = (end - at).min(AT_ONCE as u64) as usize;
        let start = mapping.as_ptr().wrapping_add((at * page) as usize);
        // SAFETY: the pages belong to the mapping, and the list has a byte for each.
        let answer = unsafe {
            libc::mincore(
                start.cast_mut().cast(),
                count * page as usize,
                states.as_mut_ptr(),
            )
        };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        there += states[..count]
            .iter()
            .filter(|&state| state & 1 == 1)
            .count() as u64;
        at += count as u64;
    }
    Ok(there)
}

fn page_size() -> u64 {
    // SAFETY: reads a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(super::BLOCK as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_ask_give_the_same_answer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 5 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        if is_in_memory(&file) || cachestat(&file, &(0..1)).is_err() {
            eprintln!(
                "skipped: this system has no cachestat for {}",
                path.display()
            );
            return;
        }
        file.sync_all().unwrap();
        let drop = |offset, length| {
            let length = std::num::NonZeroU64::new(length);
            rustix::fs::fadvise(&file, offset, length, rustix::fs::Advice::DontNeed).unwrap();
        };
        drop(2 << 20, 1 << 20);
        // SAFETY: nothing reads the mapping.
        let mapping = unsafe { Mmap::map(&file) }.unwrap();
        let page = page_size();
        for range in [
            0..1,
            0..5 << 20,
            1 << 20..3 << 20,
            2 << 20..3 << 20,
            4097..8192,
        ] {
            let asked = mincore(&mapping, &range, page).unwrap();
            assert_eq!(cachestat(&file, &range).unwrap(), asked, "{range:?}");
        }
        assert!(mincore(&mapping, &(0..6 << 20), page).is_err());
        assert!(may_ask(&file, &path));
    }
}
