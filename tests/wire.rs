//! Holds every shipped way to record against a server that misbehaves on the wire: it redirects to where nobody is, sends
//! interim answers first, closes or resets in the midst of an answer or after it, and answers before it has read the
//! request. Whatever happens, a request that the server received is never recorded as `not_sent`, and one whose fate the
//! sender does not know is never forgotten.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use crate::util::{After, Answer, Dir, Hostile, Platform, Setup, Writer, finish, wait};
use privo_reconcile::recording::{self, Unwritable};

const CREATED: &str =
    "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"sid\":\"s\"}";

/// What a service that takes seconds to start is spared, for others are like them.
const ALIKE: &[&str] = &["301", "302", "308", "102 first", "closed within the body", "redirect to nowhere"];

/// What is done to a request, and what may stand in the ledger afterwards; an empty text is nothing.
struct Case {
    name: &'static str,
    answer: Answer,
    may: &'static [&'static str],
}

fn cases(dead: &str) -> Vec<Case> {
    let redirect = |status: &str| {
        let head = format!(
            "HTTP/1.1 {status}\r\nlocation: http://{dead}/api/v1.0/account\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        Answer::Raw(head.into_bytes())
    };
    let raw = |text: String| Answer::Raw(text.into_bytes());
    let cut = CREATED.replace(r#"{"sid":"s"}"#, r#"{"sid""#);
    let head = CREATED.replace(r#"{"sid":"s"}"#, "");
    let chunked = "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"sid\r\n";
    let case = |name, answer, may| Case { name, answer, may };
    let (forgotten, lost, either): (&[_], &[_], &[_]) = (&[""], &["network"], &["", "network"]);
    vec![
        case("301", redirect("301 Moved"), forgotten),
        case("302", redirect("302 Found"), forgotten),
        case("303", redirect("303 See Other"), forgotten),
        case("307", redirect("307 Temporary Redirect"), forgotten),
        case("308", redirect("308 Permanent Redirect"), forgotten),
        case(
            "redirect to nowhere",
            raw("HTTP/1.1 307 X\r\nlocation: ::\r\ncontent-length: 0\r\n\r\n".to_owned()),
            either,
        ),
        // Some clients break off at an interim answer that they did not ask for, or take it for the last one.
        case("100 first", raw(format!("HTTP/1.1 100 Continue\r\n\r\n{CREATED}")), either),
        case("102 first", raw(format!("HTTP/1.1 102 Processing\r\n\r\n{CREATED}")), either),
        case("103 first", raw(format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{CREATED}")), either),
        case("103 and nothing more", raw("HTTP/1.1 103 Early Hints\r\n\r\n".to_owned()), lost),
        case(
            "101",
            raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned()),
            lost,
        ),
        case("closed after the head", raw(head.clone()), lost),
        case("closed within the body", raw(cut.clone()), lost),
        case("closed within a chunk", raw(chunked.to_owned()), lost),
        case("reset within the body", Answer::Then(cut.into_bytes(), After::Reset), lost),
        case("reset after the head", Answer::Then(head.into_bytes(), After::Reset), lost),
        case("reset after the body", Answer::Then(CREATED.as_bytes().to_vec(), After::Reset), either),
        case("no HTTP", raw("\u{15}\u{3}\u{1}what".to_owned()), lost),
        case("closed at once", Answer::closed(), lost),
    ]
}

/// Failures of all entries, in the order they came.
fn failures(dir: &Dir) -> Vec<String> {
    dir.recorded().into_iter().map(|(_, failure, _)| failure).collect()
}

/// Checks what stands in the ledger after one request.
fn holds(way: &str, case: &Case, failures: &[String]) {
    let found = match failures {
        [] => "",
        [one] => one.as_str(),
        more => panic!("{way}, {}: {more:?}", case.name),
    };
    assert!(case.may.contains(&found), "{way}, {}: {found:?} is none of {:?}", case.name, case.may);
}

/// An address where nobody listens.
fn dead() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn every_writer_knows_what_it_does_not_know() {
    let platform = Platform::start();
    let dead = dead();
    std::thread::scope(|scope| {
        for writer in Writer::installed() {
            let (platform, dead) = (&platform, &dead);
            scope.spawn(move || {
                for case in cases(dead).into_iter().filter(|case| writer.name != "java" || !ALIKE.contains(&case.name))
                {
                    let answer = case.answer.clone();
                    let server = Hostile::start(move |_, _| answer.clone());
                    let dir = Dir::new(&Setup::bare(&server.url));
                    let ran = finish(writer.register(
                        &dir,
                        platform,
                        &server.url,
                        &["--first", "1", "--timeout-ms", "60000"],
                    ));
                    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}, {}", writer.name, case.name);
                    assert_eq!(server.asked().len(), 1, "{}, {}: it was sent once", writer.name, case.name);
                    holds(writer.name, &case, &failures(&dir));
                }
            });
        }
    });
}

#[test]
fn the_layer_knows_what_it_does_not_know() {
    let dead = dead();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = || reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(60));
    // The layer's own client follows nothing; one of the caller's that does is never believed to have sent nothing.
    for follows in [false, true] {
        for case in cases(&dead) {
            let answer = case.answer.clone();
            let server = Hostile::start(move |_, _| answer.clone());
            let dir = Dir::new(&Setup::bare(&server.url));
            let layer = recording::layer(dir.recorder(), Unwritable::FailClosed);
            let client = match follows {
                false => layer.client(plain()).unwrap(),
                true => reqwest_middleware::ClientBuilder::new(plain().build().unwrap()).with(layer).build(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let request =
                    client.post(format!("{}/api/v1.0/account", server.url)).body(r#"{"email":"ann@example.com"}"#);
                if let Ok(response) = request.send().await {
                    let _ = response.bytes().await;
                }
            });
            drop((client, runtime));
            let found = failures(&dir);
            match follows {
                false => holds("layer", &case, &found),
                true => assert!(!found.iter().any(|failure| failure == "not_sent"), "{}: {found:?}", case.name),
            }
        }
    }
}

#[test]
fn an_answer_before_the_request_was_read_is_never_not_sent() {
    let platform = Platform::start();
    for writer in Writer::installed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The first line only: all else is left unread, so that closing resets the connection.
            let mut byte = [0];
            while byte[0] != b'\n' && stream.read(&mut byte).unwrap() > 0 {}
            stream.write_all(CREATED.as_bytes()).unwrap();
        });
        let dir = Dir::new(&Setup::bare(&format!("http://{address}")));
        let url = format!("http://{address}");
        let ran = finish(writer.register(&dir, &platform, &url, &["--first", "1", "--timeout-ms", "60000"]));
        server.join().unwrap();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", writer.name);
        let found = failures(&dir);
        assert!(found.is_empty() || found == ["network"], "{}: {found:?}", writer.name);
    }
}

