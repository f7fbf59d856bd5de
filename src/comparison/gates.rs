//! The verdicts of two runs, gate by gate.

use serde::Serialize;

use crate::report::read::summary::{Check, Gate, Summary};
use crate::verdict::result::Status;

/// What became of a gate. Ordered by what a reader must see first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It passed in A and fails in B.
    Regressed,
    /// One of the two did not show whether it holds, so that a regression is neither shown nor excluded.
    Unknown,
    /// It failed, or was not shown, in A, and passes in B.
    Improved,
    /// It failed in A and is not shown in B, or passes in B and was not asked for in A: no worse, as far as is known.
    Changed,
    /// B says the same as A.
    Same,
}

/// A gate in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateChange {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// What A says; none when A has no such gate.
    pub a: Option<Status>,
    /// What B says.
    pub b: Option<Status>,
    /// Does it ask for the same in both?
    pub same_conditions: bool,
    /// Its checks that do not say the same in both.
    pub checks: Vec<CheckChange>,
}

/// A condition of a gate in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckChange {
    /// The condition.
    pub condition: String,
    /// What A says of it; none when A does not ask for it.
    pub a: Option<Said>,
    /// What B says of it.
    pub b: Option<Said>,
}

/// What a run says of a condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// Whether it held.
    pub status: Status,
    /// What was seen.
    pub seen: String,
}

/// What runs are asked, and audits cannot be, whatever is expected of them.
const OF_RUNS: [&str; 3] = ["policy", "budget", "generator"];
/// What audits are asked in its place.
const OF_AUDITS: [&str; 1] = ["log"];

/// Is it asked of all that are like the one of the two, and of none that is like the other?
fn is_of_one_kind(name: &str, a: &Summary, b: &Summary) -> bool {
    let is_own = OF_RUNS.contains(&name) || OF_AUDITS.contains(&name);
    is_own && a.is_audit() != b.is_audit()
}

/// All gates of both, the ones that became worse first, each kind in the order of A's file. That a run is not asked what every
/// audit is, and the other way round, tells nothing of either.
pub fn changes(a: &Summary, b: &Summary) -> Vec<GateChange> {
    let new = b.gates.iter().filter(|g| find(&a.gates, &g.name).is_none());
    let both = a.gates.iter().map(|gate| &gate.name);
    let alike = Alike::of(a, b);
    let names = both.chain(new.map(|gate| &gate.name));
    let mut all: Vec<GateChange> = names
        .filter(|name| !is_of_one_kind(name, a, b))
        .map(|name| gate(name, find(&a.gates, name), find(&b.gates, name), alike))
        .collect();
    all.sort_by_key(|gate| gate.change);
    all
}

/// What shows a condition for each step that a ramp came to: one that came to a step as its run ended shows one more.
const OF_STEPS: [&str; 2] = ["ramp", "promotion"];

/// What the two have in common.
#[derive(Clone, Copy)]
struct Alike {
    /// Do both come of one scenario, on one engine? Then the same steps were expected of them.
    expects: bool,
    /// Have they one router?
    router: bool,
    /// Do faults on the same versions begin at the same times in both?
    faults: bool,
}

impl Alike {
    fn of<'s>(a: &'s Summary, b: &'s Summary) -> Self {
        let is_run = !a.is_audit() && !b.is_audit();
        let times = |s: &'s Summary| s.faults.iter().map(|fault| (&fault.on, fault.from_s));
        Self {
            expects: is_run && (&a.scenario_sha256, &a.engine) == (&b.scenario_sha256, &b.engine),
            router: a.router_sha256 == b.router_sha256,
            faults: times(a).eq(times(b)),
        }
    }

    /// May this setting have come of the router or the faults, which need not be the same, and not of whoever asked?
    fn explains(self, gate: &str, setting: &str) -> bool {
        match gate {
            "rollback" => !self.faults && setting.starts_with("since "),
            "after_rollback" | "stickiness" => !self.router,
            _ => false,
        }
    }

    /// Is the gate pinned to the same in both, as far as both tell?
    fn settings(self, a: Option<&Gate>, b: Option<&Gate>) -> bool {
        let Some((a, b)) = a.zip(b) else {
            return true;
        };
        let own = |settings: &Vec<String>| {
            let settings = settings.iter();
            let own = settings.filter(|setting| !self.explains(a.plain_name(), setting));
            own.cloned().collect::<Vec<_>>()
        };
        match (&a.asks, &b.asks) {
            (Some(asked), Some(other)) => own(asked) == own(other),
            _ => true,
        }
    }
}

