//! CubeCL backends (CUDA, ROCm, Vulkan, Metal, WebGPU): the portable bodies.

use burn_cubecl::{CubeBackend, CubeRuntime, FloatElement, IntElement, element::BoolElement};

use super::ops::Fp8Ops;

impl<R, F, I, BT> Fp8Ops for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
    Self: burn::tensor::backend::Backend,
{
}
