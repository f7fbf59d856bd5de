//! An answer that somebody wrote down: what is known of it, and no more.

use std::time::Duration;

use crate::protocol::outcome::Outcome;

/// How an attempt was answered, as far as a log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// From its arrival to the end of its answer.
    pub latency: Option<Duration>,
    /// From its arrival to the first token of its answer.
    pub first_token: Option<Duration>,
    /// How it ended.
    pub end: Option<Outcome>,
    /// Tokens of the answer.
    pub output_tokens: Option<u32>,
}

impl Answer {
    /// How the upstream failed it; none when it did not, or nobody knows. What callers and gateways themselves bring to
    /// an end (a hang-up, a deadline, a limit) is no answer of an upstream.
    pub fn failure(&self) -> Option<Outcome> {
        self.end
            .filter(|end| !end.is_success() && is_of_upstream(*end))
    }

    /// How long the upstream took for it. Nobody knows how long it would have taken where somebody else ended it.
    pub fn length(&self) -> Option<Duration> {
        self.latency.filter(|_| self.end.is_none_or(is_of_upstream))
    }

    /// Does it tell how an upstream answered?
    pub fn is_told(&self) -> bool {
        self.failure().is_some() || self.length().is_some()
    }
}

/// Can an upstream bring this about?
fn is_of_upstream(end: Outcome) -> bool {
    !matches!(
        end,
        Outcome::ClientGone | Outcome::Limited | Outcome::Deadline | Outcome::Shutdown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_ended_is_no_answer_of_an_upstream() {
        let told = |end, latency: Option<u64>| {
            let answer = Answer {
                end,
                latency: latency.map(Duration::from_secs),
                ..Answer::default()
            };
            (answer.failure(), answer.is_told())
        };
        assert_eq!(told(None, None), (None, false));
        assert_eq!(told(None, Some(1)), (None, true));
        assert_eq!(told(Some(Outcome::Success), None), (None, false));
        let reset = Outcome::Reset;
        assert_eq!(told(Some(reset), None), (Some(reset), true));
        for end in [
            Outcome::ClientGone,
            Outcome::Limited,
            Outcome::Deadline,
            Outcome::Shutdown,
        ] {
            assert_eq!(told(Some(end), Some(1)), (None, false), "{end:?}");
        }
    }
}
