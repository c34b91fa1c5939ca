//! Imports: how far each file was read, and what stood in it that has no id of its own.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Moment;
use crate::store::{Import, Imported, Known, Mark};

/// Those through a mapping, the furthest first.
pub(super) fn of(connection: &Connection, mapping: &[u8; 16]) -> Result<Vec<Import>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, file, mapping, head_bytes, head, bytes, lines, tail, imported, duplicates, left_out, rejected
         FROM imports WHERE mapping = ? ORDER BY bytes DESC, id DESC",
    )?;
    let imports = statement.query_map([mapping], |row| {
        Ok(Import {
            id: row.get(0)?,
            known: Known { file: row.get(1)?, mapping: row.get(2)?, head_bytes: row.get(3)?, head: row.get(4)? },
            mark: Mark { bytes: row.get(5)?, lines: row.get(6)? },
            tail: row.get(7)?,
            counts: Imported {
                imported: row.get(8)?,
                duplicates: row.get(9)?,
                left_out: row.get(10)?,
                rejected: row.get(11)?,
            },
        })
    })?;
    Ok(imports.collect::<rusqlite::Result<_>>()?)
}

/// Gives files other names, where `new` has one.
pub(super) fn rename(connection: &Connection, new: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT id, file FROM imports")?;
    let files = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let files: Vec<(i64, String)> = files.collect::<rusqlite::Result<_>>()?;
    for (id, file) in files {
        if let Some(file) = new(&file) {
            connection.execute("UPDATE imports SET file = ? WHERE id = ?", params![file, id])?;
        }
    }
    Ok(())
}

/// Stores how far one is, unless it does not stand where it `was` any more.
pub(super) fn put(connection: &Connection, import: &Import, was: Mark, at: Moment) -> Result<Option<i64>> {
    let Import { id, known, mark, tail, counts } = import;
    let Some(id) = *id else {
        let mut statement = connection.prepare_cached(
            "INSERT INTO imports (file, mapping, head_bytes, head, tail, bytes, lines, imported, duplicates, left_out, rejected,
                                  at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        return Ok(Some(statement.insert(params![
            known.file,
            known.mapping,
            known.head_bytes,
            known.head,
            tail,
            mark.bytes,
            mark.lines,
            counts.imported,
            counts.duplicates,
            counts.left_out,
            counts.rejected,
            at.0,
        ])?));
    };
    let changed = connection
        .prepare_cached(
            "UPDATE imports SET file = ?, head_bytes = ?, head = ?, tail = ?, bytes = ?, lines = ?, imported = ?,
               duplicates = ?, left_out = ?, rejected = ?, at_ms = ?
             WHERE id = ? AND bytes = ? AND lines = ?",
        )?
        .execute(params![
            known.file,
            known.head_bytes,
            known.head,
            tail,
            mark.bytes,
            mark.lines,
            counts.imported,
            counts.duplicates,
            counts.left_out,
            counts.rejected,
            at.0,
            id,
            was.bytes,
            was.lines,
        ])?;
    Ok((changed > 0).then_some(id))
}

pub(super) fn drop_one(connection: &Connection, import: i64) -> Result<()> {
    connection.execute("DELETE FROM import_records WHERE import_id = ?", [import])?;
    connection.execute("DELETE FROM imports WHERE id = ?", [import])?;
    Ok(())
}

pub(super) fn seen(connection: &Connection, import: i64, record: &[u8; 16]) -> Result<i64> {
    let seen = connection
        .prepare_cached("SELECT seen FROM import_records WHERE import_id = ? AND record = ?")?
        .query_row(params![import, record], |row| row.get(0))
        .optional()?;
    Ok(seen.unwrap_or(0))
}

pub(super) fn set_seen(connection: &Connection, import: i64, record: &[u8; 16], seen: i64) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO import_records (import_id, record, seen) VALUES (?, ?, ?)")?
        .execute(params![import, record, seen])?;
    Ok(())
}
