//! The totals of a run.

use std::time::Duration;

use serde::Serialize;

use crate::id::{PerVersion, VersionId};
use crate::observe::cost::{CostBook, Projection};
use crate::observe::event::{KeysSeen, Missing, RollbackFacts, RunEvent, StandingFacts, What};
use crate::observe::evidence::Tracks;
use crate::observe::join::Joined;
use crate::observe::latency::Latencies;
use crate::observe::machine::MachineFacts;
use crate::observe::meta::FaultMeta;
use crate::observe::orders::{OrderEnd, OrderFacts};
use crate::observe::story::{Attempt, Story, StreamEnd};
use crate::observe::streams::StreamTotals;
use crate::pricing::{Cost, Price};
use crate::protocol::drift::{Drift, DriftKind};
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// Requests or attempts by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts([u64; Outcome::ALL.len()]);

impl OutcomeCounts {
    /// Counts one.
    pub fn count(&mut self, outcome: Outcome) {
        self.0[outcome.index()] += 1;
    }

    /// How many ended like this.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index()]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// All but the successes.
    pub fn failures(&self) -> u64 {
        self.total() - self.of(Outcome::Success)
    }

    /// The outcomes that occurred, with their numbers, in the order of the enum.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let all = Outcome::ALL.into_iter().map(|o| (o, self.of(o)));
        all.filter(|(_, n)| *n > 0)
    }
}

/// Answers by how they differ from the OpenAI shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriftCounts {
    /// Answers that differ at all.
    pub answers: u64,
    kinds: [u64; DriftKind::ALL.len()],
}

impl DriftCounts {
    /// Counts an answer.
    pub fn count(&mut self, drift: Drift) {
        self.answers += u64::from(!drift.is_none());
        for kind in drift.kinds() {
            self.kinds[kind as usize] += 1;
        }
    }

    /// The kinds that occurred, with their numbers, in the order of the enum.
    pub fn iter(&self) -> impl Iterator<Item = (DriftKind, u64)> {
        let all = DriftKind::ALL.into_iter().zip(self.kinds);
        all.filter(|(_, n)| *n > 0)
    }
}

/// Answers of upstreams that answer as a log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordedAnswers {
    /// Those that the log tells of.
    pub from_log: u64,
    /// The others: a profile stands in.
    pub from_profile: u64,
}

impl RecordedAnswers {
    fn count(&mut self, is_told: Option<bool>) {
        self.from_log += u64::from(is_told == Some(true));
        self.from_profile += u64::from(is_told == Some(false));
    }

    /// All of them; 0 where no log is asked.
    pub fn total(&self) -> u64 {
        self.from_log + self.from_profile
    }
}

/// The totals of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Requests that were sent.
    pub sent: u64,
    /// Answers by outcome.
    pub answers: OutcomeCounts,
    /// Requests that had no answer when the run ended.
    pub unfinished: u64,
    /// Requests that stable answered after the canary had failed them.
    pub rescued: u64,
    /// Latency of successful requests from their scheduled moment.
    pub latency: Latencies,
    /// The same from the moment they were really sent.
    pub latency_from_sent: Latencies,
    /// From the scheduled moment to really sending (request_dispatch_delay).
    pub dispatch_delay: Latencies,
    /// Requests for streams; none when nobody asked for one.
    pub streams: Option<Box<StreamTotals>>,
    /// By version.
    pub versions: PerVersion<VersionSummary>,
    /// What it cost.
    pub costs: CostBook,
    /// When the first request was scheduled, and the last.
    pub scheduled: Option<(Timestamp, Timestamp)>,
    /// When the first request was sent, and the last.
    pub sent_between: Option<(Timestamp, Timestamp)>,
    /// Rows of the upstreams' ledgers.
    pub ledger_rows: u64,
    /// Rows of the upstreams' ledgers that bear no request key.
    pub ledger_rows_without_key: u64,
    /// Which of their keys another gateway let through; none for the built-in one.
    pub keys: Option<KeysSeen>,
    /// How the machine treated a live run; none without one.
    pub machine: Option<MachineFacts>,
    /// Answers of upstreams that answer as a log says.
    pub recorded: RecordedAnswers,
    /// Ledger rows of requests that no client admits to.
    pub orphans: u64,
    /// Successful answers that no ledger row explains.
    pub unexplained: u64,
    /// How many attempts each fault of the scenario hit.
    pub fault_hits: Vec<u64>,
    /// The fault that keeps everybody out of a version, where there is one.
    kept_out: PerVersion<Vec<Door>>,
    /// The rollbacks, in order.
    pub rollbacks: Vec<RollbackFacts>,
    /// The orders that another gateway was given, when, and what came of them.
    pub orders: Vec<(Timestamp, OrderFacts, Option<OrderEnd>)>,
    /// What the judge saw, over time.
    pub evidence: Tracks,
    /// Where the release stood, and since when, in order.
    pub standings: Vec<(Timestamp, StandingFacts)>,
    /// What the step in force lacked when the ramp looked last, and when that was; none when it was not
    /// asked, or another step came.
    pub not_promoted: Option<(Timestamp, Vec<Missing>)>,
    /// The time of the last event that is not of an upstream alone.
    pub end: Timestamp,
}

