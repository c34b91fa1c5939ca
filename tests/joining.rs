//! Proves, through the real binary, that evidence acts when it arrives: a row that joins the group of settled entries takes
//! back the advice to send again before any run, makes the group due, and the group is decided again as one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Dir, Entry, Platform, Ran, Setup, said};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};

const EMAIL: &str = "ann@example.com";
const RESEND: &str = "resolved not-applied confirmed-absent resend";
const NEVER_SENT: &str = "resolved not-applied never-sent resend";
const CREATED: &str = "resolved applied created store-id";
const PRESENT: &str = "resolved satisfied present store-id";
const WAIT: &str = "pending . unsettled wait";
const REMOVED: &str = "duplicate-risk unknown removed-since review";

/// A window that no test outlasts.
const OPEN: &[(&str, &str)] = &[("network", "1h"), ("server_error", "1h"), ("intent", "1h")];

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

fn register(id: &str, platform: &Platform) -> Entry {
    Entry::register(id, &platform.url, EMAIL)
}

fn consent(id: &str, platform: &Platform) -> Entry {
    let body = r#"{"granter":{"email":"mum@example.com"},"principal":{"eid":"kid-1","given_name":"Kim","birthdate":"20150101"}}"#;
    Entry::new(id, "POST", &format!("{}/s2s/api/v1.0/sandbox/requests", platform.url)).body(body)
}

fn child(id: &str, platform: &Platform) -> Entry {
    let body = r#"{"parentEmail":"mum@example.com","first_name":"Kim","birth_date_yyyymmdd":"20150101"}"#;
    Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(body)
}

fn delete(id: &str, platform: &Platform) -> Entry {
    Entry::new(id, "DELETE", &format!("{}/api/v1.0/account?email=ann%40example.com", platform.url))
}

/// An attempt whose windows are over, however long they are here: sent and given up two hours ago.
fn long_ago(entry: Entry) -> Entry {
    entry.sent(ago(7200)).ended(ago(7200))
}

/// An attempt of this moment.
fn now(entry: Entry) -> Entry {
    entry.sent(Moment::now()).ended(Moment::now())
}

fn send(platform: &Platform, entry: &Entry, fate: &str) -> Option<(u16, String)> {
    platform.send(&entry.text("request_id"), &entry.method(), &entry.path(), &entry.text("body"), fate)
}

/// What another attempt was answered, which is recorded as it was.
fn answered(dir: &Dir, platform: &Platform, entry: Entry) -> u16 {
    let entry = now(entry);
    let (status, _) = send(platform, &entry, "plain").unwrap();
    dir.insert(&entry.answered(status).ended(Moment::now()));
    status
}

/// One run, which looks at all that is pending; what a row joined is due by itself.
fn look(dir: &Dir) -> Ran {
    dir.due();
    let ran = dir.run(&["run"]);
    assert!([0, 3, 4].contains(&ran.code), "{ran:?}");
    let verified = dir.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    ran
}

/// Looks until an absence is confirmed.
fn settle(dir: &Dir) {
    look(dir);
    look(dir);
}

