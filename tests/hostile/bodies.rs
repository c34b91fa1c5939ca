//! Answers whose bodies are not what was agreed: types, broken JSON, envelopes, schemas that drift, bombs, frames.

use crate::judge::{CONTROLS, Case, honest, of_an_entry, record};
use crate::util::{After, Answer, Asked};

const JSON: &str = "content-type: application/json\r\n";

pub fn cases() -> Vec<Case> {
    [types(), cut(), broken(), envelopes(), twice(), drift(), others(), packed(), framed()].concat()
}

/// An answer to a lookup by email, and to nothing else.
fn is_lookup(asked: &Asked) -> bool {
    asked.path.contains("email=child")
}

fn is_record(asked: &Asked) -> bool {
    asked.path.contains("service_id=child")
}

fn body_of(asked: &Asked) -> String {
    match honest(asked) {
        Answer::Whole(_, _, body) => body,
        _ => String::new(),
    }
}

/// The honest status with other headers and another body.
fn altered(asked: &Asked, headers: &'static str, change: impl Fn(&str) -> String) -> Answer {
    match honest(asked) {
        Answer::Whole(status, _, body) => Answer::Whole(status, headers, change(&body)),
        other => other,
    }
}

fn types() -> Vec<Case> {
    let types = [
        "",
        "content-type: \r\n",
        "content-type: text/html\r\n",
        "content-type: text/plain; charset=utf-8\r\n",
        "content-type: application/xml\r\n",
        "content-type: application/octet-stream\r\n",
        "content-type: application/jsonp\r\n",
        "content-type: text/json\r\n",
        "content-type: multipart/mixed; boundary=application/json\r\n",
        "content-type: \u{fffd}/json\r\n",
    ];
    let case = |headers: &'static str| {
        Case::new("a wrong content type", format!("{:?}", headers.trim()), move |asked, _, _| {
            of_an_entry(asked).then(|| altered(asked, headers, str::to_owned))
        })
    };
    types.into_iter().map(case).collect()
}

/// The body ends after each of its bytes, and the answer says that this is all.
fn cut() -> Vec<Case> {
    let case = |at: usize| {
        Case::new("JSON cut after each byte, its length as announced", format!("{at} bytes"), move |asked, _, _| {
            of_an_entry(asked).then(|| altered(asked, JSON, |body| body[..at.min(body.len() - 1)].to_owned()))
        })
    };
    // An empty 404 of JSON is an absence by the plan, so at least one byte.
    (1..record(10).len()).map(case).collect()
}

fn broken() -> Vec<Case> {
    let deep = format!("{}{}", r#"{"sid":"#.repeat(100_000), "}".repeat(100_000));
    let bodies = [
        "nothing at all".to_owned(),
        "{sid: 'child-0'}".to_owned(),
        r#"{"sid":"child-0",}"#.to_owned(),
        r#"{"sid":"child-0"} {"sid":"child-2"}"#.to_owned(),
        r#"{"sid":"child-0"}x"#.to_owned(),
        r#"{"sid":"child-0"/* yes */}"#.to_owned(),
        r#"{"sid":NaN}"#.to_owned(),
        r#"{"sid":1e999}"#.to_owned(),
        r#"{"sid":01}"#.to_owned(),
        r#"{"sid":"\ud800"}"#.to_owned(),
        r#"{"sid":"\x41"}"#.to_owned(),
        "{\"sid\":\"a\nb\"}".to_owned(),
        "{\"sid\":\"child-0\"}\0".to_owned(),
        r#")]}',{"sid":"child-0"}"#.to_owned(),
        r#""{\"sid\":\"child-0\"}""#.to_owned(),
        "[".repeat(100_000),
        deep,
        "null".to_owned(),
        "[]".to_owned(),
        r#"[{"sid":"child-0"}]"#.to_owned(),
        "0".to_owned(),
        " ".to_owned(),
    ];
    let mut cases: Vec<Case> = bodies
        .into_iter()
        .map(|body| {
            let form: String = body.chars().take(40).collect::<String>().escape_debug().collect();
            Case::new("JSON that is none, or no object", form, move |asked, _, _| {
                of_an_entry(asked).then(|| altered(asked, JSON, |_| body.clone()))
            })
        })
        .collect();
    for (form, bytes) in [
        ("bytes that are not UTF-8", &b"{\"sid\":\"\xff\xfe\"}"[..]),
        ("UTF-16", &b"{\0\"\0s\0i\0d\0\"\0:\0\"\0c\0\"\0}\0"[..]),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{JSON}content-length: {}\r\n\r\n", bytes.len());
        let whole = [head.as_bytes(), bytes].concat();
        cases.push(Case::new("JSON that is none, or no object", form, move |asked, _, _| {
            of_an_entry(asked).then(|| Answer::Raw(whole.clone()))
        }));
    }
    cases
}

fn envelopes() -> Vec<Case> {
    let bodies = [
        r#"{"status":"ERROR","message":"maintenance"}"#,
        r#"{"error":"server_error"}"#,
        r#"{"error":{"code":404,"message":"not found"}}"#,
        r#"{"errors":[{"status":"404"}],"data":null}"#,
        r#"{"status":404}"#,
        r#"{"code":"OK","data":{"sid":"child-0"}}"#,
        r#"{"sid":"","error":"none"}"#,
        r#"{"sid":null}"#,
        "{}",
    ];
    let case = |body: &'static str| {
        Case::new("an error envelope under 200", body, move |asked, _, _| {
            of_an_entry(asked).then(|| Answer::json("200 OK", body))
        })
    };
    bodies.into_iter().map(case).collect()
}

