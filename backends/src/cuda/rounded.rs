//! Linear layers on FP8 tensor cores: activations are rounded to E4M3, token by token, and
//! multiplied with the weight's codes by cuBLASLt.

use std::sync::Arc;

use burn::tensor::{DType, FloatDType};
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::{Cuda, CudaDevice};
use cudarc::driver::DriverError;

use super::blas::{Codes, Layout, Operands, Product, Scales};
use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::{THREADS, blocks, in_dtype};
use super::round::{Rounded, suitable};
use super::tensor::{Element, Tensor, contiguous, dims, over};
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

/// See [`Fp8Ops::fp8_linear_rounded`](crate::fp8::Fp8Ops::fp8_linear_rounded); `None` where `x` is
/// no codes, or cuBLASLt cannot do all of it.
pub(super) fn linear_rounded(
    x: RoundedRows<Cuda>,
    weight: (Tensor, Tensor, Fp8Format),
    epilogue: Epilogue<Cuda>,
) -> Option<Tensor> {
    let (engine, linear) = LinearRounded::new(Input::of(x)?, weight, epilogue)?;
    let y = engine.run(&linear.tensor().client, |scope| {
        let room = linear.take(scope);
        Ok(linear.run(scope, &room)?.then_some(room.y))
    })?;
    Some(linear.result(y))
}

/// A layer that can be started.
pub(super) struct LinearRounded {
    input: Input,
    codes: Tensor,
    scale: Tensor,
    bias: Option<Tensor>,
    addend: Option<Tensor>,
    layer: Layer,
}

/// Codes with their scales, or floats that are to be rounded.
pub(super) struct Input {
    x: Tensor,
    scales: Option<Tensor>,
}

/// Memory of a layer's result, and of an input that is to be rounded.
pub(super) struct Room {
    pub(super) y: Handle,
    pub(super) rounded: Option<Rounded>,
}

impl Input {
    /// `None` where they are no codes.
    pub(super) fn of(x: RoundedRows<Cuda>) -> Option<Self> {
        let RoundedRows { values, scales, .. } = x;
        (values.dtype == DType::U8).then_some(Self {
            x: values,
            scales: Some(scales),
        })
    }

    /// `None` where codes have no use.
    pub(super) fn rounding(x: Tensor) -> Option<Self> {
        let (_, x) = suitable(x)?;
        Some(Self { x, scales: None })
    }
}

impl LinearRounded {
    /// With the engine of its device; `None` as of [`linear_rounded`], but where cuBLASLt refuses to
    /// add.
    pub(super) fn new(
        input: Input,
        (codes, scale, format): (Tensor, Tensor, Fp8Format),
        epilogue: Epilogue<Cuda>,
    ) -> Option<(Arc<Engine>, Self)> {
        let Epilogue {
            bias,
            addend,
            activation,
        } = epilogue;
        let engine = Engine::of(&input.x.device).ok()?;
        let [rows, width] = dims(&input.x);
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
        let bias = bias.map(|bias| contiguous(in_dtype(bias, DType::BF16)));
        let addend = addend.map(|addend| contiguous(in_dtype(addend, DType::BF16)));
        let [codes, scale] = [codes, scale].map(contiguous);
        let layer = Layer {
            product,
            remainder,
            gelu,
        };
        let linear = Self {
            input,
            codes,
            scale,
            bias,
            addend,
            layer,
        };
        Some((engine, linear))
    }

    /// One of the inputs.
    pub(super) fn tensor(&self) -> &Tensor {
        &self.input.x
    }

    /// Takes all memory that it needs.
    pub(super) fn take(&self, scope: &Scope<'_>) -> Room {
        let Product { m, n, .. } = self.layer.product;
        Room {
            y: scope.empty(m * n * Element::Bf16.size()),
            rounded: match self.input.scales {
                Some(_) => None,
                None => Some(Rounded::take(scope, &self.input.x)),
            },
        }
    }

    /// Of the input and the result.
    pub(super) fn rows(&self) -> usize {
        self.layer.product.m
    }

    /// Starts it, unless cuBLASLt refuses to add.
    pub(super) fn run(&self, scope: &Scope<'_>, room: &Room) -> Result<bool, DriverError> {
        let (x, scales) = match (&self.input.scales, &room.rounded) {
            (Some(scales), _) => (&self.input.x.handle, &scales.handle),
            (None, Some(rounded)) => {
                rounded.fill(scope, &self.input.x)?;
                (&rounded.codes, &rounded.scales)
            }
            (None, None) => return Ok(false),
        };
        let part = |part: &Option<Tensor>| {
            let part = part.as_ref();
            part.map_or(0, |part| scope.pointer(&part.handle))
        };
        let addresses = Addresses {
            x: scope.pointer(x),
            scales: scope.pointer(scales),
            codes: scope.pointer(&self.codes.handle),
            scale: scope.pointer(&self.scale.handle),
            bias: part(&self.bias),
            addend: part(&self.addend),
            y: scope.pointer(&room.y),
        };
        self.layer.run(scope, addresses)
    }

    /// The result in `y`.
    pub(super) fn result(&self, y: Handle) -> Tensor {
        let shape = [self.layer.product.m, self.layer.product.n].into();
        over(self.tensor(), y, shape, DType::BF16)
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
