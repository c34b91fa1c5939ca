//! The tables of a store in memory, and the indexes of those that are searched.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Cell, NoText, Row};
use crate::store::{Due, Key, LONGEST_CELL, State, WrittenRow};

/// What is kept by key. Whatever was there before is given back, so that it can be put there again.
pub(super) trait Table {
    type Key: Clone + Send + 'static;
    type Value: Send + 'static;

    /// Puts a value there, or takes it away.
    fn put(&mut self, key: Self::Key, value: Option<Self::Value>) -> Option<Self::Value>;
}

impl<K: Ord + Clone + Send + 'static, V: Send + 'static> Table for BTreeMap<K, V> {
    type Key = K;
    type Value = V;

    fn put(&mut self, key: K, value: Option<V>) -> Option<V> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        }
    }
}

/// The id that comes next.
pub(super) fn next<V>(table: &BTreeMap<i64, V>) -> i64 {
    table.last_key_value().map_or(1, |(last, _)| last + 1)
}

/// A writer's row.
pub(super) struct Kept {
    pub text: WrittenRow,
    /// As it was read of another store, when a cell of it is no text.
    pub odd: Option<Box<Row>>,
}

impl Kept {
    pub fn is_intent(&self) -> bool {
        self.text.failure.as_deref() == Some("intent")
    }

    pub fn is_answered(&self) -> bool {
        self.text.failure.as_deref() == Some("answered")
    }

    /// As the job reads it.
    pub fn row(&self, state: &State) -> Row {
        let row = match &self.odd {
            Some(row) => Row::clone(row),
            None => read(state.entry, &self.text),
        };
        Row { revision: state.revision, arrived: state.arrived, clock_error: state.clock_error, ..row }
    }

    /// How many bytes its cells have.
    pub fn bytes(&self) -> usize {
        let WrittenRow { request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, .. } =
            &self.text;
        let optional = [operation_id, direction, body, ended_at, failure];
        [request_id, method, url, sent_at].into_iter().chain(optional.into_iter().flatten()).map(String::len).sum()
    }
}

/// A row as the job reads it, without what its state says.
pub(super) fn read(entry: i64, text: &WrittenRow) -> Row {
    let cell = |text: &str| if text.len() <= LONGEST_CELL { Ok(Some(text.to_owned())) } else { Err(NoText) };
    let optional = |text: &Option<String>| text.as_deref().map_or(Ok(None), cell);
    Row {
        operation_id: optional(&text.operation_id),
        direction: optional(&text.direction),
        method: cell(&text.method),
        url: cell(&text.url),
        body: optional(&text.body),
        sent_at: cell(&text.sent_at),
        ended_at: optional(&text.ended_at),
        failure: optional(&text.failure),
        http_status: Ok(text.http_status.map(|status| status.to_string())),
        ..Row::blank(entry, &text.request_id)
    }
}

/// The cells of a row.
pub(super) fn cells(row: &Row) -> [&Cell; 9] {
    let Row { operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, .. } = row;
    [operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status]
}

/// The writers' rows.
#[derive(Default)]
pub(super) struct Rows {
    pub all: BTreeMap<i64, Kept>,
    by_request: BTreeMap<String, i64>,
    /// Those that name an operation.
    by_operation: BTreeMap<String, Vec<i64>>,
}

impl Rows {
    /// The entry of a request.
    pub fn of_request(&self, request_id: &str) -> Option<i64> {
        self.by_request.get(request_id).copied()
    }

    /// The entries of rows that name this operation.
    pub fn of_operation(&self, operation: &str) -> &[i64] {
        self.by_operation.get(operation).map_or(&[], Vec::as_slice)
    }

    /// Whether another row has its operation.
    pub fn is_alone(&self, entry: i64, row: &WrittenRow) -> bool {
        let operation = row.operation_id.as_deref().unwrap_or(&row.request_id);
        let other = |of: &i64| *of != entry;
        let first = self.of_request(operation).filter(other).and_then(|first| self.all.get(&first));
        !self.of_operation(operation).iter().any(other) && first.is_none_or(|row| row.text.operation_id.is_some())
    }
}

