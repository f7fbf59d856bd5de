//! Judges a run again, by other expectations, from the files that it left behind. Nothing is run, and nothing written.

use std::collections::BTreeMap;
use std::path::Path;

use crate::id::{PerVersion, Seed};
use crate::observe::event::{RunEvent, Sink};
use crate::observe::meta::{Ending, Engine, RunMeta};
use crate::observe::summary::OutcomeCounts;
use crate::protocol::outcome::Outcome;
use crate::report::read::summary::{Gate, Order, Summary};
use crate::report::read::{Unreadable, summary, told};
use crate::report::{RecordsKept, Report};
use crate::runner::recorder::{Keep, Recorder};
use crate::runner::{Records, meta, settle};
use crate::scenario::Scenario;
use crate::verdict::result::{Check, GateResult, Status, Verdict, weaken};
use crate::verdict::spec::GateSpec;

/// What every run is asked, and has answered: no expectation changes it.
const STANDING: [&str; 6] = ["policy", "budget", "orders", "generator", "join", "sample"];

/// The part of `rollback` that rests on the router's own word, which no row keeps.
const OWN_WORD: &str = "its record fits the run";

/// What files may differ by in telling one time, in seconds: they round to the microsecond.
const ROUNDING: f64 = 1e-6;

/// Why a run cannot be judged again.
#[derive(Debug)]
pub enum JudgeError {
    /// Its files cannot be read.
    Unreadable(Unreadable),
    /// They do not tell enough, or are those of another scenario.
    Unfit(String),
}

/// The gates that await a rollback.
const AWAIT: [&str; 2] = ["rollback", "after_rollback"];

struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _event: &RunEvent) {}
}

/// Judges the run in `folder` by the gates of a scenario, whose router, versions and faults must be those of the run.
///
/// # Errors
/// When the run cannot be read, did not keep all its rows, or is one of another scenario.
pub fn run(scenario: &Scenario, folder: &Path) -> Result<Report, JudgeError> {
    let recorded = summary(folder).map_err(JudgeError::Unreadable)?;
    let engine = engine(&recorded).map_err(JudgeError::Unfit)?;
    let scenario = &scenario.clone().with_seed(Seed(recorded.seed));
    let experiment = &scenario.experiment;
    let played_by = PerVersion::from_fn(experiment.router.versions.len(), |_| "recorded");
    let meta = meta(scenario, engine, &played_by);
    is_of(&meta, &recorded).map_err(JudgeError::Unfit)?;
    has_listened(scenario, &recorded).map_err(JudgeError::Unfit)?;
    let mut gates = scenario.gates.clone();
    for gate in &mut gates {
        settle(gate, experiment, engine);
    }
    let told = told::events(folder, &meta, &experiment.intents(), &recorded);
    let (events, rows) = told.map_err(JudgeError::Unreadable)?;
    if rows != recorded.records.rows {
        let told = recorded.records.rows;
        let why = format!("requests.csv has {rows} rows where summary.json tells of {told}");
        return Err(JudgeError::Unfit(why));
    }
    let mut nobody = Nobody;
    let keep = Keep::Asked(Records::None);
    let recorder = Recorder::new(meta, &gates, None, keep, &mut nobody);
    let recorder = recorder.map_err(|e| JudgeError::Unfit(e.to_string()))?;
    let mut recorder = recorder.again();
    events.iter().for_each(|event| recorder.event(event));
    let mut report = recorder.finish(ending(&recorded)).report;
    agrees(&report, &recorded).map_err(JudgeError::Unfit)?;
    report.verdict = settled(report.verdict, &recorded);
    report.records = RecordsKept { kept: "all", rows };
    // Of streams, only their first tokens were told.
    report.summary.streams = None;
    Ok(report)
}

