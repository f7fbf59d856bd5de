//! A quick look at an answer: is it a success in the OpenAI shape, as nearly all are?
//!
//! Reading an answer into a tree costs more than everything else the gateway does with it. This look
//! builds nothing. It says yes only where the long way ([`super::normalize`]) would find no drift at all;
//! of everything else it says nothing.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;
use serde_json::value::RawValue;

use super::openai::Usage;

/// What every answer in the OpenAI shape has. A field that is there twice is an error.
#[derive(Deserialize)]
#[allow(dead_code, reason = "that they are there is what counts")]
struct Completion<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    object: Cow<'a, str>,
    created: Number,
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    choices: Vec<&'a RawValue>,
    #[serde(borrow)]
    usage: &'a RawValue,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default)]
    metadata: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: u32,
    completion_tokens: u32,
    #[allow(dead_code, reason = "that it is there is what counts")]
    total_tokens: u64,
}

/// The usage of an answer that is a completion in the OpenAI shape; none when it may be anything else.
pub(super) fn standard(body: &[u8]) -> Option<Usage> {
    // Structs may be read from lists as well, which no answer is.
    let text = std::str::from_utf8(body).ok().filter(|t| is_object(t))?;
    let completion: Completion<'_> = serde_json::from_str(text).ok()?;
    let is_plain = completion.error.is_none() && completion.metadata.is_none();
    let has_choices = !completion.choices.is_empty();
    if !is_plain || !has_choices || !completion.choices.iter().all(|c| has_message(c.get())) {
        return None;
    }
    let usage = completion.usage.get();
    // A name may be hidden by escapes.
    if !is_object(usage) || usage.contains("tokens_consumed") || usage.contains('\\') {
        return None;
    }
    let counts: Counts = serde_json::from_str(usage).ok()?;
    Some(Usage {
        prompt_tokens: counts.prompt_tokens,
        completion_tokens: counts.completion_tokens,
    })
}

fn has_message(choice: &str) -> bool {
    let read = || serde_json::from_str::<Choice<'_>>(choice).ok();
    is_object(choice) && read().is_some_and(|choice| is_object(choice.message.get()))
}

fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}
