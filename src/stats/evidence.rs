//! How strongly counts speak against "not worse", however often somebody looks at them.
//!
//! One function serves three questions. For ratios R of the mixture, equal weights 1/9:
//!
//! `ln E = logsumexp_R( x·ln R − Σ_g n_g·ln(1 + θ_g·(R−1)) ) − ln 9`
//!
//! - *The canary is worse*: x = its events, n_g = the events of both versions while its share was
//!   θ_g. An event is the canary's with probability q ≤ θ_g while it is not worse, so each factor has
//!   the mean (1 + q(R−1)) / (1 + θ_g(R−1)) ≤ 1. Sums over weights and instances stay valid, and an
//!   outage of both cancels.
//! - *A rate is above p₀*: x = failures, one group of n = units, θ = p₀.
//! - *A rate is below p₀*: the same with 1/R for R.
//!
//! E is a non-negative supermartingale that starts at 1, so it ever reaches 1/α with a probability of
//! at most α: J. Ville, "Étude critique de la notion de collectif", 1939; as a method of testing:
//! A. Ramdas et al., "Game-Theoretic Statistics and Safe Anytime-Valid Inference", Statistical
//! Science 38 (2023). The mixture over R is Robbins's method: Ann. Math. Statist. 41 (1970).

/// The ratios of the mixture: from "a tenth worse" to "nothing but failures".
pub const RATIOS: [f64; 9] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];

/// The natural logarithms of [`RATIOS`].
const LN_RATIOS: [f64; 9] = [
    0.095_310_179_804_324_93,
    0.223_143_551_314_209_76,
    0.405_465_108_108_164_4,
    std::f64::consts::LN_2,
    1.098_612_288_668_109_8,
    1.609_437_912_434_100_3,
    std::f64::consts::LN_10,
    3.401_197_381_662_155_5,
    4.605_170_185_988_092,
];

/// ln 9: the mixture's equal weights.
const LN_WEIGHTS: f64 = 2.197_224_577_336_219_6;

/// One value a ratio of the mixture.
pub type PerRatio = [f64; RATIOS.len()];

/// What one trial costs each ratio when an event has the probability `theta` at most:
/// ln(1 + θ(R−1)).
pub fn costs_above(theta: f64) -> PerRatio {
    RATIOS.map(|r| libm::log1p(theta * (r - 1.0)))
}

/// What one trial costs each ratio when an event has the probability `theta` at least:
/// ln(1 + θ(1/R−1)).
pub fn costs_below(theta: f64) -> PerRatio {
    RATIOS.map(|r| libm::log1p(theta * (1.0 / r - 1.0)))
}

/// Which way the evidence looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Above,
    Below,
}

/// Evidence as it is summed up, group by group.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    direction: Direction,
    events: u64,
    spent: PerRatio,
}

impl Evidence {
    /// Evidence that events come more often than they may; add groups with [`costs_above`].
    pub fn above() -> Self {
        Self::empty(Direction::Above)
    }

    /// Evidence that events come less often than they might; add groups with [`costs_below`].
    pub fn below() -> Self {
        Self::empty(Direction::Below)
    }

    fn empty(direction: Direction) -> Self {
        Self {
            direction,
            events: 0,
            spent: [0.0; RATIOS.len()],
        }
    }

    /// Adds a group: `events` among `trials`, with the costs of its θ.
    pub fn add(&mut self, events: u64, trials: u64, costs: &PerRatio) {
        self.events += events;
        let trials = trials as f64;
        for (spent, cost) in self.spent.iter_mut().zip(costs) {
            *spent += trials * cost;
        }
    }

    /// ln E.
    pub fn ln_e(&self) -> f64 {
        log_sum_exp(&self.exponents()) - LN_WEIGHTS
    }

    /// ln E is at most this, and at least this minus ln 9: cheap, for skipping what is far below.
    pub fn ceiling(&self) -> f64 {
        self.exponents().into_iter().fold(f64::MIN, f64::max)
    }

    fn exponents(&self) -> PerRatio {
        let sign = match self.direction {
            Direction::Above => 1.0,
            Direction::Below => -1.0,
        };
        let x = sign * self.events as f64;
        std::array::from_fn(|i| x * LN_RATIOS[i] - self.spent[i])
    }
}

/// ln E for "`x` events in `n` trials are more than the probability `p0` allows".
pub fn ln_rate_above(x: u64, n: u64, p0: f64) -> f64 {
    let mut evidence = Evidence::above();
    evidence.add(x, n, &costs_above(p0));
    evidence.ln_e()
}

