//! A store in memory: what simulations and dry runs work on, and what the other stores are compared with.
//!
//! It keeps the promises of a store and nothing else: it is plain maps, and a transaction notes before each change how it is
//! taken back. Nobody else writes to it, so its transactions wait for nobody and last as long as there is work.

mod snapshot;
mod tables;
mod writers;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use self::tables::{Keys, Rows, States, Table, Texts, next};
use super::{
    Cleaned, Due, End, Ended, Evidence, Identity, Import, Key, Left, Mark, NewEntry, NewEvidence, Note, NoteKind,
    RunEnd, RunId, RunStart, State, Stats, Store, StoredRun, Texts as Columns, Unread, Word, Written, WrittenRow,
};
use crate::clock::{Moment, Span};
use crate::plan::{Cell, Row};
use crate::words::{Reason, Status};

pub use snapshot::snapshot_of;

/// Takes a change back.
type Undo = Box<dyn FnOnce(&mut MemoryStore) + Send>;

/// A store that ends with the program.
pub struct MemoryStore {
    identity: Identity,
    clock: fn() -> Moment,
    words: BTreeMap<Word, String>,
    /// The last entry that there ever was.
    last_entry: i64,
    rows: Rows,
    states: States,
    keys: Keys,
    evidence: BTreeMap<i64, NewEvidence>,
    texts: Texts,
    runs: BTreeMap<i64, StoredRun>,
    notes: BTreeMap<i64, (NoteKind, Note)>,
    imports: BTreeMap<i64, Import>,
    seen: BTreeMap<(i64, [u8; 16]), i64>,
    /// How to take back what the open transaction did, the last change last; `None`: no transaction is open.
    undo: Option<Vec<Undo>>,
}

impl MemoryStore {
    /// An empty store. Rows are stamped by `clock`.
    pub fn new(identity: Identity, clock: fn() -> Moment) -> MemoryStore {
        MemoryStore {
            identity,
            clock,
            words: BTreeMap::new(),
            last_entry: 0,
            rows: Rows::default(),
            states: States::default(),
            keys: Keys::default(),
            evidence: BTreeMap::new(),
            texts: Texts::default(),
            runs: BTreeMap::new(),
            notes: BTreeMap::new(),
            imports: BTreeMap::new(),
            seen: BTreeMap::new(),
            undo: None,
        }
    }

    /// An empty store whose salt follows from a seed, so that a simulation replays exactly.
    pub fn seeded(seed: u64, clock: fn() -> Moment) -> MemoryStore {
        let salt = Sha256::digest(seed.to_le_bytes()).to_vec();
        MemoryStore::new(Identity { name: format!("{seed:016x}"), salt }, clock)
    }

    /// Says when a simulated row came: the store itself stamps it by its clock.
    pub fn stamp(&mut self, request_id: &str, arrived: Moment) {
        let state = self.rows.of_request(request_id).and_then(|entry| self.states.all.get(&entry));
        if let Some(state) = state {
            let state = State { arrived: Some(arrived), ..state.clone() };
            self.keep(|store| &mut store.states, state.entry, Some(state));
        }
    }

    /// Puts a value into a table, or takes it away; an open transaction notes what was there before.
    fn keep<T: Table + 'static>(
        &mut self,
        table: fn(&mut MemoryStore) -> &mut T,
        key: T::Key,
        value: Option<T::Value>,
    ) {
        if self.undo.is_none() {
            table(self).put(key, value);
            return;
        }
        let before = table(self).put(key.clone(), value);
        self.on_rollback(move |store| {
            table(store).put(key, before);
        });
    }

    fn on_rollback(&mut self, undo: impl FnOnce(&mut MemoryStore) + Send + 'static) {
        if let Some(undone) = &mut self.undo {
            undone.push(Box::new(undo));
        }
    }

    fn states_of(&self, entries: Vec<i64>) -> Vec<State> {
        entries.into_iter().filter_map(|entry| self.states.all.get(&entry).cloned()).collect()
    }

    /// Changes a run that is there.
    fn change_run(&mut self, run: RunId, change: impl FnOnce(&mut StoredRun)) -> Result<()> {
        let mut now = self.runs.get(&run.0).with_context(|| format!("there is no run {}", run.0))?.clone();
        change(&mut now);
        self.keep(|store| &mut store.runs, run.0, Some(now));
        Ok(())
    }
}

