//! Proves that no row is overlooked when a migration tool of the partner's rebuilds `entries`: triggers and indexes are put
//! back, rows that came meanwhile are found by their being there, and what cannot be put back is refused by name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::Ledger;
use rusqlite::Connection;

const COLUMNS: &str =
    "id, request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error";

/// The recipe of SQLite's documentation: a new table, a copy, the old one dropped, the new one renamed.
fn recipe(table: &str) -> String {
    format!(
        "PRAGMA foreign_keys = OFF; BEGIN;
         CREATE TABLE new_entries ({table});
         INSERT INTO new_entries ({COLUMNS}) SELECT {COLUMNS} FROM entries;
         DROP TABLE entries;
         ALTER TABLE new_entries RENAME TO entries;
         COMMIT;"
    )
}

/// As schema.sql makes it, with a column more.
const AS_IT_WAS: &str =
    "id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE ON CONFLICT IGNORE, operation_id TEXT,
     direction TEXT DEFAULT 'outbound', method TEXT NOT NULL, url TEXT NOT NULL, body TEXT, sent_at TEXT NOT NULL,
     ended_at TEXT, failure TEXT, http_status INTEGER, error TEXT, tenant TEXT DEFAULT 'a'";

/// What Alembic's batch mode makes of it: keys apart, without AUTOINCREMENT and without a word about conflicts.
const ALEMBIC: &str =
    "id INTEGER NOT NULL, request_id TEXT NOT NULL, operation_id TEXT, direction TEXT DEFAULT 'outbound',
     method TEXT NOT NULL, url TEXT NOT NULL, body TEXT, sent_at TEXT NOT NULL, ended_at TEXT, failure TEXT,
     http_status INTEGER, error TEXT, tenant VARCHAR(20) DEFAULT 'a, (b' NOT NULL, PRIMARY KEY (id),
     CONSTRAINT uq_request UNIQUE (request_id), CHECK (tenant <> '')";

/// What Django makes of a model that requires a text of every column.
const DJANGO: &str =
    "\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, \"request_id\" text NOT NULL UNIQUE, \"operation_id\" text NULL,
     \"direction\" varchar(8) NULL, \"method\" text NOT NULL, \"url\" text NOT NULL, \"body\" text NULL,
     \"sent_at\" text NOT NULL, \"ended_at\" text NULL, \"failure\" varchar(20) NOT NULL, \"http_status\" integer NULL,
     \"error\" text NULL, \"tenant\" text DEFAULT 'a' NOT NULL";

/// No unique key at all.
const WITHOUT_KEY: &str =
    "id INTEGER PRIMARY KEY, request_id TEXT, operation_id TEXT, direction TEXT, method TEXT, url TEXT, body TEXT,
     sent_at TEXT, ended_at TEXT, failure TEXT, http_status INTEGER, error TEXT, tenant TEXT";

