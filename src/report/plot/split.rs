//! The canary's share over time, with its confidence band and the intended share.

use crate::observe::timeline::Step;
use crate::report::Report;
use crate::stats::proportion::{Limits, clopper_pearson};
use crate::verdict::spec::GateSpec;

use super::frame::{self, CANARY, Frame, Legend, Mark, Panel, STABLE, nice_top, rounded};

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
    let target = intended(report).iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let tolerated = tolerated(report);
    let top = top(target, &steps, tolerated.as_ref(), limits);
    let clipped: Vec<_> = band
        .into_iter()
        .map(|(x, y)| {
            (
                x,
                y.map(|(low, high): (f64, f64)| (low.min(top), high.min(top))),
            )
        })
        .collect();
    let mut legend = vec![
        Legend::new("share of the canary", CANARY, Mark::Line(2)),
        Legend::new("95 % confidence band", CANARY, Mark::Area(0.18)),
        Legend::new("intended", STABLE, Mark::Dashes),
    ];
    if tolerated.is_some() {
        legend.push(Legend::new("tolerated", STABLE, Mark::Line(1)));
    }
    let intended = intended(report);
    let panel = Panel {
        y_label: "share of requests (%)",
        y_max: top,
        y_text: |share| rounded(share * 100.0),
        draw: Box::new(move |canvas| {
            canvas.band(&clipped, CANARY)?;
            for edge in tolerated.iter().flat_map(|t| [t.low.max(0.0), t.high]) {
                let (from, to) = tolerated.as_ref().map_or((0.0, 0.0), |t| (t.from, t.to));
                canvas.line(&[(from, Some(edge)), (to, Some(edge))], STABLE, 1)?;
            }
            canvas.dashes(&intended, STABLE)?;
            canvas.line(&shares, CANARY, 2)
        }),
    };
    frame::render(&Frame {
        report,
        title: "Share of the canary among randomised requests",
        legend,
        panels: vec![panel],
    })
}

/// The intended share: each weight as long as it is in force.
fn intended(report: &Report) -> Vec<(f64, f64)> {
    let mut share = report.meta.canary_share;
    let mut line = vec![(0.0, share)];
    for (at, standing) in &report.summary.standings {
        let at = at.as_secs_f64();
        line.push((at, share));
        share = standing.share;
        line.push((at, share));
    }
    line.push((frame::end_of(report), share));
    line
}

/// The band that a split gate tolerates, while it applies.
struct Tolerated {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

fn tolerated(report: &Report) -> Option<Tolerated> {
    let rollback = report.summary.rollbacks.first();
    let in_force = rollback.map_or(frame::end_of(report), |r| r.decided_at.as_secs_f64());
    report.gates.iter().find_map(|gate| match gate {
        GateSpec::Split(spec) if spec.version == report.meta.canary => {
            let to = spec.scope.to.map_or(in_force, |to| to.as_secs_f64());
            Some(Tolerated {
                low: spec.share - spec.tolerance,
                high: spec.share + spec.tolerance,
                from: spec.scope.from.as_secs_f64(),
                to: to.min(in_force),
            })
        }
        _ => None,
    })
}

/// High enough for every share, the tolerated band, and most of the confidence band.
fn top(
    target: f64,
    steps: &[Step],
    tolerated: Option<&Tolerated>,
    limits: impl Fn(&Step) -> Option<Limits>,
) -> f64 {
    // The band of a few requests reaches 100 % and would flatten everything else.
    let highs = steps.iter().filter_map(|s| limits(s).map(|l| l.high));
    let shown = highs
        .filter(|high| *high < 3.0 * target.max(0.02))
        .fold(0.0, f64::max);
    let wanted = [target * 1.5, tolerated.map_or(0.0, |t| t.high), shown];
    nice_top(wanted.into_iter().fold(0.0, f64::max)).min(1.0)
}
