//! Counts against the shares they should have, valid at every look.
//!
//! Source: M. Lindon, A. Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022.
//! With assignment probabilities θ_i, counts x_i, n = Σ x_i, and a Dirichlet prior κθ_i:
//!
//! `ln E = lnΓ(κ) − lnΓ(κ+n) + Σ[lnΓ(κθ_i + x_i) − lnΓ(κθ_i)] − Σ x_i·ln θ_i`
//!
//! Reject at E ≥ 1/α. It looks both ways: a share too small is found as well as one too large.

/// The weight κ of the prior: as if a hundred observations had had the right shares.
const KAPPA: f64 = 100.0;

/// ln E for counts of which each should have the share beside it: `(count, share)`. The shares must
/// be above 0 and sum to 1.
pub fn ln_evidence(counts: &[(u64, f64)]) -> f64 {
    let n: u64 = counts.iter().map(|(x, _)| x).sum();
    let whole = libm::lgamma(KAPPA) - libm::lgamma(KAPPA + n as f64);
    let each = counts.iter().map(|&(x, theta)| {
        let (x, prior) = (x as f64, KAPPA * theta);
        libm::lgamma(prior + x) - libm::lgamma(prior) - x * libm::log(theta)
    });
    whole + each.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.17.1: gammaln(100) - gammaln(100+n)
        //   + sum(gammaln(100*t+x) - gammaln(100*t) - x*log(t) for x, t in …)
        for (x, n, theta, expected) in CASES {
            let got = ln_evidence(&[(x, theta), (n - x, 1.0 - theta)]);
            assert!((got - expected).abs() < 1e-8, "{x}/{n} at {theta}: {got}");
        }
    }

    const CASES: [(u64, u64, f64, f64); 5] = [
        (5, 100, 0.05, -0.3549096474566227),
        (0, 200, 0.05, 4.663078258524365),
        (10, 10, 0.05, 5.482399296361137),
        (1000, 10000, 0.05, 202.2438120910083),
        (50100, 1000000, 0.05, -4.517667107284069),
    ];
}
