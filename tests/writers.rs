//! Holds every language's writer to one contract: `fixtures/writers/` and `examples/partner.rs`, driven through an outage
//! of the sandbox, must leave the same rows in `entries`. A language that is not installed is skipped, and said so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use crate::util::{Dir, Entry, Platform, Setup, Writer, finish, kill_group, until};
use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::VERSION;
use privo_reconcile::sandbox::Faults;
use serde_json::{Value, json};

/// A row of `entries` as JSON, with the storage classes of what must have one.
fn entries(dir: &Dir) -> Vec<Value> {
    let sql =
        "SELECT json_object('id', request_id, 'operation', operation_id, 'direction', direction, 'method', method,
        'url', url, 'body', json(body), 'sent', sent_at, 'ended', ended_at, 'failure', failure, 'status', http_status,
        'types', typeof(request_id) || ' ' || typeof(body) || ' ' || typeof(sent_at) || ' ' || typeof(http_status))
        FROM entries ORDER BY request_id";
    let db = dir.db();
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
}

fn brief(rows: &[Value]) -> Vec<String> {
    let cell = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    rows.iter().map(|row| format!("{} {} {}", cell(&row["id"]), cell(&row["failure"]), cell(&row["status"]))).collect()
}

fn moment(value: &Value) -> Moment {
    Moment::parse(value.as_str().unwrap()).unwrap()
}

/// Registers until done; must end well.
fn registers(writer: &Writer, dir: &Dir, platform: &Platform, more: &[&str]) {
    let ran = finish(writer.register(dir, platform, &platform.url, more));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", writer.name);
}

/// All at once, for they wait more than they work.
fn each_writer(holds: impl Fn(&Writer, &Platform, &Dir) + Sync) {
    std::thread::scope(|scope| {
        for writer in Writer::installed() {
            let holds = &holds;
            scope.spawn(move || {
                let platform = Platform::with(Faults { hang_ms: 60_000, ..Faults::default() });
                let dir = Dir::new(&Setup::of(&platform));
                holds(&writer, &platform, &dir);
            });
        }
    });
}

#[test]
fn what_ended_in_doubt_is_an_entry_and_what_was_answered_is_forgotten() {
    each_writer(|writer, platform, dir| {
        let began = Moment::now();
        let fates = "lost-after,plain,lost-before,hang-after,error-before,refused,too-many,cut";
        registers(writer, dir, platform, &["--count", "8", "--timeout-ms", "5000", "--fates", fates]);
        let rows = entries(dir);
        let expected = [
            "1-0-1 network null",
            "1-0-2 answered 412",
            "1-2-1 network null",
            "1-3-1 timeout null",
            "1-4-1 http 503",
            "1-4-2 answered 201",
            "1-6-1 http 429",
            "1-7-1 network null",
        ];
        assert_eq!(brief(&rows), expected, "{}", writer.name);
        for row in &rows {
            let id = row["id"].as_str().unwrap();
            let n = id.split('-').nth(1).unwrap();
            assert_eq!(row["operation"], json!(format!("1-{n}")));
            assert_eq!((&row["direction"], &row["method"]), (&json!("outbound"), &json!("POST")));
            assert_eq!(row["url"], json!(format!("{}/api/v1.0/account", platform.url)));
            let kept = json!({"email": format!("p{n}-s1@example.com"), "first_name": "Ann", "birth_date_yyyymmdd": "19900102"});
            assert_eq!(row["body"], kept, "{}: a body keeps what the plan reads and no more", writer.name);
            assert!(began <= moment(&row["sent"]) && moment(&row["sent"]) <= moment(&row["ended"]), "{row}");
            assert!(moment(&row["ended"]) <= Moment::now(), "{row}");
            let status = if row["status"].is_null() { "null" } else { "integer" };
            assert_eq!(row["types"], json!(format!("text text text {status}")));
        }
        // The platform's own view: each verdict is as it really was.
        let code = dir.run(&["run", "--wait", "30s"]).code;
        let said: Vec<String> =
            dir.report().iter().map(|row| format!("{} {}", row["request_id"], row["outcome"])).collect();
        let outcomes = ["satisfied", "not-applied", "satisfied", "satisfied", "not-applied", "satisfied"];
        let ids = ["1-0-1", "1-2-1", "1-3-1", "1-4-1", "1-6-1", "1-7-1"];
        let expected: Vec<String> = ids.iter().zip(outcomes).map(|(id, outcome)| format!("{id} {outcome}")).collect();
        assert_eq!((code, said), (0, expected), "{}", writer.name);
    });
}

