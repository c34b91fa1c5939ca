//! Proves that `check` finds what would keep a run from its work, goes on after what it found, names the remedy, shows no
//! personal data, and stands in nobody's way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::util::{Answer, Dir, Entry, Hostile, Platform, Ran, Setup, finish, signal, until};
use privo_reconcile::clock::{Moment, Span};

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

fn chmod(dir: &Dir, name: &str, mode: u32) {
    std::fs::set_permissions(dir.file(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The lines that begin so.
fn lines<'a>(ran: &'a Ran, weight: &str) -> Vec<&'a str> {
    assert!(ran.err.is_empty(), "{ran:?}");
    ran.out.lines().filter(|line| line.starts_with(weight)).collect()
}

/// The one line of this weight that has these words.
fn said<'a>(ran: &'a Ran, weight: &str, words: &[&str]) -> &'a str {
    let found: Vec<_> =
        lines(ran, weight).into_iter().filter(|line| words.iter().all(|word| line.contains(word))).collect();
    assert_eq!(found.len(), 1, "{weight} {words:?}: {}", ran.out);
    found[0]
}

#[test]
fn a_healthy_setup_has_nothing_but_ok() {
    let platform = Platform::start();
    let setup = Setup::of(&platform);
    let sid = format!("[[control]]\nlookup = \"account-by-service-id\"\nkey = \"{}\"\n", platform.canary_child);
    let dir = Dir::new(&Setup { rest: sid, ..setup });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(lines(&ran, "").iter().all(|line| line.starts_with("ok    ")), "{}", ran.out);
    for about in
        ["configuration ", "credential ", "files of the ledger", "whole", "the newest 1", "clock", "credentials"]
    {
        assert!(lines(&ran, "ok").iter().any(|line| line.contains(about)), "{about}: {}", ran.out);
    }
}

#[test]
fn one_mistake_does_not_hide_the_next() {
    let dir = Dir::new(&Setup { rest: "[report]\ndir = \"secret/reports\"\n".to_owned(), ..Setup::bare(NOWHERE) });
    dir.insert(&Entry::new("r1", "POST", &format!("{NOWHERE}/unknown")));
    std::fs::remove_file(dir.file("secret")).unwrap();
    std::fs::write(dir.file("secret"), "").unwrap();
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    said(&ran, "BAD", &["report.dir", "may not write there"]);
    said(&ran, "BAD", &["1 entry POST /unknown", "no operation of the plan matches"]);
    said(&ran, "BAD", &["server http://127.0.0.1:9", "no connection", "base_url"]);
    said(&ran, "BAD", &["line 11", "the credential", "is empty"]);
    said(&ran, "note", &["controls: not asked", "credentials"]);

    std::fs::remove_file(dir.file("ledger.db")).unwrap();
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    said(&ran, "BAD", &["there is no ledger", "run `privo-reconcile init`"]);
    said(&ran, "BAD", &["server http://127.0.0.1:9", "no connection"]);
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_its_place() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let text = dir.read("privo-reconcile.toml").replace("[settle]", "[setle]");
    std::fs::write(dir.file("privo-reconcile.toml"), text).unwrap();
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    said(&ran, "BAD", &["privo-reconcile.toml, line", "unknown field"]);
}

/// A folder that everybody may come to. The one for temporary files may be its user's own.
fn public() -> Option<PathBuf> {
    let enters = |folder: &Path| folder.metadata().is_ok_and(|about| about.permissions().mode() & 0o001 != 0);
    let places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let found = places.into_iter().find(|place| place.ancestors().all(enters));
    if found.is_none() {
        eprintln!("skipped: there is no folder for temporary files that everybody may come to");
    }
    found
}

