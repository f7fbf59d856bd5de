//! Answers that come, and are not what was asked for: no JSON, no choices, another shape, cut off …
//!
//! An [`Odd`] says how an answer is odd. [`Odd::script`] writes it for a server that plays it, and
//! [`Odd::reading`] is what the gateway's own reader makes of that very text: nobody else decides.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::protocol::drift::Drift;
use crate::protocol::normalize::receive;
use crate::protocol::openai::{Completion, Usage};
use crate::protocol::outcome::Outcome;

/// An answer that is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd {
    /// In what way.
    pub form: Form,
    /// The tokens that were spent on it.
    pub usage: Usage,
}

/// How an answer is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A completion with `finish_reason: content_filter` and nothing in it.
    Filtered,
    /// A 200 whose body is no JSON.
    NotJson,
    /// A 200 without choices.
    NoChoices,
    /// A completion that says it is `text/html`.
    Html,
    /// A completion in another shape than OpenAI's.
    Drifted(Shape),
    /// 3xx to somewhere else.
    Redirect {
        /// 300 to 399.
        status: u16,
    },
    /// The body ends before its announced length.
    Cut,
    /// The announced length ends before the body.
    Overrun,
    /// The body comes bit by bit.
    Drip {
        /// From its first byte to its last.
        over: Duration,
    },
    /// A body that is announced, and begins, larger than anybody reads.
    Huge,
}

/// How a completion differs from OpenAI's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `usage.tokens_consumed` instead of OpenAI's counts.
    TokensConsumed,
    /// No `usage`.
    MissingUsage,
    /// `metadata.latency` beside the choices.
    Metadata,
    /// Everything inside of `data`.
    Wrapped,
}

impl Shape {
    /// Every shape, with its name in files.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("tokens_consumed", Self::TokensConsumed),
        ("missing_usage", Self::MissingUsage),
        ("metadata", Self::Metadata),
        ("wrapped", Self::Wrapped),
    ];
}

/// An answer as it is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Location`.
    pub location: Option<&'static str>,
    /// The body.
    pub body: String,
    /// How the body is sent.
    pub delivery: Delivery,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At once, and whole.
    Whole,
    /// Half of it; then the connection is closed.
    Half,
    /// All of it, with half of its length announced.
    HalfAnnounced,
    /// Bit by bit, over this time.
    Drip(Duration),
    /// Zeros until the other side hangs up, with [`ENDLESS`] bytes announced.
    Endless,
}

/// The announced length of a body that never ends: far more than anybody reads.
pub const ENDLESS: u64 = 1 << 40;

/// What an odd answer means to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How the attempt ends.
    pub outcome: Outcome,
    /// The tokens that the answer states.
    pub usage: Option<Usage>,
    /// How it differs from OpenAI's shape.
    pub drift: Drift,
    /// How it still differs once the gateway has put it into shape.
    pub remaining: Drift,
}

impl Reading {
    /// What is left of an answer that did not come whole.
    fn lost(outcome: Outcome) -> Self {
        Self {
            outcome,
            usage: None,
            drift: Drift::NONE,
            remaining: Drift::NONE,
        }
    }
}

impl Script {
    /// What the gateway makes of it, and its caller of that.
    pub fn reading(&self) -> Reading {
        let read = |body| receive(self.status, Some(self.content_type), body);
        let text = self.body.as_str();
        let received = match self.delivery {
            Delivery::Half => return Reading::lost(Outcome::Truncated),
            Delivery::Endless => return Reading::lost(Outcome::Malformed),
            Delivery::HalfAnnounced => read(Bytes::copy_from_slice(half(text).as_bytes())),
            Delivery::Whole | Delivery::Drip(_) => read(Bytes::copy_from_slice(text.as_bytes())),
        };
        let remaining = match received.outcome.is_success() {
            true => read(received.body.clone()).drift,
            false => Drift::NONE,
        };
        Reading {
            outcome: received.outcome,
            usage: received.usage,
            drift: received.drift,
            remaining,
        }
    }
}

impl Odd {
    /// What the gateway makes of it, and its caller of that.
    pub fn reading(&self) -> Reading {
        let sample = Completion {
            id: "chatcmpl".to_owned(),
            model: "m",
            content: "tok",
            usage: self.usage,
        };
        self.script(&sample.body()).reading()
    }

