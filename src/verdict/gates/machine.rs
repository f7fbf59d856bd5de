//! A part of `generator`: the machine kept up, so that what timed out had its time, and what was slow was slow by itself.

use std::time::Duration;

use crate::observe::machine::{MachineFacts, Stall};
use crate::time::Human;
use crate::verdict::result::{Check, Status};
use crate::verdict::spec::GeneratorSpec;

/// Longer stalls are never believed by default, however long the limits are: they are longer than what people wait for.
pub const LONGEST_STALL: Duration = Duration::from_millis(250);
/// Shorter stalls are never held against a machine by default: every machine that is shared has them.
pub const SHORTEST_STALL: Duration = Duration::from_millis(50);

/// Whoever waits may be woken so late by default, at the 99th percentile: a machine with nothing else to do is below 10 ms, and one on
/// which as much runs beside as it has processors below 30 ms.
const LONGEST_WAKE_DELAY: Duration = Duration::from_millis(50);

/// How long a stall may be by default where this is the shortest time limit: half of it. A limit fires too early only for an answer
/// that had taken the other half.
pub fn bearable_stall(shortest_limit: Duration) -> Duration {
    (shortest_limit / 2).clamp(SHORTEST_STALL, LONGEST_STALL)
}

/// Whoever lets the generator be later lets everybody be.
fn wake_delay_limit(spec: &GeneratorSpec) -> Duration {
    let by_default = LONGEST_WAKE_DELAY.max(spec.dispatch_delay_p99);
    spec.wake_delay_p99.unwrap_or(by_default)
}

/// What is asked of the machine.
pub(super) fn checks(spec: &GeneratorSpec, facts: &MachineFacts) -> Vec<Check> {
    let stall = facts.stall.map(|stall| longest(spec, stall, facts.moments));
    let delay = facts.wake_delay_p99;
    let delay = delay.map(|delay| wake_delay(spec, delay, facts.moments));
    stall.into_iter().chain(delay).collect()
}

/// One long stall is enough for time limits that nobody missed by themselves.
fn longest(spec: &GeneratorSpec, stall: Stall, n: u64) -> Check {
    let limit = spec.stall.unwrap_or(LONGEST_STALL);
    let (status, means) = match stall.length <= limit {
        true => (Status::Pass, ""),
        false => (
            Status::Invalid,
            ": the machine was overloaded or stopped, and what timed out then may have been in time",
        ),
    };
    let (length, until) = (Human(stall.length), Human(stall.until.elapsed()));
    let seen = format!("the longest was {length}, until {until}{means}");
    let condition = format!("the machine kept up: no stall > {}", Human(limit));
    let seconds = stall.length.as_secs_f64();
    Check::census(condition, status, seen).figure(Some(seconds), "s", n)
}

/// Many short ones are enough for latencies that are the machine's.
fn wake_delay(spec: &GeneratorSpec, delay: Duration, n: u64) -> Check {
    let limit = wake_delay_limit(spec);
    let (status, means) = match delay <= limit {
        true => (Status::Pass, ""),
        false => (
            Status::Invalid,
            ": the machine was overloaded, and latencies are its own",
        ),
    };
    let seen = format!("{}{means}", Human(delay));
    let condition = format!("the machine kept up: wake delay p99 <= {}", Human(limit));
    let seconds = delay.as_secs_f64();
    Check::census(condition, status, seen).figure(Some(seconds), "s", n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn judged(spec: &GeneratorSpec, stall: Duration, p99: Duration) -> Vec<(Status, String)> {
        let facts = MachineFacts {
            moments: 1_000,
            wake_delay_p99: Some(p99),
            stall: Some(Stall {
                length: stall,
                until: Timestamp::from_secs_f64(1.5),
            }),
            ..MachineFacts::default()
        };
        let checks = checks(spec, &facts).into_iter();
        checks.map(|c| (c.status, c.seen)).collect()
    }

    #[test]
    fn a_stall_is_borne_up_to_half_of_the_shortest_limit() {
        assert_eq!(bearable_stall(ms(300)), ms(150));
        assert_eq!(bearable_stall(Duration::from_secs(30)), LONGEST_STALL);
        assert_eq!(bearable_stall(ms(20)), SHORTEST_STALL);
    }

    #[test]
    fn one_long_stall_is_enough_and_is_named() {
        let spec = GeneratorSpec {
            stall: Some(ms(150)),
            ..GeneratorSpec::default()
        };
        let fine = judged(&spec, ms(150), ms(2));
        assert_eq!(
            fine[0],
            (
                Status::Pass,
                "the longest was 150 ms, until 1.5 s".to_owned()
            )
        );
        let stalled = judged(&spec, ms(151), ms(2));
        assert_eq!(
            (stalled[0].0, stalled[1].0),
            (Status::Invalid, Status::Pass)
        );
        assert!(
            stalled[0]
                .1
                .contains("151 ms, until 1.5 s: the machine was overloaded")
        );
        // Nobody has said how much would be too much.
        let unsaid = judged(&GeneratorSpec::default(), ms(251), ms(2));
        assert_eq!(unsaid[0].0, Status::Invalid);
    }

    #[test]
    fn many_short_stalls_are_enough() {
        let spec = GeneratorSpec::default();
        let limit = LONGEST_WAKE_DELAY;
        assert_eq!(judged(&spec, limit, limit)[1].0, Status::Pass);
        let late = judged(&spec, limit * 2, limit + ms(1));
        assert_eq!((late[0].0, late[1].0), (Status::Pass, Status::Invalid));
    }

    #[test]
    fn who_bears_a_later_generator_bears_a_later_machine() {
        let lax = GeneratorSpec {
            dispatch_delay_p99: ms(100),
            ..GeneratorSpec::default()
        };
        assert_eq!(judged(&lax, ms(100), ms(100))[1].0, Status::Pass);
        let said = GeneratorSpec {
            wake_delay_p99: Some(ms(20)),
            ..lax
        };
        assert_eq!(judged(&said, ms(100), ms(21))[1].0, Status::Invalid);
    }

    #[test]
    fn where_nobody_watched_nothing_is_asked() {
        let nothing = checks(&GeneratorSpec::default(), &MachineFacts::default());
        assert!(nothing.is_empty());
    }
}
