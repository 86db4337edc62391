//! Products, and where their operands are.

use crate::cuda::tensor::Element;
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
    /// How `w` lies in memory.
    pub(in crate::cuda) weight: Layout,
    /// Elements from one row of `y` to the next; `n` where nothing lies between.
    pub(in crate::cuda) y_leading: usize,
    /// Of `y` and `bias`, and where `codes` says nothing else of `x` and `w`. Sums are f32; those of
    /// FP8 factors have the tensor cores' own precision.
    pub(in crate::cuda) element: Element,
    /// `x` is E4M3, and `w` of this format.
    pub(in crate::cuda) codes: Option<Codes>,
    /// Whether there is an addend, which lies as `y` does.
    pub(in crate::cuda) addend: bool,
    /// Whether there is a bias.
    pub(in crate::cuda) bias: bool,
    /// Whether GELU follows.
    pub(in crate::cuda) gelu: bool,
}

impl Product {
    /// The same without addend and GELU.
    pub(in crate::cuda) fn bare(self) -> Self {
        Self {
            addend: false,
            gelu: false,
            ..self
        }
    }
}

/// What FP8 factors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) struct Codes {
    /// Of `w`.
    pub(in crate::cuda) format: Fp8Format,
    /// Whether rows of `x` and of `w` have a scale each, or `w` has one and `x` none.
    pub(in crate::cuda) scaled_by_row: bool,
}

/// Where the scales of FP8 factors are, f32.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct Scales {
    /// `[m]`, if rows are scaled.
    pub(in crate::cuda) x: u64,
    /// `[n]` if rows are scaled, else one.
    pub(in crate::cuda) w: u64,
}

/// How the second matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cuda) enum Layout {
    /// `[n, k]`, as weights.
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
    /// 0 without one.
    pub(in crate::cuda) addend: u64,
    /// 0 without one.
    pub(in crate::cuda) bias: u64,
    /// Where the f32 `alpha` is; 1 without one.
    pub(in crate::cuda) alpha: Option<u64>,
    /// Of FP8 factors.
    pub(in crate::cuda) scales: Option<Scales>,
}
