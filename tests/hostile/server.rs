//! Proves that no server, however broken or hostile, makes the job say something wrong: what is not the documented answer
//! leaves entries pending, few requests are sent to who does not answer, and nothing leaks.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::{Answer, Asked, CANARY, Dir, Entry, Hostile, Ran, Setup, said};
use privo_reconcile::clock::{Moment, Span};

/// The client's secret and the token, which no output may show.
const HUSH: &str = "hunter2-hush";
const TOKEN: &str = "token-hush";

/// Requests that a server which does not answer may get: until the breaker opens, and those that were under way.
const FEW: usize = 10 + 4;

/// One more than what the breaker takes, by far.
const ENTRIES: usize = 40;

fn token() -> Answer {
    Answer::json("200 OK", &format!(r#"{{"access_token":"{TOKEN}","expires_in":599}}"#))
}

/// What an honest server without any account but the canary answers.
fn honest(asked: &Asked) -> Answer {
    if asked.for_token() {
        token()
    } else if asked.path.ends_with("email=canary%40control.example") {
        Answer::json("200 OK", r#"{"sid":"canary"}"#)
    } else if asked.path.ends_with("service_id=canary") {
        Answer::json("200 OK", r#"{"sub":"canary","email":"canary@control.example"}"#)
    } else {
        Answer::json("404 Not Found", r#"{"message":"not found"}"#)
    }
}

/// Whether a request belongs to an entry, and not to a control or the token.
fn of_an_entry(asked: &Asked) -> bool {
    asked.path.contains("child")
}

/// With a timeout that no answer needs on however slow a machine.
fn dir_with(server: &Hostile, entries: usize) -> Dir {
    dir_of(server, entries, "1m")
}

fn dir_of(server: &Hostile, entries: usize, timeout: &str) -> Dir {
    let controls = format!("[[control]]\nlookup = \"account-by-email\"\nkey = \"{CANARY}\"\n");
    let setup = Setup { controls, server: format!("timeout = \"{timeout}\""), ..Setup::bare(&server.url) };
    let dir = Dir::new(&setup);
    std::fs::write(dir.file("secret"), HUSH).unwrap();
    for n in 0..entries {
        dir.insert(&Entry::register(&format!("r{n}"), &server.url, &format!("child{n}@secret.example")));
    }
    dir
}

/// Nothing that a command said tells a secret or whom it is about.
fn keeps_quiet(ran: &Ran) {
    for hush in [HUSH, TOKEN, "child", "secret.example", "panicked"] {
        assert!(!format!("{ran:?}").contains(hush), "{ran:?}");
    }
}

/// Everything is pending because no answer could be relied on.
fn all_inconclusive(dir: &Dir, what: &str) {
    for row in dir.report() {
        assert_eq!(said(&row), "pending . inconclusive wait", "{what}");
    }
    assert_eq!(dir.run(&["verify"]).code, 0, "{what}");
}

fn meaningless() -> Vec<(&'static str, Answer)> {
    let ok = |body: &str| Answer::json("200 OK", body);
    vec![
        ("a page", Answer::html("200 OK")),
        ("a 404 page", Answer::html("404 Not Found")),
        ("a 404 without a type", Answer::Whole("404 Not Found", "", "{}".to_owned())),
        ("a 404 that is a list", Answer::json("404 Not Found", "[]")),
        ("text", Answer::Whole("200 OK", "content-type: text/plain\r\n", r#"{"sid":"s1"}"#.to_owned())),
        ("an error envelope", ok(r#"{"status":"ERROR","message":"maintenance"}"#)),
        ("a name twice", ok(r#"{"sid":"s1","sid":"s2"}"#)),
        ("half of JSON", ok(r#"{"sid":"s"#)),
        ("no JSON", ok("{sid: undefined}")),
        ("a list", ok(r#"[{"sid":"s1"}]"#)),
        ("nothing", ok("")),
        ("null", ok("null")),
        ("an id that is null", ok(r#"{"sid":null}"#)),
        ("an id that is an object", ok(r#"{"sid":{"a":1}}"#)),
        ("a first step without its second", ok(r#"{"sid":"s1"}"#)),
        ("a 204", Answer::Whole("204 No Content", "", String::new())),
        ("a 400", Answer::json("400 Bad Request", "{}")),
        ("a 403", Answer::json("403 Forbidden", "{}")),
        ("a 401", Answer::json("401 Unauthorized", "{}")),
        ("a 410", Answer::json("410 Gone", "{}")),
    ]
}

fn broken() -> Vec<(&'static str, Answer)> {
    let cut =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"sid\":\"s1\"}".to_vec();
    vec![
        ("a closed connection", Answer::closed()),
        ("a cut body", Answer::Raw(cut)),
        ("a body without an end", Answer::Endless),
        ("no HTTP", Answer::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
        ("a 500", Answer::json("500 Internal Server Error", "{}")),
        ("a 503 page", Answer::html("503 Service Unavailable")),
        ("silence", Answer::Hang),
    ]
}

#[test]
fn meaningless_answers_leave_entries_pending() {
    for (what, answer) in meaningless() {
        let answered = answer.clone();
        let server = Hostile::start(move |asked, _| if of_an_entry(asked) { answered.clone() } else { honest(asked) });
        let dir = dir_with(&server, 3);
        for _ in 0..2 {
            dir.due();
            let ran = dir.run(&["run"]);
            assert_eq!(ran.code, 4, "{what}: {ran:?}");
            keeps_quiet(&ran);
        }
        all_inconclusive(&dir, what);
    }
}

#[test]
fn meaningless_answers_to_controls_leave_entries_pending() {
    for (what, answer) in meaningless() {
        let answered = answer.clone();
        let server = Hostile::start(move |asked, _| if asked.for_token() { token() } else { answered.clone() });
        let dir = dir_with(&server, 3);
        let ran = dir.run(&["run"]);
        assert_eq!(ran.code, 4, "{what}: {ran:?}");
        keeps_quiet(&ran);
        all_inconclusive(&dir, what);
        assert!(server.counts().1 <= FEW, "{what}: {:?}", server.counts());
        assert!(server.asked().iter().all(|asked| !of_an_entry(asked)), "{what}: no control, no look");
    }
}

#[test]
fn a_server_that_does_not_answer_is_left_alone_soon() {
    std::thread::scope(|scope| {
        for (what, answer) in broken() {
            scope.spawn(move || {
                let answered = answer.clone();
                let server =
                    Hostile::start(move |asked, _| if of_an_entry(asked) { answered.clone() } else { honest(asked) });
                let dir = dir_of(&server, ENTRIES, if what == "silence" { "2s" } else { "1m" });
                let ran = dir.run(&["run"]);
                assert_eq!(ran.code, 4, "{what}: {ran:?}");
                assert!(ran.err.contains("left alone"), "{what}: {ran:?}");
                keeps_quiet(&ran);
                all_inconclusive(&dir, what);
                let looked = server.asked().iter().filter(|asked| of_an_entry(asked)).count();
                assert!((10..=FEW).contains(&looked), "{what}: {looked} requests");
            });
        }
    });
}

#[test]
fn a_server_that_never_answers_gets_few_requests() {
    std::thread::scope(|scope| {
        for (what, answer) in broken().into_iter().filter(|(what, _)| *what != "silence") {
            scope.spawn(move || {
                let answered = answer.clone();
                let server = Hostile::start(move |asked, _| if asked.for_token() { token() } else { answered.clone() });
                let dir = dir_with(&server, ENTRIES);
                let ran = dir.run(&["run"]);
                assert_eq!(ran.code, 4, "{what}: {ran:?}");
                keeps_quiet(&ran);
                all_inconclusive(&dir, what);
                assert!(server.counts().1 <= FEW, "{what}: {:?}", server.counts());
            });
        }
    });
}

#[test]
fn an_inconclusive_answer_breaks_a_streak_of_absences() {
    let looks = AtomicUsize::new(0);
    let server =
        Hostile::start(move |asked, _| match of_an_entry(asked).then(|| looks.fetch_add(1, Ordering::SeqCst)) {
            Some(1) => Answer::html("404 Not Found"),
            _ => honest(asked),
        });
    let dir = dir_with(&server, 1);
    for expected in [
        "pending . unconfirmed may-resend",
        "pending . inconclusive wait",
        "pending . unconfirmed may-resend",
        "resolved not-applied confirmed-absent resend",
    ] {
        dir.due();
        dir.run(&["run"]);
        assert_eq!(dir.says("r0"), expected);
    }
}

#[test]
fn a_redirect_takes_nothing_elsewhere() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let elsewhere = Hostile::start(|_, _| Answer::json("200 OK", r#"{"sid":"s1","sub":"s1","access_token":"x"}"#));
        let location = format!("content-type: application/json\r\nlocation: {}/login\r\n", elsewhere.url);
        let location: &'static str = Box::leak(location.into_boxed_str());
        let moved = Answer::Whole(status, location, "{}".to_owned());
        let server = Hostile::start(move |asked, _| if of_an_entry(asked) { moved.clone() } else { honest(asked) });
        let dir = dir_with(&server, 2);
        keeps_quiet(&dir.runs(4));
        all_inconclusive(&dir, status);
        assert!(elsewhere.asked().is_empty(), "{:?}", elsewhere.asked());
    }
}

#[test]
fn a_server_that_knows_every_key_is_not_believed() {
    let server = Hostile::start(|asked, _| match asked.for_token() {
        true => token(),
        false => Answer::json("200 OK", r#"{"sid":"s1","sub":"s1","given_name":"Ann","birthdate":"19900102"}"#),
    });
    let dir = dir_with(&server, 3);
    dir.runs(4);
    dir.due();
    dir.runs(4);
    for row in dir.report() {
        assert_eq!(said(&row), "pending . uncontrolled review");
    }
}

#[test]
fn a_server_that_knows_no_key_is_not_believed() {
    let server = Hostile::start(|asked, _| match asked.for_token() {
        true => token(),
        false => Answer::json("404 Not Found", "{}"),
    });
    let dir = dir_with(&server, 3);
    dir.runs(4);
    dir.due();
    dir.runs(4);
    for row in dir.report() {
        assert_eq!(said(&row), "pending . uncontrolled review");
    }
}

#[test]
fn one_token_serves_many_lookups() {
    let server = Hostile::start(|asked, _| honest(asked));
    let dir = dir_with(&server, ENTRIES);
    dir.runs(4);
    assert_eq!(server.counts().0, 1);
    dir.due();
    dir.runs(0);
    assert!(server.asked().iter().all(|asked| asked.for_token() || asked.authorization == format!("Bearer {TOKEN}")));
    assert!(server.asked().iter().all(|asked| asked.for_token() || asked.method == "GET"), "reads only");
}

#[test]
fn a_token_that_is_refused_is_renewed_once_for_all() {
    let server = Hostile::start(|asked, before| match (asked.for_token(), asked.authorization.as_str()) {
        (true, _) => Answer::json("200 OK", &format!(r#"{{"access_token":"{TOKEN}-{before}"}}"#)),
        (false, "Bearer token-hush-0") if before > 20 => Answer::json("401 Unauthorized", "{}"),
        _ => honest(asked),
    });
    let dir = dir_with(&server, ENTRIES);
    keeps_quiet(&dir.runs(4));
    assert_eq!(server.counts().0, 2);
    for row in dir.report() {
        assert_eq!(said(&row), "pending . unconfirmed may-resend");
    }
}

#[test]
fn a_storm_of_401_is_no_storm_of_requests() {
    let server = Hostile::start(|asked, before| match asked.for_token() {
        true => Answer::json("200 OK", &format!(r#"{{"access_token":"{TOKEN}-{before}"}}"#)),
        false => Answer::json("401 Unauthorized", "{}"),
    });
    let dir = dir_with(&server, ENTRIES);
    keeps_quiet(&dir.runs(4));
    all_inconclusive(&dir, "401");
    let (tokens, lookups) = server.counts();
    assert!(tokens <= FEW && lookups <= FEW, "{tokens} tokens, {lookups} lookups");
}

#[test]
fn a_token_endpoint_without_an_answer_leaves_everything_pending() {
    std::thread::scope(|scope| {
        let no_token = Answer::json("200 OK", r#"{"error":"server_error"}"#);
        let quick = broken().into_iter().filter(|(what, _)| *what != "silence");
        for (what, answer) in quick.chain([("no token", no_token), ("a page", Answer::html("200 OK"))]) {
            scope.spawn(move || {
                let answered = answer.clone();
                let server = Hostile::start(move |_, _| answered.clone());
                let dir = dir_with(&server, ENTRIES);
                let ran = dir.run(&["run"]);
                assert_eq!(ran.code, 4, "{what}: {ran:?}");
                keeps_quiet(&ran);
                all_inconclusive(&dir, what);
                let (tokens, lookups) = server.counts();
                assert!(tokens <= FEW && lookups == 0, "{what}: {tokens} tokens, {lookups} lookups");
            });
        }
    });
}

#[test]
fn a_token_endpoint_that_refuses_ends_the_run() {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden"] {
        let body = format!(r#"{{"error":"invalid_client","hint":"{HUSH}"}}"#);
        let server = Hostile::start(move |_, _| Answer::json(status, &body));
        let dir = dir_with(&server, ENTRIES);
        let ran = dir.run(&["run"]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("[auth]") && server.counts() == (1, 0), "{ran:?} {:?}", server.counts());
        keeps_quiet(&ran);
        all_inconclusive(&dir, status);
    }
}

/// One request of a run meets a 429 with these headers. Gives the run, how long it took and how many requests it made.
fn turned_away(headers: &'static str) -> (Dir, Ran, Span, usize) {
    let server = Hostile::start(move |asked, before| match before {
        3 => Answer::Whole("429 Too Many Requests", headers, "{}".to_owned()),
        _ => honest(asked),
    });
    let dir = dir_with(&server, 1);
    let started = Moment::now();
    let ran = dir.run(&["run"]);
    keeps_quiet(&ran);
    (dir, ran, Moment::now().since(started), server.asked().len())
}

#[test]
fn after_a_429_the_same_look_is_made_again_in_the_same_run() {
    for headers in ["", "retry-after: 0\r\n", "retry-after: soon\r\n", "retry-after: -5\r\n", "retry-after: 1\r\n"] {
        let (dir, ran, took, requests) = turned_away(headers);
        assert_eq!((ran.code, requests), (4, 6), "{headers}");
        assert_eq!(dir.says("r0"), "pending . unconfirmed may-resend", "{headers}");
        assert!(took >= Span::seconds(1) && took < Span::seconds(60), "{headers} {took}");
    }
}

#[test]
fn a_huge_retry_after_ends_the_run_and_is_never_cut_short() {
    for headers in [
        "retry-after: 86400\r\n",
        "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\ndate: Sun, 22 Nov 2026 12:00:00 GMT\r\n",
    ] {
        // It ends by itself, for no test waits that long for a command.
        let (dir, ran, _, requests) = turned_away(headers);
        assert_eq!((ran.code, requests), (4, 4), "{headers}");
        assert_eq!(dir.says("r0"), "pending . inconclusive wait");
        assert!(ran.err.contains("429"), "{ran:?}");
    }
}
