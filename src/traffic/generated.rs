//! Made-up traffic as a log has it: when requests came, and how long they and their answers were.

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::distribution::Distribution;
use crate::rng::{self, Purpose};
use crate::traffic::arrivals::{Schedule, Stage};
use crate::traffic::format::{MAX_TOKENS, Record};

/// What is made up.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// When requests arrive.
    pub stages: Vec<Stage>,
    /// Tokens of a prompt.
    pub input_tokens: Distribution,
    /// Tokens of an answer.
    pub output_tokens: Distribution,
    /// The seed of all of it.
    pub seed: Seed,
}

/// The records of a pattern, in the order of their times. One is made at a time, from nothing but the seed, its number and
/// the time of the one before.
#[derive(Debug)]
pub struct Generated {
    pattern: Pattern,
    schedule: Schedule,
    next: u64,
}

impl Generated {
    /// All records of this pattern: without an end, unless its last stage has one.
    pub fn new(pattern: Pattern) -> Self {
        let schedule = Schedule::new(pattern.stages.clone(), pattern.seed);
        Self {
            pattern,
            schedule,
            next: 0,
        }
    }

    fn tokens(&self, purpose: Purpose, lengths: &Distribution) -> u32 {
        let key = RequestKey(self.next);
        let draw = rng::draw(self.pattern.seed, purpose, key, VersionId::default(), 0);
        // What is not finite is cut, too: a float becomes the nearest whole number there is.
        (lengths.sample(draw).round() as u32).clamp(1, MAX_TOKENS)
    }
}

/// Logs have microseconds, those that have floats at least.
const GRAIN: u64 = 1_000;

impl Iterator for Generated {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let at = self.schedule.next()?.0;
        // After 292 years there are no moments left.
        let at = i64::try_from(at - at % GRAIN).ok()?;
        let input = self.tokens(Purpose::Prompt, &self.pattern.input_tokens);
        let output = self.tokens(Purpose::OutputTokens, &self.pattern.output_tokens);
        self.next += 1;
        Some(Record {
            at: Some(at),
            input_tokens: Some(input),
            output_tokens: Some(output),
            ..Record::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::course::Course;
    use crate::traffic::spacing::Spacing;

    fn pattern(rate: f64, seed: u64) -> Pattern {
        let stage = Stage {
            spacing: Spacing::Poisson,
            course: Course::Flat(rate),
            length: None,
        };
        Pattern {
            stages: vec![stage],
            input_tokens: Distribution::lognormal(1_020.0, 4_142.0),
            output_tokens: Distribution::lognormal(129.0, 601.0),
            seed: Seed(seed),
        }
    }

    #[test]
    fn records_have_the_rate_and_the_lengths_that_were_asked_for() {
        let records: Vec<_> = Generated::new(pattern(3_500.0, 1)).take(100_000).collect();
        let last = records.last().and_then(|record| record.at).unwrap();
        let seconds = last as f64 / 1e9;
        assert!((28.2..28.95).contains(&seconds), "{seconds}");
        assert!(records.is_sorted_by_key(|record| record.at));
        let quantile = |tokens: fn(&Record) -> Option<u32>, share: f64| {
            let mut all: Vec<_> = records.iter().filter_map(tokens).collect();
            all.sort_unstable();
            f64::from(all[(share * all.len() as f64) as usize])
        };
        for (tokens, p50, p99) in [
            (
                (|r| r.input_tokens) as fn(&Record) -> Option<u32>,
                1_020.0,
                4_142.0,
            ),
            (|r| r.output_tokens, 129.0, 601.0),
        ] {
            for (share, expected) in [(0.5, p50), (0.99, p99)] {
                let found = quantile(tokens, share);
                assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
            }
        }
    }

    #[test]
    fn the_seed_is_all_that_it_hangs_on() {
        let records = |seed| -> Vec<_> { Generated::new(pattern(50.0, seed)).take(50).collect() };
        assert_eq!(records(1), records(1));
        assert_ne!(records(1), records(2));
    }

    #[test]
    fn lengths_are_whole_positive_and_no_longer_than_is_replayed() {
        let lengths = |length: f64| {
            let pattern = Pattern {
                input_tokens: Distribution::Constant(length),
                ..pattern(50.0, 1)
            };
            Generated::new(pattern).next().unwrap().input_tokens
        };
        assert_eq!(lengths(0.2), Some(1));
        assert_eq!(lengths(7.5), Some(8));
        assert_eq!(lengths(1e12), Some(MAX_TOKENS));
        assert_eq!(lengths(f64::NAN), Some(1));
    }

    #[test]
    fn time_comes_to_an_end() {
        assert_eq!(Generated::new(pattern(1e-12, 1)).nth(50), None);
    }
}
