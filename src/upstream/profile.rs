//! How long an upstream takes and how much it writes: distributions, drawn per request key.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::protocol::openai::Usage;
use crate::protocol::recorded::Answer;
pub use crate::rng::distribution::Distribution;
use crate::rng::{Draw, Purpose, draw};
use crate::time::Timestamp;
use crate::upstream::capacity::Capacity;

use crate::upstream::plan::{Act, ResponsePlan};
use crate::upstream::recorded::Answers;
use crate::upstream::stream::{Ending, Manner, StreamPlan};

/// Tokens of an answer when neither profile nor caller say anything.
const DEFAULT_OUTPUT_TOKENS: u32 = 128;

/// How long an upstream takes for an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    /// Seconds from taking a request to its whole answer. The chunks of a stream are spread evenly over
    /// that time, the last one at its end.
    Whole(Distribution),
    /// It thinks, and then writes token by token; an answer that is no stream comes with its last token.
    Paced {
        /// Seconds from taking a request to the first token, of a prompt without a token.
        first_token: Distribution,
        /// Seconds more for every token of the prompt: they are read before the first is written.
        per_input_token: f64,
        /// Tokens a second from then on.
        tokens_per_second: Distribution,
    },
}

/// An upstream that is slow at first: caches are cold, and weights still being loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// It is slow for requests that it takes before this time.
    pub until: Timestamp,
    /// Then every time is multiplied by this as well.
    pub factor: f64,
}

/// Answers whose tokens come slowly, as from a server that is short of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drip {
    /// The share of such answers, 0 to 1.
    pub share: f64,
    /// The time between their tokens is multiplied by this.
    pub factor: f64,
}

/// The behaviour of an upstream in good health.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How long answers take.
    pub timing: Timing,
    /// Every time is multiplied by this.
    pub latency_factor: f64,
    /// Tokens of one chunk of a stream, at least one.
    pub tokens_per_chunk: u32,
    /// Tokens of an answer; as many as the caller allows when absent.
    pub output_tokens: Option<Distribution>,
    /// Slow at first.
    pub warm_up: Option<WarmUp>,
    /// Slow now and then.
    pub drip: Option<Drip>,
    /// How much it does at once; any number of requests when absent.
    pub capacity: Option<Capacity>,
    /// Where its answers come from; what a log does not tell is drawn.
    pub answers: Answers,
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
    /// Does it bring the beginning of its own answer?
    pub is_prefilled: bool,
    /// How it had been answered when it was recorded, as far as anybody knows.
    pub recorded: Option<Answer>,
}

impl Profile {
    /// An upstream that takes this long, and of which nothing else is to be said.
    pub fn of(timing: Timing) -> Self {
        Self {
            timing,
            latency_factor: 1.0,
            tokens_per_chunk: 1,
            output_tokens: None,
            warm_up: None,
            drip: None,
            capacity: None,
            answers: Answers::Drawn,
        }
    }

    /// What the upstream does with an attempt that it takes at `at`, when no fault hits it.
    pub fn plan(&self, seed: Seed, ask: &Ask, at: Timestamp) -> ResponsePlan {
        let drawn = |purpose| draw(seed, purpose, ask.key, ask.version, ask.nth);
        let told = self.answers.told(seed, ask).unwrap_or_default();
        let most = ask.max_tokens.unwrap_or(u32::MAX);
        let tokens = told.output_tokens.map(|tokens| tokens.min(most));
        let usage = Usage {
            prompt_tokens: ask.input_tokens,
            completion_tokens: tokens.unwrap_or_else(|| self.tokens(ask.max_tokens, drawn)),
        };
        let per_chunk = self.tokens_per_chunk.max(1);
        let chunks = usage.completion_tokens.div_ceil(per_chunk);
        let pace = match told.length() {
            Some(whole) => Pace::told(whole, told.first_token, chunks),
            None => self.pace(ask.input_tokens, chunks, drawn),
        };
        let factor = self.latency_factor * self.warm_up_factor(at);
        let (first, act) = match ask.stream {
            true => {
                let stream = StreamPlan {
                    usage,
                    gap: micros(pace.gap * factor),
                    per_chunk,
                    ending: Ending::Whole,
                    manner: Manner::Usual,
                };
                (pace.first, Act::Stream(stream))
            }
            false => (pace.whole, Act::Complete(usage)),
        };
        ResponsePlan {
            after: micros(first * factor),
            act,
        }
    }

    /// Tokens of an answer.
    fn tokens(&self, most: Option<u32>, drawn: impl Fn(Purpose) -> Draw) -> u32 {
        let Some(tokens) = &self.output_tokens else {
            return most.unwrap_or(DEFAULT_OUTPUT_TOKENS);
        };
        let wanted = tokens.sample(drawn(Purpose::OutputTokens)).round() as u32;
        wanted.clamp(1, most.unwrap_or(u32::MAX).max(1))
    }

