//! Traffic as GoReplay captured it: raw HTTP, requests and answers by themselves.
//!
//! Records end with a line of three monkeys. They stand in the order in which they were written, which is not that of
//! time: an answer finds its request, or a request its answer, among the last few thousand records.

use std::io::{self, BufRead, Read};

use flate2::read::MultiGzDecoder;

use crate::protocol::openai::HttpAnswer;
use crate::traffic::format::pairs::{Answer, Pairs, Part};
use crate::traffic::format::values::between;
use crate::traffic::format::{BadRow, DropReason, Each, Format, Head, LogError, Record, chats};

/// The format.
pub const FORMAT: Format = Format {
    name: "gor",
    title: "GoReplay capture of HTTP",
    times: "nanoseconds since 1970",
    detect,
    read,
};

/// The line at the end of every record, without the line end before it.
const END: &[u8] = "🐵🙈🙉\n".as_bytes();

/// Longest record that is kept, in bytes; answers are not unpacked beyond it.
const MAX_RECORD: usize = 16 << 20;

/// Most header fields of a request or an answer.
const MAX_HEADERS: usize = 128;

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let is_it = header(head.first_bytes()).is_some_and(|header| header.at.is_some());
    is_it.then_some("its first line is a number from 1 to 3, an id and a time in nanoseconds")
}

/// Reads a whole log.
fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let mut pairs = Pairs::default();
    let mut number = 1;
    let mut is_empty = true;
    let mut buffer = Vec::new();
    while let Some(raw) = next(reader, &mut buffer)? {
        is_empty = false;
        let line = number;
        number += raw.lines;
        let part = match raw.is_whole {
            true => part(&buffer),
            false => Err(DropReason::LineTooLong),
        };
        match part {
            Ok(Some((id, part))) => pairs.add(line, &id, part, each),
            Ok(None) => {}
            Err(reason) => each(Err(bad(line, &buffer, reason))),
        }
    }
    pairs.finish(each);
    match is_empty {
        true => Err(LogError::Empty),
        false => Ok(()),
    }
}

fn bad(line: u64, record: &[u8], reason: DropReason) -> BadRow {
    let first = record.split(|byte| *byte == b'\n').next();
    let text = String::from_utf8_lossy(first.unwrap_or_default());
    BadRow {
        line,
        column: 1,
        text: text.chars().take(120).collect(),
        reason,
    }
}

/// A record that was read into the buffer.
struct Raw {
    lines: u64,
    is_whole: bool,
}

/// Reads the next record, without its end. None at the end of the file.
fn next(reader: &mut dyn BufRead, buffer: &mut Vec<u8>) -> io::Result<Option<Raw>> {
    buffer.clear();
    let mut raw = Raw {
        lines: 0,
        is_whole: true,
    };
    let mut tail = Vec::new();
    loop {
        tail.clear();
        // A line without end does not eat the memory: it comes in pieces.
        let piece = &mut reader.take(1 << 16);
        if piece.read_until(b'\n', &mut tail)? == 0 {
            let is_empty = buffer.iter().all(u8::is_ascii_whitespace) && raw.is_whole;
            return Ok((!is_empty).then_some(raw));
        }
        raw.lines += u64::from(tail.ends_with(b"\n"));
        if tail == END && is_line_start(buffer) {
            buffer.pop();
            return Ok(Some(raw));
        }
        let room = MAX_RECORD.saturating_sub(buffer.len());
        raw.is_whole &= tail.len() <= room;
        match raw.is_whole {
            true => buffer.extend_from_slice(&tail),
            // Of what is too long, the end is still looked for.
            false => buffer.extend(tail.iter().take(room)),
        }
    }
}

fn is_line_start(buffer: &[u8]) -> bool {
    buffer.len() >= MAX_RECORD || buffer.last().is_none_or(|byte| *byte == b'\n')
}

/// The first line of a record.
struct Header {
    kind: u8,
    id: String,
    /// None when it is no time.
    at: Option<i64>,
    /// How long the message itself took to arrive.
    length: i64,
}

/// `1 f45590522cd1838b4a0d5c5a 1772442000250000001 20000`
fn header(line: &[u8]) -> Option<Header> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (kind, id, at, length) = match words.as_slice() {
        [kind, id, at] => (kind, id, at, None),
        [kind, id, at, length] => (kind, id, at, Some(length)),
        _ => return None,
    };
    let kind = match *kind {
        "1" => 1,
        "2" => 2,
        "3" => 3,
        _ => return None,
    };
    let is_id = id.len() >= 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(Header {
        kind,
        id: is_id.then(|| (*id).to_owned())?,
        at: at.parse().ok().filter(|at| *at > 0),
        length: length.map_or(Some(0), |length| length.parse().ok())?,
    })
}

