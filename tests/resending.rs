//! Proves what `resend` promises beside others: several resenders, writers and runs at once, crashes at the worst moment, and
//! programs that fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use crate::util::resends::{
    ANSWERED, RESEND, Talk, WAIT, approve, email, intents, list, lost, operations, program, register, send, sent, setup,
};
use crate::util::{Dir, Entry, Platform, Setup, until};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::ledger::{Ledger, RunStart};
use privo_reconcile::lookup::Lookups;
use privo_reconcile::run::permit::{Answer, Permits};
use privo_reconcile::sandbox::{Faults, NewAccount};
use serde_json::{Value, json};

/// How many intents and ends each operation has beside its first attempt.
fn attempts(dir: &Dir) -> BTreeMap<String, i64> {
    let db = dir.db();
    let sql = "SELECT operation_id, count(*) FROM entries WHERE request_id NOT LIKE 'r%/1' GROUP BY operation_id";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A call is given no permit, for its look found what was not expected.
fn is_surprised(dir: &Dir) {
    let mut talk = Talk::of(dir, &[]);
    let why = talk.none();
    assert!(why.contains("a look found"), "{why}");
    talk.ends();
}

#[test]
fn two_resenders_at_once_permit_each_operation_once() {
    let platform = Platform::start();
    let dir = lost(&platform, 12);
    approve(&dir);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut talk = Talk::of(&dir, &["--most", "100"]);
                loop {
                    let answer = talk.next();
                    let Some(permit) = answer.get("permit") else { break };
                    assert_eq!(send(&platform, permit, "plain").unwrap().0, 201, "{permit}");
                    talk.end(permit, r#""answered":201"#);
                }
                talk.ends();
            });
        }
    });
    let expected: BTreeMap<String, i64> = (0..12).map(|n| (format!("r{n}"), 1)).collect();
    assert_eq!((attempts(&dir), sent(&platform)), (expected, 12));
    dir.due();
    assert_eq!(dir.run(&["run"]).code, 0);
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn a_crash_between_permit_and_sending_leaves_an_intent_like_any_other() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let talk = {
        let mut talk = Talk::of(&dir, &[]);
        talk.permit();
        talk
    };
    talk.dies();
    assert_eq!(intents(&dir), 1);
    // As long as it may be under way, nobody is permitted to send it.
    dir.run_twice();
    assert!(dir.says("r0/1").starts_with("pending . unsettled"), "{}", dir.says("r0/1"));
    let mut talk = Talk::of(&dir, &[]);
    talk.none();
    talk.ends();
    // Once its window is over it is known that nothing came of it.
    dir.configure(&setup(&platform).windows(&[("intent", "0s")]));
    dir.run_twice();
    assert_eq!(dir.says("r0/1"), RESEND);
    assert_eq!(sent(&platform), 0);
}

#[test]
fn a_crash_between_sending_and_end_is_found_out_and_nothing_is_sent_twice() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    let permit = talk.permit();
    send(&platform, &permit, "plain").unwrap();
    talk.dies();
    dir.run_twice();
    assert!(dir.says("r0/1").starts_with("resolved satisfied present"), "{}", dir.says("r0/1"));
    assert!(operations(&list(&dir)).is_empty());
    let mut talk = Talk::of(&dir, &[]);
    talk.none();
    talk.ends();
    assert_eq!(sent(&platform), 1);
}

#[test]
fn a_row_of_another_writer_that_came_since_permits_nothing() {
    let platform = Platform::start();
    for came in [
        // Another attempt of the operation, and another operation with its key.
        register(&platform, 0).with("request_id", "r0/2".to_owned()),
        register(&platform, 0).with("request_id", "x".to_owned()).operation("x"),
    ] {
        let dir = lost(&platform, 2);
        approve(&dir);
        dir.insert(&came);
        let mut talk = Talk::of(&dir, &[]);
        assert_eq!(talk.permit()["operation_id"], "r1", "{came:?}");
        talk.ends();
        assert_eq!(dir.says("r0/1"), WAIT, "{came:?}");
    }
}

/// The row comes while the server is being asked, so that nothing but the writing can find it.
#[test]
fn a_row_that_comes_during_the_look_permits_nothing() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    platform.set_faults(Faults { latency_ms: 1500, ..Faults::default() });
    let lookups = || platform.requests("GET /api/v1.0/account/lookup");
    let before = lookups();
    let mut talk = Talk::of(&dir, &[]);
    talk.ask();
    until("the look", || lookups() > before);
    dir.insert(&register(&platform, 0).with("request_id", "r0/2".to_owned()));
    let why = talk.answer();
    assert!(why["none"]["why"].as_str().unwrap().contains("cannot be permitted now"), "{why}");
    talk.ends();
    assert_eq!(intents(&dir), 0);
}

