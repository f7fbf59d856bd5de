//! Reads a run directory back, as far as two runs are compared by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::report::read::summary::Summary;
use crate::report::read::{self, Row, Unreadable, rows};

/// What a mean may be off by where each time was rounded to the microsecond, with room for the sum's own dust.
const ROUNDING_MS: f64 = 0.002;

/// A run, as its folder tells it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// Its `summary.json`.
    pub summary: Summary,
    /// Its times; none unless it kept all its rows.
    pub times: Option<Times>,
}

/// The times of everything that succeeded, in microseconds and in order of length.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// From the scheduled moment of a request to its answer.
    pub requests: Vec<u64>,
    /// From the scheduled moment of a request to the first token of a stream that is whole.
    pub first_tokens: Vec<u64>,
    /// Of attempts, by the name of the version.
    pub attempts: BTreeMap<String, Vec<u64>>,
}

/// Reads the folder of a run.
///
/// # Errors
/// When there is no summary in it, or one of another format, or when its files do not belong together.
pub fn read(folder: &Path) -> Result<Run, Unreadable> {
    let summary = read::summary(folder)?;
    // Figures of a measurement that cannot be trusted are never shown: their rows need not be read.
    let times = (summary.has_all_records() && summary.valid && !summary.interrupted)
        .then(|| times(folder, &summary))
        .transpose()?;
    Ok(Run {
        folder: folder.to_owned(),
        summary,
        times,
    })
}

fn times(folder: &Path, summary: &Summary) -> Result<Times, Unreadable> {
    let mut times = Times::default();
    let path = folder.join("requests.csv");
    let mut told = Told::default();
    let rows = rows(&path, &mut |row| {
        told.note(row)?;
        request(row, &mut times)
    })?;
    if rows != summary.records.rows {
        let told = summary.records.rows;
        let why = format!("it has {rows} rows where summary.json tells of {told}");
        return Err(Unreadable::new(&path, why));
    }
    let is_own = told
        .agrees(summary)
        .and_then(|()| same_mean(&times, summary));
    is_own.map_err(|why| Unreadable::new(&path, why))?;
    attempts(&folder.join("attempts.csv"), summary, &mut times)?;
    times.requests.sort_unstable();
    times.first_tokens.sort_unstable();
    times
        .attempts
        .values_mut()
        .for_each(|all| all.sort_unstable());
    Ok(times)
}

/// What the rows of `requests.csv` add up to.
#[derive(Default)]
struct Told {
    /// Requests by the name of their outcome.
    outcomes: BTreeMap<String, u64>,
    /// Those that a version answered, by its name.
    served: BTreeMap<String, u64>,
}

impl Told {
    fn note(&mut self, row: &Row) -> Result<(), String> {
        let outcome = row.text("outcome")?;
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        let version = row.text("served_by")?;
        *self.served.entry(version.to_owned()).or_default() += 1;
        Ok(())
    }

    /// Is it what the summary says?
    fn agrees(&self, summary: &Summary) -> Result<(), String> {
        let of = |counts: &BTreeMap<String, u64>, name: &str| {
            counts.get(name).copied().unwrap_or_default()
        };
        let differ = |found: u64, what: String, told: u64| {
            Err(format!(
                "it has {found} requests {what} where summary.json tells of {told}"
            ))
        };
        for (name, told) in &summary.requests.outcomes {
            let found = of(&self.outcomes, name);
            if found != *told {
                return differ(found, format!("that ended as {name}"), *told);
            }
        }
        for (name, version) in &summary.versions {
            let found = of(&self.served, name);
            if let Some(told) = version.served.filter(|told| *told != found) {
                return differ(found, format!("that {name} answered"), told);
            }
        }
        Ok(())
    }
}

/// Two runs may count the same, but not take the same time to the microsecond.
fn same_mean(times: &Times, summary: &Summary) -> Result<(), String> {
    let Some(told) = summary
        .requests
        .latency
        .as_ref()
        .and_then(|all| all.mean_ms)
    else {
        return Ok(());
    };
    let total: f64 = times.requests.iter().map(|micros| *micros as f64).sum();
    let found = total / times.requests.len().max(1) as f64 / 1e3;
    match (found - told).abs() <= ROUNDING_MS {
        true => Ok(()),
        false => Err(format!(
            "its successes took {found:.3} ms in the mean where summary.json tells of {told:.3} ms"
        )),
    }
}

fn request(row: &Row, times: &mut Times) -> Result<(), String> {
    if row.text("outcome")? == "success" {
        times.requests.extend(row.micros("latency_ms")?);
    }
    if row.maybe("stream") == Some("whole") {
        times.first_tokens.extend(row.micros("first_token_ms")?);
    }
    Ok(())
}

fn attempts(path: &Path, summary: &Summary, times: &mut Times) -> Result<(), Unreadable> {
    let mut successes: BTreeMap<String, u64> = BTreeMap::new();
    rows(path, &mut |row| {
        if row.text("outcome")? == "success" {
            let version = row.text("version")?.to_owned();
            let own = times.attempts.entry(version.clone()).or_default();
            own.extend(row.micros("latency_ms")?);
            *successes.entry(version).or_default() += 1;
        }
        Ok(())
    })?;
    for (name, version) in &summary.versions {
        let told = version.outcomes.get("success").copied().unwrap_or_default();
        let found = successes.get(name).copied().unwrap_or_default();
        if told != found {
            let why =
                format!("it has {found} successes of {name} where summary.json tells of {told}");
            return Err(Unreadable::new(path, why));
        }
    }
    Ok(())
}