fn find<'g>(gates: &'g [Gate], name: &str) -> Option<&'g Gate> {
    gates.iter().find(|gate| gate.name == name)
}

fn gate(name: &str, a: Option<&Gate>, b: Option<&Gate>, alike: Alike) -> GateChange {
    let checks = |gate: Option<&Gate>| gate.map_or(Vec::new(), |gate| gate.checks.clone());
    let (one, other) = (checks(a), checks(b));
    let same_settings = alike.settings(a, b);
    let (a, b) = (a.map(|gate| gate.status), b.map(|gate| gate.status));
    let is_asked = |check: &Check| other.iter().any(|c| c.condition == check.condition);
    let has_steps = alike.expects && OF_STEPS.contains(&name.split('#').next().unwrap_or_default());
    let has_all = has_steps || is_counted(name) || one.iter().all(is_asked);
    GateChange {
        name: name.to_owned(),
        change: change(a, b, same_settings && has_all),
        a,
        b,
        same_conditions: same_settings && one.iter().map(asked).eq(other.iter().map(asked)),
        checks: check_changes(&one, &other),
    }
}

/// Of every run and audit, and what it is asked there is no expectation of anybody's: its numbers are those of what it did.
fn is_counted(name: &str) -> bool {
    OF_RUNS.contains(&name) || OF_AUDITS.contains(&name) || ["join", "sample"].contains(&name)
}

/// What holds must be shown by both: what B does not show, or has no gate for, is not as good as what A passed. What A
/// failed cannot become worse. Where B was not asked all that A was, it shows less than A did.
fn change(a: Option<Status>, b: Option<Status>, is_as_strict: bool) -> Change {
    use Status::{Fail, Pass};
    match (a, b) {
        (Some(Pass), Some(Fail)) => Change::Regressed,
        (Some(Pass), Some(Pass)) if !is_as_strict => Change::Unknown,
        (Some(Pass), Some(Pass)) | (Some(Fail), Some(Fail)) => Change::Same,
        (Some(_), Some(Pass)) => Change::Improved,
        (None, Some(Pass)) | (Some(Fail), _) => Change::Changed,
        _ => Change::Unknown,
    }
}

fn asked(check: &Check) -> &str {
    &check.condition
}

fn check_changes(a: &[Check], b: &[Check]) -> Vec<CheckChange> {
    let of = |checks: &[Check], condition: &str| {
        let check = checks.iter().find(|c| c.condition == condition);
        check.map(|check| Said {
            status: check.status,
            seen: check.seen.clone(),
        })
    };
    let is_new = |check: &&Check| !a.iter().any(|c| c.condition == check.condition);
    let conditions = a.iter().chain(b.iter().filter(is_new)).map(asked);
    let status = |said: &Option<Said>| said.as_ref().map(|said| said.status);
    conditions
        .map(|condition| CheckChange {
            condition: condition.to_owned(),
            a: of(a, condition),
            b: of(b, condition),
        })
        .filter(|check| status(&check.a) != status(&check.b))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_show_is_a_change_for_better_or_worse() {
        use Status::{Fail, Inconclusive, Pass};
        let all = [None, Some(Pass), Some(Inconclusive), Some(Fail)];
        let changes = all.map(|a| all.map(|b| change(a, b, true)));
        use Change::{Changed, Improved, Regressed, Same, Unknown};
        // Rows: A; columns: B.
        assert_eq!(
            changes,
            [
                [Unknown, Changed, Unknown, Unknown],
                [Unknown, Same, Unknown, Regressed],
                [Unknown, Improved, Unknown, Unknown],
                [Changed, Improved, Changed, Same],
            ]
        );
    }
}
