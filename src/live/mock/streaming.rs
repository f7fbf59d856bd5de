//! A mock's stream on the wire: every event at its own moment of the plan, so that one that is late makes none
//! of the others late.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::live::clock::{Alarm, Clock};
use crate::live::http::reply_body::ReplyBody;
use crate::live::http::socket::Socket;
use crate::live::http::{Break, Reply};
use crate::live::mock::events::Events;
use crate::live::mock::ledger::Row;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;
use crate::upstream::stream::{Moment, Piece};

/// A stream whose request was taken at the second of `times`, with its first token so long after it.
pub(super) fn reply(
    events: Events,
    times: (Clock, Timestamp, Duration),
    outcome: Option<Outcome>,
    row: Row,
    connection: &Socket,
) -> Reply {
    let (clock, taken, first) = times;
    let body = MockStream {
        moments: Box::new(events.moments(first)),
        next: None,
        alarm: clock.alarm(taken),
        events,
        taken,
        outcome,
        row: Some(row),
        connection: connection.clone(),
        is_silent: false,
        is_unflushed: false,
    };
    let mut reply = Reply::new(ReplyBody::stream(body));
    let map = reply.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    map.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

struct MockStream {
    events: Events,
    moments: Box<dyn Iterator<Item = Moment> + Send>,
    /// What comes next, if it was looked at already.
    next: Option<Moment>,
    alarm: Alarm,
    /// When the request was taken.
    taken: Timestamp,
    /// How it ends.
    outcome: Option<Outcome>,
    /// Dropped with the line still open, when the other side hangs up.
    row: Option<Row>,
    connection: Socket,
    /// Does nothing more come?
    is_silent: bool,
    /// Was something given that may not be written yet?
    is_unflushed: bool,
}

impl MockStream {
    /// The next piece, when its moment has come; none after the last.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.is_silent {
            return Poll::Pending;
        }
        let moment = match self.next {
            Some(moment) => moment,
            None => {
                let Some(moment) = self.moments.next() else {
                    return Poll::Ready(None);
                };
                self.alarm.set(self.taken + moment.after);
                *self.next.insert(moment)
            }
        };
        if self.alarm.poll(context).is_pending() {
            return Poll::Pending;
        }
        self.next = None;
        Poll::Ready(Some(moment.piece))
    }

    /// The line in the ledger ends with what ends the stream for whoever reads it.
    fn end(&mut self) {
        if let (Some(row), Some(outcome)) = (self.row.take(), self.outcome) {
            row.end(outcome);
        }
    }
}

impl Body for MockStream {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(piece) = this.poll_piece(context) else {
                this.is_unflushed = false;
                return Poll::Pending;
            };
            let Some(piece) = piece else {
                return Poll::Ready(None);
            };
            match piece {
                // A reader that is told so reads no further.
                Piece::Error | Piece::Garbage | Piece::Foreign(_) | Piece::Done | Piece::End => {
                    this.end();
                }
                Piece::Cut | Piece::Reset if this.is_unflushed => {
                    // What was given is written only when nothing more comes for a moment.
                    this.is_unflushed = false;
                    this.next = Some(Moment {
                        after: Duration::ZERO,
                        piece,
                    });
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Piece::Cut | Piece::Reset => {
                    if piece == Piece::Reset {
                        this.connection.arm();
                    }
                    this.end();
                    return Poll::Ready(Some(Err(Break)));
                }
                // Whoever hangs up ends it.
                Piece::Silence => this.is_silent = true,
                _ => {}
            }
            if let Some(bytes) = this.events.bytes(piece) {
                this.is_unflushed = true;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }
}
