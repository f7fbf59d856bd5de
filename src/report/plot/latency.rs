//! Latency percentiles of the requests that each version answered, over time.

use plotters::style::RGBColor;

use crate::id::VersionId;
use crate::observe::timeline::Step;
use crate::report::Report;
use crate::report::rows::at;
use crate::stats::quantile::Quantile;
use crate::time::millis_f64;

use super::frame::{self, CANARY, Frame, Legend, Mark, Panel, STABLE, nice_top, rounded};

/// Points along the time axis.
const POINTS: usize = 60;
/// The percentiles, with the width of their line.
const QUANTILES: [(Quantile, u32); 3] =
    [(Quantile::P50, 1), (Quantile::P95, 2), (Quantile::P99, 3)];

/// One line: its points, colour and width.
type Line = (Vec<(f64, Option<f64>)>, RGBColor, u32);

/// `latency.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn latency(report: &Report) -> Result<String, String> {
    let meta = &report.meta;
    let (length, steps) = report.series.condensed(POINTS);
    let end = frame::end_of(report);
    let half = length.as_secs_f64() / 2.0;
    let points = |version: VersionId, quantile| -> Vec<(f64, Option<f64>)> {
        let value = |s: &Step| at(&s.versions[version].latencies, quantile).map(millis_f64);
        let middle = |s: &Step| (s.start_s as f64 + half).min(end);
        steps.iter().map(|s| (middle(s), value(s))).collect()
    };
    let versions = [(meta.stable, STABLE), (meta.canary, CANARY)];
    let lines: Vec<Line> = versions
        .into_iter()
        .flat_map(|(version, color)| {
            QUANTILES.map(|(quantile, width)| (points(version, quantile), color, width))
        })
        .collect();
    let all = lines.iter().flat_map(|(points, ..)| points);
    let top = all.filter_map(|(_, y)| *y).fold(0.0, f64::max);
    let legend = versions
        .into_iter()
        .flat_map(|(version, color)| {
            QUANTILES.map(|(quantile, width)| {
                let name: String = meta.name(version).chars().take(12).collect();
                Legend::new(format!("{name} {quantile}"), color, Mark::Line(width))
            })
        })
        .collect();
    let panel = Panel {
        y_label: "latency (ms)",
        y_max: nice_top(top),
        y_text: rounded,
        draw: Box::new(move |canvas| {
            lines
                .iter()
                .try_for_each(|(points, color, width)| canvas.line(points, *color, *width))
        }),
    };
    frame::render(&Frame {
        report,
        title: "Latency from the scheduled moment, by the version that answered",
        legend,
        panels: vec![panel],
    })
}
