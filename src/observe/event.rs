//! The one event enum between running and reporting.
//!
//! Four witnesses speak: the load client (`Sent`, `Answered`), the upstreams' own ledgers
//! (`Accepted`, `UpstreamEnded`), the driver that carries out the router's orders (`Dispatched`,
//! `Cancelled`), and the router itself (`Assigned`, `Booked`, `Settled`, `Judged`, `RolledBack`, `Standing`).
//! Gates trust the first three; the router's own word is checked against them.

mod decisions;

use std::time::Duration;

use serde::Serialize;

use crate::id::{RequestKey, VersionId};
use crate::observe::machine::MachineFacts;
use crate::observe::orders::{OrderEnd, OrderFacts};
use crate::pricing::Cost;
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;
use crate::traffic::caller::Intent;
use crate::upstream::real::PurseState;

pub use decisions::{CLOSED_IN_LEDGER, Finding, Missing, RollbackFacts, StandingFacts};

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The client sent a request.
    Sent(Sent),
    /// The router gave a request to a version.
    Assigned {
        /// The request.
        key: RequestKey,
        /// The version it was given to.
        version: VersionId,
    },
    /// The driver sent an attempt on its way, by order of the router.
    Dispatched {
        /// The request.
        key: RequestKey,
        /// Which attempt of the request, from 0, over all versions.
        n: u32,
        /// Where to.
        version: VersionId,
    },
    /// The driver stopped an attempt that was out, by order of the router.
    Cancelled {
        /// The request.
        key: RequestKey,
        /// Which attempt of the request, from 0, over all versions.
        n: u32,
    },
    /// An upstream took a request.
    Accepted(Accepted),
    /// An upstream was done with a request.
    UpstreamEnded(UpstreamEnded),
    /// The router booked the end of an attempt.
    Booked(Booked),
    /// The router was done with a request.
    Settled(Settled),
    /// The client read a whole stream: how its tokens followed each other. Comes before its answer.
    Gaps(Gaps),
    /// The client got its answer, or gave up.
    Answered(Answered),
    /// The router's judge looked.
    Judged(Finding),
    /// The router's judge holds, for this reason, or no longer does.
    Held(Option<&'static str>),
    /// The ramp looked after its step's hold, and did not go on: all that is missing.
    NotPromoted(Vec<Missing>),
    /// The router closed the canary.
    RolledBack(RollbackFacts),
    /// The driver was ordered to tell webhooks and peers of a rollback, and this is what they read.
    Told(RollbackFacts),
    /// The release stands elsewhere: another weight, step or phase.
    Standing(StandingFacts),
    /// A fault went on or off.
    Fault {
        /// Its position in the scenario.
        index: u16,
        /// On or off.
        on: bool,
    },
    /// A cap on a real upstream held an attempt back for so long, or for no time at all.
    HeldBack {
        /// The upstream's version.
        version: VersionId,
        /// How long.
        wait: Duration,
    },
    /// How the purse for real upstreams stands: told when it is shut, and at the end.
    Purse(PurseState),
    /// Connections were missing for want of file descriptors: what was measured is the machine.
    OutOfFiles,
    /// The wall clock went by so much more, or less, than the clock that measures: the machine slept, or somebody set it.
    ClockJumped(Duration),
    /// How the machine treated a live run; told at the end.
    Machine(MachineFacts),
    /// Which of their keys requests still bore that reached an upstream by way of another gateway; told at the end.
    Keys(KeysSeen),
    /// Another gateway is given an order.
    Ordered(OrderFacts),
    /// And this is what came of it.
    OrderEnded(OrderEnd),
    /// What the router holds in memory.
    Memory {
        /// Requests under way.
        in_flight: usize,
        /// Bytes.
        bytes: usize,
    },
}

/// How many of the requests that reached an upstream still bore their key, by where it stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeysSeen {
    /// Requests that reached an upstream.
    pub rows: u64,
    /// In the header.
    pub header: u64,
    /// As the body's `user`.
    pub user: u64,
    /// In the body's `metadata`.
    pub metadata: u64,
    /// In the prompt.
    pub prompt: u64,
}

impl KeysSeen {
    /// The key that survives the way: the first that all requests bore, in the order in which they are looked for; else
    /// the first that any did; none when none did.
    pub fn key(&self) -> Option<&'static str> {
        let all = [
            ("header", self.header),
            ("user", self.user),
            ("metadata", self.metadata),
            ("prompt", self.prompt),
        ];
        let whole = all.iter().find(|(_, n)| *n > 0 && *n == self.rows);
        let any = all.iter().find(|(_, n)| *n > 0);
        whole.or(any).map(|(name, _)| *name)
    }
}

/// A request as it left the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The request.
    pub key: RequestKey,
    /// When it should have been sent, by the schedule.
    pub scheduled_at: Timestamp,
    /// Where the configuration obliges it to go.
    pub intent: Intent,
    /// Who sent it.
    pub caller: u32,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Does it ask for a stream?
    pub stream: bool,
}

