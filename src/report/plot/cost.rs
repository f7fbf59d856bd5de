//! What the versions cost since the start of the run, and how much of it for nothing.

use plotters::style::RGBColor;

use crate::id::VersionId;
use crate::observe::timeline::VersionStep;
use crate::pricing::Cost;
use crate::report::Report;

use super::frame::{self, CANARY, Frame, HARM, Legend, Mark, Panel, STABLE, nice_top, rounded};

/// Points along the time axis.
const POINTS: usize = 120;

/// A line, the area under it when it is what was wasted, and what the legend says.
struct Series {
    label: String,
    color: RGBColor,
    points: Vec<(f64, Option<f64>)>,
}

/// `cost.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn cost(report: &Report) -> Result<String, String> {
    let meta = &report.meta;
    let priced = [(meta.stable, STABLE), (meta.canary, CANARY)]
        .into_iter()
        .filter(|(version, _)| meta.versions[*version].price.is_some());
    let totals: Vec<Series> = priced
        .map(|(version, color)| Series {
            label: label(report, version),
            color,
            points: sums(report, |v| v == version, |s| [s.served_cost, s.wasted_cost]),
        })
        .collect();
    let wasted = Series {
        label: "for nothing, both together".to_owned(),
        color: HARM,
        points: sums(report, |_| true, |s| [s.wasted_cost, Cost::ZERO]),
    };
    let legend = totals
        .iter()
        .map(|s| Legend::new(s.label.clone(), s.color, Mark::Line(2)))
        .chain([Legend::new(wasted.label.clone(), HARM, Mark::Area(0.3))])
        .collect();
    frame::render(&Frame {
        report,
        title: "Cost since the start of the run",
        legend,
        panels: vec![panel(totals, wasted)],
    })
}

fn panel<'r>(totals: Vec<Series>, wasted: Series) -> Panel<'r> {
    let highest = |s: &Series| s.points.iter().filter_map(|(_, y)| *y).fold(0.0, f64::max);
    let all = totals.iter().chain([&wasted]);
    let under: Vec<_> = wasted
        .points
        .iter()
        .map(|(x, y)| (*x, y.map(|y| (0.0, y))))
        .collect();
    Panel {
        y_label: "US dollars",
        y_max: nice_top(all.map(highest).fold(0.0, f64::max)),
        y_text: dollars,
        draw: Box::new(move |canvas| {
            canvas.band(&under, wasted.color)?;
            canvas.line(&wasted.points, wasted.color, 1)?;
            totals
                .iter()
                .try_for_each(|s| canvas.line(&s.points, s.color, 2))
        }),
    }
}

fn label(report: &Report, version: VersionId) -> String {
    let name: String = report.meta.name(version).chars().take(12).collect();
    let total = report.summary.costs.versions[version].total();
    total.map_or(name.clone(), |total| format!("{name}, {total} in the end"))
}

/// Running sums of what some versions cost, at the end of each stretch of time.
fn sums(
    report: &Report,
    is_mine: impl Fn(VersionId) -> bool,
    parts: impl Fn(&VersionStep) -> [Cost; 2],
) -> Vec<(f64, Option<f64>)> {
    let (length, steps) = report.series.condensed(POINTS);
    let end = frame::end_of(report);
    let mut sum = Cost::ZERO;
    let mut points = vec![(0.0, Some(0.0))];
    for step in &steps {
        let mine = step.versions.iter().filter(|(v, _)| is_mine(*v));
        sum += mine.flat_map(|(_, s)| parts(s)).sum();
        let at = (step.start_s as f64 + length.as_secs_f64()).min(end);
        points.push((at, Some(sum.as_dollars_f64())));
    }
    points
}

fn dollars(value: f64) -> String {
    match value {
        v if v > 0.0 && v < 0.01 => format!("${v:.4}"),
        v => format!("${}", rounded(v)),
    }
}
