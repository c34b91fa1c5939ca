//! Proves that reports stay what they are, byte for byte: those of one ledger with pinned times (`tests/golden/ledger.sql`)
//! are compared with the files beside it. After a change that is meant, `BLESS=1 cargo test --test laws golden::` writes them
//! anew; then look at what git says changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, PSEUDONYMS, golden, golden_ledger};

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

fn same(name: &str, made: &str) {
    if blessing() {
        std::fs::write(golden(name), made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(golden(name)).unwrap();
    let differing = made.split('\n').zip(kept.split('\n')).find(|(made, kept)| made != kept);
    assert!(made == kept, "{name} changed (BLESS=1 if it should): made and kept {differing:#?}");
}

fn said(dir: &Dir, arguments: &[&str]) -> String {
    let ran = dir.run(arguments);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
    ran.out
}

#[test]
fn the_contracts_csv() {
    same("report.csv", &said(&golden_ledger(""), &["report"]));
}

#[test]
fn json_lines_with_pseudonyms() {
    same("report.jsonl", &said(&golden_ledger(PSEUDONYMS), &["report", "--format", "jsonl"]));
}

#[test]
fn what_support_is_sent() {
    let dir = golden_ledger(PSEUDONYMS);
    same("support.csv", &said(&dir, &["report", "--for", "support"]));
    same("support.jsonl", &said(&dir, &["report", "--for", "support", "--format", "jsonl"]));
}

#[test]
fn what_is_to_be_sent_again() {
    let dir = golden_ledger(PSEUDONYMS);
    same("resend.csv", &said(&dir, &["report", "--for", "resend"]));
    same("resend.jsonl", &said(&dir, &["report", "--for", "resend", "--format", "jsonl"]));
}

#[test]
fn a_table() {
    same("report.txt", &said(&golden_ledger(""), &["report", "--format", "table"]));
}

#[test]
fn stories_and_the_overview() {
    let dir = golden_ledger(PSEUDONYMS);
    let stories = ["r-late", "r-twice/1", "r-open/2", "yan@example.com", "\u{202e}txt.exe"];
    let shown: Vec<String> = stories.iter().map(|id| said(&dir, &["show", id])).collect();
    same("show.txt", &shown.join("\n"));
    same("show.json", &said(&dir, &["show", "r-late", "--json"]));
    same("status.txt", &said(&dir, &["status"]));
}

#[test]
fn what_stands_behind_the_report() {
    let dir = golden_ledger(PSEUDONYMS);
    said(&dir, &["report", "out.csv", "--for", "support"]);
    let digest = privo_reconcile::config::Config::load(Some(&dir.file("privo-reconcile.toml"))).unwrap().plan.digest;
    let meta = dir.read("out.csv.meta.json").replace(&digest, "PLAN").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let schema = format!("\"schema_version\": {}", privo_reconcile::ledger::VERSION);
    same("support.csv.meta.json", &meta.replace(&schema, "\"schema_version\": SCHEMA"));
}
