//! ROCm, Vulkan, Metal and WebGPU: the portable bodies of all operations, but for weights in
//! formats that not every GPU has a type for.

mod decode;
mod linear;

use burn::tensor::FloatDType;
use burn::tensor::ops::{FloatTensor, IntTensor};

use crate::fp8::{Epilogue, Fp8Format, Fp8Ops};
use crate::fused::FusedOps;

macro_rules! read_weights_as_words {
    ($backend:ty) => {
        impl FusedOps for $backend {}

        impl Fp8Ops for $backend {
            fn fp8_linear(
                x: FloatTensor<Self>,
                weight: IntTensor<Self>,
                scale: FloatTensor<Self>,
                format: Fp8Format,
                epilogue: Epilogue<Self>,
            ) -> FloatTensor<Self> {
                linear::fp8_linear::<Self, _>(x, weight, scale, format, epilogue)
            }

            fn dense_linear(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                epilogue: Epilogue<Self>,
            ) -> FloatTensor<Self> {
                linear::dense_linear::<Self, _>(x, weight, epilogue)
            }

            fn fp8_rows(
                weight: IntTensor<Self>,
                scale: FloatTensor<Self>,
                indices: IntTensor<Self>,
                format: Fp8Format,
                dtype: FloatDType,
            ) -> FloatTensor<Self> {
                linear::fp8_rows::<Self, _>(weight, scale, indices, format, dtype)
            }

            fn dense_rows(
                weight: FloatTensor<Self>,
                indices: IntTensor<Self>,
                dtype: FloatDType,
            ) -> FloatTensor<Self> {
                linear::dense_rows::<Self, _>(weight, indices, dtype)
            }
        }
    };
}

#[cfg(feature = "rocm")]
read_weights_as_words!(burn_rocm::Rocm);
#[cfg(feature = "wgpu")]
read_weights_as_words!(burn_wgpu::Wgpu);
