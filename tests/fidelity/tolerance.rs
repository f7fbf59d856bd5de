//! How far live may be from what virtual said. Fixed beforehand; docs/fidelity.md says the same in words.
//!
//! Draws are keyed by request, so where nothing hangs on time, nothing but latency may differ. Where a judge, a queue or a
//! limit looks at the clock, a millisecond can decide who is counted before whom, and one request more or less what is
//! decided: *most* pairs must be near, and *every* pair must not be far.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalogue::{ALL, Case};
use crate::figures::Measure;
use crate::playing::Pair;
use crate::table::Table;

/// |live − virtual| ≤ absolute + share · virtual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) absolute: f64,
    pub(crate) share: f64,
}

/// One bound for most pairs, and one for every pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) most: Bound,
    pub(crate) every: Bound,
}

/// What may differ in a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    pub(crate) name: &'static str,
    /// Of the moment of the rollback, in ms.
    pub(crate) detection: Bounds,
    /// Of exposed requests, user-visible errors, requests, and every count of outcomes.
    pub(crate) counts: Bounds,
    /// Of the requests whose fates differ: a share of all requests.
    pub(crate) parted: Bounds,
    /// Are latencies judged? See [`of_latency`].
    pub(crate) latencies: bool,
}

/// This share of the pairs is most.
pub(crate) const MOST: f64 = 0.9;

const fn bound(absolute: f64, share: f64) -> Bound {
    Bound { absolute, share }
}

const fn bounds(most: Bound, every: Bound) -> Bounds {
    Bounds { most, every }
}

/// Nothing hangs on time: all counts are equal.
pub(crate) const EXACT: Tolerance = Tolerance {
    name: "exact",
    detection: bounds(bound(0.0, 0.0), bound(0.0, 0.0)),
    counts: bounds(bound(0.0, 0.0), bound(0.0, 0.0)),
    parted: bounds(bound(0.0, 0.0), bound(0.0, 0.0)),
    latencies: true,
};

/// A rollback looks at time.
pub(crate) const FEEDBACK: Tolerance = Tolerance {
    name: "rollback",
    detection: bounds(bound(50.0, 0.0), bound(1000.0, 0.0)),
    counts: bounds(bound(5.0, 0.05), bound(60.0, 0.1)),
    parted: bounds(bound(0.02, 0.0), bound(0.15, 0.0)),
    latencies: true,
};

/// Everything that one request meets hangs on when the others came and went.
pub(crate) const LOOSE: Tolerance = Tolerance {
    name: "queue",
    detection: bounds(bound(500.0, 0.0), bound(1000.0, 0.0)),
    counts: bounds(bound(15.0, 0.1), bound(60.0, 0.2)),
    parted: bounds(bound(1.0, 0.0), bound(1.0, 0.0)),
    latencies: true,
};

/// Of latencies, in ms: what sockets and a scheduler add.
pub(crate) fn of_latency(measure: Measure) -> Bounds {
    use Measure::{FirstTokenP50, InterTokenP50, P50};
    use Measure::{FirstTokenP95, InterTokenP95, P95};
    match measure {
        P50 | FirstTokenP50 | InterTokenP50 => bounds(bound(5.0, 0.05), bound(15.0, 0.1)),
        P95 | FirstTokenP95 | InterTokenP95 => bounds(bound(10.0, 0.1), bound(30.0, 0.2)),
        _ => bounds(bound(20.0, 0.2), bound(60.0, 0.4)),
    }
}

impl Bound {
    pub(crate) fn holds(self, simulated: f64, live: f64) -> bool {
        (live - simulated).abs() <= self.absolute + self.share * simulated
    }
}

impl Tolerance {
    /// The same on a machine of which nothing is known: it may be so busy that an upstream is late although the
    /// generator was not.
    pub(crate) fn but_for_latencies(self) -> Self {
        Self {
            latencies: false,
            ..self
        }
    }

    /// What holds for a figure.
    pub(crate) fn of(&self, measure: Measure) -> Bounds {
        match measure {
            Measure::Detection => self.detection,
            _ if measure.is_latency() => of_latency(measure),
            _ => self.counts,
        }
    }
}

