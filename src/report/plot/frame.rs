//! What all plots share: title, legend outside the plot area, axes, shaded faults, marked rollbacks.

use std::fmt::Display;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::Report;
use crate::report::plot::axes::{Axes, Chart};
use crate::time::{Human, Timestamp};
use crate::verdict::result::Status;

/// Width and height of a plot in pixels.
const SIZE: (u32, u32) = (800, 460);
/// Height of title and legend.
const HEAD: u32 = 100;
pub(super) const FONT: &str = "sans-serif";
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const PALE_INK: RGBColor = RGBColor(110, 110, 110);
pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);
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

/// A plot to be drawn: panels one above the other, with one time axis.
pub(super) struct Frame<'r> {
    pub(super) report: &'r Report,
    pub(super) title: &'static str,
    pub(super) legend: Vec<Legend>,
    pub(super) panels: Vec<Panel<'r>>,
}

/// One panel of a plot.
pub(super) struct Panel<'r> {
    pub(super) y_label: &'static str,
    /// Largest value on the y axis; the axis starts at 0.
    pub(super) y_max: f64,
    /// Text of a value on the y axis.
    pub(super) y_text: fn(f64) -> String,
    /// Puts the data in.
    pub(super) draw: Draw<'r>,
}

/// Puts data into a panel.
pub(super) type Draw<'r> = Box<dyn Fn(&mut Canvas<'_, '_>) -> Result<(), String> + 'r>;

pub(super) type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;

/// Draws a plot.
pub(super) fn render(frame: &Frame<'_>) -> Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(text)?;
        head(&root, frame)?;
        let (_, body) = root.split_vertically(HEAD);
        let areas = body.split_evenly((frame.panels.len(), 1));
        for (i, (panel, area)) in frame.panels.iter().zip(&areas).enumerate() {
            let is_last = i + 1 == frame.panels.len();
            panel_in(area, frame, panel, is_last)?;
        }
        root.present().map_err(text)?;
    }
    Ok(svg)
}

fn panel_in(
    area: &Area<'_>,
    frame: &Frame<'_>,
    panel: &Panel<'_>,
    is_last: bool,
) -> Result<(), String> {
    let end = end_of(frame.report);
    let unit = TimeUnit::for_span(end);
    let chart = ChartBuilder::on(area)
        .margin_left(8)
        .margin_right(24)
        .margin_bottom(if is_last { 8 } else { 0 })
        .margin_top(10)
        .x_label_area_size(if is_last { 44 } else { 18 })
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..end / unit.seconds, 0.0..panel.y_max)
        .map_err(text)?;
    let mut canvas = Canvas {
        chart,
        unit,
        y_max: panel.y_max,
        end,
    };
    canvas.shade_faults(frame.report)?;
    canvas.axes(panel, is_last)?;
    (panel.draw)(&mut canvas)?;
    canvas.mark_rollbacks(frame.report)
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
    root.draw(&Text::new(frame.title, (20, 14), big))
        .map_err(text)?;
    let verdict = &frame.report.verdict;
    let is_invalid = verdict.status == Status::Invalid;
    let subtitle = format!(
        "{}{} · {}{}",
        // First, where a picture that is cut still says it.
        if is_invalid {
            "INVALID MEASUREMENT · "
        } else {
            ""
        },
        shortened(&meta.scenario, 60),
        meta.manner(" engine · seed "),
        if verdict.interrupted {
            " · interrupted"
        } else {
            ""
        },
    );
    let ink = if is_invalid { &HARM } else { &PALE_INK };
    let small = (FONT, 16).into_font().color(ink);
    root.draw(&Text::new(subtitle, (20, 40), small))
        .map_err(text)?;
    legend(root, frame)
}

pub(super) fn shortened(words: &str, length: usize) -> String {
    match words.chars().count() > length {
        true => words.chars().take(length - 1).chain(['…']).collect(),
        false => words.to_owned(),
    }
}

/// Entries in rows under the title.
fn legend(root: &Area<'_>, frame: &Frame<'_>) -> Result<(), String> {
    let meta = &frame.report.meta;
    let faults = (!meta.faults.is_empty())
        .then(|| Legend::new(fault_names(frame.report), FAULT, Mark::Area(0.35)));
    let rollback = (!frame.report.summary.rollbacks.is_empty())
        .then(|| Legend::new(rolled_back(frame.report), HARM, Mark::Dashes));
    entries(
        root,
        frame.legend.iter().chain(&faults).chain(&rollback),
        68,
    )
}

/// A log is judged as if: whether its gateway rolled back, it does not say.
fn rolled_back(report: &Report) -> &'static str {
    match report.meta.engine {
        Some(_) => "rollback",
        None => "would roll back",
    }
}

/// Entries of a legend, from this height on.
pub(super) fn entries<'l>(
    root: &Area<'_>,
    entries: impl Iterator<Item = &'l Legend>,
    top: i32,
) -> Result<(), String> {
    let style = (FONT, 15).into_font().color(&INK);
    let (mut x, mut y) = (20, top);
    for entry in entries {
        // 6.2 px a character at this size at most, with room to the next entry.
        let width = 30 + (entry.label.chars().count() as f64 * 6.2) as i32 + 20;
        if x + width > SIZE.0 as i32 && x > 20 {
            (x, y) = (20, y + 18);
        }
        legend_mark(root, entry, (x, y))?;
        let at = (x + 30, y - 6);
        root.draw(&Text::new(entry.label.clone(), at, style.clone()))
            .map_err(text)?;
        x += width;
    }
    Ok(())
}

