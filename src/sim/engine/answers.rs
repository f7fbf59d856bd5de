//! What callers get: whole answers and errors; and when they leave.

use std::time::Duration;

use super::Engine;
use crate::id::{AttemptId, RequestId, VersionId};
use crate::observe::event::{Answered, Claim, Origin, What};
use crate::protocol::drift::Drift;
use crate::protocol::gateway;
use crate::protocol::outcome::Outcome;
use crate::router::core::Core;
use crate::router::io::{Failure, Input, Served};
use crate::sim::flight::{Flight, Out};
use crate::time::Timestamp;

/// The least time between a refusal and the next request of its caller.
const MOMENT: Duration = Duration::from_micros(1);

impl<C: Core + ?Sized> Engine<'_, C> {
    /// A caller has waited long enough, and hangs up.
    pub(super) fn desert(&mut self, at: Timestamp, request: RequestId, outcome: Outcome) {
        let Some(flight) = self.flights.get_mut(request) else {
            return;
        };
        flight.is_deserted = true;
        let answered = Answered {
            key: flight.key,
            outcome,
            claim: Claim::default(),
            usage: None,
            origin: Origin::default(),
            streamed: flight.seen(at),
            drift: Drift::NONE,
        };
        self.answered(at, answered);
        self.core.handle(at, Input::ClientGone { request });
        self.drain(at);
        // Whatever the core says, the gateway's connection to the upstream goes with its caller.
        let Some(flight) = self.flights.remove(request) else {
            return;
        };
        if let Some(out) = flight.out.filter(|out| out.ended.is_none()) {
            self.hang_up(at, flight.key, &out);
        }
    }

    pub(super) fn forward(&mut self, at: Timestamp, attempt: AttemptId, served: Served) {
        let claim = Claim {
            version: Some(served.version),
            fallback: Some(served.fallback),
            attempts: Some(served.attempts),
        };
        if self.begin_stream(at, attempt, claim) {
            return;
        }
        let Some(flight) = self.take_waiting(attempt.request) else {
            return;
        };
        let answered = Answered {
            streamed: flight.out.as_ref().and_then(|out| out.seen_at_once(at)),
            ..self.answer_in_hand(&flight, claim)
        };
        self.told.push(answered);
    }

    pub(super) fn fail(&mut self, at: Timestamp, request: RequestId, failure: &Failure) {
        // A request that was forwarded is answered already; what fails later is its stream.
        let Some(flight) = self.take_waiting(request) else {
            return;
        };
        let claim = Claim {
            version: failure.version,
            fallback: Some(failure.fallback),
            attempts: Some(failure.attempts),
        };
        if flight.begun.is_some() {
            // All that can be done for a caller who has part of it: an error event at its end.
            let answered = self.stream_in_hand(&flight, at, Outcome::StreamError);
            self.told.push(answered);
            return;
        }
        let answered = match failure.relay {
            true => self.answer_in_hand(&flight, claim),
            false => Answered {
                key: flight.key,
                outcome: gateway::failure_outcome(failure.outcome, false),
                claim,
                usage: None,
                origin: Origin::default(),
                streamed: None,
                drift: Drift::NONE,
            },
        };
        self.told.push(answered);
    }

    /// The flight of a request whose caller waits for its answer, which comes now.
    pub(super) fn take_waiting(&mut self, request: RequestId) -> Option<Flight> {
        let is_waiting = !self.flights.get(request)?.is_deserted;
        is_waiting.then(|| self.flights.remove(request)).flatten()
    }

    /// The answer that the gateway holds, as its caller reads it. Whatever the core believes of it,
    /// the caller gets what the upstream sent.
    fn answer_in_hand(&self, flight: &Flight, claim: Claim) -> Answered {
        let out = flight.out.as_ref();
        let held = out.and_then(Out::held);
        let (outcome, usage) = held.unwrap_or((Outcome::ServerError, None));
        let server = out.filter(|_| outcome.is_success()).map(|out| out.version);
        Answered {
            key: flight.key,
            outcome,
            claim,
            usage,
            origin: self.origin(flight, server),
            streamed: None,
            drift: match out.filter(|_| outcome.is_success()) {
                Some(out) => out.plan.remaining_drift(),
                None => Drift::NONE,
            },
        }
    }

    /// What an answer of this version says of where it comes from.
    pub(super) fn origin(&self, flight: &Flight, server: Option<VersionId>) -> Origin {
        let router = &self.experiment.router;
        let named = |server| router.version_of_model(&router.versions[server].model);
        Origin {
            key: server.map(|_| flight.key),
            version: server.and_then(named),
            // What goes over no wire is not altered on its way.
            text: None,
        }
    }

    /// Callers read their answers once the router has said all it had to say of them, as on a wire.
    pub(super) fn tell_callers(&mut self, at: Timestamp) {
        for answered in std::mem::take(&mut self.told) {
            self.answered(at, answered);
        }
    }

    pub(super) fn answered(&mut self, at: Timestamp, answered: Answered) {
        self.emit(at, What::Answered(answered));
        // A refusal without any attempt may come at the very moment of the request. If its caller asked
        // again at once, time would stand still.
        let was_tried = answered.claim.attempts != Some(0);
        let free_at = if was_tried { at } else { at + MOMENT };
        if self.source.answered(answered.key, free_at) {
            self.next = self.source.peek();
        }
    }
}
