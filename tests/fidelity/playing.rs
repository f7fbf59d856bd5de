//! A scenario and a seed on both engines.

use std::collections::BTreeMap;

use graygate::id::{RequestKey, VersionId};
use graygate::observe::meta::Engine;
use graygate::observe::story::Story;
use graygate::protocol::outcome::Outcome;
use graygate::runner::RunOptions;
use graygate::scenario::Scenario;

use crate::catalogue::Case;
use crate::figures::{Figures, Watch, is_invalid};
use crate::support::run_with;

/// The same scenario and seed on both engines.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) case: String,
    pub(crate) seed: u64,
    /// Live runs before this one that the machine made invalid.
    pub(crate) repeats: u64,
    /// Requests, on either engine, that did not meet the same end by the same way on both.
    pub(crate) parted: u64,
    pub(crate) simulated: Figures,
    pub(crate) live: Figures,
}

/// What came of a run on an engine, and whether it is valid.
pub(crate) fn played(scenario: &Scenario, engine: Engine) -> (bool, Figures, Vec<Story>) {
    let mut watch = Watch::new(scenario);
    let output = run_with(scenario, &RunOptions::new(engine), &mut watch);
    let (figures, stories) = watch.finish(&output);
    (!is_invalid(&output), figures, stories)
}

/// Both runs, and whether the live one is valid: the last of so many when all were invalid.
pub(crate) fn pair(case: &Case, seed: u64, tries: u64) -> (bool, Pair) {
    let scenario = case.with_seed(seed);
    let (_, simulated, told) = played(&scenario, Engine::Virtual);
    let mut repeats = 0;
    loop {
        let (is_valid, live, seen) = played(&scenario, Engine::Live);
        if is_valid || repeats + 1 >= tries {
            let pair = Pair {
                case: case.name.to_owned(),
                seed,
                repeats,
                parted: parted(&told, &seen),
                simulated,
                live,
            };
            return (is_valid, pair);
        }
        repeats += 1;
        eprintln!(
            "live run {repeats} of {}, seed {seed}, was invalid",
            case.name
        );
    }
}

/// How a request ended, and by which way: version, truth and fault of each attempt.
type Fate = (
    Option<Outcome>,
    Vec<(VersionId, Option<Outcome>, Option<u16>)>,
);

fn fates(stories: &[Story]) -> BTreeMap<RequestKey, Fate> {
    let fate = |story: &Story| {
        let attempts = story.attempts.iter();
        let way = attempts.map(|a| (a.version, a.truth(), a.fault)).collect();
        (story.key, (story.outcome(), way))
    };
    stories.iter().map(fate).collect()
}

/// Requests that do not have the same fate in both; those that only one has, too.
fn parted(told: &[Story], seen: &[Story]) -> u64 {
    let (told, seen) = (fates(told), fates(seen));
    let differ = told
        .iter()
        .filter(|(key, fate)| seen.get(key) != Some(fate));
    let only_seen = seen.keys().filter(|key| !told.contains_key(key));
    (differ.count() + only_seen.count()) as u64
}
