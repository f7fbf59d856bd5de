//! Hears that a canary was closed, where nobody says so: from the upstreams' ledgers alone.
//!
//! Another gateway's rollback is the last arrival at its canary, once so many later requests missed the canary that chance
//! alone does not explain it. It is told once, with that arrival as its time. A request counts when chance decides where it
//! goes, and its first arrival was elsewhere, by the smallest share that may have been in force, a while being left to follow orders. A caller
//! who stays where chance once put him is no new chance as long as he is seen on the same version. The bound during the run is divided by the
//! requests so far. What was sent before the bound was passed, and arrived nowhere yet, may be on its way to the canary (a busy machine
//! takes connections late): it is waited for. Over all of it, one in a hundred thousand healthy canaries would be told of at most.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{RequestKey, VersionId};
use crate::observe::chance::Chances;
use crate::observe::event::{CLOSED_IN_LEDGER, RollbackFacts, RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::orders::ShareInForce;
use crate::stats::silence::Silence;
use crate::time::Timestamp;

/// How improbable a silence must be for its end not to be waited for, divided by the requests so far.
const DURING: f64 = 1e-6;
/// And the last silence of a run.
const AT_THE_END: f64 = 0.001;

/// Listens for the end of a canary.
#[derive(Clone, Debug)]
pub struct Closing {
    stable: VersionId,
    canary: VersionId,
    share: ShareInForce,
    silence: Silence,
    /// When the silence passed the bound.
    beyond_at: Option<Timestamp>,
    on_the_way: OnTheWay,
    /// Requests that chance gave to some version, and those whose first arrival was at the canary.
    randomised: u64,
    given: u64,
    chances: Chances,
    /// Does somebody expect it?
    is_awaited: bool,
    is_told: bool,
}

impl Closing {
    /// Has heard nothing of this canary, which has this share, 0 to 1, at first.
    pub fn new(stable: VersionId, (canary, share): (VersionId, f64)) -> Self {
        Self {
            stable,
            canary,
            share: ShareInForce::new(share),
            silence: Silence::default(),
            beyond_at: None,
            on_the_way: OnTheWay::default(),
            randomised: 0,
            given: 0,
            chances: Chances::default(),
            is_awaited: true,
            is_told: false,
        }
    }

    /// The same, where somebody expects a rollback, or nobody does: then the end of the run tells none.
    #[must_use]
    pub fn awaited(self, is_awaited: bool) -> Self {
        Self { is_awaited, ..self }
    }

    /// Takes an event in, with what the join made of it. The rollback, when this shows it.
    pub fn event(&mut self, event: &RunEvent, joined: &Joined) -> Option<RollbackFacts> {
        self.share.event(event.at, &event.what);
        match &event.what {
            What::Sent(sent) => self.on_the_way.sent(sent.key, event.at),
            What::Answered(answered) => self.on_the_way.arrived(answered.key),
            What::Accepted(row) => {
                row.key.iter().for_each(|key| self.on_the_way.arrived(*key));
                self.accepted(event.at, row.version, joined);
            }
            _ => return None,
        }
        let beyond_at = self.beyond_at?;
        let is_settled = self.on_the_way.oldest().is_none_or(|sent| sent > beyond_at);
        if is_settled { self.tell() } else { None }
    }

    fn accepted(&mut self, at: Timestamp, version: VersionId, joined: &Joined) {
        let chance = joined.first.filter(|first| self.chances.is_new(first));
        self.randomised += u64::from(chance.is_some());
        if version == self.canary {
            self.given += u64::from(joined.first.is_some());
            // Whatever comes there, a retry too, comes to an open canary.
            self.silence.met(at);
            self.beyond_at = None;
        } else if let Some(first) = chance {
            self.silence.missed(self.share.least_for(&first));
            let is_beyond = self.silence.is_beyond(DURING / self.randomised as f64);
            self.beyond_at = self.beyond_at.or(is_beyond.then_some(at));
        }
    }

    /// The run is over. The rollback, when its end shows one.
    pub fn finish(&mut self) -> Option<RollbackFacts> {
        let is_clear = self.is_awaited && self.on_the_way.oldest().is_none();
        let is_silent = self.silence.is_beyond(AT_THE_END);
        if is_clear && is_silent {
            self.tell()
        } else {
            None
        }
    }

    fn tell(&mut self) -> Option<RollbackFacts> {
        if self.is_told {
            return None;
        }
        // A canary that never got anything was never open, as far as anybody can see.
        let decided_at = self.silence.since()?;
        self.is_told = true;
        Some(RollbackFacts {
            id: "ledger".to_owned(),
            from: self.canary,
            to: self.stable,
            decided_at,
            cause: CLOSED_IN_LEDGER,
            words: None,
            reason: None,
            step: None,
            affected_requests: self.given,
        })
    }
}

/// Requests that were sent, and neither arrived anywhere nor were answered.
#[derive(Clone, Debug, Default)]
struct OnTheWay {
    sent_at: BTreeMap<RequestKey, Timestamp>,
    in_order: BTreeSet<(Timestamp, RequestKey)>,
}

impl OnTheWay {
    fn sent(&mut self, key: RequestKey, at: Timestamp) {
        self.sent_at.insert(key, at);
        self.in_order.insert((at, key));
    }

    fn arrived(&mut self, key: RequestKey) {
        if let Some(at) = self.sent_at.remove(&key) {
            self.in_order.remove(&(at, key));
        }
    }

    /// When the oldest of them was sent.
    fn oldest(&self) -> Option<Timestamp> {
        self.in_order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::event::{Accepted, Answered, Claim, Origin, Sent};
    use crate::observe::join::FirstAttempt;
    use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
    use crate::protocol::drift::Drift;
    use crate::protocol::outcome::Outcome;
    use crate::traffic::caller::Intent;

    const STABLE: VersionId = VersionId(0);
    const CANARY: VersionId = VersionId(1);

    /// A run with an arrival each ms.
    struct Run {
        closing: Closing,
        now: u64,
        told: Vec<(u64, RollbackFacts)>,
    }

    fn sent(key: RequestKey, ms: u64, intent: Intent) -> Sent {
        Sent {
            key,
            scheduled_at: Timestamp(ms * 1_000_000),
            intent,
            caller: 0,
            input_tokens: 1,
            stream: false,
        }
    }

    impl Run {
        fn new(share: f64) -> Self {
            Self {
                closing: Closing::new(STABLE, (CANARY, share)),
                now: 0,
                told: Vec::new(),
            }
        }

        fn take(&mut self, what: What, joined: &Joined) {
            let event = RunEvent {
                at: Timestamp(self.now * 1_000_000),
                what,
            };
            if let Some(facts) = self.closing.event(&event, joined) {
                self.told.push((self.now, facts));
            }
        }

        fn sends(&mut self, key: u64) {
            let sent = sent(RequestKey(key), self.now, Intent::Random);
            self.take(What::Sent(sent), &Joined::default());
        }

        fn answers(&mut self, key: u64) {
            let answered = Answered {
                key: RequestKey(key),
                outcome: Outcome::Connect,
                claim: Claim::default(),
                usage: None,
                origin: Origin::default(),
                drift: Drift::NONE,
                streamed: None,
            };
            self.take(What::Answered(answered), &Joined::default());
        }

        fn arrives(&mut self, version: VersionId, intent: Option<Intent>) {
            self.arrives_as(self.now + 1, version, intent);
        }

        fn arrives_as(&mut self, key: u64, version: VersionId, intent: Option<Intent>) {
            self.now += 1;
            let key = RequestKey(key);
            let first = intent.map(|intent| FirstAttempt {
                version,
                sent: Some(sent(key, self.now, intent)),
            });
            let row = Accepted {
                row: self.now,
                key: Some(key),
                version,
                ordinal: 0,
                n: None,
                fault: None,
                retry_after: None,
                altered: None,
                is_told: None,
            };
            self.take(What::Accepted(row), &Joined { first, story: None });
        }

        /// So many requests of chance that come to this version first.
        fn come(&mut self, n: u64, version: VersionId) {
            (0..n).for_each(|_| self.arrives(version, Some(Intent::Random)));
        }

        fn ordered(&mut self, share: f64, status: Option<u16>) {
            let order = OrderFacts {
                number: 1,
                kind: OrderKind::SetWeights { share },
            };
            self.take(What::Ordered(order), &Joined::default());
            let end = OrderEnd {
                order,
                status,
                took: Duration::ZERO,
                answer: String::new(),
            };
            self.take(What::OrderEnded(end), &Joined::default());
        }

        fn told_at(&self) -> Vec<(u64, u64)> {
            let told = self.told.iter();
            told.map(|(at, facts)| (*at, facts.decided_at.0 / 1_000_000))
                .collect()
        }
    }

    #[test]
    fn a_silence_beyond_chance_is_told_once_with_its_last_arrival() {
        let mut run = Run::new(0.2);
        run.come(80, STABLE);
        run.come(20, CANARY);
        // ln(1e-6 / 184) / ln 0.8 = 85.3: and there are 186 requests by then.
        run.come(85, STABLE);
        assert_eq!(run.told_at(), []);
        run.come(400, STABLE);
        assert_eq!(run.told_at(), [(186, 100)]);
        let facts = &run.told[0].1;
        assert_eq!((facts.from, facts.to), (CANARY, STABLE));
        assert_eq!(facts.affected_requests, 20);
        run.come(1, CANARY);
        run.come(400, STABLE);
        assert_eq!(run.told.len(), 1);
        assert_eq!(run.closing.finish(), None, "nor at the end");
    }

    #[test]
    fn the_last_silence_needs_less() {
        let told = |later: u64| {
            let mut run = Run::new(0.2);
            run.come(10, CANARY);
            run.come(later, STABLE);
            assert_eq!(run.told_at(), []);
            run.closing.finish()
        };
        // ⌈ln 0.001 / ln 0.8⌉ = 31.
        assert_eq!(told(30), None);
        let facts = told(31).expect("it is closed");
        assert_eq!(facts.decided_at, Timestamp(10_000_000));
        let mut run = Run::new(0.2);
        run.come(10, CANARY);
        run.come(31, STABLE);
        let unawaited = run.closing.clone().awaited(false).finish();
        assert_eq!(unawaited, None, "chance may do that to a healthy one");
    }

    /// A machine that is busy takes the canary's connections late: what waits there is not seen by anybody.
    #[test]
    fn what_is_on_its_way_may_be_on_its_way_to_the_canary() {
        let held = || {
            let mut run = Run::new(0.5);
            run.come(10, CANARY);
            run.sends(1_000);
            run.come(100, STABLE);
            assert_eq!(run.told_at(), [], "nobody knows where it goes");
            assert_eq!(run.closing.finish(), None);
            // What is sent later does not matter.
            run.sends(1_001);
            run
        };
        let mut run = held();
        run.arrives_as(1_000, STABLE, Some(Intent::Random));
        assert_eq!(run.told_at(), [(111, 10)]);
        let mut run = held();
        run.answers(1_000);
        run.come(1, STABLE);
        assert_eq!(run.told.len(), 1, "it never arrived");
        let mut run = held();
        run.arrives_as(1_000, CANARY, Some(Intent::Random));
        run.come(1, STABLE);
        assert_eq!(run.told_at(), []);
    }

    #[test]
    fn only_chance_makes_a_silence_and_any_arrival_ends_it() {
        let mut run = Run::new(0.5);
        run.come(1, CANARY);
        // Retries at stable, and requests that a rule sends there.
        (0..500).for_each(|_| run.arrives(STABLE, None));
        (0..500).for_each(|_| run.arrives(STABLE, Some(Intent::Pinned(STABLE))));
        assert_eq!(run.told_at(), []);
        run.come(15, STABLE);
        // A retry of an earlier request.
        run.arrives(CANARY, None);
        run.come(15, STABLE);
        assert_eq!(run.told_at(), []);
        assert!(run.closing.finish().is_some(), "2 ^ -15 < 0.001");
    }

    #[test]
    fn callers_who_stay_are_one_chance_each() {
        let mut run = Run::new(0.5);
        let come = |run: &mut Run, callers: std::ops::Range<u32>, version| {
            callers.for_each(|caller| run.arrives(version, Some(Intent::Sticky(caller))));
        };
        come(&mut run, 0..50, STABLE);
        come(&mut run, 50..100, CANARY);
        (0..100).for_each(|_| come(&mut run, 0..50, STABLE));
        assert_eq!(run.told_at(), [], "they have always been there");
        assert_eq!(run.closing.clone().finish(), None);
        come(&mut run, 50..60, STABLE);
        let facts = run.closing.finish().expect("they had to move");
        assert_eq!(facts.decided_at, Timestamp(100_000_000));
    }

    #[test]
    fn a_canary_that_never_got_anything_was_not_closed() {
        let mut run = Run::new(0.5);
        run.come(1_000, STABLE);
        assert_eq!(run.told_at(), []);
        assert_eq!(run.closing.finish(), None);
    }

    #[test]
    fn a_healthy_canary_is_never_told_of() {
        let mut run = Run::new(0.1);
        // The longest silence that 100,000 requests may have: ln(1e-6 / 100,000) / ln 0.9 = 240.4.
        for _ in 0..400 {
            run.come(1, CANARY);
            run.come(170, STABLE);
        }
        assert_eq!(run.told_at(), []);
    }

    #[test]
    fn the_weight_in_force_decides_how_long_a_silence_is_long() {
        let mut run = Run::new(0.5);
        run.come(10, CANARY);
        run.ordered(0.0, Some(200));
        run.come(5_000, STABLE);
        assert_eq!(run.told_at(), [], "it is to get nothing");
        run.ordered(0.5, Some(500));
        run.come(100, STABLE);
        assert_eq!(run.told_at(), [], "and that was refused");
        run.ordered(0.5, Some(200));
        run.come(560, STABLE);
        // ln(1e-6 / 5,642) / ln 0.5 = 32.4, from half a second after the raise on.
        assert_eq!(run.told_at(), [(5_642, 10)]);
    }

    /// What was given to stable before all was given to the canary may arrive there after it.
    #[test]
    fn an_order_is_followed_within_a_while() {
        let told = |late: u64| {
            let mut run = Run::new(0.5);
            run.come(10, CANARY);
            run.ordered(1.0, Some(200));
            run.come(20, CANARY);
            run.now += late;
            // ln(1e-6 / 38) / ln 0.1 = 7.6.
            run.come(8, STABLE);
            run.told_at()
        };
        assert_eq!(told(478), []);
        assert_eq!(told(479), [(517, 30)]);
    }
}
