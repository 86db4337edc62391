//! Linear layers on FP8 tensor cores: activations are quantized to E4M3, token by token, and
//! multiplied with the weight's codes by cuBLASLt.

use std::sync::Arc;

use burn::tensor::{DType, FloatDType};
use burn_cuda::{Cuda, CudaDevice};
use cudarc::driver::DriverError;

use super::linear::{blocks, finish};
use crate::cuda::blas::{Codes, Layout, Operands, Product, Scales};
use crate::cuda::concurrent::{self, Launch};
use crate::cuda::element::Element;
use crate::cuda::engine::Engine;
use crate::cuda::launch::Arg;
use crate::cuda::scope::Scope;
use crate::cuda::tensor::{
    Tensor, Typed, contiguous, dims, empty, in_dtype, parameter, raw, typed,
};
use crate::fp8::Fp8Format;
use crate::kernels::{Activation, QuantizedLinear, QuantizedRows};
use crate::weight::PackedFormat;
use crate::weight::by_row::{is_by_row, quantized_linear_by_row};

/// The first compute capability with FP8 tensor cores: Ada's.
const ADA: (i32, i32) = (8, 9);

/// The part of a layer that cuBLASLt leaves to our kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remainder {
    /// Nothing.
    Nothing,
    /// GELU.
    Gelu,
    /// The rows' scales, the bias and the activation.
    Everything,
}

/// Tells whether the device has FP8 tensor cores and cuBLASLt uses them, for activations of `dtype`.
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

/// Tells whether rows of activations are multiplied as codes. Rows of other widths, or on other
/// devices, need not become codes.
pub(super) fn has_use(engine: &Engine, element: Element, rows: usize, width: usize) -> bool {
    /// cuBLASLt's FP8 products want sizes that are multiples of this.
    const MULTIPLE: usize = 16;
    let suitable = element == Element::Bf16 && rows > 0 && width.is_multiple_of(MULTIPLE);
    suitable && multiplies_codes(engine)
}

/// Multiplies codes with codes. Hands the inputs back where the rows are no codes or cuBLASLt does
/// not multiply them.
pub(super) fn quantized_linear(
    call: QuantizedLinear<Cuda>,
) -> Result<Typed<2>, QuantizedLinear<Cuda>> {
    if is_by_row(&call.weight) {
        return Ok(quantized_linear_by_row(concurrent::handed_back(call)));
    }
    let Some((engine, parts)) = Parts::of(&call) else {
        return Err(call);
    };
    let QuantizedLinear {
        x,
        weight,
        epilogue,
    } = call;
    let [rows, _] = dims(&x.values);
    let [out, _] = weight.bytes.dims();
    let y = empty(&x.values, [rows, out].into(), DType::BF16);
    let client = y.client.clone();
    let addend = epilogue.addend.map(raw);
    let linear = QuantizedLinearLaunch {
        x,
        codes: contiguous(weight.bytes.into_primitive()),
        scale: contiguous(raw(weight.scale)),
        bias: epilogue.bias.map(|bias| parameter(raw(bias), DType::BF16)),
        addend: addend.map(|addend| contiguous(in_dtype(addend, DType::BF16))),
        y: y.clone(),
        parts,
    };
    concurrent::launch(&engine, &client, linear);
    Ok(typed(y))
}

/// A layer with the memory of all that it reads and writes.
struct QuantizedLinearLaunch {
    x: QuantizedRows<Cuda>,
    codes: Tensor,
    scale: Tensor,
    bias: Option<Tensor>,
    addend: Option<Tensor>,
    y: Tensor,
    parts: Parts,
}

impl Launch for QuantizedLinearLaunch {
    fn launch(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        let of = |tensor: &Tensor| scope.pointer(&tensor.handle);
        let part = |part: &Option<Tensor>| part.as_ref().map_or(0, of);
        let addresses = Addresses {
            x: of(&self.x.values),
            scales: of(&self.x.scales),
            codes: of(&self.codes),
            scale: of(&self.scale),
            bias: part(&self.bias),
            addend: part(&self.addend),
            y: of(&self.y),
        };
        self.parts.launch(scope, addresses)
    }
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

/// The addresses of the operands.
#[derive(Clone, Copy)]
struct Addresses {
    /// Codes of the rows, and their scales.
    x: u64,
    scales: u64,
    codes: u64,
    scale: u64,
    /// 0 where the layer has none.
    bias: u64,
    /// BF16 `[rows, out]`, or 0 where the layer has none.
    addend: u64,
    y: u64,
}

/// The product, and what kernels do after it.
struct Parts {
    product: Product,
    remainder: Remainder,
    gelu: bool,
}

impl Parts {
    /// Finds how a product of codes with codes is computed, and the engine of its device; `None`
    /// where the rows are no codes or cuBLASLt does not multiply them.
    fn of(call: &QuantizedLinear<Cuda>) -> Option<(Arc<Engine>, Self)> {
        let QuantizedLinear {
            x,
            weight,
            epilogue,
        } = call;
        if x.values.dtype != DType::U8 {
            return None;
        }
        let engine = Engine::of(&x.values.device).ok()?;
        let [rows, width] = dims(&x.values);
        let [out, _] = weight.bytes.dims();
        let PackedFormat::Fp8(format) = weight.format;
        let gelu = epilogue.activation == Activation::GeluTanh;
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
            addend: epilogue.addend.is_some(),
            bias: epilogue.bias.is_some(),
            gelu,
        };
        let (product, remainder) = way(&engine, whole)?;
        let parts = Self {
            product,
            remainder,
            gelu,
        };
        Some((engine, parts))
    }

    /// Launches the product and what is left of it.
    fn launch(&self, scope: &Scope<'_>, at: Addresses) -> Result<(), DriverError> {
        let Product { m, n, .. } = self.product;
        let Some(blas) = scope.blas() else {
            unreachable!("codes are multiplied only where cuBLASLt is there");
        };
        // Where rows have scales, all factors' rows do, and the weight's own is that of the product.
        let (alpha, weight_scale) = match self.product.codes {
            Some(codes) if codes.scaled_by_row => (Some(at.scale), blas.ones()),
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
        let lane = scope.lane()?;
        // What is added is not scaled, and the library may refuse to add.
        let adds = self.product.addend
            && self.remainder != Remainder::Everything
            && blas.try_multiply(lane, self.product, operands).is_ok();
        // What is left for kernels.
        let addend = if adds { 0 } else { at.addend };
        let mut gelu = self.gelu && (addend != 0 || self.remainder != Remainder::Nothing);
        if !adds {
            let product = match self.product.addend {
                true => self.product.bare(),
                false => self.product,
            };
            blas.multiply(lane, product, operands);
        }
        if self.remainder == Remainder::Everything {
            let grid = (blocks(m * n, 2048), 1, 1);
            // Nothing may come between the addend and the activation.
            let activates = gelu && addend == 0;
            gelu &= !activates;
            let mut args = [at.y, at.scales, at.bias].map(Arg::Pointer).to_vec();
            args.extend([Arg::Long(m as i64), Arg::Int(n as i32)]);
            args.push(Arg::Int(i32::from(activates)));
            scope.launch("scale_rows_bf16", grid, &args)?;
        }
        finish(scope, Element::Bf16, (at.y, m * n), addend, gelu)
    }
}
