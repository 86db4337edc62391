/// The form of the activations that a linear layer multiplies its FP8 weight with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Activations as they are; the weight is decoded, which is exact.
    #[default]
    Exact,
    /// Activations quantized to E4M3, each token by a scale of its own, for products on FP8 tensor
    /// cores ("W8A8").
    Fp8,
}
