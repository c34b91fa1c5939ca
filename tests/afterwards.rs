//! Proves what holds after a verdict: `verify` finds out any change of evidence or verdict, corrections come first in the
//! report, answers to retries are evidence, a changed row or plan opens an entry again.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use crate::util::{CANARY, Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;
use rusqlite::Connection;

fn settled(platform: &Platform) -> Dir {
    let dir = Dir::of(platform);
    dir.attempt(platform, Entry::register("lost", &platform.url, "ann@example.com"), "lost-before");
    dir.attempt(platform, Entry::register("made", &platform.url, "bob@example.com"), "lost-after");
    dir.insert(&Entry::register("told", &platform.url, "cat@example.com").answered(201));
    dir.runs(4);
    dir.due();
    dir.runs(0);
    dir
}

#[test]
fn verify_finds_no_difference_in_an_honest_ledger() {
    let platform = Platform::start();
    let dir = settled(&platform);
    let ran = dir.run(&["verify"]);
    assert_eq!((ran.code, ran.out.trim()), (0, "2 verdicts decided again, no difference"));
}

/// Lets a test write what the ledger keeps.
fn unkept(dir: &Dir) -> Connection {
    let db = dir.db();
    // As most tools open a file: SQLite holds references together only where it is asked to.
    db.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let mut statement = db.prepare("SELECT name FROM main.sqlite_schema WHERE type = 'trigger'").unwrap();
    let triggers: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    drop(statement);
    for trigger in triggers.iter().filter(|name| *name != "entry_recorded" && *name != "intent_deleted") {
        db.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
    }
    db
}

/// The evidence of the verdict that an entry stands by.
fn said(reason: &str) -> String {
    format!("id = (SELECT said_id FROM state WHERE reason = '{reason}')")
}

#[test]
fn verify_compares_what_was_said_and_by_which_rules() {
    let platform = Platform::start();
    let dir = settled(&platform);
    let db = unkept(&dir);
    let reworded =
        "UPDATE evidence SET doc = json_set(doc, '$[0][0][4][6]', 'the key', '$[0][0][4][7]', 'in other words')";
    assert_eq!(db.execute(&format!("{reworded} WHERE {}", said("present")), []), Ok(1));
    assert_eq!(dir.run(&["verify"]).out.trim(), "2 verdicts decided again, no difference");
    let lost = said("confirmed-absent");
    assert_eq!(db.execute(&format!("UPDATE evidence SET rules = 0 WHERE {lost}"), []), Ok(1));
    let record = format!("UPDATE evidence SET doc = json_set(doc, '$[0][0][4][5]', '4711') WHERE {lost}");
    assert_eq!(db.execute(&record, []), Ok(1));
    let ran = dir.run(&["verify"]);
    assert!(ran.code == 0 && ran.out.contains("1 verdicts of rules version 0 were not decided again"), "{ran:?}");
    assert!(ran.out.contains("1 verdicts decided again, no difference"), "{ran:?}");
    db.execute("UPDATE evidence SET rules = 1", []).unwrap();
    let ran = dir.run(&["verify"]);
    assert!(
        ran.code == 1 && ran.out.contains("stored confirmed-absent (resolved, not-applied, resend, a record)"),
        "{ran:?}"
    );
}

