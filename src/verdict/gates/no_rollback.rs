//! `no_rollback`: the canary is not rolled back, neither loudly nor in silence.
//!
//! A router that closes its canary without a word keeps no promise either: as long as chance sends
//! requests to the canary, the last of them cannot be long ago. Of a canary of share w, n randomised
//! requests in a row miss it with probability (1 − w)ⁿ; a millionth is no chance.

use crate::id::VersionId;
use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::orders::ShareInForce;
use crate::stats::proportion::draws_to_meet;
use crate::stats::silence::Silence;
use crate::time::Human;
use crate::traffic::caller::Intent;
use crate::verdict::gates::{End, Gate, SILENCE};
use crate::verdict::result::{Check, GateResult, Status, grouped, weaken};
use crate::verdict::spec::NoRollbackSpec;

/// The `no_rollback` gate at work.
pub struct NoRollbackGate {
    spec: NoRollbackSpec,
    canary: VersionId,
    met_canary: u64,
    share: ShareInForce,
    /// Requests that chance assigned, and those of them since the last one that met the canary.
    randomised: u64,
    silence: Silence,
}

impl NoRollbackGate {
    /// A gate that has seen nothing.
    pub fn new(spec: NoRollbackSpec, canary: VersionId) -> Self {
        Self {
            share: ShareInForce::new(spec.share),
            spec,
            canary,
            met_canary: 0,
            randomised: 0,
            silence: Silence::default(),
        }
    }

    fn announced(&self, end: &End<'_>) -> Check {
        let rollbacks = &end.summary.rollbacks;
        let (status, seen) = match rollbacks.first() {
            Some(rollback) => {
                let at = Human(rollback.decided_at.elapsed());
                let why = rollback.cause;
                (Status::Fail, format!("rolled back at {at} for {why}"))
            }
            None => {
                let met = grouped(self.met_canary);
                let seen = format!("no rollback; {met} requests met the canary");
                (Status::Pass, seen)
            }
        };
        Check::census("the canary is not rolled back", status, seen)
            .figure(Some(rollbacks.len() as f64), "rollbacks", self.met_canary)
            .needs(self.met_canary, self.spec.min_n)
    }

    /// Orders of which nobody knows which is in force leave it open whether anything should come to the canary.
    fn nobody_knows(&self) -> Check {
        let condition = "the canary is in use to the end";
        let seen = "by the orders, its share may be 0";
        Check::census(condition, Status::Inconclusive, seen).figure(
            Some(self.silence.length() as f64),
            "requests",
            self.randomised,
        )
    }

    /// Only where chance has sent enough requests for a silence to be heard.
    fn in_use(&self) -> Option<Check> {
        if self.share.may_be_nothing() {
            return Some(self.nobody_knows());
        }
        let telling = draws_to_meet(self.share.least(), SILENCE)?;
        if self.randomised < telling {
            return None;
        }
        let status = match self.silence.is_beyond(SILENCE) {
            false => Status::Pass,
            true => Status::Fail,
        };
        let missed = grouped(self.silence.length());
        let seen = format!("the last {missed} randomised requests missed it");
        let condition = format!("the canary is in use to the end (missed by < {telling} in a row)");
        let check = Check::census(condition, status, seen);
        Some(check.figure(
            Some(self.silence.length() as f64),
            "requests",
            self.randomised,
        ))
    }
}

impl Gate for NoRollbackGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        self.share.event(event.at, &event.what);
        let Some(first) = joined.first else {
            return;
        };
        let is_row = matches!(&event.what, What::Accepted(row) if row.version == self.canary);
        self.met_canary += u64::from(is_row);
        if first.sent.is_some_and(|sent| sent.intent == Intent::Random) {
            self.randomised += 1;
            match is_row {
                true => self.silence.met(event.at),
                false => self.silence.missed(self.share.least()),
            }
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![self.announced(end)];
        checks.extend(self.in_use());
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("no_rollback", checks)
    }
}
