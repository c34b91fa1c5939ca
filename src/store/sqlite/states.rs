//! States: what due looks and reports are found by.

use anyhow::Result;
use rusqlite::{Connection, params};

use super::columns::{STATE_COLUMNS, bytes_of, row_columns, row_of, state_columns, state_of};
use super::entries::{in_order, limit};
use crate::clock::Moment;
use crate::store::{Due, State, Unread};
use crate::words::{Action, Outcome, Reason, Status};

/// The index is named, for SQLite would rather go through all states in their order.
pub(super) const UNREAD: &str = concat!(
    "SELECT ",
    state_columns!(),
    ", ",
    row_columns!(),
    " FROM state s INDEXED BY state_unread LEFT JOIN entries e ON e.id = s.entry_id
     WHERE s.unread = 1 AND s.entry_id >= ? ORDER BY s.entry_id LIMIT ?"
);

pub(super) fn unread(connection: &Connection, from: i64, most: usize, bytes: usize) -> Result<Vec<Unread>> {
    let mut statement = connection.prepare_cached(UNREAD)?;
    let mut rows = statement.query([from, limit(most)])?;
    let (mut found, mut read) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let state = state_of(row)?;
        read += bytes_of(row, STATE_COLUMNS)?;
        let row = row_of(row, STATE_COLUMNS, (state.revision, state.arrived, state.clock_error))?;
        found.push(Unread { state, row });
        if read >= bytes {
            break;
        }
    }
    Ok(found)
}

const STATES: &str =
    concat!("SELECT ", state_columns!(), " FROM json_each(?) wanted CROSS JOIN state s ON s.entry_id = wanted.value");

pub(super) fn states(connection: &Connection, entries: &[i64]) -> Result<Vec<State>> {
    collect(connection, STATES, &in_order(entries)?)
}

/// Most groups are one entry, which names them and is found by its own id; the index has the others.
pub(super) const MEMBERS: &str = concat!(
    "SELECT ",
    state_columns!(),
    " FROM json_each(?1) wanted CROSS JOIN state s ON s.entry_id = wanted.value WHERE s.group_id = s.entry_id
     UNION ALL
     SELECT ",
    state_columns!(),
    " FROM json_each(?1) wanted CROSS JOIN state s INDEXED BY state_by_group ON s.group_id = wanted.value
     WHERE s.group_id <> s.entry_id"
);

pub(super) fn members(connection: &Connection, groups: &[i64]) -> Result<Vec<State>> {
    let mut found = collect(connection, MEMBERS, &in_order(groups)?)?;
    found.sort_unstable_by_key(|state| state.entry);
    Ok(found)
}

fn collect(connection: &Connection, sql: &str, ids: &str) -> Result<Vec<State>> {
    let mut statement = connection.prepare_cached(sql)?;
    let states = statement.query_map([ids], state_of)?;
    Ok(states.collect::<rusqlite::Result<_>>()?)
}

/// Stores states whose rows were not changed since they were read; gives the others' entries.
pub(super) fn put(connection: &Connection, states: &[State]) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "UPDATE state SET unread = ?3, status = ?4, reason = ?5, due_ms = ?6, group_id = ?7, outcome = ?8, action = ?9,
           sent_ms = ?10, arrived_ms = ?11, clock_error_ms = ?12, not_before_ms = ?13, checks = ?14, first_checked_ms = ?15,
           last_checked_ms = ?16, looks = ?17, joined_id = ?18, lead_id = ?19, vanished_ms = ?20, holds = ?21,
           correction = ?22, read_id = ?23, said_id = ?24, head_id = ?25, removes = ?26, erased_id = ?27, sealed = ?28,
           pseudonym = ?29, decided_ms = ?30
         WHERE entry_id = ?1 AND revision = ?2",
    )?;
    let ms = |moment: Option<Moment>| moment.map(|moment| moment.0);
    let mut left = Vec::new();
    for state in states {
        let changed = statement.execute(params![
            state.entry,
            state.revision,
            state.unread,
            state.status.map(Status::text),
            state.reason.map(Reason::text),
            ms(state.due),
            state.group,
            state.outcome.map(Outcome::text),
            state.action.map(Action::text),
            ms(state.sent),
            ms(state.arrived),
            state.clock_error.map(|error| error.0),
            ms(state.not_before),
            state.checks,
            ms(state.first_checked),
            ms(state.last_checked),
            state.looks,
            state.joined,
            state.lead,
            ms(state.vanished),
            state.holds,
            state.correction,
            state.read,
            state.said,
            state.head,
            state.removes,
            state.erased,
            state.sealed,
            state.pseudonym,
            ms(state.decided),
        ])?;
        if changed == 0 {
            left.push(state.entry);
        }
    }
    Ok(left)
}

/// The states of deletes by an id that nothing is made with.
pub(super) const REMOVALS: &str = concat!(
    "SELECT ",
    state_columns!(),
    " FROM state s INDEXED BY state_removes WHERE s.removes = 1 ORDER BY s.entry_id"
);

pub(super) fn each_removal(connection: &Connection, each: &mut dyn FnMut(State) -> Result<()>) -> Result<()> {
    let mut statement = connection.prepare_cached(REMOVALS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(state_of(row)?)?;
    }
    Ok(())
}

/// Drops the state of a row that is gone.
pub(super) fn drop_one(connection: &Connection, entry: i64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM state WHERE entry_id = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE id = ?1)")?
        .execute([entry])?;
    Ok(())
}

/// `?5`: whether those are asked for that are watched.
pub(super) const DUE: &str = "SELECT due_ms, entry_id FROM state
    WHERE due_ms IS NOT NULL AND (status IS NOT 'pending' AND joined_id IS NULL) = ?5
      AND due_ms <= ?1 AND (due_ms, entry_id) > (?2, ?3)
    ORDER BY due_ms, entry_id LIMIT ?4";

pub(super) fn due(
    connection: &Connection,
    now: Moment,
    watched: bool,
    after: Option<Due>,
    most: usize,
) -> Result<Vec<Due>> {
    let after = after.unwrap_or(Due { due: Moment(i64::MIN), entry: i64::MIN });
    let mut statement = connection.prepare_cached(DUE)?;
    let due = statement.query_map(params![now.0, after.due.0, after.entry, limit(most), watched], |row| {
        Ok(Due { due: Moment(row.get(0)?), entry: row.get(1)? })
    })?;
    Ok(due.collect::<rusqlite::Result<_>>()?)
}

const FROM: &str = concat!("SELECT ", state_columns!(), " FROM state s WHERE s.entry_id >= ? ORDER BY s.entry_id");

pub(super) fn each(connection: &Connection, from: i64, each: &mut dyn FnMut(State) -> Result<bool>) -> Result<()> {
    let mut statement = connection.prepare_cached(FROM)?;
    let mut rows = statement.query([from])?;
    while let Some(row) = rows.next()? {
        if !each(state_of(row)?)? {
            break;
        }
    }
    Ok(())
}
