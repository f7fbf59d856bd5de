//! Runs an experiment against a router core in virtual time.
//!
//! The loop takes whatever comes next: a fault's edge, the end of an upstream's answer, an arrival,
//! a caller who loses patience, or a timeout of the core, in this order when they come at the same
//! moment.

mod answers;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use crate::experiment::Experiment;
use crate::id::{AttemptId, IdMap, PerVersion, RequestId, RequestKey, VersionId};
use crate::observe::bridge;
use crate::observe::event::{Accepted, Answered, RunEvent, Sent, Sink, What};
use crate::observe::meta::Ending;
use crate::protocol::chat::Forward;
use crate::protocol::outcome::Outcome;
use crate::router::core::Core;
use crate::router::io::{Action, Event, Input, RequestFacts};
use crate::sim::flight::{Due, Flight, Out, Place};
use crate::sim::patience::Patience;
use crate::sim::places::Places;
use crate::sim::queue::EventQueue;
use crate::time::Timestamp;
use crate::traffic::body::Forwarded;
use crate::traffic::caller::Intent;
use crate::traffic::log::book::Book;
use crate::traffic::source::{Next, Planned, Source};
use crate::upstream::profile::Ask;

/// Runs an experiment to its end, or until `cancel` is set. `forward` is how the gateway turns a
/// caller's body into an upstream's.
pub fn run<C: Core + ?Sized>(
    experiment: &Experiment,
    core: &mut C,
    forward: Forward,
    sink: &mut dyn Sink,
    cancel: &AtomicBool,
) -> Ending {
    Engine::new(experiment, core, forward, sink).run(cancel)
}

struct Engine<'a, C: Core + ?Sized> {
    experiment: &'a Experiment,
    core: &'a mut C,
    sink: &'a mut dyn Sink,
    source: Box<dyn Source>,
    /// How its requests had been answered, where upstreams are to know.
    book: Option<Arc<Book>>,
    next: Next,
    facts: Vec<Arc<RequestFacts>>,
    intents: Vec<Intent>,
    /// What every kind of body is like as it reaches each version.
    forwarded: PerVersion<Vec<Forwarded>>,
    answers: EventQueue<Due>,
    edges: std::iter::Peekable<std::vec::IntoIter<(Timestamp, u16, bool)>>,
    flights: IdMap<RequestId, Flight>,
    patience: Patience,
    places: Places,
    next_memory: Timestamp,
    next_row: u64,
    /// Answers that callers are about to read.
    told: Vec<Answered>,
}

/// What comes next.
enum Step {
    Edge,
    Answer,
    Arrival(Planned),
    Desertion(RequestId, Outcome),
    Timeout,
    Nothing,
}

impl<'a, C: Core + ?Sized> Engine<'a, C> {
    fn new(
        experiment: &'a Experiment,
        core: &'a mut C,
        forward: Forward,
        sink: &'a mut dyn Sink,
    ) -> Self {
        let mut source = experiment.source();
        let versions = experiment.router.versions.values();
        let forwarded = versions.map(|v| experiment.bodies.forwarded_by(forward, &v.model));
        Self {
            next: source.peek(),
            book: source.book(),
            source,
            facts: experiment.facts(),
            intents: experiment.intents(),
            forwarded: forwarded.collect(),
            answers: EventQueue::default(),
            edges: fault_edges(experiment).into_iter().peekable(),
            flights: IdMap::default(),
            patience: Patience::new(experiment.patience()),
            places: Places::new(&experiment.upstreams.profiles),
            next_memory: Timestamp::ZERO,
            next_row: 0,
            told: Vec::new(),
            experiment,
            core,
            sink,
        }
    }

    fn run(mut self, cancel: &AtomicBool) -> Ending {
        loop {
            if cancel.load(Ordering::Relaxed) {
                return Ending::Interrupted;
            }
            let (at, step) = self.choose();
            match step {
                Step::Nothing => return Ending::Complete,
                Step::Edge => self.edge(),
                Step::Answer => self.answer(),
                Step::Arrival(planned) => self.arrive(planned),
                Step::Desertion(request, how) => self.desert(at, request, how),
                Step::Timeout => {
                    self.core.handle_timeout(at);
                    self.drain(at);
                }
            }
        }
    }

    /// The next thing to happen. Once all requests are sent and answered, nothing does: judges and
    /// faults alone do not keep a run alive.
    fn choose(&mut self) -> (Timestamp, Step) {
        let arrival = match self.next {
            Next::Request(planned) => Some(planned),
            Next::AfterAnswer | Next::Done => None,
        };
        if arrival.is_none() && self.flights.is_empty() {
            return (Timestamp::MAX, Step::Nothing);
        }
        let edge = self.edges.peek().map(|(at, ..)| (*at, Step::Edge));
        let answer = self.answers.next_at().map(|at| (at, Step::Answer));
        let arrival = arrival.map(|planned| (planned.at, Step::Arrival(planned)));
        let flights = &self.flights;
        let desertion = self.patience.next(|request| flights.get(request).is_some());
        let desertion = desertion.map(|left| (left.at, Step::Desertion(left.request, left.how)));
        let timeout = self.core.poll_timeout().map(|at| (at, Step::Timeout));
        [edge, answer, arrival, desertion, timeout]
            .into_iter()
            .flatten()
            // Of several at the same moment, the first is taken.
            .reduce(|best, other| if other.0 < best.0 { other } else { best })
            .unwrap_or((Timestamp::MAX, Step::Nothing))
    }

