//! Reads back what the writers beside it wrote: `summary.json` and the rows of CSV files.

pub mod summary;
pub mod told;

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::report::json::FORMAT;

use summary::Summary;

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
    /// An error with the path of the file that it is about.
    pub fn new(path: &Path, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        let path = path.to_owned();
        Self { path, why }
    }
}

/// What every summary says, of whatever it is.
#[derive(Deserialize)]
struct Head {
    format: String,
}

/// Reads the summary of a run back.
///
/// # Errors
/// When there is none in the folder, or one of another format.
pub fn summary(folder: &Path) -> Result<Summary, Unreadable> {
    let path = &folder.join("summary.json");
    let text = fs::read_to_string(path).map_err(|e| {
        Unreadable::new(
            path,
            format_args!("{e} (a run's folder has one: reports/<scenario>/<run>)"),
        )
    })?;
    let none = |e: serde_json::Error| {
        Unreadable::new(path, format_args!("it is no summary of a run: {e}"))
    };
    let head: Head = serde_json::from_str(&text).map_err(none)?;
    if head.format != FORMAT {
        let why = format!(
            "its format is `{}`, and not `{FORMAT}`, that of one run",
            head.format
        );
        return Err(Unreadable::new(path, why));
    }
    serde_json::from_str(&text).map_err(none)
}

/// A row of a CSV file, with the names of its fields.
pub struct Row<'r> {
    header: &'r csv::StringRecord,
    record: &'r csv::StringRecord,
}

impl<'r> Row<'r> {
    /// The field of a column; none where there is no such column.
    pub fn maybe(&self, column: &str) -> Option<&'r str> {
        let position = self.header.iter().position(|name| name == column)?;
        self.record.get(position)
    }

    /// The field of a column that must be there.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn text(&self, column: &str) -> Result<&'r str, String> {
        self.maybe(column)
            .ok_or_else(|| format!("it has no column `{column}`"))
    }

    /// Milliseconds with three decimals, as whole microseconds; none where the field is empty.
    ///
    /// # Errors
    /// When it is no number, or there is no such column.
    pub fn micros(&self, column: &str) -> Result<Option<u64>, String> {
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
///
/// # Errors
/// When the file cannot be read, or `take` says what is wrong with a row.
pub fn rows(
    path: &Path,
    take: &mut dyn FnMut(&Row) -> Result<(), String>,
) -> Result<u64, Unreadable> {
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
