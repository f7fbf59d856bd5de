//! From one format of logs to another, a record at a time: read, redacted, written, and every loss counted.

pub mod redactor;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::diagnostic::Diagnostic;
use crate::scenario::load::Loader;
use crate::scenario::log_file::{self, Opened};
use crate::scenario::recorded::{self, LogFormat};
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer};
use crate::traffic::format::{BadRow, Format, Record};
use crate::traffic::log::account::LogAccount;
use redactor::Redactor;

/// Largest share of records that are dropped.
const MAX_DROPPED: f64 = 0.01;

/// A log that is open, and known for what it is.
#[derive(Debug)]
pub struct Source {
    name: String,
    opened: Opened,
}

impl Source {
    /// Opens a log, packed or not, and finds out its format where that is not said.
    ///
    /// # Errors
    /// When it cannot be read, or nobody knows what it is.
    pub fn open(path: &Path, format: LogFormat) -> Result<Self, Diagnostic> {
        let name = path.display().to_string();
        let file = Loader::default().open(path)?.into_inner();
        match log_file::open(file, format.known()) {
            Ok(opened) => Ok(Self { name, opened }),
            Err(unusable) => Err(recorded::unusable(name, unusable, format.known())),
        }
    }

    /// What it is read as.
    pub fn format(&self) -> &'static Format {
        self.opened.format
    }

    /// What it shows its format by; none when that was said.
    pub fn because(&self) -> Option<&'static str> {
        self.opened.because
    }
}

/// What became of a log.
#[derive(Debug, Default)]
pub struct Converted {
    /// Its lines, as they were read.
    pub account: LogAccount,
    /// Records that were written.
    pub written: u64,
    /// Records that lack what the format needs, by what that is.
    pub unfit: BTreeMap<Unfit, u64>,
    /// What the format cannot carry.
    pub losses: Losses,
    /// Was its clock moved, so that its times are dates?
    pub is_moved: bool,
}

impl Converted {
    /// Records that were lost: damaged ones, and those that lack what the format needs.
    pub fn lost(&self) -> u64 {
        self.account.damaged_total() + self.unfit.values().sum::<u64>()
    }

    /// Is more lost than a log can bear, or everything?
    pub fn is_useless(&self) -> bool {
        self.written == 0 || self.lost() as f64 > MAX_DROPPED * self.account.read as f64
    }
}

/// Why a conversion ended early.
#[derive(Debug)]
pub enum Failed {
    /// The log cannot be read.
    Log(Diagnostic),
    /// Its records cannot be written.
    Output(io::Error),
}

/// Converts a whole log. Whoever sets `stop` ends it early.
///
/// # Errors
/// When reading or writing fails.
pub fn convert(
    source: Source,
    writer: &'static Writer,
    redactor: &Redactor,
    output: &mut dyn Write,
    stop: &Arc<AtomicBool>,
) -> Result<Converted, Failed> {
    let Source { name, opened } = source;
    let format = opened.format;
    let mut reader = opened.stoppable(stop.clone());
    let mut conversion = Conversion {
        writer,
        redactor,
        output,
        shift: None,
        converted: Converted::default(),
        broken: None,
    };
    conversion.begin();
    let read = (format.read)(&mut reader, &mut |record| {
        conversion.take(record);
        if conversion.broken.is_some() {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let flushed = conversion.output.flush();
    if let Some(error) = conversion.broken {
        return Err(Failed::Output(error));
    }
    read.map_err(|error| Failed::Log(recorded::unusable(name, error.into(), Some(format))))?;
    flushed.map_err(Failed::Output)?;
    Ok(conversion.converted)
}

struct Conversion<'a> {
    writer: &'static Writer,
    redactor: &'a Redactor,
    output: &'a mut dyn Write,
    /// What times are moved by, once the first record is written.
    shift: Option<i64>,
    converted: Converted,
    broken: Option<io::Error>,
}

impl Conversion<'_> {
    fn begin(&mut self) {
        if !self.writer.header.is_empty() {
            self.line(self.writer.header.to_owned());
        }
    }

    fn take(&mut self, record: Result<Record, BadRow>) {
        if self.broken.is_some() {
            return;
        }
        self.converted.account.take(&record);
        if let Ok(record) = record {
            self.record(record);
        }
    }

    fn record(&mut self, mut record: Record) {
        self.redactor.apply(&mut record);
        let first = record.at.unwrap_or_default();
        let shift = self.shift.unwrap_or_else(|| self.writer.clock.shift(first));
        record.at = record.at.and_then(|at| at.checked_add(shift));
        let (number, losses) = (self.converted.account.read, &mut self.converted.losses);
        match (self.writer.write)(&record, number, losses) {
            Ok(line) => {
                // Only what is written has a place on the clock.
                self.shift = self.shift.or(record.at.map(|_| shift));
                let is_calendar = self.writer.clock == LogClock::Calendar;
                self.converted.is_moved |= is_calendar && shift != 0 && record.at.is_some();
                self.converted.written += 1;
                self.line(line);
            }
            Err(unfit) => *self.converted.unfit.entry(unfit).or_default() += 1,
        }
    }

    fn line(&mut self, mut line: String) {
        line.push('\n');
        self.broken = self.output.write_all(line.as_bytes()).err();
    }
}
