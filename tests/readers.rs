//! Proves that each reader is told what is theirs: filters, what support may see, what may be sent again, what is new; that
//! reveals are noted; and that a terminal is not a program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::process::{Command, Stdio};

use crate::util::{Dir, Entry, PSEUDONYMS, Platform, Ran, Setup, finish, golden_ledger, rows};
use privo_reconcile::clock::Moment;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The request ids of a report, without those of the golden ledger's reads.
fn ids(dir: &Dir, arguments: &[&str]) -> Vec<String> {
    let ran = dir.run(&[&["report"], arguments].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
    let rows = rows(ran.out.trim_start_matches('\u{feff}'));
    rows.into_iter().filter(|row| row["reason"] != "no-effect").map(|row| row["request_id"].clone()).collect()
}

fn refused(dir: &Dir, arguments: &[&str]) -> String {
    let ran = dir.run(arguments);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?} {ran:?}");
    ran.err
}

/// An account that the job finds absent and settles so.
fn absent(dir: &Dir, platform: &Platform, request: &str, operation: &str, email: &str) {
    dir.insert(&Entry::register(request, &platform.url, email).operation(operation));
}

#[test]
fn filters_are_and_and_repeated_words_are_or() {
    let dir = golden_ledger("");
    for (arguments, expected) in [
        (&["--status", "pending"][..], &["r-again/1", "r-open/1", "r-open/2", "r-unread"][..]),
        (&["--status", "pending", "--reason", "unsettled"], &["r-again/1", "r-open/1", "r-open/2"]),
        (&["--status", "pending", "--reason", "inconclusive"], &["r-unread"]),
        (&["--reason", "created", "--reason", "closed"], &["r-made", "r-closed"]),
        (&["--reason", "created", "--status", "pending"], &[]),
        (&["--operation", "register-child"], &["r-blind", "r-closed"]),
        (
            &["--operation", "register-account", "--status", "pending"],
            &["r-again/1", "r-open/1", "r-open/2", "r-unread"],
        ),
        (&["--run", "2"], &["r-late", "r-closed"]),
        (&["--run", "1", "--status", "duplicate-risk"], &["r-bad", "r-twice/1", "r-blind"]),
        (&["--for", "support"], &["r-late", "r-twice/1", "r-blind"]),
        // From then on, before then; what has no readable time is in every range.
        (
            &["--since", "2026-03-01T13:00:08+01:00", "--until", "2026-03-01T12:00:10Z"],
            &["r-bad", "r-closed", "y***@e***.com"],
        ),
        (&["--until", "2026-03-01T12:00:01.001Z"], &["r-bad", "r-made"]),
        (&["--since", "2026-03-02T15:46:39Z"], &["r-bad", "r-unread"]),
        (&["--since", "2h", "--status", "resolved"], &[]),
        (&["--for", "support", "--reason", "duplicated"], &["r-twice/1"]),
        (&["--for", "resend", "--operation", "register-account"], &["r-absent/1"]),
        (&["--for", "resend", "--since", "2026-03-01T12:00:03Z", "--operation", "register-account"], &[]),
    ] {
        assert_eq!(ids(&dir, arguments), expected, "{arguments:?}");
    }
}

#[test]
fn a_filter_that_can_fit_nothing_is_a_mistake() {
    let dir = golden_ledger("");
    assert!(refused(&dir, &["report", "--operation", "registr"]).contains("the plan has: "));
    assert!(refused(&dir, &["report", "--run", "7"]).contains("no run 7"));
    assert!(refused(&dir, &["report", "--since", "1h", "--until", "2h"]).contains("earlier"));
    assert!(refused(&dir, &["report", "--since", "yesterday"]).contains("RFC 3339"));
    assert!(refused(&dir, &["report", "--excel", "--format", "jsonl"]).contains("CSV only"));
    assert!(refused(&dir, &["report", "--excel", "a.jsonl"]).contains("CSV only"));
    for with in [["--until", "1h"], ["--run", "1"]] {
        refused(&dir, &["report", "--new", with[0], with[1]]);
    }
    refused(&dir, &["report", "--purpose", "none"]);
    refused(&dir, &["report", "--status", "open"]);
}

