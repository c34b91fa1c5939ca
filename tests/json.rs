//! Proves that with `--json` every command prints exactly one JSON document, errors too, of the shape that docs/JSON.md
//! describes: every key that it lists is there, and no other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use crate::util::{Dir, Entry, Platform, Ran, Setup, finish, signal};
use privo_reconcile::sandbox::NewAccount;
use serde_json::Value;

const NOWHERE: &str = "http://127.0.0.1:9";

/// The keys that docs/JSON.md lists, by section.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/JSON.md")).unwrap();
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.replace('`', "");
        } else if let Some(row) = line.strip_prefix("| `") {
            let keys = row.split(" |").next().unwrap().split(", ").map(|key| key.trim_matches('`').to_owned());
            sections.entry(section.clone()).or_default().extend(keys);
        }
    }
    sections
}

/// The one document that a command printed.
fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// What a path like `rows[].status` leads to; of a list, its first element.
fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(document, |value, step| match step.strip_suffix("[]") {
        Some(list) => value.get(list)?.get(0),
        None => value.get(step),
    })
}

/// The document of a command has the keys of its section, at the top no others, and tells the command's exit code.
pub fn is_as_documented(section: &str, document: &Value, code: i32) {
    let all = documented();
    let every = &all["Every document"];
    let listed = all.get(section).unwrap_or_else(|| panic!("docs/JSON.md does not describe {section}"));
    let missing: Vec<&String> = listed.iter().chain(every).filter(|path| at(document, path).is_none()).collect();
    assert!(missing.is_empty(), "{section} lacks {missing:?}: {document:#}");
    let known = |key: &&String| !listed.contains(*key) && !every.contains(*key);
    let others: Vec<&String> = document.as_object().unwrap().keys().filter(known).collect();
    assert!(others.is_empty(), "docs/JSON.md does not list {others:?} of {section}");
    assert_eq!(document["format"], 1);
    assert_eq!(document["exit"], code);
    assert_eq!(document["command"], section.split(' ').next().unwrap());
}

fn shown(dir: &Dir, section: &str, arguments: &[&str], code: i32) -> Value {
    let ran = dir.run(&[arguments, &["--json"]].concat());
    assert_eq!(ran.code, code, "{ran:?}");
    let document = document(&ran);
    is_as_documented(section, &document, code);
    document
}

#[test]
fn every_section_of_the_page_is_checked() {
    let sections: Vec<String> = documented().into_keys().collect();
    let checked = [
        "Every document",
        "backup",
        "check",
        "close",
        "config",
        "demo",
        "forget",
        "health",
        "import",
        "init",
        "init --print",
        "move",
        "plan try",
        "prune",
        "record begin, record end",
        "report",
        "report FILE",
        "resend",
        "resend -- COMMAND",
        "run",
        "run --dry-run",
        "sandbox",
        "schedule",
        "schedule --check",
        "show",
        "status",
        "verify",
    ];
    assert_eq!(sections, checked);
}

