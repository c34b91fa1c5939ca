//! Servers in trouble: down, flapping, cutting answers off, slow, without end; and those that ask to be left alone.

use privo_reconcile::clock::Span;

use crate::judge::{Case, FEW, honest, of_an_entry, token};
use crate::util::{After, Answer, Asked};

/// The bytes of an answer that is whole.
fn bytes(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Whole(status, headers, body) => {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
                .into_bytes()
        }
        Answer::Raw(bytes) | Answer::Then(bytes, _) => bytes,
        Answer::Hang | Answer::Endless => Vec::new(),
    }
}

pub fn cases() -> Vec<Case> {
    [down(), flapping(), cut(), slow(), endless(), too_many(), storms()].concat()
}

fn down() -> Vec<Case> {
    vec![Case {
        listens: false,
        slow: true,
        ..Case::trouble("down: the connection is refused", "down", |_, _, _| None)
    }]
}

fn flapping() -> Vec<Case> {
    let forms = (1..=9).flat_map(|tenths: u32| (0..6).map(move |seed| (tenths, seed)));
    let case = |(tenths, seed): (u32, u32)| {
        let form = format!("{}0 %, seed {seed}", tenths);
        let case = Case::new("flapping at 10 to 90 %", form, move |_, _, random| {
            (random.u32(0..10) < tenths).then(|| match random.u8(0..5) {
                0 => Answer::json("500 Internal Server Error", "{}"),
                1 => Answer::html("502 Bad Gateway"),
                2 => Answer::html("503 Service Unavailable"),
                3 => Answer::Then(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(), After::Reset),
                _ => Answer::closed(),
            })
        });
        Case { entries: 12, slow: tenths > 2, ..case }
    };
    forms.map(case).map(|case| case.at_random()).collect()
}

