//! Rounding of the decoder's numbers to bytes.

/// The rounding of a level between two whole ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// The nearer one, as in diffusers' image processor.
    HalfToEven,
    /// The lower one, as in ComfyUI's node that saves images.
    Down,
}

impl Rounding {
    /// The level, 0 to 255, of a value in `[-1, 1]`; values outside are clamped.
    pub fn level(self, value: f32) -> u8 {
        let level = (value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0;
        match self {
            Self::HalfToEven => level.round_ties_even() as u8,
            Self::Down => level as u8,
        }
    }
}
