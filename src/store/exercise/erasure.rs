//! What an erasure takes from a row, and what writers may do to it from then on.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{answered, at, entry, holds, intent, lost, of_operation, read, same, state, within, write};
use crate::plan::Cell;
use crate::store::{End, Ended, Left, Store, Written, WrittenRow};
use crate::words::{Failure, Reason};

/// What is left of a row under another id.
fn left(request_id: &str, failure: &str) -> Left {
    Left {
        request_id: request_id.to_owned(),
        operation_id: None,
        direction: Some("outbound".to_owned()),
        method: "POST".to_owned(),
        url: "https://server.example/api/v1.0/account".to_owned(),
        sent_at: "2026-03-01T12:00:00.000Z".to_owned(),
        ended_at: None,
        failure: Some(failure.to_owned()),
        http_status: None,
    }
}

/// Erases a row as the rules do: what is left takes its place, and its state names the erasure.
fn erase(store: &mut dyn Store, entry: i64, left: &Left) -> Result<()> {
    within(store, |store| {
        store.rewrite(entry, left)?;
        let mut now = state(store, entry)?;
        now.erased = Some(1);
        same(store.put_states(&[now])?, Vec::new())
    })
}

/// The text of every row that was not erased, by column.
fn texts(store: &dyn Store) -> Result<Vec<(i64, BTreeMap<&'static str, String>)>> {
    let mut all = Vec::new();
    store.each_row(&mut |entry, texts| {
        all.push((entry, texts.iter().cloned().collect()));
        Ok(())
    })?;
    Ok(all)
}

/// Each row that was not erased is given in order, with the text of every column; the error is one.
pub fn each_row_gives_the_text_of_all_columns(store: &mut dyn Store) -> Result<()> {
    let full = WrittenRow {
        operation_id: Some("o".to_owned()),
        direction: Some("inbound".to_owned()),
        ended_at: Some("2026-03-01T12:00:09Z".to_owned()),
        error: Some("reset by kim@e.example".to_owned()),
        ..lost("a")
    };
    let first = write(store, &full)?;
    let long = WrittenRow { body: Some("y".repeat((1 << 20) + 1)), ..lost("long") };
    let second = write(store, &long)?;
    let third = write(store, &lost("erased"))?;
    erase(store, third, &left("left", "timeout"))?;
    let all = texts(store)?;
    same(all.iter().map(|(entry, _)| *entry).collect::<Vec<_>>(), vec![first, second])?;
    let should = [
        ("request_id", "a"),
        ("operation_id", "o"),
        ("direction", "inbound"),
        ("method", "POST"),
        ("url", &full.url),
        ("body", full.body.as_deref().unwrap_or_default()),
        ("sent_at", "2026-03-01T12:00:00Z"),
        ("ended_at", "2026-03-01T12:00:09Z"),
        ("failure", "timeout"),
        ("error", "reset by kim@e.example"),
    ];
    for (column, text) in should {
        same(all[0].1.get(column).map(String::as_str), Some(text)).context(column)?;
    }
    // Also what is too long to be read names somebody.
    holds(all[1].1.get("body") == long.body.as_ref())?;
    holds(store.each_row(&mut |_, _| anyhow::bail!("enough")).is_err())
}

/// Of an erased row stays what is left; body and error go, and its place, its stamps and its state stay.
pub fn of_an_erased_row_stays_what_is_left(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &WrittenRow { error: Some("oh".to_owned()), ..of_operation("o", lost("a")) })?;
    let before = read(store, entry, Some(Reason::NoPlan))?;
    let left = Left {
        operation_id: Some("other".to_owned()),
        direction: None,
        ended_at: Some("2026-03-01T12:00:09.000Z".to_owned()),
        http_status: Some(503),
        ..left("renamed", "http")
    };
    within(store, |store| store.rewrite(entry, &left))?;
    same([store.entry_of("a")?, store.entry_of("renamed")?], [None, Some(entry)])?;
    let row = store.rows(&[entry])?.pop().context("it is gone")?;
    same(row.request_id, left.request_id)?;
    let came = [row.operation_id, row.direction, row.method, row.url, row.body, row.sent_at, row.ended_at];
    let cells: [Cell; 7] = [
        Ok(left.operation_id),
        Ok(None),
        Ok(Some(left.method)),
        Ok(Some(left.url)),
        Ok(None),
        Ok(Some(left.sent_at)),
        Ok(left.ended_at),
    ];
    same(came, cells)?;
    same([row.failure, row.http_status], [Ok(left.failure), Ok(Some("503".to_owned()))])?;
    same((row.revision, row.arrived), (before.revision, before.arrived))?;
    same(state(store, entry)?, before)?;
    // The one column that is in no row that the job reads.
    holds(texts(store)?.iter().all(|(_, texts)| texts.get("error").is_none_or(String::is_empty)))
}

