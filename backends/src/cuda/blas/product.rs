//! Products, and where their operands are.

use crate::cuda::element::Element;
use crate::fp8::Fp8Format;

/// `y[m, n] = alpha * x[m, k] · w[n, k]ᵀ + addend[m, n] + bias[n]`, all row-major, then GELU's tanh
/// form. FP8 factors are multiplied by [`Scales`] on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) struct Product {
    /// Rows of `x` and of `y`.
    pub(in crate::cuda) m: usize,
    /// Rows of `w`.
    pub(in crate::cuda) n: usize,
    /// Columns of `x` and of `w`.
    pub(in crate::cuda) k: usize,
    /// The layout of `w` in memory.
    pub(in crate::cuda) weight: Layout,
    /// Elements from one row of `y` to the next; `n` where nothing lies between.
    pub(in crate::cuda) y_leading: usize,
    /// The element of `y` and `bias`, and unless there are `codes`, of `x` and `w`. Sums are f32;
    /// those of FP8 factors have the tensor cores' own precision.
    pub(in crate::cuda) element: Element,
    /// If there are codes, `x` is E4M3 and `w` is of their format.
    pub(in crate::cuda) codes: Option<Codes>,
    /// If true, there is an addend in the layout of `y`.
    pub(in crate::cuda) addend: bool,
    /// If true, there is a bias.
    pub(in crate::cuda) bias: bool,
    /// If true, GELU follows.
    pub(in crate::cuda) gelu: bool,
}

impl Product {
    /// The same product without addend and GELU.
    pub(in crate::cuda) fn bare(self) -> Self {
        Self {
            addend: false,
            gelu: false,
            ..self
        }
    }
}

/// The form of FP8 factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) struct Codes {
    /// The format of `w`.
    pub(in crate::cuda) format: Fp8Format,
    /// If true, each row of `x` and of `w` has a scale; else `w` has one scale and `x` none.
    pub(in crate::cuda) scaled_by_row: bool,
}

/// The addresses of the f32 scales of FP8 factors.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct Scales {
    /// `[m]`, if rows are scaled.
    pub(in crate::cuda) x: u64,
    /// `[n]` if rows are scaled, else one.
    pub(in crate::cuda) w: u64,
}

/// The layout of the second matrix in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) enum Layout {
    /// `[n, k]`, the layout of weights.
    Rows,
    /// `[k, n]`.
    Columns,
}

/// The addresses of a product's operands.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct Operands {
    pub(in crate::cuda) x: u64,
    pub(in crate::cuda) w: u64,
    pub(in crate::cuda) y: u64,
    /// 0 if there is none.
    pub(in crate::cuda) addend: u64,
    /// 0 if there is none.
    pub(in crate::cuda) bias: u64,
    /// The address of the f32 `alpha`, which is 1 without one.
    pub(in crate::cuda) alpha: Option<u64>,
    /// The scales of FP8 factors.
    pub(in crate::cuda) scales: Option<Scales>,
}
