//! `cost`: bounds on money hold exactly, and what is not known is never taken for free.

use graygate::id::VersionId;
use graygate::observe::event::What;
use graygate::pricing::{Cost, Price};
use graygate::protocol::drift::{Drift, DriftKind};
use graygate::protocol::openai::Usage;
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op};
use graygate::verdict::result::Status;
use graygate::verdict::spec::{CostSpec, GateSpec};

use crate::play::{CANARY, Play, STABLE, To, count, to};

/// $0.002 + $0.004 an answer.
const USAGE: Usage = Usage {
    prompt_tokens: 1_000,
    completion_tokens: 500,
};

fn usd(op: Op, text: &str) -> Option<Comparison<Cost>> {
    let bound = text.parse().expect("an amount");
    Some(Comparison { op, bound })
}

fn price() -> Option<Price> {
    Some(Price {
        input: "$2".parse().expect("an amount"),
        output: "$8".parse().expect("an amount"),
    })
}

fn paid(version: VersionId, outcome: Outcome) -> To {
    To {
        usage: Some(USAGE),
        ..to(version, outcome)
    }
}

/// Ten answers of stable, two of the canary; two of its answers come too late, stable answers instead;
/// and one refusal, which is free. 17 attempts in all.
fn tell(play: &mut Play) {
    let late = To {
        cancelled: true,
        booked: Some((CANARY, Outcome::Timeout)),
        ..paid(CANARY, Outcome::ClientGone)
    };
    let refused = to(CANARY, Outcome::Unauthorized);
    let rescue = paid(STABLE, Outcome::Success);
    play.requests(10, (0.0, 1.0), &[paid(STABLE, Outcome::Success)]);
    play.requests(2, (0.0, 1.0), &[paid(CANARY, Outcome::Success)]);
    play.requests(2, (0.0, 1.0), &[late, rescue]);
    play.requests(1, (0.0, 1.0), &[refused, rescue]);
}

fn status_with(spec: CostSpec, more: impl FnOnce(&mut Play)) -> Status {
    let mut play = Play::priced(&[GateSpec::Cost(spec)], [price(), price()]);
    tell(&mut play);
    more(&mut play);
    play.status()
}

fn status(spec: CostSpec) -> Status {
    status_with(spec, |_| {})
}

fn total(op: Op, text: &str) -> CostSpec {
    CostSpec {
        total: usd(op, text),
        ..CostSpec::default()
    }
}

#[test]
fn every_attempt_with_tokens_is_paid_to_the_nano_dollar() {
    // 17 answers at $0.006.
    assert_eq!(status(total(Op::AtMost, "$0.102")), Status::Pass);
    assert_eq!(status(total(Op::Less, "$0.102")), Status::Fail);
    assert_eq!(status(total(Op::AtMost, "$0.101999999")), Status::Fail);
    assert_eq!(status(total(Op::Equal, "$0.102")), Status::Pass);
    assert_eq!(status(total(Op::AtLeast, "$0.102000001")), Status::Fail);
}

#[test]
fn an_answer_that_nobody_got_is_wasted_on_the_version_that_gave_it() {
    let wasted = |op, text, version| CostSpec {
        version,
        wasted: usd(op, text),
        ..CostSpec::default()
    };
    assert_eq!(status(wasted(Op::Equal, "$0.012", None)), Status::Pass);
    assert_eq!(
        status(wasted(Op::Equal, "$0.012", Some(CANARY))),
        Status::Pass
    );
    assert_eq!(
        status(wasted(Op::Equal, "$0.00", Some(STABLE))),
        Status::Pass
    );
    let of_canary = CostSpec {
        version: Some(CANARY),
        ..total(Op::Equal, "$0.024")
    };
    assert_eq!(status(of_canary), Status::Pass);
}

