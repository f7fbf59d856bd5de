//! What a streamed answer means, event by event: the gateway and the load client read with this alone.
//!
//! A stream is a success when every choice it began ended with a finish reason and the stream itself with
//! `[DONE]`. Whatever else it ends with is a failure, whatever its status code said.

use std::borrow::Cow;

use bytes::Bytes;

use super::chunk::{Delta, Found};
use super::drift::{Drift, DriftKind};
use super::openai::Usage;
use super::outcome::Outcome;
use super::sse::{Splitter, SseEvent};

/// What the last event of a stream says.
pub const DONE: &[u8] = b"[DONE]";

/// What one event brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing to speak of: the role, a finish reason, the usage.
    Frame,
    /// Nothing at all: a comment. It says that the connection is alive, and nothing of the model.
    Comment,
    /// Content of so many characters: text, a refusal, or part of a tool call. The first one is the
    /// first token.
    Content(u32),
    /// `[DONE]`.
    Done,
    /// An error, although the status was a success.
    Error,
    /// No chunk of a chat completion, or of another one, or something after the end.
    Malformed,
}

/// Reads a stream. Feed it with [`push`](Self::push), then take [`take`](Self::take) until there is none.
#[derive(Debug, Default)]
pub struct StreamReader {
    splitter: Splitter,
    /// The first id and model that were named.
    id: Option<String>,
    model: Option<String>,
    usage: Option<Usage>,
    /// Chunks that carried content, and its characters.
    contents: u32,
    characters: u64,
    /// Was all of its content text?
    is_not_all_text: bool,
    /// Choices that began, and that ended. Few answers have more than one.
    begun: Vec<u32>,
    finished: Vec<u32>,
    is_done: bool,
    /// How it failed.
    failure: Option<Outcome>,
    /// Did one stream speak with two ids or models?
    is_spliced: bool,
    /// Did `[DONE]` come after the failure?
    is_done_after_failure: bool,
    /// How its chunks differ from the OpenAI shape.
    drift: Drift,
    /// Was there a usage, whatever it said?
    has_usage: bool,
    /// Was there a chunk without choices, not even an empty list of them?
    lacks_choices: bool,
    /// The latest event in the OpenAI shape, where it had another.
    shaped: Option<Bytes>,
}