#[test]
fn what_a_person_closed_is_not_permitted() {
    let platform = Platform::start();
    let dir = lost(&platform, 2);
    approve(&dir);
    dir.run(&["close", "r0/1", "--who", "Dana", "--why", "not wanted any more"]);
    let mut talk = Talk::of(&dir, &[]);
    assert_eq!(talk.permit()["operation_id"], "r1");
    talk.ends();
}

#[test]
fn the_lock_is_free_between_permits_and_is_waited_for() {
    let platform = Platform::start();
    let dir = lost(&platform, 2);
    approve(&dir);
    let mut talk = Talk::of(&dir, &["--wait-lock", "1s"]);
    let permit = talk.permit();
    // A run goes on beside an open permit.
    assert_eq!(dir.run(&["run"]).code, 4);
    talk.end(&permit, r#""answered":201"#);
    let held = Ledger::open_locked(&dir.file("ledger.db")).unwrap();
    assert!(talk.none().contains("another run holds"));
    assert_eq!(talk.ends().code, 11);
    let command = program(&dir, ANSWERED);
    assert_eq!(dir.run(&["resend", "--wait-lock", "0s", "--", &command]).code, 11);
    drop(held);
    assert_eq!(dir.run(&["resend", "--wait-lock", "0s", "--", &command]).code, 4);
    assert_eq!(operations(&list(&dir)), [""; 0]);
}

#[test]
fn a_program_is_run_once_for_each_permit() {
    let platform = Platform::start();
    let dir = lost(&platform, 3);
    let command = program(&dir, ANSWERED);
    approve(&dir);
    let ran = dir.run(&["resend", "--most", "2", "--", &command]);
    assert!(ran.code == 4 && ran.err.contains("2 permitted, 2 succeeded") && ran.out.is_empty(), "{ran:?}");
    let permits =
        || -> Vec<Value> { dir.read("permits").lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    assert_eq!(permits().iter().map(|permit| &permit["operation_id"]).collect::<Vec<_>>(), ["r0", "r1"]);
    let ran = dir.run(&["resend", "--json", "--", &command]);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&shown["permitted"], &shown["succeeded"], &shown["stopped"]), (&json!(1), &json!(1), &Value::Null));
    assert_eq!(permits().len(), 3);
    let answered =
        dir.recorded().into_iter().filter(|(_, failure, status)| failure == "answered" && *status == Some(201));
    assert_eq!(answered.count(), 3);
}

#[test]
fn a_program_that_fails_says_nothing_or_is_killed_leaves_its_request_in_doubt_and_stops() {
    let platform = Platform::start();
    let failing = format!("{ANSWERED}\nexit 3");
    let words_after = format!("{ANSWERED}\necho done");
    let another = r#"echo '{"end":{"request_id":"r0/1","answered":201}}'"#;
    for script in [failing.as_str(), "exit 0", words_after.as_str(), another, "kill -KILL $$"] {
        let dir = lost(&platform, 2);
        approve(&dir);
        let command = program(&dir, script);
        let ran = dir.run(&["resend", "--", &command]);
        assert!(ran.code == 4 && ran.err.contains("in doubt"), "{script}: {ran:?}");
        assert_eq!(dir.read("permits").lines().count(), 1, "{script}");
        assert_eq!(intents(&dir), 1, "{script}");
        assert_eq!(operations(&list(&dir)), ["r1"], "{script}");
    }
    let dir = lost(&platform, 1);
    approve(&dir);
    let ran = dir.run(&["resend", "--", "./there-is-none"]);
    assert!(ran.code == 4 && ran.err.contains("failed to start"), "{ran:?}");
}

#[test]
fn a_program_that_takes_longer_than_its_window_is_killed() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    dir.configure(&setup(&platform).windows(&[("intent", "2s")]));
    approve(&dir);
    let command = program(&dir, "sleep 600");
    let ran = dir.run(&["resend", "--", &command]);
    assert!(ran.code == 4 && ran.err.contains("settle.intent"), "{ran:?}");
    dir.configure(&setup(&platform).windows(&[("intent", "0s")]));
    let ran = dir.run(&["resend", "--", &command]);
    assert!(ran.code == 2 && ran.err.contains("settle.intent"), "{ran:?}");
}

