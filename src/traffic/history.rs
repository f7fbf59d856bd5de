//! What a later turn of a conversation sends: everything that was said before it, and a new question.

use serde_json::{Value, json};

/// Tokens that each earlier answer has in the history. What was really answered differs between the
/// engines' mocks; what is sent must not.
pub const ANSWER_TOKENS: u32 = 100;

/// The messages of a conversation whose questions are these, the last of them being asked now.
pub fn messages<'m>(questions: impl Iterator<Item = &'m Value>) -> Value {
    let mut all = Vec::new();
    for (turn, question) in questions.enumerate() {
        if turn > 0 {
            let content = vec!["tok"; ANSWER_TOKENS as usize].join(" ");
            all.push(json!({"role": "assistant", "content": content}));
        }
        all.extend(question.as_array().into_iter().flatten().cloned());
    }
    Value::Array(all)
}
