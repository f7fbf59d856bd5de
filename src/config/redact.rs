//! Keeps keys out of everything that is shown.

/// Fewest characters after the prefix that make a word a key.
const LEAST: usize = 12;

/// The same text, with everything that looks like an API key (`sk-…`, `hs_…`, `Bearer …`) cut to its
/// prefix, and user names and passwords cut out of URLs.
pub fn redact(text: &str) -> String {
    redact_keys(&redact_user_info(text))
}

fn redact_user_info(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (scheme, authority) = rest.split_at(at + 3);
        let end = authority.find(|c: char| "/?# '\"".contains(c));
        let end = end.unwrap_or(authority.len());
        shown.push_str(scheme);
        match authority[..end].rfind('@') {
            Some(sign) => {
                shown.push_str("***");
                shown.push_str(&authority[sign..end]);
            }
            None => shown.push_str(&authority[..end]),
        }
        rest = &authority[end..];
    }
    shown.push_str(rest);
    shown
}

fn redact_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, prefix, after)) = next_key(rest) {
        shown.push_str(before);
        shown.push_str(prefix);
        shown.push_str("***");
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Does this look like an API key?
pub fn looks_like_key(text: &str) -> bool {
    next_key(text).is_some()
}

/// Splits at the first key: the text before it, its prefix, and the text after it.
fn next_key(text: &str) -> Option<(&str, &str, &str)> {
    const PREFIXES: [&str; 5] = ["sk-", "sk_", "hs_", "hs-", "Bearer "];
    let is_key_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.char_indices().find_map(|(at, _)| {
        let starts_word = !text[..at].ends_with(is_key_char);
        let prefix = PREFIXES.iter().find(|p| text[at..].starts_with(**p))?;
        let key = &text[at + prefix.len()..];
        let length = key.find(|c| !is_key_char(c)).unwrap_or(key.len());
        let is_key = starts_word && length >= LEAST;
        is_key.then(|| (&text[..at], *prefix, &key[length..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_and_words_are_kept() {
        let cases = [
            ("api_key: sk-abcdef0123456789 # x", "api_key: sk-*** # x"),
            ("hs_0123456789ab, hs_0123456789ab", "hs_***, hs_***"),
            ("Bearer abcdefghijklmnop", "Bearer ***"),
            ("ask-me-anything-please", "ask-me-anything-please"),
            ("sk-short", "sk-short"),
            ("größe: sk-ä", "größe: sk-ä"),
            (
                "at http://me:pw@host:1/v1, http://b/x@y",
                "at http://***@host:1/v1, http://b/x@y",
            ),
        ];
        for (text, shown) in cases {
            assert_eq!(redact(text), shown);
        }
    }
}
