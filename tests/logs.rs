//! Proves what the log says and where: nothing but what a person must hear of unless asked for more, JSON lines that bear
//! the run's id, no word of the HTTP client's, no colours off a terminal, and no failure when nobody listens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::Stdio;

use crate::util::{Dir, Entry, Platform, Setup, finish};
use privo_reconcile::sandbox::{Faults, NewAccount};
use serde_json::Value;

const NOWHERE: &str = "http://127.0.0.1:9";

fn with(rest: &str) -> Setup {
    Setup { rest: rest.to_owned(), ..Setup::bare(NOWHERE) }
}

/// Every line of standard error as a JSON object.
fn events(err: &str) -> Vec<Value> {
    err.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn a_warning_reads_the_same_whatever_the_configuration_leaves_out() {
    let platform = Platform::with(Faults { read_errors: 1.0, ..Faults::default() });
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    // Which 5xx came last is the server's to choose.
    let warned = || dir.runs(4).err.split(" (the last: status ").next().unwrap().to_owned();
    let usual = warned();
    assert!(!usual.is_empty() && usual.lines().all(|line| line.starts_with("privo-reconcile: ")), "{usual}");
    dir.db().execute_batch("UPDATE state SET due_ms = 0").unwrap();
    let rest = "[log]\nformat = \"text\"\nlevel = \"warn\"\n".to_owned();
    dir.configure(&Setup { rest, ..Setup::of(&platform) });
    assert_eq!(warned(), usual);
    let refused = dir.run(&["show", "nosuch"]);
    assert!(refused.err.starts_with("privo-reconcile: no entry with this request id"), "{refused:?}");
}

#[test]
fn more_is_told_with_v_and_errors_only_with_q() {
    let platform = Platform::with(Faults { read_errors: 1.0, ..Faults::default() });
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    let shown = |arguments: &[&str]| {
        dir.db().execute_batch("UPDATE state SET due_ms = 0").unwrap();
        let ran = dir.run(&[&["run"], arguments].concat());
        assert_eq!(ran.code, 4, "{ran:?}");
        ran.err
    };
    assert!(shown(&["-v"]).contains("run 1 begins") && !shown(&["-v"]).contains("a pass begins"));
    assert!(shown(&["-vv"]).contains("a pass begins"));
    assert!(shown(&[]).contains("privo-reconcile: ") && shown(&["-q"]).is_empty());
    let failed = dir.run(&["-q", "show", "nosuch"]);
    assert!(failed.code == 2 && failed.err.starts_with("privo-reconcile: no entry"), "{failed:?}");
    assert_eq!(dir.run(&["status", "-q", "-v"]).code, 2);
    // What the command line says goes before the configuration.
    dir.configure(&Setup { rest: "[log]\nlevel = \"debug\"\n".to_owned(), ..Setup::of(&platform) });
    assert!(shown(&["-q"]).is_empty() && shown(&[]).contains("a pass begins"));
}

#[test]
fn json_lines_bear_the_runs_id_and_end_with_its_summary() {
    let platform = Platform::start();
    let dir =
        Dir::new(&Setup { rest: "[log]\nformat = \"json\"\nlevel = \"info\"\n".to_owned(), ..Setup::of(&platform) });
    dir.runs(0);
    dir.insert(&Entry::register("r1", "https://elsewhere.example", "ann@example.com"));
    let ran = dir.run(&["run", "--json"]);
    let events = events(&ran.err);
    assert_eq!(names(&events), ["run-begins", "run-ends"]);
    for event in &events {
        assert_eq!((&event["span"]["run"], &event["level"]), (&2.into(), &"INFO".into()), "{event}");
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z') && event["message"].is_string(), "{event}");
    }
    // The same value as `run --json` and hooks have, but for the head of their document.
    let mut printed: Value = serde_json::from_str(&ran.out).unwrap();
    for key in ["format", "command", "exit"] {
        printed.as_object_mut().unwrap().remove(key);
    }
    let summary: Value = serde_json::from_str(events[1]["summary"].as_str().unwrap()).unwrap();
    assert_eq!(summary, printed);
}

#[test]
fn debug_tells_passes_and_transactions_and_no_word_of_the_http_client() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup { rest: "[log]\nlevel = \"debug\"\n".to_owned(), ..Setup::of(&platform) });
    platform.add(NewAccount { email: Some("ann@example.com".to_owned()), ..NewAccount::default() });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    let ran = dir.run(&["run", "--log", "json"]);
    let events = events(&ran.err);
    assert_eq!(names(&events), ["run-begins", "pass-begins", "written", "run-ends"], "{ran:?}");
    assert_eq!((&events[1]["due"], &events[2]["settled"]), (&1.into(), &1.into()));
    // As text each line has time and level before the same message.
    let text = dir.run(&["run"]).err;
    let line = text.lines().next().unwrap();
    assert!(line.contains("Z INFO  privo-reconcile: run 2 begins plan=privo-gateway run=2"), "{line}");
    assert!(!text.contains("summary") && !text.contains("hyper") && !text.contains("reqwest"), "{text}");
}

