//! Proves, through the real binary against the sandbox, what concerns more than one record or look: operations of several
//! effects, deletes, updates, webhooks, controls, shared lookups, the watch, waiting, and rehearsals without writing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Dir, Entry, Platform, Setup, said};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, Habits, NewAccount, Search};

const LOOKUP: &str = "GET /api/v1.0/account/lookup";
const USERINFO: &str = "GET /userinfo";

fn post(request_id: &str, platform: &Platform, path: &str, body: &str) -> Entry {
    Entry::new(request_id, "POST", &format!("{}{path}", platform.url)).body(body)
}

fn settle(dir: &Dir) {
    let ran = dir.run_twice();
    assert!([0, 3, 4].contains(&ran.code) && ran.err.is_empty() && ran.out.is_empty(), "{ran:?}");
    let again = dir.run(&["verify"]);
    assert_eq!(again.code, 0, "{again:?}");
}

/// A parent and two children, without keys of their own.
fn family(request_id: &str, platform: &Platform) -> Entry {
    let body = r#"{"email":"mum@example.com","first_name":"Mum","birth_date_yyyymmdd":"19800102","minor_registrations":[
        {"first_name":"Kim","birth_date_yyyymmdd":"20150102"},{"first_name":"Lee","birth_date_yyyymmdd":"20160102"}]}"#;
    post(request_id, platform, "/api/v1.0/account/parent", body)
}

#[test]
fn a_family_that_was_made_is_resolved_with_every_id() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, family("r1", &platform), "lost-after");
    settle(&dir);
    let row = dir.row("r1");
    assert_eq!(said(&row), "resolved satisfied present store-id");
    let truth = platform.truth();
    let made: Vec<&str> =
        truth.per_request["r1"].iter().filter(|a| a.what == "account made").map(|a| a.record.as_str()).collect();
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|id| row["server_id"].contains(id)), "{} {made:?}", row["server_id"]);
}

#[test]
fn a_family_that_was_not_made_may_be_sent_again_once_confirmed() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, family("r1", &platform), "lost-before");
    dir.runs(4);
    assert_eq!(dir.says("r1"), "pending . unconfirmed wait");
    dir.runs(0);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
}

#[test]
fn a_family_of_which_a_part_was_made_is_partly_applied() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, family("r1", &platform), "partial:1");
    settle(&dir);
    let row = dir.row("r1");
    assert_eq!(said(&row), "duplicate-risk partly-applied partly-applied review");
    assert!(row["server_id"].contains("parent=") && row["server_id"].contains("child 1="), "{row:?}");
    assert!(!row["server_id"].contains("child 2="), "{row:?}");
}

fn child(request_id: &str, platform: &Platform) -> Entry {
    let body = format!(r#"{{"parentEmail":"{}","first_name":"Kim","birth_date_yyyymmdd":"20150102"}}"#, util::CANARY);
    post(request_id, platform, "/api/v1.0/account", &body)
}

#[test]
fn a_child_made_twice_by_its_retries_is_duplicated() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    for id in ["r1", "r2"] {
        dir.attempt(&platform, child(id, &platform).operation("op"), "lost-after");
    }
    settle(&dir);
    assert_eq!(dir.says("r1"), "duplicate-risk duplicated duplicated ask-privo");
    assert_eq!(dir.says("r2"), dir.says("r1"));
}

#[test]
fn a_child_that_was_made_once_is_there_once() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, child("r1", &platform).operation("op"), "lost-before");
    dir.attempt(&platform, child("r2", &platform).operation("op"), "lost-after");
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved satisfied present store-id");
    assert_eq!(dir.row("r1")["server_id"], dir.row("r2")["server_id"]);
}

#[test]
fn more_children_than_attempts_are_foreign() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, child("r1", &platform), "twice");
    settle(&dir);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown foreign-records ask-privo");
}

#[test]
fn deletes_are_told_by_what_is_there() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let made_ms = Some((Moment::now() + Span::seconds(-86_400)).0);
    let account = |email: &str| NewAccount { email: Some(email.to_owned()), made_ms, ..NewAccount::default() };
    let delete = |id: &str, tail: &str| Entry::new(id, "DELETE", &format!("{}/api/v1.0/account{tail}", platform.url));
    let (stays, goes) = (platform.add(account("stays@example.com")), platform.add(account("goes@example.com")));
    dir.attempt(&platform, delete("not-deleted", &format!("/{stays}")), "lost-before");
    dir.attempt(&platform, delete("deleted", &format!("/{goes}")), "lost-after");
    dir.insert(&delete("recreated", "?email=new%40example.com"));
    platform.add(NewAccount { made_ms: None, ..account("new@example.com") });
    let setup = Setup::of(&platform);
    let control = format!("[[control]]\nlookup = \"account-by-service-id\"\nkey = \"{}\"\n", platform.canary_child);
    dir.configure(&Setup { controls: setup.controls.clone() + &control, ..setup });
    settle(&dir);
    assert_eq!(dir.says("not-deleted"), "resolved not-applied not-deleted resend");
    assert_eq!(dir.says("deleted"), "resolved satisfied deleted none");
    assert_eq!(dir.says("recreated"), "resolved satisfied recreated do-not-resend");
}

