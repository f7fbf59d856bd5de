//! What of a log may be shown to others: times, counts, models and how requests ended, but not what was said, nor by whom.
//!
//! Texts become as many `tok ` as they have words, names become pseudonyms that are the same for the same name. Of the
//! parameters of a request those stay that are numbers or yes and no, by a list of names: nothing that somebody wrote.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::redact::redact;
use crate::traffic::body::{count_tokens, prompt_tokens};
use crate::traffic::format::{MAX_TOKENS, Record};

/// What is taken out of records.
#[derive(Debug)]
pub enum Redactor {
    /// Keys only.
    Keys,
    /// Keys, contents and names. Pseudonyms hang on this salt.
    Contents(Vec<u8>),
}

impl Redactor {
    /// Does it leave contents alone?
    pub fn keeps_contents(&self) -> bool {
        matches!(self, Self::Keys)
    }

    /// The same record, without what is not to be shown.
    pub fn apply(&self, record: &mut Record) {
        match self {
            Self::Keys => cut_contents(record),
            Self::Contents(salt) => {
                replace_contents(record);
                let names = [
                    &mut record.session,
                    &mut record.user,
                    &mut record.tenant,
                    &mut record.trace,
                ];
                for name in names.into_iter().flatten() {
                    *name = pseudonym(salt, name);
                }
            }
        }
        for model in [&mut record.asked_model, &mut record.served_by] {
            cut(model);
        }
    }
}

