//! Distributions as files write them: `40ms`, `{lognormal: {median: 40ms, p99: 180ms}}`,
//! `{gamma: {mean: 40ms, cv: 0.5}}`, `{empirical: trace.csv#TTFT_ms}`.

use std::path::Path;
use std::sync::Arc;

use crate::config::diagnostic::Diagnostic;
use crate::config::fields::{Cx, closest, head, listed};
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::rng::distribution::{CV, Distribution};
use crate::scenario::load::{Loader, beside, named_here};

/// Largest file that values are taken from.
const MAX_FILE: usize = 32 << 20;
/// Most values of one column: 8 MB of memory.
const MAX_VALUES: usize = 1_000_000;
/// The largest value: as a duration more than thirty years.
const LARGEST: f64 = 1e9;

const KINDS: [&str; 6] = [
    "constant",
    "exponential",
    "lognormal",
    "gamma",
    "weibull",
    "empirical",
];

/// Where the files are that a file names.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The file that names them.
    pub from: &'a Path,
    /// Reads them.
    pub loader: &'a Loader,
}

impl Files<'_> {
    /// Says where it is named what is wrong with a file. An argument stands in no file that has a folder.
    fn unreadable(&self, cx: Cx<'_>, node: &Node, unreadable: Diagnostic) -> Diagnostic {
        let hint = unreadable.hint.clone();
        let named = named_here(cx, node, unreadable);
        match self.from.as_os_str().is_empty() {
            true => Diagnostic { hint, ..named },
            false => named,
        }
    }
}

/// What the numbers of a distribution are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Durations, in seconds.
    Time,
    /// Tokens: whole numbers of at least 1.
    Tokens,
    /// Tokens a second: numbers above 0.
    Speed,
}

impl Kind {
    fn what(self) -> &'static str {
        match self {
            Self::Time => "a latency",
            Self::Tokens => "output_tokens",
            Self::Speed => "tokens_per_second",
        }
    }

    /// Examples of a middle and of a high value.
    fn examples(self) -> [&'static str; 2] {
        match self {
            Self::Time => ["40ms", "180ms"],
            Self::Tokens => ["120", "900"],
            Self::Speed => ["50", "80"],
        }
    }

    /// One value, 0 where it may be.
    fn value(self, cx: Cx<'_>, node: &Node) -> Option<f64> {
        match self {
            Self::Time => values::duration(cx, node).map(|d| d.as_secs_f64()),
            Self::Tokens | Self::Speed => self.positive(cx, node),
        }
    }

    /// One value above 0.
    fn positive(self, cx: Cx<'_>, node: &Node) -> Option<f64> {
        match self {
            Self::Time => values::positive_duration(cx, node).map(|d| d.as_secs_f64()),
            Self::Tokens => values::positive(cx, node).map(f64::from),
            Self::Speed => values::factor(cx, node),
        }
    }
}

/// Reads a distribution. None means that mistakes were reported.
pub fn read(cx: Cx<'_>, node: &Node, kind: Kind, files: Files<'_>) -> Option<Distribution> {
    if let Value::Scalar(_) = node.value {
        return kind.value(cx, node).map(Distribution::Constant);
    }
    let entry = cx.choice(node, kind.what(), &KINDS)?;
    match entry.key.as_str() {
        "empirical" => empirical(cx, &entry.value, kind, files),
        name => by_name(cx, name, &entry.value, kind),
    }
}

/// Reads a distribution that needs no file. `what` names it in messages.
pub fn shaped(cx: Cx<'_>, node: &Node, kind: Kind, what: &str) -> Option<Distribution> {
    if let Value::Scalar(_) = node.value {
        return kind.value(cx, node).map(Distribution::Constant);
    }
    let entry = cx.choice(node, what, &KINDS[..5])?;
    by_name(cx, &entry.key, &entry.value, kind)
}

fn by_name(cx: Cx<'_>, name: &str, value: &Node, kind: Kind) -> Option<Distribution> {
    match name {
        "constant" => kind.value(cx, value).map(Distribution::Constant),
        "exponential" => kind.positive(cx, value).map(Distribution::Exponential),
        "lognormal" => lognormal(cx, value, kind),
        "gamma" => by_mean(cx, value, kind, "a gamma distribution", Distribution::gamma),
        _ => by_mean(
            cx,
            value,
            kind,
            "a Weibull distribution",
            Distribution::weibull,
        ),
    }
}

