//! Rows of the store as columns, and back.

use std::str::FromStr;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use tokio_postgres::Row as Line;
use tokio_postgres::types::Type;

use super::super::{
    Evidence, Import, Imported, Known, LONGEST_CELL, Left, Mark, NewEntry, NewEvidence, RunEnd, RunId, State,
    StoredRun, WrittenRow,
};
use super::wire::Param;
use super::{cell, number, param, some_text, text};
use crate::clock::{Moment, Span};
use crate::plan::{Cell, NoText, Row};
use crate::words::Direction;

/// The columns of `state`, as [`state_of`] reads them and [`of_states`] writes them. The first two say which row is meant.
pub(super) const STATE: &str = "entry_id, revision, unread, arrived_ms, clock_error_ms, group_id, sent_ms, status, outcome, reason, action,
    not_before_ms, due_ms, checks, first_checked_ms, last_checked_ms, looks, joined_id, lead_id, vanished_ms, decided_ms, holds,
    correction, read_id, said_id, head_id, removes, erased_id, sealed, pseudonym";

/// How many they are.
pub(super) const STATE_COLUMNS: usize = 30;

/// The cells of a writer's row that may be anything.
const CELLS: [&str; 9] =
    ["operation_id", "direction", "method", "url", "body", "sent_at", "ended_at", "failure", "http_status"];

/// The columns of a row, `e`, with its state, `s`, as [`row_of`] reads them.
pub(super) static ROW: LazyLock<String> = LazyLock::new(|| {
    let cells = CELLS.map(|name| format!("CASE WHEN octet_length(e.{name}) <= {LONGEST_CELL} THEN e.{name} END"));
    let long = CELLS.map(|name| format!("coalesce(octet_length(e.{name}) > {LONGEST_CELL}, false)"));
    format!(
        "e.id, coalesce(s.revision, 0), s.arrived_ms, s.clock_error_ms, e.request_id, ARRAY[{}], ARRAY[{}]",
        cells.join(", "),
        long.join(", ")
    )
});

/// How many bytes the cells of a row, `e`, are.
pub(super) static SIZE: LazyLock<String> = LazyLock::new(|| {
    let sizes = CELLS.map(|name| format!("coalesce(octet_length(e.{name}), 0)"));
    format!("coalesce(octet_length(e.request_id), 0) + coalesce(octet_length(e.error), 0) + {}", sizes.join(" + "))
});

/// Reads a row's columns, which stand from `start` on. `None`: the row is not there.
pub(super) fn row_of(line: &Line, start: usize) -> Result<Option<Row>> {
    let Some(entry) = cell::<Option<i64>>(line, start)? else { return Ok(None) };
    let cells: Vec<Option<String>> = cell(line, start + 5)?;
    let long: Vec<bool> = cell(line, start + 6)?;
    let mut cells = cells.into_iter().zip(long).map(|(text, long)| if long { Err(NoText) } else { Ok(text) });
    let mut next = || -> Cell { cells.next().unwrap_or(Ok(None)) };
    Ok(Some(Row {
        entry,
        revision: cell(line, start + 1)?,
        arrived: cell::<Option<i64>>(line, start + 2)?.map(Moment),
        clock_error: cell::<Option<i64>>(line, start + 3)?.map(Span),
        request_id: cell(line, start + 4)?,
        id_is_text: true,
        operation_id: next(),
        direction: next(),
        method: next(),
        url: next(),
        body: next(),
        sent_at: next().map(in_rfc_3339),
        ended_at: next().map(in_rfc_3339),
        failure: next(),
        http_status: next(),
    }))
}

/// A time as PostgreSQL writes one (`2026-11-29 23:35:24.46-05`) in RFC 3339; anything else as it is.
fn in_rfc_3339(text: Option<String>) -> Option<String> {
    text.map(|text| rfc_3339_of(&text).unwrap_or(text))
}

fn rfc_3339_of(text: &str) -> Option<String> {
    let (date, rest) = text.trim().split_once(' ')?;
    let at = rest.rfind(['+', '-'])?;
    let (time, offset) = rest.split_at(at);
    let is_like = |text: &str, form: &str| {
        let digit = |(is, should): (u8, u8)| if should == b'0' { is.is_ascii_digit() } else { is == should };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(digit)
    };
    let (whole, fraction) = time.split_at_checked(8)?;
    let fraction =
        fraction.is_empty() || fraction.strip_prefix('.').is_some_and(|f| f.bytes().all(|b| b.is_ascii_digit()));
    let minutes = match offset.len() {
        3 => ":00",
        6 if offset.as_bytes()[3] == b':' => "",
        _ => return None,
    };
    (is_like(date, "0000-00-00") && is_like(whole, "00:00:00") && fraction)
        .then(|| format!("{date}T{time}{offset}{minutes}"))
}