/// What is to be sent again; what may be stands after it.
fn for_resend(dir: &Dir) -> Vec<String> {
    let ran = dir.run(&["report", "--for", "resend"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let rows = util::rows(&ran.out);
    rows.iter().filter(|row| row["action"] == "resend").map(|row| row["request_id"].clone()).collect()
}

/// No command advises to send these again: full report, `--for resend`, `show` and `status`, each names the row that came.
fn waits_for(dir: &Dir, waiting: &[&str], came: &str) {
    for id in waiting {
        let row = dir.row(id);
        assert_eq!(said(&row), WAIT, "{id}: {row:?}");
        assert!(row["explanation"].contains(came), "{row:?}");
        let shown = dir.run(&["show", id, "--json"]);
        let story: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
        assert_eq!((&story["status"], &story["action"]), (&"pending".into(), &"wait".into()), "{shown:?}");
        assert!(story["explanation"].as_str().unwrap().contains(came), "{shown:?}");
        let text = dir.run(&["show", id]).out;
        assert!(text.contains("unsettled → wait") && text.contains(came), "{text}");
    }
    assert_eq!(for_resend(dir), [""; 0]);
    let status: serde_json::Value = serde_json::from_str(&dir.run(&["status", "--json"]).out).unwrap();
    assert!(status["pending"].as_u64().unwrap() >= waiting.len() as u64, "{status}");
    assert!(!dir.report().iter().any(|row| row["action"] == "resend"));
}

/// A registration that was lost, confirmed absent.
fn absent(platform: &Platform, setup: &Setup) -> Dir {
    let dir = Dir::new(setup);
    let first = register("a/1", platform).operation("a");
    send(platform, &first, "lost-before");
    dir.insert(&long_ago(first));
    settle(&dir);
    assert_eq!(dir.says("a/1"), RESEND);
    assert_eq!(for_resend(&dir), ["a/1"]);
    dir
}

fn open(platform: &Platform) -> Setup {
    Setup::of(platform).windows(OPEN)
}

/// The same ledger once every window is over.
fn windows_over(dir: &Dir, setup: Setup) {
    dir.configure(&Setup { settle: Vec::new(), ..setup });
}

#[test]
fn an_answered_resend_takes_the_advice_back_before_any_run_and_is_quietly_present_after_it() {
    let platform = Platform::start();
    let dir = absent(&platform, &Setup::of(&platform));
    assert_eq!(answered(&dir, &platform, register("a/2", &platform).operation("a")), 201);
    waits_for(&dir, &["a/1"], "a/2");
    let ran = look(&dir);
    assert_eq!(ran.code, 0);
    assert!(!ran.err.contains("correction"), "{ran:?}");
    assert_eq!(dir.says("a/1"), PRESENT);
}

/// The record's age cannot tell whether it is older than the verdict; the recorded resend explains it.
#[test]
fn an_answered_resend_explains_a_record_that_is_as_old_as_the_verdict() {
    let platform = Platform::dated();
    let dir = absent(&platform, &Setup::of(&platform));
    assert_eq!(answered(&dir, &platform, register("a/2", &platform).operation("a")), 201);
    let ran = look(&dir);
    assert_eq!(dir.says("a/1"), PRESENT);
    assert!(!ran.err.contains("correction"), "{ran:?}");
}

#[test]
fn a_run_that_cannot_reach_the_server_leaves_the_advice_taken_back() {
    let platform = Platform::start();
    let dir = absent(&platform, &Setup::of(&platform));
    assert_eq!(answered(&dir, &platform, register("a/2", &platform).operation("a")), 201);
    drop(platform);
    dir.runs(4);
    waits_for(&dir, &["a/1"], "a/2");
}

/// Not only what was to be sent again: no absence outlives the success of another attempt.
#[test]
fn what_is_to_be_reviewed_waits_too_when_an_attempt_of_it_was_answered_and_nothing_can_be_seen() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform));
    let others = Entry::register("a/0", &platform.url, "bob@example.com").operation("a");
    assert_eq!(answered(&dir, &platform, others), 201);
    dir.insert(&long_ago(register("a/1", &platform).operation("a")));
    settle(&dir);
    assert_eq!(dir.says("a/1"), "resolved not-applied confirmed-absent review");
    assert_eq!(answered(&dir, &platform, register("a/2", &platform).operation("a")), 201);
    platform.set_faults(Faults { hostile: 1.0, ..Faults::default() });
    dir.runs(4);
    assert_eq!(dir.says("a/1"), "pending . inconclusive wait");
}

