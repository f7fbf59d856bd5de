//! Boundary mutants: the real core with a decorator that rewrites what goes in and comes out, or with another
//! configuration than its file says. One file a family.

mod bodies;
mod books;
mod books_of_requests;
mod callers;
mod closing;
mod dilution;
mod failing_streams;
mod failures;
mod fallback;
mod forced;
mod judging;
mod limiters;
mod movers;
mod notices;
mod ramp;
mod retries;
mod rollback;
mod split;
mod storms;
mod streams;
mod waits;

use crate::catalogue::Mutant;

pub(crate) fn all() -> Vec<Mutant> {
    [
        dilution::all(),
        books::all(),
        books_of_requests::all(),
        closing::all(),
        ramp::all(),
        judging::all(),
        rollback::all(),
        notices::all(),
        fallback::all(),
        failures::all(),
        retries::all(),
        storms::all(),
        waits::all(),
        limiters::all(),
        split::all(),
        movers::all(),
        forced::all(),
        callers::all(),
        bodies::all(),
        streams::all(),
        failing_streams::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
