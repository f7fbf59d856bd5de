//! Orders and rollbacks: what people may ask in which phase, and what a rollback leaves behind.

use std::sync::Arc;

use graygate::id::PerVersion;
use graygate::protocol::outcome::Outcome;
use graygate::router::config::RouterConfig;
use graygate::router::control::{Order, Refusal};
use graygate::router::deployment::{Change, Deployment};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Event, Rollback, Standing};
use graygate::router::ramp::{Inconclusive, Phase, RampConfig, StepConfig};
use graygate::time::Timestamp;

use crate::rig::{CANARY, Rig, SEED, STABLE, config, ms};

pub(crate) type Answer = Result<Standing, Refusal>;

/// 20 % for ten seconds, 50 % for twenty, then everything. The judge looks every half second.
pub(crate) fn ramped() -> RouterConfig {
    let step = |name: &str, share: f64, seconds: u64| StepConfig {
        name: name.to_owned(),
        share,
        hold: ms(seconds * 1_000),
        limit: ms(seconds * 3_000),
    };
    RouterConfig {
        ramp: Some(RampConfig {
            steps: vec![
                step("initial", 0.2, 10),
                step("majority", 0.5, 20),
                step("full", 1.0, 0),
            ],
            inconclusive: Inconclusive::Hold,
        }),
        ..config()
    }
}

/// Another canary than [`config`]'s.
pub(crate) fn another() -> RouterConfig {
    let mut config = config();
    config.versions[CANARY].model = "model-v3".to_owned();
    config
}

pub(crate) fn apply(config: RouterConfig) -> Order {
    let config = Arc::new(config);
    let again = false;
    Order::Apply { config, again }
}

pub(crate) fn roll_back() -> Order {
    let why = "people complain".to_owned();
    Order::RollBack { why }
}

pub(crate) fn instant() -> Order {
    let why = "people complain".to_owned();
    Order::InstantRollback { why }
}

pub(crate) fn checkpoint(name: &str) -> Order {
    let name = name.to_owned();
    Order::Checkpoint { name }
}

pub(crate) fn restore(id: &str) -> Order {
    let checkpoint = id.to_owned();
    Order::Restore { checkpoint }
}

pub(crate) fn weights(stable: f64, canary: f64) -> Order {
    Order::SetWeights([stable, canary].into_iter().collect())
}

impl Rig {
    /// An order that is answered at once.
    pub(crate) fn must(&mut self, order: Order) -> Answer {
        self.order(order).expect("an answer")
    }

    pub(crate) fn look(&mut self) -> Standing {
        self.must(Order::Look).expect("everybody may look")
    }

    pub(crate) fn last_kept(&self) -> &Change {
        self.kept.last().expect("something is kept")
    }

    pub(crate) fn rollbacks(&self) -> Vec<Rollback> {
        let records = self.events.iter().filter_map(|event| match event {
            Event::RolledBack(record) => Some(record.clone()),
            _ => None,
        });
        records.collect()
    }

    /// A router at work on a release that was kept, with a store.
    pub(crate) fn resumed(deployment: Deployment) -> Self {
        let core = GrayRouter::resume(deployment, SEED, Timestamp::ZERO, Some(1_000_000));
        let mut rig = Self::of(Box::new(core.kept_from_the_start()));
        rig.must(Order::Look).expect("everybody may look");
        rig
    }

    /// One request through the canary, which answers like this.
    pub(crate) fn canary_ends(&mut self, outcome: Outcome) {
        let request = self.arrive(true);
        self.end(request, outcome);
    }
}

fn phase_of(answer: &Answer) -> Option<Phase> {
    answer.as_ref().ok().map(|standing| standing.phase)
}

fn in_phase(phase: Phase) -> Rig {
    let mut rig = Rig::new(ramped());
    let orders = match phase {
        Phase::Pending => Vec::new(),
        Phase::Progressing => Vec::new(),
        Phase::Paused => vec![Order::Pause],
        Phase::Promoted => vec![Order::Promote, Order::Promote],
        Phase::RolledBack => vec![roll_back()],
    };
    for order in orders {
        rig.must(order).expect("leads to the phase");
    }
    assert_eq!(rig.look().phase, phase);
    rig
}

