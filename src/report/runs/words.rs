//! What repeated runs show, in words that terminal and Markdown share.

use crate::report::runs::Runs;
use crate::report::runs::tally::Tally;
use crate::stats::proportion::Limits;
use crate::verdict::result::{Status, grouped, percent};

/// `99.95 (99.6–100)`: a share in per cent with its interval.
pub(super) fn share(tally: &Tally, status: Status) -> String {
    let share = tally.share(status).map(percent);
    match (share, tally.interval(status)) {
        (Some(share), Some(Limits { low, high })) => {
            format!("{share} ({}–{})", rough(low), rough(high))
        }
        _ => "–".to_owned(),
    }
}

/// `at most 0.15 %`
pub(super) fn at_most(tally: &Tally) -> String {
    let high = tally.red().map(|red| red.high);
    high.map_or("–".to_owned(), |p| format!("{} %", up(p)))
}

/// `at least 98.5 %`
pub(super) fn at_least(tally: &Tally) -> String {
    let low = tally.red().map(|red| red.low);
    low.map_or("–".to_owned(), |p| format!("{} %", down(p)))
}

/// What red means, for whoever reads the table.
pub(super) const MEANING: &str = "Flake and power are one-sided 95 % limits of the share of red runs \
(Clopper–Pearson): of a router that is as it should be, a gate's flake rate is at most the one; of a \
broken router, its power to show that is at least the other. Inconclusive counts for neither.";

/// How many runs there are, and that some are missing.
pub(super) fn extent(runs: &Runs) -> String {
    let (done, planned) = (runs.seeds.len() as u64, runs.planned);
    let first = runs.meta.seed.0;
    let last = first.wrapping_add(planned.saturating_sub(1));
    let seeds = format!("seeds {first} to {last}");
    match done == planned {
        true => format!("{} runs, {seeds}", grouped(done)),
        false => format!("{} of {} runs, {seeds}", grouped(done), grouped(planned)),
    }
}

/// How the runs were rolled back.
pub(super) fn rollbacks(runs: &Runs) -> String {
    let total = runs.seeds.len() as u64;
    let (all, early) = runs.rollbacks();
    let before = match early {
        0 => String::new(),
        n => format!(", {} of them before anything was wrong", grouped(n)),
    };
    format!("{} of {} runs{before}", grouped(all), grouped(total))
}

/// Limits of intervals: three digits do.
fn rough(p: f64) -> String {
    digits(p * 100.0, f64::round)
}

/// Rounded so that it stays true: upwards.
fn up(p: f64) -> String {
    digits(p * 100.0, f64::ceil)
}

/// Rounded so that it stays true: downwards.
fn down(p: f64) -> String {
    digits(p * 100.0, f64::floor)
}

/// So many decimals as are worth telling, without zeros at their end.
fn digits(value: f64, round: fn(f64) -> f64) -> String {
    let scale = match value {
        v if v >= 99.0 => 1_000.0,
        v if v >= 10.0 => 10.0,
        v if v >= 1.0 => 100.0,
        _ => 10_000.0,
    };
    // What only binary dust keeps from a round number is one.
    let scaled = value * scale;
    let near = scaled.round();
    let whole = match (scaled - near).abs() < 1e-9 {
        true => near,
        false => round(scaled),
    };
    format!("{}", whole / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rounded_to_the_safe_side() {
        assert_eq!(up(0.001_496_74), "0.1497");
        assert_eq!(down(0.985_132_9), "98.5");
        assert_eq!(up(0.985_132_9), "98.6");
        assert_eq!(down(0.998_503), "99.85");
        assert_eq!((up(0.0), down(1.0)), ("0".to_owned(), "100".to_owned()));
        assert_eq!(up(0.03), "3");
    }
}
