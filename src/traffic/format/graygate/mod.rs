//! graygate's own: the `requests.csv` of a run, and the log that other formats are converted to
//! ([`log`], `graygate.log/1`).

pub mod log;
mod requests;

use std::io::BufRead;

use serde_json::Value;

use crate::traffic::format::{Each, Format, Head, LogError, is_json};

/// The format.
pub const FORMAT: Format = Format {
    name: "graygate",
    title: "graygate's own: requests.csv of a run, or a graygate.log/1",
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
