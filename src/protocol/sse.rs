//! Server-sent events: bytes as they come are cut into whole events.
//!
//! Follows the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream": lines end with LF, CR or
//! CR LF, an empty line ends an event, lines that begin with a colon are comments.

use bytes::{Buf, Bytes, BytesMut};

/// Largest event that is read. No chunk of a chat comes near it.
pub const MAX_EVENT: usize = 4 << 20;

/// One whole event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// As it was sent, its empty line included.
    pub raw: Bytes,
    /// Its data, lines joined by LF; none when it has none, as comments.
    pub data: Option<Bytes>,
    /// Is it named `error`?
    pub is_error: bool,
}

/// An event that is larger than [`MAX_EVENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
    /// How much of the buffer has been looked at.
    looked: usize,
    /// Where the line begins that is being looked at.
    line: usize,
    /// Has anything come yet? Only then a byte order mark means nothing.
    is_begun: bool,
}

impl Splitter {
    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event.
    ///
    /// # Errors
    /// When it grows beyond all measure.
    pub fn take(&mut self) -> Result<Option<SseEvent>, TooLarge> {
        self.skip_mark();
        match self.find_end() {
            Some(end) => {
                self.looked = 0;
                self.line = 0;
                let raw = self.buffer.split_to(end).freeze();
                Ok(Some(SseEvent::read(raw)))
            }
            None if self.buffer.len() > MAX_EVENT => Err(TooLarge),
            None => Ok(None),
        }
    }

    /// Are there bytes that are no whole event?
    pub fn has_rest(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn skip_mark(&mut self) {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if !self.is_begun && self.buffer.len() >= MARK.len() {
            self.is_begun = true;
            if self.buffer.starts_with(MARK) {
                self.buffer.advance(MARK.len());
            }
        }
    }

    /// Where the first event of the buffer ends. What was looked at is not looked at again.
    fn find_end(&mut self) -> Option<usize> {
        while self.looked < self.buffer.len() {
            let at = self.looked;
            let width = match self.buffer[at] {
                b'\n' => 1,
                // Whether a line feed follows, only the next byte can tell.
                b'\r' => match self.buffer.get(at + 1)? {
                    b'\n' => 2,
                    _ => 1,
                },
                _ => {
                    self.looked += 1;
                    continue;
                }
            };
            let is_empty = at == self.line;
            self.looked = at + width;
            self.line = self.looked;
            if is_empty {
                return Some(self.looked);
            }
        }
        None
    }
}

impl SseEvent {
    fn read(raw: Bytes) -> Self {
        let mut lines = Vec::new();
        let mut is_error = false;
        for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
            match field(line) {
                (b"data", value) => lines.push(value),
                (b"event", value) => is_error = value == b"error",
                _ => {}
            }
        }
        let data = match lines.as_slice() {
            [] => None,
            [one] => Some(raw.slice_ref(one)),
            many => Some(Bytes::from(many.join(&b'\n'))),
        };
        Self {
            raw,
            data,
            is_error,
        }
    }
}

/// The name and the value of a line; the name of a comment is empty.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':');
    let Some(colon) = colon else {
        return (line, b"");
    };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The data of all events, when the bytes come in pieces of this size.
    fn data(bytes: &[u8], size: usize) -> Vec<Option<String>> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(size.max(1)) {
            splitter.push(piece);
            while let Some(event) = splitter.take().unwrap() {
                let text = event.data.map(|d| String::from_utf8_lossy(&d).into_owned());
                found.push(text);
            }
        }
        found
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|t| Some((*t).to_owned())).collect()
    }

    #[test]
    fn events_end_with_an_empty_line_of_any_kind() {
        let text = b"data: a\n\ndata:b\r\n\r\ndata:  c\r\rdata: d\ndata\ndata:e\n\n";
        for size in 1..=text.len() {
            assert_eq!(
                data(text, size),
                some(&["a", "b", " c", "d\n\ne"]),
                "{size}"
            );
        }
    }

    #[test]
    fn comments_and_other_fields_have_no_data_and_a_mark_means_nothing() {
        let text = b"\xef\xbb\xbf: ping\n\nevent: x\nid: 7\n\ndata: \n\n\n";
        assert_eq!(data(text, 2), [None, None, Some(String::new()), None]);
    }

    #[test]
    fn what_is_not_ended_is_a_rest_and_the_raw_bytes_are_all_there() {
        let mut splitter = Splitter::default();
        splitter.push(b"event: error\ndata: {}\n\ndata: cu");
        let event = splitter.take().unwrap().unwrap();
        assert!(event.is_error);
        assert_eq!(event.raw, b"event: error\ndata: {}\n\n"[..]);
        assert_eq!(splitter.take(), Ok(None));
        assert!(splitter.has_rest());
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        let mut splitter = Splitter::default();
        splitter.push(&vec![b'x'; MAX_EVENT]);
        assert_eq!(splitter.take(), Ok(None));
        splitter.push(b"x");
        assert_eq!(splitter.take(), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(
            text in "(data: ?[a-c]{0,3}|:|e|\n|\r|\r\n){0,30}", size in 1..9_usize,
        ) {
            let whole = data(text.as_bytes(), text.len());
            prop_assert_eq!(data(text.as_bytes(), size), whole);
        }

        #[test]
        fn nothing_is_lost(text in "[a:\n\r ]{0,60}") {
            let mut splitter = Splitter::default();
            splitter.push(text.as_bytes());
            let mut seen = Vec::new();
            while let Some(event) = splitter.take().unwrap() {
                seen.extend_from_slice(&event.raw);
            }
            seen.extend_from_slice(&splitter.buffer);
            prop_assert_eq!(seen, text.as_bytes());
        }
    }
}
