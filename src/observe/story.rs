//! Everything that is known about one request, from all witnesses together.

use std::ops::RangeInclusive;
use std::time::Duration;

use smallvec::SmallVec;

use crate::id::{RequestKey, VersionId};
use crate::observe::event::{Answered, Booked, Gap, Sent, Settled, Streamed};
use crate::pricing::Cost;
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// One request with all its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// The traffic's key.
    pub key: RequestKey,
    /// How the client sent it, and when; none for a request no client admits to.
    pub sent: Option<(Timestamp, Sent)>,
    /// What the client got, and when; none when the run ended first.
    pub answered: Option<(Timestamp, Answered)>,
    /// The version the router says it gave the request to.
    pub assigned: Option<VersionId>,
    /// How the router says it ended.
    pub settled: Option<Settled>,
    /// The attempts in the order they were made.
    pub attempts: SmallVec<[Attempt; 2]>,
    /// How the tokens of its stream followed each other; nothing of a stream that is not whole.
    pub gaps: Box<[Gap]>,
    /// Ends that the router booked on attempts that nobody made, and whatever else it said twice.
    pub misbooked: u32,
}

/// What came of a request for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// All of it came.
    Whole,
    /// It broke after its first token.
    Broken,
    /// It failed before its first token.
    Refused,
    /// Its caller hung up.
    Left,
}

impl StreamEnd {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Left => "left",
        }
    }
}

/// One attempt, from all witnesses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// Where it went.
    pub version: VersionId,
    /// Which of the request's attempts at that version, from 0.
    pub ordinal: u32,
    /// Which of the request's attempts, from 0; none when no driver told of it.
    pub n: Option<u32>,
    /// Its line in the upstream's ledger.
    pub row: Option<u64>,
    /// When the driver sent it on its way.
    pub dispatched_at: Option<Timestamp>,
    /// When the driver stopped it, by order of the router.
    pub cancelled_at: Option<Timestamp>,
    /// When the upstream took it.
    pub accepted_at: Option<Timestamp>,
    /// When the upstream was done with it.
    pub ended_at: Option<Timestamp>,
    /// How the upstream says it ended.
    pub outcome: Option<Outcome>,
    /// The fault that hit it.
    pub fault: Option<u16>,
    /// The wait that its answer asks for.
    pub retry_after: Option<Duration>,
    /// The tokens that the upstream says it spent on it.
    pub usage: Option<Usage>,
    /// What it cost, where somebody states that.
    pub cost: Option<Cost>,
    /// How its answer differs from the OpenAI shape, by the upstream's word.
    pub drift: Drift,
    /// Whether the body arrived altered.
    pub altered: Option<bool>,
    /// What the router booked, and when.
    pub booked: Option<(Timestamp, Booked)>,
    /// Had its caller left when it ended?
    pub is_deserted: bool,
}

impl Attempt {
    /// When it was on its way, by the earliest witness.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.dispatched_at.or(self.accepted_at)
    }

    /// Did the upstream take it?
    pub fn was_accepted(&self) -> bool {
        self.accepted_at.is_some()
    }

    /// Was the other side hung up on before it was done? The driver stops only what it knows no end
    /// of, so an answer that crosses the hang-up on the wire changes nothing.
    pub fn was_given_up(&self) -> bool {
        self.cancelled_at.is_some() || self.outcome == Some(Outcome::ClientGone)
    }

    /// How it really ended: by the upstream's ledger. Where the router gave up first (and the driver
    /// or the ledger saw that it did), the upstream cannot tell why; then it is the router's reason. A router that says
    /// nothing at all had one when its caller had left.
    pub fn truth(&self) -> Option<Outcome> {
        let booked = self.booked.map(|(_, booked)| booked.outcome);
        if self.was_given_up() {
            let left = self.is_deserted && booked.is_none();
            let reason = left.then_some(Outcome::ClientGone);
            // No reason, or one that is none: somebody lost patience.
            let reason = reason.or(booked.filter(is_giving_up));
            return Some(reason.unwrap_or(Outcome::Timeout));
        }
        match self.outcome {
            Some(outcome) => Some(outcome),
            // Never taken: only the router can tell, of what goes wrong on the way.
            None if !self.was_accepted() => booked.filter(is_transport),
            None => None,
        }
    }
}

fn is_giving_up(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Timeout | Outcome::Deadline | Outcome::ClientGone | Outcome::Shutdown
    )
}

fn is_transport(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Connect | Outcome::Reset)
}

impl Story {
    /// Says of every attempt whether the caller had left when it ended.
    pub fn note_desertions(&mut self) {
        let left = self.answered.as_ref();
        let left = left.filter(|(_, answered)| answered.outcome == Outcome::ClientGone);
        let Some(left_at) = left.map(|(at, _)| *at) else {
            return;
        };
        for attempt in &mut self.attempts {
            attempt.is_deserted = attempt.ended_at.is_some_and(|ended| ended >= left_at);
        }
    }

