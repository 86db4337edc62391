//! Files and devices that fail, callers that stop, panic or leave in the middle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

/// Four groups of eight blocks.
fn model() -> Model {
    Model::plain(4, 8)
}

/// Asks for groups in order until one fails: its index, and the error.
fn first_error(model: &Model, stream: &mut Stream<Device<HostSink>>) -> (usize, LoadError) {
    first_error_from(model, stream, 0)
}

/// The same from a group on.
fn first_error_from(
    model: &Model,
    stream: &mut Stream<Device<HostSink>>,
    first: usize,
) -> (usize, LoadError) {
    for count in first.. {
        if let Err(error) = model.check(stream, count % model.groups.len()) {
            return (count, error);
        }
    }
    unreachable!("it goes on for ever")
}

#[test]
fn a_failing_disk_is_named_and_can_be_tried_again() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let files = Disks::new();
            let state = files.state.clone();
            *state.broken.lock().unwrap() = Some(2 * model.bytes(0) + 5);
            let stream = model.stream(files, slots(2), beside, host().poisoned());
            let mut stream = stream.unwrap();
            let (count, error) = first_error(&model, &mut stream);
            assert_eq!(count, 2);
            let LoadError::Io { path, error } = error else {
                panic!("{error}")
            };
            assert_eq!(path.to_str(), Some("first.safetensors"));
            assert_eq!(error.raw_os_error(), Some(5));
            assert!(model.check(&mut stream, 2).is_err(), "it fails still");
            *state.broken.lock().unwrap() = None;
            for group in [2, 3, 0, 1] {
                model.check(&mut stream, group).unwrap();
            }
        }
    });
}

#[test]
fn a_disk_that_fails_in_a_later_round() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let files = Disks::new();
            let state = files.state.clone();
            let stream = model.stream(files, slots(2), beside, host());
            let mut stream = stream.unwrap();
            for count in 0..6 {
                model.check(&mut stream, count % 4).unwrap();
            }
            *state.broken.lock().unwrap() = Some(5);
            let (count, error) = first_error_from(&model, &mut stream, 6);
            assert!(matches!(error, LoadError::Io { .. }), "{error}");
            assert_eq!(count % 4, 0);
        }
    });
}

#[test]
fn a_truncated_file_has_changed() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let files = Disks::new();
            let state = files.state.clone();
            let mut stream = model.stream(files, slots(2), beside, host()).unwrap();
            model.check(&mut stream, 0).unwrap();
            *state.length.lock().unwrap() = Some(model.total() - 3);
            let (count, error) = first_error_from(&model, &mut stream, 1);
            // Of the first round it may have been read already.
            assert!(count == 3 || count == 7, "{count}");
            let LoadError::Changed { file } = error else {
                panic!("{error}")
            };
            assert_eq!(file.to_str(), Some("first.safetensors"));
        }
    });
}

#[test]
fn a_file_that_was_written_to_is_noticed_in_the_round() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let files = Disks::new();
            let state = files.state.clone();
            let mut stream = model.stream(files, slots(1), beside, host()).unwrap();
            for count in 0..6 {
                model.check(&mut stream, count % 4).unwrap();
            }
            state.changed.store(true, Ordering::Relaxed);
            let (count, error) = first_error_from(&model, &mut stream, 6);
            assert_eq!(count, 7, "the last group of the round");
            assert!(matches!(error, LoadError::Changed { .. }), "{error}");
        }
    });
}

#[test]
fn a_failing_device_ends_it() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let device = host();
            let state = device.state.clone();
            state.fails_at.store(19, Ordering::Relaxed);
            let mut stream = model
                .stream(Disks::new(), slots(2), beside, device)
                .unwrap();
            let (count, error) = first_error(&model, &mut stream);
            assert_eq!(count, 2);
            let LoadError::Device { file, message } = error else {
                panic!("{error}")
            };
            assert_eq!(file.to_str(), Some("model.safetensors"));
            assert!(message.to_string().contains("gone"), "{message}");
        }
    });
}

