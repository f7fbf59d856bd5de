//! How long an upstream takes and how much it writes: distributions, drawn per request key.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::protocol::openai::Usage;
pub use crate::rng::distribution::Distribution;
use crate::rng::{Purpose, draw};
use crate::upstream::plan::{Act, ResponsePlan};

/// Tokens of an answer when neither profile nor caller say anything.
const DEFAULT_OUTPUT_TOKENS: u32 = 128;

/// The behaviour of an upstream in good health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Seconds from taking a request to its whole answer.
    pub latency: Distribution,
    /// Every latency is multiplied by this.
    pub latency_factor: f64,
    /// Tokens of an answer; as many as the caller allows when absent.
    pub output_tokens: Option<Distribution>,
}

/// One attempt, as an upstream sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The traffic's key of the request.
    pub key: RequestKey,
    /// The version that is asked.
    pub version: VersionId,
    /// How often the request was tried at this version before.
    pub nth: u32,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// The most tokens the caller wants.
    pub max_tokens: Option<u32>,
}

impl Profile {
    /// What the upstream does with an attempt when no fault hits it. Latencies are rounded to µs, and
    /// at least one: answers that take no time would stop the time of a virtual run.
    pub fn plan(&self, seed: Seed, ask: &Ask) -> ResponsePlan {
        let drawn = |purpose| draw(seed, purpose, ask.key, ask.version, ask.nth);
        let seconds = self.latency.sample(drawn(Purpose::Latency)) * self.latency_factor;
        // `as` saturates: a latency beyond 584,000 years is as good as never.
        let after = Duration::from_micros(((seconds * 1e6).round() as u64).max(1));
        let completion_tokens = match self.output_tokens {
            None => ask.max_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS),
            Some(tokens) => {
                let wanted = tokens.sample(drawn(Purpose::OutputTokens)).round() as u32;
                wanted.clamp(1, ask.max_tokens.unwrap_or(u32::MAX).max(1))
            }
        };
        ResponsePlan {
            after,
            act: Act::Complete(Usage {
                prompt_tokens: ask.input_tokens,
                completion_tokens,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::quantile::Quantile;

    fn ask(key: u64, max_tokens: Option<u32>) -> Ask {
        Ask {
            key: RequestKey(key),
            version: VersionId(1),
            nth: 0,
            input_tokens: 9,
            max_tokens,
        }
    }

    fn profile() -> Profile {
        Profile {
            latency: Distribution::lognormal(0.040, 0.180),
            latency_factor: 1.0,
            output_tokens: Some(Distribution::lognormal(120.0, 900.0)),
        }
    }

    #[test]
    fn a_lognormal_has_the_median_and_p99_it_was_given() {
        let mut latencies: Vec<_> = (0..20_000)
            .map(|k| profile().plan(Seed(1), &ask(k, None)).after)
            .collect();
        latencies.sort();
        let at = |q: Quantile| latencies[q.rank(20_000) as usize - 1].as_secs_f64();
        // Standard errors at n = 20,000: about 0.6 % for the median and 1.8 % for the p99.
        assert!((at(Quantile::P50) / 0.040 - 1.0).abs() < 0.03);
        assert!((at(Quantile::P99) / 0.180 - 1.0).abs() < 0.09);
    }

    #[test]
    fn no_answer_takes_no_time() {
        for latency in [
            Distribution::Constant(0.0),
            Distribution::lognormal(1e-9, 2e-9),
        ] {
            let instant = Profile {
                latency,
                ..profile()
            };
            let after = instant.plan(Seed(1), &ask(3, None)).after;
            assert_eq!(after, Duration::from_micros(1));
        }
    }

    #[test]
    fn the_callers_limit_on_tokens_holds() {
        for key in 0..200 {
            let usage = profile()
                .plan(Seed(1), &ask(key, Some(50)))
                .usage()
                .unwrap();
            assert!((1..=50).contains(&usage.completion_tokens));
        }
        let as_asked = Profile {
            output_tokens: None,
            ..profile()
        };
        let usage = as_asked.plan(Seed(1), &ask(1, Some(7))).usage().unwrap();
        assert_eq!(usage.completion_tokens, 7);
    }

    #[test]
    fn each_try_has_its_own_latency_and_each_request_keeps_it() {
        let second = Ask {
            nth: 1,
            ..ask(5, None)
        };
        let first = profile().plan(Seed(1), &ask(5, None));
        assert_ne!(first.after, profile().plan(Seed(1), &second).after);
        assert_eq!(first, profile().plan(Seed(1), &ask(5, None)));
    }
}
