//! Bytes on their way to the device.

use backends::upload::{HostBuffer, MemoryId, Piece};
use backends::{DeviceSink, ModelBackend, OnBackend, TensorSink};
use burn::tensor::{Int, Tensor};

use crate::everywhere;

/// Bytes in a device's memory, which they reached in pieces of these lengths, in turn.
pub(crate) fn uploaded<B: ModelBackend>(
    device: &B::Device,
    bytes: &[u8],
    lengths: &[usize],
) -> (B::Sink, MemoryId) {
    let mut sink = B::sink(device).expect("a device");
    let memory = sink.allocate(bytes.len()).expect("room");
    let mut pieces = Vec::new();
    let mut begin = 0;
    for length in lengths.iter().cycle() {
        if begin == bytes.len() {
            break;
        }
        let end = bytes.len().min(begin + length);
        pieces.push(Piece {
            memory,
            offset: begin,
            // A byte off in the buffer.
            source: begin + 1..end + 1,
        });
        begin = end;
    }
    // Neither in order nor in one buffer.
    for pieces in pieces.rchunks(3) {
        let mut buffer = HostBuffer::new(bytes.len() + 1).expect("room");
        buffer[1..=bytes.len()].copy_from_slice(bytes);
        sink.write(buffer, pieces).expect("in bounds");
    }
    sink.finish().expect("all arrives");
    (sink, memory)
}

#[derive(Clone, Copy)]
struct Uploads;

impl OnBackend for Uploads {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        for size in [1, 2, 3, 4, 5, 8, 11, 61, 1026] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + 3) as u8).collect();
            let ways = [&[size][..], &[29], &[30, 1], &[31, 2, 4], &[5, 32, 9, 4]];
            for lengths in ways {
                let (mut sink, memory) = uploaded::<B>(&device, &bytes, lengths);
                let tensor = sink.codes(memory, &[1, size]).expect("of this size");
                let found = Tensor::<B, 2, Int>::from_primitive(tensor).into_data();
                assert_eq!(
                    found.to_vec::<u8>().expect("U8"),
                    bytes,
                    "{size} bytes in pieces of {lengths:?}"
                );
            }
        }
    }
}

#[test]
fn bytes_arrive_in_pieces_of_any_size() {
    everywhere(Uploads);
}
