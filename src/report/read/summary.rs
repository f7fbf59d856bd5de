//! What is read back of `summary.json`: the part of it that runs are compared and judged again by.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::verdict::gates::SILENCE;
use crate::verdict::result::Status;

/// A run's `summary.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// The name and version of the format.
    pub format: String,
    /// The version of graygate that wrote it.
    pub graygate: String,
    /// The scenario's short name.
    pub scenario: String,
    /// `virtual`, `live` or `audit`.
    pub engine: String,
    /// The seed.
    pub seed: u64,
    /// SHA-256 over the scenario and all that it refers to.
    pub scenario_sha256: String,
    /// SHA-256 over the router's configuration.
    pub router_sha256: String,
    /// The verdict.
    pub status: Status,
    /// Could the measurement be trusted?
    pub valid: bool,
    /// Was it stopped before its end?
    pub interrupted: bool,
    /// When it ended.
    pub duration_s: f64,
    /// The name of the stable version.
    pub stable: String,
    /// The name of the canary.
    pub canary: String,
    /// Its faults.
    pub faults: Vec<Fault>,
    /// The other gateway that it tested, if it did.
    pub gateway: Option<String>,
    /// The orders that it gave that.
    #[serde(default)]
    pub orders: Vec<Order>,
    /// Its gates.
    pub gates: Vec<Gate>,
    /// What callers saw.
    pub requests: Requests,
    /// What upstreams saw, by the name of the version.
    pub versions: BTreeMap<String, Version>,
    /// Which requests have rows.
    pub records: Records,
    /// Its rollbacks.
    pub rollbacks: Vec<Rollback>,
    /// What it cost, where versions have prices.
    pub cost: Option<Cost>,
}

/// A fault, by what tells it from others.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    /// Its kind.
    pub kind: String,
    /// The versions it was on.
    pub on: Vec<String>,
    /// Its start.
    pub from_s: f64,
    /// Its end; none where it lasts to the end of the run.
    pub until_s: Option<f64>,
    /// The share of attempts that it hits, 0 to 1.
    pub share: Option<f64>,
}

/// An order to another gateway.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Order {
    /// Its number, from 1.
    pub order: u16,
    /// `set_weights` or `rollback`.
    pub kind: String,
    /// The share of the canary that it asked for.
    pub canary_share: Option<f64>,
    /// When it was to be given.
    pub at_s: f64,
}

/// A gate, judged.
#[derive(Clone, Debug, Deserialize)]
pub struct Gate {
    /// Its name, with its number where several have it.
    pub name: String,
    /// What it said.
    pub status: Status,
    /// Its conditions.
    pub checks: Vec<Check>,
    /// Its remarks.
    pub warnings: Vec<String>,
    /// What it is pinned to besides its conditions; none where a run of an older graygate does not say.
    pub asks: Option<Vec<String>>,
}

/// One condition of a gate, judged.
#[derive(Clone, Debug, Deserialize)]
pub struct Check {
    /// The condition.
    pub condition: String,
    /// Whether it held.
    pub status: Status,
    /// What was seen.
    pub seen: String,
}

/// What callers saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Requests {
    /// How their requests ended, by the name of the outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// The times of those that succeeded.
    pub latency: Option<Latency>,
}

/// Times, summed up.
#[derive(Clone, Debug, Deserialize)]
pub struct Latency {
    /// Their mean, in milliseconds; none where there is none.
    pub mean_ms: Option<f64>,
}

/// What the upstream of a version saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// Requests that met it first.
    pub first_attempts: u64,
    /// Those of them that chance sent there.
    pub randomised: u64,
    /// How attempts ended, by the name of the outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Requests that it answered.
    pub served: Option<u64>,
}

/// Which requests have rows in `requests.csv` and `attempts.csv`.
#[derive(Clone, Debug, Deserialize)]
pub struct Records {
    /// `all`, `failures`, `none` or `all, then failures`.
    pub kept: String,
    /// How many rows `requests.csv` has.
    pub rows: u64,
}

/// A rollback.
#[derive(Clone, Debug, Deserialize)]
pub struct Rollback {
    /// Its id.
    pub id: String,
    /// The version that was closed.
    pub from: String,
    /// When, from the start of the run.
    pub decided_at_s: f64,
}