/// What stands in the schema of `entries`, but for the table.
fn objects(db: &Connection) -> Vec<String> {
    let sql = "SELECT sql FROM sqlite_schema WHERE tbl_name = 'entries' AND type <> 'table' AND sql IS NOT NULL ORDER BY name";
    db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A ledger of one settled entry, one under an intent, and one that is pending.
fn ledger(platform: &Platform) -> Dir {
    let dir = Dir::new(&Setup::of(platform).windows(&[("intent", "1h"), ("server_error", "1h")]));
    dir.attempt(platform, Entry::register("settled", &platform.url, "ann@example.com"), "lost-after");
    dir.insert(&Entry::register("intent", &platform.url, "bob@example.com").failure("intent").operation("op-intent"));
    dir.insert(&Entry::register("pending", &platform.url, "cid@example.com").http(503));
    dir.run(&["run"]);
    assert!(is_stored(&dir, "settled"));
    dir
}

/// Whether it was decided that the record is there.
fn is_stored(dir: &Dir, request_id: &str) -> bool {
    dir.says(request_id) == "resolved satisfied present store-id"
}

fn verified(dir: &Dir) {
    let ran = dir.run(&["verify"]);
    assert!(ran.code == 0 && ran.out.contains("no difference"), "{ran:?}");
}

#[test]
fn rows_that_come_after_a_rebuild_are_in_the_next_run() {
    let platform = Platform::start();
    for table in [AS_IT_WAS, ALEMBIC, DJANGO, WITHOUT_KEY] {
        let dir = ledger(&platform);
        let wanted = objects(&dir.db());
        dir.db().execute_batch(&recipe(table)).unwrap();
        assert!(objects(&dir.db()).is_empty());
        let own = "CREATE INDEX their_own ON entries (tenant); CREATE TRIGGER their_own_too AFTER INSERT ON entries BEGIN SELECT 1; END;";
        dir.db().execute_batch(own).unwrap();
        dir.attempt(&platform, Entry::register("came", &platform.url, "eve@example.com"), "lost-after");
        let ran = dir.run(&["run"]);
        assert!(ran.code == 4 && ran.err.contains("1 rows had come unnoticed"), "{table}: {ran:?}");
        assert!(is_stored(&dir, "came"), "{table}");
        assert!(is_stored(&dir, "settled"), "{table}");
        let kept: Vec<String> = objects(&dir.db()).into_iter().filter(|sql| !sql.contains("their_own")).collect();
        assert_eq!(kept, wanted, "{table}");
        assert_eq!(objects(&dir.db()).len(), wanted.len() + 2, "{table}");
        // The contract holds again, in the partner's column too.
        let again = Entry::register("came", &platform.url, "other@example.com");
        assert_eq!(again.insert(&dir.db()).unwrap(), 0, "{table}");
        dir.insert(&Entry::register("after", &platform.url, "flo@example.com"));
        assert_eq!(
            dir.count("SELECT count(tenant) FROM entries WHERE request_id <> 'after'") > 0,
            table != WITHOUT_KEY
        );
        assert!(dir.db().execute("DELETE FROM entries WHERE request_id = 'settled'", []).is_err(), "{table}");
        let ran = dir.run(&["run"]);
        assert!(ran.err.is_empty(), "healed once: {ran:?}");
        verified(&dir);
    }
}

#[test]
fn rows_without_triggers_are_in_every_status_and_report() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    dir.db().execute_batch(&recipe(AS_IT_WAS)).unwrap();
    dir.insert(&Entry::register("came", &platform.url, "eve@example.com"));
    let file = std::fs::read(dir.file("ledger.db")).unwrap();
    let ran = dir.run(&["check"]);
    assert!(ran.out.contains("the table `entries` has lost its index `entries_by_operation`"), "{ran:?}");
    let ran = dir.run(&["run", "--dry-run"]);
    assert!(ran.code == 4 && ran.out.contains("came\t"), "{ran:?}");
    assert_eq!(std::fs::read(dir.file("ledger.db")).unwrap(), file, "neither changes the ledger");
    for command in [&["status", "--json"][..], &["report", "--format", "csv"], &["show", "came"]] {
        let dir = ledger(&platform);
        dir.db().execute_batch(&recipe(AS_IT_WAS)).unwrap();
        dir.insert(&Entry::register("came", &platform.url, "eve@example.com"));
        let ran = dir.run(command);
        assert_eq!(ran.code, 0, "{ran:?}");
        let shown = if command[0] == "status" { "\"pending\":3" } else { "came" };
        assert!(ran.out.replace(' ', "").contains(shown), "{command:?}: {ran:?}");
    }
}

#[test]
fn a_row_that_came_between_two_openings_is_found_though_the_triggers_are_back() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    let trigger: String = dir
        .db()
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'entry_recorded'", [], |row| row.get(0))
        .unwrap();
    dir.db().execute_batch("DROP TRIGGER entry_recorded").unwrap();
    dir.attempt(&platform, Entry::register("came", &platform.url, "eve@example.com"), "lost-after");
    dir.db().execute_batch(&trigger).unwrap();
    dir.insert(&Entry::register("later", &platform.url, "flo@example.com"));
    dir.run(&["run"]);
    assert!(is_stored(&dir, "came"));
    verified(&dir);
}

