//! The judge's evidence against its bounds.

use plotters::style::RGBColor;

use crate::observe::evidence::Track;
use crate::report::Report;

use super::frame::{
    self, CANARY, Frame, HARM, Legend, Mark, Panel, RESCUE, STABLE, nice_top, rounded,
};

/// What is above is cut off: how far beyond its bound a value goes says nothing more.
const HIGHEST: f64 = 2.0;
/// Measures that are drawn: those that came nearest to their bounds.
const DRAWN: usize = 5;
/// Their colours.
const COLORS: [RGBColor; DRAWN] = [
    CANARY,
    STABLE,
    RESCUE,
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
];

/// `evidence.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn evidence(report: &Report) -> Result<String, String> {
    let mut tracks: Vec<&Track> = report.summary.evidence.iter().collect();
    tracks.sort_by(|a, b| peak(b).total_cmp(&peak(a)));
    tracks.truncate(DRAWN);
    let drawn = tracks.iter().zip(COLORS);
    let legend = drawn
        .clone()
        .map(|(track, color)| Legend::new(label(track), color, Mark::Line(2)))
        .chain([Legend::new("the bound", HARM, Mark::Dashes)])
        .collect();
    let lines: Vec<_> = drawn.map(|(track, color)| (points(track), color)).collect();
    let top = tracks.iter().map(|track| peak(track)).fold(1.2, f64::max);
    let end = frame::end_of(report);
    let panel = Panel {
        y_label: "evidence / bound",
        y_max: nice_top(top.min(HIGHEST)),
        y_text: rounded,
        draw: Box::new(move |canvas| {
            canvas.dashes(&[(0.0, 1.0), (end, 1.0)], HARM)?;
            lines
                .iter()
                .try_for_each(|(points, color)| canvas.line(points, *color, 2))
        }),
    };
    frame::render(&Frame {
        report,
        title: "The judge's evidence: at 1 a measure has reached its bound",
        legend,
        panels: vec![panel],
    })
}

fn peak(track: &Track) -> f64 {
    track.points.iter().map(|(_, y)| *y).fold(0.0, f64::max)
}

fn label(track: &Track) -> String {
    match track.action {
        "alert" => format!("{} (alert)", track.measure),
        _ => track.measure.to_owned(),
    }
}

fn points(track: &Track) -> Vec<(f64, Option<f64>)> {
    let place = |at: crate::time::Timestamp| at.as_secs_f64();
    let inside = |y: f64| y.clamp(0.0, HIGHEST);
    let points = track.points.iter();
    points
        .map(|(at, y)| (place(*at), Some(inside(*y))))
        .collect()
}
