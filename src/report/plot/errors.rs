//! Failed attempts per version, rescues by stable, and what callers suffered, over time.

use plotters::style::RGBColor;

use crate::observe::timeline::Step;
use crate::report::Report;

use super::frame::{self, CANARY, Frame, HARM, Legend, Mark, RESCUE, STABLE, nice_top};

/// Points along the time axis.
const POINTS: usize = 120;

/// What one line shows: label, colour, width, and how many of it a step holds.
type Line<'a> = (String, RGBColor, u32, Box<dyn Fn(&Step) -> u64 + 'a>);

/// `errors.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn errors(report: &Report) -> Result<String, String> {
    let meta = &report.meta;
    let (length, steps) = report.series.condensed(POINTS);
    let length = length.as_secs_f64();
    let end = frame::end_of(report);
    let name = |version| -> String { meta.name(version).chars().take(12).collect() };
    let lines: [Line<'_>; 4] = [
        (
            format!("{} failed attempts", name(meta.canary)),
            CANARY,
            3,
            Box::new(|s| s.versions[meta.canary].failures),
        ),
        (
            "answered by fallback".to_owned(),
            RESCUE,
            1,
            Box::new(|s| s.versions.values().map(|v| v.rescued).sum()),
        ),
        (
            format!("{} failed attempts", name(meta.stable)),
            STABLE,
            2,
            Box::new(|s| s.versions[meta.stable].failures),
        ),
        ("errors callers saw".to_owned(), HARM, 2, Box::new(|s| s.failed)),
    ];
    // The last step may be cut short by the end of the run.
    let per_second = |s: &Step, n: u64| {
        let lasted = (end - s.start_s as f64).clamp(1.0_f64.min(length), length);
        n as f64 / lasted
    };
    let points = |line: &Line<'_>| -> Vec<(f64, Option<f64>)> {
        let middle = |s: &Step| (s.start_s as f64 + length / 2.0).min(end);
        let value = |s: &Step| per_second(s, line.3(s));
        steps.iter().map(|s| (middle(s), Some(value(s)))).collect()
    };
    let drawn: Vec<_> = lines.iter().map(|line| (points(line), line.1, line.2)).collect();
    let top = drawn
        .iter()
        .flat_map(|(points, ..)| points)
        .filter_map(|(_, y)| *y)
        .fold(0.0, f64::max);
    let plot = Frame {
        report,
        title: "Errors and fallbacks",
        y_label: "per second",
        legend: lines
            .iter()
            .map(|line| Legend::new(line.0.clone(), line.1, Mark::Line(line.2)))
            .collect(),
        y_max: nice_top(top),
        y_text: |rate| format!("{}", (rate * 1_000.0).round() / 1_000.0),
    };
    frame::render(plot, |chart| {
        drawn
            .iter()
            .try_for_each(|(points, color, width)| frame::line(chart, points, *color, *width))
    })
}
