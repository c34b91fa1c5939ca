//! Proves the rows of the verdict table through the real binary: a partner's requests meet their fate at the sandbox, the
//! job reconciles them over HTTP, and the report says what the table says. Every verdict is decided again from its evidence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;

const LOOKUP: &str = "GET /api/v1.0/account/lookup";

/// The account that [`Entry::register`] asks for.
fn ann(email: &str) -> NewAccount {
    NewAccount {
        email: Some(email.to_owned()),
        given_name: Some("Ann".to_owned()),
        birth_date_yyyymmdd: Some("19900102".to_owned()),
        ..NewAccount::default()
    }
}

fn post(request_id: &str, platform: &Platform, path: &str, body: &str) -> Entry {
    Entry::new(request_id, "POST", &format!("{}{path}", platform.url)).body(body)
}

/// Runs twice, the second of which confirms absences, and decides everything again.
fn settle(dir: &Dir) {
    let ran = dir.run_twice();
    assert!([0, 3, 4].contains(&ran.code) && ran.err.is_empty() && ran.out.is_empty(), "{ran:?}");
    let again = dir.run(&["verify"]);
    assert_eq!(again.code, 0, "{again:?}");
}

/// A record was surely made within a window only where that is longer than the uncertainty of clocks.
fn an_hour(platform: &Platform) -> Dir {
    Dir::new(&Setup::of(platform).windows(&[("network", "1h"), ("server_error", "1h")]))
}

/// What becomes of one entry at a platform that is as it is.
fn verdict(platform: &Platform, entry: &Entry) -> String {
    let dir = Dir::of(platform);
    dir.insert(entry);
    settle(&dir);
    dir.says(&entry.text("request_id"))
}

#[test]
fn a_row_that_cannot_be_read_is_a_bad_row() {
    let platform = Platform::start();
    let good = || Entry::register("r1", &platform.url, "ann@example.com");
    for bad in [
        good().failure("lost"),
        good().with("failure", rusqlite::types::Value::Null),
        good().body("{\"email\": "),
        good().body("{}"),
        good().with("sent_at", "2026-02-30T00:00:00Z".to_owned()),
        good().with("sent_at", "2026-02-20T00:00:00".to_owned()),
        good().with("url", "/api/v1.0/account".to_owned()),
        good().with("direction", "sideways".to_owned()),
        good().failure("http"),
        good().http(200),
        good().with("body", vec![0xff_u8, 0xfe]),
    ] {
        assert_eq!(verdict(&platform, &bad), "duplicate-risk unknown bad-row review", "{bad:?}");
    }
    assert_eq!(platform.requests(LOOKUP), 0);
}

#[test]
fn a_bad_row_stops_nothing_else() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::new("bad", "POST", "nowhere").failure("?"));
    dir.insert(&Entry::register("good", &platform.url, "ann@example.com"));
    settle(&dir);
    assert_eq!(dir.says("good"), "resolved not-applied confirmed-absent resend");
}

#[test]
fn another_host_or_port_is_another_environment() {
    let platform = Platform::start();
    for base in ["https://api-gw-svc.privo.com", "http://127.0.0.1:1", "http://localhost:80"] {
        let entry = Entry::register("r1", base, "ann@example.com");
        assert_eq!(verdict(&platform, &entry), "pending . other-environment review", "{base}");
    }
    assert_eq!(platform.requests(LOOKUP), 0);
}

#[test]
fn a_read_had_no_effect() {
    let platform = Platform::start();
    for (method, path) in [
        ("GET", "/api/v1.0/account/lookup?email=a%40example.com"),
        ("HEAD", "/x"),
        ("POST", "/api/v1.0/account/check/email"),
        ("POST", "/oauth/token"),
    ] {
        let entry = Entry::new("r1", method, &format!("{}{path}", platform.url)).body("{}");
        assert_eq!(verdict(&platform, &entry), "resolved not-applied no-effect none", "{method} {path}");
    }
}

#[test]
fn what_no_operation_matches_has_no_plan() {
    let platform = Platform::start();
    for (method, path) in [("POST", "/api/v2/account"), ("PUT", "/api/v1.0/account")] {
        let entry = Entry::new("r1", method, &format!("{}{path}", platform.url)).body("{}");
        assert_eq!(verdict(&platform, &entry), "duplicate-risk unknown no-plan review");
    }
}

#[test]
fn what_was_never_sent_may_be_sent() {
    let platform = Platform::start();
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com").operation("op").failure("not_sent");
    assert_eq!(verdict(&platform, &entry("r1")), "resolved not-applied never-sent resend");
    assert_eq!(platform.requests(LOOKUP), 0);
}

#[test]
fn one_attempt_that_was_not_sent_takes_its_operations_verdict() {
    let platform = Platform::dated();
    let dir = an_hour(&platform);
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com").operation("op");
    dir.attempt(&platform, entry("r1"), "lost-after");
    dir.insert(&entry("r2").failure("not_sent").sent(Moment::now()));
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved applied created store-id");
    assert_eq!(dir.says("r2"), dir.says("r1"));
}

