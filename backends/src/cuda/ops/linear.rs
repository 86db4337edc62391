//! Linear layers: a weight is decoded into scratch memory and multiplied by cuBLASLt; for a few
//! rows a kernel multiplies with the codes themselves.

use std::sync::Arc;

use burn::tensor::DType;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use crate::cuda::blas::{Layout, Operands, Product};
use crate::cuda::concurrent::{self, Launch};
use crate::cuda::element::Element;
use crate::cuda::engine::Engine;
use crate::cuda::launch::Arg;
use crate::cuda::scope::Scope;
use crate::cuda::scratch::Use;
use crate::cuda::tensor::{
    Tensor, Typed, contiguous, dims, empty, engine_of, in_dtype, parameter, raw, typed,
};
use crate::fp8::Fp8Format;
use crate::kernels::{Activation, DenseLinear, Epilogue, PackedLinear, PackedMatrix};
use crate::weight::PackedFormat;
use crate::weight::by_row::{is_by_row, packed_linear_by_row};
use crate::working_memory::FEW_ROWS;

/// Blocks of an element-wise kernel over `n` elements, `each` a block.
pub(super) fn blocks(n: usize, each: usize) -> u32 {
    n.div_ceil(each).clamp(1, 1 << 20) as u32
}

/// A weight as it is stored.
enum Stored {
    /// FP8 codes, U8 `[out, in]`, and their scale, f32 `[1]`.
    Fp8 {
        codes: Tensor,
        scale: Box<Tensor>,
        format: Fp8Format,
    },
    /// Floats `[out, in]`.
    Dense(Tensor),
}

/// Hands the inputs back where neither our kernels nor cuBLASLt know the product.
pub(super) fn dense_linear(call: DenseLinear<Cuda>) -> Result<Typed<2>, DenseLinear<Cuda>> {
    let Some((engine, element)) = engine_of(&call.x).filter(|(engine, _)| engine.has_blas()) else {
        return Err(call);
    };
    let x = raw(call.x);
    let weight = Stored::Dense(parameter(raw(call.weight), x.dtype));
    Ok(launch(&engine, element, x, weight, call.epilogue))
}

/// Hands the inputs back where neither our kernels nor cuBLASLt know the product.
pub(super) fn packed_linear(call: PackedLinear<Cuda>) -> Result<Typed<2>, PackedLinear<Cuda>> {
    if is_by_row(&call.weight) {
        return Ok(packed_linear_by_row(concurrent::handed_back(call)));
    }
    let [rows, _] = call.x.dims();
    let known = |(engine, _): &(Arc<Engine>, Element)| rows <= FEW_ROWS || engine.has_blas();
    let Some((engine, element)) = engine_of(&call.x).filter(known) else {
        return Err(call);
    };
    let PackedMatrix {
        bytes,
        scale,
        format: PackedFormat::Fp8(format),
    } = call.weight;
    let weight = Stored::Fp8 {
        codes: contiguous(bytes.into_primitive()),
        scale: Box::new(contiguous(raw(scale))),
        format,
    };
    Ok(launch(&engine, element, raw(call.x), weight, call.epilogue))
}

fn launch(
    engine: &Arc<Engine>,
    element: Element,
    x: Tensor,
    weight: Stored,
    epilogue: Epilogue<Cuda>,
) -> Typed<2> {
    let Epilogue {
        bias,
        addend,
        activation,
    } = epilogue;
    let x = contiguous(x);
    let [rows, width] = dims(&x);
    let [out, _] = match &weight {
        Stored::Fp8 { codes, .. } => dims(codes),
        Stored::Dense(weight) => dims::<2>(weight),
    };
    let y = empty(&x, [rows, out].into(), x.dtype);
    let client = x.client.clone();
    let linear = LinearLaunch {
        bias: bias.map(|bias| parameter(raw(bias), DType::F32)),
        addend: addend.map(|addend| contiguous(in_dtype(raw(addend), x.dtype))),
        x,
        weight,
        y: y.clone(),
        sizes: Sizes {
            element,
            rows,
            width,
            out,
            activation,
        },
    };
    concurrent::launch(engine, &client, linear);
    typed(y)
}

/// A layer with the memory of all that it reads and writes.
struct LinearLaunch {
    x: Tensor,
    weight: Stored,
    bias: Option<Tensor>,
    addend: Option<Tensor>,
    y: Tensor,
    sizes: Sizes,
}

impl Launch for LinearLaunch {
    fn launch(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        let Self {
            x,
            weight,
            bias,
            addend,
            y,
            sizes,
        } = self;
        let addend = addend.as_ref();
        let addend = addend.map_or(0, |addend| scope.pointer(&addend.handle));
        match weight {
            _ if sizes.rows * sizes.out == 0 => Ok(()),
            Stored::Fp8 {
                codes,
                scale,
                format,
            } if sizes.rows <= FEW_ROWS => {
                sizes.few_rows(scope, x, (codes, scale, *format), bias, y)?;
                sizes.finish(scope, addend, y)
            }
            _ => sizes.product(scope, x, weight, (bias, addend), y),
        }
    }
}

/// Adds an addend, or 0 for none, to the `n` elements of `y`, and activates them.
///
/// # Errors
/// The driver's.
pub(super) fn finish(
    scope: &Scope<'_>,
    element: Element,
    (y, n): (u64, usize),
    addend: u64,
    gelu: bool,
) -> Result<(), DriverError> {
    if addend == 0 && !gelu {
        return Ok(());
    }
    let grid = (blocks(n, 2048), 1, 1);
    let (y, n) = (Arg::Pointer(y), Arg::Long(n as i64));
    let args = [y, Arg::Pointer(addend), n, Arg::Int(i32::from(gelu))];
    scope.launch(&element.kernel("finish"), grid, &args)
}

