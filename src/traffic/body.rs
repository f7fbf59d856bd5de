//! What requests ask: chat bodies from a file of prompts, or made up to a recorded length.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::protocol::chat::{self, ChatHead, Forward};
use crate::traffic::history;

/// What one request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// The template with this number.
    Template(u32),
    /// A made-up prompt of a recorded length.
    MadeUp {
        /// Tokens of the prompt.
        input_tokens: u32,
        /// Tokens of the answer that was recorded, asked for as `max_tokens`.
        output_tokens: u32,
    },
    /// A turn of a conversation: its history, and the next template in turn.
    Turn {
        /// The template of the first turn.
        first: u32,
        /// Turns before this one.
        turn: u32,
    },
}

/// A chat body without its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    fields: Map<String, Value>,
    input_tokens: u32,
    max_tokens: Option<u32>,
}

/// A body as it reaches an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Was more of it changed than its model?
    pub is_altered: bool,
    /// Does it bring the beginning of its answer?
    pub is_prefilled: bool,
}

/// Why a line of a prompts file is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPrompt(String);

impl fmt::Display for BadPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Template {
    /// Reads one line of a prompts file: a JSON object with `prompt` (a text) or `messages` (as in
    /// a chat request), and any other field of a chat request but `model` and `stream`.
    ///
    /// # Errors
    /// When the line is no such object.
    pub fn parse(line: &str) -> Result<Self, BadPrompt> {
        let bad = |why: String| BadPrompt(why);
        let mut fields: Map<String, Value> =
            serde_json::from_str(line).map_err(|e| bad(format!("not a JSON object: {e}")))?;
        match (fields.remove("prompt"), fields.contains_key("messages")) {
            (Some(Value::String(text)), false) => {
                let message = json!([{"role": "user", "content": text}]);
                fields.insert("messages".to_owned(), message);
            }
            (None, true) if fields["messages"].is_array() => {}
            (None, true) => return Err(bad("`messages` must be a list".to_owned())),
            (Some(_), true) => {
                return Err(bad(
                    "has both `prompt` and `messages`: one of them".to_owned()
                ));
            }
            (Some(_), false) => return Err(bad("`prompt` must be a text".to_owned())),
            (None, false) => return Err(bad("has neither `prompt` nor `messages`".to_owned())),
        }
        for field in ["model", "stream"] {
            if fields.contains_key(field) {
                return Err(bad(format!(
                    "`{field}` is set by the scenario, not by a prompt"
                )));
            }
        }
        Ok(Self::from_fields(fields))
    }

    fn from_fields(fields: Map<String, Value>) -> Self {
        Self {
            input_tokens: prompt_tokens(&fields),
            max_tokens: max_tokens(&fields),
            fields,
        }
    }

    /// Has any of its messages a part that is no text: a picture, a sound, a file? What such parts come to in tokens is
    /// the server's own affair.
    pub fn has_more_than_text(&self) -> bool {
        let messages = self.fields.get("messages").and_then(Value::as_array);
        let parts = |message: &Value| message.get("content").and_then(Value::as_array).cloned();
        let mut parts = messages.into_iter().flatten().filter_map(parts).flatten();
        let kind = |part: &Value| part.get("type").and_then(Value::as_str).map(str::to_owned);
        parts.any(|part| kind(&part).as_deref() != Some("text"))
    }

    fn body(&self, model: &str, stream: bool) -> Vec<u8> {
        let mut fields = self.fields.clone();
        if stream {
            fields.insert("stream".to_owned(), Value::Bool(true));
            // What the prompt itself says of it stays.
            let options = json!({"include_usage": true});
            fields.entry("stream_options").or_insert(options);
        }
        fields.insert("model".to_owned(), Value::from(model));
        Value::from(fields).to_string().into_bytes()
    }
}

/// The prompts of a run, and the model that callers ask for.
#[derive(Clone, Debug)]
pub struct Bodies {
    templates: Vec<Template>,
    model: String,
}

impl Bodies {
    /// Prompts for `model`.
    pub fn new(templates: Vec<Template>, model: String) -> Self {
        Self { templates, model }
    }

    /// Three short prompts with temperature 0, for scenarios that name no file.
    pub fn built_in() -> Vec<Template> {
        let template = |text: &str| {
            let fields = json!({
                "messages": [{"role": "user", "content": text}],
                "temperature": 0,
                "max_tokens": 500,
            });
            match fields {
                Value::Object(fields) => Template::from_fields(fields),
                _ => Template::from_fields(Map::new()),
            }
        };
        vec![
            template("Explain what a gray release is in three sentences"),
            template("Write a Python function that reverses a list"),
            template("Compare SQL and NoSQL databases for a chat history"),
        ]
    }

    /// How many templates there are.
    pub fn templates(&self) -> usize {
        self.templates.len()
    }