#[test]
fn what_everybody_may_read_or_write_is_told() {
    let Some(place) = public() else { return };
    let platform = Platform::start();
    let dir = Dir::inside(&place, &Setup::of(&platform));
    assert_eq!(dir.run(&["init"]).code, 0);
    chmod(&dir, "", 0o755);
    for name in ["privo-reconcile.toml", "secret", "ledger.db"] {
        chmod(&dir, name, 0o640);
    }
    let healthy = dir.run(&["check"]);
    assert_eq!((healthy.code, lines(&healthy, "BAD").len()), (0, 0), "{}", healthy.out);
    for (name, mode, weight, words) in [
        ("privo-reconcile.toml", 0o644, "note", ["name to log in with", "chmod o-r"]),
        ("privo-reconcile.toml", 0o642, "BAD", ["everybody may change", "chmod o-w"]),
        ("secret", 0o604, "BAD", ["credential", "chmod 0600"]),
        ("ledger.db", 0o644, "note", ["children's data", "chmod o-r"]),
        ("ledger.db", 0o646, "BAD", ["forge evidence", "chmod o-rw"]),
        ("", 0o757, "BAD", ["everybody may replace the ledger", "chmod o-w"]),
    ] {
        let before = dir.file(name).metadata().unwrap().permissions();
        chmod(&dir, name, mode);
        let ran = dir.run(&["check"]);
        said(&ran, weight, &words);
        assert_eq!(ran.code, i32::from(weight == "BAD"), "{}", ran.out);
        // Behind a folder that keeps them out, nobody is everybody.
        if !name.is_empty() {
            chmod(&dir, "", 0o750);
            let ran = dir.run(&["check"]);
            assert!(!ran.out.contains("everybody"), "{}", ran.out);
            chmod(&dir, "", 0o755);
        }
        std::fs::set_permissions(dir.file(name), before).unwrap();
    }
}

#[test]
fn a_group_that_is_meant_to_write_must_be_able_to() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    // A writer that goes on keeps -wal and -shm there.
    let writer = dir.db();
    writer.execute_batch("SELECT * FROM entries").unwrap();
    let good = [("", 0o2770), ("ledger.db", 0o660), ("ledger.db-wal", 0o660), ("ledger.db-shm", 0o660)];
    good.iter().for_each(|(name, mode)| chmod(&dir, name, *mode));
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    said(&ran, "ok", &["files of the ledger", "0660", "2770"]);
    for (name, mode) in good {
        chmod(&dir, name, mode & !0o020);
        let ran = dir.run(&["check"]);
        assert_eq!(ran.code, 1, "{name}: {}", ran.out);
        let bad = lines(&ran, "BAD");
        assert!(
            bad.len() == 2
                && bad[1].contains("a run would not")
                && bad[0].contains("group may not write")
                && bad[0].contains("chmod"),
            "{name}: {bad:?}"
        );
        chmod(&dir, name, mode);
    }
    // A folder of one user alone needs none of it.
    chmod(&dir, "", 0o700);
    chmod(&dir, "ledger.db", 0o600);
    assert_eq!(dir.run(&["check"]).code, 0);
}

#[test]
fn what_belongs_to_nothing_is_damage() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.db()
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             INSERT INTO evidence (run_id, at_ms, rules, doc, names) VALUES (77, 0, 1, '[[]]', '{}')",
        )
        .unwrap();
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    said(&ran, "BAD", &["is damaged", "evidence", "backup"]);
    assert!(ran.out.contains("controls of account-by-email"), "it goes on: {}", ran.out);
}

#[test]
fn a_ledger_of_another_version_is_told_with_both_versions() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.db().execute_batch("PRAGMA user_version = 99").unwrap();
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    said(&ran, "BAD", &["version 99", "version 1", "install the newer"]);
}

