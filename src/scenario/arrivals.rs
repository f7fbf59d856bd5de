//! `arrivals`: when made-up requests come.

use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::rng::distribution::Distribution;
use crate::scenario::distributions::{self, Kind};
use crate::traffic::arrivals::{Arrivals, Closed, MOST_TURNS, Sessions, Spacing, Stage};
use crate::traffic::course::Course;

/// The ways requests arrive on schedule.
const OPEN: [&str; 7] = [
    "constant", "poisson", "gamma", "weibull", "bursts", "diurnal", "stages",
];
const DAY: Duration = Duration::from_secs(86_400);

/// Reads `arrivals`. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node) -> Option<Arrivals> {
    let kinds: Vec<&str> = OPEN.into_iter().chain(["closed", "sessions"]).collect();
    let entry = cx.choice(node, "arrivals", &kinds)?;
    match entry.key.as_str() {
        "closed" => closed(cx, &entry.value).map(Arrivals::Closed),
        "sessions" => sessions(cx, &entry.value).map(Arrivals::Sessions),
        kind => open(cx, kind, &entry.value).map(Arrivals::Open),
    }
}

/// Reads arrivals on schedule alone, where nobody answers whom others could wait for.
pub fn read_open(cx: Cx<'_>, node: &Node) -> Option<Vec<Stage>> {
    if let Some(word) = answered(node) {
        let message =
            format!("`{word}` waits for answers, and nobody answers while a log is made up");
        let expected = "requests that come on schedule, like `poisson: 50/s`";
        let hint = "`closed` and `sessions` need a run: its requests.csv is a log, too";
        return cx.error(cx.at(node.place, message).expected(expected).hint(hint));
    }
    let entry = cx.choice(node, "arrivals", &OPEN)?;
    open(cx, entry.key.as_str(), &entry.value)
}

/// The word of those that come when they were answered, if it stands here in any form.
fn answered(node: &Node) -> Option<&'static str> {
    let is_there = |word: &&str| match &node.value {
        Value::Map(entries) => entries.iter().any(|entry| entry.key == *word),
        _ => false,
    };
    ["closed", "sessions"].into_iter().find(is_there)
}

/// Arrivals on schedule, of one of the kinds in [`OPEN`].
fn open(cx: Cx<'_>, kind: &str, node: &Node) -> Option<Vec<Stage>> {
    if kind == "stages" {
        return stages(cx, node);
    }
    let stage = flow(cx, kind, node, None)?;
    if stage.course.is_silent() {
        return cx.wrong(node, "a rate above zero", "50/s");
    }
    Some(vec![stage])
}

fn stages(cx: Cx<'_>, node: &Node) -> Option<Vec<Stage>> {
    let items = cx.list(node, "- {poisson: 50/s, for: 1m}")?;
    if items.is_empty() {
        return cx.error(cx.at(node.place, "there is no stage"));
    }
    let read: Vec<_> = items.iter().map(|n| stage(cx, n)).collect();
    let stages: Vec<Stage> = read.into_iter().collect::<Option<_>>()?;
    if stages.iter().all(|s| s.course.is_silent()) {
        return cx.error(cx.at(node.place, "all stages have the rate 0"));
    }
    Some(stages)
}

fn stage(cx: Cx<'_>, node: &Node) -> Option<Stage> {
    let fields = cx.fields(node, "a stage")?;
    let flows = OPEN.iter().filter(|kind| **kind != "stages");
    let flows: Vec<_> = flows
        .filter_map(|kind| Some((*kind, fields.node(kind)?)))
        .collect();
    let length = fields.required("for", "1m", values::positive_duration);
    let stage = match flows.as_slice() {
        [(kind, node)] => flow(cx, kind, node, length),
        _ => {
            let expected = "{poisson: 50/s, for: 1m} or {constant: 50/s, for: 1m}";
            let message = "a stage needs one rate";
            cx.error(cx.at(fields.place(), message).expected(expected))
        }
    };
    fields.finish();
    length.and(stage)
}

