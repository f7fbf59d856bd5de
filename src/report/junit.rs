//! `junit.xml`: a test suite a scenario, a test case a gate. A failed gate is a failure; an
//! inconclusive or invalid one is an error, so that no CI system takes it for green.

use quick_junit::{NonSuccessKind, Report as JunitReport, TestCase, TestCaseStatus, TestSuite};

use crate::report::Report;
use crate::verdict::result::{Check, GateResult, Status};

/// A scenario without a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRun {
    name: String,
    why: String,
    is_skipped: bool,
}

impl NotRun {
    /// One that could not be run.
    pub fn broken(name: &str, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            why: why.to_owned(),
            is_skipped: false,
        }
    }

    /// One that is not for here.
    pub fn skipped(name: &str, why: &str) -> Self {
        Self {
            is_skipped: true,
            ..Self::broken(name, why)
        }
    }

    fn suite(&self) -> TestSuite {
        let mut suite = TestSuite::new(&self.name);
        let status = match self.is_skipped {
            false => error("could not run", &self.why),
            true => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(&self.why);
                status
            }
        };
        suite.add_test_case(TestCase::new("run", status));
        suite
    }
}

/// The file for these runs, and for scenarios without one.
///
/// # Errors
/// When the XML cannot be written, which only happens when memory is short.
pub fn render(reports: &[&Report], others: &[NotRun]) -> Result<String, String> {
    let mut file = JunitReport::new("graygate");
    file.add_test_suites(reports.iter().map(|r| suite(r)));
    file.add_test_suites(others.iter().map(NotRun::suite));
    file.to_string().map_err(|e| e.to_string())
}

fn suite(report: &Report) -> TestSuite {
    let meta = &report.meta;
    let mut suite = TestSuite::new(format!("{} [{}]", meta.scenario, meta.driver()));
    suite.add_property(("engine", meta.driver()));
    suite.add_property(("seed", meta.seed.to_string().as_str()));
    suite.add_property(("scenario_sha256", meta.scenario_sha256.as_str()));
    suite.add_property(("reproduce", report.reproduce.as_str()));
    if report.verdict.interrupted {
        let status = error("interrupted", "the run was stopped before its end");
        suite.add_test_case(TestCase::new("complete", status));
    }
    let cases = report.verdict.gates.iter().map(|g| case(report, g));
    suite.add_test_cases(cases);
    suite
}

fn case(report: &Report, gate: &GateResult) -> TestCase {
    let status = match gate.status {
        Status::Pass => TestCaseStatus::success(),
        Status::Fail => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("fail").set_message(headline(gate));
            status.set_description(details(report, gate));
            status
        }
        Status::Inconclusive | Status::Invalid => {
            let mut status = error(gate.status.name(), &headline(gate));
            status.set_description(details(report, gate));
            status
        }
    };
    let mut case = TestCase::new(&gate.name, status);
    case.set_classname(&report.meta.scenario);
    case
}

fn error(kind: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type(kind).set_message(message);
    status
}

/// The first check that did not pass, in one line.
pub fn headline(gate: &GateResult) -> String {
    let worst = gate.open_checks().max_by_key(|c| c.status);
    match worst {
        None if gate.status == Status::Invalid => "the run's measurement is invalid".to_owned(),
        Some(check) => format!("{}: {}", check.condition, check.seen),
        None => "nothing was checked".to_owned(),
    }
}

fn details(report: &Report, gate: &GateResult) -> String {
    let checks = gate.open_checks().map(detail);
    let reproduce = std::iter::once(format!("reproduce: {}", report.reproduce));
    checks.chain(reproduce).collect::<Vec<_>>().join("\n")
}

fn detail(check: &Check) -> String {
    let mut line = format!(
        "{} {}: {}",
        check.status.name(),
        check.condition,
        check.seen
    );
    if let Some(more) = check.more_requests {
        line += &format!("; {more} more requests would settle it");
    }
    if !check.offenders.is_empty() {
        let keys: Vec<String> = check.offenders.iter().map(|k| k.to_string()).collect();
        line += &format!("; first offending requests: {}", keys.join(", "));
    }
    line
}
