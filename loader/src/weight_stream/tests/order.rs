//! The order in which slots are written and used, and how far reading runs ahead.

use std::sync::atomic::Ordering;

use super::*;

/// A null device refuses whatever is out of order: a slot that is written before its use was waited
/// for, or lent before its bytes were.
#[test]
fn a_slot_is_neither_written_in_use_nor_lent_unwritten() {
    soon(|| {
        let model = Model::plain(5, 3);
        for beside in [false, true] {
            for count in 1..=4 {
                let mut stream = model
                    .stream(Disks::new(), slots(count), beside, null())
                    .unwrap();
                for round in 0..20 {
                    model.lend(&mut stream, round % 5).unwrap();
                }
            }
        }
    });
}

#[test]
fn reading_runs_on_over_the_end_of_a_round_as_far_as_there_is_room() {
    soon(|| {
        // A round of 4 * 8 blocks; the ring has 16.
        let model = Model::plain(4, 8);
        let files = Disks::new();
        let state = files.state.clone();
        let mut stream = model.stream(files, slots(2), true, null()).unwrap();
        let group = model.bytes(0);
        let ring = stream.figures().ring_bytes;
        assert_eq!(ring, 2 * group);
        for lent in 0..6 {
            // Two slots and the ring are filled, also past the end of the round.
            let room = (lent + 2) * group + ring;
            until(|| state.bytes_read() >= room);
            std::thread::sleep(std::time::Duration::from_millis(30));
            assert_eq!(state.bytes_read(), room, "nothing more is read");
            model.lend(&mut stream, lent as usize % 4).unwrap();
        }
    });
}

#[test]
fn one_round_is_read_once() {
    soon(|| {
        for beside in [false, true] {
            let model = Model::plain(4, 8);
            let files = Disks::new();
            let state = files.state.clone();
            let options = StreamOptions {
                endless: false,
                ..slots(2)
            };
            let mut stream = model.stream(files, options, beside, host()).unwrap();
            for rounds in 1..=2 {
                for group in 0..4 {
                    model.check(&mut stream, group).unwrap();
                }
                assert_eq!(state.bytes_read(), rounds * model.total());
                assert_eq!(stream.figures().bytes_read, rounds * model.total());
            }
            // Begun in the middle, it ends with the last group too.
            model.check(&mut stream, 2).unwrap();
            model.check(&mut stream, 3).unwrap();
            assert_eq!(state.bytes_read(), 5 * model.total() / 2);
        }
    });
}

#[test]
fn any_group_may_be_asked_for() {
    soon(|| {
        let model = Model::plain(4, 3);
        for beside in [false, true] {
            let mut stream = model
                .stream(Disks::new(), slots(2), beside, host().poisoned())
                .unwrap();
            for group in [2, 3, 0, 0, 3, 1, 2] {
                model.check(&mut stream, group).unwrap();
            }
            // With a null device that holds it to the order.
            let mut stream = model
                .stream(Disks::new(), slots(2), beside, null())
                .unwrap();
            for group in [2, 3, 0, 0, 3, 1, 2] {
                model.lend(&mut stream, group).unwrap();
            }
        }
    });
}

#[test]
fn versions_are_compared_once_a_round() {
    soon(|| {
        let model = Model::plain(3, 2);
        let files = Disks::new();
        let state = files.state.clone();
        let mut stream = model.stream(files, slots(1), false, null()).unwrap();
        for round in 1..=3 {
            for group in 0..3 {
                model.lend(&mut stream, group).unwrap();
            }
            assert_eq!(state.checks.load(Ordering::Relaxed), round);
        }
    });
}

#[test]
fn time_without_bytes_is_told() {
    soon(|| {
        for beside in [false, true] {
            let model = Model::plain(3, 2);
            let files = Disks::new();
            let state = files.state.clone();
            state.set_hangs(true);
            let mut stream = model.stream(files, slots(2), beside, null()).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    state.set_hangs(false);
                });
                model.lend(&mut stream, 0).unwrap();
            });
            // A null device never has anything to do.
            let figures = stream.figures();
            assert!(figures.seconds_stalled > 0.02, "{figures:?}");
            assert!(
                figures.seconds_stalled <= figures.seconds_waited,
                "{figures:?}"
            );
        }
    });
}