#[test]
fn the_files_name_says_the_form_unless_it_is_said() {
    let dir = golden_ledger("");
    for (arguments, begins) in [
        (&["a.csv"][..], "request_id,"),
        (&["a.jsonl"], "{\"request_id\":"),
        (&["a.csv", "--format", "jsonl"], "{\"request_id\":"),
        (&["a.txt", "--format", "table"], "request_id  "),
        (&["a.csv", "--excel"], "\u{feff}request_id,"),
    ] {
        assert_eq!(dir.run(&[&["report"], arguments].concat()).code, 0);
        assert!(dir.read(arguments[0]).starts_with(begins), "{arguments:?}");
    }
}

#[test]
fn an_operation_is_sent_again_once_and_not_when_anything_speaks_against_it() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for (request, operation) in [("a/2", "a"), ("a/1", "a"), ("b/1", "b"), ("c/1", "c"), ("d/1", "d"), ("e", "e")] {
        absent(&dir, &platform, request, operation, &format!("{operation}@example.com"));
    }
    dir.runs(4);
    dir.due();
    dir.runs(0);
    let resend = || ids(&dir, &["--for", "resend"]);
    assert_eq!(resend().len(), 5);
    let row = rows(&dir.run(&["report", "--for", "resend"]).out).remove(0);
    let first = row["request_id"].clone();
    assert!(["a/1", "a/2"].contains(&first.as_str()) && row["attempts"].contains("a/1"), "{row:?}");
    let json = dir.run(&["report", "--for", "resend", "--format", "jsonl"]).out;
    let json: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(json["attempts"].as_array().unwrap().len(), 2);

    let again = |request: &str, operation: &str| {
        let entry = Entry::register(request, &platform.url, &format!("{operation}@example.com"));
        if request == operation { entry } else { entry.operation(operation) }
    };
    dir.insert(&again("b/2", "b").answered(201));
    dir.insert(&again("c/2", "c").answered(412));
    dir.insert(&again("d/2", "d"));
    dir.insert(&again("e/2", "e").answered(400));
    assert_eq!(resend(), [first.as_str()], "whatever came since, nothing is sent again before it was decided anew");
}

#[test]
fn what_may_be_sent_again_comes_after_what_must_once_for_an_operation_and_with_its_condition() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("server_error", "1d")]));
    let open =
        |request: &str, email: &str| Entry::register(request, &platform.url, email).sent(Moment::now()).http(503);
    dir.insert(&open("b/1", "b@example.com").operation("b"));
    dir.insert(&open("b/2", "b@example.com").operation("b"));
    dir.insert(&open("c", "c@example.com"));
    absent(&dir, &platform, "a", "a", "a@example.com");
    dir.insert(&Entry::new("read", "GET", &format!("{}/api/v1.0/account/7", platform.url)));
    dir.runs(4);
    dir.due();
    dir.runs(4);
    let found = rows(&dir.run(&["report", "--for", "resend"]).out);
    let shown: Vec<_> = found.iter().map(|row| (row["request_id"].as_str(), row["action"].as_str())).collect();
    assert_eq!(shown[0], ("a", "resend"), "{shown:?}");
    assert_eq!((shown.len(), shown[1].1, shown[2].1), (3, "may-resend", "may-resend"), "{shown:?}");
    assert!(found[0]["condition"].contains("once for the operation"), "{found:?}");
    assert!(found[1]["condition"].contains("the server refuses a repeat"), "{found:?}");
    dir.insert(&open("c/2", "c@example.com").operation("c").answered(201));
    let c = dir.row("c");
    assert!(c["action"] == "wait" && c["explanation"].contains("c/2"), "{c:?}");
    assert_eq!(ids(&dir, &["--for", "resend"]), ["a", first_of_b(&dir)], "what came since is looked at first");
    dir.runs(4);
    assert_eq!(ids(&dir, &["--for", "resend"]), ["a", first_of_b(&dir)], "and then it stands so");
}

