//! A stream of a real upstream on its way to the gateway: event by event as it came, until a fault breaks it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use crate::live::gateway::upstream::{Coming, stream_outcome};
use crate::live::http::Break;
use crate::live::http::socket::Socket;
use crate::live::mock::events::Events;
use crate::live::mock::ledger::Row;
use crate::live::real::caps::Place;
use crate::live::real::purse::Reserved;
use crate::pricing::Price;
use crate::protocol::drift::Drift;
use crate::protocol::openai;
use crate::protocol::outcome::Outcome;
use crate::protocol::stream::{News, StreamReader};
use crate::upstream::real::Spending;
use crate::upstream::stream::{Breakage, Ending, Piece};

/// What one request holds while it is under way.
#[derive(Debug)]
pub(super) struct Held {
    /// Its line in the ledger.
    pub(super) row: Row,
    /// What was set aside for it.
    pub(super) reserved: Reserved,
    /// Was a stream asked to state its tokens?
    pub(super) wants_usage: bool,
}

/// A stream that is passed on.
pub(super) struct Passing {
    /// What is still to come, over a place at the upstream.
    coming: Option<(Coming, Place)>,
    reader: StreamReader,
    /// After so many chunks of content, this happens.
    breakage: Option<(u32, Breakage)>,
    /// Is it said before that who speaks, if it comes before the first token?
    has_role: bool,
    /// Chunks of content that were passed on, and the last of them.
    contents: u32,
    last: Bytes,
    /// The most tokens of all that it stated.
    total: Option<u64>,
    steps: VecDeque<Step>,
    held: Option<Held>,
    price: Option<Price>,
    connection: Socket,
    /// Was something given that may not be written yet?
    is_unflushed: bool,
}

/// What is done next.
#[derive(Debug)]
enum Step {
    Send(Bytes),
    End,
    Cut,
    Reset,
    /// Nothing, for as long as the other side waits.
    Wait,
}

impl Passing {
    /// The stream that comes, and how it is to end.
    pub(super) fn new(
        coming: (Coming, Place),
        ending: Ending,
        held: Held,
        price: Option<Price>,
        connection: &Socket,
    ) -> Self {
        let breakage = match ending {
            Ending::Whole => None,
            // It shows by what does not come at the end.
            Ending::Broken {
                how: how @ Breakage::NoDone,
                ..
            } => Some((u32::MAX, how)),
            Ending::Broken { after, how, .. } => Some((after, how)),
        };
        Self {
            coming: Some(coming),
            reader: StreamReader::default(),
            breakage,
            has_role: matches!(ending, Ending::Broken { has_role: true, .. }),
            contents: 0,
            last: Bytes::new(),
            total: None,
            steps: VecDeque::new(),
            held: Some(held),
            price,
            connection: connection.clone(),
            is_unflushed: false,
        }
    }

    /// Takes the events in that have come whole.
    fn take_events(&mut self) {
        while self.coming.is_some()
            && let Some((raw, news)) = self.reader.take()
        {
            self.take(raw, news);
        }
    }

    fn take(&mut self, raw: Bytes, news: News) {
        // A stream may be shorter than a fault would have it.
        let is_last = self.reader.is_finished() || is_end(news);
        let is_role = self.has_role && matches!(news, News::Frame | News::Comment);
        match self.breakage {
            // What is told by the missing end has everything else.
            Some((_, Breakage::NoDone)) if !is_end(news) => self.pass(raw, news),
            Some((after, how)) if is_last || (after == 0 && !is_role) => {
                self.break_off(how);
                if self.coming.is_some() {
                    self.pass(raw, news);
                }
            }
            _ => self.pass(raw, news),
        }
    }

    fn pass(&mut self, raw: Bytes, news: News) {
        if let News::Content(_) = news {
            self.name_answer();
            self.contents += 1;
            self.last = raw.clone();
        }
        self.total = self.total.max(openai::total_tokens(event_data(&raw)));
        if is_end(news) {
            // What is too large to be read is passed on as what it is: nothing that can be read.
            let raw = match raw.is_empty() {
                true => self.events().bytes(Piece::Garbage).unwrap_or(raw),
                false => raw,
            };
            let outcome = self.reader.outcome(None);
            self.end(outcome);
            self.steps.extend([Step::Send(raw), Step::End]);
            return;
        }
        self.steps.push_back(Step::Send(raw));
        if let Some((after, how)) = self.breakage
            && self.contents >= after
            && news != News::Comment
        {
            self.break_off(how);
        }
    }

    /// The ledger learns which answer this is, with its first content.
    fn name_answer(&self) {
        if let (0, Some(held), Some(id)) = (self.contents, &self.held, self.reader.id()) {
            held.row.gives(id);
        }
    }

