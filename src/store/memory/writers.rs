//! What writers may do to rows in memory: what triggers hold in a database.

use anyhow::{Result, bail};

use super::MemoryStore;
use super::tables::Kept;
use crate::clock::{Moment, Span};
use crate::store::{End, Ended, Left, NewEntry, State, Texts as Columns, Written, WrittenRow};
use crate::words::Failure;

impl MemoryStore {
    /// A new row. False: its `request_id` is there already.
    pub(super) fn insert(&mut self, row: WrittenRow, clock_error: Option<Span>) -> bool {
        if self.rows.of_request(&row.request_id).is_some() {
            return false;
        }
        let entry = self.last_entry + 1;
        self.last_entry = entry;
        self.on_rollback(move |store| store.last_entry = entry - 1);
        let row = Kept { text: filled(row), odd: None };
        let state = State { clock_error, ..State::arrived(entry, row.is_answered(), (self.clock)()) };
        self.keep(|store| &mut store.rows, entry, Some(row));
        self.keep(|store| &mut store.states, entry, Some(state));
        true
    }

    pub(super) fn update(&mut self, row: &WrittenRow) -> Written {
        let Some((entry, was, state)) = self.find(&row.request_id) else { return Written::Unchanged };
        if state.erased.is_some() {
            return of_erased(was);
        }
        let row = filled(row.clone());
        let may = state.may_change() || was.is_intent() && is_news(&was.text, &row);
        if !may {
            return Written::Refused;
        }
        self.changed(entry, row);
        Written::Done
    }

    pub(super) fn delete(&mut self, request_id: &str) -> Written {
        let Some((entry, was, state)) = self.find(request_id) else { return Written::Unchanged };
        if state.erased.is_some() {
            return of_erased(was);
        }
        if !was.is_intent() || !self.may_go(entry, was, state) {
            return Written::Refused;
        }
        self.remove(entry);
        Written::Done
    }

    pub(super) fn end_intent(&mut self, request_id: &str, ended_at: Moment, end: &End) -> Ended {
        let intent = self.find(request_id).filter(|(_, was, state)| was.is_intent() && state.erased.is_none());
        let Some((entry, was, state)) = intent else { return Ended::NoIntent };
        let (failure, http_status, error) = match *end {
            End::Answered { keep: false, .. } if self.may_go(entry, was, state) => {
                self.remove(entry);
                return Ended::Forgotten;
            }
            End::Answered { status, .. } => (Failure::Answered, Some(status), None),
            End::Failed { failure, http_status, error } => (failure, http_status, error),
        };
        let row = WrittenRow {
            failure: Some(failure.text().to_owned()),
            http_status: http_status.map(i64::from),
            ended_at: Some(ended_at.to_string()),
            error: error.map(str::to_owned),
            ..was.text.clone()
        };
        self.changed(entry, row);
        Ended::Kept
    }

    pub(super) fn add_body(&mut self, request_id: &str, body: &str) -> bool {
        let Some((entry, was, state)) = self.find(request_id) else { return false };
        let has_body = was.odd.as_ref().map_or(was.text.body.is_some(), |row| row.body != Ok(None));
        if has_body || !state.may_change() || state.erased.is_some() {
            return false;
        }
        let row = WrittenRow { body: Some(body.to_owned()), ..was.text.clone() };
        self.changed(entry, row);
        true
    }

    /// What is left of a row takes its place.
    pub(super) fn erase(&mut self, entry: i64, left: &Left) -> Result<()> {
        if !self.rows.all.contains_key(&entry) {
            bail!("failed to erase the personal fields of entry {entry}: it is gone");
        }
        if self.rows.of_request(&left.request_id).is_some_and(|of| of != entry) {
            bail!("failed to erase the personal fields of entry {entry}: its id is another one's");
        }
        let Left { request_id, operation_id, direction, method, url, sent_at, ended_at, failure, http_status } =
            left.clone();
        let (body, error) = (None, None);
        let text = WrittenRow {
            request_id,
            operation_id,
            direction,
            method,
            url,
            body,
            sent_at,
            ended_at,
            failure,
            http_status,
            error,
        };
        self.keep(|store| &mut store.rows, entry, Some(Kept { text, odd: None }));
        Ok(())
    }

