//! Answers in the OpenAI shape, whatever a version returns: callers must not see which one it was.
//!
//! An answer in the OpenAI shape passes through byte for byte. What differs is counted as
//! [`Drift`], and put right where that needs no guessing:
//!
//! - A completion inside of `data` is taken out of it; the envelope is dropped.
//! - `usage.tokens_consumed` is the drifting version's word for the total. It goes, and becomes
//!   `total_tokens` where nothing better states that. If it is no count, it says nothing and stays.
//! - A `total_tokens` that is missing or no count is composed: the sum of both parts when both are
//!   stated, else `tokens_consumed`, else it stays as it is.
//!
//! Everything else stays visible. `metadata` is one more field that OpenAI's clients skip, and may be
//! what somebody looks for; taking it away would lose what nobody can restore. Nothing is made up: no
//! usage of zeros, no id, no finish reason. Edits are made in the text, not by parsing and writing
//! back, so tool calls, unknown fields and number formats survive; only a `usage` that changes loses
//! its white space.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::drift::{Drift, DriftKind};
use super::glance;
use super::members::{Member, member, members};
use super::openai::{self, Usage};
use super::outcome::Outcome;

/// An answer in the OpenAI shape, as far as it can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// The body for the caller: the very bytes that came, when nothing had to be put right.
    pub body: Bytes,
    /// How the answer differed from the shape, put right or not.
    pub drift: Drift,
    /// The tokens, when both parts are stated.
    pub usage: Option<Usage>,
}

/// Puts the body of a success into the OpenAI shape. One that holds no completion is left alone, and
/// has [`DriftKind::MissingChoices`]: exactly what [`openai::read`] calls malformed.
pub fn normalize(body: &Bytes) -> Normalized {
    normalized(&parse(body), body)
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn normalized(tree: &Value, body: &Bytes) -> Normalized {
    let Some((completion, text)) = find(tree, body) else {
        return Normalized {
            body: body.clone(),
            drift: Drift::NONE.with(DriftKind::MissingChoices, true),
            usage: None,
        };
    };
    let tokens = Tokens::of(completion);
    let wrapped = text.len() != body.len();
    let usage = completion.get("usage");
    Normalized {
        drift: tokens
            .drift()
            .with(DriftKind::Wrapped, wrapped)
            .with(DriftKind::ExtraMetadata, is_there(completion, "metadata"))
            .with(DriftKind::MissingFields, !has_head(completion)),
        usage: usage.and_then(|usage| Usage::deserialize(usage).ok()),
        body: match with_usage(text, &tokens) {
            Some(edited) => Bytes::from(edited),
            None if wrapped => body.slice_ref(text.as_bytes()),
            None => body.clone(),
        },
    }
}

/// How the usage of a stream's chunk differs, and the chunk with it put right, when there is something to put right.
pub(super) fn chunk_usage(text: &str) -> (Drift, Option<String>) {
    let tokens = Tokens::of(&parse(text.as_bytes()));
    (tokens.drift(), with_usage(text, &tokens))
}

/// An upstream's whole answer: what it means, and what the caller gets if it is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The body for the caller.
    pub body: Bytes,
    /// How a success, or what should have been one, differs from the OpenAI shape.
    pub drift: Drift,
    /// The tokens, when the answer states them.
    pub usage: Option<Usage>,
}

/// Reads an upstream's answer. Only successes are put into shape: a refusal is passed on as it is.
pub fn receive(status: u16, content_type: Option<&str>, body: Bytes) -> Received {
    let is_fine = (200..300).contains(&status) && openai::is_json(content_type);
    if let Some(usage) = is_fine.then(|| glance::standard(&body)).flatten() {
        return Received {
            outcome: Outcome::Success,
            body,
            drift: Drift::NONE,
            usage: Some(usage),
        };
    }
    received(status, content_type, body)
}

/// The same, the long way.
fn received(status: u16, content_type: Option<&str>, body: Bytes) -> Received {
    let tree = parse(&body);
    let normalized = normalized(&tree, &body);
    let is_changed = normalized.body != body;
    // What was put into shape is read again; everything else was read a moment ago.
    let tree = if is_changed {
        parse(&normalized.body)
    } else {
        tree
    };
    let outcome = openai::outcome(status, content_type, &tree);
    let should_be_completion = matches!(outcome, Outcome::Success | Outcome::Malformed);
    Received {
        outcome,
        body: if outcome.is_success() {
            normalized.body
        } else {
            body
        },
        drift: if should_be_completion {
            normalized.drift
        } else {
            Drift::NONE
        },
        usage: normalized.usage,
    }
}

