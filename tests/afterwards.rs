//! Proves what holds after a verdict: `verify` finds out any change of evidence or verdict, corrections come first in the
//! report, answers to retries are evidence, a changed row or plan opens an entry again.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use crate::util::{CANARY, Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;

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

#[test]
fn verify_compares_what_was_said_and_by_which_rules() {
    let platform = Platform::start();
    let dir = settled(&platform);
    let db = dir.db();
    db.execute_batch("DROP TRIGGER verdicts_kept; DROP TRIGGER decisions_kept").unwrap();
    let reworded =
        "UPDATE verdicts SET explanation = 'in other words', matched_on = 'the key' WHERE reason = 'present'";
    assert_eq!(db.execute(reworded, []), Ok(1));
    assert_eq!(dir.run(&["verify"]).out.trim(), "2 verdicts decided again, no difference");
    let lost = "(SELECT decision_id FROM verdicts WHERE reason = 'confirmed-absent')";
    assert_eq!(db.execute(&format!("UPDATE decisions SET rules = 0 WHERE id = {lost}"), []), Ok(1));
    db.execute("UPDATE verdicts SET server_id = '4711' WHERE reason = 'confirmed-absent'", []).unwrap();
    let ran = dir.run(&["verify"]);
    assert!(ran.code == 0 && ran.out.contains("1 verdicts of rules version 0 were not decided again"), "{ran:?}");
    assert!(ran.out.contains("1 verdicts decided again, no difference"), "{ran:?}");
    db.execute("UPDATE decisions SET rules = 1", []).unwrap();
    let ran = dir.run(&["verify"]);
    assert!(
        ran.code == 1 && ran.out.contains("stored confirmed-absent (resolved, not-applied, resend, a record)"),
        "{ran:?}"
    );
}

#[test]
fn verify_finds_out_whatever_was_changed() {
    let platform = Platform::start();
    for (table, change) in [
        ("observations", "UPDATE observations SET seen = 'absent', records = NULL WHERE seen = 'present'"),
        ("observations", "UPDATE observations SET known_control = 'missing' WHERE seen = 'absent'"),
        ("observations", "DELETE FROM observations WHERE id = (SELECT max(id) FROM observations)"),
        ("verdicts", "UPDATE verdicts SET action = 'store-id' WHERE reason = 'confirmed-absent'"),
        ("verdicts", "UPDATE verdicts SET server_id = '4711' WHERE reason = 'present'"),
        ("verdicts", "UPDATE verdicts SET decision_id = 4711 WHERE reason = 'present'"),
        ("decisions", "DELETE FROM decisions WHERE id = (SELECT max(id) FROM decisions)"),
        ("runs", "DELETE FROM runs WHERE id IN (SELECT run_id FROM decisions)"),
        ("observations", "UPDATE observations SET run_id = 4711"),
        (
            "observations",
            "DELETE FROM observations WHERE id = (SELECT min(id) FROM observations WHERE seen = 'absent')",
        ),
        ("verdicts", "UPDATE verdicts SET run_id = 4711 WHERE reason = 'present'"),
        ("verdicts", "DELETE FROM verdicts WHERE reason = 'present'"),
        ("readings", "DELETE FROM readings WHERE id = 1"),
        ("links", "DELETE FROM links WHERE entry_id = 1"),
        ("links", "UPDATE links SET entry_id = entry_id + 2 WHERE entry_id = 1"),
        ("standings", "DELETE FROM standings WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET status = 'pending', due_ms = NULL WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET status = 'pending', due_ms = 0 WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET status = NULL, due_ms = NULL WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET status = 'settled' WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET reason = NULL WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET action = NULL WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET verdict_id = NULL WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET reading_id = 4711 WHERE reason = 'confirmed-absent'"),
        ("standings", "UPDATE standings SET reading_id = (SELECT max(id) FROM readings) WHERE entry_id = 1"),
        ("entries", "UPDATE entries SET failure = 'answered', http_status = 201 WHERE id = 1"),
        ("entries", "UPDATE entries SET failure = 'timeout', http_status = NULL WHERE failure = 'answered'"),
        ("entries", "DELETE FROM entries WHERE id = 1"),
        (
            "readings",
            "UPDATE readings SET facts = replace(facts, '\"failure\":\"network\"', '\"failure\":\"not_sent\"')",
        ),
        ("runs", "UPDATE runs SET windows = replace(windows, '\"network\":0', '\"network\":86400000')"),
        ("standings", "UPDATE standings SET status = 'resolved', reason = 'present' WHERE reason = 'confirmed-absent'"),
    ] {
        let dir = settled(&platform);
        let db = dir.db();
        let of = if table == "entries" { "entry" } else { table };
        let triggers = format!(
            "DROP TRIGGER IF EXISTS {of}_kept; DROP TRIGGER IF EXISTS {of}_not_deleted; DROP TRIGGER IF EXISTS intent_deleted;
             DROP TRIGGER IF EXISTS entry_changed;"
        );
        // As most tools open a file: SQLite holds references together only where it is asked to.
        db.pragma_update(None, "foreign_keys", "OFF").unwrap();
        db.execute_batch(&triggers).unwrap();
        assert!(db.execute(change, []).unwrap() > 0, "{change}");
        let ran = dir.run(&["verify"]);
        assert_eq!(ran.code, 1, "{change}: {ran:?}");
        assert!(ran.out.contains(':'), "{change}: {ran:?}");
    }
}