/// The attempt of `b` that stands for both.
fn first_of_b(dir: &Dir) -> &'static str {
    let sent = |id: &str| dir.row(id)["sent_at"].clone();
    if sent("b/2") < sent("b/1") { "b/2" } else { "b/1" }
}

#[test]
fn what_to_do_now_counts_what_the_reports_list() {
    let dir = golden_ledger("");
    let shown: Value = serde_json::from_str(&dir.run(&["status", "--json"]).out).unwrap();
    let listed = |arguments: &[&str]| rows(&dir.run(&[&["report"], arguments].concat()).out).len() as u64;
    assert_eq!(shown["to_do"]["resend"], listed(&["--for", "resend"]));
    assert_eq!(shown["to_do"]["privo"], listed(&["--for", "support"]));
    assert_eq!((&shown["to_do"]["review"], &shown["to_do"]["may_resend"]), (&1.into(), &0.into()), "{shown}");
    assert_eq!(shown["to_do"]["waiting"], listed(&["--status", "pending"]));
    let text = dir.run(&["status"]).out;
    let (_, steps) = text.split_once("what to do now:\n").unwrap();
    for (count, command) in
        [("1 operation to send again", "report --for resend"), ("3 entries for PRIVO", "report --for support")]
    {
        let step = steps.lines().find(|line| line.contains(count)).unwrap_or_else(|| panic!("{text}"));
        assert!(step.contains(&format!("privo-reconcile {command}")), "{step}");
    }
    assert!(steps.lines().last().unwrap().contains("4 entries wait"), "{text}");
    let page = dir.run(&["report", "--format", "html"]).out;
    let (_, steps) = page.split_once("What to do now").unwrap();
    assert!(steps.contains("1 operation to send again") && steps.contains("3 entries for PRIVO"), "{steps}");
    assert!(!dir.run(&["report", "--format", "html", "--for", "support"]).out.contains("What to do now"));
}

#[test]
fn local_time_stands_beside_utc_where_a_zone_is_named() {
    let platform = Platform::start();
    let mut setup = Setup::of(&platform).windows(&[("server_error", "400d")]);
    let dir = Dir::new(&setup);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").sent(Moment::now()).http(503));
    dir.runs(4);
    dir.db().execute("UPDATE state SET action = 'wait', due_ms = 4102444800000", []).unwrap();
    let status = |zone: &[&str]| dir.run(&[&["status"], zone].concat()).out;
    assert!(status(&[]).contains("waits until 2100-01-01 00:00 UTC →"), "{}", status(&[]));
    let berlin = "waits until 2100-01-01 00:00 UTC (01:00 Europe/Berlin) →";
    assert!(status(&["--time-zone", "Europe/Berlin"]).contains(berlin));
    setup.rest = "[report]\ntime_zone = \"Europe/Berlin\"\n".to_owned();
    dir.configure(&setup);
    assert!(status(&[]).contains(berlin) && status(&["--time-zone", "Asia/Tokyo"]).contains("(09:00 Asia/Tokyo)"));
    assert_eq!(dir.run(&["status", "--time-zone", "Mars/Base"]).code, 2);
    setup.rest = "[report]\ntime_zone = \"Mars/Base\"\n".to_owned();
    dir.configure(&setup);
    assert!(refused(&dir, &["status"]).contains("unknown time zone"));
}

