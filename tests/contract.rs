//! Proves the contract with writers and readers: the ledger takes what any language inserts, keeps evidence, and refuses
//! what would bend it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::Write;
use std::process::{Command, Stdio};

use crate::util::{Dir, Entry, Platform, Setup, finish, said, until};
use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::VERSION;
use rusqlite::types::Value;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Another environment, whose entries stay pending and ask nobody.
const ELSEWHERE: &str = "http://127.0.0.1:10";

fn schema() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql")).unwrap()
}

/// Runs SQL through the sqlite3 shell. `None` where there is no such program.
fn shell(dir: &Dir, sql: &str) -> Option<String> {
    let started = Command::new("sqlite3")
        .arg("-bail")
        .arg(dir.file("ledger.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: there is no sqlite3 on this machine");
        return None;
    };
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let ran = finish(child);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    Some(ran.out)
}

/// What SQLite says against a statement.
fn refused(dir: &Dir, sql: &str) -> String {
    match dir.db().execute(sql, []) {
        Ok(changed) => panic!("{sql} changed {changed} rows"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_ledger_made_and_filled_by_the_sqlite3_shell_is_taken() {
    let platform = Platform::start();
    let dir = Dir::without_ledger(&Setup::of(&platform));
    let Some(_) = shell(&dir, &schema()) else { return };
    let url = format!("{}/api/v1.0/account", platform.url);
    let sql = format!(
        "INSERT INTO entries (request_id, method, url, body, sent_at, failure) \
         VALUES ('r1', 'POST', '{url}', json_object('email', 'ann@example.com'), '2026-03-01T12:00:00+01:00', 'timeout');"
    );
    shell(&dir, &sql).unwrap();
    dir.runs(4);
    dir.due();
    dir.runs(0);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.row("r1")["sent_at"], "2026-03-01T11:00:00.000Z");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// All that stands in the schema of a ledger, and its version.
fn made(dir: &Dir) -> (String, i64) {
    let text = "SELECT group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10)) FROM sqlite_schema";
    (dir.db().query_row(text, [], |row| row.get(0)).unwrap(), dir.count("PRAGMA user_version"))
}

#[test]
fn init_and_schema_sql_make_the_same_ledger() {
    let (one, two) = (Dir::new(&Setup::bare(NOWHERE)), Dir::without_ledger(&Setup::bare(NOWHERE)));
    two.db().execute_batch(&schema()).unwrap();
    assert_eq!(two.run(&["status"]).code, 0, "it is a ledger before any command wrote to it");
    assert_eq!(made(&one), made(&two));
    assert_eq!(made(&one).1, VERSION);
}

/// Runs `schema.sql` as a shell does: statement by statement, and on after every error. Says how many failed.
fn schema_again(db: &rusqlite::Connection) -> usize {
    let (mut statement, mut failed) = (String::new(), 0);
    for line in schema().lines().map(|line| line.split("--").next().unwrap_or_default().trim_end()) {
        statement.push_str(line);
        statement.push('\n');
        let whole =
            line.ends_with(';') && (!statement.trim_start().starts_with("CREATE TRIGGER") || line.ends_with("END;"));
        if whole {
            failed += usize::from(db.execute_batch(&statement).is_err());
            statement.clear();
        }
    }
    assert!(statement.trim().is_empty() && db.is_autocommit(), "{statement}");
    failed
}

#[test]
fn schema_sql_run_again_spoils_no_ledger() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-after");
    dir.runs(0);
    let before = dir.row("r1");
    let schema = made(&dir);
    for command in ["run", "status", "report", "show", "init", "check", "verify", "backup"] {
        assert!(schema_again(&dir.db()) > 20, "all but the version is there already");
        assert_eq!(made(&dir), schema);
        let rest: &[&str] = match command {
            "show" => &["r1"],
            "backup" => &["copy.db"],
            _ => &[],
        };
        let ran = dir.run(&[&[command], rest].concat());
        assert!(ran.code == 0, "{command}: {ran:?}");
    }
    dir.runs(0);
    assert_eq!((dir.count("PRAGMA user_version"), dir.row("r1")), (VERSION, before));
}

/// Every file of the folder, with its bytes.
fn files(dir: &Dir) -> Vec<(String, Vec<u8>)> {
    let names = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.into_iter().map(|name| (name.clone(), std::fs::read(dir.file(&name)).unwrap())).collect()
}

/// Whatever made it, and whatever a killed writer left beside the file.
#[test]
fn who_only_reads_leaves_every_file_as_it_is() {
    let platform = Platform::start();
    let made = |by: &str| {
        let dir = Dir::without_ledger(&Setup::of(&platform));
        match by {
            "schema.sql" => dir.db().execute_batch(&schema()).unwrap(),
            _ => assert_eq!(dir.run(&["init"]).code, 0),
        }
        if by == "run over" {
            schema_again(&dir.db());
        }
        let db = dir.db();
        db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        Entry::register("r1", &platform.url, "ann@example.com").insert(&db).unwrap();
        (dir, db)
    };
    let commands = [&["run", "--dry-run"][..], &["check"], &["status"], &["report"], &["show", "r1"]];
    for by in ["schema.sql", "init", "run over"] {
        let (dir, db) = made(by);
        // The files of a writer that was killed: its log is not in the ledger yet.
        let killed = Dir::without_ledger(&Setup::of(&platform));
        for name in ["ledger.db", "ledger.db-wal"] {
            std::fs::copy(dir.file(name), killed.file(name)).unwrap();
        }
        drop(db);
        for (dir, left) in [(&dir, false), (&killed, true)] {
            let before = files(dir);
            assert_eq!(before.iter().any(|(name, bytes)| name.ends_with("-wal") && !bytes.is_empty()), left);
            for command in commands {
                let ran = dir.run(command);
                assert_eq!(ran.code, if command[0] == "run" { 4 } else { 0 }, "{by} {command:?} {ran:?}");
                let mut after = files(dir);
                after.retain(|(name, _)| !(left && name.ends_with("-shm")));
                assert!(after == before, "{by} {command:?} changed a file");
            }
        }
        dir.runs(4);
    }
}

#[test]
fn init_leaves_a_ledger_that_is_there_as_it_is() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "GET", NOWHERE));
    assert_eq!(dir.run(&["init"]).code, 0);
    assert_eq!(dir.count("SELECT count(*) FROM entries"), 1);
}

