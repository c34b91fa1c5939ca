//! The promises of a store, and those that SQLite's own ways would break.

use std::path::PathBuf;

use proptest::proptest;
use rusqlite::Connection;

use super::{SqliteStore, states, sums};
use crate::clock::Moment;
use crate::evidence::Windows;
use crate::store::compared::{ops, same_as};
use crate::store::exercise::exercise;
use crate::store::memory::MemoryStore;
use crate::store::{NewEvidence, NoteKind, RunStart, State, Store, Written, WrittenRow};
use crate::words::{Reason, Status};

#[test]
fn a_ledger_in_sqlite_keeps_every_promise() {
    exercise(&mut || Box::new(SqliteStore::in_memory().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    exercise(&mut || {
        count += 1;
        let path = folder.path().join(format!("{count}.db"));
        SqliteStore::create(&path).unwrap();
        let mut store = SqliteStore::open(&path).unwrap();
        // Turns that last as long as there is work and wait for nobody: the promises are the same.
        store.turns = super::turns::Turns::alone();
        Box::new(store)
    });
}

proptest! {
    #![proptest_config(crate::decide::soak::config(100))]

    #[test]
    fn a_ledger_in_sqlite_says_what_one_in_memory_says(ops in ops(80)) {
        let mut reference = MemoryStore::seeded(1, Moment::now);
        let mut store = SqliteStore::in_memory().unwrap();
        // A repeated INSERT uses up an id in SQLite, which is nobody's and makes ids hard to compare.
        let sql = "CREATE TRIGGER no_gaps BEFORE INSERT ON entries
                   WHEN EXISTS (SELECT 1 FROM entries WHERE request_id = NEW.request_id)
                   BEGIN SELECT RAISE(IGNORE); END";
        store.connection.execute_batch(sql).unwrap();
        same_as(&mut reference, &mut store, &ops);
    }
}

/// A ledger with one read row for each of these reasons.
fn ledger(reasons: &[Option<Reason>]) -> SqliteStore {
    let mut store = SqliteStore::in_memory().unwrap();
    for (n, reason) in reasons.iter().enumerate() {
        let row = WrittenRow { failure: Some("timeout".to_owned()), ..intent(&n.to_string()) };
        assert_eq!(store.write(&row).unwrap(), Written::Done);
        let entry = store.entry_of(&row.request_id).unwrap().unwrap();
        let state = store.states(&[entry]).unwrap().remove(0);
        let state = State { unread: false, group: Some(entry), reason: *reason, ..state };
        assert!(store.put_states(&[state]).unwrap().is_empty());
    }
    store
}

fn intent(request_id: &str) -> WrittenRow {
    WrittenRow {
        request_id: request_id.to_owned(),
        method: "POST".to_owned(),
        url: "http://127.0.0.1/x".to_owned(),
        failure: Some("intent".to_owned()),
        ..WrittenRow::default()
    }
}

/// What SQLite says to a writer.
fn refusal(store: &SqliteStore, sql: &str) -> String {
    store.connection.execute_batch(sql).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn an_insert_that_would_replace_a_row_is_refused() {
    let mut store = ledger(&[Some(Reason::NoPlan), None]);
    for id in ["1", "2"] {
        let request = if id == "1" { "0" } else { "1" };
        let sql = format!(
            "INSERT OR REPLACE INTO entries (request_id, method, url, sent_at) VALUES ('{request}', 'PUT', 'x', 'y');"
        );
        assert!(refusal(&store, &sql).contains("the ledger keeps its entries"), "{id}");
        let sql = sql.replace("(request_id,", "(id, request_id,").replace("VALUES (", &format!("VALUES ({id}, "));
        assert!(refusal(&store, &sql).contains("the ledger keeps its entries"), "{id}");
    }
    assert_eq!(store.rows(&[1, 2]).unwrap().len(), 2);
    let upsert = "INSERT INTO entries (request_id, method, url, sent_at) VALUES ('1', 'PUT', 'x', 'y')
                  ON CONFLICT (request_id) DO UPDATE SET method = 'PUT';";
    assert!(refusal(&store, upsert).contains("as it was recorded"), "{}", refusal(&store, upsert));
    assert_eq!(store.write(&intent("new")).unwrap(), Written::Done);
}

#[test]
fn evidence_texts_and_notes_are_append_only_but_for_names_within_an_erasure() {
    let mut store = ledger(&[None]);
    let windows = Windows::default();
    let run = RunStart { command: "run", started: Moment(0), plan: "", plan_digest: "", server: "", windows: &windows };
    let run = store.begin_run(&run).unwrap();
    let row = NewEvidence { run, at: Moment(1), rules: 1, after: vec![], doc: "{}".to_owned(), names: "{}".to_owned() };
    store.append(&row).unwrap();
    store.share("text").unwrap();
    store.note(NoteKind::Erasure, Moment(1), "{}").unwrap();
    let names = ["UPDATE evidence SET names = ''", "UPDATE notes SET doc = ''"];
    let never = [
        "UPDATE evidence SET doc = ''",
        "UPDATE evidence SET at_ms = 2",
        "UPDATE evidence SET after = '[1]'",
        "UPDATE evidence SET id = 7",
        "DELETE FROM evidence",
        "UPDATE texts SET text = ''",
        "DELETE FROM texts",
        "UPDATE notes SET kind = 'report'",
        "UPDATE notes SET at_ms = 2",
        "DELETE FROM notes",
        "DELETE FROM runs",
    ];
    for sql in names.iter().chain(&never) {
        let said = refusal(&store, sql);
        assert!(said.contains("append-only") || said.contains("are kept"), "{sql}: {said}");
    }
    store.connection.execute_batch("UPDATE ledger SET erasing = 1").unwrap();
    never.iter().for_each(|sql| assert!(!refusal(&store, sql).is_empty(), "{sql}"));
    names.iter().for_each(|sql| assert_eq!(refusal(&store, sql), "", "{sql}"));
}

#[test]
fn an_erasure_that_fails_leaves_the_ledger_closed_to_others() {
    let mut store = ledger(&[None]);
    assert!(store.rename(7, "").is_err());
    let erasing: bool = store.connection.query_row("SELECT erasing FROM ledger", [], |row| row.get(0)).unwrap();
    assert!(!erasing && store.connection.is_autocommit());
}

#[test]
fn what_was_erased_stands_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    SqliteStore::create(&path).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    for n in 0..50 {
        let body = Some(format!("somebody-{n}@example.com").repeat(20));
        store.write(&WrittenRow { body, ..intent(&n.to_string()) }).unwrap();
    }
    store.begin().unwrap();
    for row in store.rows(&(1..=50).collect::<Vec<_>>()).unwrap() {
        let left = crate::store::Left {
            request_id: row.request_id,
            operation_id: None,
            direction: None,
            method: "POST".to_owned(),
            url: "x".to_owned(),
            sent_at: String::new(),
            ended_at: None,
            failure: None,
            http_status: None,
        };
        store.rewrite(row.entry, &left).unwrap();
    }
    store.commit().unwrap();
    store.clean(false).unwrap();
    let file = |end: &str| std::fs::read(PathBuf::from(format!("{}{end}", path.display()))).unwrap();
    let holds = |bytes: Vec<u8>| bytes.windows(8).any(|part| part == b"somebody");
    assert!(!holds(file("")) && !holds(file("-wal")));
}

/// A tool that rebuilds the table takes its triggers, indexes and unique key away.
#[test]
fn rows_that_come_while_the_triggers_are_away_are_found_and_all_are_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    SqliteStore::create(&path).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    for id in ["kept", "gone", "changed", "withdrawn"] {
        store.write(&intent(id)).unwrap();
    }
    store.withdraw("withdrawn").unwrap();
    let mut states = store.states(&[1, 2, 3]).unwrap();
    states.iter_mut().for_each(|state| {
        (state.unread, state.status, state.due) = (false, Some(Status::Resolved), Some(Moment(7)));
    });
    store.put_states(&states).unwrap();
    let wanted = objects(&store.connection);
    drop(store);
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch(
            "CREATE TABLE made (id INTEGER PRIMARY KEY, request_id TEXT, operation_id TEXT, direction TEXT, method TEXT,
               url TEXT, body TEXT, sent_at TEXT, ended_at TEXT, failure TEXT, http_status INTEGER, error TEXT, theirs TEXT);
             INSERT INTO made SELECT *, 'own' FROM entries;
             DROP TABLE entries;
             ALTER TABLE made RENAME TO entries;
             DELETE FROM entries WHERE request_id = 'gone';
             UPDATE entries SET body = '{}' WHERE request_id = 'changed';
             INSERT INTO entries (request_id, method, url, sent_at, failure) VALUES ('came', 'POST', 'x', 'y', 'answered');",
        )
        .unwrap();
    let faults = SqliteStore::open_unchanged(&path).unwrap().faults_of_entries().unwrap();
    assert!(faults.len() > 3 && faults[0].contains("unique key"), "{faults:?}");
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.faults_of_entries().unwrap().is_empty());
    assert_eq!(objects(&store.connection), wanted);
    let unread = store.unread(0, usize::MAX, usize::MAX).unwrap();
    let rows: Vec<_> =
        unread.iter().map(|one| (one.state.entry, one.row.as_ref().map(|row| row.request_id.as_str()))).collect();
    assert_eq!(rows, [(1, Some("kept")), (3, Some("changed")), (4, Some("came"))], "what is gone counts no more");
    assert_eq!((unread[0].state.due, unread[0].state.revision), (Some(Moment(7)), 0), "it stands where it stood");
    assert_eq!((unread[2].state.status, unread[2].state.revision), (None, 1));
    let theirs: String = store
        .connection
        .query_row("SELECT theirs FROM entries WHERE request_id = 'kept'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(theirs, "own");
}

fn objects(connection: &Connection) -> Vec<String> {
    let sql = "SELECT sql FROM sqlite_schema WHERE tbl_name = 'entries' AND type <> 'table' AND sql IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// What every run asks for is answered by an index, however many entries are settled.
#[test]
fn an_idle_run_goes_through_no_table() {
    let store = ledger(&[Some(Reason::NoPlan)]);
    let pending = format!("SELECT min(sent_ms) FROM ({})", sums::PENDING);
    for sql in [states::DUE, states::UNREAD, states::MEMBERS, sums::COUNT_DUE, sums::NEXT_DUE, &pending, sums::AT_RISK]
    {
        let mut plan = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let marks = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(marks), |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>().unwrap();
        let through = |step: &&String| step.starts_with("SCAN") && step.contains(" s") && !step.contains("INDEX");
        assert!(!steps.iter().any(|step| through(&step)), "{steps:?} for {sql}");
    }
}
