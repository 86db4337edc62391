//! The numbers of `torch.randn` from a CPU generator, so that a seed gives the image it gives
//! in diffusers and ComfyUI.
//!
//! A Mersenne Twister (Matsumoto & Nishimura, 1998) and the Box-Muller transform (1958), which
//! the reference applies in two ways: to blocks of sixteen f32 numbers where at least sixteen
//! are drawn, and to pairs of f64 numbers below that.

use rand_mt::Mt;

/// Values that the reference transforms at a time.
const BLOCK: usize = 16;

/// A generator of standard normal numbers that continues from draw to draw.
#[derive(Clone, Debug)]
pub struct NoiseGenerator {
    engine: Mt,
    /// The second number of the last pair of the f64 path.
    pending: Option<f64>,
}

impl NoiseGenerator {
    /// The generator of a seed, of which only the low 32 bits count.
    pub fn new(seed: u64) -> Self {
        Self {
            engine: Mt::new(seed as u32),
            pending: None,
        }
    }

    /// The next `count` numbers.
    pub fn draw(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.single() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        let (blocks, tail) = values.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller);
        if !tail.is_empty() {
            // The last sixteen are drawn anew, over the end of the block before.
            let mut block = std::array::from_fn(|_| self.uniform());
            box_muller(&mut block);
            values[count - BLOCK..].copy_from_slice(&block);
        }
        values
    }

    /// Uniform on `[0, 1)` with 24 bits.
    fn uniform(&mut self) -> f32 {
        (self.engine.next_u32() & 0x00ff_ffff) as f32 / (1 << 24) as f32
    }

    /// Uniform on `[0, 1)` with 53 bits, the upper ones drawn first.
    fn uniform_wide(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        let bits = (high << 32 | low) & ((1 << 53) - 1);
        bits as f64 / (1u64 << 53) as f64
    }

    fn single(&mut self) -> f64 {
        if let Some(value) = self.pending.take() {
            return value;
        }
        let angle = std::f64::consts::TAU * self.uniform_wide();
        let radius = (-2.0 * (-self.uniform_wide()).ln_1p()).sqrt();
        self.pending = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Element `j` gives the radius and element `j + 8` the angle of the numbers at both places.
fn box_muller(block: &mut [f32; BLOCK]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let angle = std::f32::consts::TAU * *b;
        *a = radius * angle.cos();
        *b = radius * angle.sin();
    }
}

/// The first `count` numbers of a seed: `torch.randn(count, generator=manual_seed(seed))`.
pub fn torch_randn(seed: u64, count: usize) -> Vec<f32> {
    NoiseGenerator::new(seed).draw(count)
}
