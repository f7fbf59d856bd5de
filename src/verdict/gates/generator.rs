//! `generator`: the load generator kept its schedule, so that the figures mean something.
//!
//! A late or slow generator, or a machine that was overloaded or had no files for its connections, makes the *measurement* invalid, not the router slow.

use std::time::Duration;

use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::machine::MachineFacts;
use crate::observe::summary::Summary;
use crate::stats::quantile::Quantile;
use crate::time::{Human, Timestamp};
use crate::verdict::gates::{End, Gate, machine};
use crate::verdict::result::{Check, GateResult, Status, grouped, percent, share_of};
use crate::verdict::spec::GeneratorSpec;

/// One in this many attempts may be held back: 1 %.
const HELD_BACK: u64 = 100;

/// The gate at work.
pub struct GeneratorGate {
    spec: GeneratorSpec,
    /// Requests that were sent, and those of them that were sent in time.
    sent: u64,
    in_time: u64,
    /// Attempts that went through the caps of real upstreams, and those that these held back for too long.
    capped: u64,
    held_back: u64,
    is_out_of_files: bool,
    jumped: Option<Duration>,
    machine: Option<MachineFacts>,
}

impl GeneratorGate {
    /// A gate with these limits.
    pub fn new(spec: GeneratorSpec) -> Self {
        Self {
            spec,
            sent: 0,
            in_time: 0,
            capped: 0,
            held_back: 0,
            is_out_of_files: false,
            jumped: None,
            machine: None,
        }
    }

    fn delay(&self, summary: &Summary) -> Check {
        let limit = self.spec.dispatch_delay_p99;
        // Decided by exact counting; the histogram only serves the figure.
        let delay = summary.dispatch_delay.at(Quantile::P99);
        let is_in_time = self.in_time >= Quantile::P99.rank(self.sent);
        let (status, seen) = match (delay, is_in_time) {
            (None, _) => (Status::Inconclusive, "nothing was sent".to_owned()),
            (Some(delay), true) => (Status::Pass, Human(delay).to_string()),
            (Some(delay), false) => (Status::Invalid, format!("{}: too late", Human(delay))),
        };
        let condition = format!("dispatch delay p99 <= {}", Human(limit));
        let estimate = delay.map(|d| d.as_secs_f64());
        Check::census(condition, status, seen).figure(estimate, "s", summary.sent)
    }

    fn rate(&self, summary: &Summary) -> Check {
        let limit = self.spec.rate_error;
        let slack = self.spec.dispatch_delay_p99;
        let spans = planned_and_took(summary);
        let error = spans.map(|(planned, took)| took.abs_diff(planned).div_duration_f64(planned));
        // In a short run, even a request in time is off by more than the share.
        let is_off = |(planned, took): (Duration, Duration)| {
            took.abs_diff(planned) > planned.mul_f64(limit).max(slack)
        };
        let (status, seen) = match error.map(percent) {
            None => (Status::Pass, "too few requests for a rate".to_owned()),
            Some(error) if spans.is_some_and(is_off) => {
                (Status::Invalid, format!("{error} %: off schedule"))
            }
            Some(error) => (Status::Pass, format!("{error} %")),
        };
        let condition = format!("rate off by <= {} %, or {}", percent(limit), Human(slack));
        Check::census(condition, status, seen).figure(error, "share", summary.sent)
    }
}

/// Who could not be connected was not refused by anybody.
fn out_of_files() -> Check {
    let seen = "the system's limit was reached: raise it (`ulimit -Hn`), or have fewer requests at once; each takes four";
    Check::census(
        "every connection has a file descriptor",
        Status::Invalid,
        seen,
    )
}

/// Times across a sleep of the machine are nobody's latency.
fn jumped(by: Duration) -> Check {
    let seen = format!(
        "they differ by {}: the machine slept, or its clock was set",
        Human(by)
    );
    let condition = "the wall clock and the one that measures agree";
    Check::census(condition, Status::Invalid, seen).figure(Some(by.as_secs_f64()), "s", 1)
}

/// How long sending all requests should have taken, and how long it took; none when all were
/// scheduled at one moment.
fn planned_and_took(summary: &Summary) -> Option<(Duration, Duration)> {
    let span = |(first, last): (Timestamp, Timestamp)| last.since(first);
    let planned = span(summary.scheduled?);
    let took = span(summary.sent_between?);
    (planned > Duration::ZERO).then_some((planned, took))
}

impl GeneratorGate {
    /// Who waits for a cap has a latency that is not its upstream's.
    fn caps(&self) -> Option<Check> {
        let (x, n) = (self.held_back, self.capped);
        let (status, seen) = match x.saturating_mul(HELD_BACK) > n {
            false => (Status::Pass, share_of(x, n)),
            true => {
                let words = "the traffic is more than the caps let through";
                (Status::Invalid, format!("{}: {words}", share_of(x, n)))
            }
        };
        let limit = Human(self.spec.dispatch_delay_p99);
        let condition = format!("attempts held back by caps for > {limit} <= 1 %");
        let share = (n > 0).then(|| x as f64 / n as f64);
        (n > 0).then(|| Check::census(condition, status, seen).figure(share, "share", n))
    }
}

/// A log is looked through before it is sent, and must still be the same then.
fn all_sent(planned: u64, sent: u64, has_changed: bool) -> Check {
    let (status, seen) = match sent == planned && !has_changed {
        true => (Status::Pass, grouped(sent)),
        false => (
            Status::Invalid,
            format!("{}: the log changed while it was replayed", grouped(sent)),
        ),
    };
    let condition = format!("requests sent == {} of the log", grouped(planned));
    Check::census(condition, status, seen).figure(Some(sent as f64), "requests", sent)
}

impl Gate for GeneratorGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        let limit = self.spec.dispatch_delay_p99;
        match &event.what {
            What::Sent(sent) => {
                let delay = event.at.since(sent.scheduled_at);
                self.sent += 1;
                self.in_time += u64::from(delay <= limit);
            }
            What::HeldBack { wait, .. } => {
                self.capped += 1;
                self.held_back += u64::from(*wait > limit);
            }
            What::OutOfFiles => self.is_out_of_files = true,
            What::ClockJumped(by) => self.jumped = Some(*by),
            What::Machine(facts) => self.machine = Some(facts.clone()),
            _ => {}
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![self.delay(end.summary), self.rate(end.summary)];
        let machine = self.machine.iter();
        checks.extend(machine.flat_map(|facts| machine::checks(&self.spec, facts)));
        checks.extend(self.caps());
        let planned = end.planned.filter(|_| !end.cut_short);
        let all_sent = |planned| all_sent(planned, end.summary.sent, end.has_log_changed);
        checks.extend(planned.map(all_sent));
        checks.extend(self.is_out_of_files.then(out_of_files));
        checks.extend(self.jumped.map(jumped));
        GateResult::of("generator", checks)
    }
}
