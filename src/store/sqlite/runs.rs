//! Runs, one row each, made before anything else and ended with its counts; and notes.

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, params};

use crate::clock::Moment;
use crate::store::{Note, NoteKind, RunEnd, RunId, RunStart, StoredRun};

pub(super) fn begin(connection: &Connection, run: &RunStart) -> Result<RunId> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO runs (command, started_ms, version, plan, plan_digest, server, windows) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    Ok(RunId(statement.insert(params![
        run.command,
        run.started.0,
        env!("CARGO_PKG_VERSION"),
        run.plan,
        run.plan_digest,
        run.server,
        serde_json::to_string(run.windows)?,
    ])?))
}

pub(super) fn end(connection: &Connection, run: RunId, ended: Moment, end: &RunEnd) -> Result<()> {
    let changed = connection.execute(
        "UPDATE runs SET ended_ms = ?, examined = ?, requests = ?, settled = ?, deferred = ?, controls = ?, trouble = ? WHERE id = ?",
        params![ended.0, end.examined, end.requests, end.settled, end.deferred, end.controls, end.trouble, run.0],
    )?;
    is_there(changed, "run", run.0)
}

pub(super) fn note_exit(connection: &Connection, run: RunId, exit: u8) -> Result<()> {
    let changed = connection.execute("UPDATE runs SET exit = ? WHERE id = ?", params![exit, run.0])?;
    is_there(changed, "run", run.0)
}

fn is_there(changed: usize, what: &str, id: i64) -> Result<()> {
    if changed == 0 {
        bail!("failed to write {what} {id}: it is not there");
    }
    Ok(())
}

/// The columns of a run.
macro_rules! run_columns {
    () => {
        "id, command, started_ms, ended_ms, exit, version, plan, plan_digest, server, windows, examined, requests, settled, \
         deferred, controls, trouble"
    };
}

/// The last one first, until `each` says false.
pub(super) fn each(connection: &Connection, each: &mut dyn FnMut(StoredRun) -> Result<bool>) -> Result<()> {
    let mut statement = connection.prepare_cached(concat!("SELECT ", run_columns!(), " FROM runs ORDER BY id DESC"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !each(stored(row)?)? {
            break;
        }
    }
    Ok(())
}

pub(super) fn one(connection: &Connection, run: i64) -> Result<Option<StoredRun>> {
    let mut statement = connection.prepare_cached(concat!("SELECT ", run_columns!(), " FROM runs WHERE id = ?"))?;
    let mut rows = statement.query([run])?;
    rows.next()?.map(stored).transpose()
}

fn stored(row: &rusqlite::Row) -> Result<StoredRun> {
    let id = row.get(0)?;
    let windows = serde_json::from_str(row.get_ref(9)?.as_str()?);
    Ok(StoredRun {
        id,
        command: row.get(1)?,
        started: Moment(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(Moment),
        exit: row.get(4)?,
        version: row.get(5)?,
        plan: row.get(6)?,
        plan_digest: row.get(7)?,
        server: row.get(8)?,
        windows: windows.with_context(|| format!("failed to read the windows of run {id}"))?,
        end: RunEnd {
            examined: row.get(10)?,
            requests: row.get(11)?,
            settled: row.get(12)?,
            deferred: row.get(13)?,
            controls: row.get::<_, Option<String>>(14)?.unwrap_or_default(),
            trouble: row.get(15)?,
        },
    })
}

pub(super) fn note(connection: &Connection, kind: NoteKind, at: Moment, doc: &str) -> Result<i64> {
    let mut statement = connection.prepare_cached("INSERT INTO notes (kind, at_ms, doc) VALUES (?, ?, ?)")?;
    Ok(statement.insert(params![kind.text(), at.0, doc])?)
}

/// Erases names from a note. Within an erasure.
pub(super) fn rewrite_note(connection: &Connection, id: i64, doc: &str) -> Result<()> {
    let changed = connection.prepare_cached("UPDATE notes SET doc = ?2 WHERE id = ?1")?.execute(params![id, doc])?;
    is_there(changed, "note", id)
}

/// Those of a kind from a moment on, in the order in which they were noted.
pub(super) fn notes(connection: &Connection, kind: NoteKind, since: Moment) -> Result<Vec<Note>> {
    let mut statement =
        connection.prepare_cached("SELECT id, at_ms, doc FROM notes WHERE kind = ? AND at_ms >= ? ORDER BY id")?;
    let notes = statement.query_map(params![kind.text(), since.0], |row| {
        Ok(Note { id: row.get(0)?, at: Moment(row.get(1)?), doc: row.get(2)? })
    })?;
    Ok(notes.collect::<rusqlite::Result<_>>()?)
}
