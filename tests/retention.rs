//! Proves what happens to children's data in time: `prune` and `forget` leave nothing of it in any byte of the file, keep
//! every verdict decidable, and touch nothing else; `backup` copies the ledger whole or not at all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::util::{Dir, Entry, Platform, Ran, Row, Setup, finish, signal, until, wait};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;
use rusqlite::types::ValueRef;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Which of these stand in the ledger's files, byte for byte, in any case or encoded as in a URL.
fn found(dir: &Dir, values: &[&str]) -> Vec<String> {
    let mut bytes = Vec::new();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        bytes.extend(std::fs::read(dir.file(file)).unwrap_or_default());
    }
    in_bytes(&bytes, values)
}

fn in_bytes(bytes: &[u8], values: &[&str]) -> Vec<String> {
    let small: Vec<u8> = bytes.to_ascii_lowercase();
    let stands = |text: &str| small.windows(text.len()).any(|window| window == text.to_ascii_lowercase().as_bytes());
    let forms = |value: &str| {
        let unicode: String = value
            .encode_utf16()
            .map(|unit| if unit < 128 { char::from(unit as u8).to_string() } else { format!("\\u{unit:04x}") })
            .collect();
        [value.to_owned(), value.replace('@', "%40"), unicode]
    };
    values
        .iter()
        .filter(|value| forms(value).iter().any(|form| stands(form)))
        .map(|value| (*value).to_owned())
        .collect()
}

