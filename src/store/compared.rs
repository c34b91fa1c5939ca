//! Random work on two stores side by side: what one says, the other says.

use anyhow::{Context, Result};
use proptest::prelude::*;

use super::exercise::{Asked, readable};
use super::{
    End, Import, Imported, Known, Left, Mark, NewEntry, NewEvidence, NoteKind, RunEnd, RunId, RunStart, State, Store,
    Word, WrittenRow,
};
use crate::clock::{Moment, Span};
use crate::evidence::Windows;
use crate::words::{Action, Direction, Failure, Outcome, Reason, Status};

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begin,
    Commit,
    Rollback,
    SetWord,
    Write,
    Record,
    Change,
    Withdraw,
    End,
    Complete,
    PutState,
    PutStale,
    PutKeys,
    DropKeys,
    Merge,
    Append,
    Rename,
    Share,
    BeginRun,
    EndRun,
    NoteExit,
    Note,
    RewriteNote,
    PutImport,
    MoveImport,
    DropImport,
    SetSeen,
    Erase,
    RenameOperation,
}

/// Work of one kind, and numbers that say on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    kind: Kind,
    numbers: [u8; 5],
}

/// What transactions are made of; and work, of which writers' rows and states are the larger part.
const TURNS: &[Kind] = &[Kind::Begin, Kind::Commit, Kind::Rollback];
const ROWS: &[Kind] = &[
    Kind::Write,
    Kind::Write,
    Kind::Record,
    Kind::Change,
    Kind::Withdraw,
    Kind::End,
    Kind::Complete,
    Kind::PutState,
    Kind::PutState,
    Kind::PutStale,
    Kind::PutKeys,
    Kind::Merge,
    Kind::Erase,
];
const OTHERS: &[Kind] = &[
    Kind::SetWord,
    Kind::DropKeys,
    Kind::Append,
    Kind::Rename,
    Kind::Share,
    Kind::BeginRun,
    Kind::EndRun,
    Kind::NoteExit,
    Kind::Note,
    Kind::RewriteNote,
    Kind::PutImport,
    Kind::MoveImport,
    Kind::DropImport,
    Kind::SetSeen,
    Kind::RenameOperation,
];

/// Work to play, at most so much.
pub(crate) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let select = prop::sample::select::<Kind>;
    let kind = prop_oneof![1 => select(TURNS), 5 => select(ROWS), 2 => select(OTHERS)];
    let op = (kind, any::<[u8; 5]>()).prop_map(|(kind, numbers)| Op { kind, numbers });
    prop::collection::vec(op, 1..most)
}

/// Plays the same work on both stores.
///
/// # Panics
/// When they differ in what they answer or in what can be read of them.
pub(crate) fn same_as(reference: &mut dyn Store, other: &mut dyn Store, ops: &[Op]) {
    let (mut one, mut two) = (Player::new(reference), Player::new(other));
    for (place, op) in ops.iter().enumerate() {
        let (said, says) = (one.play(*op), two.play(*op));
        assert_eq!(said, says, "what {op:?} answers, after {:?}", &ops[..place]);
        assert_eq!(one.all(), two.all(), "what is there after {:?}", &ops[..=place]);
    }
    for player in [&mut one, &mut two] {
        player.play(Op { kind: Kind::Commit, numbers: [0; 5] });
    }
    assert_eq!(one.all(), two.all(), "what is there after the last commit of {ops:?}");
}

/// Who works on a store.
struct Player<'s> {
    store: &'s mut dyn Store,
    /// A transaction is open.
    open: bool,
}

const REQUESTS: [&str; 7] = ["a", "b", "c", "d", "e", "o", "p"];
const MAPPINGS: [[u8; 16]; 2] = [[1; 16], [2; 16]];
const RECORDS: [[u8; 16]; 2] = [[3; 16], [4; 16]];

/// One of these.
fn one_of<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

/// Mostly something.
fn some<T>(number: u8, value: T) -> Option<T> {
    (!number.is_multiple_of(4)).then_some(value)
}

fn time(number: u8) -> Moment {
    Moment(1_772_366_400_000 + i64::from(number % 8) * 1000)
}

