//! Records as the lines of a log: its first line, its clock, and the account of what a format cannot carry.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::traffic::format::Record;
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer};

/// What became of the records.
#[derive(Debug, Default)]
pub struct Written {
    /// Records that were written.
    pub records: u64,
    /// Records that lack what the format needs, by what that is.
    pub unfit: BTreeMap<Unfit, u64>,
    /// What the format cannot carry.
    pub losses: Losses,
    /// Was its clock moved, so that its times are dates?
    pub is_moved: bool,
}

/// A log that is being written.
pub struct Lines<'a> {
    writer: &'static Writer,
    output: &'a mut dyn Write,
    /// What times are moved by, once the first record is written.
    shift: Option<i64>,
    written: Written,
}

impl<'a> Lines<'a> {
    /// Begins a log with its first line, if its format has one.
    ///
    /// # Errors
    /// When writing fails.
    pub fn begin(writer: &'static Writer, output: &'a mut dyn Write) -> io::Result<Self> {
        let mut lines = Self {
            writer,
            output,
            shift: None,
            written: Written::default(),
        };
        if !writer.header.is_empty() {
            lines.line(writer.header.to_owned())?;
        }
        Ok(lines)
    }

    /// The record of this number, from 1.
    ///
    /// # Errors
    /// When writing fails.
    pub fn record(&mut self, mut record: Record, number: u64) -> io::Result<()> {
        let first = record.at.unwrap_or_default();
        let shift = self.shift.unwrap_or_else(|| self.writer.clock.shift(first));
        record.at = record.at.and_then(|at| at.checked_add(shift));
        match (self.writer.write)(&record, number, &mut self.written.losses) {
            Ok(line) => {
                // Only what is written has a place on the clock.
                self.shift = self.shift.or(record.at.map(|_| shift));
                let is_calendar = self.writer.clock == LogClock::Calendar;
                self.written.is_moved |= is_calendar && shift != 0 && record.at.is_some();
                self.written.records += 1;
                self.line(line)
            }
            Err(unfit) => {
                *self.written.unfit.entry(unfit).or_default() += 1;
                Ok(())
            }
        }
    }

    fn line(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.output.write_all(line.as_bytes())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(self) -> io::Result<Written> {
        self.output.flush()?;
        Ok(self.written)
    }
}
