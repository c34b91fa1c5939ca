//! Evidence, and the texts that its rows share.

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OptionalExtension, params};

use super::entries::in_order;
use crate::clock::Moment;
use crate::store::{Evidence, NewEvidence, RunId};

/// Appends a row. Rows are never deleted, so that the next id is greater than all before.
pub(super) fn append(connection: &Connection, evidence: &NewEvidence) -> Result<i64> {
    let after = if evidence.after.is_empty() { None } else { Some(serde_json::to_string(&evidence.after)?) };
    let mut statement = connection
        .prepare_cached("INSERT INTO evidence (run_id, at_ms, rules, after, doc, names) VALUES (?, ?, ?, ?, ?, ?)")?;
    Ok(statement.insert(params![evidence.run.0, evidence.at.0, evidence.rules, after, evidence.doc, evidence.names])?)
}

pub(super) fn of(connection: &Connection, ids: &[i64]) -> Result<Vec<Evidence>> {
    let mut statement = connection.prepare_cached(
        "SELECT v.id, v.run_id, v.at_ms, v.rules, v.after, v.doc, v.names
         FROM json_each(?) wanted CROSS JOIN evidence v ON v.id = wanted.value",
    )?;
    let mut rows = statement.query([in_order(ids)?])?;
    let mut found = Vec::with_capacity(ids.len());
    while let Some(row) = rows.next()? {
        found.push(one(row)?);
    }
    Ok(found)
}

pub(super) fn last(connection: &Connection) -> Result<i64> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(id), 0) FROM evidence")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

pub(super) fn each(connection: &Connection, each: &mut dyn FnMut(Evidence) -> Result<()>) -> Result<()> {
    let sql = "SELECT id, run_id, at_ms, rules, after, doc, names FROM evidence ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(one(row)?)?;
    }
    Ok(())
}

fn one(row: &rusqlite::Row) -> Result<Evidence> {
    let id = row.get(0)?;
    let after = match row.get_ref(4)?.as_str_or_null()? {
        None => Vec::new(),
        Some(json) => serde_json::from_str(json).with_context(|| format!("failed to read evidence {id}"))?,
    };
    Ok(Evidence {
        id,
        row: NewEvidence {
            run: RunId(row.get(1)?),
            at: Moment(row.get(2)?),
            rules: row.get(3)?,
            after,
            doc: row.get(5)?,
            names: row.get(6)?,
        },
    })
}

/// Gives other names to what a row names. Within an erasure.
pub(super) fn rename(connection: &Connection, evidence: i64, names: &str) -> Result<()> {
    let mut statement = connection.prepare_cached("UPDATE evidence SET names = ?2 WHERE id = ?1")?;
    if statement.execute(params![evidence, names])? == 0 {
        bail!("failed to erase the names of evidence {evidence}: it is not there");
    }
    Ok(())
}

/// The id of a text, which is stored if it is new.
pub(super) fn share(connection: &Connection, text: &str) -> Result<i64> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM texts WHERE text = ?")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    match known {
        Some(id) => Ok(id),
        None => Ok(connection.prepare_cached("INSERT INTO texts (text) VALUES (?)")?.insert([text])?),
    }
}

pub(super) fn shared(connection: &Connection, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    let mut statement = connection
        .prepare_cached("SELECT t.id, t.text FROM json_each(?) wanted CROSS JOIN texts t ON t.id = wanted.value")?;
    let texts = statement.query_map([in_order(ids)?], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(texts.collect::<rusqlite::Result<_>>()?)
}

/// Every text, in order of the ids.
pub(super) fn each_shared(connection: &Connection, each: &mut dyn FnMut(i64, &str) -> Result<()>) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT id, text FROM texts ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_str()?)?;
    }
    Ok(())
}
