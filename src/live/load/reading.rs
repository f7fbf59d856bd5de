//! A stream as the client reads it: what it means, and when its tokens came.

use std::time::Duration;

use crate::id::RequestKey;
use crate::live::mock::answered_key;
use crate::live::mock::events::tokens_in;
use crate::observe::event::{Gap, Gaps, Streamed};
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
    /// The chunks with content: how long after the one before, and its characters.
    chunks: Vec<(Duration, u32)>,
    /// Can nobody but a mock have written it?
    is_by_a_mock: bool,
}

impl Reading {
    /// Nothing of a stream, which a mock writes; or whoever its id says.
    pub(super) fn new(is_by_a_mock: bool) -> Self {
        Self {
            is_by_a_mock,
            ..Self::default()
        }
    }

    /// Bytes came at this time.
    pub(super) fn take(&mut self, bytes: &[u8], now: Timestamp) {
        self.reader.push(bytes);
        while let Some((_, news)) = self.reader.take() {
            if let News::Content(characters) = news {
                self.chunk(now, characters);
            }
        }
    }

    fn chunk(&mut self, now: Timestamp, characters: u32) {
        let (first, last) = *self.times.get_or_insert((now, now));
        let gap = now.since(last);
        self.chunks.push((gap, characters));
        self.longest_gap = self.longest_gap.max(gap);
        self.times = Some((first, now));
    }

    /// When its tokens came; none when none did.
    pub(super) fn streamed(&self) -> Option<Streamed> {
        let (first_token, last_token) = self.times?;
        let (tokens, is_estimated) = self.tokens();
        Some(Streamed {
            first_token,
            last_token,
            tokens,
            is_estimated,
            chunks: self.reader.estimated_tokens(),
            longest_gap: self.longest_gap,
            content: self.content(),
            is_spliced: self.reader.is_spliced(),
            is_done_after_failure: self.reader.is_done_after_failure(),
        })
    }

    /// How many tokens it had, and whether that is only the number of its chunks.
    fn tokens(&self) -> (u32, bool) {
        let stated = self.reader.usage().map(|usage| usage.completion_tokens);
        let known = stated.filter(|tokens| *tokens > 0).or(self.content());
        (
            known.unwrap_or(self.reader.estimated_tokens()),
            known.is_none(),
        )
    }

    /// The tokens that its text amounts to: the words of a mock are of one length.
    fn content(&self) -> Option<u32> {
        let is_ours = self.is_by_a_mock || self.reader.id().and_then(answered_key).is_some();
        let characters = self.reader.text_characters().filter(|_| is_ours);
        characters.map(tokens_in)
    }

    /// How its tokens followed each other. A chunk has the share of them that its characters have of all.
    pub(super) fn gaps(&self, key: RequestKey) -> Gaps {
        let (tokens, is_estimated) = self.tokens();
        let shares = self
            .chunks
            .iter()
            .map(|(_, characters)| match is_estimated {
                true => 1,
                false => u64::from(*characters),
            });
        Gaps {
            key,
            runs: runs(self.chunks.iter().map(|(gap, _)| *gap).zip(shares), tokens),
        }
    }
}

/// The gaps before each token after the first one, from those before each chunk and the chunks' shares of
/// all tokens. Each chunk but the first shares its gap among its tokens; the first one's come at once.
fn runs(chunks: impl Iterator<Item = (Duration, u64)> + Clone, tokens: u32) -> Box<[Gap]> {
    let all: u64 = chunks.clone().map(|(_, share)| share).sum();
    let mut runs: Vec<Gap> = Vec::new();
    let (mut share, mut before) = (0, 0_u32);
    let mut waited = Duration::ZERO;
    for (gap, part) in chunks {
        share += part;
        waited += gap;
        // Rounded up, so that the first chunk has the first token.
        let until = (u128::from(tokens) * u128::from(share)).div_ceil(u128::from(all.max(1)));
        let until = u32::try_from(until).unwrap_or(tokens);
        let new = until - before;
        let counted = new - u32::from(before == 0 && new > 0);
        // A chunk that completes no token leaves its time to the next one that does.
        if new > 0 {
            add(&mut runs, waited / new, counted);
            waited = Duration::ZERO;
        }
        before = until;
    }
    runs.into_boxed_slice()
}

fn add(runs: &mut Vec<Gap>, each: Duration, tokens: u32) {
    match runs.last_mut() {
        _ if tokens == 0 => {}
        Some(last) if last.each == each => last.tokens += tokens,
        _ => runs.push(Gap { each, tokens }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn chunk(text: &str) -> String {
        format!(
            "data: {{\"id\":\"chatcmpl-mock-7\",\"model\":\"m\",\"choices\":[{{\"index\":0,\
             \"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    }

    fn read(chunks: &[(u64, &str)], stated: Option<u32>) -> Reading {
        let mut reading = Reading::default();
        for (ms, text) in chunks {
            reading.take(chunk(text).as_bytes(), Timestamp(ms * MS));
        }
        if let Some(tokens) = stated {
            let usage = format!(
                "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":{tokens}}}}}\n\n"
            );
            reading.take(usage.as_bytes(), Timestamp(999 * MS));
        }
        reading
    }

    fn gaps(reading: &Reading) -> Vec<(u64, u32)> {
        let gaps = reading.gaps(RequestKey(7));
        let in_us = |gap: &Gap| (gap.each.as_micros() as u64, gap.tokens);
        gaps.runs.iter().map(in_us).collect()
    }

    #[test]
    fn a_chunk_of_several_tokens_shares_its_gap() {
        let reading = read(
            &[
                (50, ""),
                (100, "tok tok "),
                (140, "tok tok "),
                (150, "tok "),
            ],
            Some(5),
        );
        assert_eq!(gaps(&reading), [(0, 1), (20_000, 2), (10_000, 1)]);
        let streamed = reading.streamed().unwrap();
        assert_eq!(
            streamed.first_token,
            Timestamp(100 * MS),
            "the role is none"
        );
        assert_eq!((streamed.tokens, streamed.content), (5, Some(5)));
        assert!(!streamed.is_estimated);
    }

    #[test]
    fn gaps_of_a_stream_are_as_many_as_its_tokens_but_one_and_all_of_its_time() {
        let chunks: Vec<(u64, &str)> = (0..9).map(|i| (i * 10, "abc")).collect();
        for tokens in 1..40 {
            let reading = read(&chunks, Some(tokens));
            let gaps = reading.gaps(RequestKey(7));
            assert_eq!(gaps.runs.iter().map(|g| g.tokens).sum::<u32>(), tokens - 1);
            let time: Duration = gaps.runs.iter().map(|g| g.each * g.tokens).sum();
            let at_most = Duration::from_millis(80);
            assert!(time <= at_most, "{tokens}: {time:?}");
            if tokens >= 9 {
                let lost = at_most - time;
                assert!(lost < Duration::from_micros(1), "{tokens}: {time:?}");
            }
        }
    }

    #[test]
    fn what_nobody_states_is_one_token_a_chunk() {
        let mut reading = read(&[(0, "a"), (30, "bcdef"), (50, "g")], None);
        // A mock's words are counted, the last one without its space too.
        assert_eq!(reading.tokens(), (2, false));
        reading.reader = StreamReader::default();
        let text = chunk("abc").replace("chatcmpl-mock-7", "c7");
        reading.reader.push(text.repeat(3).as_bytes());
        while reading.reader.take().is_some() {}
        assert_eq!(reading.tokens(), (3, true));
        assert_eq!(gaps(&reading), [(30_000, 1), (20_000, 1)]);
    }
}
