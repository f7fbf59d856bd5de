//! `attribution`: what the router says, against what everybody else saw.

use graygate::id::RequestKey;
use graygate::observe::event::{AttemptKind, Booked, Claim, Origin, Settled, What};
use graygate::protocol::outcome::Outcome;
use graygate::verdict::result::Status;
use graygate::verdict::spec::GateSpec;

use crate::play::{CANARY, Play, STABLE, To, to};

const OK: Outcome = Outcome::Success;
const ERROR: Outcome = Outcome::ServerError;

fn rescued() -> [To; 2] {
    [to(CANARY, ERROR), to(STABLE, OK)]
}

#[test]
fn attribution_compares_versions_outcomes_headers_and_counts() {
    let gates = [GateSpec::Attribution { min_n: 1 }];
    let failed = |play: Play| -> Vec<usize> {
        let gate = play.gate();
        (0..)
            .zip(&gate.checks)
            .filter(|(_, c)| c.status == Status::Fail)
            .map(|(i, _)| i)
            .collect()
    };
    let mut honest = Play::new(&gates);
    honest.requests(5, (0.0, 1.0), &rescued());
    assert_eq!(honest.status(), Status::Pass);

    let mut wrong_version = Play::new(&gates);
    wrong_version.request(
        0.0,
        &[
            To {
                booked: Some((STABLE, ERROR)),
                ..to(CANARY, ERROR)
            },
            to(STABLE, OK),
        ],
    );
    assert_eq!(failed(wrong_version), [0]);

    let mut wrong_outcome = Play::new(&gates);
    wrong_outcome.request(
        0.0,
        &[To {
            booked: Some((STABLE, OK)),
            ..to(STABLE, ERROR)
        }],
    );
    assert_eq!(failed(wrong_outcome), [1]);

    let mut wrong_header = Play::new(&gates);
    wrong_header.claim = Some(CANARY);
    wrong_header.request(0.0, &[to(STABLE, OK)]);
    assert_eq!(failed(wrong_header), [2]);

    assert_eq!(Play::new(&gates).status(), Status::Inconclusive);
}

/// A hang-up that the driver saw is what the router says it was, and an answer that crosses it on the
/// wire is no lie. Without a hang-up, the upstream's word stands.
#[test]
fn attribution_takes_the_routers_word_only_for_hang_ups_that_were_seen() {
    let gates = [GateSpec::Attribution { min_n: 1 }];
    let outcomes = |told, booked, cancelled| {
        let mut play = Play::new(&gates);
        let attempt = To {
            booked: Some((CANARY, booked)),
            cancelled,
            ..to(CANARY, told)
        };
        play.request(0.0, &[attempt, to(STABLE, OK)]);
        play.gate().checks[1].status
    };
    let gone = Outcome::ClientGone;
    assert_eq!(outcomes(gone, Outcome::Timeout, true), Status::Pass);
    assert_eq!(outcomes(OK, Outcome::Timeout, true), Status::Pass);
    assert_eq!(outcomes(gone, Outcome::Timeout, false), Status::Pass);
    // Nobody hangs up because of a 500, and a 500 is no timeout.
    assert_eq!(outcomes(gone, ERROR, true), Status::Fail);
    assert_eq!(outcomes(ERROR, Outcome::Timeout, false), Status::Fail);
    assert_eq!(outcomes(OK, Outcome::Timeout, false), Status::Fail);
    // The caller stayed, and got its answer.
    assert_eq!(outcomes(gone, gone, true), Status::Fail);
}

/// One lie at a time, about a request that stable rescued: the checks that see it.
#[test]
fn attribution_sees_through_every_single_lie() {
    const BOOKED: usize = 0;
    const OUTCOME: usize = 1;
    const HEADERS: usize = 2;
    const COUNTS: usize = 4;
    let seen = |lie: fn(What) -> Vec<What>| -> Vec<usize> {
        let mut play = Play::new(&[GateSpec::Attribution { min_n: 1 }]);
        play.lie = lie;
        play.request(0.0, &rescued());
        let gate = play.gate();
        let checks = (0..).zip(&gate.checks);
        let failed = checks.filter(|(_, c)| c.status == Status::Fail);
        failed.map(|(i, _)| i).collect()
    };
    assert_eq!(seen(|what| vec![what]), [0_usize; 0]);
    let nothing_booked = seen(|what| match what {
        What::Booked(_) => Vec::new(),
        other => vec![other],
    });
    assert_eq!(nothing_booked, [BOOKED]);
    let nothing_said_at_the_end = seen(|what| match what {
        What::Booked(_) | What::Settled(_) => Vec::new(),
        other => vec![other],
    });
    assert_eq!(nothing_said_at_the_end, [BOOKED, COUNTS]);
    let never_settled = seen(|what| match what {
        What::Settled(_) => Vec::new(),
        other => vec![other],
    });
    assert_eq!(never_settled, [COUNTS]);
    let booked_twice = seen(|what| match what {
        What::Booked(_) => vec![what.clone(), what],
        other => vec![other],
    });
    assert_eq!(booked_twice, [BOOKED]);
    let assigned_elsewhere = seen(|what| match what {
        What::Assigned { key, .. } => vec![What::Assigned {
            key,
            version: STABLE,
        }],
        other => vec![other],
    });
    assert_eq!(assigned_elsewhere, [BOOKED]);
    let failed = seen(|what| settle(what, |s| s.outcome = ERROR));
    assert_eq!(failed, [OUTCOME]);
    let another_server = seen(|what| settle(what, |s| s.served_by = Some(CANARY)));
    assert_eq!(another_server, [BOOKED]);
    let no_fallback = seen(|what| settle(what, |s| s.fallback = false));
    assert_eq!(no_fallback, [BOOKED]);
    let miscounted = seen(|what| settle(what, |s| s.attempts = 1));
    assert_eq!(miscounted, [COUNTS]);
    let another_kind = seen(|what| match what {
        What::Booked(booked) => vec![What::Booked(Booked {
            kind: AttemptKind::Retry,
            ..booked
        })],
        other => vec![other],
    });
    assert_eq!(another_kind, [COUNTS]);
    assert_eq!(seen(|what| reclaim(what, |c| c.fallback = None)), [HEADERS]);
    assert_eq!(seen(|what| reclaim(what, |c| c.version = None)), [HEADERS]);
    let attempts = seen(|what| reclaim(what, |c| c.attempts = Some(1)));
    assert_eq!(attempts, [HEADERS]);
}