#[test]
fn a_dry_run_and_an_export_in_json_take_the_advice_back_too() {
    let platform = Platform::start();
    let dir = absent(&platform, &open(&platform));
    dir.insert(&now(register("a/2", &platform).operation("a")));
    let dry = dir.run(&["run", "--dry-run"]);
    assert_eq!(dry.code, 4, "{dry:?}");
    assert!(!dry.out.contains("resend") || dry.out.contains("may-resend"), "{dry:?}");
    let lines = dir.run(&["report", "--format", "jsonl"]).out;
    assert!(!lines.contains(r#""action":"resend""#) && lines.contains(r#""action":"wait""#), "{lines}");
    dir.insert(&now(register("a/3", &platform).operation("a")));
    waits_for(&dir, &["a/1"], "a/");
}

/// The order of evidence does not matter: the retry was answered that the email exists, and nothing is there.
#[test]
fn a_412_says_the_same_before_the_verdict_and_after_it() {
    let platform = Platform::start();
    let before = Dir::of(&platform);
    before.insert(&long_ago(register("a/1", &platform).operation("a")));
    before.insert(&now(register("a/2", &platform).operation("a")).answered(412));
    settle(&before);
    let after = absent(&platform, &Setup::of(&platform));
    after.insert(&now(register("a/2", &platform).operation("a")).answered(412));
    waits_for(&after, &["a/1"], "a/2");
    settle(&after);
    assert_eq!([before.says("a/1"), after.says("a/1")], [REMOVED, REMOVED]);
    assert_eq!(look(&after).code, 3);
}

/// The first attempt was applied late after all, and the resend was answered so.
#[test]
fn a_412_after_the_verdict_for_a_record_that_is_there_ends_in_present() {
    let platform = Platform::start();
    let dir = absent(&platform, &Setup::of(&platform));
    platform.world().repair(Moment::now().0, "a/1");
    assert_eq!(answered(&dir, &platform, register("a/2", &platform).operation("a")), 412);
    waits_for(&dir, &["a/1"], "a/2");
    look(&dir);
    assert_eq!(dir.says("a/1"), PRESENT);
}

#[test]
fn a_resend_in_doubt_that_is_applied_late_ends_in_one_verdict_for_both_rows() {
    let platform = Platform::start();
    let dir = absent(&platform, &open(&platform));
    let again = now(register("a/2", &platform).operation("a"));
    send(&platform, &again, "lost-before");
    dir.insert(&again);
    waits_for(&dir, &["a/1"], "a/2");
    assert_eq!(look(&dir).code, 4);
    // The server blocks a repeat of this email: both rows bear the one advice.
    assert_eq!([dir.says("a/1"), dir.says("a/2")], ["pending . unsettled may-resend"; 2]);
    assert_eq!(for_resend(&dir), [""; 0]);
    platform.world().repair(Moment::now().0, "a/2");
    let ran = look(&dir);
    // It was absent when the resend was sent, and nothing but this operation explains it.
    assert_eq!((ran.code, dir.says("a/1"), dir.says("a/2")), (0, CREATED.to_owned(), CREATED.to_owned()));
    assert!(!ran.err.contains("correction"), "{ran:?}");
    assert_eq!(dir.row("a/1")["server_id"], dir.row("a/2")["server_id"]);
}

#[test]
fn a_resend_in_doubt_that_is_never_applied_is_advised_again_once_for_the_operation() {
    let platform = Platform::start();
    let dir = absent(&platform, &open(&platform));
    dir.insert(&now(register("a/2", &platform).operation("a")));
    assert_eq!(look(&dir).code, 4);
    assert_eq!(for_resend(&dir), [""; 0]);
    windows_over(&dir, open(&platform));
    settle(&dir);
    assert_eq!([dir.says("a/1"), dir.says("a/2")], [RESEND; 2]);
    assert_eq!(for_resend(&dir).len(), 1);
}

/// worlds/01: a lost row, and one that never left; the advised resend is in doubt, and is applied late.
#[test]
fn a_later_attempt_in_doubt_takes_back_resend_from_the_first_row() {
    for never_left in [true, false] {
        let platform = Platform::start();
        let setup = || Setup::consent(&platform).windows(OPEN);
        let dir = Dir::new(&setup());
        let first = long_ago(consent("a/1", &platform).operation("a"));
        dir.insert(&if never_left { first.failure("not_sent") } else { first });
        settle(&dir);
        assert_eq!(dir.says("a/1"), if never_left { NEVER_SENT } else { RESEND });
        let again = now(consent("a/2", &platform).operation("a"));
        send(&platform, &again, "lost-before");
        dir.insert(&again);
        waits_for(&dir, &["a/1"], "a/2");
        assert_eq!(look(&dir).code, 4);
        assert_eq!([dir.says("a/1"), dir.says("a/2")], [WAIT; 2], "never left: {never_left}");
        assert_eq!(dir.run(&["run", "--dry-run"]).code, 4);
        platform.world().repair(Moment::now().0, "a/2");
        assert_eq!(look(&dir).code, 0);
        assert_eq!([dir.says("a/1"), dir.says("a/2")], [CREATED; 2], "never left: {never_left}");
        assert_eq!(platform.truth().consents.len(), 1, "the advice was followed once");
    }
}

/// worlds/02: the retry's answer was lost, and it was applied.
#[test]
fn both_rows_of_an_operation_bear_the_record_that_its_retry_made() {
    for watch in ["0s", "7d"] {
        for (never_left, dated) in [(true, false), (false, false), (true, true), (false, true)] {
            let platform = if dated { Platform::dated() } else { Platform::start() };
            for (setup, entry) in [
                (Setup::of(&platform), register as fn(&str, &Platform) -> Entry),
                (Setup::consent(&platform), consent as fn(&str, &Platform) -> Entry),
            ] {
                let dir = Dir::new(&setup.windows(&[("watch", watch)]));
                let first = long_ago(entry("a/1", &platform).operation("a"));
                dir.insert(&if never_left { first.failure("not_sent") } else { first });
                settle(&dir);
                assert_eq!(dir.says("a/1"), if never_left { NEVER_SENT } else { RESEND });
                let again = now(entry("a/2", &platform).operation("a"));
                assert!(send(&platform, &again, "lost-after").is_none());
                dir.insert(&again.failure("network").ended(Moment::now()));
                waits_for(&dir, &["a/1"], "a/2");
                dir.runs(0);
                let rows = [dir.row("a/1"), dir.row("a/2")];
                let what = format!("watch {watch}, never left {never_left}, dated {dated}: {rows:?}");
                assert_eq!(said(&rows[0]), said(&rows[1]), "{what}");
                assert!(said(&rows[0]).starts_with("resolved ") && rows[0]["action"] == "store-id", "{what}");
                assert!(!rows[0]["server_id"].is_empty() && rows[0]["server_id"] == rows[1]["server_id"], "{what}");
                assert_eq!(for_resend(&dir), [""; 0]);
            }
        }
    }
}

/// worlds/13: another operation for the same child; in doubt, then applied.
#[test]
fn another_operation_with_the_same_key_takes_the_advice_back() {
    for watch in ["0s", "7d"] {
        let platform = Platform::start();
        let setup = || Setup::consent(&platform).windows(OPEN).windows(&[("watch", watch)]);
        let dir = Dir::new(&setup());
        dir.insert(&long_ago(consent("a/1", &platform)));
        settle(&dir);
        assert_eq!(dir.says("a/1"), RESEND);
        let other = now(consent("b/1", &platform));
        send(&platform, &other, "lost-before");
        dir.insert(&other);
        waits_for(&dir, &["a/1"], "b/1");
        assert_eq!(look(&dir).code, 4);
        assert_eq!([dir.says("a/1"), dir.says("b/1")], [WAIT; 2]);
        platform.world().repair(Moment::now().0, "b/1");
        assert_eq!(look(&dir).code, 0);
        assert_eq!([dir.says("a/1"), dir.says("b/1")], [PRESENT; 2]);
    }
}

/// worlds/13, of a child that has no key of its own: it is found in the list of its parent.
#[test]
fn another_operation_for_the_same_child_of_a_parent_takes_the_advice_back() {
    for dated in [true, false] {
        let platform = if dated { Platform::dated() } else { Platform::start() };
        let made_ms = Some(ago(86_400).0);
        platform.add(NewAccount { email: Some("mum@example.com".into()), made_ms, ..NewAccount::default() });
        let dir = Dir::new(&open(&platform));
        dir.insert(&long_ago(child("a/1", &platform)));
        settle(&dir);
        assert_eq!(dir.says("a/1"), RESEND);
        let other = now(child("b/1", &platform));
        send(&platform, &other, "lost-before");
        dir.insert(&other);
        waits_for(&dir, &["a/1"], "b/1");
        assert_eq!(look(&dir).code, 4);
        assert_eq!([dir.says("a/1"), dir.says("b/1")], [WAIT; 2], "dated: {dated}");
        platform.world().repair(Moment::now().0, "b/1");
        assert_eq!(look(&dir).code, 4, "until its window is over, the other may still be made");
        assert_eq!(for_resend(&dir), [""; 0]);
        windows_over(&dir, open(&platform));
        settle(&dir);
        // One record, and two operations that asked for it: neither is said to be lost for sure and applied at once.
        let rows = [dir.row("a/1"), dir.row("b/1")];
        assert!(rows.iter().all(|row| row["outcome"] != "applied" || row["request_id"] == "b/1"), "{rows:?}");
        assert!(rows.iter().any(|row| row["action"] != "resend"), "{rows:?}");
    }
}

/// The key was free, by both looks; a delete of it that was sent before them is recorded after the verdict.
#[test]
fn a_delete_recorded_after_confirmed_absent_takes_the_advice_back_for_good() {
    for failure in ["timeout", "answered"] {
        let platform = Platform::start();
        let dir = absent(&platform, &Setup::of(&platform));
        let removal = delete("d/1", &platform).sent(ago(3600)).ended(ago(3600));
        dir.insert(&if failure == "answered" { removal.answered(200) } else { removal });
        waits_for(&dir, &["a/1"], "d/1");
        let ran = look(&dir);
        look(&dir);
        assert_eq!(dir.says("a/1"), REMOVED, "{failure}");
        assert!(ran.err.contains("correction"), "the advice to send it again may have been followed: {ran:?}");
    }
}

/// The record went as the partner's own delete asked: what was said of its making stands, and the report says that it went.
#[test]
fn a_delete_recorded_after_created_leaves_what_was_made() {
    let platform = Platform::dated();
    let dir = Dir::new(&open(&platform));
    dir.attempt(&platform, register("a/1", &platform), "lost-after");
    dir.runs(0);
    let before = dir.row("a/1");
    assert_eq!(said(&before), CREATED);
    dir.attempt(&platform, delete("d/1", &platform), "lost-after");
    assert_eq!(dir.says("a/1"), said(&before));
    settle(&dir);
    let after = dir.row("a/1");
    assert_eq!(said(&after), said(&before));
    assert_eq!(after["server_id"], before["server_id"]);
    assert_ne!(after["explanation"], before["explanation"], "it says that the record is not there any more");
    assert_eq!(dir.says("d/1"), WAIT, "the create of its key is in doubt as long as its window is open");
    windows_over(&dir, open(&platform));
    settle(&dir);
    assert_eq!(dir.says("d/1"), "resolved satisfied deleted none");
    assert_eq!(said(&dir.row("a/1")), said(&before));
}

/// worlds/10: an older account bore the key, so the create could not be applied; then it was removed, and the create was
/// applied late, within its window.
#[test]
fn preexisting_falls_with_the_record_that_a_recorded_delete_removed() {
    for (recorded_before, failure) in [(true, "timeout"), (false, "timeout"), (false, "answered"), (true, "answered")] {
        let what = format!("delete recorded before: {recorded_before}, {failure}");
        let platform = Platform::dated();
        let dir = Dir::new(&open(&platform));
        let old = platform.add(NewAccount {
            email: Some(EMAIL.into()),
            given_name: Some("Ann".into()),
            birth_date_yyyymmdd: Some("19900102".into()),
            made_ms: Some(ago(86_400).0),
            ..NewAccount::default()
        });
        dir.attempt(&platform, register("c/1", &platform), "error-before");
        let removal = now(delete("d/1", &platform));
        // What was answered with success had been done by then.
        let record = || match failure {
            "answered" => {
                platform.remove(&old);
                dir.insert(&removal.clone().answered(200));
            }
            _ => dir.insert(&removal),
        };
        if recorded_before {
            record();
            look(&dir);
            assert_eq!(dir.row("c/1")["status"], "pending", "{what}");
        } else {
            assert_eq!(look(&dir).code, 0);
            assert_eq!(dir.says("c/1"), "resolved not-applied preexisting do-not-resend", "{what}");
            record();
        }
        if failure == "timeout" {
            platform.remove(&old);
        }
        look(&dir);
        assert_eq!(dir.row("c/1")["status"], "pending", "{what}: {:?}", dir.row("c/1"));
        assert_eq!(platform.world().repair(Moment::now().0, "c/1").applied, 1);
        windows_over(&dir, open(&platform));
        settle(&dir);
        let row = dir.row("c/1");
        assert!([CREATED, PRESENT].contains(&said(&row).as_str()), "{what}: {row:?}");
        assert!(row["server_id"] != old && !row["server_id"].is_empty(), "{what}: {row:?}");
    }
}

/// A shadow account cannot be looked up; the one attempt that left was answered.
#[test]
fn what_left_and_was_answered_with_success_is_present_before_the_verdict_and_after_it() {
    let platform = Platform::start();
    let shadow = |id: &str| {
        let url = format!("{}/api/account/shadow", platform.url);
        Entry::new(id, "POST", &url).body(r#"{"roleIdentifier":"x"}"#).operation("a")
    };
    let before = Dir::of(&platform);
    before.insert(&shadow("a/1").failure("not_sent"));
    before.insert(&now(shadow("a/2")).answered(201));
    look(&before);
    let after = Dir::of(&platform);
    after.insert(&shadow("a/1").failure("not_sent"));
    look(&after);
    assert_eq!(after.says("a/1"), NEVER_SENT);
    after.insert(&now(shadow("a/2")).answered(201));
    waits_for(&after, &["a/1"], "a/2");
    let ran = look(&after);
    assert_eq!([before.says("a/1"), after.says("a/1")], ["resolved satisfied present none"; 2]);
    assert!(!ran.err.contains("correction"), "{ran:?}");
}

#[test]
fn what_left_and_was_refused_is_to_be_corrected_and_sent_anew() {
    let platform = Platform::start();
    let right = "resolved not-applied never-sent review";
    let before = Dir::of(&platform);
    before.insert(&register("a/1", &platform).operation("a").failure("not_sent"));
    before.insert(&now(register("a/2", &platform).operation("a")).answered(400));
    look(&before);
    let after = Dir::of(&platform);
    after.insert(&register("a/1", &platform).operation("a").failure("not_sent"));
    look(&after);
    after.insert(&now(register("a/2", &platform).operation("a")).answered(400));
    waits_for(&after, &["a/1"], "a/2");
    look(&after);
    assert_eq!([before.says("a/1"), after.says("a/1")], [right; 2]);
}

/// A resend of what never left was answered that the email exists: somebody else's account, or one of before. To be told so is no
/// contradiction of what was said.
#[test]
fn a_never_sent_row_is_not_loudly_corrected_by_its_resends_412() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&register("a/1", &platform).operation("a").failure("not_sent"));
    look(&dir);
    assert_eq!(dir.says("a/1"), NEVER_SENT);
    platform.add(NewAccount {
        email: Some(EMAIL.into()),
        given_name: Some("Ann".into()),
        birth_date_yyyymmdd: Some("19900102".into()),
        ..NewAccount::default()
    });
    assert_eq!(answered(&dir, &platform, register("a/2", &platform).operation("a")), 412);
    waits_for(&dir, &["a/1"], "a/2");
    let ran = look(&dir);
    assert_eq!(dir.says("a/1"), PRESENT);
    assert!(!ran.err.contains("correction"), "{ran:?}");
}

/// worlds/06: somebody removed the record, and another operation's look found nothing.
#[test]
fn a_settled_presence_stands_on_its_own_looks_and_says_when_the_record_vanished() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, register("a/1", &platform), "lost-after");
    dir.runs(0);
    let before = dir.row("a/1");
    assert_eq!(said(&before), PRESENT);
    platform.remove(&before["server_id"]);
    dir.insert(&register("b/1", &platform));
    settle(&dir);
    let after = dir.row("a/1");
    assert_eq!((said(&after), &after["server_id"]), (said(&before), &before["server_id"]));
    for looks in ["checks", "first_checked_at", "last_checked_at"] {
        assert_eq!(after[looks], before[looks], "the looks that the verdict rests on: {looks}");
    }
    assert_ne!(after["explanation"], before["explanation"], "it says that the record is not there any more");
    assert_eq!(dir.says("b/1"), REMOVED);
    // Nor does a look that tells nothing move them on.
    platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
    dir.insert(&register("c/1", &platform));
    look(&dir);
    assert_eq!(dir.row("a/1")["last_checked_at"], before["last_checked_at"]);
}