/// What a record holds, with the id of its request. None for replayed answers: they came from elsewhere.
fn part(record: &[u8]) -> Result<Option<(String, Part)>, DropReason> {
    let end = record.iter().position(|byte| *byte == b'\n');
    let (first, raw) = record.split_at(end.ok_or(DropReason::BadForm)?);
    let head = header(first).ok_or(DropReason::BadForm)?;
    let at = head.at.ok_or(DropReason::BadTimestamp)?;
    let raw = &raw[1..];
    let part = match head.kind {
        1 => request(at, raw),
        2 => answer(at, head.length, raw),
        _ => return Ok(None),
    };
    Ok(Some((head.id, part)))
}

/// A request; one that is of no use is remembered, so that its answer is not missed.
fn request(at: i64, raw: &[u8]) -> Part {
    Part::Request(chat(raw).map(|record| {
        Box::new(Record {
            at: Some(at),
            ..record
        })
    }))
}

fn chat(raw: &[u8]) -> Result<Record, DropReason> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let body = match request.parse(raw) {
        Ok(httparse::Status::Complete(start)) => &raw[start..],
        _ => return Err(DropReason::BadForm),
    };
    let is_chat = request.path.is_some_and(chats::is_chat_address);
    if request.method != Some("POST") || !is_chat {
        return Err(DropReason::NoChat);
    }
    let body = unpacked(request.headers, body).ok_or(DropReason::BadForm)?;
    let fields = serde_json::from_slice(&body).map_err(|_| DropReason::BadForm)?;
    let mut record = Record::default();
    chats::note_request(&mut record, fields);
    Ok(record)
}

fn answer(at: i64, length: i64, raw: &[u8]) -> Part {
    Part::Answer(Answer {
        began: at,
        ended: at.saturating_add(length.max(0)),
        record: told(raw).map(Box::new),
    })
}

/// What an answer tells.
fn told(raw: &[u8]) -> Result<Record, DropReason> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(raw) {
        Ok(httparse::Status::Complete(start)) => start,
        _ => return Err(DropReason::BadForm),
    };
    let mut record = Record::default();
    let status = response.code.unwrap_or_default();
    match unpacked(response.headers, &raw[start..]) {
        Some(body) => {
            let answer = HttpAnswer {
                status,
                content_type: field(response.headers, "content-type"),
                body: &body,
            };
            chats::note_wire(&mut record, answer)?;
        }
        // What cannot be unpacked still has a status.
        None => record.end = Some(chats::end_of_status(status, None)),
    }
    Ok(record)
}

/// Both halves of a request.
pub(super) fn joined(mut request: Record, began: i64, ended: i64, answer: Record) -> Record {
    let since = |moment: i64| between(request.at?, moment);
    let (latency, first) = (since(ended), since(began));
    request.latency = latency;
    // The first byte of a whole answer comes when all of it is there.
    request.first_token = first.filter(|_| request.is_stream == Some(true));
    request.end = answer.end;
    request.input_tokens = answer.input_tokens;
    request.output_tokens = answer.output_tokens;
    request.served_by = answer.served_by;
    request.answer = answer.answer;
    request
}

fn field<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
    std::str::from_utf8(found?.value).ok()
}

