//! Quantiles of the standard normal distribution.

/// The upper quantile: the `z` with `P(Z > z) = tail` for a standard normal `Z`.
///
/// `tail` is clamped to `[1e-300, 1 − 1e-16]`. Found by bisection on `erfc` (libm, accurate to an
/// ulp even far out in the tail), so no rational approximation limits the result.
pub fn upper_quantile(tail: f64) -> f64 {
    let tail = tail.clamp(1e-300, 1.0 - 1e-16);
    let (mut low, mut high) = (-40.0_f64, 40.0_f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// `P(Z > z)` for a standard normal `Z`.
fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.x: scipy.stats.norm.isf(p)
        let cases = [
            (0.5, 0.0),
            (0.025, 1.959963984540054),
            (0.001, 3.090232306167813),
            (5e-5, 3.890591886413124),
            (5e-6, 4.417173413467605),
            (0.975, -1.959963984540054),
        ];
        for (tail, z) in cases {
            assert!((upper_quantile(tail) - z).abs() < 1e-9, "{tail}");
        }
    }
}
