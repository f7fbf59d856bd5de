//! What happens to logs: bits that flip, ends that are missing, lines that come twice, two files in one, numbers that no
//! program writes.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::readers::{LOGS, Log};

/// One thing that happens to a log.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    DoubleLine(Index),
    /// From here on it is another log, from there on.
    Splice(Index, Index, Index),
    /// A number, or a word, becomes another one.
    Word(Index, &'static str),
}

/// Values at the edges of what there is.
const WORDS: &[&str] = &[
    "-1",
    "0",
    "0.5",
    "1e999",
    "-1e-999",
    "NaN",
    "null",
    "true",
    "\"\"",
    "\"9\"",
    "[]",
    "{}",
    "[[{}]]",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036.854775808",
    "0.000000000000000000000000000001",
    "99999999999999999999999999999999999999999999",
    "2000000",
    "2000001",
    "9999-12-31T23:59:59.999999999Z",
    "-9999-01-01T00:00:00Z",
    "\\u0000",
    "\u{feff}",
    "🐵🙈🙉\n",
];

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let bytes = prop::collection::vec(any::<u8>(), 1..12);
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        at().prop_map(Damage::Cut),
        (at(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1..80_usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        at().prop_map(Damage::DoubleLine),
        (at(), at(), at()).prop_map(|(at, other, from)| Damage::Splice(at, other, from)),
        (at(), prop::sample::select(WORDS)).prop_map(|(at, word)| Damage::Word(at, word)),
        (at(), prop::sample::select(WORDS)).prop_map(|(at, word)| Damage::Word(at, word)),
    ]
}

/// A log to which some of it happened.
pub(crate) fn damaged() -> impl Strategy<Value = (&'static Log, Vec<u8>)> {
    let all = prop::collection::vec(damage(), 1..6);
    (any::<Index>(), all).prop_map(|(log, all)| {
        let log = log.get(&LOGS);
        let mut bytes = log.bytes.clone();
        for damage in all {
            happen(&mut bytes, damage);
        }
        (log, bytes)
    })
}

fn happen(bytes: &mut Vec<u8>, damage: Damage) {
    let end = bytes.len();
    let place = |at: Index| at.index(end + 1);
    match damage {
        Damage::Flip(at, bit) => {
            if let Some(byte) = bytes.get_mut(place(at)) {
                *byte ^= 1 << bit;
            }
        }
        Damage::Cut(at) => bytes.truncate(place(at)),
        Damage::Insert(at, more) => drop(bytes.splice(place(at)..place(at), more)),
        Damage::Remove(at, n) => drop(bytes.drain(place(at)..end.min(place(at) + n))),
        Damage::DoubleLine(at) => {
            let range = around(bytes, place(at), |byte| byte == b'\n');
            let mut line = bytes[range.clone()].to_vec();
            line.push(b'\n');
            bytes.splice(range.start..range.start, line);
        }
        Damage::Splice(at, other, from) => {
            let other = &other.get(&LOGS).bytes;
            bytes.truncate(place(at));
            bytes.extend_from_slice(&other[from.index(other.len())..]);
        }
        Damage::Word(at, word) => {
            let ends = |byte| b",:[]{}\" \n\r".contains(&byte);
            let range = around(bytes, place(at), ends);
            bytes.splice(range, word.bytes());
        }
    }
}

/// What stands around a place, up to such bytes.
fn around(bytes: &[u8], at: usize, ends: impl Fn(u8) -> bool) -> std::ops::Range<usize> {
    let start = bytes[..at].iter().rposition(|byte| ends(*byte));
    let end = bytes[at..].iter().position(|byte| ends(*byte));
    let start = start.map_or(0, |start| start + 1);
    start..end.map_or(bytes.len(), |end| at + end)
}
