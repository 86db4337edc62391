//! The two 8-bit float formats of Micikevicius et al., "FP8 Formats for Deep Learning" (2022),
//! as PyTorch's `float8_e4m3fn` and `float8_e5m2` define them.

/// An 8-bit floating-point format. Every code is exact in `f32`, `bf16` and (E5M2) `f16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fp8Format {
    /// 4 exponent bits (bias 7), 3 mantissa bits; no infinities, NaN is `S.1111.111`, max 448.
    E4M3,
    /// 5 exponent bits (bias 15), 2 mantissa bits; IEEE infinities and NaNs, max 57344.
    E5M2,
}

const E4M3_TABLE: [f32; 256] = table(Fp8Format::E4M3);
const E5M2_TABLE: [f32; 256] = table(Fp8Format::E5M2);

const fn table(format: Fp8Format) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = format.decode(code as u8);
        code += 1;
    }
    values
}

impl Fp8Format {
    /// The value of one code.
    pub const fn decode(self, code: u8) -> f32 {
        let (mantissa_bits, bias) = match self {
            Self::E4M3 => (3, 7),
            Self::E5M2 => (2, 15),
        };
        let magnitude = (code & 0x7f) as u32;
        let negative = code & 0x80 != 0;
        let exponent = magnitude >> mantissa_bits;
        let mantissa = magnitude & ((1 << mantissa_bits) - 1);
        let value = match self {
            Self::E4M3 if magnitude == 0x7f => f32::NAN,
            Self::E5M2 if exponent == 31 && mantissa != 0 => f32::NAN,
            Self::E5M2 if exponent == 31 => f32::INFINITY,
            // Subnormal: mantissa * 2^(1 - bias - mantissa_bits).
            _ if exponent == 0 => mantissa as f32 * power_of_two(1 - bias - mantissa_bits),
            _ => f32::from_bits(
                ((exponent as i32 + 127 - bias) as u32) << 23 | mantissa << (23 - mantissa_bits),
            ),
        };
        if negative { -value } else { value }
    }

    /// The values of all 256 codes.
    pub const fn table(self) -> &'static [f32; 256] {
        match self {
            Self::E4M3 => &E4M3_TABLE,
            Self::E5M2 => &E5M2_TABLE,
        }
    }
}

/// `2^exponent` for an exponent in the range of normal `f32` numbers.
const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formats by their definition, in `f64`: sign, exponent, mantissa, with no bit tricks.
    fn by_definition(format: Fp8Format, code: u8) -> f64 {
        let (exponent_bits, mantissa_bits, bias) = match format {
            Fp8Format::E4M3 => (4, 3, 7),
            Fp8Format::E5M2 => (5, 2, 15),
        };
        let sign = if code >> 7 == 1 { -1.0 } else { 1.0 };
        let exponent = i32::from(code >> mantissa_bits) & ((1 << exponent_bits) - 1);
        let fraction = f64::from(code & ((1 << mantissa_bits) - 1)) / f64::from(1 << mantissa_bits);
        match (format, exponent) {
            (Fp8Format::E4M3, 15) if fraction == 0.875 => f64::NAN,
            (Fp8Format::E5M2, 31) if fraction == 0.0 => sign * f64::INFINITY,
            (Fp8Format::E5M2, 31) => f64::NAN,
            (_, 0) => sign * fraction * 2f64.powi(1 - bias),
            _ => sign * (1.0 + fraction) * 2f64.powi(exponent - bias),
        }
    }

    #[test]
    fn all_codes_decode_to_their_definition() {
        for format in [Fp8Format::E4M3, Fp8Format::E5M2] {
            for code in 0..=255u8 {
                let expected = by_definition(format, code);
                let found = f64::from(format.table()[usize::from(code)]);
                assert!(
                    found == expected || (found.is_nan() && expected.is_nan()),
                    "{format:?} {code:#04x}: {found} != {expected}"
                );
                assert_eq!(found.is_sign_negative(), code >> 7 == 1, "{code:#04x}");
            }
        }
    }

    #[test]
    fn extremes_are_those_of_the_paper() {
        assert_eq!(Fp8Format::E4M3.decode(0x7e), 448.0);
        assert_eq!(Fp8Format::E4M3.decode(0x01), 2f32.powi(-9));
        assert_eq!(Fp8Format::E4M3.decode(0x38), 1.0);
        assert_eq!(Fp8Format::E5M2.decode(0x7b), 57344.0);
        assert_eq!(Fp8Format::E5M2.decode(0x01), 2f32.powi(-16));
    }
}