fn row(numbers: [u8; 5]) -> WrittenRow {
    let [id, operation, failure, content, more] = numbers;
    WrittenRow {
        request_id: one_of(&REQUESTS, id).to_owned(),
        operation_id: one_of(&[None, None, Some("o"), Some("p"), Some("a")], operation).map(str::to_owned),
        direction: one_of(&[None, None, Some("outbound"), Some("inbound")], more).map(str::to_owned),
        method: one_of(&["POST", "POST", "PUT", ""], content).to_owned(),
        url: one_of(&["https://server.example/a", "no url"], content / 4).to_owned(),
        body: one_of(&[None, Some("{}"), Some("{\"a\":\"ü\"")], content / 8).map(str::to_owned),
        sent_at: one_of(&["2026-03-01T12:00:00Z", "yesterday"], more / 4).to_owned(),
        ended_at: one_of(&[None, Some("2026-03-01T12:00:09Z")], more / 8).map(str::to_owned),
        failure: one_of(
            &[Some("intent"), Some("intent"), Some("timeout"), Some("answered"), Some("odd"), None],
            failure,
        )
        .map(str::to_owned),
        http_status: one_of(&[None, Some(201), Some(-1)], more / 16),
        error: one_of(&[None, Some("reset")], more / 32).map(str::to_owned),
    }
}

/// Another state of the same row.
fn restated(was: State, numbers: [u8; 5], group: Option<i64>) -> State {
    let [_, status, reason, times, more] = numbers;
    State {
        unread: more.is_multiple_of(3),
        group,
        sent: some(times, time(times / 8)),
        status: one_of(&[Some(Status::Pending), Some(Status::Resolved), Some(Status::DuplicateRisk), None], status),
        outcome: some(status / 4, one_of(Outcome::ALL, status / 4)),
        reason: some(reason, one_of(Reason::ALL, reason / 4)),
        action: some(reason / 8, one_of(Action::ALL, reason)),
        not_before: some(times / 2, time(times)),
        due: some(times / 4, time(times / 16)),
        checks: was.checks + u64::from(more % 2),
        looks: was.looks + u64::from(more / 2 % 2),
        first_checked: was.first_checked.or(some(more, time(more))),
        last_checked: some(more, time(more / 2)),
        joined: some(more / 4, was.entry).filter(|_| more.is_multiple_of(5)),
        lead: group,
        vanished: some(more / 8, time(more / 8)),
        holds: status.is_multiple_of(2),
        correction: status.is_multiple_of(5),
        read: Some(i64::from(more)),
        said: some(more / 16, 1),
        head: some(more / 32, 2),
        removes: reason.is_multiple_of(2),
        sealed: reason.is_multiple_of(3),
        pseudonym: some(reason / 2, format!("nym-{reason}")),
        ..was
    }
}

