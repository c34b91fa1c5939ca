//! Proves that an erasure request reaches every entry that names a person and nobody else's, whatever its status, and that
//! it never says whom it is about; and that a backup is whole, private and no way around either.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::util::{Dir, Entry, Platform, Ran, Setup, finish, until, wait};
use privo_reconcile::sandbox::NewAccount;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

const ACCOUNT: &str = "/api/v1.0/account";

fn found(dir: &Dir, value: &str) -> bool {
    let files =
        ["ledger.db", "ledger.db-wal", "ledger.db-shm"].map(|file| std::fs::read(dir.file(file)).unwrap_or_default());
    files.iter().any(|bytes| stands_in(bytes, value))
}

fn stands_in(bytes: &[u8], value: &str) -> bool {
    let (small, value) = (bytes.to_ascii_lowercase(), value.to_ascii_lowercase());
    let encoded = value.replace('@', "%40");
    [value, encoded].iter().any(|value| small.windows(value.len()).any(|window| window == value.as_bytes()))
}

fn post(request_id: &str, base: &str, path: &str, body: &str) -> Entry {
    Entry::new(request_id, "POST", &format!("{base}{path}")).body(body)
}

/// Forgets a subject that comes on standard input.
fn forget(dir: &Dir, subject: &str, more: &[&str]) -> Ran {
    let arguments = [&["forget", "-", "--who", "Jo", "--why", "letter of 1 March"], more].concat();
    let mut child = dir.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{subject}\n").as_bytes()).unwrap();
    let ran = finish(child);
    assert!(!stands_in(format!("{ran:?}").as_bytes(), subject.trim()), "{ran:?}");
    ran
}

fn verified(dir: &Dir) {
    let ran = dir.run(&["verify"]);
    assert!(ran.code == 0 && ran.out.contains("no difference"), "{ran:?}");
}

fn settle(dir: &Dir) {
    dir.run_twice();
    verified(dir);
}

