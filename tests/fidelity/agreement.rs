//! How well one series tells another: differences, their mean with its limits, and concordance.

use graygate::stats::beta;

/// Of the limits of a mean difference, both together.
const CONFIDENCE: f64 = 0.95;

/// Pairs of a virtual and a live figure, in figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Agreement {
    pub(crate) n: usize,
    /// Pairs that are equal.
    pub(crate) equal: usize,
    /// Of the absolute differences.
    pub(crate) median: f64,
    pub(crate) largest: f64,
    /// Of the absolute differences over the virtual figure, where that is not 0.
    pub(crate) median_share: Option<f64>,
    pub(crate) largest_share: Option<f64>,
    /// The mean of live − virtual.
    pub(crate) bias: f64,
    /// The limits of that mean; none for fewer than two pairs.
    pub(crate) limits: Option<[f64; 2]>,
    /// None where the virtual figures, or the live ones, are all the same.
    pub(crate) concordance: Option<f64>,
}

impl Agreement {
    /// Of pairs (virtual, live); none without any.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let differences: Vec<f64> = pairs.iter().map(|(v, l)| l - v).collect();
        let distances: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
        let of_virtual = pairs.iter().zip(&distances).filter(|((v, _), _)| *v > 0.0);
        let shares: Vec<f64> = of_virtual.map(|((v, _), d)| d / v).collect();
        Some(Self {
            n: pairs.len(),
            equal: differences.iter().filter(|d| **d == 0.0).count(),
            median: median(&distances)?,
            largest: largest(&distances)?,
            median_share: median(&shares),
            largest_share: largest(&shares),
            bias: mean(&differences),
            limits: limits(&differences),
            concordance: concordance(pairs),
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The middle one, or the mean of the two in the middle; none of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    Some(match sorted.len() % 2 {
        1 => *upper,
        _ => f64::midpoint(sorted[middle - 1], *upper),
    })
}

fn largest(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// Student's limits of the mean: mean ± t(n−1) · s/√n. Source: Student, "The probable error of a mean", Biometrika 6
/// (1908). Seeds are independent runs; differences need not be normal, and some are far from it, so this is a rough guide.
fn limits(values: &[f64]) -> Option<[f64; 2]> {
    let n = values.len();
    let more = n.checked_sub(1).filter(|more| *more > 0)? as f64;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let half = student(more) * (squares / more / n as f64).sqrt();
    Some([mean - half, mean + half])
}

/// The quantile of Student's t with so many degrees of freedom beyond which half of the tail lies on each side.
/// P(|T| > t) = I_x(ν/2, 1/2) with x = ν/(ν + t²) (Abramowitz and Stegun, 26.7.1 with 26.5.27).
fn student(freedom: f64) -> f64 {
    let x = beta::inverse(freedom / 2.0, 0.5, 1.0 - CONFIDENCE);
    (freedom * (1.0 - x) / x).sqrt()
}

/// Lin's concordance correlation coefficient, 2·s_xy / (s_x² + s_y² + (x̄ − ȳ)²), with sums divided by n: 1 where live is what
/// virtual said, and less for scatter as for a shift. Source: L. Lin, "A concordance correlation coefficient to evaluate
/// reproducibility", Biometrics 45 (1989).
fn concordance(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let (xs, ys): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (x_mean, y_mean) = (mean(&xs), mean(&ys));
    let about = |values: &[f64], mean: f64| {
        let squares = values.iter().map(|v| (v - mean) * (v - mean));
        squares.sum::<f64>() / n
    };
    let (x_spread, y_spread) = (about(&xs, x_mean), about(&ys, y_mean));
    let both = pairs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean));
    let both = both.sum::<f64>() / n;
    let shift = (x_mean - y_mean) * (x_mean - y_mean);
    let varies = x_spread > 0.0 && y_spread > 0.0;
    varies.then(|| 2.0 * both / (x_spread + y_spread + shift))
}

/// 12.706, 2.776 and 2.093 of every table of Student's t, 97.5 %.
#[test]
fn students_quantiles_are_those_of_the_tables() {
    for (freedom, expected) in [(1.0, 12.706), (4.0, 2.776), (19.0, 2.093)] {
        assert!(
            (student(freedom) - expected).abs() < 5e-4,
            "{}",
            student(freedom)
        );
    }
}

/// By hand: x̄ = 2.5, ȳ = 3, s_x² = 1.25, s_y² = 1.5, s_xy = 1.25, so 2.5 / (1.25 + 1.5 + 0.25).
#[test]
fn concordance_is_less_for_scatter_and_for_a_shift() {
    let pairs = [(1.0, 2.0), (2.0, 2.0), (3.0, 3.0), (4.0, 5.0)];
    let found = concordance(&pairs).expect("it varies");
    assert!((found - 2.5 / 3.0).abs() < 1e-12, "{found}");
    let same = [(1.0, 1.0), (2.0, 2.0)];
    assert_eq!(concordance(&same), Some(1.0));
    let opposite = [(1.0, 2.0), (2.0, 1.0)];
    assert_eq!(concordance(&opposite), Some(-1.0));
    assert_eq!(concordance(&[(1.0, 1.0), (1.0, 2.0)]), None);
}

#[test]
fn differences_are_live_less_virtual() {
    let pairs = [(100.0, 101.0), (100.0, 103.0), (0.0, 0.0), (50.0, 48.0)];
    let found = Agreement::of(&pairs).expect("pairs");
    assert_eq!((found.n, found.equal), (4, 1));
    assert_eq!((found.median, found.largest, found.bias), (1.5, 3.0, 0.5));
    assert_eq!(
        (found.median_share, found.largest_share),
        (Some(0.03), Some(0.04))
    );
    assert_eq!(Agreement::of(&[]), None);
}