/// What a run cost.
#[derive(Clone, Debug, Deserialize)]
pub struct Cost {
    /// All of it; none where a price is missing.
    pub total_nano_usd: Option<f64>,
}

impl Gate {
    /// Its name without the number that it has where several are of one name.
    pub fn plain_name(&self) -> &str {
        self.name.split('#').next().unwrap_or_default()
    }

    /// Had the gateway nothing to show for it?
    pub fn is_unsupported(&self) -> bool {
        self.checks.iter().any(|c| c.condition == "not supported")
    }
}

impl Order {
    /// Is it one to roll back?
    pub fn is_rollback(&self) -> bool {
        self.kind == "rollback"
    }
}

impl Summary {
    /// From the first trouble of the version that was rolled back to the decision, which may come before an order; from the start of the
    /// run where there was none before.
    pub fn rollback_time(&self, is_by_order: bool) -> Option<f64> {
        let first = self.rollbacks.first()?;
        Some(first.decided_at_s - self.trouble(is_by_order).unwrap_or(0.0))
    }

    /// May its rollback be what an order to close the canary came to? None where there was no rollback.
    pub fn is_by_order(&self) -> Option<bool> {
        let first = self.rollbacks.first()?;
        Some(self.order_for(first).is_some())
    }

    /// The first order to close the canary that may have come to this.
    fn order_for(&self, rollback: &Rollback) -> Option<f64> {
        let latest = rollback.decided_at_s + self.chance_gap(rollback);
        let orders = self.orders.iter().filter(|order| order.is_rollback());
        let times = orders.map(|order| order.at_s);
        times.filter(|at| *at <= latest).reduce(f64::min)
    }

    /// When the trouble of the version that was rolled back began, if that was before: with the first fault on it alone, else with the
    /// first on it; with the order to close it where it was by order, or where nothing was wrong with it. An audit knows of none.
    pub fn trouble(&self, is_by_order: bool) -> Option<f64> {
        let first = self.rollbacks.first()?;
        let on_it = |fault: &&Fault| fault.on.contains(&first.from);
        let on_it_alone = |fault: &&Fault| fault.on.iter().all(|on| *on == first.from);
        let faults = self.faults.iter().filter(on_it);
        let alone = faults.clone().filter(on_it_alone);
        let by = |times: &mut dyn Iterator<Item = f64>| {
            let before = times.filter(|at| *at <= first.decided_at_s);
            before.reduce(f64::min)
        };
        let order = self.order_for(first);
        order
            .filter(|_| is_by_order)
            .or_else(|| by(&mut alone.map(|fault| fault.from_s)))
            .or(order)
            .or_else(|| by(&mut faults.map(|fault| fault.from_s)))
    }

    /// The last arrival at another gateway's canary, which is its decision, comes before the order that closes it. By so much at most, but
    /// for chance: at its mean rate until then, nothing comes for longer with probability 10⁻⁶, e^(−rate · time).
    fn chance_gap(&self, rollback: &Rollback) -> f64 {
        let came = self.versions.get(&rollback.from);
        let came = came.map_or(0, |version| version.first_attempts);
        rollback.decided_at_s * -libm::log(SILENCE) / (came as f64).max(1.0)
    }

    /// Is the line by which `events.jsonl` says whose events it tells this run's, as far as it says so?
    ///
    /// # Errors
    /// Says what the line names that this run is not.
    pub fn is_named_by(&self, line: &Value) -> Result<(), String> {
        let (seed, sha256) = (&line["seed"], &line["scenario_sha256"]);
        if !seed.is_null() && seed.as_u64() != Some(self.seed) {
            let own = self.seed;
            return Err(format!(
                "it tells of seed {seed} where summary.json tells of seed {own}"
            ));
        }
        let is_own = sha256.is_null() || sha256.as_str() == Some(self.scenario_sha256.as_str());
        match is_own {
            true => Ok(()),
            false => {
                Err("it tells of another scenario than summary.json (scenario_sha256)".to_owned())
            }
        }
    }

    /// Is it of a log, and not of a run?
    pub fn is_audit(&self) -> bool {
        self.engine == "audit"
    }

    /// Is there a row of every request?
    pub fn has_all_records(&self) -> bool {
        self.records.kept == "all"
    }
}
