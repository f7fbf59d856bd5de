//! A request under way in the simulator, and the attempt of it that is out.

use smallvec::SmallVec;

use crate::id::{RequestKey, VersionId};
use crate::observe::event::{UpstreamEnded, What};
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::router::io::AnswerTraits;
use crate::traffic::body::Prompt;
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
}

/// An attempt that is out, or whose answer is held.
pub(super) struct Out {
    /// Its line in the upstreams' ledgers.
    pub(super) row: u64,
    pub(super) n: u32,
    pub(super) version: VersionId,
    pub(super) ordinal: u32,
    pub(super) plan: ResponsePlan,
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
            Act::Refuse(_) => Some((outcome, None)),
            Act::Odd(odd) if odd.is_lost() => None,
            Act::Odd(_) => Some((outcome, self.plan.stated_usage())),
            Act::Reset | Act::Close | Act::Unreachable | Act::Silence => None,
        }
    }

    /// What the gateway learns of the answer besides how it ended.
    pub(super) fn traits(&self) -> AnswerTraits {
        AnswerTraits {
            usage: self.plan.stated_usage(),
            drift: self.plan.drift(),
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
            usage: self.plan.usage(),
            drift: match outcome {
                Outcome::ClientGone => Drift::NONE,
                _ => self.plan.drift(),
            },
        };
        self.plan.is_taken().then_some(What::UpstreamEnded(ended))
    }
}
