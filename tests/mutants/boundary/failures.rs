//! Routers that take one failure for another: each kind of failure must fall back, be tried again, or be neither.

use graygate::protocol::outcome::Outcome;
use graygate::router::io::Input;

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const EACH: &str = "each-failure-falls-back";

/// Takes one outcome for another.
pub(super) struct Mistakes(pub(super) Outcome, pub(super) Outcome);

impl Defect for Mistakes {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::AttemptEnded { outcome, .. } = &mut input
            && *outcome == self.0
        {
            *outcome = self.1;
        }
        vec![input]
    }
}

pub(super) fn all() -> Vec<Mutant> {
    let mut all = without_fallback();
    all.extend(tried_again());
    all
}

/// Failures of the canary that are told to the caller as they are, although stable could answer.
fn without_fallback() -> Vec<Mutant> {
    [
        (
            "no-fallback-on-401",
            "lets a refused key reach the caller",
            Outcome::Unauthorized,
            Source::Entries(&[34], 4),
        ),
        (
            "no-fallback-on-403",
            "lets a 403 reach the caller",
            Outcome::Forbidden,
            Source::Entries(&[13], 4),
        ),
        (
            "no-fallback-on-404",
            "lets a missing model reach the caller",
            Outcome::ModelNotFound,
            Source::Entries(&[16], 4),
        ),
        (
            "no-fallback-on-429",
            "lets a 429 reach the caller",
            Outcome::RateLimited,
            Source::Entries(&[13, 15, 20], 4),
        ),
        (
            "no-fallback-on-spent-quota",
            "lets a spent quota reach the caller",
            Outcome::QuotaExhausted,
            Source::Family(4),
        ),
        (
            "no-fallback-on-500",
            "lets a server error reach the caller",
            Outcome::ServerError,
            Source::Family(4),
        ),
        (
            "no-fallback-on-503",
            "lets an overload reach the caller",
            Outcome::Overloaded,
            Source::Entries(&[14], 4),
        ),
        (
            "no-fallback-on-408",
            "lets an upstream's timeout reach the caller",
            Outcome::Timeout,
            Source::Family(4),
        ),
        (
            "no-fallback-on-reset",
            "takes broken connections for the caller's fault",
            Outcome::Reset,
            Source::Family(4),
        ),
        (
            "no-fallback-on-refused",
            "takes a port where nobody listens for the caller's fault",
            Outcome::Connect,
            Source::Entries(&[15], 4),
        ),
        (
            "no-fallback-on-cut",
            "takes an answer that was cut off for the caller's fault",
            Outcome::Truncated,
            Source::Entries(&[23], 4),
        ),
        (
            "no-fallback-on-malformed",
            "takes an answer that is none for the caller's fault",
            Outcome::Malformed,
            Source::Entries(&[23], 4),
        ),
    ]
    .into_iter()
    .map(|(id, says, outcome, source)| {
        let mutant = Mutant::of_defect(id, says, source, move |_| {
            Mistakes(outcome, Outcome::BadRequest)
        });
        match outcome {
            // What never arrived is in no ledger: there the router's own word is all there is.
            Outcome::Connect => mutant.caught(EACH, "requests", "success == 100%").caught(
                EACH,
                "attribution",
                "real outcome",
            ),
            Outcome::Reset => mutant
                .caught(EACH, "fallback", "succeeds")
                .caught("s05-tcp-reset", "fallback", "succeeds")
                .caught("s05-tcp-reset", "attribution", "real outcome"),
            _ => mutant.caught(EACH, "fallback", "succeeds"),
        }
    })
    .collect()
}

/// Failures that will be the same next time.
fn tried_again() -> Vec<Mutant> {
    let hopeless = "hopeless_retries";
    let again = |id, says, outcome| {
        Mutant::of_defect(id, says, Source::Entries(&[10], 3), move |_| {
            Mistakes(outcome, Outcome::ServerError)
        })
    };
    vec![
        again(
            "bad-request-tried-again",
            "tries a refused request again",
            Outcome::BadRequest,
        )
        .caught("s12-context-length", "requests#1", hopeless)
        .caught("s13-content-filter", "requests#1", hopeless)
        .caught("s14-prefilled-answer", "requests#1", hopeless),
        again(
            "malformed-stream-tried-again",
            "asks again for a stream that was malformed",
            Outcome::Malformed,
        )
        .caught("s10-malformed-chunk", "requests#1", hopeless)
        .caught("s10-malformed-chunk", "attribution", "real outcome"),
    ]
}
