//! Every operation of the store.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Row as Line;

use super::super::{
    Cleaned, Due, End, Ended, Evidence, Finding, Identity, Import, Key, Left, Mark, NewEntry, NewEvidence, Note,
    NoteKind, RunEnd, RunId, RunStart, State, Stats, Store, StoredRun, Texts, Unread, Word, Written, WrittenRow,
};
use super::columns::{self, PUT, ROW, SIZE, STATE, STATE_COLUMNS, evidence_of, row_of, run_of, state_of};
use super::{LONGEST_TRANSACTION, OneRefused, PostgresStore, cell, count, number, of_numbers, some_text, text};
use crate::clock::{Moment, Span};
use crate::plan::{Cell, Row};
use crate::words::{Reason, Status};

/// Rows that are read at once, and about how many bytes of them.
pub(super) const PAGE: i64 = 1000;
pub(super) const PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// The two parts of what is due: 0 for what a look can settle, 1 for verdicts that are watched.
pub(super) const PART: &str = "(CASE WHEN status = 'pending' OR joined_id IS NOT NULL THEN 0 ELSE 1 END)";

/// The columns of a run.
const RUN: &str =
    "id, command, started_ms, ended_ms, exit, version, plan, plan_digest, server, windows, examined, requests, settled,
    deferred, controls, trouble";

impl PostgresStore {
    /// A query that is put together.
    pub(super) fn found(&self, sql: String, params: Vec<super::Param>) -> Result<Vec<Line>> {
        let sql = if self.schema == super::NAMED { sql } else { sql.replace(super::NAMED, &self.schema) };
        self.rows_from(Cow::Owned(sql), params)
    }

    /// States by the rest of a query that gives them.
    fn states_by(&self, rest: &str, params: Vec<super::Param>) -> Result<Vec<State>> {
        let lines = self.found(format!("SELECT {STATE} FROM privo_reconcile.state {rest}"), params)?;
        lines.iter().map(state_of).collect()
    }

    /// Page after page: `page` reads what comes after an id, and gives the last id that it read, as long as there may be more.
    pub(super) fn pages(
        &self,
        from: i64,
        mut page: impl FnMut(&PostgresStore, i64) -> Result<Option<i64>>,
    ) -> Result<()> {
        let _moment = self.snapshot()?;
        let mut from = Some(from);
        while let Some(after) = from {
            from = page(self, after)?.and_then(|last| last.checked_add(1));
        }
        Ok(())
    }

    /// Changes what only an erasure changes.
    fn erasing(&mut self, sql: &'static str, params: Vec<super::Param>) -> Result<()> {
        self.within(|store| {
            let set = |value| format!("SELECT set_config('{}.erasing', '{value}', true)", store.schema);
            store.later(store.wire.batch(set("1")));
            store.count_of(sql, params)?;
            store.later(store.wire.batch(set("")));
            Ok(())
        })
    }

    /// Sends a statement in the open transaction, or in one of its own.
    pub(super) fn send(&mut self, sql: &'static str, params: Vec<super::Param>) -> Result<()> {
        self.within(|store| {
            store.send_evidence();
            store.put(sql, params);
            Ok(())
        })
    }

    /// The id that a statement gives.
    pub(super) fn id_of(&mut self, sql: &'static str, params: Vec<super::Param>) -> Result<i64> {
        self.within(|store| cell(&store.row_of(sql, params)?, 0))
    }
}

