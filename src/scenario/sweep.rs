//! Policies that are tried on one scenario: `judge.min_requests: [50, 100, 200]` and the like become router
//! configurations, every combination one.
//!
//! The scenario's own configuration is written as a router file, a value is put into it, and it is read again: so
//! a value has the form that it has in a file, and a wrong one is refused by the reader of files, with its words.

mod edit;
mod own;

use crate::config::diagnostic::{Diagnostic, Diagnostics, Problems, Source};
use crate::config::fields::Cx;
use crate::config::node::{Node, Value};
use crate::config::{router_file, router_text, yaml};
use crate::router::config::RouterConfig;
use crate::scenario::replay::argument;

pub use own::default_grids;

/// More policies than this are a mistake, or a month.
pub const MOST_POLICIES: usize = 500;

/// The keys that may be swept begin with these.
const ROOTS: [&str; 7] = [
    "judge", "ramp", "weight", "split", "retry", "timeouts", "fallback",
];

/// Keys with the values that each may have; all combinations are meant.
pub type Grid = Vec<(String, Vec<Node>)>;

/// One way to configure the router.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The swept keys with their values, as written; nothing of the scenario's own policy.
    pub settings: Vec<(String, String)>,
    /// Is it the scenario's own?
    pub is_own: bool,
    /// The configuration.
    pub router: RouterConfig,
}

/// Reads `--sweep` arguments: all of them together are one grid. None means that mistakes were reported.
pub fn grid(texts: &[String], problems: &Problems) -> Option<Grid> {
    let mut grid = Grid::new();
    for text in texts {
        let entries = argument("--sweep", text, problems, read)?;
        for (key, values) in entries {
            if grid.iter().any(|(known, _)| *known == key) {
                problems.add(Diagnostic::file("--sweep", format!("{key} is swept twice")));
                return None;
            }
            grid.push((key, values));
        }
    }
    Some(grid)
}

fn read(cx: Cx<'_>, node: &Node) -> Option<Grid> {
    let expected = "KEY: [VALUE, …], like judge.min_requests: [50, 100, 200]";
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a key with its values", expected);
    };
    let mut grid = Grid::new();
    for entry in entries {
        let root = entry.key.split('.').next().unwrap_or_default();
        if !ROOTS.contains(&root) {
            let message = format!("`{}` cannot be swept", entry.key);
            let expected = format!("a key that begins with {}", ROOTS.join(", "));
            return cx.error(cx.at(entry.place, message).expected(expected));
        }
        let values = match &entry.value.value {
            Value::Null => return cx.wrong(&entry.value, "a list of values", expected),
            Value::List(values) if values.is_empty() => {
                return cx.wrong(&entry.value, "a list of values", expected);
            }
            Value::List(values) => values.clone(),
            _ => vec![entry.value.clone()],
        };
        grid.push((entry.key.clone(), values));
    }
    Some(grid)
}

/// All policies: the scenario's own first, then every combination of every grid. Keys that mean nothing
/// to a combination's judge are left out of it, and what is configured the same appears once.
///
/// # Errors
/// Combinations that no router file may have, unless `skips_wrong`; keys that fit nowhere; too many.
pub fn policies(
    own: &RouterConfig,
    grids: &[Grid],
    skips_wrong: bool,
) -> Result<Vec<Policy>, Diagnostics> {
    let sizes = grids.iter().map(|grid| {
        let lengths = grid.iter().map(|(_, values)| values.len());
        lengths.fold(1_usize, usize::saturating_mul)
    });
    let total = sizes.fold(0_usize, usize::saturating_add);
    if total > MOST_POLICIES {
        let message = format!("{total} combinations are too many");
        let limit =
            Diagnostic::file("--sweep", message).expected(format!("at most {MOST_POLICIES}"));
        return Err(limit.into());
    }
    let mut all = vec![Policy {
        settings: Vec::new(),
        is_own: true,
        router: own.clone(),
    }];
    let mut mistakes = Diagnostics::default();
    for grid in grids {
        for combination in combinations(grid) {
            match policy(own, &combination) {
                Ok(policy) => add(&mut all, policy),
                Err(wrong) if !skips_wrong => mistakes.extend(wrong),
                Err(_) => {}
            }
        }
        if !skips_wrong {
            mistakes.extend(unused(grid, &all));
        }
    }
    match mistakes.errors() {
        0 => Ok(all),
        _ => Err(mistakes),
    }
}