    fn warm_up_factor(&self, at: Timestamp) -> f64 {
        let cold = self.warm_up.filter(|warm_up| at < warm_up.until);
        cold.map_or(1.0, |warm_up| warm_up.factor)
    }

    /// The times of an answer of so many chunks to a prompt of so many tokens.
    fn pace(&self, input_tokens: u32, chunks: u32, drawn: impl Fn(Purpose) -> Draw) -> Pace {
        let slower = self
            .drip
            .filter(|drip| drawn(Purpose::Drip).unit() < drip.share);
        let after_first = f64::from(chunks.saturating_sub(1));
        match &self.timing {
            Timing::Whole(latency) => {
                let whole = latency.sample(drawn(Purpose::Latency));
                let each = whole / f64::from(chunks.max(1));
                let gap = slower.map_or(each, |drip| each * drip.factor);
                Pace {
                    first: each,
                    gap,
                    whole: whole + (gap - each) * after_first,
                }
            }
            Timing::Paced {
                first_token,
                per_input_token,
                tokens_per_second,
            } => {
                let first = first_token.sample(drawn(Purpose::FirstToken));
                let first = first + per_input_token * f64::from(input_tokens);
                let speed = tokens_per_second.sample(drawn(Purpose::Speed)).max(1e-9);
                let gap = f64::from(self.tokens_per_chunk.max(1)) / speed;
                let gap = slower.map_or(gap, |drip| gap * drip.factor);
                Pace {
                    first,
                    gap,
                    whole: first + gap * after_first,
                }
            }
        }
    }
}

/// The times of one answer in seconds, before the factors of the upstream.
struct Pace {
    /// To the first chunk.
    first: f64,
    /// Between two chunks.
    gap: f64,
    /// To the last chunk, with which an answer comes that is no stream.
    whole: f64,
}

impl Pace {
    /// The times of an answer that took so long to its end, and to its first token. Where that is not told, its chunks come
    /// evenly.
    fn told(whole: Duration, first: Option<Duration>, chunks: u32) -> Self {
        let whole = whole.as_secs_f64();
        let Some(more) = chunks.checked_sub(1).filter(|more| *more > 0) else {
            let (first, gap) = (whole, 0.0);
            return Self { first, gap, whole };
        };
        let first = first.map(|first| first.as_secs_f64().min(whole));
        let first = first.unwrap_or(whole / f64::from(chunks));
        let gap = (whole - first) / f64::from(more);
        Self { first, gap, whole }
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

    const START: Timestamp = Timestamp::ZERO;

    fn ask(key: u64, max_tokens: Option<u32>) -> Ask {
        Ask {
            key: RequestKey(key),
            version: VersionId(1),
            nth: 0,
            input_tokens: 9,
            max_tokens,
            stream: false,
            is_prefilled: false,
            recorded: None,
        }
    }

    fn profile() -> Profile {
        Profile {
            output_tokens: Some(Distribution::lognormal(120.0, 900.0)),
            ..Profile::of(Timing::Whole(Distribution::lognormal(0.040, 0.180)))
        }
    }

    #[test]
    fn a_lognormal_has_the_median_and_p99_it_was_given() {
        let mut latencies: Vec<_> = (0..20_000)
            .map(|k| profile().plan(Seed(1), &ask(k, None), START).after)
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
            let after = instant.plan(Seed(1), &ask(3, None), START).after;
            assert_eq!(after, Duration::from_micros(1));
        }
    }

    #[test]
    fn the_callers_limit_on_tokens_holds() {
        for key in 0..200 {
            let usage = profile()
                .plan(Seed(1), &ask(key, Some(50)), START)
                .usage()
                .unwrap();
            assert!((1..=50).contains(&usage.completion_tokens));
        }
        let as_asked = Profile {
            output_tokens: None,
            ..profile()
        };
        let usage = as_asked
            .plan(Seed(1), &ask(1, Some(7)), START)
            .usage()
            .unwrap();
        assert_eq!(usage.completion_tokens, 7);
    }

    #[test]
    fn each_try_has_its_own_latency_and_each_request_keeps_it() {
        let second = Ask {
            nth: 1,
            ..ask(5, None)
        };
        let first = profile().plan(Seed(1), &ask(5, None), START);
        assert_ne!(first.after, profile().plan(Seed(1), &second, START).after);
        assert_eq!(first, profile().plan(Seed(1), &ask(5, None), START));
    }

