//! What watches the pipeline: progress, the trace, and Ctrl-C.

use backends::ModelBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use engine::Error;
use engine::record::Trace;
use model::pipeline::{Branch, Observer};

use super::preview::ImagePreviews;
use crate::error::CliError;
use crate::interrupt;
use crate::panics;
use crate::progress::StepProgress;

/// Ends a phase on Ctrl-C.
pub(super) struct Interruptible;

impl<B: Backend> Observer<B> for Interruptible {
    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

/// Watches the steps of one image.
pub(super) struct StepObserver<'a> {
    /// The bar.
    pub(super) progress: StepProgress,
    /// Where tensors are kept, if asked for.
    pub(super) trace: Option<&'a mut Trace>,
    /// What is shown on the way, if asked for.
    pub(super) previews: Option<ImagePreviews<'a>>,
    /// The first tensor that could not be read back.
    pub(super) failed: Option<CliError>,
}

impl StepObserver<'_> {
    fn keep<B: Backend>(&mut self, name: String, tensor: &Tensor<B, 3>) {
        if let Some(trace) = self.trace.as_deref_mut()
            && let Err(error) = record(trace, name, tensor.clone())
        {
            self.failed.get_or_insert(error);
        }
    }
}

impl<B: ModelBackend> Observer<B> for StepObserver<'_> {
    fn prediction(&mut self, step: usize, branch: Branch, prediction: &Tensor<B, 3>) {
        if step == 0 {
            let name = match branch {
                Branch::Conditional => "step0.cond",
                Branch::Unconditional => "step0.uncond",
            };
            self.keep(name.to_owned(), prediction);
        }
    }

    fn latents(&mut self, step: usize, latents: &Tensor<B, 3>) {
        // A device computes behind our back: without waiting, all steps would be queued at once,
        // the bar would lie, and Ctrl-C come too late.
        if let Err(error) = wait::<B>(&latents.device()) {
            self.failed.get_or_insert(error);
        }
        self.keep(format!("latents.step{step}"), latents);
        self.progress.done(step + 1);
    }

    fn estimates(&self, step: usize) -> bool {
        let previews = self.previews.as_ref();
        previews.is_some_and(|previews| previews.is_due(step))
    }

    fn estimate(&mut self, _: usize, latents: &Tensor<B, 3>) {
        let Some(previews) = &mut self.previews else {
            return;
        };
        match to_host(latents.clone()) {
            Ok(values) => previews.show(&values, &self.progress),
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }

    fn cancelled(&self) -> bool {
        interrupt::requested() || self.failed.is_some()
    }
}

/// Waits for all work of a device.
///
/// # Errors
/// As of [`to_host`].
fn wait<B: Backend>(device: &B::Device) -> Result<(), CliError> {
    let done = B::sync(device).map_err(|error| Error::device_fails(&error.to_string()));
    panics::check()?;
    Ok(done?)
}

/// Adds a tensor to the trace as f32.
///
/// # Errors
/// As of [`to_host`].
pub(super) fn record<B: Backend, const D: usize>(
    trace: &mut Trace,
    name: impl Into<String>,
    tensor: Tensor<B, D>,
) -> Result<(), CliError> {
    let shape = tensor.dims();
    trace.add_f32(name, &shape, &to_host(tensor)?);
    Ok(())
}

/// A tensor's values in host memory, as f32.
///
/// # Errors
/// [`CliError::DeviceFails`] or [`CliError::OutOfMemory`] if not all that the device was asked
/// for so far was done.
pub(super) fn to_host<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Result<Vec<f32>, CliError> {
    // Reading alone does not tell: a portable GPU gives the memory of what it could not compute.
    wait::<B>(&tensor.device())?;
    let data = tensor
        .try_into_data()
        .map_err(|error| Error::device_fails(&error.to_string()))?;
    panics::check()?;
    data.convert_dtype(DType::F32)
        .into_vec()
        .map_err(|error| CliError::internal(format!("{error:?}")))
}

#[cfg(test)]
mod tests {
    use backends::device::probe;
    use backends::{BackendKind, DeviceChoice, ModelBackend, OnBackend, dispatch};
    use burn::tensor::{DType, Int, Tensor};
    use engine::Error;

    use super::to_host;
    use crate::error::CliError;
    use crate::panics;

    /// Asks for a type that not every device has.
    struct Bytes;

    impl OnBackend for Bytes {
        type Output = Result<Vec<f32>, CliError>;

        fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
            to_host(Tensor::<B, 1, Int>::ones([5], (&device, DType::U8)).float())
        }
    }

    #[test]
    fn what_a_device_cannot_compute_is_an_error_and_no_result() {
        // The processor, which can, comes first: nothing is taken from a program after a failure.
        for kind in BackendKind::ALL.into_iter().rev() {
            if !probe(kind).is_ok_and(|found| !found.is_empty()) {
                continue;
            }
            let device = DeviceChoice { kind, index: 0 };
            let done = panics::caught(|| {
                let values = dispatch(&device, Bytes)??;
                assert_eq!(values, [1.0; 5], "{kind}");
                Ok(())
            });
            match done {
                Ok(()) => {}
                Err(CliError::Engine(Error::DeviceFails(message))) => {
                    assert!(message.contains("U8"), "{kind}: {message}");
                    assert_ne!(kind, BackendKind::Flex);
                    return;
                }
                Err(error) => panic!("{kind}: {error}"),
            }
        }
    }
}
