#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backends::upload::MemoryId;
use proptest::prelude::*;

use super::ring::{BUFFER_BYTES, BUFFERS};
use super::*;
use crate::source::BLOCK;

/// A ring with small buffers.
fn of_blocks(blocks: usize) -> Ring {
    Ring {
        buffer_bytes: blocks * BLOCK,
        ..Ring::of_cores(2)
    }
}

/// A file whose bytes tell their offset.
#[derive(Default)]
struct Disk {
    length: u64,
    /// Reads that touch this byte fail.
    broken: Option<u64>,
    /// Each read takes so long.
    delay: Duration,
    read: AtomicU64,
}

fn disk(length: u64) -> Disk {
    Disk {
        length,
        ..Disk::default()
    }
}

fn byte(offset: u64) -> u8 {
    (offset * 7 + offset / 251) as u8
}

impl ReadAt for Disk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::thread::sleep(self.delay);
        let read = (buffer.len() as u64).min(self.length.saturating_sub(offset));
        if self
            .broken
            .is_some_and(|at| (offset..offset + read).contains(&at))
        {
            // EIO, as a failing disk gives.
            return Err(io::Error::from_raw_os_error(5));
        }
        for (i, target) in buffer[..read as usize].iter_mut().enumerate() {
            *target = byte(offset + i as u64);
        }
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read as usize)
    }
}

/// A device that keeps what it gets, and gives each buffer back as late as it can.
#[derive(Default)]
struct Hoard {
    memories: Vec<Vec<u8>>,
    held: VecDeque<HostBuffer>,
    most_held: usize,
    made: usize,
    /// It fails after so many buffers.
    lasts: Option<usize>,
}

impl DeviceSink for Hoard {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        self.memories.push(vec![0; bytes]);
        Ok(MemoryId::new(self.memories.len() - 1))
    }

    fn host_buffer(&mut self, bytes: usize) -> Result<HostBuffer, UploadError> {
        self.made += 1;
        HostBuffer::new(bytes)
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        if let Some(lasts) = &mut self.lasts {
            *lasts = lasts
                .checked_sub(1)
                .ok_or(UploadError::Device("gone".into()))?;
        }
        for piece in pieces {
            let bytes = &buffer[piece.source.clone()];
            let memory = &mut self.memories[piece.memory.index()];
            memory[piece.offset..piece.offset + bytes.len()].copy_from_slice(bytes);
        }
        self.held.push_back(buffer);
        self.most_held = self.most_held.max(self.held.len());
        Ok(())
    }

    fn reclaim(&mut self, wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        Ok(if wait { self.held.pop_front() } else { None })
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        Ok(())
    }
}

/// Collects the host's part; stops after so many bytes.
#[derive(Default)]
struct Host {
    received: Vec<(usize, u64, Vec<u8>)>,
    advanced: u64,
    stops_at: Option<u64>,
}