fn lognormal(cx: Cx<'_>, node: &Node, kind: Kind) -> Option<Distribution> {
    let fields = cx.fields(node, "a lognormal distribution")?;
    let [middle, high] = kind.examples();
    let median = fields.required("median", middle, |cx, n| kind.positive(cx, n));
    let p99 = fields.required("p99", high, |cx, n| kind.positive(cx, n));
    fields.finish();
    let (median, p99) = (median?, p99?);
    if p99 < median {
        let message = "the 99th percentile is below the median";
        let diagnostic = cx.at(node.place, message);
        return cx.error(diagnostic.expected("p99 no less than median"));
    }
    Some(Distribution::lognormal(median, p99))
}

fn by_mean(
    cx: Cx<'_>,
    node: &Node,
    kind: Kind,
    what: &'static str,
    make: fn(f64, f64) -> Distribution,
) -> Option<Distribution> {
    let fields = cx.fields(node, what)?;
    let [middle, _] = kind.examples();
    let mean = fields.required("mean", middle, |cx, n| kind.positive(cx, n));
    let cv = fields.required("cv", "0.5", cv);
    fields.finish();
    Some(make(mean?, cv?))
}

/// The standard deviation divided by the mean.
pub fn cv(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let expected = "standard deviation / mean, from 0.01 to 10, like 0.5; 1 is as uneven as chance";
    let text = cx.text(node, "a coefficient of variation", expected)?;
    match text.parse::<f64>().ok().filter(|cv| CV.contains(cv)) {
        Some(cv) => Some(cv),
        None => cx.wrong(node, "a coefficient of variation", expected),
    }
}

/// `FILE.csv#COLUMN`.
fn empirical(cx: Cx<'_>, node: &Node, kind: Kind, files: Files<'_>) -> Option<Distribution> {
    let expected = "FILE.csv#COLUMN, like trace.csv#TTFT_ms";
    let text = cx.text(node, "a column of a file", expected)?;
    let parts = text.rsplit_once('#');
    let parts = parts.filter(|(file, column)| !file.is_empty() && !column.is_empty());
    let Some((file, column)) = parts else {
        let diagnostic = cx.at(node.place, format!("`{}` names no column", head(text)));
        return cx.error(diagnostic.expected(expected));
    };
    let path = beside(files.from, file);
    let bytes = match files.loader.bytes(&path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(unreadable) => return cx.error(files.unreadable(cx, node, unreadable)),
    };
    match values_of(&bytes, column, kind) {
        Ok(values) => Some(Distribution::Empirical(values)),
        Err(Trouble { message, hint }) => {
            let message = format!("{}: {message}", path.display());
            let diagnostic = cx.at(node.place, message).expected(expected);
            cx.error(match hint {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic,
            })
        }
    }
}

/// Why a column gives no values.
struct Trouble {
    message: String,
    hint: Option<String>,
}

fn trouble<T>(message: impl Into<String>, hint: Option<String>) -> Result<T, Trouble> {
    let message = message.into();
    Err(Trouble { message, hint })
}

/// The values of a column of a CSV file with a header line.
fn values_of(bytes: &[u8], column: &str, kind: Kind) -> Result<Arc<[f64]>, Trouble> {
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let index = match rows.byte_headers() {
        Ok(headers) => index_of(headers, column)?,
        Err(error) => return trouble(format!("it is no CSV file: {error}"), None),
    };
    let unit = unit(column, kind);
    let mut values = Vec::new();
    let mut row = csv::ByteRecord::new();
    loop {
        match rows.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return trouble(format!("it is no CSV file: {error}"), None),
        }
        if values.len() == MAX_VALUES {
            return trouble(format!("it has more than {MAX_VALUES} rows"), None);
        }
        let line = row.position().map_or(0, csv::Position::line);
        values.push(value(row.get(index), kind, line)? * unit);
    }
    match values.is_empty() {
        true => trouble("it has no rows", None),
        false => Ok(values.into()),
    }
}

