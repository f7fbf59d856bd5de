//! Property: whatever happens, the router says exactly what the slow reference says.

use std::collections::BTreeMap;
use std::time::Duration;

use graygate::id::{AttemptId, RequestId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{FallbackPolicy, JudgeConfig, RouterConfig};
use graygate::router::io::{Event, Input};
use proptest::prelude::*;

use crate::reference::ReferenceRouter;
use crate::rig::{Rig, SEED, config, ms};

/// Something that happens. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        premium: bool,
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
        5 => any::<bool>().prop_map(|premium| Step::Arrive { premium }),
        1 => which.clone().prop_map(|which| Step::Content { which }),
        8 => (which.clone(), outcome(), prop::option::of(0..3_000_u64))
            .prop_map(|(which, outcome, retry_after)| Step::End { which, outcome, retry_after }),
        1 => (which.clone(), outcome()).prop_map(|(which, outcome)| Step::Stale { which, outcome }),
        1 => which.prop_map(|which| Step::Gone { which }),
        4 => (0..1_200_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..2_500_u64).prop_map(|ms| Step::Late { ms }),
    ]
}

fn any_config() -> impl Strategy<Value = RouterConfig> {
    let fallback = prop::sample::select(vec![
        FallbackPolicy::Immediately,
        FallbackPolicy::AfterRetries,
        FallbackPolicy::Off,
    ]);
    let canary_weight = prop::sample::select(vec![0.0, 0.5, 50.0, 450.0]);
    (
        fallback,
        canary_weight,
        any::<bool>(),
        any::<bool>(),
        0..3_u32,
    )
        .prop_map(|(fallback, weight, shared_key, judged, max_retries)| {
            let mut config = config();
            config.fallback = fallback;
            config.split.weights[config.canary] = weight;
            config.retry.max_retries = max_retries;
            if shared_key {
                let stable = config.stable;
                let key = config.versions[stable].api_key_env.clone();
                let canary = config.canary;
                config.versions[canary].api_key_env = key;
            }
            if !judged {
                config.judge = JudgeConfig::Off;
            }
            config
        })
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
            Step::Arrive { premium } => {
                let id = self.real.arrive(premium);
                self.reference.arrive(premium);
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
    let show = |event: &Event| match event {
        Event::Judged(evidence) => {
            let mut evidence = *evidence;
            if evidence.measure == graygate::router::io::Measure::P99 {
                evidence.value = evidence.value.map(|_| 0.0);
            }
            format!("{evidence:?}")
        }
        other => format!("{other:?}"),
    };
    events.iter().map(show).collect()
}
