//! Linear layers on FP8 tensor cores: activations are rounded to E4M3, token by token, and
//! multiplied with the weight's codes by cuBLASLt.

use burn::tensor::{DType, FloatDType};
use burn_cuda::CudaDevice;
use cudarc::driver::DriverError;

use super::blas::{Codes, Layout, Operands, Product, Scales};
use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::{THREADS, blocks, in_dtype};
use super::scratch::Use;
use super::tensor::{Element, Tensor, contiguous, dims, over};
use crate::fp8::{Activation, Fp8Format};

/// The first compute capability with FP8 tensor cores: Ada's.
const ADA: (i32, i32) = (8, 9);

/// Scales follow codes at a multiple of so many bytes.
const ALIGNMENT: usize = 256;

/// What cuBLASLt leaves to kernels of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remainder {
    /// Nothing.
    Nothing,
    /// GELU.
    Gelu,
    /// The rows' scales, the bias and the activation.
    Everything,
}

/// Whether the device has FP8 tensor cores and cuBLASLt uses them, for activations of `dtype`.
pub(super) fn is_possible(device: &CudaDevice, dtype: FloatDType) -> bool {
    /// Sides of a product that any device with such cores knows.
    const SIDE: usize = 256;
    let codes = Codes {
        format: Fp8Format::E4M3,
        scaled_by_row: true,
    };
    let product = Product {
        m: SIDE,
        n: SIDE,
        k: SIDE,
        weight: Layout::Rows,
        y_leading: SIDE,
        element: Element::Bf16,
        codes: Some(codes),
        bias: true,
        gelu: false,
    };
    let engine = Engine::of(device).ok();
    dtype == FloatDType::BF16 && engine.is_some_and(|engine| way(&engine, product).is_some())
}

/// See [`Fp8Ops::fp8_linear_rounded`](crate::fp8::Fp8Ops::fp8_linear_rounded); `None` where the
/// device or cuBLASLt cannot multiply these codes.
pub(super) fn linear_rounded(
    x: Tensor,
    (codes, scale, format): (Tensor, Tensor, Fp8Format),
    bias: Option<Tensor>,
    activation: Activation,
) -> Option<Tensor> {
    if Element::of(x.dtype)? != Element::Bf16 {
        return None;
    }
    let engine = Engine::of(&x.device).ok()?;
    let x = contiguous(x);
    let [rows, width] = dims(&x);
    let [out, _] = dims(&codes);
    let gelu = activation == Activation::GeluTanh;
    let whole = Product {
        m: rows,
        n: out,
        k: width,
        weight: Layout::Rows,
        y_leading: out,
        element: Element::Bf16,
        codes: Some(Codes {
            format,
            scaled_by_row: true,
        }),
        bias: bias.is_some(),
        gelu,
    };
    let (product, remainder) = way(&engine, whole)?;
    let bias = bias.map(|bias| contiguous(in_dtype(bias, DType::F32)));
    let [codes, scale] = [codes, scale].map(contiguous);
    let layer = Layer {
        product,
        remainder,
        gelu,
    };
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(rows * out * Element::Bf16.size());
        let bias = bias.as_ref();
        let addresses = Addresses {
            x: scope.pointer(&x.handle),
            codes: scope.pointer(&codes.handle),
            scale: scope.pointer(&scale.handle),
            bias: bias.map_or(0, |bias| scope.pointer(&bias.handle)),
            y: scope.pointer(&y),
        };
        layer.run(scope, addresses)?;
        Ok(y)
    });
    Some(over(&x, y, [rows, out].into(), x.dtype))
}

