//! Seeded random numbers for the simulations.

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of one run of one experiment.
    pub(crate) fn new(experiment: u64, run: u64) -> Self {
        let mut dice = Self(experiment.wrapping_mul(0xd134_2543_de82_ef95) ^ run);
        dice.next();
        Self(dice.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// A whole number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.unit() * bound as f64) as u64
    }

    /// An exponentially distributed number of this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log1p(-self.unit())
    }
}

/// Binomial draws by inversion: exact, one uniform number a draw.
pub(crate) struct Binomial(Vec<f64>);

impl Binomial {
    pub(crate) fn new(n: u64, p: f64) -> Self {
        if p >= 1.0 {
            let mut certain = vec![0.0; n as usize];
            certain.push(1.0);
            return Self(certain);
        }
        let mut sum = 0.0;
        let mut term = libm::exp(n as f64 * libm::log1p(-p));
        let cumulated = (0..=n).map(|x| {
            sum += term;
            term *= (n - x) as f64 / (x + 1) as f64 * p / (1.0 - p);
            sum
        });
        Self(cumulated.collect())
    }

    pub(crate) fn draw(&self, dice: &mut Dice) -> u64 {
        let at = dice.unit();
        self.0
            .partition_point(|&sum| sum <= at)
            .min(self.0.len() - 1) as u64
    }
}

#[test]
fn binomial_draws_have_the_right_mean_and_spread() {
    let binomial = Binomial::new(190, 0.02);
    let mut dice = Dice::new(1, 1);
    let draws: Vec<f64> = (0..100_000)
        .map(|_| binomial.draw(&mut dice) as f64)
        .collect();
    let mean = draws.iter().sum::<f64>() / 1e5;
    let spread = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5;
    assert!((mean - 3.8).abs() < 0.03, "{mean}");
    assert!((spread - 3.724).abs() < 0.08, "{spread}");
}
