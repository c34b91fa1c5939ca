//! Columns as they are read: a row of `entries`, whatever its writer put there, and a row of `state`.

use std::str::FromStr;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Error, Result};

use crate::clock::{Moment, Span};
use crate::plan::{Cell, NoText, Row};
use crate::store::{LONGEST_CELL, State};
use crate::words::UnknownWord;

/// The columns of [`State`], of a table `s`.
macro_rules! state_columns {
    () => {
        "s.entry_id, s.revision, s.unread, s.status, s.reason, s.due_ms, s.group_id, s.outcome, s.action, s.sent_ms, \
         s.arrived_ms, s.clock_error_ms, s.not_before_ms, s.checks, s.first_checked_ms, s.last_checked_ms, s.looks, \
         s.joined_id, s.lead_id, s.vanished_ms, s.holds, s.correction, s.read_id, s.said_id, s.head_id, s.removes, \
         s.erased_id, s.sealed, s.pseudonym, s.decided_ms"
    };
}
pub(super) use state_columns;

/// How many they are.
pub(super) const STATE_COLUMNS: usize = 30;

/// The columns of [`Row`] that are its writer's, of a table `e`.
macro_rules! row_columns {
    () => {
        "e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at, e.ended_at, e.failure, \
         e.http_status"
    };
}
pub(super) use row_columns;

/// How many they are.
pub(super) const ROW_COLUMNS: usize = 11;

/// Reads a state, whose columns stand first in `row`.
pub(super) fn state_of(row: &rusqlite::Row) -> Result<State> {
    let moment = |column| Ok::<_, Error>(row.get::<_, Option<i64>>(column)?.map(Moment));
    Ok(State {
        entry: row.get(0)?,
        revision: row.get(1)?,
        unread: row.get(2)?,
        status: word(row, 3)?,
        reason: word(row, 4)?,
        due: moment(5)?,
        group: row.get(6)?,
        outcome: word(row, 7)?,
        action: word(row, 8)?,
        sent: moment(9)?,
        arrived: moment(10)?,
        clock_error: row.get::<_, Option<i64>>(11)?.map(Span),
        not_before: moment(12)?,
        checks: row.get(13)?,
        first_checked: moment(14)?,
        last_checked: moment(15)?,
        looks: row.get(16)?,
        joined: row.get(17)?,
        lead: row.get(18)?,
        vanished: moment(19)?,
        holds: row.get(20)?,
        correction: row.get(21)?,
        read: row.get(22)?,
        said: row.get(23)?,
        head: row.get(24)?,
        removes: row.get(25)?,
        erased: row.get(26)?,
        sealed: row.get(27)?,
        pseudonym: row.get(28)?,
        decided: moment(29)?,
    })
}

/// A word of one of the lists; `None`: there is none.
pub(super) fn word<T: FromStr<Err = UnknownWord>>(row: &rusqlite::Row, column: usize) -> Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    let unknown = |error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    text.map(str::parse).transpose().map_err(unknown)
}

/// Reads an entry's columns, which stand in `row` from `start` on, with what its state says of it. `None`: the entry is not
/// there.
pub(super) fn row_of(
    row: &rusqlite::Row,
    start: usize,
    (revision, arrived, clock_error): (i64, Option<Moment>, Option<Span>),
) -> Result<Option<Row>> {
    if matches!(row.get_ref(start)?, ValueRef::Null) {
        return Ok(None);
    }
    let request_id = row.get_ref(start + 1)?;
    let cell = |column| Ok::<_, Error>(cell(row.get_ref(start + column)?));
    Ok(Some(Row {
        entry: row.get(start)?,
        revision,
        request_id: as_text(request_id),
        id_is_text: request_id.as_str().is_ok(),
        operation_id: cell(2)?,
        direction: cell(3)?,
        method: cell(4)?,
        url: cell(5)?,
        body: cell(6)?,
        sent_at: cell(7)?,
        ended_at: cell(8)?,
        failure: cell(9)?,
        http_status: cell(10)?,
        arrived,
        clock_error,
    }))
}

/// How many bytes were read for the cells of a row, whether they make text or not.
pub(super) fn bytes_of(row: &rusqlite::Row, start: usize) -> Result<usize> {
    let mut bytes = 0;
    for column in start..start + ROW_COLUMNS {
        if let ValueRef::Text(cell) | ValueRef::Blob(cell) = row.get_ref(column)? {
            bytes += cell.len();
        }
    }
    Ok(bytes)
}

/// A value as text, for people, whatever a writer put there.
pub(super) fn as_text(value: ValueRef) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

pub(super) fn cell(value: ValueRef) -> Cell {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Real(number) => Ok(Some(number.to_string())),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) if bytes.len() <= LONGEST_CELL => {
            std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| NoText)
        }
        ValueRef::Text(_) | ValueRef::Blob(_) => Err(NoText),
    }
}
