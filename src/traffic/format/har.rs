//! HTTP archives (HAR 1.2) as browsers and proxies save them: the entries that ask for chat completions.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::protocol::openai::HttpAnswer;
use crate::protocol::outcome::Outcome;
use crate::traffic::format::chats;
use crate::traffic::format::values::{MILLISECONDS, length_of, wall_clock};
use crate::traffic::format::{DropReason, Format, Head, Record, read_objects};

/// The format.
pub const FORMAT: Format = Format {
    name: "har",
    title: "HTTP archive (HAR 1.2)",
    times: "dates",
    detect,
    read: |reader, each| read_objects(reader, &["log", "entries"], each, |fields| record(&fields)),
};

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let is_archive = head.keys(&[]).first().is_some_and(|key| key == "log");
    let text = |name: &str| head.contains(name);
    let is_it = is_archive && (text("\"creator\"") || text("\"entries\""));
    is_it.then_some("it begins with log, which has creator or entries")
}

fn record(entry: &Map<String, Value>) -> Result<Record, DropReason> {
    let request = entry.get("request").ok_or(DropReason::BadForm)?;
    let text = |name: &str| request.get(name).and_then(Value::as_str);
    let is_post = text("method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
    if !is_post || !text("url").is_some_and(chats::is_chat_address) {
        return Err(DropReason::NoChat);
    }
    let started = entry.get("startedDateTime").and_then(Value::as_str);
    let at = wall_clock(started.ok_or(DropReason::BadTimestamp)?)?;
    let mut record = Record {
        at: Some(at),
        ..Record::default()
    };
    // Archives may be saved without bodies.
    if let Some(body) = request.pointer("/postData/text").and_then(Value::as_str) {
        let fields = serde_json::from_str(body).map_err(|_| DropReason::BadForm)?;
        chats::note_request(&mut record, fields);
    }
    if let Some(response) = entry.get("response") {
        note_response(&mut record, response)?;
    }
    record.latency = length_of(available(entry.get("time")), MILLISECONDS)?;
    let wait = entry.get("timings").and_then(|timings| timings.get("wait"));
    let wait = length_of(available(wait), MILLISECONDS)?;
    // The first byte of a whole answer comes when all of it is there.
    record.first_token = wait.filter(|_| record.is_stream == Some(true));
    Ok(record)
}

/// A time; -1 stands for one that was not measured.
fn available(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| value.as_f64() != Some(-1.0))
}

fn note_response(record: &mut Record, response: &Value) -> Result<(), DropReason> {
    let status = response.get("status").and_then(Value::as_u64);
    let Some(status) = status.and_then(|status| u16::try_from(status).ok()) else {
        return Ok(());
    };
    if status == 0 {
        let error = response.get("_error").and_then(Value::as_str);
        record.end = Some(never_answered(error.unwrap_or_default()));
        return Ok(());
    }
    let content = response.get("content").unwrap_or(&Value::Null);
    let text = |name: &str| content.get(name).and_then(Value::as_str);
    let Some(body) = text("text").filter(|text| !text.is_empty()) else {
        record.end = Some(chats::end_of_status(status, None));
        return Ok(());
    };
    let body = match text("encoding") {
        Some("base64") => Cow::Owned(base64(body).ok_or(DropReason::BadForm)?),
        _ => Cow::Borrowed(body.as_bytes()),
    };
    let answer = HttpAnswer {
        status,
        content_type: text("mimeType"),
        body: &body,
    };
    chats::note_wire(record, answer)
}

/// Why there was no status, as browsers of the Chromium family say it.
fn never_answered(error: &str) -> Outcome {
    match error {
        _ if error.contains("ABORTED") => Outcome::ClientGone,
        _ if error.contains("TIMED_OUT") => Outcome::Timeout,
        _ if error.contains("RESET") || error.contains("CLOSED") => Outcome::Reset,
        _ => Outcome::Connect,
    }
}

/// RFC 4648, section 4; white space does not count.
fn base64(text: &str) -> Option<Vec<u8>> {
    let letters = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let letters: Vec<u8> = letters.take_while(|byte| *byte != b'=').collect();
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3);
    for group in letters.chunks(4) {
        let mut bits: u32 = 0;
        for letter in group {
            bits = bits << 6 | sextet(*letter)?;
        }
        bits <<= 6 * (4 - group.len());
        let [_, triple @ ..] = bits.to_be_bytes();
        let len = group.len().checked_sub(1).filter(|len| *len > 0)?;
        bytes.extend_from_slice(&triple[..len]);
    }
    Some(bytes)
}

