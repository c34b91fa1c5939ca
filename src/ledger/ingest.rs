//! Ingesting: rows that came, were changed, or are to be read under another plan. Each gets the group that it belongs to, and
//! what was said of others is taken back where a row that came may change it.
//!
//! Rows are read while the store is free, for that is most of the work, and what was read is written in turns. A row that its
//! writer changed in between is left, and read again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::anew::{Earlier, Opened, open, opened_anew};
use super::history::History;
use super::{Ledger, key_of};
use crate::clock::{Moment, Span};
use crate::decide::may_apply;
use crate::evidence::{Class, Facts, Kind, Windows};
use crate::mask;
use crate::plan::{Operation, Reader, Row};
use crate::store::{Key, State, Store, Unread, Word};
use crate::words::{Action, Failure, Reason, Status};

/// Read before it is written, at the most: rows, and bytes of their cells.
pub(super) const AT_ONCE: (usize, usize) = (4_000, 16 * 1024 * 1024);

/// Read within a turn that writes something else, at the most.
const FEW: (usize, usize) = (500, 1024 * 1024);

/// Rows that are written before it is asked whether the turn is over.
const STEP: usize = 200;

/// So far a writer's clock may be from the job's, when a row is taken for one of before an erasure.
const CLOCKS_APART: Span = Span::seconds(2 * 3600);

/// Why an entry waits that was settled, and means something else under the plan of now.
const READ_OTHERWISE: &str = "it is read otherwise than when it was decided, for the plan was changed: nothing of it is sent again before it is decided anew";

/// Why a report does not advise what a run has not read under this plan, or since the table was rebuilt.
const TO_BE_READ: &str = "it is to be read anew, for the plan, the row or its table was changed: nothing of it is sent again before the next run";

/// What came into groups while they were looked at.
#[derive(Debug, Default)]
pub struct News(BTreeMap<i64, BTreeSet<i64>>);

impl News {
    /// Whether an entry came into this group that is not among these.
    pub fn came(&self, group: i64, among: impl Fn(i64) -> bool) -> bool {
        self.0.get(&group).is_some_and(|entries| entries.iter().any(|entry| !among(*entry)))
    }

    /// Adds what came since.
    pub fn add(&mut self, news: News) {
        for (group, entries) in news.0 {
            self.0.entry(group).or_default().extend(entries);
        }
    }
}

/// A row as it was read, and what becomes of it.
struct Ingested {
    state: State,
    keys: Vec<Key>,
    /// The key that leads to its operation.
    operation: Key,
    answered: bool,
    /// It says something to others: it is new, or its writer changed it.
    news: bool,
    /// Of a delete by a key that nothing is made with that may have been applied: when it was sent.
    removal: Option<(Moment, Moment)>,
}

