//! Results come back from the device, once all of its work is known to be done.

use backends::ModelBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use model::pipeline::Observer;

use super::run::Run;
use crate::error::Error;
use crate::events::CancelToken;

/// Ends a phase when the caller asks for it.
pub(super) struct Interruptible<'a>(pub(super) &'a CancelToken);

impl<B: Backend> Observer<B> for Interruptible<'_> {
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Waits for all work of a device.
///
/// # Errors
/// The same as [`to_host`].
pub(super) fn wait<B: Backend>(
    check: impl Fn() -> Result<(), Error>,
    device: &B::Device,
) -> Result<(), Error> {
    let done = B::sync(device).map_err(|error| Error::device_fails(&error.to_string()));
    check().and(done)
}

/// Returns a tensor's values in host memory, as f32.
///
/// # Errors
/// [`Error::DeviceFails`] or [`Error::OutOfMemory`] if not all that the device was asked for so far
/// was done.
pub(super) fn to_host<B: ModelBackend, const D: usize>(
    run: &Run<'_>,
    tensor: Tensor<B, D>,
) -> Result<Vec<f32>, Error> {
    read(|| run.check_device(), tensor)
}

/// Returns a tensor's values in host memory, in their own dtype.
///
/// # Errors
/// The same as of [`to_host`].
pub(super) fn to_host_data<B: ModelBackend, const D: usize>(
    run: &Run<'_>,
    tensor: Tensor<B, D>,
) -> Result<TensorData, Error> {
    read_data(|| run.check_device(), tensor)
}

/// Reads a tensor; `check` tells of faults of the device.
///
/// # Errors
/// The same as [`to_host`].
pub(super) fn read<B: Backend, const D: usize>(
    check: impl Fn() -> Result<(), Error>,
    tensor: Tensor<B, D>,
) -> Result<Vec<f32>, Error> {
    read_data(check, tensor)?
        .convert_dtype(DType::F32)
        .into_vec()
        .map_err(|error| Error::Internal(format!("{error:?}")))
}

/// Reads a tensor in its own dtype; `check` tells of faults of the device.
fn read_data<B: Backend, const D: usize>(
    check: impl Fn() -> Result<(), Error>,
    tensor: Tensor<B, D>,
) -> Result<TensorData, Error> {
    // Reading alone does not tell: a portable GPU gives the memory of what it could not compute.
    wait::<B>(&check, &tensor.device())?;
    let data = tensor
        .try_into_data()
        .map_err(|error| Error::device_fails(&error.to_string()))?;
    check()?;
    Ok(data)
}

/// Tells a tensor as an intermediate result, if such are wanted.
///
/// # Errors
/// The same as [`to_host`].
pub(super) fn record<B: ModelBackend, const D: usize>(
    run: &mut Run<'_>,
    name: &str,
    tensor: Tensor<B, D>,
) -> Result<(), Error> {
    if !run.observer.wants_tensors() {
        return Ok(());
    }
    let shape = tensor.dims();
    let values = to_host(run, tensor)?;
    run.trace(name, &shape, &values);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    use backends::device::probe;
    use backends::{BackendKind, DeviceChoice, ModelBackend, OnBackend, dispatch};
    use burn::tensor::{DType, Int, Tensor};

    use super::read;
    use crate::error::Error;

    /// Asks for a type that not every device has.
    struct Bytes(Arc<Mutex<Option<String>>>);

    impl OnBackend for Bytes {
        type Output = Result<Vec<f32>, Error>;

        fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
            let check = || match self.0.lock().unwrap().as_deref() {
                Some(message) => Err(Error::device_fails(message)),
                None => Ok(()),
            };
            read(
                check,
                Tensor::<B, 1, Int>::ones([5], (&device, DType::U8)).float(),
            )
        }
    }

    #[test]
    fn what_a_device_cannot_compute_is_an_error_and_no_result() {
        // The processor, which can, comes first: nothing is taken from a process after a failure.
        for kind in BackendKind::ALL.into_iter().rev() {
            if !probe(kind).is_ok_and(|found| !found.is_empty()) {
                continue;
            }
            let device = DeviceChoice { kind, index: 0 };
            let told = Arc::new(Mutex::new(None));
            let noted = told.clone();
            let before = take_hook();
            set_hook(Box::new(move |panic| {
                *noted.lock().unwrap() = Some(panic.to_string());
            }));
            let bytes = Bytes(told.clone());
            let done = catch_unwind(AssertUnwindSafe(|| dispatch(&device, bytes)));
            set_hook(before);
            match done {
                Ok(Ok(Ok(values))) => assert_eq!(values, [1.0; 5], "{kind}"),
                Ok(Ok(Err(Error::DeviceFails(message)))) => {
                    assert!(message.contains("U8"), "{kind}: {message}");
                    assert_ne!(kind, BackendKind::Flex);
                    return;
                }
                Err(_) if told.lock().unwrap().is_some() => return,
                other => panic!("{kind}: {:?}", other.map(|done| done.map(|_| ())).ok()),
            }
        }
    }
}