#[test]
fn a_ledgers_life_in_documents() {
    let platform = Platform::start();
    let alert = "[[alert]]\nname = \"all\"\npending_more_than = 0\n";
    let dir = Dir::without_ledger(&Setup { rest: alert.to_owned(), ..Setup::of(&platform) });
    assert!(
        shown(&dir, "init --print", &["init", "--print"], 0)["schema"]
            .as_str()
            .unwrap()
            .contains("CREATE TABLE entries")
    );
    assert_eq!(shown(&dir, "init", &["init"], 0)["made"], true);
    assert_eq!(shown(&dir, "init", &["init"], 0)["made"], false);
    assert!(shown(&dir, "config", &["config"], 0)["text"].as_str().unwrap().contains("[[control]]"));
    shown(&dir, "check", &["check"], 0);
    // It shows the values that it is given.
    let body = r#"{"email":"a@b"}"#;
    let url = format!("{}/api/v1.0/account", platform.url);
    let tried = util::wait(dir.command(&["plan", "try", "--json", "--url", &url, "--body", body]).spawn().unwrap());
    is_as_documented("plan try", &document(&tried), 0);
    platform.add(NewAccount { email: Some("ann@example.com".to_owned()), ..NewAccount::default() });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.insert(&Entry::new("r2", "POST", &format!("{}/unknown", platform.url)));
    dir.insert(&Entry::register("sue@example.com", "https://elsewhere.example", "sue@example.com"));
    assert_eq!(shown(&dir, "run --dry-run", &["run", "--dry-run"], 4)["rows"].as_array().unwrap().len(), 2);
    let summary = shown(&dir, "run", &["run"], 5);
    assert_eq!(summary["settled"], serde_json::json!({"resolved": 1, "duplicate_risk": 1}));
    assert_eq!((&summary["pending"], &summary["run"]), (&1.into(), &1.into()));
    let status = shown(&dir, "status", &["status"], 0);
    for key in ["ledger", "pending", "resolved", "duplicate_risk", "rows", "oldest_pending_sent_at", "alerts"] {
        assert_eq!(status[key], summary[key], "{key}");
    }
    let why = document(&dir.run(&["health", "--json"]));
    assert!(why["exit"] == 1 && why["error"]["message"].as_str().unwrap().contains("0, 3 or 4"), "{why}");
    assert_eq!(status["last_run"]["examined"], summary["examined"]);
    let story = shown(&dir, "show", &["show", "r1"], 0);
    assert_eq!((&story["status"], &story["looks"][0]["known_control"]), (&"resolved".into(), &"held".into()));
    assert_eq!(dir.run(&["show", "sue@example.com", "--json"]).code, 0);
    let rows = shown(&dir, "report", &["report"], 0);
    assert_eq!((rows["rows"].as_array().unwrap().len(), &rows["entries"]), (3, &3.into()));
    assert_eq!(shown(&dir, "report FILE", &["report", "out.csv"], 0)["entries"], 3);
    assert_eq!(shown(&dir, "verify", &["verify"], 0)["differing"], 0);
    let who = ["close", "r2", "--who", "Jo", "--why", "asked"];
    assert_eq!(shown(&dir, "close", &who, 4)["closed"], 1);
    dir.configure(&Setup::of(&platform));
    dir.runs(4);
    assert_eq!(shown(&dir, "health", &["health"], 0)["within_seconds"], 7200);
    assert!(shown(&dir, "backup", &["backup", "copy.db"], 0)["file"].as_str().unwrap().ends_with("copy.db"));
    let forget = ["forget", "ann@example.com", "--who", "Jo", "--why", "asked"];
    assert_eq!(shown(&dir, "forget", &[&forget[..], &["--dry-run"]].concat(), 0)["dry_run"], true);
    assert_eq!(shown(&dir, "forget", &forget, 0)["rows"][0]["had_fields"], true);
    assert_eq!(story["removed"], Value::Null);
    let removed = &shown(&dir, "show", &["show", "r1"], 0)["removed"];
    assert!(removed["at"].as_str().unwrap().ends_with('Z') && removed["by"] == "forget", "{removed}");
    assert_eq!(shown(&dir, "prune", &["prune", "--older-than", "0s", "--dry-run"], 0)["entries"], 1);
    assert_eq!(shown(&dir, "prune", &["prune", "--older-than", "0s"], 0)["rows"][0]["status"], "resolved");
    for arguments in [&["status"][..], &["report"], &["run"], &["show", "sue@example.com"]] {
        let ran = dir.run(&[arguments, &["--json"]].concat());
        assert!(!ran.out.contains("@example.com") && !ran.out.contains("Ann\""), "{ran:?}");
    }
}

#[test]
fn what_is_sent_again_is_told() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("intent", "1h")]));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").failure("not_sent"));
    dir.runs(0);
    let list = document(&dir.run(&["resend", "--json"]));
    assert_eq!((&list["approved"], &list["approval"]), (&0.into(), &Value::Null));
    let digest = list["digest"].as_str().unwrap();
    let approved = shown(&dir, "resend", &["resend", "--approve", digest, "--who", "Dana"], 0);
    assert_eq!((&approved["approved"], &approved["approval"]["who"]), (&1.into(), &"Dana".into()));
    let sent = dir.run(&["resend", "--json", "--", "false"]);
    let sent_told = document(&sent);
    is_as_documented("resend -- COMMAND", &sent_told, 4);
    assert_eq!((&sent_told["permitted"], &sent_told["succeeded"]), (&1.into(), &0.into()));
}

#[test]
fn the_rows_are_the_reports_cells() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    assert_eq!(document(&dir.run(&["report", "--json"]))["rows"], serde_json::json!([]));
    dir.insert(&Entry::new("=1+1", "POST", &format!("{NOWHERE}/unknown")).http(503));
    dir.insert(&Entry::new("r2", "GET", NOWHERE));
    dir.runs(3);
    let shown = document(&dir.run(&["report", "--json"]));
    for (object, row) in shown["rows"].as_array().unwrap().iter().zip(dir.report()) {
        assert_eq!(object.as_object().unwrap().len(), row.len());
        for (column, cell) in row {
            let value = match &object[&column] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            assert_eq!(value, cell.trim_start_matches('\''), "{column}");
        }
    }
    assert_eq!(shown["rows"][0]["http_status"], 503);
    assert_eq!(shown["rows"][0]["request_id"], "=1+1", "exact, without the CSV's apostrophe");
}

#[test]
fn import_tells_its_files_and_why_it_stopped() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let line =
        format!("{{\"method\":\"GET\",\"url\":\"{NOWHERE}/a\",\"sent_at\":\"2026-03-01T12:00:00Z\",\"status\":503}}\n");
    std::fs::write(dir.file("good.jsonl"), line).unwrap();
    let good = shown(&dir, "import", &["import", "good.jsonl"], 0);
    assert_eq!((&good["imported"], &good["error"]), (&1.into(), &Value::Null));
    std::fs::write(dir.file("bad.jsonl"), "{\"no\":1}\n").unwrap();
    let bad = shown(&dir, "import", &["import", "bad.jsonl"], 1);
    assert_eq!((&bad["rejected"], &bad["error"]["exit"]), (&1.into(), &1.into()));
}

