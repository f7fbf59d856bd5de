//! What is swept when nobody says: the judge's main settings around its own, and the other judge.

use std::time::Duration;

use crate::config::diagnostic::Problems;
use crate::router::config::{JudgeConfig, LiteralConfig, RouterConfig};
use crate::scenario::sweep::{Grid, grid};

/// The grids for this router.
pub fn default_grids(router: &RouterConfig) -> Vec<Grid> {
    let texts: Vec<Vec<String>> = match &router.judge {
        JudgeConfig::Literal(judge) => vec![around(judge), vec!["judge: [sequential]".to_owned()]],
        JudgeConfig::Sequential(_) => vec![
            vec!["judge.alpha: [0.1%, 1%, 5%, 20%]".to_owned()],
            vec![
                "judge: [literal]".to_owned(),
                "judge.min_requests: [50, 100, 200]".to_owned(),
            ],
        ],
        JudgeConfig::Off => vec![
            vec![
                "judge: [literal]".to_owned(),
                "judge.min_requests: [50, 100, 200]".to_owned(),
            ],
            vec!["judge: [sequential]".to_owned()],
        ],
    };
    let problems = Problems::default();
    let read = texts.iter().map(|texts| grid(texts, &problems));
    read.flatten().collect()
}

/// A literal judge's window and least number of requests: half, as they are, twice.
fn around(judge: &LiteralConfig) -> Vec<String> {
    let windows = [judge.window / 2, judge.window, judge.window * 2].map(|window| {
        let written: Duration = window.max(Duration::from_millis(60));
        humantime::format_duration(written).to_string()
    });
    let least = judge.min_requests;
    let least = [
        least.div_ceil(2),
        least,
        least.saturating_mul(2).min(judge.max_samples),
    ];
    vec![
        format!("judge.window: [{}]", windows.join(", ")),
        format!(
            "judge.min_requests: [{}, {}, {}]",
            least[0], least[1], least[2]
        ),
    ]
}
