//! How the arrivals of a log are spaced: ties, the grain of its clock, and the distribution of its gaps, in a memory
//! that does not grow with it.

use std::time::Duration;

use serde::Serialize;

use crate::time::nanos;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Bins of one doubling of a gap: each is 4.4 % wide.
const PER_DOUBLING: usize = 16;
/// Doublings from a nanosecond to 584 years.
const DOUBLINGS: usize = 64;

/// What is known of the spacing of rows in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Rows.
    pub rows: u64,
    /// Rows at the very moment of the row before them.
    pub ties: u64,
    /// The first moment, and the last.
    first: Option<u64>,
    last: u64,
    /// The greatest length of which every moment is a multiple, counted from the first; 0 while there is none.
    grain: u64,
    /// Gaps above zero, by their logarithm.
    gaps: Vec<u64>,
    /// The longest gap, and the sum of the squares of all, in seconds.
    longest: u64,
    squares: f64,
    /// How far into a second of the log's clock the first moment is.
    phase: u64,
    /// The second of that clock that is being counted, its rows so far, and the most rows of any.
    second: (u64, u64),
    peak: u64,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            rows: 0,
            ties: 0,
            first: None,
            last: 0,
            grain: 0,
            gaps: vec![0; PER_DOUBLING * DOUBLINGS],
            longest: 0,
            squares: 0.0,
            phase: 0,
            second: (0, 0),
            peak: 0,
        }
    }
}

/// How the arrivals of a log are spaced, for reports. Times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spacing {
    /// Rows at the very moment of another.
    pub ties: u64,
    /// Moments that have a row.
    pub distinct: u64,
    /// From the first row to the last.
    pub span_s: f64,
    /// Rows a second over that time; none where it is no time at all.
    pub rate_per_s: Option<f64>,
    /// The most rows in one second of the log's clock.
    pub peak_per_s: u64,
    /// The grain of the clock, where it shows: every moment is a multiple of it, or most gaps are about as long.
    pub quantum_s: Option<f64>,
    /// The median gap between rows, ties included; none with one row.
    pub gap_p50_s: Option<f64>,
    /// The 99th percentile of the gaps.
    pub gap_p99_s: Option<f64>,
    /// The longest gap.
    pub gap_max_s: Option<f64>,
    /// The coefficient of variation of the gaps: their standard deviation in means. Near 1 for arrivals by chance alone.
    pub gap_cv: Option<f64>,
}

impl Survey {
    /// Of a log whose first row came at this time of its clock, in nanoseconds.
    pub fn beginning_at(start: i64) -> Self {
        Self {
            phase: start.rem_euclid(SECOND as i64).unsigned_abs(),
            ..Self::default()
        }
    }

