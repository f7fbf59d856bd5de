//! Rollbacks that another instance of the gateway tells of.
//!
//! A peer tells until it is heard, so the same rollback may come many times, and late: after another
//! configuration was applied here, which has nothing to do with it. Each id therefore counts once.

use std::collections::VecDeque;

use tokio::sync::Mutex;

use crate::live::admin::Admin;
use crate::live::admin::form::BasedOn;
use crate::live::admin::orders::Answer;
use crate::router::control::Order;

/// Ids that are remembered.
const REMEMBERED: usize = 1_000;
/// Own records that are looked through for an id that came back.
const LOOKED_THROUGH: usize = 100;

/// The ids of peers' rollbacks that were heard of.
#[derive(Debug, Default)]
pub struct PeerRollbacks(Mutex<VecDeque<String>>);

impl Admin {
    /// A peer rolled back: so does this gateway, unless it has heard of it before.
    pub(super) async fn peer_rollback(&self, id: &str, why: &str) -> Answer {
        // Held to the end: whoever tells it again at the same time must find the canary closed.
        let mut heard = self.config_peers().lock().await;
        if heard.iter().any(|known| known == id) || self.is_own(id).await? {
            return self.release(200).await;
        }
        let why = format!("peer {id}: {why}");
        let answer = self
            .close(BasedOn::default(), Order::RollBack { why })
            .await?;
        heard.push_back(id.to_owned());
        if heard.len() > REMEMBERED {
            heard.pop_front();
        }
        Ok(answer)
    }

    fn config_peers(&self) -> &Mutex<VecDeque<String>> {
        &self.peers.0
    }

    /// Is it a rollback of this gateway's own, or one it was told of before it started anew?
    async fn is_own(&self, id: &str) -> Result<bool, super::problem::Problem> {
        let records = self
            .read(|records| records.rollbacks(LOOKED_THROUGH))
            .await?;
        let told = format!("peer {id}: ");
        Ok(records.iter().any(|record| {
            let words = match &record.reason {
                crate::router::io::Reason::ByHand(words) => words.as_str(),
                _ => "",
            };
            record.id == id || words.starts_with(&told)
        }))
    }
}