fn sextet(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{fixture, one, read_all, survives};

    fn archive(entries: &[&str]) -> String {
        format!(
            "{{\"log\":{{\"version\":\"1.2\",\"entries\":[{}]}}}}",
            entries.join(",\n")
        )
    }

    const CHAT: &str = r#""startedDateTime":"2026-03-02T10:00:00.25+01:00","request":{"method":"POST","url":"https://h/v1/chat/completions?x=1","postData":{"text":"{\"stream\":true}"}}"#;

    fn entry(more: &str) -> String {
        archive(&[&format!("{{{CHAT},{more}}}")])
    }

    #[test]
    fn chats_are_read_out_of_an_archive() {
        let records = fixture(&FORMAT, include_str!("../../../fixtures/logs/har.har"));
        assert_eq!(records.len(), 6);
        let first = &records[0];
        assert_eq!(first.at, Some(1_772_442_000_250_000_000));
        assert_eq!(first.latency, Some(Duration::from_micros(1_250_500)));
        assert_eq!(first.first_token, None, "a whole answer");
        assert_eq!(first.user.as_deref(), Some("user-1"));
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(9), Some(1))
        );
        let stream = &records[1];
        assert_eq!(stream.first_token, Some(Duration::from_micros(210_250)));
        assert_eq!(stream.answer.as_deref(), Some("Hello"));
        assert_eq!(stream.served_by.as_deref(), Some("chat-large-2026-03"));
        let encoded = &records[3];
        assert_eq!(encoded.answer, stream.answer);
        assert_eq!(encoded.first_token, None, "-1 is not available");
        let ends: Vec<_> = records.iter().filter_map(|r| r.end).collect();
        let success = Outcome::Success;
        let failures = [Outcome::RateLimited, success, Outcome::Connect, success];
        assert_eq!(ends, [&[success, success][..], &failures].concat());
    }

    #[test]
    fn what_was_not_measured_is_none() {
        let ok = r#""response":{"status":200}"#;
        let record = one(
            &FORMAT,
            &entry(&format!("{ok},\"time\":-1,\"timings\":{{\"wait\":-1}}")),
        );
        assert_eq!((record.latency, record.first_token), (None, None));
        let record = one(
            &FORMAT,
            &entry(&format!("{ok},\"time\":7,\"timings\":{{\"wait\":0}}")),
        );
        assert_eq!(record.first_token, Some(Duration::ZERO));
        assert_eq!(record.latency, Some(Duration::from_millis(7)));
        assert_eq!(one(&FORMAT, &entry("\"time\":7")).end, None);
    }

    #[test]
    fn requests_without_a_status_failed_on_their_way() {
        for (error, outcome) in [
            ("net::ERR_ABORTED", Outcome::ClientGone),
            ("net::ERR_TIMED_OUT", Outcome::Timeout),
            ("net::ERR_CONNECTION_RESET", Outcome::Reset),
            ("net::ERR_NAME_NOT_RESOLVED", Outcome::Connect),
        ] {
            let response = format!("\"response\":{{\"status\":0,\"_error\":\"{error}\"}}");
            assert_eq!(one(&FORMAT, &entry(&response)).end, Some(outcome));
        }
    }

    #[test]
    fn other_entries_are_dropped_by_name() {
        let chat = format!("{{{CHAT}}}");
        let log = archive(&[
            &chat,
            &chat.replace("POST", "OPTIONS"),
            &chat.replace("chat/completions", "models"),
            &chat.replace("2026-03-02", "yesterday"),
            &chat.replace("{\\\"stream\\\":true}", "no JSON"),
            "{}",
            &chat.replace("}}", "}},\"response\":{\"status\":200,\"content\":{\"encoding\":\"base64\",\"text\":\"?\"}}"),
            &chat.replace("}}", "}},\"response\":{\"status\":200},\"time\":-2"),
        ]);
        let (records, bad) = read_all(&FORMAT, &log);
        assert_eq!(records.len(), 1);
        assert_eq!(
            bad,
            [
                (2, DropReason::NoChat),
                (3, DropReason::NoChat),
                (4, DropReason::BadTimestamp),
                (5, DropReason::BadForm),
                (6, DropReason::BadForm),
                (7, DropReason::BadForm),
                (8, DropReason::BadNumber),
            ]
        );
    }

    #[test]
    fn base64_is_what_the_standard_says() {
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v\nYmFy", "foobar"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(base64("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!((base64("Z"), base64("Z-9v")), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,40}") {
            survives(&FORMAT, "{\"log\":{\"entries\":[{\"request\":{", &bytes);
            let _ = base64(&text);
        }
    }
}
