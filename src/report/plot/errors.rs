//! Failed attempts per version, and what became of the requests: answered by fallback, or an error
//! for the caller. Two panels over one time axis.

use plotters::style::RGBColor;

use crate::observe::timeline::Step;
use crate::report::Report;

use super::frame::{self, CANARY, Frame, HARM, Legend, Mark, Panel, RESCUE, STABLE};
use super::frame::{nice_top, rounded};

/// Bars along the time axis.
const BARS: usize = 120;

/// What a part of a bar shows: label, colour, and how many of it a step holds.
struct Part<'r> {
    label: String,
    color: RGBColor,
    count: Box<dyn Fn(&Step) -> u64 + 'r>,
}

/// `errors.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn errors(report: &Report) -> Result<String, String> {
    let meta = &report.meta;
    let name = |version| -> String { meta.name(version).chars().take(12).collect() };
    let attempts = vec![
        Part {
            label: format!("failed attempts at {}", name(meta.canary)),
            color: CANARY,
            count: Box::new(|s| s.versions[meta.canary].failures),
        },
        Part {
            label: format!("failed attempts at {}", name(meta.stable)),
            color: STABLE,
            count: Box::new(|s| s.versions[meta.stable].failures),
        },
    ];
    let requests = vec![
        Part {
            label: "answered by fallback".to_owned(),
            color: RESCUE,
            count: Box::new(|s| s.versions.values().map(|v| v.rescued).sum()),
        },
        Part {
            label: "errors callers saw".to_owned(),
            color: HARM,
            count: Box::new(|s| s.failed),
        },
    ];
    let legend = attempts.iter().chain(&requests);
    let legend = legend.map(|part| Legend::new(part.label.clone(), part.color, Mark::Area(0.85)));
    frame::render(&Frame {
        report,
        title: "Errors and fallbacks",
        legend: legend.collect(),
        panels: vec![
            panel(report, "attempts per second", attempts),
            panel(report, "requests per second", requests),
        ],
    })
}

/// A panel of stacked bars.
fn panel<'r>(report: &'r Report, y_label: &'static str, parts: Vec<Part<'r>>) -> Panel<'r> {
    let (length, steps) = report.series.condensed(BARS);
    let (length, end) = (length.as_secs_f64(), frame::end_of(report));
    // A step that the end of the run cuts short lasted less.
    let lasted = move |s: &Step| (end - s.start_s as f64).clamp(1.0_f64.min(length), length);
    let total = |s: &Step| parts.iter().map(|p| (p.count)(s)).sum::<u64>() as f64 / lasted(s);
    let top = steps.iter().map(total).fold(0.0, f64::max);
    Panel {
        y_label,
        y_max: nice_top(top),
        y_text: rounded,
        draw: Box::new(move |canvas| {
            for step in &steps {
                let from = step.start_s as f64;
                let mut low = 0.0;
                for part in &parts {
                    let high = low + (part.count)(step) as f64 / lasted(step);
                    canvas.bar((from, from + length), (low, high), part.color)?;
                    low = high;
                }
            }
            Ok(())
        }),
    }
}
