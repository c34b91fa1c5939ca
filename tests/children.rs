//! Proves, through the real binary, whose a child is of those under one parent: some operations name it by a key of its own (a
//! user name), others by nothing but its parent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;

fn account(email: &str) -> NewAccount {
    NewAccount { email: Some(email.to_owned()), ..NewAccount::default() }
}

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

/// A child under one parent, with a user name or not.
fn child(platform: &Platform, id: &str, user_name: Option<&str>) -> Entry {
    let key = user_name.map(|name| format!(r#""userName":"{name}","#)).unwrap_or_default();
    let body = format!(r#"{{"parentEmail":"mum@example.com",{key}"firstName":"Kit"}}"#);
    Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(&body)
}

/// The shipped plan under another name: another plan that reads every row alike.
fn another_digest(dir: &Dir) -> String {
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    std::fs::write(dir.file("mine.toml"), plan.replace("privo-gateway\"", "ours\"")).unwrap();
    "mine.toml".to_owned()
}

/// A keyless child was made and has chosen a user name since; then a child of that name is asked for.
#[test]
fn a_child_that_got_its_user_name_later_is_still_the_keyless_operations() {
    let platform = Platform::dated();
    platform.add(account("mum@example.com"));
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "10s"), ("server_error", "10s")]));
    let made = ago(3600);
    platform.add(NewAccount {
        user_name: Some("kit1".into()),
        given_name: Some("Kit".into()),
        parent_email: Some("mum@example.com".into()),
        made_ms: Some(made.0),
        ..NewAccount::default()
    });
    dir.insert(
        &child(&platform, "keyless", None)
            .failure("network")
            .sent(made - Span::seconds(1))
            .ended(made + Span::seconds(1)),
    );
    dir.insert(&child(&platform, "keyed", Some("kit1")).sent(ago(60)));
    dir.runs(0);
    assert_eq!(dir.says("keyless"), "resolved satisfied present store-id");
    assert_eq!(dir.says("keyed"), "resolved not-applied preexisting do-not-resend");
}

/// Two operations for one child, the one with a user name: it was settled as applied before the plan changed, and the
/// other, which never arrived, is recorded late.
#[test]
fn a_settled_keyed_childs_record_is_not_another_operations_under_another_plan() {
    let platform = Platform::dated();
    platform.set_back(Span::seconds(3600));
    platform.add(account("mum@example.com"));
    let dir = Dir::of(&platform);
    let sent = platform.now() - Span::seconds(1);
    dir.attempt(&platform, child(&platform, "keyed", Some("kit1")), "lost-after");
    dir.run_then(&platform);
    assert_eq!(dir.says("keyed"), "resolved applied created store-id");
    dir.configure(&Setup { plan: another_digest(&dir), ..Setup::of(&platform) });
    dir.insert(&child(&platform, "keyless", None).failure("network").sent(sent).ended(platform.now()));
    platform.set_back(Span::ZERO);
    dir.run_twice();
    assert_eq!(dir.says("keyless"), "resolved not-applied confirmed-absent resend");
}

/// The same with a family, whose verdict names a parent and a child.
#[test]
fn a_settled_familys_keyed_child_is_not_another_operations_under_another_plan() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    platform.set_back(Span::seconds(3600));
    let sent = platform.now() - Span::seconds(1);
    let family = Entry::new("family", "POST", &format!("{}/api/v1.0/account/parent", platform.url))
        .body(r#"{"email":"mum@example.com","minor_registrations":[{"first_name":"Kit","user_name":"kit1"}]}"#);
    dir.attempt(&platform, family, "lost-after");
    for _ in 0..2 {
        dir.due();
        dir.run_then(&platform);
    }
    assert!(dir.says("family").starts_with("resolved applied created"), "{}", dir.says("family"));
    dir.configure(&Setup { plan: another_digest(&dir), ..Setup::of(&platform) });
    let keyless = child(&platform, "keyless", None);
    dir.insert(&keyless.failure("network").sent(sent).ended(platform.now()));
    platform.set_back(Span::ZERO);
    dir.run_twice();
    assert_eq!(dir.says("keyless"), "resolved not-applied confirmed-absent resend");
}

/// The control of the user name's lookup is contradicted for two runs; the keyless child was lost.
#[test]
fn a_control_that_fails_settles_nothing_of_a_sibling() {
    let platform = Platform::dated();
    platform.add(account("mum@example.com"));
    let good = Setup::of(&platform);
    let known = "lookup = \"account-by-user-name\"\nkey = \"";
    let controls = good.controls.replace(&format!("{known}canary"), &format!("{known}nobodyatall"));
    assert_ne!(controls, good.controls);
    let dir = Dir::new(&Setup { controls, ..Setup::of(&platform) });
    dir.attempt(&platform, child(&platform, "keyless", None), "lost-before");
    let keyed = child(&platform, "keyed", Some("kit1"));
    platform.send("keyed", "POST", "/api/account", &keyed.text("body"), "plain").unwrap();
    dir.insert(&keyed.sent(ago(2)).ended(Moment::now()).answered(201));
    for _ in 0..2 {
        dir.due();
        dir.run(&["run"]);
        assert_eq!(dir.says("keyless"), "pending . uncontrolled review");
    }
    dir.configure(&good);
    dir.run_twice();
    assert_eq!(dir.says("keyless"), "resolved not-applied confirmed-absent resend");
}
