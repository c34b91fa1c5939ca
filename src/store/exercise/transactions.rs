//! All or nothing, for every kind of write.

use anyhow::{Context, Result};

use super::{
    Asked, answered, at, begin_run, entry, evidence, holds, intent, lost, of_operation, read, readable, same, state,
    within, write,
};
use crate::store::{
    End, Import, Imported, Known, Left, Mark, NoteKind, RunEnd, RunId, State, Store, Word, Written, WrittenRow,
};
use crate::words::Failure;

/// A store in which there is one of everything, and what it has.
struct Made {
    unread: i64,
    decided: i64,
    run: RunId,
    evidence: i64,
    note: i64,
    import: Import,
}

const MAPPING: [u8; 16] = [1; 16];
const RECORD: [u8; 16] = [5; 16];

fn make(store: &mut dyn Store) -> Result<Made> {
    let unread = write(store, &WrittenRow { body: None, ..lost("unread") })?;
    let decided = write(store, &of_operation("o", lost("decided")))?;
    for id in ["intent", "second", "third"] {
        write(store, &intent(id))?;
    }
    read(store, decided, None)?;
    let mut import = Import {
        id: None,
        known: Known { file: "a.csv".to_owned(), mapping: MAPPING, head_bytes: 10, head: [2; 16] },
        mark: Mark { bytes: 10, lines: 1 },
        tail: [3; 16],
        counts: Imported::default(),
    };
    within(store, |store| {
        store.set_word(Word::Server, "before")?;
        store.put_keys(&[(1, decided), (2, unread)])?;
        store.share("shared")?;
        let run = begin_run(store, at(0))?;
        let evidence = store.append(&evidence(run, &[], "doc", "names"))?;
        let note = store.note(NoteKind::Report, at(0), "note")?;
        import.id = store.put_import(&import, Mark::default(), at(0))?;
        let id = import.id.context("a new import is stored")?;
        store.set_seen_in_import(id, &RECORD, 1)?;
        Ok(Made { unread, decided, run, evidence, note, import: import.clone() })
    })
}

/// One kind of write.
type Change = fn(&mut dyn Store, &Made) -> Result<()>;

const CHANGES: &[(&str, Change)] = &[
    ("set_word", |store, _| {
        store.set_word(Word::Server, "after")?;
        store.set_word(Word::Sealed, "after")
    }),
    ("record", |store, _| holds(store.record(&entry("recorded"), None)?)),
    ("write", |store, _| same(store.write(&answered("written"))?, Written::Done)),
    ("change", |store, _| same(store.change(&of_operation("changed", lost("unread")))?, Written::Done)),
    ("withdraw", |store, _| same(store.withdraw("intent")?, Written::Done)),
    ("end", |store, _| {
        let failed = End::Failed { failure: Failure::Network, http_status: None, error: Some("reset") };
        store.end("second", at(9), &failed)?;
        store.end("third", at(9), &End::Answered { status: 200, keep: false }).map(|_| ())
    }),
    ("complete", |store, _| store.complete("unread", "{}").map(|_| ())),
    ("rewrite", |store, made| {
        store.rewrite(
            made.decided,
            &Left {
                request_id: "left".to_owned(),
                operation_id: None,
                direction: None,
                method: "POST".to_owned(),
                url: String::new(),
                sent_at: String::new(),
                ended_at: None,
                failure: None,
                http_status: None,
            },
        )
    }),
    ("rename_operation", |store, _| store.rename_operation("o", "renamed")),
    ("put_states", |store, made| {
        let now = state(store, made.decided)?;
        let due = State { due: Some(at(7)), group: None, unread: true, ..now };
        same(store.put_states(&[due])?, Vec::new())
    }),
    ("put_keys", |store, made| store.put_keys(&[(1, made.unread), (3, made.unread)])),
    ("drop_keys", |store, _| store.drop_keys(&[1])),
    ("merge", |store, made| store.merge(made.decided, made.unread)),
    ("append", |store, made| store.append(&evidence(made.run, &[made.evidence], "new", "")).map(|_| ())),
    ("rename", |store, made| store.rename(made.evidence, "renamed")),
    ("share", |store, _| store.share("new").map(|_| ())),
    ("begin_run", |store, _| begin_run(store, at(1)).map(|_| ())),
    ("end_run", |store, made| store.end_run(made.run, at(2), &RunEnd { examined: 1, ..RunEnd::default() })),
    ("note_exit", |store, made| store.note_exit(made.run, 4)),
    ("note", |store, _| store.note(NoteKind::Permit, at(1), "new").map(|_| ())),
    ("rewrite_note", |store, made| store.rewrite_note(made.note, "")),
    ("put_import", |store, made| {
        let new = Import { id: None, ..made.import.clone() };
        holds(store.put_import(&new, Mark::default(), at(1))?.is_some())?;
        let moved = Import { mark: Mark { bytes: 20, lines: 2 }, ..made.import.clone() };
        holds(store.put_import(&moved, made.import.mark, at(1))?.is_some())
    }),
    ("drop_import", |store, made| store.drop_import(made.import.id.unwrap_or_default())),
    ("set_seen_in_import", |store, made| store.set_seen_in_import(made.import.id.unwrap_or_default(), &RECORD, 2)),
];

/// What can be read, with all that the changes touch.
fn all(store: &dyn Store) -> Result<Vec<String>> {
    let requests = ["unread", "decided", "intent", "second", "third", "recorded", "written", "left"];
    readable(
        store,
        &Asked {
            mappings: vec![MAPPING],
            records: vec![RECORD],
            requests: requests.map(str::to_owned).to_vec(),
            stamps: true,
        },
    )
}

/// What is rolled back was never there: each kind of write alone, and all of them together.
pub fn what_is_rolled_back_was_never_there(store: &mut dyn Store) -> Result<()> {
    let made = make(store)?;
    let before = all(store)?;
    for (name, change) in CHANGES {
        store.begin()?;
        change(store, &made).context(*name)?;
        holds(all(store)? != before).context(*name)?;
        store.rollback();
        same(all(store)?, before.clone()).context(*name)?;
    }
    store.begin()?;
    for (name, change) in CHANGES {
        change(store, &made).context(*name)?;
    }
    store.rollback();
    same(all(store)?, before)
}

/// What is committed is there, all of it, and a later rollback does not reach it.
pub fn what_is_committed_is_there(store: &mut dyn Store) -> Result<()> {
    let made = make(store)?;
    store.begin()?;
    for (name, change) in CHANGES {
        change(store, &made).context(*name)?;
    }
    let inside = all(store)?;
    store.commit()?;
    same(all(store)?, inside.clone())?;
    store.rollback();
    same(all(store)?, inside.clone())?;
    store.begin()?;
    store.set_word(Word::Fingerprint, "later")?;
    store.rollback();
    same(all(store)?, inside)
}

/// A rollback without a transaction does nothing, and the next transaction is a whole one.
pub fn a_rollback_without_a_transaction_does_nothing(store: &mut dyn Store) -> Result<()> {
    store.rollback();
    let entry = write(store, &lost("a"))?;
    store.rollback();
    same(store.entry_of("a")?, Some(entry))?;
    store.begin()?;
    store.commit()?;
    within(store, |store| store.set_word(Word::Server, "there"))?;
    same(store.word(Word::Server)?.as_deref(), Some("there"))
}
