//! What all plots share: title, legend outside the plot area, axes, shaded faults, marked rollbacks.

use std::fmt::Display;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::Report;
use crate::time::{Human, Timestamp};

/// Width and height of a plot in pixels.
const SIZE: (u32, u32) = (800, 440);
/// Height of title and legend.
const HEAD: u32 = 92;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const PALE_INK: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(226, 226, 226);
const FAULT: RGBColor = RGBColor(240, 200, 120);

/// The colour of stable.
pub(super) const STABLE: RGBColor = RGBColor(0, 114, 178);
/// The colour of the canary.
pub(super) const CANARY: RGBColor = RGBColor(213, 94, 0);
/// The colour of rescues.
pub(super) const RESCUE: RGBColor = RGBColor(0, 158, 115);
/// The colour of what callers suffer, and of rollbacks.
pub(super) const HARM: RGBColor = RGBColor(160, 0, 60);

/// How a legend shows its mark.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    Line(u32),
    Dashes,
    Area(f64),
}

/// One entry of a legend.
pub(super) struct Legend {
    pub(super) label: String,
    pub(super) color: RGBColor,
    pub(super) mark: Mark,
}

impl Legend {
    pub(super) fn new(label: impl Into<String>, color: RGBColor, mark: Mark) -> Self {
        let label = label.into();
        Self { label, color, mark }
    }
}

/// A plot to be drawn.
pub(super) struct Frame<'r> {
    pub(super) report: &'r Report,
    pub(super) title: &'static str,
    pub(super) y_label: &'static str,
    pub(super) legend: Vec<Legend>,
    /// Largest value on the y axis; the axis starts at 0.
    pub(super) y_max: f64,
    /// Text of a value on the y axis.
    pub(super) y_text: fn(f64) -> String,
}

/// What a plot draws on.
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;

/// Draws a plot; `draw` puts the data in.
pub(super) fn render(
    frame: Frame<'_>,
    draw: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), String>,
) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(text)?;
        head(&root, &frame)?;
        let (_, body) = root.split_vertically(HEAD);
        let end = end_of(frame.report);
        let mut chart = ChartBuilder::on(&body)
            .margin_right(24)
            .margin_bottom(8)
            .margin_top(6)
            .x_label_area_size(46)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..end, 0.0..frame.y_max)
            .map_err(text)?;
        shade_faults(&mut chart, &frame)?;
        axes(&mut chart, &frame, end)?;
        draw(&mut chart)?;
        mark_rollbacks(&mut chart, &frame)?;
        root.present().map_err(text)?;
    }
    Ok(svg)
}

/// The words of the drawing library's errors.
pub(super) fn text(error: impl Display) -> String {
    error.to_string()
}

/// The right end of the time axis, in seconds.
pub(super) fn end_of(report: &Report) -> f64 {
    report.summary.end.as_secs_f64().max(1.0)
}

fn head(root: &Area<'_>, frame: &Frame<'_>) -> Result<(), String> {
    let meta = &frame.report.meta;
    // The library draws text smaller by 1.24 than asked for.
    let big = (FONT, 22).into_font().style(FontStyle::Bold).color(&INK);
    root.draw(&Text::new(frame.title, (20, 14), big)).map_err(text)?;
    let subtitle = format!(
        "{} · {} engine · seed {}{}",
        shortened(&meta.scenario, 60),
        meta.engine.name(),
        meta.seed,
        if frame.report.verdict.interrupted { " · interrupted" } else { "" },
    );
    let small = (FONT, 16).into_font().color(&PALE_INK);
    root.draw(&Text::new(subtitle, (20, 40), small)).map_err(text)?;
    legend(root, frame)
}

fn shortened(words: &str, length: usize) -> String {
    match words.chars().count() > length {
        true => words.chars().take(length - 1).chain(['…']).collect(),
        false => words.to_owned(),
    }
}

/// Entries in a row under the title, each as wide as its label.
fn legend(root: &Area<'_>, frame: &Frame<'_>) -> Result<(), String> {
    let meta = &frame.report.meta;
    let faults = (!meta.faults.is_empty())
        .then(|| Legend::new(fault_names(frame.report), FAULT, Mark::Area(0.35)));
    let rollback = (!frame.report.summary.rollbacks.is_empty())
        .then(|| Legend::new("rollback", HARM, Mark::Dashes));
    let entries = frame.legend.iter().chain(&faults).chain(&rollback);
    let style = (FONT, 15).into_font().color(&INK);
    let (mut x, y) = (20, 72);
    for entry in entries {
        legend_mark(root, entry, (x, y))?;
        let at = (x + 30, y - 6);
        root.draw(&Text::new(entry.label.clone(), at, style.clone()))
            .map_err(text)?;
        // 6.6 px a character at this size, with room to the next entry.
        x += 30 + (entry.label.chars().count() as f64 * 6.6) as i32 + 18;
    }
    Ok(())
}

fn legend_mark(root: &Area<'_>, entry: &Legend, (x, y): (i32, i32)) -> Result<(), String> {
    let line = |from, to, width| {
        PathElement::new(vec![(from, y), (to, y)], entry.color.stroke_width(width))
    };
    match entry.mark {
        Mark::Line(width) => root.draw(&line(x, x + 24, width)).map_err(text),
        Mark::Dashes => [0, 9, 18].into_iter().try_for_each(|at| {
            root.draw(&line(x + at, x + at + 6, 2)).map_err(text)
        }),
        Mark::Area(opacity) => {
            let corners = [(x, y - 6), (x + 24, y + 6)];
            let style = entry.color.mix(opacity).filled();
            root.draw(&Rectangle::new(corners, style)).map_err(text)
        }
    }
}

