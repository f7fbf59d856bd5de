//! The canary's share over time, with its confidence band and the intended share.

use crate::observe::timeline::Step;
use crate::report::Report;
use crate::stats::proportion::{Limits, clopper_pearson};
use crate::verdict::spec::GateSpec;

use super::frame::{self, CANARY, Frame, Legend, Mark, STABLE, nice_top};

/// One-sided confidence of each edge of the band: together 95 %.
const CONFIDENCE: f64 = 0.975;
/// Points along the time axis.
const POINTS: usize = 60;

/// `split.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn split(report: &Report) -> Result<String, String> {
    let canary = report.meta.canary;
    let (length, steps) = report.series.condensed(POINTS);
    let middle = |step: &Step| {
        let end = frame::end_of(report);
        (step.start_s as f64 + length.as_secs_f64() / 2.0).min(end)
    };
    let limits = |step: &Step| {
        let (x, n) = step.split(canary);
        clopper_pearson(x, n, CONFIDENCE)
    };
    let share = |step: &Step| {
        let (x, n) = step.split(canary);
        (n > 0).then(|| x as f64 / n as f64)
    };
    let shares: Vec<_> = steps.iter().map(|s| (middle(s), share(s))).collect();
    let band: Vec<_> = steps
        .iter()
        .map(|s| (middle(s), limits(s).map(|Limits { low, high }| (low, high))))
        .collect();
    let target = report.meta.canary_share;
    let tolerated = tolerated(report);
    let top = top(target, &steps, tolerated, limits);
    let clipped: Vec<_> = band
        .into_iter()
        .map(|(x, y)| (x, y.map(|(low, high): (f64, f64)| (low.min(top), high.min(top)))))
        .collect();
    let mut legend = vec![
        Legend::new("share of the canary", CANARY, Mark::Line(2)),
        Legend::new("95 % confidence band", CANARY, Mark::Area(0.18)),
        Legend::new("intended", STABLE, Mark::Dashes),
    ];
    if tolerated.is_some() {
        legend.push(Legend::new("tolerated", STABLE, Mark::Line(1)));
    }
    let end = frame::end_of(report);
    let plot = Frame {
        report,
        title: "Share of the canary among randomised requests",
        y_label: "share of requests (%)",
        legend,
        y_max: top,
        y_text: |share| {
            let percent = (share * 1e4).round() / 100.0;
            format!("{percent}")
        },
    };
    frame::render(plot, |chart| {
        frame::band(chart, &clipped, CANARY)?;
        if let Some((low, high)) = tolerated {
            for edge in [low.max(0.0), high] {
                let points = [(0.0, Some(edge)), (end, Some(edge))];
                frame::line(chart, &points, STABLE, 1)?;
            }
        }
        frame::dashes(chart, vec![(0.0, target), (end, target)], STABLE)?;
        frame::line(chart, &shares, CANARY, 2)
    })
}

/// The band that a split gate on the canary tolerates.
fn tolerated(report: &Report) -> Option<(f64, f64)> {
    report.gates.iter().find_map(|gate| match gate {
        GateSpec::Split(spec) if spec.version == report.meta.canary => {
            Some((spec.share - spec.tolerance, spec.share + spec.tolerance))
        }
        _ => None,
    })
}

/// High enough for every share, the tolerated band, and most of the confidence band.
fn top(
    target: f64,
    steps: &[Step],
    tolerated: Option<(f64, f64)>,
    limits: impl Fn(&Step) -> Option<Limits>,
) -> f64 {
    // The band of a few requests reaches 100 % and would flatten everything else.
    let highs = steps.iter().filter_map(|s| limits(s).map(|l| l.high));
    let shown = highs.filter(|high| *high < 3.0 * target.max(0.02)).fold(0.0, f64::max);
    let wanted = [target * 1.5, tolerated.map_or(0.0, |(_, high)| high), shown];
    nice_top(wanted.into_iter().fold(0.0, f64::max)).min(1.0)
}