#[test]
fn verify_finds_an_entry_that_went_with_its_standing() {
    let platform = Platform::start();
    for of in ["request_id = 'lost'", "request_id = 'made'", "failure = 'answered'"] {
        let dir = settled(&platform);
        let db = dir.db();
        db.execute_batch("DROP TRIGGER entry_not_deleted").unwrap();
        assert_eq!(db.execute(&format!("DELETE FROM entries WHERE {of}"), []), Ok(1), "{of}");
        let standings: i64 = db.query_row("SELECT count(*) FROM standings", [], |row| row.get(0)).unwrap();
        assert_eq!(standings, 2, "the standing went as well");
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
    for (table, gone) in [("readings", "DELETE FROM readings"), ("verdicts", "DELETE FROM verdicts")] {
        let dir = settled(&platform);
        let db = dir.db();
        db.pragma_update(None, "foreign_keys", "OFF").unwrap();
        let triggers = format!("DROP TRIGGER {table}_not_deleted; DROP TRIGGER verdicts_kept;");
        db.execute_batch(&triggers).unwrap();
        db.execute("UPDATE verdicts SET action = 'review' WHERE entry_id = 2", []).unwrap();
        db.execute(&format!("{gone} WHERE entry_id = 1"), []).unwrap();
        let ran = dir.run(&["verify"]);
        assert_eq!(ran.code, 1, "{gone}: {ran:?}");
        assert!(ran.out.contains("\nmade: ") || ran.out.starts_with("made: "), "{gone}: {ran:?}");
        assert!(ran.out.contains("lost: "), "{gone}: {ran:?}");
        assert!(ran.err.contains("verdicts decided again") && !ran.err.contains("read back"), "{gone}: {ran:?}");
    }
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
fn every_missing_link_is_told() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let body = r#"{"parentEmail":"mum@example.com","email":"kit@example.com","userName":"kit1","firstName":"Kit"}"#;
    dir.insert(&Entry::new("r1", "POST", &format!("{}/api/account", platform.url)).body(body));
    dir.run(&["run"]);
    assert_eq!(dir.run(&["verify"]).code, 0);
    let db = dir.db();
    let mut statement = db.prepare("SELECT hex(link) FROM links").unwrap();
    let links: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(links.len(), 5);
    for link in links {
        db.execute("DELETE FROM links WHERE hex(link) = ?", [&link]).unwrap();
        let verified = dir.run(&["verify"]);
        assert!(verified.code == 1 && verified.out.contains("a link"), "{verified:?}");
        db.execute("INSERT INTO links (link, entry_id) VALUES (unhex(?), 1)", [&link]).unwrap();
    }
}
