//! Intervals of differences of quantiles: how often they hold the true difference.

use graygate::stats::quantile::Quantile;
use graygate::stats::quantile_difference::{excess, of_sorted};

use crate::dice::Dice;

const RUNS: u64 = 2_000;

/// Exponential times in nanoseconds, in order.
fn samples(dice: &mut Dice, mean: f64, n: usize) -> Vec<u64> {
    let mut all: Vec<u64> = (0..n)
        .map(|_| dice.exponential(mean * 1e6) as u64)
        .collect();
    all.sort_unstable();
    all
}

/// In how many of the runs the interval holds the true difference, and in how many it lies above, and below.
fn coverage(quantile: Quantile, (n, m): (usize, usize), (mean, other): (f64, f64)) -> [u64; 3] {
    let true_one = |mean: f64| -mean * 1e6 * libm::log1p(-quantile.fraction());
    let truth = true_one(mean) - true_one(other);
    let mut counts = [0; 3];
    for run in 0..RUNS {
        let mut dice = Dice::new(61, run);
        let (one, two) = (samples(&mut dice, mean, n), samples(&mut dice, other, m));
        let of = |sorted: &[u64]| of_sorted(sorted, quantile, 0.95).expect("samples");
        let delta = excess(of(&one), of(&two), 1.0);
        let (low, high) = (delta.low.expect("a limit"), delta.high.expect("a limit"));
        counts[match (low > truth, high < truth) {
            (true, _) => 1,
            (_, true) => 2,
            _ => 0,
        }] += 1;
    }
    counts
}

#[test]
fn differences_of_quantiles_are_held_as_often_as_promised() {
    let cases = [
        (Quantile::P50, (200, 200), (40.0, 40.0)),
        (Quantile::P50, (300, 60), (40.0, 70.0)),
        (Quantile::P95, (500, 500), (40.0, 40.0)),
        (Quantile::P95, (1_000, 300), (40.0, 80.0)),
        (Quantile::P99, (1_000, 1_000), (40.0, 40.0)),
        (Quantile::P99, (3_000, 600), (40.0, 50.0)),
    ];
    for (quantile, sizes, means) in cases {
        let [held, above, below] = coverage(quantile, sizes, means);
        println!(
            "{quantile} {sizes:?} {means:?}: held {held}, above {above}, below {below} of {RUNS}"
        );
        // 95 % of 2,000 is 1,900; four standard deviations of chance are 39.
        assert!(held >= 1_861, "{quantile} {sizes:?}: {held}");
        // Nor is it so wide that nothing could ever be shown.
        assert!(
            above + below >= 15,
            "{quantile} {sizes:?}: {above}, {below}"
        );
    }
}