#[test]
fn a_panic_of_the_thread_beside_is_an_error() {
    soon(|| {
        let model = model();
        let device = host();
        let state = device.state.clone();
        state.fails_at.store(19, Ordering::Relaxed);
        state.panics.store(true, Ordering::Relaxed);
        let mut stream = model.stream(Disks::new(), slots(2), true, device).unwrap();
        let (count, _) = first_error(&model, &mut stream);
        assert_eq!(count, 2);
        let error = model.check(&mut stream, 2).unwrap_err();
        assert!(matches!(error, LoadError::Device { .. }), "{error}");
    });
}

#[test]
fn a_device_without_room_refuses_before_anything_is_read() {
    let model = model();
    let files = Disks::new();
    let state = files.state.clone();
    let slot = 8 * BLOCK as u64;
    let sink = Device::new(NullSink::with_capacity(3 * slot - 1));
    let error = model.stream(files, slots(3), true, sink).err().unwrap();
    let LoadError::OutOfMemory { needed, free, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((needed, free), (slot, slot - 1));
    assert_eq!(state.bytes_read(), 0);
}

#[test]
fn a_caller_may_stop_while_the_disk_hangs() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let files = Disks::new();
            let state = files.state.clone();
            state.set_hangs(true);
            let mut stream = model
                .stream(files, slots(2), beside, host().poisoned())
                .unwrap();
            let asked = AtomicUsize::new(0);
            let cancelled = || asked.fetch_add(1, Ordering::Relaxed) == 3;
            let module = &model.groups[0];
            let error = stream
                .with_group(0, module, &cancelled, |_| ())
                .unwrap_err();
            assert!(error.is_cancelled(), "{error}");
            state.set_hangs(false);
            let error = stream.with_group(0, module, &|| true, |_| ()).unwrap_err();
            assert!(error.is_cancelled(), "{error}");
            for group in [0, 1, 2, 3, 0] {
                model.check(&mut stream, group).unwrap();
            }
        }
    });
}

#[test]
fn after_a_panic_of_the_work_it_goes_on() {
    soon(|| {
        for beside in [false, true] {
            let model = model();
            let mut stream = model
                .stream(Disks::new(), slots(2), beside, null())
                .unwrap();
            model.lend(&mut stream, 0).unwrap();
            let work = || {
                let module = &model.groups[1];
                stream.with_group(1, module, &|| false, |_| panic!("as was asked for"))
            };
            let panicked: Result<Result<(), _>, _> = catch_unwind(AssertUnwindSafe(work));
            assert!(panicked.is_err());
            for group in [2, 3, 0, 1, 2] {
                model.lend(&mut stream, group).unwrap();
            }
        }
    });
}

/// Drops a stream after some groups were lent; the files must be nobody's then.
fn drop_after(groups: usize, beside: bool, prepare: impl Fn(&disk::State)) {
    let model = model();
    let files = Disks::new();
    let state = files.state.clone();
    prepare(&state);
    let mut stream = model
        .stream(files.clone(), slots(2), beside, host())
        .unwrap();
    for group in 0..groups {
        let _ = model.lend(&mut stream, group % 4);
    }
    drop(stream);
    assert_eq!(files.holders(), 1, "a thread has not ended");
    let read = state.bytes_read();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(state.bytes_read(), read, "a thread still reads");
}

#[test]
fn dropped_in_the_middle_it_leaves_nothing_running() {
    soon(|| {
        for beside in [false, true] {
            for groups in [0, 1, 3, 4, 9] {
                drop_after(groups, beside, |_| ());
                let slow = Duration::from_millis(2);
                drop_after(groups, beside, |state| *state.delay.lock().unwrap() = slow);
                drop_after(groups, beside, |state| {
                    *state.broken.lock().unwrap() = Some(20 * BLOCK as u64);
                });
            }
        }
    });
}

#[test]
fn dropped_by_a_panic_it_leaves_nothing_running() {
    soon(|| {
        let model = model();
        let files = Disks::new();
        let mut stream = model.stream(files.clone(), slots(2), true, host()).unwrap();
        let work = move || {
            let module = &model.groups[0];
            stream.with_group(0, module, &|| false, |_| panic!("as was asked for"))
        };
        let panicked: Result<Result<(), _>, _> = catch_unwind(AssertUnwindSafe(work));
        assert!(panicked.is_err());
        assert_eq!(files.holders(), 1);
    });
}
