//! What survives: the state file, the letters about rollbacks, and processes that are killed.

mod commits;
mod gateway;
mod killed;
mod letters;
#[path = "../core/rig.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the core, and not all of it is used here"
)]
mod rig;
mod serving;
mod troubles;

use std::path::Path;

use graygate::live::store::{Place, State};
use graygate::router::control::Order;
use graygate::router::deployment::Change;

use rig::{Rig, config};

/// A state file that is open.
pub(crate) fn open(path: &Path) -> State {
    let state = State::at(Place::File(path.to_owned()));
    state.open().expect("it opens");
    state
}

pub(crate) fn roll_back() -> Order {
    let why = "people complain".to_owned();
    Order::RollBack { why }
}

pub(crate) fn checkpoint(name: &str) -> Order {
    let name = name.to_owned();
    Order::Checkpoint { name }
}

/// The changes of a release that people give these orders, told of to these webhooks and peers.
pub(crate) fn changes(orders: Vec<Order>, webhooks: &[&str], peers: &[&str]) -> Vec<Change> {
    let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
    let mut config = config();
    config.rollback.webhooks = owned(webhooks);
    config.rollback.peers = owned(peers);
    let mut rig = Rig::new(config);
    for order in orders {
        rig.order(order).expect("an answer").expect("it is done");
    }
    rig.kept
}