/// One way of arriving, for so long; for ever where that is not said.
fn flow(cx: Cx<'_>, kind: &str, node: &Node, length: Option<Duration>) -> Option<Stage> {
    let (spacing, course) = match kind {
        "bursts" => (Spacing::Poisson, bursts(cx, node)?),
        "diurnal" => (Spacing::Poisson, diurnal(cx, node)?),
        "gamma" => varied(cx, node, Spacing::Gamma, length)?,
        "weibull" => varied(cx, node, Spacing::Weibull, length)?,
        "constant" => (Spacing::Constant, course(cx, node, length)?),
        _ => (Spacing::Poisson, course(cx, node, length)?),
    };
    Some(Stage {
        spacing,
        course,
        length,
    })
}

/// A rate, or `{from: R, to: R}`, which needs to know by when.
fn course(cx: Cx<'_>, node: &Node, length: Option<Duration>) -> Option<Course> {
    if !matches!(node.value, Value::Map(_)) {
        return values::rate(cx, node).map(Course::Flat);
    }
    let fields = cx.fields(node, "a ramp")?;
    let course = ramp(cx, &fields, length);
    fields.finish();
    course
}

fn ramp(cx: Cx<'_>, fields: &Fields<'_, '_>, length: Option<Duration>) -> Option<Course> {
    let from = fields.required("from", "10/s", values::rate);
    let to = fields.required("to", "50/s", values::rate);
    let Some(length) = length else {
        let expected = "stages: [{poisson: {from: 10/s, to: 50/s}, for: 5m}]";
        let message = "a ramp needs a stage that says for how long";
        return cx.error(cx.at(fields.place(), message).expected(expected));
    };
    Some(Course::Ramp {
        from: from?,
        to: to?,
        over: length.as_secs_f64(),
    })
}

/// `{rate: R, cv: C}` or `{from: R, to: R, cv: C}`.
fn varied(
    cx: Cx<'_>,
    node: &Node,
    spacing: fn(f64) -> Spacing,
    length: Option<Duration>,
) -> Option<(Spacing, Course)> {
    let fields = cx.fields(node, "arrivals with a coefficient of variation")?;
    let cv = fields.required("cv", "2", distributions::cv);
    let course = match fields.node("rate") {
        Some(rate) => values::rate(cx, rate).map(Course::Flat),
        None if fields.node("from").is_some() || fields.node("to").is_some() => {
            ramp(cx, &fields, length)
        }
        None => fields
            .required("rate", "50/s", values::rate)
            .map(Course::Flat),
    };
    fields.finish();
    Some((spacing(cv?), course?))
}

