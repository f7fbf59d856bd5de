//! `graygate.log/1`, which carries everything.

use crate::traffic::format::graygate::log;
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer};
use crate::traffic::format::{Record, graygate};

/// The writer.
pub(super) const WRITER: Writer = Writer {
    name: graygate::FORMAT.name,
    header: log::HEADER,
    clock: LogClock::Own,
    write,
};

fn write(record: &Record, _: u64, _: &mut Losses) -> Result<String, Unfit> {
    Ok(log::write(record))
}
