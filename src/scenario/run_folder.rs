//! What stands beside a log that a run wrote.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

/// Longest `summary.json` that is read, in bytes.
const MAX_SUMMARY: u64 = 16 << 20;

/// Has every request of a run its rows in this file of its folder? By the `summary.json` beside it; none where there is
/// none, or none that tells. A run that kept failures alone has no split, and all its requests failed.
pub fn kept_all(log: &Path) -> Option<bool> {
    let summary = File::open(log.with_file_name("summary.json")).ok()?;
    let mut text = String::new();
    let mut summary = summary.take(MAX_SUMMARY);
    summary.read_to_string(&mut text).ok()?;
    let summary: Value = serde_json::from_str(&text).ok()?;
    let kept = summary.get("records")?.get("kept")?.as_str()?;
    Some(kept == "all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_a_run_says_which_rows_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("attempts.csv");
        assert_eq!(kept_all(&log), None);
        for (text, expected) in [
            (r#"{"records": {"kept": "all", "rows": 9}}"#, Some(true)),
            (
                r#"{"records": {"kept": "failures", "rows": 9}}"#,
                Some(false),
            ),
            (
                r#"{"records": {"kept": "all, then failures"}}"#,
                Some(false),
            ),
            (r#"{"records": {}}"#, None),
            ("nonsense", None),
        ] {
            std::fs::write(folder.path().join("summary.json"), text).unwrap();
            assert_eq!(kept_all(&log), expected, "{text}");
        }
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/example/attempts.csv");
        assert_eq!(kept_all(&example), Some(false));
    }
}