impl StreamReader {
    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
    }

    /// The next whole event: as it was sent, and what it brought. After a failure there is none.
    pub fn take(&mut self) -> Option<(Bytes, News)> {
        if self.failure.is_some() {
            self.skim();
            return None;
        }
        self.shaped = None;
        let event = match self.splitter.take() {
            Ok(event) => event?,
            Err(_) => {
                self.failure = Some(Outcome::Malformed);
                return Some((Bytes::new(), News::Malformed));
            }
        };
        let news = self.read(&event);
        match news {
            News::Error => self.failure = Some(Outcome::StreamError),
            News::Malformed => self.failure = Some(Outcome::Malformed),
            News::Done => self.is_done = true,
            News::Content(characters) => {
                self.contents = self.contents.saturating_add(1);
                self.characters += u64::from(characters);
            }
            News::Frame | News::Comment => {}
        }
        Some((event.raw, news))
    }

    /// What comes after a failure means nothing, but that it is passed off as an end.
    fn skim(&mut self) {
        while let Ok(Some(event)) = self.splitter.take() {
            self.is_done_after_failure |= event.data.is_some_and(|data| data == DONE);
        }
    }

    fn read(&mut self, event: &SseEvent) -> News {
        let Some(data) = &event.data else {
            // Comments keep a connection alive, also after the end.
            return News::Comment;
        };
        if self.is_done {
            return News::Malformed;
        }
        if &data[..] == DONE {
            return News::Done;
        }
        let Some(found) = Found::read(data) else {
            return match event.is_error {
                true => News::Error,
                false => News::Malformed,
            };
        };
        if event.is_error || found.chunk.error.is_some() {
            return News::Error;
        }
        self.note(found)
    }

    fn note(&mut self, found: Found<'_>) -> News {
        (self.usage, self.has_usage) = (
            found.usage().or(self.usage),
            self.has_usage || found.has_usage(),
        );
        let (drift, shaped) = found.shape();
        let chunk = found.chunk;
        let Some(choices) = chunk.choices else {
            self.lacks_choices = true;
            return News::Malformed;
        };
        if is_other(&mut self.id, chunk.id) | is_other(&mut self.model, chunk.model) {
            self.is_spliced = true;
            return News::Malformed;
        }
        (self.drift, self.shaped) = (self.drift.and(drift), shaped);
        let mut characters = 0;
        for choice in &choices {
            note_index(&mut self.begun, choice.index());
            if choice.finish_reason.is_some() {
                note_index(&mut self.finished, choice.index());
            }
            characters += choice.delta.as_ref().map_or(0, Delta::characters);
            self.is_not_all_text |= choice.delta.as_ref().is_some_and(Delta::is_more_than_text);
        }
        match u32::try_from(characters).unwrap_or(u32::MAX) {
            0 => News::Frame,
            some => News::Content(some),
        }
    }

    /// How the stream ended, when no more bytes come: by its own end, or by one of the connection
    /// (which broke with `broken`, or was closed in good order).
    pub fn outcome(&self, broken: Option<Outcome>) -> Outcome {
        match self.failure.or(broken) {
            // What comes after the end of an answer cannot spoil it.
            _ if self.is_done && self.failure.is_none() && self.is_finished() => Outcome::Success,
            Some(failure) => failure,
            // It says that it is done, and is not.
            None if self.is_done => Outcome::Malformed,
            None => Outcome::Truncated,
        }
    }

    /// Has every choice that began its finish reason?
    pub fn is_finished(&self) -> bool {
        !self.begun.is_empty() && self.begun.iter().all(|index| self.finished.contains(index))
    }

    /// Did it end by itself, with `[DONE]` or a failure?
    pub fn is_over(&self) -> bool {
        self.is_done || self.failure.is_some()
    }

    /// The tokens, when it stated them.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The tokens it brought, when nobody stated them: one a chunk with content. An estimate; servers
    /// may send several at once.
    pub fn estimated_tokens(&self) -> u32 {
        self.contents
    }

    /// The event that was taken last in the OpenAI shape; none where it had that already.
    pub fn shaped(&mut self) -> Option<Bytes> {
        self.shaped.take()
    }

    /// How it differs from the OpenAI shape, for who wanted its usage or did not: a success by all that its chunks
    /// were, and what is no answer at all by that. What broke off shows nothing.
    pub fn drift(&self, is_usage_wanted: bool) -> Drift {
        let is_missing = is_usage_wanted && !self.has_usage;
        let is_empty = self.lacks_choices || (self.is_done && self.begun.is_empty());
        match self.outcome(None) {
            Outcome::Success => self.drift.with(DriftKind::MissingUsage, is_missing),
            Outcome::Malformed => Drift::NONE.with(DriftKind::MissingChoices, is_empty),
            _ => Drift::NONE,
        }
    }

    /// Characters of content so far.
    pub fn characters(&self) -> u64 {
        self.characters
    }

    /// Characters of its text, when it has no other content: no tool calls, no refusal.
    pub fn text_characters(&self) -> Option<u64> {
        (!self.is_not_all_text).then_some(self.characters)
    }

    /// Did it end with `[DONE]` although it had failed, or broken off before its finish reason? Whoever reads it by
    /// `[DONE]` alone takes it for whole.
    pub fn is_done_after_failure(&self) -> bool {
        let is_unfinished = self.is_done && !self.begun.is_empty() && !self.is_finished();
        self.is_done_after_failure || is_unfinished
    }

    /// Its id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The model it names.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Did it name two ids, or two models? Then it is two answers made into one.
    pub fn is_spliced(&self) -> bool {
        self.is_spliced
    }
}

/// Notes the first name; is this one another?
fn is_other(first: &mut Option<String>, name: Option<Cow<'_, str>>) -> bool {
    // Some servers leave them empty in chunks without content.
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return false;
    };
    match first {
        Some(first) => *first != *name,
        None => {
            *first = Some(name.into_owned());
            false
        }
    }
}

fn note_index(indices: &mut Vec<u32>, index: u32) {
    // No answer has more choices than the API allows; what goes on counting is not remembered.
    if !indices.contains(&index) && indices.len() < 256 {
        indices.push(index);
    }
}