#[test]
fn a_writer_inserts_while_a_run_goes_on() {
    let platform = Platform::start();
    let setup = Setup::of(&platform).windows(&[("confirm_after", "1s"), ("intent", "1h")]);
    let dir = Dir::new(&setup);
    // The run goes on until the news of this one.
    dir.insert(&Entry::register("open", &platform.url, "open@example.com").failure("intent"));
    let entry = |n: u32| Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com"));
    dir.insert(&entry(0));
    let run = dir.command(&["run", "--wait", "2h"]).spawn().unwrap();
    let checked = |request: &str| {
        let sql = format!("SELECT checks FROM state JOIN entries e ON e.id = entry_id WHERE request_id = '{request}'");
        dir.count(&sql)
    };
    until("the first look", || checked("r0") > 0);
    for n in 1..20 {
        dir.insert(&entry(n));
    }
    until("the verdicts", || dir.count("SELECT count(*) FROM state WHERE status = 'resolved'") == 20);
    let news = "UPDATE entries SET failure = 'answered', http_status = 412 WHERE request_id = 'open'";
    assert_eq!(dir.db().execute(news, []), Ok(1));
    assert_eq!(finish(run).code, 0);
    assert!(dir.report().iter().all(|row| said(row) == "resolved not-applied confirmed-absent resend"));
    assert_eq!(dir.report().len(), 20);
}

#[test]
fn null_is_as_good_as_left_out() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let sent = Moment::parse("2026-03-01T12:00:00Z").unwrap();
    let url = format!("{NOWHERE}/api/v1.0/account/shadow");
    let least = Entry::new("r1", "POST", &url).sent(sent);
    let optional = ["operation_id", "direction", "body", "ended_at", "http_status", "error"];
    let nulls = optional.iter().fold(least.clone().with("request_id", "r2".to_owned()), |e, c| e.with(c, Value::Null));
    dir.insert(&least);
    dir.insert(&nulls);
    dir.runs(3);
    let (mut one, two) = (dir.row("r1"), dir.row("r2"));
    one.insert("request_id".to_owned(), "r2".to_owned());
    one.insert("operation_id".to_owned(), "r2".to_owned());
    assert_eq!(one, two);
    assert_eq!(said(&two), "duplicate-risk unknown unobservable ask-privo");
}

