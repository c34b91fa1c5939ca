//! Proves that a ledger that moves out of a file into PostgreSQL is the same ledger there: reports, stories and advice say the
//! same bytes, `verify` agrees on both sides, a run goes on where the last one ended; and that nothing is recorded any more
//! where nobody reads it.
//!
//! Without PostgreSQL on the machine there is nothing to prove, and each says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use serde_json::Value;

use crate::json::is_as_documented;
use crate::postgres::{FAST, in_database, psql, register};
use crate::util::cluster::Cluster;
use crate::util::resends::approve;
use crate::util::{Dir, Entry, Platform, Ran, Setup, leaks};

/// Moves a file's ledger into the one of a database.
fn moves(file: &Dir, database: &Dir) -> Ran {
    database.run(&["move", file.file("ledger.db").to_str().unwrap()])
}

fn moves_well(file: &Dir, database: &Dir) -> String {
    let ran = moves(file, database);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.out
}

/// A folder whose ledger is an empty one in the server.
fn empty(cluster: &Cluster, setup: &Setup) -> Dir {
    let dir = in_database(cluster, setup);
    assert_eq!(dir.run(&["init"]).code, 0);
    dir
}

/// What a kill after the database's commit leaves: a file that is open to its writers.
fn reopen(dir: &Dir) {
    let drop = "DROP TRIGGER moved_no_insert; DROP TRIGGER moved_no_update; DROP TRIGGER moved_no_delete";
    dir.db().execute_batch(drop).unwrap();
}

fn setup(platform: &Platform) -> Setup {
    Setup::of(platform).windows(&[("intent", "1h")])
}

/// A ledger that has lived: settled, at risk, pending, answered, bad, closed, erased, imported, approved.
fn lived(platform: &Platform) -> Dir {
    let dir = Dir::new(&setup(platform));
    dir.attempt(platform, register(platform, "applied"), "lost-after");
    dir.attempt(platform, register(platform, "first").operation("retried"), "lost-before");
    let again = register(platform, "second").body(&register(platform, "first").text("body"));
    dir.attempt(platform, again.operation("retried"), "plain");
    dir.insert(&Entry::new("unplanned", "POST", &format!("{}/unknown", platform.url)));
    dir.run_twice();
    let close = ["close", "unplanned", "--who", "Jo", "--why", "seen at PRIVO", "--outcome", "applied"];
    assert_eq!(dir.run(&close).code, 0);
    let sent = platform.now();
    let csv = format!(
        "request_id,method,url,body,sent_at,failure\n\
         r1,POST,{}/api/v1.0/account,\"{{\"\"email\"\":\"\"r1@a.example\"\"}}\",{sent},timeout\n",
        platform.url
    );
    leaks::note(&csv);
    std::fs::write(dir.file("failed.csv"), csv).unwrap();
    assert_eq!(dir.run(&["import", "failed.csv"]).code, 0);
    for (id, fate) in [("made", "lost-after"), ("lost", "lost-before"), ("broke", "error-after")] {
        dir.attempt(platform, register(platform, id), fate);
    }
    dir.insert(&register(platform, "bad").with("sent_at", "yesterday".to_owned()));
    let body = format!("{{\"email\":\"{}\"", String::from_utf8_lossy(&[0xff]));
    dir.insert(&register(platform, "torn").body(&body));
    dir.insert(&register(platform, "elsewhere").with("url", "https://other.example/api/v1.0/account".to_owned()));
    dir.insert(&register(platform, "begun").failure("intent"));
    dir.run_twice();
    approve(&dir);
    assert_eq!(dir.run(&["forget", "applied@example.com", "--who", "Jo", "--why", "letter of 1 March"]).code, 0);
    // No run has read it yet.
    dir.attempt(platform, register(platform, "late"), "lost-after");
    dir
}

