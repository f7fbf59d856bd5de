//! What the versions cost since the start of the run, and how much of it for nothing.

use plotters::style::RGBColor;

use crate::id::VersionId;
use crate::observe::timeline::VersionStep;
use crate::pricing::Cost;
use crate::report::Report;

use super::frame::{self, CANARY, Frame, Legend, Mark, Panel, STABLE, nice_top, rounded};

/// Points along the time axis.
const POINTS: usize = 120;

/// A version's line.
type Line = (Vec<(f64, Option<f64>)>, RGBColor);

/// `cost.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn cost(report: &Report) -> Result<String, String> {
    let meta = &report.meta;
    let priced: Vec<(VersionId, RGBColor)> = [(meta.stable, STABLE), (meta.canary, CANARY)]
        .into_iter()
        .filter(|(version, _)| report.summary.costs.versions[*version].is_priced())
        .collect();
    let lines = |part: fn(&VersionStep) -> Cost| -> Vec<Line> {
        let line =
            |(version, color): &(VersionId, RGBColor)| (sums(report, *version, part), *color);
        priced.iter().map(line).collect()
    };
    let legend = priced
        .iter()
        .map(|(version, color)| Legend::new(label(report, *version), *color, Mark::Line(2)));
    frame::render(&Frame {
        report,
        title: "Cost since the start of the run, and how much of it was for nothing",
        legend: legend.collect(),
        panels: vec![
            panel(
                "all (US dollars)",
                lines(|s| s.served_cost.saturating_add(s.wasted_cost)),
            ),
            panel("for nothing", lines(|s| s.wasted_cost)),
        ],
    })
}

fn panel<'r>(y_label: &'static str, lines: Vec<Line>) -> Panel<'r> {
    let all = lines.iter().flat_map(|(points, _)| points);
    let highest = all.filter_map(|(_, y)| *y).fold(0.0, f64::max);
    Panel {
        y_label,
        y_max: nice_top(highest),
        y_text: dollars,
        draw: Box::new(move |canvas| {
            lines
                .iter()
                .try_for_each(|(points, color)| canvas.line(points, *color, 2))
        }),
    }
}

fn label(report: &Report, version: VersionId) -> String {
    let name: String = report.meta.name(version).chars().take(12).collect();
    let costs = &report.summary.costs.versions[version];
    match (costs.total(), costs.wasted()) {
        (Some(total), Some(wasted)) => format!("{name}: {total}, of it {wasted} for nothing"),
        _ => name,
    }
}

/// Running sums of a part of what a version cost, at the end of each stretch of time.
fn sums(
    report: &Report,
    version: VersionId,
    part: impl Fn(&VersionStep) -> Cost,
) -> Vec<(f64, Option<f64>)> {
    let (length, steps) = report.series.condensed(POINTS);
    let end = frame::end_of(report);
    let mut sum = Cost::ZERO;
    let mut points = vec![(0.0, Some(0.0))];
    for step in &steps {
        sum += part(&step.versions[version]);
        let at = (step.start_s as f64 + length.as_secs_f64()).min(end);
        points.push((at, Some(sum.as_dollars_f64())));
    }
    points
}

fn dollars(value: f64) -> String {
    match value {
        v if v > 0.0 && v < 0.01 => format!("${v:.6}").trim_end_matches('0').to_owned(),
        v => format!("${}", rounded(v)),
    }
}
