//! Keys, which show themselves to nobody.

use std::fmt;

/// Shorter keys are words that may stand in any text.
const SHORTEST: usize = 8;

/// An API key. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a key.
    pub fn new(key: String) -> Self {
        Self(key)
    }

    /// The key, for the one header it belongs into.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What an upstream said, without this key, if it is in there: some repeat a key that they refuse,
    /// and callers must not see it.
    pub fn cut_from(&self, said: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.as_bytes();
        if key.len() < SHORTEST {
            return None;
        }
        let mut rest = said;
        let mut kept = Vec::new();
        while let Some(at) = rest.windows(key.len()).position(|part| part == key) {
            kept.extend_from_slice(&rest[..at]);
            kept.extend_from_slice(b"***");
            rest = &rest[at + key.len()..];
        }
        kept.extend_from_slice(rest);
        (kept != said).then_some(kept)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_cut_out_wherever_it_stands() {
        let secret = Secret::new("sk-123456".to_owned());
        let cut = |said: &str| {
            let kept = secret.cut_from(said.as_bytes())?;
            Some(String::from_utf8(kept).unwrap())
        };
        assert_eq!(cut("no key, sk-12345 6"), None);
        assert_eq!(cut("sk-123456").as_deref(), Some("***"));
        let twice = cut("a sk-123456sk-1234567 b");
        assert_eq!(twice.as_deref(), Some("a ******7 b"));
        assert_eq!(Secret::new("a".to_owned()).cut_from(b"a"), None);
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }
}
