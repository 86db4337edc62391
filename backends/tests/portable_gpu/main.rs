//! Checks of a portable GPU backend against the processor: uploads in odd pieces,
//! weights in every format, linear layers, and the fused operations.
//!
//! Runs on every such backend of the build that has a device; a software Vulkan driver is one.

#![cfg(feature = "flex")]

mod fused;
mod slots;
#[path = "../../src/test_random.rs"]
mod test_random;
mod uploads;
mod weights;

use backends::device::{BackendKind, DeviceChoice, probe};
use backends::{ModelBackend, OnBackend, dispatch};
use burn::tensor::Tensor;
use burn_flex::Flex;
use test_random::random;

const PORTABLE: [BackendKind; 4] = [
    BackendKind::Rocm,
    BackendKind::Metal,
    BackendKind::Vulkan,
    BackendKind::WebGpu,
];

/// Runs a test on every device's backend, or says that there is none.
fn everywhere(test: impl OnBackend<Output = ()> + Copy + Send) {
    let mut devices = 0;
    for kind in PORTABLE {
        if probe(kind).is_ok_and(|found| !found.is_empty()) {
            devices += 1;
            dispatch(&DeviceChoice { kind, index: 0 }, test).expect("it was found");
        }
    }
    if devices == 0 {
        let required = std::env::var_os("PORTABLE_GPU_REQUIRED").is_some();
        assert!(
            !required,
            "PORTABLE_GPU_REQUIRED is set, and there is no device"
        );
        eprintln!("skipped: no portable GPU backend of this build has a device");
    }
}

/// The same values on a device.
fn on<B: ModelBackend, const D: usize>(device: &B::Device, x: &Tensor<Flex, D>) -> Tensor<B, D> {
    Tensor::from_data(x.to_data(), (device, x.dtype()))
}

fn values<B: ModelBackend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.into_vec().expect("converted to f32")
}

/// Fails if an element differs by more than rounding does in sums of a few hundred.
fn close<B: ModelBackend, const D: usize>(
    what: &str,
    found: Tensor<B, D>,
    expected: Tensor<Flex, D>,
) {
    B::sync(&found.device()).expect(what);
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let [found, expected] = [values(found), values(expected)];
    let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
    assert!(largest > 0.1, "{what}: all but zero");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= largest * 2e-5,
            "{what}[{i}]: {found} against {expected}, and the largest is {largest}"
        );
    }
}

/// Fails if an element differs in a bit; all NaNs are one.
fn same(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
            "{what}[{i}]: {found} against {expected}"
        );
    }
}
