//! The places of a stream's weights: in the files, in a slot, and in the order of reading.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::ParamId;

use crate::plan::GroupBytes;
use crate::record::{Deferred, DeferredWeight, StoredAs};
use crate::stream::{Chunk, Destination, Need, Ring, chunks};

/// All groups of a stream, in the order in which they are lent.
pub(super) struct Layout {
    pub(super) groups: Vec<Group>,
    /// The chunks of all groups, one group's after the other's.
    pub(super) chunks: Vec<Chunk>,
    /// Which chunks stay in host memory.
    pub(super) cached: Vec<bool>,
    /// Bytes of a slot.
    pub(super) slot_bytes: usize,
    /// Threads that read.
    pub(super) readers: usize,
    /// Number of the ring's buffers.
    pub(super) buffers: usize,
    /// Bytes of each.
    pub(super) buffer_bytes: usize,
}

/// The weights that are lent together.
pub(super) struct Group {
    /// Its name in the caller's words.
    key: usize,
    pub(super) weights: Vec<Placed>,
    /// Its chunks, as indices. A part's `need` is the index of a weight.
    pub(super) chunks: Range<usize>,
}

/// A weight's place in a slot.
pub(super) struct Placed {
    pub(super) id: ParamId,
    pub(super) shape: Vec<usize>,
    pub(super) stored_as: StoredAs,
    pub(super) offset: usize,
}

impl Layout {
    /// Lays out the weights that `group_of` puts into a group, by the numbers of the groups, for a
    /// ring. As many of its reads as fit into `ram_cache` bytes stay in host memory.
    pub(super) fn new(
        deferred: &Deferred,
        group_of: &dyn Fn(&str) -> Option<usize>,
        ring: Ring,
        ram_cache: u64,
    ) -> Self {
        let mut members: BTreeMap<usize, Vec<&DeferredWeight>> = BTreeMap::new();
        for weight in deferred.weights() {
            if let Some(key) = group_of(&weight.name) {
                members.entry(key).or_default().push(weight);
            }
        }
        let mut layout = Self {
            groups: Vec::with_capacity(members.len()),
            chunks: Vec::new(),
            cached: Vec::new(),
            slot_bytes: 0,
            readers: ring.readers,
            buffers: 0,
            buffer_bytes: 0,
        };
        for (key, weights) in members {
            layout.add(key, &weights, ring.buffer_bytes);
        }
        (layout.buffers, layout.buffer_bytes) = ring.fit(&layout.chunks);
        layout.cached = spread(layout.chunks.len(), layout.buffer_bytes, ram_cache);
        layout
    }

    fn add(&mut self, key: usize, weights: &[&DeferredWeight], buffer_bytes: usize) {
        let mut bytes = GroupBytes::default();
        let placed = weights.iter().map(|weight| Placed {
            id: weight.id,
            shape: weight.shape.clone(),
            stored_as: weight.stored_as,
            offset: bytes.add(weight.bytes()) as usize,
        });
        let placed = placed.collect();
        let needs = weights.iter().enumerate().map(|(index, weight)| Need {
            file: weight.file,
            range: weight.range.clone(),
            destination: Destination::Host(index),
        });
        let first = self.chunks.len();
        self.chunks
            .extend(chunks(&needs.collect::<Vec<_>>(), buffer_bytes));
        self.groups.push(Group {
            key,
            weights: placed,
            chunks: first..self.chunks.len(),
        });
        self.slot_bytes = self.slot_bytes.max(bytes.slot as usize);
    }

    /// The index of the group with a number.
    pub(super) fn find(&self, key: usize) -> Option<usize> {
        self.groups
            .binary_search_by_key(&key, |group| group.key)
            .ok()
    }
}

/// Picks as many of `count` reads as fit into `room` bytes, spread evenly, so that the disk has the
/// same part of each group to bring.
fn spread(count: usize, buffer_bytes: usize, room: u64) -> Vec<bool> {
    let fitting = room.checked_div(buffer_bytes as u64).unwrap_or(0);
    let picked = fitting.min(count as u64) as usize;
    let up_to = |index: usize| index * picked / count.max(1);
    (0..count)
        .map(|index| up_to(index + 1) > up_to(index))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_memory_is_spread() {
        let picked = |count, room| {
            let cached = spread(count, 10, room);
            let places = cached.iter().enumerate().filter(|(_, cached)| **cached);
            places.map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(picked(6, 9), [0; 0]);
        assert_eq!(picked(6, 20), [2, 5]);
        assert_eq!(picked(6, 45), [1, 2, 4, 5]);
        assert_eq!(picked(3, 1000), [0, 1, 2]);
        assert_eq!(spread(0, 0, 1000), [false; 0]);
    }
}
