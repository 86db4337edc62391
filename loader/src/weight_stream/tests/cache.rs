//! Weights that stay in host memory once they were read.

use std::sync::atomic::Ordering;

use super::*;

/// Room for so many blocks.
fn cache(blocks: usize) -> StreamOptions {
    StreamOptions {
        ram_cache: (blocks * BLOCK) as u64,
        ..slots(1)
    }
}

#[test]
fn what_stays_is_not_read_again() {
    soon(|| {
        // A round of 40 blocks.
        let model = Model::plain(5, 8);
        for (blocks, read_again) in [(0, 40), (7, 33), (39, 1), (40, 0), (100, 0)] {
            let files = Disks::new();
            let state = files.state.clone();
            // Without a thread beside, one slot and a whole round asked for: only the ring is
            // read ahead.
            let stream = model.stream(files, cache(blocks), false, host().poisoned());
            let mut stream = stream.unwrap();
            for round in 0..4 {
                for group in 0..5 {
                    model.check(&mut stream, group).unwrap();
                }
                let figures = stream.figures();
                let read = 40 + round * read_again;
                assert_eq!(figures.bytes_read, read * BLOCK as u64);
                let total = (round + 1) * 40;
                assert_eq!(figures.bytes_from_cache, (total - read) * BLOCK as u64);
                let most = read * BLOCK as u64 + figures.ring_bytes;
                assert!((figures.bytes_read..=most).contains(&state.bytes_read()));
                assert_eq!(figures.cache_bytes, (blocks.min(40) * BLOCK) as u64);
            }
        }
    });
}

#[test]
fn every_group_has_its_part_of_it() {
    let model = Model::plain(5, 8);
    let group_of = |name: &str| name.parse().ok();
    let layout = Layout::new(&model.deferred, &group_of, ring(), 10 * BLOCK as u64);
    for group in &layout.groups {
        let cached = layout.cached[group.chunks.clone()].iter();
        assert_eq!(cached.filter(|cached| **cached).count(), 2);
    }
}

#[test]
fn host_memory_stays_the_ring_and_the_cache() {
    soon(|| {
        let model = Model::plain(5, 8);
        for beside in [false, true] {
            for blocks in [0, 7, 40] {
                let device = host();
                let state = device.state.clone();
                let stream = model.stream(Disks::new(), cache(blocks), beside, device);
                let mut stream = stream.unwrap();
                for round in 0..8 {
                    for group in 0..5 {
                        model.check(&mut stream, group).unwrap();
                    }
                    if round > 0 {
                        let figures = stream.figures();
                        let taken = state.buffers.load(Ordering::Relaxed) * BLOCK;
                        let held = figures.ring_bytes + figures.cache_bytes;
                        assert_eq!(taken as u64, held, "round {round}");
                    }
                }
            }
        }
    });
}

#[test]
fn it_outlives_a_new_beginning() {
    soon(|| {
        let model = Model::plain(5, 8);
        for beside in [false, true] {
            let files = Disks::new();
            let state = files.state.clone();
            let stream = model.stream(files, cache(40), beside, host().poisoned());
            let mut stream = stream.unwrap();
            for group in 0..5 {
                model.check(&mut stream, group).unwrap();
            }
            for group in [3, 1, 2, 0, 4, 4] {
                model.check(&mut stream, group).unwrap();
            }
            assert_eq!(state.bytes_read(), 40 * BLOCK as u64);
        }
    });
}
