//! False rollbacks against exposure, a point a policy.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::tune::{PolicyRuns, Tuned};
use crate::verdict::result::grouped;

use super::axes::Axes;
use super::frame::{self, Area, CANARY, FONT, INK, Legend, Mark, PALE_INK, STABLE, nice_top, text};

/// Width and height in pixels.
const SIZE: (u32, u32) = (800, 520);
/// Height of title and legend.
const HEAD: u32 = 100;
/// Points nearer than these parts of the axes share one label.
const NEAR: (f64, f64) = (0.03, 0.05);

/// A policy in the plane.
struct Point {
    number: usize,
    x: f64,
    y: f64,
    /// The interval of y.
    low: f64,
    high: f64,
    is_best: bool,
    is_own: bool,
}

/// `tune.svg`.
///
/// # Errors
/// When the drawing library fails.
pub fn tradeoff(tuned: &Tuned) -> Result<String, String> {
    let policies = tuned.policies.iter().zip(tuned.front()).enumerate();
    let points = policies.filter_map(|(i, (policy, is_best))| point(i + 1, policy, is_best));
    let points: Vec<Point> = points.collect();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(text)?;
        head(&root, tuned)?;
        let (_, body) = root.split_vertically(HEAD);
        plane(&body, &points)?;
        root.present().map_err(text)?;
    }
    Ok(svg)
}

/// None without a run of each kind.
fn point(number: usize, policy: &PolicyRuns, is_best: bool) -> Option<Point> {
    let limits = policy.false_limits()?;
    Some(Point {
        number,
        x: policy.exposure()? as f64,
        y: policy.false_rate()? * 100.0,
        low: limits.low * 100.0,
        high: limits.high * 100.0,
        is_best,
        is_own: policy.is_own,
    })
}

fn head(root: &Area<'_>, tuned: &Tuned) -> Result<(), String> {
    let big = (FONT, 22).into_font().style(FontStyle::Bold).color(&INK);
    let title = "False rollbacks against exposure: towards the lower left is better";
    root.draw(&Text::new(title, (20, 14), big)).map_err(text)?;
    let subtitle = format!(
        "{} · {} seeds from {}, with and without the canary's faults · {}",
        frame::shortened(&tuned.meta.scenario, 38),
        grouped(tuned.planned),
        tuned.meta.seed,
        if tuned.interrupted {
            "interrupted"
        } else {
            "numbers as in tune.csv"
        },
    );
    let small = (FONT, 16).into_font().color(&PALE_INK);
    root.draw(&Text::new(subtitle, (20, 40), small))
        .map_err(text)?;
    let entries = [
        Legend::new("on the Pareto front", CANARY, Mark::Line(3)),
        Legend::new("beaten by another policy", STABLE, Mark::Area(0.55)),
        Legend::new("ring: as it is in the file", INK, Mark::Line(2)),
        Legend::new("95 % interval", PALE_INK, Mark::Line(1)),
    ];
    frame::entries(root, entries.iter(), 72)
}

fn plane(area: &Area<'_>, points: &[Point]) -> Result<(), String> {
    let top = |value: fn(&Point) -> f64| points.iter().map(value).fold(0.0, f64::max);
    let (x_max, y_max) = (nice_top(top(|p| p.x)), nice_top(top(|p| p.high)).min(101.0));
    let mut chart = ChartBuilder::on(area)
        .margin_left(8)
        .margin_right(24)
        .margin_bottom(8)
        .x_label_area_size(44)
        .y_label_area_size(66)
        // A little below zero, so that points on the axis are seen whole.
        .build_cartesian_2d(0.0..x_max, -0.03 * y_max..y_max)
        .map_err(text)?;
    Axes::plain(
        "requests that met the canary since its trouble began (median of the runs)",
        "false rollbacks (% of healthy runs)",
        8,
    )
    .draw(&mut chart)?;
    let whiskers = points.iter().map(|p| {
        PathElement::new(
            vec![(p.x, p.low), (p.x, p.high.min(y_max))],
            PALE_INK.mix(0.45),
        )
    });
    chart.draw_series(whiskers).map_err(text)?;
    chart
        .draw_series(LineSeries::new(stairs(points), CANARY.stroke_width(2)))
        .map_err(text)?;
    let beaten = points.iter().filter(|p| !p.is_best);
    let beaten = beaten.map(|p| Circle::new((p.x, p.y), 5, STABLE.mix(0.55).filled()));
    chart.draw_series(beaten).map_err(text)?;
    let best = points.iter().filter(|p| p.is_best);
    let best = best.map(|p| Circle::new((p.x, p.y), 6, CANARY.filled()));
    chart.draw_series(best).map_err(text)?;
    let own = points.iter().filter(|p| p.is_own);
    let own = own.map(|p| Circle::new((p.x, p.y), 9, INK.stroke_width(2)));
    chart.draw_series(own).map_err(text)?;
    let style = (FONT, 15).into_font().color(&INK);
    let labels = labels(points, (x_max, y_max));
    let labels = labels.into_iter().map(|(x, y, label)| {
        // At the right edge there is room on the left alone.
        let (side, dx) = match x > 0.75 * x_max {
            true => (HPos::Right, -11),
            false => (HPos::Left, 11),
        };
        let style = style.pos(Pos::new(side, VPos::Bottom));
        EmptyElement::at((x, y)) + Text::new(label, (dx, -6), style)
    });
    chart.draw_series(labels).map_err(text)?;
    Ok(())
}

/// The front as a line that never promises more than there is: at each exposure, the best rate so far.
fn stairs(points: &[Point]) -> Vec<(f64, f64)> {
    let mut front: Vec<(f64, f64)> = points
        .iter()
        .filter(|p| p.is_best)
        .map(|p| (p.x, p.y))
        .collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (x, y) in front {
        let corner = line.last().map(|(_, last)| (x, *last));
        line.extend(corner);
        line.push((x, y));
    }
    line
}

/// The numbers of the points; those that lie on each other share a label.
fn labels(points: &[Point], (x_max, y_max): (f64, f64)) -> Vec<(f64, f64, String)> {
    let mut labels: Vec<(f64, f64, String)> = Vec::new();
    for point in points {
        let is_near = |(x, y, _): &&mut (f64, f64, String)| {
            (*x - point.x).abs() < NEAR.0 * x_max && (*y - point.y).abs() < NEAR.1 * y_max
        };
        match labels.iter_mut().find(is_near) {
            Some((_, _, label)) => *label += &format!(", {}", point.number),
            None => labels.push((point.x, point.y, point.number.to_string())),
        }
    }
    labels
}
