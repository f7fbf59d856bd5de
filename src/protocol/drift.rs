//! How an answer differs from the OpenAI shape: a small set of named kinds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One way to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The completion was inside of `data`.
    Wrapped,
    /// `usage.tokens_consumed`, which OpenAI does not know.
    TokensConsumed,
    /// No `usage` object.
    MissingUsage,
    /// `usage` without one of `prompt_tokens`, `completion_tokens` and `total_tokens`.
    IncompleteUsage,
    /// `metadata` beside the choices.
    ExtraMetadata,
    /// No `id`, `object`, `created` or `model`; in a chunk of a stream also no `index` of a choice.
    MissingFields,
    /// No choices with messages, or an error beside them: no completion at all.
    MissingChoices,
}

impl DriftKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Wrapped,
        Self::TokensConsumed,
        Self::MissingUsage,
        Self::IncompleteUsage,
        Self::ExtraMetadata,
        Self::MissingFields,
        Self::MissingChoices,
    ];

    /// The name in files and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wrapped => "wrapped",
            Self::TokensConsumed => "tokens_consumed",
            Self::MissingUsage => "missing_usage",
            Self::IncompleteUsage => "incomplete_usage",
            Self::ExtraMetadata => "extra_metadata",
            Self::MissingFields => "missing_fields",
            Self::MissingChoices => "missing_choices",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Everything in which one answer differs. In files, a list of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<DriftKind>", into = "Vec<DriftKind>")]
pub struct Drift(u16);

impl Drift {
    /// The OpenAI shape.
    pub const NONE: Self = Self(0);

    /// Is it the OpenAI shape?
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Does the answer differ in this way?
    pub fn has(self, kind: DriftKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Notes a kind, if `is_so`.
    #[must_use]
    pub fn with(self, kind: DriftKind, is_so: bool) -> Self {
        if is_so {
            Self(self.0 | kind.bit())
        } else {
            self
        }
    }

    /// Everything in which either of both differs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds, in the order of the enum.
    pub fn kinds(self) -> impl Iterator<Item = DriftKind> {
        DriftKind::ALL.into_iter().filter(move |k| self.has(*k))
    }
}

impl From<Vec<DriftKind>> for Drift {
    fn from(kinds: Vec<DriftKind>) -> Self {
        kinds.into_iter().collect()
    }
}

impl From<Drift> for Vec<DriftKind> {
    fn from(drift: Drift) -> Self {
        drift.kinds().collect()
    }
}

impl FromIterator<DriftKind> for Drift {
    fn from_iter<I: IntoIterator<Item = DriftKind>>(kinds: I) -> Self {
        let add = |drift: Self, kind| drift.with(kind, true);
        kinds.into_iter().fold(Self::NONE, add)
    }
}

/// `wrapped, missing_usage`; nothing for the OpenAI shape.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.kinds().map(DriftKind::name).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_goes_through_files() {
        for kind in DriftKind::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.name()));
            let only: Drift = [kind].into_iter().collect();
            assert!(
                DriftKind::ALL
                    .into_iter()
                    .all(|k| only.has(k) == (k == kind))
            );
        }
        let all: Drift = DriftKind::ALL.into_iter().collect();
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Drift>(&json).unwrap(), all);
        let two = Drift::NONE
            .with(DriftKind::MissingUsage, true)
            .with(DriftKind::Wrapped, true)
            .with(DriftKind::ExtraMetadata, false);
        assert_eq!(two.to_string(), "wrapped, missing_usage");
        assert!(Drift::NONE.is_none() && !two.is_none());
    }
}
