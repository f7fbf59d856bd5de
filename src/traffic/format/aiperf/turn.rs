//! One request of an AIPerf trace, with what it asks.

use serde_json::{Map, Value, json};

use crate::traffic::format::values::{self, MILLISECONDS};
use crate::traffic::format::{DropReason, Record};

type Fields = Map<String, Value>;

/// The record of one turn.
pub(super) fn record(fields: &Fields, session: Option<String>) -> Result<Record, DropReason> {
    let at = fields.get("timestamp").filter(|value| !value.is_null());
    let at = at.map(|at| values::moment_of(Some(at), MILLISECONDS));
    let delay = values::length_of(fields.get("delay"), MILLISECONDS)?;
    let mut record = Record {
        at: at.transpose()?,
        delay,
        input_tokens: values::tokens_of(fields.get("input_length"))?,
        output_tokens: values::tokens_of(fields.get("output_length"))?,
        session,
        ..Record::default()
    };
    if let Some(body) = body(fields)? {
        take_body(&mut record, body, fields.get("extra"));
    }
    Ok(record)
}

/// The body, with what `extra` says of it; who is asked and how stands beside it.
fn take_body(record: &mut Record, mut body: Fields, extra: Option<&Value>) {
    if let Some(Value::Object(extra)) = extra {
        body.extend(extra.clone());
    }
    let model = body.remove("model");
    record.asked_model = model.as_ref().and_then(Value::as_str).map(str::to_owned);
    record.is_stream = body.remove("stream").as_ref().and_then(Value::as_bool);
    record.body = Some(Box::new(body));
}

/// What a turn asks; none where it is a length alone, or has no text.
fn body(fields: &Fields) -> Result<Option<Fields>, DropReason> {
    let ways = ["input_length", "text_input", "messages", "payload"];
    let is_there = |name: &&str| fields.get(*name).is_some_and(|value| !value.is_null());
    let mut ways = ways.iter().copied().filter(|way| is_there(way));
    match (ways.next(), ways.next()) {
        (None, _) => texts(fields),
        (Some("input_length"), None) => Ok(None),
        (Some(way), None) => of_trace(way, &fields[way], fields.get("tools")).map(Some),
        (Some(_), Some(_)) => Err(DropReason::BadForm),
    }
}

/// What a `mooncake_trace` asks in words.
fn of_trace(way: &str, value: &Value, tools: Option<&Value>) -> Result<Fields, DropReason> {
    match (way, value) {
        ("text_input", Value::String(text)) => Ok(asking("user", text.as_str().into())),
        ("messages", Value::Array(_)) => {
            let tools = tools.filter(|tools| tools.is_array());
            let messages = ("messages".to_owned(), value.clone());
            let tools = tools.map(|tools| ("tools".to_owned(), tools.clone()));
            Ok(std::iter::once(messages).chain(tools).collect())
        }
        ("payload", Value::Object(payload)) => of_payload(payload),
        _ => Err(DropReason::BadForm),
    }
}

/// A whole request: one for a chat, or one for the completion of a text.
fn of_payload(payload: &Fields) -> Result<Fields, DropReason> {
    let mut fields = payload.clone();
    let prompt = fields.remove("prompt");
    match (fields.get("messages"), prompt) {
        (Some(Value::Array(_)), None) => {}
        (None, Some(Value::String(prompt))) => fields.extend(asking("user", prompt.into())),
        _ => return Err(DropReason::NoChat),
    }
    Ok(fields)
}

/// What a `single_turn` asks: one text, or several as parts of one message.
fn texts(fields: &Fields) -> Result<Option<Fields>, DropReason> {
    let role = fields.get("role").and_then(Value::as_str).unwrap_or("user");
    match (fields.get("text"), fields.get("texts")) {
        (Some(Value::String(text)), None) => Ok(Some(asking(role, text.as_str().into()))),
        (None, Some(Value::Array(texts))) => {
            let parts: Option<Vec<Value>> = texts.iter().map(part).collect();
            let parts = parts.ok_or(DropReason::BadForm)?;
            Ok(Some(asking(role, parts.into())))
        }
        (None, None) if has_media(fields) => Ok(None),
        _ => Err(DropReason::BadForm),
    }
}

/// A text, or what stands for one: `{"name": …, "contents": […]}`.
fn part(text: &Value) -> Option<Value> {
    let text = match text {
        Value::String(text) => text.clone(),
        Value::Object(named) => {
            let contents = named.get("contents")?.as_array()?;
            let contents: Vec<&str> = contents.iter().filter_map(Value::as_str).collect();
            contents.join("\n")
        }
        _ => return None,
    };
    Some(json!({"type": "text", "text": text}))
}

fn has_media(fields: &Fields) -> bool {
    let kinds = ["image", "images", "audio", "audios", "video", "videos"];
    kinds.iter().any(|kind| fields.contains_key(*kind))
}

/// A chat request of one message.
fn asking(role: &str, content: Value) -> Fields {
    let messages = json!([{"role": role, "content": content}]);
    std::iter::once(("messages".to_owned(), messages)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> Record {
        let Value::Object(fields) = value else {
            panic!("an object");
        };
        record(&fields, None).unwrap()
    }

    fn asked(value: Value) -> Option<Value> {
        of(value).body.map(|body| Value::Object(*body))
    }

    #[test]
    fn texts_become_messages() {
        let message =
            |content: Value| Some(json!({"messages": [{"role": "user", "content": content}]}));
        assert_eq!(asked(json!({"text": "a"})), message(json!("a")));
        assert_eq!(asked(json!({"text_input": "a"})), message(json!("a")));
        let part = |text: &str| json!({"type": "text", "text": text});
        assert_eq!(
            asked(json!({"texts": ["a", {"name": "n", "contents": ["b", "c"]}]})),
            message(json!([part("a"), part("b\nc")]))
        );
        assert_eq!(
            asked(json!({"text": "a", "role": "system"})),
            Some(json!({"messages": [{"role": "system", "content": "a"}]}))
        );
        assert_eq!(asked(json!({"image": "x.png"})), None);
        assert_eq!(asked(json!({"input_length": 5})), None);
    }

    #[test]
    fn messages_and_payloads_are_kept_without_model_and_stream() {
        let messages = json!([{"role": "user", "content": "a"}]);
        let with_tools = json!({"messages": messages, "tools": [{"type": "function"}], "extra": {"top_p": 0.5, "model": "m"}});
        let record = of(with_tools);
        assert_eq!(record.asked_model.as_deref(), Some("m"));
        let body = json!({"messages": messages, "tools": [{"type": "function"}], "top_p": 0.5});
        assert_eq!(record.body.map(|b| Value::Object(*b)), Some(body));
        let record =
            of(json!({"payload": {"model": "m", "stream": true, "prompt": "a", "max_tokens": 7}}));
        assert_eq!(record.is_stream, Some(true));
        // The most that it may be is not how long it was.
        assert_eq!(record.output_tokens, None);
        let body = json!({"messages": messages, "max_tokens": 7});
        assert_eq!(record.body.map(|b| Value::Object(*b)), Some(body));
        let record =
            of(json!({"payload": {"messages": messages, "max_tokens": 7}, "output_length": 3}));
        assert_eq!((record.output_tokens, record.is_stream), (Some(3), None));
    }
}