#[test]
fn one_record_is_answered_by_one_document() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for (arguments, input, became) in [
        (&["record", "begin"][..], format!(r#"{{"request_id":"r1","method":"GET","url":"{NOWHERE}"}}"#), "recorded"),
        (&["record", "end", "r1"], r#"{"failure":"timeout"}"#.to_owned(), "recorded"),
    ] {
        let mut child = dir.command(&[arguments, &["--json"]].concat()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let ran = finish(child);
        assert_eq!(ran.code, 0, "{ran:?}");
        let document = document(&ran);
        is_as_documented("record begin, record end", &document, 0);
        assert_eq!((&document["request_id"], &document["became"]), (&"r1".into(), &became.into()));
    }
}

#[test]
fn a_failure_is_one_document_too() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    for arguments in [&["run"][..], &["status"], &["report"], &["show", "x"], &["verify"], &["run", "--dry-run"]] {
        let ran = dir.run(&[&["--json"], arguments].concat());
        assert!(ran.code == 2 && ran.err.contains("run `privo-reconcile init`"), "{ran:?}");
        let document = document(&ran);
        assert_eq!((&document["command"], &document["exit"]), (&arguments[0].into(), &2.into()));
        assert_eq!(document["error"]["exit"], 2);
        assert!(document["error"]["message"].as_str().unwrap().contains("ledger.db"), "{document}");
    }
    // A run that fails has its whole summary.
    is_as_documented_but_alerts(&document(&dir.run(&["run", "--json"])));
    dir.run(&["init"]);
    for arguments in [&["frobnicate"][..], &["run", "--wait", "soon"], &["show"], &["run", "--report", "-"]] {
        let ran = dir.run(&[arguments, &["--json"]].concat());
        assert_eq!((ran.code, document(&ran)["error"]["exit"].as_u64()), (2, Some(2)), "{ran:?}");
    }
    let ran = dir.run(&["run", "--json", "--report", "no/such/out.csv"]);
    assert_eq!((ran.code, document(&ran)["error"]["exit"].as_u64()), (1, Some(1)), "{ran:?}");
    std::fs::write(dir.file("privo-reconcile.toml"), "plan = 3\n").unwrap();
    let ran = dir.run(&["status", "--json"]);
    assert!(document(&ran)["error"]["message"].as_str().unwrap().contains("line 1"), "{ran:?}");
}

/// Of a ledger that cannot be opened there are no rows and no alerts.
fn is_as_documented_but_alerts(summary: &Value) {
    let listed = &documented()["run"];
    let inner = |path: &&String| path.contains("[]");
    let missing: Vec<_> = listed.iter().filter(|path| !inner(path) && at(summary, path).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!((&summary["ledger"], &summary["run"], &summary["pending"]), (&Value::Null, &Value::Null, &Value::Null));
}

#[test]
fn the_demo_and_the_sandbox_tell_theirs() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    let demo = shown(&dir, "demo", &["demo", "--registrations", "20"], 0);
    assert_eq!((&demo["wrong"], &demo["registrations"]), (&serde_json::json!([]), &20.into()));
    let mut sandbox = dir.command(&["sandbox", "--listen", "127.0.0.1:0", "--json"]).spawn().unwrap();
    let mut out = BufReader::new(sandbox.stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("}\n") {
        assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
    }
    signal("-TERM", sandbox.id());
    out.read_to_string(&mut text).unwrap();
    assert_eq!(sandbox.wait().unwrap().code(), Some(0));
    is_as_documented("sandbox", &serde_json::from_str(&text).unwrap(), 0);
}

#[test]
fn the_schedule_tells_its_starts_and_in_the_end_its_runs() {
    let rest = "[schedule]\nat = \"* * * * *\"\njitter = \"1m\"\n";
    let dir = Dir::new(&Setup { rest: rest.to_owned(), ..Setup::bare(NOWHERE) });
    let checked = shown(&dir, "schedule --check", &["schedule", "--check", "--count", "3"], 0);
    assert_eq!(checked["starts"].as_array().unwrap().len(), 3);
    assert_eq!(checked["lines"][0]["words"], "every minute");
    assert_eq!(checked["jitter_seconds"], 60);
    let service = dir.command(&["schedule", "--json", "--speed", "300"]).spawn().unwrap();
    util::until("a run", || dir.count("SELECT count(*) FROM runs") > 0);
    signal("-TERM", service.id());
    let ran = finish(service);
    assert_eq!(ran.code, 143, "{ran:?}");
    let document = document(&ran);
    is_as_documented("schedule", &document, 143);
    assert!(document["runs"].as_u64().unwrap() > 0);
}
