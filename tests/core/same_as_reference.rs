//! Property: whatever happens, the router says exactly what the slow reference says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graygate::id::{AttemptId, PerVersion, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::budget::RetryBudget;
use graygate::router::config::{
    Condition, FallbackPolicy, Features, InFlight, JudgeConfig, Route, RouterConfig, StickyBy,
    ThresholdAction,
};
use graygate::router::io::{
    AnswerTraits, Chosen, Event, Evidence, Input, Measure, Reason, RequestFacts,
};
use graygate::router::limit::RateLimit;
use proptest::prelude::*;

use crate::reference::ReferenceRouter;
use crate::rig::{CANARY, Rig, SEED, STABLE, config, ms};

/// Something that happens. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        who: Arc<RequestFacts>,
    },
    Progress {
        which: usize,
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
        2 => which.clone().prop_map(|which| Step::Content { which }),
        1 => which.clone().prop_map(|which| Step::Progress { which }),
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
        word(&["acme", "other"]),
        choice(),
        features(),
    )
        .prop_map(
            |(tier, user, model, header, tenant, choice, needs)| RequestFacts {
                tier,
                user,
                tenant,
                forced: choice.0,
                chosen: choice.1,
                needs,
                model: model.unwrap_or_default(),
                headers: header
                    .map(|value| ("x-test".to_owned(), value))
                    .into_iter()
                    .collect(),
            },
        )
}

/// Nine in ten neither are forced nor choose; versions that do not exist are among the others.
fn choice() -> impl Strategy<Value = (Option<VersionId>, Option<Chosen>)> {
    let version = || (0..3_u8).prop_map(VersionId);
    prop_oneof![
        18 => Just((None, None)),
        1 => version().prop_map(|v| (Some(v), Some(Chosen::Unknown))),
        2 => version().prop_map(|v| (None, Some(Chosen::Version(v)))),
        1 => Just((None, Some(Chosen::Unknown))),
    ]
}

fn features() -> impl Strategy<Value = Features> {
    let one = || prop::bool::weighted(0.1);
    (one(), one()).prop_map(|(streaming, tools)| Features { streaming, tools })
}

/// Limits that a story reaches: few requests, short windows, short and long waits.
fn rate_limit() -> impl Strategy<Value = Option<RateLimit>> {
    let limit = (1..4_u32, 200..2_000_u64, 0..3_u64, 0..2_500_u64);
    let limit = limit.prop_map(|(requests, window, guard, max_wait)| RateLimit {
        requests,
        window: ms(window),
        guard: ms(guard * 50),
        max_wait: ms(max_wait),
    });
    prop::option::weighted(0.4, limit)
}

fn budget() -> impl Strategy<Value = Option<RetryBudget>> {
    let budget = (0..5_u32, 0..4_u32, 1..5_u64).prop_map(|(share, reserve, memory)| RetryBudget {
        share: f64::from(share) * 0.25,
        reserve_per_second: f64::from(reserve) * 0.25,
        memory: ms(memory * 1_000),
    });
    prop::option::of(budget)
}

/// What keeps load off the upstreams, and what the versions can do.
fn loads() -> impl Strategy<Value = RouterConfig> {
    let can = || prop::sample::select(vec![true, true, true, false]);
    let features = (can(), can()).prop_map(|(streaming, tools)| Features { streaming, tools });
    let escalation = prop::option::of((300..1_200_u64).prop_map(ms));
    let in_flight = prop::sample::select(vec![InFlight::Drain, InFlight::Cancel]);
    let limits = (rate_limit(), rate_limit());
    let limit = || prop::option::of((100..1_200_u64).prop_map(ms));
    let streams = (limit(), limit());
    (limits, budget(), features, escalation, in_flight, streams).prop_map(
        |((one, other), budget, features, escalation, in_flight, streams)| {
            let mut config = config();
            let limits: PerVersion<_> = [one, other].into_iter().collect();
            for (version, limit) in limits.iter() {
                config.versions[version].rate_limit.clone_from(limit);
                config.versions[version].features = features;
            }
            config.retry.budget = budget;
            config.timeouts.escalation = escalation;
            (config.timeouts.first_token, config.timeouts.idle) = streams;
            config.rollback.in_flight = in_flight;
            config
        },
    )
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let header = Condition::Header {
        name: "x-test".to_owned(),
        value: "v2".to_owned(),
    };
    let conditions = vec![
        Condition::Tier("premium".to_owned()),
        Condition::Tenant("acme".to_owned()),
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
    let switches = (any::<bool>(), any::<bool>(), loads());
    let choosing = (routes(), sticky(), canary_weight);
    (fallback, choosing, judge(), switches, 0..3_u32).prop_map(
        |(fallback, (routes, sticky, weight), judge, (shared_key, swapped, loads), max_retries)| {
            let mut config = loads;
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

    fn request(&self, which: usize) -> Option<RequestId> {
        self.requests
            .get(which % self.requests.len().max(1))
            .copied()
    }

    /// The last attempt of a request; none when it still waits for its first.
    fn attempt(&self, which: usize) -> Option<AttemptId> {
        let sent = self.real.sent(self.request(which)?);
        sent.last().map(|(attempt, _)| *attempt)
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
            Step::Progress { which } => {
                if let Some(attempt) = self.attempt(which) {
                    self.both(|rig| rig.input(Input::Progress { attempt }));
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
                if let Some(request) = self.request(which) {
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
