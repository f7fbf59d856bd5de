//! The figures of two runs side by side, and what their difference shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::comparison::folder::{Run, Times};
use crate::report::read::summary::Summary;
use crate::stats::difference::newcombe;
use crate::stats::proportion::clopper_pearson;
use crate::stats::quantile::Quantile;
use crate::stats::quantile_difference::{Limited, excess, of_sorted};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share of 1.
    Share,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// Requests.
    Requests,
    /// Rollbacks.
    Rollbacks,
    /// Billionths of a dollar.
    NanoUsd,
}

/// How the limits of a difference were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Of two shares: Newcombe's method 10.
    Newcombe,
    /// Of two quantiles: the limits of both by rank, put together as Zou and Donner do.
    RankLimits,
    /// Facts of the two runs, without limits.
    Census,
}

/// A figure of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The figure.
    pub estimate: f64,
    /// Its lower limit; none where there is no estimate of more than this run, or too few samples.
    pub low: Option<f64>,
    /// Its upper limit.
    pub high: Option<f64>,
    /// Of a share: how many it counts.
    pub x: Option<u64>,
    /// How many observations it rests on.
    pub n: Option<u64>,
}

/// What the difference of a figure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// B's is higher: the whole interval lies above 0.
    Higher,
    /// B's is lower: the whole interval lies below 0.
    Lower,
    /// The interval contains 0.
    NoDifference,
    /// Facts differ as they stand; nobody says that they would again.
    Counted,
    /// There are too few samples in one of the runs, or none.
    TooFew,
    /// Both are known, and not counted from the same moment.
    Unlike,
}

/// By how much B's figure is above A's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Delta {
    /// B less A.
    pub estimate: f64,
    /// Its lower limit.
    pub low: Option<f64>,
    /// Its upper limit.
    pub high: Option<f64>,
}

/// A figure of both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What programs know it by: `request_errors`, `latency.p99`, `attempt_errors.v2` …
    pub id: String,
    /// What people know it by.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// A's; none when A has none.
    pub a: Option<Measured>,
    /// B's.
    pub b: Option<Measured>,
    /// The difference, when both have one.
    pub difference: Option<Delta>,
    /// How its limits were found.
    pub method: Method,
    /// What it shows.
    pub shows: Shows,
}

/// All figures that both, or one of them, have.
pub fn figures(a: &Run, b: &Run, confidence: f64) -> Vec<Figure> {
    let mut all = Vec::new();
    let (one, other) = (&a.summary, &b.summary);
    all.extend(splits(one, other, confidence));
    all.extend(errors(one, other, confidence));
    if let (Some(a), Some(b)) = (&a.times, &b.times) {
        all.extend(times(a, b, confidence));
    }
    all.extend(census(one, other));
    all
}

fn names(a: &Summary, b: &Summary) -> BTreeSet<String> {
    let both = a.versions.keys().chain(b.versions.keys());
    both.cloned().collect()
}

/// Shares of the requests that chance sent somewhere, over the whole run. Stable's is the rest of them. Where a rollback
/// ended the split, chance did not decide the share any more, and it has no limits.
fn splits(a: &Summary, b: &Summary, confidence: f64) -> Vec<Figure> {
    let names = names(a, b).into_iter().filter(|name| *name != a.stable);
    let of = |summary: &Summary, name: &str| {
        let own = summary.versions.get(name)?.randomised;
        let all = summary.versions.values().map(|v| v.randomised).sum();
        Some((own, all))
    };
    names
        .map(|name| {
            let words = format!("share of {name}");
            let pair = (of(a, &name), of(b, &name));
            let figure = share(format!("split.{name}"), words, pair, confidence);
            match a.rollbacks.is_empty() && b.rollbacks.is_empty() {
                true => figure,
                false => figure.without_limits(),
            }
        })
        .collect()
}

