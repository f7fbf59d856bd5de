//! CSV rows: a request, an attempt, a second. Units stand in the headers; what is unknown is empty.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::time::Duration;

use crate::id::VersionId;
use crate::observe::meta::RunMeta;
use crate::observe::story::{Attempt, Story};
use crate::observe::timeline::Step;
use crate::stats::histogram::LogHistogram;
use crate::stats::quantile::Quantile;
use crate::time::Timestamp;
use crate::traffic::caller::Intent;

/// A CSV file that is written row by row, one field after the other.
struct Table<W: Write> {
    writer: csv::Writer<W>,
    /// The text of one field, kept for the next.
    field: String,
}

impl<W: Write> Table<W> {
    fn new(writer: W, header: &[&str]) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(writer);
        writer.write_record(header).map_err(plain)?;
        let field = String::new();
        Ok(Self { writer, field })
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_field(text).map_err(plain)
    }

    fn show(&mut self, value: impl Display) -> io::Result<()> {
        self.field.clear();
        // Writing to a String cannot fail.
        let _ = fmt::Write::write_fmt(&mut self.field, format_args!("{value}"));
        self.writer.write_field(&self.field).map_err(plain)
    }

    fn maybe(&mut self, value: Option<impl Display>) -> io::Result<()> {
        match value {
            Some(value) => self.show(value),
            None => self.text(""),
        }
    }

    fn number(&mut self, value: u64) -> io::Result<()> {
        self.show(value)
    }

    fn moment(&mut self, at: Option<Timestamp>) -> io::Result<()> {
        self.maybe(at)
    }

    fn millis(&mut self, duration: Option<Duration>) -> io::Result<()> {
        let micros = duration.map(|d| d.as_micros());
        match micros {
            Some(us) => self.show(format_args!("{}.{:03}", us / 1_000, us % 1_000)),
            None => self.text(""),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.writer.write_record(None::<&[u8]>).map_err(plain)
    }

    fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The system's own error, by which the remedy is chosen.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// `requests.csv`.
pub struct RequestRows<W: Write>(Table<W>);

/// What only runs with streams have in `requests.csv`.
const STREAM_COLUMNS: [&str; 6] = [
    "stream",
    "first_token_ms",
    "first_token_from_sent_ms",
    "tpot_ms",
    "tokens",
    "chunks",
];

impl<W: Write> RequestRows<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(writer: W, meta: &RunMeta) -> io::Result<Self> {
        const HEADER: [&str; 15] = [
            "key",
            "scheduled_at_s",
            "sent_at_s",
            "answered_at_s",
            "latency_ms",
            "latency_from_sent_ms",
            "outcome",
            "intent",
            "first_version",
            "served_by",
            "rescued_from",
            "attempts",
            "caller",
            "input_tokens",
            "output_tokens",
        ];
        let more = STREAM_COLUMNS.iter().filter(|_| meta.has_streams);
        let header: Vec<&str> = HEADER.iter().chain(more).copied().collect();
        Table::new(writer, &header).map(Self)
    }

    /// Writes one request.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, meta: &RunMeta, story: &Story) -> io::Result<()> {
        let table = &mut self.0;
        let name = |version: Option<VersionId>| version.map(|v| meta.name(v).to_owned());
        table.number(story.key.0)?;
        table.moment(story.scheduled_at())?;
        table.moment(story.sent.map(|(at, _)| at))?;
        table.moment(story.answered.map(|(at, _)| at))?;
        table.millis(story.latency())?;
        table.millis(story.latency_from_sent())?;
        table.maybe(story.outcome().map(|o| o.name()))?;
        table.maybe(story.sent.map(|(_, sent)| intent(meta, sent.intent)))?;
        table.maybe(name(story.first_version()))?;
        table.maybe(name(story.served_by()))?;
        table.maybe(name(story.rescued_from()))?;
        table.number(story.attempts.len() as u64)?;
        table.maybe(story.sent.map(|(_, sent)| sent.caller))?;
        table.maybe(story.sent.map(|(_, sent)| sent.input_tokens))?;
        let usage = story.answered.and_then(|(_, answered)| answered.usage);
        table.maybe(usage.map(|u| u.completion_tokens))?;
        if meta.has_streams {
            stream_fields(table, story)?;
        }
        table.end()
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

fn stream_fields<W: Write>(table: &mut Table<W>, story: &Story) -> io::Result<()> {
    let streamed = story.streamed();
    table.maybe(story.stream_end().map(|end| end.name()))?;
    table.millis(story.first_token())?;
    table.millis(story.first_token_from_sent())?;
    table.millis(streamed.and_then(|s| s.per_token()))?;
    table.maybe(streamed.map(|s| s.tokens))?;
    table.maybe(streamed.map(|s| s.chunks))
}

fn intent(meta: &RunMeta, intent: Intent) -> String {
    match intent {
        Intent::Random => "random".to_owned(),
        Intent::Sticky(_) => "sticky".to_owned(),
        Intent::Pinned(version) => format!("pinned:{}", meta.name(version)),
        Intent::Forced(version) => format!("forced:{}", meta.name(version)),
    }
}

/// `attempts.csv`.
pub struct AttemptRows<W: Write>(Table<W>);

/// What only runs with streams have in `attempts.csv`.
const ATTEMPT_STREAM_COLUMN: &str = "first_token_ms";

impl<W: Write> AttemptRows<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(writer: W, meta: &RunMeta) -> io::Result<Self> {
        const HEADER: [&str; 18] = [
            "key",
            "n",
            "version",
            "try_at_version",
            "kind",
            "dispatched_at_s",
            "accepted_at_s",
            "ended_at_s",
            "latency_ms",
            "outcome",
            "router_version",
            "router_outcome",
            "fault",
            "altered",
            "intent",
            "caller",
            "input_tokens",
            "output_tokens",
        ];
        let more = meta.has_streams.then_some(ATTEMPT_STREAM_COLUMN);
        let header: Vec<&str> = HEADER.into_iter().chain(more).collect();
        Table::new(writer, &header).map(Self)
    }

    /// Writes the attempts of one request.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, meta: &RunMeta, story: &Story) -> io::Result<()> {
        for (n, attempt) in (0..).zip(&story.attempts) {
            self.attempt(meta, story, n, attempt)?;
        }
        Ok(())
    }

    fn attempt(&mut self, meta: &RunMeta, story: &Story, n: u64, a: &Attempt) -> io::Result<()> {
        let table = &mut self.0;
        let booked = a.booked.map(|(_, booked)| booked);
        let latency = a.started_at().zip(a.ended_at);
        let fault = a.fault.and_then(|i| meta.faults.get(usize::from(i)));
        table.number(story.key.0)?;
        table.number(n)?;
        table.text(meta.name(a.version))?;
        table.number(u64::from(a.ordinal))?;
        table.maybe(booked.map(|b| b.kind.name()))?;
        table.moment(a.dispatched_at)?;
        table.moment(a.accepted_at)?;
        table.moment(a.ended_at)?;
        table.millis(latency.map(|(from, to)| to.since(from)))?;
        table.maybe(a.truth().map(|o| o.name()))?;
        table.maybe(booked.map(|b| meta.name(b.version)))?;
        table.maybe(booked.map(|b| b.outcome.name()))?;
        table.maybe(fault.map(|f| f.kind))?;
        table.maybe(a.altered)?;
        let sent = story.sent.map(|(_, sent)| sent);
        table.maybe(sent.map(|sent| intent(meta, sent.intent)))?;
        table.maybe(sent.map(|sent| sent.caller))?;
        table.maybe(a.usage.map(|usage| usage.prompt_tokens))?;
        table.maybe(a.usage.map(|usage| usage.completion_tokens))?;
        if meta.has_streams {
            table.millis(first_token(story, n))?;
        }
        table.end()
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// From the start of an attempt to the first token of its answer. After a first token nobody tries again, so it belongs to
/// the last attempt.
fn first_token(story: &Story, n: u64) -> Option<Duration> {
    let attempt = story.attempts.last()?;
    let is_last = n + 1 == story.attempts.len() as u64;
    let came = story.streamed().filter(|_| is_last)?.first_token;
    let started = attempt.started_at().filter(|started| *started <= came)?;
    Some(came.since(started))
}

/// `timeline.csv`: for every second in which anything happened a row of the callers' view
/// (`version` is `all`) and one a version.
pub struct TimelineRows<W: Write>(Table<W>);

/// What only runs with streams have in `timeline.csv`.
const TOKEN_COLUMNS: [&str; 4] = [
    "first_token_p50_ms",
    "first_token_p99_ms",
    "inter_token_p50_ms",
    "inter_token_p99_ms",
];

impl<W: Write> TimelineRows<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(writer: W, meta: &RunMeta) -> io::Result<Self> {
        const HEADER: [&str; 12] = [
            "second",
            "version",
            "requests",
            "randomised",
            "attempts",
            "successes",
            "failures",
            "rescued",
            "served",
            "p50_ms",
            "p95_ms",
            "p99_ms",
        ];
        let more = TOKEN_COLUMNS.iter().filter(|_| meta.has_streams);
        let header: Vec<&str> = HEADER.iter().chain(more).copied().collect();
        Table::new(writer, &header).map(Self)
    }

    /// Writes one second.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, meta: &RunMeta, second: &Step) -> io::Result<()> {
        let table = &mut self.0;
        table.number(second.start_s)?;
        table.text("all")?;
        table.number(second.sent)?;
        for _ in 0..2 {
            table.text("")?;
        }
        table.number(second.succeeded)?;
        table.number(second.failed)?;
        let tokens = if meta.has_streams { 4 } else { 0 };
        for _ in 0..5 + tokens {
            table.text("")?;
        }
        table.end()?;
        for (version, step) in second.versions.iter() {
            table.number(second.start_s)?;
            table.text(meta.name(version))?;
            table.number(step.first_attempts)?;
            table.number(step.randomised)?;
            table.number(step.attempts)?;
            table.number(step.successes)?;
            table.number(step.failures)?;
            table.number(step.rescued)?;
            table.number(step.served)?;
            for quantile in [Quantile::P50, Quantile::P95, Quantile::P99] {
                table.millis(at(&step.latencies, quantile))?;
            }
            if meta.has_streams {
                for latencies in [&step.first_tokens, &step.inter_tokens] {
                    table.millis(at_in(latencies.as_ref(), Quantile::P50))?;
                    table.millis(at_in(latencies.as_ref(), Quantile::P99))?;
                }
            }
            table.end()?;
        }
        Ok(())
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// The latency at a quantile; none when there are no latencies.
pub fn at(latencies: &LogHistogram, quantile: Quantile) -> Option<Duration> {
    latencies.at_rank(quantile.rank(latencies.total()))
}

/// The same where there may be no histogram at all.
pub fn at_in(latencies: Option<&LogHistogram>, quantile: Quantile) -> Option<Duration> {
    at(latencies?, quantile)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_as_one() {
        let mut table = Table::new(Full(20_000), &["a"]).unwrap();
        let row = |table: &mut Table<Full>| {
            table.text("some text")?;
            table.end()
        };
        let error = (0..10_000).find_map(|_| row(&mut table).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