/// The completion in an answer and its text: the whole, or `data`.
fn find<'t>(tree: &'t Value, body: &'t [u8]) -> Option<(&'t Value, &'t str)> {
    let text = std::str::from_utf8(body).ok()?;
    if openai::is_completion(tree) {
        return Some((tree, text));
    }
    let inner = tree.get("data").filter(|_| !is_there(tree, "error"))?;
    let members = members(text).filter(|_| openai::is_completion(inner))?;
    let place = member(&members, "data")?.value.clone();
    Some((inner, &text[place]))
}

fn is_there(object: &Value, name: &str) -> bool {
    object.get(name).is_some_and(|value| !value.is_null())
}

fn has_head(completion: &Value) -> bool {
    let has_text = |name: &str| completion.get(name).is_some_and(Value::is_string);
    let has_time = completion.get("created").is_some_and(Value::is_number);
    has_time && ["id", "object", "model"].into_iter().all(has_text)
}

/// What `usage` says.
#[derive(Clone, Copy, Debug, Default)]
struct Tokens {
    is_object: bool,
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    /// Is there a `tokens_consumed`?
    drifted: bool,
    consumed: Option<u64>,
}

impl Tokens {
    fn of(completion: &Value) -> Self {
        let Some(usage) = completion.get("usage").and_then(Value::as_object) else {
            return Self::default();
        };
        let count = |name: &str| usage.get(name).and_then(Value::as_u64);
        Self {
            is_object: true,
            prompt: count("prompt_tokens"),
            completion: count("completion_tokens"),
            total: count("total_tokens"),
            drifted: usage.contains_key("tokens_consumed"),
            consumed: count("tokens_consumed"),
        }
    }

    fn drift(&self) -> Drift {
        let counts = [self.prompt, self.completion, self.total];
        let is_incomplete = self.is_object && counts.contains(&None);
        Drift::NONE
            .with(DriftKind::TokensConsumed, self.drifted)
            .with(DriftKind::MissingUsage, !self.is_object)
            .with(DriftKind::IncompleteUsage, is_incomplete)
    }

    /// The total, when it is not stated but known.
    fn composed_total(&self) -> Option<u64> {
        if self.total.is_some() {
            return None;
        }
        let parts = self.prompt.zip(self.completion);
        let sum = parts.and_then(|(prompt, completion)| prompt.checked_add(completion));
        sum.or(self.consumed)
    }
}

