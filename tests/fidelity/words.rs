//! What docs/fidelity.md says besides its figures.

use crate::figures::Measure;
use crate::tolerance::{Bound, Bounds, FEEDBACK, LOOSE, MOST, of_latency};

pub(crate) const HEAD: &str = "# Virtual predicts live

Twelve short scenarios by twenty seeds, each run on both engines with the same seed: how well does the run in invented time tell what
real sockets will show? The scenarios are in `tests/fidelity/scenarios/`; every run is in [fidelity.csv](fidelity.csv), two rows a pair.

Written by `cargo test --release --test fidelity -- --ignored write_the_page`. `tests/fidelity/run` measures anew without writing
anything, and fails when something is out of the tolerance stated below. The usual suite runs three of the scenarios live (and does not judge their latencies, as the
machine may be busy with other tests), runs the virtual half again,
whole, and fails when this page, the table, the scenarios and the tolerances do not fit each other.
";

pub(crate) const WHY: &str = "
## What is equal, and what is not

**Equal, to the last request**: whatever is drawn. The split, faults, latencies, tokens and jitter are drawn by seed, request and try, so
the same request meets the same version, fault and answer on both engines, whatever came before it. Where nobody looks at the clock (`asked-to-wait`,
`healthy-canary`) all counts are equal, and must be. The times of the schedule are equal, too; a closed loop has none.

**Longer, by a little**: every latency. Virtual time has no network, no scheduler and no timers that are late; live, two timers (the generator's
and the mock's), two connections, two servers and a client take their time. The figures by leg are below. The difference does not grow with the
latency: it is an offset, not a factor. (The first measurement had 2.4 ms at p50: 1.1 ms in the generator and 1.0 ms in the mock, whose waits
were the runtime's, in whole milliseconds. Both wait more exactly now, as streams always did.) The router's own timers, for backoffs, limits and the
slots of a rate limit, still are the runtime's: a millisecond late on average, and in the queue before a rate limit everybody waits for everybody's.

**Nearly equal**: whatever is decided by a look at the clock, or in the order in which things happen. A judge that looks at every failure decides at
the same failure on both engines as long as the answers before it come in the same order; two answers within a millisecond of each other can swap places,
and then a window holds one success more or less. Near a threshold that makes it wait for the next failure. Such pairs are told apart by
nothing: they are as right live as they are virtually, and another live run of the seed may come out as the virtual one did. Requests
that come at the very moment of a decision, or of a fault's beginning, belong to either side.

**Similar, no more**: places in an upstream's queue, slots of a rate limit, and a closed loop, where each request meets what the others
left. A closed loop asks the less the longer its answers take: its callers lose the offset of the latency in every round, so they ask less often.
";

pub(crate) const SCENARIOS: &str = "
## By scenario

*Same counts*: pairs in which every count of outcomes is the same. *Other fate*: requests that met another version, fault or outcome in any attempt.
Detection runs from the beginning of the trouble to the decision; |Δ| is |live − virtual|. Concordance is Lin's coefficient
ρ = 2·s_xy / (s_x² + s_y² + (x̄ − ȳ)²) over the seeds (L. Lin, Biometrics 45, 1989), cut off after four digits: 1 is equality, and scatter as well as a shift make it
less. The last columns are means of live − virtual.

| scenario | same counts | other fate | detection: \\|Δ\\| median, ms | largest | concordance | exposed | user-visible errors | p50, ms | p95 | p99 |
|---|---|---|---|---|---|---|---|---|---|---|
";

pub(crate) const OVER_ALL: &str = "
## By measure, over all scenarios

Limits of a bias are Student's (mean ± t·s/√n); the differences of seeds are independent, but not normal, so take them as a guide. Scenarios differ far more than
seeds do, which flatters the concordance here: the tables by scenario are the harder test.

";

pub(crate) const LEGS: &str = "
## Where the time goes

Of requests that their first attempt answered with success, the mean of live − virtual in ms: from the schedule to sending (the generator's timer),
from there until the mock has the request (client, gateway, two connections), in the mock (its timers), and from there to the caller. Where wiremock plays a version
(the canary of most scenarios, stable in `full-canary`), the ledger is closed in advance and the delay is the library's, in whole milliseconds: what it is
late shows on the way back. In `queue-for-a-limit` the way to the upstream holds the router's queue. `asked-to-wait` pays for timers several times
over in its slowest requests: two waits of the router's and three answers of wiremock's.

| scenario | to sending | to the upstream | at the upstream | back to the caller |
|---|---|---|---|---|
";

pub(crate) const OUTSIDE: &str = "
## The pairs that are not near

Every figure outside the bound for most pairs, however many there may be.

| scenario | seed | figure | virtual | live |
|---|---|---|---|---|
";

fn bound(bound: Bound, unit: &str) -> String {
    let share = bound.share * 100.0;
    match (bound.absolute, bound.share) {
        (0.0, 0.0) => "equal".to_owned(),
        (a, 0.0) => format!("{a}{unit}"),
        (a, _) => format!("{a}{unit} + {share:.0} %"),
    }
}

fn both(bounds: Bounds, unit: &str) -> String {
    let (most, every) = (bound(bounds.most, unit), bound(bounds.every, unit));
    format!("{most} | {every}")
}

/// The tolerances, with their reasons.
pub(crate) fn tolerances() -> String {
    let mut text = format!(
        "
## Tolerance

Fixed in `tests/fidelity/tolerance.rs`, before anything was measured. Of each figure of each scenario, {:.0} % of the seeds must be *near* (virtual ± so much, + a share of it), and
every pair must not be *far*. All gates must say the same in every pair, without exception, and both engines must have the same figures: a rollback on one
alone is out of tolerance.

| figure | near | not far | because |
|---|---|---|---|
",
        MOST * 100.0
    );
    let rows = [
        (
            "counts, *exact* scenarios",
            "equal | equal".to_owned(),
            "nothing hangs on time",
        ),
        (
            "counts, *rollback* scenarios",
            both(FEEDBACK.counts, ""),
            "requests under way at a decision or at a fault's edge; far: what comes until the next look of the judge",
        ),
        (
            "detection, *rollback* scenarios",
            both(FEEDBACK.detection, " ms"),
            "the latency of the failure that decides; far: two of the judge's longest interval, when a failure more or less decides",
        ),
        (
            "requests of another fate, *rollback*",
            shares(FEEDBACK.parted),
            "the same",
        ),
        (
            "counts, *queue* scenarios",
            both(LOOSE.counts, ""),
            "who finds a place hangs on everybody before",
        ),
        (
            "detection, *queue* scenarios",
            both(LOOSE.detection, " ms"),
            "the judge's longest interval, and two of them",
        ),
        (
            "p50 of latencies",
            both(of_latency(Measure::P50), " ms"),
            "timers and connections of a machine that has other work, too",
        ),
        (
            "p95",
            both(of_latency(Measure::P95), " ms"),
            "the generator may be late by 10 ms at its p99 in a valid run",
        ),
        (
            "p99",
            both(of_latency(Measure::P99), " ms"),
            "the six slowest of 600: one request that swaps sides moves it to its neighbour",
        ),
    ];
    for (what, bounds, why) in rows {
        text += &format!("| {what} | {bounds} | {why} |\n");
    }
    text
}

fn shares(bounds: Bounds) -> String {
    let percent = |bound: Bound| format!("{:.0} %", bound.absolute * 100.0);
    format!("{} | {}", percent(bounds.most), percent(bounds.every))
}