fn twice() -> Vec<Case> {
    let lookups = [
        r#"{"sid":"child-0","sid":"child-2"}"#,
        r#"{"sid":"child-0","sid":"child-0"}"#,
        r#"{"sid":null,"sid":"child-0"}"#,
        r#"{"sid":"child-0","\u0073id":"child-2"}"#,
        r#"{"sid":"child-0","more":{"a":1,"a":2}}"#,
    ];
    let lookup = |body: &'static str| {
        let case = Case::new("a name twice in one object", body, move |asked, _, _| {
            is_lookup(asked).then(|| Answer::json("200 OK", body))
        });
        Case { bound: (1, CONTROLS + case.entries), ..case }
    };
    let in_record = Case::new("a name twice in one object", "in the record", |asked, _, _| {
        is_record(asked).then(|| altered(asked, JSON, |body| body.replace('{', r#"{"given_name":"Bob","#)))
    });
    lookups.into_iter().map(lookup).chain([in_record]).collect()
}

/// The server's answers change their names and types overnight.
fn drift() -> Vec<Case> {
    let change = |from: &'static str, to: &'static str, doubt: bool| {
        let form = format!("{from} becomes {to}");
        let case = Case::new("a schema that drifts", form, move |asked, _, _| {
            of_an_entry(asked).then(|| altered(asked, JSON, |body| body.replace(from, to)))
        });
        Case { doubt, codes: if doubt { &[0, 3, 4] } else { &[4] }, ..case }
    };
    let mut cases = vec![
        change(r#""sid":"#, r#""service_id":"#, false),
        change(r#""sid":"#, r#""SID":"#, false),
        change(r#""sub":"#, r#""subject":"#, false),
        change(r#"{"sub""#, r#"{"data":{"sub""#, false),
        change(r#""sid":"child-"#, r#""sid":["child-0"],"x":"child-"#, false),
        change(r#""sid":"child-"#, r#""sid":{"id":"child-0"},"x":"child-"#, false),
        change(r#""sid":"child-"#, r#""sid":12,"x":"child-"#, false),
        change(r#""sid":"child-"#, r#""sid":true,"x":"child-"#, false),
        change(r#""sub":"child-"#, r#""sub":12,"x":"child-"#, false),
        change(r#""sub":"child-"#, r#""sub":null,"x":"child-"#, false),
        change(r#""given_name":"#, r#""givenName":"#, true),
        change(r#""birthdate":"#, r#""birth_date":"#, true),
        change(r#""given_name":"Ann""#, r#""given_name":["Ann"]"#, true),
        change(r#""given_name":"Ann""#, r#""given_name":{"first":"Ann"}"#, true),
        change(r#""given_name":"Ann""#, r#""given_name":5"#, true),
        change(r#""birthdate":"19900102""#, r#""birthdate":631238400"#, true),
        change(r#""birthdate":"19900102""#, r#""birthdate":"02/01/1990""#, true),
        change(r#""birthdate":"19900102""#, r#""birthdate":{"year":1990}"#, true),
        change(r#""birthdate":"19900102""#, r#""birthdate":null,"created_at":"never""#, true),
    ];
    let long = "x".repeat(100_000);
    let long_id = Case::new("a schema that drifts", "an id of 100,000 bytes", move |asked, _, _| {
        is_lookup(asked).then(|| altered(asked, JSON, |body| body.replace("child-", &long)))
    });
    cases.push(long_id);
    for status in [
        "200 OK",
        "201 Created",
        "204 No Content",
        "400 Bad Request",
        "405 Method Not Allowed",
        "410 Gone",
        "418 I'm a teapot",
        "999 Unheard-of",
    ] {
        let known: &[&str] = if status.starts_with("200") { &["404"] } else { &["200", "404"] };
        cases.push(Case::new(
            "a schema that drifts",
            format!("{} becomes {status}", known.join(" and ")),
            move |asked, _, _| {
                let Answer::Whole(was, headers, body) = honest(asked) else { return None };
                let hit = of_an_entry(asked) && known.iter().any(|known| was.starts_with(known));
                if hit { Some(Answer::Whole(status, headers, body)) } else { None }
            },
        ));
    }
    // There are no answers left that the plan knows, but those who exist are still found where only 404 drifted.
    let len = cases.len();
    cases[len - 8].codes = &[4];
    cases
}

/// The second step shows somebody else's record, as a cache does that does not look at the query.
fn others() -> Vec<Case> {
    let one_for_all = |form: &'static str, n: usize| {
        Case::new("a cache that answers with another's record", form, move |asked, _, _| {
            is_record(asked).then(|| Answer::json("200 OK", &record(n)))
        })
    };
    let mut cases = vec![
        one_for_all("of one that exists", 0),
        one_for_all("of one that does not", 1),
        one_for_all("of a stranger", 777),
    ];
    for case in &mut cases {
        case.codes = &[4];
    }
    let any = Case::new("a cache that answers with another's record", "also to lookups", |asked, before, _| {
        (!asked.for_token() && before > 0).then(|| {
            if asked.path.contains("userinfo") {
                Answer::json("200 OK", &record(0))
            } else {
                Answer::json("200 OK", r#"{"sid":"child-0"}"#)
            }
        })
    });
    cases.push(any);
    cases
}

/// What is in a compressed body.
#[derive(Clone, Copy)]
enum Pack {
    Once,
    Bomb,
    Twice,
}

/// Compressed bodies: never asked for, never unpacked.
fn packed() -> Vec<Case> {
    let packed = |form: &'static str, encoding: &'static str, pack: Pack| {
        let bomb = bomb();
        let twice = gzip(&bomb);
        Case::new("compressed bodies and bombs", form, move |asked, _, _| {
            of_an_entry(asked).then(|| {
                let Answer::Whole(status, _, body) = honest(asked) else { return Answer::closed() };
                let body = match pack {
                    Pack::Once => gzip(body.as_bytes()),
                    Pack::Bomb => bomb.clone(),
                    Pack::Twice => twice.clone(),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\n{JSON}{encoding}content-length: {}\r\n\r\n",
                    body.len()
                );
                Answer::Raw([head.into_bytes(), body].concat())
            })
        })
    };
    vec![
        packed("gzip", "content-encoding: gzip\r\n", Pack::Once),
        packed("gzip without a word", "", Pack::Once),
        packed("a bomb", "content-encoding: gzip\r\n", Pack::Bomb),
        packed("a bomb in a transfer coding", "transfer-encoding: gzip\r\n", Pack::Bomb),
        packed("a bomb that says br", "content-encoding: br\r\n", Pack::Bomb),
        packed("a bomb packed twice", "content-encoding: gzip, gzip\r\n", Pack::Twice),
    ]
}

/// A gzip member that stores its bytes as they are.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    let mut parts = bytes.chunks(0xffff).peekable();
    while let Some(part) = parts.next() {
        let length = u16::try_from(part.len()).unwrap();
        packed.push(u8::from(parts.peek().is_none()));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(part);
    }
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// 900 kB of gzip that unpack to 140 MB: one zero, and "the same 258 bytes again" over and over, 13 bits each.
fn bomb() -> Vec<u8> {
    let mut bits: Vec<bool> = vec![true, true, false];
    bits.extend([false, false, true, true, false, false, false, false]);
    let again = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    bits.extend(again.iter().cycle().take(13 * 550_000));
    bits.extend([false; 7]);
    packed.extend(
        bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |sum, (n, bit)| sum | (u8::from(*bit) << n))),
    );
    packed
}

/// Answers whose frame is ambiguous, or more than one.
fn framed() -> Vec<Case> {
    let lie = r#"{"sid":"child-1"}"#;
    let forms: Vec<(&str, String)> = vec![
        ("two lengths", format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 17\r\ncontent-length: 3\r\n\r\n{lie}")),
        ("a negative length", format!("HTTP/1.1 200 OK\r\n{JSON}content-length: -17\r\n\r\n{lie}")),
        ("a length that is too short", format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 5\r\n\r\n{lie}")),
        ("a length that is too long", format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 99\r\n\r\n{lie}")),
        (
            "a chunk of no size",
            format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\nxyz\r\n{lie}\r\n0\r\n\r\n"),
        ),
        (
            "chunks without an end",
            format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n11\r\n{lie}\r\n"),
        ),
        (
            "a chunk of 2^64 bytes",
            format!("HTTP/1.1 200 OK\r\n{JSON}transfer-encoding: chunked\r\n\r\n10000000000000000\r\n{lie}"),
        ),
        ("HTTP/0.9", lie.to_owned()),
        ("HTTP/3.0", format!("HTTP/3.0 200 OK\r\n{JSON}content-length: 17\r\n\r\n{lie}")),
        ("a status of two digits", format!("HTTP/1.1 20 OK\r\n{JSON}content-length: 17\r\n\r\n{lie}")),
        ("a status of four digits", format!("HTTP/1.1 2000 OK\r\n{JSON}content-length: 17\r\n\r\n{lie}")),
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n".to_owned()),
        (
            "switching protocols",
            format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n{lie}"),
        ),
        ("HTTP/2", "\0\0\u{12}\u{4}\0\0\0\0\0\0\u{3}\0\0\0d".to_owned()),
        ("a header without a name", format!("HTTP/1.1 200 OK\r\n: x\r\n{JSON}content-length: 17\r\n\r\n{lie}")),
        ("a folded header", format!("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n{JSON}content-length: 17\r\n\r\n{lie}")),
    ];
    let case = |(form, text): (&'static str, String)| {
        let case = Case::trouble("frames that are broken or ambiguous", form, move |asked, _, _| {
            is_lookup(asked).then(|| Answer::Raw(text.clone().into_bytes()))
        });
        // Some are taken for the answer that they may be; then the record is asked for, and shows another id.
        Case { bound: (1, CONTROLS + 2 * case.entries), codes: &[0, 4], ..case }
    };
    let mut cases: Vec<Case> = forms.into_iter().map(case).collect();
    // The next request on this connection must not take what was left over for its answer.
    let surplus = Case::new("frames that are broken or ambiguous", "an answer too many", |asked, _, _| {
        of_an_entry(asked).then(|| {
            let body = body_of(asked);
            let status = if body.contains("message") { "404 Not Found" } else { "200 OK" };
            let one = format!("HTTP/1.1 {status}\r\n{JSON}content-length: {}\r\n\r\n{body}", body.len());
            let lie = format!("HTTP/1.1 404 Not Found\r\n{JSON}content-length: 2\r\n\r\n{{}}");
            Answer::Then(format!("{one}{lie}").into_bytes(), After::Hang)
        })
    });
    cases.push(Case { codes: &[0, 4], ..surplus });
    cases
}
