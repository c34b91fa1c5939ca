//! Proves, through the real binary, that a ledger belongs to one server, under whatever address that was; and what two
//! configurations of one server do that are run in turn: nothing grows, and nothing is forgotten.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::recording;
use privo_reconcile::sandbox::NewAccount;

fn account(email: &str) -> NewAccount {
    NewAccount { email: Some(email.to_owned()), ..NewAccount::default() }
}

/// An address that the server had before; nobody is there any more.
const OLD: &str = "http://127.0.0.77:9";

/// The server, which was at another address before.
fn moved(platform: &Platform, before: &str) -> Setup {
    Setup { server: format!("also = [\"{before}\"]\n"), ..Setup::of(platform) }
}

/// A ledger with `one` configured, and `two` beside it.
fn of_two(one: &Setup, two: &Setup) -> Dir {
    let dir = Dir::new(one);
    std::fs::write(dir.file("two.toml"), two.text()).unwrap();
    dir
}

/// Runs both, in turn.
fn in_turn(dir: &Dir, times: usize) {
    for _ in 0..times {
        dir.run(&["run"]);
        dir.run(&["--config", "two.toml", "run"]);
    }
}

fn rows_of(dir: &Dir) -> Vec<i64> {
    let tables = ["evidence", "texts", "keys"];
    tables.iter().map(|table| dir.count(&format!("SELECT count(*) FROM {table}"))).collect()
}

