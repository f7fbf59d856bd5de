//! What is compared of a run: figures, counts by outcome, and what its gates said.

use std::collections::BTreeMap;
use std::time::Duration;

use graygate::observe::event::{RunEvent, Sink};
use graygate::observe::harm::Harm;
use graygate::observe::story::Story;
use graygate::runner::RunOutput;
use graygate::scenario::Scenario;
use graygate::stats::quantile::Quantile;
use graygate::time::Timestamp;
use graygate::verdict::result::Status;
use graygate::verdict::spec::GateSpec;

use crate::support::Stories;

/// A figure of a run. Times are in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Detection,
    Exposed,
    UserErrors,
    Requests,
    P50,
    P95,
    P99,
    FirstTokenP50,
    FirstTokenP95,
    FirstTokenP99,
    InterTokenP50,
    InterTokenP95,
    InterTokenP99,
    Sending,
    WayThere,
    Upstream,
    WayBack,
}

impl Measure {
    pub(crate) const ALL: [Self; 17] = [
        Self::Detection,
        Self::Exposed,
        Self::UserErrors,
        Self::Requests,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::FirstTokenP50,
        Self::FirstTokenP95,
        Self::FirstTokenP99,
        Self::InterTokenP50,
        Self::InterTokenP95,
        Self::InterTokenP99,
        Self::Sending,
        Self::WayThere,
        Self::Upstream,
        Self::WayBack,
    ];

    /// The name of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Detection => "detection_ms",
            Self::Exposed => "exposed",
            Self::UserErrors => "user_errors",
            Self::Requests => "requests",
            Self::P50 => "p50_ms",
            Self::P95 => "p95_ms",
            Self::P99 => "p99_ms",
            Self::FirstTokenP50 => "first_token_p50_ms",
            Self::FirstTokenP95 => "first_token_p95_ms",
            Self::FirstTokenP99 => "first_token_p99_ms",
            Self::InterTokenP50 => "inter_token_p50_ms",
            Self::InterTokenP95 => "inter_token_p95_ms",
            Self::InterTokenP99 => "inter_token_p99_ms",
            Self::Sending => "sending_mean_ms",
            Self::WayThere => "way_there_mean_ms",
            Self::Upstream => "upstream_mean_ms",
            Self::WayBack => "way_back_mean_ms",
        }
    }

    /// For people.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Detection => "detection, ms",
            Self::Exposed => "exposed requests",
            Self::UserErrors => "user-visible errors",
            Self::Requests => "requests",
            Self::P50 => "latency p50, ms",
            Self::P95 => "latency p95, ms",
            Self::P99 => "latency p99, ms",
            Self::FirstTokenP50 => "first token p50, ms",
            Self::FirstTokenP95 => "first token p95, ms",
            Self::FirstTokenP99 => "first token p99, ms",
            Self::InterTokenP50 => "inter-token p50, ms",
            Self::InterTokenP95 => "inter-token p95, ms",
            Self::InterTokenP99 => "inter-token p99, ms",
            Self::Sending => "schedule to sending, mean ms",
            Self::WayThere => "sending to the upstream, mean ms",
            Self::Upstream => "at the upstream, mean ms",
            Self::WayBack => "upstream to the caller, mean ms",
        }
    }

    /// Is it a percentile of times?
    pub(crate) fn is_latency(self) -> bool {
        (Self::P50..=Self::InterTokenP99).contains(&self)
    }

    /// Does it say where time went? Such figures explain others, and are not judged.
    pub(crate) fn is_leg(self) -> bool {
        self >= Self::Sending
    }
}

/// How many ended how, by who (`callers`, or a version) and outcome.
pub(crate) type Counts = BTreeMap<(String, String), u64>;

/// All that is compared of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) values: BTreeMap<Measure, f64>,
    pub(crate) counts: Counts,
    /// The gates with what they said, but for `generator`.
    pub(crate) gates: BTreeMap<String, String>,
}

/// Listens to a run.
pub(crate) struct Watch {
    pub(crate) stories: Stories,
    harm: Harm,
}

impl Watch {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let harm = Harm::new(scenario.experiment.router.canary, trouble(scenario));
        Self {
            stories: Stories::default(),
            harm,
        }
    }

    /// What was seen, with the stories in the order of their keys.
    pub(crate) fn finish(mut self, output: &RunOutput) -> (Figures, Vec<Story>) {
        let stories = self.stories.sorted();
        stories.iter().for_each(|story| self.harm.story(story));
        let figures = Figures {
            values: values(&self.harm, &stories),
            counts: counts(&stories, output),
            gates: gates(output),
        };
        (figures, stories)
    }
}

impl Sink for Watch {
    fn event(&mut self, event: &RunEvent) {
        self.stories.event(event);
        self.harm.event(event);
    }
}

