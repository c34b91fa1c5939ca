//! Proves that the walls of the architecture stand: who owns SQLite and HTTP, who imports whom, how long files may be, and
//! that the lists of words, the README and the command's own help agree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest a file of code may be, in lines.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder: its path from the package's root, and its text.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The module of the crate that a file of `src` belongs to: `lookup` of `src/lookup/pace.rs`.
fn module(file: &str) -> &str {
    let rest = file.strip_prefix("src/").unwrap();
    rest.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The text without comments.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// The code without the unit tests at its end.
fn production(text: &str) -> String {
    let code = code(text);
    code.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// The modules of this crate that a text names, by `crate::` or by reaching up with `super::` out of a top-level module.
fn imports(file: &str, text: &str) -> BTreeSet<String> {
    let depth = file.matches('/').count() - usize::from(file.ends_with("/mod.rs"));
    let prefixes = ["crate::".to_owned(), "super::".repeat(depth)];
    let mut named = BTreeSet::new();
    for prefix in &prefixes {
        for (at, _) in text.match_indices(prefix.as_str()) {
            let before = &text[..at];
            if prefix.starts_with("super") && before.ends_with("super::") {
                continue;
            }
            let rest = &text[at + prefix.len()..];
            named.extend(first_names(rest).into_iter().map(str::to_owned));
        }
    }
    named.remove(module(file));
    named
}

/// `a` of `a::b`, and `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<&str> {
    let first = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let Some(list) = path.strip_prefix('{') else { return vec![&path[..first(path)]] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let item = list[start..at].trim_start();
                names.push(&item[..first(item)]);
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Fails when a module of `of` names one of `forbidden`.
fn never_imports(of: &[&str], forbidden: &[&str]) {
    let tests = |file: &str| file.contains("/tests/") || file.ends_with("tests.rs");
    for (file, text) in files("src").iter().filter(|(file, _)| of.contains(&module(file)) && !tests(file)) {
        let named = imports(file, &production(text));
        let wrong: Vec<&String> = named.iter().filter(|name| forbidden.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{file} imports {wrong:?}");
    }
}

/// Fails when a module names another one of this crate than those.
fn imports_only(of: &str, allowed: &[&str]) {
    let all = files("src");
    let modules: BTreeSet<&str> = all.iter().map(|(file, _)| module(file)).collect();
    for (file, text) in all.iter().filter(|(file, _)| module(file) == of) {
        let named = imports(file, &production(text));
        let wrong: Vec<&String> =
            named.iter().filter(|name| modules.contains(name.as_str()) && !allowed.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{file} imports {wrong:?}; {of} may import {allowed:?}");
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let found = |text: &str| imports("src/run/look.rs", text).into_iter().collect::<Vec<_>>();
    assert_eq!(found("use crate::ledger::{Due, Ledger};"), ["ledger"]);
    assert_eq!(found("use crate::{http, plan::{Row, Reader}, words};"), ["http", "plan", "words"]);
    assert_eq!(found("let a = crate::mask::id(b); use super::super::ledger::Due;"), ["ledger", "mask"]);
    assert_eq!(found("use super::due; use crate::run::due;"), Vec::<String>::new());
    assert_eq!(imports("src/http.rs", "use super::plan::Row;").len(), 1);
}

#[test]
fn only_the_store_knows_sqlite() {
    for (file, text) in files("src") {
        assert!(module(&file) == "store" || !code(&text).contains("rusqlite"), "{file} mentions rusqlite");
    }
}

#[test]
fn only_its_store_knows_postgres() {
    for (file, text) in files("src") {
        let is_its = file.starts_with("src/store/postgres/");
        assert!(is_its || !code(&text).contains("tokio_postgres"), "{file} mentions tokio_postgres");
    }
}

#[test]
fn only_http_knows_reqwest() {
    for (file, text) in files("src") {
        assert!(module(&file) == "http" || !code(&text).contains("reqwest"), "{file} mentions reqwest");
    }
}

#[test]
fn sql_is_the_stores_alone() {
    for (file, text) in files("src").iter().filter(|(file, _)| module(file) != "store") {
        for statement in ["SELECT ", "INSERT INTO", "DELETE FROM", "PRAGMA "] {
            assert!(!production(text).contains(statement), "{file} has SQL: {statement}");
        }
    }
}

#[test]
fn ledger_lookups_and_report_never_import_each_other() {
    never_imports(&["store"], &["ledger", "decide", "http", "lookup", "report", "run", "command"]);
    never_imports(&["ledger"], &["http", "lookup", "report", "run", "command"]);
    never_imports(&["http", "lookup"], &["ledger", "report", "run", "command"]);
    never_imports(&["report"], &["ledger", "http", "lookup", "run", "command"]);
    // What joins a partner's client and the ledger is known to neither.
    never_imports(&["ledger", "http", "run", "lookup", "decide"], &["recording"]);
}

#[test]
fn the_decision_sees_evidence_and_words_only() {
    imports_only("decide", &["clock", "evidence", "words", "mask"]);
}

#[test]
fn the_evidence_sees_words_only() {
    imports_only("evidence", &["clock", "words"]);
    imports_only("words", &[]);
    imports_only("clock", &[]);
}

#[test]
fn the_plan_knows_no_ledger_and_no_network() {
    never_imports(&["plan"], &["ledger", "http", "lookup", "report", "run", "command", "decide"]);
}

#[test]
fn the_import_asks_no_server_and_decides_nothing() {
    never_imports(&["import"], &["http", "lookup", "decide", "run", "command", "config"]);
}

#[test]
fn who_is_told_of_a_run_neither_runs_nor_reads_the_ledger() {
    never_imports(&["notice"], &["ledger", "lookup", "report", "run", "command"]);
    imports_only("log", &["clock", "exit"]);
    imports_only("document", &[]);
}

#[test]
fn the_schedule_is_pure() {
    imports_only("schedule", &["clock"]);
}

#[test]
fn the_sandbox_knows_nothing_of_the_job() {
    imports_only("sandbox", &["clock"]);
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in files("src").into_iter().chain(files("tests")) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{file} has {lines} lines, more than {LONGEST_FILE}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (file, text) in files("src").into_iter().chain(files("tests")) {
        // The list of modules says it all; `table.rs` is the unit tests of the module above it.
        let exempt = ["src/lib.rs", "src/decide/table.rs"].contains(&file.as_str());
        assert!(exempt || text.starts_with("//!"), "{file} does not begin with what it is for");
    }
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for (file, _) in files("src") {
        for part in Path::new(&file).with_extension("").components() {
            let part = part.as_os_str().to_str().unwrap();
            let empty = ["utils", "util", "helpers", "common", "misc", "manager", "handle", "handler", "process"];
            assert!(!empty.contains(&part), "{file}");
        }
    }
}

#[test]
fn every_list_of_words_is_held_by_the_schema_or_told_in_it() {
    let words = std::fs::read_to_string(root().join("src/words.rs")).unwrap();
    let schema = std::fs::read_to_string(root().join("schema.sql")).unwrap();
    let mut lists: Vec<(&str, Vec<&str>)> = Vec::new();
    for block in words.split("\nwords! {\n").skip(1) {
        let block = block.split("\n}\n").next().unwrap();
        let head = block.lines().find(|line| line.ends_with(" {")).unwrap();
        let texts = block.lines().filter_map(|line| line.trim().split_once(" = \"")?.1.strip_suffix("\","));
        lists.push((head.trim().trim_end_matches(" {"), texts.collect()));
    }
    assert!(lists.len() >= 9, "{lists:?}");
    for (name, texts) in &lists {
        assert!(!texts.is_empty(), "{name}");
        // How fields compare is stored as JSON within `records`.
        if *name == "Compared" {
            continue;
        }
        let column = |word: &&&str| {
            schema.contains(&format!("'{word}'"))
                || schema.contains(&format!("{word},"))
                || schema.contains(&format!(", {word}"))
                || schema.contains(&format!("or {word}"))
        };
        let missing: Vec<_> = texts.iter().filter(|word| !column(word)).collect();
        assert!(missing.is_empty(), "schema.sql does not know {missing:?} of {name}");
    }
}

/// Triggers run in the writer's SQLite, and `schema.sql` in whichever makes the ledger.
#[test]
fn the_schema_asks_for_nothing_newer_than_sqlite_3_26() {
    let newer = [
        "RETURNING",
        "STRICT",
        "MATERIALIZED",
        "GENERATED",
        "UNIXEPOCH",
        "DISTINCT FROM",
        "->",
        "IIF(",
        "FORMAT(",
        "OCTET_LENGTH(",
        "CONCAT(",
        "CONCAT_WS(",
        "STRING_AGG(",
        "TIMEDIFF(",
        "JSONB",
        "FILTER (",
        "NULLS FIRST",
        "NULLS LAST",
        "SIGN(",
        "SUBSTRING(",
        "UNHEX(",
        "DROP COLUMN",
        "RIGHT JOIN",
        "FULL JOIN",
        "SQLITE_SCHEMA",
        "SUBSEC",
        "ROW_NUMBER",
        "JSON_",
    ];
    let mut schemas = vec![root().join("schema.sql")];
    let beside = std::fs::read_dir(root().join("src/ledger")).unwrap().map(|entry| entry.unwrap().path());
    schemas.extend(beside.filter(|path| path.extension().is_some_and(|extension| extension == "sql")));
    for schema in schemas {
        let text = std::fs::read_to_string(&schema).unwrap();
        let code = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
        let code = code.collect::<Vec<_>>().join("\n").to_uppercase();
        for word in newer {
            assert!(!code.contains(word), "{}: {word}", schema.display());
        }
        // Before 3.47 the message was a literal.
        for (at, raise) in code.match_indices("RAISE(") {
            let rest = &code[at + raise.len()..];
            assert!(rest.starts_with("IGNORE)") || rest.starts_with("ABORT, '"), "{}", &rest[..40]);
        }
    }
}

/// The help of a command, as it is printed.
fn help(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_privo-reconcile")).args(arguments).arg("--help").output().unwrap();
    assert!(ran.status.success());
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_documented_usage_and_exit_codes_are_the_helps() {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = plain(&help(&[]));
    for (page, block) in [("docs/COMMANDS.md", "```text usage\n"), ("README.md", "```text exit codes\n")] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let shown = text.split_once(block).unwrap().1.split_once("```").unwrap().0;
        assert!(shown.contains("130, 143") && help.contains(&plain(shown)), "{page}: {shown}");
    }
}

/// Whoever begins finds the way through it.
const LONGEST_README: usize = 300;

#[test]
fn the_readme_is_short_and_every_link_of_the_documentation_leads_somewhere() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= LONGEST_README);
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    for page in pages.chain([root().join("README.md"), root().join("CHANGELOG.md")]) {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let target = link.0.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            assert!(page.parent().unwrap().join(target).exists(), "{}: {target}", page.display());
        }
    }
}

#[test]
fn the_help_tells_every_exit_code() {
    let help = help(&[]);
    for code in ["  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  11 ", "130, 143"] {
        assert!(help.contains(code), "{code}: {help}");
    }
}

/// What `scripts/prove-the-oracle` takes away is still there to be taken away.
#[test]
fn every_mutation_changes_the_code() {
    let folder = root().join("scripts/mutations");
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("twists\t"));
        for (path, expression) in lines.filter_map(|line| line.split_once('\t')) {
            let before = std::fs::read(root().join(path)).unwrap();
            let Ok(sed) = Command::new("sed").arg(expression).arg(root().join(path)).output() else {
                eprintln!("skipped: there is no sed");
                return;
            };
            assert!(sed.status.success() && sed.stdout != before, "{} changes nothing in {path}", file.display());
        }
    }
}
