//! Proves, through the real binary, what becomes of rows under one operation id that are not one request: `NULL` as a word, a
//! trace id, 32 zeros. Each person's request is an operation of its own, and what one was answered proves nothing for another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::collections::BTreeSet;

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;

const RESEND: &str = "resolved not-applied confirmed-absent resend";
const REVIEW: &str = "resolved not-applied confirmed-absent review";
const PRESENT: &str = "resolved satisfied present store-id";
const REMOVED: &str = "duplicate-risk unknown removed-since review";

/// What writers put into the column by mistake, and what an infrastructure gives to more than one request.
const IDS: [&str; 4] = ["NULL", "undefined", "00000000000000000000000000000000", "4bf92f3577b34da6a3ce929d0e0e4736"];

const PEOPLE: [&str; 4] = ["p1", "p2", "p3", "p4"];

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

fn person(name: &str, platform: &Platform, operation: &str) -> Entry {
    let body =
        format!(r#"{{"email":"{name}@example.com","first_name":"Name{name}","birth_date_yyyymmdd":"19900102"}}"#);
    let url = format!("{}/api/v1.0/account", platform.url);
    Entry::new(name, "POST", &url).body(&body).operation(operation)
}

fn child(name: &str, platform: &Platform, operation: &str) -> Entry {
    let body =
        format!(r#"{{"parentEmail":"mum@example.com","first_name":"Name{name}","birth_date_yyyymmdd":"20150101"}}"#);
    Entry::new(name, "POST", &format!("{}/api/account", platform.url)).body(&body).operation(operation)
}

fn family(platform: &Platform) -> Dir {
    let made_ms = Some(ago(86_400).0);
    platform.add(NewAccount { email: Some("mum@example.com".into()), made_ms, ..NewAccount::default() });
    Dir::of(platform)
}

fn answered(dir: &Dir, platform: &Platform, entry: Entry) {
    let sent = platform.send(&entry.text("request_id"), "POST", &entry.path(), &entry.text("body"), "plain");
    dir.insert(&entry.answered(sent.unwrap().0).sent(ago(30)).ended(Moment::now()));
}

fn settle(dir: &Dir) {
    let ran = dir.run_twice();
    assert!([0, 3].contains(&ran.code), "{ran:?}");
    let verified = dir.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

fn for_resend(dir: &Dir) -> BTreeSet<String> {
    let mut rows = util::rows(&dir.run(&["report", "--for", "resend"]).out);
    // What may be sent again stands after what must.
    rows.retain(|row| row["action"] == "resend");
    let ids: BTreeSet<String> = rows.iter().map(|row| row["request_id"].clone()).collect();
    assert_eq!(ids.len(), rows.len(), "one row for each operation");
    ids
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn each_of_four_people_under_one_id_is_to_be_sent_again() {
    let platform = Platform::start();
    for id in IDS {
        let dir = Dir::of(&platform);
        PEOPLE.iter().for_each(|name| dir.insert(&person(name, &platform, id)));
        settle(&dir);
        assert!(PEOPLE.iter().all(|name| dir.says(name) == RESEND), "{id}: {:?}", dir.report());
        assert_eq!(for_resend(&dir), set(&PEOPLE), "{id}");
    }
}

/// The answered one is evidence for itself alone. That it succeeded, though, may mean that it is a correction of another.
#[test]
fn an_answer_to_one_of_four_people_says_nothing_of_the_record_of_another() {
    for (order, id) in IDS.into_iter().enumerate() {
        let platform = Platform::start();
        let dir = Dir::of(&platform);
        let lost = || PEOPLE[1..].iter().for_each(|name| dir.insert(&person(name, &platform, id)));
        if order % 2 == 0 {
            lost();
        }
        answered(&dir, &platform, person("p1", &platform, id));
        if order % 2 == 1 {
            lost();
        }
        settle(&dir);
        for name in &PEOPLE[1..] {
            let said = dir.says(name);
            assert!(said.starts_with("resolved not-applied confirmed-absent"), "{id}, {name}: {said}");
            assert_eq!(said, REVIEW, "{id}, {name}");
        }
        assert_eq!(dir.report().len(), 3, "the answered one is evidence");
    }
}

/// The same when the answer is recorded after the verdict: the advice is taken back.
#[test]
fn an_answer_to_another_request_of_the_id_turns_resend_into_review() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    PEOPLE[1..].iter().for_each(|name| dir.insert(&person(name, &platform, "undefined")));
    settle(&dir);
    assert_eq!(for_resend(&dir), set(&PEOPLE[1..]));
    answered(&dir, &platform, person("p1", &platform, "undefined"));
    assert_eq!(for_resend(&dir), set(&[]));
    settle(&dir);
    assert!(PEOPLE[1..].iter().all(|name| dir.says(name) == REVIEW), "{:?}", dir.report());
}

/// What was refused corrects nothing.
#[test]
fn a_refusal_of_another_request_of_the_id_leaves_resend() {
    let platform = Platform::start();
    for status in [400, 412] {
        let dir = Dir::of(&platform);
        PEOPLE[1..].iter().for_each(|name| dir.insert(&person(name, &platform, "undefined")));
        dir.insert(&person("p1", &platform, "undefined").answered(status));
        settle(&dir);
        assert!(PEOPLE[1..].iter().all(|name| dir.says(name) == RESEND), "{status}: {:?}", dir.report());
    }
}

#[test]
fn one_applied_among_people_under_one_id_makes_the_others_a_persons_to_review() {
    for id in IDS {
        let platform = Platform::start();
        let dir = Dir::of(&platform);
        dir.attempt(&platform, person("p1", &platform, id), "lost-after");
        PEOPLE[1..].iter().for_each(|name| dir.insert(&person(name, &platform, id)));
        settle(&dir);
        assert_eq!(dir.says("p1"), PRESENT, "{id}");
        assert!(PEOPLE[1..].iter().all(|name| dir.says(name) == REVIEW), "{id}: {:?}", dir.report());
        assert_eq!(for_resend(&dir), set(&[]));
    }
}

/// What became of one of them is not known: its record shows another name. It may be the correction of another.
#[test]
fn one_that_may_be_applied_makes_the_others_of_its_id_a_persons_to_review() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let name = Some("Other".to_owned());
    platform.add(NewAccount { email: Some("p1@example.com".into()), given_name: name, ..NewAccount::default() });
    PEOPLE.iter().for_each(|name| dir.insert(&person(name, &platform, "undefined")));
    settle(&dir);
    assert_eq!(dir.says("p1"), "duplicate-risk unknown key-taken review");
    assert!(PEOPLE[1..].iter().all(|name| dir.says(name) == REVIEW), "{:?}", dir.report());
}

/// One of them is still in doubt: until it is decided, none is sent again.
#[test]
fn one_in_doubt_lets_the_others_of_its_id_wait() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    PEOPLE[1..].iter().for_each(|name| dir.insert(&person(name, &platform, "undefined").failure("not_sent")));
    assert_eq!(dir.run_twice().code, 0);
    assert_eq!(for_resend(&dir), set(&PEOPLE[1..]));
    dir.insert(&person("p1", &platform, "undefined").sent(Moment::now()));
    assert_eq!(for_resend(&dir), set(&[]));
    assert_eq!(dir.run_twice().code, 4);
    assert!(PEOPLE[1..].iter().all(|name| dir.says(name) == "pending . unsettled wait"), "{:?}", dir.report());
    assert_eq!(for_resend(&dir), set(&[]));
    dir.configure(&Setup::of(&platform));
    settle(&dir);
    assert_eq!(for_resend(&dir), set(&PEOPLE));
}

#[test]
fn two_children_of_a_parent_under_one_id_both_applied_have_each_its_record() {
    for id in IDS {
        let platform = Platform::dated();
        let dir = family(&platform);
        for name in ["k1", "k2"] {
            dir.attempt(&platform, child(name, &platform, id), "lost-after");
        }
        settle(&dir);
        for name in ["k1", "k2"] {
            let row = dir.row(name);
            assert!(row["status"] == "resolved" && row["action"] == "store-id", "{id}: {row:?}");
            assert_eq!(row["server_id"], platform.truth().per_request[name][0].record, "{id}");
        }
    }
}

/// A child without a key of its own is not unique: under a shared id it is never advised to be sent again.
#[test]
fn of_two_children_under_one_id_the_lost_one_is_a_persons_to_review() {
    for dated in [true, false] {
        let platform = if dated { Platform::dated() } else { Platform::start() };
        let dir = family(&platform);
        dir.attempt(&platform, child("k1", &platform, IDS[3]), "lost-after");
        dir.insert(&child("k2", &platform, IDS[3]));
        settle(&dir);
        assert_eq!((dir.says("k2").as_str(), dir.row("k1")["action"].as_str()), (REVIEW, "store-id"));
        assert_eq!(dir.row("k1")["server_id"], platform.truth().per_request["k1"][0].record);
    }
}

#[test]
fn of_two_children_under_one_id_the_answered_one_says_nothing_of_the_other() {
    let platform = Platform::start();
    let dir = family(&platform);
    answered(&dir, &platform, child("k1", &platform, IDS[3]));
    dir.insert(&child("k2", &platform, IDS[3]));
    settle(&dir);
    assert_eq!(dir.says("k2"), REVIEW);
}

#[test]
fn two_children_under_one_id_both_lost_are_a_persons_to_review() {
    let platform = Platform::start();
    let dir = family(&platform);
    ["k1", "k2"].iter().for_each(|name| dir.insert(&child(name, &platform, IDS[0])));
    settle(&dir);
    assert_eq!([dir.says("k1"), dir.says("k2")], [REVIEW; 2]);
    assert_eq!(for_resend(&dir), set(&[]));
}

/// A retry that shows a field or a key more, or less, is the same request.
#[test]
fn a_retry_with_a_field_or_a_key_more_or_less_is_a_retry() {
    let email = r#""email":"ann@example.com""#;
    let bodies = [
        (format!("{{{email},\"first_name\":\"Ann\"}}"), format!("{{{email}}}")),
        (format!("{{{email}}}"), format!("{{{email},\"birth_date_yyyymmdd\":\"19900102\"}}")),
        (format!("{{{email},\"user_name\":\"ann1\"}}"), format!("{{{email}}}")),
        (format!("{{{email}}}"), format!("{{{email},\"user_name\":\"ann1\",\"first_name\":\"Ann\"}}")),
        // Normalised, they are equal.
        (
            format!("{{{email},\"first_name\":\"Ann\"}}"),
            r#"{"email":" ANN@example.com","first_name":"ANN "}"#.to_owned(),
        ),
    ];
    for (first, second) in bodies {
        let platform = Platform::start();
        let url = format!("{}/api/v1.0/account", platform.url);
        let entry = |id: &str, body: &str| Entry::new(id, "POST", &url).body(body).operation("op");
        let dir = Dir::of(&platform);
        dir.insert(&entry("a/1", &first));
        dir.insert(&entry("a/2", &second).sent(ago(50)));
        settle(&dir);
        assert_eq!([dir.says("a/1"), dir.says("a/2")], [RESEND; 2], "{first} {second}");
        assert_eq!(for_resend(&dir).len(), 1, "one operation: {first} {second}");

        let dir = Dir::of(&platform);
        dir.insert(&entry("a/1", &first));
        answered(&dir, &platform, entry("a/2", &second));
        settle(&dir);
        let row = dir.row("a/1");
        assert_eq!((&*row["status"], &*row["outcome"]), ("resolved", "satisfied"), "{first} {second}: {row:?}");
    }
}

/// With another value it is another request, whatever its id.
#[test]
fn a_corrected_field_is_another_request() {
    let platform = Platform::start();
    let dir = family(&platform);
    dir.insert(&child("k3", &platform, "op"));
    answered(&dir, &platform, child("k4", &platform, "op"));
    settle(&dir);
    // Lost for sure, and perhaps corrected: the record is "k4".
    assert_eq!(dir.says("k3"), REVIEW);
    assert!(dir.row("k3")["server_id"].is_empty());
}

/// A row without a body may be an attempt of each, and counts for each: its success may have made any of the records.
#[test]
fn a_bare_row_counts_for_every_request_of_its_id() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let bare = |id: &str| Entry::new(id, "POST", &format!("{}/api/v1.0/account", platform.url)).operation("undefined");
    ["p1", "p2"].iter().for_each(|name| dir.insert(&person(name, &platform, "undefined")));
    dir.insert(&bare("bare").answered(201));
    settle(&dir);
    assert_eq!([dir.says("p1"), dir.says("p2")], [REMOVED; 2]);

    // In doubt, it may still be applied for either.
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    ["p1", "p2"].iter().for_each(|name| dir.insert(&person(name, &platform, "undefined").sent(ago(7200))));
    dir.insert(&bare("bare").sent(Moment::now()));
    let ran = dir.run_twice();
    assert_eq!(ran.code, 3, "the bare row cannot be read: {ran:?}");
    for name in ["p1", "p2"] {
        assert!(dir.says(name).starts_with("pending . unsettled"), "{}", dir.says(name));
    }
}

