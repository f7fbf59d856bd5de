//! Where a value ends, and its bytes, as long as they are not too many.

use std::io::{self, BufRead};

use super::{Items, MAX_ITEM};

impl<R: BufRead> Items<R> {
    /// Reads the value that begins with this byte. False when it is too long to keep.
    pub(super) fn value(&mut self, first: u8) -> io::Result<bool> {
        self.buffer.clear();
        match first {
            b'{' | b'[' | b'"' => self.until(Scan::default(), Scan::takes),
            // A number, a word, or what is no JSON at all.
            _ => self.until((), |(), byte| match byte {
                b',' | b']' | b'}' | b'\n' => Next::Before,
                _ => Next::More,
            }),
        }
    }

    /// Reads on in an object whose beginning is in the buffer. False when it is too long to keep.
    pub(super) fn rest_of_object(&mut self) -> io::Result<bool> {
        let inside = Scan {
            depth: 1,
            ..Scan::default()
        };
        self.until(inside, Scan::takes)
    }

    /// Takes bytes until `scan` says that it is enough.
    fn until<S>(
        &mut self,
        mut state: S,
        mut scan: impl FnMut(&mut S, u8) -> Next,
    ) -> io::Result<bool> {
        let mut is_whole = true;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(is_whole);
            }
            let mut taken = 0;
            let mut end = false;
            for byte in chunk {
                match scan(&mut state, *byte) {
                    Next::Before => end = true,
                    Next::More => taken += 1,
                    Next::Last => {
                        taken += 1;
                        end = true;
                    }
                }
                if end {
                    break;
                }
            }
            let room = MAX_ITEM.saturating_sub(self.buffer.len());
            is_whole &= taken <= room;
            self.buffer.extend_from_slice(&chunk[..taken.min(room)]);
            let lines = chunk[..taken].iter().filter(|byte| **byte == b'\n').count();
            self.line += lines as u64;
            // What can begin no value must not stop the reader for ever.
            let is_stuck = end && taken == 0 && self.buffer.is_empty();
            self.reader.consume(taken.max(usize::from(is_stuck)));
            if end {
                return Ok(is_whole);
            }
        }
    }
}

/// What a byte means for the value that is read.
enum Next {
    /// It does not belong to it any more.
    Before,
    /// More comes.
    More,
    /// It is the last one.
    Last,
}

/// Where in an object, array or string a reader is.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    fn takes(&mut self, byte: u8) -> Next {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        match self.depth == 0 && !self.in_string {
            true => Next::Last,
            false => Next::More,
        }
    }
}
