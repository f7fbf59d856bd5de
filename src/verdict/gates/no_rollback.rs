//! `no_rollback`: the canary is not rolled back, neither loudly nor in silence.
//!
//! A router that closes its canary without a word keeps no promise either: as long as chance sends
//! requests to the canary, the last of them cannot be long ago. Of a canary of share w, n randomised
//! requests in a row miss it with probability (1 − w)ⁿ; a millionth is no chance. Of another gateway's callers who stay where chance
//! put them, only new ones and those who moved are draws; where all the others miss it for so long as well, nobody can tell: they may
//! stay at stable, or have been moved there.

use crate::id::VersionId;
use crate::observe::chance::Chances;
use crate::observe::event::{RunEvent, What};
use crate::observe::join::{FirstAttempt, Joined};
use crate::observe::orders::ShareInForce;
use crate::stats::proportion::draws_to_meet;
use crate::stats::silence::Silence;
use crate::time::{Human, Timestamp};
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
    chances: Chances,
    /// Requests that chance assigned, and those of them since the last one that met the canary.
    randomised: u64,
    silence: Silence,
    /// The same with all requests of callers who stay, as if nobody did.
    all: u64,
    of_all: Silence,
}

impl NoRollbackGate {
    /// A gate that has seen nothing.
    pub fn new(spec: NoRollbackSpec, canary: VersionId) -> Self {
        Self {
            share: ShareInForce::new(spec.share),
            spec,
            canary,
            met_canary: 0,
            chances: Chances::default(),
            randomised: 0,
            silence: Silence::default(),
            all: 0,
            of_all: Silence::default(),
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
        let condition = format!("the canary is in use to the end (missed by < {telling} in a row)");
        let check = |status, seen: &str, (silence, n): (Silence, u64)| {
            let missed = silence.length();
            let seen = format!("the last {} {seen}", grouped(missed));
            Check::census(condition, status, seen).figure(Some(missed as f64), "requests", n)
        };
        let draws = (self.silence, self.randomised);
        if self.silence.is_beyond(SILENCE) && self.randomised >= telling {
            return Some(check(Status::Fail, "randomised requests missed it", draws));
        }
        if self.of_all.is_beyond(SILENCE) {
            let seen = "requests missed it: those callers stay where they are, or were moved";
            return Some(check(Status::Inconclusive, seen, (self.of_all, self.all)));
        }
        (self.randomised >= telling)
            .then(|| check(Status::Pass, "randomised requests missed it", draws))
    }

    /// A request came to a version first.
    fn came(&mut self, at: Timestamp, first: &FirstAttempt) {
        let stays = matches!(first.sent.map(|sent| sent.intent), Some(Intent::Sticky(_)));
        if !first.is_randomised() || (stays && !self.spec.in_ledgers) {
            return;
        }
        let is_new = self.chances.is_new(first);
        self.randomised += u64::from(is_new);
        self.all += 1;
        if first.version == self.canary {
            self.silence.met(at);
            self.of_all.met(at);
            return;
        }
        let share = self.share.least_for(first);
        self.of_all.missed(share);
        if is_new {
            self.silence.missed(share);
        }
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
        self.came(event.at, &first);
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
