//! What was decided about a canary, and on what: the judge's findings, rollbacks, what a step still lacks, and how the release stands.

use serde::Serialize;

use crate::id::VersionId;
use crate::time::Timestamp;

/// What the judge saw of one threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The version that is judged.
    pub version: VersionId,
    /// `error_rate`, `success_rate` (shares of 1) or `p99` (seconds); of the sequential judge `error`,
    /// `slow` …, with evidence (ln E) as the value.
    pub measure: &'static str,
    /// Its value; none without data.
    pub value: Option<f64>,
    /// The bound it must not cross.
    pub bound: f64,
    /// Judged attempts it rests on.
    pub samples: u64,
    /// Fewest judged attempts for the threshold to apply.
    pub min_samples: u64,
    /// `rollback` or `alert`.
    pub action: &'static str,
    /// Was the bound crossed on enough samples?
    pub violated: bool,
}

impl Finding {
    /// What was found, for people.
    pub fn in_words(&self) -> String {
        let (measure, samples) = (self.measure, self.samples);
        let value = self.value.unwrap_or_default();
        match measure {
            "error_rate" | "success_rate" | "p99" => {
                let bound = short(self.bound);
                format!("{measure} was {value:.4} (bound {bound}) over {samples} attempts")
            }
            // The other judge's measures: its value is evidence, and its samples are events.
            _ => format!(
                "the evidence on {measure} (ln E) reached {value:.2} of {:.2} needed, over {samples} \
                 {} at the canary",
                self.bound,
                events(measure, samples),
            ),
        }
    }
}

/// A bound as people write it, without the dust of binary fractions.
fn short(bound: f64) -> String {
    let text = format!("{bound:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn events(measure: &str, n: u64) -> &'static str {
    match (measure, n) {
        ("error" | "error_slo", 1) => "failure",
        ("error" | "error_slo", _) => "failures",
        (_, 1) => "event",
        _ => "events",
    }
}

/// The cause of a rollback that nobody tells of: the upstreams' ledgers show it.
pub const CLOSED_IN_LEDGER: &str = "closed_in_ledger";

/// The record of a rollback.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RollbackFacts {
    /// Unique within the router's life.
    pub id: String,
    /// The version that was closed.
    pub from: VersionId,
    /// The version that gets everything from now on.
    pub to: VersionId,
    /// When the driver learnt of it: the moment of its event, whatever the router claims. Where only ledgers tell, the last
    /// arrival at the closed version.
    pub decided_at: Timestamp,
    /// The measure that decided it, `by_hand` or `inconclusive`; `closed_in_ledger` where nobody says why.
    pub cause: &'static str,
    /// A person's reason, in their words.
    pub words: Option<String>,
    /// The judge's evidence, if that decided.
    pub reason: Option<Finding>,
    /// The step of the ramp that it came in.
    pub step: Option<String>,
    /// Requests given to the closed version until then.
    pub affected_requests: u64,
}

impl RollbackFacts {
    /// Did nobody tell of it, but the upstreams' ledgers? Then its record is no router's word.
    pub fn is_inferred(&self) -> bool {
        self.cause == CLOSED_IN_LEDGER
    }

    /// Why, for people.
    pub fn because(&self) -> String {
        match (&self.reason, &self.words) {
            (Some(finding), _) => finding.in_words(),
            (None, Some(words)) => format!("somebody asked for it: {words}"),
            (None, None) if self.cause == "closed_in_log" => {
                "the log shows that it got nothing more".to_owned()
            }
            (None, None) if self.is_inferred() => "its upstream got nothing more".to_owned(),
            (None, None) => self.cause.to_owned(),
        }
    }
}

/// One thing that the next step of a ramp still waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// `hold`, `too_few_requests`, `difference` …
    pub code: &'static str,
    /// The same for people, with its figures.
    pub words: String,
    /// What there is; none where that is no number.
    pub have: Option<f64>,
    /// What it must reach, or stay below.
    pub need: Option<f64>,
    /// `s`, `requests`, `attempts`, or `share` for shares of 1.
    pub unit: Option<&'static str>,
}

impl Missing {
    /// All of it in one line.
    pub fn in_words(all: &[Self]) -> String {
        let words: Vec<&str> = all.iter().map(|one| one.words.as_str()).collect();
        words.join("; ")
    }
}

/// Where a release stands, by the router's word.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StandingFacts {
    /// Counts changes of configuration and weights.
    pub revision: u64,
    /// `pending`, `progressing`, `paused`, `promoted` or `rolled_back`.
    pub phase: &'static str,
    /// The step of the ramp.
    pub step: Option<String>,
    /// The share of the randomly split requests that goes to the canary, 0 to 1.
    pub share: f64,
    /// What made it stand there: `judged`, `by_hand`, `rolled_back` …
    pub cause: &'static str,
    /// Why nothing goes to the canary whatever its weight: `rolled_back`, `store_failed`,
    /// `model_missing`; every reason there is.
    pub closed: Vec<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_evidence_read_differently() {
        let rate = Finding {
            version: VersionId(1),
            measure: "error_rate",
            value: Some(0.052_447),
            bound: 0.1 * 3.0 / 6.0,
            samples: 286,
            min_samples: 100,
            action: "rollback",
            violated: true,
        };
        assert_eq!(
            rate.in_words(),
            "error_rate was 0.0524 (bound 0.05) over 286 attempts"
        );
        let evidence = Finding {
            measure: "error",
            value: Some(9.331_9),
            bound: 7.600_9,
            samples: 6,
            ..rate
        };
        assert_eq!(
            evidence.in_words(),
            "the evidence on error (ln E) reached 9.33 of 7.60 needed, over 6 failures at the canary"
        );
    }
}