    /// The model that callers ask for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The body of a request; one for a stream asks it to state its tokens.
    pub fn body(&self, prompt: Prompt, stream: bool) -> Vec<u8> {
        match prompt {
            Prompt::Template(index) => match self.templates.get(index as usize) {
                Some(template) => template.body(&self.model, stream),
                None => Vec::new(),
            },
            Prompt::MadeUp {
                input_tokens,
                output_tokens,
            } => made_up(input_tokens, output_tokens).body(&self.model, stream),
            Prompt::Turn { first, turn } => match self.turns(first, turn).last() {
                Some(template) => {
                    let questions = self.turns(first, turn).map(|t| &t.fields["messages"]);
                    let mut asked = template.clone();
                    let messages = history::messages(questions);
                    asked.fields.insert("messages".to_owned(), messages);
                    asked.body(&self.model, stream)
                }
                None => Vec::new(),
            },
        }
    }

    /// The templates of a conversation up to this turn.
    fn turns(&self, first: u32, turn: u32) -> impl Iterator<Item = &Template> {
        let from = first as usize % self.templates.len().max(1);
        let all = self.templates.iter().cycle();
        all.skip(from).take(turn as usize + 1)
    }

    /// The position of a prompt's kind in what [`forwarded_by`](Self::forwarded_by) says.
    pub fn kind(&self, prompt: Prompt) -> usize {
        match prompt {
            Prompt::Template(index) => index as usize,
            Prompt::MadeUp { .. } => self.templates.len(),
            Prompt::Turn { first, turn } => {
                (first as usize + turn as usize) % self.templates.len().max(1)
            }
        }
    }

    /// Tokens of the prompt, by [`count_tokens`].
    pub fn input_tokens(&self, prompt: Prompt) -> u32 {
        match prompt {
            Prompt::Template(index) => {
                let template = self.templates.get(index as usize);
                template.map_or(0, |t| t.input_tokens)
            }
            Prompt::MadeUp { input_tokens, .. } => input_tokens,
            Prompt::Turn { first, turn } => {
                let asked = self.turns(first, turn).map(|t| t.input_tokens);
                asked.sum::<u32>() + turn * history::ANSWER_TOKENS
            }
        }
    }

    /// The most tokens the request allows for the answer.
    pub fn max_tokens(&self, prompt: Prompt) -> Option<u32> {
        match prompt {
            Prompt::Template(index) => self.templates.get(index as usize)?.max_tokens,
            Prompt::MadeUp { output_tokens, .. } => Some(output_tokens),
            Prompt::Turn { .. } => self.templates.get(self.kind(prompt))?.max_tokens,
        }
    }

    /// For every template, and last for made-up prompts: what `forward` makes of its body.
    pub fn forwarded_by(&self, forward: Forward, upstream_model: &str) -> Vec<Forwarded> {
        let sample = made_up(3, 3);
        let all = self.templates.iter().chain(std::iter::once(&sample));
        all.map(|template| {
            let body = template.body(&self.model, false);
            let sent = ChatHead::parse(&body).map(|head| forward(&body, &head, upstream_model));
            let sent = sent.unwrap_or_default();
            let fields = serde_json::from_slice(&sent).unwrap_or_default();
            Forwarded {
                is_altered: chat::digest(&sent) != chat::digest(&body),
                is_prefilled: is_prefilled(&fields),
            }
        })
        .collect()
    }
}

fn made_up(input_tokens: u32, output_tokens: u32) -> Template {
    let content = vec!["tok"; input_tokens as usize].join(" ");
    let mut fields = Map::new();
    let messages = json!([{"role": "user", "content": content}]);
    fields.insert("messages".to_owned(), messages);
    fields.insert("max_tokens".to_owned(), Value::from(output_tokens));
    Template {
        fields,
        input_tokens,
        max_tokens: Some(output_tokens),
    }
}

/// Tokens of the messages of a chat request, by [`count_tokens`].
pub fn prompt_tokens(fields: &Map<String, Value>) -> u32 {
    let messages = fields.get("messages").and_then(Value::as_array);
    let contents = messages.into_iter().flatten().map(|m| &m["content"]);
    contents
        .map(|content| match content {
            Value::String(text) => count_tokens(text),
            Value::Array(parts) => parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .map(count_tokens)
                .sum(),
            _ => 0,
        })
        .sum()
}

/// Does a chat request bring the beginning of its answer: is its last message the assistant's?
pub fn is_prefilled(fields: &Map<String, Value>) -> bool {
    let messages = fields.get("messages").and_then(Value::as_array);
    let last = messages.and_then(|messages| messages.last());
    last.is_some_and(|message| message["role"] == "assistant")
}

