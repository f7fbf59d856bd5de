//! The folder of repeated runs: `reports/<scenario>/virtual-runs<N>-seed<S>/`.

use std::io;
use std::path::{Path, PathBuf};

use crate::report::plot;
use crate::report::runs::{Runs, csv, json, markdown};
use crate::runner::run_dir::{OutputError, RunDir};

/// Writes the figures of repeated runs, and gives the folder they are in.
///
/// # Errors
/// When it cannot be written.
pub fn write(runs: &Runs, out: &Path) -> Result<PathBuf, OutputError> {
    let name = format!("virtual-runs{}-seed{}", runs.planned, runs.meta.seed);
    let dir = RunDir::create(out, &runs.meta.scenario, &name)?;
    let failed =
        |name: &str, error: String| OutputError::new(&dir.path(name), io::Error::other(error));
    let rows = csv::render(runs).map_err(|e| failed("runs.csv", e.to_string()))?;
    dir.write("runs.csv", &rows)?;
    dir.write("summary.json", &json::summary(runs))?;
    dir.write("report.md", markdown::render(runs).as_bytes())?;
    if let Some(svg) = plot::distribution(runs).map_err(|e| failed(plot::DISTRIBUTION, e))? {
        dir.write(plot::DISTRIBUTION, svg.as_bytes())?;
    }
    match runs.interrupted {
        true => dir.finish_interrupted(),
        false => dir.finish(),
    }
}
