//! The judge's evidence over time: how near each measure came to its bound.
//!
//! Values of different measures share an axis as multiples of their bound: 1 is the bound itself. A
//! success rate, whose bound lies below, counts by its failures. Of many values only so many are kept;
//! of two neighbours the one that came nearer to the bound stays.

use crate::observe::event::Finding;
use crate::time::Timestamp;

/// Points that are kept of a measure, at least half of them once there were more.
const POINTS: usize = 512;

/// How one measure developed.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// The measure.
    pub measure: &'static str,
    /// `rollback` or `alert`, as of its last value.
    pub action: &'static str,
    /// When, and how many times its bound it was.
    pub points: Vec<(Timestamp, f64)>,
    /// Values that one point stands for.
    stride: usize,
    /// The values of the point that is being made.
    open: Vec<(Timestamp, f64)>,
}

impl Track {
    fn new(measure: &'static str) -> Self {
        Self {
            measure,
            action: "alert",
            points: Vec::new(),
            stride: 1,
            open: Vec::new(),
        }
    }

    fn add(&mut self, at: Timestamp, value: f64) {
        self.open.push((at, value));
        if self.open.len() < self.stride {
            return;
        }
        self.points.extend(nearest(&self.open));
        self.open.clear();
        if self.points.len() >= POINTS {
            let halved: Vec<_> = self.points.chunks(2).filter_map(nearest).collect();
            self.points = halved;
            self.stride *= 2;
        }
    }
}

fn nearest(values: &[(Timestamp, f64)]) -> Option<(Timestamp, f64)> {
    values.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// How all measures developed, in the order in which they were first told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracks(Vec<Track>);

impl Tracks {
    /// Takes what the judge saw of one measure.
    pub fn judged(&mut self, at: Timestamp, finding: &Finding) {
        let Some(value) = multiple(finding).filter(|v| v.is_finite()) else {
            return;
        };
        let known = self.0.iter().position(|t| t.measure == finding.measure);
        let position = known.unwrap_or_else(|| {
            self.0.push(Track::new(finding.measure));
            self.0.len() - 1
        });
        let track = &mut self.0[position];
        track.action = finding.action;
        track.add(at, value);
    }

    /// The measures.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.0.iter()
    }
}

/// How many times its bound a value is.
fn multiple(finding: &Finding) -> Option<f64> {
    let (value, bound) = (finding.value?, finding.bound);
    match finding.measure {
        "success_rate" => Some((1.0 - value) / (1.0 - bound)),
        _ => Some(value / bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::VersionId;

    fn finding(measure: &'static str, value: Option<f64>, bound: f64) -> Finding {
        Finding {
            version: VersionId(1),
            measure,
            value,
            bound,
            samples: 100,
            min_samples: 50,
            action: "rollback",
            violated: false,
        }
    }

    #[test]
    fn one_is_the_bound_whatever_its_side() {
        assert_eq!(
            multiple(&finding("error_rate", Some(0.05), 0.05)),
            Some(1.0)
        );
        let success = multiple(&finding("success_rate", Some(0.90), 0.95)).unwrap();
        assert!((success - 2.0).abs() < 1e-9);
        assert_eq!(multiple(&finding("p99", None, 0.5)), None);
    }

    #[test]
    fn many_values_become_few_points_and_the_peak_stays() {
        let mut tracks = Tracks::default();
        for i in 0..100_000_u64 {
            let value = if i == 77_777 { 9.0 } else { 0.01 };
            tracks.judged(Timestamp(i), &finding("error", Some(value), 1.0));
        }
        let track = tracks.iter().next().unwrap();
        assert!(track.points.len() <= POINTS, "{}", track.points.len());
        assert!(track.points.contains(&(Timestamp(77_777), 9.0)));
        assert!(track.points.is_sorted_by_key(|(at, _)| *at));
    }
}
