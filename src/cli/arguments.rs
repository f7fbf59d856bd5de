//! Arguments that several commands read alike.

/// A share, written in percent: `10%` is 0.1.
pub(super) fn percent(text: &str) -> Option<f64> {
    let percent = text.strip_suffix('%').and_then(|n| n.trim().parse().ok());
    percent.map(|percent: f64| percent / 100.0)
}
