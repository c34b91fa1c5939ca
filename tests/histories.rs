//! Proves, through the real binary, what is said after histories that run over several runs: states that change between looks,
//! rows that are read anew, other plans and environments, what a person or `prune` does meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::util::{Answer, CANARY, Dir, Entry, Hostile, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;

fn account(email: &str) -> NewAccount {
    NewAccount { email: Some(email.to_owned()), ..NewAccount::default() }
}

fn ago(seconds: i64) -> Moment {
    Moment::now() - Span::seconds(seconds)
}

/// The shipped plan under another name: another plan that reads every row alike.
fn another_digest(dir: &Dir) -> String {
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    std::fs::write(dir.file("mine.toml"), plan.replace("privo-gateway\"", "ours\"")).unwrap();
    "mine.toml".to_owned()
}

/// A webhook's consent and account are two effects. At a watch look the consent had changed and the account's look was
/// inconclusive, so nothing was said; at the next look nothing is new against the stored look, and the old state stands.
#[test]
fn a_state_that_changed_while_another_effects_look_was_inconclusive_is_told() {
    let phase = Arc::new(AtomicU8::new(0));
    let seen = Arc::clone(&phase);
    let server = Hostile::start(move |asked, _| {
        let phase = seen.load(Ordering::SeqCst);
        if asked.path == "/token" || asked.for_token() {
            return Answer::json("200 OK", r#"{"access_token":"t","token_type":"Bearer","expires_in":599}"#);
        }
        if asked.path.ends_with("/consents/c1") {
            let state = if phase == 0 { "granted" } else { "denied" };
            return Answer::json("200 OK", &format!(r#"{{"consent_identifier":"c1","state":"{state}"}}"#));
        }
        if asked.path.ends_with("/accounts/sid/s1") && phase == 1 {
            return Answer::html("200 OK");
        }
        if let Some(sid) =
            ["s1", "canary"].into_iter().find(|sid| asked.path.ends_with(&format!("/accounts/sid/{sid}")))
        {
            let features = r#"[{"identifier":"chat","state":"on"}]"#;
            return Answer::json("200 OK", &format!(r#"{{"sid":"{sid}","features":{features}}}"#));
        }
        Answer::json("404 Not Found", "{}")
    });
    let controls = "[[control]]\nlookup = \"account-by-sid\"\nkey = \"canary\"\n".to_owned();
    let setup = Setup { plan: "privo-consent".to_owned(), controls, ..Setup::bare(&server.url) };
    let dir = Dir::new(&setup.windows(&[("watch", "7d")]));
    let body = r#"{"id":"event-1","sid":"s1","consent_identifiers":["c1"]}"#;
    dir.insert(&Entry::new("w1", "POST", "/hooks/privo").with("direction", "inbound".to_owned()).body(body).http(500));
    dir.runs(0);
    assert!(dir.row("w1")["explanation"].contains("granted"), "{:?}", dir.row("w1"));
    phase.store(1, Ordering::SeqCst);
    dir.run(&["run", "--recheck"]);
    phase.store(2, Ordering::SeqCst);
    for _ in 0..3 {
        dir.run(&["run", "--recheck"]);
    }
    let row = dir.row("w1");
    assert!(row["explanation"].contains("denied"), "granted is told, denied is stored: {row:?}");
}

/// The same through a window that was made longer: the look falls before the window's new end, the next one sees
/// nothing new.
#[test]
fn a_state_that_changed_within_a_longer_webhook_window_is_told() {
    let phase = Arc::new(AtomicU8::new(0));
    let seen = Arc::clone(&phase);
    let server = Hostile::start(move |asked, _| {
        if asked.for_token() {
            return Answer::json("200 OK", r#"{"access_token":"t","token_type":"Bearer","expires_in":599}"#);
        }
        if asked.path.ends_with("/consents/c1") {
            let state = if seen.load(Ordering::SeqCst) == 0 { "granted" } else { "denied" };
            return Answer::json("200 OK", &format!(r#"{{"consent_identifier":"c1","state":"{state}"}}"#));
        }
        Answer::json("404 Not Found", "{}")
    });
    let setup = || Setup { plan: "privo-consent".to_owned(), ..Setup::bare(&server.url) };
    let dir = Dir::new(&setup().windows(&[("watch", "7d")]));
    let body = r#"{"id":"event-1","consent_identifiers":["c1"]}"#;
    let entry = Entry::new("w1", "POST", "/hooks/privo").with("direction", "inbound".to_owned()).body(body).http(500);
    dir.insert(&entry.sent(ago(600)));
    dir.runs(0);
    phase.store(1, Ordering::SeqCst);
    dir.configure(&setup().windows(&[("watch", "7d"), ("webhook", "1h")]));
    dir.run(&["run", "--recheck"]);
    dir.configure(&setup().windows(&[("watch", "7d")]));
    dir.run(&["run", "--recheck"]);
    let row = dir.row("w1");
    assert!(row["explanation"].contains("denied"), "{row:?}");
}

/// The controls of two lookups of one group cannot be used; only the last of them is remembered, and who needs the
/// other is settled from old looks alone. (Which is last hangs on random digests: eight groups.)
#[test]
fn two_unusable_lookups_hold_back_all_who_need_either() {
    let platform = Platform::dated();
    let windows = [("network", "1h")];
    let dir = Dir::new(&Setup::of(&platform).windows(&windows));
    let base = &platform.url;
    let emails: Vec<String> = (0..8).map(|n| format!("ann{n}@example.com")).collect();
    let mut old = Vec::new();
    for (n, email) in emails.iter().enumerate() {
        old.push(platform.add(NewAccount { made_ms: Some(ago(86_400).0), ..account(email) }));
        let delete = Entry::new(&format!("d{n}"), "DELETE", &format!("{base}/api/v1.0/account?email={email}"));
        dir.insert(&delete.failure("intent").sent(ago(30)));
        let create = Entry::new(&format!("c{n}"), "POST", &format!("{base}/api/v1.0/account"));
        dir.insert(&create.body(&format!(r#"{{"email":"{email}"}}"#)).sent(ago(20)));
        let family = Entry::new(&format!("p{n}"), "POST", &format!("{base}/api/v1.0/account/parent"));
        let body = format!(r#"{{"email":"{email}","minor_registrations":[{{"first_name":"Kit"}}]}}"#);
        dir.insert(&family.body(&body).sent(ago(10)));
    }
    dir.runs(4);
    for n in 0..8 {
        assert_eq!(dir.says(&format!("c{n}")), "pending . unsettled wait");
    }
    // The delete went through, and after it the create came late: within its window.
    for (n, (email, sid)) in emails.iter().zip(&old).enumerate() {
        platform.remove(sid);
        platform.add(account(email));
        dir.db()
            .execute(
                "UPDATE entries SET failure = 'answered', http_status = 200 WHERE request_id = ?",
                [format!("d{n}")],
            )
            .unwrap();
    }
    let good = Setup::of(&platform).windows(&windows);
    let bad = Setup { controls: good.controls.replace(CANARY, "nobody@control.example"), ..Setup::of(&platform) };
    dir.configure(&bad.windows(&windows));
    dir.run(&["run"]);
    let said: Vec<String> = (0..8).map(|n| dir.says(&format!("c{n}"))).collect();
    assert!(said.iter().all(|said| said == "pending . uncontrolled review"), "{said:#?}");
}

/// I8: what `run --recheck` finds after the plan changed is decided under a reading of the old plan.
#[test]
fn a_recheck_after_a_plan_change_can_be_decided_again() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    dir.runs(4);
    dir.due();
    dir.runs(0);
    dir.configure(&Setup { plan: another_digest(&dir), ..Setup::of(&platform) });
    platform.world().repair(Moment::now().0, "r1");
    let ran = dir.run(&["run", "--recheck"]);
    assert!(ran.err.contains("correction"), "{ran:?}");
    let ran = dir.run(&["verify"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// An answer that was read under a plan that did not know the call is not read anew: it explains the record.
#[test]
fn an_answer_is_read_anew_under_another_plan() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let url = format!("{}/api/v2/people", platform.url);
    let body = r#"{"email":"ann@example.com"}"#;
    dir.insert(&Entry::new("r1", "POST", &url).body(body).sent(ago(60)));
    dir.insert(&Entry::new("r2", "POST", &url).body(body).answered(201).sent(ago(30)));
    platform.add(NewAccount { made_ms: Some(ago(29).0), ..account("ann@example.com") });
    dir.runs(3);
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    let plan = plan.replace("\"/api/v1.0/account\", \"/api/account\"]\nneeds", "\"/api/v2/people\"]\nneeds");
    std::fs::write(dir.file("mine.toml"), plan).unwrap();
    let setup = Setup { plan: "mine.toml".to_owned(), ..Setup::of(&platform) };
    dir.configure(&setup.windows(&[("network", "1h")]));
    dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "resolved satisfied present store-id");
}

/// An answer that was read under the configuration of another environment is not read anew under its own.
#[test]
fn an_answer_is_read_anew_under_its_own_environment() {
    let (here, there) = (Platform::start(), Platform::dated());
    let dir = Dir::of(&here);
    let entry = |id: &str| Entry::register(id, &there.url, "ann@example.com").operation("o");
    dir.insert(&entry("r1").sent(ago(60)));
    dir.insert(&entry("r2").answered(201).sent(ago(30)));
    there.add(NewAccount { made_ms: Some(ago(29).0), ..account("ann@example.com") });
    dir.insert(&Entry::register("s1", &there.url, "bob@example.com").operation("p").sent(ago(60)));
    dir.insert(&Entry::register("s2", &there.url, "bob@example.com").operation("p").answered(201).sent(ago(30)));
    dir.runs(4);
    dir.configure(&Setup::of(&there).windows(&[("network", "45s")]));
    dir.run_twice();
    let said = [dir.says("r1"), dir.says("s1")];
    let right = ["resolved satisfied present review", "duplicate-risk unknown removed-since review"];
    assert_eq!(said, right);
}

/// I1: nor is an entry that a person closed meanwhile, and its window is forgotten.
#[test]
fn a_closed_attempts_window_counts_under_its_own_environment() {
    let (here, there) = (Platform::start(), Platform::start());
    let dir = Dir::of(&here);
    let entry = |id: &str| Entry::register(id, &there.url, "ann@example.com").operation("o");
    dir.insert(&entry("r1"));
    dir.insert(&entry("r2").http(503));
    dir.runs(4);
    let closed = dir.run(&["close", "r2", "--who", "ann", "--why", "by hand", "--outcome", "unknown"]);
    assert!(closed.code == 0 || closed.code == 4, "{closed:?}");
    dir.configure(&Setup::of(&there).windows(&[("server_error", "24h")]));
    dir.run_twice();
    // r2 may be repaired by hand for a day.
    assert!(dir.says("r1").starts_with("pending . unsettled"), "{}", dir.says("r1"));
}

/// While one environment is run, keys of the other's entries are not asked of it.
#[test]
fn nothing_is_looked_up_for_an_entry_of_another_environment() {
    let (one, two) = (Platform::start(), Platform::start());
    let dir = Dir::new(&Setup::of(&one).windows(&[("network", "1h")]));
    dir.insert(&Entry::register("r1", &one.url, "ann@example.com"));
    dir.insert(&Entry::register("r2", &two.url, "ann@example.com"));
    dir.runs(4);
    let sql = "SELECT count(*) FROM looks WHERE entry_id = 2";
    assert_eq!((dir.says("r2").as_str(), dir.count(sql)), ("pending . other-environment review", 0));
}

/// `prune` under another configuration reads what is new, and the next run under the old one does not read it anew.
#[test]
fn what_prune_read_under_another_configuration_is_read_anew() {
    let (one, two) = (Platform::start(), Platform::start());
    let dir = Dir::of(&one);
    dir.runs(0);
    dir.insert(&Entry::register("r1", &one.url, "ann@example.com"));
    std::fs::write(dir.file("two.toml"), Setup::of(&two).text()).unwrap();
    let pruned = dir.run(&["--config", "two.toml", "prune", "--older-than", "90d"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    for _ in 0..3 {
        dir.run(&["run"]);
    }
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
}

/// The same with another plan: looks under the old one never count for a reading of the new one.
#[test]
fn what_prune_read_under_another_plan_is_read_anew() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.runs(0);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    platform.add(account("bob@example.com"));
    dir.insert(&Entry::register("r2", &platform.url, "bob@example.com"));
    let plan = another_digest(&dir);
    std::fs::write(dir.file("two.toml"), Setup { plan, ..Setup::of(&platform) }.text()).unwrap();
    assert_eq!(dir.run(&["--config", "two.toml", "prune", "--older-than", "90d"]).code, 0);
    for _ in 0..4 {
        dir.run(&["run"]);
    }
    let verified = dir.run(&["verify"]);
    assert_eq!(
        (dir.says("r1").as_str(), verified.code),
        ("resolved not-applied confirmed-absent resend", 0),
        "{verified:?}"
    );
}

/// A row that was dated ahead of the moment at which it was read cannot be trusted; when it is read anew later (news of
/// the intent), it is trusted, and its own record is taken for one from before.
#[test]
fn a_row_that_was_once_dated_ahead_is_never_trusted() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    platform.set_back(Span::seconds(1800));
    let row = Entry::register("r1", &platform.url, "ann@example.com").failure("intent");
    dir.insert(&row.sent(platform.now() + Span::seconds(600)));
    dir.run_then(&platform);
    assert!(dir.says("r1").starts_with("pending . unsettled"), "{}", dir.says("r1"));
    platform.add(account("ann@example.com"));
    platform.set_back(Span::ZERO);
    dir.db().execute("UPDATE entries SET failure = 'timeout'", []).unwrap();
    dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "resolved satisfied present review");
}

/// The same through another plan's digest.
#[test]
fn a_row_that_was_once_dated_ahead_is_never_trusted_under_another_plan() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "1h")]));
    let row = Entry::register("r1", &platform.url, "ann@example.com");
    platform.set_back(Span::seconds(1800));
    dir.insert(&row.sent(platform.now() + Span::seconds(600)));
    dir.run_then(&platform);
    assert!(dir.says("r1").starts_with("pending . unsettled"), "{}", dir.says("r1"));
    platform.add(account("ann@example.com"));
    platform.set_back(Span::ZERO);
    dir.configure(&Setup { plan: another_digest(&dir), ..Setup::of(&platform) }.windows(&[("network", "1h")]));
    dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "resolved satisfied present review");
}

/// News of an intent that was settled as not applied (and advised to be sent again): the record that turns up is a
/// correction of what was said.
#[test]
fn news_of_an_intent_does_not_hush_up_the_correction() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("watch", "1h"), ("server_error", "1h")]));
    let entry = Entry::register("r1", &platform.url, "ann@example.com");
    platform.send("r1", "POST", "/api/v1.0/account", &entry.text("body"), "error-before");
    dir.insert(&entry.failure("intent"));
    dir.runs(4);
    dir.due();
    dir.runs(0);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    dir.db().execute("UPDATE entries SET failure = 'http', http_status = 503", []).unwrap();
    platform.world().repair(Moment::now().0, "r1");
    let ran = dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "resolved applied created store-id");
    assert!(ran.err.contains("correction"), "{ran:?} {:?}", dir.row("r1"));
}

