//! A run second by second, and the same in at most a few hundred steps for plots.
//!
//! A second is written out when it is over and then only lives on in the [`Series`], whose steps
//! double in length when there are too many: memory does not grow with the run.

use std::time::Duration;

use crate::id::{PerVersion, VersionId};
use crate::observe::cost::spends;
use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::story::Story;
use crate::pricing::{Cost, Price};
use crate::protocol::outcome::Outcome;
use crate::stats::histogram::LogHistogram;

/// Most steps of a [`Series`].
pub const MAX_STEPS: usize = 360;

/// What happened during a stretch of time.
#[derive(Clone, Debug)]
pub struct Step {
    /// Start, in whole seconds since the start of the run.
    pub start_s: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered with success.
    pub succeeded: u64,
    /// Requests answered with anything else. Callers who hang up are answered with nothing.
    pub failed: u64,
    /// By version.
    pub versions: PerVersion<VersionStep>,
}

/// What one version did during a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct VersionStep {
    /// Requests whose first attempt its upstream took.
    pub first_attempts: u64,
    /// Those of them that chance assigned.
    pub randomised: u64,
    /// Attempts its upstream took.
    pub attempts: u64,
    /// Attempts its upstream ended with success.
    pub successes: u64,
    /// Attempts that ended otherwise.
    pub failures: u64,
    /// Requests it failed and stable then answered.
    pub rescued: u64,
    /// Requests it answered.
    pub served: u64,
    /// Their latency, from the scheduled moment.
    pub latencies: LogHistogram,
    /// Of the whole streams it sent, the time to the first token; none without streams.
    pub first_tokens: Option<LogHistogram>,
    /// The time from one of their tokens to the next.
    pub inter_tokens: Option<LogHistogram>,
    /// What answers cost that callers got, booked when their request was over.
    pub served_cost: Cost,
    /// What attempts cost whose answer nobody got.
    pub wasted_cost: Cost,
}

impl Step {
    fn new(versions: usize) -> Self {
        Self {
            start_s: 0,
            sent: 0,
            succeeded: 0,
            failed: 0,
            versions: PerVersion::from_fn(versions, |_| VersionStep::default()),
        }
    }

    /// The share of a version among the requests that chance assigned, as events over trials.
    pub fn split(&self, version: VersionId) -> (u64, u64) {
        let all = self.versions.values().map(|v| v.randomised).sum();
        (self.versions[version].randomised, all)
    }

    fn is_empty(&self) -> bool {
        let is_idle = |v: &VersionStep| {
            let counts = [
                v.first_attempts,
                v.attempts,
                v.successes,
                v.failures,
                v.rescued,
            ];
            let is_free = v.served_cost == Cost::ZERO && v.wasted_cost == Cost::ZERO;
            counts.iter().sum::<u64>() + v.served == 0 && is_free
        };
        self.sent + self.succeeded + self.failed == 0 && self.versions.values().all(is_idle)
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        for (version, own) in self.versions.iter_mut() {
            own.add(&other.versions[version]);
        }
    }

    fn clear(&mut self) {
        self.sent = 0;
        self.succeeded = 0;
        self.failed = 0;
        self.versions.iter_mut().for_each(|(_, v)| v.clear());
    }
}

impl VersionStep {
    fn add(&mut self, other: &Self) {
        self.first_attempts += other.first_attempts;
        self.randomised += other.randomised;
        self.attempts += other.attempts;
        self.successes += other.successes;
        self.failures += other.failures;
        self.rescued += other.rescued;
        self.served += other.served;
        self.served_cost += other.served_cost;
        self.wasted_cost += other.wasted_cost;
        if other.latencies.total() > 0 {
            self.latencies.add(&other.latencies);
        }
        add(&mut self.first_tokens, other.first_tokens.as_ref());
        add(&mut self.inter_tokens, other.inter_tokens.as_ref());
    }

    /// A whole stream came to its end.
    fn stream(&mut self, story: &Story) {
        if let Some(first) = story.first_token() {
            self.first_tokens.get_or_insert_default().record(first);
        }
        for gap in &story.gaps {
            let inter_tokens = self.inter_tokens.get_or_insert_default();
            inter_tokens.record_many(gap.each, gap.tokens);
        }
    }

    fn clear(&mut self) {
        let mut latencies = std::mem::take(&mut self.latencies);
        if latencies.total() > 0 {
            latencies.clear();
        }
        *self = Self {
            latencies,
            ..Self::default()
        };
    }
}