    fn emit(&mut self, at: Timestamp, what: impl Into<Option<What>>) {
        if let Some(what) = what.into() {
            self.sink.event(&RunEvent { at, what });
        }
    }

    fn edge(&mut self) {
        if let Some((at, index, on)) = self.edges.next() {
            self.emit(at, What::Fault { index, on });
        }
    }

    fn arrive(&mut self, planned: Planned) {
        let at = planned.at;
        self.source.take();
        self.next = self.source.peek();
        self.measure_memory(at);
        let caller = planned.caller as usize;
        let sent = Sent {
            key: planned.key,
            scheduled_at: at,
            intent: planned.intent(&self.intents),
            caller: planned.caller,
            input_tokens: self.experiment.bodies.input_tokens(planned.prompt),
            stream: planned.stream,
        };
        self.emit(at, What::Sent(sent));
        // The traffic's keys are unique, so they serve as ids as well.
        let request = RequestId(planned.key.0);
        let flight = Flight {
            key: planned.key,
            prompt: planned.prompt,
            tries: SmallVec::from_elem(0, self.experiment.router.versions.len()),
            out: None,
            is_deserted: false,
            stream: planned.stream,
            begun: None,
            settled: None,
        };
        self.flights.insert(request, flight);
        let flights = &self.flights;
        let is_waiting = |request| flights.get(request).is_some();
        self.patience
            .begin(at, request, planned.hangs_up, flights.len(), is_waiting);
        let facts = self.facts.get(caller).cloned().unwrap_or_default();
        let facts = match (planned.forced, planned.stream) {
            (None, false) => facts,
            (forced, streaming) => {
                let mut facts = (*facts).clone();
                facts.forced = forced;
                facts.needs.streaming = streaming;
                Arc::new(facts)
            }
        };
        let arrival = Input::Arrival {
            request,
            key: planned.key,
            facts,
        };
        self.core.handle(at, arrival);
        self.drain(at);
    }

    /// Once a second of virtual time.
    fn measure_memory(&mut self, at: Timestamp) {
        if at >= self.next_memory {
            let footprint = self.core.footprint();
            self.next_memory = at + std::time::Duration::from_secs(1);
            let (in_flight, bytes) = (footprint.in_flight, footprint.bytes);
            self.emit(at, What::Memory { in_flight, bytes });
        }
    }

    /// An upstream does what its plan says.
    fn answer(&mut self) {
        match self.answers.pop() {
            Some((at, Due::End(attempt))) => self.end(at, attempt),
            Some((at, Due::First(attempt))) => self.first_token(at, attempt),
            Some((at, Due::Progress(attempt))) => self.go_on(at, attempt),
            None => {}
        }
    }

    /// The attempt that is out, if this is it.
    fn out(&self, attempt: AttemptId) -> Option<&Out> {
        let out = self.flights.get(attempt.request)?.out.as_ref();
        out.filter(|out| out.n == attempt.n && out.ended.is_none())
    }

    /// An answer has come to its end.
    fn end(&mut self, at: Timestamp, attempt: AttemptId) {
        let Some(flight) = self.flights.get_mut(attempt.request) else {
            return;
        };
        let key = flight.key;
        let Some(out) = flight.out.as_mut().filter(|out| out.n == attempt.n) else {
            return; // cancelled meanwhile
        };
        let Some(outcome) = out.plan.outcome() else {
            return;
        };
        out.ended = Some(outcome);
        let is_begun = flight.begun.is_some();
        let retry_after = out.plan.retry_after();
        let answer = out.traits();
        let (row, left) = (out.end(key, outcome), (out.version, out.place));
        self.emit(at, row);
        self.leave(at, left);
        if outcome.is_success() && !is_begun {
            self.core.handle(at, Input::FirstContent { attempt });
        }
        let end = Input::AttemptEnded {
            attempt,
            outcome,
            retry_after,
            answer,
        };
        self.core.handle(at, end);
        self.drain(at);
        if is_begun {
            self.finish(at, attempt.request, outcome);
        }
    }

    /// The connection of an attempt that is out is closed.
    fn hang_up(&mut self, at: Timestamp, key: RequestKey, out: &Out) {
        self.emit(at, out.end(key, Outcome::ClientGone));
        self.leave(at, (out.version, out.place));
    }

    /// Whoever leaves an upstream makes room for the next one.
    fn leave(&mut self, at: Timestamp, left: (VersionId, Place)) {
        let (version, place) = left;
        if let Some(next) = self.places.leave(version, place) {
            self.begin(at, next);
        }
    }

