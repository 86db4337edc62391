//! CubeCL backends (CUDA, ROCm, Vulkan, Metal, WebGPU): the portable bodies of all operations.

use burn::tensor::backend::Backend;
use burn_cubecl::{CubeBackend, CubeRuntime, FloatElement, IntElement, element::BoolElement};

use crate::fp8::Fp8Ops;
use crate::fused::FusedOps;

impl<R, F, I, BT> Fp8Ops for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
    Self: Backend,
{
}

impl<R, F, I, BT> FusedOps for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
    Self: Backend,
{
}
