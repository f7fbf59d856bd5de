//! The second pass through a log: it is told as if it happened, in the events of a run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::audit::bench::{Bench, Ended};
use crate::audit::survey::{Step, Survey};
use crate::audit::{Terms, share_at};
use crate::id::{IdMap, PerVersion, RequestId, RequestKey, VersionId};
use crate::observe::audit::{Again, Arm, AuditFindings, ClosedInLog};
use crate::observe::event::{
    Accepted, Answered, Claim, Finding, Origin, RollbackFacts, RunEvent, Sent, Sink, StandingFacts,
    Streamed, UpstreamEnded, What,
};
use crate::protocol::drift::Drift;
use crate::protocol::outcome::{Judgement, Outcome};
use crate::router::config::JudgeConfig;
use crate::router::judge::sequential;
use crate::time::Timestamp;
use crate::traffic::caller::Intent;

/// A log that is being told.
pub struct Telling<'a> {
    terms: &'a Terms,
    survey: &'a Survey,
    sink: &'a mut dyn Sink,
    benches: [Bench; 2],
    arms: PerVersion<Arm>,
    again: Again,
    closed: Option<ClosedInLog>,
    is_closing_told: bool,
    /// Was the canary's end told?
    is_rolled_back: bool,
    /// How many of the weights are in force.
    weighed: usize,
    /// Attempts under way, by their ends, then as they began.
    ends: BinaryHeap<Reverse<(Timestamp, u64)>>,
    under_way: IdMap<u64, Attempt>,
    open: IdMap<RequestKey, Open>,
    /// Lines so far, and those of each version.
    rows: u64,
    rows_at: PerVersion<u64>,
    /// Requests whose first attempt went to the canary.
    given: u64,
    callers: BTreeMap<u64, u32>,
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    step: Step,
    row: u64,
    ordinal: u32,
    is_last: bool,
}

/// A request that is not over.
#[derive(Clone, Debug)]
struct Open {
    met_canary: Option<Timestamp>,
    latest: Option<VersionId>,
    tries: PerVersion<u32>,
}

/// What happens next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A weight comes into force.
    Weight,
    /// An attempt ends.
    End,
    /// It is clear that the canary is closed.
    Closed,
    /// A judge looks.
    Look(usize),
}

impl<'a> Telling<'a> {
    /// The telling of a log that was looked through.
    pub fn new(terms: &'a Terms, survey: &'a Survey, sink: &'a mut dyn Sink) -> Self {
        let versions = terms.router.versions.len();
        Self {
            survey,
            sink,
            benches: Bench::both(terms),
            arms: PerVersion::from_fn(versions, |_| Arm::default()),
            again: Again::default(),
            closed: survey.closed(),
            is_closing_told: false,
            is_rolled_back: false,
            weighed: 0,
            ends: BinaryHeap::new(),
            under_way: IdMap::default(),
            open: IdMap::default(),
            rows: 0,
            rows_at: PerVersion::from_fn(versions, |_| 0),
            given: 0,
            callers: BTreeMap::new(),
            terms,
        }
    }

    /// Takes the next attempt.
    pub fn take(&mut self, step: &Step) {
        self.happen_until(step.at);
        let key = RequestKey(step.request);
        if step.n == 0 {
            self.begin(key, step);
        }
        self.attempt(key, step);
    }

    /// The log is over: what is under way comes to its end.
    ///
    /// `overlapping` attempts began before a failed one of their trace was over; `others` are named besides the versions.
    pub fn finish(mut self, overlapping: u64, others: Vec<(String, u64)>) -> AuditFindings {
        self.happen_until(self.survey.end);
        AuditFindings {
            judges: self.benches.into_iter().map(Bench::finish).collect(),
            closed: self.closed,
            arms: self.arms,
            again: Again {
                overlapping,
                ..self.again
            },
            others,
        }
    }

    fn tell(&mut self, at: Timestamp, what: What) {
        self.sink.event(&RunEvent { at, what });
    }

    /// Everything that happens by itself up to and including this time, but for looks at this very moment: what comes in
    /// then comes before them.
    fn happen_until(&mut self, until: Timestamp) {
        let is_due = |(at, next): &(Timestamp, Next)| match next {
            Next::Look(_) => *at < until,
            Next::Weight | Next::End | Next::Closed => *at <= until,
        };
        while let Some((at, next)) = self.next().filter(is_due) {
            match next {
                Next::Weight => self.weigh(at),
                Next::End => self.end(at),
                Next::Look(judge) => {
                    self.benches[judge].handle_timeout(at);
                    self.hear_judges(at);
                }
                Next::Closed => self.close(at),
            }
        }
    }

