//! What writers are promised, and what they are kept from.

use anyhow::{Context, Result};

use super::{answered, at, entry, holds, intent, lost, of_operation, read, restate, same, state, write};
use crate::clock::Span;
use crate::plan::{NoText, Row};
use crate::store::{End, Ended, NewEntry, State, Store, Written, WrittenRow};
use crate::words::{Direction, Failure, Outcome, Reason, Status};

/// The row of an entry, which is there.
fn row(store: &dyn Store, entry: i64) -> Result<Row> {
    store.rows(&[entry])?.pop().context("an entry has no row")
}

/// A row but for its stamps.
fn cells(row: &Row) -> String {
    format!("{:?}", Row { arrived: None, ..row.clone() })
}

/// A `request_id` that is there already changes nothing, in whichever way it comes again.
pub fn a_repeated_request_id_changes_nothing(store: &mut dyn Store) -> Result<()> {
    let first = write(store, &lost("a"))?;
    let (before, stood) = (cells(&row(store, first)?), state(store, first)?);
    same(store.write(&WrittenRow { method: "PUT".to_owned(), ..lost("a") })?, Written::Unchanged)?;
    holds(!store.record(&NewEntry { method: "PUT", ..entry("a") }, Some(Span(9)))?)?;
    same(cells(&row(store, first)?), before)?;
    same(state(store, first)?, stood)?;
    holds(store.record(&entry("b"), None)?)?;
    holds(!store.record(&entry("b"), None)?)
}

/// Rows are in the order of arrival, and the id of one that was withdrawn is not another's.
pub fn rows_are_in_order_of_arrival_and_no_id_is_used_twice(store: &mut dyn Store) -> Result<()> {
    let ids = ["z", "m", "a"].map(|id| write(store, &intent(id)));
    let [one, two, three] = ids;
    let (one, two, three) = (one?, two?, three?);
    holds(0 < one && one < two && two < three)?;
    same(store.withdraw("a")?, Written::Done)?;
    same(store.entry_of("a")?, None)?;
    holds(store.rows(&[three])?.is_empty() && store.states(&[three])?.is_empty())?;
    holds(write(store, &intent("a"))? > three)?;
    let rows: Vec<String> = store.rows(&[two, three, one])?.into_iter().map(|row| row.request_id).collect();
    same(rows, ["z", "m"].map(str::to_owned).to_vec())?;
    same(store.entry_of("nobody")?, None)
}

/// A row is kept as its writer gave it, good or bad; a direction that was left out is `outbound`.
pub fn a_row_keeps_what_its_writer_gave(store: &mut dyn Store) -> Result<()> {
    let written = WrittenRow {
        request_id: " ä'\"%_ 1".to_owned(),
        operation_id: Some(String::new()),
        direction: Some("sideways".to_owned()),
        method: "get\n".to_owned(),
        url: "no url ?a=1&a=2".to_owned(),
        body: Some("{\"a\":1,\"a\":2".to_owned()),
        sent_at: "yesterday".to_owned(),
        ended_at: Some("2026-13-01".to_owned()),
        failure: Some("Timeout".to_owned()),
        http_status: Some(-7),
        error: Some("reset".to_owned()),
    };
    let entry = write(store, &written)?;
    let came = row(store, entry)?;
    same(&came.request_id, &written.request_id)?;
    holds(came.id_is_text && came.entry == entry && came.revision == 0 && came.clock_error.is_none())?;
    let came = [
        came.operation_id,
        came.direction,
        came.method,
        came.url,
        came.body,
        came.sent_at,
        came.ended_at,
        came.failure,
        came.http_status,
    ];
    let gave = [
        written.operation_id,
        written.direction,
        Some(written.method),
        Some(written.url),
        written.body,
        Some(written.sent_at),
        written.ended_at,
        written.failure,
        Some("-7".to_owned()),
    ];
    same(came, gave.map(Ok))?;
    let bare = WrittenRow { request_id: "bare".to_owned(), ..WrittenRow::default() };
    let entry = write(store, &bare)?;
    let came = row(store, entry)?;
    same(came.direction, Ok(Some("outbound".to_owned())))?;
    same(came.method, Ok(Some(String::new())))?;
    let nothing = [came.operation_id, came.body, came.ended_at, came.failure, came.http_status];
    same(nothing, [Ok(None), Ok(None), Ok(None), Ok(None), Ok(None)])
}