fn add(own: &mut Option<LogHistogram>, more: Option<&LogHistogram>) {
    if let Some(more) = more {
        own.get_or_insert_default().add(more);
    }
}

/// The steps of a run, all of one length, from its start on.
#[derive(Clone, Debug)]
pub struct Series {
    /// Length of a step.
    pub step: Duration,
    /// The steps.
    pub steps: Vec<Step>,
    versions: usize,
}

impl Series {
    fn new(versions: usize) -> Self {
        Self {
            step: Duration::from_secs(1),
            steps: Vec::new(),
            versions,
        }
    }

    /// The series in at most `points` longer steps, with their length.
    pub fn condensed(&self, points: usize) -> (Duration, Vec<Step>) {
        let size = self.steps.len().div_ceil(points.max(1)).max(1);
        let mut merged: Vec<Step> = Vec::new();
        for chunk in self.steps.chunks(size) {
            // A short rest would stand out for its few samples alone.
            let is_rest = chunk.len() * 2 < size;
            let mut rest = chunk;
            if !is_rest || merged.is_empty() {
                merged.extend(chunk.first().cloned());
                rest = chunk.get(1..).unwrap_or_default();
            }
            if let Some(whole) = merged.last_mut() {
                rest.iter().for_each(|step| whole.add(step));
            }
        }
        (self.step * size as u32, merged)
    }

    fn add(&mut self, second: &Step) {
        while second.start_s / self.step.as_secs() >= MAX_STEPS as u64 {
            self.double();
        }
        let width = self.step.as_secs();
        let position = (second.start_s / width) as usize;
        while self.steps.len() <= position {
            let mut step = Step::new(self.versions);
            step.start_s = self.steps.len() as u64 * width;
            self.steps.push(step);
        }
        self.steps[position].add(second);
    }

    fn double(&mut self) {
        self.step *= 2;
        let halves = std::mem::take(&mut self.steps);
        for pair in halves.chunks(2) {
            let mut whole = pair[0].clone();
            if let Some(second) = pair.get(1) {
                whole.add(second);
            }
            self.steps.push(whole);
        }
    }
}

/// Folds events into seconds.
#[derive(Debug)]
pub struct Timeline {
    open: Step,
    series: Series,
    prices: PerVersion<Option<Price>>,
}

impl Timeline {
    /// An empty timeline.
    pub fn new(versions: usize) -> Self {
        Self {
            open: Step::new(versions),
            series: Series::new(versions),
            prices: PerVersion::from_fn(versions, |_| None),
        }
    }

    /// The same with these prices of the versions.
    #[must_use]
    pub fn with_prices(self, prices: PerVersion<Option<Price>>) -> Self {
        Self { prices, ..self }
    }

    /// Takes an event in. `closed` gets every second that is over; seconds in which nothing happened
    /// are left out.
    pub fn event(&mut self, event: &RunEvent, joined: &Joined, closed: &mut dyn FnMut(&Step)) {
        let second = event.at.0 / 1_000_000_000;
        if second > self.open.start_s {
            self.close(closed);
            self.open.start_s = second;
        }
        self.count(&event.what);
        self.count_joined(joined);
    }

    /// The end of the run: closes the last second and gives the series.
    pub fn finish(mut self, closed: &mut dyn FnMut(&Step)) -> Series {
        self.close(closed);
        self.series
    }

    fn close(&mut self, closed: &mut dyn FnMut(&Step)) {
        if !self.open.is_empty() {
            closed(&self.open);
            self.series.add(&self.open);
            self.open.clear();
        }
    }