    #[test]
    fn a_stream_takes_as_long_as_a_whole_answer() {
        let stream = |profile: Profile| {
            let ask = Ask {
                stream: true,
                ..ask(4, Some(50))
            };
            let plan = profile.plan(Seed(1), &ask, START);
            let Act::Stream(stream) = plan.act else {
                panic!("no stream");
            };
            let whole = profile.plan(
                Seed(1),
                &super::Ask {
                    stream: false,
                    ..ask
                },
                START,
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
                per_input_token: 0.0,
                tokens_per_second: Distribution::Constant(50.0),
            },
            tokens_per_chunk: 2,
            ..profile()
        };
        let (first, stream) = stream(paced);
        assert_eq!(first, Duration::from_millis(200));
        assert_eq!(stream.gap, Duration::from_millis(40));
    }

    fn paced(per_input_token: f64) -> Profile {
        Profile::of(Timing::Paced {
            first_token: Distribution::Constant(0.1),
            per_input_token,
            tokens_per_second: Distribution::Constant(100.0),
        })
    }

    fn streamed(profile: &Profile, ask: Ask, at: Timestamp) -> (Duration, Duration) {
        let ask = Ask {
            stream: true,
            ..ask
        };
        let plan = profile.plan(Seed(1), &ask, at);
        let Act::Stream(stream) = plan.act else {
            panic!("no stream");
        };
        (plan.after, stream.gap)
    }

    #[test]
    fn a_longer_prompt_takes_longer_to_its_first_token_and_no_longer_between_tokens() {
        let long = Ask {
            input_tokens: 2_000,
            ..ask(1, Some(5))
        };
        let times = streamed(&paced(0.0002), long, START);
        let ms = Duration::from_millis;
        assert_eq!(times, (ms(500), ms(10)));
        let whole = paced(0.0002).plan(Seed(1), &long, START);
        assert_eq!(whole.after, ms(540));
    }

    #[test]
    fn all_is_slower_until_it_is_warm() {
        let profile = Profile {
            warm_up: Some(WarmUp {
                until: Timestamp::from_secs_f64(30.0),
                factor: 3.0,
            }),
            ..paced(0.0)
        };
        let at = |seconds| streamed(&profile, ask(1, Some(5)), Timestamp::from_secs_f64(seconds));
        let ms = Duration::from_millis;
        assert_eq!(at(29.999), (ms(300), ms(30)));
        assert_eq!(at(30.0), (ms(100), ms(10)));
    }

    #[test]
    fn the_share_of_answers_that_drip_begins_in_time_and_goes_on_slowly() {
        let profile = Profile {
            drip: Some(Drip {
                share: 0.2,
                factor: 20.0,
            }),
            ..paced(0.0)
        };
        let ms = Duration::from_millis;
        let all = (0..10_000).map(|key| streamed(&profile, ask(key, Some(5)), START));
        let (slow, usual): (Vec<_>, Vec<_>) = all.partition(|(_, gap)| *gap == ms(200));
        // Five standard deviations of Binomial(10,000, 0.2).
        assert!((1_800..=2_200).contains(&slow.len()), "{}", slow.len());
        assert!(slow.iter().all(|(first, _)| *first == ms(100)));
        assert!(usual.iter().all(|times| *times == (ms(100), ms(10))));
    }

    #[test]
    fn a_recorded_answer_comes_as_it_did_and_what_is_not_told_is_drawn() {
        let recorded = Profile {
            answers: Answers::OfTheRequest,
            latency_factor: 2.0,
            ..profile()
        };
        let ms = Duration::from_millis;
        let told = Answer {
            latency: Some(ms(500)),
            first_token: Some(ms(100)),
            end: None,
            output_tokens: Some(5),
        };
        let asked = Ask {
            recorded: Some(told),
            ..ask(1, Some(50))
        };
        assert_eq!(streamed(&recorded, asked, START), (ms(200), ms(200)));
        let whole = recorded.plan(Seed(1), &asked, START);
        assert_eq!(whole.after, ms(1_000));
        assert_eq!(whole.usage().unwrap().completion_tokens, 5);
        let unknown = Answer {
            first_token: None,
            ..told
        };
        let even = Ask {
            recorded: Some(unknown),
            ..asked
        };
        assert_eq!(streamed(&recorded, even, START), (ms(200), ms(200)));
        let gone = Answer {
            end: Some(crate::protocol::outcome::Outcome::ClientGone),
            ..told
        };
        for recorded_as in [None, Some(gone), Some(Answer::default())] {
            let asked = Ask {
                recorded: recorded_as,
                ..ask(1, Some(50))
            };
            let drawn = Profile {
                latency_factor: 2.0,
                ..profile()
            };
            let of = |profile: &Profile| profile.plan(Seed(1), &asked, START).after;
            assert_eq!(of(&recorded), of(&drawn));
        }
    }
}
