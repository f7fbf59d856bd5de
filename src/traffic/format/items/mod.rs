//! The values of a JSON text one by one, none of which is kept but the one at hand: the lines of a JSONL file, the
//! items of an array, however large. Where the array is inside of an object, it is found by its path.

mod arrays;
mod scan;

use std::io::{self, BufRead};

use super::lines::beginning;

/// Longest value that is kept, in bytes: more than a request to a model has.
pub const MAX_ITEM: usize = 16 << 20;

/// One value.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Its text.
    Text(&'a str),
    /// It has more than [`MAX_ITEM`] bytes: skipped, with its beginning.
    TooLong(&'a str),
    /// It is not UTF-8.
    NotUtf8,
}

/// Reads values: those that stand at the top one after the other, or the items of the array at a path of keys.
/// A top-level array counts as its items.
pub struct Items<R> {
    reader: R,
    path: &'static [&'static str],
    /// Paths of keys through arrays in top-level objects that are read item by item, and the one that is followed.
    nests: &'static [&'static [&'static str]],
    nest: &'static [&'static str],
    buffer: Vec<u8>,
    line: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was read.
    Start,
    /// Values follow each other.
    Sequence,
    /// Inside of the array.
    Array,
    /// Inside of an array of a top-level object, after which others may follow: so many arrays deep, from 0.
    Opened(usize),
    Done,
}

impl<R: BufRead> Items<R> {
    /// The values at the top, or the items of a top-level array.
    pub fn new(reader: R) -> Self {
        Self::at(reader, &[])
    }

