//! Proves, through the real binary, what `resend` promises: a permit is given only for what is proven safe at that moment,
//! approved and not permitted before; it is in the ledger before it leaves; and the first surprise ends the call.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::resends::{
    ACCOUNT, ANSWERED, RESEND, Talk, WAIT, approve, digest, email, intents, list, lost, operations, program, register,
    send, sent, setup,
};
use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};
use serde_json::{Value, json};

#[test]
fn the_list_has_each_operation_once_and_a_digest_that_no_clock_changes() {
    let platform = Platform::start();
    let dir = lost(&platform, 2);
    let first = list(&dir);
    assert_eq!(operations(&first), ["r0", "r1"]);
    assert_eq!(first["operations"][0]["attempts"], json!(["r0/1"]));
    assert_eq!(first["digest"], list(&dir)["digest"]);
    let text = dir.run(&["resend"]);
    let digest = first["digest"].as_str().unwrap();
    assert_eq!((text.code, text.err.as_str()), (0, ""));
    assert!(text.out.contains("r0  register-account") || text.out.contains("r0  "), "{text:?}");
    assert!(text.out.contains(&format!("resend --approve {digest} --who NAME")), "{text:?}");
    // Another operation is another list; so is another verdict.
    dir.insert(&register(&platform, 7));
    dir.run_twice();
    let second = list(&dir);
    assert_eq!(operations(&second), ["r0", "r1", "r7"]);
    assert_ne!(first["digest"], second["digest"]);
    dir.run(&["close", "r7/1", "--who", "Dana", "--why", "not wanted any more"]);
    assert_eq!(list(&dir)["digest"], first["digest"]);
}

#[test]
fn a_permit_is_in_the_ledger_before_it_leaves_and_what_succeeded_is_decided_anew() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    let permit = talk.permit();
    let id = permit["request_id"].as_str().unwrap();
    assert_eq!(
        (&permit["operation_id"], &permit["method"], &permit["path"]),
        (&json!("r0"), &json!("POST"), &json!(ACCOUNT))
    );
    assert_eq!(permit["attempts"], json!(["r0/1"]));
    let row: (String, String, String, String) = dir
        .db()
        .query_row("SELECT operation_id, failure, body, sent_at FROM entries WHERE request_id = ?", [id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str()), ("r0", "intent"));
    assert_eq!(row.2, register(&platform, 0).text("body"));
    let deadline = Moment::parse(permit["deadline"].as_str().unwrap()).unwrap();
    let sent_at = Moment::parse(&row.3).unwrap();
    assert!(deadline > sent_at && deadline.since(sent_at) <= Span::seconds(3600), "{permit}");
    // Nobody else is advised to send it while that is open.
    assert_eq!(dir.says("r0/1"), WAIT);
    assert!(operations(&list(&dir)).is_empty());
    assert_eq!(send(&platform, &permit, "plain").unwrap().0, 201);
    assert_eq!(talk.end(&permit, r#""answered":201"#), json!({"ok": true, "request_id": id, "became": "recorded"}));
    assert!(talk.none().contains("nothing"));
    let ran = talk.ends();
    assert_eq!((ran.code, ran.err.as_str()), (4, ""), "the operation is decided anew by the next run");
    dir.due();
    assert_eq!(dir.run(&["run"]).code, 0);
    assert!(dir.says("r0/1").starts_with("resolved satisfied present"), "{}", dir.says("r0/1"));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn a_permit_shows_nothing_but_the_partners_own_ids() {
    let platform = Platform::start();
    let dir = Dir::new(&setup(&platform));
    let url = format!("{}/api/v1.0/account?email=kid0%40example.com&from=kid0@example.com", platform.url);
    dir.insert(&register(&platform, 0).with("url", url));
    dir.run_twice();
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    let permit = talk.permit();
    let keys: Vec<&String> = permit.as_object().unwrap().keys().collect();
    let expected = ["attempts", "deadline", "method", "operation", "operation_id", "path", "request_id"];
    assert_eq!(keys.len(), expected.len(), "{permit}");
    assert!(expected.iter().all(|key| permit[*key] != Value::Null), "{permit}");
    assert!(!permit.to_string().contains("kid0"), "{permit}");
    talk.ends();
}

#[test]
fn without_an_approval_nothing_is_permitted_and_the_command_to_approve_is_said() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    let mut talk = Talk::of(&dir, &[]);
    let why = talk.none();
    assert!(why.contains(&format!("resend --approve {} --who NAME", digest(&dir))), "{why}");
    assert_eq!(talk.ends().code, 2);
    let command = program(&dir, ANSWERED);
    let ran = dir.run(&["resend", "--", &command]);
    assert!(ran.code == 2 && ran.err.contains("--approve"), "{ran:?}");
    assert!(!dir.file("permits").exists());
    assert_eq!(intents(&dir), 0);
}

#[test]
fn only_the_list_that_was_shown_is_approved() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    let shown = digest(&dir);
    dir.insert(&register(&platform, 1));
    dir.run_twice();
    let ran = dir.run(&["resend", "--approve", &shown, "--who", "Dana"]);
    assert!(ran.code == 2 && ran.err.contains("nothing was approved"), "{ran:?}");
    for wrong in [
        &["resend", "--approve", "0"][..],
        &["resend", "--who", "Dana"],
        &["resend", "--approve", &shown, "--who", " "],
    ] {
        assert_eq!(dir.run(wrong).code, 2, "{wrong:?}");
    }
    // What came after the approval is not among what was approved.
    approve(&dir);
    dir.insert(&register(&platform, 2));
    dir.run_twice();
    let mut talk = Talk::of(&dir, &[]);
    for _ in 0..2 {
        let permit = talk.permit();
        assert_ne!(permit["operation_id"], "r2");
        talk.end(&permit, r#""answered":201"#);
    }
    assert!(talk.none().contains("--approve"));
    assert_eq!(talk.ends().code, 4);
}

#[test]
fn an_approval_is_stale_after_a_day() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    assert_eq!(list(&dir)["approved"], 1);
    let age = |by: i64| {
        dir.db().execute_batch("DROP TRIGGER IF EXISTS notes_kept").unwrap();
        dir.db().execute("UPDATE notes SET at_ms = at_ms - ? WHERE kind = 'approval'", [by]).unwrap();
    };
    age(24 * 3_600_000 + 1000);
    assert_eq!((list(&dir)["approved"].clone(), list(&dir)["approval"].clone()), (json!(0), Value::Null));
    let mut talk = Talk::of(&dir, &[]);
    assert!(talk.none().contains("no approval holds"));
    assert_eq!(talk.ends().code, 2);
    age(-3_600_000);
    let mut talk = Talk::of(&dir, &[]);
    talk.permit();
    talk.ends();
}

