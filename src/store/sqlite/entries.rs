//! Writers' rows. What a writer of ours does is done by the same statements as any other writer's, so that the triggers
//! speak for both.
//!
//! The functions take a connection, so they join whatever transaction its owner has open.

use anyhow::{Result, bail};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::columns::{as_text, cell, row_columns, row_of};
use crate::clock::{Moment, Span};
use crate::plan::{Cell, Row};
use crate::store::{End, Ended, Left, NewEntry, Texts, Written, WrittenRow};
use crate::words::Failure;

/// Records one attempt. False: it is recorded already and stays as it is.
///
/// # Errors
/// When the ledger cannot be written.
pub fn record(connection: &Connection, entry: &NewEntry, clock_error: Option<Span>) -> rusqlite::Result<bool> {
    let inserted = match insert(connection, entry) {
        Err(error) if is_repeat(&error) => 0,
        inserted => inserted?,
    };
    if inserted > 0
        && let Some(error) = clock_error
    {
        connection
            .prepare_cached("UPDATE state SET clock_error_ms = ? WHERE entry_id = ?")?
            .execute([error.0, connection.last_insert_rowid()])?;
    }
    Ok(inserted > 0)
}

/// A unique index of the partner's own on the id is asked before the table's key, and refuses what that passes over.
fn is_repeat(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, Some(said)) = error else { return false };
    failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE && said.ends_with(" entries.request_id")
}

fn insert(connection: &Connection, entry: &NewEntry) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT INTO entries (request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            entry.request_id,
            entry.operation_id,
            entry.direction.text(),
            entry.method,
            entry.url,
            entry.body,
            entry.sent_at.to_string(),
            entry.ended_at.map(|ended| ended.to_string()),
            entry.failure.text(),
            entry.http_status,
            entry.error,
        ])
}

/// Ends a recorded intent.
///
/// # Errors
/// When the ledger cannot be written.
pub fn end(connection: &Connection, request_id: &str, ended_at: Moment, end: &End) -> rusqlite::Result<Ended> {
    let (failure, http_status, error) = match *end {
        End::Answered { keep: false, .. } if forget(connection, request_id)? => return Ok(Ended::Forgotten),
        End::Answered { status, .. } => (Failure::Answered, Some(status), None),
        End::Failed { failure, http_status, error } => (failure, http_status, error),
    };
    let changed = connection
        .prepare_cached(
            "UPDATE entries SET failure = ?, http_status = ?, ended_at = ?, error = ? WHERE request_id = ? AND failure = 'intent'",
        )?
        .execute(params![failure.text(), http_status, ended_at.to_string(), error, request_id])?;
    Ok(if changed == 0 { Ended::NoIntent } else { Ended::Kept })
}

/// Deletes an intent that was answered, unless it was looked up already or other attempts of its operation are there:
/// then the answer is evidence.
fn forget(connection: &Connection, request_id: &str) -> rusqlite::Result<bool> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM entries WHERE request_id = ?1 AND failure = 'intent'
               AND NOT EXISTS (SELECT 1 FROM state WHERE entry_id = entries.id AND looks > 0)
               AND NOT EXISTS (SELECT 1 FROM entries other
                               WHERE other.id <> entries.id
                                 AND (other.operation_id = coalesce(entries.operation_id, entries.request_id)
                                      OR other.request_id = entries.operation_id))",
        )?
        .execute([request_id])?;
    Ok(deleted > 0)
}

/// A writer's plain INSERT.
pub(super) fn write(connection: &Connection, row: &WrittenRow) -> Result<Written> {
    became(
        connection
            .prepare_cached(
                "INSERT INTO entries (request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure,
                                      http_status, error)
                 VALUES (?1, ?2, coalesce(?3, 'outbound'), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(columns_of(row)),
    )
}

/// A writer's UPDATE.
pub(super) fn change(connection: &Connection, row: &WrittenRow) -> Result<Written> {
    became(
        connection
            .prepare_cached(
                "UPDATE entries SET operation_id = ?2, direction = coalesce(?3, 'outbound'), method = ?4, url = ?5, body = ?6,
                   sent_at = ?7, ended_at = ?8, failure = ?9, http_status = ?10, error = ?11
                 WHERE request_id = ?1",
            )?
            .execute(columns_of(row)),
    )
}

fn columns_of(row: &WrittenRow) -> impl rusqlite::Params + '_ {
    (
        &row.request_id,
        &row.operation_id,
        &row.direction,
        &row.method,
        &row.url,
        &row.body,
        &row.sent_at,
        &row.ended_at,
        &row.failure,
        row.http_status,
        &row.error,
    )
}

/// A writer's DELETE.
pub(super) fn withdraw(connection: &Connection, request_id: &str) -> Result<Written> {
    became(connection.prepare_cached("DELETE FROM entries WHERE request_id = ?")?.execute([request_id]))
}