fn add(all: &mut Vec<Policy>, policy: Policy) {
    match all.iter_mut().find(|known| known.router == policy.router) {
        // Whoever reads the table wants to know where their own policy stands in the grid.
        Some(known) if known.settings.is_empty() => known.settings = policy.settings,
        Some(_) => {}
        None => all.push(policy),
    }
}

/// Keys that none of the policies took.
fn unused(grid: &Grid, all: &[Policy]) -> Diagnostics {
    let is_used = |key: &str| {
        let mut settings = all.iter().flat_map(|policy| &policy.settings);
        settings.any(|(used, _)| used == key)
    };
    let mut found = Diagnostics::default();
    for (key, _) in grid.iter().filter(|(key, _)| !is_used(key)) {
        let message = format!("`{key}` is no setting of this router");
        let hint = match key.split('.').next() {
            Some("judge") => {
                "a judge's keys are those of its kind: sweep `judge: [literal, sequential]` for both"
            }
            Some("ramp") => {
                "only a router with a `ramp` has steps, by their names: ramp.STEP.weight"
            }
            _ => "docs/runs.md lists what can be swept",
        };
        found.extend(Diagnostic::file("--sweep", message).hint(hint).into());
    }
    found
}

/// Every combination of a grid's values, the last key changing fastest.
fn combinations(grid: &Grid) -> Vec<Vec<(&str, &Node)>> {
    let mut all = vec![Vec::new()];
    for (key, values) in grid {
        let longer = all.into_iter().flat_map(|begun: Vec<(&str, &Node)>| {
            values.iter().map(move |value| {
                let mut next = begun.clone();
                next.push((key.as_str(), value));
                next
            })
        });
        all = longer.collect();
    }
    all
}

fn policy(own: &RouterConfig, combination: &[(&str, &Node)]) -> Result<Policy, Diagnostics> {
    // Writing plain data cannot fail.
    let text = serde_json::to_string(&router_text::write(own)).unwrap_or_default();
    let source = Source::new("the router's configuration", text);
    let mut node = yaml::parse(&source)?;
    let mut settings = Vec::new();
    // The kind of the judge decides which other keys mean something.
    let (kinds, others): (Vec<_>, Vec<_>) =
        combination.iter().partition(|(key, _)| *key == "judge");
    for (key, value) in kinds.into_iter().chain(others) {
        if edit::put(&mut node, own, key, value) {
            settings.push(((*key).to_owned(), edit::flow(value)));
        }
    }
    // In the order of the grid.
    let place = |key: &str| combination.iter().position(|(k, _)| *k == key);
    settings.sort_by_key(|(key, _)| place(key));
    let problems = Problems::default();
    let cx = Cx {
        source: &source,
        problems: &problems,
    };
    let read = router_file::read(cx, &node);
    match read.filter(|_| !problems.has_errors()) {
        Some(read) => Ok(Policy {
            router: merged(own, &read, &settings),
            settings,
            is_own: false,
        }),
        None => Err(in_words(&problems.into_diagnostics(), &settings)),
    }
}

/// The own configuration with what was swept of the other one: a file says not all of a configuration.
fn merged(own: &RouterConfig, read: &RouterConfig, settings: &[(String, String)]) -> RouterConfig {
    let mut router = own.clone();
    for (key, _) in settings {
        let root = key.split('.').next().unwrap_or_default();
        match root {
            "judge" => router.judge = read.judge.clone(),
            "ramp" => {
                router.ramp = read.ramp.clone();
                router.split.weights = read.split.weights.clone();
            }
            "weight" | "split" => router.split = read.split.clone(),
            "retry" => router.retry = read.retry.clone(),
            "timeouts" => router.timeouts = read.timeouts.clone(),
            _ => router.fallback = read.fallback,
        }
    }
    router
}

