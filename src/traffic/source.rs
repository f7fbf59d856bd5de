//! Where requests come from, whatever makes them.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{RequestKey, VersionId};
use crate::time::Timestamp;
use crate::traffic::body::Prompt;
use crate::traffic::caller::Intent;
use crate::traffic::log::book::Book;

/// One request before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its key: all random draws of its life hang on it.
    pub key: RequestKey,
    /// When it should be sent, by the schedule.
    pub at: Timestamp,
    /// Who sends it: the position in the list of callers.
    pub caller: u32,
    /// What it asks.
    pub prompt: Prompt,
    /// Does it ask for a stream?
    pub stream: bool,
    /// The version that it is forced to, whatever the gateway would choose for it.
    pub forced: Option<VersionId>,
    /// After how long its caller hangs up, who has no answer by then; none who has patience.
    pub hangs_up: Option<Duration>,
}

impl Planned {
    /// Where the configuration obliges it to go, when it obliges each caller's requests to go there.
    pub fn intent(&self, intents: &[Intent]) -> Intent {
        let of_caller = intents.get(self.caller as usize).copied();
        match self.forced {
            Some(version) => Intent::Forced(version),
            None => of_caller.unwrap_or(Intent::Random),
        }
    }
}

/// What a source has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next request, not earlier than the one before.
    Request(Planned),
    /// Nothing until a request under way is answered (closed loop).
    AfterAnswer,
    /// Nothing more, ever.
    Done,
}

/// A source of requests. Its requests come in order of time, as far as they are known: an answer may
/// call for a request that is due before the one that was next.
pub trait Source: Send {
    /// What comes next. It may be asked as often as one likes.
    fn peek(&mut self) -> Next;

    /// The request that [`peek`](Self::peek) shows is on its way.
    fn take(&mut self);

    /// A request was answered, or given up, at `at`. Says whether that may change what comes next.
    fn answered(&mut self, key: RequestKey, at: Timestamp) -> bool;

    /// How the requests under way had been answered, if upstreams are to know.
    fn book(&self) -> Option<Arc<Book>> {
        None
    }

    /// Takes the next request.
    fn next(&mut self) -> Next {
        let next = self.peek();
        if let Next::Request(_) = next {
            self.take();
        }
        next
    }
}