#[test]
fn an_operation_is_permitted_once_for_an_approval() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    let permit = talk.permit();
    talk.end(&permit, r#""failure":"not_sent""#);
    talk.ends();
    // Nothing was applied, and a run says again that it is to be sent: that is another list.
    dir.run_twice();
    assert_eq!(dir.says("r0/1"), RESEND);
    let mut talk = Talk::of(&dir, &[]);
    assert!(talk.none().contains("--approve"));
    talk.ends();
    approve(&dir);
    let mut talk = Talk::of(&dir, &[]);
    assert_eq!(talk.permit()["attempts"], json!(["r0/1", permit["request_id"]]));
    talk.ends();
}

#[test]
fn a_call_gives_no_more_than_it_may_and_one_after_the_other() {
    let platform = Platform::start();
    let dir = lost(&platform, 3);
    approve(&dir);
    let mut talk = Talk::of(&dir, &["--most", "2"]);
    let first = talk.permit();
    assert!(talk.none().contains("not ended"));
    let answer = talk.say(r#"{"end":{"request_id":"r0/1","answered":201}}"#);
    assert_eq!(answer["ok"], false, "only its own permit is ended here");
    talk.end(&first, r#""answered":201"#);
    let second = talk.permit();
    talk.end(&second, r#""answered":201"#);
    assert!(talk.none().contains("--most"));
    assert_eq!(talk.ends().code, 2, "a line was wrong");
    assert_eq!(operations(&list(&dir)), ["r2"]);
}

#[test]
fn the_first_end_that_is_no_success_stops_the_call() {
    let platform = Platform::start();
    for end in [
        r#""answered":400"#,
        r#""answered":412"#,
        r#""answered":208"#,
        r#""answered":503"#,
        r#""answered":429"#,
        r#""failure":"timeout""#,
        r#""failure":"network""#,
        r#""failure":"not_sent""#,
    ] {
        let dir = lost(&platform, 2);
        approve(&dir);
        let mut talk = Talk::of(&dir, &[]);
        let permit = talk.permit();
        assert_eq!(talk.end(&permit, end)["ok"], true, "{end}");
        assert!(talk.none().contains("no more is permitted"), "{end}");
        assert!(talk.none().contains("no more is permitted"), "{end}");
        talk.ends();
        assert_eq!(operations(&list(&dir)), ["r1"], "{end}");
    }
}

#[test]
fn what_was_applied_late_is_found_and_stops_the_call() {
    let platform = Platform::start();
    let dir = lost(&platform, 2);
    approve(&dir);
    platform.add(NewAccount { email: Some(email(0)), given_name: Some("Ann".to_owned()), ..NewAccount::default() });
    let mut talk = Talk::of(&dir, &[]);
    assert!(talk.none().contains("a look found"));
    assert!(talk.none().contains("a look found"));
    assert_eq!(talk.ends().code, 0);
    assert_eq!((intents(&dir), sent(&platform)), (0, 0));
    // It is a correction, and loud.
    let row = dir.row("r0/1");
    assert_eq!(row["status"], "resolved");
    assert!(row["explanation"].contains("correction"), "{row:?}");
    assert_eq!(dir.run(&["verify"]).code, 0);
    // The next call goes on with what is as it was approved.
    let mut talk = Talk::of(&dir, &[]);
    assert_eq!(talk.permit()["operation_id"], "r1");
    talk.ends();
}

#[test]
fn a_look_without_an_answer_to_rely_on_permits_nothing() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    approve(&dir);
    platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
    let mut talk = Talk::of(&dir, &[]);
    talk.none();
    talk.ends();
    assert_eq!((intents(&dir), dir.says("r0/1")), (0, RESEND.to_owned()));
    // A control that is contradicted voids the look.
    platform.set_faults(Faults::default());
    let mut broken = setup(&platform);
    broken.controls = broken.controls.replace(util::CANARY, "nobody@control.example");
    dir.configure(&broken);
    let mut talk = Talk::of(&dir, &[]);
    talk.none();
    talk.ends();
    assert_eq!(intents(&dir), 0);
}

#[test]
fn what_never_left_is_permitted_without_a_look_at_it() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup { controls: String::new(), ..setup(&platform) });
    dir.insert(&register(&platform, 0).failure("not_sent"));
    dir.runs(0);
    approve(&dir);
    let lookups = platform.requests("GET /api/v1.0/account/lookup");
    let mut talk = Talk::of(&dir, &[]);
    talk.permit();
    talk.ends();
    // The server was asked for its time, by a key that nobody has.
    assert_eq!(platform.requests("GET /api/v1.0/account/lookup"), lookups + 1);
}