/// A body as it was before it was sent: in one piece, and not compressed. None when that is not known.
fn unpacked(headers: &[httparse::Header<'_>], body: &[u8]) -> Option<Vec<u8>> {
    let is = |name: &str, value: &str| {
        let field = field(headers, name).unwrap_or_default();
        field.to_ascii_lowercase().contains(value)
    };
    let whole = match is("transfer-encoding", "chunked") {
        true => dechunked(body),
        false => body.to_vec(),
    };
    let encoding = field(headers, "content-encoding").unwrap_or("identity");
    match encoding.trim() {
        "identity" => Some(whole),
        "gzip" => {
            let mut plain = Vec::new();
            let most = MAX_RECORD as u64;
            let read = MultiGzDecoder::new(&whole[..])
                .take(most)
                .read_to_end(&mut plain);
            read.is_ok().then_some(plain)
        }
        _ => None,
    }
}

/// Chunks put together. A capture may end in the middle of one: what there is, is taken, and is cut off then.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(body) {
        let rest = &body[start..];
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&rest[..size]);
        let after = &rest[size..];
        body = after.strip_prefix(b"\r\n").unwrap_or(after);
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::outcome::Outcome;
    use crate::traffic::format::testing::{detected, survives, try_read};

    const CHAT: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n\r\n{\"messages\":[]}";

    fn record(header: &str, raw: &[u8]) -> Vec<u8> {
        [header.as_bytes(), b"\n", raw, b"\n", END].concat()
    }

    fn read_bytes(log: &[u8]) -> (Vec<Record>, Vec<(u64, DropReason)>) {
        try_read(&FORMAT, log).unwrap()
    }

    #[test]
    fn answers_find_their_requests_wherever_they_stand() {
        let log = include_bytes!("../../../fixtures/logs/goreplay.gor");
        assert_eq!(detected(log), Some("gor"));
        let (mut records, bad) = read_bytes(log);
        assert_eq!(bad, []);
        records.sort_by_key(|record| record.at);
        let at = |n: i64| Some(1_772_442_000_250_000_001 + n * 1_000_000);
        let times: Vec<_> = records.iter().map(|record| record.at).collect();
        assert_eq!(times, [at(0), at(500), at(2_000), at(2_500), at(3_000)]);
        let ends: Vec<_> = records.iter().map(|record| record.end).collect();
        let success = Some(Outcome::Success);
        // The third was answered by a replay only, the last by nobody.
        let quota = Some(Outcome::QuotaExhausted);
        assert_eq!(ends, [success, success, None, quota, None]);
        let first = &records[0];
        // The answer's own 50 ms count, the request's do not.
        assert_eq!(first.latency, Some(Duration::from_millis(1_250)));
        assert_eq!((first.first_token, first.is_stream), (None, Some(false)));
        assert_eq!(first.user.as_deref(), Some("user-1"));
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(9), Some(1))
        );
        let stream = &records[1];
        assert_eq!(stream.first_token, Some(Duration::from_millis(200)));
        assert_eq!(stream.latency, Some(Duration::from_millis(500)));
        assert_eq!(stream.answer.as_deref(), Some("Hello"));
        assert_eq!((records[2].latency, records[2].output_tokens), (None, None));
    }

    #[test]
    fn compressed_answers_are_unpacked() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let body = br#"{"choices":[{"message":{"content":"hi"}}]}"#;
        encoder.write_all(body).unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        let packed = [&head[..], &encoder.finish().unwrap()].concat();
        let log = [
            record("1 aaaaaaaa 5", CHAT),
            record("2 aaaaaaaa 9", &packed),
        ]
        .concat();
        let (records, bad) = read_bytes(&log);
        assert_eq!(bad, []);
        assert_eq!(records[0].answer.as_deref(), Some("hi"));
        assert_eq!(records[0].latency, Some(Duration::from_nanos(4)));
    }

    #[test]
    fn useless_records_are_placed_and_named() {
        let models = b"GET /v1/models HTTP/1.1\r\n\r\n";
        let ok = b"HTTP/1.1 200 OK\r\n\r\n{}";
        let odd = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n{}";
        let log = [
            record("1 aaaaaaaa 5", models),
            record("2 aaaaaaaa 6", b"no HTTP"),
            record("2 bbbbbbbb 6", ok),
            record("1 cccccccc yesterday", CHAT),
            record("1 dddddddd 7", b"nonsense"),
            record(
                "1 eeeeeeee 8",
                b"POST /v1/chat/completions HTTP/1.1\r\n\r\nno JSON",
            ),
            record("1 99999999 9", CHAT),
            record("2 99999999 9", odd),
            record("2 88888888 9", b"no HTTP"),
            record("1 88888888 8", CHAT),
        ];
        let (records, mut bad) = read_bytes(&log.concat());
        assert_eq!(records.len(), 1);
        assert_eq!(
            records[0].end,
            Some(Outcome::Success),
            "its status is known"
        );
        bad.sort();
        assert_eq!(
            bad,
            [
                (1, DropReason::NoChat),
                (9, DropReason::NoRequest),
                (14, DropReason::BadTimestamp),
                (20, DropReason::BadForm),
                (23, DropReason::BadForm),
                (43, DropReason::BadForm),
            ]
        );
    }

    #[test]
    fn the_window_is_bounded_and_nothing_is_lost() {
        let mut log = Vec::new();
        for i in 0..10_000 {
            log.extend(record(&format!("1 {i:08x} {}", i + 1), CHAT));
        }
        let ok = b"HTTP/1.1 503 Busy\r\n\r\n";
        for i in 9_000..10_000 {
            log.extend(record(&format!("2 {i:08x} {}", i + 2), ok));
        }
        log.extend(record("2 00000000 9", ok));
        let (records, bad) = read_bytes(&log);
        assert_eq!(records.len(), 10_000);
        let overloaded = |r: &&Record| r.end == Some(Outcome::Overloaded);
        assert_eq!(records.iter().filter(overloaded).count(), 1_000);
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].1, DropReason::NoRequest);
    }

    #[test]
    fn a_record_without_end_is_skipped_in_bounded_memory() {
        let long = io::repeat(b'x').take(2 * MAX_RECORD as u64);
        let end = [b"\n", END, &record("1 aaaaaaaa 5", CHAT)].concat();
        let log = (&b"1 bbbbbbbb 4\n"[..]).chain(long).chain(&end[..]);
        let mut found = Vec::new();
        let mut reader = BufReader::new(log);
        read(&mut reader, &mut |row| {
            found.push(row.map_err(|bad| bad.reason))
        })
        .unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Err(DropReason::LineTooLong));
        assert_eq!(found[1].as_ref().map(|record| record.at), Ok(Some(5)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, "1 aaaaaaaa 5\nPOST /v1/chat/completions HTTP/1.1\r\n", &bytes);
            survives(&FORMAT, "2 aaaaaaaa 5\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes);
        }
    }
}
