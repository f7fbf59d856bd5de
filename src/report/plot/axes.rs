//! The axes of every plot: the same grid, inks and sizes of letters.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::frame::{FONT, GRID, INK, PALE_INK, rounded, text};

/// A chart over plain numbers.
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What the axes of a chart say.
pub(super) struct Axes<'a> {
    pub(super) x_desc: &'a str,
    pub(super) y_desc: &'a str,
    /// About so many numbers along the y axis.
    pub(super) y_labels: usize,
    /// How these are written.
    pub(super) y_text: fn(f64) -> String,
}

impl Axes<'_> {
    /// With plain numbers on both axes.
    pub(super) fn plain<'a>(x_desc: &'a str, y_desc: &'a str, y_labels: usize) -> Axes<'a> {
        Axes {
            x_desc,
            y_desc,
            y_labels,
            y_text: rounded,
        }
    }

    pub(super) fn draw(&self, chart: &mut Chart<'_, '_>) -> Result<(), String> {
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(PALE_INK)
            .x_labels(9)
            .y_labels(self.y_labels)
            .x_label_formatter(&|value| rounded(*value))
            .y_label_formatter(&|value| (self.y_text)(*value))
            .x_desc(self.x_desc)
            .y_desc(self.y_desc)
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 16).into_font().color(&INK))
            .draw()
            .map_err(text)
    }
}