    pub(super) fn rename_rows(&mut self, old: &str, new: &str) {
        for entry in self.rows.of_operation(old).to_vec() {
            let Some(Kept { text, odd }) = self.rows.all.get(&entry) else { continue };
            let mut odd = odd.clone();
            if let Some(row) = &mut odd {
                row.operation_id = Ok(Some(new.to_owned()));
            }
            let text = WrittenRow { operation_id: Some(new.to_owned()), ..text.clone() };
            self.keep(|store| &mut store.rows, entry, Some(Kept { text, odd }));
        }
    }

    fn find(&self, request_id: &str) -> Option<(i64, &Kept, &State)> {
        let entry = self.rows.of_request(request_id)?;
        Some((entry, self.rows.all.get(&entry)?, self.states.all.get(&entry)?))
    }

    /// Nothing rests on an intent: it was never looked up, and no other row has its operation.
    fn may_go(&self, entry: i64, row: &Kept, state: &State) -> bool {
        state.looks == 0 && self.rows.is_alone(entry, &row.text)
    }

    /// A writer changed a row.
    fn changed(&mut self, entry: i64, text: WrittenRow) {
        let row = Kept { text, odd: None };
        let (Some(was), Some(state)) = (self.rows.all.get(&entry), self.states.all.get(&entry)) else { return };
        let mut state = state.clone();
        state.changed(row.is_answered(), was.is_intent(), (self.clock)());
        self.keep(|store| &mut store.rows, entry, Some(row));
        self.keep(|store| &mut store.states, entry, Some(state));
    }

    /// A writer withdrew a row.
    fn remove(&mut self, entry: i64) {
        self.keep(|store| &mut store.rows, entry, None);
        self.keep(|store| &mut store.states, entry, None);
    }

    /// Gives the text of every row that was not erased.
    pub(super) fn each_whole_row(&self, each: &mut dyn FnMut(i64, Columns) -> Result<()>) -> Result<()> {
        let is_erased = |entry| self.states.all.get(entry).is_some_and(|state| state.erased.is_some());
        for (entry, row) in self.rows.all.iter().filter(|(entry, _)| !is_erased(entry)) {
            let text = &row.text;
            let http_status = text.http_status.map(|status| status.to_string());
            let columns = [
                ("request_id", Some(&text.request_id)),
                ("operation_id", text.operation_id.as_ref()),
                ("direction", text.direction.as_ref()),
                ("method", Some(&text.method)),
                ("url", Some(&text.url)),
                ("body", text.body.as_ref()),
                ("sent_at", Some(&text.sent_at)),
                ("ended_at", text.ended_at.as_ref()),
                ("failure", text.failure.as_ref()),
                ("http_status", http_status.as_ref()),
                ("error", text.error.as_ref()),
            ];
            each(*entry, &columns.map(|(name, text)| (name, text.cloned().unwrap_or_default())))?;
        }
        Ok(())
    }
}

/// The row that records an attempt.
pub(super) fn row_of(entry: &NewEntry) -> WrittenRow {
    WrittenRow {
        request_id: entry.request_id.to_owned(),
        operation_id: entry.operation_id.map(str::to_owned),
        direction: Some(entry.direction.text().to_owned()),
        method: entry.method.to_owned(),
        url: entry.url.to_owned(),
        body: entry.body.map(str::to_owned),
        sent_at: entry.sent_at.to_string(),
        ended_at: entry.ended_at.map(|ended| ended.to_string()),
        failure: Some(entry.failure.text().to_owned()),
        http_status: entry.http_status.map(i64::from),
        error: entry.error.map(str::to_owned),
    }
}

/// A direction that was left out.
fn filled(row: WrittenRow) -> WrittenRow {
    WrittenRow { direction: row.direction.or_else(|| Some("outbound".to_owned())), ..row }
}

/// Whoever has news of an erased intent is not failed by that.
fn of_erased(row: &Kept) -> Written {
    if row.is_intent() { Written::Unchanged } else { Written::Refused }
}

/// Nothing of the request itself differs.
fn is_news(was: &WrittenRow, now: &WrittenRow) -> bool {
    was.operation_id == now.operation_id
        && was.direction == now.direction
        && was.method == now.method
        && was.url == now.url
        && was.body == now.body
        && was.sent_at == now.sent_at
}
