//! Linear layers on FP8 tensor cores: activations are rounded to E4M3, token by token, and
//! multiplied with the weight's codes by cuBLASLt.

use burn::tensor::{DType, FloatDType, Int};
use burn_cuda::{Cuda, CudaDevice};
use cudarc::driver::DriverError;

use super::blas::{Codes, Layout, Operands, Product, Scales};
use super::engine::{Arg, Engine, Grid, Scope};
use super::layer_norm::{Norm, Normed};
use super::linear::{THREADS, blocks, in_dtype};
use super::tensor::{Element, Tensor, contiguous, dims, over};
use crate::fp8::portable::decode_all;
use crate::fp8::{Activation, Epilogue, Fp8Format, RoundedRows};

/// The first compute capability with FP8 tensor cores: Ada's.
const ADA: (i32, i32) = (8, 9);

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
    let engine = Engine::of(device).ok();
    dtype == FloatDType::BF16 && engine.is_some_and(|engine| multiplies_codes(&engine))
}

fn multiplies_codes(engine: &Engine) -> bool {
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
        addend: false,
        bias: true,
        gelu: false,
    };
    way(engine, product).is_some()
}

/// Whether rows of activations are multiplied as codes, by weights of suitable sizes: those of other
/// widths, or on other devices, need not become codes.
pub(super) fn has_use(engine: &Engine, element: Element, rows: usize, width: usize) -> bool {
    /// cuBLASLt's FP8 products want sizes that are multiples of this.
    const MULTIPLE: usize = 16;
    let suitable = element == Element::Bf16 && rows > 0 && width.is_multiple_of(MULTIPLE);
    suitable && multiplies_codes(engine)
}

/// See [`Fp8Ops::round_rows`](crate::fp8::Fp8Ops::round_rows): codes U8 `[rows, in]` and scales f32
/// `[rows]`; `None` where codes have no use.
pub(super) fn round_rows(x: Tensor) -> Option<RoundedRows<Cuda>> {
    /// Longer rows have a block each, shorter ones a warp each.
    const LONGEST_OF_WARP: usize = 3072;
    const WARPS: usize = 4;
    let element = Element::of(x.dtype)?;
    let engine = Engine::of(&x.device).ok()?;
    let [rows, width] = dims(&x);
    if !has_use(&engine, element, rows, width) {
        return None;
    }
    let x = contiguous(x);
    let at_once = if width <= LONGEST_OF_WARP { WARPS } else { 1 };
    let (codes, scales) = engine.run(&x.client, |scope| {
        let codes = scope.empty(rows * width);
        let scales = scope.empty(rows * size_of::<f32>());
        scope.launch(
            "fp8_quantize_bf16",
            Grid {
                blocks: (rows.div_ceil(at_once) as u32, 1, 1),
                threads: 32 * WARPS as u32,
                shared: 0,
            },
            &[
                Arg::Pointer(scope.pointer(&x.handle)),
                Arg::Pointer(scope.pointer(&codes)),
                Arg::Pointer(scope.pointer(&scales)),
                Arg::Int(rows as i32),
                Arg::Int(width as i32),
            ],
        )?;
        Ok((codes, scales))
    });
    Some(RoundedRows {
        values: over(&x, codes, [rows, width].into(), DType::U8),
        scales: over(&x, scales, [rows].into(), DType::F32),
        dtype: FloatDType::BF16,
    })
}

/// A norm whose result becomes codes, as by [`round_rows`]; and what was normalised.
pub(super) fn normed(norm: Norm) -> Option<(Tensor, RoundedRows<Cuda>)> {
    let dtype = norm.x.dtype.into();
    let Normed { sum, y, scales } = norm.run(true)?;
    let rows = RoundedRows {
        values: y,
        scales: scales?,
        dtype,
    };
    Some((sum, rows))
}

/// Rows whose codes no product takes, as the portable body knows them.
pub(super) fn decoded(x: RoundedRows<Cuda>) -> RoundedRows<Cuda> {
    if x.values.dtype != DType::U8 {
        return x;
    }
    let [rows, _] = dims(&x.values);
    let values = decode_all(
        burn::tensor::Tensor::<Cuda, 2, Int>::from_primitive(x.values),
        Fp8Format::E4M3,
    );
    RoundedRows {
        values: values.cast(x.dtype).into_primitive().tensor(),
        scales: over(
            &x.scales,
            x.scales.handle.clone(),
            [rows, 1].into(),
            DType::F32,
        ),
        dtype: x.dtype,
    }
}