fn child(id: &str, platform: &Platform, name: &str) -> Entry {
    let body = format!(r#"{{"parentEmail":"mum@example.com","first_name":"{name}","birth_date_yyyymmdd":"20150101"}}"#);
    Entry::new(id, "POST", &format!("{}/api/account", platform.url)).body(&body)
}

/// A create that the server does not keep unique: its list decides, also of what never left.
#[test]
fn a_create_that_is_not_unique_is_permitted_by_its_whole_list_alone() {
    let platform = Platform::start();
    let mum = Some("mum@example.com".to_owned());
    platform.add(NewAccount { email: mum.clone(), ..NewAccount::default() });
    for failure in ["timeout", "not_sent"] {
        let dir = Dir::new(&setup(&platform));
        dir.insert(&child("c/1", &platform, "Kim").failure(failure));
        dir.run_twice();
        assert_eq!(operations(&list(&dir)), ["c/1"], "{failure}: {}", dir.says("c/1"));
        approve(&dir);
        platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
        let mut talk = Talk::of(&dir, &[]);
        talk.none();
        talk.ends();
        platform.set_faults(Faults::default());
        let mut without = setup(&platform);
        without.controls = String::new();
        dir.configure(&without);
        let mut talk = Talk::of(&dir, &[]);
        talk.none();
        talk.ends();
        assert_eq!(intents(&dir), 0, "{failure}");
        dir.configure(&setup(&platform));
        if failure == "timeout" {
            // An absence is believed when it was seen twice, and what got no answer began that anew.
            let mut talk = Talk::of(&dir, &[]);
            assert!(talk.none().contains("seen once"));
            talk.ends();
        }
        let mut talk = Talk::of(&dir, &[]);
        talk.permit();
        talk.ends();
    }
    // A child of that name is listed by now.
    let dir = Dir::new(&setup(&platform));
    for (id, failure) in [("c/1", "timeout"), ("d/1", "not_sent")] {
        let name = if id == "c/1" { "Lou" } else { "Max" };
        dir.insert(&child(id, &platform, name).failure(failure));
    }
    dir.run_twice();
    approve(&dir);
    for name in ["Lou", "Max"] {
        let (given_name, birth_date_yyyymmdd) = (Some(name.to_owned()), Some("20150101".to_owned()));
        platform.add(NewAccount {
            given_name,
            birth_date_yyyymmdd,
            parent_email: mum.clone(),
            ..NewAccount::default()
        });
    }
    for _ in 0..2 {
        is_surprised(&dir);
    }
    assert_eq!(intents(&dir), 0);
}

#[test]
fn an_update_is_permitted_while_the_values_are_those_of_before() {
    let platform = Platform::start();
    let mum = Some("mum@example.com".to_owned());
    let sid = platform.add(NewAccount { eid: Some("kid".to_owned()), parent_email: mum, ..NewAccount::default() });
    let granter = platform.truth().accounts.iter().find(|a| a.service_id == sid).unwrap().parent.clone().unwrap();
    let path = format!("/s2s/api/v1.0/sandbox/accounts/sid/{sid}/{granter}/features/revoke");
    let revoke = Entry::new("u/1", "POST", &format!("{}{path}", platform.url)).body(r#"{"features":["chat"]}"#);
    let dir = Dir::new(&Setup::consent(&platform).windows(&[("intent", "1h")]));
    dir.attempt(&platform, revoke.clone().operation("u"), "lost-before");
    dir.run_twice();
    assert!(dir.says("u/1").ends_with("not-updated resend"), "{}", dir.says("u/1"));
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    assert!(talk.permit()["path"].as_str().unwrap().contains("{service}"), "the plan's template, not the URL");
    talk.ends();
    // Revoked by now, by whomever: that is another state than the one that was approved.
    let dir = Dir::new(&Setup::consent(&platform).windows(&[("intent", "1h")]));
    dir.attempt(&platform, revoke.clone().operation("u"), "lost-before");
    dir.run_twice();
    approve(&dir);
    platform.send("by hand", "POST", &path, &revoke.text("body"), "plain").unwrap();
    is_surprised(&dir);
    assert_eq!(intents(&dir), 0);
}

/// Siblings are decided together: once one of them is permitted, the others wait for what becomes of it.
#[test]
fn a_permit_takes_back_the_advice_for_all_of_its_group() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("mum@example.com".to_owned()), ..NewAccount::default() });
    let dir = Dir::new(&setup(&platform));
    dir.insert(&child("c/1", &platform, "Kim"));
    dir.insert(&child("d/1", &platform, "Lou"));
    dir.run_twice();
    assert_eq!(operations(&list(&dir)), ["c/1", "d/1"]);
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    talk.permit();
    talk.ends();
    assert!(operations(&list(&dir)).is_empty());
    let mut talk = Talk::of(&dir, &[]);
    assert!(talk.none().contains("nothing is to be sent again now"));
    talk.ends();
    assert_eq!(intents(&dir), 1);
}

