//! What never ends is skipped or stops the reading, and is not kept meanwhile.

use std::io::{self, BufReader, Read};

use graygate::traffic::format::{FORMATS, Format};

use crate::readers::{LOGS, alone};

/// More than any reader keeps of one record, in bytes.
const MUCH: usize = 24 << 20;

/// What a reader may hold, in bytes: 16 MiB of one record, in a buffer that grew by doubling, and of a table the ends of its
/// fields.
const MOST: u64 = 80 << 20;

/// The same bytes again and again, and how many were asked for.
struct Endless {
    block: Vec<u8>,
    given: usize,
}

impl Endless {
    fn new(pattern: &[u8]) -> Self {
        let block = pattern.repeat(1 << 12);
        Self { block, given: 0 }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.block[self.given % self.block.len()..];
        let n = rest.len().min(buffer.len()).min(MUCH - self.given);
        buffer[..n].copy_from_slice(&rest[..n]);
        self.given += n;
        Ok(n)
    }
}

/// Values that have no end, and lines that have none: how they begin, and how they go on.
const VALUES: &[(&str, &str)] = &[
    ("", "x"),
    ("", "["),
    ("", "{\"a\":"),
    ("\"", "x"),
    ("[{\"a\": [", "0,"),
];

/// What stands before them: a first line of the format, or nothing.
fn beginnings(format: &Format) -> [Vec<u8>; 2] {
    let log = LOGS.iter().find(|log| log.format == format).unwrap();
    let end = log.bytes.iter().position(|byte| *byte == b'\n');
    let line = &log.bytes[..end.map_or(0, |end| end + 1)];
    [line.to_vec(), Vec::new()]
}

/// The most memory that this process had since it was asked to forget.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("VmHWM:")).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() * 1024
}

/// Reads what never ends: it stops with an error, or takes all of it, and says something of it.
fn feed(format: &Format, beginning: &[u8], (start, pattern): (&str, &str)) {
    let mut endless = Endless::new(pattern.as_bytes());
    let file = beginning.chain(start.as_bytes()).chain(&mut endless);
    let mut rows = 0_u64;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let read = (format.read)(&mut reader, &mut |_| rows += 1);
    let told = || format!("{} {:?}", format.name, start.to_owned() + pattern);
    let is_whole = endless.given == MUCH;
    assert!(read.is_err() || is_whole, "{}: it just stopped", told());
    assert!(read.is_err() || rows > 0, "{}: nothing was said", told());
}

#[test]
fn what_never_ends_is_not_kept() {
    let _guard = alone();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    for format in FORMATS {
        for beginning in beginnings(format) {
            for value in VALUES {
                feed(format, &beginning, *value);
                let held = peak().saturating_sub(before);
                assert!(held < MOST, "{} {value:?}: {held} bytes", format.name);
            }
        }
    }
}
