//! Writing a change: one transaction, all of it or nothing.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;

use crate::canonical;
use crate::router::deployment::{Change, Checkpoint, HistoryEntry};
use crate::router::io::Rollback;

use super::mail;
use super::receivers::{self, Receiver};

/// Writes a change.
pub fn commit(connection: &mut Connection, change: &Change) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_known = write_rollback(&transaction, change)?;
    write_deployment(&transaction, change)?;
    if let Some(checkpoints) = &change.checkpoints {
        write_checkpoints(&transaction, checkpoints)?;
    }
    // The line of a rollback comes with its record, which may be here already.
    if let Some(entry) = change.entry.as_ref().filter(|_| !is_known) {
        write_entry(&transaction, entry)?;
    }
    transaction.commit()
}

fn write_deployment(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let deployment = &change.deployment;
    let unix_ms = change.entry.as_ref().and_then(|entry| entry.unix_ms);
    let body = text(deployment)?;
    let sha256 = canonical::sha256(deployment);
    transaction.execute(
        "INSERT INTO deployment (id, body, sha256) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET body = excluded.body, sha256 = excluded.sha256",
        params![body, sha256],
    )?;
    let config = &*deployment.config;
    transaction.execute(
        "INSERT INTO revisions (revision, release, config, sha256, unix_ms)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (revision) DO NOTHING",
        params![
            number(deployment.revision),
            number(deployment.release),
            text(config)?,
            canonical::sha256(config),
            unix_ms.map(number),
        ],
    )?;
    Ok(())
}

/// Brings the table up to the list. The configuration of a checkpoint that is there is never
/// written again: should it be damaged, it stays what it is.
fn write_checkpoints(transaction: &Transaction<'_>, list: &[Checkpoint]) -> rusqlite::Result<()> {
    let ids: Vec<&str> = list
        .iter()
        .map(|checkpoint| checkpoint.id.as_str())
        .collect();
    transaction.execute(
        "DELETE FROM checkpoints WHERE id NOT IN (SELECT value FROM json_each(?1))",
        [text(&ids)?],
    )?;
    for checkpoint in list {
        transaction.execute(
            "INSERT INTO checkpoints
             (id, name, kind, release, rolled_back, unix_ms, config, sha256)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET rolled_back = excluded.rolled_back",
            params![
                checkpoint.id,
                checkpoint.name,
                text(&checkpoint.kind)?,
                number(checkpoint.release),
                checkpoint.rolled_back,
                checkpoint.unix_ms.map(number),
                text(&*checkpoint.config)?,
                checkpoint.sha256,
            ],
        )?;
    }
    Ok(())
}

fn write_entry(transaction: &Transaction<'_>, entry: &HistoryEntry) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO history (revision, kind, detail, unix_ms) VALUES (?1, ?2, ?3, ?4)",
        params![
            number(entry.revision),
            entry.kind,
            entry.detail,
            entry.unix_ms.map(number),
        ],
    )?;
    Ok(())
}

/// Writes the record of a rollback and a letter for everybody who is to be told. Returns whether
/// the record was there already.
fn write_rollback(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<bool> {
    let Some(record) = &change.rollback else {
        return Ok(false);
    };
    let added = transaction.execute(
        "INSERT INTO rollbacks (id, record) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
        params![record.id, text(record)?],
    )?;
    if added == 0 {
        return Ok(true);
    }
    for receiver in receivers::of(change, record) {
        write_letter(transaction, record, &receiver)?;
    }
    Ok(false)
}

fn write_letter(
    transaction: &Transaction<'_>,
    record: &Rollback,
    receiver: &Receiver,
) -> rusqlite::Result<()> {
    mail::add(
        transaction,
        &record.id,
        receiver,
        record.unix_ms.map(number),
    )
}

/// The canonical form of plain data.
pub fn text(value: &(impl Serialize + ?Sized)) -> rusqlite::Result<String> {
    let wrap = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    serde_json::to_string(value).map_err(wrap)
}

/// SQLite's numbers have a sign.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