/// A cell that is longer than a mebibyte is not read, and hides no other one.
pub fn a_cell_longer_than_a_mebibyte_is_not_read(store: &mut dyn Store) -> Result<()> {
    let longest = "x".repeat(1 << 20);
    let entry = write(store, &WrittenRow { body: Some(format!("{longest}x")), ..lost("long") })?;
    let came = row(store, entry)?;
    holds(came.body == Err(NoText) && came.method == Ok(Some("POST".to_owned())))?;
    let entry = write(store, &WrittenRow { body: Some(longest.clone()), ..lost("short") })?;
    holds(row(store, entry)?.body == Ok(Some(longest)))
}

/// With a row comes its state: to be read, pending unless it is `answered`, and stamped.
pub fn a_row_brings_its_state(store: &mut dyn Store) -> Result<()> {
    for (row, is_answered) in [(lost("a"), false), (intent("b"), false), (answered("c"), true)] {
        let entry = write(store, &row)?;
        let came = state(store, entry)?;
        let arrived = came.arrived.context("a row bears no stamp")?;
        same(came, State::arrived(entry, is_answered, arrived))?;
        same(store.rows(&[entry])?[0].arrived, Some(arrived))?;
    }
    Ok(())
}

/// What is recorded stands there as if any writer had written it, with how far its clock may be off.
pub fn what_is_recorded_is_as_any_writers_row(store: &mut dyn Store) -> Result<()> {
    let given = NewEntry {
        operation_id: Some("o"),
        direction: Direction::Inbound,
        body: Some("{}"),
        ended_at: Some(at(1500)),
        failure: Failure::Http,
        http_status: Some(503),
        error: Some("unavailable"),
        ..entry("a")
    };
    holds(store.record(&given, Some(Span(60_000)))?)?;
    let entry = store.entry_of("a")?.context("it was not recorded")?;
    let came = row(store, entry)?;
    let text = |text: &str| Ok(Some(text.to_owned()));
    same(came.clock_error, Some(Span(60_000)))?;
    same([came.operation_id, came.direction], [text("o"), text("inbound")])?;
    same([came.method, came.url], [text("POST"), text(given.url)])?;
    same([came.body, came.failure, came.http_status], [text("{}"), text("http"), text("503")])?;
    same([came.sent_at, came.ended_at], [text("2026-03-01T12:00:00.000Z"), text("2026-03-01T12:00:01.500Z")])?;
    let stands = state(store, entry)?;
    let arrived = stands.arrived.context("it bears no stamp")?;
    same(stands, State { clock_error: Some(Span(60_000)), ..State::arrived(entry, false, arrived) })
}

/// Before the job has read a row, its writer may change every column of it.
pub fn an_unread_row_may_be_changed_in_any_column(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &answered("a"))?;
    let new = WrittenRow {
        direction: Some("inbound".to_owned()),
        method: "DELETE".to_owned(),
        url: "https://server.example/other".to_owned(),
        body: None,
        ..of_operation("o", intent("a"))
    };
    same(store.change(&new)?, Written::Done)?;
    let came = row(store, entry)?;
    let text = |text: &str| Ok(Some(text.to_owned()));
    same([came.operation_id, came.direction, came.method], [text("o"), text("inbound"), text("DELETE")])?;
    same([came.url, came.body, came.failure], [text("https://server.example/other"), Ok(None), text("intent")])?;
    same(came.http_status, Ok(None))?;
    same(state(store, entry)?.status, Some(Status::Pending))?;
    same(store.change(&lost("nobody"))?, Written::Unchanged)
}

/// A changed row has a higher revision and is to be read anew; its verdict holds no more, and what was seen of it stays.
pub fn a_changed_row_is_to_be_read_anew(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &intent("a"))?;
    let before = restate(store, entry, |state| {
        (state.unread, state.group, state.sent) = (false, Some(state.entry), Some(at(0)));
        (state.status, state.outcome) = (Some(Status::Resolved), Some(Outcome::NotApplied));
        (state.reason, state.due, state.not_before) = (Some(Reason::NeverSent), Some(at(5)), Some(at(4)));
        (state.checks, state.looks, state.first_checked) = (2, 3, Some(at(1)));
        (state.holds, state.correction, state.decided) = (true, true, Some(at(3)));
    })?;
    let news = WrittenRow { failure: Some("answered".to_owned()), http_status: Some(201), ..intent("a") };
    same(store.change(&news)?, Written::Done)?;
    let now = state(store, entry)?;
    let arrived = now.arrived.context("the news bears no stamp")?;
    holds(Some(arrived) >= before.arrived)?;
    let mut should = before;
    should.changed(true, true, arrived);
    same(&now, &should)?;
    same(row(store, entry)?.revision, 1)?;
    same(store.change(&lost("a"))?, Written::Done)?;
    should.changed(false, false, arrived);
    same(state(store, entry)?, should)
}

