//! A request under way in the simulator, and the attempt of it that is out.

use std::time::Duration;

use smallvec::SmallVec;

use crate::id::{AttemptId, RequestKey, VersionId};
use crate::observe::event::{Claim, Gap, Gaps, Streamed, UpstreamEnded, What};
use crate::protocol::drift::Drift;
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
    /// How it ended, by the core's word.
    pub(super) settled: Option<Outcome>,
}

/// A stream on its way to its caller.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    /// What its head says.
    pub(super) claim: Claim,
    /// When the first token came of the attempt that is out.
    pub(super) first_token: Option<Timestamp>,
    /// What an attempt before it had sent already, where a core asks again all the same: nobody can take it
    /// back.
    pub(super) earlier: Option<(VersionId, Streamed)>,
}

impl Flight {
    /// What the caller has seen of its stream by now.
    pub(super) fn seen(&self, now: Timestamp) -> Option<Streamed> {
        self.seen_of(now).map(|(_, streamed)| streamed)
    }

    /// The same, with the version that it comes from at last.
    fn seen_of(&self, now: Timestamp) -> Option<(VersionId, Streamed)> {
        let begun = self.begun?;
        let out = self.out.as_ref().zip(begun.first_token);
        let own = out.and_then(|(out, first)| Some((out.version, out.seen(first, now)?)));
        match (begun.earlier, own) {
            (Some(earlier), Some(own)) => Some((own.0, spliced(earlier, own))),
            (earlier, own) => own.or(earlier),
        }
    }

    /// The attempt that is out gives way to another, or to none. What the caller has seen of it stays.
    pub(super) fn replace(&mut self, now: Timestamp, out: Option<Out>) -> Option<Out> {
        let seen = self.seen_of(now);
        if let Some(begun) = &mut self.begun {
            begun.earlier = seen;
            begun.first_token = None;
        }
        std::mem::replace(&mut self.out, out)
    }
}

/// Two streams, one after the other, as one caller reads them.
fn spliced(earlier: (VersionId, Streamed), own: (VersionId, Streamed)) -> Streamed {
    let (one, two) = (earlier.1, own.1);
    let between = two.first_token.since(one.last_token);
    Streamed {
        first_token: one.first_token,
        tokens: one.tokens + two.tokens,
        chunks: one.chunks + two.chunks,
        content: one.content.zip(two.content).map(|(a, b)| a + b),
        longest_gap: one.longest_gap.max(two.longest_gap).max(between),
        // Mocks name themselves by request and model: two tries at one version look alike.
        is_spliced: one.is_spliced || earlier.0 != own.0,
        ..two
    }
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
            Act::Odd(odd) if odd.is_lost() => None,
            Act::Odd(_) => Some((outcome, self.plan.stated_usage())),
            Act::Reset | Act::Close | Act::Unreachable | Act::Silence => None,
        }
    }

    /// What a caller has seen of its stream by now.
    fn seen(&self, first_token: Timestamp, now: Timestamp) -> Option<Streamed> {
        let Act::Stream(stream) = self.plan.act else {
            return None;
        };
        let (first, passed) = (self.plan.after, now.since(self.began_at));
        let chunks = stream.chunks_by(first, passed).max(1);
        let tokens = stream.tokens_of_first(chunks);
        let again = stream.again(first).filter(|(at, _)| *at <= passed);
        Some(Streamed {
            first_token,
            last_token: first_token + stream.gap.saturating_mul(chunks - 1),
            tokens,
            is_estimated: false,
            content: Some(tokens + again.map_or(0, |(_, twice)| twice)),
            is_spliced: false,
            is_done_after_failure: false,
            chunks: chunks + u32::from(again.is_some()),
            longest_gap: if chunks > 1 {
                stream.gap
            } else {
                Duration::ZERO
            },
        })
    }

    /// Its whole stream, when the gateway has held it back until now: all of it comes at once.
    pub(super) fn seen_at_once(&self, now: Timestamp) -> Option<Streamed> {
        let whole = self.seen(now, now)?;
        let is_any = matches!(&self.plan.act, Act::Stream(stream) if stream.has_token());
        is_any.then_some(Streamed {
            last_token: now,
            longest_gap: Duration::ZERO,
            ..whole
        })
    }

    /// How the tokens of its stream followed each other.
    pub(super) fn gaps(&self, key: RequestKey) -> Option<Gaps> {
        let Act::Stream(stream) = self.plan.act else {
            return None;
        };
        let gaps = stream.gaps(stream.chunks_read()).into_iter();
        let runs = gaps.map(|(each, tokens)| Gap { each, tokens }).collect();
        Some(Gaps { key, runs })
    }

    /// What the gateway learns of the answer besides how it ended.
    pub(super) fn traits(&self) -> AnswerTraits {
        AnswerTraits {
            usage: self.plan.stated_usage(),
            drift: self.plan.drift(),
            is_estimated: false,
        }
    }

    /// The last word of its upstream's ledger; none where nobody took it.
    pub(super) fn end(&self, key: RequestKey, outcome: Outcome) -> Option<What> {
        let ended = UpstreamEnded {
            row: self.row,
            key: Some(key),
            version: self.version,
            ordinal: self.ordinal,
            outcome,
            usage: match self.place {
                Place::Waits(_) => Some(Usage::default()),
                Place::Any | Place::Has => self.plan.usage(),
            },
            cost: None,
            drift: match outcome {
                Outcome::ClientGone => Drift::NONE,
                _ => self.plan.drift(),
            },
        };
        self.plan.is_taken().then_some(What::UpstreamEnded(ended))
    }
}