#[test]
fn a_create_that_nothing_shows_is_left_to_a_person() {
    let platform = Platform::start();
    let dir = Dir::new(&setup(&platform));
    let url = format!("{}/api/v1.0/consent/resend", platform.url);
    dir.insert(&Entry::new("r0/1", "POST", &url).body(r#"{"consent_id":"c"}"#).operation("r0").failure("not_sent"));
    dir.runs(0);
    assert!(dir.says("r0/1").ends_with("never-sent resend"));
    let list = list(&dir);
    assert!(operations(&list).is_empty() && list["left_out"][0]["operation_id"] == "r0", "{list}");
    assert_eq!(dir.run(&["resend", "--approve", list["digest"].as_str().unwrap(), "--who", "Dana"]).code, 2);
}

/// What a command leaves behind may hold its output open: the command has ended and said what it had to say.
#[test]
fn a_command_that_left_something_behind_is_not_waited_for() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    let script = format!("sleep 600 2>/dev/null &\necho $! > left\n{ANSWERED}");
    let command = program(&dir, &script);
    approve(&dir);
    // `settle.intent` is an hour: who waited for it would hang.
    let ran = dir.run(&["resend", "--", &command]);
    util::signal("-KILL", dir.read("left").trim().parse().unwrap());
    assert!(ran.err.contains("1 permitted, 1 succeeded"), "{ran:?}");
}

/// An answer is evidence and no attempt in doubt: it has no row, whoever looks at its operation.
#[test]
fn an_answered_attempt_has_no_row_after_a_second_permit() {
    let platform = Platform::start();
    let dir = lost(&platform, 1);
    let rows = dir.report().len();
    for _ in 0..2 {
        approve(&dir);
        let mut talk = Talk::of(&dir, &[]);
        let permit = talk.permit();
        talk.end(&permit, r#""answered":400"#);
        talk.ends();
        dir.run_twice();
    }
    let answered = "SELECT count(*) FROM entries JOIN state ON entry_id = id WHERE failure = 'answered'";
    assert_eq!((dir.count(answered), dir.count(&format!("{answered} AND status IS NOT NULL"))), (2, 0));
    assert_eq!(dir.report().len(), rows);
    assert_eq!(dir.run(&["verify"]).code, 0);
}
