//! Mooncake's lines: milliseconds since the first record, and tokens. The hashes of a prompt's blocks, which nobody knows any
//! more, are an empty list: it tells the format, and so the unit of its times.

use crate::traffic::format::values::{MICROSECONDS, MILLISECONDS};
use crate::traffic::format::write::line::{Line, decimal};
use crate::traffic::format::write::losses::Field::{self, *};
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer, input_tokens, output_tokens};
use crate::traffic::format::{Record, mooncake};

/// The writer.
pub(super) const WRITER: Writer = Writer {
    name: mooncake::FORMAT.name,
    header: "",
    clock: LogClock::Zero,
    write,
};

const LOST: [Field; 15] = [
    Delay, Session, Outcome, Latency, FirstToken, Stream, User, Tenant, Trace, Model, ServedBy,
    NoChance, Cost, Body, Answer,
];

fn write(record: &Record, _: u64, losses: &mut Losses) -> Result<String, Unfit> {
    let at = record.at.ok_or(Unfit::NoTime)?;
    let input = input_tokens(record).ok_or(Unfit::NoInputTokens)?;
    // Of years in milliseconds, a float holds three digits behind the point.
    let whole = at - at.rem_euclid(MICROSECONDS.into());
    losses.note_if(whole != at, Time);
    losses.note_known(record, &LOST);
    let mut line = Line::default();
    line.plain("timestamp", Some(decimal(whole.into(), MILLISECONDS)));
    line.json("input_length", Some(&input));
    line.json("output_length", output_tokens(record).as_ref());
    line.plain("hash_ids", Some("[]".to_owned()));
    Ok(line.finish())
}
