//! The work: the same registrations as a ledger of the job and as the bare loop's table.

use std::path::Path;

use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::Ledger;
use rusqlite::{Connection, params};

/// All were sent around then: three days before the benchmark's own pinned day would be too late for nobody.
fn noon() -> i64 {
    Moment::now().0 / 86_400_000 * 86_400_000 - 3 * 86_400_000
}

/// The key of an entry: of each ten the last shares the one before.
pub fn key(entry: u64) -> u64 {
    if entry % 10 == 9 { entry - 1 } else { entry }
}

/// Whether the server has the account of a key.
pub fn exists(key: u64) -> bool {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 0
}

/// When the account of a key was made, in milliseconds since the epoch: two seconds after it was asked for.
pub fn made(key: u64) -> i64 {
    sent(key) + 2_000
}

fn sent(entry: u64) -> i64 {
    noon() + i64::try_from(entry).unwrap() % 3_600_000
}

/// The job's folder: configuration and ledger.
pub fn of_job(folder: &Path, url: &str, entries: u64, connections: usize, all_there: bool) {
    let settings = format!(
        "plan = \"privo-gateway\"\n[ledger]\npath = \"ledger.db\"\n\
         [server]\nbase_url = \"{url}\"\nrequests_per_second = 1000000\nconcurrency = {connections}\n\
         [auth]\ntoken_url = \"{url}/oauth/token\"\nclient_id = {{ value = \"bench\" }}\nclient_secret = {{ file = \"secret\" }}\n\
         [[control]]\nlookup = \"account-by-email\"\nkey = \"canary@example.com\"\n"
    );
    std::fs::write(folder.join("privo-reconcile.toml"), settings).unwrap();
    std::fs::write(folder.join("secret"), "bench").unwrap();
    let path = folder.join("ledger.db");
    Ledger::create(&path).unwrap();
    let mut connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let transaction = connection.transaction().unwrap();
    {
        let mut insert = transaction
            .prepare(
                "INSERT INTO entries (request_id, method, url, body, sent_at, failure) VALUES (?, 'POST', ?, ?, ?, 'timeout')",
            )
            .unwrap();
        let target = format!("{url}/api/v1.0/account");
        for entry in 0..entries {
            let body = body(if all_there { there(entry) } else { key(entry) });
            insert.execute(params![format!("r{entry}"), target, body, Moment(sent(entry)).to_string()]).unwrap();
        }
    }
    transaction.commit().unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// An account that the server has, for each entry another one.
fn there(entry: u64) -> u64 {
    (2 * entry..).find(|key| exists(*key)).unwrap_or_default()
}

/// What is registered under a key.
pub fn body(key: u64) -> String {
    format!(r#"{{"email":"u{key}@example.com","first_name":"Ann","birth_date_yyyymmdd":"19800101"}}"#)
}

/// The bare loop's table.
pub fn of_bare(database: &Path, entries: u64) {
    let mut connection = Connection::open(database).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE requests (id INTEGER PRIMARY KEY, email TEXT NOT NULL, verdict TEXT, sid TEXT)",
        )
        .unwrap();
    let transaction = connection.transaction().unwrap();
    {
        let mut insert = transaction.prepare("INSERT INTO requests (email) VALUES (?)").unwrap();
        for entry in 0..entries {
            insert.execute([format!("u{}@example.com", key(entry))]).unwrap();
        }
    }
    transaction.commit().unwrap();
}
