//! `exp` and what is built on it, written so that the compiler can run it in vector lanes.

/// `e^x` in f32 to about 1 ulp; 0 below -104, infinity above 88.8, NaN for NaN.
///
/// `x = k ln 2 + r` with `|r| <= ln 2 / 2`, and a minimax polynomial for `e^r` (the scheme of
/// Cody & Waite, "Software Manual for the Elementary Functions", 1980). `ln 2` is split in two
/// so that `k ln 2` is subtracted exactly.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;

    let clamped = x.clamp(-104.0, 88.9);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = k.mul_add(-LN2_HIGH, clamped);
    let r = k.mul_add(-LN2_LOW, r);

    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let p = (r * r).mul_add(p, r) + 1.0;

    // 2^k in two factors, so that neither leaves the range of normal numbers. NaN passes
    // through `p`.
    let k = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = k >> 1;
    p * power_of_two(half) * power_of_two(k - half)
}

#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// GELU in its tanh form; `0.5 (1 + tanh u) = 1 / (1 + e^-2u)`.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;
    let cubic = (x * x).mul_add(0.044_715, 1.0);
    x / (1.0 + exp(-TWO_SQRT_2_OVER_PI * x * cubic))
}

/// Partial results held side by side, so that a reduction runs in vector lanes; it also keeps
/// the rounding error of long sums low.
const LANES: usize = 32;

/// `Σ f(v)`.
#[inline(always)]
pub(super) fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().map(|&v| f(v)).sum::<f32>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    fold(lanes, |a, b| a + b) + rest
}

/// The largest value; negative infinity for none.
#[inline(always)]
pub(super) fn max_of(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks
        .remainder()
        .iter()
        .fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    fold(lanes, f32::max).max(rest)
}

/// Combines the lanes pairwise.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = f(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_two_ulp() {
        let mut x = -87.0f32;
        while x < 88.7 {
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.4e-7, "exp({x}): relative error {error:e}");
            x += 0.001_37;
        }
    }

    #[test]
    fn exp_at_its_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_and_silu_follow_their_definitions() {
        let mut x = -30.0f32;
        while x < 30.0 {
            let wide = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let gelu = 0.5 * wide * (1.0 + inner.tanh());
            let silu_expected = wide / (1.0 + (-wide).exp());
            let limit = 4e-7 * wide.abs().max(1.0);
            assert!((f64::from(gelu_tanh(x)) - gelu).abs() < limit, "gelu({x})");
            assert!(
                (f64::from(silu(x)) - silu_expected).abs() < limit,
                "silu({x})"
            );
            x += 0.003_7;
        }
        assert_eq!(gelu_tanh(-1e30), -0.0);
        assert!(gelu_tanh(f32::NAN).is_nan());
    }
}
