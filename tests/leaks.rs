//! Proves that the search for leaks, which every test's commands go through, finds one: on standard output and in a file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::util::{Dir, Entry, Setup, finish, leaks, wait};

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

fn ledger() -> Dir {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let body = r#"{"email":"Sue@Example.com","first_name":"Zoë","birth_date_yyyymmdd":"20150314"}"#;
    dir.insert(&Entry::new("r1", "POST", &format!("{NOWHERE}/api/v1.0/account")).body(body));
    dir
}

/// What a failing assertion says.
fn failure(act: impl FnOnce()) -> String {
    let failed = catch_unwind(AssertUnwindSafe(act)).expect_err("the leak was not found");
    failed.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn what_a_command_prints_is_searched() {
    let dir = ledger();
    let said = failure(|| {
        finish(dir.command(&["report", "--reveal"]).spawn().unwrap());
    });
    assert!(said.contains("a command shows [\"sue@example.com\"]"), "{said}");
    dir.run(&["report", "--reveal"]);
    dir.run(&["report"]);
}

#[test]
fn what_a_command_leaves_behind_is_searched() {
    let dir = ledger();
    let before = leaks::files(dir.path());
    wait(dir.command(&["report", "out.csv", "--reveal"]).spawn().unwrap());
    let said = failure(|| leaks::forbid_in_files(dir.path(), &before));
    assert!(said.contains("out.csv shows [\"sue@example.com\"]"), "{said}");
}

#[test]
fn names_and_birth_dates_are_found_as_words_of_their_own() {
    ledger();
    for (text, expected) in [
        ("born 2015-03-14", vec!["2015-03-14"]),
        ("x=20150314;", vec!["20150314"]),
        ("hello Zoë!", vec!["Zoë"]),
        ("mail to SUE@example.COM", vec!["sue@example.com"]),
        ("Zoëlle, 120150314, mysue@example", vec![]),
    ] {
        assert_eq!(leaks::shown(text), expected, "{text}");
    }
}

#[test]
fn values_of_a_file_that_a_command_takes_are_searched_too() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let line = format!(
        r#"{{"request_id":"i1","method":"POST","url":"{NOWHERE}/api/v1.0/account","body":{{"email":"kid@example.com"}},"sent_at":"2026-03-01T12:00:00Z","failure":"timeout"}}"#
    );
    std::fs::write(dir.file("a.jsonl"), line + "\n").unwrap();
    assert_eq!(dir.run(&["import", "a.jsonl"]).code, 0);
    assert_eq!(leaks::shown("kid@example.com"), ["kid@example.com"]);
}
