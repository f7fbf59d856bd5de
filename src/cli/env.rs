//! The environment, read here and nowhere else.
#![allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]

/// Does the user want no colours (see no-color.org)?
pub(super) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// A variable with white space trimmed; none when it is unset, blank or no text.
pub(super) fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
