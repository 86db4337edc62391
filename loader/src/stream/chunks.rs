//! Which stretches of the files are read, and where their parts go.

use std::ops::Range;

use super::need::Need;
use crate::source::BLOCK;

/// A stretch that nothing needs is read along with its neighbours up to this size: a second read
/// would cost more.
const GAP_BYTES: u64 = 256 << 10;

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Which file.
    pub(crate) file: usize,
    /// The offset at which the read begins, a multiple of [`BLOCK`].
    pub(crate) start: u64,
    /// Up to where there are parts, from the start on.
    pub(crate) needed: usize,
    /// The parts in it.
    pub(crate) parts: Vec<Part>,
}

/// A part of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The need that it is for, as an index.
    pub(crate) need: usize,
    /// Its offset in the needed bytes.
    pub(crate) offset: u64,
    /// Its bytes in the chunk.
    pub(crate) source: Range<usize>,
}

/// The reads for all needs, file by file and in order, each of at most `size` bytes, which is a
/// multiple of [`BLOCK`].
pub(crate) fn chunks(needs: &[Need], size: usize) -> Vec<Chunk> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&index| (needs[index].file, needs[index].range.start));
    let mut chunks: Vec<Chunk> = Vec::new();
    for index in order {
        let need = &needs[index];
        let mut at = need.range.start;
        while at < need.range.end {
            let open = chunks.last_mut().filter(|last| {
                let gap = at.checked_sub(last.start + last.needed as u64);
                last.file == need.file
                    && gap.is_some_and(|gap| gap <= GAP_BYTES)
                    && at < last.start + size as u64
            });
            let Some(chunk) = open else {
                chunks.push(Chunk {
                    file: need.file,
                    start: at - at % BLOCK as u64,
                    needed: 0,
                    parts: Vec::new(),
                });
                continue;
            };
            let begin = (at - chunk.start) as usize;
            let length = (size - begin).min((need.range.end - at) as usize);
            chunk.parts.push(Part {
                need: index,
                offset: at - need.range.start,
                source: begin..begin + length,
            });
            chunk.needed = begin + length;
            at += length as u64;
        }
    }
    chunks
}