#[test]
fn verify_finds_out_whatever_was_changed() {
    let platform = Platform::start();
    let (lost, made) = (said("confirmed-absent"), said("present"));
    // Of a look: 5 what was seen (1: absent, 2: several, 3: inconclusive), 7 its records, 9 its controls (3: missing).
    let doc = |change: &str, of: &str| format!("UPDATE evidence SET doc = {change} WHERE {of}");
    let of_lost = |change: &str| format!("UPDATE state SET {change} WHERE reason = 'confirmed-absent'");
    let first = "id = (SELECT min(evidence_id) FROM looks WHERE entry_id = 1)";
    for change in [
        doc("json_set(doc, '$[0][0][3][0][5]', 1, '$[0][0][3][0][7]', json('[]'))", &made),
        doc("json_set(doc, '$[0][0][3][0][9][0]', 3)", &lost),
        doc("json_set(doc, '$[0][0][3]', json('[]'))", &lost),
        doc("json_set(doc, '$[0][0][4][4]', 5)", &lost),
        doc("json_set(doc, '$[0][0][4][5]', '4711')", &made),
        doc("json_set(doc, '$[0][0][4]', json('null'))", &made),
        doc("json_set(doc, '$[0][0][0]', 3)", &made),
        doc("json_set(doc, '$[0][0][2]', json('null'))", first),
        format!("UPDATE evidence SET after = NULL WHERE {lost}"),
        "UPDATE evidence SET run_id = 4711".to_owned(),
        format!("DELETE FROM evidence WHERE {lost}"),
        format!("DELETE FROM evidence WHERE {first}"),
        "DELETE FROM runs WHERE id IN (SELECT run_id FROM evidence)".to_owned(),
        "UPDATE runs SET windows = replace(windows, '\"network\":0', '\"network\":86400000')".to_owned(),
        "UPDATE texts SET text = replace(text, '\"failure\":\"network\"', '\"failure\":\"not_sent\"')".to_owned(),
        "DELETE FROM keys".to_owned(),
        "UPDATE keys SET group_id = group_id + 2".to_owned(),
        "DELETE FROM state WHERE reason = 'confirmed-absent'".to_owned(),
        of_lost("status = 'pending', due_ms = NULL"),
        of_lost("status = 'pending', due_ms = 0"),
        of_lost("status = NULL, due_ms = NULL"),
        of_lost("status = 'resolved', reason = 'present'"),
        of_lost("reason = NULL"),
        of_lost("action = NULL"),
        of_lost("said_id = NULL"),
        of_lost("head_id = (SELECT min(id) FROM evidence)"),
        of_lost("looks = looks + 1"),
        of_lost("group_id = 4711"),
        "DELETE FROM entries WHERE id = 1".to_owned(),
    ] {
        let dir = settled(&platform);
        assert!(unkept(&dir).execute(&change, []).unwrap() > 0, "{change}");
        let ran = dir.run(&["verify"]);
        assert_eq!(ran.code, 1, "{change}: {ran:?}");
        assert!(ran.out.contains(':'), "{change}: {ran:?}");
    }
}

#[test]
fn verify_finds_an_entry_that_went_with_where_it_stood() {
    let platform = Platform::start();
    // An answer on which no verdict rests is in no evidence.
    for of in ["request_id = 'lost'", "request_id = 'made'"] {
        let dir = settled(&platform);
        let db = unkept(&dir);
        assert_eq!(db.execute(&format!("DELETE FROM entries WHERE {of}"), []), Ok(1), "{of}");
        assert_eq!(dir.count("SELECT count(*) FROM state"), 2, "where it stood went as well");
        let ran = dir.run(&["verify"]);
        assert!(ran.code == 1 && ran.out.contains(": the entry is not there"), "{of}: {ran:?}");
    }
}

#[test]
fn what_a_writer_may_take_back_leaves_no_difference() {
    let platform = Platform::start();
    let dir = settled(&platform);
    let intent = |id: &str, body: &str| {
        let url = format!("{}/api/v1.0/account", platform.url);
        dir.insert(&Entry::new(id, "POST", &url).body(body).failure("intent"));
    };
    intent("broken", "{");
    dir.insert(&Entry::new("was-bad", "POST", &format!("{}/api/v1.0/account", platform.url)).body("{"));
    dir.run(&["run"]);
    assert_eq!(dir.says("broken"), "duplicate-risk unknown bad-row review");
    let db = dir.db();
    intent("unseen", r#"{"email":"eve@example.com"}"#);
    db.execute("UPDATE entries SET failure = 'intent' WHERE request_id = 'was-bad'", []).unwrap();
    let gone = "DELETE FROM entries WHERE request_id IN ('broken', 'was-bad', 'unseen')";
    assert_eq!(db.execute(gone, []), Ok(3));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn verify_goes_on_past_what_is_missing() {
    let platform = Platform::start();
    let dir = settled(&platform);
    let db = unkept(&dir);
    db.execute(&format!("UPDATE evidence SET doc = json_set(doc, '$[0][0][4][4]', 7) WHERE {}", said("present")), [])
        .unwrap();
    db.execute("DELETE FROM evidence WHERE id IN (SELECT evidence_id FROM turns WHERE entry_id = 1)", []).unwrap();
    let ran = dir.run(&["verify"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("\nmade: ") || ran.out.starts_with("made: "), "{ran:?}");
    assert!(ran.out.contains("lost: "), "{ran:?}");
    assert!(ran.err.contains("verdicts decided again") && !ran.err.contains("read back"), "{ran:?}");
}

#[test]
fn corrections_come_first_in_the_report() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "1h")]));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    dir.attempt(&platform, Entry::register("r2", &platform.url, "bob@example.com"), "lost-before");
    dir.runs(4);
    dir.due();
    dir.runs(0);
    platform.world().repair(Moment::now().0, "r2");
    dir.run(&["run", "--recheck"]);
    let order: Vec<String> = dir.report().iter().map(|row| row["request_id"].clone()).collect();
    assert_eq!(order, ["r2", "r1"]);
}