#[test]
fn a_record_made_after_the_first_attempt_was_created_by_it() {
    let platform = Platform::dated();
    let dir = an_hour(&platform);
    for (id, fate) in [("lost", "lost-after"), ("error", "error-after"), ("cut", "cut"), ("twice", "twice")] {
        let entry = Entry::register(id, &platform.url, &format!("{id}@example.com"));
        dir.attempt(&platform, entry, fate);
    }
    settle(&dir);
    for row in dir.report() {
        assert_eq!(util::said(&row), "resolved applied created store-id");
        assert_eq!(row["matched_on"], "email, birth_date, given_name");
        assert_eq!(platform.truth().per_request[&row["request_id"]][0].record, row["server_id"]);
    }
}

#[test]
fn a_record_whose_age_is_not_shown_is_present() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-after");
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved satisfied present store-id");
}

#[test]
fn a_record_that_a_retry_explains_is_present() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com").operation("op");
    dir.attempt(&platform, entry("r1"), "lost-before");
    dir.attempt(&platform, entry("r2"), "plain");
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved satisfied present store-id");
    assert_eq!(dir.report().len(), 1, "the answered one is evidence");
}

#[test]
fn a_retry_that_was_told_412_is_evidence_and_no_other_cause() {
    let platform = Platform::dated();
    let dir = an_hour(&platform);
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com").operation("op");
    dir.attempt(&platform, entry("r1"), "lost-after");
    dir.attempt(&platform, entry("r2"), "plain");
    assert_eq!(dir.count("SELECT http_status FROM entries WHERE request_id = 'r2'"), 412);
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved applied created store-id");
}

#[test]
fn a_record_that_another_operation_may_have_made_is_present() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    for (id, fate) in [("r1", "lost-before"), ("r2", "lost-after")] {
        dir.attempt(&platform, Entry::register(id, &platform.url, "ann@example.com"), fate);
    }
    settle(&dir);
    for id in ["r1", "r2"] {
        assert!(dir.says(id).starts_with("resolved satisfied present"), "{}", dir.says(id));
    }
}

#[test]
fn a_record_made_before_the_first_attempt_is_preexisting() {
    let platform = Platform::dated();
    let made_ms = Some((Moment::now() + Span::seconds(-86_400)).0);
    platform.add(NewAccount { made_ms, ..ann("ann@example.com") });
    let entry = Entry::register("r1", &platform.url, "ann@example.com");
    assert_eq!(verdict(&platform, &entry), "resolved not-applied preexisting do-not-resend");
}

#[test]
fn a_record_with_other_fields_means_the_key_is_taken() {
    let platform = Platform::start();
    platform.add(NewAccount { given_name: Some("Zoë".to_owned()), ..ann("ann@example.com") });
    let entry = Entry::register("r1", &platform.url, "ann@example.com");
    assert_eq!(verdict(&platform, &entry), "duplicate-risk unknown key-taken review");
}

#[test]
fn a_record_that_shows_no_field_to_compare_is_reviewed_unless_the_key_is_the_partners_own() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("ann@example.com".to_owned()), ..NewAccount::default() });
    let by_email = Entry::register("r1", &platform.url, "ann@example.com");
    assert_eq!(verdict(&platform, &by_email), "resolved satisfied present review");
    platform.add(NewAccount { external_user_identifier: Some("x-1".to_owned()), ..NewAccount::default() });
    let body = r#"{"external_user_identifier":"x-1","first_name":"Ann"}"#;
    let own = post("r2", &platform, "/api/v1.0/account", body);
    assert_eq!(verdict(&platform, &own), "resolved satisfied present store-id");
}

#[test]
fn keys_that_the_server_folds_are_one_key() {
    let platform = Platform::start();
    platform.add(ann("ann@example.com"));
    let entry = Entry::register("r1", &platform.url, " ANN@Example.com ");
    assert_eq!(verdict(&platform, &entry), "resolved satisfied present store-id");
}

#[test]
fn each_window_is_waited_for_before_an_absence_counts() {
    let platform = Platform::start();
    let windows = [("network", "1h"), ("server_error", "10h"), ("intent", "100h"), ("replica_lag", "2s")];
    let dir = Dir::new(&Setup::of(&platform).windows(&windows));
    let sent = Moment::now();
    let entry = |id: &str| Entry::register(id, &platform.url, &format!("{id}@example.com")).sent(sent);
    dir.insert(&entry("timeout"));
    dir.insert(&entry("network").failure("network"));
    dir.insert(&entry("http").http(503));
    dir.insert(&entry("gateway").http(408));
    dir.insert(&entry("intent").failure("intent"));
    settle(&dir);
    let hour = 3_600;
    for (id, wait) in
        [("timeout", hour), ("network", hour), ("gateway", hour), ("http", 10 * hour), ("intent", 101 * hour)]
    {
        let row = dir.row(id);
        assert_eq!(util::said(&row), "pending . unsettled may-resend", "{id}");
        assert_eq!(row["not_before"], (sent + Span::seconds(wait + 2)).to_string(), "{id}");
    }
}

