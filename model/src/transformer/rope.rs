//! Multimodal scalable rotary positions (MSRoPE; the Qwen-Image report, section 2.4): image
//! tokens are placed around the origin of a grid, text tokens on its diagonal, beyond its edge.

use burn::tensor::backend::Backend;

use super::streams::JointLayout;
use crate::latents::TokenGrid;
use crate::rotary::{RotaryTable, inverse_frequencies};

/// The base of the rotary frequencies.
const THETA: f64 = 10_000.0;

/// Where the middle of a grid lies. The two differ for odd numbers of rows or columns only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RopeCentring {
    /// Three rows are at -2, -1 and 0, as in diffusers.
    #[default]
    Diffusers,
    /// Three rows are at -1, 0 and 1, as in ComfyUI.
    ComfyUi,
}

impl RopeCentring {
    /// The position of the row or column at `index` of `length`.
    fn position(self, index: usize, length: usize) -> f32 {
        let before = match self {
            Self::Diffusers => length - length / 2,
            Self::ComfyUi => length / 2,
        };
        index as f32 - before as f32
    }
}

/// The angles of both streams of all branches.
#[derive(Clone, Debug)]
pub struct JointRotary<B: Backend> {
    /// Of the image tokens, row by row; the same for each branch.
    pub image: RotaryTable<B>,
    /// Of the text tokens, branch after branch.
    pub text: RotaryTable<B>,
}

impl<B: Backend> JointRotary<B> {
    /// The angles for images of `grid` tokens, with the text tokens of `layout`.
    pub fn new(
        grid: TokenGrid,
        layout: &JointLayout,
        axes: [usize; 3],
        centring: RopeCentring,
        device: &B::Device,
    ) -> Self {
        let planes = axes.iter().sum::<usize>() / 2;
        let lengths = layout.text_lengths.iter();
        let text: Vec<f32> = lengths
            .flat_map(|&length| text_angles(grid, length, axes))
            .collect();
        Self {
            image: RotaryTable::new(&image_angles(grid, axes, centring), planes, device),
            text: RotaryTable::new(&text, planes, device),
        }
    }
}

/// The angles of the image tokens in radians, token by token: those of the frame (always 0),
/// the row and the column. Rows and columns count from the middle.
pub fn image_angles(grid: TokenGrid, axes: [usize; 3], centring: RopeCentring) -> Vec<f32> {
    let frequencies = axes.map(|axis| inverse_frequencies(axis, THETA));
    let mut angles = Vec::with_capacity(grid.tokens() * axes.iter().sum::<usize>() / 2);
    for y in 0..grid.height {
        for x in 0..grid.width {
            let positions = [
                0.0,
                centring.position(y, grid.height),
                centring.position(x, grid.width),
            ];
            extend(&mut angles, &frequencies, positions);
        }
    }
    angles
}

/// The angles of the text tokens in radians: all three positions of a token are one number,
/// which starts at half the longer side of the image.
pub fn text_angles(grid: TokenGrid, text_tokens: usize, axes: [usize; 3]) -> Vec<f32> {
    let frequencies = axes.map(|axis| inverse_frequencies(axis, THETA));
    let start = (grid.height / 2).max(grid.width / 2);
    let mut angles = Vec::with_capacity(text_tokens * axes.iter().sum::<usize>() / 2);
    for token in 0..text_tokens {
        extend(&mut angles, &frequencies, [(start + token) as f32; 3]);
    }
    angles
}

fn extend(angles: &mut Vec<f32>, frequencies: &[Vec<f32>; 3], positions: [f32; 3]) {
    for (frequencies, position) in frequencies.iter().zip(positions) {
        angles.extend(frequencies.iter().map(|f| position * f));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The positions of three rows and of two columns.
    fn rows_and_columns(centring: RopeCentring) -> [Vec<f32>; 2] {
        let grid = TokenGrid {
            height: 3,
            width: 2,
        };
        let angles = image_angles(grid, [2, 2, 2], centring);
        [1, 2].map(|axis| angles.chunks(3).map(|token| token[axis]).collect())
    }

    #[test]
    fn an_odd_side_leans_to_the_negative() {
        let [rows, columns] = rows_and_columns(RopeCentring::Diffusers);
        assert_eq!(rows, [-2.0, -2.0, -1.0, -1.0, 0.0, 0.0]);
        assert_eq!(columns, [-1.0, 0.0, -1.0, 0.0, -1.0, 0.0]);
    }

    #[test]
    fn an_odd_side_of_comfyui_lies_even() {
        let [rows, columns] = rows_and_columns(RopeCentring::ComfyUi);
        assert_eq!(rows, [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(columns, [-1.0, 0.0, -1.0, 0.0, -1.0, 0.0]);
    }

    #[test]
    fn text_starts_beyond_the_edge() {
        let grid = TokenGrid {
            height: 3,
            width: 6,
        };
        assert_eq!(
            text_angles(grid, 2, [2, 2, 2]),
            [3.0, 3.0, 3.0, 4.0, 4.0, 4.0]
        );
    }
}
