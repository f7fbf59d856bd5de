//! A line of JSON that is written field by field, in the order in which readers look for them, and with numbers that have
//! more digits than a float.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::time::nanos;
use crate::traffic::format::values::MILLISECONDS;

/// An object that is written field by field.
#[derive(Debug, Default)]
pub struct Line(String);

impl Line {
    /// A field whose value is JSON already; nothing where there is none.
    pub fn plain(&mut self, name: &str, value: Option<String>) {
        let Some(value) = value else { return };
        let before = if self.0.is_empty() { '{' } else { ',' };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{before}\"{name}\":{value}");
    }

    /// A field of any other kind.
    pub fn json(&mut self, name: &str, value: Option<&impl Serialize>) {
        // Texts, numbers and maps with texts as keys can all be written.
        self.plain(
            name,
            value.and_then(|value| serde_json::to_string(value).ok()),
        );
    }

    /// A field that is a text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.json(name, Some(&value));
    }

    /// The object, without a line end.
    pub fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// A number of `unit` nanoseconds, with as many digits as there are.
pub fn decimal(nanos: i128, unit: u32) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (nanos, unit) = (nanos.unsigned_abs(), u128::from(unit));
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % unit);
    let number = format!("{sign}{}.{fraction}", nanos / unit);
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Milliseconds; lengths beyond 292 years, which no reader takes, are cut.
pub fn millis(length: Duration) -> String {
    decimal(
        nanos(length).min(i64::MAX.unsigned_abs()).into(),
        MILLISECONDS,
    )
}
