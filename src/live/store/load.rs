//! Reading what is kept.

use std::fmt::Display;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;

use crate::canonical;
use crate::router::config::RouterConfig;
use crate::router::deployment::{Checkpoint, Deployment, HistoryEntry};
use crate::router::io::Rollback;

/// The release, with its checkpoints; none when nothing is kept.
pub fn deployment(connection: &Connection) -> rusqlite::Result<Option<Deployment>> {
    let row = connection
        .query_row(
            "SELECT body, sha256 FROM deployment WHERE id = 1",
            [],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
        )
        .optional()?;
    let Some((body, sha256)) = row else {
        return Ok(None);
    };
    let mut deployment: Deployment = read(&body)?;
    if canonical::sha256(&deployment) != sha256 {
        return Err(damaged("the release does not have its SHA-256"));
    }
    deployment.checkpoints = checkpoints(connection, &deployment.config)?;
    Ok(Some(deployment))
}

/// The checkpoints, oldest first. One whose configuration cannot even be read bears `stand_in`, and
/// a fingerprint that it does not have.
pub fn checkpoints(
    connection: &Connection,
    stand_in: &Arc<RouterConfig>,
) -> rusqlite::Result<Vec<Checkpoint>> {
    let mut query = connection.prepare_cached(
        "SELECT id, name, kind, release, rolled_back, unix_ms, config, sha256
         FROM checkpoints ORDER BY seq",
    )?;
    let rows = query.query_map([], |row| checkpoint(row, stand_in))?;
    rows.collect()
}

fn checkpoint(row: &Row<'_>, stand_in: &Arc<RouterConfig>) -> rusqlite::Result<Checkpoint> {
    let config: String = row.get(6)?;
    let sha256: String = row.get(7)?;
    let (config, sha256) = match serde_json::from_str::<RouterConfig>(&config) {
        Ok(config) => (Arc::new(config), sha256),
        Err(_) => (stand_in.clone(), format!("damaged: {sha256}")),
    };
    Ok(Checkpoint {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: read(&row.get::<_, String>(2)?)?,
        release: row.get::<_, i64>(3)?.unsigned_abs(),
        rolled_back: row.get(4)?,
        unix_ms: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
        config,
        sha256,
    })
}

/// The newest lines of the history, newest first.
pub fn history(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<HistoryEntry>> {
    let mut query = connection.prepare_cached(
        "SELECT revision, kind, detail, unix_ms FROM history ORDER BY seq DESC LIMIT ?1",
    )?;
    let rows = query.query_map([limit], |row| {
        Ok(HistoryEntry {
            revision: row.get::<_, i64>(0)?.unsigned_abs(),
            kind: row.get(1)?,
            detail: row.get(2)?,
            unix_ms: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
        })
    })?;
    rows.collect()
}

/// The records of all rollbacks, newest first.
pub fn rollbacks(connection: &Connection) -> rusqlite::Result<Vec<Rollback>> {
    let mut query = connection.prepare_cached("SELECT record FROM rollbacks ORDER BY seq DESC")?;
    let rows = query.query_map([], |row| read(&row.get::<_, String>(0)?))?;
    rows.collect()
}

fn read<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(damaged)
}

/// What is kept cannot be read.
fn damaged(why: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.to_string().into())
}