#[test]
fn the_same_request_id_again_changes_nothing() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let entry = Entry::new("r1", "POST", &format!("{NOWHERE}/nowhere"));
    dir.insert(&entry);
    let again = entry.with("method", "DELETE".to_owned());
    assert_eq!(again.insert(&dir.db()).unwrap(), 0);
    dir.runs(3);
    assert_eq!(again.insert(&dir.db()).unwrap(), 0);
    assert_eq!((dir.row("r1")["method"].as_str(), dir.report().len()), ("POST", 1));
}

/// Every entry has its one state, and every state its entry.
fn is_whole(dir: &Dir) {
    let orphans = "SELECT count(*) FROM state WHERE entry_id NOT IN (SELECT id FROM entries)";
    let bare = "SELECT count(*) FROM entries WHERE id NOT IN (SELECT entry_id FROM state)";
    assert_eq!([dir.count(orphans), dir.count(bare)], [0, 0], "states and entries alone");
    let said: String = dir.db().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

#[test]
fn insert_or_replace_takes_no_verdict_away() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("settled", "POST", &format!("{NOWHERE}/nowhere")));
    dir.insert(&Entry::register("pending", ELSEWHERE, "a@example.com"));
    dir.runs(3);
    let before = dir.row("settled");
    for request in ["settled", "pending"] {
        let sql = format!(
            "INSERT OR REPLACE INTO entries (request_id, method, url, sent_at, failure)
             VALUES ('{request}', 'GET', '{NOWHERE}', '2026-01-01T00:00:00Z', 'timeout')"
        );
        assert!(refused(&dir, &sql).contains("keeps its entries"));
    }
    let by_id = format!(
        "INSERT OR REPLACE INTO entries (id, request_id, method, url, sent_at, failure)
         VALUES (1, 'new', 'GET', '{NOWHERE}', '2026-01-01T00:00:00Z', 'timeout')"
    );
    assert!(refused(&dir, &by_id).contains("keeps its entries"));
    is_whole(&dir);
    dir.runs(3);
    is_whole(&dir);
    assert_eq!(dir.row("settled"), before);
    assert_eq!(dir.report().len(), 2);
}

#[test]
fn insert_or_replace_of_an_intent_is_refused_and_a_deleted_one_may_come_again() {
    let dir = Dir::new(&Setup::bare(NOWHERE).windows(&[("intent", "1h")]));
    let intent = Entry::register("r1", ELSEWHERE, "ann@example.com").failure("intent");
    dir.insert(&intent);
    assert_eq!(intent.insert(&dir.db()).unwrap(), 0);
    let replace = "INSERT OR REPLACE INTO entries SELECT NULL, request_id, NULL, NULL, method, url, body, sent_at, NULL, 'answered', 201, NULL FROM entries";
    assert!(refused(&dir, replace).contains("keeps its entries"));
    dir.runs(4);
    is_whole(&dir);
    dir.db().execute("DELETE FROM entries", []).unwrap();
    dir.insert(&Entry::register("r0", ELSEWHERE, "ann@example.com"));
    dir.insert(&intent);
    dir.runs(4);
    is_whole(&dir);
    assert_eq!(dir.report().len(), 2);
}

#[test]
fn an_upsert_is_an_update_and_held_to_its_rules() {
    let dir = Dir::new(&Setup::bare(NOWHERE).windows(&[("intent", "1h")]));
    let intent = Entry::register("r1", ELSEWHERE, "ann@example.com").failure("intent");
    dir.insert(&intent);
    dir.insert(&Entry::register("r2", ELSEWHERE, "bob@example.com"));
    dir.runs(4);
    let upsert = |request: &str| {
        format!(
            "INSERT INTO entries (request_id, method, url, sent_at, failure) VALUES ('{request}', 'POST', '{NOWHERE}', '2026', 'not_sent')
             ON CONFLICT (request_id) DO UPDATE SET failure = excluded.failure"
        )
    };
    assert_eq!(dir.db().execute(&upsert("r1"), []).unwrap(), 1);
    assert!(refused(&dir, &upsert("r2")).contains("as it was recorded"));
    dir.runs(4);
    assert_eq!(dir.row("r1")["failure"], "not_sent");
    is_whole(&dir);
}

