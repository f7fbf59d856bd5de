//! AIPerf's own traces, JSON lines of three kinds: `single_turn` (a text and when it is sent), `multi_turn` (a
//! conversation in `turns`) and `mooncake_trace` (a length, a text, messages or a whole payload).
//!
//! Times and delays are milliseconds. Pictures, sound and films are not read; what has texts is replayed with them.

mod turn;

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::traffic::format::items::Items;
use crate::traffic::format::{DropReason, Each, Format, Found, Head, LogError, read_items, values};

/// The format.
pub const FORMAT: Format = Format {
    name: "aiperf",
    title: "AIPerf traces (single_turn, multi_turn, mooncake_trace)",
    times: "milliseconds",
    detect,
    read,
};

/// The kinds as `type` names them.
const KINDS: [&str; 3] = ["single_turn", "multi_turn", "mooncake_trace"];

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let fields = head.first_object(&[])?;
    let has = |name: &str| fields.contains_key(name);
    let kind = fields.get("type").and_then(Value::as_str);
    if kind.is_some_and(|kind| KINDS.contains(&kind)) {
        return Some("its first line has a type of AIPerf's");
    }
    if fields.get("turns").is_some_and(Value::is_array) {
        return Some("its first line has turns");
    }
    let is_timed = fields.get("timestamp").is_some_and(Value::is_number) || has("delay");
    let is_bounded = is_timed || has("output_length");
    let has_text = ["text", "texts", "text_input", "messages", "payload"];
    if is_bounded && has_text.into_iter().any(has) {
        return Some("its first line has a text with a timestamp, delay or output_length");
    }
    // Without these, it is Mooncake's own, or nobody knows.
    let is_turn = has("session_id") || has("delay") || has("extra");
    // RAGPulse has a session, times in text, and hashes by parts.
    let is_other = fields.get("timestamp").is_some_and(Value::is_string)
        || fields.get("hash_ids").is_some_and(Value::is_object);
    (is_turn && is_bounded && has("input_length") && !is_other)
        .then_some("its first line has input_length with session_id, delay or extra")
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, or there is nothing.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let mut conversations = 0;
    read_items(Items::new(reader), each, |fields, found| {
        if let Some(Value::Array(turns)) = fields.get("turns") {
            conversations += 1;
            conversation(&fields, turns, conversations, found);
        } else {
            let session = values::text_of(&fields, "session_id");
            found(turn::record(&fields, session));
        }
    })
}

/// The turns of a conversation, which has a name of its own where the log gives it none.
fn conversation(fields: &Map<String, Value>, turns: &[Value], number: u64, found: Found<'_>) {
    let named = values::text_of(fields, "session_id");
    let session = named.unwrap_or_else(|| format!("conversation {number}"));
    if turns.is_empty() {
        found(Err(DropReason::BadForm));
    }
    for one in turns {
        found(match one {
            Value::Object(fields) => turn::record(fields, Some(session.clone())),
            _ => Err(DropReason::BadForm),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::traffic::format::Record;
    use crate::traffic::format::testing::{detected, read_all};

    fn one(value: &Value) -> Result<Record, DropReason> {
        let (mut rows, bad) = read_all(&FORMAT, &value.to_string());
        match bad.first() {
            Some((_, reason)) => Err(*reason),
            None => Ok(rows.remove(0)),
        }
    }

    #[test]
    fn a_conversation_gives_a_record_a_turn() {
        let text = r#"{"session_id": "c1", "turns": [{"text": "a b", "timestamp": 12.5}, {"text": "c", "delay": 1200.5}]}
{"turns": [{"text": "d"}, 5]}
{"turns": [{"text": "e"}]}
{"turns": []}"#;
        let (rows, bad) = read_all(&FORMAT, text);
        let sessions: Vec<_> = rows.iter().filter_map(|r| r.session.as_deref()).collect();
        assert_eq!(sessions, ["c1", "c1", "conversation 2", "conversation 3"]);
        assert_eq!((rows[0].at, rows[0].delay), (Some(12_500_000), None));
        let delay = Duration::from_micros(1_200_500);
        assert_eq!((rows[1].at, rows[1].delay), (None, Some(delay)));
        assert_eq!(bad, [(2, DropReason::BadForm), (4, DropReason::BadForm)]);
    }

    #[test]
    fn times_are_milliseconds_and_lengths_are_tokens() {
        let record = one(
            &json!({"input_length": 655, "output_length": 52, "hash_ids": [46], "timestamp": 27482, "session_id": "s"}),
        );
        assert_eq!(
            record,
            Ok(Record {
                at: Some(27_482_000_000),
                input_tokens: Some(655),
                output_tokens: Some(52),
                session: Some("s".to_owned()),
                ..Record::default()
            })
        );
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let text = r#"{"text": "a", "timestamp": "soon"}
{"text": "a", "delay": -5}
{"input_length": 2000001}
{"input_length": "x", "timestamp": 0}
{"input_length": 5, "text_input": "both"}
{"timestamp": 5}
{"payload": {"input": "an embedding"}}
{"messages": "hello"}
{"text": 5}
oops"#;
        let (rows, bad) = read_all(&FORMAT, text);
        assert!(rows.is_empty(), "{rows:?}");
        let reasons: Vec<_> = bad.iter().map(|b| b.1).collect();
        use DropReason::*;
        assert_eq!(
            reasons,
            [
                BadTimestamp,
                BadNumber,
                TooManyTokens,
                BadTokens,
                BadForm,
                BadForm,
                NoChat,
                BadForm,
                BadForm,
                BadForm
            ]
        );
        let lines: Vec<_> = bad.iter().map(|b| b.0).collect();
        assert_eq!(lines, Vec::from_iter(1..=10));
    }

    #[test]
    fn it_is_known_by_what_mooncake_lacks() {
        for (row, format) in [
            (json!({"type": "single_turn", "text": "a"}), Some("aiperf")),
            (
                json!({"session_id": "c", "turns": [{"text": "a"}]}),
                Some("aiperf"),
            ),
            (json!({"text_input": "a", "timestamp": 0}), Some("aiperf")),
            (
                json!({"payload": {"messages": []}, "delay": 0}),
                Some("aiperf"),
            ),
            (
                json!({"input_length": 1, "timestamp": 0.5, "session_id": "s"}),
                Some("aiperf"),
            ),
            (
                json!({"input_length": 1, "timestamp": 0, "hash_ids": [1]}),
                Some("mooncake"),
            ),
            // Anything may have a text, and what has a length and a time alone may be in seconds.
            (json!({"text": "a"}), None),
            (json!({"input_length": 1, "timestamp": 0.5}), None),
        ] {
            assert_eq!(detected(row.to_string()), format, "{row}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&mut &body[..], &mut |_| {});
        }

        #[test]
        fn no_values_make_the_reader_panic(time: f64, text in ".{0,9}", n: i64, i in 0..8_usize) {
            let names = ["text", "texts", "text_input", "messages", "payload", "turns", "extra", "input_length"];
            for value in [json!(time), json!(n), json!(text), json!([text]), json!([{"role": text}]), json!({"text": n})] {
                let row = json!({"timestamp": time, "delay": n, names[i]: value, "output_length": n});
                let _ = read(&mut row.to_string().as_bytes(), &mut |_| {});
            }
        }
    }
}