/// What both have read is read anew at each turn, and nothing is stored of it that is there already.
#[test]
fn idle_runs_in_turn_store_nothing() {
    let one = Platform::start();
    let dir = of_two(&Setup::of(&one), &moved(&one, OLD));
    for n in 0..100 {
        let url = if n % 2 == 0 { &one.url } else { OLD };
        let email = format!("ann{n}@example.com");
        one.add(account(&email));
        dir.insert(&Entry::register(&format!("r{n}"), url, &email));
    }
    // What cannot be read, or means nothing, under either.
    dir.insert(&Entry::register("bad", &one.url, "eve@example.com").with("sent_at", "yesterday".to_owned()));
    dir.insert(&Entry::new("none", "POST", &format!("{}/nowhere", one.url)));
    dir.insert(&Entry::register("ahead", OLD, "ann1@example.com").sent(Moment::now() + Span::seconds(86_400)));
    in_turn(&dir, 2);
    assert_eq!(dir.count("SELECT count(*) FROM state WHERE status = 'pending'"), 0);
    let before = rows_of(&dir);
    in_turn(&dir, 3);
    assert_eq!(rows_of(&dir), before, "evidence, texts, keys");
    assert_eq!(dir.says("none"), "duplicate-risk unknown no-plan review");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// What is settled is read by another configuration when something is to be decided, and not before.
#[test]
fn what_is_settled_is_read_when_it_is_wanted() {
    let one = Platform::start();
    let dir = of_two(&Setup::of(&one), &moved(&one, OLD));
    one.add(account("ann@example.com"));
    dir.insert(&Entry::register("r1", &one.url, "ann@example.com"));
    in_turn(&dir, 2);
    let readings = "SELECT count(*) FROM readings";
    assert_eq!((dir.says("r1").as_str(), dir.count(readings)), ("resolved satisfied present review", 1));
    dir.insert(&Entry::register("r2", OLD, "ann@example.com"));
    dir.run(&["--config", "two.toml", "run"]);
    assert_eq!((dir.says("r2").as_str(), dir.count(readings)), ("resolved satisfied present review", 3));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// A row that was changed after the one had read it is read anew by the one, though the other read it last.
#[test]
fn a_changed_row_is_read_anew_by_both() {
    let one = Platform::start();
    let windows = [("intent", "1h"), ("network", "1h")];
    let dir = of_two(&Setup::of(&one).windows(&windows), &moved(&one, OLD).windows(&windows));
    dir.insert(&Entry::register("r1", &one.url, "ann@example.com").failure("intent"));
    in_turn(&dir, 2);
    dir.db().execute("UPDATE entries SET failure = 'not_sent'", []).unwrap();
    dir.run(&["--config", "two.toml", "run"]);
    dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "resolved not-applied never-sent resend");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// What a plan could make nothing of is decided anew under the plan that can, however often both were run before.
#[test]
fn what_one_plan_cannot_read_is_decided_by_the_other() {
    let platform = Platform::start();
    let windows = [("network", "1h")];
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    let plan = plan.replace("\"/api/v1.0/account\", \"/api/account\"]\nneeds", "\"/api/v2/people\"]\nneeds");
    let dir = of_two(&Setup::of(&platform), &Setup::of(&platform).windows(&windows));
    std::fs::write(dir.file("mine.toml"), plan).unwrap();
    dir.configure(&Setup { plan: "mine.toml".to_owned(), ..Setup::of(&platform) });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    in_turn(&dir, 3);
    assert!(dir.says("r1").starts_with("pending . unsettled"), "{}", dir.says("r1"));
    std::fs::write(dir.file("two.toml"), Setup::of(&platform).text()).unwrap();
    in_turn(&dir, 2);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn a_ledger_belongs_to_the_server_of_its_first_completed_look() {
    let (one, two) = (Platform::start(), Platform::start());
    let dir = of_two(&Setup::bare(OLD), &Setup::of(&two));
    dir.insert(&Entry::register("lost", OLD, "eve@example.com"));
    dir.runs(4);
    let whose = "SELECT count(server) FROM ledger";
    assert_eq!(dir.count(whose), 0, "nobody answered");
    dir.configure(&Setup::of(&one));
    dir.run(&["--config", "two.toml", "run"]);
    assert_eq!(dir.count(whose), 0, "nothing was looked up");
    dir.insert(&Entry::register("r1", &one.url, "ann@example.com"));
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    std::fs::write(dir.file("log.jsonl"), "").unwrap();
    let before = (rows_of(&dir), dir.count("SELECT count(*) FROM runs"));
    for command in [
        &["run"][..],
        &["run", "--dry-run"],
        &["check"],
        &["record", "--stdin"],
        &["import", "log.jsonl"],
        &["report"],
        &["report", "--new"],
        &["status"],
        &["show", "r1"],
        &["verify"],
        &["close", "r1", "--who", "a", "--why", "b"],
        &["prune", "--older-than", "1d"],
        &["forget", "x@example.com", "--who", "a", "--why", "b"],
        &["backup", "copy.db"],
    ] {
        let ran = dir.run(&[&["--config", "two.toml"], command].concat());
        let said = ran.err + &ran.out;
        assert_eq!(ran.code, 2, "{command:?}: {said}");
        for words in [&*one.url, &*two.url, "belongs to the server", "also = ["] {
            assert!(said.contains(words), "{command:?}: {words}: {said}");
        }
    }
    let other = Config::load(Some(&dir.file("two.toml"))).unwrap();
    assert!(recording::recorder(other).is_err());
    assert_eq!((rows_of(&dir), dir.count("SELECT count(*) FROM runs")), (before.0, before.1));
    dir.runs(4);
}

#[test]
fn what_was_sent_to_an_address_that_the_server_had_before_is_its_own() {
    let (here, before) = (Platform::start(), Platform::start());
    let dir = Dir::of(&before);
    dir.insert(&Entry::register("r1", &before.url, "ann@example.com"));
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    dir.insert(&Entry::register("r2", &before.url, "bob@example.com"));
    dir.insert(&Entry::register("r3", OLD, "eve@example.com"));
    here.add(account("bob@example.com"));
    dir.configure(&moved(&here, &before.url));
    let recorder = dir.recorder();
    for (url, concerns) in [(&*here.url, true), (&*before.url, true), (OLD, false)] {
        assert_eq!(recorder.concerns("POST", &format!("{url}/api/v1.0/account")), concerns, "{url}");
    }
    drop(recorder);
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    assert!(dir.says("r2").starts_with("resolved satisfied present"), "{}", dir.says("r2"));
    assert_eq!(dir.says("r3"), "pending . other-environment review");
    assert_eq!(dir.run(&["verify"]).code, 0);
    // Without the word it is another server.
    dir.configure(&Setup::of(&here));
    assert_eq!(dir.run(&["run"]).code, 2);
}

#[test]
fn an_earlier_address_is_scheme_host_and_port_alone() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for (address, why) in [
        ("https://old.example/api", "scheme, host and port alone"),
        ("https://old.example/?a=1", "neither `?` nor `#`"),
        ("old.example", "not a URL"),
        ("ftp://old.example", "not an http or https URL"),
    ] {
        dir.configure(&moved(&platform, address));
        let ran = dir.run(&["status"]);
        assert!(ran.code == 2 && ran.err.contains("`server.also[0]`") && ran.err.contains(why), "{ran:?}");
    }
}
