//! When the tokens of whole streams came, by the version that answered: to the first one, and from one to the
//! next.

use plotters::style::RGBColor;

use crate::observe::timeline::{Step, VersionStep};
use crate::report::Report;
use crate::report::rows::at_in;
use crate::stats::histogram::LogHistogram;
use crate::stats::quantile::Quantile;
use crate::time::millis_f64;

use super::frame::{self, CANARY, Frame, Legend, Mark, Panel, STABLE, nice_top, rounded};

/// Points along the time axis.
const POINTS: usize = 60;
/// The percentiles, with the width of their line.
const QUANTILES: [(Quantile, u32); 2] = [(Quantile::P50, 1), (Quantile::P99, 3)];

/// What a panel shows of a step.
type Measure = fn(&VersionStep) -> Option<&LogHistogram>;

/// One line: its points, colour and width.
type Line = (Vec<(f64, Option<f64>)>, RGBColor, u32);

/// `streams.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn streams(report: &Report) -> Result<String, String> {
    let meta = &report.meta;
    let versions = [(meta.stable, STABLE), (meta.canary, CANARY)];
    let legend = versions.into_iter().flat_map(|(version, color)| {
        QUANTILES.map(|(quantile, width)| {
            let name: String = meta.name(version).chars().take(12).collect();
            Legend::new(format!("{name} {quantile}"), color, Mark::Line(width))
        })
    });
    frame::render(&Frame {
        report,
        title: "Tokens of whole streams, by the version that answered",
        legend: legend.collect(),
        panels: vec![
            panel(report, "to the first (ms)", |v| v.first_tokens.as_ref()),
            panel(report, "between two (ms)", |v| v.inter_tokens.as_ref()),
        ],
    })
}

fn panel<'r>(report: &'r Report, y_label: &'static str, measure: Measure) -> Panel<'r> {
    let lines = lines(report, measure);
    let all = lines.iter().flat_map(|(points, ..)| points);
    let top = all.filter_map(|(_, y)| *y).fold(0.0, f64::max);
    Panel {
        y_label,
        y_max: nice_top(top),
        y_text: rounded,
        draw: Box::new(move |canvas| {
            lines
                .iter()
                .try_for_each(|(points, color, width)| canvas.line(points, *color, *width))
        }),
    }
}

fn lines(report: &Report, measure: Measure) -> Vec<Line> {
    let meta = &report.meta;
    let (length, steps) = report.series.condensed(POINTS);
    let end = frame::end_of(report);
    let half = length.as_secs_f64() / 2.0;
    let versions = [(meta.stable, STABLE), (meta.canary, CANARY)];
    let lines = versions.into_iter().flat_map(|(version, color)| {
        let steps = &steps;
        QUANTILES.map(|(quantile, width)| {
            let value = |s: &Step| at_in(measure(&s.versions[version]), quantile).map(millis_f64);
            let middle = |s: &Step| (s.start_s as f64 + half).min(end);
            let points = steps.iter().map(|s| (middle(s), value(s))).collect();
            (points, color, width)
        })
    });
    lines.collect()
}