#[test]
fn cells_of_any_kind_stop_nothing_and_are_reported() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let kinds = [
        Value::Null,
        Value::Integer(-1),
        Value::Integer(i64::MAX),
        Value::Real(503.5),
        Value::Real(f64::INFINITY),
        Value::Text(String::new()),
        Value::Text("\0\u{202e}".to_owned()),
        Value::Text("[".repeat(100_000)),
        Value::Blob(vec![0xff, 0x00, 0xfe]),
        Value::Blob(Vec::new()),
    ];
    let columns = [
        "request_id",
        "operation_id",
        "direction",
        "method",
        "url",
        "body",
        "sent_at",
        "ended_at",
        "failure",
        "http_status",
        "error",
    ];
    let mut taken = 1;
    for column in columns {
        for (number, kind) in kinds.iter().enumerate() {
            let entry =
                Entry::new(&format!("{column}-{number}"), "POST", &format!("{NOWHERE}/api/v1.0/account/shadow"));
            // What the table itself refuses is no entry: the writer hears of it.
            taken += entry.with(column, kind.clone()).insert(&dir.db()).unwrap_or(0);
        }
    }
    dir.insert(&Entry::new("good", "GET", NOWHERE));
    let ran = dir.runs(3);
    assert!(ran.err.is_empty(), "{ran:?}");
    assert_eq!(dir.says("good"), "resolved not-applied no-effect none");
    let rows = dir.report();
    assert_eq!(rows.len(), taken);
    assert!(taken > 90 && rows.iter().all(|row| row["status"] != "pending"), "{taken}");
    assert_eq!(dir.run(&["verify"]).code, 0);
    is_whole(&dir);
}

#[test]
fn evidence_is_only_ever_added_to() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.runs(4);
    dir.due();
    dir.runs(0);
    for table in ["evidence", "texts"] {
        assert!(dir.count(&format!("SELECT count(*) FROM {table}")) > 0, "{table}");
        assert!(refused(&dir, &format!("UPDATE {table} SET id = id + 1000")).contains("append-only"), "{table}");
        assert!(refused(&dir, &format!("DELETE FROM {table}")).contains("append-only"), "{table}");
    }
}

#[test]
fn entries_stay_as_they_were_recorded() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::register("r1", ELSEWHERE, "ann@example.com"));
    dir.runs(4);
    for column in ["request_id", "url", "body", "failure", "sent_at", "error"] {
        let said = refused(&dir, &format!("UPDATE entries SET {column} = 'x'"));
        assert!(said.contains("as it was recorded"), "{column}: {said}");
    }
    assert!(refused(&dir, "DELETE FROM entries").contains("keeps its entries"));
}

#[test]
fn an_intent_is_updated_once() {
    let dir = Dir::new(&Setup::bare(NOWHERE).windows(&[("intent", "1h")]));
    dir.insert(&Entry::register("r1", ELSEWHERE, "ann@example.com").failure("intent"));
    dir.runs(4);
    for column in ["url", "body", "sent_at", "operation_id", "method"] {
        let said = refused(&dir, &format!("UPDATE entries SET {column} = '{NOWHERE}'"));
        assert!(said.contains("of an intent only"), "{column}: {said}");
    }
    let news = "UPDATE entries SET failure = 'http', http_status = 503, ended_at = '2026-01-01T00:00:00Z', error = 'x'";
    assert_eq!(dir.db().execute(news, []).unwrap(), 1);
    dir.runs(4);
    assert_eq!((dir.row("r1")["failure"].as_str(), dir.row("r1")["http_status"].as_str()), ("http", "503"));
    assert!(refused(&dir, "UPDATE entries SET failure = 'not_sent'").contains("as it was recorded"));
}

#[test]
fn an_intent_is_deleted_while_nothing_was_observed_for_it() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform));
    let intent = |request: &str| Entry::register(request, &platform.url, "ann@example.com").failure("intent");
    dir.insert(&intent("gone"));
    dir.db().execute("DELETE FROM entries WHERE request_id = 'gone'", []).unwrap();
    is_whole(&dir);
    dir.runs(0);
    dir.insert(&intent("seen"));
    dir.runs(4);
    assert!(refused(&dir, "DELETE FROM entries").contains("never looked up"));
}

