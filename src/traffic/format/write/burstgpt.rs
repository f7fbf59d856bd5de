//! BurstGPT's third version: seconds, sessions and lengths. **0 tokens of answer are a failed request** in it, of whatever
//! kind, and all others succeeded.

use std::borrow::Cow;

use crate::protocol::outcome::Outcome as End;
use crate::time::nanos;
use crate::traffic::format::values::SECONDS;
use crate::traffic::format::write::line::decimal;
use crate::traffic::format::write::losses::Field::{self, *};
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer, input_tokens, output_tokens};
use crate::traffic::format::{Record, burstgpt};

/// The writer.
pub(super) const WRITER: Writer = Writer {
    name: burstgpt::FORMAT.name,
    header: "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
    clock: LogClock::Own,
    write,
};

const LOST: [Field; 11] = [
    Delay, FirstToken, Stream, User, Tenant, Trace, ServedBy, NoChance, Cost, Body, Answer,
];

fn write(record: &Record, _: u64, losses: &mut Losses) -> Result<String, Unfit> {
    let at = record.at.ok_or(Unfit::NoTime)?;
    losses.note_known(record, &LOST);
    let (input, output) = (input_tokens(record), told_tokens(record, losses));
    let total = input.zip(output).map(|(i, o)| i + o);
    let kind = match record.session {
        Some(_) => "Conversation log",
        None => "API log",
    };
    let row = [
        Cow::Owned(seconds(at.into())),
        name(record.session.as_deref(), Session, losses),
        Cow::Owned(
            record
                .latency
                .map(|l| seconds(nanos(l).into()))
                .unwrap_or_default(),
        ),
        name(record.asked_model.as_deref(), Model, losses),
        number(input),
        number(output),
        number(total),
        Cow::Borrowed(kind),
    ];
    Ok(row.join(","))
}

/// Seconds with a fraction, as the third version has them all.
fn seconds(nanos: i128) -> String {
    let text = decimal(nanos, SECONDS);
    match text.contains('.') {
        true => text,
        false => format!("{text}.0"),
    }
}

/// The tokens that tell how a request ended, as far as they can.
fn told_tokens(record: &Record, losses: &mut Losses) -> Option<u32> {
    match (record.end, output_tokens(record)) {
        (Some(end), output) if !end.is_success() => {
            losses.note_if(end != End::ServerError, Outcome);
            losses.note_if(output.is_some_and(|n| n > 0), OutputTokens);
            Some(0)
        }
        // An empty answer would be taken for a failure.
        (end, Some(0)) => {
            losses.note(OutputTokens);
            losses.note_if(end.is_some(), Outcome);
            None
        }
        (end, None) => {
            losses.note_if(end.is_some(), Outcome);
            None
        }
        (_, output) => output,
    }
}

fn number(n: Option<u32>) -> Cow<'static, str> {
    Cow::Owned(n.map(|n| n.to_string()).unwrap_or_default())
}

/// A name, in quotes where it needs them. The white space around it is none of it to a reader of tables.
fn name<'a>(name: Option<&'a str>, field: Field, losses: &mut Losses) -> Cow<'a, str> {
    let name = name.unwrap_or_default();
    losses.note_if(name.trim() != name, field);
    match name.contains([',', '"', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", name.replace('"', "\"\""))),
        false => Cow::Borrowed(name),
    }
}