    /// The answer, made from the completion that it should have been.
    pub fn script(&self, completion: &str) -> Script {
        let whole = |body: String| Script {
            status: 200,
            content_type: "application/json",
            location: None,
            body,
            delivery: Delivery::Whole,
        };
        let same = || whole(completion.to_owned());
        let sent = |delivery| Script { delivery, ..same() };
        match self.form {
            Form::Filtered => whole(edited(completion, filter)),
            Form::NotJson => whole("<html><body>It works!</body></html>".to_owned()),
            Form::NoChoices => whole(edited(completion, |c| c["choices"] = json!([]))),
            Form::Html => Script {
                content_type: "text/html",
                ..same()
            },
            Form::Drifted(shape) => whole(edited(completion, |c| drift(c, shape))),
            Form::Redirect { status } => Script {
                status,
                content_type: "text/html",
                location: Some("/elsewhere"),
                ..whole(String::new())
            },
            Form::Cut => sent(Delivery::Half),
            Form::Overrun => sent(Delivery::HalfAnnounced),
            Form::Drip { over } => sent(Delivery::Drip(over)),
            Form::Huge => Script {
                body: String::new(),
                ..sent(Delivery::Endless)
            },
        }
    }

    /// From its first byte to its last.
    pub fn sending_time(&self) -> Duration {
        match self.form {
            Form::Drip { over } => over,
            _ => Duration::ZERO,
        }
    }

    /// Does it never come whole, so that nobody can hold it?
    pub fn is_lost(&self) -> bool {
        matches!(self.form, Form::Cut | Form::Huge)
    }

    /// Can a server that sends only whole HTTP replies play it?
    pub fn is_whole_reply(form: Form) -> bool {
        !matches!(
            form,
            Form::Cut | Form::Overrun | Form::Drip { .. } | Form::Huge
        )
    }
}

/// The first half of a text, up to a character.
pub fn half(text: &str) -> &str {
    let mut end = text.len() / 2;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn edited(completion: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut tree: Value = serde_json::from_str(completion).unwrap_or_else(|_| json!({}));
    edit(&mut tree);
    tree.to_string()
}

fn filter(completion: &mut Value) {
    completion["choices"] = json!([{
        "index": 0,
        "message": {"role": "assistant", "content": null},
        "finish_reason": "content_filter",
    }]);
}

fn drift(completion: &mut Value, shape: Shape) {
    match shape {
        Shape::TokensConsumed => {
            let total = completion["usage"]["total_tokens"].take();
            completion["usage"] = json!({"tokens_consumed": total});
        }
        Shape::MissingUsage => {
            if let Some(fields) = completion.as_object_mut() {
                fields.remove("usage");
            }
        }
        Shape::Metadata => completion["metadata"] = json!({"latency": 45}),
        Shape::Wrapped => *completion = json!({"data": completion.take()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drift::DriftKind;

    const USAGE: Usage = Usage {
        prompt_tokens: 7,
        completion_tokens: 3,
    };

    fn reading(form: Form) -> Reading {
        let usage = USAGE;
        Odd { form, usage }.reading()
    }

    #[test]
    fn every_form_reads_as_it_should() {
        let second = Duration::from_secs(1);
        for (form, outcome, usage) in [
            (Form::Filtered, Outcome::Success, Some(USAGE)),
            (Form::NotJson, Outcome::Malformed, None),
            (Form::NoChoices, Outcome::Malformed, None),
            (Form::Html, Outcome::Malformed, Some(USAGE)),
            (Form::Redirect { status: 307 }, Outcome::Malformed, None),
            (Form::Cut, Outcome::Truncated, None),
            (Form::Overrun, Outcome::Malformed, None),
            (Form::Drip { over: second }, Outcome::Success, Some(USAGE)),
            (Form::Huge, Outcome::Malformed, None),
        ] {
            let reading = reading(form);
            assert_eq!(
                (reading.outcome, reading.usage),
                (outcome, usage),
                "{form:?}"
            );
            assert!(!outcome.is_success() || reading.drift.is_none(), "{form:?}");
        }
    }

    #[test]
    fn every_shape_is_a_success_that_drifted_and_some_can_be_put_right() {
        use DriftKind::{ExtraMetadata, IncompleteUsage, MissingUsage, TokensConsumed, Wrapped};
        for (shape, kinds, remaining) in [
            (
                Shape::TokensConsumed,
                vec![TokensConsumed, IncompleteUsage],
                vec![IncompleteUsage],
            ),
            (Shape::MissingUsage, vec![MissingUsage], vec![MissingUsage]),
            (Shape::Metadata, vec![ExtraMetadata], vec![ExtraMetadata]),
            (Shape::Wrapped, vec![Wrapped], vec![]),
        ] {
            let reading = reading(Form::Drifted(shape));
            assert_eq!(reading.outcome, Outcome::Success);
            assert_eq!(reading.drift, Drift::from(kinds), "{shape:?}");
            assert_eq!(reading.remaining, Drift::from(remaining), "{shape:?}");
        }
    }

    #[test]
    fn half_of_a_text_ends_between_characters() {
        assert_eq!(half("añb"), "a");
        assert_eq!(half(""), "");
    }
}
