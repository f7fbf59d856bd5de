//! ShareGPT: conversations between people and a model, without times or counts.
//!
//! Every turn of a person is a request with all that was said before it.

use serde_json::{Map, Value, json};

use crate::traffic::format::items::Items;
use crate::traffic::format::{DropReason, Format, Found, Record, chats, read_items};

/// The format.
pub const FORMAT: Format = Format {
    name: "sharegpt",
    title: "ShareGPT conversations",
    times: "none",
    detect: |head| {
        let is_it = head.has_keys(&["conversations"]);
        is_it.then_some("its first object has conversations")
    },
    read: |reader, each| read_items(Items::new(reader), each, conversation),
};

/// Most turns of a conversation: each is sent with all those before it.
const MAX_TURNS: usize = 1_000;

/// Reads a conversation: all of it, or nothing.
fn conversation(fields: Map<String, Value>, found: Found<'_>) {
    let Some(messages) = messages(&fields) else {
        return found(Err(DropReason::BadForm));
    };
    let session = fields.get("id").and_then(|id| match id {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    });
    let mut is_any = false;
    for (i, (role, _)) in messages.iter().enumerate() {
        if *role == "user" {
            is_any = true;
            found(Ok(turn(&messages, i, session.clone())));
        }
    }
    if !is_any {
        found(Err(DropReason::NoChat));
    }
}

/// The request of the turn with this number, and its answer.
fn turn(messages: &[(&str, &str)], i: usize, session: Option<String>) -> Record {
    let asked = &messages[..=i];
    let asked: Vec<Value> = asked
        .iter()
        .map(|(role, text)| chats::message(role, text))
        .collect();
    let mut body = Map::new();
    body.insert("messages".to_owned(), json!(asked));
    let next = messages.get(i + 1);
    let answer = next.filter(|(role, _)| *role == "assistant");
    Record {
        session,
        body: Some(Box::new(body)),
        answer: answer.map(|(_, text)| (*text).to_owned()),
        ..Record::default()
    }
}

/// Who said what, in the words of a chat request.
fn messages(fields: &Map<String, Value>) -> Option<Vec<(&str, &str)>> {
    let turns = fields.get("conversations")?.as_array()?;
    if turns.len() > MAX_TURNS {
        return None;
    }
    let messages = turns.iter().map(|turn| {
        let role = match turn.get("from")?.as_str()? {
            "human" | "user" => "user",
            "gpt" | "chatgpt" | "assistant" | "bing" | "bard" => "assistant",
            "system" => "system",
            _ => return None,
        };
        Some((role, turn.get("value")?.as_str()?))
    });
    messages.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{fixture, one, read_all, survives};

    #[test]
    fn every_turn_of_a_person_is_a_request_with_its_history() {
        let records = fixture(
            &FORMAT,
            include_str!("../../../fixtures/logs/sharegpt.json"),
        );
        assert_eq!(records.len(), 5);
        assert!(records.iter().all(|r| r.at.is_none() && r.delay.is_none()));
        let second = &records[1];
        assert_eq!(second.session.as_deref(), Some("conversation-1"));
        assert_eq!(second.answer.as_deref(), Some("Green"));
        let body = second.body.as_deref().unwrap();
        let expected = json!([
            {"role": "user", "content": "Name a colour"},
            {"role": "assistant", "content": "Blue is one"},
            {"role": "user", "content": "And another one"},
        ]);
        assert_eq!(body["messages"], expected);
        let brief = records[2].body.as_deref().unwrap();
        assert_eq!(brief["messages"][0]["role"], "system");
        assert_eq!(records[4].answer, None);
        assert_eq!((second.input_tokens, second.output_tokens), (None, None));
    }

    #[test]
    fn a_number_is_a_name_as_well() {
        let log = r#"{"id": 7, "conversations": [{"from": "human", "value": "x"}]}"#;
        assert_eq!(one(&FORMAT, log).session.as_deref(), Some("7"));
    }

    #[test]
    fn useless_conversations_are_placed_and_named() {
        let turn = r#"{"from": "human", "value": "x"}"#;
        let long = vec![turn; MAX_TURNS + 1].join(",");
        let log = format!(
            r#"[{{"id": "a", "conversations": []}},
{{"id": "b", "conversations": [{{"from": "robot", "value": "x"}}]}},
{{"id": "c", "conversations": [{turn}, {{"from": "gpt", "value": null}}]}},
{{"id": "d"}},
{{"id": "e", "conversations": [{long}]}}]"#
        );
        let (records, bad) = read_all(&FORMAT, &log);
        assert!(records.is_empty());
        let form = DropReason::BadForm;
        let rest = [(2, form), (3, form), (4, form), (5, form)];
        assert_eq!(bad, [&[(1, DropReason::NoChat)][..], &rest].concat());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, "[{\"id\":\"a\",\"conversations\":[{\"from\":\"human\",", &bytes);
        }
    }
}
