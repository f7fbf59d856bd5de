//! The Azure LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`, and those of 2025 with `NumImages`.
//!
//! Wall-clock times without a zone and with seven decimals (2023), or with a zone (2024); CRLF or
//! LF; the last line may lack its end. Files of exactly these three columns are read line by line; all others by the
//! names of their columns, in whatever order they stand.

use std::io::{BufRead, Cursor, Read};

use crate::traffic::format::lines::{Line, Lines};
use crate::traffic::format::table::{self, Columns, Row};
use crate::traffic::format::{
    BadRow, DropReason, Each, Format, Head, LogError, MAX_TOKENS, Record, values,
};

/// The format.
pub const FORMAT: Format = Format {
    name: "azure",
    title: "Azure LLM inference traces",
    times: "dates, to 100 ns",
    detect,
    read,
};

/// The first line of such a file.
pub const HEADER: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// Reads a whole log. Rows and useless lines go to `each` as they come; blank lines are ignored.
///
/// # Errors
/// When reading fails, the file is empty, or its first line is not the header.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let mut lines = Lines::new(&mut *reader);
    match lines.next_line().map_err(LogError::Io)? {
        None => return Err(LogError::Empty),
        Some((_, Line::Text(header))) if is_header(header) => {}
        Some((_, Line::Text(header))) if has_columns(header) => {
            let header = format!("{header}\n");
            return read_by_name(&mut Cursor::new(header).chain(reader), each);
        }
        Some((_, Line::Text(found) | Line::TooLong(found))) => {
            return Err(LogError::unknown(found));
        }
        Some((_, Line::NotUtf8)) => {
            return Err(LogError::unknown("(bytes that are no UTF-8 text)"));
        }
    }
    while let Some((number, line)) = lines.next_line().map_err(LogError::Io)? {
        let (text, parsed) = match line {
            Line::Text("") => continue,
            Line::Text(text) => (text, parse(text)),
            Line::TooLong(text) => (text, Err((1, DropReason::LineTooLong))),
            Line::NotUtf8 => ("", Err((1, DropReason::NotUtf8))),
        };
        each(parsed.map_err(|(column, reason)| BadRow {
            line: number,
            column,
            text: text.chars().take(120).collect(),
            reason,
        }));
    }
    Ok(())
}

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let is_it = head.first_line().is_some_and(has_columns);
    is_it.then_some("its first line names TIMESTAMP, ContextTokens and GeneratedTokens")
}

fn is_header(line: &str) -> bool {
    // Files saved by spreadsheets start with a byte order mark.
    let line = line.trim_start_matches('\u{feff}');
    line.split(',').map(unquote).eq(HEADER)
}

/// Does the first line name our columns, whatever others there are, in any order?
fn has_columns(line: &str) -> bool {
    let found = table::fields(line.trim_start_matches('\u{feff}'));
    HEADER.iter().all(|name| found.iter().any(|f| f == name))
}

/// Reads a file with other columns beside ours, `NumImages` say, or in another order.
fn read_by_name(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let columns = |columns: &Columns| {
        let [time, input, output] = HEADER;
        Ok([
            columns.need(time)?,
            columns.need(input)?,
            columns.need(output)?,
        ])
    };
    table::read_table(reader, each, columns, row)
}

fn row(&[time, input, output]: &[usize; 3], row: &Row<'_>) -> Result<Record, DropReason> {
    let time = row.text(Some(time)).ok_or(DropReason::BadTimestamp)?;
    Ok(Record {
        at: Some(values::wall_clock(time)?),
        input_tokens: values::tokens(row.text(Some(input)))?,
        output_tokens: values::tokens(row.text(Some(output)))?,
        ..Record::default()
    })
}

/// A row, or the column and kind of its first trouble.
fn parse(line: &str) -> Result<Record, (usize, DropReason)> {
    let mut fields = line.split(',');
    let (Some(time), Some(input), Some(output), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err((1, DropReason::FieldCount));
    };
    let column = |before: &[&str]| before.iter().map(|f| f.chars().count() + 1).sum::<usize>() + 1;
    let tokens = |text: &str, before: &[&str]| match unquote(text).parse::<u64>() {
        Ok(n) if n > u64::from(MAX_TOKENS) => Err((column(before), DropReason::TooManyTokens)),
        Ok(n) => Ok(n as u32),
        Err(_) => Err((column(before), DropReason::BadTokens)),
    };
    let at = values::wall_clock(unquote(time));
    Ok(Record {
        at: Some(at.map_err(|reason| (1, reason))?),
        input_tokens: Some(tokens(input, &[time])?),
        output_tokens: Some(tokens(output, &[time, input])?),
        ..Record::default()
    })
}