impl Ledger {
    /// Reads a part of the rows that are to be read, or the whole ledger anew under another plan or server, if anything is to
    /// be decided. Says whether there is more; what writers add meanwhile may be left.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn ingest(&mut self, reader: &Reader, now: Moment) -> Result<bool> {
        self.store.heal()?;
        let fingerprint = reader.fingerprint();
        let all = std::mem::take(&mut self.reads_all);
        if all || self.store.word(Word::Fingerprint)?.as_ref() != Some(&fingerprint) {
            if !self.rechecks && !self.anything_open()? {
                return Ok(false);
            }
            self.read_all_anew()?;
            self.written(|store| store.set_word(Word::Fingerprint, &fingerprint))?;
        }
        let (_, more) = self.ingest_part(reader, now, AT_ONCE)?;
        Ok(more)
    }

    /// Whether anything is to be read, decided or watched, or is a person's to find out: all else stands under whichever plan.
    fn anything_open(&self) -> Result<bool> {
        Ok(!self.store.unread(i64::MIN, 1, 1)?.is_empty()
            || self.store.count_due(Moment(i64::MAX))? > 0
            || self.store.stats()?.duplicate_risk)
    }

    /// Everything is to be read anew, but for what has lost its personal fields. Nothing is read before all is open, so that
    /// all that is read was read under one plan and server, whenever this is broken off. Groups stay.
    fn read_all_anew(&mut self) -> Result<()> {
        self.each_state_in_turns(|state| {
            if state.erased.is_some() || state.unread {
                return false;
            }
            state.unread = true;
            if state.status == Some(Status::Pending) {
                state.due = Some(Moment(0));
            }
            true
        })
    }

    /// Changes states in turns, from the first to the last that there is at the beginning; `change` says whether it did.
    pub(super) fn each_state_in_turns(&mut self, mut change: impl FnMut(&mut State) -> bool) -> Result<()> {
        let mut from = Some(i64::MIN);
        while let Some(start) = from {
            let mut page = Vec::new();
            self.store.each_state(start, &mut |state| {
                page.push(state);
                Ok(page.len() < STEP * 10)
            })?;
            from = page.last().filter(|_| page.len() == STEP * 10).and_then(|last| last.entry.checked_add(1));
            page.retain_mut(|state| change(state));
            let mut rest = page.as_slice();
            while !rest.is_empty() {
                rest = self.in_turn(|store| {
                    let mut rest = rest;
                    while let Some(part) = rest.get(..STEP.min(rest.len())).filter(|part| !part.is_empty()) {
                        store.put_states(part)?;
                        rest = &rest[part.len()..];
                        if store.is_over() {
                            break;
                        }
                    }
                    Ok(rest)
                })?;
            }
        }
        Ok(())
    }

    /// Reads a part of what is to be read; gives what came into which group, and whether there is more.
    pub(super) fn ingest_part(
        &mut self,
        reader: &Reader,
        now: Moment,
        (rows, bytes): (usize, usize),
    ) -> Result<(News, bool)> {
        let unread = self.store.unread(i64::MIN, rows, bytes)?;
        let after = unread.last().and_then(|last| last.state.entry.checked_add(1));
        let more = after.is_some_and(|after| self.store.unread(after, 1, 1).is_ok_and(|more| !more.is_empty()));
        let mut news = News::default();
        let ingested = self.read_rows(unread, reader, now)?;
        self.reopen_removed(
            &ingested.iter().filter_map(|one| Some((one.state.entry, one.removal?))).collect::<Vec<_>>(),
        )?;
        let mut rest = ingested.as_slice();
        while !rest.is_empty() {
            self.store.begin()?;
            let written = self.write_some(&mut rest, &mut news);
            self.ended(written)?;
        }
        Ok((news, more))
    }

    /// Reads what is new within the caller's transaction, and gives what came. `None`: it is too much for that, and is to be
    /// ingested first.
    pub(super) fn ingest_few(&mut self, reader: &Reader, now: Moment) -> Result<Option<News>> {
        let unread = self.store.unread(i64::MIN, FEW.0, FEW.1)?;
        if unread.len() >= FEW.0 {
            return Ok(None);
        }
        let ingested = self.read_rows(unread, reader, now)?;
        if ingested.iter().any(|one| one.removal.is_some()) {
            return Ok(None);
        }
        let mut news = News::default();
        for part in ingested.chunks(STEP) {
            self.write_rows(part, &mut news)?;
        }
        Ok(Some(news))
    }

    fn write_some(&mut self, rest: &mut &[Ingested], news: &mut News) -> Result<()> {
        while !rest.is_empty() {
            let (part, others) = rest.split_at(STEP.min(rest.len()));
            self.write_rows(part, news)?;
            *rest = others;
            if self.store.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Reads rows.
    fn read_rows(&mut self, unread: Vec<Unread>, reader: &Reader, now: Moment) -> Result<Vec<Ingested>> {
        let sealed = self.sealed_until()?;
        let mut ingested = Vec::with_capacity(unread.len());
        for Unread { state, row } in unread {
            match row {
                Some(row) => ingested.push(self.read_row(state, &row, reader, now, sealed)?),
                // Replaced or taken away while nothing noted it.
                None => self.drop_gone(state.entry)?,
            }
        }
        Ok(ingested)
    }

    fn drop_gone(&mut self, entry: i64) -> Result<()> {
        self.store.drop_state(entry)
    }

    /// What was sent until then may be of a time of which keys are gone.
    pub(super) fn sealed_until(&self) -> Result<Option<Moment>> {
        let sealed = self.store.word(Word::Sealed)?.and_then(|ms| ms.parse().ok());
        Ok(sealed.map(|ms| Moment(ms) + CLOCKS_APART))
    }

    fn read_row(
        &self,
        mut state: State,
        row: &Row,
        reader: &Reader,
        now: Moment,
        sealed: Option<Moment>,
    ) -> Result<Ingested> {
        let mut facts = reader.read(row, now).facts;
        facts.overtaken = is_overtaken(&facts, sealed);
        let anew = state.group.is_some();
        let (mut earlier, mut altered) = (Earlier::default(), false);
        if let Some(head) = state.head {
            let histories = self.histories([head])?;
            if let Some(history) = histories.of(state.entry) {
                let fingerprint = reader.fingerprint();
                earlier = Earlier::heed(history, &fingerprint, &mut facts, row);
                if earlier.same.is_none() || earlier.same != history.current {
                    state.read = None;
                }
                // Changed while no trigger noted it.
                let of_this = history.reading().filter(|reading| reading.fingerprint == fingerprint);
                altered = earlier.same.is_none() && of_this.is_some() && state.holds;
            }
        }
        let answered = facts.failure == Some(Failure::Answered);
        altered |= answered != state.status.is_none();
        let new = earlier.same.is_none();
        let mut opened = None;
        if altered {
            state.changed(answered, false, now);
            state.revision -= 1;
            state.joined = Some(state.entry);
        } else if anew {
            opened = opened_anew(&state, &facts, new, (earlier.otherwise, self.rechecks));
            open(&mut state, opened);
        }
        // Read anew and to the same end, or by the plan of before, it is no news; read otherwise, or changed by its writer,
        // it is.
        let news = !anew || altered || (row.revision > 0 && new) || opened == Some(Opened::Reopened);
        let removes = removes_unknown(&facts, reader);
        let concerns = news && matches!(facts.class, Class::Planned | Class::BadRow { .. });
        // How far a writer's clock may be off, only a run knows.
        let removal = if concerns && removes { may_apply(&facts, &Windows::default()) } else { None };
        (state.unread, state.sent, state.removes) = (false, facts.sent, removes);
        if state.status == Some(Status::Pending) && (state.due.is_none() || (anew && new)) {
            state.due = Some(Moment(0));
        }
        Ok(Ingested {
            state,
            keys: facts.group_keys().iter().map(key_of).collect(),
            operation: key_of(&facts.identity),
            answered,
            news: concerns,
            removal,
        })
    }

    /// Gives rows their groups, and opens again what they join.
    fn write_rows(&mut self, part: &[Ingested], news: &mut News) -> Result<()> {
        let groups = Groups::of(&*self.store, part)?;
        for (from, into) in &groups.merges {
            self.store.merge(*from, *into)?;
        }
        self.store.put_keys(&groups.new_keys(part))?;
        let states: Vec<State> =
            part.iter().map(|one| State { group: Some(groups.root_of(one)), ..one.state.clone() }).collect();
        let refused: BTreeSet<i64> = self.store.put_states(&states)?.into_iter().collect();
        let came: Vec<&Ingested> = part.iter().filter(|one| !refused.contains(&one.state.entry)).collect();
        for one in &came {
            news.0.entry(groups.root_of(one)).or_default().insert(one.state.entry);
        }
        self.reopen_joined(&came, &groups)
    }

    /// Opens again what rows that came may change: settled entries of their groups, and what waits for an answer.
    fn reopen_joined(&mut self, came: &[&Ingested], groups: &Groups) -> Result<()> {
        let mut by_group: BTreeMap<i64, Vec<&Ingested>> = BTreeMap::new();
        for one in came.iter().filter(|one| groups.may_have_others(one)) {
            by_group.entry(groups.root_of(one)).or_default().push(one);
        }
        let roots: Vec<i64> = by_group.keys().copied().collect();
        let mut changed = Vec::new();
        for state in self.store.members(&roots)? {
            let Some(joined) = state.group.and_then(|group| by_group.get(&group)) else { continue };
            let mut after = state.clone();
            if joined.iter().any(|one| one.answered) && after.status == Some(Status::Pending) && !after.unread {
                after.due = Some(Moment(0));
            }
            let newcomer = joined.iter().find(|one| one.news && one.state.entry != state.entry);
            if let Some(newcomer) = newcomer.filter(|_| after.joined != Some(state.entry)) {
                let newcomer = match state.erased {
                    // One without its fields cannot be looked at again; it goes with its operation, and with nobody else.
                    Some(_) => self.of_its_operation(&state, joined)?,
                    None => Some(newcomer.state.entry),
                };
                if let Some(newcomer) = newcomer {
                    join(&mut after, newcomer);
                }
            }
            if after != state {
                changed.push(after);
            }
        }
        self.store.put_states(&changed)?;
        Ok(())
    }

    /// Finds out for reports which entries must wait, for rows that no run has read yet joined their groups. The store stays
    /// as it is.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn heed_unread(&self, reader: &Reader, now: Moment) -> Result<()> {
        let mut waits = BTreeMap::new();
        let mut from = Some(i64::MIN);
        while let Some(start) = from {
            let unread = self.store.unread(start, FEW.0, FEW.1)?;
            from = unread.last().and_then(|last| last.state.entry.checked_add(1));
            let sealed = self.sealed_until()?;
            let mut came = Vec::new();
            for Unread { state, row } in unread {
                // What is to be read anew itself, under another plan or after its table was rebuilt, may come to another end.
                if is_advised(&state) {
                    waits.insert(state.entry, TO_BE_READ.to_owned());
                }
                came.extend(row.map(|row| self.read_row(state, &row, reader, now, sealed)).transpose()?);
            }
            self.wait_for(&came, &mut waits)?;
        }
        *self.waits.borrow_mut() = waits;
        Ok(())
    }

    /// Adds what must wait for rows that came.
    fn wait_for(&self, came: &[Ingested], waits: &mut BTreeMap<i64, String>) -> Result<()> {
        let groups = Groups::of(&*self.store, came)?;
        let mut of_group: BTreeMap<i64, i64> = BTreeMap::new();
        for one in came.iter().filter(|one| one.news) {
            for group in groups.known_of(one) {
                of_group.entry(group).or_insert(one.state.entry);
            }
        }
        let known: Vec<i64> = of_group.keys().copied().collect();
        let mut joined: Vec<(State, i64)> = Vec::new();
        for state in self.store.members(&known)? {
            if let Some(newcomer) = state.group.and_then(|group| of_group.get(&group)) {
                joined.push((state, *newcomer));
            }
        }
        for (removal, span) in came.iter().filter_map(|one| Some((one.state.entry, one.removal?))) {
            self.store.each_state(i64::MIN, &mut |state| {
                if may_be_removed(&state, span) {
                    joined.push((state, removal));
                }
                Ok(true)
            })?;
        }
        for (state, newcomer) in joined {
            if is_advised(&state) && state.entry != newcomer && !waits.contains_key(&state.entry) {
                waits.insert(state.entry, self.why_it_waits(state.entry, newcomer)?);
            }
        }
        Ok(())
    }

    /// Why an entry waits that was settled.
    pub(super) fn why_it_waits(&self, entry: i64, newcomer: i64) -> Result<String> {
        if entry == newcomer {
            return Ok(READ_OTHERWISE.to_owned());
        }
        let id = self.store.ids(&[newcomer])?.into_iter().next();
        let id = id.map_or_else(|| format!("of entry {newcomer}"), |(_, id, _)| mask::id(&id));
        Ok(format!(
            "request {id} came into its group after it was looked at: nothing of it is sent again before the group is decided anew"
        ))
    }

    /// Which of the rows that came is of the operation of an entry.
    fn of_its_operation(&self, state: &State, came: &[&Ingested]) -> Result<Option<i64>> {
        let Some(head) = state.head else { return Ok(None) };
        let histories = self.histories([head])?;
        let identity =
            histories.of(state.entry).and_then(History::reading).map(|reading| key_of(&reading.facts.identity));
        let same = came.iter().find(|one| one.news && Some(one.operation) == identity);
        Ok(same.map(|one| one.state.entry))
    }

    /// Opens again, in turns, what deletes that are about to be ingested may have removed: that may be much of the ledger.
    /// They are ingested after it, so that a kill in between leaves nothing out.
    fn reopen_removed(&mut self, removals: &[(i64, (Moment, Moment))]) -> Result<()> {
        if removals.is_empty() {
            return Ok(());
        }
        self.each_state_in_turns(|state| {
            let removal = removals.iter().find(|(_, span)| may_be_removed(state, *span));
            removal.is_some_and(|(removal, _)| join(state, *removal))
        })
    }

    /// Ends a transaction as what was done in it ended.
    pub(super) fn ended<T>(&mut self, done: Result<T>) -> Result<T> {
        match done {
            Ok(done) => {
                self.store.commit()?;
                Ok(done)
            }
            Err(error) => {
                self.store.rollback();
                self.forms.borrow_mut().forget();
                Err(error)
            }
        }
    }

    /// Does something in a transaction of its own.
    pub(super) fn in_turn<T>(&mut self, work: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        self.store.begin()?;
        let done = work(&mut *self.store);
        self.ended(done)
    }

    /// Writes one thing.
    pub(super) fn written<T>(&mut self, write: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        self.in_turn(write)
    }
}