/// All that is still watched is read anew then, beside the row that came.
#[test]
fn a_row_that_came_unnoticed_takes_back_what_was_settled_without_it() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    let attempt = |id: &str| Entry::register(id, &platform.url, "gil@example.com").operation("op-gil");
    dir.insert(&attempt("never").failure("not_sent"));
    dir.run(&["run"]);
    assert_eq!(dir.says("never"), "resolved not-applied never-sent resend");
    dir.db().execute_batch(&recipe(AS_IT_WAS)).unwrap();
    dir.insert(&attempt("came").http(503));
    dir.run(&["run"]);
    assert!(dir.says("came").starts_with("pending"), "{}", dir.says("came"));
    assert!(dir.says("never").starts_with("pending"), "{}", dir.says("never"));
    verified(&dir);
}

#[test]
fn a_rebuild_under_an_open_ledger_is_seen_by_whoever_asks_how_it_stands() {
    let dir = Dir::new(&Setup::bare("http://127.0.0.1:9"));
    let mut ledger = Ledger::open(&dir.file("ledger.db")).unwrap();
    assert_eq!(ledger.state().unwrap(), (false, false));
    dir.db().execute_batch(&recipe(ALEMBIC)).unwrap();
    dir.insert(&Entry::register("came", "http://127.0.0.1:9", "eve@example.com"));
    assert_eq!(ledger.state().unwrap(), (false, true));
    assert_eq!(dir.count("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name = 'entry_recorded'"), 1);
}

#[test]
fn a_change_that_no_trigger_saw_is_decided_anew() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    dir.db().execute_batch(&recipe(AS_IT_WAS)).unwrap();
    let db = dir.db();
    db.execute("UPDATE entries SET failure = 'answered', http_status = 201 WHERE request_id = 'intent'", []).unwrap();
    // Another person's request under the same id: nothing that was seen speaks of it.
    db.execute("UPDATE entries SET body = replace(body, 'cid@', 'dan@') WHERE request_id = 'pending'", []).unwrap();
    dir.insert(&Entry::register("retry", &platform.url, "bob@example.com").operation("op-intent"));
    let shown: Vec<String> = dir.report().iter().map(|row| row["request_id"].clone()).collect();
    assert!(!shown.contains(&"intent".to_owned()), "an answer has no row, before the next run either: {shown:?}");
    dir.run(&["run"]);
    assert_eq!(dir.count("SELECT count(*) FROM state WHERE status IS NULL"), 1, "the answer is evidence");
    assert_eq!(dir.says("pending"), "duplicate-risk unknown bad-row review");
    assert!(is_stored(&dir, "settled"));
    verified(&dir);
}

#[test]
fn what_cannot_be_put_back_is_refused_by_name() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    let twice = "INSERT INTO entries (request_id, method, url, sent_at) VALUES ('settled', 'POST', 'x', 'y')";
    dir.db().execute_batch(&format!("{}{twice};", recipe(WITHOUT_KEY))).unwrap();
    for command in ["run", "status", "report"] {
        let ran = dir.run(&[command]);
        assert!(ran.code == 2 && ran.err.contains("has lost its unique key") && ran.err.contains("id 4"), "{ran:?}");
    }
    dir.db().execute("UPDATE entries SET request_id = 'settled-2' WHERE id = 4", []).unwrap();
    assert_eq!(dir.run(&["run"]).code, 3, "the second row is a bad row, and seen");
    let dir = ledger(&platform);
    dir.db().execute_batch("ALTER TABLE entries DROP COLUMN error").unwrap();
    for command in ["run", "status", "check"] {
        let ran = dir.run(&[command]);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(ran.code == 2 && said.contains("has lost its column `error` (add it again: `error TEXT`)"), "{ran:?}");
    }
    dir.db().execute_batch("ALTER TABLE entries ADD COLUMN error TEXT").unwrap();
    assert_eq!(dir.run(&["run"]).code, 4);
    let dir = ledger(&platform);
    dir.db().execute_batch("ALTER TABLE entries RENAME TO requests").unwrap();
    let ran = dir.run(&["run"]);
    assert!(ran.code == 2 && ran.err.contains("has no table `entries`"), "{ran:?}");
}