/// Who is still whole.
fn whole(dir: &Dir) -> Vec<String> {
    let db = dir.db();
    let sql = "SELECT request_id FROM entries WHERE id NOT IN (SELECT entry_id FROM state WHERE erased_id IS NOT NULL) ORDER BY id";
    let mut statement = db.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn whoever_names_the_person_is_forgotten_and_nobody_else() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let register = |id: &str, body: &str| post(id, &platform.url, ACCOUNT, body);
    dir.attempt(
        &platform,
        register("as-account", r#"{"email":" Mum@Example.com ","first_name":"Xanthippe"}"#),
        "lost-after",
    );
    dir.attempt(
        &platform,
        register("as-owner", r#"{"parentEmail":"mum@example.com","first_name":"Kimberley"}"#),
        "lost-after",
    );
    dir.attempt(&platform, register("other", r#"{"email":"dad@example.com","first_name":"Xaver"}"#), "lost-after");
    dir.attempt(&platform, register("longer", r#"{"email":"mum2@example.com"}"#), "lost-before");
    dir.insert(&register("answered", r#"{"email":"MUM@example.com"}"#).answered(412));
    dir.insert(&Entry::new("in-url", "DELETE", &format!("{}{ACCOUNT}?email=mum%40example.com", platform.url)));
    dir.insert(
        &Entry::new("in-text", "GET", &platform.url).with("error", "no answer for <mum@example.com>".to_owned()),
    );
    dir.insert(&Entry::new("mum@example.com/7", "GET", &platform.url));
    dir.insert(
        &Entry::new("unknown", "POST", &format!("{}/nowhere", platform.url)).body(r#"{"a":[{"b":"mum@example.com"}]}"#),
    );
    settle(&dir);
    let other = dir.row("other");
    let ran = forget(&dir, "mum@EXAMPLE.com", &["--dry-run"]);
    assert!(ran.code == 0 && ran.out.contains("7 entries would be forgotten"), "{ran:?}");
    assert_eq!(whole(&dir).len(), 9);
    let ran = forget(&dir, "mum@EXAMPLE.com", &["--even-pending"]);
    assert!(ran.code == 0 && ran.out.contains("7 entries were forgotten"), "{ran:?}");
    assert!(ran.out.contains("as-owner\tregister-account\t") && ran.out.contains("m***@e***.c***"), "{ran:?}");
    assert_eq!(whole(&dir), ["other", "longer"]);
    for value in ["mum@example.com", "Xanthippe", "Kimberley"] {
        assert!(!found(&dir, value), "{value}");
    }
    assert!(found(&dir, "dad@example.com"));
    assert_eq!(dir.row("other"), other);
    verified(&dir);
    assert!(forget(&dir, "mum@example.com", &[]).out.contains("0 entries were forgotten"));
    let noted: String =
        dir.db().query_row("SELECT doc FROM notes WHERE kind = 'erasure'", [], |row| row.get(0)).unwrap();
    for said in [r#""command":"forget""#, r#""who":"Jo""#, r#""entries":7"#] {
        assert!(noted.contains(said), "{said}: {noted}");
    }
}

#[test]
fn an_address_is_forgotten_wherever_it_stands() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let url = format!("{NOWHERE}/api/v1.0/account");
    let with_url = |id: &str, url: &str| Entry::new(id, "GET", url);
    let with_body = |id: &str, body: &str| Entry::new(id, "POST", &url).body(body);
    for entry in [
        with_url("reg-ann@example.com", &url),
        with_url("ann@example.com_1", &url),
        with_url("ann%40example.com/2", &url),
        with_url("by-operation", &url).operation("<Ann@Example.com>"),
        with_url("twice-encoded", &format!("{url}?next=%2Fa%3Femail%3Dann%2540example.com")),
        with_url("user-of-url", "https://ann%40example.com:x@host.example/a"),
        with_url("error", &url).with("error", "mailto:ann%40example.com bounced".to_owned()),
        with_body("json-name", r#"{"of":{"ann@example.com":{"a":1}}}"#),
        with_body("form", "a=1&email=ann%40example.com&b=2"),
        with_body("escaped", r#"{"note":"for ann\u0040example.com, again"}"#),
    ] {
        dir.insert(&entry);
    }
    for (id, body) in [("other", r#"{"email":"joann@example.com"}"#), ("au", "email=ann%40example.com.au")] {
        dir.insert(&with_body(id, body));
    }
    dir.insert(&with_body("by-words", "{}"));
    dir.insert(&with_body("by-nobody", "{}"));
    let close = |id: &str, who: &str, why: &str| {
        let ran = dir.run(&["close", id, "--who", who, "--why", why]);
        assert!(ran.code == 4 || ran.code == 3, "{ran:?}");
    };
    close("by-words", "Jo", "she is SOMEBODY, of the desk");
    // Said before such addresses were masked when they are written.
    dir.db()
        .execute_batch(
            "UPDATE ledger SET erasing = 1;
             UPDATE evidence SET names = replace(names, 'SOMEBODY', 'ann%40example.com');
             UPDATE ledger SET erasing = 0;",
        )
        .unwrap();
    close("by-nobody", "ann@example.com", "done");
    let ran = forget(&dir, "ann@example.com", &["--even-pending"]);
    assert!(ran.code == 0 && ran.out.contains("11 entries were forgotten"), "{ran:?}");
    assert_eq!(whole(&dir), ["other", "au", "by-nobody"]);
    let files = ["ledger.db", "ledger.db-wal"].map(|file| std::fs::read(dir.file(file)).unwrap_or_default());
    for value in ["reg-ann", "<ann@", "ann%40example.com:x", "ann%2540", "is ann", "u0040"] {
        assert!(!files.iter().any(|bytes| stands_in(bytes, value)), "{value}");
    }
    assert!(found(&dir, "joann@example.com"));
    let closed = "SELECT count(*) FROM evidence WHERE names LIKE '%closed by ***: done%'";
    assert_eq!(dir.count(closed), 1, "who closed it is no word about it, and is named no more");
    verified(&dir);
}

#[test]
fn what_is_pending_is_forgotten_only_when_asked_for_loudly() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "kid@example.com"), "lost-before");
    dir.insert(&Entry::register("r2", &platform.url, "kid@example.com").failure("intent"));
    dir.attempt(&platform, Entry::register("r3", &platform.url, "sib@example.com"), "lost-before");
    dir.runs(4);
    let ran = forget(&dir, "kid@example.com", &[]);
    assert!(ran.code == 2 && ran.err.contains("2 of the entries") && ran.err.contains("r1, r2"), "{ran:?}");
    assert!(whole(&dir).len() == 3 && found(&dir, "kid@example.com"));
    let ran = forget(&dir, "kid@example.com", &["--even-pending"]);
    assert!(ran.code == 0 && ran.err.contains("2 pending entries were closed"), "{ran:?}");
    assert!(whole(&dir) == ["r3"] && !found(&dir, "kid@example.com"));
    assert_eq!(dir.says("r1"), "resolved unknown closed none");
    assert_eq!(dir.row("r1")["explanation"], "closed by Jo: letter of 1 March (was pending, unsettled)");
    // The writer's late news, or its clean answer, fails nothing and brings nothing back.
    let db = dir.db();
    let news = "UPDATE entries SET failure = 'timeout', error = 'for kid@example.com' WHERE request_id = 'r2'";
    assert_eq!(db.execute(news, []).unwrap(), 0);
    assert_eq!(db.execute("DELETE FROM entries WHERE request_id = 'r2' AND failure = 'intent'", []).unwrap(), 0);
    assert!(db.execute("UPDATE entries SET body = '{}' WHERE request_id = 'r1'", []).is_err());
    dir.insert(&Entry::register("r1", &platform.url, "kid@example.com"));
    dir.runs(4);
    assert_eq!(dir.says("r2"), "resolved unknown closed none");
    assert_eq!(dir.says("r3"), "pending . unsettled may-resend");
    assert!(!found(&dir, "kid@example.com"));
    verified(&dir);
}

#[test]
fn a_persons_guess_is_not_confirmed_by_a_digest() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "kid@example.com"), "lost-after");
    let shared = |id: &str, body: &str| post(id, &platform.url, ACCOUNT, body).operation("shared");
    dir.attempt(&platform, shared("r2", r#"{"email":"kid@example.com"}"#), "lost-after");
    dir.attempt(&platform, shared("r3", r#"{"email":"sib@example.com"}"#), "lost-after");
    settle(&dir);
    let digest = |id: &str| -> String {
        let sql = format!(
            "SELECT names ->> ('$.k[' || (reading ->> '$[7][0]') || ']')
             FROM turns JOIN entries e ON e.id = entry_id JOIN evidence ON evidence.id = evidence_id
             WHERE request_id = '{id}' AND json_type(reading) = 'array'"
        );
        dir.db().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let (kid, sib) = (digest("r1"), digest("r3"));
    assert_eq!(digest("r2"), kid);
    assert_eq!(forget(&dir, "kid@example.com", &[]).code, 0);
    assert!(digest("r1") != kid && digest("r2") == digest("r1"), "what was equal is equal");
    assert_eq!(digest("r3"), sib, "the sibling's stays, for its group may grow");
    let key = i64::from_str_radix(&kid[..16], 16).unwrap_or_default() & i64::MAX;
    assert_eq!(dir.count(&format!("SELECT count(*) FROM keys WHERE key = {key}")), 0);
    verified(&dir);
}

#[test]
fn an_id_of_the_servers_is_forgotten_like_any_name() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let sid = platform.add(NewAccount { email: Some("kid@example.com".to_owned()), ..NewAccount::default() });
    dir.insert(&Entry::register("made", &platform.url, "kid@example.com"));
    dir.insert(&Entry::new("removed", "DELETE", &format!("{}{ACCOUNT}/{sid}", platform.url)));
    settle(&dir);
    assert_eq!(dir.row("made")["server_id"], sid);
    assert_eq!(forget(&dir, &sid, &["--even-pending"]).code, 0);
    assert!(whole(&dir).is_empty() && !found(&dir, &sid) && !found(&dir, "kid@example.com"));
    assert!(dir.row("made")["server_id"].starts_with("removed-"), "{:?}", dir.row("made"));
    verified(&dir);
}

#[test]
fn pseudonyms_stay_after_a_prune_and_go_with_the_person() {
    let platform = Platform::start();
    let pseudonym = "[pseudonym]\nkey = { file = \"new\" }\nprevious = [{ file = \"old\" }]\n";
    let with = |rest: &str| Setup { rest: rest.to_owned(), ..Setup::of(&platform) };
    let dir = Dir::new(&with("[pseudonym]\nkey = { file = \"old\" }\n"));
    std::fs::write(dir.file("old"), "a key of the year before\n").unwrap();
    std::fs::write(dir.file("new"), "a key of this very year\n").unwrap();
    dir.attempt(&platform, Entry::register("r1", &platform.url, "Kid@example.com"), "lost-after");
    settle(&dir);
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    dir.configure(&with(pseudonym));
    dir.attempt(&platform, Entry::register("r2", &platform.url, "kid@example.com"), "lost-after");
    dir.attempt(&platform, Entry::register("r3", &platform.url, "sib@example.com"), "lost-after");
    settle(&dir);
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    assert_eq!(dir.count("SELECT count(DISTINCT pseudonym) FROM state WHERE pseudonym LIKE 'psn1-%'"), 3);
    let ran = forget(&dir, "kid@example.com", &[]);
    assert!(ran.out.contains("r1\tregister-account\tresolved, its fields were gone before"), "{ran:?}");
    assert!(ran.out.contains("2 entries were forgotten"), "{ran:?}");
    assert_eq!(dir.count("SELECT count(pseudonym) FROM state"), 1);
    verified(&dir);
}

#[test]
fn what_is_kept_of_an_erasure_does_not_name_the_person() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::register("r1", NOWHERE, "kid@example.com"));
    for (arguments, expected) in [
        (
            &["forget", "kid@example.com", "--who", "Jo", "--why", "Kid@Example.com asked"][..],
            "must not name the subject",
        ),
        (&["forget", "kid@example.com", "--who", " ", "--why", "asked"], "must say something"),
        (&["forget", "  ", "--who", "Jo", "--why", "asked"], "the subject is empty"),
    ] {
        let ran = dir.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(expected), "{ran:?}");
    }
    assert_eq!(forget(&dir, "one\ntwo", &[]).code, 2);
    assert_eq!(forget(&dir, &"x".repeat(5000), &[]).code, 2);
    assert_eq!(whole(&dir).len(), 1);
}

#[test]
fn what_older_copies_left_in_a_large_ledger_is_named_and_goes_when_it_is_compacted() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let dull = "x".repeat(1_000_000);
    for n in 0..20 {
        dir.insert(
            &Entry::new(&format!("r{n}"), "GET", &format!("{NOWHERE}/a")).body(&format!(r#"{{"note":"{dull}"}}"#)),
        );
    }
    dir.insert(&Entry::register("i1", NOWHERE, "clean@example.com").failure("intent"));
    dir.db().execute("DELETE FROM entries WHERE request_id = 'i1'", []).unwrap();
    dir.runs(0);
    let ran = dir.run(&["prune", "--older-than", "0s"]);
    assert!(ran.code == 0 && ran.err.contains("`privo-reconcile prune --compact`"), "{ran:?}");
    let bytes = std::fs::read(dir.file("ledger.db")).unwrap();
    let run = bytes.split(|byte| *byte != b'x').map(<[u8]>::len).max();
    assert!(run.is_some_and(|run| run < 4096), "no page of what was removed stays: {run:?}");
    let ran = dir.run(&["prune", "--compact"]);
    assert!(ran.code == 0 && ran.err.contains("the ledger is rewritten now"), "it says so before: {ran:?}");
    assert!(!found(&dir, "clean@example.com"));
    // Now it is small, and nothing is left to be said.
    let ran = dir.run(&["prune", "--older-than", "0s"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn a_prune_and_an_erasure_end_while_a_writer_goes_on() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for n in 0..50 {
        dir.insert(&Entry::new(&format!("old{n}"), "GET", &platform.url).body(r#"{"email":"old@example.com"}"#));
    }
    dir.runs(0);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let db = dir.db();
            db.busy_timeout(Duration::from_secs(10)).unwrap();
            for n in 0.. {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                Entry::register(&format!("new{n}"), &platform.url, &format!("new{n}@example.com")).insert(&db).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let pruned = dir.run(&["prune", "--older-than", "0s"]);
        let forgotten = dir.run(&["forget", "old@example.com", "--who", "Jo", "--why", "asked"]);
        ended.store(true, Ordering::SeqCst);
        assert_eq!((pruned.code, forgotten.code), (0, 0), "{pruned:?} {forgotten:?}");
    });
    assert!(!found(&dir, "old@example.com"));
}

#[test]
fn a_backup_is_whole_while_writers_go_on() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for n in 0..300 {
        dir.insert(&Entry::register(&format!("r{n}"), NOWHERE, "kid@example.com"));
    }
    let child = dir.command(&["backup", "copy.db"]).spawn().unwrap();
    let mut n = 300;
    until("the backup", || {
        dir.insert(&Entry::register(&format!("r{n}"), NOWHERE, "kid@example.com"));
        n += 1;
        dir.file("copy.db").exists()
    });
    let ran = finish(child);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{ran:?}");
    let mode = std::fs::metadata(dir.file("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rest: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!rest.iter().any(|name| name.to_string_lossy().starts_with(".privo") || name == "copy.db-wal"), "{rest:?}");
    // A restored one is taken like the first.
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(dir.file(file));
    }
    let before = std::fs::read(dir.file("copy.db")).unwrap();
    assert_eq!(before[18..20], [2, 2], "in WAL mode");
    std::fs::rename(dir.file("copy.db"), dir.file("ledger.db")).unwrap();
    assert!(dir.count("SELECT count(*) FROM entries") >= 300);
    assert_eq!(dir.run(&["status"]).code, 0);
    dir.insert(&Entry::register("after", NOWHERE, "kid@example.com"));
}

#[test]
fn a_backup_takes_nobodys_place_and_shows_nothing_that_was_removed() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "kid@example.com"), "lost-after");
    settle(&dir);
    assert_eq!(dir.run(&["backup", "before.db"]).code, 0);
    assert!(stands_in(&std::fs::read(dir.file("before.db")).unwrap(), "kid@example.com"));
    let ran = dir.run(&["backup", "before.db"]);
    assert!(ran.code == 2 && ran.err.contains("is there already"), "{ran:?}");
    let ran = dir.run(&["backup", "nowhere/copy.db"]);
    assert!(ran.code == 1 && ran.err.contains("failed to write the backup"), "{ran:?}");
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    assert_eq!(dir.run(&["backup", "after.db"]).code, 0);
    assert!(!stands_in(&std::fs::read(dir.file("after.db")).unwrap(), "kid@example.com"));
    dir.db()
        .execute_batch(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'entries_by_operation'",
        )
        .unwrap();
    let ran = wait(dir.command(&["backup", "broken.db"]).spawn().unwrap());
    assert!(ran.code != 0 && !dir.file("broken.db").exists(), "{ran:?}");
}

/// What people typed beside the entries names the person no more: who closed, who was shown what and why, what was removed
/// and why, where a file stood.
#[test]
fn what_people_said_beside_the_entries_names_a_forgotten_person_no_more() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for id in ["r1", "r2"] {
        dir.insert(&Entry::new(id, "POST", &format!("{NOWHERE}/unknown")));
    }
    dir.runs(3);
    let close = |id: &str| {
        let ran =
            wait(dir.command(&["close", id, "--who", "ann@example.com", "--why", "asked PRIVO"]).spawn().unwrap());
        assert!([0, 3].contains(&ran.code), "{ran:?}");
    };
    close("r1");
    // They have no fields any more, and a digest over what is left.
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    close("r2");
    let reveal = ["report", "full.csv", "--reveal", "--purpose", "letter of ann%40example.com, 1 March"];
    let ran = wait(dir.command(&reveal).spawn().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let db = dir.db();
    let approval = r#"{"digest":"d","who":"ann@example.com","operations":[]}"#;
    db.execute("INSERT INTO notes (kind, at_ms, doc) VALUES ('approval', 0, ?)", [approval]).unwrap();
    drop(db);
    assert!(found(&dir, "ann@example.com"));
    let ran = forget(&dir, "Ann@example.com", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = |sql: &str| -> String { dir.db().query_row(sql, [], |row| row.get(0)).unwrap() };
    for sql in [
        "SELECT group_concat(names) FROM evidence",
        "SELECT doc FROM notes WHERE kind = 'disclosure'",
        "SELECT doc FROM notes WHERE kind = 'approval'",
    ] {
        let said = text(sql);
        assert!(!said.to_lowercase().contains("ann@") && !said.contains("ann%40"), "{sql}: {said}");
        assert!(said.contains("***"), "{sql}: {said}");
    }
    assert!(text("SELECT group_concat(names) FROM evidence").contains("closed by ***: asked PRIVO"));
    assert!(!found(&dir, "ann@example.com"));
    verified(&dir);
}