/// An attempt of before the verdict, recorded when the record is gone: the operation has one verdict.
#[test]
fn an_attempt_that_comes_when_the_record_is_gone_gets_the_verdict_of_its_operation() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, register("a/1", &platform).operation("a"), "lost-after");
    dir.runs(0);
    assert_eq!(dir.says("a/1"), PRESENT);
    platform.remove(&dir.row("a/1")["server_id"]);
    dir.insert(&long_ago(register("a/2", &platform).operation("a")));
    settle(&dir);
    assert_eq!([dir.says("a/1"), dir.says("a/2")], [REMOVED; 2]);
}

/// What has lost its fields goes with its operation: a row that joins by the key of a retry makes it wait, too.
#[test]
fn a_row_without_its_fields_waits_with_its_operation() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(OPEN).windows(&[("watch", "0s")]));
    let never_left = |id: &str| now(register(id, &platform).operation("a")).failure("not_sent");
    dir.insert(&never_left("a/1"));
    look(&dir);
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    dir.insert(&never_left("a/2"));
    look(&dir);
    assert_eq!([dir.says("a/1"), dir.says("a/2")], [NEVER_SENT; 2]);
    let other = now(register("b/1", &platform));
    send(&platform, &other, "lost-before");
    dir.insert(&other);
    waits_for(&dir, &["a/1", "a/2"], "b/1");
    look(&dir);
    assert_eq!([dir.says("a/1"), dir.says("a/2")], [NEVER_SENT; 2]);
}

/// The same in a parent's list.
#[test]
fn a_settled_child_stands_on_its_own_looks_when_a_siblings_look_misses_it() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("mum@example.com".into()), ..NewAccount::default() });
    let dir = Dir::of(&platform);
    dir.attempt(&platform, child("a/1", &platform), "lost-after");
    dir.runs(0);
    let before = dir.row("a/1");
    assert_eq!(said(&before), PRESENT);
    platform.remove(&before["server_id"]);
    let body = child("b/1", &platform).text("body").replace("Kim", "Zoe");
    dir.insert(&child("b/1", &platform).body(&body));
    settle(&dir);
    let after = dir.row("a/1");
    assert_eq!((said(&after), &after["server_id"]), (said(&before), &before["server_id"]));
    for looks in ["checks", "first_checked_at", "last_checked_at"] {
        assert_eq!(after[looks], before[looks], "the looks that the verdict rests on: {looks}");
    }
    assert_eq!(dir.says("b/1"), RESEND);
}
