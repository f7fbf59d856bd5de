//! Keeps keys out of everything that is shown.

/// Fewest characters after the prefix that make a word a key.
const LEAST: usize = 12;

/// The same text, with everything that looks like an API key (`sk-…`, `hs_…`, `Bearer …`) cut to its
/// prefix, what stands in the place of a key's variable cut out, and user names and passwords cut
/// out of URLs.
pub fn redact(text: &str) -> String {
    redact_variables(&redact_keys(&redact_user_info(text)))
}

/// Can an environment variable have this name? Upper case only, as everybody writes them: a word
/// with small letters is more likely a key that was put into the wrong place.
pub fn is_variable_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts_well = text.starts_with(|c: char| !c.is_ascii_digit());
    starts_well && text.chars().all(is_inner)
}

/// `api_key_env: …` with something else than the name of a variable.
fn redact_variables(text: &str) -> String {
    const KEY: &str = "api_key_env";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY) {
        let (before, value) = rest.split_at(at + KEY.len());
        let start = value.len() - value.trim_start_matches([' ', '\'', '"', ':']).len();
        let (gap, value) = value.split_at(start);
        if !gap.contains(':') {
            shown.push_str(before);
            shown.push_str(gap);
            rest = value;
            continue;
        }
        let end = value.find([' ', ',', '}', '\'', '"', '\n']);
        let (value, after) = value.split_at(end.unwrap_or(value.len()));
        let is_harmless = value.is_empty() || value.contains("***") || is_variable_name(value);
        shown.push_str(before);
        shown.push_str(gap);
        shown.push_str(if is_harmless { value } else { "***" });
        rest = after;
    }
    shown.push_str(rest);
    shown
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
    const PREFIXES: [&str; 6] = ["sk-", "sk_", "hs_", "hs-", "Bearer ", "bearer "];
    let is_key_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    // A bearer token may be a JWT, or anything in base64.
    let is_token_char = |c: char| is_key_char(c) || ".~+/=".contains(c);
    text.char_indices().find_map(|(at, _)| {
        let prefix = PREFIXES.iter().find(|p| text[at..].starts_with(**p))?;
        let starts_word = !text[..at].ends_with(is_key_char);
        let key = &text[at + prefix.len()..];
        let is_token = prefix.ends_with(' ');
        let is_inner = |c: char| is_key_char(c) || (is_token && is_token_char(c));
        let length = key.find(|c| !is_inner(c)).unwrap_or(key.len());
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
            (
                "Authorization: Bearer eyJhbGciOi.eyJzdWIi~x/+_-.SflKxw== and more",
                "Authorization: Bearer *** and more",
            ),
            (
                "api_key_env: AIzaSyA123, api_key_env: 'a.b', api_key_env: A_KEY}",
                "api_key_env: ***, api_key_env: '***', api_key_env: A_KEY}",
            ),
            ("api_key_env: sk-abcdef0123456789", "api_key_env: sk-***"),
            ("\"api_key_env\": \"a.b\"", "\"api_key_env\": \"***\""),
            ("the `api_key_env` is", "the `api_key_env` is"),
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