/// Reads a state, whose columns come first.
pub(super) fn state_of(line: &Line) -> Result<State> {
    let moment = |column| -> Result<Option<Moment>> { Ok(cell::<Option<i64>>(line, column)?.map(Moment)) };
    let count = |column| -> Result<u64> { Ok(cell::<i64>(line, column)?.unsigned_abs()) };
    Ok(State {
        entry: cell(line, 0)?,
        revision: cell(line, 1)?,
        unread: cell(line, 2)?,
        arrived: moment(3)?,
        clock_error: cell::<Option<i64>>(line, 4)?.map(Span),
        group: cell(line, 5)?,
        sent: moment(6)?,
        status: word(line, 7)?,
        outcome: word(line, 8)?,
        reason: word(line, 9)?,
        action: word(line, 10)?,
        not_before: moment(11)?,
        due: moment(12)?,
        checks: count(13)?,
        first_checked: moment(14)?,
        last_checked: moment(15)?,
        looks: count(16)?,
        joined: cell(line, 17)?,
        lead: cell(line, 18)?,
        vanished: moment(19)?,
        decided: moment(20)?,
        holds: cell(line, 21)?,
        correction: cell(line, 22)?,
        read: cell(line, 23)?,
        said: cell(line, 24)?,
        head: cell(line, 25)?,
        removes: cell(line, 26)?,
        erased: cell(line, 27)?,
        sealed: cell(line, 28)?,
        pseudonym: cell(line, 29)?,
    })
}

/// A word of one of the lists.
pub(super) fn word<T: FromStr<Err = crate::words::UnknownWord>>(line: &Line, column: usize) -> Result<Option<T>> {
    Ok(cell::<Option<&str>>(line, column)?.map(str::parse).transpose()?)
}

/// Sets the columns of the states that have the revision of what is put; gives their entries.
pub(super) static PUT: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<&str> = STATE.split(',').map(str::trim).collect();
    let set: Vec<String> = names[2..].iter().map(|name| format!("{name} = new.{name}")).collect();
    let params: Vec<String> = (1..=STATE_COLUMNS).map(|at| format!("${at}")).collect();
    format!(
        "UPDATE privo_reconcile.state AS s SET {} FROM unnest({}) AS new ({STATE})
         WHERE s.entry_id = new.entry_id AND s.revision = new.revision RETURNING s.entry_id",
        set.join(", "),
        params.join(", ")
    )
});

/// States as arrays, one for each column of [`STATE`].
pub(super) fn of_states(states: &[&State]) -> Vec<Param> {
    let numbers = |of: fn(&State) -> Option<i64>| {
        param(states.iter().map(|state| of(state)).collect::<Vec<Option<i64>>>(), Type::INT8_ARRAY)
    };
    let flags =
        |of: fn(&State) -> bool| param(states.iter().map(|state| of(state)).collect::<Vec<bool>>(), Type::BOOL_ARRAY);
    let words = |of: fn(&State) -> Option<&'static str>| {
        param(states.iter().map(|state| of(state)).collect::<Vec<Option<&'static str>>>(), Type::TEXT_ARRAY)
    };
    let pseudonyms: Vec<Option<String>> = states.iter().map(|state| state.pseudonym.clone()).collect();
    vec![
        numbers(|state| Some(state.entry)),
        numbers(|state| Some(state.revision)),
        flags(|state| state.unread),
        numbers(|state| state.arrived.map(|moment| moment.0)),
        numbers(|state| state.clock_error.map(|span| span.0)),
        numbers(|state| state.group),
        numbers(|state| state.sent.map(|moment| moment.0)),
        words(|state| state.status.map(crate::words::Status::text)),
        words(|state| state.outcome.map(crate::words::Outcome::text)),
        words(|state| state.reason.map(crate::words::Reason::text)),
        words(|state| state.action.map(crate::words::Action::text)),
        numbers(|state| state.not_before.map(|moment| moment.0)),
        numbers(|state| state.due.map(|moment| moment.0)),
        numbers(|state| i64::try_from(state.checks).ok()),
        numbers(|state| state.first_checked.map(|moment| moment.0)),
        numbers(|state| state.last_checked.map(|moment| moment.0)),
        numbers(|state| i64::try_from(state.looks).ok()),
        numbers(|state| state.joined),
        numbers(|state| state.lead),
        numbers(|state| state.vanished.map(|moment| moment.0)),
        numbers(|state| state.decided.map(|moment| moment.0)),
        flags(|state| state.holds),
        flags(|state| state.correction),
        numbers(|state| state.read),
        numbers(|state| state.said),
        numbers(|state| state.head),
        flags(|state| state.removes),
        numbers(|state| state.erased),
        flags(|state| state.sealed),
        param(pseudonyms, Type::TEXT_ARRAY),
    ]
}

/// The columns of `entries` that a writer gives, in the order of the parameters below.
pub(super) const WRITTEN: &str =
    "request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error";

/// What a writer of ours gives.
pub(super) fn recorded(entry: &NewEntry) -> Vec<Param> {
    vec![
        text(entry.request_id),
        some_text(entry.operation_id),
        text(entry.direction.text()),
        text(entry.method),
        text(entry.url),
        some_text(entry.body),
        text(&entry.sent_at.to_string()),
        some_text(entry.ended_at.map(|ended| ended.to_string()).as_deref()),
        text(entry.failure.text()),
        some_text(entry.http_status.map(|status| status.to_string()).as_deref()),
        some_text(entry.error),
    ]
}

