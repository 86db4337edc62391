//! The two streams of all branches of guidance.
//!
//! Linear layers, norms, modulations and feed-forwards see one row at a time, so that all
//! branches go through them together; only attention takes each branch by itself.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Something of the image and of the text tokens of all branches. Tokens are those of
/// `[branches, image tokens, ..]` and `[1, text tokens of all branches, ..]`, branch after branch.
#[derive(Clone, Debug)]
pub struct Streams<T> {
    /// Of the image.
    pub image: T,
    /// Of the text.
    pub text: T,
}

/// Which text tokens belong to which branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointLayout {
    /// Text tokens of each branch.
    pub text_lengths: Vec<usize>,
}

impl JointLayout {
    /// How many branches there are.
    pub fn branches(&self) -> usize {
        self.text_lengths.len()
    }
}

/// The tokens of all branches as those of one, `[1, branches * tokens, channels]`, since one modulation
/// serves them all.
pub(super) fn of_one_branch<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [branches, tokens, channels] = x.dims();
    x.reshape([1, branches * tokens, channels])
}
