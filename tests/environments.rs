//! Proves, through the real binary, what two configurations do that are run in turn on one ledger: nothing grows, nothing is
//! forgotten, and each decides what is its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;

fn account(email: &str) -> NewAccount {
    NewAccount { email: Some(email.to_owned()), ..NewAccount::default() }
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
    let tables = ["readings", "observations", "decisions", "verdicts", "links"];
    tables.iter().map(|table| dir.count(&format!("SELECT count(*) FROM {table}"))).collect()
}

/// What both have read is read anew at each turn, and nothing is stored of it that is there already.
#[test]
fn idle_runs_in_turn_store_nothing() {
    let (one, two) = (Platform::start(), Platform::start());
    let dir = of_two(&Setup::of(&one), &Setup::of(&two));
    for n in 0..100 {
        let platform = if n % 2 == 0 { &one } else { &two };
        let email = format!("ann{n}@example.com");
        platform.add(account(&email));
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &email));
    }
    // What cannot be read, or means nothing, under either.
    dir.insert(&Entry::register("bad", &one.url, "eve@example.com").with("sent_at", "yesterday".to_owned()));
    dir.insert(&Entry::new("none", "POST", &format!("{}/nowhere", one.url)));
    dir.insert(&Entry::register("ahead", &two.url, "ann1@example.com").sent(Moment::now() + Span::seconds(86_400)));
    in_turn(&dir, 2);
    assert_eq!(dir.count("SELECT count(*) FROM standings WHERE status = 'pending'"), 0);
    let before = rows_of(&dir);
    in_turn(&dir, 3);
    assert_eq!(rows_of(&dir), before, "readings, observations, decisions, verdicts, links");
    assert_eq!(dir.says("none"), "duplicate-risk unknown no-plan review");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// What is settled is read by another configuration when something is to be decided, and not before.
#[test]
fn what_is_settled_is_read_when_it_is_wanted() {
    let (one, two) = (Platform::start(), Platform::start());
    let dir = of_two(&Setup::of(&one), &Setup::of(&two));
    one.add(account("ann@example.com"));
    two.add(account("ann@example.com"));
    dir.insert(&Entry::register("r1", &one.url, "ann@example.com"));
    in_turn(&dir, 2);
    let readings = "SELECT count(*) FROM readings";
    assert_eq!((dir.says("r1").as_str(), dir.count(readings)), ("resolved satisfied present review", 1));
    dir.insert(&Entry::register("r2", &two.url, "ann@example.com"));
    dir.run(&["--config", "two.toml", "run"]);
    assert_eq!((dir.says("r2").as_str(), dir.count(readings)), ("resolved satisfied present review", 3));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// The one run's turn does not take the other's look at a watched entry from it.
#[test]
fn a_watch_is_kept_by_its_own_environment() {
    let (one, two) = (Platform::start(), Platform::start());
    let windows = [("watch", "10m")];
    let dir = of_two(&Setup::of(&one).windows(&windows), &Setup::of(&two).windows(&windows));
    dir.attempt(&one, Entry::register("r1", &one.url, "ann@example.com"), "lost-before");
    in_turn(&dir, 2);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    let looks = dir.count("SELECT count(*) FROM observations");
    in_turn(&dir, 2);
    assert_eq!(dir.count("SELECT count(*) FROM observations"), looks, "it was not due");
    dir.db().execute("UPDATE standings SET due_ms = 1", []).unwrap();
    one.world().repair(Moment::now().0, "r1");
    dir.run(&["--config", "two.toml", "run"]);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    dir.run(&["run"]);
    assert!(dir.says("r1").starts_with("resolved satisfied present"), "{}", dir.says("r1"));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// A row that was changed after the one had read it is read anew by the one, though the other read it last.
#[test]
fn a_changed_row_is_read_anew_by_both() {
    let (one, two) = (Platform::start(), Platform::start());
    let windows = [("intent", "1h"), ("network", "1h")];
    let dir = of_two(&Setup::of(&one).windows(&windows), &Setup::of(&two).windows(&windows));
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
