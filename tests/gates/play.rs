//! Tells the gates a made-up run, request by request.

use std::time::Duration;

use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::{
    Accepted, Answered, AttemptKind, Booked, Claim, Finding, Gap, Gaps, Origin, RollbackFacts,
    RunEvent, Sent, Settled, Streamed, UpstreamEnded, What,
};
use graygate::observe::join::Join;
use graygate::observe::meta::{Ending, FaultMeta};
use graygate::observe::summary::Summary;
use graygate::pricing::Price;
use graygate::protocol::drift::Drift;
use graygate::protocol::openai::Usage;
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op, Share};
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::evaluate::Evaluator;
use graygate::verdict::result::{GateResult, Status, Verdict};
use graygate::verdict::spec::GateSpec;

pub(crate) const STABLE: VersionId = VersionId(0);
pub(crate) const CANARY: VersionId = VersionId(1);

/// One attempt of a made-up request.
#[derive(Clone, Copy)]
pub(crate) struct To {
    pub(crate) version: VersionId,
    pub(crate) outcome: Outcome,
    /// What the router books, where it lies.
    pub(crate) booked: Option<(VersionId, Outcome)>,
    pub(crate) altered: bool,
    /// Does its upstream take it?
    pub(crate) arrives: bool,
    /// Does the driver stop it?
    pub(crate) cancelled: bool,
    /// The tokens that its upstream spends on it.
    pub(crate) usage: Option<Usage>,
    /// How its answer differs from the OpenAI shape: as its upstream sends it, as the router counts it,
    /// and as the caller gets it.
    pub(crate) drift: [Drift; 3],
}

pub(crate) fn to(version: VersionId, outcome: Outcome) -> To {
    To {
        version,
        outcome,
        booked: None,
        altered: false,
        arrives: true,
        cancelled: false,
        usage: None,
        drift: [Drift::NONE; 3],
    }
}

/// How the tokens of a made-up stream come.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// From the scheduled moment to the first.
    pub(crate) first: Duration,
    /// Those after it.
    pub(crate) gaps: Vec<Gap>,
    /// What its content amounts to.
    pub(crate) content: Option<u32>,
    pub(crate) is_spliced: bool,
    pub(crate) is_done_after_failure: bool,
}

impl Tokens {
    /// The first after so long, and so many more, each so long after the one before.
    pub(crate) fn new(first_ms: u64, more: u32, each_ms: u64) -> Self {
        let each = Duration::from_millis(each_ms);
        Self {
            first: Duration::from_millis(first_ms),
            gaps: vec![Gap { each, tokens: more }],
            content: Some(more + 1),
            is_spliced: false,
            is_done_after_failure: false,
        }
    }

    fn streamed(&self, scheduled_at: Timestamp) -> Streamed {
        let first_token = scheduled_at + self.first;
        let time: Duration = self.gaps.iter().map(|gap| gap.each * gap.tokens).sum();
        let more: u32 = self.gaps.iter().map(|gap| gap.tokens).sum();
        Streamed {
            first_token,
            last_token: first_token + time,
            tokens: more + 1,
            is_estimated: false,
            chunks: more + 1,
            longest_gap: self.gaps.iter().map(|g| g.each).max().unwrap_or_default(),
            content: self.content,
            is_spliced: self.is_spliced,
            is_done_after_failure: self.is_done_after_failure,
        }
    }
}

/// A made-up run.
pub(crate) struct Play {
    join: Join,
    summary: Summary,
    evaluator: Evaluator,
    next: u64,
    given_to_canary: u64,
    pub(crate) intent: Intent,
    pub(crate) latency: Duration,
    /// What `x-version` says, where it lies.
    pub(crate) claim: Option<VersionId>,
    /// What the answer itself says, where it lies.
    pub(crate) origin: Option<Origin>,
    /// The fault that hits every attempt.
    pub(crate) fault: Option<u16>,
    /// The wait that every answer asks for.
    pub(crate) retry_after: Option<Duration>,
    /// What becomes of everything that is told.
    pub(crate) lie: fn(What) -> Vec<What>,
    /// Who sends.
    pub(crate) caller: u32,
    pub(crate) delay: Duration,
    /// How the tokens of every answer come; none when no stream is asked for.
    pub(crate) tokens: Option<Tokens>,
}

impl Play {
    pub(crate) fn new(gates: &[GateSpec]) -> Self {
        Self::with_faults(gates, &[])
    }

