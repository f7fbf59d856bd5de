//! The outbox: letters about rollbacks, each to one receiver, until they are delivered.

use rusqlite::{Connection, Row, Transaction, params};
use serde::Serialize;

use super::receivers::{Receiver, ReceiverKind};

/// A letter that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its number.
    pub seq: i64,
    /// The rollback.
    pub rollback_id: String,
    /// To whom, and what.
    pub receiver: Receiver,
    /// When the rollback was, in milliseconds since 1970.
    pub unix_ms: Option<u64>,
    /// How often it was tried.
    pub attempts: u64,
}

/// Where a letter stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LetterState {
    /// What kind of receiver.
    pub kind: ReceiverKind,
    /// As the router file names it.
    pub receiver: String,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u64,
    /// Why it failed last.
    pub last_error: Option<String>,
}

/// Who of those concerned knows of a rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Peers that acknowledged it.
    pub peers_acknowledged: usize,
    /// Peers there are.
    pub peers: usize,
    /// Webhooks that got it.
    pub webhooks_delivered: usize,
    /// Webhooks there are.
    pub webhooks: usize,
    /// Each of them.
    pub letters: Vec<LetterState>,
}

impl Told {
    fn of(letters: Vec<LetterState>) -> Self {
        let count = |kind, delivered: bool| {
            let are = letters.iter().filter(|l| l.kind == kind);
            are.filter(|l| !delivered || l.state == "delivered").count()
        };
        Self {
            peers_acknowledged: count(ReceiverKind::Peer, true),
            peers: count(ReceiverKind::Peer, false),
            webhooks_delivered: count(ReceiverKind::Webhook, true),
            webhooks: count(ReceiverKind::Webhook, false),
            letters,
        }
    }
}

/// Writes a letter. A receiver that is listed twice gets one.
pub fn add(
    transaction: &Transaction<'_>,
    rollback_id: &str,
    receiver: &Receiver,
    unix_ms: Option<i64>,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO outbox (rollback_id, kind, receiver, body, unix_ms)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        params![
            rollback_id,
            receiver.kind.name(),
            receiver.entry,
            receiver.body,
            unix_ms
        ],
    )?;
    Ok(())
}

/// Letters that are to be delivered, oldest first.
pub fn pending(connection: &Connection) -> rusqlite::Result<Vec<Letter>> {
    let mut query = connection.prepare_cached(
        "SELECT seq, rollback_id, kind, receiver, body, unix_ms, attempts
         FROM outbox WHERE state = 'pending' ORDER BY seq",
    )?;
    let letters = query.query_map([], letter)?;
    letters.collect()
}

fn letter(row: &Row<'_>) -> rusqlite::Result<Letter> {
    let kind: String = row.get(2)?;
    Ok(Letter {
        seq: row.get(0)?,
        rollback_id: row.get(1)?,
        receiver: Receiver {
            kind: ReceiverKind::named(&kind),
            entry: row.get(3)?,
            body: row.get(4)?,
        },
        unix_ms: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
        attempts: row.get::<_, i64>(6)?.unsigned_abs(),
    })
}

/// Notes how an attempt ended: delivered when there is no `error`, and never tried again when it is
/// `over`.
pub fn note(
    connection: &Connection,
    seq: i64,
    error: Option<&str>,
    is_over: bool,
) -> rusqlite::Result<()> {
    let state = match (error, is_over) {
        (None, _) => "delivered",
        (Some(_), true) => "failed",
        (Some(_), false) => "pending",
    };
    connection.execute(
        "UPDATE outbox SET state = ?2, last_error = ?3, attempts = attempts + 1
         WHERE seq = ?1 AND state = 'pending'",
        params![seq, state, error],
    )?;
    Ok(())
}

/// Who knows of a rollback.
pub fn told(connection: &Connection, rollback_id: &str) -> rusqlite::Result<Told> {
    let mut query = connection.prepare_cached(
        "SELECT kind, receiver, state, attempts, last_error
         FROM outbox WHERE rollback_id = ?1 ORDER BY seq",
    )?;
    let letters = query.query_map([rollback_id], |row| {
        let kind: String = row.get(0)?;
        Ok(LetterState {
            kind: ReceiverKind::named(&kind),
            receiver: row.get(1)?,
            state: row.get(2)?,
            attempts: row.get::<_, i64>(3)?.unsigned_abs(),
            last_error: row.get(4)?,
        })
    })?;
    Ok(Told::of(letters.collect::<Result<_, _>>()?))
}
