//! One chunk of a streamed answer: what it holds, how it differs from the OpenAI shape, and how it is put into it.
//!
//! As with whole answers ([`normalize`]), only what needs no guessing is put right: a chunk inside of `data`
//! is taken out of it, `usage.tokens_consumed` becomes `total_tokens`. A chunk in the OpenAI shape stays byte
//! for byte what it was. A missing `finish_reason` is no drift: a stream without any is no success.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::drift::{Drift, DriftKind};
use super::normalize;
use super::openai::Usage;

/// What is read of a chunk.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    pub(super) error: Option<IgnoredAny>,
    object: Option<IgnoredAny>,
    created: Option<IgnoredAny>,
    metadata: Option<IgnoredAny>,
    /// Where some hide all of it.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Cow<'a, str>>,
}

impl Choice<'_> {
    /// Which one it is: the first, where it does not say.
    pub(super) fn index(&self) -> u32 {
        self.index.unwrap_or(0)
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    /// What reasoning models write before they answer.
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    /// The same by the name that OpenRouter and others have for it; no part of the API, so it may be anything.
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
}

impl Delta<'_> {
    /// Its thoughts. Some servers write them under both names.
    fn thoughts(&self) -> Option<Cow<'_, str>> {
        let named = self.reasoning_content.as_deref().map(Cow::Borrowed);
        named.or_else(|| serde_json::from_str(self.reasoning?.get()).ok())
    }

    /// Does it bring anything but text?
    pub(super) fn is_more_than_text(&self) -> bool {
        let calls = [self.tool_calls, self.function_call];
        self.refusal.is_some()
            || self.thoughts().is_some()
            || calls.into_iter().any(|call| call.is_some())
    }

    /// How many characters of content it brings.
    pub(super) fn characters(&self) -> usize {
        let texts = [&self.content, &self.refusal].map(Option::as_deref);
        let thoughts = self.thoughts();
        let texts = texts.into_iter().chain([thoughts.as_deref()]);
        let text = texts.flatten().map(|t| t.chars().count());
        let calls = [self.tool_calls, self.function_call];
        let call = calls.into_iter().flatten().map(|raw| raw.get().len());
        text.chain(call).sum()
    }
}

/// A chunk where it was found: the whole data of an event, or inside of it.
pub(super) struct Found<'a> {
    pub(super) chunk: Chunk<'a>,
    text: &'a str,
    is_wrapped: bool,
}

impl<'a> Found<'a> {
    /// Reads the data of an event; none when it is no JSON object with a chunk's types.
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let chunk = parse(text)?;
        let is_outer = chunk.choices.is_some() || chunk.error.is_some();
        let inner = chunk.data.filter(|_| !is_outer).map(RawValue::get);
        let inner = inner.and_then(|text| Some((parse(text)?, text)));
        Some(match inner.filter(|(chunk, _)| chunk.choices.is_some()) {
            Some((chunk, text)) => Self {
                chunk,
                text,
                is_wrapped: true,
            },
            None => Self {
                chunk,
                text,
                is_wrapped: false,
            },
        })
    }

    /// The tokens, when it states both counts. What counts nothing is no usage, and the answer is no worse for it.
    pub(super) fn usage(&self) -> Option<Usage> {
        serde_json::from_str(self.chunk.usage?.get()).ok()
    }

    /// Is there a usage, whatever it says?
    pub(super) fn has_usage(&self) -> bool {
        let usage = self.chunk.usage.map(RawValue::get);
        usage.is_some_and(|text| text.starts_with('{'))
    }

    /// How it differs from the OpenAI shape, and it in that shape, as an event; none when nothing had to be put
    /// right. That it has no usage is no drift: one chunk of a stream has it.
    pub(super) fn shape(&self) -> (Drift, Option<Bytes>) {
        let (drift, edited) = match self.has_usage() {
            true => normalize::chunk_usage(self.text),
            false => (Drift::NONE, None),
        };
        let drift = drift
            .with(DriftKind::Wrapped, self.is_wrapped)
            .with(DriftKind::ExtraMetadata, self.chunk.metadata.is_some())
            .with(DriftKind::MissingFields, self.lacks_fields());
        let same = self.is_wrapped.then_some(self.text);
        (drift, edited.as_deref().or(same).map(event))
    }

    fn lacks_fields(&self) -> bool {
        let chunk = &self.chunk;
        let choices = chunk.choices.as_deref().unwrap_or_default();
        chunk.id.is_none()
            || chunk.object.is_none()
            || chunk.created.is_none()
            || chunk.model.is_none()
            || choices.iter().any(|choice| choice.index.is_none())
    }
}