#[test]
fn a_ledger_that_moved_says_the_same_and_goes_on() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::dated();
    let file = lived(&platform);
    let database = empty(&cluster, &setup(&platform));
    let said = |dir: &Dir| {
        let shown = ["made", "lost", "unplanned", "begun", "torn", "late"].map(|id| vec!["show", id]);
        let all = [vec!["report"], vec!["report", "--for", "support"], vec!["status"], vec!["resend"], vec!["verify"]];
        let all = all.into_iter().chain(shown).map(|arguments| {
            let ran = dir.run(&arguments);
            assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
            ran.out
        });
        all.collect::<Vec<String>>()
    };
    let before = said(&file);
    for said in ["confirmed-absent", "present", "bad-row", "other-environment", "closed", "pending"] {
        assert!(before[0].contains(said), "{said}: {}", before[0]);
    }
    let out = moves_well(&file, &database);
    assert!(out.contains("moved the ledger") && out.contains("point [ledger]"), "{out}");
    assert_eq!(said(&database), before);
    assert_eq!(said(&file), before);
    // A record that was imported is known, and the approval holds.
    std::fs::copy(file.file("failed.csv"), database.file("failed.csv")).unwrap();
    let again = database.run(&["import", "failed.csv", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&again.out).unwrap()["imported"], 0, "{again:?}");
    psql(&cluster, "UPDATE privo_reconcile.state SET due_ms = 0 WHERE due_ms IS NOT NULL");
    psql(&cluster, &register(&platform, "new").sql("privo_reconcile.entries"));
    leaks::note(&register(&platform, "new").text("body"));
    database.run(&["run"]);
    assert!(database.says("late").starts_with("resolved"), "{}", database.says("late"));
    assert!(database.report().iter().any(|row| row["request_id"] == "new"));
    assert_eq!(database.run(&["verify"]).code, 0);
}

#[test]
fn a_file_that_was_moved_refuses_writers_and_runs() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let file = Dir::new(&setup(&platform));
    file.insert(&register(&platform, "begun").failure("intent"));
    let database = empty(&cluster, &setup(&platform));
    moves_well(&file, &database);
    for sql in [
        &register(&platform, "a").sql("entries"),
        &register(&platform, "a").sql("entries").replacen("INSERT", "INSERT OR IGNORE", 1),
        "UPDATE entries SET failure = 'timeout'",
        "DELETE FROM entries",
    ] {
        let refused = file.db().execute_batch(sql).unwrap_err().to_string();
        assert!(refused.contains("moved to PostgreSQL"), "{sql}: {refused}");
    }
    for arguments in [&["run"][..], &["import", "x.csv"], &["close", "begun", "--who", "Jo", "--why", "x"]] {
        let ran = file.run(arguments);
        assert!(ran.code == 2 && ran.err.contains("was moved to PostgreSQL"), "{arguments:?}: {ran:?}");
    }
    let ran = file.run(&["check"]);
    assert!(ran.code != 0 && ran.out.contains("BAD") && ran.out.contains("was moved to PostgreSQL"), "{ran:?}");
    assert!(moves_well(&file, &database).contains("has the ledger"));
    assert_eq!(file.count("SELECT count(*) FROM entries"), 1);
    // Nor does it move on into another database, while the first one has it.
    psql(&cluster, "UPDATE privo_reconcile.ledger SET name = 'another'");
    let ran = moves(&file, &database);
    assert!(ran.code == 2 && ran.err.contains("another PostgreSQL"), "{ran:?}");
}

#[test]
fn a_move_that_was_killed_is_finished_by_doing_it_again() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let file = Dir::new(&setup(&platform));
    for id in ["begun", "ended", "answered"] {
        file.insert(&register(&platform, id).failure("intent"));
    }
    // Its id names somebody, so an erasure gives it another one.
    file.insert(&Entry::register("gone@example.com", &platform.url, "gone@example.com"));
    let database = empty(&cluster, &setup(&platform));
    moves_well(&file, &database);
    reopen(&file);
    // Both go on: a row here, a row there under the same number, news of an intent, and an erasure.
    file.insert(&register(&platform, "later"));
    psql(&cluster, &register(&platform, "other").sql("privo_reconcile.entries"));
    let news = "UPDATE entries SET failure = 'timeout' WHERE request_id = 'begun'; DELETE FROM entries WHERE request_id = 'answered'";
    file.db().execute_batch(news).unwrap();
    psql(&cluster, "UPDATE privo_reconcile.entries SET failure = 'network' WHERE request_id = 'ended'");
    for _ in 0..2 {
        psql(&cluster, "UPDATE privo_reconcile.state SET due_ms = 0 WHERE status = 'pending'");
        assert_eq!(database.run(&["run"]).code, 4);
    }
    assert_eq!(database.run(&["prune", "--older-than", "0s"]).code, 0);
    let out = moves_well(&file, &database);
    assert!(out.contains("2 more that writers recorded"), "{out}");
    // It was looked up here, so it is evidence.
    assert!(out.contains("entry 3: the database keeps it"), "{out}");
    let failures = "SELECT string_agg(request_id || ' ' || failure, ', ' ORDER BY request_id)
        FROM privo_reconcile.entries WHERE request_id IN ('begun', 'ended', 'later')";
    assert_eq!(psql(&cluster, failures), "begun timeout, ended network, later timeout");
    assert_eq!(psql(&cluster, "SELECT count(*) FROM privo_reconcile.entries"), "6");
    assert_eq!(
        psql(
            &cluster,
            "SELECT count(*) FROM privo_reconcile.entries WHERE body LIKE '%gone@%' OR request_id LIKE '%gone@%'"
        ),
        "0"
    );
    assert!(file.db().execute_batch(&register(&platform, "a").sql("entries")).is_err());
    assert!(!moves_well(&file, &database).contains("more that writers"));
    database.run(&["run"]);
    assert_eq!(database.run(&["verify"]).code, 0);
}