/// Failures of requests, and of the attempts at each version. Who hung up is neither success nor failure.
fn errors(a: &Summary, b: &Summary, confidence: f64) -> Vec<Figure> {
    let of_requests = (
        failures(&a.requests.outcomes),
        failures(&b.requests.outcomes),
    );
    let pair = (Some(of_requests.0), Some(of_requests.1));
    let words = "failed requests".to_owned();
    let requests = share("request_errors".to_owned(), words, pair, confidence);
    let of = |summary: &Summary, name: &str| {
        let version = summary.versions.get(name)?;
        Some(failures(&version.outcomes))
    };
    let attempts = names(a, b).into_iter().map(|name| {
        let pair = (of(a, &name), of(b, &name));
        let words = format!("failed attempts at {name}");
        share(format!("attempt_errors.{name}"), words, pair, confidence)
    });
    std::iter::once(requests).chain(attempts).collect()
}

fn failures(outcomes: &BTreeMap<String, u64>) -> Counts {
    let count = |name: &str| outcomes.get(name).copied().unwrap_or_default();
    let all: u64 = outcomes.values().sum();
    let counted = all - count("client_gone");
    (counted - count("success"), counted)
}

/// How many of how many.
type Counts = (u64, u64);

fn share(
    id: String,
    name: String,
    (a, b): (Option<Counts>, Option<Counts>),
    confidence: f64,
) -> Figure {
    let both = a.zip(b);
    let difference = both.and_then(|(a, b)| newcombe(b, a, confidence));
    Figure::new(id, name, Unit::Share, Method::Newcombe)
        .measured(
            a.and_then(|a| measured_share(a, confidence)),
            b.and_then(|b| measured_share(b, confidence)),
        )
        .differing(difference.map(Limited::from))
}

fn measured_share((x, n): Counts, confidence: f64) -> Option<Measured> {
    // Each side at half of what may be missed: both together at `confidence`.
    let limits = clopper_pearson(x, n, (1.0 + confidence) / 2.0)?;
    Some(Measured {
        estimate: x as f64 / n as f64,
        low: Some(limits.low),
        high: Some(limits.high),
        x: Some(x),
        n: Some(n),
    })
}

const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];

fn times(a: &Times, b: &Times, confidence: f64) -> Vec<Figure> {
    let none = Vec::new();
    let mut groups = vec![(
        "latency".to_owned(),
        "latency".to_owned(),
        &a.requests,
        &b.requests,
    )];
    if !a.first_tokens.is_empty() || !b.first_tokens.is_empty() {
        let name = "first token".to_owned();
        groups.push((
            "first_token".to_owned(),
            name,
            &a.first_tokens,
            &b.first_tokens,
        ));
    }
    let versions: BTreeSet<&String> = a.attempts.keys().chain(b.attempts.keys()).collect();
    for version in versions {
        let (one, other) = (a.attempts.get(version), b.attempts.get(version));
        groups.push((
            format!("attempt_latency.{version}"),
            format!("attempts at {version}"),
            one.unwrap_or(&none),
            other.unwrap_or(&none),
        ));
    }
    let figures = groups.into_iter().flat_map(|(id, name, a, b)| {
        QUANTILES.map(|q| {
            quantile(
                format!("{id}.{q}"),
                format!("{name} {q}"),
                q,
                (a, b),
                confidence,
            )
        })
    });
    figures.collect()
}

fn quantile(
    id: String,
    name: String,
    quantile: Quantile,
    (a, b): (&[u64], &[u64]),
    confidence: f64,
) -> Figure {
    let of = |samples: &[u64]| {
        let limited = of_sorted(samples, quantile, confidence)?;
        let millis = |micros: f64| micros / 1e3;
        Some(Measured {
            estimate: millis(limited.estimate),
            low: limited.low.map(millis),
            high: limited.high.map(millis),
            x: None,
            n: Some(samples.len() as u64),
        })
    };
    let (a, b) = (of(a), of(b));
    let difference = a.zip(b).map(|(a, b)| excess(b.limited(), a.limited(), 1.0));
    Figure::new(id, name, Unit::Ms, Method::RankLimits)
        .measured(a, b)
        .differing(difference)
}