fn legend_mark(root: &Area<'_>, entry: &Legend, (x, y): (i32, i32)) -> Result<(), String> {
    let line = |from, to, width| {
        PathElement::new(vec![(from, y), (to, y)], entry.color.stroke_width(width))
    };
    match entry.mark {
        Mark::Line(width) => root.draw(&line(x, x + 24, width)).map_err(text),
        Mark::Dashes => [0, 9, 18]
            .into_iter()
            .try_for_each(|at| root.draw(&line(x + at, x + at + 6, 2)).map_err(text)),
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

/// A panel that is drawn on. Times are seconds since the start of the run.
pub(super) struct Canvas<'a, 'b> {
    chart: Chart<'a, 'b>,
    unit: TimeUnit,
    y_max: f64,
    end: f64,
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
}

impl Canvas<'_, '_> {
    fn x(&self, seconds: f64) -> f64 {
        seconds.min(self.end) / self.unit.seconds
    }

    fn axes(&mut self, panel: &Panel<'_>, is_last: bool) -> Result<(), String> {
        let x_desc = match is_last {
            true => format!("time since the start of the run ({})", self.unit.name),
            false => String::new(),
        };
        let axes = Axes {
            x_desc: &x_desc,
            y_desc: panel.y_label,
            y_labels: 6,
            y_text: panel.y_text,
        };
        axes.draw(&mut self.chart)
    }

    fn shade_faults(&mut self, report: &Report) -> Result<(), String> {
        for fault in &report.meta.faults {
            let from = self.x(fault.from.as_secs_f64());
            let until = self.x(fault.until.map_or(self.end, |t| t.as_secs_f64()));
            let corners = [(from, 0.0), (until, self.y_max)];
            let shade = Rectangle::new(corners, FAULT.mix(0.35).filled());
            self.chart.draw_series([shade]).map_err(text)?;
        }
        Ok(())
    }

    fn mark_rollbacks(&mut self, report: &Report) -> Result<(), String> {
        for record in &report.summary.rollbacks {
            let at = record.decided_at.as_secs_f64();
            self.dashes(&[(at, 0.0), (at, self.y_max)], HARM)?;
            // On the side of the line where there is room for it.
            let (side, gap) = match at < 0.75 * self.end {
                true => (HPos::Left, 6),
                false => (HPos::Right, -6),
            };
            let words = format!("{} at {}", rolled_back(report), when(record.decided_at));
            let anchor = Pos::new(side, VPos::Top);
            let style = (FONT, 15).into_font().color(&HARM).pos(anchor);
            let label =
                EmptyElement::at((self.x(at), self.y_max)) + Text::new(words, (gap, 3), style);
            self.chart.draw_series([label]).map_err(text)?;
        }
        Ok(())
    }

    /// A dashed line.
    pub(super) fn dashes(&mut self, points: &[(f64, f64)], color: RGBColor) -> Result<(), String> {
        let points: Vec<_> = points.iter().map(|(x, y)| (self.x(*x), *y)).collect();
        let series = DashedLineSeries::new(points, 6, 4, color.stroke_width(2));
        self.chart.draw_series(series).map_err(text)?;
        Ok(())
    }

    /// A line that breaks where there is nothing to show.
    pub(super) fn line(
        &mut self,
        points: &[(f64, Option<f64>)],
        color: RGBColor,
        width: u32,
    ) -> Result<(), String> {
        for run in points.split(|(_, y)| y.is_none()).filter(|r| !r.is_empty()) {
            let points = run.iter().filter_map(|(x, y)| Some((self.x(*x), (*y)?)));
            let points: Vec<(f64, f64)> = points.collect();
            if let [(x, y)] = points[..] {
                let dot = Circle::new((x, y), 2, color.filled());
                self.chart.draw_series([dot]).map_err(text)?;
            } else {
                let series = LineSeries::new(points, color.stroke_width(width));
                self.chart.draw_series(series).map_err(text)?;
            }
        }
        Ok(())
    }

    /// The area between two lines, broken where there is nothing to show.
    pub(super) fn band(
        &mut self,
        points: &[(f64, Option<(f64, f64)>)],
        color: RGBColor,
    ) -> Result<(), String> {
        for run in points.split(|(_, y)| y.is_none()) {
            let upper = run
                .iter()
                .filter_map(|(x, y)| Some((self.x(*x), y.as_ref()?.1)));
            let lower = run
                .iter()
                .filter_map(|(x, y)| Some((self.x(*x), y.as_ref()?.0)));
            let outline: Vec<(f64, f64)> = upper.chain(lower.rev()).collect();
            if outline.len() > 2 {
                let shape = Polygon::new(outline, color.mix(0.18).filled());
                self.chart.draw_series([shape]).map_err(text)?;
            }
        }
        Ok(())
    }

    /// A bar from `low` to `high` between two moments, unless it is empty.
    pub(super) fn bar(
        &mut self,
        (from, until): (f64, f64),
        (low, high): (f64, f64),
        color: RGBColor,
    ) -> Result<(), String> {
        if high <= low {
            return Ok(());
        }
        let corners = [(self.x(from), low), (self.x(until), high)];
        let shape = Rectangle::new(corners, color.mix(0.85).filled());
        self.chart.draw_series([shape]).map_err(text)?;
        Ok(())
    }
}

/// A number on an axis, without digits that say nothing.
pub(super) fn rounded(value: f64) -> String {
    format!("{}", (value * 1_000.0).round() / 1_000.0)
}

fn when(at: Timestamp) -> String {
    Human(Duration::from_millis(at.elapsed().as_millis() as u64)).to_string()
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
