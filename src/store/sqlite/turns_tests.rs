//! Unit tests of what is done in turns: whoever writes gets in between, and a kill leaves each step whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::SqliteStore;
use crate::store::Store;

/// Rows of a ledger.
const ROWS: i64 = 6;

struct Setup {
    _folder: tempfile::TempDir,
    path: PathBuf,
    store: SqliteStore,
}

impl Setup {
    fn new() -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        SqliteStore::create(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        (0..ROWS).for_each(|n| record(&connection, &format!("r{n}")));
        let store = SqliteStore::open(&path).unwrap();
        Setup { _folder: folder, path, store }
    }

    /// Every turn is as short as can be, and a writer who waits for nobody writes before each; gives how often it did.
    fn with_a_writer(&mut self) -> Arc<AtomicU64> {
        let written = Arc::new(AtomicU64::new(0));
        let (path, count) = (self.path.clone(), Arc::clone(&written));
        self.store.step_by_step(move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            record(&Connection::open(&path).unwrap(), &format!("w{n}"));
        });
        written
    }

    /// Reads every row that is there at the beginning, a turn at a time.
    fn read_all(&mut self) {
        let last = self.store.unread(0, usize::MAX, usize::MAX).unwrap().last().unwrap().state.entry;
        let mut from = 0;
        while from <= last {
            let page = self.store.unread(from, 2, usize::MAX).unwrap();
            self.store.begin().unwrap();
            for unread in page {
                let mut state = unread.state;
                from = state.entry + 1;
                (state.unread, state.group) = (false, Some(state.entry));
                assert!(self.store.put_states(&[state]).unwrap().is_empty());
                if self.store.is_over() {
                    break;
                }
            }
            self.store.commit().unwrap();
        }
    }
}

/// What a writer that waits for nobody does.
fn record(connection: &Connection, id: &str) {
    connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let sql = "INSERT INTO entries (request_id, method, url, sent_at, failure)
               VALUES (?, 'POST', 'http://127.0.0.1:9/api/v1.0/account', '2026-11-23T12:00:00Z', 'timeout')";
    connection.execute(sql, [id]).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let named = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if named(from).exists() {
            std::fs::copy(named(from), named(to)).unwrap();
        }
    }
}

fn count(path: &Path, what: &str) -> i64 {
    Connection::open(path).unwrap().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_writer_gets_in_between_any_two_turns() {
    let mut setup = Setup::new();
    let written = setup.with_a_writer();
    setup.read_all();
    assert_eq!(written.load(Ordering::SeqCst), 6);
    assert_eq!(setup.store.turns_taken(), 6);
    assert_eq!(count(&setup.path, "state WHERE unread = 0"), ROWS);
    assert_eq!(count(&setup.path, "state WHERE unread = 1"), 6, "what came meanwhile is for the next");
}

#[test]
fn a_row_that_its_writer_changes_while_it_is_read_is_left_unread() {
    let mut setup = Setup::new();
    let mut states = setup.store.states(&[1, 2]).unwrap();
    states.iter_mut().for_each(|state| state.unread = false);
    let sql = "UPDATE entries SET body = '{}' WHERE id = 1";
    Connection::open(&setup.path).unwrap().execute(sql, []).unwrap();
    setup.store.begin().unwrap();
    assert_eq!(setup.store.put_states(&states).unwrap(), [1]);
    setup.store.commit().unwrap();
    assert_eq!(count(&setup.path, "state WHERE unread = 0"), 1);
}

#[test]
fn a_large_ledger_is_healed_in_turns_and_a_kill_forgets_no_row() {
    let mut setup = Setup::new();
    let connection = Connection::open(&setup.path).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    (0..2000).for_each(|n| record(&connection, &format!("more{n}")));
    connection
        .execute_batch(
            "UPDATE state SET unread = 0; UPDATE state SET erased_id = 1 WHERE entry_id = 3;
             DROP TRIGGER entry_changed; DROP TRIGGER entry_kept; UPDATE entries SET body = '{}' WHERE id = 1; COMMIT;",
        )
        .unwrap();
    drop(connection);
    let copies = setup.path.with_extension("copies");
    std::fs::create_dir_all(&copies).unwrap();
    let (path, to) = (setup.path.clone(), copies.clone());
    setup.store.step_by_step(move |turn| copy(&path, &to.join(format!("{turn}.db"))));
    setup.store.heal().unwrap();
    assert!(setup.store.turns_taken() > 4);
    assert_eq!(count(&setup.path, "state WHERE unread = 0"), 1, "what was erased is read no more");
    let killed: Vec<PathBuf> = (0..setup.store.turns_taken()).map(|turn| copies.join(format!("{turn}.db"))).collect();
    let marked: Vec<i64> = killed.iter().map(|path| count(path, "state WHERE unread = 1")).collect();
    assert!(marked[0] == 0 && marked[2] > 0 && marked[2] < 2000, "{marked:?}");
    for path in killed {
        let seen = SqliteStore::open_to_read(&path).unwrap();
        assert_eq!(seen.unread(0, usize::MAX, usize::MAX).unwrap().len(), 2000 + 5);
        assert_eq!(count(&path, "ledger WHERE reread IS NULL"), 1);
    }
}

#[test]
fn the_log_goes_into_the_file_after_the_jobs_own_turns() {
    let mut setup = Setup::new();
    let connection = Connection::open(&setup.path).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    (0..4000).for_each(|n| record(&connection, &format!("more{n}")));
    connection.execute_batch("COMMIT").unwrap();
    setup.store.begin().unwrap();
    let mut states = Vec::new();
    setup
        .store
        .each_state(0, &mut |state| {
            states.push(state);
            Ok(true)
        })
        .unwrap();
    states.iter_mut().for_each(|state| state.pseudonym = Some("somebody of whom nothing else is known".repeat(10)));
    setup.store.put_states(&states).unwrap();
    setup.store.commit().unwrap();
    // SQLite itself would do it in the commit of the next writer who finds so many pages.
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    let (log, moved): (i64, i64) =
        setup.store.connection.query_row(sql, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap();
    assert!(log > 300 && log == moved, "{log} {moved}");
}
