//! `rate_limit`: no window sees more attempts arrive at a version's upstream than it may.
//!
//! Counted is every line of the upstream's ledger, whoever it belongs to: a provider counts the same. So a
//! leaky join weakens nothing here. Windows may begin at any moment; live, they are shorter by a tenth, or by
//! a second if that is less, as in `policy`. A census.
//!
//! That a limit was never passed shows nothing of a limiter while nobody pressed against it. So a pass
//! needs more attempts in all than the limit, and a window that was filled to `fullest` of it.

use crate::observe::event::{Accepted, RunEvent, What};
use crate::observe::join::Joined;
use crate::stats::compare::{Comparison, Op};
use crate::time::{Human, Timestamp};
use crate::verdict::gates::window::Window;
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped};
use crate::verdict::spec::RateLimitSpec;

/// The gate at work.
pub struct RateLimitGate {
    spec: RateLimitSpec,
    window: Window,
    /// How many were in the fullest window, and when it ended.
    fullest: (u64, Timestamp),
    /// When the first one too many came.
    first_beyond: Option<Timestamp>,
    beyond: u64,
    offenders: Offenders,
}

impl RateLimitGate {
    /// A gate that has seen nothing.
    pub fn new(spec: RateLimitSpec) -> Self {
        Self {
            window: Window::new(spec.most, spec.window, spec.tolerance),
            spec,
            fullest: (0, Timestamp::ZERO),
            first_beyond: None,
            beyond: 0,
            offenders: Offenders::default(),
        }
    }

    fn accepted(&mut self, at: Timestamp, row: &Accepted) {
        let inside = self.window.take(at);
        if inside > self.fullest.0 {
            self.fullest = (inside, at);
        }
        if inside > self.window.most() {
            self.beyond += 1;
            self.first_beyond.get_or_insert(at);
            let key = row.key.into_iter();
            key.for_each(|key| self.offenders.note(key));
        }
    }

    /// Was the limit pressed against, so that keeping it means something?
    fn was_tested(&self) -> bool {
        let full_enough = Comparison {
            op: Op::AtLeast,
            bound: self.spec.fullest,
        };
        full_enough.holds_for(self.fullest.0, self.window.most())
    }

    fn status(&self) -> Status {
        match self.beyond {
            0 if self.was_tested() => Status::Pass,
            0 => Status::Inconclusive,
            _ => Status::Fail,
        }
    }

    fn seen(&self) -> String {
        let (inside, until) = self.fullest;
        let (n, length) = (grouped(self.window.seen()), Human(self.window.length()));
        let fullest = match inside > self.window.twice() {
            true => format!("more than {}", grouped(self.window.twice())),
            false => grouped(inside),
        };
        let until = moment(until);
        let seen = format!("{fullest} of {n} in the {length} until {until}");
        match (self.first_beyond, self.status()) {
            (Some(first), _) => {
                let (beyond, first) = (grouped(self.beyond), moment(first));
                format!("{seen}; {beyond} came beyond the limit, the first at {first}")
            }
            (None, Status::Pass) => seen,
            (None, _) => {
                let fullest = self.spec.fullest;
                format!(
                    "{seen}; nobody pressed against it: a window filled to {fullest} would show something"
                )
            }
        }
    }
}

fn moment(at: Timestamp) -> String {
    format!("{:.3} s", at.as_secs_f64())
}

impl Gate for RateLimitGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        if let What::Accepted(row) = &event.what
            && row.version == self.spec.version
            && self.spec.scope.contains(event.at)
        {
            self.accepted(event.at, row);
        }
    }

    fn finish(&self, _end: &End<'_>) -> GateResult {
        let (most, name) = (grouped(self.window.most()), &self.spec.name);
        let window = Human(self.spec.window);
        let condition = format!("at most {most} attempts at {name} in any {window}");
        let n = self.window.seen();
        let check = Check::census(condition, self.status(), self.seen())
            .figure((n > 0).then_some(self.fullest.0 as f64), "attempts", n)
            .offenders(self.offenders.keys())
            .needs(n, self.spec.min_n.max(1));
        GateResult::of("rate_limit", vec![check])
    }
}
