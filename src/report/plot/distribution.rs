//! How detection time and exposed requests are distributed over repeated runs.

use plotters::prelude::*;

use crate::report::runs::{Figure, Runs};
use crate::stats::quantile::Quantile;
use crate::time::nanos;
use crate::verdict::result::grouped;

use super::axes::Axes;
use super::frame::{
    self, Area, CANARY, FONT, HARM, INK, Legend, Mark, PALE_INK, STABLE, nice_top, text,
};

/// The name of the file.
pub const DISTRIBUTION: &str = "distribution.svg";
/// Width and height in pixels.
const SIZE: (u32, u32) = (800, 560);
/// Height of the title.
const HEAD: u32 = 62;
/// Height of a panel's legend.
const LEGEND: u32 = 30;
/// Bars of a histogram, at least and at most: the fewer samples, the fewer bars.
const BARS: (u64, u64) = (10, 50);

/// `distribution.svg`; none where no run was rolled back in trouble.
///
/// # Errors
/// When the drawing library fails.
pub fn distribution(runs: &Runs) -> Result<Option<String>, String> {
    let figures = runs.figures();
    let is_drawn = |f: &&Figure| f.is_time || f.key == "exposed_requests";
    let drawn: Vec<&Figure> = figures.iter().filter(is_drawn).collect();
    if !drawn.iter().any(|figure| figure.is_time) {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(text)?;
        head(&root, runs)?;
        let (_, body) = root.split_vertically(HEAD);
        let areas = body.split_evenly((drawn.len(), 1));
        for (figure, area) in drawn.into_iter().zip(&areas) {
            panel(area, &Histogram::new(figure, budget(runs, figure)))?;
        }
        root.present().map_err(text)?;
    }
    Ok(Some(svg))
}

fn budget(runs: &Runs, figure: &Figure) -> Option<u64> {
    match figure.is_time {
        true => runs.budget.within.map(nanos),
        false => runs.budget.canary_requests,
    }
}

fn head(root: &Area<'_>, runs: &Runs) -> Result<(), String> {
    let big = (FONT, 22).into_font().style(FontStyle::Bold).color(&INK);
    let title = "How long it took to roll back, and how many requests met the canary";
    root.draw(&Text::new(title, (20, 14), big)).map_err(text)?;
    let (all, _) = runs.rollbacks();
    let subtitle = format!(
        "{} · {} of {} runs rolled back · seeds from {}{}",
        frame::shortened(&runs.meta.scenario, 60),
        grouped(all),
        grouped(runs.seeds.len() as u64),
        runs.meta.seed,
        if runs.interrupted {
            " · interrupted"
        } else {
            ""
        },
    );
    let small = (FONT, 16).into_font().color(&PALE_INK);
    root.draw(&Text::new(subtitle, (20, 40), small))
        .map_err(text)
}

/// One figure as bars of one width.
struct Histogram<'f> {
    figure: &'f Figure,
    budget: Option<u64>,
    /// Width of a bar, in the samples' own unit.
    width: u64,
    bars: Vec<u64>,
}

impl<'f> Histogram<'f> {
    fn new(figure: &'f Figure, budget: Option<u64>) -> Self {
        let most = figure.samples.max().unwrap_or(0);
        let bars = (4 * figure.samples.count()).isqrt().clamp(BARS.0, BARS.1);
        let width = width_of(most, bars, figure.is_time);
        let mut bars = vec![0; (most / width) as usize + 1];
        for sample in figure.samples.sorted() {
            bars[(sample / width) as usize] += 1;
        }
        Self {
            figure,
            budget,
            width,
            bars,
        }
    }

    /// In the unit of the axis.
    fn x(&self, value: u64) -> f64 {
        match self.figure.is_time {
            true => value as f64 / 1e9,
            false => value as f64,
        }
    }

    /// The right end of the axis: all bars, and the budget unless it is far away.
    fn end(&self) -> f64 {
        let bars = self.x(self.width * self.bars.len() as u64);
        let budget = self.budget.map(|b| self.x(b));
        let near = budget.filter(|b| *b <= 3.0 * bars).unwrap_or(0.0);
        bars.max(near * 1.02)
    }

    fn marks(&self) -> Vec<(String, f64, RGBColor)> {
        let samples = &self.figure.samples;
        let mark = |name: &str, value: u64, color| {
            let label = format!("{name} {}", self.figure.text(value));
            (label, self.x(value), color)
        };
        let median = samples.seen_at(Quantile::P50);
        let high = samples.at(Quantile::P99);
        let last = match high {
            Some(high) => Some(mark("99 %", high, STABLE)),
            None => samples.max().map(|max| mark("largest", max, STABLE)),
        };
        let median = median.map(|median| mark("median", median, INK));
        let budget = self.budget.map(|b| mark("budget", b, HARM));
        median.into_iter().chain(last).chain(budget).collect()
    }
}

/// A round width that cuts everything up to `most` into at most so many bars.
fn width_of(most: u64, bars: u64, is_time: bool) -> u64 {
    // Times are cut at whole milliseconds at least, so that their bars mean something.
    let mut unit = if is_time { 1_000_000 } else { 1 };
    loop {
        for step in [1, 2, 5] {
            let width = step * unit;
            if most / width < bars {
                return width;
            }
        }
        unit *= 10;
    }
}

fn panel(area: &Area<'_>, histogram: &Histogram<'_>) -> Result<(), String> {
    let (legend, body) = area.split_vertically(LEGEND);
    let marks = histogram.marks();
    let bars = Legend::new("runs", CANARY, Mark::Area(0.7));
    let lines = marks
        .iter()
        .map(|(label, _, color)| Legend::new(label.clone(), *color, Mark::Dashes));
    let entries: Vec<Legend> = std::iter::once(bars).chain(lines).collect();
    frame::entries(&legend, entries.iter(), 18)?;
    let top = nice_top(histogram.bars.iter().copied().max().unwrap_or(1) as f64);
    let mut chart = ChartBuilder::on(&body)
        .margin_left(8)
        .margin_top(10)
        .margin_right(24)
        .margin_bottom(8)
        .x_label_area_size(44)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..histogram.end(), 0.0..top)
        .map_err(text)?;
    let x_desc = match histogram.figure.is_time {
        true => "detection: from the beginning of the trouble to the decision (s)",
        false => "requests that met the canary in that time",
    };
    Axes::plain(x_desc, "runs", 5).draw(&mut chart)?;
    let filled = histogram.bars.iter().enumerate().filter(|(_, n)| **n > 0);
    let shapes = filled.map(|(i, n)| {
        let left = histogram.x(histogram.width * i as u64);
        let right = histogram.x(histogram.width * (i as u64 + 1));
        Rectangle::new([(left, 0.0), (right, *n as f64)], CANARY.mix(0.7).filled())
    });
    chart.draw_series(shapes).map_err(text)?;
    for (_, x, color) in &marks {
        if *x <= histogram.end() {
            let points = vec![(*x, 0.0), (*x, top)];
            let line = DashedLineSeries::new(points, 6, 4, color.stroke_width(2));
            chart.draw_series(line).map_err(text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_round_and_few() {
        assert_eq!(width_of(0, 50, false), 1);
        assert_eq!(width_of(49, 50, false), 1);
        assert_eq!(width_of(50, 50, false), 2);
        assert_eq!(width_of(12_345, 50, false), 500);
        assert_eq!(width_of(25_300_000_000, 50, true), 1_000_000_000);
    }
}