    /// The upstream begins on an attempt that has waited for a place.
    fn begin(&mut self, at: Timestamp, attempt: AttemptId) {
        let flight = self.flights.get_mut(attempt.request);
        let out = flight.and_then(|flight| flight.out.as_mut());
        if let Some(out) = out.filter(|out| out.n == attempt.n) {
            out.place = Place::Has;
            out.began_at = at;
            self.await_answer(attempt);
        }
    }

    /// Notes when the answer begins and ends that an upstream works on.
    fn await_answer(&mut self, attempt: AttemptId) {
        let Some(out) = self.out(attempt) else {
            return;
        };
        let first = out.plan.begins().then_some(out.began_at + out.plan.after);
        let end = out.plan.length().map(|length| out.began_at + length);
        if let Some(first) = first {
            self.answers.push(first, Due::First(attempt));
        }
        if let Some(end) = end {
            self.answers.push(end, Due::End(attempt));
        }
    }

    /// Does what the core ordered and tells what it said.
    fn drain(&mut self, at: Timestamp) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Send { attempt, version } => self.send(at, attempt, version),
                Action::Cancel { attempt } => self.cancel(at, attempt),
                Action::Forward { attempt, served } => self.forward(at, attempt, served),
                Action::Fail { request, failure } => self.fail(at, request, &failure),
                // There is nothing to keep in virtual time, and nobody who could ask.
                Action::Persist { op, change } => {
                    let receivers = &self.experiment.router.rollback;
                    self.emit(at, bridge::letter(&change, receivers, at));
                    self.core.handle(at, Input::Persisted { op, ok: true });
                }
                Action::Adopt { .. } | Action::Answer { .. } => {}
            }
        }
        while let Some(event) = self.core.poll_event() {
            if let Event::RequestEnded {
                request, outcome, ..
            } = &event
                && let Some(flight) = self.flights.get_mut(*request)
            {
                flight.settled = Some(*outcome);
            }
            self.emit(at, bridge::fact(event, at));
        }
        self.tell_callers(at);
    }

    fn send(&mut self, at: Timestamp, attempt: AttemptId, version: VersionId) {
        let Some(flight) = self.flights.get_mut(attempt.request) else {
            return;
        };
        let (key, n) = (flight.key, attempt.n);
        if flight.is_deserted {
            // Ordered, but there is nobody left to do it for.
            self.emit(at, What::Dispatched { key, n, version });
            return;
        }
        let ordinal = flight.tries[version.index()];
        flight.tries[version.index()] += 1;
        let bodies = &self.experiment.bodies;
        let forwarded = self.forwarded[version].get(bodies.kind(flight.prompt));
        let ask = Ask {
            key,
            version,
            nth: ordinal,
            input_tokens: bodies.input_tokens(flight.prompt),
            max_tokens: bodies.max_tokens(flight.prompt),
            stream: flight.stream,
            is_prefilled: forwarded.is_some_and(|f| f.is_prefilled),
            recorded: self
                .book
                .as_ref()
                .and_then(|book| book.answer(key, ordinal)),
        };
        let mut response = self.experiment.upstreams.respond(&ask, at);
        let place = self.places.enter(version, attempt, &mut response);
        let row = self.next_row;
        self.next_row += 1;
        let accepted = Accepted {
            row,
            key: Some(key),
            version,
            ordinal,
            n: Some(n),
            fault: response.fault,
            retry_after: response.plan.retry_after(),
            altered: forwarded.map(|f| f.is_altered),
            is_told: response.is_told,
        };
        let is_taken = response.plan.is_taken();
        let out = Out {
            row,
            n,
            version,
            ordinal,
            plan: response.plan,
            began_at: at,
            place,
            ended: None,
        };
        let before = flight.replace(at, Some(out));
        if !matches!(place, Place::Waits(_)) {
            self.await_answer(attempt);
        }
        // A core that asks again without stopping what is out hangs up on it all the same.
        if let Some(before) = before.filter(|out| out.ended.is_none()) {
            self.hang_up(at, key, &before);
        }
        self.emit(at, What::Dispatched { key, n, version });
        self.emit(at, is_taken.then_some(What::Accepted(accepted)));
    }

    fn cancel(&mut self, at: Timestamp, attempt: AttemptId) {
        let Some(flight) = self.flights.get_mut(attempt.request) else {
            return;
        };
        let key = flight.key;
        let is_out = |out: &Out| out.n == attempt.n && out.ended.is_none();
        if !flight.out.as_ref().is_some_and(is_out) {
            return;
        }
        let Some(out) = flight.replace(at, None) else {
            return;
        };
        let n = out.n;
        self.emit(at, What::Cancelled { key, n });
        self.hang_up(at, key, &out);
    }
}

/// When which fault goes on or off, in order of time.
fn fault_edges(experiment: &Experiment) -> Vec<(Timestamp, u16, bool)> {
    let faults = (0_u16..).zip(&experiment.upstreams.faults);
    let mut edges: Vec<_> = faults
        .flat_map(|(index, fault)| {
            let off = fault.until.map(|at| (at, index, false));
            std::iter::once((fault.from, index, true)).chain(off)
        })
        .collect();
    edges.sort();
    edges
}