/// Is this the content type of a stream of events?
pub fn is_event_stream(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|full| {
        let essence = full.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(delta: &str, finish: &str) -> String {
        format!(
            "data: {{\"id\":\"c1\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\
             \"finish_reason\":{finish}}}]}}\n\n"
        )
    }

    fn whole() -> Vec<String> {
        vec![
            chunk(r#"{"role":"assistant","content":""}"#, "null"),
            ": ping\n\n".to_owned(),
            chunk(r#"{"content":"Hél"}"#, "null"),
            chunk(r#"{"content":"lo"}"#, "null"),
            chunk("{}", "\"stop\""),
            "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":4,\
             \"completion_tokens\":2,\"total_tokens\":6}}\n\n"
                .to_owned(),
            "data: [DONE]\n\n".to_owned(),
        ]
    }

    fn read(text: &str) -> (StreamReader, Vec<News>) {
        let mut reader = StreamReader::default();
        reader.push(text.as_bytes());
        let mut news = Vec::new();
        while let Some((_, one)) = reader.take() {
            news.push(one);
        }
        (reader, news)
    }

    #[test]
    fn a_whole_stream_is_a_success_with_its_tokens() {
        let (reader, news) = read(&whole().concat());
        use News::{Comment, Content, Done, Frame};
        assert_eq!(
            news,
            [Frame, Comment, Content(3), Content(2), Frame, Frame, Done]
        );
        assert_eq!(reader.outcome(None), Outcome::Success);
        // How the connection ends after that is nobody's concern.
        assert_eq!(reader.outcome(Some(Outcome::Reset)), Outcome::Success);
        let usage = Usage {
            prompt_tokens: 4,
            completion_tokens: 2,
        };
        assert_eq!(reader.usage(), Some(usage));
        assert_eq!((reader.id(), reader.model()), (Some("c1"), Some("m")));
        assert_eq!((reader.estimated_tokens(), reader.characters()), (2, 5));
        assert!(!reader.is_spliced() && reader.is_over());
    }

    #[test]
    fn whatever_is_missing_at_the_end_makes_it_truncated() {
        let whole = whole();
        for end in 0..whole.len() {
            let (reader, _) = read(&whole[..end].concat());
            assert_eq!(reader.outcome(None), Outcome::Truncated, "{end}");
            assert_eq!(reader.outcome(Some(Outcome::Reset)), Outcome::Reset);
        }
        // Without its finish reason it is not finished, whatever it says.
        let (reader, _) = read(&[&whole[..4], &whole[6..]].concat().concat());
        assert_eq!(reader.outcome(None), Outcome::Malformed);
        let (reader, _) = read("data: [DONE]\n\n");
        assert_eq!(reader.outcome(None), Outcome::Malformed);
    }

    #[test]
    fn errors_in_the_stream_are_errors() {
        for event in [
            "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
            "event: error\ndata: {\"message\":\"x\",\"choices\":[]}\n\n",
            "event: error\ndata: overloaded\n\n",
        ] {
            let (reader, news) = read(&format!("{}{event}data: [DONE]\n\n", whole()[2]));
            assert_eq!(news, [News::Content(3), News::Error], "{event}");
            assert_eq!(reader.outcome(None), Outcome::StreamError);
        }
    }

    #[test]
    fn an_end_after_a_failure_is_seen() {
        let error = "data: {\"error\":{}}\n\n";
        let (reader, news) = read(&format!("{error}: ping\n\ndata: [DONE]\n\n"));
        assert_eq!(news, [News::Error]);
        assert!(reader.is_done_after_failure());
        let (reader, _) = read(&format!("{error}{}", whole()[2]));
        assert!(!reader.is_done_after_failure());
        let (reader, _) = read(&whole().concat());
        assert!(!reader.is_done_after_failure());
        let (reader, _) = read(&format!("{}data: [DONE]\n\n", whole()[2]));
        assert!(reader.is_done_after_failure(), "broken off, and done");
    }

    #[test]
    fn text_alone_tells_its_length() {
        let (reader, _) = read(&whole().concat());
        assert_eq!(reader.text_characters(), Some(5));
        let call = chunk(r#"{"tool_calls":[{"index":0}]}"#, "null");
        let (reader, _) = read(&format!("{}{call}", whole()[2]));
        assert_eq!(reader.text_characters(), None);
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for data in ["", "hi", "[]", "{", "{}", "{\"choices\":3}", "\"x\""] {
            let (reader, news) = read(&format!("data: {data}\n\n"));
            assert_eq!(news, [News::Malformed], "{data}");
            assert_eq!(reader.outcome(None), Outcome::Malformed);
        }
        let (reader, _) = read(&[whole(), whole()].concat().concat());
        assert_eq!(reader.outcome(None), Outcome::Malformed, "two in one");
    }

    #[test]
    fn two_ids_or_models_are_two_answers() {
        let other = whole()[3].replace("c1", "c2");
        let (reader, news) = read(&format!("{}{other}data: [DONE]\n\n", whole()[2]));
        assert!(reader.is_spliced());
        assert_eq!(news, [News::Content(3), News::Malformed]);
        assert_eq!(reader.outcome(None), Outcome::Malformed);
        let unnamed = whole()[3].replace("c1", "");
        let (reader, _) = read(&format!("{}{unnamed}", whole()[2]));
        assert!(!reader.is_spliced());
    }

    #[test]
    fn drift_is_that_of_all_its_chunks() {
        let fields = r#""object":"chat.completion.chunk","created":1,"model":"m""#;
        let standard = whole().concat().replace(r#""model":"m""#, fields);
        let kinds = |text: &str, wanted| Vec::from(read(text).0.drift(wanted));
        assert_eq!(kinds(&standard, true), []);
        let unstated = standard.replacen("\"usage\"", "\"used\"", 1);
        assert_eq!(kinds(&unstated, true), [DriftKind::MissingUsage]);
        assert_eq!(kinds(&unstated, false), []);
        assert_eq!(kinds(&whole().concat(), true), [DriftKind::MissingFields]);
        // What is no answer is told by that alone, and what is none yet by nothing.
        let empty = "data: {\"choices\":[]}\n\n";
        let done = "data: [DONE]\n\n";
        assert_eq!(
            kinds(&format!("{empty}{done}"), true),
            [DriftKind::MissingChoices]
        );
        assert_eq!(kinds("data: {}\n\n", true), [DriftKind::MissingChoices]);
        assert_eq!(kinds("data: <html>\n\n", true), []);
        assert_eq!(kinds(&whole()[..4].concat(), true), []);
    }

    #[test]
    fn every_choice_must_end() {
        let two = |n: u32, finish: &str| {
            chunk(r#"{"content":"x"}"#, finish).replace("\"index\":0", &format!("\"index\":{n}"))
        };
        let text = [two(0, "null"), two(1, "null"), two(0, "\"stop\"")].concat();
        let (reader, _) = read(&format!("{text}data: [DONE]\n\n"));
        assert_eq!(reader.outcome(None), Outcome::Malformed);
        let (reader, _) = read(&format!("{text}{}data: [DONE]\n\n", two(1, "\"stop\"")));
        assert_eq!(reader.outcome(None), Outcome::Success);
    }

    #[test]
    fn tool_calls_and_refusals_are_content() {
        for delta in [
            r#"{"tool_calls":[{"index":0}]}"#,
            r#"{"refusal":"no"}"#,
            r#"{"reasoning_content":"hm"}"#,
            r#"{"reasoning":"hm"}"#,
        ] {
            let (_, news) = read(&chunk(delta, "null"));
            assert!(matches!(news[..], [News::Content(_)]), "{delta}");
        }
        let both = r#"{"reasoning":"hm","reasoning_content":"hm"}"#;
        let (_, news) = read(&chunk(both, "null"));
        assert_eq!(news, [News::Content(2)]);
        let (_, news) = read(&chunk(r#"{"reasoning":{"effort":"low"}}"#, "null"));
        assert_eq!(news, [News::Frame]);
    }

    #[test]
    fn the_type_of_a_stream() {
        assert!(is_event_stream(Some("Text/Event-Stream; charset=utf-8")));
        assert!(!is_event_stream(Some("application/json")));
        assert!(!is_event_stream(None));
    }
}