/// See [`Fp8Ops::fp8_linear_rounded`](crate::fp8::Fp8Ops::fp8_linear_rounded); `None` where `x` is
/// no codes, or cuBLASLt cannot do all of it.
pub(super) fn linear_rounded(
    x: RoundedRows<Cuda>,
    (codes, scale, format): (Tensor, Tensor, Fp8Format),
    epilogue: Epilogue<Cuda>,
) -> Option<Tensor> {
    let Epilogue {
        bias,
        addend,
        activation,
    } = epilogue;
    let RoundedRows { values, scales, .. } = x;
    if values.dtype != DType::U8 {
        return None;
    }
    let engine = Engine::of(&values.device).ok()?;
    let [rows, width] = dims(&values);
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
        addend: addend.is_some(),
        bias: bias.is_some(),
        gelu,
    };
    let (product, remainder) = way(&engine, whole)?;
    // cuBLASLt's is of the result's dtype, our kernel's f32.
    let bias_dtype = match remainder {
        Remainder::Everything => DType::F32,
        Remainder::Nothing | Remainder::Gelu => DType::BF16,
    };
    let bias = bias.map(|bias| contiguous(in_dtype(bias, bias_dtype)));
    let addend = addend.map(|addend| contiguous(in_dtype(addend, DType::BF16)));
    let [codes, scale] = [codes, scale].map(contiguous);
    let layer = Layer {
        product,
        remainder,
        gelu,
    };
    let y = engine.run(&values.client, |scope| {
        let y = scope.empty(rows * out * Element::Bf16.size());
        let (bias, addend) = (bias.as_ref(), addend.as_ref());
        let addresses = Addresses {
            x: scope.pointer(&values.handle),
            scales: scope.pointer(&scales.handle),
            codes: scope.pointer(&codes.handle),
            scale: scope.pointer(&scale.handle),
            bias: bias.map_or(0, |bias| scope.pointer(&bias.handle)),
            addend: addend.map_or(0, |addend| scope.pointer(&addend.handle)),
            y: scope.pointer(&y),
        };
        let done = layer.run(scope, addresses)?;
        Ok(done.then_some(y))
    })?;
    Some(over(&values, y, [rows, out].into(), DType::BF16))
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
    // What is added is not scaled.
    .filter(|(product, remainder)| !product.addend || *remainder != Remainder::Everything)
    .find(|(product, _)| engine.can_multiply(*product))
}

/// Where the operands are.
#[derive(Clone, Copy)]
struct Addresses {
    /// Codes of the rows, and their scales.
    x: u64,
    scales: u64,
    codes: u64,
    scale: u64,
    /// Or 0.
    bias: u64,
    /// As `y`, or 0.
    addend: u64,
    y: u64,
}

struct Layer {
    product: Product,
    remainder: Remainder,
    gelu: bool,
}

impl Layer {
    /// The product and what is left of it, unless cuBLASLt refuses to add.
    fn run(&self, scope: &Scope<'_>, at: Addresses) -> Result<bool, DriverError> {
        let Product { m, n, .. } = self.product;
        let Some(blas) = scope.blas() else {
            return Ok(false);
        };
        // Where rows have scales, all factors' rows do, and the weight's own is that of the product.
        let (alpha, weight_scale) = match self.product.codes {
            Some(codes) if codes.scaled_by_row => match blas.ones(n) {
                Some(ones) => (Some(at.scale), ones),
                None => return Ok(false),
            },
            _ => (None, at.scale),
        };
        let operands = Operands {
            x: at.x,
            w: at.codes,
            y: at.y,
            addend: at.addend,
            bias: at.bias,
            alpha,
            scales: Some(Scales {
                x: at.scales,
                w: weight_scale,
            }),
        };
        if !self.product.addend {
            blas.multiply(scope, self.product, operands)?;
        } else if blas.try_multiply(scope, self.product, operands)?.is_err() {
            return Ok(false);
        }
        let grid = Grid {
            blocks: (blocks(m * n, 2048), 1, 1),
            threads: THREADS,
            shared: 0,
        };
        let y = Arg::Pointer(at.y);
        match self.remainder {
            Remainder::Nothing => {}
            Remainder::Gelu => {
                scope.launch("gelu_tanh_bf16", grid, &[y, y, Arg::Long((m * n) as i64)])?;
            }
            Remainder::Everything => scope.launch(
                "scale_rows_bf16",
                grid,
                &[
                    y,
                    Arg::Pointer(at.scales),
                    Arg::Pointer(at.bias),
                    Arg::Long(m as i64),
                    Arg::Int(n as i32),
                    Arg::Int(i32::from(self.gelu)),
                ],
            )?,
        }
        Ok(true)
    }
}