    fn count_second(&mut self, at: u64) {
        let second = at.saturating_add(self.phase) / SECOND;
        if second != self.second.0 {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        self.peak = self.peak.max(self.second.1);
    }

    /// Takes the next row in, at so many nanoseconds, no earlier than the one before.
    pub fn take(&mut self, at: u64) {
        self.rows += 1;
        self.count_second(at);
        let Some(first) = self.first else {
            (self.first, self.last) = (Some(at), at);
            return;
        };
        let gap = at.saturating_sub(self.last);
        self.last = self.last.max(at);
        if gap == 0 {
            self.ties += 1;
            return;
        }
        self.gaps[bin(gap)] += 1;
        self.longest = self.longest.max(gap);
        let seconds = gap as f64 / SECOND as f64;
        self.squares += seconds * seconds;
        self.grain = divisor(self.grain, self.last - first);
    }

    /// From the first row to the last.
    pub fn span(&self) -> Duration {
        Duration::from_nanos(self.last - self.first.unwrap_or(self.last))
    }

    /// The mean gap; none with one row.
    fn mean_gap(&self) -> Option<f64> {
        let gaps = self.rows.checked_sub(1).filter(|gaps| *gaps > 0)?;
        Some(self.span().as_secs_f64() / gaps as f64)
    }

    /// The standard deviation of the gaps in means.
    fn gap_cv(&self) -> Option<f64> {
        let mean = self.mean_gap().filter(|mean| *mean > 0.0)?;
        let gaps = (self.rows - 1) as f64;
        let variance = (self.squares / gaps - mean * mean).max(0.0);
        Some(libm::sqrt(variance) / mean)
    }

    /// From the first row to where another one would come, a mean gap after the last, in nanoseconds.
    pub fn period(&self) -> u64 {
        let length = nanos(self.span());
        length + length / self.rows.saturating_sub(1).max(1)
    }

    /// Moments that have a row.
    pub fn distinct(&self) -> u64 {
        self.rows - self.ties
    }

    /// The grain of the clock, where it shows. Either all moments are multiples of 10 ms or more; or rows share their
    /// moments so often (a fifth of them) that chance does not do it, and four in five of the other gaps lie within
    /// about 5 % of one length (as those of the Mooncake trace do, around 3 s).
    pub fn quantum(&self) -> Option<Duration> {
        let exact = Duration::from_nanos(self.grain);
        if self.ties > 0 && exact >= Duration::from_millis(10) {
            return Some(exact);
        }
        let others: u64 = self.gaps.iter().sum();
        let (fullest, _) = self.gaps.iter().enumerate().max_by_key(|(_, n)| **n)?;
        let near = fullest.saturating_sub(1)..(fullest + 2).min(self.gaps.len());
        let around: u64 = self.gaps[near].iter().sum();
        let is_clumped = self.ties * 5 >= self.rows && around * 5 >= others * 4;
        (is_clumped && others > 0).then(|| middle(fullest))
    }

    /// The gap that this share of the gaps do not exceed, to 4.4 %; none with one row.
    pub fn gap(&self, share: f64) -> Option<Duration> {
        let all = self.rows.checked_sub(1).filter(|gaps| *gaps > 0)?;
        let rank = (share * all as f64).ceil().max(1.0) as u64;
        let mut below = self.ties;
        if below >= rank {
            return Some(Duration::ZERO);
        }
        for (index, n) in self.gaps.iter().enumerate() {
            below += n;
            if below >= rank {
                return Some(middle(index));
            }
        }
        None
    }

    /// The distance of Kolmogorov and Smirnov between the distributions of two logs' gaps, 0 to 1, to the width of the
    /// bins; none when one of them has no gaps.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        let (n, m) = (self.rows.checked_sub(1)?, other.rows.checked_sub(1)?);
        if n == 0 || m == 0 {
            return None;
        }
        let (mut a, mut b) = (self.ties, other.ties);
        let apart = |a: u64, b: u64| (a as f64 / n as f64 - b as f64 / m as f64).abs();
        let mut most = apart(a, b);
        for (x, y) in self.gaps.iter().zip(&other.gaps) {
            a += x;
            b += y;
            most = most.max(apart(a, b));
        }
        Some(most)
    }

    /// All of it for a report.
    pub fn spacing(&self) -> Spacing {
        let seconds = |length: Duration| length.as_secs_f64();
        let span = seconds(self.span());
        let has_gaps = self.rows > 1;
        Spacing {
            ties: self.ties,
            distinct: self.distinct(),
            span_s: span,
            rate_per_s: (span > 0.0).then(|| self.rows as f64 / span),
            peak_per_s: self.peak,
            quantum_s: self.quantum().map(seconds),
            gap_p50_s: self.gap(0.5).map(seconds),
            gap_p99_s: self.gap(0.99).map(seconds),
            gap_max_s: has_gaps.then(|| seconds(Duration::from_nanos(self.longest))),
            gap_cv: self.gap_cv(),
        }
    }
}

fn bin(gap: u64) -> usize {
    let place = libm::log2(gap as f64) * PER_DOUBLING as f64;
    (place as usize).min(PER_DOUBLING * DOUBLINGS - 1)
}