    fn next(&self) -> Option<(Timestamp, Next)> {
        let weight = self.terms.weights.get(self.weighed);
        let weight = weight.map(|weight| (Timestamp::from(weight.at), Next::Weight));
        let end = self.ends.peek().map(|Reverse((at, _))| (*at, Next::End));
        let look = |judge: usize| Some((self.benches[judge].next_timeout()?, Next::Look(judge)));
        let closed = self.closed.filter(|_| !self.is_closing_told);
        let closed = closed.map(|closed| (closed.over_at, Next::Closed));
        let all = [weight, end, look(0), look(1), closed];
        all.into_iter().flatten().min()
    }

    fn weigh(&mut self, at: Timestamp) {
        let weights = &self.terms.weights;
        let share = weights[self.weighed].share;
        let until = weights.get(self.weighed + 1).map(|next| next.at);
        let horizon = JudgeConfig::Sequential(self.terms.sequential.clone()).horizon();
        let step = sequential::Step {
            index: self.weighed,
            canary_share: share,
            planned_hold: until.map_or(horizon, |until| until.saturating_sub(at.elapsed())),
            has_control: share < 1.0,
        };
        self.benches.iter_mut().for_each(|b| b.weigh(at, step));
        self.weighed += 1;
        self.stand(at, share, "recorded");
    }

    fn stand(&mut self, at: Timestamp, share: f64, cause: &'static str) {
        let standing = StandingFacts {
            revision: self.weighed as u64,
            phase: "recorded",
            step: None,
            share,
            cause,
            closed: Vec::new(),
        };
        self.tell(at, What::Standing(standing));
    }

    fn begin(&mut self, key: RequestKey, step: &Step) {
        let tried = &step.tried;
        let versions = self.terms.router.versions.len();
        let (intent, caller) = self.intent(step);
        self.open.insert(
            key,
            Open {
                met_canary: None,
                latest: None,
                tries: PerVersion::from_fn(versions, |_| 0),
            },
        );
        self.given += u64::from(tried.version == self.terms.router.canary);
        self.tell(
            step.at,
            What::Sent(Sent {
                key,
                scheduled_at: step.at,
                intent,
                caller,
                input_tokens: tried.input_tokens.unwrap_or_default(),
                stream: tried.is_stream,
            }),
        );
        if tried.by_chance {
            let caller = tried.user.filter(|_| matches!(intent, Intent::Sticky(_)));
            for bench in &mut self.benches {
                bench.assigned(step.at, RequestId(step.request), caller, tried.version);
            }
        }
    }

    /// Who decided where the request goes, and the number of who sent it where that matters.
    fn intent(&mut self, step: &Step) -> (Intent, u32) {
        if !step.tried.by_chance {
            return (Intent::Pinned(step.tried.version), 0);
        }
        let is_sticky = self.terms.router.split.sticky.is_some();
        let Some(user) = step.tried.user.filter(|_| is_sticky) else {
            return (Intent::Random, 0);
        };
        let next = self.callers.len() as u32;
        let caller = *self.callers.entry(user).or_insert(next);
        (Intent::Sticky(caller), caller)
    }

    fn attempt(&mut self, key: RequestKey, step: &Step) {
        let version = step.tried.version;
        let Some(open) = self.open.get_mut(key) else {
            return;
        };
        let before = open.latest.replace(version);
        self.again
            .note(step.n, before, version, self.terms.router.stable);
        let ordinal = open.tries[version];
        open.tries[version] += 1;
        if version == self.terms.router.canary {
            open.met_canary.get_or_insert(step.at);
        }
        let row = self.rows_at[version];
        self.rows_at[version] += 1;
        self.tell(
            step.at,
            What::Accepted(Accepted {
                row,
                key: Some(key),
                version,
                ordinal,
                n: None,
                fault: None,
                retry_after: None,
                altered: None,
                is_told: None,
            }),
        );
        let is_followed = step.failure.is_some_and(|n| self.survey.followed.get(n));
        let attempt = Attempt {
            step: *step,
            row,
            ordinal,
            is_last: !is_followed,
        };
        self.under_way.insert(self.rows, attempt);
        self.ends
            .push(Reverse((step.at + step.tried.took, self.rows)));
        self.rows += 1;
    }