fn settle(what: What, change: fn(&mut Settled)) -> Vec<What> {
    match what {
        What::Settled(mut settled) => {
            change(&mut settled);
            vec![What::Settled(settled)]
        }
        other => vec![other],
    }
}

fn reclaim(what: What, change: fn(&mut Claim)) -> Vec<What> {
    match what {
        What::Answered(mut answered) => {
            change(&mut answered.claim);
            vec![What::Answered(answered)]
        }
        other => vec![other],
    }
}

/// A failure is settled as that of the last attempt, and the caller is told what this is told as.
#[test]
fn attribution_knows_what_callers_are_told_of_a_failure() {
    let outcome = |told: Outcome, settled_as: fn(What) -> Vec<What>| {
        let mut play = Play::new(&[GateSpec::Attribution { min_n: 1 }]);
        play.lie = settled_as;
        let refused = Outcome::Unauthorized;
        play.request_told(0.0, &[to(CANARY, refused)], told);
        play.gate().checks[1].status
    };
    let as_it_was: fn(What) -> Vec<What> = |what| vec![what];
    // A refused key is a 401 for the caller, too.
    assert_eq!(outcome(Outcome::Unauthorized, as_it_was), Status::Pass);
    assert_eq!(outcome(ERROR, as_it_was), Status::Fail);
    let as_another = |what| settle(what, |s| s.outcome = Outcome::Reset);
    assert_eq!(outcome(ERROR, as_another), Status::Fail);
    let as_deadline = |what| settle(what, |s| s.outcome = Outcome::Deadline);
    assert_eq!(outcome(Outcome::Timeout, as_deadline), Status::Pass);
    assert_eq!(outcome(ERROR, as_deadline), Status::Fail);
}

#[test]
fn attribution_sees_answers_that_belong_to_somebody_else() {
    let gates = [GateSpec::Attribution { min_n: 1 }];
    let origin = |key, version| {
        let mut play = Play::new(&gates);
        play.origin = Some(Origin {
            key: Some(RequestKey(key)),
            version: Some(version),
            text: None,
        });
        play.request(0.0, &[to(STABLE, OK)]);
        play.gate().checks[3].status
    };
    assert_eq!(origin(0, STABLE), Status::Pass);
    assert_eq!(origin(1, STABLE), Status::Fail);
    assert_eq!(origin(0, CANARY), Status::Fail);
}

/// Attempts are taken back, and waiting requests sent elsewhere, when the canary is closed; only then.
#[test]
fn a_rollback_explains_what_it_takes_back_and_nothing_else() {
    let gates = [GateSpec::Attribution { min_n: 1 }];
    let recalled = To {
        booked: Some((CANARY, Outcome::Shutdown)),
        cancelled: true,
        ..to(CANARY, Outcome::ClientGone)
    };
    let taken_back = |is_closed: bool| {
        let mut play = Play::new(&gates);
        if is_closed {
            play.roll_back(0.0);
        }
        play.request(0.0, &[recalled, to(STABLE, OK)]);
        play.status()
    };
    assert_eq!(taken_back(true), Status::Pass);
    assert_eq!(taken_back(false), Status::Fail);
    // Given to the canary, waited for a slot there, and sent to stable.
    let sent_elsewhere = |rolled_back: Option<f64>| {
        let mut play = Play::new(&gates);
        if let Some(second) = rolled_back {
            play.roll_back(second);
        }
        play.lie = |what| match what {
            What::Assigned { key, .. } => vec![What::Assigned {
                key,
                version: CANARY,
            }],
            what => vec![what],
        };
        play.request(1.0, &[to(STABLE, OK)]);
        play.status()
    };
    assert_eq!(sent_elsewhere(Some(1.0)), Status::Pass);
    assert_eq!(sent_elsewhere(Some(0.5)), Status::Fail, "long closed");
    assert_eq!(sent_elsewhere(None), Status::Fail);
}