#[test]
fn the_longest_window_of_the_group_counts() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("server_error", "10h")]));
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com").operation("op");
    dir.insert(&entry("r1"));
    dir.insert(&entry("r2").http(503));
    settle(&dir);
    assert_eq!(dir.row("r1")["not_before"], dir.row("r2")["not_before"]);
    assert_eq!(dir.says("r1"), "pending . unsettled may-resend");
}

#[test]
fn an_absence_is_believed_when_seen_twice_far_enough_apart_across_restarts() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("confirm_after", "15m")]));
    platform.set_back(Span::seconds(1200));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").sent(platform.now() - Span::seconds(60)));
    dir.run_then(&platform);
    assert_eq!(dir.says("r1"), "pending . unconfirmed may-resend");
    dir.due();
    dir.run_then(&platform);
    assert_eq!((dir.says("r1").as_str(), dir.row("r1")["checks"].as_str()), ("pending . unconfirmed may-resend", "2"));
    let first = Moment::parse(&dir.row("r1")["first_checked_at"]).unwrap();
    platform.set_back(Span::ZERO);
    // Due by itself, a quarter of an hour after the first look.
    dir.runs(0);
    let row = dir.row("r1");
    assert_eq!(util::said(&row), "resolved not-applied confirmed-absent resend");
    let looked = Moment::parse(&row["last_checked_at"]).unwrap().since(first);
    assert!(looked >= Span::seconds(900), "{looked}");
    for assumption in ["0s after a network failure", "replica lag", "nobody removed"] {
        assert!(row["explanation"].contains(assumption), "{}", row["explanation"]);
    }
}

#[test]
fn a_late_application_is_found_before_its_window_is_over() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("server_error", "12h")]));
    platform.set_back(Span::seconds(2 * 3600));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "late:900000");
    dir.run_then(&platform);
    assert_eq!(dir.says("r1"), "pending . unsettled may-resend");
    platform.set_back(Span::ZERO);
    assert!(platform.truth().scheduled.is_empty(), "it is applied by now");
    dir.runs(0);
    assert_eq!(dir.says("r1"), "resolved applied created store-id");
}

#[test]
fn what_was_seen_once_and_is_gone_was_removed_since() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let sid = platform.add(ann("ann@example.com"));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    settle(&dir);
    platform.remove(&sid);
    dir.insert(&Entry::register("r2", &platform.url, "ann@example.com"));
    settle(&dir);
    assert_eq!(dir.says("r1"), "resolved satisfied present store-id");
    assert_eq!(dir.says("r2"), "duplicate-risk unknown removed-since review");
}

#[test]
fn an_absence_after_a_later_delete_was_removed_since() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("create", &platform.url, "ann@example.com"));
    let url = format!("{}/api/v1.0/account?email=ann%40example.com", platform.url);
    dir.insert(&Entry::new("delete", "DELETE", &url).sent(Moment::now()));
    settle(&dir);
    assert_eq!(dir.says("create"), "duplicate-risk unknown removed-since review");
    assert_eq!(dir.says("delete"), "resolved satisfied deleted none");
}

#[test]
fn what_nothing_can_look_up_is_unobservable() {
    let platform = Platform::start();
    for path in ["/api/account/shadow", "/api/v1.0/account/shadow", "/api/v1.0/consent/resend"] {
        let said = verdict(&platform, &post("r1", &platform, path, "{}"));
        assert_eq!(said, "duplicate-risk unknown unobservable ask-privo", "{path}");
    }
    assert_eq!(platform.requests(LOOKUP), 0);
}

#[test]
fn an_entry_undecided_for_too_long_expires() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h"), ("expire_after", "0s")]));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.runs(4);
    assert_eq!(dir.says("r1"), "pending . unsettled may-resend");
    dir.due();
    dir.runs(3);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown expired ask-privo");
}

/// The second look at another operation for the same email may find what the first one's advice would double.
#[test]
fn resend_waits_for_another_operation_with_its_key_that_is_not_decided() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com");
    dir.insert(&entry("first"));
    dir.run_twice();
    assert_eq!(dir.says("first"), "resolved not-applied confirmed-absent resend");
    dir.insert(&entry("second"));
    let ran = dir.run(&["run"]);
    let row = dir.row("first");
    assert_eq!(util::said(&row), "pending . unsettled wait", "{ran:?}");
    assert!(ran.code == 4 && row["explanation"].contains("(request second)"), "{row:?}");
    dir.due();
    dir.run(&["run"]);
    assert_eq!([dir.says("first"), dir.says("second")], ["resolved not-applied confirmed-absent resend"; 2]);
    assert_eq!(dir.run(&["verify"]).code, 0);
}
