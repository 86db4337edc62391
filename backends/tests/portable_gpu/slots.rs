//! Memory whose bytes are replaced while the device computes with it.

use backends::upload::{HostBuffer, MemoryId, Piece, SLOT_ALIGNMENT};
use backends::{
    Activation, DeviceSink, Fp8Format, ModelBackend, OnBackend, SlotSink, Slots, UploadError,
};
use burn::tensor::{DType, Tensor, TensorPrimitive};
use burn_flex::Flex;

use crate::weights::of_codes;
use crate::{close, everywhere, on, random};

/// Rows and columns of the two weights of a slot.
const SIZES: [usize; 2] = [24, 43];
/// Where the codes of the second one begin, behind the floats of the first.
const CODES: usize = (SIZES[0] * SIZES[1] * 4).next_multiple_of(SLOT_ALIGNMENT);
/// Bytes of a slot: no whole words.
const SLOT: usize = CODES + SIZES[0] * SIZES[1] + 1;
const FORMAT: Fp8Format = Fp8Format::E4M3;
const SCALE: f32 = 0.5;

/// The two weights of a round.
struct Round {
    floats: Tensor<Flex, 2>,
    codes: Vec<u8>,
}

impl Round {
    fn new(round: usize) -> Self {
        let codes = (0..SIZES[0] * SIZES[1]).map(|i| ((i * 7 + round * 29) % 0x70) as u8);
        Self {
            floats: random(SIZES),
            codes: codes.collect(),
        }
    }

    /// Writes them into a slot.
    fn write<B: ModelBackend>(
        &self,
        sink: &mut B::Sink,
        memory: MemoryId,
    ) -> Result<(), UploadError> {
        let floats = self.floats.to_data();
        for (offset, bytes) in [(0, floats.as_bytes()), (CODES, &self.codes)] {
            let mut buffer = HostBuffer::new(bytes.len())?;
            buffer[..bytes.len()].copy_from_slice(bytes);
            let piece = Piece {
                memory,
                offset,
                source: 0..bytes.len(),
            };
            sink.write(buffer, &[piece])?;
        }
        Ok(())
    }

    /// The sum of both products, on the processor.
    fn expected(&self, x: &Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        let codes = self.codes.iter().map(|&code| FORMAT.decode(code) * SCALE);
        let codes: Vec<f32> = codes.collect();
        let codes = Tensor::<Flex, 1>::from_floats(&codes[..], &Default::default());
        let weights = self.floats.clone() + codes.reshape(SIZES);
        x.clone().matmul(weights.transpose())
    }
}

#[derive(Clone, Copy)]
struct Refills;

impl OnBackend for Refills {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        let mut sink = B::sink(&device).expect("a device");
        let memories = [0, 1].map(|_| sink.allocate(SLOT).expect("room"));
        let slots = sink.slots();
        let x = random([3, SIZES[1]]);
        let rounds: Vec<Round> = (0..6).map(Round::new).collect();
        let mut used: [Option<<B::Sink as SlotSink<B>>::Used>; 2] = [None, None];
        let mut sums = Vec::new();
        for (i, round) in rounds.iter().enumerate() {
            let memory = memories[i % 2];
            if let Some(used) = &used[i % 2] {
                sink.write_after(used).expect("a device");
            }
            round.write::<B>(&mut sink, memory).expect("in bounds");
            let written = sink.written().expect("a device");
            slots.read_after(&written).expect("a device");
            let x = on::<B, 2>(&device, &x);
            let floats = slots.floats_in(memory, 0, &SIZES, DType::F32);
            let floats = TensorPrimitive::Float(floats.expect("in bounds"));
            let floats = Tensor::<B, 2>::from_primitive(floats);
            let codes = slots.codes_in(memory, CODES, &SIZES).expect("in bounds");
            let codes = of_codes::<B>(&device, Tensor::from_primitive(codes), FORMAT, SCALE);
            // Nothing waits for the products before the next bytes come.
            sums.push(
                x.clone().matmul(floats.transpose())
                    + codes.linear(x, None, None, Activation::None),
            );
            used[i % 2] = Some(slots.used().expect("a device"));
        }
        drop(sink);
        for (sum, round) in sums.into_iter().zip(&rounds) {
            close::<B, 2>("products with lent weights", sum, round.expected(&x));
        }
        for (offset, bytes) in [(0, SLOT + 1), (1, 1), (CODES, SLOT)] {
            let lent = slots.codes_in(memories[0], offset, &[bytes]).map(drop);
            let error = lent.expect_err("outside");
            assert!(matches!(error, UploadError::OutOfBounds { .. }), "{offset}");
        }
    }
}

#[test]
fn slots_show_the_bytes_of_their_last_filling() {
    everywhere(Refills);
}