/// When the trouble begins: as the `rollback` gate has it, which is with the first fault on the canary.
fn trouble(scenario: &Scenario) -> Timestamp {
    let since = scenario.gates.iter().find_map(|gate| match gate {
        GateSpec::Rollback(spec) => Some(spec.since),
        _ => None,
    });
    since.unwrap_or(Timestamp::ZERO)
}

fn values(harm: &Harm, stories: &[Story]) -> BTreeMap<Measure, f64> {
    let mut values = BTreeMap::new();
    values.extend(harm.detection().map(|d| (Measure::Detection, millis(d))));
    let exposed = harm.exposed().map(|n| (Measure::Exposed, n as f64));
    values.extend(exposed);
    values.insert(Measure::UserErrors, harm.user_errors() as f64);
    values.insert(Measure::Requests, stories.len() as f64);
    let whole = || {
        stories
            .iter()
            .filter(|s| s.outcome().is_some_and(|o| o.is_success()))
    };
    let latencies = whole().filter_map(Story::latency).collect();
    values.extend(percentiles(
        latencies,
        [Measure::P50, Measure::P95, Measure::P99],
    ));
    let first = whole().filter_map(Story::first_token).collect();
    let measures = [
        Measure::FirstTokenP50,
        Measure::FirstTokenP95,
        Measure::FirstTokenP99,
    ];
    values.extend(percentiles(first, measures));
    let gaps = whole().flat_map(|s| &s.gaps);
    let gaps = gaps.flat_map(|gap| std::iter::repeat_n(gap.each, gap.tokens as usize));
    let measures = [
        Measure::InterTokenP50,
        Measure::InterTokenP95,
        Measure::InterTokenP99,
    ];
    values.extend(percentiles(gaps.collect(), measures));
    values.extend(legs(stories));
    values
}

/// Where the time of a request goes that its first attempt answered: the means of its four legs.
fn legs(stories: &[Story]) -> Vec<(Measure, f64)> {
    let legs: Vec<[f64; 4]> = stories.iter().filter_map(legs_of).collect();
    let mean = |leg: usize| legs.iter().map(|of| of[leg]).sum::<f64>() / legs.len() as f64;
    let measures = [
        Measure::Sending,
        Measure::WayThere,
        Measure::Upstream,
        Measure::WayBack,
    ];
    let all = measures.into_iter().enumerate();
    // A nanosecond is enough: more digits tell nothing.
    all.filter(|_| !legs.is_empty())
        .map(|(leg, measure)| (measure, (mean(leg) * 1e6).round() / 1e6))
        .collect()
}

fn legs_of(story: &Story) -> Option<[f64; 4]> {
    let [attempt] = story.attempts.as_slice() else {
        return None;
    };
    let (answered_at, _) = story.answered.filter(|(_, a)| a.outcome.is_success())?;
    let (sent_at, sent) = story.sent?;
    let (taken_at, ended_at) = (attempt.accepted_at?, attempt.ended_at?);
    let between = |from: Timestamp, to: Timestamp| (to.as_secs_f64() - from.as_secs_f64()) * 1e3;
    Some([
        between(sent.scheduled_at, sent_at),
        between(sent_at, taken_at),
        between(taken_at, ended_at),
        between(ended_at, answered_at),
    ])
}

/// To the microsecond, as everything is drawn.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

/// The three percentiles by nearest rank; none of nothing.
fn percentiles(mut times: Vec<Duration>, measures: [Measure; 3]) -> Vec<(Measure, f64)> {
    times.sort_unstable();
    let at = |quantile: Quantile| {
        let rank = quantile.rank(times.len() as u64) as usize;
        times.get(rank.checked_sub(1)?).copied()
    };
    let quantiles = [Quantile::P50, Quantile::P95, Quantile::P99];
    let pairs = measures.into_iter().zip(quantiles);
    pairs
        .filter_map(|(measure, quantile)| Some((measure, millis(at(quantile)?))))
        .collect()
}

/// Callers by what they got, and attempts at each version by how they really ended.
fn counts(stories: &[Story], output: &RunOutput) -> Counts {
    let versions = &output.report.meta.versions;
    let mut counts = Counts::new();
    let mut count = |who: &str, outcome: Option<&str>| {
        let key = (who.to_owned(), outcome.unwrap_or("unknown").to_owned());
        *counts.entry(key).or_default() += 1;
    };
    for story in stories {
        count("callers", story.outcome().map(|o| o.name()));
        for attempt in &story.attempts {
            let name = versions[attempt.version].name.as_str();
            count(name, attempt.truth().map(|o| o.name()));
        }
    }
    counts
}

fn gates(output: &RunOutput) -> BTreeMap<String, String> {
    let gates = output.report.verdict.gates.iter();
    let own = gates.filter(|gate| gate.name != "generator");
    own.map(|gate| (gate.name.clone(), gate.status.name().to_owned()))
        .collect()
}

/// Was the machine in the way of the measurement?
pub(crate) fn is_invalid(output: &RunOutput) -> bool {
    output.report.verdict.status == Status::Invalid
}