/// The number that kernels know a format by.
fn code_of(format: Fp8Format) -> i32 {
    match format {
        Fp8Format::E4M3 => 0,
        Fp8Format::E5M2 => 1,
    }
}

struct Sizes {
    element: Element,
    rows: usize,
    width: usize,
    out: usize,
    activation: Activation,
}

impl Sizes {
    fn few_rows(
        &self,
        scope: &Scope<'_>,
        x: &Tensor,
        (codes, scale, format): (&Tensor, &Tensor, Fp8Format),
        bias: &Option<Tensor>,
        y: &Tensor,
    ) -> Result<(), DriverError> {
        // Outputs of a block.
        let outputs = match self.element {
            Element::Bf16 => 16,
            Element::F32 => 8,
        };
        let bias = bias.as_ref().map_or(0, |bias| scope.pointer(&bias.handle));
        scope.launch(
            &self.element.kernel("fp8_gemv"),
            (
                self.out.div_ceil(outputs) as u32,
                self.rows.div_ceil(FEW_ROWS) as u32,
                1,
            ),
            &[
                Arg::Pointer(scope.pointer(&x.handle)),
                Arg::Pointer(scope.pointer(&codes.handle)),
                Arg::Pointer(scope.pointer(&scale.handle)),
                Arg::Pointer(bias),
                Arg::Pointer(scope.pointer(&y.handle)),
                Arg::Int(self.rows as i32),
                Arg::Int(self.width as i32),
                Arg::Int(self.out as i32),
                Arg::Int(code_of(format)),
            ],
        )
    }

    /// The addend, or 0 for none, and the activation, after a product without them.
    fn finish(&self, scope: &Scope<'_>, addend: u64, y: &Tensor) -> Result<(), DriverError> {
        let gelu = self.activation == Activation::GeluTanh;
        let (y, n) = (scope.pointer(&y.handle), self.rows * self.out);
        finish(scope, self.element, (y, n), addend, gelu)
    }

    /// The product by cuBLASLt.
    fn product(
        &self,
        scope: &Scope<'_>,
        x: &Tensor,
        weight: &Stored,
        (bias, addend): (&Option<Tensor>, u64),
        y: &Tensor,
    ) -> Result<(), DriverError> {
        let Some(blas) = scope.blas() else {
            unreachable!("a layer of many rows is started only where cuBLASLt is there");
        };
        let bias = bias.as_ref();
        let (w, alpha, bias_pointer) = match weight {
            Stored::Dense(weight) => {
                let bias = bias.map_or(Ok(0), |bias| self.bias(scope, bias))?;
                (scope.pointer(&weight.handle), None, bias)
            }
            Stored::Fp8 {
                codes,
                scale,
                format,
            } => {
                let scale = scope.pointer(&scale.handle);
                let (weight, bias) = self.decoded(scope, codes, *format, bias)?;
                (weight, Some(scale), bias)
            }
        };
        let product = Product {
            m: self.rows,
            n: self.out,
            k: self.width,
            weight: Layout::Rows,
            y_leading: self.out,
            element: self.element,
            codes: None,
            addend: addend != 0,
            bias: bias.is_some(),
            gelu: self.activation == Activation::GeluTanh,
        };
        let operands = Operands {
            x: scope.pointer(&x.handle),
            w,
            y: scope.pointer(&y.handle),
            addend,
            bias: bias_pointer,
            alpha,
            scales: None,
        };
        let lane = scope.lane()?;
        if !product.addend {
            blas.multiply(lane, product, operands);
        } else if blas.try_multiply(lane, product, operands).is_err() {
            blas.multiply(lane, product.bare(), operands);
            self.finish(scope, addend, y)?;
        }
        Ok(())
    }

    /// The weight and the bias in the dtype of the computation, in scratch memory.
    fn decoded(
        &self,
        scope: &Scope<'_>,
        codes: &Tensor,
        format: Fp8Format,
        bias: Option<&Tensor>,
    ) -> Result<(u64, u64), DriverError> {
        const TILE: usize = 8192;
        let n = self.out * self.width;
        let codes = scope.pointer(&codes.handle);
        let weight = scope.scratch(Use::Weight, n * self.element.size())?;
        let mut args = vec![
            Arg::Pointer(codes),
            Arg::Pointer(weight),
            Arg::Long(n as i64),
            Arg::Int(code_of(format)),
        ];
        let mut used_bias = bias.map_or(0, |bias| scope.pointer(&bias.handle));
        if self.element == Element::Bf16 {
            let narrow = match bias {
                Some(_) => scope.scratch(Use::Bias, self.out * self.element.size())?,
                None => 0,
            };
            args.extend([used_bias, narrow].map(Arg::Pointer));
            args.push(Arg::Int(self.out as i32));
            used_bias = narrow;
        }
        scope.launch(
            &self.element.kernel("fp8_decode"),
            (blocks(n, TILE), 1, 1),
            &args,
        )?;
        Ok((weight, used_bias))
    }

    /// The bias in the dtype of the computation, as cuBLASLt wants it.
    fn bias(&self, scope: &Scope<'_>, bias: &Tensor) -> Result<u64, DriverError> {
        let source = scope.pointer(&bias.handle);
        if self.element == Element::F32 {
            return Ok(source);
        }
        let narrow = scope.scratch(Use::Bias, self.out * self.element.size())?;
        scope.launch(
            "cast_f32_bf16",
            (blocks(self.out, 256), 1, 1),
            &[
                Arg::Pointer(source),
                Arg::Pointer(narrow),
                Arg::Long(self.out as i64),
            ],
        )?;
        Ok(narrow)
    }
}