/// The reader's words, with the settings that they are about instead of a place in a file that nobody wrote.
fn in_words(mistakes: &Diagnostics, settings: &[(String, String)]) -> Diagnostics {
    let setting = settings
        .iter()
        .map(|(key, value)| format!("{key}: {value}"));
    let setting = setting.collect::<Vec<_>>().join(", ");
    let mut found = Diagnostics::default();
    for mistake in &mistakes.list {
        let mut said = Diagnostic::file("--sweep", format!("{setting}: {}", mistake.message));
        said.expected.clone_from(&mistake.expected);
        said.hint.clone_from(&mistake.hint);
        found.extend(said.into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read as read_text;
    use crate::router::config::JudgeConfig;

    const VERSIONS: &str = "versions: {v1: {role: stable, model: a}, v2: {role: canary, model: b}}";

    fn router(rest: &str) -> RouterConfig {
        read_text(&format!("{{{VERSIONS}, {rest}}}"), router_file::read).expect("a router")
    }

    fn swept(router: &RouterConfig, sweep: &str) -> Vec<Policy> {
        let problems = Problems::default();
        let grid = grid(&[sweep.to_owned()], &problems).expect(sweep);
        policies(router, &[grid], false).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn a_step_is_named_and_only_what_is_swept_changes() {
        let own = router("ramp: default, judge: sequential, timeouts: {attempt: 7s, idle: 2s}");
        let all = swept(
            &own,
            "ramp.minority.weight: [10%, 20%], ramp.initial.hold: 10m",
        );
        assert_eq!(all.len(), 3, "its own, and two");
        let share = |p: &Policy| p.router.ramp.as_ref().unwrap().steps[1].share;
        assert_eq!([share(&all[1]), share(&all[2])], [0.1, 0.2]);
        assert_eq!(all[2].router.timeouts, own.timeouts);
        assert_eq!(all[2].router.judge, own.judge);
        assert!(all[0].is_own && all[0].router == own);
    }

    #[test]
    fn keys_of_another_judge_are_left_out_and_twins_appear_once() {
        let own =
            router("split: {weights: {v1: 90, v2: 10}}, judge: {literal: {min_requests: 70}}");
        let sweep = "judge: [literal, sequential, off], judge.min_requests: [70, 80], judge.alpha: [1%, 2%]";
        let all = swept(&own, sweep);
        // literal 70 (its own) and 80, sequential 1 % and 2 %, off.
        assert_eq!(all.len(), 5);
        let setting = |i: usize| all[i].settings.iter().map(|(k, v)| format!("{k} {v}"));
        let words = |i| setting(i).collect::<Vec<_>>();
        assert_eq!(words(0), ["judge literal", "judge.min_requests 70"]);
        assert!(all[0].is_own && !all[1].is_own);
        assert_eq!(words(2), ["judge sequential", "judge.alpha 1%"]);
        assert_eq!(words(4), ["judge off"]);
        assert_eq!(all[4].router.judge, JudgeConfig::Off);
    }

    #[test]
    fn what_is_swept_when_nobody_says_can_be_read() {
        for (judge, policies) in [("{literal: {}}", 10), ("sequential", 7), ("off", 5)] {
            let own = router(&format!(
                "split: {{weights: {{v1: 9, v2: 1}}}}, judge: {judge}"
            ));
            let found = super::policies(&own, &default_grids(&own), false);
            let found = found.unwrap_or_else(|mistakes| panic!("{judge}: {mistakes}"));
            assert_eq!(found.len(), policies, "{judge}");
        }
    }

    #[test]
    fn a_month_of_runs_is_a_mistake() {
        let own = router("split: {weights: {v1: 9, v2: 1}}");
        let values: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
        let list = values.join(", ");
        let sweep = format!("judge.min_requests: [{list}], retry.max_retries: [{list}]");
        let problems = Problems::default();
        let grid = grid(&[sweep], &problems).unwrap();
        let wrong = policies(&own, &[grid], false).unwrap_err().to_string();
        assert!(wrong.contains("1600 combinations are too many"), "{wrong}");
    }
}
