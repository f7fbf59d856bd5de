//! `runs.csv`: a row a seed.

use ::csv::Writer;

use crate::report::runs::{Runs, SeedRun};

/// The rows with a header; units are in it. A gate's column is `gate:` with its name.
///
/// # Errors
/// Never on memory; the library's signature has one.
pub fn render(runs: &Runs) -> Result<Vec<u8>, ::csv::Error> {
    let mut rows = Writer::from_writer(Vec::new());
    let fixed = [
        "seed",
        "verdict",
        "requests",
        "rolled_back_at_s",
        "detection_s",
        "exposed_requests",
        "user_errors",
    ];
    let fixed = fixed.map(str::to_owned).into_iter();
    let gates = runs.gates.iter().map(|gate| format!("gate:{gate}"));
    rows.write_record(fixed.chain(gates))?;
    for run in &runs.seeds {
        rows.write_record(row(run))?;
    }
    rows.into_inner().map_err(|error| error.into_error().into())
}

fn row(run: &SeedRun) -> Vec<String> {
    let or_empty = |value: Option<String>| value.unwrap_or_default();
    let detection = run.detection.map(crate::time::Timestamp::from);
    let mut row = vec![
        run.seed.to_string(),
        run.status.name().to_owned(),
        run.requests.to_string(),
        or_empty(run.rolled_back_at.map(|at| at.to_string())),
        or_empty(detection.map(|time| time.to_string())),
        or_empty(run.exposed.map(|n| n.to_string())),
        run.user_errors.to_string(),
    ];
    row.extend(run.gates.iter().map(|gate| gate.name().to_owned()));
    row
}
