//! Chat requests: the few facts the router needs, and the one edit it makes.
//!
//! A body passes through byte for byte, except that the value of `model` is replaced. Nothing is
//! parsed into a struct and written back, so temperature 0 stays 0 and unknown fields, tools,
//! images, number formats and white space survive.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What the gateway reads of a chat request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatHead {
    /// The model that was asked for.
    pub model: String,
    /// Whether a stream of events was asked for.
    pub stream: bool,
    /// Whether the stream is to state its tokens.
    pub usage: bool,
    /// Whether there are tools, or functions as they used to be called.
    pub tools: bool,
    /// `user`, the caller's name of the end user.
    pub user: Option<String>,
    /// Where the value of `model` stands in the body, quotes included.
    model_span: Range<usize>,
}

/// Why a body is not a chat request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotChat(String);

impl fmt::Display for NotChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    stream: Option<bool>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    user: Option<String>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    functions: Option<&'a RawValue>,
}

impl ChatHead {
    /// Reads the head of a chat request.
    ///
    /// # Errors
    /// When the body is no JSON object, `model` is missing, repeated or no string, or `stream` or
    /// `user` has the wrong type.
    pub fn parse(body: &[u8]) -> Result<Self, NotChat> {
        let text = std::str::from_utf8(body)
            .map_err(|e| NotChat(format!("the request body is not UTF-8: {e}")))?;
        if !text.trim_start().starts_with('{') {
            let message = "the request body is not a chat request: a JSON object is expected";
            return Err(NotChat(message.to_owned()));
        }
        let fields: Fields<'_> = serde_json::from_str(text)
            .map_err(|e| NotChat(format!("the request body is not a chat request: {e}")))?;
        let raw = fields.model.get();
        let model: String = serde_json::from_str(raw)
            .map_err(|_| NotChat("`model` must be a string".to_owned()))?;
        // `raw` is borrowed from `text`, so the distance of the two addresses is its position.
        let start = raw.as_ptr() as usize - text.as_ptr() as usize;
        Ok(Self {
            model,
            stream: fields.stream.unwrap_or(false),
            usage: fields.stream_options.is_some_and(asks_for_usage),
            tools: has_items(fields.tools) || has_items(fields.functions),
            user: fields.user,
            model_span: start..start + raw.len(),
        })
    }

    /// The same body for another model: the only edit a body ever gets.
    pub fn with_model(&self, body: &[u8], model: &str) -> Vec<u8> {
        let quoted = serde_json::Value::from(model).to_string();
        let mut edited = Vec::with_capacity(body.len() + quoted.len());
        edited.extend_from_slice(&body[..self.model_span.start]);
        edited.extend_from_slice(quoted.as_bytes());
        edited.extend_from_slice(&body[self.model_span.end..]);
        edited
    }
}

fn asks_for_usage(options: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Options {
        include_usage: Option<bool>,
    }
    let options = serde_json::from_str::<Options>(options.get());
    options.is_ok_and(|options| options.include_usage == Some(true))
}

/// Is this a list with anything in it?
fn has_items(list: Option<&RawValue>) -> bool {
    let items = list.map(|raw| serde_json::from_str::<Vec<IgnoredAny>>(raw.get()));
    matches!(items, Some(Ok(items)) if !items.is_empty())
}

/// Does a chat request ask for a stream?
pub fn wants_stream(fields: &Map<String, Value>) -> bool {
    fields.get("stream").and_then(Value::as_bool) == Some(true)
}

/// Does it ask for a stream that states its tokens at its end?
pub fn wants_usage(fields: &Map<String, Value>) -> bool {
    let options = fields.get("stream_options");
    options
        .and_then(|o| o.get("include_usage"))
        .and_then(Value::as_bool)
        == Some(true)
}

/// How a gateway turns the caller's body into the one a version's upstream gets, for the version's
/// model. A gateway that changes more than the model is found out by comparing [`digest`]s.
pub type Forward = fn(body: &[u8], head: &ChatHead, model: &str) -> Vec<u8>;

/// The built-in gateway's [`Forward`]: [`ChatHead::with_model`].
pub fn forward(body: &[u8], head: &ChatHead, model: &str) -> Vec<u8> {
    head.with_model(body, model)
}

/// A fingerprint of everything in a chat request but its `model`: 64 bits of a SHA-256 over the
/// body with sorted keys, so that another order or spacing of the same content is not a change.
/// `None` when the body is no JSON object.
pub fn digest(body: &[u8]) -> Option<u64> {
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).ok()?;
    fields.remove("model");
    let canonical = serde_json::to_vec(&fields).ok()?;
    let hash = Sha256::digest(canonical);
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    Some(u64::from_be_bytes(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_model_is_replaced() {
        let body = br#"{ "temperature": 0, "model" : "gpt-4.1",
            "messages":[{"role":"user","content":"\"model\": \"x\""}], "x_unknown": [1.0, 1e-7] }"#;
        let head = ChatHead::parse(body).unwrap();
        assert_eq!(head.model, "gpt-4.1");
        let expected = String::from_utf8_lossy(body).replacen("gpt-4.1", "new\\\"model", 1);
        let edited = head.with_model(body, "new\"model");
        assert_eq!(String::from_utf8(edited).unwrap(), expected);
    }

    #[test]
    fn what_is_no_chat_request_is_named() {
        let cases = [
            ("", "a JSON object is expected"),
            (r#"["m", false, null]"#, "a JSON object is expected"),
            ("{", "EOF"),
            ("{}", "missing field `model`"),
            (r#"{"model": 3}"#, "`model` must be a string"),
            (r#"{"model":"a","model":"b"}"#, "duplicate field `model`"),
            (r#"{"model":"a","stream":"yes"}"#, "expected a boolean"),
        ];
        for (body, expected) in cases {
            let error = ChatHead::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
        assert!(ChatHead::parse(b"{\"model\":\"\xff\"}").is_err());
    }

    #[test]
    fn the_fingerprint_ignores_model_order_and_space_but_nothing_else() {
        let a = digest(br#"{"model":"a","temperature":0,"n":1}"#).unwrap();
        let b = digest(br#"{ "n": 1, "temperature": 0, "model": "b" }"#).unwrap();
        let c = digest(br#"{"model":"a","temperature":0.7,"n":1}"#).unwrap();
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(digest(b"nonsense"), None);
    }

    proptest! {
        #[test]
        fn forwarding_changes_no_other_byte(
            model in ".{0,12}", target in ".{0,12}", content in ".{0,40}",
            temperature in prop::num::f64::NORMAL, before in any::<bool>(),
        ) {
            let rest = serde_json::json!({
                "messages": [{"role": "user", "content": content}],
                "temperature": temperature, "x_model": {"model": "inner"},
            }).to_string();
            let quote = |m: &str| serde_json::Value::from(m).to_string();
            let inner = &rest[1..rest.len() - 1];
            let make = |m: &str| if before {
                format!("{{\"model\":{},{inner}}}", quote(m))
            } else {
                format!("{{{inner} , \"model\" :{} }}", quote(m))
            };
            let body = make(&model);
            let head = ChatHead::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(&head.model, &model);
            let edited = forward(body.as_bytes(), &head, &target);
            prop_assert_eq!(String::from_utf8(edited).unwrap(), make(&target));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ChatHead::parse(&body);
            let _ = digest(&body);
        }
    }
}