/// The totals of one version.
#[derive(Clone, Debug, Default)]
pub struct VersionSummary {
    /// Requests whose first attempt its upstream took.
    pub first_attempts: u64,
    /// Those of them that chance assigned.
    pub randomised: u64,
    /// Attempts that its upstream took.
    pub accepted: u64,
    /// Attempts by how they really ended; those that never did are left out.
    pub attempts: OutcomeCounts,
    /// Requests it answered.
    pub served: u64,
    /// Requests it failed and stable then answered.
    pub rescued: u64,
    /// Latency of the requests it answered, from their scheduled moment.
    pub latency: Latencies,
    /// Tokens of the prompts it answered.
    pub input_tokens: u64,
    /// Tokens of its answers.
    pub output_tokens: u64,
    /// How its answers differ from the OpenAI shape, by the router's word.
    pub drift: DriftCounts,
    /// Requests for streams: whole ones by the version that answered, the others by the one that was tried
    /// last.
    pub streams: Option<Box<StreamTotals>>,
}

impl Summary {
    /// Totals of nothing yet, for so many versions and faults.
    pub fn new(versions: usize, faults: usize) -> Self {
        Self {
            sent: 0,
            answers: OutcomeCounts::default(),
            unfinished: 0,
            rescued: 0,
            latency: Latencies::default(),
            latency_from_sent: Latencies::default(),
            dispatch_delay: Latencies::default(),
            streams: None,
            versions: PerVersion::from_fn(versions, |_| VersionSummary::default()),
            costs: CostBook::unpriced(versions),
            scheduled: None,
            sent_between: None,
            ledger_rows: 0,
            ledger_rows_without_key: 0,
            keys: None,
            machine: None,
            recorded: RecordedAnswers::default(),
            orphans: 0,
            unexplained: 0,
            fault_hits: vec![0; faults],
            kept_out: PerVersion::from_fn(versions, |_| Vec::new()),
            rollbacks: Vec::new(),
            orders: Vec::new(),
            evidence: Tracks::default(),
            standings: Vec::new(),
            not_promoted: None,
            end: Timestamp::ZERO,
        }
    }

    /// The same with these prices of the versions.
    #[must_use]
    pub fn with_prices(mut self, prices: &PerVersion<Option<Price>>) -> Self {
        self.costs = CostBook::new(prices);
        self
    }

    /// The same with these faults. What some of them hit, no ledger can tell: nobody was let in.
    #[must_use]
    pub fn with_faults(mut self, faults: &[FaultMeta]) -> Self {
        for (index, fault) in faults.iter().enumerate().filter(|(_, f)| f.keeps_out) {
            for version in &fault.on {
                let (from, until) = (fault.from, fault.until);
                self.kept_out[*version].push(Door { index, from, until });
            }
        }
        self
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &RunEvent, joined: &Joined) {
        // A ledger may close its rows in advance, or long after everybody has left.
        if !matches!(event.what, What::UpstreamEnded(_)) {
            self.end = self.end.max(event.at);
        }
        match &event.what {
            What::Sent(sent) => {
                self.sent += 1;
                self.dispatch_delay
                    .record(event.at.since(sent.scheduled_at));
                self.scheduled = Some(widen(self.scheduled, sent.scheduled_at));
                self.sent_between = Some(widen(self.sent_between, event.at));
            }
            What::Accepted(row) => {
                self.ledger_rows += 1;
                self.versions[row.version].accepted += 1;
                self.recorded.count(row.is_told);
                if let Some(hits) = row
                    .fault
                    .and_then(|i| self.fault_hits.get_mut(usize::from(i)))
                {
                    *hits += 1;
                }
                self.ledger_rows_without_key += u64::from(row.key.is_none());
            }
            What::Keys(keys) => self.keys = Some(*keys),
            What::Machine(facts) => self.machine = Some(facts.clone()),
            What::RolledBack(record) => self.rollbacks.push(record.clone()),
            What::Judged(finding) => self.evidence.judged(event.at, finding),
            What::Standing(standing) => self.stands(event.at, standing),
            What::NotPromoted(missing) => self.not_promoted = Some((event.at, missing.clone())),
            What::Ordered(order) => self.orders.push((event.at, *order, None)),
            What::OrderEnded(end) => self.order_ended(end),
            What::Answered(answered) => self.answers.count(answered.outcome),
            What::Booked(booked) => self.versions[booked.version].drift.count(booked.drift),
            What::Assigned { .. }
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::UpstreamEnded(_)
            | What::Settled(_)
            | What::Held(_)
            | What::Told(_)
            | What::Fault { .. }
            | What::Gaps(_)
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Memory { .. } => {}
        }
        if let Some(first) = joined.first {
            let version = &mut self.versions[first.version];
            version.first_attempts += 1;
            version.randomised += u64::from(first.is_randomised());
        }
        if let Some(story) = &joined.story {
            self.story(story);
        }
    }