/// Somebody may send it again upon what is said of it, and a row that came may change that.
fn is_advised(state: &State) -> bool {
    use Reason::{BadRow, Closed, NoEffect, NoPlan, OtherEnvironment};
    let stands = matches!(state.reason, Some(Closed | BadRow | NoPlan | NoEffect | OtherEnvironment));
    match state.action {
        Some(Action::Resend) => state.status == Some(Status::Resolved) && !stands,
        Some(Action::MayResend) => state.status == Some(Status::Pending),
        _ => false,
    }
}

/// It was sent before something that was sealed was settled, and is read afterwards. A row that cannot tell when it was sent may
/// be as old as any.
pub(super) fn is_overtaken(facts: &Facts, sealed: Option<Moment>) -> bool {
    sealed.is_some_and(|sealed| facts.sent.is_none_or(|sent| sent <= sealed))
}

/// Opens an entry again for a row that joined its group: it is decided anew, and what was to be sent again waits. False: it
/// can never change by what comes later, for it stands for itself, or a person has spoken.
pub(super) fn join(state: &mut State, newcomer: i64) -> bool {
    use Reason::{BadRow, Closed, NoEffect, NoPlan, OtherEnvironment};
    let settled = matches!(state.status, Some(Status::Resolved | Status::DuplicateRisk));
    if !settled || matches!(state.reason, Some(Closed | BadRow | NoPlan | NoEffect | OtherEnvironment)) {
        return false;
    }
    (state.joined, state.due) = (Some(newcomer), Some(Moment(0)));
    if state.action == Some(Action::Resend) && state.status == Some(Status::Resolved) {
        (state.status, state.reason, state.action) =
            (Some(Status::Pending), Some(Reason::Unsettled), Some(Action::Wait));
        (state.outcome, state.holds, state.correction, state.not_before) = (None, false, false, None);
        (state.said, state.decided) = (None, None);
    }
    true
}

