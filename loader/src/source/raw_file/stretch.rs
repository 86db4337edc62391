//! Where a read's bytes are: in memory, or on the disk.

use std::ops::Range;

/// A stretch that is wholly in memory is read from there if it has at least this size, since each
/// change between memory and disk is a read of its own. A multiple of [`BLOCK`](super::BLOCK).
pub(super) const PIECE: u64 = 1 << 20;

/// The bytes that a range begins with, as far as they are in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) in_memory: bool,
    pub(super) bytes: u64,
}

impl Stretch {
    pub(super) fn present(bytes: u64) -> Self {
        Self {
            in_memory: true,
            bytes,
        }
    }

    pub(super) fn absent(bytes: u64) -> Self {
        Self {
            in_memory: false,
            bytes,
        }
    }
}

/// Finds the first stretch of a range of a file of `length` bytes.
///
/// Reading from memory lets the system read ahead, where something that is missing lies within
/// `window` bytes: the page cache would grow, by and by by the whole file. So bytes count as in
/// memory only if those of the window behind them are there as well.
///
/// `is_there` tells whether all pages of a range are in memory, `is_absent` whether none are.
pub(super) fn first_stretch(
    range: Range<u64>,
    length: u64,
    window: u64,
    is_there: impl Fn(Range<u64>) -> bool,
    is_absent: impl Fn(Range<u64>) -> bool,
) -> Stretch {
    let bytes = range.end - range.start;
    let within = |range: Range<u64>| range.start.min(length)..range.end.min(length);
    let inside = within(range.clone());
    if inside.is_empty() || is_absent(inside.clone()) {
        return Stretch::absent(bytes);
    }
    let behind = within(range.end..range.end + window);
    if is_there(inside.clone()) && (behind.is_empty() || is_there(behind)) {
        return Stretch::present(bytes);
    }
    let piece_is_there = |start: u64| is_there(within(start..start + PIECE + window));
    let in_memory = piece_is_there(range.start);
    let mut end = range.start + PIECE;
    while end < inside.end && piece_is_there(end) == in_memory {
        end += PIECE;
    }
    // What lies behind the end of the file belongs to its last stretch.
    let end = if end < inside.end { end } else { range.end };
    Stretch {
        in_memory,
        bytes: end - range.start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// The stretches of the first `bytes` bytes of a file of which some MiB are in memory.
    fn stretches(bytes: u64, length: u64, window: u64, there: &[u64]) -> Vec<(bool, u64)> {
        let is_there = |range: Range<u64>| {
            assert!(range.start < range.end && range.end <= length, "{range:?}");
            (range.start / MIB..range.end.div_ceil(MIB)).all(|mib| there.contains(&mib))
        };
        let is_absent = |range: Range<u64>| {
            (range.start / MIB..range.end.div_ceil(MIB)).all(|mib| !there.contains(&mib))
        };
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes {
            let Stretch { in_memory, bytes } =
                first_stretch(at..bytes, length, window, is_there, is_absent);
            assert!(bytes > 0);
            found.push((in_memory, bytes));
            at += bytes;
        }
        found
    }

    #[test]
    fn a_file_in_one_place_is_one_stretch() {
        let all: Vec<u64> = (0..8).collect();
        assert_eq!(stretches(4 * MIB, 8 * MIB, MIB, &all), [(true, 4 * MIB)]);
        assert_eq!(stretches(4 * MIB, 8 * MIB, MIB, &[]), [(false, 4 * MIB)]);
        // To the end of the file, and of the buffer's last block behind it.
        let odd = 3 * MIB + 5;
        assert_eq!(
            stretches(4 * MIB, odd, 9 * MIB, &[0, 1, 2, 3]),
            [(true, 4 * MIB)]
        );
        assert_eq!(stretches(4 * MIB, odd, MIB, &[]), [(false, 4 * MIB)]);
    }

    #[test]
    fn what_the_system_would_read_ahead_must_be_there_too() {
        let there = [0, 1, 2, 3];
        assert_eq!(stretches(4 * MIB, 8 * MIB, 0, &there), [(true, 4 * MIB)]);
        assert_eq!(
            stretches(4 * MIB, 8 * MIB, MIB, &there),
            [(true, 3 * MIB), (false, MIB)]
        );
        assert_eq!(
            stretches(4 * MIB, 8 * MIB, 5 * MIB, &there),
            [(false, 4 * MIB)]
        );
    }

    #[test]
    fn what_is_there_in_part_is_read_in_parts() {
        assert_eq!(
            stretches(8 * MIB, 8 * MIB, MIB, &[1, 2, 3, 6, 7]),
            [
                (false, MIB),
                (true, 2 * MIB),
                (false, 3 * MIB),
                (true, 2 * MIB)
            ]
        );
    }

    #[test]
    fn behind_the_end_nothing_is_in_memory() {
        let stretch = first_stretch(4096..8192, 4000, MIB, |_| true, |_| false);
        assert_eq!(stretch, Stretch::absent(4096));
    }
}
