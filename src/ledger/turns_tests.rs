//! Unit tests of what is done in turns: whoever writes gets in between, and a kill leaves each step whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use url::Url;

use super::{Close, Erasure, Ledger, RunStart, Terms};
use crate::clock::{Moment, Span};
use crate::evidence::Windows;
use crate::plan::subject::Subject;
use crate::plan::{Plan, Reader, SHIPPED};
use crate::words::Outcome;

/// Entries of a ledger; each stands for itself.
const ENTRIES: u64 = 6;

struct Setup {
    _folder: tempfile::TempDir,
    path: PathBuf,
    plans: [Plan; 2],
    server: Url,
    ledger: Ledger,
    salt: Vec<u8>,
}

impl Setup {
    fn new() -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        Ledger::create(&path).unwrap();
        let (name, text) = SHIPPED[0];
        let plan = |text: &str| Plan::load(name, text, &BTreeMap::new()).unwrap();
        let plans = [plan(text), plan(&text.replace("privo-gateway\"", "another\""))];
        let server = Url::parse("http://127.0.0.1:9").unwrap();
        let ledger = Ledger::open(&path).unwrap();
        let salt = ledger.salt().to_vec();
        let setup = Setup { _folder: folder, path, plans, server, ledger, salt };
        setup.record("r", 0, ENTRIES);
        setup
    }

    /// Records so many entries.
    fn record(&self, prefix: &str, from: u64, many: u64) {
        let connection = Connection::open(&self.path).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        (0..many).for_each(|n| record(&connection, &format!("{prefix}{n}"), from + n));
        connection.execute_batch("COMMIT").unwrap();
    }

    /// Does something with the ledger under the first plan or the second.
    fn with<T>(&mut self, plan: usize, does: impl FnOnce(&mut Ledger, &Reader) -> T) -> T {
        let reader = Reader { plan: &self.plans[plan], server: &self.server, salt: &self.salt, also: &[] };
        does(&mut self.ledger, &reader)
    }

    fn take_in(&mut self, plan: usize) {
        self.with(plan, |ledger, reader| while ledger.take_in(reader, Moment::now()).unwrap() {});
    }

    /// Every turn is as short as can be, and a writer who waits for nobody writes before each; gives how often it did.
    fn with_a_writer(&mut self) -> Arc<AtomicU64> {
        let written = Arc::new(AtomicU64::new(0));
        let (path, count) = (self.path.clone(), Arc::clone(&written));
        self.ledger.step_by_step(move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            record(&Connection::open(&path).unwrap(), &format!("w{n}"), 1000 + n);
        });
        written
    }

    /// Every turn is as short as can be, and the file is copied before each, as a kill would leave it.
    fn with_copies(&mut self) -> PathBuf {
        let copies = self.path.with_extension("copies");
        std::fs::create_dir_all(&copies).unwrap();
        let (path, to) = (self.path.clone(), copies.clone());
        self.ledger.step_by_step(move |turn| copy(&path, &to.join(format!("{turn}.db"))));
        copies
    }

    fn close_all(&mut self) -> usize {
        let windows = Windows::default();
        let start =
            RunStart { command: "close", started: Moment(0), plan: "", plan_digest: "", server: "", windows: &windows };
        let run = self.ledger.begin_run(&start).unwrap();
        let close = Close { who: "Jo".to_owned(), why: "done".to_owned(), outcome: Outcome::Unknown, at: Moment(0) };
        let entries: Vec<i64> = (1..=i64::try_from(ENTRIES).unwrap()).collect();
        self.ledger.close(run, &entries, &close).unwrap()
    }

    /// Forgets one person, and gives how many entries named her.
    fn forget(&mut self) -> u64 {
        self.with(0, |ledger, reader| {
            let subject = Subject::new(reader, "ann@example.com").unwrap();
            let erasure = Erasure { who: "Jo", why: "asked", at: Moment::now(), run: None };
            ledger.forget(reader, &subject, &BTreeSet::new(), &erasure).unwrap().len() as u64
        })
    }

    fn prune(&mut self) -> u64 {
        let terms = Terms { now: Moment::now(), keep: Span::ZERO, watch: Span::ZERO };
        self.with(0, |ledger, reader| ledger.prune(reader, &terms, &|_| None).unwrap().entries())
    }
}

fn copy(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let named = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if named(from).exists() {
            std::fs::copy(named(from), named(to)).unwrap();
        }
    }
}

