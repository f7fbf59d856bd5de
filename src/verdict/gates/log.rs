//! `log`: the log that is judged says enough. An audit has this gate where runs have `generator`: what says too little makes
//! the *measurement* invalid, not the gateway wrong.

use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, grouped, share_of};
use crate::verdict::spec::LogSpec;

/// One in this many records may be useless: 1 %.
const USELESS: u64 = 100;

/// The gate at work. All it needs is known beforehand.
pub struct LogGate {
    spec: LogSpec,
}

impl LogGate {
    /// A gate for a log that was looked through.
    pub fn new(spec: LogSpec) -> Self {
        Self { spec }
    }

    fn says_enough(&self) -> Check {
        let (useless, n) = (
            self.spec.useless.iter().map(|(_, n)| n).sum::<u64>(),
            self.spec.records,
        );
        let reasons = self.spec.useless.iter();
        let reasons: Vec<String> = reasons
            .map(|(reason, n)| format!("{} {reason}", grouped(*n)))
            .collect();
        let mut seen = share_of(useless, n);
        if !reasons.is_empty() {
            seen += &format!(": {}", reasons.join(", "));
        }
        let condition = "records that do not say who served, how it ended or when <= 1 %";
        let share = (n > 0).then(|| useless as f64 / n as f64);
        invalid_if(useless.saturating_mul(USELESS) > n, condition, seen).figure(share, "share", n)
    }

    /// A hundredth of all is much of a canary that gets a twentieth.
    fn blames_somebody(&self) -> Check {
        let (x, n) = (self.spec.failures, self.spec.at_canary);
        let condition = "failures that nobody can be held to <= 1 % of the canary's attempts";
        let seen = format!("{} beside {} attempts", grouped(x), grouped(n));
        invalid_if(x.saturating_mul(USELESS) > n, condition, seen).figure(
            Some(x as f64),
            "attempts",
            n,
        )
    }

    fn in_order(&self) -> Check {
        let condition = "attempts more than 65,536 records from their place == 0";
        let seen = grouped(self.spec.too_late);
        invalid_if(self.spec.too_late > 0, condition, seen).figure(
            None,
            "attempts",
            self.spec.records,
        )
    }

    /// Only where there were too many.
    fn all_waited_for(&self) -> Option<Check> {
        let forgotten = self.spec.forgotten;
        let condition = "failed attempts that were not waited for == 0";
        let seen = format!("{}: too many failed at once", grouped(forgotten));
        (forgotten > 0).then(|| invalid_if(true, condition, seen))
    }
}

/// What is told must be what was looked through.
fn unchanged(end: &End<'_>) -> Option<Check> {
    let planned = end.planned.filter(|_| !end.cut_short)?;
    let is_same = planned == end.summary.sent && !end.has_log_changed;
    let seen = match is_same {
        true => grouped(end.summary.sent),
        false => format!(
            "{}: the log changed while it was read",
            grouped(end.summary.sent)
        ),
    };
    let condition = format!("requests told == {} of the log", grouped(planned));
    Some(invalid_if(!is_same, &condition, seen).figure(
        Some(end.summary.sent as f64),
        "requests",
        end.summary.sent,
    ))
}

fn invalid_if(is_bad: bool, condition: &str, seen: String) -> Check {
    let status = if is_bad {
        Status::Invalid
    } else {
        Status::Pass
    };
    Check::census(condition, status, seen)
}

impl Gate for LogGate {
    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![self.says_enough(), self.blames_somebody(), self.in_order()];
        checks.extend(self.all_waited_for());
        checks.extend(unchanged(end));
        GateResult::of("log", checks)
    }
}
