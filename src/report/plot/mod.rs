//! Plots as SVG: 800 pixels wide, no fonts needed to draw them, colours that colour-blind readers
//! can tell apart (Okabe & Ito, 2008).

mod errors;
mod frame;
mod latency;
mod split;

pub use errors::errors;
pub use latency::latency;
pub use split::split;

use crate::report::Report;

/// The plots of a run: file name and what it shows.
pub const FILES: [(&str, &str); 3] = [
    ("split.svg", "Share of the canary over time"),
    ("latency.svg", "Latency percentiles per version over time"),
    ("errors.svg", "Errors and fallbacks over time"),
];

/// All plots with their file names.
///
/// # Errors
/// When the drawing library fails, with its words.
pub fn all(report: &Report) -> Result<[(&'static str, String); 3], String> {
    Ok([
        (FILES[0].0, split(report)?),
        (FILES[1].0, latency(report)?),
        (FILES[2].0, errors(report)?),
    ])
}
