//! The scenario files that a path stands for.

use std::path::{Path, PathBuf};

use crate::config::diagnostic::Diagnostic;

/// A file itself, or all YAML files in a folder and its folders, in order.
pub(super) fn scenario_files(path: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let cannot = |error: std::io::Error| {
        let name = path.display().to_string();
        Diagnostic::file(name, format!("cannot read: {error}"))
    };
    if !std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let inner = entry.map_err(cannot)?.path();
        let ending = inner.extension().and_then(|e| e.to_str());
        if inner.is_dir() {
            files.extend(scenario_files(&inner)?);
        } else if matches!(ending, Some("yaml" | "yml")) {
            files.push(inner);
        }
    }
    files.sort();
    Ok(files)
}
