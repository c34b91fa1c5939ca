//! Keys, and the groups that they lead to. What a key led to when it was stored stays there; a group that became a part of
//! another one is followed when it is read.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension};

use super::entries::in_order;
use crate::store::Key;

const GROUPS: &str = "SELECT k.key, coalesce(m.into_id, k.group_id)
     FROM json_each(?) wanted CROSS JOIN keys k ON k.key = wanted.value LEFT JOIN merges m ON m.group_id = k.group_id";

pub(super) fn groups(connection: &Connection, keys: &[Key]) -> Result<Vec<Option<i64>>> {
    let mut statement = connection.prepare_cached(GROUPS)?;
    let found = statement.query_map([in_order(keys)?], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: HashMap<Key, i64> = found.collect::<rusqlite::Result<_>>()?;
    Ok(keys.iter().map(|key| found.get(key).copied()).collect())
}

/// Stores them in their order: they stand side by side in the tree then.
pub(super) fn put(connection: &Connection, keys: &[(Key, i64)]) -> Result<()> {
    for group in keys.iter().map(|(_, group)| *group).collect::<BTreeSet<_>>() {
        begin_anew(connection, group)?;
    }
    let mut keys = keys.to_vec();
    // Of a key that is there twice the last one holds.
    keys.sort_by_key(|(key, _)| *key);
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO keys (key, group_id) VALUES (?, ?)")?;
    for (key, group) in keys {
        statement.execute([key, group])?;
    }
    Ok(())
}

pub(super) fn drop_all(connection: &Connection, keys: &[Key]) -> Result<()> {
    let sql = "DELETE FROM keys WHERE key IN (SELECT value FROM json_each(?))";
    connection.prepare_cached(sql)?.execute([in_order(keys)?])?;
    Ok(())
}

/// Every key, in order.
pub(super) fn each_key(connection: &Connection, each: &mut dyn FnMut(Key, i64) -> Result<()>) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT k.key, coalesce(m.into_id, k.group_id) FROM keys k LEFT JOIN merges m ON m.group_id = k.group_id ORDER BY k.key",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get(1)?)?;
    }
    Ok(())
}

/// Makes a group a part of another one. One that was merged before has no keys any more.
pub(super) fn merge(connection: &Connection, from: i64, into: i64) -> Result<()> {
    if from == into {
        return Ok(());
    }
    begin_anew(connection, into)?;
    for sql in [
        "UPDATE state SET group_id = ?2 WHERE entry_id = ?1 AND group_id = ?1",
        "UPDATE state SET group_id = ?2 WHERE group_id = ?1 AND group_id <> entry_id",
    ] {
        connection.prepare_cached(sql)?.execute([from, into])?;
    }
    if merged_into(connection, from)?.is_some() {
        return Ok(());
    }
    for sql in
        ["UPDATE merges SET into_id = ?2 WHERE into_id = ?1", "INSERT INTO merges (group_id, into_id) VALUES (?1, ?2)"]
    {
        connection.prepare_cached(sql)?.execute([from, into])?;
    }
    Ok(())
}

/// What is stored for a group that was merged is its own from now on. Nobody does that to a group who found it by its keys;
/// so its former keys may be looked for one by one, to give them to the group that it was merged into.
fn begin_anew(connection: &Connection, group: i64) -> Result<()> {
    if let Some(into) = merged_into(connection, group)? {
        connection.prepare_cached("UPDATE keys SET group_id = ?2 WHERE group_id = ?1")?.execute([group, into])?;
        connection.prepare_cached("DELETE FROM merges WHERE group_id = ?")?.execute([group])?;
    }
    Ok(())
}

/// The group that one is a part of by now; `None`: it was never merged.
fn merged_into(connection: &Connection, group: i64) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT into_id FROM merges WHERE group_id = ?")?;
    Ok(statement.query_row([group], |row| row.get(0)).optional()?)
}
