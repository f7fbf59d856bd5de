//! What a run was: everything a reader needs to know before looking at a figure.

use serde::Serialize;

use crate::id::{PerVersion, Seed, VersionId};
use crate::pricing::Price;
use crate::time::Timestamp;
use crate::traffic::log::survey::Spacing;

/// Which driver ran the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Event heap and virtual time.
    Virtual,
    /// Real sockets and real time.
    Live,
}

impl Engine {
    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Live => "live",
        }
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All requests were sent and answered.
    Complete,
    /// Somebody stopped it.
    Interrupted,
    /// The next request could have passed the budget for real upstreams.
    OutOfBudget,
}

/// The circumstances of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunMeta {
    /// The scenario's short name: its file name without the ending.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub description: Option<String>,
    /// The driver; none for an audit, where a log tells what happened.
    pub engine: Option<Engine>,
    /// The seed.
    pub seed: Seed,
    /// SHA-256 over the scenario file and every file it refers to.
    pub scenario_sha256: String,
    /// SHA-256 over the canonical form of the router's configuration.
    pub router_sha256: String,
    /// The version of graygate.
    pub graygate: &'static str,
    /// The command of another gateway that is tested, or its URL; none for the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The versions' names.
    pub versions: PerVersion<VersionMeta>,
    /// Which version is stable.
    pub stable: VersionId,
    /// Which version is on trial.
    pub canary: VersionId,
    /// The canary's share of the split, 0 to 1.
    pub canary_share: f64,
    /// The faults, in the order of the file.
    pub faults: Vec<FaultMeta>,
    /// The orders that another gateway is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderMeta>,
    /// Do its requests ask for streams? Only then its files speak of them.
    #[serde(skip)]
    pub has_streams: bool,
    /// When the last request may be scheduled; none when the number of requests ends the run.
    pub planned_end: Option<Timestamp>,
    /// Where recorded traffic came from, and what became of its lines.
    pub log: Option<LogMeta>,
    /// The command that ran it, without engine and seed.
    pub command: String,
}

impl RunMeta {
    /// The whole command line that runs it again, from one without engine and seed.
    pub fn command_line(&self, command: &str) -> String {
        match self.engine {
            Some(engine) => format!("{command} --engine {} --seed {}", engine.name(), self.seed),
            // Nothing is drawn, and nothing driven.
            None => command.to_owned(),
        }
    }

    /// The driver in files: `virtual`, `live` or `audit`.
    pub fn driver(&self) -> &'static str {
        self.engine.map_or("audit", Engine::name)
    }

    /// How it was run, for people: the engine, these words, and the seed.
    pub fn manner(&self, between: &str) -> String {
        match self.engine {
            Some(engine) => format!("{}{between}{}", engine.name(), self.seed),
            None => "audit of a log".to_owned(),
        }
    }

    /// The name of a version.
    pub fn name(&self, version: VersionId) -> &str {
        &self.versions[version].name
    }
}

/// A version, as far as a reader cares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionMeta {
    /// Its name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// What its tokens cost, per million.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What played its upstream: `simulated`, `native`, `wiremock`.
    pub upstream: &'static str,
}

/// An order to another gateway, as far as a reader cares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderMeta {
    /// Its number, from 1.
    pub order: u16,
    /// `set_weights` or `rollback`.
    pub kind: &'static str,
    /// The share of the canary that it asks for, 0 to 1; none of a rollback.
    pub canary_share: Option<f64>,
    /// When it is given, in seconds from the start of the run.
    pub at_s: f64,
}

/// A fault, as far as a reader cares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultMeta {
    /// Its kind.
    pub kind: &'static str,
    /// The versions it is on.
    pub on: Vec<VersionId>,
    /// Its start.
    pub from: Timestamp,
    /// Its end; the end of the run when absent.
    pub until: Option<Timestamp>,
    /// The share of attempts it hits, 0 to 1; over all its time, if it follows a pattern.
    pub share: f64,
    /// Does nobody reach the version at all?
    #[serde(skip)]
    pub keeps_out: bool,
    /// Does it leave answers as they are, and only make them later?
    #[serde(skip)]
    pub only_delays: bool,
}

/// Recorded traffic, as far as a reader cares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogMeta {
    /// The file's name.
    pub file: String,
    /// The format it was read as.
    pub format: &'static str,
    /// What its times are written in.
    pub times: &'static str,
    /// Its first moment: a date where its clock is one, else seconds; none where it has no times.
    pub origin: Option<String>,
    /// What it shows its format by; none when that was said.
    pub detected: Option<&'static str>,
    /// How it is packed.
    pub packed: Option<&'static str>,
    /// How fast it was sent: `1x`, `60x`, `max`.
    pub speed: String,
    /// Rows in the file.
    pub read: u64,
    /// Rows replayed.
    pub replayed: u64,
    /// Rows that are further attempts of a request: they are sent with it, and not as requests of their own.
    pub merged: u64,
    /// Requests that may lack attempts, since too many might have gone on at once.
    pub cut_short: u64,
    /// So many times its requests are sent; none when each is sent once.
    pub scale_rate: Option<f64>,
    /// Requests that are copies of others.
    pub copies: u64,
    /// So many times it is sent, one after the other; none when it is sent once.
    pub rounds: Option<u32>,
    /// Requests of later rounds.
    pub repeated: u64,
    /// Rows that ask for a stream; they are sent as streams.
    pub streams: u64,
    /// Rows dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Rows that stood before their time; all were sorted.
    pub inversions: u64,
    /// Rows of which the log says how they ended.
    pub ended: u64,
    /// Those of them that had failed, by how. They are sent like any other.
    pub failed: Vec<(&'static str, u64)>,
    /// How its arrivals are spaced, as it was recorded.
    pub recorded: Spacing,
    /// By up to how many seconds each row was moved; none when they stayed where they are.
    pub spread_s: Option<f64>,
    /// The distance of Kolmogorov and Smirnov between the gaps as they were recorded and as they are replayed (at the log's
    /// own pace); none where nothing changes them.
    pub gap_distance: Option<f64>,
}
