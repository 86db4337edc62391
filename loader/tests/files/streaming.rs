//! Weights of real files, streamed round after round.

use std::fs::OpenOptions;

use backends::NullSink;
use backends::parameters::UnfilledModule;
use backends::weight::Weight;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use loader::{
    Component, Deferred, ElementType, LoadError, LoadMethod, StreamOptions, WeightStream, Weights,
    group_bytes, load, load_deferring,
};

use crate::modules::{Linear, Names, Norm, OnDisk, on_disk, values};
use crate::writer::Writer;

#[derive(Module, Debug)]
struct Block<B: Backend> {
    q: Linear<B>,
    k: Linear<B>,
}

#[derive(Module, Debug)]
struct Blocks<B: Backend> {
    txt_norm: Norm<B>,
    blocks: Vec<Block<B>>,
}

const BLOCKS: usize = 5;
const SHAPE: [usize; 2] = [40, 64];

fn layer(block: usize, name: &str) -> String {
    format!("transformer_blocks.{block}.attn.to_{name}")
}

/// Blocks whose weights are FP8 and BF16 by turns, with a scale or one for each row, and not in
/// their order.
fn file() -> Writer {
    let mut file = Writer::default().bf16("txt_norm.weight", &[4], &[1.0, 2.0, 3.0, 4.0]);
    for (name, order) in [("q", [3, 0, 4, 1, 2]), ("k", [0, 1, 2, 3, 4])] {
        for block in order {
            let layer = layer(block, name);
            let key = format!("{layer}.weight");
            let fp8 = (block + name.len()).is_multiple_of(2) || name == "k";
            let dtype = match fp8 {
                true => ElementType::F8E4M3,
                false => ElementType::BF16,
            };
            let bytes = SHAPE[0] * SHAPE[1] * dtype.block().bytes;
            let salt = 7 * block + usize::from(name == "k");
            let bytes = (0..bytes).map(|i| ((i * 31 + i / 97 + salt) % 113) as u8);
            file = file.tensor(&key, dtype, &SHAPE, &bytes.collect::<Vec<u8>>());
            file = file.bf16(
                &format!("{layer}.bias"),
                &[SHAPE[0]],
                &[block as f32; SHAPE[0]],
            );
            let scale = format!("{layer}.weight_scale");
            file = match block {
                _ if !fp8 => file,
                1 | 2 => file.f32(&scale, &[SHAPE[0]], &[0.25; SHAPE[0]]),
                _ => file.f32(&scale, &[], &[0.5]),
            };
        }
    }
    file
}

fn blocks(weights: &Weights) -> UnfilledModule<Blocks<Flex>> {
    let names = Names::default();
    let linear = |block, name| {
        let layer = layer(block, name);
        let format = weights.format(&format!("{layer}.weight"));
        Linear {
            bias: Some(names.float(&format!("{layer}.bias"), [SHAPE[0]])),
            ..names.linear(&layer, SHAPE, format)
        }
    };
    let block = |block| Block {
        q: linear(block, "q"),
        k: linear(block, "k"),
    };
    let module = Blocks {
        txt_norm: names.norm("txt_norm", 4),
        blocks: (0..BLOCKS).map(block).collect(),
    };
    names.of(module)
}

/// Blocks 1 and 3 stay; the number of a streamed block is its group.
fn group_of(name: &str) -> Option<usize> {
    let block = name
        .strip_prefix("transformer_blocks.")?
        .split('.')
        .next()?;
    block.parse().ok().filter(|block| block % 2 == 0)
}

fn load_without_streamed(disk: &OnDisk) -> (Blocks<Flex>, Deferred) {
    let (module, deferred, _) = load_deferring(
        LoadMethod::Read,
        blocks(&disk.weights),
        &disk.weights,
        &|name| group_of(name).is_some(),
        &FlexDevice,
        &mut (),
    )
    .unwrap();
    (module, deferred)
}

/// All elements of a layer, its scale and its bias.
fn contents(layer: &Linear<Flex>) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
    let bias = values(layer.bias.as_ref().unwrap());
    match &layer.weight {
        Weight::Packed(weight) => {
            let codes = weight.bytes.val().into_data().to_vec::<u8>().unwrap();
            (codes, values(&weight.scale), bias)
        }
        Weight::Dense(weight) => {
            let elements = weight.val().into_data().as_bytes().to_vec();
            (elements, Vec::new(), bias)
        }
    }
}