/// What was found absent may have been removed by a delete of which nothing tells whose record it was. What is due for such a
/// one already is left out.
fn may_be_removed(state: &State, (from, until): (Moment, Moment)) -> bool {
    state.status == Some(Status::Resolved)
        && state.reason == Some(Reason::ConfirmedAbsent)
        && state.sent.is_none_or(|sent| sent <= until)
        && state.last_checked.is_none_or(|checked| checked >= from)
        && (state.joined.is_none() || state.due != Some(Moment(0)))
}

/// Whether an entry is a delete by a key that nothing is made with, as a server's own id is: whose record it removed, nothing
/// in the ledger tells.
pub(super) fn removes_unknown(facts: &Facts, reader: &Reader) -> bool {
    let by_id = |lookup: &String| !reader.plan.makes_by(lookup);
    let named = |operation: &&Operation| Some(operation.name.as_ref()) == facts.operation.as_ref();
    let operation = reader.plan.operations.iter().find(named);
    let only_known = operation.is_some_and(|operation| operation.effects.iter().any(|effect| effect.only_known));
    !only_known && facts.effects.iter().any(|e| e.kind == Kind::Delete && e.lookup.as_ref().is_some_and(by_id))
}

/// Which rows of a part are a group, with each other and with what is there.
struct Groups {
    /// What each key leads to, before merging.
    of_key: BTreeMap<Key, i64>,
    parent: BTreeMap<i64, i64>,
    /// Groups that were there before.
    known: BTreeSet<i64>,
    there: BTreeSet<Key>,
    merges: Vec<(i64, i64)>,
}