/// A row that was read stays as it is, unless it could not be read: then its writer may correct it.
pub fn a_read_row_is_kept_but_for_a_bad_one(store: &mut dyn Store) -> Result<()> {
    let corrected = WrittenRow { body: Some("{}".to_owned()), failure: Some("network".to_owned()), ..lost("a") };
    for row_as_read in [lost("a"), answered("b")] {
        let entry = write(store, &row_as_read)?;
        let before = (cells(&row(store, entry)?), read(store, entry, None)?);
        let change = WrittenRow { request_id: row_as_read.request_id, ..corrected.clone() };
        same(store.change(&change)?, Written::Refused)?;
        same((cells(&row(store, entry)?), state(store, entry)?), before)?;
    }
    let entry = store.entry_of("a")?.context("it is gone")?;
    restate(store, entry, |state| (state.status, state.reason) = (Some(Status::DuplicateRisk), Some(Reason::BadRow)))?;
    same(store.change(&corrected)?, Written::Done)?;
    let now = state(store, entry)?;
    holds(now.unread && now.reason.is_none() && now.status == Some(Status::Pending))?;
    same(row(store, entry)?.failure, Ok(Some("network".to_owned())))
}

/// Of an intent that was read, only failure, status, end and error may change.
pub fn of_a_read_intent_only_its_news_may_change(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &of_operation("o", intent("a")))?;
    read(store, entry, None)?;
    let news = WrittenRow {
        failure: Some("http".to_owned()),
        http_status: Some(502),
        ended_at: Some("2026-03-01T12:00:09Z".to_owned()),
        error: Some("bad gateway".to_owned()),
        ..of_operation("o", intent("a"))
    };
    let forbidden = [
        WrittenRow { operation_id: None, ..news.clone() },
        WrittenRow { direction: Some("inbound".to_owned()), ..news.clone() },
        WrittenRow { method: "PUT".to_owned(), ..news.clone() },
        WrittenRow { url: "https://server.example/".to_owned(), ..news.clone() },
        WrittenRow { body: None, ..news.clone() },
        WrittenRow { sent_at: "2026-03-01T12:00:01Z".to_owned(), ..news.clone() },
    ];
    let before = (cells(&row(store, entry)?), state(store, entry)?);
    for change in forbidden {
        same(store.change(&change)?, Written::Refused)?;
    }
    same((cells(&row(store, entry)?), state(store, entry)?), before)?;
    same(store.change(&news)?, Written::Done)?;
    let came = row(store, entry)?;
    let text = |text: &str| Ok(Some(text.to_owned()));
    same([came.failure, came.http_status, came.ended_at], [text("http"), text("502"), text("2026-03-01T12:00:09Z")])
}

/// An intent is updated once: what its news says is kept as soon as it was read.
pub fn an_intent_is_updated_once(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &intent("a"))?;
    read(store, entry, None)?;
    same(store.change(&lost("a"))?, Written::Done)?;
    read(store, entry, None)?;
    same(store.change(&intent("a"))?, Written::Refused)?;
    same(store.withdraw("a")?, Written::Refused)?;
    let failed = End::Failed { failure: Failure::Network, http_status: None, error: None };
    same(store.end("a", at(9), &failed)?, Ended::NoIntent)?;
    same(row(store, entry)?.failure, Ok(Some("timeout".to_owned())))
}

