//! Proves that what the recorder says is written is written, in its own thread and in a transaction of the caller's, and
//! that it keeps no more of a body than it must.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::util::{Dir, Platform, Setup, signal};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::ledger::record::{End, Ended};
use privo_reconcile::ledger::recorder::{Attempt, Recorder};
use privo_reconcile::recording;
use privo_reconcile::words::Failure;
use rusqlite::{Connection, OptionalExtension};

const SERVER: &str = "http://127.0.0.1:9";
const URL: &str = "http://127.0.0.1:9/api/v1.0/account";
const BODY: &str = r#"{"email":"ann@example.com","first_name":"Ann","phone":"555"}"#;

/// Set for the child process of a test: the folder it works in.
const CHILD: &str = "PRIVO_RECONCILE_TEST_CHILD";

const TIMEOUT: End<'_> = End::Failed { failure: Failure::Timeout, http_status: None, error: None };

fn dir() -> Dir {
    Dir::new(&Setup::bare(SERVER))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn an_intent_is_there_before_anything_is_sent_and_ends_as_it_ended() {
    let dir = dir();
    let recorder = dir.recorder();
    runtime().block_on(async {
        let attempt = Attempt::new("POST", URL).body(BODY);
        let id = recorder.begin(&attempt.clone().id("a")).await.unwrap();
        assert_eq!(dir.recorded(), [("a".to_owned(), "intent".to_owned(), None)]);
        assert_eq!(recorder.end(&id, &TIMEOUT).await, Ok(Ended::Kept));
        let id = recorder.begin(&attempt).await.unwrap();
        assert_eq!(recorder.end(&id, &End::Answered { status: 201, keep: false }).await, Ok(Ended::Forgotten));
        assert_eq!(recorder.end(&id, &TIMEOUT).await, Ok(Ended::NoIntent));
        let id = recorder.keep_answers().begin(&attempt.id("c")).await.unwrap();
        let answered = End::Answered { status: 201, keep: false };
        assert_eq!(recorder.keep_answers().end(&id, &answered).await, Ok(Ended::Kept));
    });
    let expected = [("a", "timeout", None), ("c", "answered", Some(201))];
    assert_eq!(dir.recorded(), expected.map(|(id, failure, status)| (id.to_owned(), failure.to_owned(), status)));
}

#[test]
fn the_answer_to_a_retry_is_kept_as_evidence() {
    let dir = dir();
    let recorder = dir.recorder();
    let attempt = |id: &'static str| Attempt::new("POST", URL).body(BODY).operation("o").id(id);
    recorder.begin_blocking(&attempt("a")).unwrap();
    recorder.end_blocking("a", &TIMEOUT).unwrap();
    recorder.begin_blocking(&attempt("b")).unwrap();
    let shown = recorder.end_blocking("b", &End::Answered { status: 412, keep: false });
    assert_eq!(shown, Ok(Ended::Kept));
    assert_eq!(dir.recorded()[1], ("b".to_owned(), "answered".to_owned(), Some(412)));
}

#[test]
fn an_id_that_is_taken_is_refused_and_changes_nothing() {
    let dir = dir();
    let recorder = dir.recorder();
    let attempt = Attempt::new("POST", URL).id("a");
    recorder.begin_blocking(&attempt).unwrap();
    let refused = recorder.begin_blocking(&attempt).unwrap_err().to_string();
    assert!(refused.contains("already"), "{refused}");
    assert_eq!(recorder.record_blocking(&attempt, &TIMEOUT), Ok(false));
    assert_eq!(dir.recorded(), [("a".to_owned(), "intent".to_owned(), None)]);
}

#[test]
fn a_webhook_is_recorded_when_it_was_refused_and_when_it_was_taken() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    let recorder = dir.recorder();
    let hook = r#"{"id":"42","sid":"s-1","consent_identifiers":["c-1"],"name":"Kim"}"#;
    let attempt = |id| Attempt::inbound("POST", "/webhooks/privo").body(hook).id(id);
    let failed = End::Failed { failure: Failure::Http, http_status: Some(500), error: None };
    assert_eq!(recorder.record_blocking(&attempt("a"), &failed), Ok(true));
    assert_eq!(recorder.record_blocking(&attempt("b"), &End::Answered { status: 200, keep: false }), Ok(true));
    let kinds = dir.recorded().into_iter().map(|(_, failure, _)| failure).collect::<Vec<_>>();
    assert_eq!(kinds, ["http", "answered"]);
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body LIKE '%Kim%' OR body NOT LIKE '%s-1%'"), 0);
}