/// The product that cuBLASLt can do, and what is left of the whole.
fn way(engine: &Engine, whole: Product) -> Option<(Product, Remainder)> {
    if engine.capability() < ADA || whole.m * whole.n == 0 {
        return None;
    }
    let without_gelu = Product {
        gelu: false,
        ..whole
    };
    let bare = Product {
        codes: whole.codes.map(|codes| Codes {
            scaled_by_row: false,
            ..codes
        }),
        bias: false,
        ..without_gelu
    };
    [
        (whole, Remainder::Nothing),
        (without_gelu, Remainder::Gelu),
        (bare, Remainder::Everything),
    ]
    .into_iter()
    .find(|(product, _)| engine.can_multiply(*product))
}

/// Where the operands are.
#[derive(Clone, Copy)]
struct Addresses {
    x: u64,
    codes: u64,
    scale: u64,
    /// f32, or 0.
    bias: u64,
    y: u64,
}

struct Layer {
    product: Product,
    remainder: Remainder,
    gelu: bool,
}

impl Layer {
    fn run(&self, scope: &Scope<'_>, at: Addresses) -> Result<(), DriverError> {
        let Product { m, n, k, .. } = self.product;
        let Some(blas) = scope.blas() else {
            return Ok(());
        };
        let codes_bytes = (m * k).next_multiple_of(ALIGNMENT);
        let scales_bytes = (m * size_of::<f32>()).next_multiple_of(ALIGNMENT);
        let memory = codes_bytes + scales_bytes + n * size_of::<f32>();
        let codes = scope.scratch(Use::Codes, memory)?;
        let scales = codes + codes_bytes as u64;
        let weight_scales = scales + scales_bytes as u64;
        let bias = scope.scratch(Use::Bias, n * Element::Bf16.size())?;
        quantize(scope, (at.x, m, k), codes, scales)?;
        scope.launch(
            "fp8_product_constants",
            Grid {
                blocks: (blocks(n, THREADS as usize), 1, 1),
                threads: THREADS,
                shared: 0,
            },
            &[
                Arg::Pointer(at.scale),
                Arg::Pointer(weight_scales),
                Arg::Pointer(at.bias),
                Arg::Pointer(bias),
                Arg::Int(n as i32),
            ],
        )?;
        let operands = Operands {
            x: codes,
            w: at.codes,
            y: at.y,
            bias,
            alpha: None,
            scales: Some(Scales {
                x: scales,
                w: weight_scales,
            }),
        };
        blas.multiply(scope, self.product, operands)?;
        let grid = Grid {
            blocks: (blocks(m * n, 2048), 1, 1),
            threads: THREADS,
            shared: 0,
        };
        let y = Arg::Pointer(at.y);
        match self.remainder {
            Remainder::Nothing => Ok(()),
            Remainder::Gelu => {
                scope.launch("gelu_tanh_bf16", grid, &[y, y, Arg::Long((m * n) as i64)])
            }
            Remainder::Everything => scope.launch(
                "scale_rows_bf16",
                grid,
                &[
                    y,
                    Arg::Pointer(scales),
                    Arg::Pointer(at.bias),
                    Arg::Long(m as i64),
                    Arg::Int(n as i32),
                    Arg::Int(i32::from(self.gelu)),
                ],
            ),
        }
    }
}

/// Starts to round `rows` of `columns` in bf16 to E4M3 codes with a scale for each row.
fn quantize(
    scope: &Scope<'_>,
    (x, rows, columns): (u64, usize, usize),
    codes: u64,
    scales: u64,
) -> Result<(), DriverError> {
    /// Longer rows have a block each, shorter ones a warp each.
    const LONGEST_OF_WARP: usize = 3072;
    const WARPS: usize = 4;
    let each = if columns <= LONGEST_OF_WARP { WARPS } else { 1 };
    scope.launch(
        "fp8_quantize_bf16",
        Grid {
            blocks: (blocks(rows, each), 1, 1),
            threads: 128,
            shared: 0,
        },
        &[
            Arg::Pointer(x),
            Arg::Pointer(codes),
            Arg::Pointer(scales),
            Arg::Int(rows as i32),
            Arg::Int(columns as i32),
        ],
    )
}
