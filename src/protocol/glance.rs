//! A quick look at an answer: is it a success in the OpenAI shape, as nearly all are?
//!
//! Reading an answer into a tree costs more than everything else the gateway does with it. This look
//! builds nothing. It says yes only where the long way ([`super::normalize`]) would find no drift at all;
//! of everything else it says nothing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Number;

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
    choices: Vec<Object<Choice>>,
    usage: Object<Counts>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default)]
    metadata: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[allow(dead_code, reason = "that it is there is what counts")]
    message: Object<Anything>,
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: u32,
    completion_tokens: u32,
    #[allow(dead_code, reason = "that it is there is what counts")]
    total_tokens: u64,
    #[serde(default)]
    tokens_consumed: Presence,
}

/// Is it there, whatever it says?
#[derive(Default)]
struct Presence(bool);

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

#[derive(Deserialize)]
struct Anything {}

/// A `T` that is written as an object: structs may be read from lists as well, which no answer is.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

/// The usage of an answer that is a completion in the OpenAI shape; none when it may be anything else.
pub(super) fn standard(body: &[u8]) -> Option<Usage> {
    // Checked at once, which is faster than string by string.
    let text = std::str::from_utf8(body).ok()?;
    let Object(completion): Object<Completion<'_>> = serde_json::from_str(text).ok()?;
    let Object(counts) = completion.usage;
    let Presence(is_old) = counts.tokens_consumed;
    let is_plain = completion.error.is_none() && completion.metadata.is_none() && !is_old;
    (is_plain && !completion.choices.is_empty()).then_some(Usage {
        prompt_tokens: counts.prompt_tokens,
        completion_tokens: counts.completion_tokens,
    })
}
