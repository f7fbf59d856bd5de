//! `generator`: the load generator kept its schedule, so that the figures mean something.
//!
//! A late or slow generator makes the *measurement* invalid, not the router slow.

use std::time::Duration;

use crate::observe::summary::Summary;
use crate::stats::quantile::Quantile;
use crate::time::{Human, Timestamp};
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, percent};
use crate::verdict::spec::GeneratorSpec;

/// The gate at work. Everything it needs is in the summary.
pub struct GeneratorGate {
    spec: GeneratorSpec,
}

impl GeneratorGate {
    /// A gate with these limits.
    pub fn new(spec: GeneratorSpec) -> Self {
        Self { spec }
    }

    fn delay(&self, summary: &Summary) -> Check {
        let limit = self.spec.dispatch_delay_p99;
        let delay = summary.dispatch_delay.at(Quantile::P99);
        let (status, seen) = match delay {
            None => (Status::Inconclusive, "nothing was sent".to_owned()),
            Some(delay) if delay <= limit => (Status::Pass, Human(delay).to_string()),
            Some(delay) => (Status::Invalid, format!("{}: too late", Human(delay))),
        };
        let condition = format!("dispatch delay p99 <= {}", Human(limit));
        let estimate = delay.map(|d| d.as_secs_f64());
        Check::census(condition, status, seen).figure(estimate, "s", summary.sent)
    }

    fn rate(&self, summary: &Summary) -> Check {
        let limit = self.spec.rate_error;
        let error = rate_error(summary);
        let (status, seen) = match error {
            None => (Status::Pass, "too few requests for a rate".to_owned()),
            Some(error) if error <= limit => (Status::Pass, format!("{} %", percent(error))),
            Some(error) => (
                Status::Invalid,
                format!("{} %: off schedule", percent(error)),
            ),
        };
        let condition = format!("rate off by <= {} %", percent(limit));
        Check::census(condition, status, seen).figure(error, "share", summary.sent)
    }
}

/// How far the time it took to send all requests is off the time it should have taken, as a
/// fraction; none when all were scheduled at one moment.
fn rate_error(summary: &Summary) -> Option<f64> {
    let span = |(first, last): (Timestamp, Timestamp)| last.since(first);
    let planned = span(summary.scheduled?);
    let took = span(summary.sent_between?);
    (planned > Duration::ZERO).then(|| (took.as_secs_f64() / planned.as_secs_f64() - 1.0).abs())
}

impl Gate for GeneratorGate {
    fn finish(&self, end: &End<'_>) -> GateResult {
        let checks = vec![self.delay(end.summary), self.rate(end.summary)];
        GateResult::of("generator", checks)
    }
}
