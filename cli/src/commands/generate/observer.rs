//! What watches the pipeline: progress, the trace, and Ctrl-C.

use backends::ModelBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use model::pipeline::{Branch, Observer};

use super::preview::PicturePreviews;
use crate::error::CliError;
use crate::interrupt;
use crate::output::trace::Trace;
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
    pub(super) previews: Option<PicturePreviews<'a>>,
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
        // the bar would lie, and Ctrl-C come too late. A failure shows at the next read.
        let _ = B::sync(&latents.device());
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

/// Adds a tensor to the trace as f32.
///
/// # Errors
/// [`CliError::Internal`] if the device does not give it.
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
/// [`CliError::Internal`] if the device does not give them.
pub(super) fn to_host<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Result<Vec<f32>, CliError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| CliError::Internal(format!("the device fails: {error}")))?;
    data.convert_dtype(DType::F32)
        .into_vec()
        .map_err(|error| CliError::Internal(format!("{error:?}")))
}
