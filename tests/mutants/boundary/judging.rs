//! Routers that judge by something else than what happened, or than their file says.

use std::time::Duration;

use graygate::protocol::outcome::Outcome;
use graygate::router::config::{
    JudgeConfig, Limit, LiteralConfig, RouterConfig, Threshold, ThresholdAction,
};
use graygate::router::io::{Event, Input, Measure};

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const REFUSED: &str = "canary-401-falls-back-and-rolls-back";
const HEALED: &str = "healed-canary-is-kept";
const ONCE: &str = "rolled back once";
const KEPT: &str = "not rolled back";

pub(super) fn all() -> Vec<Mutant> {
    let mut all = blind();
    all.extend(wrong_settings());
    all
}

fn blind() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "monitoring-returns-constants",
            "sees an error rate of 2 % and a latency of 45 ms, whatever happens",
            Source::Defect(6),
            |_| Constants,
        )
        .caught(REFUSED, "rollback", ONCE)
        .caught("fallback-masks-dead-canary", "rollback", ONCE),
        literal(
            "all-time-counts-hide-failures",
            "judges by everything that ever happened, so that good old traffic hides new failures",
            Source::Defect(9),
            all_time,
        )
        .caught("missing-model-mid-run", "rollback", "within"),
        literal(
            "all-time-counts-never-forgive",
            "judges by everything that ever happened, so that old failures condemn a healed canary",
            Source::Defect(9),
            all_time,
        )
        .caught(HEALED, "no_rollback", KEPT),
        literal(
            "judge-without-regular-looks",
            "looks at failures only, never at its ticks",
            Source::Entries(&[41], 11),
            |judge| judge.every = Duration::from_secs(3_600),
        )
        .caught("slow-canary-rolled-back-by-p99", "rollback", ONCE),
    ]
}

fn wrong_settings() -> Vec<Mutant> {
    vec![
        literal(
            "judge-acts-on-too-little",
            "rolls back on two requests",
            Source::Entries(&[48], 12),
            |judge| judge.min_requests = 2,
        )
        .caught(HEALED, "no_rollback", KEPT),
        literal(
            "threshold-too-high",
            "judges by 10 % instead of 5 %",
            Source::Own,
            |judge| judge.thresholds[0].limit = Limit::ErrorRate(0.1),
        )
        .caught("errors-just-above-threshold", "rollback", ONCE),
        literal(
            "threshold-too-low",
            "judges by 3 % instead of 5 %",
            Source::Own,
            |judge| judge.thresholds[0].limit = Limit::ErrorRate(0.03),
        )
        .caught("errors-just-below-threshold", "no_rollback", KEPT),
        // Without a comparison, what befalls both is the canary's.
        Mutant::of_config(
            "shared-outage-blamed-on-the-canary",
            "looks at the canary alone, and rolls it back for an outage of both versions",
            Source::Entries(&[48, 50], 12),
            |config| config.judge = JudgeConfig::Literal(by_threshold_alone()),
        )
        .caught("shared-outage-keeps-its-canary", "no_rollback", KEPT),
    ]
}

fn literal(
    id: &'static str,
    says: &'static str,
    source: Source,
    change: fn(&mut LiteralConfig),
) -> Mutant {
    Mutant::of_config(id, says, source, move |config: &mut RouterConfig| {
        if let JudgeConfig::Literal(judge) = &mut config.judge {
            change(judge);
        }
    })
}

fn all_time(judge: &mut LiteralConfig) {
    judge.window = Duration::from_secs(86_400);
    judge.max_samples = u64::MAX / 2;
}

fn by_threshold_alone() -> LiteralConfig {
    LiteralConfig {
        window: Duration::from_secs(60),
        max_samples: 100_000,
        min_requests: 50,
        every: Duration::from_secs(10),
        thresholds: vec![Threshold {
            limit: Limit::ErrorRate(0.05),
            action: ThresholdAction::Rollback,
        }],
    }
}

/// Whatever happens, the error rate is 2 % and the latency 45 ms.
struct Constants;

impl Defect for Constants {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        // 2 % of them, whatever they were.
        if let Input::AttemptEnded {
            attempt, outcome, ..
        } = &mut input
            && !outcome.is_success()
        {
            *outcome = match attempt.request.0.is_multiple_of(50) {
                true => Outcome::ServerError,
                false => Outcome::BadRequest,
            };
        }
        vec![input]
    }
    fn event(&mut self, mut event: Event) -> Vec<Event> {
        if let Event::Judged(evidence) = &mut event {
            evidence.value = Some(match evidence.measure {
                Measure::ErrorRate => 0.02,
                Measure::P99 => 0.045,
                _ => 0.98,
            });
        }
        vec![event]
    }
}

/// Chance alone brings 7 % above 8 % now and then, but not with the scenario's own seed.
#[test]
fn a_threshold_of_eight_percent_is_caught() {
    let eight = |judge: &mut LiteralConfig| judge.thresholds[0].limit = Limit::ErrorRate(0.08);
    let mutant = literal("threshold-a-little-too-high", "", Source::Own, eight);
    let name = "errors-just-above-threshold";
    let output = crate::support::run(&crate::support::shipped(name), &mutant.options());
    let mutant = mutant.caught(name, "rollback", ONCE);
    let verdict = &output.report.verdict;
    assert!(
        crate::playing::is_caught(verdict, &mutant.caught[0]),
        "{verdict:#?}"
    );
}
