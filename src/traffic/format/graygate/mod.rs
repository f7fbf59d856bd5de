//! graygate's own: the `requests.csv` and `attempts.csv` of a run, and the log that other formats are converted to
//! ([`log`], `graygate.log/1`).

mod attempts;
pub mod log;
mod requests;

use std::io::BufRead;

use serde_json::Value;

use crate::protocol::outcome::Outcome;
use crate::traffic::format::{DropReason, Each, Format, Head, LogError, is_json};

pub use attempts::FORMAT as ATTEMPTS;

/// The format.
pub const FORMAT: Format = Format {
    name: "graygate",
    title: "graygate's own: requests.csv of a run, or a graygate.log/1",
    times: "seconds",
    detect,
    read,
};

fn detect(head: &Head<'_>) -> Option<&'static str> {
    if head.has_columns(&requests::COLUMNS) {
        return Some("its first line names the columns of a run's requests.csv");
    }
    let first = head.first_object(&[])?;
    let format = first.get("format").and_then(Value::as_str);
    (format == Some(log::NAME)).then_some("its first line says graygate.log/1")
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, there is nothing, a column is missing, or it is a log of another version.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    match is_json(reader)? {
        true => log::read(reader, each),
        false => requests::read(reader, each),
    }
}

fn outcome(name: Option<&str>) -> Result<Option<Outcome>, DropReason> {
    let outcome = |name| Outcome::from_name(name).ok_or(DropReason::BadForm);
    name.map(outcome).transpose()
}

/// Did chance decide where a request of this intent went? The place of a sticky caller was drawn, too.
fn by_chance(intent: Option<&str>) -> Result<Option<bool>, DropReason> {
    let Some(intent) = intent else {
        return Ok(None);
    };
    let kind = intent.split_once(':').map_or(intent, |(kind, _)| kind);
    match kind {
        "random" | "sticky" => Ok(Some(true)),
        "pinned" | "forced" => Ok(Some(false)),
        _ => Err(DropReason::BadForm),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::detected;

    #[test]
    fn both_are_known() {
        let columns = "key,scheduled_at_s,sent_at_s,outcome,served_by\n";
        assert_eq!(detected(columns), Some("graygate"));
        assert_eq!(detected(log::HEADER), Some("graygate"));
        assert_eq!(detected("{\"format\":\"graygate.inputs/1\"}"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for head in ["", "{", "key,scheduled_at_s,outcome,served_by\n", log::HEADER] {
                let file = [head.as_bytes(), &body[..]].concat();
                let _ = read(&mut &file[..], &mut |_| {});
            }
        }
    }
}
