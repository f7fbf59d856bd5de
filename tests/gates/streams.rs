//! The gates about streams: when tokens came, and whether an answer is what its upstream sent.

use std::time::Duration;

use graygate::observe::event::Gap;
use graygate::protocol::openai::Usage;
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op};
use graygate::verdict::result::{GateResult, Status};
use graygate::verdict::spec::{GateSpec, RequestsSpec, StreamSpec, TokenMeasure, TokenSpec};

use crate::play::{CANARY, Play, STABLE, To, Tokens, count, to};

const OK: Outcome = Outcome::Success;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limit(measure: TokenMeasure, quantile: &str, op: Op, bound: Duration) -> RequestsSpec {
    let quantile = quantile.parse().expect("a quantile");
    let limit = Comparison { op, bound };
    RequestsSpec {
        tokens: TokenSpec {
            quantiles: vec![(measure, quantile, limit)],
            speed: None,
        },
        ..RequestsSpec::default()
    }
}

fn speed(op: Op, bound: u64) -> RequestsSpec {
    RequestsSpec {
        tokens: TokenSpec {
            quantiles: Vec::new(),
            speed: Some(count(op, bound)),
        },
        ..RequestsSpec::default()
    }
}

fn play(spec: RequestsSpec) -> Play {
    let mut play = Play::new(&[GateSpec::Requests(spec)]);
    play.tokens = Some(Tokens::new(20, 4, 5));
    play
}

#[test]
fn first_tokens_are_counted_exactly_at_the_bound() {
    for (op, holds) in [
        (Op::AtMost, true),
        (Op::Less, false),
        (Op::Equal, true),
        (Op::Greater, false),
    ] {
        let mut play = play(limit(TokenMeasure::First, "p50", op, ms(20)));
        play.requests(30, (0.0, 1.0), &[to(STABLE, OK)]);
        assert_eq!(play.status() == Status::Pass, holds, "{op}");
    }
}

/// From the schedule for the caller, from sending for the version: what was late before it is not its doing.
#[test]
fn first_tokens_of_a_version_are_counted_from_sending() {
    let bound = limit(TokenMeasure::First, "p50", Op::AtMost, ms(15));
    let late = |spec| {
        let mut play = play(spec);
        play.delay = ms(8);
        play.requests(30, (0.0, 1.0), &[to(CANARY, OK)]);
        play.status()
    };
    assert_eq!(late(bound.clone()), Status::Fail);
    let version = |version| RequestsSpec {
        version: Some(version),
        ..bound.clone()
    };
    assert_eq!(late(version(CANARY)), Status::Pass);
    assert_eq!(
        late(version(STABLE)),
        Status::Inconclusive,
        "it served none"
    );
}

#[test]
fn streams_that_broke_are_not_measured() {
    let mut play = play(limit(TokenMeasure::First, "p50", Op::AtMost, ms(20)));
    play.requests(20, (0.0, 1.0), &[to(STABLE, OK)]);
    play.tokens = Some(Tokens::new(900, 4, 5));
    play.requests(30, (1.0, 2.0), &[to(STABLE, Outcome::Truncated)]);
    let gate = play.gate();
    assert_eq!(gate.status, Status::Pass);
    assert_eq!(gate.checks[0].evidence.n, 20);
}

#[test]
fn gaps_are_counted_by_tokens() {
    let fate = |slow: u32| {
        let mut play = play(limit(TokenMeasure::Inter, "p99", Op::AtMost, ms(10)));
        let gap = |each, tokens| Gap {
            each: ms(each),
            tokens,
        };
        play.tokens = Some(Tokens {
            gaps: vec![gap(10, 1_000 - slow), gap(500, slow)],
            ..Tokens::new(20, 0, 0)
        });
        play.request(0.0, &[to(STABLE, OK)]);
        play.gate()
    };
    assert_eq!(fate(10).status, Status::Pass);
    let gate = fate(11);
    assert_eq!(gate.status, Status::Fail);
    assert_eq!(gate.checks[0].evidence.n, 1_000);
}

#[test]
fn the_mean_time_of_a_token_leaves_the_first_one_out() {
    let fate = |bound| {
        let mut play = play(limit(TokenMeasure::Mean, "p50", Op::AtMost, bound));
        play.requests(20, (0.0, 1.0), &[to(STABLE, OK)]);
        play.status()
    };
    assert_eq!(fate(ms(5)), Status::Pass);
    assert_eq!(fate(ms(5) - Duration::from_nanos(1)), Status::Fail);
}

#[test]
fn speed_is_over_all_streams_together() {
    let fate = |op, bound| {
        let mut play = play(speed(op, bound));
        play.tokens = Some(Tokens::new(20, 10, 50));
        play.request(0.0, &[to(STABLE, OK)]);
        play.tokens = Some(Tokens::new(20, 10, 150));
        play.request(0.0, &[to(STABLE, OK)]);
        play.gate()
    };
    // 20 tokens in two seconds.
    assert_eq!(fate(Op::AtLeast, 10).status, Status::Pass);
    let gate = fate(Op::Greater, 10);
    assert_eq!(gate.status, Status::Fail);
    assert_eq!(gate.checks[0].offenders.len(), 1, "the slow one alone");
}