#[test]
fn what_nobody_states_is_never_free() {
    let silent = |play: &mut Play| {
        let hung = To {
            cancelled: true,
            booked: Some((CANARY, Outcome::Timeout)),
            ..to(CANARY, Outcome::ClientGone)
        };
        play.request(0.5, &[hung, paid(STABLE, Outcome::Success)]);
    };
    let of = |spec| status_with(spec, silent);
    assert_eq!(of(total(Op::AtMost, "$1")), Status::Inconclusive);
    assert_eq!(
        of(total(Op::AtMost, "$0.10")),
        Status::Fail,
        "it can only grow"
    );
    assert_eq!(
        of(total(Op::AtLeast, "$0.10")),
        Status::Pass,
        "it can only grow"
    );
    assert_eq!(of(total(Op::AtLeast, "$1")), Status::Inconclusive);
    assert_eq!(of(total(Op::Equal, "$0.10")), Status::Fail);
    assert_eq!(of(total(Op::Equal, "$0.108")), Status::Inconclusive);
    let but = |bound| CostSpec {
        unknown: Some(count(Op::AtMost, bound)),
        ..total(Op::AtMost, "$1")
    };
    assert_eq!(of(but(1)), Status::Pass);
    assert_eq!(of(but(0)), Status::Fail);
    let of_stable = CostSpec {
        version: Some(STABLE),
        ..total(Op::AtMost, "$1")
    };
    assert_eq!(of(of_stable), Status::Pass, "stable stated everything");
}

#[test]
fn nothing_spent_and_no_price_are_no_pass() {
    let gates = [GateSpec::Cost(total(Op::AtMost, "$1"))];
    let empty = Play::priced(&gates, [price(), price()]);
    assert_eq!(empty.status(), Status::Inconclusive);
    let mut unpriced = Play::priced(&gates, [price(), None]);
    tell(&mut unpriced);
    assert_eq!(unpriced.status(), Status::Inconclusive);
}

/// The router books the canary's tokens otherwise than its upstream states them.
#[test]
fn tokens_that_are_booked_wrong_are_found() {
    let gates = [GateSpec::Attribution { min_n: 1 }];
    let mut honest = Play::priced(&gates, [price(), price()]);
    tell(&mut honest);
    let honest = honest.gate();
    assert_eq!(honest.status, Status::Pass, "{honest:#?}");
    let mut liar = Play::priced(&gates, [price(), price()]);
    liar.lie = |what| match what {
        What::Booked(mut booked) if booked.version == CANARY => {
            let usage = booked.usage.as_mut();
            if let Some(usage) = usage {
                usage.completion_tokens = 5;
            }
            vec![What::Booked(booked)]
        }
        what => vec![what],
    };
    tell(&mut liar);
    let gate = liar.gate();
    let red: Vec<&str> = gate.open_checks().map(|c| c.condition.as_str()).collect();
    assert_eq!(
        red,
        ["answers are booked with the tokens that their upstream spent"]
    );
}

#[test]
fn drift_is_counted_on_the_version_that_drifts() {
    let mut play = Play::new(&[]);
    play.lie = |what| match what {
        What::Booked(mut booked) if booked.version == CANARY => {
            let kinds = [DriftKind::TokensConsumed, DriftKind::ExtraMetadata];
            booked.drift = kinds.into_iter().collect::<Drift>();
            vec![What::Booked(booked)]
        }
        what => vec![what],
    };
    tell(&mut play);
    let drift = |version| play.summary().versions[version].drift.clone();
    assert_eq!(drift(STABLE).answers, 0);
    assert_eq!(drift(CANARY).answers, 5);
    let kinds: Vec<_> = drift(CANARY).iter().collect();
    assert_eq!(
        kinds,
        [
            (DriftKind::TokensConsumed, 5),
            (DriftKind::ExtraMetadata, 5)
        ]
    );
}

/// A million requests of the article in 30 days: what a run of any length at that rate projects.
#[test]
fn the_article_s_month_is_projected_from_a_run_at_its_rate() {
    let mut play = Play::priced(&[], [price(), price()]);
    let month = 30.0 * 86_400.0;
    let (requests, until) = (100, month / 1e6 * 100.0);
    play.requests(requests, (0.0, until), &[paid(STABLE, Outcome::Success)]);
    let summary = play.summary();
    let total = summary.costs.total().expect("both have prices");
    assert_eq!(total.to_string(), "$0.60");
    let projection = summary.projection(total);
    let shown = |cost: Option<Cost>| cost.expect("a projection").to_string();
    assert_eq!(shown(projection.month), "$6,000.00");
    assert_eq!(shown(projection.year), "$72,000.00");
    assert_eq!(shown(projection.million_requests), "$6,000.00");
}