#[test]
fn support_is_asked_one_question_for_each_reason_by_a_named_partner() {
    let dir = golden_ledger("[report]\npartner = \"Acme Games\"\n");
    let found = rows(&dir.run(&["report", "--for", "support"]).out);
    assert_eq!(found.len(), 3);
    for row in &found {
        assert!(row["partner"] == "Acme Games" && row["environment"].starts_with("http"), "{row:?}");
        assert!(row["question"].contains('?'), "{row:?}");
    }
    assert!(found[1]["question"].contains("Which one is to stay"), "{found:?}");
    let page = dir.run(&["report", "--for", "support", "--format", "html"]).out;
    assert!(page.contains("What we ask PRIVO") && page.contains("from Acme Games"), "{page}");
    assert!(page.contains("Which one is to stay") && !page.contains("then <code>close</code>"), "{page}");
    let all = dir.run(&["report", "--format", "html"]).out;
    assert!(all.contains("correct the row by UPDATE") || all.contains("Correct the row by UPDATE"), "{all}");
}

#[test]
fn what_the_watch_corrects_is_not_sent_again_and_is_support_s() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "1h")]));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "late@example.com"), "lost-before");
    dir.runs(4);
    dir.due();
    dir.runs(0);
    assert_eq!(ids(&dir, &["--for", "resend"]), ["r1"]);
    assert_eq!(ids(&dir, &["--for", "support"]), Vec::<String>::new());
    platform.world().repair(Moment::now().0, "r1");
    assert_eq!(dir.run(&["run", "--recheck"]).code, 0);
    assert_eq!(ids(&dir, &["--for", "resend"]), Vec::<String>::new());
    assert_eq!(ids(&dir, &["--for", "support"]), ["r1"]);
    let rows = rows(&dir.run(&["report", "--for", "support"]).out);
    assert!(!rows[0]["server_id"].is_empty() && rows[0]["explanation"].starts_with("correction"), "{rows:?}");
}

#[test]
fn new_is_what_was_settled_since_for_each_reader_by_itself() {
    let dir = golden_ledger("");
    let all = ids(&dir, &["--new"]);
    assert!(all.contains(&"r-late".to_owned()) && !all.contains(&"r-unread".to_owned()), "{all:?}");
    assert_eq!(ids(&dir, &["--new"]), Vec::<String>::new());
    assert_eq!(ids(&dir, &["--new", "--for", "support"]).len(), 3, "another reader");
    assert_eq!(ids(&dir, &["--new", "--reason", "created", "--status", "resolved"]), ["r-made"]);
    assert_eq!(ids(&dir, &["--new", "--status", "resolved", "--reason", "created"]), Vec::<String>::new());
    assert_eq!(ids(&dir, &[]).len(), 13, "without it, all");
    let close = dir.run(&["close", "r-blind", "--who", "Bea", "--why", "PRIVO said so"]);
    assert_eq!(close.code, 3);
    assert_eq!(ids(&dir, &["--new", "--for", "support"]), Vec::<String>::new());
    assert_eq!(ids(&dir, &["--new"]), ["r-blind"]);
    assert_eq!(ids(&dir, &["--new", "--for", "resend"]), ["r-absent/1"]);
    assert!(dir.db().execute("UPDATE notes SET doc = '{}'", []).is_err(), "append-only");
    assert!(dir.db().execute("DELETE FROM notes", []).is_err(), "append-only");
}

#[test]
fn an_operation_is_new_when_its_last_attempt_is_settled() {
    let dir = golden_ledger("");
    assert_eq!(ids(&dir, &["--new", "--for", "resend"]), ["r-absent/1"]);
    // r-open/1 was settled long ago, and waited for r-open/2; only now do both say so.
    let sql = "INSERT INTO evidence (run_id, at_ms, rules, after, doc, names)
               SELECT 2, 1772456400000, 1, json_array(head_id), json_array(json_array(json_array(entry_id, 0, NULL, json('[]'),
                 json((SELECT said FROM turns WHERE said ->> 0 = 0 AND said ->> 3 =
                   (SELECT said ->> 3 FROM turns JOIN entries e ON e.id = entry_id WHERE e.request_id = 'r-open/1')))))), '{}'
               FROM state JOIN entries ON id = entry_id WHERE operation_id = 'op-open';
               UPDATE state SET status = 'resolved', reason = 'confirmed-absent', action = 'resend', outcome = 'not-applied', holds = 1,
                 said_id = (SELECT max(evidence_id) FROM verdicts WHERE entry_id = state.entry_id),
                 head_id = (SELECT max(evidence_id) FROM verdicts WHERE entry_id = state.entry_id)
               WHERE entry_id IN (SELECT id FROM entries WHERE operation_id = 'op-open');";
    dir.db().execute_batch(sql).unwrap();
    assert_eq!(ids(&dir, &["--new", "--for", "resend"]), ["r-open/1"]);
}