#[test]
fn corrections_and_a_server_left_alone_have_their_names() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "1h")]));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    platform.add(NewAccount {
        email: Some("ann@example.com".to_owned()),
        made_ms: Some(privo_reconcile::clock::Moment::now().0 - 60_000),
        ..NewAccount::default()
    });
    let ran = dir.run(&["run", "--recheck", "--log", "json"]);
    let corrected = events(&ran.err);
    assert_eq!(names(&corrected), ["correction"], "{ran:?}");
    assert_eq!((&corrected[0]["level"], &corrected[0]["span"]["run"]), (&"WARN".into(), &3.into()));
    dir.insert(&Entry::register("r2", &platform.url, "bob@example.com"));
    platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
    let ran = dir.run(&["run", "--log", "json"]);
    assert_eq!(names(&events(&ran.err)), ["left-alone"], "{ran:?}");
    let failed = dir.run(&["show", "nosuch", "--log", "json"]);
    assert_eq!(names(&events(&failed.err)), ["failed"]);
}

#[test]
fn journald_that_is_not_there_is_2_with_a_remedy() {
    if Path::new("/run/systemd/journal/socket").exists() {
        eprintln!("skipped: journald runs here");
        return;
    }
    let dir = Dir::new(&with(""));
    dir.configure(&with("[log]\nformat = \"journald\"\n"));
    for arguments in [&["run"][..], &["status", "--log", "journald"]] {
        let ran = dir.run(arguments);
        assert!(ran.code == 2 && ran.out.is_empty(), "{ran:?}");
        assert!(ran.err.contains("failed to reach journald") && ran.err.contains("use text or json"), "{ran:?}");
    }
    assert_eq!(dir.run(&["run", "--log", "text"]).code, 0, "the command line wins");
}

/// Every command that prints, with its usual exit code.
fn printing() -> Vec<(Vec<&'static str>, i32)> {
    let plain = [&["status"][..], &["report"], &["show", "r1"], &["verify"], &["check"], &["run", "--dry-run"]];
    let mut all: Vec<(Vec<&str>, i32)> = plain.iter().map(|arguments| (arguments.to_vec(), 0)).collect();
    all.extend(plain.iter().map(|arguments| ([arguments, &["--json"][..]].concat(), 0)));
    all.extend([&["run", "--json"][..], &["init", "--json"], &["--help"], &["--version"]].map(|a| (a.to_vec(), 0)));
    all.push((vec!["demo", "--registrations", "10"], 0));
    all.push((vec!["demo", "--registrations", "10", "--json"], 0));
    all.push((vec!["run", "--report", "-"], 0));
    all
}

#[test]
fn a_reader_that_went_away_is_no_failure_of_any_command() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::new("r1", "GET", &platform.url));
    dir.runs(0);
    for (arguments, code) in printing() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = finish(dir.command(&arguments).stdout(writer).spawn().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{arguments:?}");
    }
}

#[test]
fn a_warning_that_nobody_reads_changes_no_exit_code() {
    let dir = Dir::new(&with("[metrics]\nfile = \"no/such/out.prom\"\n[[alert]]\npending_more_than = 0\n"));
    dir.insert(&Entry::register("r1", NOWHERE, "ann@example.com"));
    let who = ["close", "r1", "--who", "Ann", "--why", "asked"];
    for (arguments, code) in [(&["run"][..], 5), (&["show", "nosuch"], 2), (&who, 0), (&["frobnicate"], 2)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = finish(dir.command(arguments).stderr(writer).spawn().unwrap());
        assert_eq!(ran.code, code, "{arguments:?}");
    }
}

#[test]
fn nothing_is_coloured_off_a_terminal_and_no_color_wins() {
    let dir = Dir::new(&with("[log]\nlevel = \"debug\"\n"));
    dir.insert(&Entry::register("r1", NOWHERE, "ann@example.com"));
    let help = |variables: &[(&str, &str)]| {
        let mut command = dir.command(&["--help"]);
        finish(command.envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().unwrap()).out
    };
    assert!(help(&[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'), "else this test proves nothing");
    assert!(!help(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
    for arguments in [&["run"][..], &["status"], &["show", "r1"], &["check"], &["--help"]] {
        let ran = dir.run(arguments);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{ran:?}");
    }
}
