//! The suite of promises that every store keeps.
//!
//! Each promise is a small function here; its name and its first sentence are the law. A store's tests call [`exercise`]
//! with a way to make an empty store. The laws use nothing but the [`Store`] itself, and every write of the job's is in a
//! transaction, so that they hold for stores that others write to at the same time, too.

mod erasure;
mod kept;
mod readable;
mod states;
mod transactions;
mod writers;

use std::fmt::Debug;
use std::panic::Location;

use anyhow::{Context, Result, bail};

use super::{NewEntry, NewEvidence, RunId, RunStart, State, Store, Written, WrittenRow};
use crate::clock::Moment;
use crate::evidence::Windows;
use crate::words::{Direction, Failure, Reason, Status};

pub use readable::{Asked, readable};

/// A promise: fails when it is broken. The store is an empty one.
type Law = fn(&mut dyn Store) -> Result<()>;

macro_rules! laws {
    ($($topic:ident::$law:ident),+ $(,)?) => { &[$((stringify!($law), $topic::$law)),+] };
}

const LAWS: &[(&str, Law)] = laws![
    writers::a_repeated_request_id_changes_nothing,
    writers::rows_are_in_order_of_arrival_and_no_id_is_used_twice,
    writers::a_row_keeps_what_its_writer_gave,
    writers::a_cell_longer_than_a_mebibyte_is_not_read,
    writers::a_row_brings_its_state,
    writers::what_is_recorded_is_as_any_writers_row,
    writers::an_unread_row_may_be_changed_in_any_column,
    writers::a_changed_row_is_to_be_read_anew,
    writers::a_read_row_is_kept_but_for_a_bad_one,
    writers::of_a_read_intent_only_its_news_may_change,
    writers::an_intent_is_updated_once,
    writers::only_an_intent_that_nothing_rests_on_is_withdrawn,
    writers::an_answered_intent_is_forgotten_unless_it_is_evidence,
    writers::an_intent_that_failed_is_kept,
    writers::a_missing_body_is_completed_once_and_in_time,
    states::a_state_is_stored_whole,
    states::a_state_is_not_put_where_its_row_was_changed_or_is_gone,
    states::states_are_given_in_order_of_their_entries,
    states::each_state_goes_on_from_an_entry_until_it_is_stopped,
    states::unread_rows_are_given_in_pages,
    states::a_page_of_unread_rows_ends_with_its_bytes,
    states::what_is_due_is_given_in_its_order_and_in_pages,
    states::verdicts_under_watch_are_due_apart_from_what_can_be_settled,
    states::the_next_due_is_one_that_waiting_can_help,
    states::entries_are_counted_by_status_and_reason,
    states::sums_are_those_of_the_states,
    states::keys_lead_to_the_group_that_was_put_last,
    states::a_merged_groups_keys_and_members_are_the_others,
    kept::a_word_is_what_was_set_last,
    kept::evidence_is_appended_and_kept_in_order,
    kept::a_rename_changes_the_names_of_its_evidence_only,
    kept::a_text_is_shared_under_one_id,
    kept::a_run_is_what_it_began_as_and_ended_with,
    kept::runs_are_given_from_the_last_one_on,
    kept::notes_are_kept_by_kind_and_time,
    kept::of_two_imports_of_one_file_one_goes_on,
    kept::imports_are_found_by_their_mapping_the_furthest_first,
    kept::records_are_counted_for_each_import,
    erasure::each_row_gives_the_text_of_all_columns,
    erasure::of_an_erased_row_stays_what_is_left,
    erasure::writers_change_no_erased_row,
    erasure::an_erased_row_does_not_take_anothers_id,
    erasure::an_operation_is_renamed_in_all_its_rows,
    transactions::what_is_rolled_back_was_never_there,
    transactions::what_is_committed_is_there,
    transactions::a_rollback_without_a_transaction_does_nothing,
];

/// Holds a store to every promise. `fresh` makes an empty one, each time.
///
/// # Panics
/// When a promise is broken: with the names of all that are.
pub fn exercise(fresh: &mut dyn FnMut() -> Box<dyn Store>) {
    let broken: Vec<String> = LAWS
        .iter()
        .filter_map(|(name, law)| law(fresh().as_mut()).err().map(|error| format!("{name}: {error:#}")))
        .collect();
    assert!(broken.is_empty(), "this store breaks {} promises:\n{}", broken.len(), broken.join("\n"));
}