fn unquote(field: &str) -> &str {
    field.trim().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(text: &str) -> (Vec<Record>, Vec<(u64, usize, DropReason)>) {
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        let mut sort = |row: Result<Record, BadRow>| match row {
            Ok(row) => rows.push(row),
            Err(b) => bad.push((b.line, b.column, b.reason)),
        };
        read(&mut text.as_bytes(), &mut sort).unwrap();
        (rows, bad)
    }

    #[test]
    fn rows_of_2023_and_2024() {
        let (rows, bad) = read_all(
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
             2023-11-16 18:17:03.9799600,4808,10\r\n\
             2023-11-16 18:17:04.0319600,3180,8\r\n\
             \r\n\
             2023-11-16 18:17:04.5000000+00:00,1,2",
        );
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(rows.len(), 3);
        let at = |i: usize| rows[i].at.unwrap() - rows[0].at.unwrap();
        assert_eq!((at(1), at(2)), (52_000_000, 520_040_000));
        let first = (rows[0].input_tokens, rows[0].output_tokens);
        assert_eq!(first, (Some(4808), Some(10)));
    }

    #[test]
    fn useless_lines_are_placed_and_named() {
        let (rows, bad) = read_all(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n\
             2023-11-16 18:17:03,1\n\
             yesterday,1,2\n\
             2023-11-16 18:17:03,-1,2\n\
             2023-11-16 18:17:03,1,4294967296\n\
             2023-11-16 18:17:03,1,2,3\n\
             2023-11-16 18:17:03,2000001,2\n\
             2023-11-16 18:17:03,1,99999999999999999999\n",
        );
        assert!(rows.is_empty());
        assert_eq!(
            bad,
            [
                (2, 1, DropReason::FieldCount),
                (3, 1, DropReason::BadTimestamp),
                (4, 21, DropReason::BadTokens),
                (5, 23, DropReason::TooManyTokens),
                (6, 1, DropReason::FieldCount),
                (7, 21, DropReason::TooManyTokens),
                (8, 23, DropReason::BadTokens),
            ]
        );
    }

    #[test]
    fn rows_of_2025_are_read_by_the_names_of_their_columns() {
        let (rows, bad) = read_all(
            "\u{feff}NumImages,TIMESTAMP,GeneratedTokens,ContextTokens\r\n\
             3,2024-10-15 10:00:00.0000000,8,3180\r\n\
             0,2024-10-15 10:00:00.5000000,,34\r\n\
             1,2024-10-15 10:00:01,9\r\n\
             1,,9,4\r\n\
             1,2024-10-15 10:00:01,9,2000001",
        );
        let tokens = rows.iter().map(|r| (r.input_tokens, r.output_tokens));
        let expected = [(Some(3180), Some(8)), (Some(34), None)];
        assert_eq!(tokens.collect::<Vec<_>>(), expected);
        assert_eq!(rows[1].at.unwrap() - rows[0].at.unwrap(), 500_000_000);
        assert_eq!(
            bad,
            [
                (4, 1, DropReason::FieldCount),
                (5, 1, DropReason::BadTimestamp),
                (6, 1, DropReason::TooManyTokens),
            ]
        );
    }

    #[test]
    fn the_longest_request_that_is_replayed_has_two_million_tokens() {
        let (rows, bad) = read_all(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,2000000,2000000\n",
        );
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(
            (rows[0].input_tokens, rows[0].output_tokens),
            (Some(2_000_000), Some(2_000_000))
        );
    }

    #[test]
    fn another_file_is_not_read_as_this_one() {
        let error = read(&mut &b"{\"timestamp\": 0}\n"[..], &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("{\"timestamp\": 0}"), "{error}");
        assert!(matches!(
            read(&mut &b""[..], &mut |_| {}),
            Err(LogError::Empty)
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut by_name = b"NumImages,TIMESTAMP,ContextTokens,GeneratedTokens\n".to_vec();
            by_name.extend(&body);
            read(&mut &by_name[..], &mut |_| {}).unwrap();
            let mut file = b"TIMESTAMP,ContextTokens,GeneratedTokens\n".to_vec();
            file.extend(body);
            let mut seen = 0;
            let lines = file.split(|b| *b == b'\n').count();
            read(&mut &file[..], &mut |_| seen += 1).unwrap();
            prop_assert!(seen < lines);
        }
    }
}