    /// A request of which nothing is known yet.
    pub fn new(key: RequestKey) -> Self {
        Self {
            key,
            sent: None,
            answered: None,
            assigned: None,
            settled: None,
            attempts: SmallVec::new(),
            gaps: Box::default(),
            misbooked: 0,
        }
    }

    /// When the request should have been sent.
    pub fn scheduled_at(&self) -> Option<Timestamp> {
        self.sent.map(|(_, sent)| sent.scheduled_at)
    }

    /// How the request ended for the client.
    pub fn outcome(&self) -> Option<Outcome> {
        self.answered.map(|(_, answered)| answered.outcome)
    }

    /// From the scheduled moment to the answer.
    pub fn latency(&self) -> Option<Duration> {
        let (at, _) = self.answered?;
        Some(at.since(self.scheduled_at()?))
    }

    /// From the moment it was really sent to the answer.
    pub fn latency_from_sent(&self) -> Option<Duration> {
        let (answered_at, _) = self.answered?;
        let (sent_at, _) = self.sent?;
        Some(answered_at.since(sent_at))
    }

    /// Did it ask for a stream?
    pub fn is_stream(&self) -> bool {
        self.sent.is_some_and(|(_, sent)| sent.stream)
    }

    /// What came of its stream; none when no token came.
    pub fn streamed(&self) -> Option<Streamed> {
        self.answered?.1.streamed
    }

    /// From the scheduled moment to the first token (TTFT).
    pub fn first_token(&self) -> Option<Duration> {
        Some(self.streamed()?.first_token.since(self.scheduled_at()?))
    }

    /// From the moment it was really sent to the first token.
    pub fn first_token_from_sent(&self) -> Option<Duration> {
        let (sent_at, _) = self.sent?;
        Some(self.streamed()?.first_token.since(sent_at))
    }

    /// What came of the request as a stream, in one word; none when it asked for none, or has no answer.
    pub fn stream_end(&self) -> Option<StreamEnd> {
        let outcome = self.outcome().filter(|_| self.is_stream())?;
        Some(match (outcome, self.streamed()) {
            (Outcome::Success, _) => StreamEnd::Whole,
            (Outcome::ClientGone, _) => StreamEnd::Left,
            (_, Some(_)) => StreamEnd::Broken,
            (_, None) => StreamEnd::Refused,
        })
    }

    /// The version that an upstream ledger shows the request went to first.
    pub fn first_version(&self) -> Option<VersionId> {
        self.attempts
            .iter()
            .find(|a| a.was_accepted())
            .map(|a| a.version)
    }

    /// The version whose ledger shows a success, if the client got one too.
    pub fn served_by(&self) -> Option<VersionId> {
        let serving = self.serving()?;
        self.attempts.get(serving).map(|a| a.version)
    }

    /// The position of the attempt whose answer the client got.
    pub fn serving(&self) -> Option<usize> {
        let success = |a: &Attempt| a.outcome.is_some_and(Outcome::is_success);
        self.outcome().filter(|o| o.is_success())?;
        self.attempts.iter().rposition(success)
    }

    /// Did the client leave before it had an answer?
    pub fn client_left(&self) -> bool {
        let Some((_, answered)) = self.answered else {
            return true;
        };
        let is_patience = matches!(answered.outcome, Outcome::Timeout | Outcome::ClientGone);
        // Whoever was answered, with an error even, was told how many attempts it took.
        is_patience && answered.claim.attempts.is_none()
    }

    /// Did the client hang up because it wanted to, and not because it had waited for too long?
    pub fn client_hung_up(&self) -> bool {
        self.outcome() == Some(Outcome::ClientGone)
    }

    /// Did any attempt go to this version?
    pub fn touched(&self, version: VersionId) -> bool {
        self.attempts.iter().any(|a| a.version == version)
    }

    /// Was any attempt at this version on its way in this time?
    pub fn met(&self, version: VersionId, during: RangeInclusive<Timestamp>) -> bool {
        let of_version = self.attempts.iter().filter(|a| a.version == version);
        let mut starts = of_version.filter_map(Attempt::started_at);
        starts.any(|at| during.contains(&at))
    }

    /// The version that failed the request before another one answered it.
    pub fn rescued_from(&self) -> Option<VersionId> {
        let server = self.served_by()?;
        self.attempts
            .iter()
            .find(|a| a.version != server && a.truth().is_some_and(|o| !o.is_success()))
            .map(|a| a.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::event::{AttemptKind, Claim, Origin};
    use crate::traffic::caller::Intent;

    const STABLE: VersionId = VersionId(0);
    const CANARY: VersionId = VersionId(1);
    const KEY: RequestKey = RequestKey(3);

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000_000)
    }

    fn booked(outcome: Outcome) -> Option<(Timestamp, Booked)> {
        let booked = Booked {
            key: KEY,
            n: 0,
            version: CANARY,
            kind: AttemptKind::First,
            fallback: false,
            outcome,
            latency: Duration::ZERO,
            usage: None,
            is_estimated: false,
            drift: Drift::NONE,
        };
        Some((at(9), booked))
    }