/// Do rows and events say what the summary says? Else somebody changed one of them, and nobody knows which to believe.
fn agrees(report: &Report, recorded: &Summary) -> Result<(), String> {
    let differ = |file: &str, what: &str, told: u64, summed: u64| {
        Err(format!(
            "{file} tells of {told} {what} where summary.json tells of {summed}"
        ))
    };
    let (told, summed) = (report.summary.rollbacks.len(), recorded.rollbacks.len());
    if told != summed {
        return differ("events.jsonl", "rollbacks", told as u64, summed as u64);
    }
    same_rollbacks(report, recorded)?;
    let (told, summed) = (&report.summary.answers, &recorded.requests.outcomes);
    if let Some((outcome, told, summed)) = difference(told, summed) {
        let what = format!("requests that ended as {}", outcome.name());
        return differ("requests.csv", &what, told, summed);
    }
    for (id, version) in report.summary.versions.iter() {
        let name = report.meta.name(id);
        let summed = recorded.versions.get(name).map(|v| &v.outcomes);
        let found = summed.and_then(|summed| difference(&version.attempts, summed));
        if let Some((outcome, told, summed)) = found {
            let what = format!("attempts at {name} that ended as {}", outcome.name());
            return differ("attempts.csv", &what, told, summed);
        }
    }
    Ok(())
}

/// Are they the same ones, at the same times?
fn same_rollbacks(report: &Report, recorded: &Summary) -> Result<(), String> {
    for (told, summed) in report.summary.rollbacks.iter().zip(&recorded.rollbacks) {
        let (at, told_at) = (summed.decided_at_s, told.decided_at.as_secs_f64());
        if told.id != summed.id || (told_at - at).abs() > ROUNDING {
            return Err(format!(
                "events.jsonl tells of the rollback {} at {told_at} s where summary.json tells of {} at {at} s",
                told.id, summed.id
            ));
        }
    }
    Ok(())
}

/// The first outcome that is not as frequent in both.
fn difference(told: &OutcomeCounts, summed: &BTreeMap<String, u64>) -> Option<(Outcome, u64, u64)> {
    let both = Outcome::ALL.map(|outcome| {
        let summed = summed.get(outcome.name()).copied().unwrap_or(0);
        (outcome, told.of(outcome), summed)
    });
    both.into_iter().find(|(_, told, summed)| told != summed)
}

fn engine(recorded: &Summary) -> Result<Engine, String> {
    let engines = [Engine::Virtual, Engine::Live];
    let engine = engines.into_iter().find(|e| e.name() == recorded.engine);
    let engine = engine.ok_or("an audit is not judged again: audit its log with other --expect")?;
    if !recorded.has_all_records() {
        return Err(format!(
            "its rows were not all kept ({}): no gate can be judged from the rest. \
             Run it with --records all",
            recorded.records.kept
        ));
    }
    Ok(engine)
}

/// Gates rest on router, versions, faults and orders: those must be the run's.
fn is_of(meta: &RunMeta, recorded: &Summary) -> Result<(), String> {
    let other = |what: &str| Err(format!("the run had {what} than this scenario"));
    if meta.router_sha256 != recorded.router_sha256 {
        return other("another router");
    }
    let faults = meta.faults.iter().map(|fault| {
        let on: Vec<&str> = fault.on.iter().map(|v| meta.name(*v)).collect();
        let until = fault.until.map(|until| until.as_secs_f64());
        (
            (fault.kind, on, fault.from.as_secs_f64()),
            (until, fault.share),
        )
    });
    let own = recorded.faults.iter().map(|fault| {
        let on: Vec<&str> = fault.on.iter().map(String::as_str).collect();
        let rest = fault.share.map(|share| (fault.until_s, share));
        ((fault.kind.as_str(), on, fault.from_s), rest)
    });
    // An older graygate may not have written all of it down.
    let is_same = faults.len() == own.len()
        && faults
            .zip(own)
            .all(|((what, rest), (own, told))| what == own && told.is_none_or(|told| told == rest));
    if !is_same {
        return other("other faults");
    }
    if meta.gateway != recorded.gateway {
        return other("another gateway");
    }
    let orders = meta.orders.iter();
    let orders = orders.map(|o| (o.order, o.kind, o.canary_share, o.at_s));
    let given = recorded.orders.iter();
    let given = given.map(|o| (o.order, o.kind.as_str(), o.canary_share, o.at_s));
    match orders.eq(given) {
        true => Ok(()),
        false => other("other orders"),
    }
}

