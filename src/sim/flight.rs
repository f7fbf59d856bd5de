//! A request under way in the simulator, and the attempt of it that is out.

use std::time::Duration;

use smallvec::SmallVec;

use crate::id::{AttemptId, RequestKey, VersionId};
use crate::observe::event::{Claim, Streamed, UpstreamEnded, What};
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::router::io::AnswerTraits;
use crate::time::Timestamp;
use crate::traffic::body::Prompt;
use crate::upstream::capacity::Ticket;
use crate::upstream::plan::{Act, ResponsePlan};

/// A request under way.
pub(super) struct Flight {
    pub(super) key: RequestKey,
    pub(super) prompt: Prompt,
    /// Attempts so far, by version.
    pub(super) tries: SmallVec<[u32; 2]>,
    /// The latest attempt.
    pub(super) out: Option<Out>,
    /// Did the caller leave?
    pub(super) is_deserted: bool,
    /// Does it want a stream?
    pub(super) stream: bool,
    /// The stream that the caller is being given.
    pub(super) begun: Option<Begun>,
}

/// A stream on its way to its caller.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    /// What its head says.
    pub(super) claim: Claim,
    /// When its first token came.
    pub(super) first_token: Timestamp,
}

/// What an upstream does next for an attempt.
#[derive(Clone, Copy)]
pub(super) enum Due {
    /// The first token of its stream.
    First(AttemptId),
    /// The stream goes on.
    Progress(AttemptId),
    /// The end of its answer.
    End(AttemptId),
}

/// Where an attempt stands with its upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It needs no place.
    Any,
    /// It has one.
    Has,
    /// It waits for one.
    Waits(Ticket),
}

/// An attempt that is out, or whose answer is held.
pub(super) struct Out {
    /// Its line in the upstreams' ledgers.
    pub(super) row: u64,
    pub(super) n: u32,
    pub(super) version: VersionId,
    pub(super) ordinal: u32,
    pub(super) plan: ResponsePlan,
    /// When its upstream began on it: when it was sent, or when a place was free.
    pub(super) began_at: Timestamp,
    /// Where it stands with an upstream that has so many places.
    pub(super) place: Place,
    /// How it ended; none while it is out.
    pub(super) ended: Option<Outcome>,
}

impl Out {
    /// The answer that is held for the caller: how it reads, and its usage. As the live gateway has
    /// it: without a whole reply in hand there is nothing to give.
    pub(super) fn held(&self) -> Option<(Outcome, Option<Usage>)> {
        let outcome = self.ended?;
        match self.plan.act {
            Act::Complete(usage) => Some((outcome, Some(usage))),
            // Without a token, or it would be on its way already.
            Act::Stream(stream) if outcome.is_success() => Some((outcome, stream.stated_usage())),
            Act::Stream(_) => None,
            Act::Refuse(_) => Some((outcome, None)),
            Act::Reset | Act::Silence => None,
        }
    }

    /// What a caller has seen of its stream, so long after the attempt was sent.
    pub(super) fn seen(&self, begun: Begun, passed: Duration) -> Option<Streamed> {
        let Act::Stream(stream) = self.plan.act else {
            return None;
        };
        let chunks = stream.chunks_by(self.plan.after, passed).max(1);
        Some(Streamed {
            first_token: begun.first_token,
            last_token: begun.first_token + stream.gap.saturating_mul(chunks - 1),
            tokens: stream.tokens_of_first(chunks),
            chunks,
            longest_gap: if chunks > 1 {
                stream.gap
            } else {
                Duration::ZERO
            },
        })
    }

    /// What the gateway learns of the answer besides how it ended.
    pub(super) fn traits(&self) -> AnswerTraits {
        AnswerTraits {
            usage: self.plan.stated_usage(),
            ..AnswerTraits::default()
        }
    }

    /// The last word of its upstream's ledger.
    pub(super) fn end(&self, key: RequestKey, outcome: Outcome) -> What {
        What::UpstreamEnded(UpstreamEnded {
            row: self.row,
            key: Some(key),
            version: self.version,
            ordinal: self.ordinal,
            outcome,
            usage: match self.place {
                Place::Waits(_) => Some(Usage::default()),
                Place::Any | Place::Has => self.plan.usage(),
            },
        })
    }
}