    fn end(&mut self, at: Timestamp) {
        let Some(Reverse((_, number))) = self.ends.pop() else {
            return;
        };
        let Some(attempt) = self.under_way.remove(number) else {
            return;
        };
        let (step, tried) = (attempt.step, attempt.step.tried);
        let key = RequestKey(step.request);
        self.tell(
            at,
            What::UpstreamEnded(UpstreamEnded {
                row: attempt.row,
                key: Some(key),
                version: tried.version,
                ordinal: attempt.ordinal,
                outcome: tried.end,
                usage: tried.usage,
                cost: tried.cost,
                drift: Drift::NONE,
            }),
        );
        let is_unit = step.n == 0 && tried.by_chance;
        if is_unit {
            self.compare(&attempt);
        }
        let ended = Ended {
            request: RequestId(step.request),
            is_unit,
            version: tried.version,
            outcome: tried.end,
            took: tried.took,
        };
        self.benches.iter_mut().for_each(|b| b.ended(at, &ended));
        self.hear_judges(at);
        if attempt.is_last {
            self.answer(at, key, &attempt);
        }
    }

    fn compare(&mut self, attempt: &Attempt) {
        let tried = attempt.step.tried;
        let arm = &mut self.arms[tried.version];
        match tried.end.judgement() {
            Judgement::Good => {
                arm.judged += 1;
                arm.latency.record(tried.took);
            }
            Judgement::Bad => {
                arm.judged += 1;
                arm.failed += 1;
            }
            Judgement::Excluded => {}
        }
    }

    fn answer(&mut self, at: Timestamp, key: RequestKey, attempt: &Attempt) {
        let tried = attempt.step.tried;
        let Some(open) = self.open.remove(key) else {
            return;
        };
        let is_error = !tried.end.is_success() && tried.end != Outcome::ClientGone;
        if let Some(met_at) = open.met_canary {
            let benches = self.benches.iter_mut();
            benches.for_each(|bench| bench.met_canary(met_at, is_error));
        }
        self.tell(
            at,
            What::Answered(Answered {
                key,
                outcome: tried.end,
                claim: Claim::default(),
                usage: tried.usage,
                origin: Origin::default(),
                drift: Drift::NONE,
                streamed: streamed(attempt, at),
            }),
        );
    }

    /// What the judges found. The decision of the one that is configured takes the router's place.
    fn hear_judges(&mut self, at: Timestamp) {
        let news: Vec<What> = self.benches.iter_mut().flat_map(Bench::take_news).collect();
        news.into_iter().for_each(|what| self.tell(at, what));
        let mut deciding = self.benches.iter().filter(|b| b.decides());
        let decided = deciding.find_map(Bench::decided).cloned();
        if let Some(decided) = decided.filter(|_| !self.is_rolled_back) {
            let cause = decided.because.measure;
            self.roll_back(at, (at, cause), Some(decided.because));
            if self.closed.is_none() {
                // Nobody heard of it: the log's own split goes on.
                let share = share_at(&self.terms.weights, at.elapsed());
                self.stand(at, share, "recorded");
            }
        }
    }

    /// Nobody who judges here closed the canary, but the log shows that it was.
    fn close(&mut self, at: Timestamp) {
        self.is_closing_told = true;
        if self.is_rolled_back {
            self.stand(at, 0.0, "closed_in_log");
        } else if let Some(closed) = self.closed {
            self.roll_back(at, (closed.last_at, "closed_in_log"), None);
        }
    }

    fn roll_back(
        &mut self,
        at: Timestamp,
        (decided_at, cause): (Timestamp, &'static str),
        reason: Option<Finding>,
    ) {
        self.is_rolled_back = true;
        let router = &self.terms.router;
        let facts = RollbackFacts {
            id: "audit".to_owned(),
            from: router.canary,
            to: router.stable,
            decided_at,
            cause,
            words: None,
            reason,
            step: None,
            affected_requests: self.given,
        };
        self.tell(at, What::RolledBack(facts));
    }
}

/// What a log tells of a stream: when its first token came.
fn streamed(attempt: &Attempt, at: Timestamp) -> Option<Streamed> {
    let tried = attempt.step.tried;
    let first = tried.first_token.filter(|_| tried.is_stream)?;
    let tokens = tried.usage.map(|usage| usage.completion_tokens);
    Some(Streamed {
        first_token: (attempt.step.at + first).min(at),
        last_token: at,
        tokens: tokens.unwrap_or_default(),
        is_estimated: false,
        chunks: 0,
        longest_gap: std::time::Duration::ZERO,
        content: None,
        is_spliced: false,
        is_done_after_failure: false,
    })
}