impl Follow for Host {
    fn receive(&mut self, number: usize, offset: u64, bytes: &[u8]) -> Result<(), LoadError> {
        self.received.push((number, offset, bytes.to_vec()));
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<(), LoadError> {
        self.advanced += bytes;
        match self.stops_at {
            Some(at) if self.advanced >= at => Err(LoadError::Cancelled),
            _ => Ok(()),
        }
    }
}

/// Needs of one file for a device.
fn needs(sink: &mut Hoard, ranges: &[Range<u64>]) -> Vec<Need> {
    let need = |range: &Range<u64>| Need {
        file: 0,
        range: range.clone(),
        destination: Destination::Device(
            sink.allocate((range.end - range.start) as usize).unwrap(),
        ),
    };
    ranges.iter().map(need).collect()
}

fn expected(range: &Range<u64>) -> Vec<u8> {
    range.clone().map(byte).collect()
}

#[test]
fn a_tensor_larger_than_the_ring_arrives_whole() {
    let file = disk(40 * BLOCK as u64);
    let mut sink = Hoard::default();
    // Larger than eight buffers of one block each.
    let range = 17..39 * BLOCK as u64 + 5;
    let needs = needs(&mut sink, std::slice::from_ref(&range));
    stream_by(
        &of_blocks(1),
        &[file],
        &needs,
        &mut sink,
        &mut Host::default(),
    )
    .unwrap();
    assert_eq!(sink.memories[0], expected(&range));
    assert!(sink.most_held <= BUFFERS, "{} buffers", sink.most_held);
    assert!(sink.made <= BUFFERS, "{} buffers", sink.made);
}

#[test]
fn what_nobody_needs_is_not_read() {
    let file = disk(100 << 20);
    let mut sink = Hoard::default();
    let needs = needs(&mut sink, &[100..200, 50 << 20..(50 << 20) + 10, 0..0]);
    stream(&[&file], &needs, &mut sink, &mut Host::default()).unwrap();
    assert_eq!(file.read.load(Ordering::Relaxed), 2 * BLOCK as u64);
    assert_eq!(sink.memories[1], expected(&needs[1].range));
    assert_eq!(sink.memories[2], [0; 0]);
}

#[test]
fn a_disk_slower_than_the_ring_is_waited_for() {
    let mut file = disk(20 * BLOCK as u64);
    file.delay = Duration::from_millis(3);
    let mut sink = Hoard::default();
    let range = 0..file.length;
    let needs = needs(&mut sink, std::slice::from_ref(&range));
    stream_by(
        &of_blocks(1),
        &[file],
        &needs,
        &mut sink,
        &mut Host::default(),
    )
    .unwrap();
    assert_eq!(sink.memories[0], expected(&range));
}

#[test]
fn a_read_error_midway_names_its_file_and_ends_everything() {
    let mut bad = disk(20 * BLOCK as u64);
    bad.broken = Some(11 * BLOCK as u64 + 1);
    let mut sink = Hoard::default();
    let mut needs = needs(&mut sink, &[0..bad.length, 0..bad.length]);
    needs[1].file = 1;
    let files = [disk(bad.length), bad];
    let error = stream_by(
        &of_blocks(1),
        &files,
        &needs,
        &mut sink,
        &mut Host::default(),
    )
    .unwrap_err();
    match error {
        StreamError::Read { file, error } => {
            assert_eq!((file, error.raw_os_error()), (1, Some(5)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_ends_early_is_noticed() {
    let file = disk(3 * BLOCK as u64 + 99);
    let mut sink = Hoard::default();
    let needs = needs(&mut sink, &[0..100, 200..3 * BLOCK as u64 + 100]);
    let error = stream_by(
        &of_blocks(1),
        &[file],
        &needs,
        &mut sink,
        &mut Host::default(),
    )
    .unwrap_err();
    let StreamError::Read { file: 0, error } = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_device_that_fails_midway_ends_everything() {
    let file = disk(64 * BLOCK as u64);
    let mut sink = Hoard {
        lasts: Some(20),
        ..Hoard::default()
    };
    let needs = needs(&mut sink, std::slice::from_ref(&(0..64 * BLOCK as u64)));
    let error = stream_by(
        &of_blocks(1),
        &[&file],
        &needs,
        &mut sink,
        &mut Host::default(),
    );
    assert!(matches!(
        error,
        Err(StreamError::Upload(UploadError::Device(_)))
    ));
    let read = file.read.load(Ordering::Relaxed);
    assert!(read < file.length, "the rest is not read");
}

#[test]
fn the_caller_may_stop_it() {
    let file = disk(64 * BLOCK as u64);
    let mut sink = Hoard::default();
    let needs = needs(&mut sink, std::slice::from_ref(&(0..64 * BLOCK as u64)));
    let mut host = Host {
        stops_at: Some(5 * BLOCK as u64),
        ..Host::default()
    };
    let error = stream_by(&of_blocks(1), &[&file], &needs, &mut sink, &mut host);
    assert!(matches!(
        error,
        Err(StreamError::Caller(LoadError::Cancelled))
    ));
    assert_eq!(host.advanced, 5 * BLOCK as u64);
}

#[test]
fn nothing_needed_is_done_at_once() {
    let mut sink = Hoard::default();
    stream::<Disk, _>(&[], &[], &mut sink, &mut Host::default()).unwrap();
    assert_eq!(ring_bytes(&[]), 0);
}

#[test]
fn the_ring_is_no_larger_than_what_is_read() {
    let mut sink = Hoard::default();
    let small = needs(&mut sink, std::slice::from_ref(&(0..10)));
    assert_eq!(ring_bytes(&small), BLOCK as u64);
    let large = Need {
        range: 0..1 << 40,
        ..small[0].clone()
    };
    assert_eq!(ring_bytes(&[large]), (BUFFERS * BUFFER_BYTES) as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Ranges of two files in any order, with gaps and without, to the host and the device.
    #[test]
    fn every_byte_gets_to_its_place(
        lengths in prop::collection::vec((0u64..9000, 0u64..3000, any::<bool>()), 1..40),
        split in any::<prop::sample::Index>(),
        blocks in 1usize..4,
        seed in any::<u64>(),
    ) {
        let mut sink = Hoard::default();
        let split = split.index(lengths.len());
        let mut at = 0;
        let mut needs: Vec<Need> = Vec::new();
        for (i, &(length, gap, on_host)) in lengths.iter().enumerate() {
            if i == split {
                at = 0;
            }
            let range = at + gap..at + gap + length;
            at = range.end;
            let destination = match on_host {
                true => Destination::Host(i),
                false => Destination::Device(sink.allocate(length as usize).unwrap()),
            };
            needs.push(Need { file: usize::from(i >= split), range, destination });
        }
        let total: u64 = lengths.iter().map(|(length, ..)| length).sum();
        let swaps = needs.len() as u64;
        for i in 0..swaps {
            needs.swap(i as usize, (seed.wrapping_mul(i + 1) % swaps) as usize);
        }
        let files = [disk(1 << 20), disk(1 << 20)];
        let mut host = Host::default();
        stream_by(&of_blocks(blocks), &files, &needs, &mut sink, &mut host).unwrap();
        prop_assert_eq!(host.advanced, total);
        for need in &needs {
            let bytes = match need.destination {
                Destination::Device(memory) => sink.memories[memory.index()].clone(),
                Destination::Host(number) => {
                    let mut bytes = vec![0; (need.range.end - need.range.start) as usize];
                    for (_, offset, part) in host.received.iter().filter(|part| part.0 == number) {
                        bytes[*offset as usize..*offset as usize + part.len()]
                            .copy_from_slice(part);
                    }
                    bytes
                }
            };
            prop_assert_eq!(bytes, expected(&need.range));
        }
    }
}