/// Two requests that nothing can look up, under one id, of which one was answered.
#[test]
fn a_shadow_account_that_was_answered_says_nothing_of_another_call() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let url = format!("{}/api/account/shadow", platform.url);
    dir.insert(&Entry::new("shadow", "POST", &url).body(r#"{"roleIdentifier":"x"}"#).operation("t").answered(201));
    dir.insert(&person("p1", &platform, "t"));
    settle(&dir);
    assert_eq!(dir.says("p1"), REVIEW, "it is not there, and another request of the id succeeded");
}

/// Whoever looks is told: `import` of the rows, `check` of the ledger, `show` of an entry.
#[test]
fn an_id_that_was_given_to_several_requests_is_told() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for name in ["p1", "p2"] {
        dir.insert(&person(name, &platform, "trace"));
        let first = person(name, &platform, "trace");
        let again = Entry::new(&format!("{name}/again"), "POST", &first.text("url")).body(&first.text("body"));
        dir.insert(&again.operation("trace"));
    }
    dir.insert(&person("p3", &platform, "own"));
    let checked = dir.run(&["check"]);
    assert!(checked.out.contains("1 operation id was given to several requests"), "{checked:?}");
    settle(&dir);
    let shown = |id: &str| serde_json::from_str::<serde_json::Value>(&dir.run(&["show", id, "--json"]).out).unwrap();
    assert_eq!(shown("p1")["shares_id_with"], serde_json::json!(["p2", "p2/again"]));
    assert_eq!(shown("p3")["shares_id_with"], serde_json::json!([]));
    let text = dir.run(&["show", "p2"]).out;
    assert!(text.contains("given to other requests, too: p1, p1/again"), "{text}");

    let other = Dir::of(&platform);
    let line = |operation: &str, name: &str| {
        let body = format!(r#"{{\"email\":\"{name}@example.com\",\"first_name\":\"Ann\"}}"#);
        format!(
            r#"{{"operation_id":"{operation}","method":"POST","url":"{}/api/v1.0/account","body":"{body}","sent_at":"2026-11-01T00:00:00Z","failure":"timeout"}}"#,
            platform.url
        )
    };
    let lines =
        [line("trace", "ann"), line("trace", "bob"), line("trace", "ann"), line("own", "eve")].join("\n") + "\n";
    std::fs::write(other.file("lost.jsonl"), lines).unwrap();
    let imported = other.run(&["import", "lost.jsonl", "--format", "jsonl", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&imported.out).unwrap();
    let notes = shown.to_string();
    assert!(notes.contains("given to another request before"), "{imported:?}");
    let noted = shown["files"][0]["notes"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(note, _)| note.contains("given to another"))
        .unwrap();
    assert_eq!(noted.1, 1, "bob's alone: eve has an id of her own: {imported:?}");
}

/// What was never sent, and is answered with success when it is, is there: also under an id that another request bears.
#[test]
fn an_answer_that_comes_after_never_sent_says_that_it_is_there() {
    let platform = Platform::start();
    let dir = family(&platform);
    dir.insert(&child("c1", &platform, "trace").failure("not_sent"));
    dir.insert(&child("c2", &platform, "trace"));
    dir.run_twice();
    assert_eq!(dir.says("c1"), "resolved not-applied never-sent review");
    let first = child("c1", &platform, "trace");
    let again = Entry::new("c1/again", "POST", &first.text("url")).body(&first.text("body")).operation("trace");
    answered(&dir, &platform, again);
    // Nobody has to be looked up for that, whatever the controls say.
    let mut without = Setup::of(&platform);
    without.controls =
        "[[control]]\nlookup = \"children-of-parent\"\nkey = \"nobody@example.com\"\nmember = \"x\"\n".to_owned();
    dir.configure(&without);
    dir.run_twice();
    assert_eq!(dir.says("c1"), "resolved satisfied present none");
}