    /// The items of the array at this path of keys: `["log", "entries"]`. A file without it has no items.
    pub fn at(reader: R, path: &'static [&'static str]) -> Self {
        Self {
            reader,
            path,
            nests: &[],
            nest: &[],
            buffer: Vec::new(),
            line: 1,
            state: State::Start,
        }
    }

    /// The values at the top, but for objects that begin with the first key of one of these paths and an array. Of them
    /// the items of the arrays that the path leads to, through all items of the arrays before: with
    /// `["resourceSpans", "scopeSpans", "spans"]` all spans of a document of any length, in the memory of one. An item on
    /// the way that lacks its array is given as `{}`.
    pub fn opening(reader: R, nests: &'static [&'static [&'static str]]) -> Self {
        Self {
            nests,
            ..Self::new(reader)
        }
    }

    /// The keys of the first object, as far as it is there: all of a file's beginning may be less than one object.
    ///
    /// # Errors
    /// When reading fails.
    pub fn first_keys(&mut self) -> io::Result<Vec<String>> {
        let mut keys = Vec::new();
        self.begin()?;
        if self.skip_to_value()? != Some(b'{') {
            return Ok(keys);
        }
        self.take();
        while let Some(first @ b'"') = self.skip_to_value()? {
            self.value(first)?;
            let Ok(key) = serde_json::from_slice(&self.buffer) else {
                break;
            };
            keys.push(key);
            if self.skip_space()? != Some(b':') {
                break;
            }
            self.take();
            if let Some(first) = self.skip_space()? {
                self.value(first)?;
            }
        }
        Ok(keys)
    }

    /// The next value with the line (from 1) on which it begins; none at the end. What is no JSON is given as it
    /// is, up to the next line end.
    ///
    /// # Errors
    /// When reading fails.
    pub fn next_item(&mut self) -> io::Result<Option<(u64, Item<'_>)>> {
        if self.state == State::Start {
            self.begin()?;
        }
        if self.state == State::Done {
            return Ok(None);
        }
        let Some((line, is_whole)) = self.read_item()? else {
            self.state = State::Done;
            return Ok(None);
        };
        let item = match std::str::from_utf8(&self.buffer) {
            _ if !is_whole => Item::TooLong(beginning(&self.buffer)),
            Err(_) => Item::NotUtf8,
            Ok(text) => Item::Text(text.trim_end()),
        };
        Ok(Some((line, item)))
    }

    /// Reads the next item: the line on which it begins, and whether it is whole. None at the end.
    fn read_item(&mut self) -> io::Result<Option<(u64, bool)>> {
        loop {
            let first = self.skip_to_value()?;
            let line = self.line;
            match (first, self.state) {
                (None, State::Opened(level)) => self.leave_array(level)?,
                (None, State::Array) => {
                    self.end_array()?;
                    if self.state == State::Done {
                        return Ok(None);
                    }
                }
                (None, _) => return Ok(None),
                (Some(b'{'), State::Opened(level)) if level + 1 < self.nest.len() => {
                    if !self.open_inner(level + 1)? {
                        self.buffer = b"{}".to_vec();
                        return Ok(Some((line, true)));
                    }
                }
                (Some(b'{'), State::Sequence) if !self.nests.is_empty() => {
                    if !self.open()? {
                        return Ok(Some((line, self.rest_of_object()?)));
                    }
                }
                (Some(first), _) => return Ok(Some((line, self.value(first)?))),
            }
        }
    }

    /// Goes to the first item.
    fn begin(&mut self) -> io::Result<()> {
        self.skip_byte_order_mark()?;
        for key in self.path {
            if !self.enter_key(key)? {
                self.state = State::Done;
                return Ok(());
            }
        }
        self.state = match (self.skip_space()?, self.path.is_empty()) {
            (Some(b'['), _) => {
                self.take();
                State::Array
            }
            (_, true) => State::Sequence,
            (_, false) => State::Done,
        };
        Ok(())
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        if self.reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.reader.consume(3);
        }
        Ok(())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    fn take(&mut self) {
        self.reader.consume(1);
    }

    /// The next byte that is no white space; none at the end.
    fn skip_space(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.peek()? {
                Some(byte) if byte.is_ascii_whitespace() => {
                    self.line += u64::from(byte == b'\n');
                    self.take();
                }
                other => return Ok(other),
            }
        }
    }

    /// The first byte of the next value: commas and white space between values do not count, and the end of the array
    /// is the end.
    fn skip_to_value(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.skip_space()? {
                Some(b',') => self.take(),
                Some(b']') if self.is_in_array() => return Ok(None),
                other => return Ok(other),
            }
        }
    }

    fn is_in_array(&self) -> bool {
        matches!(self.state, State::Array | State::Opened(_))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8], path: &'static [&'static str]) -> Vec<String> {
        // A tiny buffer, so that every path over chunk borders is taken.
        let mut items = Items::at(BufReader::with_capacity(3, text), path);
        let mut found = Vec::new();
        loop {
            let (line, item) = match items.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => {
                    found.push(error.to_string());
                    break;
                }
            };
            found.push(match item {
                Item::Text(text) => format!("{line}:{text}"),
                other => format!("{line}:{other:?}"),
            });
        }
        found
    }

    #[test]
    fn lines_arrays_and_arrays_inside_of_objects() {
        assert_eq!(
            all(b"{\"a\":1}\r\n\n {\"b\":[2,3]} ", &[]),
            ["1:{\"a\":1}", "3:{\"b\":[2,3]}"]
        );
        assert_eq!(
            all(b"\xef\xbb\xbf[{\"a\":1},\n{\"a\":2} , 3, \"x,]\"]", &[]),
            ["1:{\"a\":1}", "2:{\"a\":2}", "2:3", "2:\"x,]\""]
        );
        let har = br#"{"log": {"version": "1.2", "x": [{"entries": 0}], "entries": [{"a": "}\""}, 7]}, "y": 1}"#;
        assert_eq!(
            all(har, &["log", "entries"]),
            ["1:{\"a\": \"}\\\"\"}", "1:7"]
        );
        for nothing in [
            &b"{}"[..],
            b"",
            b"[1]",
            b"{\"log\": 5}",
            b"{\"log\": {\"entries\": 5}}",
            b"{\"log\"",
        ] {
            assert!(all(nothing, &["log", "entries"]).is_empty());
        }
        assert!(all(b"[]", &[]).is_empty());
    }

    const NESTS: &[&[&str]] = &[&["spans"], &["x"], &["r", "s", "t"]];

    fn opened(text: &[u8]) -> Vec<String> {
        let mut items = Items::opening(BufReader::with_capacity(3, text), NESTS);
        let mut found = Vec::new();
        loop {
            match items.next_item() {
                Ok(Some((line, item))) => found.push(format!("{line}:{item:?}")),
                Ok(None) => return found,
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
            }
        }
    }

    #[test]
    fn documents_are_opened_one_after_the_other() {
        let text = br#"{"spans": [{"a": 1}, 2], "more": {"spans": [3]}, "n": 1}
            {"x":[]} {"other" : [4, "}"]}
            {"spans": 5} {} 6"#;
        assert_eq!(
            opened(text),
            [
                r#"1:Text("{\"a\": 1}")"#,
                r#"1:Text("2")"#,
                r#"2:Text("{\"other\": [4, \"}\"]}")"#,
                r#"3:Text("{\"spans\":5}")"#,
                r#"3:Text("{}")"#,
                r#"3:Text("6")"#,
            ]
        );
        let cut = "an array has no end: the file is cut off";
        assert_eq!(opened(br#"{"spans": [1, 2"#)[2..], [cut]);
        assert_eq!(opened(br#"{"spans": [1] nonsense"#).len(), 1);
    }

    #[test]
    fn arrays_in_arrays_are_opened() {
        let text = br#"{"r": [
            {"about": {"t": [0]}, "s": [{"t": [{"a": 1}, 2], "more": [3]}, {"t": []}, {"t": [4]}], "url": "]"},
            {"s": []}, {"s": 5}, {"old": []}, 6,
            {"s": [{}, {"t": [7]}]}
            ], "end": {}} {"x": [8]}"#;
        assert_eq!(
            opened(text),
            [
                r#"2:Text("{\"a\": 1}")"#,
                r#"2:Text("2")"#,
                r#"2:Text("4")"#,
                r#"3:Text("{}")"#,
                r#"3:Text("{}")"#,
                r#"3:Text("6")"#,
                r#"4:Text("{}")"#,
                r#"4:Text("7")"#,
                r#"5:Text("8")"#,
            ]
        );
        let cut = "an array has no end: the file is cut off";
        assert_eq!(opened(br#"{"r": [{"s": [{"t": [1, 2"#)[2..], [cut]);
    }

    #[test]
    fn an_opened_document_is_longer_than_what_is_kept() {
        let span = format!("\"{}\",", "x".repeat(1 << 20));
        let spans = span.repeat(20);
        let text = (&b"{\"r\":[{\"s\":[{\"t\":["[..])
            .chain(spans.as_bytes())
            .chain(&b"1]}]}]}"[..]);
        let mut items = Items::opening(BufReader::new(text), NESTS);
        let mut count = 0;
        while let Some((_, item)) = items.next_item().unwrap() {
            assert!(matches!(item, Item::Text(_)));
            count += 1;
        }
        assert_eq!(count, 21);
        assert!(items.buffer.capacity() <= 4 << 20);
    }

    #[test]
    fn the_first_keys_are_known_before_their_values_end() {
        let keys = |text: &str| Items::new(text.as_bytes()).first_keys().unwrap();
        assert_eq!(
            keys(r#"[{"a": {"x": 1}, "b": 2, "c": "and so on"#),
            ["a", "b", "c"]
        );
        assert_eq!(keys(r#"{"a": 1} {"b": 2}"#), ["a"]);
        assert!(keys("{").is_empty() && keys("3").is_empty() && keys("").is_empty());
    }

    #[test]
    fn arrays_may_follow_each_other_and_one_without_an_end_is_cut_off() {
        assert_eq!(
            all(b"[1,2]\n[3] {\"a\":4}", &[]),
            ["1:1", "1:2", "2:3", "2:{\"a\":4}"]
        );
        let cut = "an array has no end: the file is cut off";
        assert_eq!(all(b"[1,2,", &[]), ["1:1", "1:2", cut]);
        assert_eq!(all(b"{\"log\": [1", &["log"]), ["1:1", cut]);
    }

    #[test]
    fn what_is_no_json_is_given_as_it_is() {
        assert_eq!(
            all(b"hello world\n{\"a\":1}\n", &[]),
            ["1:hello world", "2:{\"a\":1}"]
        );
        assert_eq!(all(b"{\"a\":\n\n", &[]), ["1:{\"a\":"]);
        assert_eq!(all(b"\xff\n1", &[]), ["1:NotUtf8", "2:1"]);
    }

    #[test]
    fn a_value_without_end_is_skipped_in_bounded_memory() {
        let long = std::io::repeat(b'x').take(3 * MAX_ITEM as u64);
        let text = (&b"{\"a\": \""[..])
            .chain(long)
            .chain(&b"\"}\n{\"b\":1}"[..]);
        let mut items = Items::new(BufReader::new(text));
        let first = items.next_item().unwrap();
        assert!(matches!(first, Some((1, Item::TooLong(head))) if head.len() == 60));
        assert!(items.buffer.capacity() <= 2 * MAX_ITEM);
        assert_eq!(
            items.next_item().unwrap(),
            Some((2, Item::Text("{\"b\":1}")))
        );
    }

    proptest! {
        #[test]
        fn values_come_as_they_were_written(values in prop::collection::vec(".{0,20}", 0..8), is_array: bool) {
            let written: Vec<String> = values.iter().map(|v| serde_json::json!({"v": v}).to_string()).collect();
            let text = match is_array {
                true => format!("[{}]", written.join(", ")),
                false => written.join("\n"),
            };
            let read = all(text.as_bytes(), &[]);
            let read: Vec<&str> = read.iter().map(|item| item.split_once(':').unwrap().1).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn no_bytes_stop_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for path in [&[][..], &["log"]] {
                let found = all(&bytes, path);
                prop_assert!(found.len() <= bytes.len() + 1);
            }
            prop_assert!(opened(&bytes).len() <= bytes.len() + 1);
            for beginning in [&b"{\"spans\":["[..], b"{\"r\":[", b"{\"r\":[{\"s\":["] {
                let text = [beginning, &bytes].concat();
                prop_assert!(opened(&text).len() <= text.len() + 1);
            }
            Items::new(&bytes[..]).first_keys().unwrap();
        }
    }
}
