//! Requests that the gateway itself refuses: the router never hears of them, so no event tells of them,
//! and they are counted here.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request was refused before the router heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is nothing at its path.
    NotFound,
    /// There is, but not for its method.
    WrongMethod,
    /// Its body is too large.
    TooLarge,
    /// Its body did not arrive in time.
    TooSlow,
    /// Its caller was gone before the whole body was there.
    BrokenOff,
    /// Its body is no chat request.
    Invalid,
    /// The gateway is about to end.
    ShuttingDown,
}

impl Why {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::NotFound,
        Self::WrongMethod,
        Self::TooLarge,
        Self::TooSlow,
        Self::BrokenOff,
        Self::Invalid,
        Self::ShuttingDown,
    ];

    /// Its name: the code of the answer, where there is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::WrongMethod => "method_not_allowed",
            Self::TooLarge => "request_too_large",
            Self::TooSlow => "request_timeout",
            Self::BrokenOff => "broken_off",
            Self::Invalid => "invalid_request",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// How many were refused since the start, by why.
#[derive(Debug, Default)]
pub struct Unheard([AtomicU64; Why::ALL.len()]);

impl Unheard {
    /// One more.
    pub fn note(&self, why: Why) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many by now.
    pub fn count(&self, why: Why) -> u64 {
        self.0[why as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_counts_in_its_own_place() {
        let unheard = Unheard::default();
        for (n, why) in Why::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| unheard.note(why));
        }
        let counts = Why::ALL.map(|why| unheard.count(why));
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7]);
    }
}
