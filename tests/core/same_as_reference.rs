//! Property: whatever happens, the router says exactly what the slow reference says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graygate::id::{AttemptId, RequestId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{
    Condition, FallbackPolicy, JudgeConfig, Route, RouterConfig, StickyBy, ThresholdAction,
};
use graygate::router::io::{AnswerTraits, Event, Evidence, Input, Measure, Reason, RequestFacts};
use proptest::prelude::*;

use crate::reference::ReferenceRouter;
use crate::rig::{CANARY, Rig, SEED, STABLE, config, ms};

/// Something that happens. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        who: Arc<RequestFacts>,
    },
    Content {
        which: usize,
    },
    End {
        which: usize,
        outcome: Outcome,
        retry_after: Option<u64>,
    },
    Stale {
        which: usize,
        outcome: Outcome,
    },
    Gone {
        which: usize,
    },
    Pass {
        ms: u64,
    },
    /// A driver that is late: time passes without a call of `handle_timeout`.
    Late {
        ms: u64,
    },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let upstream = Outcome::ALL
        .into_iter()
        .filter(|o| !matches!(o, Outcome::ClientGone | Outcome::Deadline))
        .collect::<Vec<_>>();
    prop_oneof![2 => Just(Outcome::Success), 3 => prop::sample::select(upstream)]
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..64_usize;
    prop_oneof![
        5 => who().prop_map(|who| Step::Arrive { who: Arc::new(who) }),
        1 => which.clone().prop_map(|which| Step::Content { which }),
        8 => (which.clone(), outcome(), prop::option::of(0..3_000_u64))
            .prop_map(|(which, outcome, retry_after)| Step::End { which, outcome, retry_after }),
        1 => (which.clone(), outcome()).prop_map(|(which, outcome)| Step::Stale { which, outcome }),
        1 => which.prop_map(|which| Step::Gone { which }),
        4 => (0..1_200_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..2_500_u64).prop_map(|ms| Step::Late { ms }),
    ]
}

/// Everything that a rule or the split may look at, present or not.
fn who() -> impl Strategy<Value = RequestFacts> {
    let word = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        prop::option::of(prop::sample::select(words))
    };
    (
        word(&["premium", "free"]),
        word(&["", "ann", "bob", "cid", "dee"]),
        word(&["m", "big"]),
        word(&["v2", "v1", ""]),
    )
        .prop_map(|(tier, user, model, header)| RequestFacts {
            tier,
            user,
            model: model.unwrap_or_default(),
            headers: header
                .map(|value| ("x-test".to_owned(), value))
                .into_iter()
                .collect(),
            ..RequestFacts::default()
        })
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let header = Condition::Header {
        name: "x-test".to_owned(),
        value: "v2".to_owned(),
    };
    let conditions = vec![
        Condition::Tier("premium".to_owned()),
        Condition::Model("big".to_owned()),
        header,
    ];
    let when = prop::sample::subsequence(conditions, 1..=2);
    let to = prop::sample::select(vec![STABLE, CANARY]);
    let route = (when, to).prop_map(|(when, to)| Route { when, to });
    prop::collection::vec(route, 0..3)
}

fn sticky() -> impl Strategy<Value = Option<StickyBy>> {
    let header = StickyBy::Header("x-test".to_owned());
    prop::sample::select(vec![None, Some(StickyBy::User), Some(header)])
}

/// Which threshold rolls back; the others only alert.
fn judge() -> impl Strategy<Value = JudgeConfig> {
    prop::option::of(0..3_usize).prop_map(|decisive| {
        let JudgeConfig::Literal(mut judge) = config().judge else {
            return JudgeConfig::Off;
        };
        let Some(decisive) = decisive else {
            return JudgeConfig::Off;
        };
        for (i, threshold) in judge.thresholds.iter_mut().enumerate() {
            threshold.action = match i == decisive {
                true => ThresholdAction::Rollback,
                false => ThresholdAction::Alert,
            };
        }
        JudgeConfig::Literal(judge)
    })
}

fn any_config() -> impl Strategy<Value = RouterConfig> {
    let fallback = prop::sample::select(vec![
        FallbackPolicy::Immediately,
        FallbackPolicy::AfterRetries,
        FallbackPolicy::Off,
    ]);
    let canary_weight = prop::sample::select(vec![0.0, 0.5, 50.0, 450.0]);
    let switches = (any::<bool>(), any::<bool>());
    let choosing = (routes(), sticky(), canary_weight);
    (fallback, choosing, judge(), switches, 0..3_u32).prop_map(
        |(fallback, (routes, sticky, weight), judge, (shared_key, swapped), max_retries)| {
            let mut config = config();
            if swapped {
                // The file may name the canary first.
                (config.stable, config.canary) = (config.canary, config.stable);
            }
            config.fallback = fallback;
            config.routes = routes;
            config.split.sticky = sticky;
            config.split.weights[config.canary] = weight;
            config.retry.max_retries = max_retries;
            config.judge = judge;
            if shared_key {
                let key = config.versions[config.stable].api_key_env.clone();
                config.versions[config.canary].api_key_env = key;
            }
            config
        },
    )
}