/// Twelve hexadecimal digits that stand for a name, and cannot be traced back to it without the salt.
fn pseudonym(salt: &[u8], name: &str) -> String {
    let mut hasher = Sha256::new();
    // With its length, so that no salt and name run into another salt and name.
    hasher.update((salt.len() as u64).to_be_bytes());
    hasher.update(salt);
    hasher.update(name);
    let digest = hasher.finalize();
    digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Cuts keys out of all texts.
fn cut_contents(record: &mut Record) {
    let texts = [
        &mut record.session,
        &mut record.user,
        &mut record.tenant,
        &mut record.trace,
        &mut record.answer,
    ];
    texts.into_iter().for_each(cut);
    if let Some(body) = &mut record.body {
        cut_fields(body);
    }
}

fn cut(text: &mut Option<String>) {
    if let Some(text) = text {
        *text = redact(text);
    }
}

fn cut_fields(fields: &mut Map<String, Value>) {
    let cut = std::mem::take(fields).into_iter().map(|(name, mut value)| {
        cut_value(&mut value);
        (redact(&name), value)
    });
    *fields = cut.collect();
}

/// As deep as a parser lets values be.
fn cut_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(values) => values.iter_mut().for_each(cut_value),
        Value::Object(fields) => cut_fields(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces what was said by as much of nothing. Lengths that were not stated are counted first.
fn replace_contents(record: &mut Record) {
    if let Some(body) = &mut record.body {
        let counted = || Some(prompt_tokens(body).min(MAX_TOKENS));
        record.input_tokens = record.input_tokens.or_else(counted);
        **body = request(body);
    }
    if let Some(answer) = &mut record.answer {
        let counted = count_tokens(answer).min(MAX_TOKENS);
        record.output_tokens = record.output_tokens.or(Some(counted));
        *answer = filler(counted);
    }
}

/// Parameters that tell nothing but how an answer is made.
const PARAMETERS: [&str; 11] = [
    "frequency_penalty",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "seed",
    "temperature",
    "top_logprobs",
    "top_p",
];

fn request(body: &Map<String, Value>) -> Map<String, Value> {
    let is_harmless = |name: &str, value: &Value| {
        PARAMETERS.contains(&name) && (value.is_number() || value.is_boolean())
    };
    let kept = body.iter().filter(|(name, value)| is_harmless(name, value));
    let mut request: Map<_, _> = kept.map(|(n, v)| (n.clone(), v.clone())).collect();
    if let Some(messages) = body.get("messages").and_then(Value::as_array) {
        let mut left = MAX_TOKENS;
        let messages = messages.iter().map(|message| replaced(message, &mut left));
        request.insert("messages".to_owned(), messages.collect());
    }
    request
}

/// A message of the same length. All of them together are no longer than a prompt may be.
fn replaced(message: &Value, left: &mut u32) -> Value {
    const ROLES: [&str; 6] = [
        "system",
        "developer",
        "user",
        "assistant",
        "tool",
        "function",
    ];
    let role = message["role"].as_str().unwrap_or_default();
    let role = ROLES.into_iter().find(|known| *known == role);
    let words = words_of(message).min(*left);
    *left -= words;
    json!({"role": role.unwrap_or("user"), "content": filler(words)})
}

/// Words of its content, as everywhere, and of what its tools were called with.
fn words_of(message: &Value) -> u32 {
    let alone = Map::from_iter([("messages".to_owned(), json!([message]))]);
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let arguments = calls.filter_map(|call| call["function"]["arguments"].as_str());
    arguments
        .map(count_tokens)
        .fold(prompt_tokens(&alone), u32::saturating_add)
}

fn filler(words: u32) -> String {
    "tok ".repeat(words as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Record {
        let body = json!({
            "messages": [
                {"role": "system", "content": "Secret sauce"},
                {"role": "Walter", "content": [{"type": "text", "text": "my pin is 1234"}], "name": "walter"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c", "function": {"name": "pay", "arguments": "{\"to\": \"walter\"}"}}]},
            ],
            "temperature": 0.5,
            "seed": "walter",
            "tools": [{"function": {"name": "pay"}}],
            "walter": 1,
        });
        Record {
            session: Some("walter".to_owned()),
            user: Some("walter".to_owned()),
            tenant: Some("whitehall".to_owned()),
            trace: Some("t".to_owned()),
            asked_model: Some("chat sk-abcdef0123456789".to_owned()),
            body: body.as_object().cloned().map(Box::new),
            answer: Some("Your secret is safe".to_owned()),
            ..Record::default()
        }
    }

    #[test]
    fn contents_and_names_are_replaced_and_lengths_stay() {
        let mut record = chat();
        Redactor::Contents(b"salt".to_vec()).apply(&mut record);
        assert_eq!(
            (record.input_tokens, record.output_tokens),
            (Some(6), Some(4))
        );
        assert_eq!(record.answer.as_deref(), Some("tok tok tok tok "));
        let expected = json!({
            "messages": [
                {"role": "system", "content": "tok tok "},
                {"role": "user", "content": "tok tok tok tok "},
                {"role": "assistant", "content": "tok tok "},
            ],
            "temperature": 0.5,
        });
        assert_eq!(record.body.as_deref(), expected.as_object());
        assert_eq!(record.session, record.user);
        assert_ne!(record.user, record.tenant);
        assert_eq!(record.user.map(|user| user.len()), Some(12));
        assert_eq!(record.asked_model.as_deref(), Some("chat sk-***"));
    }

    #[test]
    fn lengths_that_are_stated_count() {
        let stated = Record {
            input_tokens: Some(70),
            output_tokens: Some(0),
            ..chat()
        };
        let mut record = stated;
        Redactor::Contents(Vec::new()).apply(&mut record);
        assert_eq!(
            (record.input_tokens, record.output_tokens),
            (Some(70), Some(0))
        );
    }

    #[test]
    fn pseudonyms_hang_on_the_salt() {
        assert_eq!(pseudonym(b"a", "walter"), pseudonym(b"a", "walter"));
        assert_ne!(pseudonym(b"a", "walter"), pseudonym(b"b", "walter"));
        assert_ne!(pseudonym(b"ab", "c"), pseudonym(b"a", "bc"));
    }

    #[test]
    fn keys_are_cut_wherever_they_stand() {
        let key = "sk-abcdef0123456789";
        let body = json!({"messages": [{"role": "user", "content": format!("use {key}")}], key: {"k": [key]}});
        let mut record = Record {
            user: Some(key.to_owned()),
            served_by: Some(key.to_owned()),
            body: body.as_object().cloned().map(Box::new),
            answer: Some(format!("I use {key}, then")),
            ..Record::default()
        };
        Redactor::Keys.apply(&mut record);
        assert!(!format!("{record:?}").contains("abcdef"), "{record:?}");
        assert_eq!(record.answer.as_deref(), Some("I use sk-***, then"));
    }

    #[test]
    fn no_prompt_grows_beyond_what_can_be_read_again() {
        let text = "a ".repeat(MAX_TOKENS as usize);
        let message = json!({"role": "user", "content": text});
        let body = json!({"messages": [message.clone(), message]});
        let body = request(body.as_object().unwrap());
        assert_eq!(prompt_tokens(&body), MAX_TOKENS);
    }
}