/// What became of what a writer did: a trigger refuses it, or leaves the row as it is.
fn became(changed: rusqlite::Result<usize>) -> Result<Written> {
    match changed {
        Ok(0) => Ok(Written::Unchanged),
        Ok(_) => Ok(Written::Done),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(Written::Refused),
        Err(error) => Err(error.into()),
    }
}

/// Gives an entry the body that it came without, as long as nothing was decided about it but that it lacks something.
pub(super) fn complete(connection: &Connection, request_id: &str, body: &str) -> Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE entries SET body = ?2 WHERE request_id = ?1 AND body IS NULL AND NOT EXISTS (
               SELECT 1 FROM state
               WHERE entry_id = entries.id AND (erased_id IS NOT NULL OR unread = 0 AND reason IS NOT 'bad-row'))",
        )?
        .execute([request_id, body])?;
    Ok(changed > 0)
}

pub(super) fn entry_of(connection: &Connection, request_id: &str) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM entries WHERE request_id = ?")?;
    Ok(statement.query_row([request_id], |row| row.get(0)).optional()?)
}

/// They stand side by side in their tables, and one statement steps from each to the next where a statement for each would
/// go through the trees from the top.
const ROWS: &str = concat!(
    "SELECT ",
    row_columns!(),
    ", coalesce(s.revision, 0), s.arrived_ms, s.clock_error_ms
     FROM json_each(?) wanted CROSS JOIN entries e ON e.id = wanted.value LEFT JOIN state s ON s.entry_id = e.id"
);

pub(super) fn rows(connection: &Connection, entries: &[i64]) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(ROWS)?;
    let mut rows = statement.query([in_order(entries)?])?;
    let mut found = Vec::with_capacity(entries.len());
    while let Some(row) = rows.next()? {
        let stamps =
            (row.get(11)?, row.get::<_, Option<i64>>(12)?.map(Moment), row.get::<_, Option<i64>>(13)?.map(Span));
        found.extend(row_of(row, 0, stamps)?);
    }
    Ok(found)
}

pub(super) fn ids(connection: &Connection, entries: &[i64]) -> Result<Vec<(i64, String, Cell)>> {
    let sql = "SELECT e.id, e.request_id, e.operation_id FROM json_each(?) wanted CROSS JOIN entries e ON e.id = wanted.value";
    let mut statement = connection.prepare_cached(sql)?;
    let ids = statement
        .query_map([in_order(entries)?], |row| Ok((row.get(0)?, as_text(row.get_ref(1)?), cell(row.get_ref(2)?))))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// How many rows are given, at the most, as SQLite takes it.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Ids as a JSON array, each once and in their order, for `json_each`.
pub(super) fn in_order(ids: &[i64]) -> Result<String> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    Ok(serde_json::to_string(&ids)?)
}

/// The columns that hold text.
const TEXTS: [&str; 11] = [
    "request_id",
    "operation_id",
    "direction",
    "method",
    "url",
    "body",
    "sent_at",
    "ended_at",
    "failure",
    "http_status",
    "error",
];

/// Gives every row that was not erased to `each`, in order.
pub(super) fn each_row(connection: &Connection, each: &mut dyn FnMut(i64, Texts) -> Result<()>) -> Result<()> {
    let sql = format!(
        "SELECT id, {} FROM entries
         WHERE NOT EXISTS (SELECT 1 FROM state WHERE entry_id = id AND erased_id IS NOT NULL) ORDER BY id",
        TEXTS.join(", ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut texts = Vec::with_capacity(TEXTS.len());
        for (at, name) in TEXTS.iter().enumerate() {
            let value = row.get_ref(at + 1)?;
            if value != rusqlite::types::ValueRef::Null {
                texts.push((*name, as_text(value)));
            }
        }
        each(row.get(0)?, &texts)?;
    }
    Ok(())
}

/// What an erasure leaves of a row takes its place. Within an erasure.
pub(super) fn rewrite(connection: &Connection, entry: i64, left: &Left) -> Result<()> {
    let changed = connection
        .prepare_cached(
            "UPDATE entries SET request_id = ?, operation_id = ?, direction = ?, method = ?, url = ?, body = NULL, sent_at = ?,
               ended_at = ?, failure = ?, http_status = ?, error = NULL
             WHERE id = ?",
        )?
        .execute(params![
            left.request_id,
            left.operation_id,
            left.direction,
            left.method,
            left.url,
            left.sent_at,
            left.ended_at,
            left.failure,
            left.http_status,
            entry,
        ])?;
    // A unique key that is taken fails nobody here: the row would stay as it is, with all that it says.
    if changed == 0 {
        bail!(
            "failed to erase the personal fields of entry {entry}: it is gone, or another row has the id that is left of it"
        );
    }
    Ok(())
}

/// Gives the rows with one operation id another one. Within an erasure.
pub(super) fn rename_operation(connection: &Connection, old: &str, new: &str) -> Result<()> {
    connection.prepare_cached("UPDATE entries SET operation_id = ?2 WHERE operation_id = ?1")?.execute([old, new])?;
    Ok(())
}
