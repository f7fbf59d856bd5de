//! The key of a request where another gateway may let it through: not every one passes unknown headers on, so the key
//! stands in the body as well: as its `user`, in its `metadata`, and as a marker at the end of the first prompt.

use serde_json::{Map, Value, json};

/// What a key in a body begins with; its digits follow.
const PREFIX: &str = "graygate-key-";
/// The field of `metadata` that holds it.
const FIELD: &str = "graygate_key";

/// The keys that a body bears, by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// As its `user`.
    pub user: Option<u64>,
    /// In its `metadata`.
    pub metadata: Option<u64>,
    /// In a prompt.
    pub prompt: Option<u64>,
}

impl Found {
    /// The first of them.
    pub fn key(self) -> Option<u64> {
        self.user.or(self.metadata).or(self.prompt)
    }
}

/// The same chat body with this key in it. What the body says of `user` itself stays; a body that is no JSON object
/// stays as it is.
pub fn sign(body: Vec<u8>, key: u64) -> Vec<u8> {
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return body;
    };
    let word = format!("{PREFIX}{key}");
    fields.entry("user").or_insert_with(|| json!(word));
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert(FIELD.to_owned(), json!(word));
    }
    if let Some(content) = fields.get_mut("messages").and_then(first_prompt) {
        mark(content, &word);
    }
    Value::from(fields).to_string().into_bytes()
}

/// What the user says first; what anybody says last, where no user says anything.
fn first_prompt(messages: &mut Value) -> Option<&mut Value> {
    let messages = messages.as_array_mut()?;
    let is_user = |m: &Value| m.get("role").and_then(Value::as_str) == Some("user");
    let at = messages.iter().position(is_user);
    let at = at.or(messages.len().checked_sub(1))?;
    messages.get_mut(at)?.get_mut("content")
}

fn mark(content: &mut Value, word: &str) {
    match content {
        Value::String(text) => text.push_str(&format!(" [{word}]")),
        Value::Array(parts) => parts.push(json!({"type": "text", "text": format!("[{word}]")})),
        _ => {}
    }
}

/// The keys that a body bears.
pub fn find(body: &[u8]) -> Found {
    // Most bodies bear none, and need not be read for that.
    let has_any = body.windows(PREFIX.len()).any(|w| w == PREFIX.as_bytes());
    let fields = has_any.then(|| serde_json::from_slice::<Map<String, Value>>(body).ok());
    let Some(fields) = fields.flatten() else {
        return Found::default();
    };
    let whole = |value: Option<&Value>| value?.as_str()?.strip_prefix(PREFIX)?.parse().ok();
    Found {
        user: whole(fields.get("user")),
        metadata: whole(fields.get("metadata").and_then(|m| m.get(FIELD))),
        prompt: fields.get("messages").and_then(|m| marked(&m.to_string())),
    }
}

fn marked(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(&format!("[{PREFIX}"))?;
    rest.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &str) -> Value {
        serde_json::from_slice(&sign(body.into(), 7)).unwrap()
    }

    #[test]
    fn a_signed_body_bears_its_key_in_three_places() {
        let body = r#"{"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}"#;
        let found = find(&sign(body.into(), 7));
        let all = Found {
            user: Some(7),
            metadata: Some(7),
            prompt: Some(7),
        };
        assert_eq!((found, found.key()), (all, Some(7)));
        assert_eq!(signed(body)["messages"][0]["content"], "s");
        assert_eq!(
            signed(body)["messages"][1]["content"],
            "hi [graygate-key-7]"
        );
    }

    #[test]
    fn what_is_left_of_it_is_found_wherever_it_is() {
        for (body, key) in [
            (r#"{"user": "graygate-key-5"}"#, Some(5)),
            (
                r#"{"metadata": {"graygate_key": "graygate-key-6"}}"#,
                Some(6),
            ),
            (
                r#"{"messages": [{"content": "a [graygate-key-8]"}]}"#,
                Some(8),
            ),
            (
                r#"{"messages": [{"content": [{"type": "text", "text": "[graygate-key-9]"}]}]}"#,
                Some(9),
            ),
            (r#"{"messages": [{"content": "a graygate-key-8"}]}"#, None),
            (r#"{"user": "graygate-key-x"}"#, None),
            ("graygate-key-5", None),
            ("{}", None),
        ] {
            assert_eq!(find(body.as_bytes()).key(), key, "{body}");
        }
    }

    #[test]
    fn what_a_prompt_says_itself_stays() {
        let own = signed(
            r#"{"user": "me", "metadata": {"a": "b"}, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}"#,
        );
        assert_eq!(
            (&own["user"], &own["metadata"]["a"]),
            (&json!("me"), &json!("b"))
        );
        assert_eq!(own["messages"][0]["content"][1]["text"], "[graygate-key-7]");
        assert_eq!(find(own.to_string().as_bytes()).user, None);
        assert_eq!(sign(b"no JSON".to_vec(), 7), b"no JSON");
    }
}
