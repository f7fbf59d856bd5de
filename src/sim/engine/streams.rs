//! What the simulated gateway and its callers do with streams.

use crate::id::{AttemptId, RequestId};
use crate::observe::event::{Answered, Claim, What};
use crate::protocol::drift::Drift;
use crate::protocol::outcome::Outcome;
use crate::router::core::Core;
use crate::router::io::Input;
use crate::sim::flight::{Begun, Due, Flight};
use crate::time::Timestamp;

use super::Engine;

impl<C: Core + ?Sized> Engine<'_, C> {
    pub(super) fn first_token(&mut self, at: Timestamp, attempt: AttemptId) {
        if self.out(attempt).is_some() {
            self.plan_progress(at, attempt);
            self.core.handle(at, Input::FirstContent { attempt });
            self.drain(at);
        }
    }

    pub(super) fn go_on(&mut self, at: Timestamp, attempt: AttemptId) {
        if self.out(attempt).is_some() {
            self.plan_progress(at, attempt);
            self.core.handle(at, Input::Progress { attempt });
            self.drain(at);
        }
    }

    /// When the core will be told next that a stream goes on, if it wants to know: with the first chunk
    /// after an eighth of its limit, as the live gateway does it.
    fn plan_progress(&mut self, at: Timestamp, attempt: AttemptId) {
        let Some(idle) = self.experiment.router.timeouts.idle else {
            return;
        };
        let Some(out) = self.out(attempt) else {
            return;
        };
        let sent = out.began_at;
        let next = out.plan.next_chunk(at.since(sent) + idle / 8);
        if let Some(after) = next {
            self.answers.push(sent + after, Due::Progress(attempt));
        }
    }

    /// The stream that a caller was given has ended like this at its upstream, and the core has said all it
    /// had to say. What it believes to be whole the gateway ends as whole; what it failed is over already;
    /// else the gateway hangs up. A core that has not said anything is waited for.
    pub(super) fn finish(&mut self, at: Timestamp, request: RequestId, outcome: Outcome) {
        let settled = self.flights.get(request).and_then(|flight| flight.settled);
        let outcome = match settled {
            _ if outcome.is_success() => Outcome::Success,
            Some(Outcome::Success) => Outcome::Success,
            Some(_) => Outcome::Truncated,
            None => return,
        };
        let Some(flight) = self.take_waiting(request) else {
            return;
        };
        let whole = flight.out.as_ref().filter(|_| outcome.is_success());
        if let Some(gaps) = whole.and_then(|out| out.gaps(flight.key)) {
            self.emit(at, What::Gaps(gaps));
        }
        let answered = self.stream_in_hand(&flight, at, outcome);
        self.answered(at, answered);
    }

    /// Begins to give a caller its stream, if that is what the upstream sends.
    pub(super) fn begin_stream(&mut self, at: Timestamp, attempt: AttemptId, claim: Claim) -> bool {
        if !self.out(attempt).is_some_and(|out| out.plan.begins()) {
            return false;
        }
        let Some(flight) = self.flights.get_mut(attempt.request) else {
            return false;
        };
        // A head is sent once, whatever follows it.
        let begun = flight.begun.get_or_insert(Begun {
            claim,
            first_token: None,
            earlier: None,
        });
        begun.first_token = Some(at);
        true
    }

    /// A stream as its caller has read it until now, when it ends like this.
    pub(super) fn stream_in_hand(
        &self,
        flight: &Flight,
        at: Timestamp,
        outcome: Outcome,
    ) -> Answered {
        let out = flight.out.as_ref();
        Answered {
            key: flight.key,
            outcome,
            claim: flight.begun.map(|begun| begun.claim).unwrap_or_default(),
            // At its end; what is broken off before has not come to it.
            usage: out
                .filter(|out| out.ended.is_some())
                .and_then(|out| out.plan.stated_usage()),
            origin: self.origin(flight, out.map(|out| out.version)),
            streamed: flight.seen(at),
            drift: match out.filter(|_| outcome.is_success()) {
                Some(out) => out.plan.remaining_drift(),
                None => Drift::NONE,
            },
        }
    }
}