#[test]
fn a_streamed_block_is_the_loaded_one() {
    for file in [file(), file().misaligned()] {
        let disk = on_disk(&file, Component::Transformer);
        let (resident, _) =
            load(blocks(&disk.weights), &disk.weights, &FlexDevice, &mut ()).unwrap();
        let (module, deferred) = load_without_streamed(&disk);
        for ram_cache in [0, 1 << 20] {
            let options = StreamOptions {
                ram_cache,
                ..StreamOptions::default()
            };
            let stream = WeightStream::<Flex>::open(
                &disk.weights,
                &deferred,
                &group_of,
                options,
                &FlexDevice,
            );
            let mut stream = stream.unwrap();
            for _ in 0..3 {
                for (index, expected) in resident.blocks.iter().enumerate() {
                    let module = &module.blocks[index];
                    let lent = stream.with_group(index, module, &|| false, |block| {
                        (contents(&block.q), contents(&block.k))
                    });
                    let expected = (contents(&expected.q), contents(&expected.k));
                    assert!(lent.unwrap() == expected, "block {index}");
                }
            }
            let groups = group_bytes(&disk.weights, &group_of);
            let slot = groups.values().map(|group| group.slot).max().unwrap();
            let figures = stream.figures();
            assert_eq!((figures.groups, figures.slot_bytes), (9, 2 * slot));
            let bytes: u64 = groups.values().map(|group| group.bytes).sum();
            assert_eq!(figures.bytes_read + figures.bytes_from_cache, 3 * bytes);
            assert_eq!(figures.bytes_from_cache > 0, ram_cache > 0);
        }
    }
}

#[test]
fn a_null_device_may_take_the_place_of_a_device() {
    let disk = on_disk(&file(), Component::Transformer);
    let (module, deferred) = load_without_streamed(&disk);
    let mut stream = WeightStream::<Flex, NullSink>::through(
        NullSink::new(),
        true,
        &disk.weights,
        &deferred,
        &group_of,
        StreamOptions::default(),
    )
    .unwrap();
    for index in [0, 2, 4, 0, 2, 4, 2] {
        let module = &module.blocks[index];
        stream.with_group(index, module, &|| false, |_| ()).unwrap();
    }
}

#[test]
fn a_file_that_is_written_to_or_truncated_is_noticed_in_the_round() {
    for truncated in [false, true] {
        let disk = on_disk(&file(), Component::Transformer);
        let (module, deferred) = load_without_streamed(&disk);
        let options = StreamOptions::default();
        let stream =
            WeightStream::<Flex>::open(&disk.weights, &deferred, &group_of, options, &FlexDevice);
        let mut stream = stream.unwrap();
        let mut lend = |index: usize| {
            let module = &module.blocks[index];
            stream.with_group(index, module, &|| false, |_| ())
        };
        lend(0).unwrap();
        let file = OpenOptions::new().write(true).open(&disk.path).unwrap();
        match truncated {
            true => file.set_len(1000).unwrap(),
            false => {
                let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
                file.set_modified(later).unwrap();
            }
        }
        let error = lend(2).and_then(|()| lend(4)).unwrap_err();
        assert!(matches!(error, LoadError::Changed { .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_renamed_over_is_read_to_the_end() {
    let disk = on_disk(&file(), Component::Transformer);
    let (module, deferred) = load_without_streamed(&disk);
    let options = StreamOptions::default();
    let stream =
        WeightStream::<Flex>::open(&disk.weights, &deferred, &group_of, options, &FlexDevice);
    let mut stream = stream.unwrap();
    let other = disk.path.with_extension("other");
    std::fs::write(&other, "not a model").unwrap();
    std::fs::rename(&other, &disk.path).unwrap();
    for index in [0, 2, 4, 0, 2, 4] {
        let module = &module.blocks[index];
        stream.with_group(index, module, &|| false, |_| ()).unwrap();
    }
    let again =
        WeightStream::<Flex>::open(&disk.weights, &deferred, &group_of, options, &FlexDevice);
    let error = again.err().unwrap();
    assert!(matches!(error, LoadError::Changed { .. }), "{error}");
}