/// What was counted, and is a fact of these runs alone.
fn census(a: &Summary, b: &Summary) -> Vec<Figure> {
    let canary = |s: &Summary| s.versions.get(&s.canary).map(|v| v.first_attempts as f64);
    let cost = |s: &Summary| s.cost.as_ref().and_then(|cost| cost.total_nano_usd);
    let rollbacks = |s: &Summary| Some(s.rollbacks.len() as f64);
    // The two count from the same: from the order only where both may be what it came to.
    let is_by_order = [a, b].iter().all(|s| s.is_by_order() != Some(false));
    let rollback_time = |s: &Summary| s.rollback_time(is_by_order);
    type Of<'f> = &'f dyn Fn(&Summary) -> Option<f64>;
    let all: [(&str, &str, Unit, Of); 4] = [
        ("rollbacks", "rollbacks", Unit::Rollbacks, &rollbacks),
        (
            "rollback_time",
            "time to the rollback",
            Unit::S,
            &rollback_time,
        ),
        (
            "exposure",
            "requests that met the canary",
            Unit::Requests,
            &canary,
        ),
        ("cost", "cost", Unit::NanoUsd, &cost),
    ];
    let figures = all.map(|(id, name, unit, of)| counted(id, name, unit, (of(a), of(b))));
    // From a fault and from the start are two different times.
    let has_trouble = |s: &Summary| s.trouble(is_by_order).is_some();
    let is_unlike = has_trouble(a) != has_trouble(b);
    let figures = figures.map(|figure| match figure.id == "rollback_time" && is_unlike {
        true => figure.unlike(),
        false => figure,
    });
    let is_known = |figure: &Figure| figure.a.is_some() || figure.b.is_some();
    figures.into_iter().filter(is_known).collect()
}

fn counted(id: &str, name: &str, unit: Unit, (a, b): (Option<f64>, Option<f64>)) -> Figure {
    // A last arrival shortly before the order that closes a canary is no time below nothing; the difference of two is what it is.
    let measured = |estimate: f64| Measured {
        estimate: estimate.max(0.0),
        low: None,
        high: None,
        x: None,
        n: None,
    };
    let difference = a.zip(b).map(|(a, b)| Limited {
        estimate: b - a,
        low: None,
        high: None,
    });
    Figure::new(id.to_owned(), name.to_owned(), unit, Method::Census)
        .measured(a.map(measured), b.map(measured))
        .differing(difference)
}

impl Measured {
    /// It with its limits, to be put together with another one.
    pub fn limited(&self) -> Limited {
        Limited {
            estimate: self.estimate,
            low: self.low,
            high: self.high,
        }
    }
}

impl Figure {
    fn new(id: String, name: String, unit: Unit, method: Method) -> Self {
        Self {
            id,
            name,
            unit,
            a: None,
            b: None,
            difference: None,
            method,
            shows: Shows::TooFew,
        }
    }

    fn measured(self, a: Option<Measured>, b: Option<Measured>) -> Self {
        Self { a, b, ..self }
    }

    /// The same as a fact of these two runs alone.
    fn without_limits(self) -> Self {
        let bare = |delta: Delta| Limited {
            estimate: delta.estimate,
            low: None,
            high: None,
        };
        let difference = self.difference.map(bare);
        let plain = |measured: Measured| Measured {
            low: None,
            high: None,
            ..measured
        };
        let (a, b) = (self.a.map(plain), self.b.map(plain));
        Self {
            method: Method::Census,
            ..self
        }
        .measured(a, b)
        .differing(difference)
    }

    /// The same where A and B do not count from the same moment; what only one of them has is no likeness either way.
    fn unlike(self) -> Self {
        if self.difference.is_none() {
            return self;
        }
        Self {
            shows: Shows::Unlike,
            difference: None,
            ..self
        }
    }

    fn differing(mut self, difference: Option<Limited>) -> Self {
        self.difference = difference.map(
            |Limited {
                 estimate,
                 low,
                 high,
             }| Delta {
                estimate,
                low,
                high,
            },
        );
        self.shows = match (self.difference, self.method) {
            (None, _) => Shows::TooFew,
            (Some(_), Method::Census) => Shows::Counted,
            (Some(delta), _) => delta.shows(),
        };
        self
    }
}

impl Delta {
    fn shows(&self) -> Shows {
        match (self.low, self.high) {
            (Some(low), _) if low > 0.0 => Shows::Higher,
            (_, Some(high)) if high < 0.0 => Shows::Lower,
            (Some(_), Some(_)) => Shows::NoDifference,
            _ => Shows::TooFew,
        }
    }
}