#[test]
fn every_order_in_every_phase() {
    use Phase::{Paused, Progressing, Promoted, RolledBack};
    let not_now = None;
    // The phase after it; none when it is not for this phase.
    let table: Vec<(Order, [Option<Phase>; 4])> = vec![
        (
            Order::Promote,
            [Some(Progressing), Some(Progressing), not_now, not_now],
        ),
        (Order::Pause, [Some(Paused), not_now, not_now, not_now]),
        (
            Order::Resume,
            [not_now, Some(Progressing), not_now, not_now],
        ),
        (
            weights(7.0, 3.0),
            [Some(Paused), Some(Paused), Some(Promoted), not_now],
        ),
        (
            weights(1.0, 0.0),
            [Some(Paused), Some(Paused), Some(Promoted), Some(RolledBack)],
        ),
        (
            checkpoint("mine"),
            [
                Some(Progressing),
                Some(Paused),
                Some(Promoted),
                Some(RolledBack),
            ],
        ),
        (apply(another()), [Some(Progressing); 4]),
        (roll_back(), [Some(RolledBack); 4]),
        (
            Order::Withhold,
            [
                Some(Progressing),
                Some(Paused),
                Some(Promoted),
                Some(RolledBack),
            ],
        ),
        (
            Order::Look,
            [
                Some(Progressing),
                Some(Paused),
                Some(Promoted),
                Some(RolledBack),
            ],
        ),
    ];
    for (order, expected) in table {
        for (phase, expected) in [Progressing, Paused, Promoted, RolledBack]
            .into_iter()
            .zip(expected)
        {
            let mut rig = in_phase(phase);
            let answer = rig.must(order.clone());
            assert_eq!(
                phase_of(&answer),
                expected,
                "{order:?} when {phase:?}: {answer:?}"
            );
            let is_final = answer == Err(Refusal::RolledBack);
            let is_not_now = matches!(answer, Err(Refusal::NotInThisPhase { .. }));
            let may_be_final = phase == RolledBack && order != Order::Pause;
            assert_eq!(
                is_final,
                expected.is_none() && may_be_final,
                "{order:?} {answer:?}"
            );
            assert_eq!(
                is_not_now,
                expected.is_none() && !may_be_final,
                "{order:?} {answer:?}"
            );
        }
    }
}

#[test]
fn weights_that_are_none_are_refused() {
    let nan = f64::NAN;
    for order in [
        weights(0.0, 0.0),
        weights(-1.0, 2.0),
        weights(nan, 1.0),
        weights(1.0, f64::INFINITY),
    ] {
        let answer = Rig::new(config()).must(order);
        assert!(
            matches!(answer, Err(Refusal::BadWeights { .. })),
            "{answer:?}"
        );
    }
    let three: PerVersion<f64> = [1.0, 1.0, 1.0].into_iter().collect();
    let answer = Rig::new(config()).must(Order::SetWeights(three));
    assert!(
        matches!(answer, Err(Refusal::BadWeights { .. })),
        "{answer:?}"
    );
}

#[test]
fn an_order_on_a_revision_that_is_gone_is_refused() {
    let mut rig = Rig::new(config());
    let seen = rig.look().revision;
    assert!(
        rig.order_based_on(Some(seen), weights(9.0, 1.0))
            .unwrap()
            .is_ok()
    );
    let late = rig.order_based_on(Some(seen), weights(1.0, 9.0)).unwrap();
    assert_eq!(late, Err(Refusal::Stale { revision: seen + 1 }));
    assert_eq!(rig.look().share, 0.1);
}