/// In order, each once.
fn in_order(ids: &[i64]) -> Vec<i64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Store for MemoryStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn word(&self, word: Word) -> Result<Option<String>> {
        Ok(self.words.get(&word).cloned())
    }

    fn set_word(&mut self, word: Word, value: &str) -> Result<()> {
        self.keep(|store| &mut store.words, word, Some(value.to_owned()));
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if self.undo.is_some() {
            bail!("a transaction is open already");
        }
        self.undo = Some(Vec::new());
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }

    fn is_free(&self) -> bool {
        true
    }

    fn commit(&mut self) -> Result<()> {
        self.undo.take().context("no transaction is open")?;
        Ok(())
    }

    fn rollback(&mut self) {
        for undo in self.undo.take().into_iter().flatten().rev() {
            undo(self);
        }
    }

    fn record(&mut self, entry: &NewEntry, clock_error: Option<Span>) -> Result<bool> {
        Ok(self.insert(writers::row_of(entry), clock_error))
    }

    fn write(&mut self, row: &WrittenRow) -> Result<Written> {
        Ok(if self.insert(row.clone(), None) { Written::Done } else { Written::Unchanged })
    }

    fn change(&mut self, row: &WrittenRow) -> Result<Written> {
        Ok(self.update(row))
    }

    fn withdraw(&mut self, request_id: &str) -> Result<Written> {
        Ok(self.delete(request_id))
    }

    fn end(&mut self, request_id: &str, ended_at: Moment, end: &End) -> Result<Ended> {
        Ok(self.end_intent(request_id, ended_at, end))
    }

    fn complete(&mut self, request_id: &str, body: &str) -> Result<bool> {
        Ok(self.add_body(request_id, body))
    }

    fn entry_of(&self, request_id: &str) -> Result<Option<i64>> {
        Ok(self.rows.of_request(request_id))
    }

    fn rows(&self, entries: &[i64]) -> Result<Vec<Row>> {
        let there = |entry: i64| Some(self.rows.all.get(&entry)?.row(self.states.all.get(&entry)?));
        Ok(in_order(entries).into_iter().filter_map(there).collect())
    }

    fn each_row(&self, each: &mut dyn FnMut(i64, Columns) -> Result<()>) -> Result<()> {
        self.each_whole_row(each)
    }

    fn rewrite(&mut self, entry: i64, left: &Left) -> Result<()> {
        self.erase(entry, left)
    }

    fn rename_operation(&mut self, old: &str, new: &str) -> Result<()> {
        self.rename_rows(old, new);
        Ok(())
    }

    fn unread(&self, from: i64, most: usize, bytes: usize) -> Result<Vec<Unread>> {
        let mut page = Vec::new();
        let mut held = 0;
        for state in self.states.unread.range(from..).filter_map(|entry| self.states.all.get(entry)) {
            if page.len() >= most || (held >= bytes && !page.is_empty()) {
                break;
            }
            let row = self.rows.all.get(&state.entry);
            held += row.map_or(0, tables::Kept::bytes);
            page.push(Unread { row: row.map(|row| row.row(state)), state: state.clone() });
        }
        Ok(page)
    }

    fn states(&self, entries: &[i64]) -> Result<Vec<State>> {
        Ok(self.states_of(in_order(entries)))
    }

    fn members(&self, groups: &[i64]) -> Result<Vec<State>> {
        let members: Vec<i64> = groups.iter().flat_map(|group| self.states.members(*group)).collect();
        Ok(self.states_of(in_order(&members)))
    }

    fn put_states(&mut self, states: &[State]) -> Result<Vec<i64>> {
        let mut left = Vec::new();
        for state in states {
            let stored = self.states.all.get(&state.entry).filter(|_| self.rows.all.contains_key(&state.entry));
            if stored.is_some_and(|stored| stored.revision == state.revision) {
                self.keep(|store| &mut store.states, state.entry, Some(state.clone()));
            } else {
                left.push(state.entry);
            }
        }
        Ok(left)
    }

    fn drop_state(&mut self, entry: i64) -> Result<()> {
        self.keep(|store| &mut store.states, entry, None);
        Ok(())
    }

    fn due(&self, now: Moment, watched: bool, after: Option<Due>, limit: usize) -> Result<Vec<Due>> {
        let last = Due { due: now, entry: i64::MAX };
        if after.is_some_and(|after| after >= last) {
            return Ok(Vec::new());
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let is_watched = |due: &&Due| {
            let state = self.states.all.get(&due.entry);
            state.is_some_and(|state| state.status != Some(Status::Pending) && state.joined.is_none()) == watched
        };
        Ok(self.states.due.range((from, Bound::Included(last))).filter(is_watched).take(limit).copied().collect())
    }

    fn count_due(&self, now: Moment) -> Result<u64> {
        Ok(self.states.due.range(..=Due { due: now, entry: i64::MAX }).count() as u64)
    }

    fn next_due(&self) -> Result<Option<Moment>> {
        let helps = |due: &&Due| {
            let hopeless = [Some(Reason::OtherEnvironment), Some(Reason::Uncontrolled)];
            let state = self.states.all.get(&due.entry);
            state.is_some_and(|state| state.status == Some(Status::Pending) && !hopeless.contains(&state.reason))
        };
        Ok(self.states.due.iter().find(helps).map(|due| due.due))
    }

    fn each_state(&self, from: i64, each: &mut dyn FnMut(State) -> Result<bool>) -> Result<()> {
        for state in self.states.all.range(from..).map(|(_, state)| state) {
            if !each(state.clone())? {
                break;
            }
        }
        Ok(())
    }

    fn counts(&self) -> Result<Vec<(Status, Option<Reason>, u64)>> {
        let mut counts: BTreeMap<(Status, Option<Reason>), u64> = BTreeMap::new();
        for state in self.states.all.values() {
            if let Some(status) = state.status {
                *counts.entry((status, state.reason)).or_default() += 1;
            }
        }
        Ok(counts.into_iter().map(|((status, reason), count)| (status, reason, count)).collect())
    }

    fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for state in self.states.all.values() {
            match state.status {
                Some(Status::Pending) => {
                    stats.pending = true;
                    let oldest = stats.oldest_pending.into_iter().chain(state.sent).min();
                    stats.oldest_pending = oldest;
                }
                Some(status) => {
                    stats.settled = true;
                    stats.duplicate_risk |= status == Status::DuplicateRisk;
                }
                None => {}
            }
        }
        Ok(stats)
    }

    fn groups(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        Ok(keys.iter().map(|key| self.keys.all.get(key).copied()).collect())
    }

    fn each_key(&self, each: &mut dyn FnMut(Key, i64) -> Result<()>) -> Result<()> {
        self.keys.all.iter().try_for_each(|(key, group)| each(*key, *group))
    }

    fn put_keys(&mut self, keys: &[(Key, i64)]) -> Result<()> {
        for (key, group) in keys {
            self.keep(|store| &mut store.keys, *key, Some(*group));
        }
        Ok(())
    }

    fn drop_keys(&mut self, keys: &[Key]) -> Result<()> {
        for key in keys {
            self.keep(|store| &mut store.keys, *key, None);
        }
        Ok(())
    }

    fn merge(&mut self, from: i64, into: i64) -> Result<()> {
        for key in self.keys.of(from) {
            self.keep(|store| &mut store.keys, key, Some(into));
        }
        for state in self.members(&[from])? {
            self.keep(|store| &mut store.states, state.entry, Some(State { group: Some(into), ..state }));
        }
        Ok(())
    }

    fn append(&mut self, evidence: &NewEvidence) -> Result<i64> {
        let id = next(&self.evidence);
        self.keep(|store| &mut store.evidence, id, Some(evidence.clone()));
        Ok(id)
    }

    fn evidence(&self, ids: &[i64]) -> Result<Vec<Evidence>> {
        let there = |id: i64| Some(Evidence { id, row: self.evidence.get(&id)?.clone() });
        Ok(in_order(ids).into_iter().filter_map(there).collect())
    }

    fn last_evidence(&self) -> Result<i64> {
        Ok(next(&self.evidence) - 1)
    }

    fn each_evidence(&self, each: &mut dyn FnMut(Evidence) -> Result<()>) -> Result<()> {
        self.evidence.iter().try_for_each(|(id, row)| each(Evidence { id: *id, row: row.clone() }))
    }

    fn rename(&mut self, evidence: i64, names: &str) -> Result<()> {
        let row = self.evidence.get(&evidence).with_context(|| format!("there is no evidence {evidence}"))?;
        let row = NewEvidence { names: names.to_owned(), ..row.clone() };
        self.keep(|store| &mut store.evidence, evidence, Some(row));
        Ok(())
    }

    fn share(&mut self, text: &str) -> Result<i64> {
        if let Some(id) = self.texts.id(text) {
            return Ok(id);
        }
        let id = next(&self.texts.all);
        self.keep(|store| &mut store.texts, id, Some(text.to_owned()));
        Ok(id)
    }

    fn shared(&self, ids: &[i64]) -> Result<Vec<(i64, String)>> {
        let there = |id: i64| Some((id, self.texts.all.get(&id)?.clone()));
        Ok(in_order(ids).into_iter().filter_map(there).collect())
    }

    fn each_shared(&self, each: &mut dyn FnMut(i64, &str) -> Result<()>) -> Result<()> {
        self.texts.all.iter().try_for_each(|(id, text)| each(*id, text))
    }

    fn begin_run(&mut self, run: &RunStart) -> Result<RunId> {
        let id = next(&self.runs);
        let run = StoredRun {
            id,
            command: run.command.to_owned(),
            started: run.started,
            ended: None,
            exit: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan: run.plan.to_owned(),
            plan_digest: run.plan_digest.to_owned(),
            server: run.server.to_owned(),
            windows: run.windows.clone(),
            end: RunEnd::default(),
        };
        self.keep(|store| &mut store.runs, id, Some(run));
        Ok(RunId(id))
    }

    fn end_run(&mut self, run: RunId, ended: Moment, end: &RunEnd) -> Result<()> {
        self.change_run(run, |run| (run.ended, run.end) = (Some(ended), end.clone()))
    }

    fn note_exit(&mut self, run: RunId, exit: u8) -> Result<()> {
        self.change_run(run, |run| run.exit = Some(exit))
    }

    fn each_run(&self, each: &mut dyn FnMut(StoredRun) -> Result<bool>) -> Result<()> {
        for run in self.runs.values().rev() {
            if !each(run.clone())? {
                break;
            }
        }
        Ok(())
    }

    fn run(&self, run: i64) -> Result<Option<StoredRun>> {
        Ok(self.runs.get(&run).cloned())
    }

    fn note(&mut self, kind: NoteKind, at: Moment, doc: &str) -> Result<i64> {
        let id = next(&self.notes);
        self.keep(|store| &mut store.notes, id, Some((kind, Note { id, at, doc: doc.to_owned() })));
        Ok(id)
    }

    fn rewrite_note(&mut self, id: i64, doc: &str) -> Result<()> {
        let (kind, note) = self.notes.get(&id).with_context(|| format!("there is no note {id}"))?;
        let rewritten = (*kind, Note { doc: doc.to_owned(), ..*note });
        self.keep(|store| &mut store.notes, id, Some(rewritten));
        Ok(())
    }

    fn notes(&self, kind: NoteKind, since: Moment) -> Result<Vec<Note>> {
        let notes = self.notes.values().filter(|(of, note)| *of == kind && note.at >= since);
        Ok(notes.map(|(_, note)| note.clone()).collect())
    }

    fn imports(&self, mapping: &[u8; 16]) -> Result<Vec<Import>> {
        let mut imports: Vec<Import> =
            self.imports.values().filter(|import| import.known.mapping == *mapping).cloned().collect();
        imports.sort_unstable_by_key(|import| std::cmp::Reverse((import.mark.bytes, import.id)));
        Ok(imports)
    }

    fn put_import(&mut self, import: &Import, was: Mark, _at: Moment) -> Result<Option<i64>> {
        let id = match import.id {
            None => next(&self.imports),
            Some(id) if self.imports.get(&id).is_some_and(|stored| stored.mark == was) => id,
            Some(_) => return Ok(None),
        };
        self.keep(|store| &mut store.imports, id, Some(Import { id: Some(id), ..import.clone() }));
        Ok(Some(id))
    }

    fn rename_files(&mut self, new: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        for (id, mut import) in self.imports.clone() {
            if let Some(file) = new(&import.known.file) {
                import.known.file = file;
                self.keep(|store| &mut store.imports, id, Some(import));
            }
        }
        Ok(())
    }

    fn drop_import(&mut self, import: i64) -> Result<()> {
        let records = self.seen.range((import, [0; 16])..=(import, [u8::MAX; 16]));
        for key in records.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.keep(|store| &mut store.seen, key, None);
        }
        self.keep(|store| &mut store.imports, import, None);
        Ok(())
    }

    fn seen_in_import(&self, import: i64, record: &[u8; 16]) -> Result<i64> {
        Ok(self.seen.get(&(import, *record)).copied().unwrap_or(0))
    }

    fn set_seen_in_import(&mut self, import: i64, record: &[u8; 16], seen: i64) -> Result<()> {
        self.keep(|store| &mut store.seen, (import, *record), Some(seen));
        Ok(())
    }

    fn heal(&mut self) -> Result<()> {
        Ok(())
    }

    fn faults(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn second_keys(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn check_whole(&self) -> Result<()> {
        Ok(())
    }

    fn check_writable(&mut self) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> Result<i64> {
        Ok(0)
    }

    fn clean(&mut self, _compact: bool) -> Result<Cleaned> {
        Ok(Cleaned::Whole)
    }

    fn back_up(&self, _to: &Path) -> Result<()> {
        bail!("a ledger in memory has no backup (report this)")
    }

    fn last_turn(&self) -> (Duration, Duration) {
        (Duration::ZERO, Duration::ZERO)
    }

    fn refused(&self, _error: &anyhow::Error) -> bool {
        false
    }

    fn unrecorded(&self, error: anyhow::Error) -> anyhow::Error {
        error
    }

    fn as_of_one_instant(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        work()
    }

    fn ids(&self, entries: &[i64]) -> Result<Vec<(i64, String, Cell)>> {
        Ok(self.rows(entries)?.into_iter().map(|row| (row.entry, row.request_id, row.operation_id)).collect())
    }

    fn each_removal(&self, each: &mut dyn FnMut(State) -> Result<()>) -> Result<()> {
        self.each_state(i64::MIN, &mut |state| {
            if state.removes {
                each(state)?;
            }
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::exercise::exercise;

    fn noon() -> Moment {
        Moment(1_772_366_400_000)
    }

    #[test]
    fn a_store_in_memory_keeps_every_promise() {
        exercise(&mut || Box::new(MemoryStore::seeded(1, noon)));
    }

    #[test]
    fn a_simulated_row_came_when_it_is_said() {
        let mut store = MemoryStore::seeded(1, noon);
        store.write(&WrittenRow { request_id: "a".to_owned(), ..WrittenRow::default() }).unwrap();
        store.stamp("a", Moment(7));
        store.stamp("nobody", Moment(8));
        assert_eq!(store.rows(&[1]).unwrap()[0].arrived, Some(Moment(7)));
    }

    #[test]
    fn the_salt_follows_from_the_seed() {
        let [one, again, other] = [1, 1, 2].map(|seed| MemoryStore::seeded(seed, noon).identity);
        assert_eq!(one, again);
        assert_ne!(one.salt, other.salt);
    }
}