/// What the file took is in the database as it stood there last, and what it did not take its writer heard.
#[test]
fn writers_go_on_while_their_ledger_moves_and_nothing_they_recorded_is_lost() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let file = Dir::new(&setup(&platform));
    let entry = register(&platform, "a").sql("entries");
    let fill = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
        INSERT INTO entries (request_id, method, url, sent_at, failure)
        SELECT 'before ' || n, 'GET', 'https://a.example', '2026-03-01T12:00:00Z', 'intent' FROM n";
    file.db().execute_batch(fill).unwrap();
    let database = empty(&cluster, &setup(&platform));
    let moving = database.command(&["move", file.file("ledger.db").to_str().unwrap()]).spawn().unwrap();
    let db = file.db();
    let mut refused = String::new();
    for n in 1.. {
        let sql = format!(
            "{}; UPDATE entries SET failure = 'timeout' WHERE request_id = 'before {n}';
             DELETE FROM entries WHERE request_id = 'before {}'",
            entry.replacen("'a'", &format!("'during {n}'"), 1),
            3000 - n
        );
        if let Err(error) = db.execute_batch(&sql) {
            refused = error.to_string();
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(refused.contains("moved to PostgreSQL"), "{refused}");
    let ran = crate::util::finish(moving);
    assert!(ran.code == 0 && ran.out.contains("more that writers recorded"), "{ran:?}");
    let each = "request_id || ' ' || failure";
    let sql = format!("SELECT group_concat({each}, ', ') FROM (SELECT * FROM entries ORDER BY request_id)");
    let there: String = db.query_row(&sql, [], |row| row.get(0)).unwrap();
    let sql = format!("SELECT string_agg({each}, ', ' ORDER BY request_id) FROM privo_reconcile.entries");
    assert!(there.contains("during 1 "), "{there}");
    assert_eq!(psql(&cluster, &sql), there);
}

#[test]
fn a_row_that_is_no_text_moves_as_text_and_is_named() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let file = Dir::new(&setup(&platform));
    file.insert(&register(&platform, "a"));
    let db = file.db();
    let long = "x".repeat(5000);
    for (id, body) in [("CAST('a' AS BLOB)", "NULL"), ("X'61ff'", "X'7bff'"), ("'b'", "CAST(X'7b007d' AS TEXT)")] {
        let sql = format!(
            "INSERT INTO entries (request_id, method, url, body, sent_at, failure, http_status)
             VALUES ({id}, 'POST', 'https://a.example', {body}, 12.5, 'http', 503)"
        );
        db.execute_batch(&sql).unwrap();
    }
    let sql = "INSERT INTO entries (request_id, operation_id, method, url, sent_at) VALUES (?1, ?1, '', '', '')";
    db.execute(sql, [&long]).unwrap();
    db.execute_batch("ALTER TABLE entries ADD COLUMN tenant TEXT; CREATE TABLE orders (id)").unwrap();
    drop(db);
    file.run(&["run"]);
    let database = empty(&cluster, &setup(&platform));
    let ran = database.run(&["move", file.file("ledger.db").to_str().unwrap(), "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    is_as_documented("move", &told, 0);
    assert_eq!(told["left"], serde_json::json!(["entries.tenant", "orders"]));
    let altered = serde_json::json!([
        {"entry": 2, "columns": ["request_id"]},
        {"entry": 3, "columns": ["request_id", "body"]},
        {"entry": 4, "columns": ["body"]},
        {"entry": 5, "columns": ["request_id", "operation_id"]},
    ]);
    assert_eq!(told["altered"], altered);
    let cells = "SELECT request_id || ' ' || coalesce(body, '-') || ' ' || sent_at || ' ' || http_status
        FROM privo_reconcile.entries WHERE id BETWEEN 2 AND 4 ORDER BY id";
    assert_eq!(psql(&cluster, cells), "a (entry 2) - 12.5 503\na\u{fffd} {\u{fffd} 12.5 503\nb {\u{fffd}} 12.5 503");
    assert_eq!(psql(&cluster, "SELECT count(*) FROM privo_reconcile.entries WHERE request_id = operation_id"), "1");
    assert_eq!(database.run(&["verify"]).code, 0);
    assert_eq!(database.run(&["verify"]).out, file.run(&["verify"]).out);
}

#[test]
fn what_cannot_move_is_refused_and_both_sides_stay_as_they_are() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let file = Dir::new(&setup(&platform));
    file.insert(&register(&platform, "a"));
    let database = empty(&cluster, &setup(&platform));
    let refused = |ran: &Ran, code: i32, said: &str| {
        assert!(ran.code == code && ran.err.contains(said) && ran.err.contains('('), "{said}: {ran:?}");
        file.db().execute_batch("BEGIN IMMEDIATE; DELETE FROM keys; ROLLBACK").unwrap();
        assert_eq!(file.count("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'moved%'"), 0);
    };
    refused(&file.run(&["move", "ledger.db"]), 2, "names the file");
    refused(&database.run(&["move", "nowhere.db"]), 2, "there is no file");
    refused(&database.run(&["move", "privo-reconcile.toml"]), 2, "is not a ledger");
    let held = file.hold();
    refused(&moves(&file, &database), 11, "another run");
    drop(held);
    psql(&cluster, "UPDATE privo_reconcile.lease SET until_ms = privo_reconcile.now_ms() + 600000");
    refused(&moves(&file, &database), 11, "another run");
    psql(&cluster, "UPDATE privo_reconcile.lease SET until_ms = 0");
    // What fails in the middle leaves nothing behind.
    psql(
        &cluster,
        "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
         CREATE TRIGGER fails BEFORE INSERT ON privo_reconcile.state WHEN (pg_trigger_depth() = 0)
           EXECUTE FUNCTION fails()",
    );
    refused(&moves(&file, &database), 1, "nothing is lost");
    psql(&cluster, "DROP TRIGGER fails ON privo_reconcile.state");
    for table in ["entries", "words", "keys"] {
        assert_eq!(psql(&cluster, &format!("SELECT count(*) FROM privo_reconcile.{table}")), "0", "{table}");
    }
    psql(&cluster, &register(&platform, "b").sql("privo_reconcile.entries"));
    leaks::note(&register(&platform, "b").text("body"));
    refused(&moves(&file, &database), 2, "holds a ledger of its own");
    assert_eq!(psql(&cluster, "SELECT count(*) FROM privo_reconcile.entries"), "1");
}

/// The job's role is enough: nobody need own the schema.
#[test]
fn a_ledger_moves_by_the_rights_of_the_job_and_into_a_schema_of_any_name() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let file = lived(&platform);
    assert_eq!(file.run(&["prune", "--older-than", "0s"]).code, 0);
    let database = empty(&cluster, &setup(&platform));
    psql(&cluster, "CREATE ROLE job LOGIN; GRANT privo_reconcile_job TO job");
    let config = database.read("privo-reconcile.toml").replace("owner@", "job@");
    std::fs::write(database.file("privo-reconcile.toml"), config).unwrap();
    moves_well(&file, &database);
    assert_eq!(database.run(&["report"]).out, file.run(&["report"]).out);
    reopen(&file);
    let other = in_database(&cluster, &setup(&platform));
    let config = other.read("privo-reconcile.toml").replacen("[ledger]\n", "[ledger]\nschema = \"elsewhere\"\n", 1);
    std::fs::write(other.file("privo-reconcile.toml"), config).unwrap();
    assert_eq!(other.run(&["init"]).code, 0);
    moves_well(&file, &other);
    assert_eq!(other.run(&["report"]).out, file.run(&["report"]).out);
}