/// The date of an answer, so far from now.
fn date(off: Span) -> String {
    let at = chrono::DateTime::from_timestamp_millis((Moment::now() + off).0).unwrap();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    for (off, weight, words) in [
        (0, "ok", "its clock is this host's"),
        (30, "note", "ahead of this host's (set this host's clock by NTP)"),
        (-30, "note", "behind this host's (set this host's clock by NTP)"),
        (90, "BAD", "`created` and `preexisting` cannot be told apart"),
        (-90, "BAD", "`created` and `preexisting` cannot be told apart"),
        (-3600, "BAD", "nothing is settled by an absence before that clock has passed the waiting window"),
        (-3600, "BAD", "set this host's clock by NTP; if it is right, the server's is wrong"),
    ] {
        let server = Hostile::start(move |asked, _| {
            let body = if asked.for_token() { r#"{"access_token":"t","expires_in":60}"# } else { "{}" };
            let status = if asked.for_token() { "200 OK" } else { "404 Not Found" };
            let head = format!(
                "date: {}\r\ncontent-type: application/json\r\ncontent-length: {}",
                date(Span::seconds(off)),
                body.len()
            );
            Answer::Raw(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}").into_bytes())
        });
        let ran = Dir::new(&Setup::bare(&server.url)).run(&["check"]);
        said(&ran, weight, &["clock", words]);
    }
    let server = Hostile::start(|_, _| Answer::json("404 Not Found", "{}"));
    said(&Dir::new(&Setup::bare(&server.url)).run(&["check"]), "note", &["without a Date"]);
}

#[test]
fn what_the_plan_makes_of_the_ledger_is_told_without_personal_data() {
    let platform = Platform::start();
    let url = platform.url.clone();
    let dir = Dir::new(&Setup { controls: String::new(), ..Setup::of(&platform) });
    for n in 0..3 {
        dir.insert(&Entry::new(
            &format!("u{n}"),
            "POST",
            &format!("{url}/api/v9/sue{n}@example.com/x?email=sue@example.com"),
        ));
    }
    dir.insert(&Entry::new("q1", "PATCH", &format!("{url}/api/v9/things/2016")));
    dir.insert(&Entry::register("b1", &url, "sue@example.com").failure("sue@example.com"));
    dir.insert(&Entry::register("b2", &url, "sue@example.com").body("{\"email\":\"sue@example.com\""));
    dir.insert(&Entry::register("o1", "https://sue.example", "sue@example.com"));
    dir.insert(&Entry::register("e1", &url, "sue@example.com"));
    dir.insert(&Entry::register("e2", &url, "sue@example.com").answered(201));
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    said(&ran, "BAD", &["3 entries POST /api/v9/***/x: no operation of the plan matches", "`close`"]);
    said(&ran, "BAD", &["1 entry PATCH /api/v9/things/***: no operation"]);
    said(&ran, "note", &["1 entry bad-row: `failure` is none of", "UPDATE"]);
    said(&ran, "note", &["1 entry bad-row: `body` is not JSON"]);
    said(&ran, "note", &["1 entry other-environment", &url]);
    said(&ran, "BAD", &["account-by-email has no control, and an entry needs it", "[[control]]"]);
    said(&ran, "note", &["account-by-user-name has no control"]);
    assert!(!ran.out.contains("sue") && !ran.out.contains("2016"), "{}", ran.out);

    // What a run has settled so, and what a person has closed.
    assert_eq!(dir.run(&["run"]).code, 3);
    assert_eq!(lines(&dir.run(&["check"]), "BAD"), lines(&ran, "BAD"));
    let closed = dir.run(&["close", "--reason", "no-plan", "--who", "ann", "--why", "asked"]);
    assert_eq!(closed.code, 3, "{closed:?}");
    assert!(!dir.run(&["check"]).out.contains("no operation"));
}

#[test]
fn old_rows_that_no_plan_matches_are_found_behind_many_new_ones() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::new("old", "POST", &format!("{}/unknown", platform.url)));
    assert_eq!(dir.run(&["run"]).code, 3);
    let db = dir.db();
    db.execute_batch("BEGIN").unwrap();
    for n in 0..1500 {
        Entry::new(&format!("r{n}"), "GET", &platform.url).insert(&db).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    let ran = dir.run(&["check"]);
    said(&ran, "BAD", &["1 entry POST /unknown"]);
}