fn bursts(cx: Cx<'_>, node: &Node) -> Option<Course> {
    let fields = cx.fields(node, "bursts")?;
    let base = fields.required("base", "20/s", values::rate);
    let burst = fields.required("rate", "200/s", values::rate);
    let every = fields.required("every", "1m", values::positive_duration);
    let length = fields.required("for", "5s", values::positive_duration);
    fields.finish();
    let (every, length) = (every?, length?);
    if length >= every {
        let expected = "for: a time shorter than `every`";
        let message = "a burst lasts as long as it takes to the next one";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    Some(Course::Bursts {
        base: base?,
        burst: burst?,
        every: every.as_secs_f64(),
        length: length.as_secs_f64(),
    })
}

fn diurnal(cx: Cx<'_>, node: &Node) -> Option<Course> {
    let fields = cx.fields(node, "a diurnal curve")?;
    let mean = fields.required("mean", "50/s", positive_rate);
    let peak = fields.required("peak", "90/s", values::rate);
    let period = fields.optional("period", values::positive_duration);
    let peak_at = fields.optional("peak_at", values::duration);
    fields.finish();
    let (mean, peak) = (mean?, peak?);
    if !(mean..=2.0 * mean).contains(&peak) {
        let message = "a peak that does not fit its mean: the trough is as far below it";
        let expected = "a peak from the mean to twice the mean";
        return cx.error(cx.at(node.place, message).expected(expected));
    }
    let period = period.unwrap_or(DAY);
    Some(Course::Diurnal {
        mean,
        peak,
        period: period.as_secs_f64(),
        peak_at: peak_at.unwrap_or(period / 2).as_secs_f64(),
    })
}

fn positive_rate(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let rate = values::rate(cx, node)?;
    if rate <= 0.0 {
        return cx.wrong(node, "a rate above zero", "50/s");
    }
    Some(rate)
}

fn closed(cx: Cx<'_>, node: &Node) -> Option<Closed> {
    let at_once = Distribution::Constant(0.0);
    if let Value::Scalar(_) = node.value {
        let callers = concurrency(cx, node)?;
        let think = at_once;
        return Some(Closed { callers, think });
    }
    let fields = cx.fields(node, "a closed loop")?;
    let callers = fields.required("callers", "20", concurrency);
    let think = fields.optional("think", |cx, n| wait(cx, n, "a time to think"));
    fields.finish();
    Some(Closed {
        callers: callers?,
        think: think.unwrap_or(at_once),
    })
}

fn concurrency(cx: Cx<'_>, node: &Node) -> Option<u32> {
    match values::positive(cx, node)? {
        n @ 1..=100_000 => Some(n),
        _ => cx.wrong(node, "a sane number of requests under way", "1 to 100000"),
    }
}

fn sessions(cx: Cx<'_>, node: &Node) -> Option<Sessions> {
    let fields = cx.fields(node, "sessions")?;
    let starts = fields.required("arrivals", "{poisson: 5/s}", |cx, n| {
        let entry = cx.choice(n, "arrivals of sessions", &OPEN)?;
        open(cx, &entry.key, &entry.value)
    });
    let turns = fields.required("turns", "4", turns);
    let think = fields.required("think", "2s or {exponential: 2s}", |cx, n| {
        wait(cx, n, "a time to think")
    });
    fields.finish();
    Some(Sessions {
        starts: starts?,
        turns: turns?,
        think: think?,
    })
}

fn turns(cx: Cx<'_>, node: &Node) -> Option<Distribution> {
    let turns = distributions::shaped(cx, node, Kind::Tokens, "turns")?;
    match turns {
        Distribution::Constant(n) if n > f64::from(MOST_TURNS) => {
            cx.wrong(node, "a sane number of turns", "1 to 200")
        }
        turns => Some(turns),
    }
}

/// A duration, or a distribution of durations, in seconds. `what` names it in messages.
pub fn wait(cx: Cx<'_>, node: &Node, what: &str) -> Option<Distribution> {
    distributions::shaped(cx, node, Kind::Time, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing;

    fn arrivals(text: &str) -> Result<Arrivals, String> {
        testing::read(text, read)
    }

    fn only(text: &str) -> (Spacing, Course) {
        match arrivals(text) {
            Ok(Arrivals::Open(stages)) => (stages[0].spacing, stages[0].course),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_way_of_arriving_can_be_written() {
        let flat = Course::Flat(50.0);
        assert_eq!(only("{poisson: 50/s}"), (Spacing::Poisson, flat));
        let gamma = (Spacing::Gamma(2.0), flat);
        assert_eq!(only("{gamma: {rate: 50/s, cv: 2}}"), gamma);
        let weibull = (Spacing::Weibull(0.5), flat);
        assert_eq!(only("{weibull: {rate: 50/s, cv: 0.5}}"), weibull);
        let ramp = Course::Ramp {
            from: 10.0,
            to: 50.0,
            over: 300.0,
        };
        let text = "{stages: [{poisson: {from: 10/s, to: 50/s}, for: 5m}]}";
        assert_eq!(only(text), (Spacing::Poisson, ramp));
        let text = "{stages: [{gamma: {from: 10/s, to: 50/s, cv: 2}, for: 5m}]}";
        assert_eq!(only(text), (Spacing::Gamma(2.0), ramp));
        let text = "{bursts: {base: 20/s, rate: 200/s, every: 1m, for: 5s}}";
        let bursts = Course::Bursts {
            base: 20.0,
            burst: 200.0,
            every: 60.0,
            length: 5.0,
        };
        assert_eq!(only(text), (Spacing::Poisson, bursts));
        let day = Course::Diurnal {
            mean: 50.0,
            peak: 90.0,
            period: 86_400.0,
            peak_at: 43_200.0,
        };
        assert_eq!(only("{diurnal: {mean: 50/s, peak: 90/s}}").1, day);
        let think = Distribution::Exponential(2.0);
        let closed = |callers, think| Ok(Arrivals::Closed(Closed { callers, think }));
        let at_once = Distribution::Constant(0.0);
        assert_eq!(arrivals("{closed: 20}"), closed(20, at_once));
        let text = "{closed: {callers: 20, think: {exponential: 2s}}}";
        assert_eq!(arrivals(text), closed(20, think.clone()));
        let text = "{sessions: {arrivals: {poisson: 5/s}, turns: 4, think: {exponential: 2s}}}";
        let Ok(Arrivals::Sessions(sessions)) = arrivals(text) else {
            panic!("no sessions");
        };
        assert_eq!(sessions.turns, Distribution::Constant(4.0));
        assert_eq!(sessions.think, think);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
        for (text, message, expected) in [
            ("{poisson: 0/s}", "`0/s` is not a rate above zero", "50/s"),
            (
                "{poisson: {from: 1/s, to: 2/s}}",
                "a ramp needs a stage",
                "for: 5m",
            ),
            ("{gamma: {rate: 50/s}}", "`cv` is missing", "cv: 2"),
            ("{gamma: {cv: 2}}", "`rate` is missing", "rate: 50/s"),
            ("{gamma: 50/s}", "`50/s` is not a mapping", "key: value"),
            (
                "{gamma: {rate: 50/s, cv: 0}}",
                "`0` is not a coefficient",
                "0.01 to 10",
            ),
            (
                "{weibull: {rate: 50/s, cv: 11}}",
                "`11` is not a coefficient",
                "0.01 to 10",
            ),
            (
                "{weibull: {rate: 50/s, cv: NaN}}",
                "`NaN` is not a coefficient",
                "0.01 to 10",
            ),
            (
                "{weibull: {rate: 5/s, from: 5/s, cv: 1}}",
                "unknown key `from`",
                "`cv`, `rate`",
            ),
            (
                "{bursts: {base: 1/s, rate: 9/s, every: 5s, for: 5s}}",
                "as long as it takes to the next",
                "shorter than `every`",
            ),
            (
                "{bursts: {base: 0/s, rate: 0/s, every: 5s, for: 1s}}",
                "not a rate above zero",
                "50/s",
            ),
            (
                "{diurnal: {mean: 50/s, peak: 101/s}}",
                "does not fit its mean",
                "twice the mean",
            ),
            (
                "{diurnal: {mean: 0/s, peak: 0/s}}",
                "not a rate above zero",
                "50/s",
            ),
            ("{closed: 0}", "`0` is not", "1"),
            (
                "{closed: {callers: 3, think: soon}}",
                "`soon` is not",
                "500ms",
            ),
            (
                "{closed: {callers: 3, think: {uniform: 2s}}}",
                "unknown key `uniform` in a time to think",
                "`exponential`",
            ),
            (
                "{sessions: {arrivals: {closed: 3}, turns: 4, think: 2s}}",
                "unknown key `closed` in arrivals of sessions",
                "`poisson`",
            ),
            (
                "{sessions: {arrivals: {poisson: 3/s}, turns: 201, think: 2s}}",
                "not a sane number of turns",
                "1 to 200",
            ),
            (
                "{sessions: {arrivals: {poisson: 3/s}, turns: 2}}",
                "`think` is missing",
                "think: 2s",
            ),
        ] {
            let error = arrivals(text).expect_err(text);
            assert!(error.contains("t.yaml:1:"), "{text}: {error}");
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
