//! `rollback`: the canary was closed once, for the right reason, in time, and with little harm.
//! `no_rollback`: it was not.

use std::time::Duration;

use crate::id::VersionId;
use crate::observe::chance::Chances;
use crate::observe::event::{Finding, RollbackFacts, RunEvent, What};
use crate::observe::harm::is_user_error;
use crate::observe::join::Joined;
use crate::observe::orders::ShareInForce;
use crate::observe::story::{Attempt, Story};
use crate::stats::compare::Comparison;
use crate::stats::proportion::draws_to_meet;
use crate::stats::silence::Silence;
use crate::time::{Human, Timestamp};
use crate::traffic::caller::Intent;
use crate::verdict::gates::{End, Gate, MISSED, SILENCE, SUSPECT, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::RollbackSpec;

/// The `rollback` gate at work.
pub struct RollbackGate {
    spec: RollbackSpec,
    canary: VersionId,
    met_canary: u64,
    users: u64,
    user_errors: u64,
    failed: Offenders,
    /// Requests that the router says it gave to the canary.
    given: u64,
    /// Does it say anything at all? Else those count that came to the canary first.
    is_told: bool,
    arrived: u64,
    /// The same when the first rollback was told.
    given_until: Option<u64>,
    /// What ledgers alone tell of the canary, where the router says nothing.
    heard: Option<Heard>,
}

/// What the upstreams' ledgers tell of the canary.
struct Heard {
    share: ShareInForce,
    chances: Chances,
    /// How long the canary had got nothing when the trouble began, and how long it has now.
    before: Silence,
    silence: Silence,
    /// The last arrival before a silence that may have been a closed canary's, until an order may have opened it again.
    cut: Option<Timestamp>,
    /// And before one that chance does not explain.
    shown: Option<Timestamp>,
    /// Do callers stay where chance once put them? Then only new ones tell.
    is_sticky: bool,
}

impl Heard {
    fn new(share: f64) -> Self {
        Self {
            share: ShareInForce::new(share),
            chances: Chances::default(),
            before: Silence::default(),
            silence: Silence::default(),
            cut: None,
            shown: None,
            is_sticky: false,
        }
    }

    fn event(
        &mut self,
        event: &RunEvent,
        joined: &Joined,
        (canary, since): (VersionId, Timestamp),
    ) {
        let opens = matches!(&event.what, What::Ordered(order) if order.kind.share() > Some(0.0));
        // What was opened again before the trouble began tells nothing of it.
        if opens && event.at >= since {
            self.cut = self.cut.or(self.suspected());
            self.shown = self.shown.or(self.closed());
        }
        self.share.event(event.at, &event.what);
        let chance = joined.first.filter(|first| self.chances.is_new(first));
        let intent = joined
            .first
            .and_then(|first| first.sent)
            .map(|sent| sent.intent);
        self.is_sticky |= matches!(intent, Some(Intent::Sticky(_)));
        match (&event.what, chance) {
            (What::Accepted(row), _) if row.version == canary => self.silence.met(event.at),
            (_, Some(first)) => self.silence.missed(self.share.least_for(&first)),
            _ => return,
        }
        if event.at < since {
            self.before = self.silence;
        }
    }

    /// The last arrival, if so much has missed the canary since then that it is closed.
    fn closed(&self) -> Option<Timestamp> {
        let is_beyond_chance = self.silence.is_beyond(MISSED);
        self.silence.since().filter(|_| is_beyond_chance)
    }

    /// Did something come to the canary between this rollback and the trouble? Then it is an earlier one, and was undone.
    fn is_undone(&self, record: &RollbackFacts) -> bool {
        record.is_inferred() && self.before.since() > Some(record.decided_at)
    }

    /// The last arrival, if so much has missed the canary since then that it is probably closed.
    fn suspected(&self) -> Option<Timestamp> {
        let is_rare = self.silence.is_beyond(SUSPECT);
        self.silence.since().filter(|_| is_rare)
    }

    /// How many more requests would tell whether the canary is closed; none where no number of them does, but other callers would.
    fn more(&self) -> Option<u64> {
        if self.is_sticky {
            return None;
        }
        let telling = draws_to_meet(self.share.least(), MISSED)?;
        Some(telling.saturating_sub(self.silence.length()).max(1))
    }
}

impl RollbackGate {
    /// A gate that has seen nothing.
    pub fn new(spec: RollbackSpec, canary: VersionId) -> Self {
        Self {
            heard: spec.in_ledgers.map(Heard::new),
            spec,
            canary,
            met_canary: 0,
            users: 0,
            user_errors: 0,
            failed: Offenders::default(),
            given: 0,
            is_told: false,
            arrived: 0,
            given_until: None,
        }
    }

    fn fired(&self, end: &End<'_>) -> Check {
        let condition = "the canary is rolled back once";
        let rollbacks = self.rollbacks(end);
        match rollbacks.as_slice() {
            [] => self.not_fired(condition, end),
            [only] if only.from != self.canary => {
                Check::census(condition, Status::Fail, "another version was rolled back")
            }
            [only] if self.is_early(only) => {
                let early = Human(self.spec.since.since(only.decided_at));
                let seen = format!("rolled back {early} before anything was wrong");
                Check::census(condition, Status::Fail, seen)
            }
            [only] => {
                let at = Human(only.decided_at.elapsed());
                Check::census(condition, Status::Pass, format!("rolled back at {at}"))
            }
            several => {
                let seen = format!("rolled back {} times", several.len());
                Check::census(condition, Status::Fail, seen)
            }
        }
        .figure(Some(rollbacks.len() as f64), "rollbacks", self.met_canary)
    }

    /// Those that are asked about. Ledgers tell of the first alone: where that was undone before the trouble, it is another that counts.
    fn rollbacks(&self, end: &End<'_>) -> Vec<RollbackFacts> {
        let told = &end.summary.rollbacks;
        match (told.as_slice(), &self.heard) {
            ([first], Some(heard)) if heard.is_undone(first) => {
                let decided_at = heard.shown.or(heard.closed());
                let later = decided_at.map(|decided_at| RollbackFacts {
                    decided_at,
                    ..first.clone()
                });
                later.into_iter().collect()
            }
            _ => told.clone(),
        }
    }

    /// Was it before anything was wrong? A last arrival before that is the time of a rollback only if chance does not
    /// explain that nothing more came until then.
    fn is_early(&self, record: &RollbackFacts) -> bool {
        let is_beyond_chance = match &self.heard {
            Some(heard) => heard.before.is_beyond(SILENCE),
            None => true,
        };
        record.decided_at < self.spec.since && is_beyond_chance
    }

    /// A canary that got something in time, and since then nothing, may have been closed: nobody can tell yet.
    fn may_be_closed(&self) -> Option<Option<u64>> {
        let heard = self.heard.as_ref()?;
        let Some(within) = self.spec.within else {
            // Any last arrival is in time: only a silence that chance hardly makes tells anything.
            return heard.cut.or(heard.suspected()).map(|_| heard.more());
        };
        let deadline = self.spec.since + within;
        let last_at = [heard.silence.since(), heard.cut];
        let mut in_time = last_at.into_iter().flatten().filter(|at| *at <= deadline);
        in_time.next().map(|_| heard.more())
    }

    fn of_callers(&self) -> &'static str {
        match &self.heard {
            Some(heard) if heard.is_sticky => {
                ": callers stay where they are, and too few moved or came anew"
            }
            _ => "",
        }
    }

    /// No rollback is a failure only if there was something to see and time to act.
    fn not_fired(&self, condition: &str, end: &End<'_>) -> Check {
        let lasted = end.summary.end.since(self.spec.since);
        let within = self.spec.within.unwrap_or_default();
        let had_time = lasted >= within;
        let unheard = self
            .may_be_closed()
            .filter(|_| had_time && self.met_canary > 0);
        let (status, seen) = match (self.met_canary, had_time) {
            (0, _) => (
                Status::Inconclusive,
                "no rollback, but no request met the canary after the trouble began".to_owned(),
            ),
            (_, false) => {
                let lasted = Human(lasted);
                let seen =
                    format!("no rollback, but the run ended {lasted} after the trouble began");
                (Status::Inconclusive, seen)
            }
            (_, true) if unheard.is_some() => (
                Status::Inconclusive,
                format!(
                    "no rollback that can be told from chance when the run ended{}",
                    self.of_callers()
                ),
            ),
            (met, true) => {
                let met = grouped(met);
                (
                    Status::Fail,
                    format!("no rollback; {met} requests met the canary"),
                )
            }
        };
        let mut check = Check::census(condition, status, seen);
        check.more_requests = unheard.flatten();
        if self.met_canary > 0 && !had_time {
            // What would come in the time that was missing, at the rate there was.
            let missing = within.saturating_sub(lasted).as_secs_f64();
            let more = end.summary.rate().map(|rate| (rate * missing).ceil());
            check.more_requests = more.map(|more| more as u64);
        }
        check
    }

    fn reason(&self, wanted: &str, end: &End<'_>) -> Option<Check> {
        let rollbacks = self.rollbacks(end);
        let record = rollbacks.first()?;
        let status = pass_if(record.cause == wanted);
        let check = Check::census(format!("reason {wanted}"), status, record.because());
        Some(match &record.reason {
            Some(finding) => check.figure(finding.value, unit(finding), finding.samples),
            // Nobody measured anything: somebody, or the end of the waiting, decided.
            None => check.figure(Some(f64::from(status == Status::Pass)), "rollbacks", 1),
        })
    }

    /// The record is what people will read afterwards: it must fit itself and the run.
    fn record(&self, end: &End<'_>) -> Option<Check> {
        let record = end.summary.rollbacks.first().filter(|r| !r.is_inferred())?;
        let own = [
            (record.id.is_empty(), "it has no id"),
            (record.to == record.from, "it leads nowhere"),
            (
                self.given_until != Some(record.affected_requests),
                "it counts other requests than were given to the canary",
            ),
        ];
        let reasons = record
            .reason
            .as_ref()
            .map(|reason| flaws_of(reason, record.from));
        let found: Vec<&str> = own
            .iter()
            .chain(reasons.iter().flatten())
            .filter(|(is, _)| *is)
            .map(|(_, f)| *f)
            .collect();
        let (status, seen) = match found.as_slice() {
            [] => (Status::Pass, record.id.clone()),
            found => (Status::Fail, found.join("; ")),
        };
        let check = Check::census("its record fits the run", status, seen);
        Some(check.figure(Some(found.len() as f64), "flaws", 1))
    }

    fn in_time(&self, within: Duration, end: &End<'_>) -> Option<Check> {
        let rollbacks = self.rollbacks(end);
        let record = rollbacks.first()?;
        let took = record.decided_at.since(self.spec.since);
        let status = pass_if(took <= within && !self.is_early(record));
        let early = self.spec.since.since(record.decided_at);
        let seen = match early > Duration::ZERO && self.is_early(record) {
            true => format!("decided {} before the trouble began", Human(early)),
            false => format!("decided {} after the trouble began", Human(took)),
        };
        let condition = format!("within {}", Human(within));
        let check = Check::census(condition, status, seen);
        Some(check.figure(Some(took.as_secs_f64()), "s", 1))
    }
}

