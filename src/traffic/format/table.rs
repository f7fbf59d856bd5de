//! CSV as logs have it: the first line names the columns, fields may be quoted and hold line ends, and no record is
//! longer than memory allows.

use std::io::{self, BufRead, Read};

use csv::{ByteRecord, ReaderBuilder, StringRecord, Terminator};
use serde_json::{Map, Value};

use crate::traffic::format::{BadRow, DropReason, Each, LogError, Record};

/// Longest record, in bytes.
const MAX_RECORD: usize = 16 << 20;

/// Most commas of one record, in texts or between them: the end of every field takes eight bytes, and its comma one.
const MAX_COMMAS: usize = 4 << 20;

/// Most columns: whatever has more is no table of requests, and its names alone would take the memory of many records.
const MAX_COLUMNS: usize = 1_000;

/// The fields of one line.
pub fn fields(line: &str) -> Vec<String> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(line.as_bytes());
    let record = reader.records().next();
    let record = record.and_then(Result::ok).unwrap_or_default();
    record.iter().map(str::to_owned).collect()
}

/// Where the columns stand that a reader wants.
#[derive(Clone, Debug)]
pub struct Columns(Vec<String>);

impl Columns {
    /// The position of a column.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|column| column == name)
    }

    /// The position of a column that must be there.
    ///
    /// # Errors
    /// When the file is of another format.
    pub fn need(&self, name: &str) -> Result<usize, LogError> {
        self.find(name)
            .ok_or_else(|| LogError::unknown(&self.0.join(",")))
    }
}

/// Reads a file with a first line of names into JSON objects of texts, without the fields that are empty: for formats
/// that come as JSON, too.
///
/// # Errors
/// As [`read_table`] says; `needed` are the columns that must be there.
pub fn read_texts(
    reader: &mut dyn BufRead,
    each: Each<'_>,
    needed: &[&str],
    mut read: impl FnMut(Map<String, Value>) -> Result<Record, DropReason>,
) -> Result<(), LogError> {
    let names = |columns: &Columns| {
        for name in needed {
            columns.need(name)?;
        }
        Ok(columns.0.clone())
    };
    read_table(reader, each, names, |names, row| {
        let fields = names.iter().enumerate().filter_map(|(i, name)| {
            let text = row.text(Some(i))?;
            Some((name.clone(), Value::from(text)))
        });
        read(fields.collect())
    })
}

/// One row.
#[derive(Debug)]
pub struct Row<'a>(&'a StringRecord);

impl<'a> Row<'a> {
    /// The text of a field, without white space around it; none when it is empty, or the column is not there.
    pub fn text(&self, column: Option<usize>) -> Option<&'a str> {
        let text = self.0.get(column?)?.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// Reads a file with a first line of names. `columns` looks the columns up, `read` makes a record of each row, or says
/// what is wrong with it.
///
/// # Errors
/// When reading fails, the file is empty, a column is missing, or a record is longer than 16 MiB.
pub fn read_table<C>(
    reader: &mut dyn BufRead,
    each: Each<'_>,
    columns: impl FnOnce(&Columns) -> Result<C, LogError>,
    mut read: impl FnMut(&C, &Row<'_>) -> Result<Record, DropReason>,
) -> Result<(), LogError> {
    let limited = Limited {
        reader,
        left: MAX_RECORD,
        commas: MAX_COMMAS,
        last: b'\n',
    };
    // Ended by LF alone, so that lines can be counted; the CR before it is white space.
    let mut table = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(Terminator::Any(b'\n'))
        .from_reader(limited);
    let mut bytes = ByteRecord::new();
    if !next(&mut table, &mut bytes)? {
        return Err(LogError::Empty);
    }
    if bytes.len() > MAX_COLUMNS {
        return Err(LogError::unknown(&String::from_utf8_lossy(&bytes[0])));
    }
    let names = bytes.iter().map(|name| {
        let name = String::from_utf8_lossy(name);
        name.trim_start_matches('\u{feff}').trim().to_owned()
    });
    let names = Columns(names.collect());
    let width = names.0.len();
    let found = columns(&names)?;
    while next(&mut table, &mut bytes)? {
        if bytes.len() == 1 && bytes[0].trim_ascii().is_empty() {
            continue;
        }
        let line = first_line(&table, &bytes);
        let (text, record) = match StringRecord::from_byte_record(bytes) {
            Err(error) => {
                bytes = error.into_byte_record();
                (String::new(), Err(DropReason::NotUtf8))
            }
            Ok(row) => {
                let record = match row.len() == width {
                    true => read(&found, &Row(&row)),
                    false => Err(DropReason::FieldCount),
                };
                let text = match &record {
                    Err(_) => row.iter().collect::<Vec<_>>().join(",").trim().to_owned(),
                    Ok(_) => String::new(),
                };
                bytes = row.into_byte_record();
                (text, record)
            }
        };
        each(record.map_err(|reason| BadRow {
            line,
            column: 1,
            text: text.chars().take(120).collect(),
            reason,
        }));
    }
    Ok(())
}

fn next<R: Read>(
    table: &mut csv::Reader<Limited<R>>,
    record: &mut ByteRecord,
) -> Result<bool, LogError> {
    table.get_mut().left = MAX_RECORD;
    table.get_mut().commas = MAX_COMMAS;
    table
        .read_byte_record(record)
        .map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => LogError::Io(error),
            other => LogError::Io(io::Error::other(format!("{other:?}"))),
        })
}

