//! What came of the requests for streams: how many were whole, and how their tokens came.
//!
//! Figures of time are those of whole streams alone; the others are counted. docs/metrics.md has the
//! definitions.

use std::time::Duration;

use crate::observe::latency::Latencies;
use crate::observe::story::{Story, StreamEnd};

/// Streams, of all versions or of one.
#[derive(Clone, Debug, Default)]
pub struct StreamTotals {
    /// Streams that came whole.
    pub whole: u64,
    /// Those that broke after their first token.
    pub broken: u64,
    /// Those that failed before it.
    pub refused: u64,
    /// Those whose caller hung up: nobody failed them.
    pub left: u64,
    /// Of the whole ones, those whose tokens nobody stated: a token a chunk is taken for them.
    pub estimated: u64,
    /// Tokens of the whole ones.
    pub tokens: u64,
    /// Tokens after the first ones, and the time they took.
    pub later_tokens: u64,
    /// See [`later_tokens`](Self::later_tokens).
    pub later_time: Duration,
    /// To the first token, from the scheduled moment.
    pub first_token: Latencies,
    /// The same from the moment of sending.
    pub first_token_from_sent: Latencies,
    /// From one token to the next.
    pub inter_token: Latencies,
    /// The mean of that over each stream.
    pub per_token: Latencies,
    /// To the end, from the scheduled moment.
    pub latency: Latencies,
    /// The same from the moment of sending.
    pub latency_from_sent: Latencies,
}

impl StreamTotals {
    /// Takes a request for a stream in that ended like this.
    pub fn note(&mut self, story: &Story, end: StreamEnd) {
        match end {
            StreamEnd::Whole => self.whole(story),
            StreamEnd::Broken => self.broken += 1,
            StreamEnd::Refused => self.refused += 1,
            StreamEnd::Left => self.left += 1,
        }
    }

    /// All that came to an end of their own.
    pub fn all(&self) -> u64 {
        self.whole + self.broken + self.refused
    }

    /// Tokens a second that a reader sees after the first one, over all streams; none without any.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let time = self.later_time.as_secs_f64();
        (time > 0.0).then(|| self.later_tokens as f64 / time)
    }

    fn whole(&mut self, story: &Story) {
        self.whole += 1;
        record(&mut self.latency, story.latency());
        record(&mut self.latency_from_sent, story.latency_from_sent());
        record(&mut self.first_token, story.first_token());
        record(
            &mut self.first_token_from_sent,
            story.first_token_from_sent(),
        );
        for gap in &story.gaps {
            self.inter_token.record_many(gap.each, gap.tokens);
        }
        let Some(streamed) = story.streamed() else {
            return;
        };
        record(&mut self.per_token, streamed.per_token());
        self.estimated += u64::from(streamed.is_estimated);
        self.tokens += u64::from(streamed.tokens);
        self.later_tokens += u64::from(streamed.tokens.saturating_sub(1));
        self.later_time = self.later_time.saturating_add(streamed.time());
    }
}

fn record(latencies: &mut Latencies, latency: Option<Duration>) {
    if let Some(latency) = latency {
        latencies.record(latency);
    }
}