/// The completion with its usage put right; none when there is nothing to put right.
fn with_usage(text: &str, tokens: &Tokens) -> Option<String> {
    let total = tokens.composed_total();
    if total.is_none() && tokens.consumed.is_none() {
        return None;
    }
    let goes = |member: &Member| match member.name.as_str() {
        "tokens_consumed" => tokens.consumed.is_some(),
        "total_tokens" => total.is_some(),
        _ => false,
    };
    let place = member(&members(text)?, "usage")?.value.clone();
    let usage = &text[place.clone()];
    let old = members(usage)?;
    let stay = old.iter().filter(|member| !goes(member));
    let mut parts: Vec<_> = stay.map(|m| usage[m.place.clone()].to_owned()).collect();
    parts.extend(total.map(|total| format!("\"total_tokens\":{total}")));
    let (before, after) = (&text[..place.start], &text[place.end..]);
    Some(format!("{before}{{{}}}{after}", parts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DriftKind::*;
    use proptest::prelude::*;

    const HEAD: &str = r#""id":"c","object":"chat.completion","created":1,"model":"m""#;
    const CHOICES: &str =
        r#""choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]"#;

    fn of(body: &str) -> Normalized {
        normalize(&Bytes::copy_from_slice(body.as_bytes()))
    }

    /// A completion with this usage, and what becomes of it.
    fn usage(written: &str) -> (String, Vec<DriftKind>) {
        let make = |usage: &str| format!("{{{HEAD}, {CHOICES},\"usage\": {usage} }}");
        let found = of(&make(written));
        let body = String::from_utf8(found.body.to_vec()).unwrap();
        let (before, after) = (make("\0"), make("\0"));
        let (before, after) = (
            before.split('\0').next().unwrap(),
            after.split('\0').nth(1).unwrap(),
        );
        let inner = body
            .strip_prefix(before)
            .and_then(|b| b.strip_suffix(after));
        (
            inner.expect("the rest stays").to_owned(),
            found.drift.into(),
        )
    }

    fn usage_becomes(written: &str, expected: &str, drift: &[DriftKind]) {
        assert_eq!(
            usage(written),
            (expected.to_owned(), drift.to_vec()),
            "{written}"
        );
    }

    #[test]
    fn the_standard_shape_stays_byte_for_byte() {
        let body = format!(
            r#" {{ {HEAD}, "choices": [ {{"index": 0, "message": {{"content": null, "tool_calls":
            [{{"id": "t", "function": {{"arguments": "{{\"x\": 1.0}}"}}}}], "x_score": 1.50e-7}}}} ],
            "usage": {{"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
            "completion_tokens_details": {{"reasoning_tokens": 0}}}}, "x": 10000000000000000000001 }} "#
        );
        let found = of(&body);
        assert_eq!(found.body, body.as_bytes());
        assert!(found.drift.is_none(), "{}", found.drift);
        let tokens = Usage {
            prompt_tokens: 1,
            completion_tokens: 2,
        };
        assert_eq!(found.usage, Some(tokens));
    }

    #[test]
    fn tokens_consumed_gives_way_to_the_standard_fields() {
        usage_becomes(
            r#"{"prompt_tokens": 4,"completion_tokens": 5,"total_tokens": 9,"tokens_consumed":9}"#,
            r#"{"prompt_tokens": 4,"completion_tokens": 5,"total_tokens": 9}"#,
            &[TokensConsumed],
        );
        usage_becomes(
            r#"{"tokens_consumed":12,"prompt_tokens":4,"completion_tokens":5,"x":{"a":1.0}}"#,
            r#"{"prompt_tokens":4,"completion_tokens":5,"x":{"a":1.0},"total_tokens":9}"#,
            &[TokensConsumed, IncompleteUsage],
        );
        usage_becomes(
            r#"{"tokens_consumed":12}"#,
            r#"{"total_tokens":12}"#,
            &[TokensConsumed, IncompleteUsage],
        );
        usage_becomes(
            r#"{"tokens_consumed":{"total":12},"prompt_tokens":4,"completion_tokens":5}"#,
            r#"{"tokens_consumed":{"total":12},"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}"#,
            &[TokensConsumed, IncompleteUsage],
        );
        let unclear = r#"{ "tokens_consumed": {"total": 12} }"#;
        usage_becomes(unclear, unclear, &[TokensConsumed, IncompleteUsage]);
    }

    #[test]
    fn a_total_is_composed_only_of_what_is_stated() {
        usage_becomes(
            r#"{"prompt_tokens":4,"completion_tokens":5}"#,
            r#"{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}"#,
            &[IncompleteUsage],
        );
        usage_becomes(
            r#"{"total_tokens":null,"prompt_tokens":4,"completion_tokens":5}"#,
            r#"{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9}"#,
            &[IncompleteUsage],
        );
        for half in [r#"{"prompt_tokens":4}"#, "{}", r#"{"total_tokens": 9}"#] {
            usage_becomes(half, half, &[IncompleteUsage]);
        }
        let other = r#"{"prompt_tokens":4,"completion_tokens":5,"total_tokens":10}"#;
        usage_becomes(other, other, &[]);
        for none in ["null", "[]", "7"] {
            usage_becomes(none, none, &[MissingUsage]);
        }
    }

    #[test]
    fn a_wrapped_completion_is_taken_out_as_it_is() {
        let inner = format!(
            r#"{{ {HEAD}, {CHOICES}, "usage": {{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}} }}"#
        );
        let found = of(&format!(
            r#"{{"code": 0, "data" : {inner} , "metadata": {{}} }}"#
        ));
        assert_eq!(found.body, inner.as_bytes());
        assert_eq!(found.drift, [Wrapped].into_iter().collect());
        assert!(found.usage.is_some());
        let found = of(&format!(
            r#"{{"data": {{{CHOICES},"usage":{{"tokens_consumed":3}}}}}}"#
        ));
        let expected = format!(r#"{{{CHOICES},"usage":{{"total_tokens":3}}}}"#);
        assert_eq!(found.body, expected.as_bytes());
    }

    #[test]
    fn metadata_stays_and_is_counted() {
        let body = format!(
            r#"{{{HEAD},{CHOICES},"metadata":{{"latency":45.0}},
            "usage":{{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}}}"#
        );
        let found = of(&body);
        assert_eq!(found.body, body.as_bytes());
        assert_eq!(found.drift, [ExtraMetadata].into_iter().collect());
        let silent = body.replace(r#"{"latency":45.0}"#, "null");
        assert!(of(&silent).drift.is_none());
    }

    #[test]
    fn what_is_no_completion_is_left_alone() {
        for body in [
            "",
            "[]",
            "<html>",
            "{\"choices\":[]}",
            r#"{"data":{"choices":[]}}"#,
            r#"{"data":[{"choices":[{"message":{}}]}]}"#,
            r#"{"data":{"data":{"choices":[{"message":{}}]}}}"#,
            r#"{"error":{"message":"x"},"data":{"choices":[{"message":{}}]}}"#,
            r#"{"choices":[{"message":{}}],"error":{"message":"x"}}"#,
        ] {
            let found = of(body);
            assert_eq!(found.body, body.as_bytes());
            assert_eq!(
                found.drift,
                [MissingChoices].into_iter().collect(),
                "{body}"
            );
        }
    }

    #[test]
    fn a_missing_head_is_counted_and_not_made_up() {
        let body = format!("{{{CHOICES}}}");
        let found = of(&body);
        assert_eq!(found.body, body.as_bytes());
        assert_eq!(
            found.drift,
            [MissingUsage, MissingFields].into_iter().collect()
        );
    }

    #[test]
    fn only_successes_are_put_into_shape() {
        let wrapped = Bytes::from(format!("{{\"data\":{{{CHOICES}}}}}"));
        let json = Some("application/json");
        let success = receive(200, json, wrapped.clone());
        assert_eq!(success.outcome, Outcome::Success);
        assert!(success.body.starts_with(b"{\"choices\""));
        let refusal = receive(400, json, wrapped.clone());
        assert_eq!(refusal.outcome, Outcome::BadRequest);
        assert_eq!(
            (refusal.body, refusal.drift),
            (wrapped.clone(), Drift::NONE)
        );
        let page = receive(200, Some("text/html"), wrapped.clone());
        assert_eq!((page.outcome, page.body), (Outcome::Malformed, wrapped));
        let nothing = receive(200, json, Bytes::from("{}"));
        assert_eq!(nothing.outcome, Outcome::Malformed);
        assert!(nothing.drift.has(MissingChoices));
    }

    /// Values with the names that matter in all the wrong places.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("{}".to_owned()),
            Just(r#"[{"message":{}}]"#.to_owned()),
            Just(r#"[{"message":{"content":"\u00e9"},"x":1.50}]"#.to_owned()),
            (0..9_u64).prop_map(|n| n.to_string()),
            Just(u64::MAX.to_string()),
            Just("-1".to_owned()),
            Just("1.0".to_owned()),
            Just("\"7\"".to_owned()),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let names = prop::sample::select(vec![
                "data",
                "choices",
                "usage",
                "error",
                "metadata",
                "tokens_consumed",
                "total_tokens",
                "prompt_tokens",
                "completion_tokens",
                "\\u0075sage",
                "id",
            ]);
            let space = prop::sample::select(vec!["", " ", "\n"]);
            let member = (names, space, inner).prop_map(|(name, space, value)| {
                format!("{space}\"{name}\"{space}:{space}{value}{space}")
            });
            prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(",")))
        })
    }

    /// A completion, mostly, with whatever else.
    fn answer() -> impl Strategy<Value = String> {
        let completion = (value(), value(), value()).prop_map(|(usage, metadata, id)| {
            format!(
                r#"{{"id":{id},"choices":[{{"message":{{}}}}],"usage":{usage},"metadata":{metadata}}}"#
            )
        });
        let completion = completion.boxed();
        let wrapped = (value(), completion.clone())
            .prop_map(|(code, inner)| format!(r#"{{"code":{code},"data":{inner}}}"#));
        prop_oneof![completion, wrapped, value()]
    }

    fn outcome(body: &Bytes) -> Outcome {
        let content_type = Some("application/json");
        openai::read(openai::HttpAnswer {
            status: 200,
            content_type,
            body,
        })
        .outcome
    }

    /// What a standard answer may be turned into.
    const CHANGES: [(&str, &str); 16] = [
        ("{", "{"),
        ("\"created\":0", "\"created\":\"now\""),
        ("\"id\"", "\"ident\""),
        ("\"message\":{", "\"massage\":{"),
        ("\"usage\":{", "\"usage\":{\"tokens\\u005fconsumed\":9,"),
        ("\"usage\":{", "\"usage\":{\"prompt_tokens\":1,"),
        ("\"prompt_tokens\":7", "\"prompt_tokens\":99999999999"),
        ("\"total_tokens\"", "\"totals\""),
        ("{", "{\"error\":{\"code\":\"x\"},"),
        ("{", "{\"error\":null,\"metadata\":null,"),
        ("{", "{\"metadata\":{\"latency\":4},"),
        ("\"choices\":[", "\"choices\":[[],"),
        ("\"choices\":[", "\"choices\":[{\"message\":[]},"),
        ("\"usage\":{", "\"usage\":{\"tokens_consumed\":null,"),
        ("\"usage\":{", "\"usage\":{\"tokens\\u005fconsumed\":3,"),
        (
            "\"usage\":{",
            "\"usage\":{\"details\":{\"tokens_consumed\":3},",
        ),
    ];

    proptest! {
        #[test]
        fn once_is_enough_and_both_readers_agree(body in answer()) {
            let found = of(&body);
            let again = normalize(&found.body);
            prop_assert_eq!(&again.body, &found.body);
            prop_assert_eq!(again.usage, found.usage);
            prop_assert!(!again.drift.has(Wrapped));
            let is_success = outcome(&found.body).is_success();
            prop_assert_eq!(is_success, !found.drift.has(MissingChoices));
            if found.drift.is_none() || !is_success {
                prop_assert_eq!(&found.body, body.as_bytes());
            }
        }

        #[test]
        fn the_quick_look_says_what_the_long_way_says(
            body in answer(), standard in any::<bool>(), change in 0..CHANGES.len(),
            status in prop::sample::select(vec![200_u16, 201, 302, 429, 500]),
        ) {
            let usage = Usage { prompt_tokens: 7, completion_tokens: 3 };
            let fine = openai::Completion { id: "c".into(), model: "m", content: "x", usage }.body();
            let (from, to) = CHANGES[change];
            let body = if standard { fine.replacen(from, to, 1) } else { body };
            let body = Bytes::from(body);
            for content_type in [None, Some("application/json; charset=utf-8"), Some("text/plain")] {
                let quick = receive(status, content_type, body.clone());
                prop_assert_eq!(quick, received(status, content_type, body.clone()));
            }
        }

        #[test]
        fn nothing_but_usage_and_envelope_changes(body in answer()) {
            let found = of(&body);
            let before: Value = serde_json::from_str(&body).unwrap();
            let mut after: Value = serde_json::from_slice(&found.body).unwrap();
            let mut before = match found.drift.has(Wrapped) {
                true => before["data"].clone(),
                false => before,
            };
            for side in [&mut before, &mut after] {
                if let Some(usage) = side.get_mut("usage").and_then(Value::as_object_mut) {
                    usage.retain(|k, _| k != "tokens_consumed" && k != "total_tokens");
                }
            }
            prop_assert_eq!(before, after);
        }

        #[test]
        fn standard_answers_are_untouched(
            prompt in any::<u32>(), completion in any::<u32>(), content in ".{0,30}", n in 1..4_usize,
        ) {
            let usage = Usage { prompt_tokens: prompt, completion_tokens: completion };
            let body = openai::Completion { id: "c".into(), model: "m", content: &content, usage }
                .body();
            let choice = r#"{"index":1,"message":{}}"#;
            let more = format!("\"choices\":[{}", format!("{choice},").repeat(n));
            let body = body.replace("\"choices\":[", &more);
            let found = of(&body);
            prop_assert_eq!(found.body, body.as_bytes());
            prop_assert!(found.drift.is_none());
            prop_assert_eq!(found.usage, Some(usage));
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(body);
            prop_assert_eq!(normalize(&body).body, body);
        }
    }
}