#[test]
fn the_mark_moves_when_the_report_is_whole_and_no_sooner() {
    let dir = golden_ledger("");
    assert_eq!(dir.run(&["report", "--new", "no/such/folder/out.csv"]).code, 1);
    assert_eq!(dir.count("SELECT count(*) FROM notes WHERE kind = 'report'"), 0);
    let mut command = dir.command(&["report", "--new"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    if let Ok(full) = full {
        let ran = finish(command.stdout(full).spawn().unwrap());
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(dir.count("SELECT count(*) FROM notes WHERE kind = 'report'"), 0);
    }
    assert_eq!(dir.run(&["report", "--new", "out.csv"]).code, 0);
    assert!(dir.read("out.csv").contains("r-made"));
    assert_eq!(dir.count("SELECT count(*) FROM notes WHERE kind = 'report'"), 1);
}

/// Everything in the golden ledger's bodies that is somebody's, and the email that is used as an id.
fn personal() -> impl Iterator<Item = String> {
    let names = ["sue", "tom", "una", "vic", "wim", "xia", "yan", "zoe"];
    names.into_iter().map(|name| format!("{name}@example.com")).chain(["19900102".to_owned()])
}

#[test]
fn support_sees_pseudonyms_and_nobody() {
    let dir = golden_ledger(PSEUDONYMS);
    for arguments in [&["report", "--for", "support"][..], &["report", "--for", "support", "--format", "jsonl"]] {
        let shown = dir.run(arguments).out.to_lowercase();
        assert!(shown.contains("psn1-") && !shown.contains("***@"), "{shown}");
        personal().for_each(|value| assert!(!shown.contains(&value), "{value}"));
    }
    assert!(refused(&dir, &["report", "--for", "support", "--reveal"]).contains("--purpose"));
    assert!(refused(&dir, &["report", "--for", "support", "--reveal", "--purpose", " "]).contains("--purpose"));
    assert_eq!(dir.count("SELECT count(*) FROM notes WHERE kind = 'disclosure'"), 0);
}

#[test]
fn what_is_revealed_is_noted_first() {
    let dir = golden_ledger(PSEUDONYMS);
    let shown = dir.run(&["report", "--for", "support", "--reveal", "--purpose", "case 4711"]).out;
    assert!(shown.contains("subject\r\n") && shown.contains("xia@example.com"), "{shown}");
    let shown = dir.run(&["report", "full.csv", "--reveal"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(dir.read("full.csv").contains("Tom@Example.com"));
    let meta: Value = serde_json::from_str(&dir.read("full.csv.meta.json")).unwrap();
    assert_eq!((&meta["in_full"], &meta["purpose"]), (&Value::Bool(true), &Value::Null));
    let noted: Vec<(String, i64, Option<String>, String)> = {
        let db = dir.db();
        let mut statement = db.prepare("SELECT doc ->> 'report', doc ->> 'rows', doc ->> 'purpose', doc ->> 'who' FROM notes WHERE kind = 'disclosure' ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert_eq!(noted.len(), 2);
    assert!(noted[0].0.contains("\"support\"") && noted[0].1 == 3 && noted[0].2.as_deref() == Some("case 4711"));
    assert!(noted[1].0.contains("full.csv") && noted[1].1 == 38 && noted[1].2.is_none(), "{noted:?}");
    assert!(noted.iter().all(|(.., who)| !who.is_empty()));
    assert!(!format!("{noted:?}").contains("@example"));
    assert!(dir.db().execute("DELETE FROM notes", []).is_err(), "append-only");
    let refuse = "CREATE TRIGGER no BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no'); END";
    dir.db().execute_batch(refuse).unwrap();
    let ran = dir.run(&["report", "--reveal"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "what cannot be noted is not shown");
    assert_eq!(dir.run(&["report", "never.csv", "--reveal"]).code, 1);
    assert!(!dir.file("never.csv").exists());
}

#[test]
fn one_json_document_for_each_reader() {
    let dir = golden_ledger(PSEUDONYMS);
    for (arguments, entries) in [(&["--for", "support"][..], 3), (&["--for", "resend"], 1), (&["--run", "2"], 2)] {
        let shown = dir.run(&[&["report", "--json"], arguments].concat());
        let shown: Value = serde_json::from_str(&shown.out).unwrap();
        assert_eq!((shown["entries"].as_u64(), shown["exit"].as_u64()), (Some(entries), Some(0)), "{arguments:?}");
        assert_eq!(shown["rows"].as_array().unwrap().len() as u64, entries);
    }
    let shown = dir.run(&["report", "out.csv", "--json", "--new"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let digest: String = Sha256::digest(dir.read("out.csv")).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown["sha256"], digest);
    let again: Value = serde_json::from_str(&dir.run(&["report", "--json", "--new"]).out).unwrap();
    assert_eq!(again["entries"], 0);
    let both = dir.run(&["report", "--json", "--format", "csv"]);
    assert_eq!(both.code, 2);
    assert!(
        serde_json::from_str::<Value>(&both.out).unwrap()["error"]["message"].as_str().unwrap().contains("--format")
    );
    let refuse = "CREATE TRIGGER no BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no'); END";
    dir.db().execute_batch(refuse).unwrap();
    let ran = dir.run(&["report", "--json", "--reveal"]);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(ran.code == 1 && shown["rows"].is_null() && shown["error"]["exit"] == 1, "{shown}");
}

#[test]
fn the_meta_data_know_the_file() {
    let dir = golden_ledger("");
    for name in ["a.csv", "a.jsonl"] {
        dir.run(&["report", name, "--status", "resolved", "--since", "2026-03-01T12:00:03Z"]);
        let meta: Value = serde_json::from_str(&dir.read(&format!("{name}.meta.json"))).unwrap();
        let digest: String = Sha256::digest(dir.read(name)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(meta["sha256"], digest);
        assert_eq!(meta["report"]["filters"]["since"], "2026-03-01T12:00:03.000Z");
        assert_eq!(meta["report"]["filters"]["status"][0], "resolved");
        assert_eq!(meta["decided_under"][0]["runs"], serde_json::json!([1, 2]));
    }
}

#[test]
fn a_pseudonym_finds_its_entries_under_this_key_and_the_one_before() {
    let dir = golden_ledger(PSEUDONYMS);
    let of = |dir: &Dir, request: &str| {
        let shown = dir.run(&["report"]).out;
        rows(&shown).into_iter().find(|row| row["request_id"] == request).unwrap()["pseudonym"].clone()
    };
    let tom = of(&dir, "r-absent/1");
    assert_eq!(of(&dir, "r-absent/2"), tom, "however it is spelled");
    assert_ne!(of(&dir, "r-made"), tom);
    assert_eq!(ids(&dir, &["--pseudonym", &tom]), ["r-absent/1", "r-absent/2"]);
    let stories: Value = serde_json::from_str(&dir.run(&["show", "--pseudonym", &tom, "--json"]).out).unwrap();
    assert_eq!(stories["stories"].as_array().unwrap().len(), 2);
    assert_eq!(stories["stories"][0]["pseudonym"], tom.as_str());

    let rest = "[pseudonym]\nkey = { file = \"new\" }\nprevious = [{ file = \"key\" }]\n".to_owned();
    dir.configure(&Setup { rest, ..Setup::bare("https://api.example") });
    std::fs::write(dir.file("new"), "another key of pseudonyms").unwrap();
    assert_ne!(of(&dir, "r-absent/1"), tom);
    assert_eq!(ids(&dir, &["--pseudonym", &tom]), ["r-absent/1", "r-absent/2"]);
    assert!(refused(&dir, &["report", "--pseudonym", "psn1-0000-0123456789abcdef"]).contains("key id 0000"));
    assert!(refused(&dir, &["show", "--pseudonym", "Tom"]).contains("no pseudonym"));
    std::fs::write(dir.file("new"), "short").unwrap();
    for arguments in [&["report"][..], &["run"], &["show", "r-made"]] {
        let said = refused(&dir, arguments);
        assert!(said.contains("fewer than 16 bytes") && !said.contains("short"), "{said}");
    }
}

#[test]
fn a_pseudonym_outlives_its_subject() {
    let dir = golden_ledger(PSEUDONYMS);
    let entry = "(SELECT id FROM entries WHERE request_id = 'r-made')";
    let kept = "psn1-abcd-0123456789abcdef";
    let sql = format!(
        "UPDATE state SET pseudonym = '{kept}' WHERE entry_id = {entry}; UPDATE ledger SET erasing = 1;
         UPDATE entries SET body = NULL WHERE id = {entry}; UPDATE ledger SET erasing = 0;"
    );
    dir.db().execute_batch(&sql).unwrap();
    let shown = dir.run(&["report"]).out;
    let row = rows(&shown).into_iter().find(|row| row["request_id"] == "r-made").unwrap();
    assert_eq!((row["pseudonym"].as_str(), row["reason"].as_str()), (kept, "created"));
}

/// Runs a command on a terminal that is so wide. `None`: there is no `script` to make one.
fn on_terminal(dir: &Dir, columns: u32, environment: &[(&str, &str)], arguments: &str) -> Option<Ran> {
    let line = format!("stty rows 24 cols {columns}; {} {arguments}", env!("CARGO_BIN_EXE_privo-reconcile"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(dir.path()).env_remove("NO_COLOR").env("TERM", "xterm");
    script.envs(environment.iter().copied());
    script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = finish(script.spawn().ok()?);
    if ran.code != 0 || ran.out.contains("stty:") {
        eprintln!("no terminal: {ran:?}");
        return None;
    }
    Some(ran)
}

#[test]
fn a_terminal_gets_colour_and_its_width_elsewhere_text_stays_text_and_a_program_asks_for_json() {
    let dir = golden_ledger("");
    for command in ["status", "show r-late"] {
        let words: Vec<&str> = command.split(' ').collect();
        let json: Value = serde_json::from_str(&dir.run(&[&words[..], &["--json"]].concat()).out).unwrap();
        assert_eq!((&json["format"], &json["command"]), (&Value::from(1), &Value::from(words[0])));
        let text = dir.run(&words).out;
        assert!(!text.contains('\u{1b}') && !text.starts_with('{'), "{text}");
        let Some(coloured) = on_terminal(&dir, 60, &[], command) else {
            eprintln!("skipped: there is no `script`");
            return;
        };
        assert!(coloured.out.contains("\u{1b}["), "{}", coloured.out);
        let plain = on_terminal(&dir, 60, &[("NO_COLOR", "1")], command).unwrap().out;
        assert!(!plain.contains('\u{1b}') && !plain.starts_with('{'), "{plain}");
        assert!(plain.lines().all(|line| line.trim_end().chars().count() <= 60), "{plain}");
        assert!(on_terminal(&dir, 60, &[("TERM", "dumb")], command).unwrap().out == plain);
    }
    let wide = |columns| on_terminal(&dir, columns, &[], "report --format table").unwrap().out;
    assert!(wide(80).contains("  action") && !wide(80).contains("sent_at") && wide(240).contains("explanation"));
    for columns in [30, 60, 80, 120] {
        assert!(wide(columns).lines().all(|line| line.trim_end().chars().count() <= columns as usize), "{columns}");
    }
}