/// The line on which a record begins that was just read: its own position is that of what stands before it.
fn first_line<R: Read>(table: &csv::Reader<R>, record: &ByteRecord) -> u64 {
    let within = record.as_slice().iter().filter(|byte| **byte == b'\n');
    let lines = 1 + within.count() as u64;
    table.position().line().saturating_sub(lines).max(1)
}

/// A reader that gives no more than so many bytes for one record, and ends the last line, if nobody did.
struct Limited<R> {
    reader: R,
    left: usize,
    commas: usize,
    last: u8,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || self.commas == 0 {
            let message = match self.left {
                0 => "a record of more than 16 MiB: is a quote missing?",
                _ => "a record of more than four million commas: is a quote missing?",
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let most = buffer.len().min(self.left);
        let mut read = self.reader.read(&mut buffer[..most])?;
        if let ([end, ..], 0, true) = (&mut *buffer, read, self.last != b'\n') {
            *end = b'\n';
            read = 1;
        }
        self.last = match read {
            0 => self.last,
            _ => buffer[read - 1],
        };
        self.left -= read;
        let commas = buffer[..read].iter().filter(|byte| **byte == b',').count();
        self.commas = self.commas.saturating_sub(commas);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;
    use crate::traffic::format::values;

    type Found = Result<Record, (u64, DropReason)>;

    fn read(text: &[u8]) -> Result<Vec<Found>, LogError> {
        let mut found = Vec::new();
        let mut reader = BufReader::with_capacity(3, Cursor::new(text.to_vec()));
        read_table(
            &mut reader,
            &mut |row| found.push(row.map_err(|bad| (bad.line, bad.reason))),
            |columns| Ok((columns.need("in")?, columns.find("who"))),
            |(input, who), row| {
                Ok(Record {
                    input_tokens: values::tokens(row.text(Some(*input)))?,
                    user: row.text(*who).map(str::to_owned),
                    ..Record::default()
                })
            },
        )?;
        Ok(found)
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let rows = read("\u{feff}who,in\r\n\"a\nb\",1\r\n\r\n,2\nc\nd,x\n".as_bytes()).unwrap();
        let record = |user: Option<&str>, tokens| {
            Ok(Record {
                user: user.map(str::to_owned),
                input_tokens: Some(tokens),
                ..Record::default()
            })
        };
        assert_eq!(
            rows,
            [
                record(Some("a\nb"), 1),
                record(None, 2),
                Err((6, DropReason::FieldCount)),
                Err((7, DropReason::BadTokens)),
            ]
        );
        assert_eq!(
            read(b"in\n\xff\n").unwrap(),
            [Err((2, DropReason::NotUtf8))]
        );
        assert!(matches!(read(b""), Err(LogError::Empty)));
        assert!(matches!(
            read(b"a,b\n1,2\n"),
            Err(LogError::UnknownHeader { .. })
        ));
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        for end in ["\n", "\r\n"] {
            let text = ["who,in", "a,1", "", "b,x", "\"c", "d\",x", "e,x"].join(end);
            let text = format!("{text}{end} {end}{end}f,x");
            let lines = read(text.as_bytes()).unwrap().into_iter();
            let lines: Vec<_> = lines.filter_map(Result::err).map(|bad| bad.0).collect();
            assert_eq!(lines, [4, 5, 7, 10], "{end:?}");
        }
    }

    #[test]
    fn a_table_of_too_many_columns_is_none() {
        let width = |n: usize| read(format!("in{}\n", ",x".repeat(n)).as_bytes());
        assert_eq!(width(MAX_COLUMNS - 1).unwrap(), []);
        assert!(matches!(
            width(MAX_COLUMNS),
            Err(LogError::UnknownHeader { .. })
        ));
        let fields = [&b"in\n"[..], &b",".repeat(MAX_COMMAS + (1 << 16))].concat();
        let error = read(&fields).unwrap_err().to_string();
        assert!(error.contains("four million commas"), "{error}");
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_the_reading_and_not_the_memory() {
        let long = std::io::repeat(b'x').take(3 * MAX_RECORD as u64);
        let mut reader = BufReader::new((&b"in\n\""[..]).chain(long));
        let read = read_table(
            &mut reader,
            &mut |_| {},
            |_| Ok(()),
            |(), _| Ok(Record::default()),
        );
        assert!(
            read.unwrap_err()
                .to_string()
                .contains("is a quote missing?")
        );
    }
}