/// No writer changes an erased row; who has news of what was an intent is not failed, and other ones are refused.
pub fn writers_change_no_erased_row(store: &mut dyn Store) -> Result<()> {
    for (row, failure, is_read, should) in [
        (intent("a"), "intent", true, Written::Unchanged),
        (intent("b"), "intent", false, Written::Unchanged),
        (lost("c"), "timeout", true, Written::Refused),
        (lost("d"), "timeout", false, Written::Refused),
        (answered("e"), "answered", true, Written::Refused),
    ] {
        let entry = write(store, &row)?;
        if is_read {
            read(store, entry, Some(Reason::BadRow))?;
        }
        let id = format!("erased-{}", row.request_id);
        erase(store, entry, &left(&id, failure))?;
        let before = (format!("{:?}", store.rows(&[entry])?), state(store, entry)?);
        same(store.change(&WrittenRow { request_id: id.clone(), ..lost("") })?, should)?;
        same(store.withdraw(&id)?, should)?;
        for end in [
            End::Answered { status: 200, keep: false },
            End::Answered { status: 200, keep: true },
            End::Failed { failure: Failure::Timeout, http_status: None, error: None },
        ] {
            same(store.end(&id, at(9), &end)?, Ended::NoIntent)?;
        }
        holds(!store.complete(&id, "{}")?)?;
        same(store.write(&lost(&id))?, Written::Unchanged)?;
        same((format!("{:?}", store.rows(&[entry])?), state(store, entry)?), before)?;
        // By its old id nothing is known any more.
        same(store.change(&lost(&row.request_id))?, Written::Unchanged)?;
        same(store.entry_of(&row.request_id)?, None)?;
    }
    holds(store.record(&entry("a"), None)?)
}

/// What is left of a row does not take the id of another one: it fails, and changes nothing.
pub fn an_erased_row_does_not_take_anothers_id(store: &mut dyn Store) -> Result<()> {
    let first = write(store, &lost("a"))?;
    let second = write(store, &lost("b"))?;
    store.begin()?;
    let rewritten = store.rewrite(first, &left("b", "timeout"));
    store.rollback();
    holds(rewritten.is_err())?;
    same([store.entry_of("a")?, store.entry_of("b")?], [Some(first), Some(second)])?;
    erase(store, first, &left("a", "timeout"))?;
    same(store.entry_of("a")?, Some(first))
}

/// An operation's id is another one in all rows that bear it, read or not, erased or not; nothing else of them changes.
pub fn an_operation_is_renamed_in_all_its_rows(store: &mut dyn Store) -> Result<()> {
    let unread = write(store, &of_operation("kim@e.example", lost("a")))?;
    let decided = write(store, &of_operation("kim@e.example", intent("b")))?;
    let itself = write(store, &lost("kim@e.example"))?;
    let other = write(store, &of_operation("other", lost("d")))?;
    read(store, decided, Some(Reason::NoPlan))?;
    let gone = write(store, &of_operation("kim@e.example", lost("e")))?;
    let erased = Left { operation_id: Some("kim@e.example".to_owned()), ..left("left", "timeout") };
    erase(store, gone, &erased)?;
    let all = [unread, decided, itself, other, gone];
    let before = store.states(&all)?;
    within(store, |store| store.rename_operation("kim@e.example", "renamed"))?;
    same(store.states(&all)?, before)?;
    let named: Vec<Cell> = store.rows(&all)?.into_iter().map(|row| row.operation_id).collect();
    let text = |text: &str| Ok(Some(text.to_owned()));
    same(named, vec![text("renamed"), text("renamed"), Ok(None), text("other"), text("renamed")])?;
    // They are still attempts of one operation, and no writer noticed.
    same(store.withdraw("b")?, Written::Refused)?;
    same(store.change(&of_operation("o", intent("a")))?, Written::Done)
}
