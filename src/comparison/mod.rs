//! The difference of two runs, from their folders: verdicts gate by gate, figures with intervals, limits.

pub mod figures;
pub mod fitness;
pub mod folder;
pub mod gates;
pub mod limits;
pub mod pretty;

use serde::Serialize;

use crate::comparison::figures::Figure;
use crate::comparison::folder::Run;
use crate::comparison::gates::{Change, GateChange};
use crate::comparison::limits::{Limit, LimitResult};
use crate::verdict::result::Status;

/// The name and version of the format.
pub const FORMAT: &str = "graygate.compare/1";

/// What two runs, compared, come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No gate that passed fails now, and no limit is passed; all of it was shown.
    NoRegression,
    /// A gate that passed fails now, or a limit is passed.
    Regression,
    /// Neither was shown.
    TooLittleEvidence,
    /// One of the two is no measurement: nothing is compared.
    Refused,
}

/// Which run it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Its folder, as it was given.
    pub folder: String,
    /// Its scenario.
    pub scenario: String,
    /// `virtual`, `live` or `audit`.
    pub engine: String,
    /// Its seed.
    pub seed: u64,
    /// Its verdict.
    pub status: Status,
}

/// Two runs, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The name and version of the format.
    pub format: &'static str,
    /// What it comes to.
    pub outcome: Outcome,
    /// The first run.
    pub a: Side,
    /// The second one.
    pub b: Side,
    /// Of each interval by itself, 0 to 1.
    pub confidence: f64,
    /// Why nothing is compared.
    pub refused: Vec<String>,
    /// What differs besides what was measured.
    pub notes: Vec<String>,
    /// Verdicts, the worst changes first.
    pub gates: Vec<GateChange>,
    /// Figures.
    pub figures: Vec<Figure>,
    /// Limits, in the order of the command's options.
    pub limits: Vec<LimitResult>,
}

/// Compares B with A.
pub fn compare(a: &Run, b: &Run, confidence: f64, limits: &[Limit]) -> Comparison {
    let mut comparison = Comparison {
        format: FORMAT,
        outcome: Outcome::Refused,
        a: side(a),
        b: side(b),
        confidence,
        refused: fitness::refusals(a, b),
        notes: fitness::notes(a, b),
        gates: Vec::new(),
        figures: Vec::new(),
        limits: Vec::new(),
    };
    if comparison.refused.is_empty() {
        comparison.gates = gates::changes(&a.summary, &b.summary);
        comparison.figures = figures::figures(a, b, confidence);
        let judged = limits.iter().map(|l| limits::judge(l, &comparison.figures));
        comparison.limits = judged.collect();
        comparison.outcome = comparison.comes_to();
    }
    comparison
}

fn side(run: &Run) -> Side {
    let summary = &run.summary;
    Side {
        folder: run.folder.display().to_string(),
        scenario: summary.scenario.clone(),
        engine: summary.engine.clone(),
        seed: summary.seed,
        status: summary.status,
    }
}

impl Comparison {
    fn comes_to(&self) -> Outcome {
        let has_gate = |change| self.gates.iter().any(|gate| gate.change == change);
        let has_limit = |status| self.limits.iter().any(|limit| limit.status == status);
        if has_gate(Change::Regressed) || has_limit(Status::Fail) {
            return Outcome::Regression;
        }
        // A run that ended before its end is inconclusive whatever its gates say.
        let is_cut_short = self.b.status == Status::Inconclusive;
        if has_gate(Change::Unknown) || has_limit(Status::Inconclusive) || is_cut_short {
            return Outcome::TooLittleEvidence;
        }
        Outcome::NoRegression
    }

    /// The same as JSON, with a final line end.
    pub fn json(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        format!("{value:#}\n")
    }
}