    fn order_ended(&mut self, end: &OrderEnd) {
        let mut orders = self.orders.iter_mut();
        if let Some((.., came)) = orders.find(|(_, order, _)| order.number == end.order.number) {
            *came = Some(end.clone());
        }
    }

    fn stands(&mut self, at: Timestamp, standing: &StandingFacts) {
        let before = self.standings.last().and_then(|(_, s)| s.step.as_ref());
        if before != standing.step.as_ref() || !standing.closed.is_empty() {
            self.not_promoted = None;
        }
        self.standings.push((at, standing.clone()));
    }

    /// Takes a story in that was not over when the run ended.
    pub fn unfinished(&mut self, story: &Story) {
        match (story.sent, story.answered) {
            (None, None) => self.orphans += story.attempts.len() as u64,
            (_, None) => self.unfinished += 1,
            _ => {}
        }
        self.story(story);
    }

    fn stream(&mut self, story: &Story) {
        let Some(end) = story.stream_end() else {
            return;
        };
        self.streams.get_or_insert_default().note(story, end);
        let version = match end {
            StreamEnd::Whole => story.served_by(),
            StreamEnd::Broken | StreamEnd::Refused | StreamEnd::Left => {
                story.attempts.last().map(|a| a.version)
            }
        };
        if let Some(version) = version {
            let streams = &mut self.versions[version].streams;
            streams.get_or_insert_default().note(story, end);
        }
    }

    fn story(&mut self, story: &Story) {
        self.costs.story(story);
        self.stream(story);
        for attempt in &story.attempts {
            if let Some(outcome) = attempt.truth() {
                self.versions[attempt.version].attempts.count(outcome);
            }
            if let Some(at) = attempt.dispatched_at.filter(|_| was_kept_out(attempt)) {
                let mut doors = self.kept_out[attempt.version].iter();
                if let Some(door) = doors.find(|door| door.is_shut(at)) {
                    self.fault_hits[door.index] += 1;
                }
            }
        }
        if !story.outcome().is_some_and(Outcome::is_success) {
            return;
        }
        let Some(server) = story.served_by() else {
            self.unexplained += 1;
            return;
        };
        if let (Some(latency), Some(from_sent)) = (story.latency(), story.latency_from_sent()) {
            self.latency.record(latency);
            self.latency_from_sent.record(from_sent);
            self.versions[server].latency.record(latency);
        }
        self.versions[server].served += 1;
        if let Some(usage) = story.answered.and_then(|(_, a)| a.usage) {
            self.versions[server].input_tokens += u64::from(usage.prompt_tokens);
            self.versions[server].output_tokens += u64::from(usage.completion_tokens);
        }
        if let Some(failed) = story.rescued_from() {
            self.rescued += 1;
            self.versions[failed].rescued += 1;
        }
    }

    /// Attempts at a version that its upstream took, or that a fault kept out of it.
    pub fn attempts_at(&self, version: VersionId) -> u64 {
        let doors = self.kept_out[version].iter();
        let kept_out: u64 = doors.map(|door| self.fault_hits[door.index]).sum();
        self.versions[version].accepted + kept_out
    }

    /// What it would cost to go on like this, where `cost` is what the run cost.
    pub fn projection(&self, cost: Cost) -> Projection {
        // One mean interval more than between the first request and the last.
        let time = self.sent_between.and_then(|(first, last)| {
            let span = last.since(first).as_nanos() * u128::from(self.sent);
            let nanos = span.checked_div(u128::from(self.sent.saturating_sub(1)))?;
            u64::try_from(nanos).ok().map(Duration::from_nanos)
        });
        Projection::of(cost, self.sent, time)
    }

    /// Requests per second over the time they were sent in; none for fewer than two requests.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = self.sent_between?;
        let span = last.since(first);
        (self.sent > 1 && span > Duration::ZERO)
            .then(|| (self.sent - 1) as f64 / span.as_secs_f64())
    }
}

/// Was it sent on its way, and found no connection?
/// A fault that lets nobody in, and when it is on.
#[derive(Clone, Copy, Debug)]
struct Door {
    index: usize,
    from: Timestamp,
    until: Option<Timestamp>,
}

impl Door {
    /// A mock's door may open a little late.
    fn is_shut(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until + LATE)
    }
}

/// How late a door that opens and shuts may be in a live run.
const LATE: Duration = Duration::from_millis(50);

fn was_kept_out(attempt: &Attempt) -> bool {
    let was_sent = attempt.dispatched_at.is_some() && !attempt.was_accepted();
    was_sent && attempt.truth() == Some(Outcome::Connect)
}

fn widen(range: Option<(Timestamp, Timestamp)>, at: Timestamp) -> (Timestamp, Timestamp) {
    let (first, last) = range.unwrap_or((at, at));
    (first.min(at), last.max(at))
}
