//! The members of a JSON object as they are written, for edits that leave everything else as it is.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, decoded.
    pub name: String,
    /// Where it stands, from the quote of its name to the end of its value.
    pub place: Range<usize>,
    /// Where its value stands.
    pub value: Range<usize>,
}

/// The members of the object that `text` is, in their order, repeated ones included; none when it is
/// no object.
pub fn members(text: &str) -> Option<Vec<Member>> {
    let Pairs(pairs) = serde_json::from_str(text).ok()?;
    let member = |(name, value): (&RawValue, &RawValue)| {
        let value = place(text, value.get());
        Some(Member {
            name: serde_json::from_str(name.get()).ok()?,
            place: place(text, name.get()).start..value.end,
            value,
        })
    };
    pairs.into_iter().map(member).collect()
}

/// The member that counts when a name is repeated, as in every map: the last one.
pub fn member<'m>(members: &'m [Member], name: &str) -> Option<&'m Member> {
    members.iter().rev().find(|member| member.name == name)
}

/// `part` is borrowed from `text`, so the distance of the two addresses is its position.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// Names and values in the order they are written.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_where_they_stand() {
        let text = r#" { "a" : 1.50 ,"\u0062\"":[ {"a":2} ], "a": null } "#;
        let found = members(text).unwrap();
        let names: Vec<&str> = found.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "b\"", "a"]);
        let values: Vec<&str> = found.iter().map(|m| &text[m.value.clone()]).collect();
        assert_eq!(values, ["1.50", r#"[ {"a":2} ]"#, "null"]);
        assert_eq!(&text[found[0].place.clone()], r#""a" : 1.50"#);
        assert_eq!(member(&found, "a"), Some(&found[2]));
        assert_eq!(member(&found, "c"), None);
    }

    #[test]
    fn what_is_no_object_has_none() {
        for text in ["", "[]", "1", "{", r#"{"a"}"#, r#"{"a":1}}"#] {
            assert_eq!(members(text), None, "{text}");
        }
        assert_eq!(members("{}"), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[\{\}\[\]",:a1 \\]{0,30}|.{0,30}"#) {
            let _ = members(&text);
        }
    }
}
