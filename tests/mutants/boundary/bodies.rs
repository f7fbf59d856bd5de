//! Gateways that change more of a body than its model.

use graygate::protocol::chat::ChatHead;
use serde_json::{Map, Value, json};

use crate::catalogue::{Mutant, Source};

const ALTERED: &str = "altered == 0";
const PREFILLED: &str = "s14-prefilled-answer";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_bodies(
            "temperature-made-up",
            "makes a temperature of 0 one of 0.7",
            Source::Defect(13),
            or_default,
        )
        .caught("healthy-canary", "requests", ALTERED),
        // What stable is asked begins with an answer, whether its caller began one or not: it refuses all of it.
        Mutant::of_bodies(
            "fallback-is-sent-a-beginning",
            "sends its fallback the beginning of an answer",
            Source::Entries(&[24], 6),
            begins,
        )
        .caught(PREFILLED, "requests#1", ALTERED)
        .caught(PREFILLED, "requests#3", "bad_request <= 8%")
        .caught(PREFILLED, "fallback", "succeeds"),
    ]
}

/// `temperature || 0.7`.
fn or_default(body: &[u8], head: &ChatHead, model: &str) -> Vec<u8> {
    let sent = head.with_model(body, model);
    let mut fields: Map<String, Value> = serde_json::from_slice(&sent).expect("a chat request");
    let given = fields.get("temperature").and_then(Value::as_f64);
    if given.unwrap_or(0.0) == 0.0 {
        fields.insert("temperature".to_owned(), 0.7.into());
    }
    serde_json::to_vec(&fields).expect("JSON")
}

fn begins(body: &[u8], head: &ChatHead, model: &str) -> Vec<u8> {
    let sent = head.with_model(body, model);
    if model != "gpt-4.1" {
        return sent;
    }
    let mut fields: Map<String, Value> = serde_json::from_slice(&sent).expect("a chat request");
    if let Some(Value::Array(messages)) = fields.get_mut("messages") {
        messages.push(json!({"role": "assistant", "content": "tok tok tok"}));
    }
    serde_json::to_vec(&fields).expect("JSON")
}