/// A line of an upstream's ledger: it took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Counts the lines of this ledger.
    pub row: u64,
    /// The request; none when no key survived the way.
    pub key: Option<RequestKey>,
    /// The upstream's version.
    pub version: VersionId,
    /// How many attempts of this request the upstream took before.
    pub ordinal: u32,
    /// Which attempt of the request it is, where the gateway says so.
    pub n: Option<u32>,
    /// The fault that will hit it.
    pub fault: Option<u16>,
    /// The wait that its answer will ask for.
    pub retry_after: Option<Duration>,
    /// Whether the body differs from what the client sent in more than its model; none when
    /// nobody can tell.
    pub altered: Option<bool>,
    /// Where a log is asked for the answers: does it tell of this one? Otherwise a profile stands in.
    pub is_told: Option<bool>,
}

/// A line of an upstream's ledger: it is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamEnded {
    /// The line of [`Accepted::row`] that ends.
    pub row: u64,
    /// The request; none when no key survived the way.
    pub key: Option<RequestKey>,
    /// The upstream's version.
    pub version: VersionId,
    /// Which of the request's attempts at this upstream.
    pub ordinal: u32,
    /// How it ended; `client_gone` when the other side hung up first.
    pub outcome: Outcome,
    /// The tokens that it spent on it, whoever got the answer; none when it cannot tell, or spent none.
    pub usage: Option<Usage>,
    /// What it cost, where somebody states that; else prices tell.
    pub cost: Option<Cost>,
    /// How its answer differs from the OpenAI shape.
    pub drift: Drift,
}

/// An attempt's end, as the router booked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The request.
    pub key: RequestKey,
    /// Which attempt of the request, from 0, over all versions.
    pub n: u32,
    /// The version the router books it on.
    pub version: VersionId,
    /// Why the attempt was made.
    pub kind: AttemptKind,
    /// Was it made after the request fell back to stable?
    pub fallback: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// From sending to the end.
    pub latency: Duration,
    /// The tokens that its answer states, or that were counted in it.
    pub usage: Option<Usage>,
    /// Were they counted?
    pub is_estimated: bool,
    /// How its answer differs from the OpenAI shape.
    pub drift: Drift,
}

/// A request's end, as the router tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The request.
    pub key: RequestKey,
    /// How it ended.
    pub outcome: Outcome,
    /// The version that answered; none when the request failed.
    pub served_by: Option<VersionId>,
    /// Did stable stand in for the canary?
    pub fallback: bool,
    /// How many attempts were made.
    pub attempts: u32,
}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptKind {
    /// The first of its request.
    First,
    /// The same version again.
    Retry,
    /// Stable after the canary failed.
    Fallback,
}

impl AttemptKind {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
        }
    }
}

/// An answer as the client got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The request.
    pub key: RequestKey,
    /// How it ended for the client.
    pub outcome: Outcome,
    /// What the gateway's response headers claim.
    pub claim: Claim,
    /// The tokens that the answer states.
    pub usage: Option<Usage>,
    /// What the answer itself says of where it comes from.
    pub origin: Origin,
    /// How it differs from the OpenAI shape, when it is a success.
    pub drift: Drift,
    /// What came of its stream; none when it was none, or broke before the first token.
    pub streamed: Option<Streamed>,
}

/// The tokens of a stream as they came to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// When the first one came: with the first chunk that has content. The role alone is none.
    pub first_token: Timestamp,
    /// When the last one came.
    pub last_token: Timestamp,
    /// How many came.
    pub tokens: u32,
    /// Is their number only that of the chunks, because nobody states it?
    pub is_estimated: bool,
    /// Chunks with content.
    pub chunks: u32,
    /// The longest time between two of them.
    pub longest_gap: Duration,
    /// The tokens that its content amounts to, whatever is stated; none where the content does not tell.
    pub content: Option<u32>,
    /// Did it speak with two ids or models?
    pub is_spliced: bool,
    /// Did it end with `[DONE]` although it had failed, or was not finished?
    pub is_done_after_failure: bool,
}

impl Streamed {
    /// The mean time of a token after the first one (TPOT); none with one token.
    pub fn per_token(&self) -> Option<Duration> {
        let more = self.tokens.checked_sub(1).filter(|more| *more > 0)?;
        Some(self.time() / more)
    }

    /// From the first token to the last.
    pub fn time(&self) -> Duration {
        self.last_token.since(self.first_token)
    }
}

/// How the tokens of a whole stream followed each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// The request.
    pub key: RequestKey,
    /// The tokens after the first one, in the order they came.
    pub runs: Box<[Gap]>,
}

/// So many tokens, each so long after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From one token to the next.
    pub each: Duration,
    /// How many.
    pub tokens: u32,
}

/// What an answer says of where it comes from. A gateway that mixes answers up, dresses one
/// version's as another's, or passes on a part of them is found out by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The request that the upstream answered, by the id of its answer; none when it does not tell.
    pub key: Option<RequestKey>,
    /// The version whose model the answer names.
    pub version: Option<VersionId>,
    /// The text of a whole answer; none of a stream, which has [`Streamed::content`], and where no mock wrote it.
    pub text: Option<Text>,
}

/// The text of a mock's whole answer as the client got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// So many tokens of it, and nothing else.
    Tokens(u32),
    /// No mock writes like that.
    Altered,
}

/// What the gateway's response headers claim about an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// `x-version`.
    pub version: Option<VersionId>,
    /// `x-fallback`.
    pub fallback: Option<bool>,
    /// `x-attempts`.
    pub attempts: Option<u32>,
}

/// Whoever listens to a run.
pub trait Sink {
    /// Takes the next event. Events come in order of time.
    fn event(&mut self, event: &RunEvent);
}
