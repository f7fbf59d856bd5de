//! Every mutant in every live scenario: which gates fail. For whoever writes the table of catches.

use graygate::verdict::result::Status;

use super::playing::{LIVE, played, several_at_once};
use super::serving::SOUND;
use crate::catalogue::all;
use crate::soak::told;

#[test]
#[ignore = "takes half an hour: for whoever writes the table of catches"]
fn sweep() {
    let wanted = told("MUTANTS_NAMED").unwrap_or_default();
    let at_once = told("MUTANTS_AT_ONCE").and_then(|n| n.parse().ok());
    let mutants = all();
    let ids = mutants.iter().map(|mutant| mutant.id).chain([SOUND]);
    let ids = ids.filter(|id| id.contains(&wanted));
    let runs: Vec<_> = ids.flat_map(|id| LIVE.map(|name| (id, name))).collect();
    several_at_once(&runs, at_once.unwrap_or(6), |(id, name)| {
        let (verdict, invalid) = played(id, name);
        let failed = verdict.gates.iter().filter(|g| g.status == Status::Fail);
        let reasons = failed.flat_map(|gate| {
            let checks = gate.checks.iter().filter(|c| c.status == Status::Fail);
            checks.map(|c| format!("{}: {} ({})", gate.name, c.condition, c.seen))
        });
        let reasons: Vec<String> = reasons.collect();
        let status = verdict.status.name();
        println!("{id}\t{name}\t{status}\t{invalid}\t{}", reasons.join("; "));
    });
}