/// Fails when what came is not what should.
#[track_caller]
fn same<T: PartialEq + Debug>(came: T, should: T) -> Result<()> {
    if came == should {
        return Ok(());
    }
    bail!("{}: {came:?}, not {should:?}", Location::caller())
}

/// Fails when it is not so.
#[track_caller]
fn holds(so: bool) -> Result<()> {
    if so {
        return Ok(());
    }
    bail!("{}: it is not so", Location::caller())
}

/// Does something in a transaction, whole.
fn within<T>(store: &mut dyn Store, work: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
    store.begin()?;
    match work(store) {
        Ok(done) => store.commit().map(|()| done),
        Err(error) => {
            store.rollback();
            Err(error)
        }
    }
}

const SENT: Moment = Moment(1_772_366_400_000);

/// So many milliseconds after the rows were sent.
fn at(ms: i64) -> Moment {
    Moment(SENT.0 + ms)
}

/// A request that timed out.
fn lost(request_id: &str) -> WrittenRow {
    WrittenRow {
        request_id: request_id.to_owned(),
        method: "POST".to_owned(),
        url: "https://server.example/api/v1.0/account?eid=7".to_owned(),
        body: Some(r#"{"b": 1, "a": "Zoë"}"#.to_owned()),
        sent_at: "2026-03-01T12:00:00Z".to_owned(),
        failure: Some("timeout".to_owned()),
        ..WrittenRow::default()
    }
}

/// A request that is about to be sent.
fn intent(request_id: &str) -> WrittenRow {
    WrittenRow { failure: Some("intent".to_owned()), ..lost(request_id) }
}

/// One that was answered.
fn answered(request_id: &str) -> WrittenRow {
    WrittenRow { failure: Some("answered".to_owned()), http_status: Some(201), ..lost(request_id) }
}

fn of_operation(operation: &str, row: WrittenRow) -> WrittenRow {
    WrittenRow { operation_id: Some(operation.to_owned()), ..row }
}

/// As a writer of ours knows a request that timed out.
fn entry(request_id: &str) -> NewEntry<'_> {
    NewEntry {
        request_id,
        operation_id: None,
        direction: Direction::Outbound,
        method: "POST",
        url: "https://server.example/api/v1.0/account",
        body: None,
        sent_at: SENT,
        ended_at: None,
        failure: Failure::Timeout,
        http_status: None,
        error: None,
    }
}

/// Writes a new row; gives its entry.
fn write(store: &mut dyn Store, row: &WrittenRow) -> Result<i64> {
    same(store.write(row)?, Written::Done)?;
    store.entry_of(&row.request_id)?.context("a row that was written is not there")
}

/// The state of an entry, which is there.
fn state(store: &dyn Store, entry: i64) -> Result<State> {
    store.states(&[entry])?.pop().context("an entry has no state")
}

/// Stores states, all of them.
fn put(store: &mut dyn Store, states: &[State]) -> Result<()> {
    within(store, |store| same(store.put_states(states)?, Vec::new()))
}

/// Changes what is stored of an entry.
fn restate(store: &mut dyn Store, entry: i64, change: impl FnOnce(&mut State)) -> Result<State> {
    let mut now = state(store, entry)?;
    change(&mut now);
    put(store, std::slice::from_ref(&now))?;
    Ok(now)
}

/// Notes that an entry was read; its group is its own, and why it stands there.
fn read(store: &mut dyn Store, entry: i64, reason: Option<Reason>) -> Result<State> {
    restate(store, entry, |state| {
        state.unread = false;
        state.group = Some(entry);
        state.reason = reason;
        if reason.is_some() && state.status.is_some() {
            state.status = Some(Status::DuplicateRisk);
        }
    })
}

/// Begins a run, within the caller's transaction.
fn begin_run(store: &mut dyn Store, started: Moment) -> Result<RunId> {
    store.begin_run(&RunStart {
        command: "run",
        started,
        plan: "privo-gateway",
        plan_digest: "0123",
        server: "https://server.example",
        windows: &Windows::default(),
    })
}

fn evidence(run: RunId, after: &[i64], doc: &str, names: &str) -> NewEvidence {
    NewEvidence { run, at: at(10), rules: 3, after: after.to_vec(), doc: doc.to_owned(), names: names.to_owned() }
}