impl Groups {
    fn of(store: &dyn Store, part: &[Ingested]) -> Result<Groups> {
        let keys: BTreeSet<Key> = part.iter().flat_map(|one| one.keys.iter().copied()).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        let found = keys.iter().copied().zip(store.groups(&keys)?).filter_map(|(key, group)| Some((key, group?)));
        let of_key: BTreeMap<Key, i64> = found.collect();
        let known = of_key.values().copied().chain(part.iter().filter_map(|one| one.state.group)).collect();
        let there = of_key.keys().copied().collect();
        let mut groups = Groups { of_key, parent: BTreeMap::new(), known, there, merges: Vec::new() };
        for one in part {
            let own = one.state.group.unwrap_or(one.state.entry);
            for key in &one.keys {
                match groups.of_key.get(key).copied() {
                    Some(other) => groups.join(own, other),
                    None => _ = groups.of_key.insert(*key, own),
                }
            }
        }
        let known: Vec<i64> = groups.known.iter().copied().collect();
        let merges = known.into_iter().map(|group| (group, groups.root(group))).filter(|(from, into)| from != into);
        groups.merges = merges.collect();
        Ok(groups)
    }

    fn root(&self, mut group: i64) -> i64 {
        while let Some(above) = self.parent.get(&group) {
            group = *above;
        }
        group
    }

    /// The older one of two stays.
    fn join(&mut self, one: i64, other: i64) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.parent.insert(one.max(other), one.min(other));
        }
    }

    fn root_of(&self, one: &Ingested) -> i64 {
        self.root(one.state.group.unwrap_or(one.state.entry))
    }

    /// The groups that were there before and are a row's now.
    fn known_of(&self, one: &Ingested) -> Vec<i64> {
        let root = self.root_of(one);
        self.known.iter().copied().filter(|group| self.root(*group) == root).collect()
    }

    /// Whether others may be in the group of a row.
    fn may_have_others(&self, one: &Ingested) -> bool {
        let root = self.root_of(one);
        root != one.state.entry
            || one.state.group.is_some()
            || self.known.contains(&root)
            || !self.merges.is_empty()
            || self.parent.values().any(|into| *into == root)
    }

    fn new_keys(&self, part: &[Ingested]) -> Vec<(Key, i64)> {
        let mut new = BTreeMap::new();
        for one in part {
            new.extend(one.keys.iter().filter(|key| !self.there.contains(key)).map(|key| (*key, self.root_of(one))));
        }
        new.into_iter().collect()
    }
}
