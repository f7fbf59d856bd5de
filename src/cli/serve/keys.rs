//! What an API key looks like. It is looked at and never shown.

/// How keys of providers begin that are known by it.
const PREFIXES: [&str; 2] = ["hs_", "sk-"];
/// Fewest characters of a key: real ones have 40 and more; what is shorter is a placeholder, or cut.
const LEAST: usize = 20;

/// Which keys are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyRule {
    /// Those that begin as known ones do, and are as long.
    Known,
    /// All that a header can carry.
    Any,
}

/// What is wrong with a key, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Said of the key: "holds characters that no key has".
    pub(super) what: String,
    /// What to do.
    pub(super) hint: &'static str,
}

impl KeyRule {
    /// What is wrong with this key, if anything.
    pub(super) fn flaw(self, key: &str) -> Option<Flaw> {
        // What a header cannot carry would fail at every request, with words that say nothing.
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            return Some(Flaw {
                what: "holds characters that no key has".to_owned(),
                hint: "export the key alone, without quotes, spaces or line breaks",
            });
        }
        if self == Self::Any {
            return None;
        }
        let hint = "correct it, or allow other keys by --any-key-format";
        if !PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
            let what = "does not begin with hs_ or sk-".to_owned();
            return Some(Flaw { what, hint });
        }
        (key.len() < LEAST).then(|| Flaw {
            what: format!("has {} characters, fewer than any real one", key.len()),
            hint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_beginning_and_length() {
        let what = |rule: KeyRule, key| rule.flaw(key).map(|f| f.what);
        for good in ["sk-0123456789abcdefg", "hs_0123456789abcdefg"] {
            assert_eq!(what(KeyRule::Known, good), None, "{good}");
        }
        for (bad, why) in [
            ("sk-0123456789abcdef", "has 19 characters"),
            ("pk-0123456789abcdefghij", "does not begin"),
            ("AIzaSy0123456789abcdefghij", "does not begin"),
            ("sk-0123456789 abcdefghij", "holds characters"),
            ("sk-0123456789äbcdefghij", "holds characters"),
        ] {
            let said = what(KeyRule::Known, bad).unwrap_or_default();
            assert!(said.starts_with(why), "{bad}: {said}");
        }
        assert_eq!(what(KeyRule::Any, "AIza"), None);
        assert!(what(KeyRule::Any, "AI za").is_some());
    }
}
