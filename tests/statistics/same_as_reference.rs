//! The judge says in every step of random stories what the slow reference says.

use std::collections::BTreeSet;
use std::time::Duration;

use graygate::id::RequestId;
use graygate::protocol::outcome::Outcome;
use graygate::router::judge::Occasion;
use graygate::router::judge::sequential::{
    Arm, Decision, Promotion, PromotionLevel, SequentialConfig, SequentialEvidence,
    SequentialJudge, Step,
};
use graygate::time::Timestamp;
use proptest::prelude::*;

use crate::reference::{Found, ReferenceJudge, Verdict, in_words};

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Weight(usize, f64, bool),
    Send {
        caller: Option<u64>,
        arm: Arm,
    },
    End {
        pick: usize,
        outcome: Outcome,
        missing_usage: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Success),
        3 => Just(Outcome::ServerError),
        2 => prop::sample::select(Outcome::ALL.to_vec()),
    ];
    let caller = prop::option::weighted(0.6, 0..6_u64);
    let arm = prop_oneof![1 => Just(Arm::Canary), 1 => Just(Arm::Stable)];
    let share = prop::sample::select(vec![0.02, 0.05, 0.1, 0.5, 0.5, 0.5, 1.0]);
    prop_oneof![
        3 => (1..30_u64).prop_map(Op::Wait),
        1 => (0..4_usize, share, any::<bool>()).prop_map(|(i, s, c)| Op::Weight(i, s, c && s < 1.0)),
        10 => (caller, arm).prop_map(|(caller, arm)| Op::Send { caller, arm }),
        10 => (0..8_usize, outcome, prop::bool::weighted(0.2)).prop_map(|(pick, outcome, missing_usage)| {
            Op::End { pick, outcome, missing_usage }
        }),
    ]
}

/// Generous budgets, so that short stories decide something.
fn config(alpha: f64, alpha_split: f64) -> SequentialConfig {
    SequentialConfig {
        alpha,
        alpha_split,
        slow: Some(Duration::from_secs(20)),
        slo_error_rate: 0.15,
        slo_slow_rate: 0.6,
        every: Duration::from_secs(60),
        stale_ticks: 2,
        alpha_promotion: 0.5,
        promotion: vec![
            PromotionLevel {
                up_to_share: 0.05,
                margin: 0.6,
                min_requests: 4,
            },
            PromotionLevel {
                up_to_share: 1.0,
                margin: 0.5,
                min_requests: 6,
            },
        ],
        attempt_limit: Duration::ZERO,
        ..SequentialConfig::default()
    }
}

struct Pair {
    real: SequentialJudge,
    slow: ReferenceJudge,
    now: Timestamp,
    next: u64,
    under_way: Vec<RequestId>,
    decided: BTreeSet<&'static str>,
}

impl Pair {
    fn play(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Wait(seconds) => self.wait(seconds)?,
            Op::Weight(index, canary_share, has_control) => {
                let planned_hold = Duration::from_secs(100 * index as u64);
                let step = Step {
                    index,
                    canary_share,
                    planned_hold,
                    has_control,
                };
                self.real.begin_step(self.now, step);
                self.slow.begin_step(self.now, step);
            }
            Op::Send { caller, arm } => {
                let id = RequestId(self.next);
                self.next += 1;
                self.real.assigned(self.now, id, caller, arm);
                self.slow.assigned(self.now, id, caller, arm);
                self.under_way.push(id);
            }
            Op::End {
                pick,
                outcome,
                missing_usage,
            } => {
                if self.under_way.is_empty() {
                    return Ok(());
                }
                let id = self.under_way.remove(pick % self.under_way.len());
                self.real.ended(self.now, id, outcome, missing_usage);
                self.slow.ended(id, outcome, missing_usage);
            }
        }
        self.compare()
    }

    /// Time goes on from one thing that is due to the next.
    fn wait(&mut self, seconds: u64) -> Result<(), TestCaseError> {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.real.next_timeout().filter(|due| *due <= until) {
            self.now = due;
            self.real.handle_timeout(due);
            self.slow.age(due);
            self.compare()?;
        }
        self.now = until;
        Ok(())
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let occasion = self.real.wants_look(self.now);
        let is_tick = occasion == Some(Occasion::Tick);
        let verdict = self.slow.look(self.now, is_tick);
        let asked = occasion.unwrap_or(Occasion::Failure);
        let mut told = Vec::new();
        let decision = self.real.look(self.now, asked, &mut |e| told.push(e));
        for evidence in told {
            same_evidence(&evidence, &verdict)?;
        }
        if verdict.is_close {
            return Ok(());
        }
        match (decision, verdict.rollback) {
            (Decision::RollBack(evidence), Some(found)) => {
                self.decided.insert("rollback");
                let (real, slow) = (evidence, found);
                // Of starts with the same counts, which one is a little larger is for the last bit to say.
                let of_real = verdict
                    .all
                    .iter()
                    .find(|f| (f.metric, f.start) == (real.metric, real.start));
                let is_as_strong = of_real.is_some_and(|f| (f.excess - slow.excess).abs() < 1e-9);
                prop_assert!(is_as_strong, "{:?} {:?}", real, slow);
                same_evidence(&evidence, &verdict)?;
                prop_assert!(occasion.is_some(), "nobody would have looked");
            }
            (Decision::Hold(reason), None) => {
                self.decided.insert(reason.name());
                prop_assert!(
                    verdict.holds.contains(&reason),
                    "{:?} of {:?}",
                    reason,
                    verdict.holds
                );
            }
            (Decision::Continue, None) => {
                prop_assert!(verdict.holds.is_empty(), "{:?}", verdict.holds);
            }
            (decision, found) => prop_assert!(false, "{decision:?}, but {found:?}"),
        }
        let missing: BTreeSet<String> = match self.real.promotion(self.now) {
            Promotion::Yes => BTreeSet::new(),
            Promotion::No(why) => why.iter().filter_map(in_words).collect(),
        };
        prop_assert_eq!(missing, self.slow.not_shown());
        Ok(())
    }
}