/// Every answer ends after each of its bytes: of the status line, the headers, the body.
fn cut() -> Vec<Case> {
    let length = bytes(Answer::json("200 OK", r#"{"sid":"child-00"}"#)).len();
    let mut cases = Vec::new();
    for at in 0..length {
        for (how, after) in [("closed", After::Close), ("reset", After::Reset)] {
            let form = format!("{how} after {at} bytes");
            cases.push(Case::trouble("cut or reset after each byte of an answer", form, move |asked, _, _| {
                of_an_entry(asked).then(|| {
                    let mut whole = bytes(honest(asked));
                    // However long this one is, its end is missing.
                    whole.truncate(at.min(whole.len() - 1));
                    Answer::Then(whole, after)
                })
            }));
        }
    }
    for (stage, at) in
        [("the connection", 0), ("half a status line", 12), ("half a header", 40), ("half a body", length - 5)]
    {
        let hangs = move |asked: &Asked| Answer::Then(bytes(honest(asked))[..at].to_vec(), After::Hang);
        let case = Case::trouble("silence at each stage of an answer", stage, move |asked, _, _| {
            of_an_entry(asked).then(|| hangs(asked))
        });
        cases.push(Case { slow: true, ..case });
    }
    for (stage, at) in [("the connection", 0), ("a status line", 17), ("headers", 60)] {
        let form = format!("a token, {stage}");
        let case = Case::trouble("no token: closed, reset or silent", form, move |asked, _, _| {
            asked.for_token().then(|| {
                Answer::Then(bytes(token())[..at].to_vec(), if at == 17 { After::Reset } else { After::Close })
            })
        });
        cases.push(Case { bound: (FEW, 0), slow: true, ..case });
    }
    cases
}

fn slow() -> Vec<Case> {
    let case = Case::trouble("one byte a second", "all", |asked, _, _| {
        of_an_entry(asked).then(|| Answer::Then(bytes(honest(asked)), After::Trickle(1000)))
    });
    // A whole answer, slow, but within the time that is given to it.
    let patient = Case::new("slow, but in time", "3 ms a byte", |asked, _, _| {
        of_an_entry(asked).then(|| Answer::Then(bytes(honest(asked)), After::Trickle(3)))
    });
    vec![Case { slow: true, ..case }, Case { slow: true, codes: &[0, 4], ..patient }]
}

fn endless() -> Vec<Case> {
    let forms: Vec<(&str, &[u8])> = vec![
        ("a body", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"sid\":\"\nx"),
        ("a body of white space", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"sid\":\"child-0\"}\n \n"),
        ("a body, announced", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 18446744073709551615\r\n\r\n\nx"),
        ("chunks", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n"),
        ("the size of a chunk", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\n0"),
        ("headers", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-more: and more\r\n"),
        ("one header", b"HTTP/1.1 200 OK\r\nx-more: \nx"),
        ("a status line", b"HTTP/1.1 200 \nO"),
        ("interim answers", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
        ("trailers", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-more: and more\r\n"),
    ];
    let case = |(form, start): (&'static str, &'static [u8])| {
        let start = start.to_vec();
        let again = start.clone();
        let case = Case::trouble("an answer without an end", form, move |asked, _, _| {
            of_an_entry(asked).then(|| Answer::Then(start.clone(), After::Repeat))
        });
        let for_token = Case::trouble("a token's answer without an end", form, move |asked, _, _| {
            asked.for_token().then(|| Answer::Then(again.clone(), After::Repeat))
        });
        [Case { slow: form == "chunks", ..case }, Case { bound: (FEW, 0), slow: true, ..for_token }]
    };
    let mut cases: Vec<Case> = forms.into_iter().flat_map(case).collect();
    cases.sort_by_key(|case| std::cmp::Reverse(case.fault));
    cases
}

/// One request of a run is turned away, at each place.
fn too_many() -> Vec<Case> {
    let date = "date: Sun, 22 Nov 2026 12:00:00 GMT\r\n";
    let soon = [
        "",
        "retry-after: 0\r\n",
        "retry-after: 1\r\n",
        "retry-after: soon\r\n",
        "retry-after: -5\r\n",
        "retry-after: 1.5\r\n",
        "retry-after: \r\n",
    ];
    let past = ["retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\ndate: Sun, 22 Nov 2026 12:00:00 GMT\r\n"];
    let far = [
        "retry-after: 121\r\n",
        "retry-after: 86400\r\n",
        "retry-after: 4294967296\r\n",
        "retry-after: 99999999999999999999999999\r\n",
        "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\ndate: Sun, 22 Nov 2026 12:00:00 GMT\r\n",
        "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\n",
    ];
    assert!(far[4].ends_with(date));
    let mut cases = Vec::new();
    for headers in soon.iter().chain(&past) {
        for at in [0, 1, 3, 5] {
            let form = format!("{:?}, request {at}", headers.trim());
            let case = Case::new("429 once, `Retry-After` absent, zero, short or garbage", form, refusing(headers, at));
            cases.push(Case { bound: (2, case.bound.1 + 1), codes: &[0, 4], slow: at != 3, ..case });
        }
    }
    for headers in far {
        for at in [0, 1, 3, 5] {
            let form = format!("{:?}, request {at}", headers.trim());
            let case = Case::new("429 once, `Retry-After` huge", form, refusing(headers, at));
            cases.push(Case { bound: (1, at + 4), ..case });
        }
    }
    cases
}

fn refusing(
    headers: &'static str,
    at: usize,
) -> impl Fn(&Asked, usize, &mut fastrand::Rng) -> Option<Answer> + Send + Sync + 'static {
    move |_, before, _| (before == at).then(|| Answer::Whole("429 Too Many Requests", headers, "{}".to_owned()))
}

/// Every request is turned away.
fn storms() -> Vec<Case> {
    let storm = |form: &'static str, headers: &'static str, most: usize, seconds: i64| {
        let case = Case::new("429 for ever", form, move |asked, _, _| {
            (!asked.for_token()).then(|| Answer::Whole("429 Too Many Requests", headers, "{}".to_owned()))
        });
        Case { bound: (1, most), slow: true, runs: 1, within: Span::seconds(seconds), ..case }
    };
    vec![
        storm("Retry-After: 1", "retry-after: 1\r\n", 12 + 4, 20),
        storm("no Retry-After", "", 12 + 4, 150),
        storm("Retry-After: 0", "retry-after: 0\r\n", 12 + 4, 150),
        storm("Retry-After: 3600", "retry-after: 3600\r\n", 1 + 4, 10),
    ]
}
