//! Random weights for models at their real widths.

use backends::ModelBackend;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};

/// Fills every parameter of a module with small random values, in the storage that its type
/// asks for.
pub fn randomize<B: ModelBackend, M: Module<B>>(module: M) -> M {
    module.map(&mut Randomize { state: 1 })
}

/// Random f32 values in `[-1, 1)` on the device.
pub fn random<B: ModelBackend, const D: usize>(
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let mut source = Randomize { state: 7 };
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| source.value())
        .collect();
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

/// Random FP8 E4M3 codes `[rows, width]` on the device, none of them NaN.
pub fn random_codes<B: ModelBackend>(shape: [usize; 2], device: &B::Device) -> Tensor<B, 2, Int> {
    Randomize { state: 3 }.codes(shape, device)
}

/// A linear congruential generator: its numbers need not be good, only not all alike.
struct Randomize {
    state: u64,
}

impl Randomize {
    fn next(&mut self) -> u32 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 32) as u32
    }

    fn value(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 31) as f32 - 1.0
    }

    fn codes<B: ModelBackend, const D: usize>(
        &mut self,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D, Int> {
        // Magnitudes up to 2^-5, as trained weights have: subnormal codes are among them.
        let codes: Vec<u8> = (0..shape.iter().product())
            .map(|_| {
                let bits = self.next();
                (bits & 0x80) as u8 | ((bits >> 8) % 0x18) as u8
            })
            .collect();
        Tensor::from_data(TensorData::new(codes, shape), (device, DType::U8))
    }
}

impl<B: ModelBackend> ModuleMapper<B> for Randomize {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let shape: [usize; D] = param.lazy_shape().dims();
        let device = param.lazy_device();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| self.value() * 0.02)
            .collect();
        let data = TensorData::new(values, shape);
        Param::initialized(param.id, Tensor::from_data(data, (&device, DType::F32)))
    }

    fn map_int<const D: usize>(
        &mut self,
        param: Param<Tensor<B, D, Int>>,
    ) -> Param<Tensor<B, D, Int>> {
        let shape: [usize; D] = param.lazy_shape().dims();
        let device = param.lazy_device();
        Param::initialized(param.id, self.codes(shape, &device))
    }
}