/// A conversation may last longer than the server's trouble.
#[test]
fn a_server_that_is_back_is_asked_again_in_the_same_conversation() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
    let mut talk = Talk::of(&dir, &[]);
    let why = talk.none();
    assert!(why.contains("no answer") || why.contains("cannot be permitted"), "{why}");
    platform.set_faults(Faults::default());
    for _ in 0..20 {
        if talk.next()["permit"].is_object() {
            talk.ends();
            return;
        }
    }
    panic!("it was never asked again");
}

#[test]
fn a_delete_is_permitted_while_its_record_is_still_there() {
    let platform = Platform::start();
    let long_ago = Some(Moment::now().0 - 86_400_000);
    platform.set_faults(Faults { shows_created_at: true, ..Faults::default() });
    let sid = platform.add(NewAccount { email: Some(email(0)), made_ms: long_ago, ..NewAccount::default() });
    let dir = Dir::new(&setup(&platform));
    let url = format!("{}/api/v1.0/account?email=kid0%40example.com", platform.url);
    for n in 0..2 {
        dir.insert(&Entry::new(&format!("d{n}/1"), "DELETE", &url).operation("d"));
    }
    dir.run_twice();
    assert_eq!(operations(&list(&dir)), ["d"], "{}", dir.says("d0/1"));
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    let permit = talk.permit();
    assert_eq!((&permit["method"], &permit["attempts"]), (&json!("DELETE"), &json!(["d0/1", "d1/1"])));
    talk.ends();
    // Gone by now: the look finds it out.
    let dir = Dir::new(&setup(&platform));
    dir.insert(&Entry::new("d/1", "DELETE", &url));
    dir.run_twice();
    approve(&dir);
    platform.remove(&sid);
    let mut talk = Talk::of(&dir, &[]);
    assert!(talk.none().contains("a look found"));
    talk.ends();
    assert_eq!(intents(&dir), 0);
}

/// What a 429 turned away made nothing; so nothing in the list corrects its verdict, and all the same it is not sent.
#[test]
fn what_somebody_else_did_since_is_not_sent_again_and_holds_nothing_up() {
    let platform = Platform::start();
    let mum = Some("mum@example.com".to_owned());
    platform.add(NewAccount { email: mum.clone(), ..NewAccount::default() });
    let dir = Dir::new(&setup(&platform));
    dir.insert(&child("c/1", &platform, "Kim").http(429));
    dir.insert(&register(&platform, 1));
    dir.run_twice();
    assert_eq!(operations(&list(&dir)), ["c/1", "r1"]);
    approve(&dir);
    platform.add(NewAccount {
        given_name: Some("Kim".to_owned()),
        birth_date_yyyymmdd: Some("20150101".to_owned()),
        parent_email: mum,
        ..NewAccount::default()
    });
    is_surprised(&dir);
    assert_eq!((dir.says("c/1"), intents(&dir)), (RESEND.to_owned(), 0));
    // What was approved of it is over; the next one is not held up.
    let mut talk = Talk::of(&dir, &[]);
    assert_eq!(talk.permit()["operation_id"], "r1");
    talk.ends();
}

/// The part of a program between its marks, as docs/RESENDING.md shows it.
fn shown(program: &str, mark: &str) -> String {
    let loops = program.split(&format!("{mark} loop\n")).nth(1).unwrap();
    loops.split(&format!("{mark} end\n")).next().unwrap().trim_matches('\n').to_owned()
}

