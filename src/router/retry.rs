//! How long to wait before the next try on the same version.

use std::time::Duration;

use crate::rng::Draw;
use crate::router::config::RetryPolicy;
use crate::time::seconds;

/// The wait before retry number `retry` (0 for the first), at least as long as the upstream asked
/// for; none when that is longer than the policy allows to wait.
///
/// The own part is `base · factor^retry`, cut at `max_wait`, of which the share `jitter` is random.
pub fn wait(
    policy: &RetryPolicy,
    retry: u32,
    asked: Option<Duration>,
    jitter: Draw,
) -> Option<Duration> {
    let exponential = policy.base.as_secs_f64() * libm::pow(policy.factor, f64::from(retry));
    let capped = exponential.min(policy.max_wait.as_secs_f64());
    let jittered = capped * (1.0 - policy.jitter * jitter.unit());
    let wait = seconds(jittered).max(asked.unwrap_or_default());
    (wait <= policy.max_wait).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_retries: 3,
        base: Duration::from_secs(1),
        factor: 2.0,
        jitter: 0.0,
        max_wait: Duration::from_secs(30),
        budget: None,
    };

    #[test]
    fn waits_double_and_stop_growing() {
        let waits: Vec<u64> = (0..7)
            .filter_map(|r| wait(&POLICY, r, None, Draw(0)))
            .map(|w| w.as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(
            wait(&POLICY, u32::MAX, None, Draw(0)),
            Some(POLICY.max_wait)
        );
    }

    #[test]
    fn the_upstreams_wish_is_a_lower_bound_within_reason() {
        let asked = |s| wait(&POLICY, 0, Some(Duration::from_secs(s)), Draw(0));
        assert_eq!(asked(0), Some(Duration::from_secs(1)));
        assert_eq!(asked(5), Some(Duration::from_secs(5)));
        assert_eq!(asked(31), None, "longer than anybody would wait");
    }

    #[test]
    fn jitter_only_shortens() {
        let policy = RetryPolicy {
            jitter: 0.5,
            ..POLICY
        };
        let w = wait(&policy, 0, None, Draw(u64::MAX)).unwrap();
        assert!(w >= Duration::from_millis(499) && w < Duration::from_secs(1));
    }
}
