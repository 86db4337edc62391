//! Convolutions as matrix products over columns of pixels.

use burn::tensor::DType;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::linear::blocks;
use crate::cuda::blas::{Layout, Operands, Product};
use crate::cuda::element::Element;
use crate::cuda::launch::Arg;
use crate::cuda::scope::Scope;
use crate::cuda::scratch::Use;
use crate::cuda::tensor::{Typed, contiguous, dims, engine_of, in_dtype, over, raw, typed};
use crate::kernels::ConvSame;
use crate::working_memory::cuda::COLUMNS;

/// Convolves f32 images; others are handed back.
pub(super) fn conv_same(call: ConvSame<Cuda>) -> Result<Typed<4>, ConvSame<Cuda>> {
    let engine = match engine_of(&call.x) {
        Some((engine, Element::F32)) if engine.has_blas() => engine,
        _ => return Err(call),
    };
    let [x, weight, bias] = [raw(call.x), raw(call.weight), raw(call.bias)]
        .map(|tensor| contiguous(in_dtype(tensor, DType::F32)));
    let [batch, channels, height, width] = dims(&x);
    let [out, _, side, _] = dims(&weight);
    let plane = height * width;
    let size = size_of::<f32>();
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(batch * out * plane * size);
        let convolution = Convolution {
            sizes: [channels, height, width],
            out,
            side,
            weight: scope.pointer(&weight.handle),
            bias: scope.pointer(&bias.handle),
        };
        for image in 0..batch {
            let at =
                |tensor: u64, channels: usize| tensor + (image * channels * plane * size) as u64;
            convolution.of_image(
                scope,
                at(scope.pointer(&x.handle), channels),
                at(scope.pointer(&y), out),
            )?;
        }
        Ok(y)
    });
    let shape = [batch, out, height, width].into();
    Ok(typed(over(&x, y, shape, DType::F32)))
}

struct Convolution {
    sizes: [usize; 3],
    out: usize,
    side: usize,
    weight: u64,
    bias: u64,
}

impl Convolution {
    fn of_image(&self, scope: &Scope<'_>, x: u64, y: u64) -> Result<(), DriverError> {
        let Some(blas) = scope.blas() else {
            return Ok(());
        };
        let [channels, height, width] = self.sizes;
        let plane = height * width;
        let rows = channels * self.side * self.side;
        let size = size_of::<f32>();
        if plane * self.out == 0 {
            return Ok(());
        }
        // A convolution over single pixels has the image itself as its columns.
        let at_once = match self.side {
            1 => plane,
            _ => (COLUMNS / (rows * size)).clamp(1, plane),
        };
        for first in (0..plane).step_by(at_once) {
            let pixels = at_once.min(plane - first);
            let columns = match self.side {
                1 => x,
                _ => self.columns(scope, x, first, pixels)?,
            };
            let product = Product {
                m: self.out,
                n: pixels,
                k: rows,
                weight: Layout::Columns,
                y_leading: plane,
                element: Element::F32,
                codes: None,
                addend: false,
                bias: false,
                gelu: false,
            };
            let operands = Operands {
                x: self.weight,
                w: columns,
                y: y + (first * size) as u64,
                addend: 0,
                bias: 0,
                alpha: None,
                scales: None,
            };
            blas.multiply(scope.lane()?, product, operands);
        }
        let grid = (blocks(plane, 1024), self.out as u32, 1);
        scope.launch(
            "channel_bias_f32",
            grid,
            &[
                Arg::Pointer(y),
                Arg::Pointer(self.bias),
                Arg::Long(plane as i64),
            ],
        )
    }

    /// The columns of some pixels, `[channels * side * side, pixels]`, in scratch memory.
    fn columns(
        &self,
        scope: &Scope<'_>,
        x: u64,
        first: usize,
        pixels: usize,
    ) -> Result<u64, DriverError> {
        let [channels, height, width] = self.sizes;
        let rows = channels * self.side * self.side;
        let columns = scope.scratch(Use::Columns, rows * pixels * size_of::<f32>())?;
        let grid = (
            pixels.div_ceil(1024) as u32,
            (channels * self.side) as u32,
            1,
        );
        scope.launch(
            "im2col_f32",
            grid,
            &[
                Arg::Pointer(x),
                Arg::Pointer(columns),
                Arg::Int(channels as i32),
                Arg::Int(height as i32),
                Arg::Int(width as i32),
                Arg::Int(self.side as i32),
                Arg::Long(first as i64),
                Arg::Long(pixels as i64),
            ],
        )?;
        Ok(columns)
    }
}
