//! `summary.json` of repeated runs. The format is versioned: fields are only ever added within one version.

use serde_json::{Map, Value, json};

use crate::report::runs::tally::{CONFIDENCE, Figure, Tally};
use crate::report::runs::{NAMED, Runs};
use crate::verdict::result::Status;

/// The name and version of the format.
pub const FORMAT: &str = "graygate.runs/1";

/// The summary as indented JSON with a final line end.
pub fn summary(runs: &Runs) -> Vec<u8> {
    let mut text = format!("{:#}", value(runs)).into_bytes();
    text.push(b'\n');
    text
}

/// The summary as a JSON value.
pub fn value(runs: &Runs) -> Value {
    let meta = &runs.meta;
    let (rolled_back, early) = runs.rollbacks();
    json!({
        "format": FORMAT,
        "graygate": meta.graygate,
        "scenario": meta.scenario,
        "title": meta.title,
        "description": meta.description,
        "engine": meta.engine,
        "seed": meta.seed,
        "scenario_sha256": meta.scenario_sha256,
        "router_sha256": meta.router_sha256,
        "reproduce": runs.repeat(&meta.command),
        "status": runs.status(),
        "interrupted": runs.interrupted,
        "runs": runs.seeds.len(),
        "planned_runs": runs.planned,
        "max_red": runs.max_red,
        "requests": runs.requests(),
        "all_gates": tally(&runs.whole(), runs),
        "gates": runs.tallies().iter().map(|t| tally(t, runs)).collect::<Vec<_>>(),
        "trouble_from_s": runs.since.map(crate::time::Timestamp::as_secs_f64),
        "rolled_back": rolled_back,
        "rolled_back_before_the_trouble": early,
        "distributions": distributions(runs),
        "first": first(runs),
    })
}

fn tally(tally: &Tally, runs: &Runs) -> Value {
    let shares = Tally::ORDER.map(|status| {
        let interval = tally.interval(status).map(|l| [l.low, l.high]);
        let value = json!({
            "runs": tally.count(status),
            "share": tally.share(status),
            "interval": interval,
        });
        (status.name().to_owned(), value)
    });
    let red = tally.red();
    let mut value = json!({
        "name": tally.name,
        "status": runs.judged(tally),
        "n": tally.total(),
        "method": "clopper-pearson",
        "confidence": CONFIDENCE,
        "flake_rate_at_most": red.map(|red| red.high),
        "power_at_least": red.map(|red| red.low),
    });
    for (name, share) in shares {
        value[name] = share;
    }
    value
}

/// Times in seconds.
fn distributions(runs: &Runs) -> Value {
    let all = runs.figures();
    let pairs = all.iter().map(|f| (f.key.to_owned(), distribution(f)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn distribution(figure: &Figure) -> Value {
    let number = |value: Option<u64>| value.map(|v| figure.number(v));
    let mut value = json!({
        "unit": if figure.is_time { "s" } else { "requests" },
        "n": figure.samples.count(),
        "min": number(figure.samples.min()),
        "max": number(figure.samples.max()),
        "p99_99_at_most": number(figure.extreme()),
    });
    for (name, quantile) in figure.quantiles() {
        value[name] = number(quantile).into();
    }
    value
}

/// The first seeds that did not pass, with the command that repeats each.
fn first(runs: &Runs) -> Value {
    let open = [Status::Fail, Status::Inconclusive, Status::Invalid];
    let of = |status: Status| {
        let seeds = runs.first(status);
        let seeds = seeds.into_iter().take(NAMED).map(
            |seed| json!({"seed": seed, "reproduce": runs.reproduce(&runs.meta.command, seed)}),
        );
        (status.name().to_owned(), seeds.collect::<Value>())
    };
    Value::Object(open.into_iter().map(of).collect())
}
