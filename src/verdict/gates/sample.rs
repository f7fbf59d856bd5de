//! `sample`: there was something to judge. Every run has this gate: no requests, none at the canary,
//! or a fault that hit nothing never passes, whatever the other gates say.

use std::collections::BTreeSet;

use crate::id::VersionId;
use crate::observe::event::{RunEvent, Sent, UpstreamEnded, What};
use crate::observe::join::Joined;
use crate::observe::meta::FaultMeta;
use crate::protocol::outcome::Outcome;
use crate::stats::proportion::draws_to_meet;
use crate::time::{Human, Timestamp};
use crate::verdict::gates::reopened::Reopened;
use crate::verdict::gates::{End, Gate, MISSED};
use crate::verdict::result::{Check, GateResult, Status, grouped, share_of};

/// The gate at work. All but the faults is in the summary.
pub struct SampleGate {
    canary_share: f64,
    faults: Vec<FaultMeta>,
    /// Requests that chance assigned, sent while the fault of the same place kept everybody out.
    sent_meanwhile: Vec<u64>,
    /// Attempts that a fault hits and that are not over: by version, and their line in its ledger.
    faulted: BTreeSet<(VersionId, u64)>,
    /// Attempts that asked an upstream for a model that it does not have, though no fault took it away.
    strangers: u64,
    reopened: Reopened,
}

impl SampleGate {
    /// A gate for a run with this share of the canary, 0 to 1, and with these faults.
    pub fn new(canary_share: f64, faults: &[FaultMeta]) -> Self {
        Self {
            canary_share,
            faults: faults.to_vec(),
            sent_meanwhile: vec![0; faults.len()],
            faulted: BTreeSet::new(),
            strangers: 0,
            reopened: Reopened::default(),
        }
    }

    /// Nobody sees who finds the door of a version shut, but for the router: of another gateway, what counts is that enough
    /// requests came meanwhile for some of them to have been sent there.
    fn kept_out(&self, index: usize, condition: String, end: &End<'_>) -> Check {
        let (fault, sent) = (&self.faults[index], self.sent_meanwhile[index]);
        let seen = format!("nobody sees; {} requests came meanwhile", grouped(sent));
        let check = |status| {
            let check = Check::census(condition, status, seen);
            check.figure(Some(sent as f64), "requests", sent)
        };
        match self.requests_to_hit(fault, end) {
            Some(enough) => check(Status::Pass).needs(sent, enough),
            None => check(Status::Inconclusive),
        }
    }

    /// A fault that is there to be met must have hit somebody.
    fn hit(&self, index: usize, end: &End<'_>) -> Check {
        let fault = &self.faults[index];
        let hits = end.summary.fault_hits.get(index).copied().unwrap_or(0);
        let (number, from) = (index + 1, Human(fault.from.elapsed()));
        let condition = format!("fault {number} ({} from {from}) hits > 0", fault.kind);
        let is_external = end.summary.keys.is_some();
        if fault.keeps_out && is_external && !self.came_too_late(fault, end) {
            return self.kept_out(index, condition, end);
        }
        let check = |seen| {
            let check = Check::census(condition, Status::Pass, seen);
            check.figure(Some(hits as f64), "attempts", hits)
        };
        if hits == 0 && self.came_too_late(fault, end) {
            return check("0: the canary was closed before it began".to_owned());
        }
        let mut check = check(grouped(hits)).needs(hits, 1);
        // Requests at a time when it is on; none bring back a time that the run did not reach.
        if hits == 0 && fault.from < end.summary.end {
            check.more_requests = self.requests_to_hit(fault, end);
        }
        check
    }

    /// Nobody meets a fault on a canary that was closed before, and not opened again.
    fn came_too_late(&self, fault: &FaultMeta, end: &End<'_>) -> bool {
        let until = fault.until.unwrap_or(end.summary.end);
        let is_closed =
            |at: Timestamp| at <= fault.from && !self.reopened.is_between(at, fault.from, until);
        let closed_at = end.summary.rollbacks.first().map(|r| r.decided_at);
        fault.on == [end.canary] && closed_at.is_some_and(is_closed)
    }

    fn requests_to_hit(&self, fault: &FaultMeta, end: &End<'_>) -> Option<u64> {
        let share = |version: &VersionId| match *version == end.canary {
            true => self.canary_share,
            false => 1.0 - self.canary_share,
        };
        let met: f64 = fault.on.iter().map(share).sum();
        draws_to_meet(met * fault.share, MISSED)
    }

    fn sent(&mut self, at: Timestamp, sent: &Sent) {
        let is_on = |fault: &FaultMeta| {
            let until = fault.until.unwrap_or(Timestamp::MAX);
            fault.keeps_out && (fault.from..until).contains(&at)
        };
        for (fault, n) in self.faults.iter().zip(&mut self.sent_meanwhile) {
            *n += u64::from(sent.intent.named().is_none() && is_on(fault));
        }
    }

    fn upstream_ended(&mut self, ended: &UpstreamEnded) {
        let is_hit = self.faulted.remove(&(ended.version, ended.row));
        let is_refused = ended.outcome == Outcome::ModelNotFound;
        self.strangers += u64::from(is_refused && !is_hit);
    }

    /// A version that is asked for another model than it has was never on trial.
    fn models(&self, end: &End<'_>) -> Check {
        let status = match self.strangers {
            0 => Status::Pass,
            _ => Status::Inconclusive,
        };
        let seen = share_of(self.strangers, end.summary.ledger_rows);
        let condition = "attempts for a model that their upstream does not have == 0";
        let check = Check::census(condition, status, seen);
        check.figure(
            Some(self.strangers as f64),
            "attempts",
            end.summary.ledger_rows,
        )
    }

    fn requests(&self, end: &End<'_>) -> [Check; 2] {
        let summary = end.summary;
        let check = |condition: &str, n: u64, more: Option<u64>| {
            let check = Check::census(condition, Status::Pass, grouped(n));
            let mut check = check.figure(Some(n as f64), "requests", n).needs(n, 1);
            check.more_requests = more.filter(|_| n == 0);
            check
        };
        let to_canary = draws_to_meet(self.canary_share, MISSED);
        let at_canary = summary.attempts_at(end.canary);
        [
            check("requests answered > 0", summary.answers.total(), Some(1)),
            check("attempts at the canary > 0", at_canary, to_canary),
        ]
    }
}

impl Gate for SampleGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        self.reopened.event(event.at, &event.what);
        match &event.what {
            What::Sent(sent) => self.sent(event.at, sent),
            What::Accepted(row) if row.fault.is_some() => {
                self.faulted.insert((row.version, row.row));
            }
            What::UpstreamEnded(ended) => self.upstream_ended(ended),
            _ => {}
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = self.requests(end).to_vec();
        // Of another gateway; the built-in one's file says the models itself.
        if end.summary.keys.is_some() {
            checks.push(self.models(end));
        }
        checks.extend((0..self.faults.len()).map(|index| self.hit(index, end)));
        GateResult::of("sample", checks)
    }
}