    /// An attempt that its upstream took, or did not.
    fn attempt(version: VersionId, ended: Option<Outcome>, is_accepted: bool) -> Attempt {
        Attempt {
            version,
            accepted_at: is_accepted.then(|| at(1)),
            ended_at: ended.map(|_| at(5)),
            outcome: ended,
            ..Attempt::default()
        }
    }

    #[test]
    fn the_truth_is_the_upstreams_but_for_what_it_cannot_know() {
        use Outcome::{
            ClientGone, Connect, Deadline, Reset, ServerError, Shutdown, Success, Timeout,
        };
        let truth = |ended, is_accepted, is_stopped: bool, said: Option<Outcome>| {
            let attempt = Attempt {
                cancelled_at: is_stopped.then(|| at(4)),
                booked: said.and_then(booked),
                ..attempt(CANARY, ended, is_accepted)
            };
            attempt.truth()
        };
        // The upstream's own word.
        assert_eq!(
            truth(Some(Success), true, false, Some(Timeout)),
            Some(Success)
        );
        assert_eq!(truth(None, true, false, Some(ServerError)), None);
        // A hang-up: the router's reason, if it is one.
        for reason in [Timeout, Deadline, ClientGone, Shutdown] {
            assert_eq!(
                truth(Some(ClientGone), true, true, Some(reason)),
                Some(reason)
            );
            assert_eq!(truth(Some(Success), true, true, Some(reason)), Some(reason));
            assert_eq!(truth(None, false, true, Some(reason)), Some(reason));
        }
        assert_eq!(
            truth(Some(ClientGone), true, false, Some(ServerError)),
            Some(Timeout)
        );
        assert_eq!(truth(Some(ClientGone), true, false, None), Some(Timeout));
        let deserted = Attempt {
            is_deserted: true,
            ..attempt(CANARY, Some(ClientGone), true)
        };
        assert_eq!(deserted.truth(), Some(ClientGone));
        // Never taken: only what can go wrong on the way.
        assert_eq!(truth(None, false, false, Some(Connect)), Some(Connect));
        assert_eq!(truth(None, false, false, Some(Reset)), Some(Reset));
        assert_eq!(truth(None, false, false, Some(ServerError)), None);
    }

    fn answered(outcome: Outcome, attempts: Option<u32>) -> Option<(Timestamp, Answered)> {
        let answered = Answered {
            key: KEY,
            outcome,
            claim: Claim {
                attempts,
                ..Claim::default()
            },
            usage: None,
            origin: Origin::default(),
            streamed: None,
            drift: Drift::NONE,
        };
        Some((at(10), answered))
    }

    #[test]
    fn who_gives_up_has_left_and_who_is_told_of_a_timeout_has_not() {
        let left = |answered| {
            let story = Story {
                answered,
                ..Story::new(KEY)
            };
            story.client_left()
        };
        assert!(left(None));
        assert!(left(answered(Outcome::Timeout, None)));
        assert!(left(answered(Outcome::ClientGone, None)));
        assert!(!left(answered(Outcome::Timeout, Some(2))));
        assert!(!left(answered(Outcome::ServerError, None)));
        assert!(!left(answered(Outcome::Success, Some(1))));
    }

    #[test]
    fn a_rescue_is_a_failure_elsewhere_before_the_answer() {
        let story = |attempts: &[Attempt]| Story {
            answered: answered(Outcome::Success, Some(2)),
            attempts: attempts.iter().cloned().collect(),
            ..Story::new(KEY)
        };
        let ok = |version| attempt(version, Some(Outcome::Success), true);
        let bad = |version| attempt(version, Some(Outcome::ServerError), true);
        let rescued = |attempts: &[Attempt]| story(attempts).rescued_from();
        assert_eq!(rescued(&[bad(CANARY), ok(STABLE)]), Some(CANARY));
        assert_eq!(rescued(&[bad(STABLE), ok(STABLE)]), None, "a retry");
        assert_eq!(rescued(&[ok(CANARY), ok(STABLE)]), None, "nothing failed");
        assert_eq!(
            rescued(&[bad(CANARY), bad(STABLE)]),
            None,
            "nobody answered"
        );
        let one = story(&[bad(CANARY)]);
        assert!(one.touched(CANARY) && !one.touched(STABLE));
    }

    #[test]
    fn latency_runs_from_the_schedule_or_from_sending() {
        let sent = Sent {
            key: KEY,
            scheduled_at: at(2),
            intent: Intent::Random,
            caller: 0,
            input_tokens: 1,
            stream: false,
        };
        let story = Story {
            sent: Some((at(3), sent)),
            answered: answered(Outcome::Success, Some(1)),
            ..Story::new(KEY)
        };
        assert_eq!(story.latency(), Some(Duration::from_millis(8)));
        assert_eq!(story.latency_from_sent(), Some(Duration::from_millis(7)));
        assert_eq!(Story::new(KEY).latency_from_sent(), None);
    }
}
