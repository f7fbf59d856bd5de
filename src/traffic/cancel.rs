//! Callers who hang up before they have an answer.

use std::time::Duration;

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::distribution::Distribution;
use crate::rng::{Purpose, draw};

/// Which callers hang up, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancel {
    /// Their share of the requests, 0 to 1.
    pub share: f64,
    /// Seconds from sending a request to hanging up.
    pub after: Distribution,
}

impl Cancel {
    /// After how long this request's caller hangs up, to the microsecond; none who has patience. Whoever
    /// has an answer by then reads it.
    pub fn pick(&self, seed: Seed, key: RequestKey) -> Option<Duration> {
        let drawn = |purpose| draw(seed, purpose, key, VersionId::default(), 0);
        let hangs_up = drawn(Purpose::HangUp).unit() < self.share;
        hangs_up.then(|| wait(self.after.sample(drawn(Purpose::HangUpAfter))))
    }
}

/// So many seconds, to the microsecond. `as` saturates: whoever waits for 584,000 years waits for ever.
pub fn wait(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_hangs_up_is_the_one_that_was_asked_for() {
        let cancel = Cancel {
            share: 0.02,
            after: Distribution::Constant(0.3),
        };
        let all = (0..20_000).filter_map(|key| cancel.pick(Seed(1), RequestKey(key)));
        let all: Vec<_> = all.collect();
        // Five standard deviations: 99.
        assert!((301..=499).contains(&all.len()), "{} of 20,000", all.len());
        assert!(all.iter().all(|after| *after == Duration::from_millis(300)));
    }
}