#[test]
fn of_a_body_only_what_the_plan_reads_is_kept_unless_asked_for() {
    let dir = dir();
    let recorder = dir.recorder();
    let url = "http://user:hush@127.0.0.1:9/api/v1.0/account";
    recorder.begin_blocking(&Attempt::new("POST", url).body(BODY).id("a")).unwrap();
    recorder.full_bodies().begin_blocking(&Attempt::new("POST", url).body(BODY).id("b")).unwrap();
    let body = |id: &str| -> (String, String) {
        dir.db()
            .query_row("SELECT body, url FROM entries WHERE request_id = ?", [id], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    assert_eq!(body("a"), (r#"{"email":"ann@example.com","first_name":"Ann"}"#.to_owned(), URL.to_owned()));
    assert_eq!(body("b"), (BODY.to_owned(), URL.to_owned()));
}

#[test]
fn a_joined_record_is_there_with_the_callers_own_row_or_not_at_all() {
    let dir = dir();
    let recorder = dir.recorder();
    let mut db = dir.db();
    db.execute_batch("CREATE TABLE orders (id TEXT)").unwrap();
    let begin = |db: &Connection, id: &str| {
        db.execute("INSERT INTO orders VALUES (?)", [id]).unwrap();
        recorder.begin_in(db, &Attempt::new("POST", URL).body(BODY).id(id)).unwrap();
    };
    let transaction = db.transaction().unwrap();
    begin(&transaction, "a");
    transaction.rollback().unwrap();
    let transaction = db.transaction().unwrap();
    begin(&transaction, "b");
    transaction.commit().unwrap();
    let transaction = db.transaction().unwrap();
    recorder.end_in(&transaction, "b", &End::Answered { status: 201, keep: false }).unwrap();
    assert_eq!(dir.recorded(), [("b".to_owned(), "intent".to_owned(), None)]);
    transaction.rollback().unwrap();
    assert_eq!(dir.recorded().len(), 1);
    assert_eq!(dir.count("SELECT count(*) FROM orders"), 1);
}

#[test]
fn many_callers_share_transactions_and_each_gets_its_own_answer() {
    let dir = dir();
    let recorder = dir.recorder();
    recorder.begin_blocking(&Attempt::new("POST", URL).id("taken")).unwrap();
    // While another writer holds the ledger, all of them queue up.
    let mut other = dir.db();
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let shown = runtime().block_on(async {
        let begin = |n: usize| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                let id = if n == 7 { "taken".to_owned() } else { format!("r{n}") };
                recorder.begin(&Attempt::new("POST", URL).body(BODY).id(&id)).await
            })
        };
        let tasks: Vec<_> = (0..100).map(begin).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.rollback().unwrap();
        let mut shown = Vec::new();
        for task in tasks {
            shown.push(task.await.unwrap());
        }
        shown
    });
    let failed: Vec<usize> = shown.iter().enumerate().filter(|(_, shown)| shown.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [7]);
    assert_eq!(dir.recorded().len(), 100);
}

#[test]
fn what_cannot_be_written_is_told_to_every_caller() {
    let dir = dir();
    let recorder = dir.recorder();
    dir.refuse_entries();
    let error = recorder.begin_blocking(&Attempt::new("POST", URL)).unwrap_err().to_string();
    assert!(error.contains("failed to write") && error.contains("no more"), "{error}");
    dir.db().execute_batch("DROP TRIGGER full").unwrap();
    recorder.begin_blocking(&Attempt::new("POST", URL)).unwrap();
}

#[test]
fn a_callers_code_that_panics_stops_nobody() {
    let dir = dir();
    let recorder = dir.recorder();
    dir.db()
        .execute_batch("CREATE TRIGGER still BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let id = recorder.begin_blocking(&Attempt::new("POST", URL)).unwrap();
    recorder.end_later(&id, &TIMEOUT, |error| panic!("{error}"));
    recorder.begin_blocking(&Attempt::new("POST", URL)).unwrap();
}

#[test]
fn what_was_left_for_later_is_written_when_the_last_handle_goes() {
    let dir = dir();
    let recorder = dir.recorder();
    for n in 0..100 {
        let id = recorder.begin_blocking(&Attempt::new("POST", URL).id(&format!("r{n}"))).unwrap();
        recorder.end_later(&id, &TIMEOUT, |error| panic!("{error}"));
    }
    drop(recorder);
    assert!(dir.recorded().iter().all(|(_, failure, _)| failure == "timeout"));
}

#[test]
fn two_recorders_and_runs_at_once_lose_nothing() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let url = format!("{}/api/v1.0/account", platform.url);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (dir, url) = (&dir, &url);
            scope.spawn(move || {
                let recorder = dir.recorder();
                for n in 0..300 {
                    let body = format!(r#"{{"email":"p{writer}-{n}@example.com","first_name":"Ann"}}"#);
                    let id = recorder.begin_blocking(&Attempt::new("POST", url).body(&body)).unwrap();
                    let end = if n % 3 == 0 { End::Answered { status: 201, keep: true } } else { TIMEOUT };
                    assert_eq!(recorder.end_blocking(&id, &end), Ok(Ended::Kept));
                }
            });
        }
        for _ in 0..3 {
            let ran = dir.run(&["run"]);
            assert!([0, 4].contains(&ran.code), "{ran:?}");
        }
    });
    let kinds = dir.recorded();
    assert_eq!(kinds.iter().filter(|(_, failure, _)| failure == "answered").count(), 200);
    assert_eq!(kinds.iter().filter(|(_, failure, _)| failure == "timeout").count(), 400);
    let ran = dir.run(&["run", "--wait", "30s"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// The child: prints each id when the recorder has said that it is on disk, until it is killed.
#[test]
#[ignore = "the child process of a_kill_loses_no_intent_that_was_promised"]
#[expect(clippy::disallowed_methods, reason = "the test tells its child where to work")]
fn a_partner_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let recorder = open(Path::new(&folder));
    runtime().block_on(async {
        let senders = (0..16).map(|_| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                // Bounded, should nobody kill it.
                for n in 0..20_000 {
                    let id = recorder.begin(&Attempt::new("POST", URL).body(BODY)).await.unwrap();
                    promise(&id);
                    if n % 2 == 0 {
                        recorder.end(&id, &TIMEOUT).await.unwrap();
                    }
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
    });
}

/// Tells the parent that an id is on disk.
fn promise(id: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nbegun {id}").unwrap();
    out.flush().unwrap();
}

fn open(folder: &Path) -> Recorder {
    let config = privo_reconcile::config::Config::load(Some(&folder.join("privo-reconcile.toml"))).unwrap();
    recording::recorder(config).unwrap()
}

#[test]
fn a_kill_loses_no_intent_that_was_promised() {
    let dir = dir();
    let mut promised = Vec::new();
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recorder::a_partner_that_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // However slow the machine is, so many are promised first.
        let (so_far, enough) = (promised.len(), random.usize(30..300));
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            promised.extend(line.strip_prefix("begun ").map(str::to_owned));
            if promised.len() - so_far == enough {
                signal("-KILL", child.id());
            }
        }
        child.wait().unwrap();
    }
    assert!(promised.len() > 100, "only {} were begun", promised.len());
    let db = dir.db();
    let mut statement = db.prepare("SELECT failure FROM entries WHERE request_id = ?").unwrap();
    let mut intents = 0;
    for id in &promised {
        let failure: Option<String> = statement.query_row([id], |row| row.get(0)).optional().unwrap();
        let failure = failure.unwrap_or_else(|| panic!("{id} was promised and is not there"));
        assert!(["intent", "timeout"].contains(&failure.as_str()), "{failure}");
        intents += usize::from(failure == "intent");
    }
    assert!(intents > 0);
}

#[test]
fn an_intent_without_news_is_settled_by_the_job() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let url = format!("{}/api/v1.0/account", platform.url);
    let long_ago = Moment::now() + Span::seconds(-60);
    let attempt = Attempt::new("POST", &url).body(BODY).id("a").sent_at(long_ago);
    dir.recorder().begin_blocking(&attempt).unwrap();
    dir.runs(4);
    dir.due();
    dir.runs(0);
    assert_eq!(dir.says("a"), "resolved not-applied confirmed-absent resend");
}
