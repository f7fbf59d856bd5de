//! A stream as the client reads it: what it means, and when its tokens came.

use std::time::Duration;

use crate::observe::event::Streamed;
use crate::protocol::stream::{News, StreamReader};
use crate::time::Timestamp;

/// A stream that is being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What it means.
    pub(super) reader: StreamReader,
    /// When the first and the last chunk with content came.
    times: Option<(Timestamp, Timestamp)>,
    longest_gap: Duration,
}

impl Reading {
    /// Bytes came at this time.
    pub(super) fn take(&mut self, bytes: &[u8], now: Timestamp) {
        self.reader.push(bytes);
        while let Some((_, news)) = self.reader.next() {
            if matches!(news, News::Content(_)) {
                self.token(now);
            }
        }
    }

    fn token(&mut self, now: Timestamp) {
        let (first, last) = *self.times.get_or_insert((now, now));
        self.longest_gap = self.longest_gap.max(now.since(last));
        self.times = Some((first, now));
    }

    /// When its tokens came; none when none did.
    pub(super) fn streamed(&self) -> Option<Streamed> {
        let (first_token, last_token) = self.times?;
        let stated = self.reader.usage().map(|usage| usage.completion_tokens);
        Some(Streamed {
            first_token,
            last_token,
            // One a chunk, when nobody says.
            tokens: stated.unwrap_or(self.reader.estimated_tokens()),
            chunks: self.reader.estimated_tokens(),
            longest_gap: self.longest_gap,
        })
    }
}
