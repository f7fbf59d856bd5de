//! The conditions of `requests` about streams: when tokens came. Whole streams alone are measured.
//!
//! Without a version the first token is counted from the scheduled moment of the request; with one, from
//! sending the attempt that served, so that what came before it is not held against the version.

use std::time::Duration;

use crate::id::VersionId;
use crate::observe::story::{Attempt, Story, StreamEnd};
use crate::stats::compare::Comparison;
use crate::verdict::gates::quantiles::{Limits, Words};
use crate::verdict::result::{Check, Offenders, Status, grouped};
use crate::verdict::spec::{TokenMeasure, TokenSpec};

/// What was seen of the streams in a scope.
pub(super) struct Tokens {
    measures: Vec<(TokenMeasure, Limits)>,
    speed: Option<Comparison<u64>>,
    /// Tokens after the first ones, and the time they took.
    later: u64,
    time: Duration,
    slowest: Offenders,
}

impl Tokens {
    /// Conditions of which nothing has been seen.
    pub(super) fn new(spec: &TokenSpec) -> Self {
        let asked = TokenMeasure::ALL.into_iter().map(|measure| {
            let limits = spec.quantiles.iter().filter(|(m, ..)| *m == measure);
            let limits: Vec<_> = limits.map(|(_, q, limit)| (*q, *limit)).collect();
            (measure, Limits::new(&limits))
        });
        Self {
            measures: match spec.quantiles.is_empty() {
                true => Vec::new(),
                false => asked.collect(),
            },
            speed: spec.speed,
            later: 0,
            time: Duration::ZERO,
            slowest: Offenders::default(),
        }
    }

    /// Takes a request in.
    pub(super) fn note(&mut self, story: &Story, version: Option<VersionId>) {
        let is_whole = story.stream_end() == Some(StreamEnd::Whole);
        if !is_whole || version.is_some_and(|v| story.served_by() != Some(v)) {
            return;
        }
        let Some(streamed) = story.streamed() else {
            return;
        };
        for (measure, limits) in &mut self.measures {
            match measure {
                TokenMeasure::First => {
                    if let Some(first) = first_token(story, version) {
                        limits.note(story.key, first);
                    }
                }
                TokenMeasure::Inter => {
                    for gap in &story.gaps {
                        limits.note_many(story.key, gap.each, gap.tokens);
                    }
                }
                TokenMeasure::Mean => {
                    if let Some(mean) = streamed.per_token() {
                        limits.note(story.key, mean);
                    }
                }
            }
        }
        let later = u64::from(streamed.tokens.saturating_sub(1));
        if let Some(limit) = self.speed
            && !holds(limit, later, streamed.time())
        {
            self.slowest.note(story.key);
        }
        self.later += later;
        self.time = self.time.saturating_add(streamed.time());
    }

    /// The checks.
    pub(super) fn checks(&self, min_n: u64) -> Vec<Check> {
        let quantiles = self.measures.iter().flat_map(|(measure, limits)| {
            let prefix = format!("{}_", measure.name());
            let words = Words {
                measure: &prefix,
                of_none: "whole stream",
                samples: match measure {
                    TokenMeasure::Inter => "tokens after the first",
                    TokenMeasure::First | TokenMeasure::Mean => "whole streams",
                },
            };
            limits.checks(words, min_n).collect::<Vec<_>>()
        });
        let speed = self.speed.map(|limit| self.speed_check(limit, min_n));
        quantiles.chain(speed).collect()
    }

    fn speed_check(&self, limit: Comparison<u64>, min_n: u64) -> Check {
        let n = self.later;
        let is_measured = n > 0 && self.time > Duration::ZERO;
        let status = match (is_measured, holds(limit, n, self.time)) {
            (false, _) => Status::Inconclusive,
            (true, true) => Status::Pass,
            (true, false) => Status::Fail,
        };
        let speed = is_measured.then(|| n as f64 / self.time.as_secs_f64());
        let seen = match speed {
            None => "no whole stream to measure".to_owned(),
            Some(speed) => format!("{speed:.1} over {} tokens after the first", grouped(n)),
        };
        Check::census(format!("tokens_per_second {limit}"), status, seen)
            .figure(speed, "tokens/s", n)
            .offenders(self.slowest.keys())
            .needs(n, min_n.max(1))
    }
}

/// Do so many tokens in this time keep to a limit of tokens a second? In whole numbers.
fn holds(limit: Comparison<u64>, tokens: u64, time: Duration) -> bool {
    let tokens = u128::from(tokens) * 1_000_000_000;
    let bound = u128::from(limit.bound) * time.as_nanos();
    limit.op.holds(&tokens, &bound)
}

fn first_token(story: &Story, version: Option<VersionId>) -> Option<Duration> {
    if version.is_none() {
        return story.first_token();
    }
    let serving = story.attempts.get(story.serving()?);
    let sent_at = serving.and_then(Attempt::started_at)?;
    Some(story.streamed()?.first_token.since(sent_at))
}