    /// A run whose versions have these prices.
    pub(crate) fn priced(gates: &[GateSpec], prices: [Option<Price>; 2]) -> Self {
        let mut play = Self::new(gates);
        play.summary = play.summary.with_prices(&prices.into_iter().collect());
        play
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn with_faults(gates: &[GateSpec], faults: &[FaultMeta]) -> Self {
        Self {
            join: Join::default(),
            summary: Summary::new(2, faults.len()),
            evaluator: Evaluator::new(gates, (CANARY, 0.1), faults),
            next: 0,
            given_to_canary: 0,
            intent: Intent::Random,
            latency: Duration::from_millis(50),
            claim: None,
            origin: None,
            fault: None,
            retry_after: None,
            lie: |what| vec![what],
            caller: 0,
            delay: Duration::ZERO,
            tokens: None,
        }
    }

    pub(crate) fn event(&mut self, at: Timestamp, what: What) {
        for what in (self.lie)(what) {
            self.tell(at, what);
        }
    }

    fn tell(&mut self, at: Timestamp, what: What) {
        let event = RunEvent { at, what };
        let joined = self.join.event(&event);
        self.summary.event(&event, &joined);
        self.evaluator.event(&event, &joined);
    }

    /// A request at `second`, with these attempts; it ends like the last of them.
    pub(crate) fn request(&mut self, second: f64, attempts: &[To]) -> RequestKey {
        let told = attempts.last().map_or(Outcome::Connect, |a| a.outcome);
        self.request_told(second, attempts, told)
    }

    /// The same, and the caller is told that it ended like this.
    pub(crate) fn request_told(
        &mut self,
        second: f64,
        attempts: &[To],
        told: Outcome,
    ) -> RequestKey {
        let key = RequestKey(self.next);
        self.next += 1;
        let start = Timestamp::from_secs_f64(second);
        let sent = Sent {
            key,
            scheduled_at: start,
            intent: self.intent,
            caller: self.caller,
            input_tokens: 1,
            stream: self.tokens.is_some(),
        };
        let at = start + self.delay;
        self.event(at, What::Sent(sent));
        let first = attempts.first().map_or(STABLE, |a| a.version);
        self.given_to_canary += u64::from(first == CANARY);
        self.event(
            at,
            What::Assigned {
                key,
                version: first,
            },
        );
        for (n, attempt) in (0..).zip(attempts) {
            let before = &attempts[..n as usize];
            self.attempt(key, at, n, attempt, before);
        }
        let outcome = attempts.last().map_or(Outcome::Connect, |a| a.outcome);
        let attempts_made = attempts.len() as u32;
        let served = attempts.last().map(|a| a.version);
        let end = at + self.latency;
        self.event(
            end,
            What::Settled(Settled {
                key,
                outcome,
                served_by: outcome.is_success().then_some(served).flatten(),
                fallback: served.is_some_and(|v| v != first),
                attempts: attempts_made,
            }),
        );
        let claim = Claim {
            version: outcome
                .is_success()
                .then(|| self.claim.or(served))
                .flatten(),
            fallback: outcome.is_success().then_some(served != Some(first)),
            attempts: Some(attempts_made),
        };
        let answered = Answered {
            key,
            outcome: told,
            claim,
            usage: None,
            streamed: self.tokens.as_ref().map(|tokens| tokens.streamed(start)),
            origin: self.origin.unwrap_or(Origin {
                key: outcome.is_success().then_some(key),
                version: served,
                text: None,
            }),
            drift: attempts.last().map_or(Drift::NONE, |a| a.drift[2]),
        };
        if let Some(tokens) = self.tokens.as_ref().filter(|_| told.is_success()) {
            let runs = tokens.gaps.clone().into_boxed_slice();
            self.event(end, What::Gaps(Gaps { key, runs }));
        }
        self.event(end, What::Answered(answered));
        key
    }

    fn attempt(&mut self, key: RequestKey, at: Timestamp, n: u32, to: &To, before: &[To]) {
        let ordinal = before.iter().filter(|b| b.version == to.version).count() as u32;
        let version = to.version;
        self.event(at, What::Dispatched { key, n, version });
        if to.arrives {
            self.take(key, at, n, to, ordinal);
        }
        let end = at + self.latency;
        if to.cancelled {
            self.event(end, What::Cancelled { key, n });
        }
        if to.arrives {
            let ended = UpstreamEnded {
                row: ordinal.into(),
                key: Some(key),
                version,
                ordinal,
                outcome: to.outcome,
                usage: to.usage,
                cost: None,
                drift: to.drift[0],
            };
            self.event(end, What::UpstreamEnded(ended));
        }
        let (booked_on, booked_as) = to.booked.unwrap_or((version, to.outcome));
        self.event(
            end,
            What::Booked(Booked {
                key,
                n,
                version: booked_on,
                kind: match before.last() {
                    None => AttemptKind::First,
                    Some(last) if last.version == to.version => AttemptKind::Retry,
                    Some(_) => AttemptKind::Fallback,
                },
                fallback: before.iter().any(|earlier| earlier.version != to.version),
                outcome: booked_as,
                latency: self.latency,
                usage: to.usage.filter(|_| booked_as.is_success()),
                is_estimated: false,
                drift: to.drift[1],
            }),
        );
    }

    fn take(&mut self, key: RequestKey, at: Timestamp, n: u32, to: &To, ordinal: u32) {
        let accepted = Accepted {
            row: ordinal.into(),
            key: Some(key),
            version: to.version,
            ordinal,
            n: Some(n),
            fault: self.fault,
            retry_after: self.retry_after,
            altered: Some(to.altered),
            is_told: None,
        };
        self.event(at, What::Accepted(accepted));
    }

    /// An upstream takes a request that was sent before, or by nobody.
    pub(crate) fn arrive(&mut self, at: Timestamp, key: RequestKey, to: &To) {
        self.take(key, at, 0, to, 0);
    }

    /// A request that an upstream took, and that nobody heard of again.
    pub(crate) fn take_only(&mut self, second: f64, version: VersionId) {
        let key = self.send_only(second);
        let at = Timestamp::from_secs_f64(second);
        self.take(key, at, 0, &to(version, Outcome::Success), 0);
    }

    /// A request with one attempt, which is not answered yet.
    pub(crate) fn send(&mut self, second: f64, version: VersionId, outcome: Outcome) -> RequestKey {
        let key = self.send_only(second);
        self.attempt(
            key,
            Timestamp::from_secs_f64(second),
            0,
            &to(version, outcome),
            &[],
        );
        key
    }

    /// The answer to a request, whatever became of its attempts.
    pub(crate) fn answer(&mut self, second: f64, key: RequestKey, outcome: Outcome) {
        let answered = Answered {
            key,
            outcome,
            claim: Claim::default(),
            usage: None,
            origin: Origin::default(),
            streamed: None,
            drift: Drift::NONE,
        };
        self.event(Timestamp::from_secs_f64(second), What::Answered(answered));
    }

    /// A request that is answered with success although no upstream ever saw it.
    pub(crate) fn request_out_of_thin_air(&mut self, second: f64) {
        let key = self.send_only(second);
        self.answer(second + self.latency.as_secs_f64(), key, Outcome::Success);
    }

    /// A request that is never heard of again.
    pub(crate) fn request_without_answer(&mut self, second: f64) {
        self.send_only(second);
    }

    fn send_only(&mut self, second: f64) -> RequestKey {
        let key = RequestKey(self.next);
        self.next += 1;
        let at = Timestamp::from_secs_f64(second);
        let sent = Sent {
            key,
            scheduled_at: at,
            intent: self.intent,
            caller: self.caller,
            input_tokens: 1,
            stream: false,
        };
        self.event(at, What::Sent(sent));
        key
    }

    /// `n` requests, evenly over the seconds from `from` to `to`.
    pub(crate) fn requests(&mut self, n: u64, (from, until): (f64, f64), attempts: &[To]) {
        for i in 0..n {
            let second = from + (until - from) * i as f64 / n as f64;
            self.request(second, attempts);
        }
    }

    pub(crate) fn roll_back(&mut self, second: f64) {
        self.roll_back_as(second, |_| {});
    }

    /// A rollback with another record than the true one.
    pub(crate) fn roll_back_as(&mut self, second: f64, change: impl FnOnce(&mut RollbackFacts)) {
        let at = Timestamp::from_secs_f64(second);
        let reason = Finding {
            version: CANARY,
            measure: "error_rate",
            value: Some(0.06),
            bound: 0.05,
            samples: 100,
            min_samples: 50,
            action: "rollback",
            violated: true,
        };
        let mut facts = RollbackFacts {
            id: "rb".to_owned(),
            from: CANARY,
            to: STABLE,
            decided_at: at,
            cause: "error_rate",
            words: None,
            reason: Some(reason),
            step: None,
            affected_requests: self.given_to_canary,
        };
        change(&mut facts);
        self.event(at, What::RolledBack(facts));
    }

    pub(crate) fn verdict(self) -> Verdict {
        self.ended(Ending::Complete)
    }

    pub(crate) fn interrupted(self) -> Verdict {
        self.ended(Ending::Interrupted)
    }

    fn ended(mut self, ending: Ending) -> Verdict {
        for story in self.join.finish() {
            self.summary.unfinished(&story);
            self.evaluator.story(&story);
        }
        self.evaluator.finish(&self.summary, ending)
    }

    /// The verdict of the one gate that was asked for.
    pub(crate) fn gate(self) -> GateResult {
        self.verdict().gates.remove(0)
    }

    pub(crate) fn status(self) -> Status {
        self.gate().status
    }
}

pub(crate) fn percent(op: Op, text: &str) -> Comparison<Share> {
    let bound = Share::parse_percent(text).expect("a percentage");
    Comparison { op, bound }
}

pub(crate) fn count(op: Op, bound: u64) -> Comparison<u64> {
    Comparison { op, bound }
}
