//! The split alarm: how often it doubts a split that is right, and how soon one that is not.

use graygate::router::judge::sequential::SequentialConfig;
use graygate::stats::multinomial;
use rayon::prelude::*;

use crate::dice::{Binomial, Dice};

const RUNS: u64 = 20_000;
/// Requests between two looks: a minute of 9.6 a second.
const EACH: u64 = 576;

/// In how many runs does the alarm go off within so many looks?
fn alarms(intended: f64, real: f64, looks: u64, alpha: f64) -> usize {
    let draws = Binomial::new(EACH, real);
    let goes_off = |run: &u64| {
        let mut dice = Dice::new((intended * 1e3 + real * 1e6) as u64, *run);
        let mut canary = 0;
        (1..=looks).any(|look| {
            canary += draws.draw(&mut dice);
            let counts = [(canary, intended), (look * EACH - canary, 1.0 - intended)];
            multinomial::ln_evidence(&counts) >= -libm::log(alpha)
        })
    };
    (0..RUNS).into_par_iter().filter(goes_off).count()
}

#[test]
fn a_right_split_is_hardly_ever_doubted() {
    let alpha = SequentialConfig::default().alpha_split;
    // Half an hour at a tenth, an hour at a half.
    let steps = [(0.1, 30), (0.5, 60)];
    let doubted = steps.map(|(share, looks)| alarms(share, share, looks, alpha));
    assert_eq!(doubted, [0, 0], "of {RUNS}");
    let with_ten_times_that = steps.map(|(share, looks)| alarms(share, share, looks, 10.0 * alpha));
    assert_eq!(with_ten_times_that, [3, 7], "of {RUNS}");
}

#[test]
fn a_wrong_split_is_doubted_soon() {
    let alpha = SequentialConfig::default().alpha_split;
    assert_eq!(alarms(0.1, 0.14, 30, alpha), RUNS as usize);
    assert_eq!(alarms(0.5, 0.55, 30, alpha), RUNS as usize);
}