/// The middle of a bin, by its logarithm.
fn middle(bin: usize) -> Duration {
    let nanos = libm::exp2((bin as f64 + 0.5) / PER_DOUBLING as f64);
    Duration::from_nanos(nanos.round() as u64)
}

/// The greatest common divisor (Euclid); 0 counts as a multiple of everything.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn survey(times: impl IntoIterator<Item = u64>) -> Survey {
        let mut survey = Survey::default();
        times.into_iter().for_each(|at| survey.take(at));
        survey
    }

    #[test]
    fn ties_spans_and_gaps() {
        let log = survey([5, 5, 7, 7, 7, 105].map(|ms| ms * MS));
        assert_eq!((log.rows, log.ties, log.distinct()), (6, 3, 3));
        assert_eq!(log.span(), Duration::from_millis(100));
        assert_eq!(log.gap(0.5), Some(Duration::ZERO));
        let long = log.gap(1.0).unwrap().as_secs_f64();
        assert!((long / 0.098 - 1.0).abs() < 0.025, "{long}");
        assert_eq!(survey([]).span(), Duration::ZERO);
        assert_eq!(survey([3]).gap(0.5), None);
    }

    #[test]
    fn rates_peaks_and_variation() {
        let log = survey([0, 100, 200, 300, 4_300].map(|ms| ms * MS)).spacing();
        assert_eq!((log.peak_per_s, log.gap_max_s), (4, Some(4.0)));
        assert!((log.rate_per_s.unwrap() - 5.0 / 4.3).abs() < 1e-12);
        // Python: statistics.pstdev([.1, .1, .1, 4]) / statistics.mean([.1, .1, .1, 4])
        assert!(
            (log.gap_cv.unwrap() - 1.570_929_802_213_633).abs() < 1e-12,
            "{log:?}"
        );
        let mut late = Survey::beginning_at(-1_250_000_000);
        [0, 200, 249, 250].iter().for_each(|ms| late.take(ms * MS));
        assert_eq!(
            late.spacing().peak_per_s,
            3,
            "a new second begins after 250 ms"
        );
        assert_eq!(survey([0, 10, 20]).period(), 30);
        let one = survey([3]).spacing();
        assert_eq!(
            (one.rate_per_s, one.gap_cv, one.gap_max_s),
            (None, None, None)
        );
    }

    #[test]
    fn a_clock_of_whole_seconds_shows() {
        let seconds = survey([7, 7, 9, 12, 12, 13].map(|s| s * 1_000 * MS));
        assert_eq!(seconds.quantum(), Some(Duration::from_secs(1)));
        // Without any tie nobody can say that rows were rounded.
        assert_eq!(survey([1_000 * MS, 3_000 * MS]).quantum(), None);
        assert_eq!(survey((0..100).map(|n| n * n * 12_345)).quantum(), None);
    }

    #[test]
    fn rows_that_come_in_clumps_show_the_length_of_their_gaps() {
        let clumps = (0..100).flat_map(|n| {
            let at = n * 3_000 * MS + n % 7 * MS;
            [at; 8]
        });
        let quantum = survey(clumps).quantum().unwrap().as_secs_f64();
        assert!((quantum / 3.0 - 1.0).abs() < 0.03, "{quantum}");
    }

    #[test]
    fn the_distance_of_two_distributions() {
        let even = survey((0..100).map(|n| n * MS));
        let slow = survey((0..50).map(|n| n * 10 * MS));
        let half = survey((0..101).map(|n| n / 2 * 2 * MS));
        assert_eq!(even.distance(&even), Some(0.0));
        assert_eq!(even.distance(&slow), Some(1.0));
        assert_eq!(even.distance(&half), Some(0.5));
        assert_eq!(
            half.distance(&survey((0..3).map(|n| n * 2 * MS))),
            Some(0.5)
        );
        assert_eq!(even.distance(&survey([1])), None);
    }
}
