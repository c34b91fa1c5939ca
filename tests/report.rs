//! Proves the report's form to the letter: its columns, order, masks and line ends, the same bytes for the same ledger, and
//! what goes beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Dir, Entry, Platform, Setup};

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn answered_rows_are_evidence_and_never_reported() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::register("r1", NOWHERE, "ann@example.com").answered(201));
    dir.runs(0);
    assert_eq!(dir.report().len(), 0);
    assert_eq!(dir.run(&["show", "r1"]).code, 2);
}

#[test]
fn the_columns_stand_in_their_order_and_lines_end_as_in_rfc_4180() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("a\"b,c\nd", "GET", NOWHERE));
    dir.runs(0);
    let text = dir.run(&["report"]).out;
    let header = "request_id,operation_id,operation,method,path,sent_at,failure,http_status,status,outcome,reason,action,server_id,\
                  matched_on,subject,checks,first_checked_at,last_checked_at,not_before,explanation\r\n";
    assert!(text.starts_with(header), "{text}");
    assert!(text[header.len()..].starts_with("\"a\"\"b,c\nd\",\"a\"\"b,c\nd\",,GET,"), "{text}");
    assert!(text.ends_with("\r\n") && !text.starts_with('\u{feff}'));
}

#[test]
fn rows_are_sorted_by_the_instant_sent_then_by_bytes() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for (request, sent) in [
        ("z", "2026-03-01T12:00:00+05:00"),
        ("a", "2026-03-01T08:00:00Z"),
        ("é", "2026-03-01T07:30:00Z"),
        ("Z", "2026-03-01T07:30:00.000Z"),
        ("b", "2026-03-01T02:30:00-05:00"),
        ("y", "2026-02-28T23:30:00-08:00"),
    ] {
        dir.insert(&Entry::new(request, "GET", NOWHERE).with("sent_at", sent.to_owned()));
    }
    let order = || -> Vec<String> { dir.report().into_iter().map(|row| row["request_id"].clone()).collect() };
    let sorted = ["z", "Z", "b", "y", "é", "a"];
    assert_eq!(order(), sorted, "no run has read them yet");
    dir.runs(0);
    assert_eq!(order(), sorted);
    dir.insert(&Entry::new("late", "GET", NOWHERE).with("sent_at", "2026-03-01T07:45:00.5Z".to_owned()));
    assert_eq!(order(), ["z", "Z", "b", "y", "é", "late", "a"], "one is read, the other is not");
    let since = dir.run(&["report", "--since", "2026-03-01T07:45:01Z"]);
    assert_eq!(since.out.lines().count(), 2, "{since:?}");
}

#[test]
fn the_same_ledger_gives_the_same_bytes() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for n in 0..20 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("p{}@example.com", n % 7)));
    }
    dir.runs(4);
    let (one, two) = (dir.run(&["report"]).out, dir.run(&["report"]).out);
    assert_eq!(one, two);
    dir.run(&["report", "out.csv"]);
    assert_eq!(dir.read("out.csv"), one);
    dir.run(&["run", "--report", "run.csv"]);
    assert_eq!(dir.read("run.csv"), dir.run(&["report"]).out);
}

#[test]
fn a_cell_that_a_spreadsheet_could_run_gets_an_apostrophe() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let ids = ["=1+1", "+1", "-1", "\t=1", " =1", "plain"];
    for id in ids {
        dir.insert(&Entry::new(id, "GET", NOWHERE).operation(id));
    }
    dir.runs(0);
    let mut found: Vec<String> = dir.report().into_iter().map(|row| row["operation_id"].clone()).collect();
    found.sort();
    assert_eq!(found, ["'\t=1", "' =1", "'+1", "'-1", "'=1+1", "plain"]);
}

#[test]
fn subjects_and_ids_with_an_at_are_masked_unless_asked_for() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("sue@example.com", &platform.url, "Sue@Example.com").operation("op-1"));
    dir.runs(4);
    let masked = dir.run(&["report"]).out;
    assert!(!masked.to_lowercase().contains("sue@") && masked.contains("s***@e***.com"), "{masked}");
    assert!(masked.contains("S***@E***.com") && masked.contains("op-1"), "{masked}");
    let full = dir.run(&["report", "--reveal"]).out;
    assert!(full.contains("sue@example.com,op-1") && full.contains("Sue@Example.com"), "{full}");
    for shown in [dir.run(&["show", "sue@example.com"]), dir.run(&["status"]), dir.run(&["status", "--json"])] {
        assert_eq!(shown.code, 0);
        assert!(!format!("{shown:?}").to_lowercase().contains("sue@"), "{shown:?}");
    }
}

/// A child's id of letters only looks like a word of a route; the plan tells them apart.
#[test]
fn an_identifier_in_a_path_of_the_plan_is_never_shown() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    let eid = format!("{}/s2s/api/v1.0/sandbox/accounts/eid/annabelsmith", platform.url);
    dir.insert(&Entry::new("bad-row", "DELETE", &eid).with("sent_at", "yesterday".to_owned()));
    dir.insert(&Entry::new("no-effect", "GET", &eid));
    dir.insert(&Entry::new("no-plan", "PUT", &eid));
    dir.insert(&Entry::new("slash", "PUT", &format!("{eid}/")));
    let template = "/s2s/api/v1.0/{service}/accounts/eid/{eid}";
    let checked = dir.run(&["check"]).out;
    assert!(checked.contains(&format!("PUT {template}")) && !checked.contains("annabel"), "{checked}");
    assert!(!dir.run(&["report"]).out.contains("annabel"));
    dir.runs(3);
    for reason in ["bad-row", "no-effect", "no-plan"] {
        let row = dir.row(reason);
        assert_eq!((row["reason"].as_str(), row["path"].as_str()), (reason, template));
    }
    assert_eq!(dir.row("slash")["path"], "/s2s/api/v1.0/sandbox/accounts/eid/***/");
    assert!(!dir.run(&["show", "no-plan"]).out.contains("annabel"));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn what_stands_behind_a_report_goes_beside_it() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    assert_eq!(dir.run(&["run", "--report", "out.csv"]).code, 4);
    let meta: serde_json::Value = serde_json::from_str(&dir.read("out.csv.meta.json")).unwrap();
    assert_eq!(meta["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((meta["rows"].as_u64(), meta["run"]["run"].as_i64()), (Some(1), Some(1)));
    assert_eq!(meta["run"]["plan_digest"].as_str().unwrap().len(), 64);
    assert_eq!(meta["run"]["windows"]["expire_after"], "30d");
    assert_eq!(meta["run"]["controls"][0][1]["known"], "held");
}

#[test]
fn a_dated_report_of_what_changed_is_left_where_the_configuration_says() {
    let platform = Platform::start();
    let setup = Setup { rest: "[report]\ndir = \"reports\"\n".to_owned(), ..Setup::of(&platform) };
    let dir = Dir::new(&setup);
    let reports = || -> Vec<String> {
        let folder = std::fs::read_dir(dir.file("reports"));
        let names = folder.into_iter().flatten().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".csv")).collect()
    };
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.runs(4);
    assert!(reports().is_empty(), "nothing was settled");
    dir.insert(&Entry::new("r2", "GET", &platform.url));
    dir.runs(0);
    let [name] = reports().try_into().unwrap();
    let rows = util::rows(&dir.read(&format!("reports/{name}")));
    assert_eq!(rows.len(), 2);
    dir.runs(0);
    assert_eq!(reports().len(), 1);
}
