//! What stands for which upstream in a live run.

use crate::experiment::{Experiment, MockServer, Traffic};
use crate::fault::kind::FaultKind;
use crate::id::{PerVersion, VersionId};
use crate::upstream::profile::Profile;

/// Most planned requests for which wiremock is chosen: it holds a lock per request and copies every
/// one it matches.
pub const WIREMOCK_LIMIT: f64 = 20_000.0;
/// Most concurrent callers for which wiremock is chosen, for the same reason.
pub const WIREMOCK_CALLERS: u32 = 200;

/// What stands for a version's upstream in a live run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// A mock.
    Mock(MockServer),
    /// A real one, behind a proxy.
    Real,
}

impl Player {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mock(server) => server.name(),
            Self::Real => "real",
        }
    }
}

/// How a live run is set up: what stands for which upstream.
#[derive(Clone, Debug)]
pub struct Plan {
    players: PerVersion<Player>,
}

impl Plan {
    /// wiremock where it can play the upstream and the run is small enough, else the native server;
    /// what the scenario asks for wins.
    pub fn new(experiment: &Experiment) -> Self {
        let is_small = is_small(&experiment.traffic);
        let has_streams = experiment.traffic.has_streams();
        let players = experiment.servers.iter().map(|(version, asked)| {
            if experiment.real[version].is_some() {
                return Player::Real;
            }
            // Who hangs up, and when, is of interest in a gateway that nobody here has written.
            let can_wiremock = experiment.gateway.is_none()
                && is_small
                && !has_streams
                && needs_native(experiment, version).is_none()
                && can_wiremock_play(&experiment.upstreams.profiles[version]);
            Player::Mock(asked.unwrap_or(match can_wiremock {
                true => MockServer::Wiremock,
                false => MockServer::Native,
            }))
        });
        Self {
            players: players.collect(),
        }
    }

    /// What stands for which upstream.
    pub fn players(&self) -> &PerVersion<Player> {
        &self.players
    }
}

/// wiremock sees nobody hang up, and so not when a place is free again; and it cannot break off an answer, as recorded ones
/// may.
fn can_wiremock_play(profile: &Profile) -> bool {
    profile.capacity.is_none() && !profile.answers.are_recorded()
}

/// Is it little enough traffic for wiremock?
fn is_small(traffic: &Traffic) -> bool {
    let is_short = traffic
        .expected_requests()
        .is_some_and(|n| n <= WIREMOCK_LIMIT);
    is_short && traffic.callers().is_none_or(|n| n <= WIREMOCK_CALLERS)
}

/// The fault on a version that only the native server can play.
pub fn needs_native(experiment: &Experiment, version: VersionId) -> Option<FaultKind> {
    let faults = experiment.upstreams.faults.iter();
    faults
        .filter(|fault| fault.on.contains(&version))
        .map(|fault| fault.kind)
        .find(|kind| !kind.is_whole_reply())
}