#[test]
fn what_never_left_is_not_sent() {
    each_writer(|writer, platform, dir| {
        // An address of its own, so that no other test can be given the port.
        let nobody = std::net::TcpListener::bind("127.0.0.77:0").unwrap().local_addr().unwrap();
        let ran = finish(writer.register(dir, platform, &format!("http://{nobody}"), &["--first", "1"]));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", writer.name);
        assert_eq!(brief(&entries(dir)), ["1-1-1 not_sent null"], "{}", writer.name);
    });
}

#[test]
fn a_ledger_of_another_version_is_refused_and_nothing_is_sent() {
    each_writer(|writer, platform, dir| {
        dir.db().pragma_update(None, "user_version", VERSION + 1).unwrap();
        let ran = finish(writer.register(dir, platform, &platform.url, &["--first", "1"]));
        assert_ne!(ran.code, 0, "{}", writer.name);
        assert!(ran.err.contains(&format!("version {}", VERSION + 1)), "{}: {ran:?}", writer.name);
        assert_eq!(dir.count("SELECT count(*) FROM entries"), 0);
        assert_eq!(platform.requests("POST /api/v1.0/account"), 0, "{}", writer.name);
    });
}

#[test]
fn the_same_attempt_again_changes_nothing_and_the_file_stays_in_wal_mode() {
    each_writer(|writer, platform, dir| {
        let again = ["--first", "1", "--fates", "lost-before"];
        registers(writer, dir, platform, &again);
        let rows = entries(dir);
        assert_eq!(brief(&rows), ["1-1-1 network null"], "{}", writer.name);
        registers(writer, dir, platform, &again);
        assert_eq!(entries(dir), rows, "{}", writer.name);
        let mode: String = dir.db().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal", "{}", writer.name);
    });
}

#[test]
fn a_busy_ledger_is_waited_for() {
    each_writer(|writer, platform, dir| {
        let other = dir.db();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let child = writer.register(dir, platform, &platform.url, &["--first", "1", "--fates", "lost-before"]);
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(
            platform.requests("POST /api/v1.0/account"),
            0,
            "{}: sent before the intent was durable",
            writer.name
        );
        other.execute_batch("COMMIT").unwrap();
        let ran = finish(child);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", writer.name);
        assert_eq!(brief(&entries(dir)), ["1-1-1 network null"], "{}", writer.name);
    });
}

#[test]
fn a_transaction_that_reads_before_it_writes_waits_only_when_it_begins_immediate() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let row = |id: &str| Entry::register(id, &platform.url, "ann@example.com");
    let (writer, other) = (dir.db(), dir.db());
    writer.busy_timeout(Duration::from_secs(10)).unwrap();
    let read = |begin: &str| {
        writer.execute_batch(begin).unwrap();
        writer.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    read("BEGIN");
    row("other").insert(&other).unwrap();
    let refused = row("deferred").insert(&writer).unwrap_err();
    assert_eq!(
        refused.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy),
        "it can never write: it read before"
    );
    writer.execute_batch("ROLLBACK").unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    row("another").insert(&other).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            other.execute_batch("COMMIT").unwrap();
        });
        assert_eq!(read("BEGIN IMMEDIATE"), 2, "it waits for the other, and sees what it wrote");
    });
    row("immediate").insert(&writer).unwrap();
    writer.execute_batch("COMMIT").unwrap();
}

#[test]
fn no_writer_begins_a_deferred_transaction() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in
        ["fixtures/writers/python/partner.py", "fixtures/writers/node/partner.mjs", "examples/partner.rs", "README.md"]
    {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for (at, _) in text.match_indices("BEGIN") {
            assert!(text[at..].starts_with("BEGIN IMMEDIATE"), "{file}: {at}");
        }
        assert!(!text.contains("isolation_level=\"DEFERRED\""), "{file}");
    }
}

#[test]
fn a_crash_leaves_an_intent() {
    each_writer(|writer, platform, dir| {
        let child = writer.register(dir, platform, &platform.url, &["--first", "1", "--fates", "hang-after"]);
        until("the request", || platform.requests("POST /api/v1.0/account") == 1);
        kill_group(child.id());
        finish(child);
        let rows = entries(dir);
        assert_eq!(brief(&rows), ["1-1-1 intent null"], "{}", writer.name);
        assert!(rows[0]["ended"].is_null(), "{}", writer.name);
    });
}
