//! Azure's three columns: a date to 100 ns, and tokens.

use crate::traffic::format::write::losses::Field::{self, *};
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer, input_tokens, output_tokens};
use crate::traffic::format::{Record, azure};

/// The writer.
pub(super) const WRITER: Writer = Writer {
    name: azure::FORMAT.name,
    header: "TIMESTAMP,ContextTokens,GeneratedTokens",
    clock: LogClock::Calendar,
    write,
};

const LOST: [Field; 15] = [
    Delay, Session, Outcome, Latency, FirstToken, Stream, User, Tenant, Trace, Model, ServedBy,
    NoChance, Cost, Body, Answer,
];

/// Nanoseconds of the seventh decimal.
const GRAIN: i64 = 100;

fn write(record: &Record, _: u64, losses: &mut Losses) -> Result<String, Unfit> {
    let at = record.at.ok_or(Unfit::NoTime)?;
    let input = input_tokens(record).ok_or(Unfit::NoInputTokens)?;
    let output = output_tokens(record).ok_or(Unfit::NoOutputTokens)?;
    let whole = at - at.rem_euclid(GRAIN);
    let date = jiff::Timestamp::from_nanosecond(whole.into()).map_err(|_| Unfit::NoTime)?;
    losses.note_if(whole != at, Time);
    losses.note_known(record, &LOST);
    let date = date.strftime("%Y-%m-%d %H:%M:%S.%7f");
    Ok(format!("{date},{input},{output}"))
}
