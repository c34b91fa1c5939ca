//! The demo, as its user runs it: no verdict is wrong, and nothing that is not its own is touched.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use crate::util::{LONGEST, leaks};
use assert_cmd::Command;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privo-reconcile"));
    // A proxy of the environment would be asked for loopback too, if the demo listened to it.
    command.env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
    command.current_dir(folder).args(arguments).timeout(LONGEST).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn demo(seed: &str) -> (tempfile::TempDir, String) {
    demo_of("150", seed)
}

fn demo_of(registrations: &str, seed: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["demo", "--registrations", registrations, "--seed", seed]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty(), "silent but on a terminal: {text}");
    assert!(text.contains("what really happened") && text.contains(" 0 wrong, 0 undecided"), "{text}");
    shows_nobody(&folder.path().join("privo-reconcile-demo"), &text);
    (folder, text)
}

/// Neither what it prints nor what it leaves behind shows anybody of its ledgers.
fn shows_nobody(made: &Path, text: &str) {
    for ledger in ["ledger.db", "consent.db"] {
        let db = rusqlite::Connection::open(made.join(ledger)).unwrap();
        let mut statement = db.prepare("SELECT coalesce(url, '') || ' ' || coalesce(body, '') FROM entries").unwrap();
        let rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(rows.len() > 10);
        rows.iter().for_each(|row| leaks::note(row));
    }
    leaks::forbid("the demo", text);
    leaks::forbid_in_files(made, &BTreeMap::new());
}

#[test]
fn no_verdict_is_wrong_and_what_is_left_can_be_used() {
    let (folder, text) = demo("1");
    for kind in ["never applied", "applied at once", "webhook missed", "a read, nothing to apply"] {
        assert!(text.contains(kind), "{kind} is missing: {text}");
    }
    let made = folder.path().join("privo-reconcile-demo");
    for report in ["report.csv", "consent-report.csv"] {
        let report = std::fs::read_to_string(made.join(report)).unwrap();
        assert!(report.starts_with("request_id,") && report.lines().count() > 10);
        assert!(!report.contains("\r\nop-1,pending"), "{report}");
    }
    assert!(made.join("report.csv.meta.json").exists());
    for page in ["report.html", "consent-report.html"] {
        assert!(text.contains(&format!("privo-reconcile-demo/{page}")), "{text}");
        assert!(std::fs::read_to_string(made.join(page)).unwrap().contains("</html>"), "{page}");
    }
    for config in ["privo-reconcile.toml", "consent.toml"] {
        let status = run(&made, &["--config", config, "status"]);
        assert_eq!(status.status.code(), Some(0), "{}", said(&status));
        assert!(said(&status).contains("resolved"));
    }
    let line = text.lines().find(|line| line.starts_with("  privo-reconcile") && line.contains(" show ")).unwrap();
    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let show = run(&made, &arguments);
    assert!(show.status.success() && said(&show).contains("verdict"), "{}", said(&show));
}

#[test]
fn where_records_do_not_show_when_they_were_made() {
    demo("2");
}

#[test]
fn another_seed() {
    demo("77");
}

#[test]
fn another_size() {
    demo_of("300", "1");
}

#[test]
fn it_replaces_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    for seed in ["3", "4"] {
        let output = run(folder.path(), &["demo", "--registrations", "30", "--seed", seed]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(!folder.path().join("privo-reconcile-demo/mine.txt").exists());
        std::fs::write(folder.path().join("privo-reconcile-demo/mine.txt"), "x").unwrap();
    }
}

#[test]
fn it_refuses_a_folder_that_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("privo-reconcile-demo");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("mine.txt"), "precious").unwrap();
    let output = run(folder.path(), &["demo", "--registrations", "30"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("move it away"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(foreign.join("mine.txt")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
}
