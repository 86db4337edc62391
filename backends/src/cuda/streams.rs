//! CubeCL's own streams, which it keeps to itself.
//!
//! CubeCL 0.10 has a stream for each thread that computes, and shows them nowhere but in the debug
//! output of its server. The addresses are read out of that output. They stay valid, since CubeCL
//! never destroys a stream.

use std::collections::HashSet;
use std::fmt::{self, Write};

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::device::Device;
use burn_cubecl::cubecl::device_handle::DeviceHandle;
use burn_cubecl::cubecl::prelude::Runtime;
use burn_cubecl::cubecl::server::ComputeServer;
use burn_cubecl::cubecl::stream_id::StreamId;
use burn_cuda::CudaDevice;
use cudarc::driver::sys::CUstream;

type Server = <CudaRuntime as Runtime>::Server;

/// The streams of a device that have been found so far.
pub(super) struct Streams {
    server: DeviceHandle<Server>,
    /// The numbers of streams that existed when the addresses were last read.
    met: HashSet<StreamId>,
    addresses: Vec<usize>,
}

impl Streams {
    /// No stream yet. Not to be called with a lock that the device's thread may want, since
    /// CubeCL's server may be started there.
    pub(super) fn new(device: &CudaDevice) -> Self {
        Self {
            server: DeviceHandle::new(device.to_id()),
            met: HashSet::new(),
            addresses: Vec::new(),
        }
    }

    /// Looks for the streams again if that of a number may be a new one, and tells whether it was
    /// so. On the device's thread only, where CubeCL's server can be asked at once.
    pub(super) fn meet(&mut self, stream: StreamId) -> bool {
        if !self.met.insert(stream) {
            return false;
        }
        let addresses = self.server.submit_blocking(|server| {
            // CubeCL makes a stream when it is first asked for something; the answer is of no
            // interest.
            let _ = server.memory_usage(stream);
            let mut addresses = Addresses::default();
            let _ = write!(addresses, "{server:?}");
            addresses.found
        });
        // A server that does not answer has no work either.
        self.addresses = addresses.unwrap_or_default();
        true
    }

    /// The streams; none if CubeCL's output does not show them.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = CUstream> + '_ {
        self.addresses.iter().map(|&address| address as CUstream)
    }
}

/// What stands in front of the address of a stream.
const MARKER: &[u8] = b"Stream { sys: 0x";

/// Keeps the addresses of streams, and nothing else, of what is written to it.
#[derive(Debug, Default)]
struct Addresses {
    found: Vec<usize>,
    /// Bytes of the marker that were seen.
    matched: usize,
}

impl Write for Addresses {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            self.read(byte);
        }
        Ok(())
    }
}

impl Addresses {
    fn read(&mut self, byte: u8) {
        if self.matched == MARKER.len() {
            if let Some(digit) = char::from(byte).to_digit(16)
                && let Some(address) = self.found.last_mut()
            {
                *address = (*address << 4) | digit as usize;
                return;
            }
            self.matched = 0;
        }
        if byte != MARKER[self.matched] {
            // The marker's first byte is nowhere else in it.
            self.matched = 0;
        }
        if byte == MARKER[self.matched] {
            self.matched += 1;
        }
        if self.matched == MARKER.len() {
            self.found.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has the debug output that CubeCL's type of this name has.
    #[derive(Debug)]
    struct Stream {
        #[expect(dead_code, reason = "written by its debug output")]
        sys: *const u8,
        #[expect(dead_code, reason = "written by its debug output")]
        errors: Vec<&'static str>,
    }

    fn stream(address: usize) -> Option<Stream> {
        Some(Stream {
            sys: std::ptr::without_provenance(address),
            errors: vec!["Stream { Stream", "sys: 0x12"],
        })
    }

    #[test]
    fn addresses_are_read_out_of_debug_output() {
        let mut addresses = Addresses::default();
        let shown = [None, stream(0x7f12_a4c0), None, stream(0xbeef)];
        write!(addresses, "{:?}, comm_stream: 0x77", shown).expect("it takes everything");
        assert_eq!(addresses.found, [0x7f12_a4c0, 0xbeef]);
    }

    #[test]
    fn a_marker_is_found_however_it_is_cut() {
        let text = "StreamStream { sys: 0x1fa, Stream { sys: 0xa }Stream { sys: 9";
        for cut in 0..text.len() {
            let mut addresses = Addresses::default();
            let (first, second) = text.split_at(cut);
            write!(addresses, "{first}").expect("it takes everything");
            write!(addresses, "{second}").expect("it takes everything");
            assert_eq!(addresses.found, [0x1fa, 0xa], "cut at {cut}");
        }
    }
}