/// `max_tokens` or `max_completion_tokens` of a chat request.
pub fn max_tokens(fields: &Map<String, Value>) -> Option<u32> {
    let value = fields
        .get("max_completion_tokens")
        .or_else(|| fields.get("max_tokens"))?;
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

/// Tokens of a text as the mocks count them: words between white space. Real tokenisers differ;
/// the mocks only need client and upstream to agree.
pub fn count_tokens(text: &str) -> u32 {
    u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_lines_become_bodies() {
        let template = Template::parse(
            r#"{"prompt": "hello big world", "temperature": 0, "max_completion_tokens": 9}"#,
        )
        .unwrap();
        let bodies = Bodies::new(vec![template], "m".to_owned());
        let prompt = Prompt::Template(0);
        assert_eq!(bodies.input_tokens(prompt), 3);
        assert_eq!(bodies.max_tokens(prompt), Some(9));
        let body: Value = serde_json::from_slice(&bodies.body(prompt, false)).unwrap();
        assert_eq!(body["model"], "m");
        assert_eq!(body["temperature"], 0);
        assert_eq!(body["messages"][0]["content"], "hello big world");
    }

    #[test]
    fn useless_lines_say_why() {
        let cases = [
            ("nonsense", "not a JSON object"),
            ("{}", "neither `prompt` nor `messages`"),
            (r#"{"prompt": 3}"#, "must be a text"),
            (r#"{"prompt": "a", "messages": []}"#, "both"),
            (r#"{"messages": "a"}"#, "must be a list"),
            (r#"{"prompt": "a", "model": "m"}"#, "set by the scenario"),
        ];
        for (line, expected) in cases {
            let why = Template::parse(line).unwrap_err().to_string();
            assert!(why.contains(expected), "{line}: {why}");
        }
    }

    #[test]
    fn made_up_prompts_have_the_recorded_length() {
        let bodies = Bodies::new(Vec::new(), "m".to_owned());
        let prompt = Prompt::MadeUp {
            input_tokens: 40,
            output_tokens: 7,
        };
        let body: Map<String, Value> = serde_json::from_slice(&bodies.body(prompt, false)).unwrap();
        assert_eq!(prompt_tokens(&body), 40);
        assert_eq!(max_tokens(&body), Some(7));
    }

    #[test]
    fn later_turns_carry_the_history() {
        let bodies = Bodies::new(Bodies::built_in(), "m".to_owned());
        let one = |index| bodies.input_tokens(Prompt::Template(index));
        for (turn, asked) in [
            (0, one(2)),
            (1, one(2) + one(0)),
            (3, 2 * one(2) + one(0) + one(1)),
        ] {
            let prompt = Prompt::Turn { first: 2, turn };
            assert_eq!(bodies.input_tokens(prompt), asked + 100 * turn);
            let body: Map<String, Value> =
                serde_json::from_slice(&bodies.body(prompt, false)).unwrap();
            assert_eq!(prompt_tokens(&body), bodies.input_tokens(prompt));
            let messages = body["messages"].as_array().unwrap();
            assert_eq!(messages.len(), 2 * turn as usize + 1);
            assert_eq!(messages[messages.len() - 1]["role"], "user");
            assert_eq!(bodies.kind(prompt), (2 + turn as usize) % 3);
            assert_eq!(bodies.max_tokens(prompt), Some(500));
        }
    }

    #[test]
    fn a_gateway_that_edits_bodies_is_found_out() {
        let bodies = Bodies::new(Bodies::built_in(), "m".to_owned());
        let altered = |forward| {
            let all = bodies.forwarded_by(forward, "other").into_iter();
            all.map(|f| f.is_altered).collect::<Vec<_>>()
        };
        assert_eq!(altered(chat::forward), [false; 4]);
        let or_default: Forward = |body, head, model| {
            let sent = String::from_utf8_lossy(&head.with_model(body, model)).into_owned();
            sent.replace("\"temperature\":0", "\"temperature\":0.7")
                .into_bytes()
        };
        assert_eq!(altered(or_default), [true, true, true, false]);
    }

    /// As the upstream gets it, whoever put the beginning there.
    #[test]
    fn an_answer_that_is_begun_is_seen_in_the_body() {
        let begun = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
        let lines = [begun, r#"{"prompt": "a"}"#, r#"{"messages": []}"#];
        let templates = lines.map(|line| Template::parse(line).unwrap());
        let bodies = Bodies::new(templates.to_vec(), "m".to_owned());
        let prefilled = |forward| {
            let all = bodies.forwarded_by(forward, "other").into_iter();
            all.map(|f| f.is_prefilled).collect::<Vec<_>>()
        };
        assert_eq!(prefilled(chat::forward), [true, false, false, false]);
        let continues: Forward = |body, head, model| {
            let sent = String::from_utf8_lossy(&head.with_model(body, model)).into_owned();
            sent.replace("\"user\"", "\"assistant\"").into_bytes()
        };
        assert_eq!(prefilled(continues), [true, true, false, true]);
    }
}