#[test]
fn the_loops_of_the_page_send_each_operation_once() {
    let page = include_str!("../docs/RESENDING.md");
    // Java runs a source file where its compiler is installed.
    let loops = [
        ("python3", "python3", "resend.py", "#"),
        ("node", "node", "resend.mjs", "//"),
        ("java", "javac", "Resend.java", "//"),
    ];
    for (language, needed, file, mark) in loops {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/resending").join(file);
        assert!(page.contains(&shown(&std::fs::read_to_string(&program).unwrap(), mark)), "{file} is shown otherwise");
        if Command::new(needed).arg("--version").output().is_err() {
            eprintln!("skipped: {needed} is not installed");
            continue;
        }
        let platform = Platform::start();
        let dir = lost(&platform, 3);
        approve(&dir);
        let request = |n: u32| {
            let entry = register(&platform, n);
            json!({"method": "POST", "url": entry.text("url"), "body": entry.text("body")})
        };
        let requests: BTreeMap<String, Value> = (0..3).map(|n| (format!("r{n}"), request(n))).collect();
        std::fs::write(dir.file("requests.json"), serde_json::to_string(&requests).unwrap()).unwrap();
        let mut command = Command::new(language);
        command
            .arg(&program)
            .arg(env!("CARGO_BIN_EXE_privo-reconcile"))
            .args(["privo-reconcile.toml", "requests.json"]);
        command.arg(platform.token()).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = util::finish(command.spawn().unwrap());
        assert!(ran.code == 4 && ran.out.contains("nothing is to be sent again"), "{language}: {ran:?}");
        assert_eq!((sent(&platform), intents(&dir)), (3, 0), "{language}");
        dir.due();
        assert_eq!(dir.run(&["run"]).code, 0, "{language}");
    }
}

/// In this process, for the binary has no clock but the real one: what was seen is older than a minute when it is decided, or
/// the clock was set meanwhile.
#[test]
fn what_was_seen_more_than_a_minute_ago_or_by_another_clock_permits_nothing() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let config = Config::load(Some(&dir.file("privo-reconcile.toml"))).unwrap();
    let mut ledger = Ledger::open(&config.ledger).unwrap();
    let salt = ledger.salt().to_vec();
    let reader = config.reader(&salt);
    let run = ledger
        .begin_run(&RunStart {
            command: "resend",
            started: Moment::now(),
            plan: &config.plan.name,
            plan_digest: &config.plan.digest,
            server: "",
            windows: &config.windows,
        })
        .unwrap();
    let lookups = Lookups::new(&config, Moment::now).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut answer = |clock: fn() -> Moment| {
        let fresh_id = Ledger::fresh_id;
        let permits = Permits { config: &config, reader: &reader, lookups: &lookups, run, clock, fresh_id };
        let approved = ledger.approved(Moment::now()).unwrap()[0];
        runtime.block_on(permits.of(&mut ledger, &approved)).unwrap()
    };
    let late = answer(|| Moment::now() + Span::seconds(61));
    assert!(matches!(&late, Answer::NotNow(why) if why.contains("older than a minute")), "{late:?}");
    // It is read before the look and after it.
    let set_back = answer(|| {
        static READ: AtomicI64 = AtomicI64::new(0);
        Moment::now() - Span::seconds(3600 * READ.fetch_add(1, Ordering::SeqCst))
    });
    assert!(matches!(&set_back, Answer::NotNow(why) if why.contains("clock was set")), "{set_back:?}");
    assert!(matches!(answer(Moment::now), Answer::Permit(_)));
    assert_eq!(intents(&dir), 1);
}

#[test]
fn one_whose_fields_were_forgotten_keeps_no_other_from_being_permitted() {
    let platform = Platform::start();
    let dir = Dir::new(&setup(&platform));
    for n in 0..2 {
        dir.insert(&register(&platform, n).failure("not_sent"));
    }
    dir.run(&["run"]);
    approve(&dir);
    let forgotten = dir.run(&["forget", &email(0), "--who", "Dana", "--why", "asked"]);
    assert_eq!(forgotten.code, 0, "{forgotten:?}");
    let mut talk = Talk::of(&dir, &[]);
    let permit = talk.permit();
    assert_eq!(permit["operation_id"], "r1");
    talk.end(&permit, r#""answered":201"#);
    talk.ends();
}

#[test]
fn a_host_whose_clock_is_far_from_the_servers_is_given_no_permit() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let mut faults = Faults::default();
    faults.habits.date_ahead_ms = 3_600_000;
    platform.set_faults(faults);
    let mut talk = Talk::of(&dir, &[]);
    let why = talk.none();
    assert!(why.contains("clock"), "{why}");
    talk.ends();
    assert_eq!(intents(&dir), 0);
}

#[test]
fn a_line_that_is_none_is_told_which_there_are_and_changes_nothing() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    for line in [r#"{"next":null}"#, r#"{"next":{"a":1}}"#, r#"{"begin":{}}"#, r#"{"entry":{}}"#, "[]", "next"] {
        let answer = talk.say(line);
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(why.contains(r#"a line is {"next":{}} or {"end":{…}}"#), "{line}: {answer}");
    }
    assert_eq!(talk.permit()["operation_id"], "r0");
    assert_eq!(talk.ends().code, 2);
}