#[test]
fn columns_and_indexes_of_the_partners_own_are_no_fault() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    dir.db()
        .execute_batch(
            "ALTER TABLE entries ADD COLUMN tenant TEXT NOT NULL DEFAULT 'a';
             CREATE INDEX their_own ON entries (tenant); CREATE TABLE theirs (id INTEGER PRIMARY KEY);
             CREATE TRIGGER their_own_too AFTER INSERT ON entries BEGIN INSERT INTO theirs (id) VALUES (NEW.id); END;",
        )
        .unwrap();
    dir.insert(&Entry::register("came", &platform.url, "eve@example.com"));
    let before = objects(&dir.db());
    let ran = dir.run(&["run"]);
    assert!(ran.code == 4 && ran.err.is_empty(), "{ran:?}");
    assert_eq!(objects(&dir.db()), before);
    assert_eq!(dir.count("SELECT count(*) FROM theirs"), 1);
}

#[test]
fn rows_of_the_partners_own_that_refer_to_an_entry_are_left_alone() {
    let platform = Platform::start();
    for (reference, after) in [
        ("entries (id) ON DELETE CASCADE", "1"),
        ("entries (id) ON DELETE SET NULL", "1"),
        ("entries (id)", "1"),
        ("entries (request_id) ON DELETE CASCADE", "'settled'"),
    ] {
        let dir = ledger(&platform);
        dir.db()
            .execute_batch(&format!(
                "CREATE TABLE orders (e REFERENCES {reference}); INSERT INTO orders VALUES ({after})"
            ))
            .unwrap();
        dir.db().execute_batch(&recipe(ALEMBIC)).unwrap();
        dir.insert(&Entry::register("came", &platform.url, "eve@example.com"));
        assert_eq!(dir.run(&["run"]).code, 4, "{reference}");
        assert_eq!(dir.count("SELECT count(*) FROM orders WHERE e IS NOT NULL"), 1, "{reference}");
        let mut forget = dir.command(&["forget", "ann@example.com", "--who", "Dana", "--why", "asked"]);
        let ran = crate::util::finish(forget.spawn().unwrap());
        assert_eq!(ran.code, 0, "{reference}: {ran:?}");
    }
}

#[test]
fn a_row_that_a_writer_added_without_triggers_is_found_though_others_came_after_it() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    let db = dir.db();
    db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    Entry::register("hidden", &platform.url, "eve@example.com").insert(&db).unwrap();
    drop(db);
    dir.insert(&Entry::register("after", &platform.url, "flo@example.com"));
    let ran = dir.run(&["run"]);
    assert!(ran.code == 4 && ran.err.contains("1 rows had come unnoticed"), "{ran:?}");
    assert!(dir.says("hidden").starts_with("pending"), "{}", dir.says("hidden"));
    verified(&dir);
}

#[test]
fn what_is_to_be_read_anew_is_not_advised_before_the_next_run() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform));
    dir.insert(&Entry::register("lost", &platform.url, "ann@example.com").operation("op"));
    dir.run_twice();
    let advised = || dir.run(&["report", "--for", "resend"]).out.contains("lost");
    assert!(advised());
    dir.db().execute_batch("DROP INDEX entries_by_operation").unwrap();
    dir.run(&["status"]);
    let answer = Entry::register("again", &platform.url, "ann@example.com").operation("op").answered(201);
    dir.insert(&answer);
    assert!(!advised());
}