#[test]
fn consent_requests_are_found_by_the_partners_own_id() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    let request = |id: &str, principal: &str| {
        let body = format!(r#"{{"granter":{{"email":"mum@example.com"}},"principal":{{{principal}}}}}"#);
        post(id, &platform, "/s2s/api/v1.0/sandbox/requests", &body)
    };
    dir.attempt(&platform, request("made", r#""eid":"kid-1","given_name":"Kim""#), "lost-after");
    dir.attempt(&platform, request("lost", r#""eid":"kid-2","given_name":"Kim""#), "lost-before");
    dir.attempt(&platform, request("nameless", r#""given_name":"Kim""#), "lost-before");
    dir.runs(3);
    assert_eq!(dir.says("lost"), "pending . unconfirmed wait");
    settle(&dir);
    assert_eq!(dir.says("made"), "resolved satisfied present store-id");
    assert_eq!(dir.says("lost"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.says("nameless"), "duplicate-risk unknown unobservable ask-privo");
    assert_eq!(dir.row("made")["path"], "/s2s/api/v1.0/{service}/requests");
}

#[test]
fn revoked_features_are_told_by_their_states() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    for (id, fate) in [("applied", "lost-after"), ("lost", "lost-before")] {
        let sid = platform.add(NewAccount {
            eid: Some(id.to_owned()),
            parent_email: Some("mum@example.com".to_owned()),
            ..NewAccount::default()
        });
        let granter = platform.truth().accounts.iter().find(|a| a.service_id == sid).unwrap().parent.clone().unwrap();
        let path = format!("/s2s/api/v1.0/sandbox/accounts/sid/{sid}/{granter}/features/revoke");
        dir.attempt(&platform, post(id, &platform, &path, r#"{"features":["chat"]}"#), fate);
    }
    assert_eq!(platform.truth().per_request["applied"].len(), 1);
    settle(&dir);
    assert_eq!(dir.says("applied"), "resolved satisfied equivalent none");
    assert_eq!(dir.says("lost"), "resolved not-applied not-updated resend");
}

#[test]
fn a_webhook_that_was_not_taken_gets_the_state_of_now() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    let body = format!(r#"{{"id":"event-1","sid":"{}","consent_identifiers":[]}}"#, platform.canary_sid);
    let webhook = |id: &str, event: &str| {
        let body = body.replace("event-1", event);
        Entry::new(id, "POST", "/hooks/privo").with("direction", "inbound".to_owned()).body(&body).http(500)
    };
    dir.insert(&webhook("missed", "event-1"));
    dir.insert(&webhook("retried", "event-2"));
    dir.insert(&webhook("taken", "event-2").answered(200).sent(Moment::now()));
    settle(&dir);
    let row = dir.row("missed");
    assert_eq!(said(&row), "resolved satisfied state-fetched apply-state");
    assert!(row["explanation"].starts_with("as of ") && row["explanation"].contains("chat="), "{row:?}");
    assert!(dir.says("retried").starts_with("resolved satisfied present"), "{}", dir.says("retried"));
}

#[test]
fn an_absence_without_a_control_proves_nothing_and_a_presence_needs_none() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("there@example.com".to_owned()), ..NewAccount::default() });
    let dir = Dir::new(&Setup { controls: String::new(), ..Setup::of(&platform) });
    dir.insert(&post("absent", &platform, "/api/v1.0/account", r#"{"email":"gone@example.com"}"#));
    dir.insert(&post("present", &platform, "/api/v1.0/account", r#"{"email":"there@example.com"}"#));
    settle(&dir);
    assert_eq!(dir.says("absent"), "pending . uncontrolled review");
    assert_eq!(dir.says("present"), "resolved satisfied present store-id");
    dir.configure(&Setup::of(&platform));
    settle(&dir);
    assert_eq!(dir.says("absent"), "resolved not-applied confirmed-absent resend");
}

#[test]
fn a_known_key_that_is_gone_voids_absence_and_presence() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("there@example.com".to_owned()), ..NewAccount::default() });
    let canary = platform
        .truth()
        .accounts
        .iter()
        .find(|a| a.details.email.as_deref() == Some(util::CANARY))
        .unwrap()
        .service_id
        .clone();
    platform.remove(&canary);
    let dir = Dir::of(&platform);
    for email in ["there@example.com", "gone@example.com"] {
        dir.insert(&post(email, &platform, "/api/v1.0/account", &format!(r#"{{"email":"{email}"}}"#)).operation("x"));
    }
    settle(&dir);
    for row in dir.report() {
        assert_eq!(said(&row), "pending . uncontrolled review");
    }
    let check = dir.run(&["check"]);
    assert!(check.code == 1 && check.out.contains("known key was not found"), "{check:?}");
}

#[test]
fn entries_that_share_a_key_share_one_lookup() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    platform.add(NewAccount { email: Some("ann@example.com".to_owned()), ..NewAccount::default() });
    for n in 0..50 {
        dir.insert(&post(&format!("r{n}"), &platform, "/api/v1.0/account", r#"{"email":"ann@example.com"}"#));
    }
    dir.runs(0);
    // One for the random key, two for the known key, two for the fifty.
    assert_eq!((platform.requests(LOOKUP), platform.requests(USERINFO)), (3, 2));
    assert_eq!(dir.count("SELECT count(*) FROM looks"), 50);
    assert_eq!(platform.requests("POST /oauth/token"), 2, "the test's own token, and one for all lookups");
}

#[test]
fn a_settled_ledger_costs_no_request() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    settle(&dir);
    let before = platform.truth().requests;
    dir.runs(0);
    assert_eq!(platform.truth().requests, before);
}

#[test]
fn waiting_goes_on_until_nothing_more_can_be_decided() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1s"), ("confirm_after", "1s")]));
    let now = Moment::now();
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").sent(now).ended(now));
    dir.insert(&Entry::register("elsewhere", "https://api.example", "bob@example.com"));
    // It ends by itself, for no test waits that long for a command.
    assert_eq!(dir.run(&["run", "--wait", "1h"]).code, 4);
    let took = Moment::now().since(now);
    assert!(took > Span::seconds(2), "{took}");
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.count("SELECT count(*) FROM runs"), 1);
}

#[test]
fn waiting_ends_when_the_time_is_up() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").sent(Moment::now()));
    // Not until the window is over: no test waits that long for a command.
    assert_eq!(dir.run(&["run", "--wait", "1s"]).code, 4);
}

#[test]
fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-after");
    dir.insert(&Entry::new("r2", "GET", &platform.url));
    let tables = ["entries", "state", "evidence", "texts", "keys", "runs"];
    let rows = || tables.map(|table| dir.count(&format!("SELECT count(*) FROM {table}")));
    let (bytes, before) = (std::fs::read(dir.file("ledger.db")).unwrap(), rows());
    let ran = dir.run(&["run", "--dry-run", "--report", "out.csv"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("r1\tresolved\tsatisfied\tpresent\tstore-id"), "{ran:?}");
    assert!(ran.out.contains("r2\tresolved\tnot-applied\tno-effect\tnone"), "{ran:?}");
    assert_eq!(rows(), before);
    assert!(std::fs::read(dir.file("ledger.db")).unwrap() == bytes && !dir.file("out.csv").exists());
    assert_eq!(dir.says("r1"), "pending . inconclusive wait");
}

#[test]
fn a_record_that_turns_up_under_watch_is_a_loud_correction() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "1h")]));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    platform.world().repair(Moment::now().0, "r1");
    let ran = dir.run(&["run", "--recheck"]);
    assert!(ran.err.contains("correction: r1"), "{ran:?}");
    let row = dir.row("r1");
    assert!(row["status"] == "resolved" && row["outcome"] == "satisfied", "{row:?}");
    assert!(row["explanation"].starts_with("correction of not-applied"), "{row:?}");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn settled_entries_are_untouched_when_the_watch_is_over() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    settle(&dir);
    let before = dir.row("r1");
    platform.world().repair(Moment::now().0, "r1");
    dir.runs(0);
    assert_eq!(dir.row("r1"), before);
}

#[test]
fn a_server_that_finds_every_key_is_not_believed() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    // By a key that answers do not show.
    let entry = Entry::new("r1", "POST", &format!("{}/api/v1.0/account", platform.url));
    dir.insert(&entry.body(r#"{"user_name":"ann","first_name":"Ann"}"#));
    // A search that ignores what it is asked for.
    let habits = Habits { search: Search::Ignored, ..Habits::default() };
    platform.set_faults(Faults { habits, ..Faults::default() });
    settle(&dir);
    assert_eq!(dir.says("r1"), "pending . uncontrolled review");
    let check = dir.run(&["check"]);
    assert!(check.code == 1 && check.out.contains("random key was found"), "{check:?}");
}
