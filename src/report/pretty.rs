//! The verdict on a terminal.

use std::fmt::Write;

use crate::report::{Report, audit, costs, gateway, log, streams};
use crate::time::Human;
use crate::verdict::result::{Check, GateResult, Status, grouped};

/// How text is dressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// May colours be used?
    pub color: bool,
}

impl Style {
    /// The text in the colour of a status, if colours may be used.
    pub fn paint(self, status: Status, text: &str) -> String {
        let code = match status {
            Status::Pass => 32,
            Status::Inconclusive => 33,
            Status::Invalid => 35,
            Status::Fail => 31,
        };
        match self.color {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// The verdict on one run: a line, and under it one line a gate with what it saw.
pub fn render(report: &Report, folder: Option<&str>, style: Style) -> String {
    let meta = &report.meta;
    let verdict = &report.verdict;
    let word = match verdict.interrupted {
        true => "INTERRUPTED".to_owned(),
        false => verdict.status.name().to_uppercase(),
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} {}  {} · {} requests · {}",
        style.paint(verdict.status, &format!("{word:<12}")),
        meta.scenario,
        meta.manner(" · seed "),
        grouped(report.summary.sent),
        Human(report.summary.end.elapsed()),
    );
    if let Some(log) = meta.log.as_ref().filter(|_| report.audit.is_none()) {
        let _ = writeln!(text, "    {:<14} {}", "log", log::line(log));
    }
    if let Some(line) = gateway::line(report) {
        let _ = writeln!(text, "    {:<14} {line}", "gateway");
    }
    for (name, line) in audit::lines(report) {
        let _ = writeln!(text, "    {name:<14} {line}");
    }
    for gate in &verdict.gates {
        text += &gate_lines(gate, style);
    }
    if let Some(line) = streams::line(report) {
        let _ = writeln!(text, "    {:<14} {line}", "streams");
    }
    if let Some(line) = costs::line(report) {
        let _ = writeln!(text, "    {:<14} {line}", "cost");
    }
    if verdict.status != Status::Pass || verdict.interrupted {
        let _ = writeln!(text, "    reproduce: {}", report.reproduce);
    }
    if let Some(folder) = folder {
        let _ = writeln!(text, "    report:    {folder}");
    }
    text
}

fn gate_lines(gate: &GateResult, style: Style) -> String {
    let mut text = String::new();
    // The gates that every run has are only worth a line when something is wrong.
    let is_tacit = matches!(
        gate.name.as_str(),
        "generator" | "join" | "log" | "policy" | "sample"
    );
    let is_short = is_tacit && gate.status == Status::Pass;
    let mark = mark(gate.status);
    let painted = style.paint(gate.status, mark);
    for (i, check) in gate.checks.iter().enumerate() {
        if is_short {
            break;
        }
        let name = if i == 0 { gate.name.as_str() } else { "" };
        let lead = if i == 0 { painted.as_str() } else { " " };
        let _ = writeln!(
            text,
            "  {lead} {name:<14} {}",
            check_line(check, gate, style)
        );
    }
    for warning in &gate.warnings {
        let _ = writeln!(text, "    {:<14} warning: {warning}", "");
    }
    text
}

fn check_line(check: &Check, gate: &GateResult, style: Style) -> String {
    let mut line = format!("{} — {}", check.condition, check.seen);
    // Of several conditions, which ones do not hold? (Those of an invalid run say nothing.)
    let is_open = matches!(gate.status, Status::Fail | Status::Inconclusive);
    if is_open && gate.checks.len() > 1 {
        line = format!("{} {line}", style.paint(check.status, mark(check.status)));
    }
    if let Some(more) = check.more_requests {
        let more = grouped(more);
        line += &style.paint(
            Status::Inconclusive,
            &format!(" ({more} more requests needed)"),
        );
    }
    if !check.offenders.is_empty() {
        let keys: Vec<String> = check.offenders.iter().map(|k| k.to_string()).collect();
        line += &format!(" [requests {}, …]", keys.join(", "));
    }
    line
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Inconclusive => "?",
        Status::Invalid => "!",
        Status::Fail => "✗",
    }
}
