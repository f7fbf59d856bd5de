//! From one format of logs to another, a record at a time: read, redacted, written, and every loss counted.

pub mod lines;
pub mod redactor;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::diagnostic::Diagnostic;
use crate::scenario::load::Loader;
use crate::scenario::log_file::{self, Opened};
use crate::scenario::recorded::{self, LogFormat};
use crate::traffic::format::write::Writer;
use crate::traffic::format::{BadRow, Format, Record};
use crate::traffic::log::account::LogAccount;
use lines::{Lines, Written};
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
    /// Its records, as they were written.
    pub written: Written,
}

impl Converted {
    /// Records that were lost: damaged ones, and those that lack what the format needs.
    pub fn lost(&self) -> u64 {
        self.account.damaged_total() + self.written.unfit.values().sum::<u64>()
    }

    /// Is more lost than a log can bear, or everything?
    pub fn is_useless(&self) -> bool {
        self.written.records == 0 || self.lost() as f64 > MAX_DROPPED * self.account.read as f64
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
        redactor,
        lines: Lines::begin(writer, output).map_err(Failed::Output)?,
        account: LogAccount::default(),
        broken: None,
    };
    let read = (format.read)(&mut reader, &mut |record| {
        conversion.take(record);
        if conversion.broken.is_some() {
            stop.store(true, Ordering::Relaxed);
        }
    });
    if let Some(error) = conversion.broken {
        return Err(Failed::Output(error));
    }
    let written = conversion.lines.finish();
    read.map_err(|error| Failed::Log(recorded::unusable(name, error.into(), Some(format))))?;
    Ok(Converted {
        account: conversion.account,
        written: written.map_err(Failed::Output)?,
    })
}

struct Conversion<'a> {
    redactor: &'a Redactor,
    lines: Lines<'a>,
    account: LogAccount,
    broken: Option<io::Error>,
}

impl Conversion<'_> {
    fn take(&mut self, record: Result<Record, BadRow>) {
        if self.broken.is_some() {
            return;
        }
        self.account.take(&record);
        if let Ok(mut record) = record {
            self.redactor.apply(&mut record);
            self.broken = self.lines.record(record, self.account.read).err();
        }
    }
}
