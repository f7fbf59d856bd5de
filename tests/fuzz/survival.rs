//! No bytes make a reader panic, whatever it takes them for, and what it gives hangs on the bytes alone.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use graygate::traffic::format::{Head, detect};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::damage::damaged;
use crate::readers::{LOGS, any_format, read, read_by, read_packed};

/// Smallest buffer in which the beginning of a file is looked at: a mark, and the first byte behind white space.
const SMALL: usize = 64;

proptest! {
    #[test]
    fn any_bytes(log in 0..LOGS.len(), kept in 0..200_usize, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // Behind a good beginning, too.
        let beginning = &LOGS[log].bytes;
        let bytes = [&beginning[..kept.min(beginning.len())], &bytes].concat();
        let _ = detect(&Head::new(&bytes));
        for format in graygate::traffic::format::FORMATS {
            read(format, &bytes);
        }
    }

    #[test]
    fn damaged_logs((log, bytes) in damaged(), other: usize) {
        let done = read(log.format, &bytes);
        let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        prop_assert!(done.bad.iter().all(|row| (1..=lines).contains(&row.line)), "{}", log.name);
        read(any_format(other), &bytes);
        if let Some((format, _)) = detect(&Head::new(&bytes)) {
            read(format, &bytes);
        }
    }

    /// Files come in pieces: where one ends must not matter.
    #[test]
    fn pieces_of_any_length_are_the_same_log((log, bytes) in damaged(), buffer in SMALL..300) {
        let (whole, pieces) = (read(log.format, &bytes), read_by(log.format, &bytes, buffer));
        // Debug: what is no number is not equal to itself.
        prop_assert_eq!(format!("{:?}", whole), format!("{:?}", pieces));
    }

    /// What is packed is damaged after it was packed.
    #[test]
    fn damaged_packages(log in 0..LOGS.len(), is_zstd: bool, flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..5), cut: prop::sample::Index) {
        let log = &LOGS[log];
        let mut packed = match is_zstd {
            true => compress_to_vec(&log.bytes[..], CompressionLevel::Fastest),
            false => gzip(&log.bytes),
        };
        for (at, bit) in flips {
            *at.get_mut(&mut packed) ^= 1 << bit;
        }
        read_packed(log.format, &packed);
        packed.truncate(cut.index(packed.len()));
        read_packed(log.format, &packed);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn all_formats_have_a_log_to_be_damaged() {
    for format in graygate::traffic::format::FORMATS {
        let has_log = LOGS.iter().any(|log| log.format == format);
        assert!(has_log, "{}", format.name);
    }
    for log in LOGS.iter() {
        let done = read(log.format, &log.bytes);
        assert_eq!((done.bad, done.error), (Vec::new(), None), "{}", log.name);
    }
}
