//! Callers who may choose a version because they show a key.
//!
//! Only digests of the keys are kept, and every one of them is compared in full, so that neither memory
//! nor the time an answer takes tells anything of a key.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::live::gateway::Secret;
use crate::router::config::RouterConfig;

/// How a caller shows its key.
const SCHEME: &str = "bearer ";

/// The keys that let callers choose a version.
#[derive(Clone, Default)]
pub struct Choosers(Vec<[u8; 32]>);

impl Choosers {
    /// Whoever shows one of these.
    pub fn with(keys: impl IntoIterator<Item = Secret>) -> Self {
        Self(keys.into_iter().map(|key| digest(key.reveal())).collect())
    }

    /// Does this `Authorization` header show one of the keys?
    pub fn include(&self, authorization: Option<&str>) -> bool {
        let Some(shown) = authorization.and_then(bearer) else {
            return false;
        };
        let shown = digest(shown);
        let is_any = self.0.iter().map(|known| known.ct_eq(&shown));
        is_any.fold(Choice::from(0), |any, this| any | this).into()
    }
}

impl fmt::Debug for Choosers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Choosers({})", self.0.len())
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then_some(token.trim())
        .filter(|token| !token.is_empty())
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Finds those who may choose under a configuration.
#[derive(Clone)]
pub struct FindChoosers(Arc<dyn Fn(&RouterConfig) -> Choosers + Send + Sync>);

impl FindChoosers {
    /// By this function.
    pub fn by(find: impl Fn(&RouterConfig) -> Choosers + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    /// Nobody, whatever the configuration.
    pub fn nobody() -> Self {
        Self::by(|_| Choosers::default())
    }

    pub(super) fn find(&self, config: &RouterConfig) -> Choosers {
        (self.0)(config)
    }
}

impl fmt::Debug for FindChoosers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FindChoosers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_key_in_the_right_place_is_one() {
        let key = |text: &str| Secret::new(text.to_owned());
        let choosers = Choosers::with([key("qa-0123456789abcdef"), key("ops-0123456789abcde")]);
        let may = |header: &str| choosers.include(Some(header));
        assert!(may("Bearer qa-0123456789abcdef"));
        assert!(may("bearer  ops-0123456789abcde "));
        for not in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer qa-0123456789abcde",
            "Bearer qa-0123456789abcdef0",
            "Basic qa-0123456789abcdef",
            "qa-0123456789abcdef",
            "Bearér qa-0123456789abcdef",
        ] {
            assert!(!may(not), "{not}");
        }
        assert!(!choosers.include(None));
        assert!(!Choosers::default().include(Some("Bearer ")));
        assert_eq!(format!("{choosers:?}"), "Choosers(2)");
    }
}