fn fault_names(report: &Report) -> String {
    let mut names: Vec<&str> = report.meta.faults.iter().map(|f| f.kind).collect();
    names.dedup();
    let more = names.len().saturating_sub(2);
    let shown = names[..names.len() - more].join(", ");
    match more {
        0 => format!("fault: {shown}"),
        more => format!("faults: {shown}, {more} more"),
    }
}

fn axes(chart: &mut Chart<'_, '_>, frame: &Frame<'_>, end: f64) -> Result<(), String> {
    let label = (FONT, 15).into_font().color(&INK);
    let desc = (FONT, 16).into_font().color(&INK);
    let unit = TimeUnit::for_span(end);
    let y_text = frame.y_text;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(PALE_INK)
        .x_labels(9)
        .y_labels(6)
        .x_label_formatter(&|seconds| unit.text(*seconds))
        .y_label_formatter(&|value| y_text(*value))
        .x_desc(format!("time since the start of the run ({})", unit.name))
        .y_desc(frame.y_label)
        .label_style(label)
        .axis_desc_style(desc)
        .draw()
        .map_err(text)
}

struct TimeUnit {
    name: &'static str,
    seconds: f64,
}

impl TimeUnit {
    fn for_span(seconds: f64) -> Self {
        let (name, seconds) = match seconds {
            s if s <= 600.0 => ("s", 1.0),
            s if s <= 4.0 * 3_600.0 => ("min", 60.0),
            _ => ("h", 3_600.0),
        };
        Self { name, seconds }
    }

    fn text(&self, seconds: f64) -> String {
        let value = seconds / self.seconds;
        let rounded = (value * 10.0).round() / 10.0;
        format!("{rounded}")
    }
}

fn shade_faults(chart: &mut Chart<'_, '_>, frame: &Frame<'_>) -> Result<(), String> {
    let end = end_of(frame.report);
    for fault in &frame.report.meta.faults {
        let from = fault.from.as_secs_f64().min(end);
        let until = fault.until.map_or(end, |t| t.as_secs_f64().min(end));
        let corners = [(from, 0.0), (until, frame.y_max)];
        let shade = Rectangle::new(corners, FAULT.mix(0.35).filled());
        chart.draw_series([shade]).map_err(text)?;
    }
    Ok(())
}

fn mark_rollbacks(chart: &mut Chart<'_, '_>, frame: &Frame<'_>) -> Result<(), String> {
    let end = end_of(frame.report);
    for record in &frame.report.summary.rollbacks {
        let at = record.decided_at.as_secs_f64();
        dashes(chart, vec![(at, 0.0), (at, frame.y_max)], HARM)?;
        // On the side of the line where there is room for it.
        let (side, gap) = match at < 0.75 * end {
            true => (HPos::Left, "  "),
            false => (HPos::Right, ""),
        };
        let words = format!("{gap}rollback at {}  ", when(record.decided_at));
        let anchor = Pos::new(side, VPos::Top);
        let style = (FONT, 15).into_font().color(&HARM).pos(anchor);
        let place = (at, frame.y_max * 0.985);
        chart
            .draw_series([Text::new(words, place, style)])
            .map_err(text)?;
    }
    Ok(())
}

fn when(at: Timestamp) -> String {
    Human(Duration::from_millis(at.elapsed().as_millis() as u64)).to_string()
}

/// A dashed line.
pub(super) fn dashes(
    chart: &mut Chart<'_, '_>,
    points: Vec<(f64, f64)>,
    color: RGBColor,
) -> Result<(), String> {
    let style = color.stroke_width(2);
    let series = DashedLineSeries::new(points, 6, 4, style);
    chart.draw_series(series).map_err(text)?;
    Ok(())
}

/// A line that breaks where there is nothing to show.
pub(super) fn line(
    chart: &mut Chart<'_, '_>,
    points: &[(f64, Option<f64>)],
    color: RGBColor,
    width: u32,
) -> Result<(), String> {
    for run in runs(points) {
        let style = color.stroke_width(width);
        if let [(x, y)] = run[..] {
            let dot = Circle::new((x, y), 2, color.filled());
            chart.draw_series([dot]).map_err(text)?;
        } else {
            chart
                .draw_series(LineSeries::new(run, style))
                .map_err(text)?;
        }
    }
    Ok(())
}

/// The longest stretches without a gap.
fn runs(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    points
        .split(|(_, y)| y.is_none())
        .filter(|run| !run.is_empty())
        .map(|run| run.iter().filter_map(|(x, y)| Some((*x, (*y)?))).collect())
        .collect()
}

/// The area between two lines, broken where there is nothing to show.
pub(super) fn band(
    chart: &mut Chart<'_, '_>,
    points: &[(f64, Option<(f64, f64)>)],
    color: RGBColor,
) -> Result<(), String> {
    for run in points.split(|(_, y)| y.is_none()) {
        let upper = run.iter().filter_map(|(x, y)| Some((*x, y.as_ref()?.1)));
        let lower = run.iter().filter_map(|(x, y)| Some((*x, y.as_ref()?.0)));
        let outline: Vec<(f64, f64)> = upper.chain(lower.rev()).collect();
        if outline.len() > 2 {
            let shape = Polygon::new(outline, color.mix(0.18).filled());
            chart.draw_series([shape]).map_err(text)?;
        }
    }
    Ok(())
}

/// A round number a little above `value`, for the top of an axis.
pub(super) fn nice_top(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let magnitude = libm::pow(10.0, libm::floor(libm::log10(value)));
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let wanted = value * 1.08 / magnitude;
    let step = steps.into_iter().find(|s| *s >= wanted).unwrap_or(12.0);
    step * magnitude
}
