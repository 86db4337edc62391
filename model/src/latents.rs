//! Latents in the VAE's layout and in the transformer's tokens.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Side of the square of latent pixels that makes one token.
pub const PATCH: usize = 2;

/// Image pixels along the side of one token: the VAE's 8 times the patch.
pub const PIXELS_PER_TOKEN: usize = 16;

/// The size of an image in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    /// Rows of tokens.
    pub height: usize,
    /// Tokens in a row.
    pub width: usize,
}

impl TokenGrid {
    /// The grid of an image of `width` x `height` pixels; each is rounded down to whole tokens.
    pub fn of_image(width: usize, height: usize) -> Self {
        Self {
            height: height / PIXELS_PER_TOKEN,
            width: width / PIXELS_PER_TOKEN,
        }
    }

    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.height * self.width
    }

    /// The shape of the latents, `[1, channels, height, width]`.
    pub fn latent_shape(&self, channels: usize) -> [usize; 4] {
        [1, channels, self.height * PATCH, self.width * PATCH]
    }
}

/// Packs latents `[batch, channels, 2h, 2w]` into tokens `[batch, h * w, channels * 4]`: token
/// `y * w + x`, element `channel * 4 + dy * 2 + dx`.
pub fn pack<B: Backend>(latents: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch, channels, height, width] = latents.dims();
    let (rows, columns) = (height / PATCH, width / PATCH);
    latents
        .reshape([batch, channels, rows, PATCH, columns, PATCH])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([batch, rows * columns, channels * PATCH * PATCH])
}

/// The inverse of [`pack`].
pub fn unpack<B: Backend>(tokens: Tensor<B, 3>, grid: TokenGrid) -> Tensor<B, 4> {
    let [batch, _, features] = tokens.dims();
    let channels = features / (PATCH * PATCH);
    tokens
        .reshape([batch, grid.height, grid.width, channels, PATCH, PATCH])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([batch, channels, grid.height * PATCH, grid.width * PATCH])
}
