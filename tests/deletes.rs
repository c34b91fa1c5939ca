//! Proves, through the real binary, what the partner's own recorded deletes say: of a record that is gone, of a child under an
//! owner that is gone, and of a record that is there after a delete.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup, said};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};

const RESEND: &str = "resolved not-applied confirmed-absent resend";
const REMOVED: &str = "duplicate-risk unknown removed-since review";
const DELETED: &str = "resolved satisfied deleted none";
const RECREATED: &str = "resolved satisfied recreated do-not-resend";
const AMBIGUOUS: &str = "duplicate-risk unknown ambiguous-match review";
const NOT_DELETED: &str = "resolved not-applied not-deleted resend";

const MUM: &str = "mum@example.com";

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

/// A platform that takes a parent's children with it, or not.
fn platform(dated: bool, deletes_children: bool) -> Platform {
    let mut faults = Faults { shows_created_at: dated, ..Faults::default() };
    faults.habits.deletes_children = deletes_children;
    Platform::with(faults)
}

/// With a control for the server's own ids, too.
fn setup(platform: &Platform) -> Setup {
    let mut setup = Setup::of(platform);
    let control = format!("[[control]]\nlookup = \"account-by-service-id\"\nkey = \"{}\"\n", platform.canary_child);
    setup.controls.push_str(&control);
    setup
}

fn mum(platform: &Platform) -> String {
    let made_ms = Some(ago(86_400).0);
    platform.add(NewAccount { email: Some(MUM.into()), made_ms, ..NewAccount::default() })
}