/// Another gateway's rollback is heard while the run goes on, and only where a gate or an order asks about it; at the end of a run, only
/// where a gate awaits it.
fn has_listened(scenario: &Scenario, recorded: &Summary) -> Result<(), String> {
    if recorded.gateway.is_none() {
        return Ok(());
    }
    let mut judged = recorded.gates.iter().filter(|gate| !gate.is_unsupported());
    let has_awaited = judged
        .clone()
        .any(|gate| AWAIT.contains(&gate.plain_name()));
    let has_excluded = judged.any(|gate| gate.plain_name() == "no_rollback");
    let has_ordered = recorded.orders.iter().any(Order::is_rollback);
    let awaits =
        |gate: &GateSpec| matches!(gate, GateSpec::Rollback(_) | GateSpec::AfterRollback(_));
    let excludes = |gate: &GateSpec| matches!(gate, GateSpec::NoRollback(_));
    let gates = &scenario.gates;
    if gates.iter().any(awaits) && !has_awaited {
        return Err(
            "none of its gates awaited a rollback (rollback, after_rollback), and only where one does, the end of a run shows that \
             another gateway's canary was closed"
                .to_owned(),
        );
    }
    if gates.iter().any(excludes) && !(has_awaited || has_excluded || has_ordered) {
        return Err(
            "neither a gate nor an order of it was about rollbacks, and those of another gateway are listened for only where one is"
                .to_owned(),
        );
    }
    Ok(())
}

fn ending(recorded: &Summary) -> Ending {
    let has_all_passed = recorded
        .gates
        .iter()
        .all(|gate| gate.status == Status::Pass);
    match (recorded.interrupted, recorded.status) {
        (true, _) => Ending::Interrupted,
        // Only a run that ended early is inconclusive although all its gates passed.
        (false, Status::Inconclusive) if has_all_passed => Ending::OutOfBudget,
        _ => Ending::Complete,
    }
}

/// The verdict, with what the run said of itself: whether it can be trusted does not depend on what is expected of it.
fn settled(verdict: Verdict, recorded: &Summary) -> Verdict {
    let standing = |gate: &&Gate| STANDING.contains(&gate.name.as_str());
    let standing: Vec<&Gate> = recorded.gates.iter().filter(standing).collect();
    let is_leaky = |gate: &&Gate| gate.name == "join" && gate.status != Status::Pass;
    let is_leaky = standing.iter().any(is_leaky);
    let mut gates: Vec<GateResult> = verdict.gates.into_iter().map(without_own_word).collect();
    if is_leaky {
        gates.iter_mut().for_each(|gate| {
            weaken(&mut gate.checks);
            gate.status = gate.status.max(Status::Inconclusive);
        });
    }
    gates.extend(standing.into_iter().map(as_recorded));
    if !recorded.valid {
        gates.iter_mut().for_each(|g| g.status = Status::Invalid);
    }
    let worst = gates.iter().map(|gate| gate.status).max();
    let least = match ending(recorded) {
        Ending::Complete => Status::Pass,
        Ending::Interrupted | Ending::OutOfBudget => Status::Inconclusive,
    };
    Verdict {
        status: worst.unwrap_or(Status::Inconclusive).max(least),
        interrupted: verdict.interrupted,
        gates,
    }
}

fn without_own_word(gate: GateResult) -> GateResult {
    let (own, checks): (Vec<Check>, Vec<Check>) = gate
        .checks
        .into_iter()
        .partition(|c| c.condition == OWN_WORD);
    let mut warnings = gate.warnings;
    if !own.is_empty() {
        warnings.push(format!(
            "\"{OWN_WORD}\" is not judged again: no row keeps the router's own word"
        ));
    }
    GateResult {
        warnings,
        name: gate.name.clone(),
        ..GateResult::of(&gate.name, checks)
    }
}

fn as_recorded(gate: &Gate) -> GateResult {
    let checks = gate.checks.iter();
    let checks = checks.map(|c| {
        let mut check = Check::census(c.condition.clone(), c.status, c.seen.clone());
        check.evidence.method = "as recorded";
        check
    });
    GateResult {
        name: gate.name.clone(),
        status: gate.status,
        checks: checks.collect(),
        warnings: gate.warnings.clone(),
    }
}
