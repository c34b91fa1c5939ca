//! Proves, through the real binary, what a list's absence may be believed for when a record is nearly the one that was sent, and
//! what an account of before says of a request for consent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, Feature, NewAccount};
use serde_json::{Value, json};

const MUM: &str = "mum@example.com";
const RESEND: &str = "resolved not-applied confirmed-absent resend";
const AMBIGUOUS: &str = "duplicate-risk unknown ambiguous-match review";
const PRESENT: &str = "resolved satisfied present store-id";
const UNOBSERVABLE: &str = "duplicate-risk unknown unobservable ask-privo";

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

/// A platform whose records are shown as these words say (of the sandbox's habits), with a parent.
fn family(dated: bool, habits: Value) -> Platform {
    let platform = Platform::start();
    let made_ms = Some(ago(86_400).0);
    platform.add(NewAccount { email: Some(MUM.into()), made_ms, ..NewAccount::default() });
    let habits = serde_json::from_value(habits).unwrap();
    platform.set_faults(Faults { shows_created_at: dated, habits, ..Faults::default() });
    platform
}

fn child(id: &str, platform: &Platform, name: &str, born: &str) -> Entry {
    let body = json!({"parentEmail": MUM, "first_name": name, "birth_date_yyyymmdd": born});
    Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(&body.to_string())
}

/// A child that nobody of this ledger asked for.
fn listed(platform: &Platform, name: &str, born: &str, made: Moment) -> String {
    platform.add(NewAccount {
        parent_email: Some(MUM.into()),
        given_name: Some(name.into()),
        birth_date_yyyymmdd: Some(born.into()),
        made_ms: Some(made.0),
        ..NewAccount::default()
    })
}