#[test]
fn a_check_stands_in_nobodys_way() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "5m")]));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    let run = dir.command(&["run", "--wait", "10m"]).spawn().unwrap();
    until("the first look", || dir.count("SELECT count(*) FROM looks") > 0);
    // Held still, so that it is not the run that looks meanwhile.
    signal("-STOP", run.id());
    let looks = dir.count("SELECT count(*) FROM looks");
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(dir.count("SELECT count(*) FROM looks"), looks, "a check leaves no trace");
    signal("-CONT", run.id());
    // The run goes on, and so may writers: what is new is looked at.
    dir.insert(&Entry::register("r2", &platform.url, "bob@example.com"));
    until("a look at what is new", || dir.count("SELECT count(*) FROM looks") > looks);
    signal("-TERM", run.id());
    assert_eq!(finish(run).code, 143);
    assert_eq!(dir.count("SELECT count(*) FROM runs"), 1, "a check is no run");
}

#[test]
fn credentials_may_be_in_the_folder_that_systemd_gives() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let text = dir.read("privo-reconcile.toml").replace("\"secret\"", "\"$CREDENTIALS_DIRECTORY/client_secret\"");
    std::fs::write(dir.file("privo-reconcile.toml"), text).unwrap();
    std::fs::create_dir(dir.file("given")).unwrap();
    std::fs::rename(dir.file("secret"), dir.file("given/client_secret")).unwrap();
    let ran = dir.run(&["check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    said(&ran, "BAD", &["line 11", "$CREDENTIALS_DIRECTORY is not set", "LoadCredential="]);
    assert_eq!(dir.run(&["run"]).code, 2);
    for command in ["check", "run"] {
        let given = dir.command(&[command]).env("CREDENTIALS_DIRECTORY", dir.file("given")).spawn().unwrap();
        let ran = finish(given);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    }
}

#[test]
fn what_a_run_tells_others_by_is_looked_at_and_never_worse_than_a_note() {
    let platform = Platform::start();
    let rest = "[ping]\nurl = { file = \"ping\" }\n[metrics]\nfile = \"text/a.prom\"\n[hook]\ncommand = [\"./tell\"]\n";
    let dir = Dir::new(&Setup { rest: rest.to_owned(), ..Setup::of(&platform) });
    let ran = dir.run(&["check"]);
    assert_eq!((ran.code, lines(&ran, "BAD").len()), (0, 0), "{}", ran.out);
    said(&ran, "note", &["ping: ", "failed to read the credential"]);
    said(&ran, "note", &["metrics text/a.prom", "ReadWritePaths="]);
    said(&ran, "note", &["hook ./tell", "chmod a+x"]);

    std::fs::write(dir.file("ping"), "http://127.0.0.1:9/uuid-of-the-ping\n").unwrap();
    std::fs::create_dir(dir.file("text")).unwrap();
    std::fs::write(dir.file("tell"), "#!/bin/sh\n").unwrap();
    chmod(&dir, "tell", 0o755);
    let ran = dir.run(&["check"]);
    for about in ["metrics text/a.prom", "hook ./tell", "credential ping: kept from others"] {
        said(&ran, "ok", &[about]);
    }
    assert!(!ran.out.contains("ping: failed") && !ran.out.contains("uuid-of-the-ping"), "{}", ran.out);
}

#[test]
fn a_document_has_what_the_lines_say() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let (plain, json) = (dir.run(&["check"]), dir.run(&["check", "--json"]));
    assert_eq!((plain.code, json.code), (1, 1), "{json:?}");
    let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let shown = document["findings"].as_array().unwrap().iter().map(|finding| {
        let level = finding["level"].as_str().unwrap();
        let level = if level == "bad" { "BAD" } else { level };
        format!("{level:<5} {}", finding["message"].as_str().unwrap())
    });
    let mut lines: Vec<&str> = plain.out.lines().collect();
    // The last one says what follows from the others.
    assert!(lines.pop().unwrap().contains("a run would not") && document["run_would_work"] == false);
    assert_eq!(shown.collect::<Vec<_>>(), lines);

    std::fs::write(dir.file("privo-reconcile.toml"), "plan = 1").unwrap();
    let json = dir.run(&["check", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &document["exit"], &document["findings"][0]["level"]), (2, &2.into(), &"bad".into()));
}