#[test]
fn a_bad_row_is_corrected_by_update_and_opened_again() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let url = format!("{NOWHERE}/api/v1.0/account/shadow");
    dir.insert(&Entry::new("r1", "POST", &url).failure("not sent"));
    dir.runs(3);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown bad-row review");
    dir.db().execute("UPDATE entries SET failure = 'not_sent'", []).unwrap();
    assert_eq!(dir.says("r1"), "pending . inconclusive wait");
    dir.runs(0);
    assert_eq!(dir.says("r1"), "resolved not-applied never-sent resend");
    assert_eq!(dir.count("SELECT count(*) FROM verdicts"), 2);
    assert!(refused(&dir, "UPDATE entries SET failure = 'timeout'").contains("as it was recorded"));
}

#[test]
fn the_jobs_own_tables_hold_no_personal_values() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "Zebedee@quux.example"), "lost-after");
    dir.runs(0);
    for table in ["evidence", "texts", "state", "runs", "notes"] {
        let db = dir.db();
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let Ok(Some(cell)) = row.get_ref(column).unwrap().as_str_or_null() else { continue };
                for value in ["ebedee", "quux", "Ann", "19900102", "1990-01-02"] {
                    assert!(!cell.contains(value), "{table}: {cell}");
                }
            }
        }
    }
}

#[test]
fn a_ledger_of_another_version_is_refused_with_both_versions_named() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for version in [2, 3, 9] {
        dir.db().pragma_update(None, "user_version", version).unwrap();
        for command in ["run", "report", "status", "init", "verify", "check"] {
            let ran = dir.run(&[command]);
            assert_eq!(ran.code, 2, "{command}: {ran:?}");
            let said = ran.err + &ran.out;
            for words in [&format!("version {version}"), &format!("version {VERSION} alone"), "development", "new path"]
            {
                assert!(said.contains(words), "{command}: {words}: {said}");
            }
        }
    }
}

#[test]
fn what_a_development_version_made_is_refused_by_name() {
    for (change, difference) in [
        ("DROP TABLE notes", "table `notes`"),
        ("ALTER TABLE state DROP COLUMN vanished_ms", "column `vanished_ms`"),
        (
            "DROP TRIGGER texts_kept; \
             CREATE TRIGGER texts_kept BEFORE UPDATE ON texts BEGIN SELECT RAISE(ABORT, 'append-only'); END",
            "trigger `texts_kept`",
        ),
    ] {
        let dir = Dir::new(&Setup::bare(NOWHERE));
        dir.db().execute_batch(change).unwrap();
        for command in ["run", "report", "status", "init", "verify"] {
            let ran = dir.run(&[command]);
            assert_eq!(ran.code, 2, "{command}: {ran:?}");
            assert!(ran.err.contains(difference) && ran.err.contains("development version"), "{command}: {ran:?}");
            assert!(ran.err.contains("init` on a new path"), "{command}: {ran:?}");
        }
    }
}

#[test]
fn what_is_no_ledger_is_refused_and_left_alone() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    let other = "SQLite format 3\0 but not really a database, only some bytes that begin like one".repeat(40);
    for content in ["", "Dear diary, this is no database at all.", other.as_str()] {
        std::fs::write(dir.file("ledger.db"), content).unwrap();
        for command in ["run", "report", "status", "init"] {
            if command == "init" && content.is_empty() {
                continue;
            }
            let ran = dir.run(&[command]);
            assert_eq!(ran.code, 2, "{command} {ran:?}");
            assert!(ran.err.contains("is not a ledger") && ran.err.contains("init"), "{ran:?}");
            assert_eq!(dir.read("ledger.db"), content, "{command} changed it");
        }
    }
}

#[test]
fn init_finishes_a_ledger_that_an_earlier_one_left_empty() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    std::fs::write(dir.file("ledger.db"), "").unwrap();
    assert_eq!(dir.run(&["init"]).code, 0);
    dir.runs(0);
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    dir.db().execute_batch("CREATE TABLE theirs (a)").unwrap();
    for command in ["init", "run"] {
        assert_eq!(dir.run(&[command]).code, 2, "{command}");
    }
    assert_eq!(dir.count("SELECT count(*) FROM sqlite_schema"), 1);
    dir.db().execute_batch("CREATE TABLE t (a); PRAGMA user_version = 1").unwrap();
    let ran = dir.run(&["run"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("is not a ledger"), "{ran:?}");
}
