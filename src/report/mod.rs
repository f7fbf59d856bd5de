//! What a run leaves behind: one [`Report`], and writers from it to bytes.
//!
//! Rows of requests, attempts and seconds are written while the run goes on ([`rows`], [`events`]);
//! everything else is a pure function of the report.

pub mod audit;
pub mod costs;
pub mod events;
mod gateway;
pub mod json;
pub mod junit;
pub mod log;
mod machine;
pub mod markdown;
pub mod plot;
pub mod pretty;
pub mod read;
pub mod rows;
pub mod runs;
pub mod streams;
pub mod tune;

use crate::observe::audit::AuditFindings;
use crate::observe::event::Finding;
use crate::observe::meta::RunMeta;
use crate::observe::summary::Summary;
use crate::observe::timeline::Series;
use crate::time::Timestamp;
use crate::verdict::result::Verdict;
use crate::verdict::spec::GateSpec;

/// Which requests have a row in `requests.csv` and `attempts.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RecordsKept {
    /// `all`, `failures`, `none`, or `all, then failures` for a run that turned out long.
    pub kept: &'static str,
    /// Rows of `requests.csv`.
    pub rows: u64,
}

/// Everything that is known about a run when it is over.
#[derive(Clone, Debug)]
pub struct Report {
    /// The circumstances.
    pub meta: RunMeta,
    /// What was expected.
    pub gates: Vec<GateSpec>,
    /// What came of it.
    pub verdict: Verdict,
    /// The totals.
    pub summary: Summary,
    /// The run over time.
    pub series: Series,
    /// The first findings of the judge that crossed a bound.
    pub alarms: Vec<(Timestamp, Finding)>,
    /// What an audit found beyond that; none for a run.
    pub audit: Option<AuditFindings>,
    /// The command that runs the same again.
    pub reproduce: String,
    /// Which requests have a row.
    pub records: RecordsKept,
}