/// Withdrawn is an intent that was never looked up and whose operation has no other row; all else is kept.
pub fn only_an_intent_that_nothing_rests_on_is_withdrawn(store: &mut dyn Store) -> Result<()> {
    same(store.withdraw("nobody")?, Written::Unchanged)?;
    for kept in [lost("lost"), answered("answered")] {
        write(store, &kept)?;
        same(store.withdraw(&kept.request_id)?, Written::Refused)?;
    }
    let looked_up = write(store, &intent("looked-up"))?;
    restate(store, looked_up, |state| state.looks = 1)?;
    same(store.withdraw("looked-up")?, Written::Refused)?;
    for retry in ["retry-1", "retry-2"] {
        write(store, &of_operation("o", intent(retry)))?;
    }
    same(store.withdraw("retry-1")?, Written::Refused)?;
    // The first attempt gave its own id to the operation.
    write(store, &intent("first"))?;
    write(store, &of_operation("first", intent("second")))?;
    same(store.withdraw("first")?, Written::Refused)?;
    same(store.withdraw("second")?, Written::Refused)?;
    // A row that has this id, and an operation of another name, is no attempt of it.
    write(store, &of_operation("elsewhere", lost("named")))?;
    write(store, &of_operation("named", intent("alone")))?;
    same(store.withdraw("alone")?, Written::Done)?;
    same(store.entry_of("alone")?, None)?;
    let read_and_alone = write(store, &intent("read"))?;
    read(store, read_and_alone, None)?;
    same(store.withdraw("read")?, Written::Done)
}

/// An answered intent is forgotten, unless a trace is wanted, it was looked up, or another row has its operation.
pub fn an_answered_intent_is_forgotten_unless_it_is_evidence(store: &mut dyn Store) -> Result<()> {
    let answer = End::Answered { status: 201, keep: false };
    same(store.end("nobody", at(9), &answer)?, Ended::NoIntent)?;
    write(store, &intent("a"))?;
    same(store.end("a", at(9), &answer)?, Ended::Forgotten)?;
    same(store.entry_of("a")?, None)?;
    write(store, &intent("wanted"))?;
    same(store.end("wanted", at(9), &End::Answered { status: 201, keep: true })?, Ended::Kept)?;
    let looked_up = write(store, &intent("looked-up"))?;
    restate(store, looked_up, |state| (state.unread, state.looks) = (false, 1))?;
    same(store.end("looked-up", at(9), &answer)?, Ended::Kept)?;
    write(store, &of_operation("o", lost("try")))?;
    write(store, &of_operation("o", intent("retry")))?;
    same(store.end("retry", at(9), &answer)?, Ended::Kept)?;
    for id in ["wanted", "looked-up", "retry"] {
        let entry = store.entry_of(id)?.context("evidence is gone")?;
        let came = row(store, entry)?;
        let text = |text: &str| Ok(Some(text.to_owned()));
        same([came.failure, came.http_status], [text("answered"), text("201")])?;
        same(came.ended_at, text("2026-03-01T12:00:00.009Z"))?;
        holds(state(store, entry)?.status.is_none())?;
        same(store.end(id, at(10), &answer)?, Ended::NoIntent)?;
    }
    Ok(())
}

/// An intent that failed is an entry as its end says, and opens again what was known of it.
pub fn an_intent_that_failed_is_kept(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &intent("a"))?;
    read(store, entry, None)?;
    let failed = End::Failed { failure: Failure::Http, http_status: Some(500), error: Some("oh") };
    same(store.end("a", at(9), &failed)?, Ended::Kept)?;
    let (came, stands) = (row(store, entry)?, state(store, entry)?);
    let text = |text: &str| Ok(Some(text.to_owned()));
    same([came.failure, came.http_status], [text("http"), text("500")])?;
    holds(stands.unread && stands.revision == 1)?;
    write(store, &lost("b"))?;
    same(store.end("b", at(9), &failed)?, Ended::NoIntent)
}

/// A body that was missing is added as long as nothing was decided but that something is; a body is never replaced.
pub fn a_missing_body_is_completed_once_and_in_time(store: &mut dyn Store) -> Result<()> {
    let bare = |id: &str| WrittenRow { body: None, ..lost(id) };
    holds(!store.complete("nobody", "{}")?)?;
    let entry = write(store, &bare("a"))?;
    holds(store.complete("a", "{}")?)?;
    same(row(store, entry)?.body, Ok(Some("{}".to_owned())))?;
    same(state(store, entry)?.revision, 1)?;
    holds(!store.complete("a", "[]")?)?;
    let bad = write(store, &bare("bad"))?;
    read(store, bad, Some(Reason::BadRow))?;
    holds(store.complete("bad", "{}")?)?;
    holds(state(store, bad)?.unread)?;
    let late = write(store, &bare("late"))?;
    read(store, late, Some(Reason::NoPlan))?;
    holds(!store.complete("late", "{}")?)?;
    same(row(store, late)?.body, Ok(None))
}
