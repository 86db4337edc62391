//! The bytes that are lent, round after round.

use proptest::prelude::*;

use super::*;

/// Groups of codes and floats whose weights are spread over two files, with gaps, odd places and
/// groups of different sizes; one of them lies in both files.
fn mixed() -> Model {
    let block = BLOCK as u64;
    Model::new(&[
        vec![
            codes(0, 10..10 + 3 * block),
            bf16(1, 6..6 + 2 * block),
            codes(0, 30 * block + 5..30 * block + 6),
        ],
        vec![bf16(0, 100 * block..100 * block + 18)],
        vec![
            codes(1, 9 * block..9 * block),
            codes(1, 2 * block + 6..7 * block + 13),
            bf16(0, 20 * block + 2..25 * block + 2),
        ],
        vec![codes(0, 6 * block..6 * block + 257), codes(1, 0..6)],
    ])
}

#[test]
fn every_round_lends_the_bytes_of_the_files() {
    soon(|| {
        let model = mixed();
        for beside in [false, true] {
            for count in 1..=3 {
                let device = host().poisoned();
                let stream = model.stream(Disks::new(), slots(count), beside, device);
                let mut stream = stream.unwrap();
                for _ in 0..3 {
                    for group in 0..model.groups.len() {
                        model.check(&mut stream, group).unwrap();
                    }
                }
                assert_eq!(stream.figures().groups, 12);
            }
        }
    });
}

#[test]
fn slots_are_aligned_and_as_large_as_the_largest_group() {
    let model = mixed();
    let group_of = |name: &str| name.parse().ok();
    let layout = Layout::new(&model.deferred, &group_of, ring(), 0);
    for group in &layout.groups {
        let mut end = 0;
        for weight in &group.weights {
            assert!(weight.offset >= end && weight.offset % 256 == 0);
            let size = match weight.stored_as {
                StoredAs::Codes => 1,
                StoredAs::Floats(dtype) => dtype.size(),
            };
            end = weight.offset + weight.shape.iter().product::<usize>() * size;
        }
        assert!(end <= layout.slot_bytes);
    }
    let largest = (0..4).map(|group| model.bytes(group)).max().unwrap() as usize;
    assert!((largest..largest + 3 * 256).contains(&layout.slot_bytes));
}

#[test]
fn the_module_keeps_what_it_holds_itself_and_takes_nothing_lent() {
    let model = Model::plain(2, 1);
    let stream = model.stream(Disks::new(), slots(2), false, host());
    let mut stream = stream.unwrap();
    let own = Weight::uninitialized([1, 1], WeightFormat::Dense, &FlexDevice);
    let module = Layers {
        weights: vec![model.groups[0].weights[0].clone(), own],
    };
    let lent = stream.with_group(0, &module, &|| false, |lent| bytes(&lent.weights[1]));
    assert_eq!(lent.unwrap(), [0; 4]);
    let Weight::Packed(weight) = &module.weights[0] else {
        panic!("not codes")
    };
    assert!(!weight.bytes.is_initialized(), "it was only lent");
}

#[test]
fn a_group_without_weights_needs_no_bytes() {
    let model = Model::plain(2, 1);
    let none = Deferred::default();
    let layout = |deferred| Layout::new(deferred, &|name| name.parse().ok(), ring(), 0);
    let streamed = Streamed {
        path: "model.safetensors".into(),
        layout: layout(&none),
        files: Disks::new(),
    };
    let mut nothing = Lender::new(streamed, slots(2), true, null()).unwrap();
    assert_eq!(nothing.figures().slot_bytes, 0);
    let mut stream = model.stream(Disks::new(), slots(2), true, null()).unwrap();
    for stream in [&mut nothing, &mut stream] {
        let ran = stream.with_group(7, &model.groups[0], &|| false, |_| "ran");
        assert_eq!(ran.unwrap(), "ran");
    }
}

#[test]
fn two_streams_at_once() {
    soon(|| {
        std::thread::scope(|scope| {
            for beside in [false, true, true] {
                scope.spawn(move || {
                    let model = mixed();
                    let stream = model.stream(Disks::new(), slots(2), beside, host());
                    let mut stream = stream.unwrap();
                    for round in 0..20 {
                        let group = round % model.groups.len();
                        model.check(&mut stream, group).unwrap();
                    }
                });
            }
        });
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Weights anywhere in two files, in any groups, asked for in any order.
    #[test]
    fn any_group_is_lent_whole(
        weights in prop::collection::vec((0u64..9000, 0u64..3000, 0usize..4, any::<bool>()), 1..24),
        asked in prop::collection::vec(0usize..4, 1..12),
        count in 1usize..4,
        cached in 0u64..12,
        beside in any::<bool>(),
    ) {
        let mut places = vec![Vec::new(); 4];
        let mut ends = [0; 2];
        for (length, gap, group, second) in weights {
            let file = usize::from(second);
            let start = ends[file] + gap;
            ends[file] = start + length;
            places[group].push(codes(file, start..start + length));
        }
        let model = Model::new(&places);
        let options = StreamOptions {
            ram_cache: cached * BLOCK as u64,
            ..slots(count)
        };
        let stream = model.stream(Disks::new(), options, beside, host().poisoned());
        let mut stream = stream.unwrap();
        for group in asked {
            model.check(&mut stream, group).unwrap();
        }
    }
}