fn parse(text: &str) -> Option<Chunk<'_>> {
    let is_object = text.trim_start().starts_with('{');
    is_object.then(|| serde_json::from_str(text).ok()).flatten()
}

/// An event with this data.
fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {}\n\n", data.replace('\n', "\ndata: ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DriftKind::{ExtraMetadata, IncompleteUsage, MissingFields, TokensConsumed, Wrapped};

    const HEAD: &str = r#""id":"c","object":"chat.completion.chunk","created":1,"model":"m""#;

    /// The kinds of drift of this data, and the event that is made of it.
    fn shape(data: &str) -> (Vec<DriftKind>, Option<String>) {
        let found = Found::read(data.as_bytes()).expect("a chunk");
        let (drift, shaped) = found.shape();
        let text = shaped.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        (drift.into(), text)
    }

    #[test]
    fn the_standard_shape_has_no_drift_and_is_left_alone() {
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
        for rest in [
            r#""choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]"#,
            r#""choices":[{"index":0,"delta":{}}],"usage":null,"vendor":[1.0]"#,
            &format!(r#""choices":[],{usage}"#),
        ] {
            assert_eq!(shape(&format!("{{{HEAD},{rest}}}")), (vec![], None));
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_counted_and_nothing_is_made_up() {
        let choices = r#""choices":[{"index":0,"delta":{}}]"#;
        for field in ["id", "object", "created", "model"] {
            let chunk = format!("{{{HEAD},{choices}}}").replace(&format!("\"{field}\""), "\"x\"");
            assert_eq!(shape(&chunk), (vec![MissingFields], None), "{field}");
        }
        let unnumbered = format!(r#"{{{HEAD},"choices":[{{"delta":{{}}}}]}}"#);
        assert_eq!(shape(&unnumbered), (vec![MissingFields], None));
        let more = format!(r#"{{{HEAD},{choices},"metadata":{{"latency":1}}}}"#);
        assert_eq!(shape(&more), (vec![ExtraMetadata], None));
    }

    #[test]
    fn a_usage_is_put_right_as_that_of_a_whole_answer() {
        let chunk = |usage: &str| format!(r#"{{{HEAD},"choices":[],"usage":{usage}}}"#);
        let (drift, shaped) = shape(&chunk(r#"{"tokens_consumed":12}"#));
        assert_eq!(drift, [TokensConsumed, IncompleteUsage]);
        let expected = format!("data: {}\n\n", chunk(r#"{"total_tokens":12}"#));
        assert_eq!(shaped, Some(expected));
        assert_eq!(shape(&chunk("{}")), (vec![IncompleteUsage], None));
        assert_eq!(shape(&chunk("7")), (vec![], None));
    }

    #[test]
    fn a_wrapped_chunk_is_taken_out_as_it_is() {
        let inner = format!("{{{HEAD}, \"choices\": [ ],\n\"x\": 1.50}}");
        let wrapped = format!(r#"{{"code":0,"data":{inner}}}"#);
        let lines = inner.replace('\n', "\ndata: ");
        assert_eq!(
            shape(&wrapped),
            (vec![Wrapped], Some(format!("data: {lines}\n\n")))
        );
        // An error beside it is an error.
        let failed = format!(r#"{{"error":{{}},"data":{inner}}}"#);
        assert!(Found::read(failed.as_bytes()).is_some_and(|f| f.chunk.error.is_some()));
        for none in ["", "[]", "7", "{", "{\"choices\":3}", "\u{feff}"] {
            assert!(Found::read(none.as_bytes()).is_none(), "{none}");
        }
    }
}
