//! The operations of a store, each done by the file of its topic.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{SqliteStore, entries, evidence, groups, imports, runs, states, sums};
use crate::clock::{Moment, Span};
use crate::plan::{Cell, Row};
use crate::store::{
    Cleaned, Due, End, Ended, Evidence, Finding, Identity, Import, Key, Left, Mark, NewEntry, NewEvidence, Note,
    NoteKind, RunEnd, RunId, RunStart, State, Stats, Store, StoredRun, Texts, Unread, Word, Written, WrittenRow,
};
use crate::words::{Reason, Status};

impl Store for SqliteStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn word(&self, word: Word) -> Result<Option<String>> {
        super::word(&self.connection, word)
    }

    fn set_word(&mut self, word: Word, value: &str) -> Result<()> {
        super::set_word(&self.connection, word, value)
    }

    fn begin(&mut self) -> Result<()> {
        self.begin_turn()
    }

    fn is_over(&self) -> bool {
        self.turn_is_over()
    }

    fn is_free(&self) -> bool {
        self.turn_is_free()
    }

    fn commit(&mut self) -> Result<()> {
        self.commit_turn()
    }

    fn rollback(&mut self) {
        self.take_turn_back();
    }

    fn record(&mut self, entry: &NewEntry, clock_error: Option<Span>) -> Result<bool> {
        self.whole(|connection| Ok(entries::record(connection, entry, clock_error)?))
    }

    fn write(&mut self, row: &WrittenRow) -> Result<Written> {
        entries::write(&self.connection, row)
    }

    fn change(&mut self, row: &WrittenRow) -> Result<Written> {
        entries::change(&self.connection, row)
    }

    fn withdraw(&mut self, request_id: &str) -> Result<Written> {
        entries::withdraw(&self.connection, request_id)
    }

    fn end(&mut self, request_id: &str, ended_at: Moment, end: &End) -> Result<Ended> {
        self.whole(|connection| Ok(entries::end(connection, request_id, ended_at, end)?))
    }

    fn complete(&mut self, request_id: &str, body: &str) -> Result<bool> {
        entries::complete(&self.connection, request_id, body)
    }

    fn entry_of(&self, request_id: &str) -> Result<Option<i64>> {
        entries::entry_of(&self.connection, request_id)
    }

    fn rows(&self, entries: &[i64]) -> Result<Vec<Row>> {
        entries::rows(&self.connection, entries)
    }

    fn each_row(&self, each: &mut dyn FnMut(i64, Texts) -> Result<()>) -> Result<()> {
        entries::each_row(&self.connection, each)
    }

    fn rewrite(&mut self, entry: i64, left: &Left) -> Result<()> {
        self.erasing(|connection| entries::rewrite(connection, entry, left))
    }

    fn rename_operation(&mut self, old: &str, new: &str) -> Result<()> {
        self.erasing(|connection| entries::rename_operation(connection, old, new))
    }

    fn unread(&self, from: i64, most: usize, bytes: usize) -> Result<Vec<Unread>> {
        states::unread(&self.connection, from, most, bytes)
    }

    fn states(&self, entries: &[i64]) -> Result<Vec<State>> {
        states::states(&self.connection, entries)
    }

    fn members(&self, groups: &[i64]) -> Result<Vec<State>> {
        states::members(&self.connection, groups)
    }

    fn put_states(&mut self, states: &[State]) -> Result<Vec<i64>> {
        self.whole(|connection| states::put(connection, states))
    }

    fn drop_state(&mut self, entry: i64) -> Result<()> {
        states::drop_one(&self.connection, entry)
    }

    fn due(&self, now: Moment, watched: bool, after: Option<Due>, limit: usize) -> Result<Vec<Due>> {
        states::due(&self.connection, now, watched, after, limit)
    }

    fn count_due(&self, now: Moment) -> Result<u64> {
        sums::count_due(&self.connection, now)
    }

    fn next_due(&self) -> Result<Option<Moment>> {
        sums::next_due(&self.connection)
    }

    fn each_state(&self, from: i64, each: &mut dyn FnMut(State) -> Result<bool>) -> Result<()> {
        states::each(&self.connection, from, each)
    }

    fn counts(&self) -> Result<Vec<(Status, Option<Reason>, u64)>> {
        sums::counts(&self.connection)
    }

    fn stats(&self) -> Result<Stats> {
        sums::stats(&self.connection)
    }

    fn groups(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        groups::groups(&self.connection, keys)
    }

    fn each_key(&self, each: &mut dyn FnMut(Key, i64) -> Result<()>) -> Result<()> {
        groups::each_key(&self.connection, each)
    }

    fn put_keys(&mut self, keys: &[(Key, i64)]) -> Result<()> {
        self.whole(|connection| groups::put(connection, keys))
    }

    fn drop_keys(&mut self, keys: &[Key]) -> Result<()> {
        self.overwrite()?;
        groups::drop_all(&self.connection, keys)
    }

    fn merge(&mut self, from: i64, into: i64) -> Result<()> {
        self.whole(|connection| groups::merge(connection, from, into))
    }

    fn append(&mut self, evidence: &NewEvidence) -> Result<i64> {
        evidence::append(&self.connection, evidence)
    }

    fn evidence(&self, ids: &[i64]) -> Result<Vec<Evidence>> {
        evidence::of(&self.connection, ids)
    }

    fn last_evidence(&self) -> Result<i64> {
        evidence::last(&self.connection)
    }

    fn each_evidence(&self, each: &mut dyn FnMut(Evidence) -> Result<()>) -> Result<()> {
        evidence::each(&self.connection, each)
    }

    fn rename(&mut self, evidence: i64, names: &str) -> Result<()> {
        self.erasing(|connection| evidence::rename(connection, evidence, names))
    }

    fn share(&mut self, text: &str) -> Result<i64> {
        self.whole(|connection| evidence::share(connection, text))
    }

    fn shared(&self, ids: &[i64]) -> Result<Vec<(i64, String)>> {
        evidence::shared(&self.connection, ids)
    }

    fn each_shared(&self, each: &mut dyn FnMut(i64, &str) -> Result<()>) -> Result<()> {
        evidence::each_shared(&self.connection, each)
    }

    fn begin_run(&mut self, run: &RunStart) -> Result<RunId> {
        runs::begin(&self.connection, run)
    }

    fn end_run(&mut self, run: RunId, ended: Moment, end: &RunEnd) -> Result<()> {
        runs::end(&self.connection, run, ended, end)
    }

    fn note_exit(&mut self, run: RunId, exit: u8) -> Result<()> {
        runs::note_exit(&self.connection, run, exit)
    }

    fn each_run(&self, each: &mut dyn FnMut(StoredRun) -> Result<bool>) -> Result<()> {
        runs::each(&self.connection, each)
    }

    fn run(&self, run: i64) -> Result<Option<StoredRun>> {
        runs::one(&self.connection, run)
    }

    fn note(&mut self, kind: NoteKind, at: Moment, doc: &str) -> Result<i64> {
        runs::note(&self.connection, kind, at, doc)
    }

    fn rewrite_note(&mut self, id: i64, doc: &str) -> Result<()> {
        self.erasing(|connection| runs::rewrite_note(connection, id, doc))
    }

    fn notes(&self, kind: NoteKind, since: Moment) -> Result<Vec<Note>> {
        runs::notes(&self.connection, kind, since)
    }

    fn imports(&self, mapping: &[u8; 16]) -> Result<Vec<Import>> {
        imports::of(&self.connection, mapping)
    }

    fn put_import(&mut self, import: &Import, was: Mark, at: Moment) -> Result<Option<i64>> {
        imports::put(&self.connection, import, was, at)
    }

    fn rename_files(&mut self, new: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        self.erasing(|connection| imports::rename(connection, new))
    }

    fn drop_import(&mut self, import: i64) -> Result<()> {
        self.whole(|connection| imports::drop_one(connection, import))
    }

    fn seen_in_import(&self, import: i64, record: &[u8; 16]) -> Result<i64> {
        imports::seen(&self.connection, import, record)
    }

    fn set_seen_in_import(&mut self, import: i64, record: &[u8; 16], seen: i64) -> Result<()> {
        imports::set_seen(&self.connection, import, record, seen)
    }

    fn heal(&mut self) -> Result<()> {
        SqliteStore::heal(self)
    }

    fn findings(&self) -> Result<Vec<Finding>> {
        self.moved_away()
    }

    fn faults(&self) -> Result<Vec<String>> {
        self.faults_of_entries()
    }

    fn second_keys(&self) -> Result<Vec<String>> {
        self.second_keys_of_entries()
    }

    fn check_whole(&self) -> Result<()> {
        self.check_integrity()
    }

    fn check_writable(&mut self) -> Result<()> {
        self.may_be_written()
    }

    fn size(&self) -> Result<i64> {
        self.bytes()
    }

    fn clean(&mut self, compact: bool) -> Result<Cleaned> {
        self.clean_up(compact)
    }

    fn back_up(&self, to: &Path) -> Result<()> {
        self.backup(to)
    }

    fn last_turn(&self) -> (Duration, Duration) {
        (self.turn_lasted(), self.turn_lasts())
    }

    fn refused(&self, error: &anyhow::Error) -> bool {
        super::is_refusal(error)
    }

    fn unrecorded(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<rusqlite::Error>() {
            Ok(error) => super::unrecorded(&self.path, error),
            Err(error) => error,
        }
    }

    fn as_of_one_instant(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        if !self.connection.is_autocommit() {
            return work();
        }
        let _instant = self.connection.unchecked_transaction()?;
        work()
    }

    fn ids(&self, entries: &[i64]) -> Result<Vec<(i64, String, Cell)>> {
        entries::ids(&self.connection, entries)
    }

    fn each_removal(&self, each: &mut dyn FnMut(State) -> Result<()>) -> Result<()> {
        states::each_removal(&self.connection, each)
    }
}
