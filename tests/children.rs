//! Proves, through the real binary, whose a child is of those under one parent: some operations name it by a key of its own (a
//! user name), others by nothing but its parent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod util;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;
use util::{Dir, Entry, Platform, Setup};

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
    assert_eq!(dir.says("keyless"), "resolved applied created store-id");
    assert_eq!(dir.says("keyed"), "resolved not-applied preexisting do-not-resend");
}