#[test]
fn a_rebuild_that_numbers_the_rows_anew_gives_no_row_the_verdict_of_another() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform));
    dir.insert(
        &Entry::register("lost", &platform.url, "ann@example.com").sent(Moment::parse("2026-01-01T00:00:00Z").unwrap()),
    );
    dir.attempt(
        &platform,
        Entry::register("made", &platform.url, "bob@example.com").sent(Moment::parse("2026-01-01T00:00:00Z").unwrap()),
        "lost-after",
    );
    dir.run_twice();
    let columns = COLUMNS.replace("id, request_id", "request_id");
    let anew = recipe(AS_IT_WAS).replace(
        &format!("({COLUMNS}) SELECT {COLUMNS} FROM entries"),
        &format!("({columns}) SELECT {columns} FROM entries ORDER BY id DESC"),
    );
    assert!(anew.contains("DESC"));
    dir.db().execute_batch(&anew).unwrap();
    dir.run_twice();
    for id in ["lost", "made"] {
        assert!(dir.says(id).starts_with("duplicate-risk unknown bad-row"), "{}", dir.says(id));
    }
}

/// Rows that the partner deleted while the triggers were away count no more, settled or not.
#[test]
fn rows_that_are_gone_count_no_more() {
    let platform = Platform::start();
    for put_back in [true, false] {
        let dir = ledger(&platform);
        let entries = |dir: &Dir| -> u64 {
            let status: serde_json::Value = serde_json::from_str(&dir.run(&["status", "--json"]).out).unwrap();
            status["resolved"].as_u64().unwrap() + status["pending"].as_u64().unwrap()
        };
        let before = entries(&dir);
        delete(&dir, "request_id <> 'settled'", put_back);
        assert_eq!((before > 1, entries(&dir)), (true, 1), "{put_back}");
        delete(&dir, "request_id = 'settled'", put_back);
        assert_eq!(entries(&dir), 0, "{put_back}");
        dir.runs(0);
    }
}

/// Deletes rows while the triggers on deleting are away.
fn delete(dir: &Dir, which: &str, put_back: bool) {
    let db = dir.db();
    let triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'entries' AND sql LIKE '% DELETE ON %'";
    let triggers: Vec<(String, String)> = {
        let mut statement = db.prepare(triggers).unwrap();
        let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        found.map(Result::unwrap).collect()
    };
    assert_eq!(triggers.len(), 4);
    triggers.iter().for_each(|(name, _)| db.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
    db.execute(&format!("DELETE FROM entries WHERE {which}"), []).unwrap();
    if put_back {
        triggers.iter().for_each(|(_, sql)| db.execute_batch(sql).unwrap());
    }
}

/// An index of the partner's is asked before the table's own key, and refuses what the key would pass over.
#[test]
fn a_second_unique_key_is_said_with_the_remedy() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    assert!(!dir.run(&["check"]).out.contains("unique index"));
    dir.db().execute_batch("CREATE UNIQUE INDEX theirs ON entries (request_id)").unwrap();
    let again = || Entry::register("settled", &platform.url, "ann@example.com").insert(&dir.db());
    assert!(again().is_err(), "SQLite asks the newer one first");
    let ran = dir.run(&["check"]);
    assert!(ran.code == 1 && ran.out.contains("unique index `theirs`") && ran.out.contains("drop it"), "{ran:?}");
    dir.db().execute_batch("DROP INDEX theirs").unwrap();
    assert_eq!(again(), Ok(0));
}

#[test]
fn a_trigger_of_the_partners_that_raises_is_named_as_what_stops_the_job() {
    let platform = Platform::start();
    let dir = ledger(&platform);
    let theirs = "CREATE TRIGGER theirs BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'audited'); END";
    dir.db().execute_batch(theirs).unwrap();
    let forget = || dir.run(&["forget", "ann@example.com", "--who", "Jo", "--why", "a letter", "--even-pending"]);
    let ran = forget();
    assert!(ran.code == 1 && ran.err.contains("a trigger or a constraint of your own"), "{ran:?}");
    assert!(!ran.err.contains("damaged") && !ran.err.contains("backup"), "{ran:?}");
    dir.db().execute_batch("DROP TRIGGER theirs").unwrap();
    assert_eq!(forget().code, 0);
}
