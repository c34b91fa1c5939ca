//! Proves that a kill at any moment loses nothing: runs that are killed again and again come to the same report as one that
//! was left alone, over the same ledger and the same server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use crate::util::{Dir, Entry, Platform, Row, Setup, finish, signal, until};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};

const ENTRIES: i64 = 200;
const ROUNDS: u64 = 4;
const KILLS: u64 = 6;

/// A server with some of the records, and a ledger of requests of every kind, nothing looked at yet.
fn aftermath(platform: &Platform) -> Dir {
    let dir = Dir::of(platform);
    let db = dir.db();
    db.execute_batch("BEGIN").unwrap();
    for n in 0..ENTRIES {
        let email = format!("p{n}@example.com");
        let entry = Entry::register(&format!("r{n:03}"), &platform.url, &email).operation(&format!("op{}", n / 2 * 2));
        let account = NewAccount {
            email: Some(email),
            given_name: Some(if n % 10 == 1 { "Zoë" } else { "Ann" }.to_owned()),
            made_ms: (n % 10 == 2).then(|| (Moment::now() + Span::seconds(-86_400)).0),
            ..NewAccount::default()
        };
        if n % 10 < 5 {
            platform.add(account);
        }
        let entry = match n % 10 {
            8 => entry.body("{"),
            9 => entry.with("url", format!("{}/api/account/shadow", platform.url)),
            _ => entry.with("operation_id", rusqlite::types::Value::Null),
        };
        entry.insert(&db).unwrap();
    }
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    dir
}

/// The same ledger in a folder of its own.
fn copy(platform: &Platform, of: &Dir) -> Dir {
    let dir = Dir::of(platform);
    for leftover in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(dir.file(leftover));
    }
    std::fs::copy(of.file("ledger.db"), dir.file("ledger.db")).unwrap();
    dir
}

/// What must be equal, however often a run was killed.
fn shown(dir: &Dir) -> Vec<Row> {
    let columns = ["request_id", "status", "outcome", "reason", "action", "server_id"];
    let rows = dir.report().into_iter();
    rows.map(|row| columns.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect()).collect()
}

fn is_whole(dir: &Dir) {
    let said: String = dir.db().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    assert_eq!(dir.count("SELECT count(*) FROM entries"), ENTRIES);
    assert_eq!(dir.report().len() as i64, ENTRIES);
}

#[test]
fn killed_runs_come_to_the_same_report() {
    let platform = Platform::with(Faults { latency_ms: 4, shows_created_at: true, ..Faults::default() });
    let ledger = aftermath(&platform);
    let copies: Vec<Dir> = (0..ROUNDS).map(|_| copy(&platform, &ledger)).collect();
    assert_eq!(ledger.run(&["run", "--wait", "60s"]).code, 3);
    let expected = shown(&ledger);
    let reasons: std::collections::BTreeSet<&str> = expected.iter().map(|row| row["reason"].as_str()).collect();
    for reason in ["present", "preexisting", "key-taken", "confirmed-absent", "bad-row", "unobservable"] {
        assert!(reasons.contains(reason), "{reasons:?}");
    }

    let mut killed_in_the_middle = 0;
    for (round, dir) in copies.iter().enumerate() {
        let mut random = fastrand::Rng::with_seed(round as u64);
        for _ in 0..KILLS {
            let runs = dir.count("SELECT count(*) FROM runs");
            let run = dir.command(&["run", "--wait", "60s"]).spawn().unwrap();
            // Half of them are killed before they begin, or soon after.
            if random.bool() {
                until("the run", || dir.count("SELECT count(*) FROM runs") > runs);
            }
            std::thread::sleep(Duration::from_millis(random.u64(1..250)));
            signal("-KILL", run.id());
            finish(run);
            is_whole(dir);
        }
        killed_in_the_middle += dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NULL");
        assert_eq!(dir.run(&["run", "--wait", "60s"]).code, 3);
        is_whole(dir);
        assert_eq!(shown(dir), expected, "round {round}");
        let again = dir.run(&["verify"]);
        assert_eq!(again.code, 0, "{again:?}");
    }
    assert!(killed_in_the_middle >= 4, "only {killed_in_the_middle} runs were killed in the middle");
}

#[test]
fn a_kill_frees_the_lock() {
    let platform = Platform::with(Faults { latency_ms: 50, ..Faults::default() });
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    for n in 0..20 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com")));
    }
    // It goes on until it is killed, for it waits for the window's end.
    let run = dir.command(&["run", "--wait", "2h"]).spawn().unwrap();
    until("the run", || dir.count("SELECT count(*) FROM runs") == 1);
    assert_eq!(dir.run(&["run"]).code, 11);
    signal("-KILL", run.id());
    finish(run);
    platform.set_faults(Faults::default());
    dir.runs(4);
}