    fn count(&mut self, what: &What) {
        let open = &mut self.open;
        match what {
            What::Sent(_) => open.sent += 1,
            What::Accepted(row) => open.versions[row.version].attempts += 1,
            What::UpstreamEnded(row) if row.outcome.is_success() => {
                open.versions[row.version].successes += 1;
            }
            What::UpstreamEnded(row) => open.versions[row.version].failures += 1,
            What::Answered(answered) if answered.outcome.is_success() => open.succeeded += 1,
            What::Answered(answered) if answered.outcome != Outcome::ClientGone => {
                open.failed += 1;
            }
            What::Answered(_)
            | What::Assigned { .. }
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::Booked(_)
            | What::Settled(_)
            | What::Judged(_)
            | What::RolledBack(_)
            | What::Held(_)
            | What::Told(_)
            | What::NotPromoted(_)
            | What::Standing(_)
            | What::Fault { .. }
            | What::Gaps(_)
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::Ordered(_)
            | What::OrderEnded(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Machine(_)
            | What::Keys(_)
            | What::Memory { .. } => {}
        }
    }

    fn count_joined(&mut self, joined: &Joined) {
        if let Some(first) = joined.first {
            let version = &mut self.open.versions[first.version];
            version.first_attempts += 1;
            version.randomised += u64::from(first.is_randomised());
        }
        let Some(story) = &joined.story else {
            return;
        };
        for spend in spends(story) {
            let cost = spend.cost(self.prices[spend.version]);
            let step = &mut self.open.versions[spend.version];
            match spend.is_wasted {
                true => step.wasted_cost += cost,
                false => step.served_cost += cost,
            }
        }
        if let (Some(version), Some(latency)) = (story.served_by(), story.latency()) {
            let step = &mut self.open.versions[version];
            step.served += 1;
            step.latencies.record(latency);
            step.stream(story);
            if let Some(failed) = story.rescued_from() {
                self.open.versions[failed].rescued += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RequestKey;
    use crate::observe::event::{Accepted, Sent, UpstreamEnded};
    use crate::protocol::drift::Drift;
    use crate::protocol::outcome::Outcome;
    use crate::time::Timestamp;
    use crate::traffic::caller::Intent;

    fn run(seconds: &[u64]) -> (Vec<u64>, Series) {
        let mut timeline = Timeline::new(2);
        let mut closed = Vec::new();
        for &s in seconds {
            let what = What::UpstreamEnded(UpstreamEnded {
                row: 0,
                key: Some(RequestKey(1)),
                version: VersionId(1),
                ordinal: 0,
                outcome: Outcome::Success,
                usage: None,
                cost: None,
                drift: Drift::NONE,
            });
            let at = Timestamp(s * 1_000_000_000 + 5);
            let event = RunEvent { at, what };
            timeline.event(&event, &Joined::default(), &mut |step| {
                closed.push(step.start_s);
            });
        }
        let series = timeline.finish(&mut |step| closed.push(step.start_s));
        (closed, series)
    }

    #[test]
    fn idle_seconds_are_left_out_and_late_events_are_not_lost() {
        let (closed, series) = run(&[0, 0, 3, 2, 5]);
        assert_eq!(closed, [0, 3, 5]);
        assert_eq!(series.steps.len(), 6);
        let successes = |i: usize| series.steps[i].versions[VersionId(1)].successes;
        assert_eq!((successes(0), successes(1), successes(3)), (2, 0, 2));
    }

    #[test]
    fn long_runs_get_longer_steps_and_lose_nothing() {
        let seconds: Vec<u64> = (0..5_000).collect();
        let (closed, series) = run(&seconds);
        assert_eq!(closed.len(), 5_000);
        assert!(series.steps.len() <= MAX_STEPS);
        assert_eq!(series.step, Duration::from_secs(16));
        let all: u64 = series
            .steps
            .iter()
            .map(|s| s.versions[VersionId(1)].successes)
            .sum();
        assert_eq!(all, 5_000);
        assert_eq!(series.steps[10].start_s, 160);
    }

    #[test]
    fn splits_count_only_what_chance_assigned() {
        let sent = |intent| Sent {
            key: RequestKey(1),
            scheduled_at: Timestamp::ZERO,
            intent,
            caller: 0,
            input_tokens: 1,
            stream: false,
        };
        let mut timeline = Timeline::new(2);
        let mut first = |version, intent| {
            let what = What::Accepted(Accepted {
                row: 0,
                key: Some(RequestKey(1)),
                version: VersionId(version),
                ordinal: 0,
                n: None,
                fault: None,
                retry_after: None,
                altered: None,
                is_told: None,
            });
            let joined = Joined {
                first: Some(crate::observe::join::FirstAttempt {
                    version: VersionId(version),
                    sent: Some(sent(intent)),
                }),
                story: None,
            };
            let event = RunEvent {
                at: Timestamp(1),
                what,
            };
            timeline.event(&event, &joined, &mut |_| {});
        };
        first(0, Intent::Random);
        first(1, Intent::Random);
        first(1, Intent::Pinned(VersionId(1)));
        let series = timeline.finish(&mut |_| {});
        assert_eq!(series.steps[0].split(VersionId(1)), (1, 2));
        assert_eq!(series.steps[0].versions[VersionId(1)].first_attempts, 2);
    }
}
