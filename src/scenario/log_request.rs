//! What may be asked of a log that is to be replayed: its format, pace and shape, on the command line and in scenarios.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::fields::Cx;
use crate::config::node::Node;
use crate::config::values;
use crate::traffic::format::{self, Format};
use crate::traffic::log::shape::{MOST_ROUNDS, MOST_SCALE};
use crate::traffic::replay::Speed;

/// The format that a log is read as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogFormat {
    /// Found out by looking at the file.
    Auto,
    /// This one.
    Named(&'static Format),
}

impl LogFormat {
    /// The format of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            _ => format::named(name).map(Self::Named),
        }
    }

    /// The same of an argument, with what to write instead.
    ///
    /// # Errors
    /// When there is no such format.
    pub fn from_argument(name: &str) -> Result<Self, String> {
        let known = || format!("known formats are {}", Self::names().join(", "));
        Self::parse(name).ok_or_else(known)
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        let named = format::FORMATS.iter().map(|format| format.name);
        std::iter::once("auto").chain(named).collect()
    }

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Named(format) => format.name,
        }
    }

    /// The format, where it was said.
    pub fn known(self) -> Option<&'static Format> {
        match self {
            Self::Auto => None,
            Self::Named(format) => Some(format),
        }
    }
}

/// Whether rows are moved within the grain of the log's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// They stay where they are.
    #[default]
    Off,
    /// Within the grain that the log shows.
    Found,
    /// Within so much.
    By(Duration),
}

impl Spread {
    /// `auto`, or a duration.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Found),
            _ => values::parse_duration(text)
                .filter(|by| !by.is_zero())
                .map(Self::By),
        }
    }

    /// As it is written; none when it is off.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Found => Some("auto".to_owned()),
            Self::By(by) => Some(written(by)),
        }
    }
}

/// A duration as it is written on a command line.
pub fn written(duration: Duration) -> String {
    let text = humantime::format_duration(duration).to_string();
    text.replace(' ', "")
}

/// A log to be replayed.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Its path.
    pub path: PathBuf,
    /// How fast.
    pub speed: Speed,
    /// Its format.
    pub format: LogFormat,
    /// Requests scheduled at or after this are left out.
    pub duration: Option<Duration>,
    /// From this time of the log on.
    pub from: Option<Duration>,
    /// Up to this time of the log.
    pub to: Option<Duration>,
    /// This share of its conversations, 0 to 1.
    pub sample: Option<f64>,
    /// So many times its requests.
    pub scale_rate: Option<f64>,
    /// So many times the whole, one after the other.
    pub rounds: Option<u32>,
    /// Whether rows are moved.
    pub spread: Spread,
}

/// How many times as many requests are sent.
pub const SCALE_EXPECTED: &str = "a number above 0 and at most 1000, like 2 or 0.5";
/// How many rounds there are.
pub const ROUNDS_EXPECTED: &str = "a whole number from 2 to 10000";

/// Reads a `--scale-rate`.
pub fn parse_scale(text: &str) -> Option<f64> {
    let factor: f64 = text.parse().ok()?;
    (factor > 0.0 && factor <= MOST_SCALE).then_some(factor)
}

/// Reads a `--loop`.
pub fn parse_rounds(text: &str) -> Option<u32> {
    let rounds: u32 = text.parse().ok()?;
    (2..=MOST_ROUNDS).contains(&rounds).then_some(rounds)
}

impl LogRequest {
    /// All of this log, as it was recorded.
    pub fn whole(path: PathBuf) -> Self {
        Self {
            path,
            speed: Speed::Times(1.0),
            format: LogFormat::Auto,
            duration: None,
            from: None,
            to: None,
            sample: None,
            scale_rate: None,
            rounds: None,
            spread: Spread::Off,
        }
    }

    /// How fast, as it is written.
    pub fn speed_name(&self) -> String {
        match self.speed {
            Speed::Times(factor) => format!("{factor}x"),
            Speed::Max => "max".to_owned(),
        }
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

pub(super) fn speed(cx: Cx<'_>, node: &Node) -> Option<Speed> {
    let expected = "1x, 10x, 0.5x or max";
    let text = cx.text(node, "a speed", expected)?;
    match values::parse_speed(text) {
        Some(factor) => Some(factor.map_or(Speed::Max, Speed::Times)),
        None => cx.wrong(node, "a speed", expected),
    }
}

/// Reads the name of a format.
pub fn log_format(cx: Cx<'_>, node: &Node) -> Option<LogFormat> {
    let names = LogFormat::names();
    let words = names.iter();
    let words: Vec<_> = words
        .filter_map(|name| Some((*name, LogFormat::parse(name)?)))
        .collect();
    values::word(cx, node, "a log format", &words)
}

pub(super) fn sample(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let share = values::share(cx, node)?;
    match share > 0.0 {
        true => Some(share),
        false => cx.wrong(node, "a share above 0%", "10%"),
    }
}

pub(super) fn scale_rate(cx: Cx<'_>, node: &Node) -> Option<f64> {
    let text = cx.text(node, "a factor", SCALE_EXPECTED)?;
    parse_scale(text).or_else(|| cx.wrong(node, "a factor", SCALE_EXPECTED))
}

pub(super) fn rounds(cx: Cx<'_>, node: &Node) -> Option<u32> {
    let text = cx.text(node, "a number of rounds", ROUNDS_EXPECTED)?;
    parse_rounds(text).or_else(|| cx.wrong(node, "a number of rounds", ROUNDS_EXPECTED))
}

pub(super) fn spread(cx: Cx<'_>, node: &Node) -> Option<Spread> {
    let expected = "auto, or a duration like 1s";
    let text = cx.text(node, "a spread", expected)?;
    let parsed = Spread::parse(text);
    parsed.or_else(|| cx.wrong(node, "a spread", expected))
}
