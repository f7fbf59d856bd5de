//! Failures that were recorded, as the answers that upstreams give.

use crate::fault::kind::FaultKind;
use crate::protocol::outcome::Outcome;
use crate::protocol::recorded::Answer;
use crate::upstream::plan::{Act, ResponsePlan};
use crate::upstream::stream::Breakage;

/// What becomes of an answer in good health that had failed when it was recorded.
pub(super) fn failed(healthy: ResponsePlan, told: &Answer, failure: Outcome) -> ResponsePlan {
    let length = healthy.length().filter(|_| told.length().is_some());
    let is_stream = matches!(healthy.act, Act::Stream(_));
    let tokens = told.output_tokens.unwrap_or(0);
    let Some(kind) = kind(failure, is_stream.then_some(tokens)) else {
        return healthy;
    };
    let plan = kind.apply(healthy);
    match (&plan.act, length) {
        // What has no course of its own comes when the log says that it came.
        (Act::Refuse(_) | Act::Reset | Act::Close, Some(length)) => ResponsePlan {
            after: length,
            ..plan
        },
        _ => plan,
    }
}

/// The fault that looks like this to whoever asked: for a stream, after so many of its tokens.
fn kind(failure: Outcome, stream: Option<u32>) -> Option<FaultKind> {
    let broken = |how| {
        stream.map(|after| FaultKind::Stream {
            how,
            after,
            has_role: false,
        })
    };
    let retry_after = None;
    Some(match failure {
        Outcome::Unauthorized => FaultKind::Unauthorized,
        Outcome::Forbidden => FaultKind::Forbidden { status: 403 },
        Outcome::ModelNotFound => FaultKind::ModelNotFound,
        Outcome::RateLimited => FaultKind::RateLimited { retry_after },
        Outcome::QuotaExhausted => FaultKind::InsufficientQuota,
        Outcome::BadRequest => FaultKind::BadRequest { status: 400 },
        Outcome::ServerError => FaultKind::ServerError { status: 500 },
        Outcome::Overloaded => FaultKind::Overloaded {
            status: 503,
            retry_after,
        },
        Outcome::Timeout => FaultKind::Timeout,
        // One port cannot be shut to one request and open to the next.
        Outcome::Connect => FaultKind::Close,
        Outcome::Reset => match stream {
            Some(1..) => broken(Breakage::Reset)?,
            _ => FaultKind::Reset,
        },
        Outcome::Truncated => broken(Breakage::Cut).unwrap_or(FaultKind::Cut),
        // An answer that is no stream has no error in its middle.
        Outcome::StreamError => {
            broken(Breakage::Error).unwrap_or(FaultKind::ServerError { status: 500 })
        }
        Outcome::Malformed => broken(Breakage::Malformed).unwrap_or(FaultKind::Malformed),
        Outcome::Success
        | Outcome::ClientGone
        | Outcome::Deadline
        | Outcome::Limited
        | Outcome::Shutdown => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::openai::Usage;
    use crate::upstream::stream::{Ending, Manner, StreamPlan};

    fn played(end: Outcome, act: Act) -> ResponsePlan {
        let told = Answer {
            latency: Some(Duration::from_secs(2)),
            end: Some(end),
            output_tokens: Some(3),
            ..Answer::default()
        };
        let after = match act {
            Act::Stream(_) => Duration::from_secs(1),
            _ => Duration::from_secs(2),
        };
        let healthy = ResponsePlan { after, act };
        match told.failure() {
            Some(failure) => failed(healthy, &told, failure),
            None => healthy,
        }
    }

    /// Whoever asks sees what the log says, but for a closed port, which nobody can play for one request alone.
    #[test]
    fn a_failure_looks_like_what_was_recorded() {
        let usage = Usage {
            prompt_tokens: 1,
            completion_tokens: 3,
        };
        let stream = StreamPlan {
            usage,
            gap: Duration::from_millis(500),
            per_chunk: 1,
            ending: Ending::Whole,
            manner: Manner::Usual,
        };
        for end in Outcome::ALL {
            let whole = match end {
                Outcome::Timeout => None,
                Outcome::Connect => Some(Outcome::Reset),
                Outcome::StreamError => Some(Outcome::ServerError),
                Outcome::ClientGone | Outcome::Deadline | Outcome::Limited | Outcome::Shutdown => {
                    Some(Outcome::Success)
                }
                other => Some(other),
            };
            let plan = played(end, Act::Complete(usage));
            assert_eq!(plan.outcome(), whole, "{end:?}");
            let streamed = match end {
                Outcome::StreamError => Some(Outcome::StreamError),
                _ => whole,
            };
            assert_eq!(
                played(end, Act::Stream(stream)).outcome(),
                streamed,
                "{end:?}"
            );
            if whole.is_some() {
                assert_eq!(plan.length(), Some(Duration::from_secs(2)), "{end:?}");
            }
        }
    }
}
