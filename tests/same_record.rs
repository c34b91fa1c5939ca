//! Deletes and updates beside others that touch the same record, through the real binary: whether what is there is the
//! record of before.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, Feature, NewAccount};

fn account(email: &str) -> NewAccount {
    NewAccount { email: Some(email.to_owned()), ..NewAccount::default() }
}

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

/// Goes back to so many hours ago.
fn hours_ago(platform: &Platform, hours: i64) {
    platform.set_back(Span::seconds(hours * 3600));
}

/// Two runs by the platform's clock.
fn run_twice_then(dir: &Dir, platform: &Platform) {
    for _ in 0..2 {
        dir.due();
        dir.run_then(platform);
    }
}

/// The delete of a child's account was lost and never arrived. Then consent is asked for the same `eid` again: 200, for the
/// account is there still.
#[test]
fn a_lost_delete_before_a_repeated_consent_request_is_not_satisfied() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    platform.add(NewAccount { eid: Some("e1".into()), made_ms: Some(ago(9000).0), ..NewAccount::default() });
    let url = format!("{}/s2s/api/v1.0/sandbox", platform.url);
    hours_ago(&platform, 2);
    dir.attempt(&platform, Entry::new("d1", "DELETE", &format!("{url}/accounts/eid/e1")), "lost-before");
    hours_ago(&platform, 1);
    let body = r#"{"granter":{"email":"mum@example.com"},"principal":{"eid":"e1"}}"#;
    dir.attempt(&platform, Entry::new("c1", "POST", &format!("{url}/requests")).body(body), "plain");
    hours_ago(&platform, 0);
    dir.run_twice();
    assert!(!dir.says("d1").contains("recreated"), "{}", dir.says("d1"));
}

/// The account was seen, with its id, before the repeated request was sent.
#[test]
fn the_same_id_before_and_after_a_repeated_consent_request_is_the_same_record() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform).windows(&[("watch", "7d")]));
    platform.add(NewAccount { eid: Some("e1".into()), made_ms: Some(ago(90_000).0), ..NewAccount::default() });
    let url = format!("{}/s2s/api/v1.0/sandbox", platform.url);
    hours_ago(&platform, 3);
    dir.attempt(&platform, Entry::new("d1", "DELETE", &format!("{url}/accounts/eid/e1")), "lost-before");
    hours_ago(&platform, 2);
    run_twice_then(&dir, &platform);
    assert_eq!(dir.says("d1"), "resolved not-applied not-deleted review");
    hours_ago(&platform, 1);
    let body = r#"{"granter":{"email":"mum@example.com"},"principal":{"eid":"e1"}}"#;
    dir.attempt(&platform, Entry::new("c1", "POST", &format!("{url}/requests")).body(body), "plain");
    hours_ago(&platform, 0);
    dir.run(&["run", "--recheck"]);
    assert!(!dir.says("d1").contains("recreated"), "{}", dir.says("d1"));
}

/// Features were revoked by the retry (200); the first attempt was lost. The parent has switched one on again since.
#[test]
fn a_revocation_that_a_retry_was_told_to_be_done_is_not_advised_again() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::consent(&platform));
    let on: Feature = serde_json::from_str(r#"{"identifier":"chat","state":"on"}"#).unwrap();
    let sid = platform.add(NewAccount {
        eid: Some("e1".into()),
        features: Some(vec![on]),
        made_ms: Some(ago(9000).0),
        ..NewAccount::default()
    });
    let url = format!("{}/s2s/api/v1.0/sandbox/accounts/sid/{sid}/g1/features/revoke", platform.url);
    let entry = |id: &str| Entry::new(id, "POST", &url).operation("o").body(r#"{"features":["chat"]}"#);
    dir.insert(&entry("r1").sent(ago(600)).ended(ago(600)));
    dir.insert(&entry("r2").answered(200).sent(ago(500)).ended(ago(500)));
    dir.run_twice();
    assert!(!dir.says("r1").contains("not-applied"), "{}", dir.says("r1"));
}

/// A delete was lost; "not-deleted, review". Later somebody registers with the email again, and that times out.
#[test]
fn a_create_sent_after_the_record_was_seen_does_not_unsettle_the_delete() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "7d")]));
    platform.add(NewAccount { made_ms: Some(ago(90_000).0), ..account("ann@example.com") });
    let delete = Entry::new("d1", "DELETE", &format!("{}/api/v1.0/account?email=ann@example.com", platform.url));
    hours_ago(&platform, 3);
    dir.attempt(&platform, delete, "lost-before");
    hours_ago(&platform, 2);
    run_twice_then(&dir, &platform);
    assert_eq!(dir.says("d1"), "resolved not-applied not-deleted review");
    hours_ago(&platform, 1);
    dir.attempt(&platform, Entry::register("c1", &platform.url, "ann@example.com"), "lost-before");
    hours_ago(&platform, 0);
    dir.run(&["run", "--recheck"]);
    assert_eq!(dir.says("d1"), "resolved not-applied not-deleted review");
}

/// The plan is changed so that it names records by another id.
#[test]
fn an_id_of_before_under_another_plan_is_no_other_record() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    hours_ago(&platform, 3);
    dir.attempt(&platform, Entry::register("c1", &platform.url, "ann@example.com"), "lost-after");
    hours_ago(&platform, 2);
    dir.run_then(&platform);
    assert!(dir.says("c1").starts_with("resolved "), "{}", dir.says("c1"));
    platform.world().set_faults(Faults::default());
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    let changed = plan.replacen(
        r#"{ use = "account", key = "$.email" }"#,
        r#"{ use = "account", key = "$.email", id = "$.email" }"#,
        1,
    );
    assert_ne!(changed, plan);
    std::fs::write(dir.file("mine.toml"), changed).unwrap();
    let setup = Setup { plan: "mine.toml".to_owned(), ..Setup::of(&platform) };
    dir.configure(&setup);
    hours_ago(&platform, 1);
    let delete = Entry::new("d1", "DELETE", &format!("{}/api/v1.0/account?email=ann@example.com", platform.url));
    dir.attempt(&platform, delete, "lost-before");
    hours_ago(&platform, 0);
    dir.run_twice();
    assert_eq!(dir.says("d1"), "resolved not-applied not-deleted review");
}

/// The delete names the record by the server's own id: what is there under it is the same record.
#[test]
fn what_a_delete_by_the_servers_id_finds_is_the_same_record() {
    let platform = Platform::start();
    let setup = Setup::of(&platform);
    let dir = Dir::new(&setup);
    let sid = platform.add(NewAccount { made_ms: Some(ago(9000).0), ..account("ann@example.com") });
    let delete = Entry::new("d1", "DELETE", &format!("{}/api/v1.0/account/{sid}", platform.url));
    dir.attempt(&platform, delete, "lost-before");
    dir.run_twice();
    assert_eq!(dir.says("d1"), "resolved not-applied not-deleted resend");
}
