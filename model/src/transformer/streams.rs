//! The two residual streams of all branches of guidance, and the joint sequences they form.
//!
//! Linear layers, norms, modulations and feed-forwards see one row at a time, so that all
//! branches go through them together; only attention takes each branch by itself.

use backends::FusedOps;
use backends::fused::concatenate;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Image and text tokens of all branches; `D` is 3 for the residual stream, and 4 where channels
/// are split into heads.
#[derive(Clone, Debug)]
pub struct Streams<B: Backend, const D: usize = 3> {
    /// Float `[branches, image tokens, ..]`.
    pub image: Tensor<B, D>,
    /// Float `[1, text tokens of all branches, ..]`, branch after branch.
    pub text: Tensor<B, D>,
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

    /// The joint sequence of each branch, its text before its image: float
    /// `[1, text + image tokens, ..]`.
    pub fn join<B: FusedOps, const D: usize>(&self, streams: Streams<B, D>) -> Vec<Tensor<B, D>> {
        let mut start = 0;
        let joint = self
            .text_lengths
            .iter()
            .enumerate()
            .map(|(branch, &length)| {
                let text = streams.text.clone().narrow(1, start, length);
                start += length;
                concatenate(vec![text, streams.image.clone().narrow(0, branch, 1)], 1)
            });
        joint.collect()
    }

    /// The streams of joint sequences, one a branch: the opposite of [`join`](Self::join).
    pub fn part<B: FusedOps, const D: usize>(&self, joint: Vec<Tensor<B, D>>) -> Streams<B, D> {
        let (image, text) = joint
            .into_iter()
            .zip(&self.text_lengths)
            .map(|(joint, &length)| {
                let image_tokens = joint.dims()[1] - length;
                let text = joint.clone().narrow(1, 0, length);
                (joint.narrow(1, length, image_tokens), text)
            })
            .unzip();
        Streams {
            image: cat(image, 0),
            text: cat(text, 1),
        }
    }
}

/// Concatenates tensors; a single one stays where it is.
pub(super) fn cat<B: FusedOps, const D: usize>(
    mut tensors: Vec<Tensor<B, D>>,
    dim: usize,
) -> Tensor<B, D> {
    match tensors.len() {
        1 => tensors.remove(0),
        _ => concatenate(tensors, dim),
    }
}

/// The tokens of all branches as those of one, `[1, branches * tokens, channels]`, since one
/// modulation is for all of them.
pub(super) fn as_one<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [branches, tokens, channels] = x.dims();
    x.reshape([1, branches * tokens, channels])
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn_flex::Flex;

    use super::*;

    fn tokens(numbers: std::ops::Range<i32>, shape: [usize; 3]) -> Tensor<Flex, 3> {
        let values: Vec<f32> = numbers.map(|n| n as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    fn values(x: &Tensor<Flex, 3>) -> Vec<f32> {
        x.clone().into_data().iter().collect()
    }

    #[test]
    fn a_joint_sequence_is_a_branch_and_its_text_first() {
        let layout = JointLayout {
            text_lengths: vec![2, 1],
        };
        let streams = Streams {
            image: tokens(0..6, [2, 3, 1]),
            text: tokens(10..13, [1, 3, 1]),
        };
        let joint = layout.join(streams.clone());
        assert_eq!(values(&joint[0]), [10.0, 11.0, 0.0, 1.0, 2.0]);
        assert_eq!(values(&joint[1]), [12.0, 3.0, 4.0, 5.0]);
        let parted = layout.part(joint);
        assert_eq!(parted.image.dims(), [2, 3, 1]);
        assert_eq!(values(&parted.image), values(&streams.image));
        assert_eq!(parted.text.dims(), [1, 3, 1]);
        assert_eq!(values(&parted.text), values(&streams.text));
    }
}
