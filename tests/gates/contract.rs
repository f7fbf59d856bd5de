//! `contract`: answers that differ are counted by version, from the upstreams' ledgers and from callers.

use graygate::id::VersionId;
use graygate::protocol::drift::{Drift, DriftKind};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op};
use graygate::verdict::result::Status;
use graygate::verdict::spec::{ContractSpec, GateSpec};

use crate::play::{CANARY, Play, STABLE, To, Tokens, count, to};

fn spec() -> ContractSpec {
    ContractSpec {
        names: ["v1".to_owned(), "v2".to_owned()].into_iter().collect(),
        min_n: 1,
        ..ContractSpec::default()
    }
}

fn zero() -> Option<Comparison<u64>> {
    Some(count(Op::Equal, 0))
}

fn wrapped() -> Drift {
    Drift::from(vec![DriftKind::Wrapped])
}

/// An answer that differs as its upstream sends it, as the router counts it, and as its caller gets it.
fn answer(version: VersionId, drift: [Drift; 3]) -> To {
    To {
        drift,
        ..to(version, Outcome::Success)
    }
}

fn fine(version: VersionId) -> To {
    answer(version, [Drift::NONE; 3])
}

fn status(spec: ContractSpec, attempts: &[To]) -> Status {
    let mut play = Play::new(&[GateSpec::Contract(spec)]);
    for to in attempts {
        play.requests(1, (0.0, 1.0), &[*to]);
    }
    play.status()
}

#[test]
fn what_a_version_sends_is_held_against_it_and_what_is_put_right_reaches_nobody() {
    let put_right = answer(CANARY, [wrapped(), wrapped(), Drift::NONE]);
    let all = [fine(STABLE), fine(CANARY), put_right];
    let drift = ContractSpec {
        drift: zero(),
        ..spec()
    };
    let answers = ContractSpec {
        answers: zero(),
        ..spec()
    };
    assert_eq!(status(drift.clone(), &all), Status::Fail);
    assert_eq!(status(answers.clone(), &all), Status::Pass);
    assert_eq!(status(drift.clone(), &all[..2]), Status::Pass);
    let of_stable = ContractSpec {
        version: Some(STABLE),
        ..drift.clone()
    };
    assert_eq!(status(of_stable, &all), Status::Pass, "v1 is innocent");
    let up_to_one = ContractSpec {
        drift: Some(count(Op::AtMost, 1)),
        ..spec()
    };
    assert_eq!(status(up_to_one.clone(), &all), Status::Pass);
    let two = [all.as_slice(), &[put_right]].concat();
    assert_eq!(status(up_to_one, &two), Status::Fail);
    let got_it = answer(CANARY, [wrapped(); 3]);
    assert_eq!(status(answers, &[fine(STABLE), got_it]), Status::Fail);
    // Failures are no answers, but for those that were meant to be some.
    let refused = To {
        drift: [wrapped(), Drift::NONE, Drift::NONE],
        ..to(CANARY, Outcome::ServerError)
    };
    let empty = To {
        drift: [Drift::from(vec![DriftKind::MissingChoices]); 3],
        ..to(CANARY, Outcome::Malformed)
    };
    let beside = [fine(STABLE), fine(CANARY)];
    let with = |to| status(drift.clone(), &[beside.as_slice(), &[to]].concat());
    assert_eq!(with(refused), Status::Pass);
    assert_eq!(with(empty), Status::Fail);
}

/// What was not looked at is not passed off as fine without a word.
#[test]
fn answers_that_broke_off_are_named() {
    let both = ContractSpec {
        drift: zero(),
        answers: zero(),
        ..spec()
    };
    let mut play = Play::new(&[GateSpec::Contract(both)]);
    play.tokens = Some(Tokens::new(20, 3, 10));
    play.requests(1, (0.0, 1.0), &[fine(STABLE)]);
    play.requests(3, (1.0, 2.0), &[fine(CANARY)]);
    play.requests(2, (2.0, 3.0), &[to(CANARY, Outcome::Truncated)]);
    let gate = play.gate();
    let of_canary = gate.checks.iter().filter(|c| c.condition.contains("v2"));
    let seen: Vec<&str> = of_canary.map(|check| check.seen.as_str()).collect();
    let expected = "0 of 3 answers; 2 more broke off and were not looked at";
    assert_eq!(seen, [expected, expected]);
}

#[test]
fn a_version_without_answers_is_not_shown_to_keep_the_shape() {
    let drift = ContractSpec {
        drift: zero(),
        ..spec()
    };
    assert_eq!(status(drift, &[fine(STABLE)]), Status::Inconclusive);
}

/// Whoever counts, counts what was there: no less and no more.
#[test]
fn a_router_that_overlooks_drift_or_makes_it_up_is_caught() {
    let lenient = ContractSpec {
        drift: Some(count(Op::AtMost, 9)),
        ..spec()
    };
    let overlooked = answer(CANARY, [wrapped(), Drift::NONE, Drift::NONE]);
    let made_up = answer(CANARY, [Drift::NONE, wrapped(), Drift::NONE]);
    for lie in [overlooked, made_up] {
        let all = [fine(STABLE), lie];
        assert_eq!(status(lenient.clone(), &all), Status::Fail);
    }
}