fn settle(dir: &Dir) {
    let ran = dir.run_twice();
    assert!([0, 3, 4].contains(&ran.code), "{ran:?}");
    let verified = dir.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// What is said of a lost child beside one record of the list.
fn beside(dated: bool, name: &str, born: &str, made: Moment) -> String {
    let platform = family(dated, json!({}));
    listed(&platform, name, born, made);
    let dir = Dir::of(&platform);
    dir.insert(&child("r1", &platform, "Kim", "20150101"));
    settle(&dir);
    dir.says("r1")
}

#[test]
fn a_record_that_is_equal_in_part_makes_an_absence_ambiguous() {
    for dated in [true, false] {
        for (name, born) in [("Kim", "20150102"), ("Kim", "20141231"), ("Kimberly", "20150101")] {
            assert_eq!(beside(dated, name, born, ago(30)), AMBIGUOUS, "{name} {born}, dated: {dated}");
        }
    }
    // That it is older is not shown.
    assert_eq!(beside(false, "Kim", "20150102", ago(86_400)), AMBIGUOUS);
}

#[test]
fn a_record_that_is_equal_in_nothing_or_surely_older_leaves_an_absence() {
    for dated in [true, false] {
        assert_eq!(beside(dated, "Zoe", "20160202", ago(30)), RESEND, "dated: {dated}");
    }
    assert_eq!(beside(true, "Kim", "20150102", ago(86_400)), RESEND);
}

/// It was in the list at a look before the request was sent.
#[test]
fn a_near_record_that_was_listed_before_the_request_leaves_an_absence() {
    let platform = family(false, json!({}));
    platform.set_back(Span::seconds(7200));
    listed(&platform, "Kim", "20150102", platform.now());
    let dir = Dir::of(&platform);
    // Equal in its date, so that its look keeps the record.
    dir.insert(&child("r0", &platform, "Pia", "20150102").sent(platform.now() - Span::seconds(60)));
    dir.run_then(&platform);
    platform.set_back(Span::ZERO);
    dir.insert(&child("r1", &platform, "Kim", "20150101"));
    settle(&dir);
    assert_eq!(dir.says("r1"), RESEND);
}

/// Twins bear one date of birth, and each is another's near record.
#[test]
fn a_twin_that_another_operation_asked_for_leaves_an_absence() {
    for (fate, dated) in [("lost-after", true), ("lost-after", false), ("plain", true), ("plain", false)] {
        let platform = family(dated, json!({}));
        let dir = Dir::of(&platform);
        dir.attempt(&platform, child("tim", &platform, "Timo", "20150101"), fate);
        dir.insert(&child("kim", &platform, "Kimo", "20150101"));
        settle(&dir);
        assert_eq!(dir.says("kim"), RESEND, "{fate}, dated: {dated}");
        if fate == "lost-after" {
            assert_eq!(dir.row("tim")["server_id"], platform.truth().per_request["tim"][0].record);
        }
    }
    // Both lost.
    let platform = family(false, json!({}));
    let dir = Dir::of(&platform);
    dir.insert(&child("tim", &platform, "Timo", "20150101"));
    dir.insert(&child("kim", &platform, "Kimo", "20150101"));
    settle(&dir);
    assert_eq!([dir.says("kim"), dir.says("tim")], [RESEND; 2]);
}

/// A twin whose request was refused or never left explains nothing.
#[test]
fn a_twin_that_cannot_have_been_applied_explains_no_near_record() {
    let platform = family(false, json!({}));
    listed(&platform, "Timo", "20150101", ago(30));
    for twin in [
        child("tim", &platform, "Timo", "20150101").answered(400),
        child("tim", &platform, "Timo", "20150101").failure("not_sent"),
    ] {
        let dir = Dir::of(&platform);
        dir.insert(&twin);
        dir.insert(&child("kim", &platform, "Kimo", "20150101"));
        settle(&dir);
        assert_eq!(dir.says("kim"), AMBIGUOUS, "{twin:?}");
    }
}

/// The server shows the record otherwise than it was sent: what it is equal to but for spaces, case or Unicode's form is equal;
/// what cannot be read is not shown; what is moved by a day is near. Nothing of it is ever advised to be sent again.
#[test]
fn what_the_server_shows_otherwise_is_never_sent_again() {
    for (habits, name, right) in [
        (json!({"names": "capitals"}), "Zoë", PRESENT),
        (json!({"names": "decomposed"}), "Zoé", PRESENT),
        (json!({"names": "no-break"}), "Anna Lena", PRESENT),
        (json!({"dates": "dashed"}), "Zoe", PRESENT),
        (json!({"dates": "dotted"}), "Zoe", PRESENT),
        (json!({"dates": "fraction"}), "Zoe", PRESENT),
        (json!({"dates": "zeros"}), "Zoe", PRESENT),
        (json!({"dates": "day-before"}), "Zoe", AMBIGUOUS),
        (json!({"dates": "day-after"}), "Zoe", AMBIGUOUS),
    ] {
        for dated in [true, false] {
            let platform = family(dated, habits.clone());
            let dir = Dir::of(&platform);
            dir.attempt(&platform, child("r1", &platform, name, "20150104"), "lost-after");
            settle(&dir);
            assert_eq!(dir.says("r1"), right, "{habits}, dated: {dated}");
            // By a key of its own, too: what cannot be read differs from nothing.
            let body = json!({"email": "zoe@example.com", "first_name": name, "birth_date_yyyymmdd": "20150104"});
            let keyed = Entry::new("r2", "POST", &format!("{}/api/account", platform.url)).body(&body.to_string());
            let dir = Dir::of(&platform);
            dir.attempt(&platform, keyed, "lost-after");
            settle(&dir);
            let keyed = if right == AMBIGUOUS { "duplicate-risk unknown key-taken review" } else { PRESENT };
            assert_eq!(dir.says("r2"), keyed, "{habits}, dated: {dated}");
        }
    }
}

/// Entities in a name cannot be told from what was sent: nothing is said to be absent for them.
#[test]
fn a_name_with_entities_is_never_sent_again() {
    let platform = family(false, json!({"names": "entities"}));
    let dir = Dir::of(&platform);
    dir.attempt(&platform, child("r1", &platform, "D'Arcy", "20150104"), "lost-after");
    settle(&dir);
    assert_ne!(dir.row("r1")["action"], "resend", "{:?}", dir.row("r1"));
    assert_ne!(dir.row("r1")["outcome"], "not-applied");
}

/// A family whose known child shows every compared field: what the configuration says of it proves the comparisons.
fn proved(platform: &Platform, born: &str) -> Setup {
    let email = "known@control.example";
    let long_ago = Some(ago(86_400).0);
    platform.add(NewAccount { email: Some(email.into()), made_ms: long_ago, ..NewAccount::default() });
    let member = platform.add(NewAccount {
        parent_email: Some(email.into()),
        given_name: Some("Quinn".into()),
        birth_date_yyyymmdd: Some("20140404".into()),
        made_ms: long_ago,
        ..NewAccount::default()
    });
    let mut setup = Setup::of(platform);
    let from = setup.controls.find("[[control]]\nlookup = \"children-of-parent\"").unwrap();
    setup.controls.truncate(from);
    setup.controls.push_str(&format!(
        "[[control]]\nlookup = \"children-of-parent\"\nkey = \"{email}\"\nmember = \"{member}\"\n\
         fields = {{ given_name = \"Quinn\", birth_date = \"{born}\" }}\n"
    ));
    setup
}

#[test]
fn a_control_that_proves_every_comparison_makes_a_near_record_another_one() {
    let platform = family(false, json!({}));
    let dir = Dir::new(&proved(&platform, "20140404"));
    listed(&platform, "Kim", "20150102", ago(30));
    dir.insert(&child("r1", &platform, "Kim", "20150101"));
    settle(&dir);
    assert_eq!(dir.says("r1"), RESEND);
}

#[test]
fn a_control_whose_fields_are_shown_otherwise_voids_every_comparison() {
    let platform = family(false, json!({"dates": "day-before"}));
    let dir = Dir::new(&proved(&platform, "20140404"));
    dir.attempt(&platform, child("r1", &platform, "Kim", "20150104"), "lost-after");
    settle(&dir);
    assert_eq!(dir.says("r1"), "pending . uncontrolled review");
}

fn consent(id: &str, platform: &Platform, eid: &str) -> Entry {
    let principal = json!({"eid": eid, "given_name": "Kim", "birthdate": "20150101"});
    let body = json!({"granter": {"email": MUM}, "principal": principal});
    Entry::new(id, "POST", &format!("{}/s2s/api/v1.0/sandbox/requests", platform.url)).body(&body.to_string())
}

fn account(platform: &Platform, eid: &str, state: Option<&str>) -> String {
    let feature = |state: &str| -> Vec<Feature> {
        serde_json::from_value(json!([{"identifier": "chat", "state": state}])).unwrap()
    };
    platform.add(NewAccount {
        eid: Some(eid.into()),
        given_name: Some("Kim".into()),
        birth_date_yyyymmdd: Some("20150101".into()),
        features: Some(state.map_or(Vec::new(), feature)),
        made_ms: Some(ago(86_400).0),
        ..NewAccount::default()
    })
}

/// worlds/07: the account was there; whether this consent was asked for, and its mail sent, shows only where a feature is pending
/// or on.
#[test]
fn an_account_of_before_says_nothing_of_a_consent_request_unless_a_feature_shows_it() {
    for dated in [true, false] {
        // Whose consent it is that shows, nothing says: the account is there once, and nothing is to be sent again.
        for (state, right) in
            [(None, UNOBSERVABLE), (Some("off"), UNOBSERVABLE), (Some("pending"), PRESENT), (Some("on"), PRESENT)]
        {
            let platform = if dated { Platform::dated() } else { Platform::start() };
            let dir = Dir::new(&Setup::consent(&platform));
            for (id, fate) in [("applied", "lost-after"), ("lost", "lost-before")] {
                let eid = format!("kid-{id}");
                account(&platform, &eid, state);
                dir.attempt(&platform, consent(id, &platform, &eid), fate);
            }
            settle(&dir);
            let said = [dir.says("applied"), dir.says("lost")];
            assert_eq!(said, [right; 2], "dated: {dated}, features {state:?}");
        }
    }
}

/// Until the window is over the rest may still show.
#[test]
fn a_consent_request_for_an_account_of_before_waits_for_its_window() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::consent(&platform).windows(&[("network", "1h")]));
    account(&platform, "kid-1", Some("off"));
    dir.attempt(&platform, consent("r1", &platform, "kid-1"), "lost-before");
    settle(&dir);
    assert_eq!(dir.says("r1"), "pending . unsettled wait");
    dir.configure(&Setup::consent(&platform));
    settle(&dir);
    assert_eq!(dir.says("r1"), UNOBSERVABLE);
}

/// An account that the request itself made shows all that it does.
#[test]
fn an_account_that_the_request_made_shows_the_consent_request() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::consent(&platform).windows(&[("network", "1h")]));
    dir.attempt(&platform, consent("r1", &platform, "kid-1"), "lost-after");
    dir.runs(0);
    assert_eq!(dir.says("r1"), "resolved applied created store-id");
}