/// What a writer that waits for nobody does.
fn record(connection: &Connection, id: &str, n: u64) {
    connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let body = format!(r#"{{"email":"p{n}@example.com"}}"#);
    let sql = "INSERT INTO entries (request_id, method, url, body, sent_at, failure)
               VALUES (?, 'POST', 'http://127.0.0.1:9/api/v1.0/account', ?, '2026-11-23T12:00:00Z', 'timeout')";
    connection.execute(sql, [id, &body]).unwrap();
}

fn count(path: &Path, what: &str) -> u64 {
    Connection::open(path).unwrap().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// What a kill left, before each turn in their order.
fn killed(copies: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(copies).unwrap().map(|file| file.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "db"));
    found.sort_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    found
}

#[test]
fn a_writer_gets_in_between_any_two_rows_that_are_taken_in() {
    let mut setup = Setup::new();
    let written = setup.with_a_writer();
    assert!(!setup.with(0, |ledger, reader| ledger.take_in(reader, Moment::now()).unwrap()), "it ends");
    assert_eq!(written.load(Ordering::SeqCst), ENTRIES);
    assert_eq!(count(&setup.path, "standings WHERE reading_id IS NOT NULL"), ENTRIES);
    assert_eq!(
        count(&setup.path, "standings WHERE reading_id IS NULL"),
        ENTRIES,
        "what came meanwhile is for the next"
    );
}

#[test]
fn a_row_that_its_writer_changes_while_it_is_read_is_read_again() {
    let mut setup = Setup::new();
    let path = setup.path.clone();
    setup.ledger.step_by_step(move |turns| {
        if turns == 0 {
            let sql = r#"UPDATE entries SET body = '{"email":"new@example.com"}' WHERE request_id = 'r0'"#;
            Connection::open(&path).unwrap().execute(sql, []).unwrap();
        }
    });
    setup.with(0, |ledger, reader| ledger.take_in(reader, Moment::now()).unwrap());
    assert_eq!(count(&setup.path, "standings WHERE reading_id IS NULL"), 1);
    assert_eq!(count(&setup.path, "readings WHERE entry_id = 1"), 0, "nothing of what it said before");
    setup.take_in(0);
    assert_eq!(count(&setup.path, "standings WHERE reading_id IS NULL"), 0);
}

#[test]
fn another_plan_is_read_in_turns_whenever_it_was_broken_off() {
    let mut setup = Setup::new();
    setup.record("more", 2000, 300);
    setup.take_in(0);
    let read = count(&setup.path, "standings");
    let copies = setup.with_copies();
    setup.take_in(1);
    assert!(setup.ledger.turns_taken() > read, "a turn for each, and some for what was opened");
    let basis = |ledger: &mut Ledger, reader: &Reader| {
        while ledger.take_in(reader, Moment::now()).unwrap() {}
        let other =
            "SELECT count(*) FROM standings s LEFT JOIN readings r ON r.id = s.reading_id WHERE r.basis IS NOT ?";
        ledger.connection.query_row(other, [reader.basis()], |row| row.get::<_, u64>(0)).unwrap()
    };
    assert_eq!(setup.with(1, basis), 0);
    let links = count(&setup.path, "links");
    let killed = killed(&copies);
    let some = killed.iter().enumerate().filter(|(at, _)| *at < 4 || at % 100 == 0);
    for (at, path) in some {
        for plan in [1, 0] {
            let other = path.with_extension(format!("{plan}.sqlite"));
            copy(path, &other);
            setup.ledger = Ledger::open(&other).unwrap();
            assert_eq!(setup.with(plan, basis), 0, "broken off before turn {at}, then plan {plan}");
            assert_eq!(count(&other, "links"), links);
        }
    }
}

#[test]
fn who_closes_lets_writers_in_and_each_entry_is_closed_whole() {
    let mut setup = Setup::new();
    setup.take_in(0);
    let written = setup.with_a_writer();
    assert_eq!(setup.close_all() as u64, ENTRIES);
    assert!(written.load(Ordering::SeqCst) >= ENTRIES);
    assert_eq!(
        count(&setup.path, "standings WHERE reason = 'closed'"),
        ENTRIES,
        "those of the beginning, and no others"
    );
}

#[test]
fn a_kill_in_a_close_leaves_no_entry_half_closed() {
    let mut setup = Setup::new();
    setup.take_in(0);
    let copies = setup.with_copies();
    setup.close_all();
    let closed: Vec<u64> = killed(&copies)
        .iter()
        .map(|path| {
            let closed = count(path, "standings WHERE reason = 'closed'");
            assert_eq!(count(path, "verdicts"), closed);
            closed
        })
        .collect();
    assert!(closed.contains(&0) && closed.contains(&1) && closed.contains(&(ENTRIES - 1)), "{closed:?}");
}

#[test]
fn who_prunes_lets_writers_in_and_prunes_what_was_due_at_the_beginning() {
    let mut setup = Setup::new();
    setup.take_in(0);
    setup.close_all();
    let written = setup.with_a_writer();
    assert_eq!(setup.prune(), ENTRIES);
    assert!(written.load(Ordering::SeqCst) >= ENTRIES);
    assert_eq!(count(&setup.path, "entries WHERE body IS NULL"), ENTRIES);
    assert_eq!(count(&setup.path, "blankings"), 1, "one command");
    assert_eq!(count(&setup.path, &format!("blankings WHERE entries = {ENTRIES}")), 1);
}

#[test]
fn a_kill_in_a_prune_leaves_each_entry_whole_and_the_next_one_finishes() {
    let mut setup = Setup::new();
    setup.take_in(0);
    setup.close_all();
    let copies = setup.with_copies();
    setup.prune();
    let mut pruned = Vec::new();
    for path in killed(&copies) {
        setup.ledger = Ledger::open(&path).unwrap();
        let blank = count(&path, "entries WHERE body IS NULL");
        assert_eq!(count(&path, "blanked"), blank);
        assert_eq!(count(&path, "ledger WHERE blanking = 0"), 1);
        assert_eq!(count(&path, &format!("blankings WHERE entries <> {blank}")), 0, "it says how many there were");
        assert_eq!(setup.ledger.verify().unwrap().differing, 0);
        assert_eq!(setup.prune(), ENTRIES - blank);
        assert_eq!(setup.ledger.verify().unwrap().differing, 0);
        pruned.push(blank);
    }
    assert!(pruned.contains(&0) && pruned.contains(&1) && pruned.contains(&(ENTRIES - 1)), "{pruned:?}");
}

#[test]
fn what_a_writer_changes_during_a_prune_stays_whole() {
    let mut setup = Setup::new();
    setup.take_in(0);
    setup.close_all();
    // A bad row is its writer's to correct, also when it is closed.
    let sql = "UPDATE standings SET reason = 'bad-row' WHERE entry_id = 3";
    Connection::open(&setup.path).unwrap().execute(sql, []).unwrap();
    let path = setup.path.clone();
    setup.ledger.step_by_step(move |turns| {
        if turns == 1 {
            let sql = r#"UPDATE entries SET body = '{"email":"new@example.com"}' WHERE id = 3"#;
            Connection::open(&path).unwrap().execute(sql, []).unwrap();
        }
    });
    assert_eq!(setup.prune(), ENTRIES - 1);
    assert_eq!(count(&setup.path, "entries WHERE body IS NOT NULL AND id = 3"), 1);
}

#[test]
fn a_kill_in_an_erasure_leaves_each_group_whole_and_the_next_one_finishes() {
    let mut setup = Setup::new();
    let named = "UPDATE entries SET error = 'no answer for ann@example.com' WHERE id < 5";
    Connection::open(&setup.path).unwrap().execute(named, []).unwrap();
    setup.take_in(0);
    setup.close_all();
    let copies = setup.with_copies();
    assert_eq!(setup.forget(), 4);
    assert_eq!(count(&setup.path, "blankings WHERE entries = 4"), 1);
    let mut forgotten = Vec::new();
    for path in killed(&copies) {
        setup.ledger = Ledger::open(&path).unwrap();
        let blank = count(&path, "blanked");
        assert_eq!(count(&path, "entries WHERE error IS NOT NULL"), 4 - blank);
        assert_eq!(count(&path, "ledger WHERE blanking = 0"), 1);
        assert_eq!(setup.forget(), 4 - blank);
        assert_eq!(setup.ledger.verify().unwrap().differing, 0);
        forgotten.push(blank);
    }
    assert_eq!(forgotten, [0, 1, 2, 3]);
}

#[test]
fn the_log_goes_into_the_file_after_the_jobs_own_turns() {
    let mut setup = Setup::new();
    setup.record("more", 2000, 2000);
    setup.take_in(0);
    setup.take_in(1);
    // SQLite itself would do it in the commit of the next writer who finds so many pages.
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    let (log, moved): (i64, i64) =
        setup.ledger.connection.query_row(sql, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap();
    assert!(log - moved < 1000, "{log} {moved}");
}
