//! Plots as SVG: 800 pixels wide, no fonts needed to draw them, colours that colour-blind readers
//! can tell apart (Okabe & Ito, 2008).

mod axes;
mod cost;
mod distribution;
mod errors;
mod evidence;
mod frame;
mod latency;
mod split;
mod streams;
mod tradeoff;

pub use cost::cost;
pub use distribution::{DISTRIBUTION, distribution};
pub use errors::errors;
pub use evidence::evidence;
pub use latency::latency;
pub use split::split;
pub use streams::streams;
pub use tradeoff::tradeoff;

use crate::report::Report;

/// Draws one plot.
type Draw = fn(&Report) -> Result<String, String>;

/// The plots of every run: file name, what it shows, and who draws it.
const ALWAYS: [(&str, &str, Draw); 3] = [
    ("split.svg", "Share of the canary over time", split),
    (
        "latency.svg",
        "Latency percentiles per version over time",
        latency,
    ),
    ("errors.svg", "Errors and fallbacks over time", errors),
];
/// The plot of a run with streams.
const STREAMED: (&str, &str, Draw) = (
    "streams.svg",
    "Time to the first token and between tokens per version over time",
    streams,
);
/// The plot of a run with a judge.
const JUDGED: (&str, &str, Draw) = (
    "evidence.svg",
    "The judge's evidence against its bounds",
    evidence,
);
/// The plot of a run whose versions have prices.
const PRICED: (&str, &str, Draw) = ("cost.svg", "Cost per version over time", cost);

fn of(report: &Report) -> impl Iterator<Item = (&'static str, &'static str, Draw)> {
    let priced = report.summary.costs.is_priced().then_some(PRICED);
    let judged = report.summary.evidence.iter().next().map(|_| JUDGED);
    let streamed = report.summary.streams.as_ref().map(|_| STREAMED);
    let more = streamed.into_iter().chain(judged).chain(priced);
    ALWAYS.into_iter().chain(more)
}

/// The plots of a run: file name and what it shows.
pub fn files(report: &Report) -> impl Iterator<Item = (&'static str, &'static str)> {
    of(report).map(|(name, alt, _)| (name, alt))
}

/// All plots with their file names.
///
/// # Errors
/// When the drawing library fails, with its words.
pub fn all(report: &Report) -> Result<Vec<(&'static str, String)>, String> {
    let drawn = of(report).map(|(name, _, draw)| Ok((name, draw(report)?)));
    drawn.collect()
}