impl Gate for RollbackGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        let first = joined.first.map(|first| first.version);
        self.arrived += u64::from(first == Some(self.canary));
        if let Some(heard) = &mut self.heard {
            heard.event(event, joined, (self.canary, self.spec.since));
        }
        match &event.what {
            What::Assigned { version, .. } => {
                self.is_told = true;
                self.given += u64::from(*version == self.canary);
            }
            What::RolledBack(_) if self.given_until.is_none() => {
                self.given_until = Some(match self.is_told {
                    true => self.given,
                    false => self.arrived,
                });
            }
            _ => {}
        }
    }

    fn story(&mut self, story: &Story, so_far: &SoFar) {
        // A request that reached no upstream at all may have been the canary's: nobody can tell.
        let is_lost = !story.attempts.iter().any(Attempt::was_accepted);
        if !story.touched(self.canary) && !is_lost {
            return;
        }
        let is_undone = |r: &RollbackFacts| self.heard.as_ref().is_some_and(|h| h.is_undone(r));
        let told = so_far.rollback.as_ref().filter(|r| !is_undone(r));
        let until = told.map_or(Timestamp::MAX, |r| r.decided_at);
        let during = self.spec.since..=until;
        self.met_canary += u64::from(story.met(self.canary, during));
        let is_since = story.scheduled_at().is_some_and(|at| at >= self.spec.since);
        self.users += u64::from(is_since);
        if is_since && story.outcome().is_some_and(is_user_error) {
            self.user_errors += 1;
            self.failed.note(story.key);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![self.fired(end)];
        checks.extend(self.record(end));
        let reason = self.spec.reason.as_deref();
        checks.extend(reason.and_then(|wanted| self.reason(wanted, end)));
        checks.extend(
            self.spec
                .within
                .and_then(|within| self.in_time(within, end)),
        );
        if let Some(limit) = self.spec.canary_requests {
            let name = "canary_requests";
            checks.push(counted(name, limit, self.met_canary, self.met_canary));
        }
        if let Some(limit) = self.spec.user_errors {
            let check = counted("user_errors", limit, self.user_errors, self.users);
            checks.push(check.offenders(self.failed.keys()));
        }
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("rollback", checks)
    }
}