fn child(id: &str, platform: &Platform) -> Entry {
    let body = format!(r#"{{"parentEmail":"{MUM}","first_name":"Kim","birth_date_yyyymmdd":"20150101"}}"#);
    Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(&body)
}

fn by_email(id: &str, platform: &Platform, email: &str) -> Entry {
    Entry::new(id, "DELETE", &format!("{}/api/v1.0/account?email={}", platform.url, email.replace('@', "%40")))
}

fn by_id(id: &str, platform: &Platform, sid: &str) -> Entry {
    Entry::new(id, "DELETE", &format!("{}/api/v1.0/account/{sid}", platform.url))
}

fn consent(id: &str, platform: &Platform) -> Entry {
    let body = r#"{"granter":{"email":"mum@example.com"},"principal":{"eid":"kid-1","given_name":"Kim","birthdate":"20150101"}}"#;
    Entry::new(id, "POST", &format!("{}/s2s/api/v1.0/sandbox/requests", platform.url)).body(body)
}

fn by_eid(id: &str, platform: &Platform) -> Entry {
    Entry::new(id, "DELETE", &format!("{}/s2s/api/v1.0/sandbox/accounts/eid/kid-1", platform.url))
}

fn kid(made: Moment) -> NewAccount {
    NewAccount {
        eid: Some("kid-1".into()),
        given_name: Some("Kim".into()),
        birth_date_yyyymmdd: Some("20150101".into()),
        made_ms: Some(made.0),
        ..NewAccount::default()
    }
}

fn settle(dir: &Dir) {
    let ran = dir.run_twice();
    assert!([0, 3, 4].contains(&ran.code), "{ran:?}");
    let verified = dir.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// worlds/05: a child was registered, its answer lost; then the partner's own delete removed its parent.
#[test]
fn a_child_is_not_called_lost_when_the_partners_own_delete_removed_its_parent() {
    for fate in ["lost-after", "plain"] {
        for (by, cascades) in [("email", true), ("email", false), ("id", true), ("id", false)] {
            let platform = platform(false, cascades);
            let dir = Dir::new(&setup(&platform));
            let parent = mum(&platform);
            dir.attempt(&platform, child("c/1", &platform), "lost-after");
            let delete = match by {
                "email" => by_email("d/1", &platform, MUM),
                _ => by_id("d/1", &platform, &parent),
            };
            dir.attempt(&platform, delete, fate);
            settle(&dir);
            assert_eq!(dir.says("c/1"), REMOVED, "{fate}, by {by}, cascades: {cascades}");
            if fate == "lost-after" {
                assert_eq!(dir.says("d/1"), DELETED, "by {by}");
            }
        }
    }
}

/// The same when the delete is recorded first.
#[test]
fn a_childs_fate_does_not_depend_on_whether_the_delete_was_recorded_first() {
    let platform = platform(false, true);
    let dir = Dir::new(&setup(&platform));
    mum(&platform);
    let (sent, ended) = (ago(20), ago(19));
    let request = child("c/1", &platform).sent(sent).ended(ended).failure("network");
    assert!(platform.send("c/1", "POST", "/api/account", &request.text("body"), "lost-after").is_none());
    dir.attempt(&platform, by_email("d/1", &platform, MUM), "lost-after");
    dir.insert(&request);
    settle(&dir);
    assert_eq!([dir.says("c/1"), dir.says("d/1")], [REMOVED, DELETED]);
}

/// worlds/05: an adult, deleted by the server's own id; and by the email.
#[test]
fn an_account_is_not_called_lost_when_a_recorded_delete_may_have_removed_it() {
    for (by, fate) in [("id", "lost-after"), ("id", "plain"), ("email", "lost-after"), ("email", "plain")] {
        let platform = platform(false, false);
        let dir = Dir::new(&setup(&platform));
        dir.attempt(&platform, Entry::register("a/1", &platform.url, "ann@example.com"), "lost-after");
        let sid = platform.truth().per_request["a/1"][0].record.clone();
        let delete = match by {
            "email" => by_email("d/1", &platform, "ann@example.com"),
            _ => by_id("d/1", &platform, &sid),
        };
        dir.attempt(&platform, delete, fate);
        settle(&dir);
        assert_eq!(dir.says("a/1"), REMOVED, "by {by}, {fate}");
    }
}

/// By any of its keys: the delete names the email, the create is looked up by it, and bears a user name too.
#[test]
fn a_delete_by_another_key_of_the_record_may_have_removed_it() {
    let platform = platform(false, false);
    let dir = Dir::new(&setup(&platform));
    let body = |keys: &str| format!(r#"{{{keys}"first_name":"Ann"}}"#);
    let url = format!("{}/api/v1.0/account", platform.url);
    let both = body(r#""email":"ann@example.com","user_name":"ann1","#);
    dir.attempt(&platform, Entry::new("a/1", "POST", &url).body(&both), "lost-after");
    dir.attempt(&platform, by_email("d/1", &platform, "ann@example.com"), "lost-after");
    settle(&dir);
    assert_eq!(dir.says("a/1"), REMOVED);
}

/// What was deleted before the request was sent, or refused, or never left, removed nothing of it.
#[test]
fn a_delete_that_cannot_have_removed_it_leaves_resend() {
    let platform = platform(false, false);
    let ann = || Entry::register("a/1", &platform.url, "ann@example.com");
    let email = || by_email("d/1", &platform, "ann@example.com");
    let id = || by_id("d/1", &platform, "4711");
    let long_ago = |entry: Entry| entry.sent(ago(7200)).ended(ago(7200));
    for delete in [
        long_ago(email()).answered(200),
        long_ago(id()).answered(200),
        long_ago(email()),
        long_ago(id()),
        email().sent(ago(30)).answered(404),
        id().sent(ago(30)).answered(404),
        email().sent(ago(30)).failure("not_sent"),
        id().sent(ago(30)).failure("not_sent"),
        by_email("d/1", &platform, "bob@example.com").sent(ago(30)).answered(200),
    ] {
        let dir = Dir::new(&setup(&platform));
        dir.insert(&ann());
        dir.insert(&delete);
        settle(&dir);
        assert_eq!(dir.says("a/1"), RESEND, "{delete:?}");
    }
}

/// A delete by the server's own id tells nobody's whose it was, unless the plan says that only what is known is deleted so.
#[test]
fn a_delete_by_id_of_what_is_known_leaves_resend() {
    let platform = platform(false, false);
    let plan = include_str!("../plans/privo-gateway.toml");
    let keys = "keys = [{ lookup = \"account-by-service-id\", value = [\"{service_id}\"] }]\n\n[[operation]]\nname = \"delete-account-by-query\"";
    assert_eq!(plan.matches(keys).count(), 1);
    for (only_known, says) in [(false, REMOVED), (true, RESEND)] {
        let said = plan.replace(keys, &format!("only_known = {only_known}\n{keys}"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), said).unwrap();
        let dir = Dir::new(&Setup { plan: file.path().display().to_string(), ..setup(&platform) });
        dir.insert(&Entry::register("a/1", &platform.url, "ann@example.com"));
        dir.insert(&by_id("d/1", &platform, "4711").sent(ago(30)).answered(200));
        settle(&dir);
        assert_eq!(dir.says("a/1"), says, "only_known = {only_known}");
    }
}

/// Somebody else removed the parent: its list is no empty list.
#[test]
fn an_owner_that_is_absent_is_no_empty_list() {
    for cascades in [true, false] {
        let platform = platform(false, cascades);
        let dir = Dir::new(&setup(&platform));
        let parent = mum(&platform);
        dir.attempt(&platform, child("c/1", &platform), "lost-after");
        platform.remove(&parent);
        settle(&dir);
        assert_eq!(dir.says("c/1"), REMOVED, "cascades: {cascades}");
    }
    // Nor where it never was: the server refuses a child of nobody, and nothing shows that.
    let platform = platform(false, true);
    let dir = Dir::new(&setup(&platform));
    dir.insert(&child("c/1", &platform));
    settle(&dir);
    assert_eq!(dir.says("c/1"), REMOVED);
}

#[test]
fn a_list_that_is_empty_under_an_owner_that_is_there_is_believed() {
    let platform = platform(false, true);
    let dir = Dir::new(&setup(&platform));
    mum(&platform);
    dir.insert(&child("c/1", &platform));
    settle(&dir);
    assert_eq!(dir.says("c/1"), RESEND);
}

/// A request that makes the parent too: where there is no parent, nothing of it was applied.
#[test]
fn where_the_same_request_makes_the_owner_its_absence_is_the_childrens_too() {
    let platform = platform(false, true);
    let dir = Dir::new(&setup(&platform));
    let body = format!(r#"{{"email":"{MUM}","first_name":"Mum","minor_registrations":[{{"first_name":"Kim"}}]}}"#);
    let url = format!("{}/api/v1.0/account/parent", platform.url);
    dir.insert(&Entry::new("f/1", "POST", &url).body(&body));
    settle(&dir);
    assert_eq!(dir.says("f/1"), RESEND);
}

/// worlds/08: the key was absent after the delete was sent, and is there later: made since, whatever the server shows of its
/// age. It waits for the windows as `not-deleted` does.
#[test]
fn a_key_that_was_absent_after_the_delete_and_is_there_again_was_made_anew() {
    for dated in [false, true] {
        let platform = platform(dated, false);
        let windows = [("network", "1h"), ("server_error", "1h")];
        let setup = || Setup::consent(&platform);
        let dir = Dir::new(&setup().windows(&windows));
        dir.attempt(&platform, consent("c/1", &platform), "error-before");
        dir.attempt(&platform, by_eid("d/1", &platform), "lost-before");
        settle(&dir);
        assert_eq!(dir.row("d/1")["status"], "pending");
        platform.world().repair(Moment::now().0, "c/1");
        settle(&dir);
        assert_eq!(dir.says("d/1"), "pending . unsettled wait", "until the windows are over it may still be deleted");
        dir.configure(&setup());
        settle(&dir);
        assert_eq!(dir.says("d/1"), RECREATED, "dated: {dated}");
        let row = dir.row("c/1");
        assert!(row["status"] == "resolved" && row["action"] == "store-id", "{row:?}");
        let truth = platform.truth();
        assert!(truth.per_request["c/1"].iter().any(|made| made.record == row["server_id"]), "{row:?}");
    }
}

/// worlds/15: another entry's look had seen X; others replaced it by Y before the delete was sent; the delete was lost.
#[test]
fn what_another_entry_saw_before_the_delete_decides_neither_recreated_nor_not_deleted() {
    for dated in [false, true] {
        let platform = platform(dated, false);
        let windows = [("network", "1h"), ("server_error", "1h")];
        let setup = || Setup::consent(&platform);
        let dir = Dir::new(&setup().windows(&windows));
        platform.set_back(Span::seconds(7200));
        let first = platform.add(kid(platform.now() - Span::seconds(86_400)));
        dir.attempt(&platform, consent("c/1", &platform), "lost-before");
        dir.run_then(&platform);
        assert_eq!(dir.row("c/1")["checks"], "1", "it is seen");
        platform.set_back(Span::seconds(600));
        platform.remove(&first);
        let second = platform.add(kid(platform.now()));
        platform.set_back(Span::ZERO);
        dir.attempt(&platform, by_eid("d/1", &platform), "lost-before");
        settle(&dir);
        assert_eq!(dir.says("d/1"), "pending . unsettled wait", "dated: {dated}");
        dir.configure(&setup());
        settle(&dir);
        assert_eq!(dir.says("d/1"), AMBIGUOUS, "dated: {dated}");
        assert!(!platform.truth().accounts.iter().any(|a| a.service_id == second && a.deleted_ms.is_some()));
    }
}

/// The same record by its id, at a look before the delete was sent.
#[test]
fn the_same_id_as_at_a_look_before_the_delete_was_not_deleted() {
    let platform = platform(false, false);
    let dir = Dir::new(&Setup::consent(&platform));
    platform.set_back(Span::seconds(7200));
    platform.add(kid(platform.now() - Span::seconds(86_400)));
    dir.attempt(&platform, consent("c/1", &platform), "lost-before");
    dir.run_then(&platform);
    platform.set_back(Span::ZERO);
    dir.attempt(&platform, by_eid("d/1", &platform), "lost-before");
    settle(&dir);
    assert_eq!(dir.says("d/1"), NOT_DELETED);
}

/// Another id than at a look after the delete was sent: it went, and another came.
#[test]
fn another_id_than_at_a_look_after_the_delete_is_recreated_when_the_windows_are_over() {
    let platform = platform(false, false);
    let setup = || Setup::consent(&platform);
    let dir = Dir::new(&setup().windows(&[("network", "1h")]));
    let first = platform.add(kid(ago(86_400)));
    dir.attempt(&platform, by_eid("d/1", &platform), "lost-before");
    settle(&dir);
    assert_eq!(dir.row("d/1")["status"], "pending");
    platform.remove(&first);
    platform.add(kid(Moment::now()));
    settle(&dir);
    assert_eq!(dir.says("d/1"), "pending . unsettled wait");
    dir.configure(&setup());
    settle(&dir);
    assert_eq!(dir.says("d/1"), RECREATED);
}

/// No other record ever bears the server's own id, so that such a delete may be repeated while it waits.
#[test]
fn a_delete_by_the_servers_id_may_be_sent_again_while_it_waits() {
    let platform = platform(false, false);
    let windows = [("network", "1h")];
    let dir = Dir::new(&setup(&platform).windows(&windows));
    let sid = mum(&platform);
    dir.attempt(&platform, by_id("d/1", &platform, &sid), "lost-before");
    dir.attempt(&platform, by_email("d/2", &platform, MUM), "lost-before");
    settle(&dir);
    assert_eq!(dir.says("d/1"), "pending . unsettled may-resend");
    assert_eq!(dir.says("d/2"), "pending . unsettled wait");
    dir.configure(&setup(&platform));
    settle(&dir);
    assert_eq!(dir.says("d/1"), NOT_DELETED);
    assert_eq!(dir.says("d/2"), "resolved not-applied not-deleted review", "whether it is the same is not known");
}

/// Rows of an owner's list are decided again when a delete of the owner comes: what was to be sent again waits.
#[test]
fn a_delete_of_the_owner_recorded_after_the_verdict_takes_the_advice_back() {
    for by in ["email", "id"] {
        let platform = platform(false, true);
        let dir = Dir::new(&setup(&platform));
        let parent = mum(&platform);
        dir.insert(&child("c/1", &platform).sent(ago(3600)).ended(ago(3600)));
        settle(&dir);
        assert_eq!(dir.says("c/1"), RESEND);
        let delete = match by {
            "email" => by_email("d/1", &platform, MUM),
            _ => by_id("d/1", &platform, &parent),
        };
        dir.insert(&delete.sent(ago(1800)).ended(ago(1800)));
        let row = dir.row("c/1");
        assert_eq!(said(&row), "pending . unsettled wait", "by {by}");
        assert!(row["explanation"].contains("d/1"), "{row:?}");
        settle(&dir);
        assert_eq!(dir.says("c/1"), REMOVED, "by {by}");
    }
}