    /// The fault happens now.
    fn break_off(&mut self, how: Breakage) {
        self.breakage = None;
        let events = self.events();
        let send = |piece| events.bytes(piece).map(Step::Send);
        let (first, then) = match how {
            Breakage::Close | Breakage::NoDone => (None, Some(Step::End)),
            Breakage::Cut => (None, Some(Step::Cut)),
            Breakage::Reset => (None, Some(Step::Reset)),
            Breakage::MidCharacter => (send(Piece::HalfCharacter), Some(Step::End)),
            Breakage::MidString => (send(Piece::HalfString), Some(Step::End)),
            Breakage::Stall => (None, Some(Step::Wait)),
            Breakage::Error => (send(Piece::Error), Some(Step::End)),
            Breakage::Malformed => (send(Piece::Garbage), None),
            Breakage::NoChoices => {
                let pieces = [Piece::Empty, Piece::Done];
                let bytes: Vec<u8> = pieces
                    .into_iter()
                    .filter_map(|p| events.bytes(p))
                    .flatten()
                    .collect();
                (Some(Step::Send(bytes.into())), Some(Step::End))
            }
            // It may be that nothing was passed on yet.
            Breakage::Splice => {
                let pieces = [Piece::Role, Piece::Foreign(1), Piece::Done];
                let bytes: Vec<u8> = pieces
                    .into_iter()
                    .filter_map(|p| events.bytes(p))
                    .flatten()
                    .collect();
                (Some(Step::Send(bytes.into())), Some(Step::End))
            }
            Breakage::Duplicate => (Some(Step::Send(self.last.clone())), None),
        };
        // What only disturbs is followed by the rest.
        if then.is_some() {
            self.coming = None;
        }
        match how.outcome() {
            // Of what goes on, the end is still to come.
            Some(Outcome::Success) => {}
            Some(outcome) => self.end(outcome),
            None => {}
        }
        self.steps.extend(first.into_iter().chain(then));
    }

    /// Writes events as this stream would.
    fn events(&self) -> Events {
        let id = self.reader.id().unwrap_or("chatcmpl");
        Events::like(id, self.reader.model().unwrap_or_default())
    }

    /// The line in the ledger ends with what ends the stream for whoever reads it. What was broken off states no
    /// tokens: nobody knows how many the upstream had written by then.
    fn end(&mut self, outcome: Outcome) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        // Some servers state what they have used so far with every chunk.
        let usage = self.reader.usage().filter(|_| outcome.is_success());
        let drift = match outcome {
            Outcome::Success | Outcome::Malformed => self.reader.drift(held.wants_usage),
            _ => Drift::NONE,
        };
        held.row.spends(usage, drift);
        held.row.end(outcome);
        let used = usage.and_then(|usage| Spending::stated(usage, self.total, self.price.as_ref()));
        if let Some(used) = used {
            held.reserved.used(used);
        }
    }

    /// The upstream's connection has ended.
    fn lose(&mut self, error: Option<&hyper::Error>) {
        if let Some((_, how)) = self.breakage {
            self.break_off(how);
        }
        let Some(_) = self.coming.take() else {
            return;
        };
        let outcome = stream_outcome(&self.reader, error);
        self.end(outcome);
        self.steps.push_back(match (error, outcome) {
            (None, _) => Step::End,
            (Some(_), Outcome::Reset) => Step::Reset,
            (Some(_), _) => Step::Cut,
        });
    }

    /// Reads on. False when there is nothing to be read now.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        let Some((coming, _)) = &mut self.coming else {
            return false;
        };
        match Pin::new(coming).poll_frame(context) {
            Poll::Pending => return false,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.reader.push(data);
                    self.take_events();
                }
            }
            Poll::Ready(Some(Err(error))) => self.lose(Some(&error)),
            Poll::Ready(None) => self.lose(None),
        }
        true
    }

    /// Does a step; none when the stream waits for what comes.
    fn step(
        &mut self,
        step: Step,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        match step {
            Step::Send(bytes) => {
                self.is_unflushed = true;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Step::End => {
                // Read to its end, if that has come too, the connection can be used again.
                let _ = self.read(context) && self.read(context);
                Poll::Ready(None)
            }
            Step::Wait => {
                self.steps.push_front(Step::Wait);
                Poll::Pending
            }
            Step::Cut | Step::Reset if self.is_unflushed => {
                // What was given is written only when nothing more comes for a moment.
                self.is_unflushed = false;
                self.steps.push_front(step);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Cut => Poll::Ready(Some(Err(Break))),
            Step::Reset => {
                self.connection.arm();
                Poll::Ready(Some(Err(Break)))
            }
        }
    }
}

/// The data of an event of one line, as those of models are.
fn event_data(raw: &[u8]) -> &[u8] {
    let data = raw.strip_prefix(b"data:").unwrap_or(raw);
    data.trim_ascii()
}

/// Does nothing of a stream come after this?
fn is_end(news: News) -> bool {
    matches!(news, News::Done | News::Error | News::Malformed)
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        let this = self.get_mut();
        loop {
            if let Some(step) = this.steps.pop_front() {
                return this.step(step, context);
            }
            if !this.read(context) {
                this.is_unflushed = false;
                return Poll::Pending;
            }
        }
    }
}
