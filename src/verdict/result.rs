//! What gates say.

use serde::{Deserialize, Serialize};

use crate::id::RequestKey;

/// How many offending requests a failed check names.
pub const OFFENDERS: usize = 5;

/// The result of a check, a gate or a run. Ordered by what counts when several meet: a failure
/// outweighs an invalid measurement, which outweighs too little evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Shown to hold.
    Pass,
    /// Too little evidence either way.
    Inconclusive,
    /// The measurement itself cannot be trusted.
    Invalid,
    /// Shown not to hold.
    Fail,
}

impl Status {
    /// The name in files: `pass`, `inconclusive`, `invalid`, `fail`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
            Self::Fail => "fail",
        }
    }
}

/// What a check rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// The figure that was judged, in `unit`; none when there was nothing to measure.
    pub estimate: Option<f64>,
    /// Its limits, when it is an estimate of something that holds beyond this run.
    pub interval: Option<[f64; 2]>,
    /// How sure the interval is: of `clopper-pearson equivalence` each limit by itself, of `exact binomial`
    /// both together. None of a census, which has no interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Of what: `share`, `ratio`, `s`, `requests`, `attempts`, `callers`, `steps`, `flaws`, `bytes`, `ln E` …
    pub unit: &'static str,
    /// How many observations it rests on.
    pub n: u64,
    /// How it was judged: `clopper-pearson equivalence`, `exact binomial` or `census`.
    pub method: &'static str,
}

/// One condition of a gate, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The condition, as asked for: `success >= 99.9%`.
    pub condition: String,
    /// Whether it holds.
    pub status: Status,
    /// What was seen, in a sentence for people.
    pub seen: String,
    /// What it rests on.
    pub evidence: Evidence,
    /// How many more requests would settle an inconclusive check, when that can be said.
    pub more_requests: Option<u64>,
    /// The first requests that speak against it.
    pub offenders: Vec<RequestKey>,
}

impl Check {
    /// A census: a fact of this run.
    pub fn census(condition: impl Into<String>, status: Status, seen: impl Into<String>) -> Self {
        Self {
            condition: condition.into(),
            status,
            seen: seen.into(),
            evidence: Evidence {
                method: CENSUS,
                ..Evidence::default()
            },
            more_requests: None,
            offenders: Vec::new(),
        }
    }

    /// The same, with its figure.
    pub fn figure(mut self, estimate: Option<f64>, unit: &'static str, n: u64) -> Self {
        self.evidence.estimate = estimate;
        self.evidence.unit = unit;
        self.evidence.n = n;
        self
    }

    /// The same, with the requests that speak against it, if it does not hold.
    pub fn offenders(mut self, keys: &[RequestKey]) -> Self {
        if self.status == Status::Fail {
            self.offenders = keys.to_vec();
        }
        self
    }

    /// Turned inconclusive when fewer than `min_n` observations were made, saying how many are
    /// missing.
    pub fn needs(mut self, n: u64, min_n: u64) -> Self {
        if n < min_n && self.status != Status::Fail {
            self.status = Status::Inconclusive;
            // Of what was never seen, nobody can say how many requests it takes to see one.
            let is_unseen = n == 0 && min_n <= 1;
            self.more_requests = (!is_unseen).then(|| min_n - n);
        }
        self
    }
}

/// Turns passes into inconclusive: nothing that was counted by a leaky join can be shown to hold. Nor
/// can it be said how many more requests would settle it.
pub fn weaken(checks: &mut [Check]) {
    for check in checks.iter_mut().filter(|c| c.status != Status::Fail) {
        check.status = check.status.max(Status::Inconclusive);
        check.more_requests = None;
    }
}

/// The method of all gates but `split`.
pub const CENSUS: &str = "census";

/// A gate, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateResult {
    /// Its name in files; when several gates bear one name, with their number: `requests#2`.
    pub name: String,
    /// The worst of its checks, or invalid with the whole run.
    pub status: Status,
    /// Its conditions.
    pub checks: Vec<Check>,
    /// Remarks that change nothing.
    pub warnings: Vec<String>,
}

impl GateResult {
    /// A gate from its checks. A gate without checks has nothing to stand on.
    pub fn of(name: &str, checks: Vec<Check>) -> Self {
        let worst = checks.iter().map(|c| c.status).max();
        Self {
            name: name.to_owned(),
            status: worst.unwrap_or(Status::Inconclusive),
            checks,
            warnings: Vec::new(),
        }
    }

    /// The checks that did not pass.
    pub fn open_checks(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.status != Status::Pass)
    }
}

/// The first few of many keys.
#[derive(Clone, Debug, Default)]
pub struct Offenders(Vec<RequestKey>);

impl Offenders {
    /// Notes one, while there is room.
    pub fn note(&mut self, key: RequestKey) {
        if self.0.len() < OFFENDERS {
            self.0.push(key);
        }
    }

    /// Those noted.
    pub fn keys(&self) -> &[RequestKey] {
        &self.0
    }
}

/// A run, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The worst of its gates.
    pub status: Status,
    /// Was the run stopped before its end?
    pub interrupted: bool,
    /// The gates, in the order of the file, then those that every run has.
    pub gates: Vec<GateResult>,
}

impl Verdict {
    /// Gates with this status.
    pub fn count(&self, status: Status) -> usize {
        self.gates.iter().filter(|g| g.status == status).count()
    }
}

/// A share for people: `9.98 % (2,497 of 25,020)`.
pub fn share_of(part: u64, whole: u64) -> String {
    match whole {
        0 => "0 of 0".to_owned(),
        _ => format!(
            "{} % ({} of {})",
            percent(part as f64 / whole as f64),
            grouped(part),
            grouped(whole)
        ),
    }
}

/// A fraction as a percentage with as many decimals as mean something: `9.98`, `100`, `0.013`.
pub fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    let text = match value {
        // 99.996 must not be shown as 100.00.
        v if v > 99.9 => format!("{v:.4}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count with its thousands apart: `12,345`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_outweighs_everything() {
        use Status::{Fail, Inconclusive, Invalid, Pass};
        assert!(Fail > Invalid && Invalid > Inconclusive && Inconclusive > Pass);
        let check = |status| Check::census("c", status, "s");
        let gate = GateResult::of("g", vec![check(Pass), check(Inconclusive), check(Pass)]);
        assert_eq!(gate.status, Inconclusive);
        assert_eq!(GateResult::of("g", Vec::new()).status, Inconclusive);
    }

    #[test]
    fn too_few_observations_never_pass_and_never_excuse() {
        let pass = Check::census("c", Status::Pass, "s").needs(3, 10);
        assert_eq!(
            (pass.status, pass.more_requests),
            (Status::Inconclusive, Some(7))
        );
        let fail = Check::census("c", Status::Fail, "s").needs(3, 10);
        assert_eq!(fail.status, Status::Fail);
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
        assert_eq!(percent(1.0), "100");
        assert_eq!(percent(0.99996), "99.996");
        assert_eq!(percent(0.0), "0");
        assert_eq!(percent(0.0998), "9.98");
        assert_eq!(percent(0.00013), "0.013");
        assert_eq!(share_of(1, 3), "33.33 % (1 of 3)");
        assert_eq!(share_of(0, 0), "0 of 0");
    }
}