/// The real router and the reference, given the same.
struct Pair {
    real: Rig,
    reference: Rig,
    requests: Vec<RequestId>,
}

impl Pair {
    fn new(config: RouterConfig) -> Self {
        Self {
            real: Rig::new(config.clone()),
            reference: Rig::of(Box::new(ReferenceRouter::new(config, SEED))),
            requests: Vec::new(),
        }
    }

    fn both(&mut self, act: impl Fn(&mut Rig)) {
        act(&mut self.real);
        act(&mut self.reference);
    }

    fn attempt(&self, which: usize) -> Option<AttemptId> {
        let request = *self.requests.get(which % self.requests.len().max(1))?;
        Some(self.real.out(request))
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Arrive { ref who } => {
                let id = self.real.arrive_as(who.clone());
                self.reference.arrive_as(who.clone());
                self.requests.push(id);
            }
            Step::Content { which } => {
                if let Some(attempt) = self.attempt(which) {
                    self.both(|rig| rig.input(Input::FirstContent { attempt }));
                }
            }
            Step::End {
                which,
                outcome,
                retry_after,
            } => {
                if let Some(attempt) = self.attempt(which) {
                    let retry_after = retry_after.map(ms);
                    let end = Input::AttemptEnded {
                        attempt,
                        outcome,
                        retry_after,
                        answer: AnswerTraits::default(),
                    };
                    self.both(|rig| rig.input(end.clone()));
                }
            }
            Step::Stale { which, outcome } => {
                if let Some(mut attempt) = self.attempt(which) {
                    attempt.n = attempt.n.wrapping_sub(1);
                    let end = Input::AttemptEnded {
                        attempt,
                        outcome,
                        retry_after: None,
                        answer: AnswerTraits::default(),
                    };
                    self.both(|rig| rig.input(end.clone()));
                }
            }
            Step::Gone { which } => {
                if let Some(attempt) = self.attempt(which) {
                    let request = attempt.request;
                    self.both(|rig| rig.input(Input::ClientGone { request }));
                }
            }
            Step::Pass { ms: by } => self.both(|rig| rig.advance(ms(by))),
            Step::Late { ms: by } => self.both(|rig| rig.now = rig.now + ms(by)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_router_says_what_the_reference_says(
        config in any_config(),
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut pair = Pair::new(config);
        for (i, step) in steps.iter().enumerate() {
            pair.step(step);
            prop_assert_eq!(&pair.real.actions, &pair.reference.actions, "actions, step {}", i);
            prop_assert_eq!(display(&pair.real.events), display(&pair.reference.events), "events, step {}", i);
            prop_assert_eq!(
                pair.real.core.poll_timeout(), pair.reference.core.poll_timeout(), "timeout, step {}", i
            );
        }
        // Given time, every arrival ends, and ends exactly once.
        pair.both(|rig| rig.advance(Duration::from_secs(60)));
        let mut ends: BTreeMap<RequestId, u32> = BTreeMap::new();
        for event in &pair.real.events {
            if let Event::RequestEnded { request, .. } = event {
                *ends.entry(*request).or_default() += 1;
            }
        }
        prop_assert_eq!(ends.len(), pair.requests.len());
        prop_assert!(ends.values().all(|n| *n == 1));
        prop_assert_eq!(pair.real.core.footprint().in_flight, 0);
    }
}

/// The p99 that is shown comes from a histogram, to within 1.6 %: it is rounded away here.
fn display(events: &[Event]) -> Vec<String> {
    let rough = |evidence: &mut Evidence| {
        if evidence.measure == Measure::P99 {
            evidence.value = evidence.value.map(|_| 0.0);
        }
    };
    let show = |event: &Event| {
        let mut event = event.clone();
        match &mut event {
            Event::Judged(evidence) => rough(evidence),
            Event::RolledBack(record) => {
                if let Reason::Judged(evidence) = &mut record.reason {
                    rough(evidence);
                }
                record.sha256.clear();
            }
            _ => {}
        }
        format!("{event:?}")
    };
    // The reference tells of rollbacks, not of standings.
    let events = events.iter().filter(|e| !matches!(e, Event::Standing(_)));
    events.map(show).collect()
}