#[test]
fn record_takes_an_interim_answer_for_none() {
    let dir = Dir::new(&Setup::bare("http://127.0.0.1:9"));
    let url = "http://127.0.0.1:9/api/v1.0/account";
    let begin = |id: &str| {
        format!(
            r#"{{"begin":{{"request_id":"{id}","method":"POST","url":"{url}","body":{{"email":"a@example.com"}}}}}}"#
        )
    };
    let lines = [
        begin("a"),
        r#"{"end":{"request_id":"a","answered":103}}"#.to_owned(),
        begin("b"),
        r#"{"end":{"request_id":"b","failure":"http","http_status":100}}"#.to_owned(),
        begin("c"),
        r#"{"end":{"request_id":"c","answered":307}}"#.to_owned(),
        format!(
            r#"{{"entry":{{"request_id":"d","method":"POST","url":"{url}","sent_at":"2026-01-01T00:00:00Z","failure":"answered","http_status":101}}}}"#
        ),
    ];
    let mut child = dir.command(&["record", "--stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let ran = wait(child);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 7), "{ran:?}");
    let expected = ["a", "b", "d"].map(|id| (id.to_owned(), "network".to_owned(), None));
    assert_eq!(dir.recorded(), expected);
}

#[test]
fn record_keeps_a_body_as_it_was_sent() {
    let dir = Dir::new(&Setup::bare("http://127.0.0.1:9"));
    let body = |id: &str| -> String {
        dir.db().query_row("SELECT body FROM entries WHERE request_id = ?", [id], |row| row.get(0)).unwrap()
    };
    let record = |id: &str, sent: &str| {
        let mut child = dir.command(&["record", "begin"]).stdin(Stdio::piped()).spawn().unwrap();
        let form = format!(
            r#"{{"request_id":"{id}","method":"POST","url":"http://127.0.0.1:9/api/v1.0/account","body":{sent}}}"#
        );
        child.stdin.take().unwrap().write_all(form.as_bytes()).unwrap();
        wait(child)
    };
    let (twice, big) = (
        r#"{"email":"x1@example.com", "email":"x2@example.com"}"#,
        r#"{"email":"a@example.com","external_user_identifier":123456789012345678901234567890}"#,
    );
    assert_eq!((record("twice", twice).code, record("big", big).code), (0, 0));
    assert_eq!((body("twice").as_str(), body("big").as_str()), (twice, big));
    // As a text it is the same.
    assert_eq!(record("text", &serde_json::Value::from(twice).to_string()).code, 0);
    assert_eq!(body("text"), twice);
    // The form itself is refused, for which of the two would be recorded cannot be known.
    let ran = record("a\",\"request_id\":\"b", "{}");
    assert!(ran.code == 2 && ran.err.contains("says a name twice"), "{ran:?}");
}
