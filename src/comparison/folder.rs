//! Reads a run directory back, as far as two runs are compared by it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::comparison::summary::Summary;
use crate::report::json::FORMAT;

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

/// Why a folder cannot be read as a run's.
#[derive(Debug)]
pub struct Unreadable {
    path: PathBuf,
    why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), self.why)
    }
}

impl Unreadable {
    fn new(path: &Path, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        let path = path.to_owned();
        Self { path, why }
    }
}

/// Reads the folder of a run.
///
/// # Errors
/// When there is no summary in it, or one of another format, or when its files do not belong together.
pub fn read(folder: &Path) -> Result<Run, Unreadable> {
    let summary = summary(&folder.join("summary.json"))?;
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

fn summary(path: &Path) -> Result<Summary, Unreadable> {
    let text = fs::read_to_string(path).map_err(|e| {
        Unreadable::new(
            path,
            format_args!("{e} (a run's folder has one: reports/<scenario>/<run>)"),
        )
    })?;
    let summary: Summary = serde_json::from_str(&text)
        .map_err(|e| Unreadable::new(path, format_args!("it is no summary of a run: {e}")))?;
    match summary.format == FORMAT {
        true => Ok(summary),
        false => {
            let why = format!("its format is `{}`, and not `{FORMAT}`", summary.format);
            Err(Unreadable::new(path, why))
        }
    }
}

fn times(folder: &Path, summary: &Summary) -> Result<Times, Unreadable> {
    let mut times = Times::default();
    let path = folder.join("requests.csv");
    let rows = rows(&path, &mut |row| request(row, &mut times))?;
    if rows != summary.records.rows {
        let told = summary.records.rows;
        let why = format!("it has {rows} rows where summary.json tells of {told}");
        return Err(Unreadable::new(&path, why));
    }
    attempts(&folder.join("attempts.csv"), summary, &mut times)?;
    times.requests.sort_unstable();
    times.first_tokens.sort_unstable();
    times
        .attempts
        .values_mut()
        .for_each(|all| all.sort_unstable());
    Ok(times)
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

/// A row of a CSV file, with the names of its fields.
struct Row<'r> {
    header: &'r csv::StringRecord,
    record: &'r csv::StringRecord,
}

impl<'r> Row<'r> {
    fn maybe(&self, column: &str) -> Option<&'r str> {
        let position = self.header.iter().position(|name| name == column)?;
        self.record.get(position)
    }

    fn text(&self, column: &str) -> Result<&'r str, String> {
        self.maybe(column)
            .ok_or_else(|| format!("it has no column `{column}`"))
    }

    /// Milliseconds with three decimals, as whole microseconds; none where the field is empty.
    fn micros(&self, column: &str) -> Result<Option<u64>, String> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let millis: Option<f64> = text.parse().ok();
        match millis.filter(|ms| (0.0..=1e12).contains(ms)) {
            Some(millis) => Ok(Some((millis * 1e3).round() as u64)),
            None => Err(format!("`{text}` is no time ({column})")),
        }
    }
}

/// Goes through a file row by row, and says how many there are.
fn rows(path: &Path, take: &mut dyn FnMut(&Row) -> Result<(), String>) -> Result<u64, Unreadable> {
    let file = File::open(path).map_err(|e| Unreadable::new(path, e))?;
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers().map_err(|e| Unreadable::new(path, e))?;
    let header = header.clone();
    let mut record = csv::StringRecord::new();
    let mut rows = 0;
    while reader
        .read_record(&mut record)
        .map_err(|e| Unreadable::new(path, e))?
    {
        rows += 1;
        let row = Row {
            header: &header,
            record: &record,
        };
        take(&row).map_err(|why| Unreadable::new(path, format_args!("row {rows}: {why}")))?;
    }
    Ok(rows)
}