#[test]
fn a_record_of_the_advised_resend_is_no_correction() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "1h")]));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    dir.runs(4);
    dir.due();
    dir.runs(0);
    let resend = Entry::register("r2", &platform.url, "ann@example.com").operation("r1");
    platform.send("r2", "POST", "/api/v1.0/account", &resend.text("body"), "plain").unwrap();
    dir.insert(&resend.answered(201).sent(Moment::now()));
    let ran = dir.run(&["run", "--recheck"]);
    assert!(!ran.err.contains("correction"), "{ran:?}");
    assert_eq!(dir.says("r1"), "resolved satisfied present store-id");
}

#[test]
fn a_retry_that_was_told_the_email_exists_keeps_an_absence_from_being_believed() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com").operation("o"), "lost-before");
    dir.insert(&Entry::register("r2", &platform.url, "ann@example.com").operation("o").answered(412));
    dir.runs(4);
    dir.due();
    dir.runs(3);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown removed-since review");
}

#[test]
fn a_plan_that_learns_a_call_opens_what_it_did_not_know() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let body = r#"{"email":"ann@example.com"}"#;
    dir.insert(&Entry::new("r1", "POST", &format!("{}/api/v2/people", platform.url)).body(body));
    dir.runs(3);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown no-plan review");
    platform.add(NewAccount { email: Some("ann@example.com".into()), ..NewAccount::default() });
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    let plan = plan.replace("\"/api/v1.0/account\", \"/api/account\"]\nneeds", "\"/api/v2/people\"]\nneeds");
    std::fs::write(dir.file("mine.toml"), plan).unwrap();
    dir.configure(&Setup { plan: "mine.toml".to_owned(), ..Setup::of(&platform) });
    dir.runs(0);
    assert!(dir.says("r1").starts_with("resolved satisfied present"), "{}", dir.says("r1"));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn many_children_of_one_parent_are_told_apart() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let children = 300;
    for child in 0..children {
        let given = format!("Kid{child}");
        let account = NewAccount {
            given_name: Some(given.clone()),
            birth_date_yyyymmdd: Some("20150102".into()),
            parent_email: Some(CANARY.into()),
            ..NewAccount::default()
        };
        if child % 2 == 0 {
            platform.add(account);
        }
        let body = format!(r#"{{"parentEmail":"{CANARY}","firstName":"{given}","birthDate_YYYYMMDD":"20150102"}}"#);
        let entry = Entry::new(&format!("r{child}"), "POST", &format!("{}/api/account", platform.url)).body(&body);
        dir.insert(&entry.sent(Moment::now() - Span::seconds(60)));
    }
    dir.runs(4);
    dir.due();
    dir.runs(0);
    let of = |reason: &str| dir.report().iter().filter(|row| row["reason"] == reason).count();
    assert_eq!((of("present"), of("confirmed-absent")), (children / 2, children / 2));
}

/// Whatever groups an entry with others is missed: its operation, each of its keys, the list that it stands in, and the
/// record of that list's owner.
#[test]
fn every_missing_key_is_told() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let body = r#"{"parentEmail":"mum@example.com","email":"kit@example.com","userName":"kit1","firstName":"Kit"}"#;
    dir.insert(&Entry::new("r1", "POST", &format!("{}/api/account", platform.url)).body(body));
    dir.run(&["run"]);
    assert_eq!(dir.run(&["verify"]).code, 0);
    let db = dir.db();
    let mut statement = db.prepare("SELECT key FROM keys").unwrap();
    let keys: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(keys.len(), 5);
    for key in keys {
        db.execute("DELETE FROM keys WHERE key = ?", [key]).unwrap();
        let verified = dir.run(&["verify"]);
        assert!(verified.code == 1 && verified.out.contains("a key of it"), "{verified:?}");
        db.execute("INSERT INTO keys (key, group_id) VALUES (?, 1)", [key]).unwrap();
    }
}
