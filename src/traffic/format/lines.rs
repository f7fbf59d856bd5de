//! Lines of a file that nobody has checked: a line without end must not eat the memory.

use std::io::{self, BufRead};

/// Longest line that is kept, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// What one line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Text without its line end.
    Text(&'a str),
    /// More than [`MAX_LINE`] bytes: skipped, with its beginning.
    TooLong(&'a str),
    /// Not UTF-8.
    NotUtf8,
}

/// Reads line by line into one buffer of bounded size.
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line with its number (from 1); none at the end.
    ///
    /// # Errors
    /// When reading fails.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        let Some(is_whole) = self.fill()? else {
            return Ok(None);
        };
        self.number += 1;
        let line = match std::str::from_utf8(&self.buffer) {
            _ if !is_whole => Line::TooLong(beginning(&self.buffer)),
            Err(_) => Line::NotUtf8,
            Ok(text) => Line::Text(text.trim_end_matches(['\r', '\n'])),
        };
        Ok(Some((self.number, line)))
    }

    /// Reads up to the next line end. `Some(false)` when the line was too long to keep.
    fn fill(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let mut seen_any = false;
        let mut is_whole = true;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(seen_any.then_some(is_whole));
            }
            seen_any = true;
            let end = chunk.iter().position(|b| *b == b'\n');
            let taken = end.map_or(chunk.len(), |at| at + 1);
            let room = MAX_LINE.saturating_sub(self.buffer.len());
            is_whole &= taken <= room;
            self.buffer.extend_from_slice(&chunk[..taken.min(room)]);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(is_whole));
            }
        }
    }
}

/// The readable beginning of a line or of a value, for a message.
pub(super) fn beginning(bytes: &[u8]) -> &str {
    let head = &bytes[..bytes.len().min(60)];
    match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    fn all(bytes: &[u8]) -> Vec<String> {
        // A tiny buffer, so that every path over chunk borders is taken.
        let mut lines = Lines::new(BufReader::with_capacity(3, bytes));
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next_line().unwrap() {
            found.push(format!("{number}:{line:?}"));
        }
        found
    }

    #[test]
    fn line_ends_of_all_sorts() {
        assert_eq!(
            all(b"ab\r\ncd\n\nend"),
            [
                r#"1:Text("ab")"#,
                r#"2:Text("cd")"#,
                r#"3:Text("")"#,
                r#"4:Text("end")"#
            ]
        );
        assert!(all(b"").is_empty());
        assert_eq!(all(b"\xff\n"), ["1:NotUtf8"]);
    }

    #[test]
    fn a_line_without_end_is_skipped_in_bounded_memory() {
        let long = std::io::repeat(b'x').take(5 * MAX_LINE as u64);
        let mut lines = Lines::new(BufReader::new(long.chain(&b"\nnext"[..])));
        let first = lines.next_line().unwrap();
        assert!(matches!(first, Some((1, Line::TooLong(head))) if head.len() == 60));
        assert!(lines.buffer.capacity() <= 2 * MAX_LINE);
        let second = lines.next_line().unwrap();
        assert_eq!(second, Some((2, Line::Text("next"))));
    }
}