#[test]
fn an_order_is_not_in_force_before_it_is_written() {
    let mut rig = Rig::new(config());
    rig.store = None;
    assert_eq!(rig.order(weights(0.0, 1.0)), None);
    assert_eq!(rig.look().share, 0.5);
    assert_eq!(rig.must(Order::Promote), Err(Refusal::Busy));
    rig.written(true);
    let (_, answer) = rig.answers.last().unwrap();
    assert_eq!(answer.as_ref().unwrap().share, 1.0);
    assert_eq!(rig.look().share, 1.0);
}

#[test]
fn a_rollback_is_in_force_before_it_is_written_and_once_however_many_ask() {
    let mut rig = Rig::new(config());
    rig.store = None;
    for _ in 0..5 {
        assert_eq!(
            rig.order(roll_back()),
            None,
            "it is answered once it is written"
        );
        let request = rig.arrive(true);
        assert_eq!(rig.path(request), [STABLE]);
    }
    assert_eq!(rig.waiting.len(), 1);
    rig.written(true);
    let answers: Vec<_> = rig
        .answers
        .iter()
        .filter_map(|(_, a)| a.clone().ok())
        .collect();
    assert_eq!(answers.len(), 5);
    assert!(
        answers
            .iter()
            .all(|a| *a == answers[0] && a.phase == Phase::RolledBack)
    );
    let late = rig.must(roll_back()).unwrap();
    assert_eq!(
        (late.revision, late.phase),
        (answers[0].revision, Phase::RolledBack)
    );
    assert_eq!(rig.rollbacks().len(), 1);
}

#[test]
fn a_judges_rollback_and_a_persons_are_one() {
    let mut rig = Rig::new(config());
    (0..8).for_each(|_| rig.canary_ends(Outcome::ServerError));
    assert!(rig.must(roll_back()).is_ok());
    assert!(rig.must(instant()).is_ok(), "it is done already");
    let records = rig.rollbacks();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].reason.name(), "error_rate");
    let written: Vec<_> = rig.kept.iter().filter_map(|c| c.rollback.clone()).collect();
    assert_eq!(written, records);
}

/// Promotion, a new configuration, a pause: whatever is being written, the rollback is later.
#[test]
fn a_rollback_overtakes_an_order_that_is_being_written() {
    let orders = [
        (Order::Promote, Refusal::RolledBack),
        (Order::Pause, Refusal::RolledBack),
        (checkpoint("mine"), Refusal::RolledBack),
        (weights(0.0, 1.0), Refusal::RolledBack),
        (apply(another()), Refusal::Stale { revision: 2 }),
    ];
    for (order, refusal) in orders {
        let mut rig = Rig::new(ramped());
        rig.store = None;
        assert_eq!(rig.order(order.clone()), None);
        assert_eq!(rig.order(roll_back()), None);
        let ops = rig.waiting.clone();
        assert_eq!(ops.len(), 2, "in the order they were asked for");
        rig.written(true);
        assert_eq!(rig.answers[0].1, Err(refusal), "{order:?}");
        assert_eq!(phase_of(&rig.answers[1].1), Some(Phase::RolledBack));
        let standing = rig.look();
        assert_eq!((standing.phase, standing.share), (Phase::RolledBack, 0.0));
        let last = rig.last_kept();
        assert_eq!(
            last.deployment.phase,
            Phase::RolledBack,
            "the store's last word as well"
        );
        assert_eq!(last.deployment.revision, standing.revision);
    }
}

#[test]
fn what_could_not_be_written_never_overwrites_a_later_order() {
    let mut rig = Rig::new(config());
    rig.store = Some(false);
    rig.order(roll_back());
    rig.store = None;
    assert_eq!(rig.order(apply(another())), None);
    // The rollback is due to be written again, but the new release is being written.
    rig.advance(ms(5_000));
    assert_eq!(rig.waiting.len(), 1);
    rig.written(true);
    assert_eq!(rig.look().phase, Phase::Progressing);
    rig.advance(ms(5_000));
    rig.written(true);
    let last = rig.last_kept();
    assert!(last.rollback.is_some(), "its record is not lost");
    assert_eq!(last.deployment.release, 2);
    assert_eq!(last.deployment.phase, Phase::Progressing);
}
