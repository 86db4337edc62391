//! Which values a tensor is given, as 256 codes of its dtype that are drawn with equal chance.

use std::sync::LazyLock;

use backends::fp8::Fp8Format;
use half::bf16;

use crate::published::TensorSpec;

/// Standard deviation of a bias.
const BIAS: f64 = 0.02;
/// Standard deviation of a normalisation's weight, about 1.
const NORM: f64 = 0.05;

/// A normal distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Values {
    /// Mean.
    pub(super) mean: f64,
    /// Standard deviation.
    pub(super) std: f64,
}

impl Values {
    /// Values that suit a tensor, by its name and shape: the variance of activations stays the same
    /// from layer to layer, so that all of them are finite.
    pub(super) fn of(tensor: &TensorSpec) -> Self {
        let role = tensor.key.rsplit('.').next().unwrap_or_default();
        match role {
            "scale_weight" | "scale_input" => Self {
                mean: 1.0,
                std: 0.0,
            },
            "bias" => Self {
                mean: 0.0,
                std: BIAS,
            },
            "gamma" => Self {
                mean: 1.0,
                std: NORM,
            },
            // Only normalisations have weights of one dimension.
            "weight" if tensor.shape.len() == 1 => Self {
                mean: 1.0,
                std: NORM,
            },
            _ => {
                let fan_in: f64 = tensor
                    .shape
                    .iter()
                    .skip(1)
                    .map(|&size| size as f64)
                    .product();
                Self {
                    mean: 0.0,
                    std: 1.0 / fan_in.max(1.0).sqrt(),
                }
            }
        }
    }

    /// Tells whether all elements are the same.
    pub(super) fn is_constant(self) -> bool {
        self.std == 0.0
    }

    fn each(self) -> impl Iterator<Item = f64> {
        QUANTILES.iter().map(move |z| self.mean + self.std * z)
    }

    /// The values as E4M3 codes, none of which is NaN.
    pub(super) fn e4m3(self) -> [[u8; 1]; 256] {
        codes(self.each().map(|value| [nearest_e4m3(value)]))
    }

    /// The values as BF16, little-endian.
    pub(super) fn bf16(self) -> [[u8; 2]; 256] {
        codes(self.each().map(|value| bf16::from_f64(value).to_le_bytes()))
    }

    /// The values as F32, little-endian.
    pub(super) fn f32(self) -> [[u8; 4]; 256] {
        codes(self.each().map(|value| (value as f32).to_le_bytes()))
    }
}

fn codes<const W: usize>(each: impl Iterator<Item = [u8; W]>) -> [[u8; W]; 256] {
    let mut table = [[0; W]; 256];
    for (slot, code) in table.iter_mut().zip(each) {
        *slot = code;
    }
    table
}

/// The code whose value is nearest, of the 254 that are numbers.
fn nearest_e4m3(value: f64) -> u8 {
    const LARGEST: u8 = 0x7e;
    // Values of positive codes grow with the code.
    let decoded = |code: u8| f64::from(Fp8Format::E4M3.decode(code));
    let magnitude = value.abs();
    let mut code = 0;
    while code < LARGEST && decoded(code + 1) - magnitude <= magnitude - decoded(code) {
        code += 1;
    }
    if value.is_sign_negative() && code > 0 {
        code | 0x80
    } else {
        code
    }
}

/// The standard normal distribution in 256 values of equal chance: the medians of 256 equal parts,
/// stretched a little so that their variance is 1 although the tails are cut.
static QUANTILES: LazyLock<[f64; 256]> = LazyLock::new(|| {
    const PARTS: f64 = 256.0;
    /// The density is summed from -6 in steps of 1/8192, which are exact.
    const STEP: f64 = 1.0 / 8192.0;
    let mut values = [0.0; 256];
    let mut x = -6.0;
    let mut below = 0.0;
    // The lower half; the upper one mirrors it.
    for i in 0..128 {
        let wanted = (i as f64 + 0.5) / PARTS;
        while below < wanted {
            let middle: f64 = x + STEP / 2.0;
            below += (-0.5 * middle * middle).exp() / std::f64::consts::TAU.sqrt() * STEP;
            x += STEP;
        }
        values[i] = x;
        values[255 - i] = -x;
    }
    let variance = values.iter().map(|value| value * value).sum::<f64>() / PARTS;
    values.map(|value| value / variance.sqrt())
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;

    fn spec(key: &str, shape: &[usize]) -> TensorSpec {
        TensorSpec {
            key: key.to_owned(),
            dtype: ElementType::BF16,
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        // Standard tables: P(z < -2.6601) = 1/256 (between the first two), P(z < -0.6745) = 1/4.
        assert!((-3.0..-2.6601).contains(&QUANTILES[0]), "{}", QUANTILES[0]);
        assert!(QUANTILES[0] < -2.6601 && QUANTILES[2] > -2.6601);
        assert!((QUANTILES[63] + 0.6745).abs() < 0.02, "{}", QUANTILES[63]);
        assert!(QUANTILES.is_sorted());
        let squares: f64 = QUANTILES.iter().map(|value| value * value).sum();
        assert!((squares / 256.0 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_nearest_code_is_taken() {
        for code in (0..=0x7e).chain(0x81..=0xfe) {
            let value = f64::from(Fp8Format::E4M3.decode(code));
            assert_eq!(nearest_e4m3(value), code);
        }
        assert_eq!(nearest_e4m3(1e9), 0x7e);
        assert_eq!(nearest_e4m3(-1e9), 0xfe);
        assert_eq!(nearest_e4m3(-1e-9), 0);
        // 1.0 is 0x38, the next is 1.125.
        assert_eq!(nearest_e4m3(1.06), 0x38);
        assert_eq!(nearest_e4m3(1.07), 0x39);
    }

    #[test]
    fn values_suit_the_tensor() {
        let of = |key, shape: &[usize]| {
            let values = Values::of(&spec(key, shape));
            (values.mean, values.std)
        };
        assert_eq!(of("x.scale_weight", &[]), (1.0, 0.0));
        assert_eq!(of("x.norm_q.weight", &[128]), (1.0, NORM));
        assert_eq!(of("x.norm1.gamma", &[96, 1, 1, 1]), (1.0, NORM));
        assert_eq!(of("x.to_q.bias", &[3072]), (0.0, BIAS));
        // A matrix, although its layer belongs to a normalisation.
        assert_eq!(of("norm_out.linear.weight", &[6144, 4096]).1, 1.0 / 64.0);
        assert_eq!(of("x.conv1.weight", &[8, 16, 1, 2, 2]).1, 1.0 / 8.0);
    }
}