impl<'s> Player<'s> {
    fn new(store: &'s mut dyn Store) -> Player<'s> {
        Player { store, open: false }
    }

    fn all(&self) -> Vec<String> {
        let asked = Asked {
            mappings: MAPPINGS.to_vec(),
            records: RECORDS.to_vec(),
            requests: REQUESTS.map(str::to_owned).to_vec(),
            stamps: false,
        };
        readable(self.store, &asked).unwrap()
    }

    /// Does some work; gives what the store answered. Alone, it is a transaction of its own.
    fn play(&mut self, op: Op) -> String {
        match op.kind {
            Kind::Begin if !self.open => {
                self.store.begin().unwrap();
                self.open = true;
            }
            Kind::Commit if self.open => {
                self.store.commit().unwrap();
                self.open = false;
            }
            Kind::Rollback if self.open => {
                self.store.rollback();
                self.open = false;
            }
            Kind::Begin | Kind::Commit | Kind::Rollback => {}
            _ if self.open => return self.work(op).unwrap(),
            _ => {
                self.store.begin().unwrap();
                let said = self.work(op).unwrap();
                self.store.commit().unwrap();
                return said;
            }
        }
        String::new()
    }

    fn work(&mut self, op: Op) -> Result<String> {
        let Op { kind, numbers } = op;
        let [one, two, three, four, _] = numbers;
        let store = &mut *self.store;
        let id = one_of(&REQUESTS, one);
        Ok(match kind {
            Kind::SetWord => format!("{:?}", store.set_word(one_of(&Word::ALL, one), one_of(&REQUESTS, two))?),
            Kind::Write => format!("{:?}", store.write(&row(numbers))?),
            Kind::Record => format!("{:?}", self.record(numbers)?),
            Kind::Change => format!("{:?}", store.change(&row(numbers))?),
            Kind::Withdraw => format!("{:?}", store.withdraw(id)?),
            Kind::End => {
                let failed = End::Failed { failure: Failure::Http, http_status: Some(503), error: some(three, "oh") };
                let end = if two.is_multiple_of(2) {
                    End::Answered { status: 201, keep: two.is_multiple_of(3) }
                } else {
                    failed
                };
                format!("{:?}", store.end(id, time(three), &end)?)
            }
            Kind::Complete => format!("{:?}", store.complete(id, "{\"b\":1}")?),
            Kind::PutState | Kind::PutStale => self.restate(op)?,
            Kind::PutKeys => {
                let Some(group) = self.entry(three)? else { return Ok(String::new()) };
                format!("{:?}", self.store.put_keys(&[(i64::from(one % 8), group), (i64::from(two % 8), group)])?)
            }
            Kind::DropKeys => format!("{:?}", store.drop_keys(&[i64::from(one % 8), i64::from(two % 8)])?),
            Kind::Merge => {
                let (Some(from), Some(into)) = (self.entry(one)?, self.entry(two)?) else { return Ok(String::new()) };
                if from == into { String::new() } else { format!("{:?}", self.store.merge(from, into)?) }
            }
            Kind::Erase => self.erase(numbers)?,
            Kind::RenameOperation => {
                let (old, new) = (one_of(&["o", "p"], one), one_of(&["o", "p", "q"], two));
                format!("{:?}", store.rename_operation(old, new)?)
            }
            Kind::Append | Kind::Rename | Kind::Share | Kind::BeginRun | Kind::EndRun | Kind::NoteExit => {
                self.evidence(op)?
            }
            Kind::Note => format!("{:?}", store.note(one_of(&NoteKind::ALL, one), time(0), one_of(&REQUESTS, two))?),
            Kind::RewriteNote => {
                let mut ids = Vec::new();
                for kind in NoteKind::ALL {
                    ids.extend(store.notes(kind, Moment(0))?.iter().map(|note| note.id));
                }
                if ids.is_empty() { String::new() } else { format!("{:?}", store.rewrite_note(one_of(&ids, one), "")?) }
            }
            Kind::PutImport | Kind::MoveImport | Kind::DropImport | Kind::SetSeen => {
                self.import(kind, one, two, four)?
            }
            Kind::Begin | Kind::Commit | Kind::Rollback => String::new(),
        })
    }

    /// One of the entries that are there.
    fn entry(&self, number: u8) -> Result<Option<i64>> {
        let mut entries = Vec::new();
        self.store.each_state(i64::MIN, &mut |state| {
            entries.push(state.entry);
            Ok(true)
        })?;
        Ok(if entries.is_empty() { None } else { Some(one_of(&entries, number)) })
    }

    fn record(&mut self, numbers: [u8; 5]) -> Result<bool> {
        let [id, operation, failure, content, more] = numbers;
        let entry = NewEntry {
            request_id: one_of(&REQUESTS, id),
            operation_id: one_of(&[None, Some("o"), Some("p")], operation),
            direction: one_of(Direction::ALL, content),
            method: "POST",
            url: "https://server.example/a",
            body: one_of(&[None, Some("{}")], content),
            sent_at: time(more),
            ended_at: some(more, time(more / 8)),
            failure: one_of(Failure::ALL, failure),
            http_status: some(failure, 500),
            error: some(content, "reset"),
        };
        self.store.record(&entry, some(more / 2, Span(i64::from(more))))
    }

    /// Puts another state of an entry, or one that was read before the row was changed.
    fn restate(&mut self, op: Op) -> Result<String> {
        let Some(entry) = self.entry(op.numbers[0])? else { return Ok(String::new()) };
        let group = self.entry(op.numbers[1])?.filter(|_| !op.numbers[2].is_multiple_of(4));
        let was = self.store.states(&[entry])?.pop().context("a state is gone")?;
        let mut now = restated(was, op.numbers, group);
        now.revision -= i64::from(op.kind == Kind::PutStale);
        Ok(format!("{:?}", self.store.put_states(&[now])?))
    }

    fn erase(&mut self, numbers: [u8; 5]) -> Result<String> {
        let Some(entry) = self.entry(numbers[0])? else { return Ok(String::new()) };
        let left = row(numbers);
        let request_id = one_of(&REQUESTS, numbers[1]);
        if self.store.entry_of(request_id)?.is_some_and(|of| of != entry) {
            return Ok(String::new());
        }
        let mut now = self.store.states(&[entry])?.pop().context("a state is gone")?;
        now.erased = Some(1);
        self.store.rewrite(
            entry,
            &Left {
                request_id: request_id.to_owned(),
                operation_id: left.operation_id,
                direction: left.direction,
                method: left.method,
                url: left.url,
                sent_at: left.sent_at,
                ended_at: left.ended_at,
                failure: left.failure,
                http_status: left.http_status,
            },
        )?;
        Ok(format!("{:?}", self.store.put_states(&[now])?))
    }

    /// Runs and what they leave.
    fn evidence(&mut self, op: Op) -> Result<String> {
        let [one, two, three, ..] = op.numbers;
        let mut runs = Vec::new();
        self.store.each_run(&mut |run| {
            runs.push(run.id);
            Ok(true)
        })?;
        let mut ids = Vec::new();
        self.store.each_evidence(&mut |evidence| {
            ids.push(evidence.id);
            Ok(())
        })?;
        let store = &mut *self.store;
        if op.kind == Kind::Share {
            return Ok(format!("{:?}", store.share(one_of(&REQUESTS, one))?));
        }
        if op.kind == Kind::BeginRun || runs.is_empty() {
            let (started, windows) = (time(one), &Windows::default());
            let (command, plan, plan_digest) = (one_of(&["run", "close"], two), "plan", "digest");
            let run = RunStart { command, started, plan, plan_digest, server: "https://server.example", windows };
            return Ok(format!("{:?}", store.begin_run(&run)?));
        }
        let run = RunId(one_of(&runs, one));
        Ok(match op.kind {
            Kind::EndRun => {
                let trouble = some(three, "trouble".to_owned());
                let end = RunEnd { examined: u64::from(two), controls: "{}".to_owned(), trouble, ..RunEnd::default() };
                format!("{:?}", store.end_run(run, time(two), &end)?)
            }
            Kind::NoteExit => format!("{:?}", store.note_exit(run, two)?),
            Kind::Rename if !ids.is_empty() => format!("{:?}", store.rename(one_of(&ids, two), "")?),
            _ => {
                let after = ids.into_iter().rev().take(usize::from(two % 3)).collect();
                let (doc, names) =
                    (one_of(&["", "{\"b\":1, \"a\":2}"], two).to_owned(), one_of(&REQUESTS, three).to_owned());
                let row = NewEvidence { run, at: time(three), rules: i64::from(two % 3), after, doc, names };
                format!("{:?}", store.append(&row)?)
            }
        })
    }

    fn import(&mut self, kind: Kind, one: u8, two: u8, four: u8) -> Result<String> {
        let store = &mut *self.store;
        let mapping = one_of(&MAPPINGS, one);
        let all = store.imports(&mapping)?;
        let mark = Mark { bytes: u64::from(two) + 1, lines: u64::from(four) };
        if kind == Kind::PutImport || all.is_empty() {
            let known = Known { file: "file.csv".to_owned(), mapping, head_bytes: u64::from(two), head: [four; 16] };
            let new = Import { id: None, known, mark, tail: [two; 16], counts: Imported::default() };
            return Ok(format!("{:?}", store.put_import(&new, Mark::default(), time(0))?));
        }
        let import = &all[usize::from(two) % all.len()];
        let id = import.id.context("it is stored")?;
        Ok(match kind {
            Kind::DropImport => format!("{:?}", store.drop_import(id)?),
            Kind::SetSeen => format!("{:?}", store.set_seen_in_import(id, &one_of(&RECORDS, two), i64::from(four))?),
            _ => {
                let was = if four.is_multiple_of(4) {
                    Mark { bytes: import.mark.bytes + 1, ..import.mark }
                } else {
                    import.mark
                };
                let counts = Imported { imported: import.counts.imported + 1, ..import.counts };
                format!("{:?}", store.put_import(&Import { mark, counts, ..import.clone() }, was, time(1))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    fn empty() -> MemoryStore {
        MemoryStore::seeded(1, || time(0))
    }

    proptest! {
        #![proptest_config(crate::decide::soak::config(200))]

        #[test]
        fn what_a_transaction_did_is_taken_back_whole(before in ops(40), after in ops(40)) {
            let (mut store, mut reference) = (empty(), empty());
            for (store, ops) in [(&mut store, &before), (&mut reference, &before)] {
                let mut player = Player::new(store);
                for op in ops {
                    player.play(*op);
                }
                player.play(Op { kind: Kind::Commit, numbers: [0; 5] });
            }
            store.begin().unwrap();
            let mut player = Player { store: &mut store, open: true };
            for op in after.iter().filter(|op| !TURNS.contains(&op.kind)) {
                player.play(*op);
            }
            player.store.rollback();
            // What comes afterwards comes to the same, too: no index was left behind.
            same_as(&mut reference, &mut store, &after);
        }
    }

    #[test]
    #[should_panic(expected = "answers, after")]
    fn stores_that_differ_are_found() {
        let mut other = empty();
        other.write(&WrittenRow { request_id: "a".to_owned(), ..WrittenRow::default() }).unwrap();
        let write = Op { kind: Kind::Write, numbers: [0; 5] };
        same_as(&mut empty(), &mut other, &[write]);
    }
}