/// A limit on a number of requests, of those that met the canary. Without any there was nothing to
/// count.
fn counted(name: &str, limit: Comparison<u64>, x: u64, n: u64) -> Check {
    let status = pass_if(limit.holds(x));
    let seen = format!("{} requests", grouped(x));
    Check::census(format!("{name} {limit}"), status, seen)
        .figure(Some(x as f64), "requests", n)
        .needs(n, 1)
}

/// What is wrong with the evidence that a rollback of `from` rests on.
fn flaws_of(reason: &Finding, from: VersionId) -> [(bool, &'static str); 4] {
    let crossed = match (reason.measure, reason.value) {
        (_, None) => false,
        ("success_rate", Some(value)) => value < reason.bound,
        (_, Some(value)) => value > reason.bound,
    };
    [
        (reason.version != from, "its reason is another version's"),
        (!reason.violated || !crossed, "its reason crosses no bound"),
        (
            reason.action != "rollback",
            "its reason asks for no rollback",
        ),
        (
            reason.samples < reason.min_samples,
            "its reason rests on too little",
        ),
    ]
}

/// Of what a judge's figure is.
fn unit(finding: &Finding) -> &'static str {
    match finding.measure {
        "error_rate" | "success_rate" => "share",
        "p99" => "s",
        _ => "ln E",
    }
}

fn pass_if(holds: bool) -> Status {
    if holds { Status::Pass } else { Status::Fail }
}