fn index_of(headers: &csv::ByteRecord, column: &str) -> Result<usize, Trouble> {
    let names = headers.iter().take(100).map(String::from_utf8_lossy);
    let names: Vec<String> = names
        .map(|n| n.trim_start_matches('\u{feff}').to_owned())
        .collect();
    if let Some(index) = names.iter().position(|name| name == column) {
        return Ok(index);
    }
    let heads: Vec<String> = names.iter().take(12).map(|name| head(name)).collect();
    let known: Vec<&str> = heads.iter().map(String::as_str).collect();
    let hint = match closest(column, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its columns are {}", listed(&known)),
    };
    trouble(format!("it has no column `{}`", head(column)), Some(hint))
}

/// What the numbers of a column are multiplied by. A name that ends in a unit says it; durations are
/// seconds otherwise.
fn unit(column: &str, kind: Kind) -> f64 {
    let ends = |ending: &str| kind == Kind::Time && column.to_lowercase().ends_with(ending);
    match () {
        () if ends("_ms") => 1e-3,
        () if ends("_us") => 1e-6,
        () => 1.0,
    }
}

fn value(cell: Option<&[u8]>, kind: Kind, line: u64) -> Result<f64, Trouble> {
    let cell = String::from_utf8_lossy(cell.unwrap_or_default());
    let number = cell.trim().parse::<f64>().ok().filter(|n| *n <= LARGEST);
    let (is_good, expected) = match kind {
        Kind::Time => (number >= Some(0.0), "a number of 0 or more, without a unit"),
        Kind::Tokens => (number >= Some(1.0), "a number of 1 or more"),
        Kind::Speed => (number > Some(0.0), "a number above 0"),
    };
    match number.filter(|_| is_good) {
        Some(number) => Ok(number),
        None => trouble(
            format!("line {line}: `{}` is not {expected}", head(&cell)),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &str, column: &str, kind: Kind) -> String {
        match values_of(bytes.as_bytes(), column, kind) {
            Ok(values) => format!("{values:?}"),
            Err(Trouble { message, hint }) => {
                format!("{message} | {}", hint.unwrap_or_default())
            }
        }
    }

    #[test]
    fn a_column_gives_its_values_in_the_unit_of_its_name() {
        let file = "TIMESTAMP,TTFT_ms,tokens\na,40,7\nb,1500,1\n";
        assert_eq!(said(file, "TTFT_ms", Kind::Time), "[0.04, 1.5]");
        assert_eq!(said(file, "tokens", Kind::Tokens), "[7.0, 1.0]");
        assert_eq!(said(file, "tokens", Kind::Time), "[7.0, 1.0]");
        // Only durations have units: tokens called so are tokens.
        assert_eq!(said(file, "TTFT_ms", Kind::Speed), "[40.0, 1500.0]");
    }

    #[test]
    fn what_gives_no_values_says_why() {
        for (file, column, message) in [
            (
                "a,b\n1,2\n",
                "bb",
                "it has no column `bb` | its columns are `a`, `b`",
            ),
            (
                "ttft,b\n1,2\n",
                "ttfb",
                "it has no column `ttfb` | did you mean `ttft`?",
            ),
            ("a\n", "a", "it has no rows | "),
            (
                "a\n1\nx\n",
                "a",
                "line 3: `x` is not a number of 0 or more, without a unit | ",
            ),
            (
                "a\n-1\n",
                "a",
                "line 2: `-1` is not a number of 0 or more, without a unit | ",
            ),
            (
                "a\nNaN\n",
                "a",
                "line 2: `NaN` is not a number of 0 or more, without a unit | ",
            ),
            (
                "a\n1e300\n",
                "a",
                "line 2: `1e300` is not a number of 0 or more, without a unit | ",
            ),
            (
                "a,b\n1\n",
                "b",
                "line 2: `` is not a number of 0 or more, without a unit | ",
            ),
        ] {
            assert_eq!(said(file, column, Kind::Time), message);
        }
        let tokens = said("a\n0\n", "a", Kind::Tokens);
        assert_eq!(tokens, "line 2: `0` is not a number of 1 or more | ");
        let many = format!("a\n{}", "1\n".repeat(MAX_VALUES + 1));
        let said = said(&many, "a", Kind::Time);
        assert_eq!(said, "it has more than 1000000 rows | ");
    }
}
