//! The answer to a caller who wants a stream: events of one upstream, passed on as they come, in the OpenAI shape.
//!
//! Once the first of them is on its way nothing is retried or spliced: a stream that breaks ends with an
//! error event and without `[DONE]`. The caller reads as fast as it likes; what it does not read is not
//! fetched. When it leaves, the upstream's connection is closed with it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use crate::id::AttemptId;
use crate::live::gateway::driver::Command;
use crate::live::gateway::orders::Taker;
use crate::live::gateway::release::Release;
use crate::live::gateway::server::Call;
use crate::live::gateway::upstream::{Coming, stream_outcome};
use crate::live::http::Break;
use crate::protocol::gateway;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::protocol::stream::{News, StreamReader};
use crate::router::io::{AnswerTraits, Failure, Input};
use crate::time::Timestamp;

/// Of a request, roughly: the rule of thumb of OpenAI's documentation.
const BYTES_OF_A_TOKEN: usize = 4;

/// A stream on its way to a caller.
pub(super) struct StreamReply {
    call: Call,
    orders: Taker<Command>,
    attempt: AttemptId,
    release: Arc<Release>,
    reader: StreamReader,
    /// What is still to come; none when it is over.
    coming: Option<Coming>,
    /// Events that the caller gets next.
    ready: VecDeque<Bytes>,
    /// Tokens of the prompt, by its length.
    prompt_tokens: u32,
    /// Is it to state its tokens at its end?
    wants_usage: bool,
    /// When the core was told last that the stream goes on.
    told: Timestamp,
    is_over: bool,
}

impl StreamReply {
    /// The rest of a stream whose first events the core has let through.
    pub(super) fn new(
        call: Call,
        orders: Taker<Command>,
        attempt: AttemptId,
        release: Arc<Release>,
        begun: (StreamReader, Coming, Bytes),
        (body_bytes, wants_usage): (usize, bool),
    ) -> Self {
        let (reader, coming, first) = begun;
        Self {
            told: call.driver.now(),
            prompt_tokens: u32::try_from(body_bytes / BYTES_OF_A_TOKEN).unwrap_or(u32::MAX),
            wants_usage,
            call,
            orders,
            attempt,
            release,
            reader,
            coming: Some(coming),
            ready: VecDeque::from([first]),
            is_over: false,
        }
    }

    /// Does what the core orders: nothing but an end is left to order.
    fn obey(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(order) = self.orders.poll(context) {
            match order {
                Some(Command::Cancel(_)) => self.coming = None,
                Some(Command::Fail(failure)) => self.break_off(&failure),
                Some(Command::Send { .. } | Command::Forward(_)) => {}
                // The core has said all it had to say.
                None => {
                    self.is_over = true;
                    return;
                }
            }
        }
    }

    /// The caller is told that this is no whole answer.
    fn break_off(&mut self, failure: &Failure) {
        self.coming = None;
        self.is_over = true;
        self.call.is_over = true;
        let router = &self.release.router;
        let causes = failure.causes.iter();
        let causes: Vec<_> = causes
            .map(|(v, outcome)| (router.name(*v), *outcome))
            .collect();
        let error = gateway::failure(failure.outcome, &causes);
        let event = format!("data: {}\n\n", error.body());
        self.ready.push_back(Bytes::from(event));
    }

    /// Takes the events that have come whole.
    fn take_events(&mut self) {
        while !self.is_over
            && self.coming.is_some()
            && let Some((raw, news)) = self.reader.take()
        {
            let raw = self.reader.shaped().unwrap_or(raw);
            match news {
                News::Content(_) | News::Frame => {
                    self.ready.push_back(raw);
                    self.go_on();
                }
                // A connection can be alive long after its model.
                News::Comment => self.ready.push_back(raw),
                News::Done => {
                    let outcome = self.reader.outcome(None);
                    self.end(outcome);
                    if outcome.is_success() {
                        self.ready.push_back(raw);
                        return;
                    }
                }
                News::Error | News::Malformed => self.end(self.reader.outcome(None)),
            }
        }
    }

    /// Tells the core now and then that the stream goes on, when it wants to know.
    fn go_on(&mut self) {
        let Some(idle) = self.release.router.timeouts.idle else {
            return;
        };
        let now = self.call.driver.now();
        if now.since(self.told) >= idle / 8 {
            self.told = now;
            let attempt = self.attempt;
            self.call.driver.input([Input::Progress { attempt }]);
        }
    }

    /// The stream has ended like this.
    fn end(&mut self, outcome: Outcome) {
        if outcome.is_success() {
            self.call.is_over = true;
            self.is_over = true;
        }
        let end = Input::AttemptEnded {
            attempt: self.attempt,
            outcome,
            retry_after: None,
            answer: self.traits(),
        };
        self.call.driver.input([end]);
    }

    /// What is known of the answer. Tokens that it does not state are counted: one a chunk.
    fn traits(&self) -> AnswerTraits {
        let stated = self.reader.usage();
        let counted = Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.reader.estimated_tokens(),
        };
        AnswerTraits {
            usage: stated.or(Some(counted)),
            is_estimated: stated.is_none(),
            drift: self.reader.drift(self.wants_usage),
        }
    }

    /// Reads on. False when there is nothing to be read now.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        let Some(coming) = &mut self.coming else {
            return false;
        };
        match Pin::new(coming).poll_frame(context) {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.reader.push(data);
                }
                true
            }
            Poll::Ready(Some(Err(error))) => self.lose(Some(&error)),
            Poll::Ready(None) => self.lose(None),
        }
    }

    /// The upstream's connection has ended.
    fn lose(&mut self, error: Option<&hyper::Error>) -> bool {
        self.coming = None;
        if !self.is_over && !self.reader.is_over() {
            self.end(stream_outcome(&self.reader, error));
        }
        true
    }
}

impl Body for StreamReply {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.is_over {
                // Read to its end, if that has come too, the connection can be used again.
                let _ = this.read(context) && this.read(context);
                return Poll::Ready(None);
            }
            this.obey(context);
            // The first token may not have come alone.
            this.take_events();
            if this.ready.is_empty() && !this.is_over && !this.read(context) {
                return Poll::Pending;
            }
        }
    }
}