/// The last look of the watch got no answer to rely on; that ends the watch, though a record turned up within it.
#[test]
fn a_watch_does_not_end_with_a_look_that_tells_nothing() {
    let platform = Platform::start();
    let hours = |hours: i64| platform.set_back(Span::seconds(hours * 3600));
    let windows = [("watch", "4h")];
    let dir = Dir::new(&Setup::of(&platform).windows(&windows));
    hours(8);
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    for _ in 0..2 {
        dir.due();
        dir.run_then(&platform);
    }
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    platform.world().repair(platform.now().0, "r1");
    hours(3);
    let good = Setup::of(&platform).windows(&windows);
    let bad = Setup { controls: good.controls.replace(CANARY, "nobody@control.example"), ..Setup::of(&platform) };
    dir.configure(&bad.windows(&windows));
    dir.run_then(&platform);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    dir.configure(&good.windows(&windows));
    hours(0);
    dir.run(&["run"]);
    assert!(dir.says("r1").starts_with("resolved satisfied present"), "{}", dir.says("r1"));
}

/// As W1, with a control of the other effect's lookup that stands against it meanwhile.
#[test]
fn a_state_that_changed_while_another_effects_control_failed_is_told() {
    let phase = Arc::new(AtomicU8::new(0));
    let seen = Arc::clone(&phase);
    let server = Hostile::start(move |asked, _| {
        let phase = seen.load(Ordering::SeqCst);
        if asked.for_token() {
            return Answer::json("200 OK", r#"{"access_token":"t","token_type":"Bearer","expires_in":599}"#);
        }
        if asked.path.ends_with("/consents/c1") {
            let state = if phase == 0 { "granted" } else { "denied" };
            return Answer::json("200 OK", &format!(r#"{{"consent_identifier":"c1","state":"{state}"}}"#));
        }
        if asked.path.contains("/accounts/sid/") && phase == 1 {
            return Answer::html("200 OK");
        }
        if let Some(sid) =
            ["s1", "canary"].into_iter().find(|sid| asked.path.ends_with(&format!("/accounts/sid/{sid}")))
        {
            let features = r#"[{"identifier":"chat","state":"on"}]"#;
            return Answer::json("200 OK", &format!(r#"{{"sid":"{sid}","features":{features}}}"#));
        }
        Answer::json("404 Not Found", "{}")
    });
    let controls = "[[control]]\nlookup = \"account-by-sid\"\nkey = \"canary\"\n".to_owned();
    let setup = Setup { plan: "privo-consent".to_owned(), controls, ..Setup::bare(&server.url) };
    let dir = Dir::new(&setup.windows(&[("watch", "7d")]));
    let body = r#"{"id":"event-1","sid":"s1","consent_identifiers":["c1"]}"#;
    dir.insert(&Entry::new("w1", "POST", "/hooks/privo").with("direction", "inbound".to_owned()).body(body).http(500));
    dir.runs(0);
    phase.store(1, Ordering::SeqCst);
    dir.run(&["run", "--recheck"]);
    phase.store(2, Ordering::SeqCst);
    dir.run(&["run", "--recheck"]);
    assert!(dir.row("w1")["explanation"].contains("denied"), "{:?}", dir.row("w1"));
}

/// An intent was read before anything was sealed. Its news come afterwards: who has its key is known as well as before.
#[test]
fn news_of_an_intent_that_was_read_before_a_sealing_leave_it_decidable() {
    let platform = Platform::start();
    let windows = [("intent", "1h")];
    let dir = Dir::new(&Setup::of(&platform).windows(&windows));
    dir.insert(&Entry::register("old", &platform.url, "bob@example.com"));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").failure("intent"));
    dir.run_twice();
    assert_eq!(dir.says("old"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.run(&["prune", "--older-than", "0s"]).code, 0);
    assert_eq!(dir.count("SELECT count(*) FROM state WHERE sealed = 1"), 1);
    dir.db().execute("UPDATE entries SET failure = 'timeout' WHERE request_id = 'r1'", []).unwrap();
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
}

/// After the news of an intent, and until the next run reads them, every column may be changed: the looks at the old key
/// then count for the new one.
#[test]
fn looks_at_one_key_do_not_count_for_another() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").failure("intent"));
    dir.runs(4);
    let db = dir.db();
    db.execute("UPDATE entries SET failure = 'timeout'", []).unwrap();
    let body = Entry::register("r1", &platform.url, "eve@example.com").text("body");
    db.execute("UPDATE entries SET body = ?", [body]).unwrap();
    dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown bad-row review");
}

/// A settled operation is not read anew when the plan changes: under a lookup of another name it is no fellow any more
/// of an operation with the same email that is recorded late, and both are said to have made the one record.
#[test]
fn a_settled_operation_stays_a_known_cause_under_another_plan() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com");
    dir.attempt(&platform, entry("made"), "lost-after");
    let (sent, ended) = (dir.db().query_row("SELECT sent_at, ended_at FROM entries", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    }))
    .unwrap();
    dir.runs(0);
    assert_eq!(dir.says("made"), "resolved satisfied present store-id");
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    std::fs::write(dir.file("mine.toml"), plan.replace("account-by-email", "account-by-mail")).unwrap();
    let good = Setup::of(&platform);
    let controls = good.controls.replace("account-by-email", "account-by-mail");
    dir.configure(&Setup { plan: "mine.toml".to_owned(), controls, ..Setup::of(&platform) });
    // Recorded late: sent at the same time, and lost.
    dir.insert(&entry("late").with("sent_at", sent).with("ended_at", ended));
    dir.run(&["run"]);
    assert_eq!(dir.says("late"), "resolved satisfied present store-id");
}

/// As D7 of src/decide/table/reviewed.rs, through the binary: the delete of an account (by the partner's own id) was
/// lost, and the account is still there; nobody is to send the delete again.
#[test]
fn a_lost_delete_of_an_account_that_was_made_anew_before_it_is_not_satisfied() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::consent(&platform));
    let eid = |made: Moment| NewAccount { eid: Some("e1".into()), made_ms: Some(made.0), ..NewAccount::default() };
    let first = platform.add(eid(ago(9000)));
    let body = r#"{"principal":{"eid":"e1"}}"#;
    let url = format!("{}/s2s/api/v1.0/sandbox", platform.url);
    dir.insert(&Entry::new("c1", "POST", &format!("{url}/requests")).body(body).sent(ago(9001)).ended(ago(8990)));
    platform.set_back(Span::seconds(7200));
    dir.run_then(&platform);
    assert!(dir.says("c1").starts_with("resolved "), "{}", dir.says("c1"));
    platform.set_back(Span::seconds(3600));
    platform.remove(&first);
    platform.add(eid(platform.now()));
    platform.set_back(Span::seconds(1800));
    let delete = Entry::new("d1", "DELETE", &format!("{url}/accounts/eid/e1"));
    dir.attempt(&platform, delete, "lost-before");
    platform.set_back(Span::ZERO);
    dir.run_twice();
    assert_eq!(dir.says("d1"), "duplicate-risk unknown ambiguous-match review");
}

/// One operation names email and user name (it is looked up by email), another the same user name alone.
#[test]
fn a_record_that_an_operation_with_another_first_key_made_is_not_this_ones() {
    let platform = Platform::dated();
    let dir = Dir::of(&platform);
    let entry = |id: &str, key: &str| {
        let body = format!(r#"{{{key}"user_name":"ann1","first_name":"Ann","birth_date_yyyymmdd":"19900102"}}"#);
        Entry::new(id, "POST", &format!("{}/api/v1.0/account", platform.url)).body(&body)
    };
    dir.attempt(&platform, entry("alone", ""), "lost-before");
    dir.attempt(&platform, entry("both", r#""email":"ann@example.com","#), "lost-after");
    dir.run_twice();
    assert!(!dir.says("alone").contains("applied created"), "{} / {}", dir.says("alone"), dir.says("both"));
}

/// Two operations for one child under one parent: the one names its user name (a key of its own), the other does not.
/// The first was applied, the second lost. The record is the first one's; the second cannot claim it.
#[test]
fn a_child_that_a_keyed_operation_made_is_not_another_operations() {
    let platform = Platform::dated();
    platform.add(account("mum@example.com"));
    let dir = Dir::of(&platform);
    let child = |id: &str, key: &str| {
        let body =
            format!(r#"{{"parentEmail":"mum@example.com",{key}"firstName":"Kit","birthDate_YYYYMMDD":"20150102"}}"#);
        Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(&body)
    };
    dir.attempt(&platform, child("keyless", ""), "lost-before");
    dir.attempt(&platform, child("keyed", r#""userName":"kit1","#), "lost-after");
    dir.run_twice();
    assert_eq!(dir.says("keyed"), "resolved satisfied present store-id");
    assert_eq!(dir.says("keyless"), "resolved not-applied confirmed-absent resend");
}

/// The same where the keyed one was answered with success, and is asked for by its key all the same.
#[test]
fn a_child_that_an_answered_keyed_operation_made_is_not_another_operations() {
    let platform = Platform::dated();
    platform.add(account("mum@example.com"));
    let dir = Dir::of(&platform);
    let body = |key: &str| format!(r#"{{"parentEmail":"mum@example.com",{key}"firstName":"Kit"}}"#);
    let entry = |id: &str, key: &str| Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(&body(key));
    dir.attempt(&platform, entry("keyless", ""), "lost-before");
    let keyed = entry("keyed", r#""userName":"kit1","#);
    platform.send("keyed", "POST", "/api/account", &keyed.text("body"), "plain").unwrap();
    dir.insert(&keyed.answered(201));
    dir.run_twice();
    assert_eq!(dir.says("keyless"), "resolved not-applied confirmed-absent resend");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// A watched `not-applied`, and the plan loses the operation (or is mistyped): no record turned up.
#[test]
fn a_watched_verdict_does_not_fall_to_another_plan() {
    let platform = Platform::start();
    let windows = [("watch", "7d")];
    let dir = Dir::new(&Setup::of(&platform).windows(&windows));
    dir.attempt(&platform, Entry::register("r1", &platform.url, "ann@example.com"), "lost-before");
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    let plan = plan.replace("\"/api/v1.0/account\", \"/api/account\"]\nneeds", "\"/api/v2/people\"]\nneeds");
    std::fs::write(dir.file("mine.toml"), plan).unwrap();
    dir.configure(&Setup { plan: "mine.toml".to_owned(), ..Setup::of(&platform) }.windows(&windows));
    dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
}