#[test]
fn without_streams_nothing_is_shown() {
    for spec in [
        limit(TokenMeasure::First, "p50", Op::AtMost, ms(20)),
        speed(Op::AtLeast, 1),
    ] {
        let mut play = play(spec);
        play.tokens = None;
        play.requests(50, (0.0, 1.0), &[to(STABLE, OK)]);
        assert_eq!(play.status(), Status::Inconclusive);
    }
}

// stream

fn spent(version: graygate::id::VersionId, outcome: Outcome, tokens: u32) -> To {
    To {
        usage: Some(Usage {
            prompt_tokens: 3,
            completion_tokens: tokens,
        }),
        ..to(version, outcome)
    }
}

/// What the gate says of good streams and one that is told like this.
fn told(attempts: &[To], outcome: Outcome, change: impl FnOnce(&mut Tokens)) -> GateResult {
    let mut play = Play::new(&[GateSpec::Stream(StreamSpec {
        min_n: 1,
        ..StreamSpec::default()
    })]);
    play.tokens = Some(Tokens::new(20, 4, 5));
    play.requests(5, (0.0, 1.0), &[spent(STABLE, OK, 5)]);
    if let Some(tokens) = &mut play.tokens {
        change(tokens);
    }
    let told = play.request_told(1.0, attempts, outcome);
    let gate = play.gate();
    for check in gate.checks.iter().filter(|c| c.status == Status::Fail) {
        assert_eq!(check.offenders, [told]);
    }
    gate
}

fn failed(gate: &GateResult) -> Vec<&str> {
    let failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
    failed.map(|check| check.condition.as_str()).collect()
}

#[test]
fn whole_streams_and_honest_failures_pass() {
    let whole = told(&[spent(CANARY, OK, 5)], OK, |_| {});
    assert_eq!(whole.status, Status::Pass);
    let broken = [spent(CANARY, Outcome::Truncated, 5)];
    let less = |tokens: &mut Tokens| tokens.content = Some(2);
    let broken = told(&broken, Outcome::StreamError, less);
    assert_eq!(broken.status, Status::Pass);
}

#[test]
fn two_answers_in_one_are_caught() {
    let condition = "no stream is made of two answers";
    let spliced = |tokens: &mut Tokens| tokens.is_spliced = true;
    let gate = told(&[spent(CANARY, OK, 5)], OK, spliced);
    assert_eq!(failed(&gate), [condition]);
    // The first token came before the second attempt was sent.
    let early = |tokens: &mut Tokens| tokens.first = Duration::ZERO;
    let mut play = Play::new(&[GateSpec::Stream(StreamSpec::default())]);
    play.tokens = Some(Tokens::new(20, 4, 5));
    early(play.tokens.as_mut().expect("tokens"));
    play.delay = ms(1);
    play.request(
        0.0,
        &[spent(CANARY, Outcome::Reset, 5), spent(STABLE, OK, 5)],
    );
    assert_eq!(failed(&play.gate()), [condition]);
}

#[test]
fn what_was_cut_off_and_is_told_as_whole_is_caught() {
    let condition = "what was cut off is no success";
    let cut = [spent(CANARY, Outcome::Truncated, 5)];
    assert_eq!(failed(&told(&cut, OK, |_| {})), [condition]);
    // Its upstream sent more than came.
    let short = |tokens: &mut Tokens| tokens.content = Some(4);
    assert_eq!(
        failed(&told(&[spent(CANARY, OK, 5)], OK, short)),
        [condition]
    );
}

#[test]
fn what_comes_twice_is_caught() {
    let more = |tokens: &mut Tokens| tokens.content = Some(6);
    let gate = told(&[spent(CANARY, OK, 5)], OK, more);
    assert_eq!(failed(&gate), ["nothing comes twice"]);
    let broken = [spent(CANARY, Outcome::Reset, 5)];
    let gate = told(&broken, Outcome::StreamError, |tokens| {
        tokens.content = Some(6);
    });
    assert_eq!(failed(&gate), ["nothing comes twice"]);
}

#[test]
fn an_end_after_a_failure_is_caught() {
    let broken = [spent(CANARY, Outcome::Truncated, 5)];
    let gate = told(&broken, Outcome::StreamError, |tokens| {
        tokens.is_done_after_failure = true;
    });
    assert_eq!(failed(&gate), ["no [DONE] after a failure"]);
}

#[test]
fn answers_that_are_no_streams_show_nothing() {
    let mut play = Play::new(&[GateSpec::Stream(StreamSpec {
        min_n: 1,
        ..StreamSpec::default()
    })]);
    play.requests(50, (0.0, 1.0), &[spent(STABLE, OK, 5)]);
    assert_eq!(play.status(), Status::Inconclusive);
}