/// ln E for "`x` events in `n` trials are fewer than the probability `p0` would give".
pub fn ln_rate_below(x: u64, n: u64, p0: f64) -> f64 {
    let mut evidence = Evidence::below();
    evidence.add(x, n, &costs_below(p0));
    evidence.ln_e()
}

/// The lower limit of a rate, valid at every look: the smallest p₀ that `x` events in `n` trials do
/// not reject at level `alpha`, by bisection (ln E falls as p₀ grows).
pub fn lower_limit(x: u64, n: u64, alpha: f64) -> f64 {
    let enough = threshold(alpha);
    if ln_rate_above(x, n, 0.0) < enough {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if ln_rate_above(x, n, middle) < enough {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// ln(1/budget): what ln E must reach so that this happens by chance with a probability of at most
/// `budget`.
pub fn threshold(budget: f64) -> f64 {
    -libm::log(budget)
}

fn log_sum_exp(terms: &PerRatio) -> f64 {
    let largest = terms.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = terms.iter().map(|t| libm::exp(t - largest)).sum();
    largest + libm::log(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_logarithms_are_right() {
        for (r, ln) in RATIOS.into_iter().zip(LN_RATIOS) {
            assert!((libm::log(r) - ln).abs() < 1e-15, "ln {r}");
        }
        assert!((libm::log(9.0) - LN_WEIGHTS).abs() < 1e-15);
    }

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.17.1, R = [1.1, …, 100]:
        // scipy.special.logsumexp(x*np.log(R) - n*np.log1p(t*(R-1))) - np.log(9)
        for (x, n, theta, expected) in ABOVE {
            let got = ln_rate_above(x, n, theta);
            assert!((got - expected).abs() < 1e-9, "{x} {n} {theta}: {got}");
        }
        // the same with 1/R for R
        for (x, n, theta, expected) in BELOW {
            let got = ln_rate_below(x, n, theta);
            assert!((got - expected).abs() < 1e-9, "{x} {n} {theta}: {got}");
        }
    }

    const ABOVE: [(u64, u64, f64, f64); 5] = [
        (4, 4, 0.05, 9.363621020061917),
        (0, 10, 0.05, -0.861918895887757),
        (30, 100, 0.1, 13.194594454668097),
        (600, 10000, 0.05, 7.554778460997422),
        (52000, 1000000, 0.05, -33.609385791516964),
    ];
    const BELOW: [(u64, u64, f64, f64); 4] = [
        (0, 200, 0.05, 8.81063322794127),
        (10, 1000, 0.05, 22.82761527725466),
        (900, 20000, 0.05, 3.1456716047961284),
        (5, 10, 0.3, -1.5005734652294054),
    ];

    #[test]
    fn groups_add_up() {
        let mut evidence = Evidence::above();
        evidence.add(3, 10, &costs_above(0.05));
        evidence.add(4, 8, &costs_above(0.15));
        assert!((evidence.ln_e() - GROUPS).abs() < 1e-9);
        assert!(evidence.ceiling() >= GROUPS && evidence.ceiling() <= GROUPS + LN_WEIGHTS);
    }

    // scipy 1.17.1: logsumexp(7*np.log(R) - 10*np.log1p(.05*(R-1)) - 8*np.log1p(.15*(R-1))) - np.log(9)
    const GROUPS: f64 = 4.355231123285172;

    /// 3/4/5/6/14 events of the canary alone reach E ≥ 2,000 at a share of 1/5/10/15/50 %.
    #[test]
    fn a_dead_canary_needs_few_events() {
        let needed = |theta| (1..).find(|&x| ln_rate_above(x, x, theta) >= threshold(1.0 / 2000.0));
        let shares = [0.01, 0.05, 0.10, 0.15, 0.50];
        assert_eq!(
            shares.map(needed),
            [3, 4, 5, 6, 14].map(Some),
            "canary-only events"
        );
        assert_eq!(needed(0.001), Some(3), "two never do");
    }

    #[test]
    fn the_lower_limit_is_where_the_evidence_ends() {
        for (x, n) in [(3, 20), (30, 100), (500, 10_000), (7, 7)] {
            let low = lower_limit(x, n, 0.01);
            assert!(ln_rate_above(x, n, low) < threshold(0.01));
            assert!(ln_rate_above(x, n, low - 1e-9) >= threshold(0.01) - 1e-9);
        }
        assert_eq!(lower_limit(0, 100, 0.01), 0.0);
        assert_eq!(lower_limit(0, 0, 0.01), 0.0);
    }
}