/// Runs and prunes what can be, of which nothing is too young.
fn prune(dir: &Dir) -> Ran {
    let ran = dir.run(&["prune", "--older-than", "0s"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{ran:?}");
    ran
}

fn settle(dir: &Dir) {
    let ran = dir.run_twice();
    assert!([0, 3, 4].contains(&ran.code) && ran.err.is_empty(), "{ran:?}");
    verified(dir);
}

fn verified(dir: &Dir) {
    let ran = dir.run(&["verify"]);
    assert!(ran.code == 0 && ran.out.contains("no difference"), "{ran:?}");
}

/// The whole ledger as text, table by table; what a rewriting of the file changes is not in it.
fn dump(dir: &Dir) -> String {
    let db = dir.db();
    let mut statement = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut text = String::new();
    for table in tables {
        let mut rows = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names: Vec<String> = rows.column_names().into_iter().map(str::to_owned).collect();
        let columns: Vec<usize> =
            (0..names.len()).filter(|at| !["schema_seen", "rows_seen"].contains(&names[*at].as_str())).collect();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<String> = columns.iter().map(|at| cell(row.get_ref(*at).unwrap())).collect();
            text.push_str(&format!("{table} {}\n", cells.join(" | ")));
        }
    }
    text
}

fn cell(value: ValueRef) -> String {
    match value {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

/// Fails with the lines that differ.
fn same(after: &str, before: &str) {
    let lines = |one: &str, other: &str| {
        let there: BTreeSet<&str> = other.lines().collect();
        one.lines().filter(|line| !there.contains(line)).take(5).collect::<Vec<_>>().join("\n")
    };
    assert!(after == before, "now:\n{}\nbefore:\n{}", lines(after, before), lines(before, after));
}

/// The report without what a blanking may change: ids that name somebody, and the masked subject.
fn shown(dir: &Dir) -> Vec<Row> {
    let mut rows = dir.report();
    for row in &mut rows {
        for column in ["request_id", "operation_id", "subject"] {
            row.remove(column);
        }
    }
    rows
}

/// Makes the verdicts of these requests older.
fn age(dir: &Dir, ids: &str, by: &str) {
    let db = dir.db();
    let kept = "SELECT sql FROM main.sqlite_schema WHERE name = 'evidence_kept'";
    let trigger: String = db.query_row(kept, [], |row| row.get(0)).unwrap();
    let span = Span::parse(by).unwrap().0;
    let said =
        format!("SELECT said_id FROM state WHERE entry_id IN (SELECT id FROM entries WHERE request_id IN ({ids}))");
    let sql = format!(
        "DROP TRIGGER evidence_kept;
         UPDATE evidence SET at_ms = at_ms - {span} WHERE id IN ({said});
         UPDATE state SET decided_ms = decided_ms - {span} WHERE said_id IN ({said});
         {trigger};"
    );
    db.execute_batch(&sql).unwrap();
}

/// Who still has a body.
fn whole(dir: &Dir) -> Vec<String> {
    let db = dir.db();
    let mut statement = db.prepare("SELECT request_id FROM entries WHERE body IS NOT NULL ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn post(request_id: &str, base: &str, path: &str, body: &str) -> Entry {
    Entry::new(request_id, "POST", &format!("{base}{path}")).body(body)
}

const PERSONAL: &[&str] = &[
    "ann@example.com",
    "bob.o'hara@example.com",
    "mum.mueller@example.com",
    "gone@example.com",
    "in-error@example.com",
    "in-id@example.com",
    "Zoë",
    "Jürgen",
    "Xanthippe",
    "Wilhelmina",
    "20150314",
    "2015-03-14",
    "20160229",
    "19810717",
    "playful-otter-77",
    "eid-of-a-child",
    "susannah",
    "nobodys-plan@example.com",
    "broken@example.com",
];

/// Requests of every kind, settled in every way, with personal values wherever a writer can put them.
fn full_of_people(platform: &Platform) -> Dir {
    let dir = Dir::of(platform);
    let account = "/api/v1.0/account";
    let register = |id: &str, body: &str| post(id, &platform.url, account, body);
    let ann = r#"{"email":"Ann@Example.com","first_name":"Zo\u00eb","birth_date_yyyymmdd":"20150314"}"#;
    dir.attempt(platform, register("made", ann), "lost-after");
    let bob =
        r#"{"email":"bob.o'hara@example.com","firstName":"Jürgen","birthDate":"2016-02-29","extra":"2015-03-14"}"#;
    dir.attempt(platform, register("lost", bob), "lost-before");
    dir.attempt(platform, register("lost-again", bob).operation("lost"), "lost-before");
    let family = r#"{"email":"mum.mueller@example.com","first_name":"Xanthippe","birth_date_yyyymmdd":"19810717",
        "minor_registrations":[{"first_name":"Wilhelmina","birth_date_yyyymmdd":"20160229"},{"first_name":"Zoë","birth_date_yyyymmdd":"20150314"}]}"#;
    dir.attempt(platform, post("family", &platform.url, "/api/v1.0/account/parent", family), "partial:1");
    let url = format!("{}{account}?email=gone%40example.com", platform.url);
    dir.insert(&Entry::new("delete", "DELETE", &url).with("error", "no answer for in-error@example.com".to_owned()));
    dir.insert(
        &register("in-id@example.com/1", r#"{"user_name":"playful-otter-77"}"#).operation("op in-id@example.com"),
    );
    dir.insert(
        &register("in-id@example.com/2", r#"{"user_name":"playful-otter-77"}"#)
            .operation("op in-id@example.com")
            .answered(201),
    );
    dir.insert(&register("external", r#"{"external_user_identifier":"eid-of-a-child"}"#).operation("xeid-of-a-childx"));
    dir.insert(&Entry::new("read", "GET", &format!("{}/api/v1.0/people/susannah", platform.url)));
    dir.insert(&post("no-plan", &platform.url, "/api/v1.0/people/susannah", r#"{"mail":"nobodys-plan@example.com"}"#));
    dir.insert(&register("bad", r#"{"email":"broken@example.com""#).with("ended_at", "Wilhelmina".to_owned()));
    dir.insert(
        &register("worse", "{}")
            .failure("susannah")
            .with("direction", "Xanthippe".to_owned())
            .with("method", "SUSANNAH".to_owned()),
    );
    settle(&dir);
    let why = "all is well, says in-why@example.com";
    let ran = dir.run(&["close", "no-plan", "bad", "worse", "--who", "Jo", "--why", why]);
    assert_eq!(ran.code, 3, "{ran:?}");
    settle(&dir);
    dir
}

#[test]
fn no_search_of_the_raw_bytes_finds_what_was_pruned() {
    let platform = Platform::dated();
    let dir = full_of_people(&platform);
    let before = found(&dir, PERSONAL);
    assert_eq!(before.len(), PERSONAL.len(), "all of it is there: {before:?}");
    let (report, counts) = (shown(&dir), dir.count("SELECT count(*) FROM entries"));
    let would = dir.run(&["prune", "--older-than", "0s", "--dry-run"]);
    assert!(would.out.contains(&format!("{counts}  entries would lose")), "{would:?}");
    prune(&dir);
    assert_eq!(found(&dir, PERSONAL), Vec::<String>::new());
    assert_eq!(found(&dir, &["in-why@example.com"]), Vec::<String>::new());
    assert_eq!(dir.count("SELECT count(*) FROM state WHERE sealed = 1 AND erased_id IS NOT NULL"), counts);
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body IS NOT NULL OR error IS NOT NULL"), 0);
    verified(&dir);
    // The same is told, but for paths of which the plan knows nothing.
    let (mut after, mut report) = (shown(&dir), report);
    for row in after.iter_mut().chain(&mut report) {
        if row["operation"].is_empty() {
            row.remove("path");
            row.remove("method");
            row.remove("explanation");
        }
    }
    assert_eq!(after, report);
    for id in ["made", "lost", "family", "delete", "no-plan"] {
        let ran = dir.run(&["show", id]);
        assert!(ran.code == 0 && ran.out.contains("its personal fields, at"), "{ran:?}");
        let shown: serde_json::Value = serde_json::from_str(&dir.run(&["show", id, "--json"]).out).unwrap();
        assert_eq!(shown["removed"]["by"], "prune");
    }
    assert_eq!(dir.run(&["status"]).code, 0);
    assert_eq!(dir.run(&["report", "--reveal"]).code, 0);
}

#[test]
fn the_report_knows_the_pseudonyms_of_what_was_pruned() {
    let platform = Platform::start();
    let key = "[pseudonym]\nkey = { file = \"key\" }\n";
    let dir = Dir::new(&Setup { rest: key.to_owned(), ..Setup::of(&platform) });
    std::fs::write(dir.file("key"), "a key of some length\n").unwrap();
    let account = format!("{}/api/v1.0/account", platform.url);
    dir.attempt(&platform, Entry::register("made", &platform.url, "ann@example.com"), "lost-after");
    dir.insert(&Entry::new("by-id", "DELETE", &format!("{account}/4711")));
    dir.insert(&Entry::new("by-email", "DELETE", &format!("{account}?email=bob%40example.com")));
    dir.insert(&Entry::new("other", "POST", &format!("{account}/4711/more")));
    dir.run(&["run"]);
    dir.run(&["close", "made", "by-id", "by-email", "--who", "Jo", "--why", "done"]);
    let pseudonyms = || -> Vec<String> { dir.report().into_iter().map(|row| row["pseudonym"].clone()).collect() };
    let before = pseudonyms();
    assert_eq!(before.iter().filter(|pseudonym| pseudonym.starts_with("psn1-")).count(), 3, "{before:?}");
    prune(&dir);
    assert_eq!(pseudonyms(), before);
    let shown = dir.run(&["report", "--reveal"]);
    assert!(shown.code == 0 && !util::rows(&shown.out).iter().any(|row| !row["subject"].is_empty()), "{shown:?}");
    let check = dir.run(&["check"]);
    assert!(!check.out.contains("cannot be read") && !check.out.contains("blanked"), "{check:?}");
}

#[test]
fn what_a_person_said_of_an_entry_loses_its_names() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let body = r#"{"email":"ann@example.com","first_name":"Wilhelmina"}"#;
    dir.insert(&post("r1", &platform.url, "/api/v1.0/account", body));
    let why = "Wilhelmina, of mail@example.com, was here";
    assert_eq!(dir.run(&["close", "r1", "--who", "Jo", "--why", why]).code, 0);
    let shown = || wait(dir.command(&["show", "r1"]).spawn().unwrap()).out;
    assert!(shown().contains("closed by Jo: Wilhelmina, of m***@e***.com, was here"), "{}", shown());
    prune(&dir);
    assert!(shown().contains("closed by Jo: *** of *** was here"), "{}", shown());
    assert_eq!(found(&dir, &["Wilhelmina", "mail@example.com"]), Vec::<String>::new());
}

#[test]
fn pruning_again_inserting_again_and_running_again_change_nothing() {
    let platform = Platform::dated();
    let dir = full_of_people(&platform);
    prune(&dir);
    let before = dump(&dir);
    prune(&dir);
    same(&dump(&dir), &before);
    for (id, body) in [("made", r#"{"email":"ann@example.com"}"#), ("bad", "{}")] {
        dir.insert(&post(id, &platform.url, "/api/v1.0/account", body));
    }
    let no_marks = |text: String| {
        let mark = |line: &&str| !["ledger ", "runs ", "sqlite_sequence "].iter().any(|table| line.starts_with(table));
        text.lines().filter(mark).collect::<Vec<_>>().join("\n")
    };
    same(&no_marks(dump(&dir)), &no_marks(before.clone()));
    let requests = platform.truth().requests;
    for arguments in [&["run"][..], &["run", "--recheck"]] {
        let ran = dir.run(arguments);
        assert!([0, 3].contains(&ran.code) && ran.err.is_empty(), "{ran:?}");
    }
    same(&no_marks(dump(&dir)), &no_marks(before.clone()));
    assert_eq!(platform.truth().requests, requests, "nothing is looked up any more");
    // Another plan would read bad rows and unknown requests anew; of these nothing is left to read.
    let plan = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/privo-gateway.toml")).unwrap();
    std::fs::write(dir.file("other.toml"), plan + "\n# another plan\n").unwrap();
    dir.configure(&Setup { plan: "other.toml".to_owned(), ..Setup::of(&platform) });
    dir.run(&["run"]);
    same(&no_marks(dump(&dir)), &no_marks(before.clone()));
    verified(&dir);
}

#[test]
fn whoever_guesses_a_key_finds_no_digest_of_it() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-after");
    settle(&dir);
    let digests = || -> Vec<String> {
        let db = dir.db();
        let sql =
            "SELECT names ->> ('$.k[' || (reading ->> '$[7][0]') || ']') FROM turns JOIN evidence ON id = evidence_id
                   WHERE json_type(reading) = 'array' ORDER BY evidence_id";
        let mut statement = db.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let before = digests();
    let key = before[0].clone();
    let of_key = i64::from_str_radix(&key[..16], 16).unwrap_or_default() & i64::MAX;
    assert_eq!(dir.count("SELECT count(*) FROM keys"), 2);
    prune(&dir);
    assert_ne!(digests(), before);
    assert_eq!(dir.count(&format!("SELECT count(*) FROM keys WHERE key = {of_key}")), 0);
    assert_eq!(dir.count("SELECT count(*) FROM keys"), 1, "the operation's");
    // A later attempt of the operation still belongs to it; a later entry with the key stands by itself.
    dir.attempt(&platform, Entry::register("r2", &platform.url, "ann@example.com").operation("r1"), "lost-after");
    dir.attempt(&platform, Entry::register("r3", &platform.url, "ann@example.com"), "lost-after");
    settle(&dir);
    assert_eq!(dir.says("r2"), "resolved satisfied present store-id");
    assert_eq!(dir.says("r3"), "resolved satisfied present store-id");
    prune(&dir);
    verified(&dir);
    assert!(!digests().contains(&key));
    assert_eq!(found(&dir, &["ann@example.com"]), Vec::<String>::new());
}

#[test]
fn what_is_young_pending_watched_or_in_their_group_stays_whole() {
    let platform = Platform::start();
    let setup = Setup { rest: "[retention]\nsettled = \"1h\"\n".to_owned(), ..Setup::of(&platform) };
    let dir = Dir::new(&setup.windows(&[("watch", "30m"), ("network", "10m")]));
    let register = |id: &str, email: &str| Entry::register(id, &platform.url, email);
    let long_ago = Moment::now() + Span::seconds(-7 * 86_400);
    dir.insert(&Entry::new("young", "GET", &platform.url).body(r#"{"email":"young@example.com"}"#));
    dir.insert(&register("watched", "watched@example.com").sent(long_ago));
    dir.insert(&register("settled", "shared@example.com").sent(long_ago));
    dir.insert(&register("alone", "alone@example.com").sent(long_ago));
    dir.insert(&register("alone/2", "alone@example.com").operation("alone").answered(412).sent(long_ago));
    dir.insert(&register("fresh/2", "fresh@example.com").operation("fresh").answered(412).sent(long_ago));
    for email in ["shared@example.com", "alone@example.com", "fresh@example.com"] {
        platform.add(NewAccount { email: Some(email.to_owned()), ..NewAccount::default() });
    }
    dir.run(&["run"]);
    dir.insert(&register("fresh", "fresh@example.com").sent(long_ago));
    dir.insert(
        &Entry::new("pending", "POST", "https://elsewhere.example/api/v1.0/account")
            .body(r#"{"email":"shared@example.com"}"#)
            .operation("settled"),
    );
    dir.run(&["run"]);
    assert_eq!(dir.says("watched"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.says("pending"), "pending . other-environment review");
    assert_eq!(dir.run(&["prune"]).code, 0);
    assert_eq!(whole(&dir).len(), 8, "nothing is old enough");
    age(&dir, "'settled', 'alone'", "2h");
    let ran = dir.run(&["prune"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        whole(&dir),
        ["young", "watched", "settled", "fresh/2", "fresh", "pending"],
        "the pending one's group is whole"
    );
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    assert_eq!(whole(&dir), ["watched", "settled", "pending"], "under watch for half an hour");
    age(&dir, "'watched'", "31m");
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    assert_eq!(whole(&dir), ["settled", "pending"]);
    assert_eq!(dir.count("SELECT count(*) FROM state WHERE status = 'resolved' AND due_ms IS NOT NULL"), 0);
    dir.run(&["close", "pending", "--who", "Jo", "--why", "done"]);
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    assert_eq!(whole(&dir), Vec::<String>::new());
    verified(&dir);
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for n in 0..5 {
        dir.attempt(
            &platform,
            Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com")),
            "lost-after",
        );
    }
    settle(&dir);
    let (before, bytes) = (dump(&dir), std::fs::read(dir.file("ledger.db")).unwrap());
    let ran = dir.run(&["prune", "--dry-run", "--older-than", "0s"]);
    assert!(ran.code == 0 && ran.out.contains("5  register-account         resolved"), "{ran:?}");
    assert!(dump(&dir) == before && std::fs::read(dir.file("ledger.db")).unwrap() == bytes);
    let ran = dir.run(&["forget", "p3@example.com", "--who", "Jo", "--why", "asked", "--dry-run"]);
    assert!(ran.code == 0 && ran.out.contains("r3\tregister-account\tresolved\n1 entries would"), "{ran:?}");
    assert!(dump(&dir) == before && std::fs::read(dir.file("ledger.db")).unwrap() == bytes);
}

#[test]
fn without_a_time_and_without_the_lock_nothing_is_pruned() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let ran = dir.run(&["prune"]);
    assert!(ran.code == 2 && ran.err.contains("[retention] settled"), "{ran:?}");
    let lock = dir.hold();
    for arguments in
        [&["prune", "--older-than", "0s"][..], &["forget", "x@example.com", "--who", "Jo", "--why", "asked"]]
    {
        assert_eq!(dir.run(arguments).code, 11, "{arguments:?}");
    }
    drop(lock);
    prune(&dir);
    dir.configure(&Setup { rest: "[retention]\nsettled = \"90 days\"\n".to_owned(), ..Setup::bare(NOWHERE) });
    let ran = dir.run(&["prune"]);
    assert!(ran.code == 2 && ran.err.contains("`retention.settled`: not a duration"), "{ran:?}");
}

#[test]
fn a_webhooks_state_goes_and_its_verdict_stays_decidable() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    let sid = platform.add(NewAccount { eid: Some("kid-1".to_owned()), ..NewAccount::default() });
    let body = format!(r#"{{"id":"event-1","sid":"{sid}"}}"#);
    dir.insert(
        &Entry::new("hook", "POST", "/hooks/privo").with("direction", "inbound".to_owned()).body(&body).http(500),
    );
    settle(&dir);
    assert!(dir.says("hook").contains("state-fetched"), "{}", dir.says("hook"));
    let fetched = || -> String {
        let sql =
            "SELECT names ->> ('$.w[' || (look.value ->> 8) || ']') FROM evidence, json_each(doc, '$[0][0][3]') look";
        dir.db().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let state = fetched();
    assert!(dir.row("hook")["explanation"].contains(&state));
    prune(&dir);
    assert!(!dir.row("hook")["explanation"].contains(&state), "{}", dir.row("hook")["explanation"]);
    assert!(fetched().starts_with("removed-state-") && dir.row("hook")["explanation"].ends_with(&fetched()));
    verified(&dir);
}

#[test]
fn an_id_of_the_servers_that_is_an_email_goes_when_all_that_rests_on_it_goes() {
    let platform = Platform::dated();
    let plan = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/privo-gateway.toml")).unwrap();
    let dir = Dir::new(&Setup::of(&platform));
    let record = "record = { use = \"account\", key = \"$.email\"";
    std::fs::write(dir.file("other.toml"), plan.replace(record, &format!("{record}, id = \"$.email\""))).unwrap();
    dir.configure(&Setup { plan: "other.toml".to_owned(), ..Setup::of(&platform) });
    for ids in [&["r1", "r2"][..], &["r3"]] {
        for id in ids {
            dir.attempt(&platform, Entry::register(id, &platform.url, "ann@example.com"), "lost-after");
        }
        settle(&dir);
    }
    assert_eq!(dir.row("r1")["server_id"], "a***@e***.com");
    assert!(found(&dir, &["ann@example.com"]).len() == 1);
    age(&dir, "'r1', 'r2'", "2h");
    assert_eq!(dir.run(&["prune", "--older-than", "1h"]).code, 0);
    assert_eq!(whole(&dir).len(), 3, "the third rests on the same record");
    prune(&dir);
    assert_eq!(found(&dir, &["ann@example.com"]), Vec::<String>::new());
    let ids: BTreeSet<String> = dir.report().into_iter().map(|row| row["server_id"].clone()).collect();
    assert!(ids.len() == 1 && ids.first().unwrap().starts_with("removed-"), "{ids:?}");
    verified(&dir);
}

#[test]
fn verify_finds_out_what_was_changed_after_a_prune() {
    let platform = Platform::start();
    for change in [
        "UPDATE evidence SET doc = json_set(doc, '$[0][0][4][4]', 7) WHERE doc ->> '$[0][0][4][0]' = 2",
        "UPDATE evidence SET doc = json_set(doc, '$[0][0][3][0][5]', 1) WHERE doc ->> '$[0][0][3][0][5]' = 0",
        "UPDATE evidence SET doc = json_set(doc, '$[0][0][2]', NULL) WHERE doc ->> '$[0][0][0]' = 1",
    ] {
        let dir = Dir::of(&platform);
        dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-after");
        dir.insert(&Entry::new("r2", "POST", &format!("{}/nowhere", platform.url)));
        settle(&dir);
        dir.run(&["close", "r2", "--who", "Jo", "--why", "seen"]);
        prune(&dir);
        verified(&dir);
        let db = dir.db();
        assert!(db.execute(change, []).is_err(), "{change}");
        db.execute_batch("DROP TRIGGER evidence_kept").unwrap();
        assert!(db.execute(change, []).unwrap() > 0);
        let ran = dir.run(&["verify"]);
        assert!(ran.code == 1 && ran.out.contains(": "), "{change}: {ran:?}");
        // Nothing mends it silently.
        dir.run(&["forget", "ann@example.com", "--who", "Jo", "--why", "asked"]);
        prune(&dir);
        assert_eq!(dir.run(&["verify"]).code, 1, "{change}");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_each_entry_whole_or_without_its_fields() {
    const ENTRIES: i64 = 1500;
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let db = dir.db();
    db.execute_batch("BEGIN").unwrap();
    for n in 0..ENTRIES {
        let body = format!(r#"{{"email":"child{n:05}@example.com","first_name":"Name{n:05}"}}"#);
        Entry::new(&format!("r{n}"), "GET", &format!("{NOWHERE}/a?email=child{n:05}@example.com"))
            .body(&body)
            .insert(&db)
            .unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    drop(db);
    dir.runs(0);
    let whole = || dir.count("SELECT count(*) FROM entries WHERE body IS NOT NULL");
    let mut pause = 5;
    loop {
        let child = dir.command(&["prune", "--older-than", "0s"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        signal("-KILL", child.id());
        let ran = finish(child);
        let left = whole();
        assert_eq!(dir.count("SELECT count(*) FROM state WHERE erased_id IS NOT NULL"), ENTRIES - left);
        assert_eq!(
            dir.count("SELECT coalesce(sum(doc ->> 'entries'), 0) FROM notes WHERE kind = 'erasure'"),
            ENTRIES - left
        );
        assert_eq!(dir.db().query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
        assert_eq!(dir.count("SELECT erasing FROM ledger"), 0);
        if ran.code == 0 {
            break;
        }
        pause += 10 + pause / 2;
    }
    assert_eq!(whole(), 0);
    prune(&dir);
    assert_eq!(found(&dir, &["child0", "Name0"]), Vec::<String>::new());
    verified(&dir);
}

#[test]
fn somebody_who_reads_for_long_does_not_hide_that_bytes_remain() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-after");
    settle(&dir);
    let reader = dir.db();
    reader.execute_batch("BEGIN; SELECT count(*) FROM entries").unwrap();
    let child = dir.command(&["prune", "--older-than", "0s"]).spawn().unwrap();
    until("the prune to be written", || dir.count("SELECT count(*) FROM state WHERE erased_id IS NOT NULL") == 1);
    let ran = finish(child);
    assert!(ran.code == 1 && ran.err.contains("may still stand in free pages"), "{ran:?}");
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    prune(&dir);
    assert_eq!(found(&dir, &["ann@example.com"]), Vec::<String>::new());
}

#[test]
fn a_deleted_intent_leaves_no_bytes_after_a_prune() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let intent = Entry::register("r1", NOWHERE, "clean@example.com").failure("intent");
    dir.insert(&intent);
    dir.db().execute("DELETE FROM entries", []).unwrap();
    assert_eq!(found(&dir, &["clean@example.com"]), ["clean@example.com"]);
    prune(&dir);
    assert_eq!(found(&dir, &["clean@example.com"]), Vec::<String>::new());
}

#[test]
fn writers_go_on_while_a_ledger_is_pruned() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for n in 0..200 {
        dir.insert(&Entry::new(&format!("old{n}"), "GET", &platform.url).body(r#"{"email":"old@example.com"}"#));
    }
    dir.runs(0);
    let mut children: BTreeMap<u32, _> = BTreeMap::new();
    for n in 0..5 {
        children.insert(n, dir.command(&["prune", "--older-than", "0s"]).spawn().unwrap());
        for m in 0..20 {
            dir.insert(&Entry::register(&format!("new{n}-{m}"), &platform.url, "new@example.com"));
        }
        let ran = finish(children.remove(&n).unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body IS NOT NULL"), 100);
    assert_eq!(found(&dir, &["old@example.com"]), Vec::<String>::new());
}