/// What any writer gives; a direction that is left out is the table's default.
pub(super) fn written(row: &WrittenRow) -> Vec<Param> {
    vec![
        text(&row.request_id),
        some_text(row.operation_id.as_deref()),
        text(row.direction.as_deref().unwrap_or(Direction::Outbound.text())),
        text(&row.method),
        text(&row.url),
        some_text(row.body.as_deref()),
        text(&row.sent_at),
        some_text(row.ended_at.as_deref()),
        some_text(row.failure.as_deref()),
        some_text(row.http_status.map(|status| status.to_string()).as_deref()),
        some_text(row.error.as_deref()),
    ]
}

/// What an erasure leaves, after the entry that it is about.
pub(super) fn left(entry: i64, left: &Left) -> Vec<Param> {
    vec![
        number(entry),
        text(&left.request_id),
        some_text(left.operation_id.as_deref()),
        some_text(left.direction.as_deref()),
        text(&left.method),
        text(&left.url),
        text(&left.sent_at),
        some_text(left.ended_at.as_deref()),
        some_text(left.failure.as_deref()),
        some_text(left.http_status.map(|status| status.to_string()).as_deref()),
    ]
}

/// The text of all columns of a row that [`WRITTEN`] names, from the first column on.
pub(super) fn texts_of(line: &Line) -> Result<Vec<(&'static str, String)>> {
    let names = WRITTEN.split(", ").zip(1..);
    let cells = names.map(|(name, column)| Ok(cell::<Option<String>>(line, column)?.map(|text| (name, text))));
    cells.filter_map(Result::transpose).collect()
}

/// Reads a row of evidence.
pub(super) fn evidence_of(line: &Line) -> Result<Evidence> {
    Ok(Evidence {
        id: cell(line, 0)?,
        row: NewEvidence {
            run: RunId(cell(line, 1)?),
            at: Moment(cell(line, 2)?),
            rules: cell(line, 3)?,
            after: cell(line, 4)?,
            doc: cell(line, 5)?,
            names: cell(line, 6)?,
        },
    })
}

/// Reads a run.
pub(super) fn run_of(line: &Line) -> Result<StoredRun> {
    let counted = |column| -> Result<u64> { Ok(cell::<i64>(line, column)?.unsigned_abs()) };
    Ok(StoredRun {
        id: cell(line, 0)?,
        command: cell(line, 1)?,
        started: Moment(cell(line, 2)?),
        ended: cell::<Option<i64>>(line, 3)?.map(Moment),
        exit: cell::<Option<i64>>(line, 4)?.map(u8::try_from).transpose()?,
        version: cell(line, 5)?,
        plan: cell(line, 6)?,
        plan_digest: cell(line, 7)?,
        server: cell(line, 8)?,
        windows: serde_json::from_str(cell(line, 9)?).context("the windows of a run cannot be read")?,
        end: RunEnd {
            examined: counted(10)?,
            requests: counted(11)?,
            settled: counted(12)?,
            deferred: counted(13)?,
            controls: cell(line, 14)?,
            trouble: cell(line, 15)?,
        },
    })
}

/// Reads an import.
pub(super) fn import_of(line: &Line) -> Result<Import> {
    let digest = |column| -> Result<[u8; 16]> {
        cell::<&[u8]>(line, column)?.try_into().context("a digest of an import has another length")
    };
    let counted = |column| -> Result<u64> { Ok(cell::<i64>(line, column)?.unsigned_abs()) };
    Ok(Import {
        id: Some(cell(line, 0)?),
        known: Known { file: cell(line, 1)?, mapping: digest(2)?, head_bytes: counted(3)?, head: digest(4)? },
        mark: Mark { bytes: counted(5)?, lines: counted(6)? },
        tail: digest(7)?,
        counts: Imported {
            imported: counted(8)?,
            duplicates: counted(9)?,
            left_out: counted(10)?,
            rejected: counted(11)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_postgresql_writes_it() {
        let of = |text: &str| in_rfc_3339(Some(text.to_owned())).and_then(|text| Moment::parse(&text));
        let same = Moment::parse("2026-11-30T04:35:24.460Z");
        for text in ["2026-11-29 23:35:24.46-05", "2026-11-30 10:05:24.46+05:30", "2026-11-30 04:35:24.46+00"] {
            assert!(same.is_some() && of(text) == same, "{text}");
        }
        assert_eq!(of("2026-11-30 04:35:24+00"), Moment::parse("2026-11-30T04:35:24Z"));
        for text in
            ["2026-11-30 04:35:24", "2026-11-30 04:35+00", "0044-03-15 12:00:00+00 BC", "infinity", "", "now -05"]
        {
            assert_eq!(rfc_3339_of(text), None, "{text}");
        }
    }
}