/// What was told of a metric is what the reference reckons for that start, to the last count.
fn same_evidence(real: &SequentialEvidence, verdict: &Verdict) -> Result<(), TestCaseError> {
    let is_it = |f: &&Found| f.metric == real.metric && f.start == real.start;
    let Some(slow) = verdict.all.iter().find(is_it) else {
        return Err(TestCaseError::fail(format!("no such start: {real:?}")));
    };
    let canary = (real.canary.events, real.canary.units);
    let stable = (real.stable.events, real.stable.units);
    prop_assert_eq!((canary, stable), (slow.canary, slow.stable));
    prop_assert!((real.ln_e - slow.ln_e).abs() < 1e-6);
    prop_assert!((real.ln_e - real.threshold - slow.excess).abs() < 1e-6);
    prop_assert_eq!(real.stable_ln_e.is_some(), slow.kept.is_some());
    let kept = (real.stable_ln_e.unwrap_or(0.0), slow.kept.unwrap_or(0.0));
    prop_assert!((kept.0 - kept.1).abs() < 1e-6, "{real:?} {slow:?}");
    if !verdict.is_close {
        prop_assert_eq!(real.material, slow.is_enough, "{:?} {:?}", real, slow);
    }
    Ok(())
}

fn tell(
    alpha: f64,
    alpha_split: f64,
    ops: Vec<Op>,
) -> Result<BTreeSet<&'static str>, TestCaseError> {
    let config = config(alpha, alpha_split);
    let mut pair = Pair {
        real: SequentialJudge::new(config.clone(), 2, Timestamp::ZERO),
        slow: ReferenceJudge::new(config, 2),
        now: Timestamp::ZERO,
        next: 0,
        under_way: Vec::new(),
        decided: BTreeSet::new(),
    };
    pair.play(Op::Weight(0, 0.5, true))?;
    for op in ops {
        pair.play(op)?;
    }
    Ok(pair.decided)
}

proptest! {
    #[test]
    fn the_judge_is_the_reference(
        alpha in prop::sample::select(vec![0.1, 0.9, 9.0]),
        alpha_split in prop::sample::select(vec![1e-30, 0.001]),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        tell(alpha, alpha_split, ops)?;
    }
}

/// The stories are worth telling: they end in every kind of decision.
#[test]
fn the_stories_decide_things() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut decided = BTreeSet::new();
    for i in 0..200 {
        let alpha_split = if i % 2 == 0 { 1e-30 } else { 0.001 };
        let story = prop::collection::vec(op(), 60..120);
        let ops = story.new_tree(&mut runner).unwrap().current();
        decided.extend(tell([0.9, 9.0][i / 2 % 2], alpha_split, ops).unwrap());
    }
    let expected = ["rollback", "broken_split", "shared_outage"];
    assert!(expected.iter().all(|e| decided.contains(e)), "{decided:?}");
}

/// Two starts that saw the same: either may be named.
#[test]
fn starts_that_saw_the_same_are_as_good_as_each_other() {
    use Arm::{Canary, Stable};
    let send = |arm| Op::Send { caller: None, arm };
    let again = Op::Send {
        caller: Some(1),
        arm: Canary,
    };
    let end = |pick| Op::End {
        pick,
        outcome: Outcome::Success,
        missing_usage: false,
    };
    let ops = [
        vec![
            Op::Weight(0, 1.0, false),
            send(Canary),
            send(Canary),
            send(Canary),
        ],
        vec![
            Op::Weight(1, 0.02, true),
            send(Canary),
            end(0),
            again.clone(),
            end(0),
        ],
        vec![
            send(Canary),
            again,
            send(Canary),
            send(Stable),
            end(5),
            send(Canary),
        ],
        vec![
            send(Canary),
            Op::Weight(0, 0.02, false),
            end(1),
            end(2),
            Op::Wait(1),
        ],
        vec![send(Canary), send(Canary), send(Stable), Op::Wait(20)],
    ];
    tell(0.1, 1e-30, ops.concat()).expect("the judge is the reference");
}