impl Table for Rows {
    type Key = i64;
    type Value = Kept;

    fn put(&mut self, entry: i64, row: Option<Kept>) -> Option<Kept> {
        if let Some(was) = self.all.get(&entry) {
            self.by_request.remove(&was.text.request_id);
            if let Some(operation) = &was.text.operation_id
                && let Some(entries) = self.by_operation.get_mut(operation)
            {
                entries.retain(|of| *of != entry);
                if entries.is_empty() {
                    self.by_operation.remove(operation);
                }
            }
        }
        if let Some(Kept { text, .. }) = &row {
            self.by_request.insert(text.request_id.clone(), entry);
            if let Some(operation) = &text.operation_id {
                self.by_operation.entry(operation.clone()).or_default().push(entry);
            }
        }
        self.all.put(entry, row)
    }
}

/// The states.
#[derive(Default)]
pub(super) struct States {
    pub all: BTreeMap<i64, State>,
    pub unread: BTreeSet<i64>,
    pub due: BTreeSet<Due>,
    /// Each group with its members.
    members: BTreeSet<(i64, i64)>,
}

impl States {
    /// The members of a group, in their order.
    pub fn members(&self, group: i64) -> impl Iterator<Item = i64> {
        self.members.range((group, i64::MIN)..=(group, i64::MAX)).map(|(_, entry)| *entry)
    }
}

impl Table for States {
    type Key = i64;
    type Value = State;

    fn put(&mut self, entry: i64, state: Option<State>) -> Option<State> {
        let searched = |state: &State| (state.unread, state.due, state.group);
        let now = state.as_ref().map(searched);
        let before = self.all.put(entry, state);
        let was = before.as_ref().map(searched);
        if was == now {
            return before;
        }
        if let Some((unread, due, group)) = was {
            if unread {
                self.unread.remove(&entry);
            }
            due.map(|due| self.due.remove(&Due { due, entry }));
            group.map(|group| self.members.remove(&(group, entry)));
        }
        if let Some((unread, due, group)) = now {
            if unread {
                self.unread.insert(entry);
            }
            due.map(|due| self.due.insert(Due { due, entry }));
            group.map(|group| self.members.insert((group, entry)));
        }
        before
    }
}

/// The keys, and those of each group.
#[derive(Default)]
pub(super) struct Keys {
    pub all: BTreeMap<Key, i64>,
    of_groups: BTreeSet<(i64, Key)>,
}

impl Keys {
    /// The keys that lead to a group.
    pub fn of(&self, group: i64) -> Vec<Key> {
        self.of_groups.range((group, Key::MIN)..=(group, Key::MAX)).map(|(_, key)| *key).collect()
    }
}

impl Table for Keys {
    type Key = Key;
    type Value = i64;

    fn put(&mut self, key: Key, group: Option<i64>) -> Option<i64> {
        let before = self.all.put(key, group);
        before.map(|before| self.of_groups.remove(&(before, key)));
        group.map(|group| self.of_groups.insert((group, key)));
        before
    }
}

/// Shared texts.
#[derive(Default)]
pub(super) struct Texts {
    pub all: BTreeMap<i64, String>,
    ids: BTreeMap<String, i64>,
}

impl Texts {
    pub fn id(&self, text: &str) -> Option<i64> {
        self.ids.get(text).copied()
    }
}

impl Table for Texts {
    type Key = i64;
    type Value = String;

    fn put(&mut self, id: i64, text: Option<String>) -> Option<String> {
        if let Some(text) = &text {
            self.ids.insert(text.clone(), id);
        }
        let before = self.all.put(id, text);
        if let Some(before) = &before {
            self.ids.remove(before);
        }
        before
    }
}
