//! How long an upstream takes and how much it writes: distributions, drawn per request key.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::protocol::openai::Usage;
pub use crate::rng::distribution::Distribution;
use crate::rng::{Draw, Purpose, draw};
use crate::upstream::plan::{Act, ResponsePlan};
use crate::upstream::stream::{Ending, StreamPlan};

/// Tokens of an answer when neither profile nor caller say anything.
const DEFAULT_OUTPUT_TOKENS: u32 = 128;

/// How long an upstream takes for an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timing {
    /// Seconds from taking a request to its whole answer. The chunks of a stream are spread evenly over
    /// that time, the last one at its end.
    Whole(Distribution),
    /// It thinks, and then writes token by token; an answer that is no stream comes with its last token.
    Paced {
        /// Seconds from taking a request to the first token.
        first_token: Distribution,
        /// Tokens a second from then on.
        tokens_per_second: Distribution,
    },
}

/// The behaviour of an upstream in good health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// How long answers take.
    pub timing: Timing,
    /// Every time is multiplied by this.
    pub latency_factor: f64,
    /// Tokens of one chunk of a stream, at least one.
    pub tokens_per_chunk: u32,
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
    /// Does it want a stream?
    pub stream: bool,
}

impl Profile {
    /// What the upstream does with an attempt when no fault hits it.
    pub fn plan(&self, seed: Seed, ask: &Ask) -> ResponsePlan {
        let drawn = |purpose| draw(seed, purpose, ask.key, ask.version, ask.nth);
        let completion_tokens = match self.output_tokens {
            None => ask.max_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS),
            Some(tokens) => {
                let wanted = tokens.sample(drawn(Purpose::OutputTokens)).round() as u32;
                wanted.clamp(1, ask.max_tokens.unwrap_or(u32::MAX).max(1))
            }
        };
        let usage = Usage {
            prompt_tokens: ask.input_tokens,
            completion_tokens,
        };
        let per_chunk = self.tokens_per_chunk.max(1);
        let chunks = completion_tokens.div_ceil(per_chunk);
        let (first, gap) = self.pace(chunks, drawn);
        if ask.stream {
            return ResponsePlan {
                after: micros(first),
                act: Act::Stream(StreamPlan {
                    usage,
                    gap: micros(gap),
                    per_chunk,
                    ending: Ending::Whole,
                }),
            };
        }
        let seconds = match self.timing {
            Timing::Whole(latency) => latency.sample(drawn(Purpose::Latency)) * self.latency_factor,
            Timing::Paced { .. } => first + gap * f64::from(chunks.saturating_sub(1)),
        };
        ResponsePlan {
            after: micros(seconds),
            act: Act::Complete(usage),
        }
    }

    /// Seconds to the first chunk of so many, and between two of them.
    fn pace(&self, chunks: u32, drawn: impl Fn(Purpose) -> Draw) -> (f64, f64) {
        match self.timing {
            Timing::Whole(latency) => {
                let whole = latency.sample(drawn(Purpose::Latency)) * self.latency_factor;
                let each = whole / f64::from(chunks.max(1));
                (each, each)
            }
            Timing::Paced {
                first_token,
                tokens_per_second,
            } => {
                let first = first_token.sample(drawn(Purpose::FirstToken));
                let speed = tokens_per_second.sample(drawn(Purpose::Speed)).max(1e-9);
                let gap = f64::from(self.tokens_per_chunk.max(1)) / speed;
                (first * self.latency_factor, gap * self.latency_factor)
            }
        }
    }
}

/// Rounded to µs, and at least one: answers that take no time would stop the time of a virtual run.
fn micros(seconds: f64) -> Duration {
    // `as` saturates: what takes more than 584,000 years is as good as never.
    Duration::from_micros(((seconds * 1e6).round() as u64).max(1))
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
            stream: false,
        }
    }

    fn profile() -> Profile {
        Profile {
            timing: Timing::Whole(Distribution::lognormal(0.040, 0.180)),
            latency_factor: 1.0,
            tokens_per_chunk: 1,
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
                timing: Timing::Whole(latency),
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

    #[test]
    fn a_stream_takes_as_long_as_a_whole_answer() {
        let stream = |profile: Profile| {
            let ask = Ask {
                stream: true,
                ..ask(4, Some(50))
            };
            let plan = profile.plan(Seed(1), &ask);
            let Act::Stream(stream) = plan.act else {
                panic!("no stream");
            };
            let whole = profile.plan(
                Seed(1),
                &super::Ask {
                    stream: false,
                    ..ask
                },
            );
            let (end, _) = stream.end(plan.after).unwrap();
            // Every moment is rounded to µs.
            let apart = end.abs_diff(whole.after);
            assert!(apart <= Duration::from_micros(u64::from(stream.chunks())));
            (plan.after, stream)
        };
        let (first, spread) = stream(profile());
        assert_eq!(first, spread.gap);
        let paced = Profile {
            timing: Timing::Paced {
                first_token: Distribution::Constant(0.2),
                tokens_per_second: Distribution::Constant(50.0),
            },
            tokens_per_chunk: 2,
            ..profile()
        };
        let (first, stream) = stream(paced);
        assert_eq!(first, Duration::from_millis(200));
        assert_eq!(stream.gap, Duration::from_millis(40));
    }
}