impl Store for PostgresStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn word(&self, word: Word) -> Result<Option<String>> {
        let found = self.rows_of("SELECT value FROM privo_reconcile.words WHERE name = $1", vec![text(word.text())])?;
        found.first().map(|line| cell(line, 0)).transpose()
    }

    fn set_word(&mut self, word: Word, value: &str) -> Result<()> {
        self.send(
            "INSERT INTO privo_reconcile.words (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
            vec![text(word.text()), text(value)],
        )
    }

    fn begin(&mut self) -> Result<()> {
        self.begin_transaction()
    }

    fn is_over(&self) -> bool {
        self.has_lasted()
    }

    fn is_free(&self) -> bool {
        self.could_begin()
    }

    fn commit(&mut self) -> Result<()> {
        self.commit_transaction()
    }

    fn rollback(&mut self) {
        self.roll_back();
    }

    fn refused(&self, error: &anyhow::Error) -> bool {
        error.chain().any(|cause| cause.is::<OneRefused>())
    }

    fn unrecorded(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("failed to record in {}", self.place))
    }

    fn as_of_one_instant(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let _instant = self.snapshot()?;
        work()
    }

    fn record(&mut self, entry: &NewEntry, clock_error: Option<Span>) -> Result<bool> {
        self.record_entry(entry, clock_error)
    }

    fn write(&mut self, row: &WrittenRow) -> Result<Written> {
        self.write_row(row)
    }

    fn change(&mut self, row: &WrittenRow) -> Result<Written> {
        self.change_row(row)
    }

    fn withdraw(&mut self, request_id: &str) -> Result<Written> {
        self.delete_row(request_id)
    }

    fn end(&mut self, request_id: &str, ended_at: Moment, end: &End) -> Result<Ended> {
        self.end_intent(request_id, ended_at, end)
    }

    fn complete(&mut self, request_id: &str, body: &str) -> Result<bool> {
        self.add_body(request_id, body)
    }

    fn entry_of(&self, request_id: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM privo_reconcile.entries WHERE request_id = $1";
        self.rows_of(sql, vec![text(request_id)])?.first().map(|line| cell(line, 0)).transpose()
    }

    fn rows(&self, entries: &[i64]) -> Result<Vec<Row>> {
        self.rows_of_entries(entries)
    }

    fn ids(&self, entries: &[i64]) -> Result<Vec<(i64, String, Cell)>> {
        self.ids_of(entries)
    }

    fn each_row(&self, each: &mut dyn FnMut(i64, Texts) -> Result<()>) -> Result<()> {
        self.every_row(each)
    }

    fn rewrite(&mut self, entry: i64, left: &Left) -> Result<()> {
        let sql = "UPDATE privo_reconcile.entries SET request_id = $2, operation_id = $3, direction = $4, method = $5, url = $6,
               body = NULL, sent_at = $7, ended_at = $8, failure = $9, http_status = $10, error = NULL
             WHERE id = $1";
        self.erasing(sql, columns::left(entry, left))
    }

    fn rename_operation(&mut self, old: &str, new: &str) -> Result<()> {
        let sql = "UPDATE privo_reconcile.entries SET operation_id = $2 WHERE operation_id = $1";
        self.erasing(sql, vec![text(old), text(new)])
    }

    fn unread(&self, from: i64, rows: usize, bytes: usize) -> Result<Vec<Unread>> {
        let sql = format!(
            "WITH page AS (
               SELECT s.entry_id AS id, {} AS size FROM privo_reconcile.state AS s
               LEFT JOIN privo_reconcile.entries AS e ON e.id = s.entry_id
               WHERE s.unread AND s.entry_id >= $1 ORDER BY s.entry_id LIMIT $2),
             part AS (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM page)
             SELECT {STATE}, {} FROM part JOIN privo_reconcile.state AS s ON s.entry_id = part.id
             LEFT JOIN privo_reconcile.entries AS e ON e.id = s.entry_id
             WHERE before <= $3 ORDER BY s.entry_id",
            *SIZE, *ROW
        );
        let lines = self.found(sql, vec![number(from), most(rows), most(bytes)])?;
        lines.iter().map(|line| Ok(Unread { state: state_of(line)?, row: row_of(line, STATE_COLUMNS)? })).collect()
    }

    fn states(&self, entries: &[i64]) -> Result<Vec<State>> {
        self.states_by("WHERE entry_id = ANY ($1) ORDER BY entry_id", vec![of_numbers(entries.to_vec())])
    }

    fn members(&self, groups: &[i64]) -> Result<Vec<State>> {
        self.states_by(
            "WHERE entry_id = ANY ($1) AND group_id = entry_id OR group_id = ANY ($1) AND group_id <> entry_id ORDER BY entry_id",
            vec![of_numbers(groups.to_vec())],
        )
    }

    fn put_states(&mut self, states: &[State]) -> Result<Vec<i64>> {
        if states.is_empty() {
            return Ok(Vec::new());
        }
        let mut by_entry: BTreeMap<i64, &State> = states.iter().map(|state| (state.entry, state)).collect();
        let params = columns::of_states(&by_entry.values().copied().collect::<Vec<_>>());
        for line in self.within(|store| store.found(PUT.clone(), params))? {
            by_entry.remove(&cell(&line, 0)?);
        }
        Ok(by_entry.into_keys().collect())
    }

    fn drop_state(&mut self, entry: i64) -> Result<()> {
        self.send(
            "DELETE FROM privo_reconcile.state WHERE entry_id = $1
               AND NOT EXISTS (SELECT 1 FROM privo_reconcile.entries WHERE id = $1)",
            vec![number(entry)],
        )
    }

    fn due(&self, now: Moment, watched: bool, after: Option<Due>, limit: usize) -> Result<Vec<Due>> {
        let after = after.unwrap_or(Due { due: Moment(i64::MIN), entry: i64::MIN });
        let part = i64::from(watched);
        let lines = self.found(
            format!(
                "SELECT due_ms, entry_id FROM privo_reconcile.state
                 WHERE due_ms IS NOT NULL AND {PART} = {part} AND due_ms <= $1 AND (due_ms, entry_id) > ($2, $3)
                 ORDER BY {PART}, due_ms, entry_id LIMIT $4"
            ),
            vec![number(now.0), number(after.due.0), number(after.entry), most(limit)],
        )?;
        lines.iter().map(|line| Ok(Due { due: Moment(cell(line, 0)?), entry: cell(line, 1)? })).collect()
    }

    fn count_due(&self, now: Moment) -> Result<u64> {
        self.due_at(now)
    }

    fn next_due(&self) -> Result<Option<Moment>> {
        self.first_due()
    }

    fn each_state(&self, from: i64, each: &mut dyn FnMut(State) -> Result<bool>) -> Result<()> {
        self.pages(from, |store, from| {
            let rest = "WHERE entry_id >= $1 ORDER BY entry_id LIMIT $2";
            let states = store.states_by(rest, vec![number(from), number(PAGE)])?;
            let last = states.last().map(|state| state.entry);
            for state in states {
                if !each(state)? {
                    return Ok(None);
                }
            }
            Ok(last)
        })
    }

    fn each_removal(&self, each: &mut dyn FnMut(State) -> Result<()>) -> Result<()> {
        self.pages(i64::MIN, |store, from| {
            let rest = "WHERE removes AND entry_id >= $1 ORDER BY entry_id LIMIT $2";
            let states = store.states_by(rest, vec![number(from), number(PAGE)])?;
            let last = states.last().map(|state| state.entry);
            states.into_iter().try_for_each(&mut *each)?;
            Ok(last)
        })
    }

    fn counts(&self) -> Result<Vec<(Status, Option<Reason>, u64)>> {
        self.by_status()
    }

    fn stats(&self) -> Result<Stats> {
        self.sums()
    }

    fn groups(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let lines = self.rows_of(
            "SELECT k.key, coalesce(m.into_id, k.group_id) FROM privo_reconcile.keys AS k
             LEFT JOIN privo_reconcile.merges AS m ON m.group_id = k.group_id WHERE k.key = ANY ($1)",
            vec![of_numbers(keys.to_vec())],
        )?;
        let led = lines.iter().map(|line| Ok((cell(line, 0)?, cell(line, 1)?)));
        let led = led.collect::<Result<HashMap<Key, i64>>>()?;
        Ok(keys.iter().map(|key| led.get(key).copied()).collect())
    }

    fn each_key(&self, each: &mut dyn FnMut(Key, i64) -> Result<()>) -> Result<()> {
        self.pages(i64::MIN, |store, from| {
            let lines = store.rows_of(
                "SELECT k.key, coalesce(m.into_id, k.group_id) FROM privo_reconcile.keys AS k
                 LEFT JOIN privo_reconcile.merges AS m ON m.group_id = k.group_id WHERE k.key >= $1 ORDER BY k.key LIMIT $2",
                vec![number(from), number(PAGE)],
            )?;
            for line in &lines {
                each(cell(line, 0)?, cell(line, 1)?)?;
            }
            lines.last().map(|line| cell(line, 0)).transpose()
        })
    }

    fn put_keys(&mut self, keys: &[(Key, i64)]) -> Result<()> {
        // In their order, for they go to places all over a large tree; the last group of a key that is said twice.
        let keys: BTreeMap<Key, i64> = keys.iter().copied().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let groups: BTreeSet<i64> = keys.values().copied().collect();
        self.within(|store| {
            store.put("SELECT privo_reconcile.begin_anew($1)", vec![of_numbers(groups.into_iter().collect())]);
            store.put(
                "INSERT INTO privo_reconcile.keys (key, group_id) SELECT * FROM unnest($1, $2)
                 ON CONFLICT (key) DO UPDATE SET group_id = EXCLUDED.group_id WHERE keys.group_id <> EXCLUDED.group_id",
                vec![of_numbers(keys.keys().copied().collect()), of_numbers(keys.values().copied().collect())],
            );
            Ok(())
        })
    }

    fn drop_keys(&mut self, keys: &[Key]) -> Result<()> {
        self.send("DELETE FROM privo_reconcile.keys WHERE key = ANY ($1)", vec![of_numbers(keys.to_vec())])
    }

    fn merge(&mut self, from: i64, into: i64) -> Result<()> {
        if from == into {
            return Ok(());
        }
        self.send("SELECT privo_reconcile.merge_group($1, $2)", vec![number(from), number(into)])
    }

    fn append(&mut self, evidence: &NewEvidence) -> Result<i64> {
        self.within(|store| store.append_evidence(evidence))
    }

    fn evidence(&self, ids: &[i64]) -> Result<Vec<Evidence>> {
        let lines = self.rows_of(
            "SELECT id, run_id, at_ms, rules, after_ids, doc, names FROM privo_reconcile.evidence WHERE id = ANY ($1) ORDER BY id",
            vec![of_numbers(ids.to_vec())],
        )?;
        lines.iter().map(evidence_of).collect()
    }

    fn last_evidence(&self) -> Result<i64> {
        cell(&self.row_of("SELECT coalesce(max(id), 0) FROM privo_reconcile.evidence", vec![])?, 0)
    }

    fn each_evidence(&self, each: &mut dyn FnMut(Evidence) -> Result<()>) -> Result<()> {
        self.pages(i64::MIN, |store, from| {
            let lines = store.rows_of(
                "WITH page AS (
                   SELECT id, octet_length(doc) + octet_length(names) AS size FROM privo_reconcile.evidence
                   WHERE id >= $1 ORDER BY id LIMIT $2),
                 part AS (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM page)
                 SELECT e.id, run_id, at_ms, rules, after_ids, doc, names
                 FROM part JOIN privo_reconcile.evidence AS e USING (id) WHERE before <= $3 ORDER BY e.id",
                vec![number(from), number(PAGE), number(PAGE_BYTES)],
            )?;
            for line in &lines {
                each(evidence_of(line)?)?;
            }
            lines.last().map(|line| cell(line, 0)).transpose()
        })
    }

    fn rename(&mut self, evidence: i64, names: &str) -> Result<()> {
        let sql = "UPDATE privo_reconcile.evidence SET names = $2 WHERE id = $1";
        self.erasing(sql, vec![number(evidence), text(names)])
    }

    fn share(&mut self, shared: &str) -> Result<i64> {
        self.id_of(
            "WITH there AS (
               SELECT id FROM privo_reconcile.texts WHERE hashtextextended(text, 0) = hashtextextended($1, 0) AND text = $1),
             new AS (INSERT INTO privo_reconcile.texts (text) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM there) RETURNING id)
             SELECT id FROM there UNION ALL SELECT id FROM new LIMIT 1",
            vec![text(shared)],
        )
    }

    fn shared(&self, ids: &[i64]) -> Result<Vec<(i64, String)>> {
        let sql = "SELECT id, text FROM privo_reconcile.texts WHERE id = ANY ($1) ORDER BY id";
        let lines = self.rows_of(sql, vec![of_numbers(ids.to_vec())])?;
        lines.iter().map(|line| Ok((cell(line, 0)?, cell(line, 1)?))).collect()
    }

    fn each_shared(&self, each: &mut dyn FnMut(i64, &str) -> Result<()>) -> Result<()> {
        self.pages(i64::MIN, |store, from| {
            let sql = "SELECT id, text FROM privo_reconcile.texts WHERE id >= $1 ORDER BY id LIMIT $2";
            let lines = store.rows_of(sql, vec![number(from), number(PAGE)])?;
            for line in &lines {
                each(cell(line, 0)?, cell(line, 1)?)?;
            }
            lines.last().map(|line| cell(line, 0)).transpose()
        })
    }

    fn begin_run(&mut self, run: &RunStart) -> Result<RunId> {
        let params = vec![
            text(run.command),
            number(run.started.0),
            text(env!("CARGO_PKG_VERSION")),
            text(run.plan),
            text(run.plan_digest),
            text(run.server),
            text(&serde_json::to_string(run.windows)?),
        ];
        let sql = "INSERT INTO privo_reconcile.runs (command, started_ms, version, plan, plan_digest, server, windows)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
        self.id_of(sql, params).map(RunId)
    }

    fn end_run(&mut self, run: RunId, ended: Moment, end: &RunEnd) -> Result<()> {
        self.send(
            "UPDATE privo_reconcile.runs SET ended_ms = $2, examined = $3, requests = $4, settled = $5, deferred = $6, controls = $7,
               trouble = $8 WHERE id = $1",
            vec![
                number(run.0),
                number(ended.0),
                count(end.examined),
                count(end.requests),
                count(end.settled),
                count(end.deferred),
                text(&end.controls),
                some_text(end.trouble.as_deref()),
            ],
        )
    }

    fn note_exit(&mut self, run: RunId, exit: u8) -> Result<()> {
        let sql = "UPDATE privo_reconcile.runs SET exit = $2 WHERE id = $1";
        self.send(sql, vec![number(run.0), number(i64::from(exit))])
    }

    fn each_run(&self, each: &mut dyn FnMut(StoredRun) -> Result<bool>) -> Result<()> {
        let _moment = self.snapshot()?;
        let mut before = i64::MAX;
        loop {
            let sql = format!("SELECT {RUN} FROM privo_reconcile.runs WHERE id < $1 ORDER BY id DESC LIMIT 100");
            let lines = self.found(sql, vec![number(before)])?;
            if lines.is_empty() {
                return Ok(());
            }
            for line in &lines {
                let run = run_of(line)?;
                before = run.id;
                if !each(run)? {
                    return Ok(());
                }
            }
        }
    }

    fn run(&self, run: i64) -> Result<Option<StoredRun>> {
        let lines = self.found(format!("SELECT {RUN} FROM privo_reconcile.runs WHERE id = $1"), vec![number(run)])?;
        lines.first().map(run_of).transpose()
    }

    fn note(&mut self, kind: NoteKind, at: Moment, doc: &str) -> Result<i64> {
        let sql = "INSERT INTO privo_reconcile.notes (kind, at_ms, doc) VALUES ($1, $2, $3) RETURNING id";
        self.id_of(sql, vec![text(kind.text()), number(at.0), text(doc)])
    }

    fn rewrite_note(&mut self, id: i64, doc: &str) -> Result<()> {
        let sql = "UPDATE privo_reconcile.notes SET doc = $2 WHERE id = $1";
        self.erasing(sql, vec![number(id), text(doc)])
    }

    fn notes(&self, kind: NoteKind, since: Moment) -> Result<Vec<Note>> {
        let sql = "SELECT id, at_ms, doc FROM privo_reconcile.notes WHERE kind = $1 AND at_ms >= $2 ORDER BY id";
        let lines = self.rows_of(sql, vec![text(kind.text()), number(since.0)])?;
        lines
            .iter()
            .map(|line| Ok(Note { id: cell(line, 0)?, at: Moment(cell(line, 1)?), doc: cell(line, 2)? }))
            .collect()
    }

    fn imports(&self, mapping: &[u8; 16]) -> Result<Vec<Import>> {
        self.imports_of(mapping)
    }

    fn put_import(&mut self, import: &Import, was: Mark, at: Moment) -> Result<Option<i64>> {
        self.put_one_import(import, was, at)
    }

    fn rename_files(&mut self, new: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        self.rename_imports(new)
    }

    fn drop_import(&mut self, import: i64) -> Result<()> {
        self.drop_one_import(import)
    }

    fn seen_in_import(&self, import: i64, record: &[u8; 16]) -> Result<i64> {
        self.seen_of_import(import, record)
    }

    fn set_seen_in_import(&mut self, import: i64, record: &[u8; 16], seen: i64) -> Result<()> {
        self.set_seen_of_import(import, record, seen)
    }

    fn heal(&mut self) -> Result<()> {
        // What is amiss here only the schema's owner can put back: `check` says it.
        Ok(())
    }

    fn findings(&self) -> Result<Vec<Finding>> {
        self.check()
    }

    fn hold_on(&mut self) -> Result<()> {
        if self.is_held_long_enough() { Ok(()) } else { self.extend() }
    }

    fn faults(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn second_keys(&self) -> Result<Vec<String>> {
        // A repeated row is gone before any index sees it.
        Ok(Vec::new())
    }

    fn check_whole(&self) -> Result<()> {
        // That what is read was what was written is for PostgreSQL to see to, and fails as any reading does.
        self.last_evidence().map(drop)
    }

    fn check_writable(&mut self) -> Result<()> {
        self.may_be_written()
    }

    fn size(&self) -> Result<i64> {
        Ok(0)
    }

    fn clean(&mut self, _compact: bool) -> Result<Cleaned> {
        // Dead rows, the log and its archive are out of reach.
        Ok(Cleaned::OutOfReach)
    }

    fn back_up(&self, to: &Path) -> Result<()> {
        self.not_backed_up(to)
    }

    fn last_turn(&self) -> (Duration, Duration) {
        (self.lasted, LONGEST_TRANSACTION)
    }
}

/// A limit.
fn most(limit: usize) -> super::Param {
    number(i64::try_from(limit).unwrap_or(i64::MAX))
}