/// A figure of a pair beside what it may be.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) what: String,
    pub(crate) simulated: f64,
    pub(crate) live: f64,
    pub(crate) bounds: Bounds,
}

/// Every figure of a pair that both engines have.
pub(crate) fn judged(pair: &Pair, tolerance: &Tolerance) -> Vec<Judged> {
    let (a, b) = (&pair.simulated, &pair.live);
    let is_judged = |m: &Measure| !m.is_leg() && (tolerance.latencies || !m.is_latency());
    let measures = Measure::ALL.into_iter().filter(is_judged);
    let values = measures.filter_map(|measure| {
        Some(Judged {
            what: measure.in_words().to_owned(),
            simulated: *a.values.get(&measure)?,
            live: *b.values.get(&measure)?,
            bounds: tolerance.of(measure),
        })
    });
    let all = a.counts.keys().chain(b.counts.keys());
    let all: BTreeSet<_> = all.collect();
    let counts = all.into_iter().map(|key| Judged {
        what: format!("{}: {}", key.0, key.1),
        simulated: a.counts.get(key).copied().unwrap_or(0) as f64,
        live: b.counts.get(key).copied().unwrap_or(0) as f64,
        bounds: tolerance.counts,
    });
    let sent = a.values.get(&Measure::Requests).copied().unwrap_or(1.0);
    let parted = Judged {
        what: "share of requests with another fate".to_owned(),
        simulated: 0.0,
        live: pair.parted as f64 / sent,
        bounds: tolerance.parted,
    };
    values.chain(counts).chain([parted]).collect()
}

/// What no pair may be: farther off than every pair may be, without a figure that the other engine has, or judged
/// otherwise by a gate.
pub(crate) fn far(pair: &Pair, tolerance: &Tolerance) -> Vec<String> {
    let (a, b) = (&pair.simulated, &pair.live);
    let judged = judged(pair, tolerance).into_iter();
    let far = judged.filter(|j| !j.bounds.every.holds(j.simulated, j.live));
    let mut far: Vec<String> = far
        .map(|j| format!("{}: virtual {}, live {}", j.what, j.simulated, j.live))
        .collect();
    if !a.values.keys().eq(b.values.keys()) {
        far.push("one engine has a figure that the other has not".to_owned());
    }
    if a.gates != b.gates {
        far.push(format!("gates: virtual {:?}, live {:?}", a.gates, b.gates));
    }
    far
}

/// Everything in a table that is out of tolerance.
pub(crate) fn breaches(table: &Table) -> Vec<String> {
    ALL.iter().flat_map(|case| of_case(case, table)).collect()
}

fn of_case(case: &Case, table: &Table) -> Vec<String> {
    let pairs = table.of(case.name);
    let far = pairs.iter().flat_map(|pair| {
        let why = far(pair, &case.tolerance).into_iter();
        why.map(|why| format!("{}, seed {}: {why}", case.name, pair.seed))
    });
    let mut breaches: Vec<String> = far.collect();
    let mut off = BTreeMap::<String, usize>::new();
    for (judged, _) in not_near(case, table) {
        *off.entry(judged.what).or_default() += 1;
    }
    let allowed = (1.0 - MOST) * pairs.len() as f64 + 1e-9;
    let often = off.into_iter().filter(|(_, n)| *n as f64 > allowed);
    breaches.extend(often.map(|(what, n)| {
        let all = pairs.len();
        format!("{}: {what} is not near in {n} of {all} pairs", case.name)
    }));
    breaches
}

/// The figures of a case that are farther off than most must be, with their seeds.
pub(crate) fn not_near(case: &Case, table: &Table) -> Vec<(Judged, u64)> {
    let pairs = table.of(case.name).into_iter();
    let all = pairs.flat_map(|pair| {
        let judged = judged(pair, &case.tolerance).into_iter();
        judged.map(|judged| (judged, pair.seed))
    });
    all.filter(|(j, _)| !j.bounds.most.holds(j.simulated, j.live))
        .collect()
}
