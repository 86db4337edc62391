//! How far the system reads ahead.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use super::stretch::PIECE;

/// The farthest that is usual, for file systems that do not tell.
const FAR: u64 = 8 << 20;

/// Bytes behind a read from the page cache that the system may read along with it. A read alone
/// can make it as far as its own size, which is at most a [`PIECE`].
pub(super) fn window(file: &File) -> u64 {
    told(file).unwrap_or(FAR).max(PIECE)
}

/// The device's own figure.
fn told(file: &File) -> Option<u64> {
    let device = file.metadata().ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let places = [
        format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"),
        // A partition has that of its disk.
        format!("/sys/dev/block/{major}:{minor}/../queue/read_ahead_kb"),
    ];
    let kib = places
        .iter()
        .find_map(|place| fs::read_to_string(place).ok())?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}
