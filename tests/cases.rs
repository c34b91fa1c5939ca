//! Holds the table of docs/IMPORT-CASES.md: what becomes of files as other people's tools write them. Each row of the
//! table is one import of a made-up file or of an excerpt in fixtures/import/exports, and says what stands in the ledger
//! afterwards: `email:failure status`, and what was left out, rejected and noted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::util::{Dir, Setup, wait};
use serde_json::Value;

/// A server that nobody asks; the exports' own one.
const NOWHERE: &str = "http://127.0.0.1:18080";

const MAPPINGS: &str = r#"
[import.log]
base_url = "http://127.0.0.1:18080"
upstream_status = ["upstream_status", "us"]
[import.haproxy]
base_url = "http://127.0.0.1:18080"
sent_at = "acc"
duration = "ta"
completion = "ts"
retries = "retries"
[import.apache]
format = "jsonl"
base_url = "http://127.0.0.1:18080"
completion = "X"
[import.traefik]
base_url = "http://127.0.0.1:18080"
method = "RequestMethod"
url = "RequestPath"
sent_at = "StartUTC"
duration = { field = "Duration", unit = "ns" }
http_status = "DownstreamStatus"
retries = "RetryAttempts"
[import.traefik-without-unit]
base_url = "http://127.0.0.1:18080"
method = "RequestMethod"
url = "RequestPath"
sent_at = "StartUTC"
duration = "Duration"
http_status = "DownstreamStatus"
[import.caddy]
format = "jsonl"
base_url = "http://127.0.0.1:18080"
method = "$.request.method"
url = "$.request.uri"
ended_at = "ts"
duration = { field = "duration", unit = "s" }
[import.mariadb]
sent_at = { field = "sent_at", format = "%Y-%m-%d %H:%M:%S%.f", offset = "+00:00" }
ended_at = { field = "ended_at", format = "%Y-%m-%d %H:%M:%S%.f", offset = "+00:00" }
[import.answers]
answers = true
"#;

/// One import: the case, what is tried, the file's name, its mapping (or none), its text.
struct Try {
    case: &'static str,
    what: String,
    file: String,
    map: &'static str,
    text: Vec<u8>,
}

fn attempt(case: &'static str, what: &str, file: &str, map: &'static str, text: impl Into<Vec<u8>>) -> Try {
    Try { case, what: what.to_owned(), file: file.to_owned(), map, text: text.into() }
}

/// What came of it, in one line.
fn outcome(dir: &Dir, attempt: &Try) -> String {
    std::fs::write(dir.file(&attempt.file), &attempt.text).unwrap();
    let mut arguments = vec!["import", "--json"];
    if !attempt.map.is_empty() {
        arguments.extend(["--map", attempt.map]);
    }
    arguments.push(&attempt.file);
    let ran = wait(dir.command(&arguments).spawn().unwrap());
    let shown: Value = serde_json::from_str(&ran.out).unwrap_or(Value::Null);
    let mut said = rows(dir);
    let file = &shown["files"][0];
    for (name, key) in [("left out", "left_out"), ("duplicate", "duplicates"), ("completed", "completed")] {
        if let Some(count @ 1..) = file[key].as_u64() {
            write!(said, "; {count} {name}").unwrap();
        }
    }
    for (name, key) in [("rejected", "reasons"), ("noted", "notes"), ("cannot be decided", "cannot_be_decided")] {
        for (why, count) in file[key].as_object().into_iter().flatten() {
            write!(said, "; {count} {name}: {}", brief(why)).unwrap();
        }
    }
    if ran.code != 0 {
        let why = ran.err.lines().last().unwrap_or_default().replace("privo-reconcile: ", "");
        write!(said, "; exit {}: {}", ran.code, brief(why.split_once(": ").map_or(why.as_str(), |(_, why)| why)))
            .unwrap();
    }
    said.trim_start_matches("; ").to_owned()
}

/// The beginning of a message, up to its remedy.
fn brief(why: &str) -> &str {
    why.split([':', '(', ';']).next().unwrap_or_default().trim()
}

/// Every entry: its email (or id), failure and status, and whose operation it shares.
fn rows(dir: &Dir) -> String {
    let db = dir.db();
    let sql = "SELECT coalesce(json_extract(CASE WHEN json_valid(body) THEN body END, '$.email'), url),
                 failure, coalesce(' ' || http_status, ''), operation_id, request_id, ended_at IS NULL
               FROM entries ORDER BY id";
    let mut statement = db.prepare(sql).unwrap();
    let mut names = BTreeMap::new();
    let each = statement.query_map([], |row| {
        let (name, failure, status): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (operation, id, open): (Option<String>, String, bool) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let name =
            name.split(['@', '-', '?']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        let shares =
            operation.map(|operation| format!(" of {}", names.get(&operation).map_or("its operation", String::as_str)));
        names.insert(id, name.clone());
        let open = if open { "" } else { "." };
        Ok(format!("{name}:{failure}{status}{open}{}", shares.unwrap_or_default()))
    });
    each.unwrap().map(Result::unwrap).collect::<Vec<_>>().join(", ")
}

fn post(email: &str) -> String {
    format!(
        r#""method":"POST","url":"{NOWHERE}/api/v1.0/account","postData":{{"text":"{{\"email\":\"{email}@x.com\"}}"}}"#
    )
}

/// A HAR of entries, each with an email, a duration and what follows its request.
fn har(entries: &[(&str, &str, &str)]) -> String {
    let entry = |(at, (email, time, rest)): (usize, &(&str, &str, &str))| {
        let at = 2 * at;
        format!(
            r#"{{"startedDateTime":"2025-03-01T12:00:{at:02}.120Z","time":{time},"request":{{{}}}{rest}}}"#,
            post(email)
        )
    };
    let entries: Vec<String> = entries.iter().enumerate().map(entry).collect();
    format!(r#"{{"log":{{"entries":[{}]}}}}"#, entries.join(",\n"))
}

fn har_cases() -> Vec<Try> {
    let no_answer = [
        "",
        r#","response":{}"#,
        r#","response":{"status":-1}"#,
        r#","response":{"status":null}"#,
        r#","response":null"#,
        r#","response":{"status":0,"statusText":""}"#,
    ];
    let names = ["a", "b", "c", "d", "e", "f"];
    let none: Vec<(&str, &str, &str)> =
        names.into_iter().zip(no_answer).map(|(name, rest)| (name, "99999999", rest)).collect();
    let raw = |entry: &str| format!(r#"{{"log":{{"entries":[{entry}]}}}}"#);
    let at = |time: &str| {
        raw(&format!(
            r#"{{"startedDateTime":{time},"time":10,"request":{{{}}},"response":{{"status":503}}}}"#,
            post("a")
        ))
    };
    let twice = |first: &str, second: &str, other: &str| {
        let entry = |at: &str, email: &str| {
            format!(
                r#"{{"startedDateTime":"2025-03-01T12:00:{at}Z","time":10,"request":{{{}}},"response":{{"status":0}}}}"#,
                post(email)
            )
        };
        raw(&[entry(first, "a"), entry(second, other)].join(","))
    };
    let body = |data: &str| {
        raw(&format!(
            r#"{{"startedDateTime":"2025-03-01T12:00:00.1Z","time":10,"request":{{"method":"POST","url":"{NOWHERE}/api/v1.0/account","postData":{{{data}}}}},"response":{{"status":503}}}}"#
        ))
    };
    let noise = |request: &str| {
        raw(&format!(
            r#"{{"startedDateTime":"2025-03-01T12:00:00Z","time":1,"request":{{{request}}},"response":{{"status":0}}}}"#
        ))
    };
    let good = (r#"a"#, "5", r#","response":{"status":503}"#);
    let broken = |entry: &str| har(&[good, good]).replacen(",\n", &format!(",\n{entry},\n"), 1);
    vec![
        attempt("01 har-status-201-cut", "an answer and an error", "a.har", "", har(&[("a", "60012.3", r#","response":{"status":201,"_error":"net::ERR_INCOMPLETE_CHUNKED_ENCODING"}"#)])),
        attempt("01 har-status-201-cut", "the error is Playwright's", "a.har", "", har(&[("a", "5", r#","response":{"status":200,"_failureText":"net::ERR_ABORTED"}"#)])),
        attempt("01 har-status-201-cut", "the error is the entry's; an empty one; none", "a.har", "", har(&[("a", "5", r#","response":{"status":201},"_error":"aborted""#), ("b", "5", r#","response":{"status":201,"_error":""}"#), ("c", "5", r#","response":{"status":201}"#)])),
        attempt("01 har-status-201-cut", "JSON was announced and nothing came", "a.har", "", har(&[("a", "5", r#","response":{"status":201,"bodySize":0,"headers":[{"name":"Content-Type","value":"application/json"}],"content":{"size":0}}"#), ("b", "5", r#","response":{"status":204,"bodySize":0,"headers":[{"name":"Content-Type","value":"application/json"}],"content":{"size":0}}"#)])),
        attempt("01 har-status-201-cut", "a 5xx beside an error", "a.har", "", har(&[("a", "5", r#","response":{"status":503,"_error":"x"}"#)])),
        attempt("02 har-params-only", "JSON as the name of a form's only field", "a.har", "", body(r#""params":[{"name":"{\"email\":\"a@x.com\"}","value":""}]"#)),
        attempt("02 har-params-only", "base64", "a.har", "", body(r#""encoding":"base64","text":"eyJlbWFpbCI6ImFAeC5jb20ifQ==""#)),
        attempt("02 har-params-only", "a form", "a.har", "", body(r#""params":[{"name":"email","value":"a@x.com"},{"name":"x","value":"1"}]"#)),
        attempt("02 har-params-only", "in a file that is not there", "a.har", "", body(r#""text":"","_file":"1f.json""#)),
        attempt("04 har-no-response", "every spelling", "a.har", "", har(&none)),
        attempt("04 har-no-response", "a duration that says nothing", "a.har", "", har(&[("a", "-1", r#","response":{"status":0}"#), ("b", "null", r#","response":{"status":0}"#), ("c", "\"x\"", r#","response":{"status":0}"#)])),
        attempt("04 har-no-response", "an answer keeps its duration", "a.har", "", har(&[("a", "5000", r#","response":{"status":503}"#)])),
        attempt("04 har-no-response", "a broken entry among good ones", "a.har", "", broken(r#"{"startedDateTime":"2025-03-01T12:00:09.1Z","x":nul,"y":1e999999}"#)),
        attempt("04 har-no-response", "bytes that are no UTF-8, as Python writes them", "a.har", "", har(&[("a", "5", r#","_comment":"\udcff","response":{"status":503}"#), ("r\\\\udcff", "5", r#","response":{"status":503}"#)])),
        attempt("05 har-dates", "without a colon", "a.har", "", at("\"2025-03-01T12:00:00.123+0100\"")),
        attempt("05 har-dates", "milliseconds", "a.har", "", at("1740826800500")),
        attempt("05 har-dates", "no offset", "a.har", "", at("\"2025-03-01T12:00:00.123\"")),
        attempt("05 har-dates", "no time of any request", "a.har", "", at("\"1970-01-01T00:00:00Z\"")),
        attempt("06 har-noise", "a preflight", "a.har", "", noise(&format!(r#""method":"OPTIONS","url":"{NOWHERE}/api/v1.0/account""#))),
        attempt("06 har-noise", "data:, blob:, an extension, a socket", "a.har", "", raw(&["data:x", "blob:http://a/1", "chrome-extension://a/b", "wss://a/b"].map(|url| format!(r#"{{"startedDateTime":"2025-03-01T12:00:00Z","time":1,"request":{{"method":"GET","url":"{url}"}},"response":{{"status":0}}}}"#)).join(","))),
        attempt("06 har-noise", "a tunnel of a proxy", "a.har", "", noise(r#""method":"CONNECT","url":"127.0.0.1:18080""#)),
        attempt("07 har-service-worker-double", "3 ms apart", "a.har", "", twice("00.001", "00.004", "a")),
        attempt("07 har-service-worker-double", "the service worker's first", "a.har", "", twice("00.004", "00.001", "a")),
        attempt("07 har-service-worker-double", "5 s apart", "a.har", "", twice("00.001", "05.004", "a")),
        attempt("07 har-service-worker-double", "another body", "a.har", "", twice("00.001", "00.004", "b")),
    ]
}

/// A line of an access log of nginx.
fn nginx(rest: &str) -> String {
    format!("{{\"msec\":\"1740830400.121\",\"request_time\":\"10.000\",{rest}}}\n")
}

fn account(email: &str) -> String {
    format!(r#""request":"POST /api/v1.0/account HTTP/1.1","request_body":"{{\"email\":\"{email}@x.com\"}}""#)
}

fn delete(rest: &str) -> String {
    nginx(&format!(r#""request":"DELETE /api/v1.0/account/sid1 HTTP/1.1","status":"504"{rest}"#))
}

/// A line of an access log of Envoy.
fn envoy(method: &str, path: &str, status: u16, rest: &str) -> String {
    format!(
        "{{\"start_time\":\"2025-03-01T12:00:00.120Z\",\"method\":\"{method}\",\"path\":\"{path}\",\"authority\":\"127.0.0.1:18080\",\"response_code\":{status},\"duration\":15000{rest}}}\n"
    )
}

fn log_cases() -> Vec<Try> {
    let parent = |rest: &str| {
        nginx(&format!(
            r#""request":"POST /api/v1.0/account/parent HTTP/1.1","request_body":"{{\"email\":\"p@x.com\",\"minor_registrations\":[{{\"first_name\":\"A\"}}]}}",{rest}"#
        ))
    };
    let flags = |status, flags: &str, rest: &str| {
        envoy("DELETE", "/api/v1.0/account/s123", status, &format!(r#","response_flags":"{flags}"{rest}"#))
    };
    let traefik = |rest: &str| {
        format!(
            "{{\"RequestMethod\":\"DELETE\",\"RequestPath\":\"/api/v1.0/account/t123\",\"StartUTC\":\"2025-03-01T12:00:00.123456789Z\",{rest}}}\n"
        )
    };
    let caddy = |rest: &str| {
        format!(
            "{{\"ts\":1740830430.1234567,\"request\":{{\"method\":\"DELETE\",\"uri\":\"/api/v1.0/account/c123\"}},\"duration\":30.001,{rest}}}\n"
        )
    };
    let plain = |rest: &str| {
        format!(
            "{{\"sent_at\":\"2025-03-01T12:00:00.1Z\",\"method\":\"POST\",\"url\":\"/api/v1.0/account\",\"body\":{{\"email\":\"a@x.com\"}},\"status\":201,{rest}}}\n"
        )
    };
    let nuls = |count: usize| vec![0; count];
    vec![
        attempt(
            "09 nginx-invalid-utf8",
            "a byte in the user agent",
            "access.log",
            "log",
            [delete(",\"ua\":\"F").trim_end().trim_end_matches('}').as_bytes(), b"\xfatbol\"}\n"].concat(),
        ),
        attempt(
            "09 nginx-invalid-utf8",
            "\\xFA and a tab in the user agent",
            "access.log",
            "log",
            delete(",\"ua\":\"F\\xFA\tx\""),
        ),
        attempt(
            "09 nginx-invalid-utf8",
            "a byte in the URL",
            "access.log",
            "log",
            [
                delete("").as_bytes(),
                &delete("").replace("sid1", "#").into_bytes().split(|b| *b == b'#').collect::<Vec<_>>().join(&0xff)[..],
            ]
            .concat(),
        ),
        attempt(
            "10 nginx-body-escape",
            "\\x22 in the body",
            "access.log",
            "log",
            nginx(
                r#""request":"POST /api/v1.0/account HTTP/1.1","status":"504","request_body":"{\x22email\x22:\x22a@x.com\x22}""#,
            ),
        ),
        attempt(
            "10 nginx-body-escape",
            "\\xC3\\xA9 in the body",
            "access.log",
            "log",
            nginx(
                r#""request":"POST /api/v1.0/account HTTP/1.1","status":"504","request_body":"{\x22email\x22:\x22\xC3\xA9a@x.com\x22}""#,
            ),
        ),
        attempt(
            "10 nginx-body-escape",
            "a comma in the duration; no duration; two statuses",
            "access.log",
            "log",
            delete("").replace("10.000", "0,512")
                + &delete("").replace("10.000", "-")
                + &delete("").replace("\"504\"", "\"502, 504\""),
        ),
        attempt(
            "11 proxy-retries-hidden",
            "nginx: 502, then 201",
            "access.log",
            "log",
            parent(r#""status":"201","request_completion":"OK","upstream_status":"502, 201""#),
        ),
        attempt(
            "11 proxy-retries-hidden",
            "nginx: no answer, then 412; 404, then 201",
            "access.log",
            "log",
            nginx(&(account("a") + r#","status":"412","upstream_status":"-, 412""#))
                + &nginx(&(account("b") + r#","status":"201","upstream_status":"404, 201""#)),
        ),
        attempt(
            "11 proxy-retries-hidden",
            "Envoy: twice; a read twice; once",
            "envoy.log",
            "log",
            envoy("POST", "/api/v1.0/account", 412, r#","upstream_request_attempt_count":3"#)
                + &envoy("GET", "/api/v1.0/account", 200, r#","upstream_request_attempt_count":3"#)
                + &envoy("POST", "/api/v1.0/account", 412, r#","upstream_request_attempt_count":1"#),
        ),
        attempt(
            "11 proxy-retries-hidden",
            "Traefik: twice",
            "t.jsonl",
            "traefik",
            traefik(r#""DownstreamStatus":200,"RetryAttempts":1,"Duration":30001234567"#),
        ),
        attempt(
            "11 nginx-answer-cut",
            "a success of an operation that may be doubled; of one that the server blocks; without bodies",
            "access.log",
            "log",
            parent(r#""status":"201","request_completion":"OK""#)
                + &nginx(&(account("a") + r#","status":"201","request_completion":"OK""#))
                + &nginx(r#""request":"POST /api/v1.0/account/parent HTTP/1.1","status":"201""#)
                + &nginx(r#""request":"POST /api/v1.0/account HTTP/1.1","status":"201""#),
        ),
        attempt(
            "11 nginx-answer-cut",
            "with both lengths: equal; less",
            "access.log",
            "log",
            parent(r#""status":"201","upstream_http_content_length":"12","upstream_response_length":"12""#)
                + &parent(r#""status":"201","upstream_http_content_length":"12","upstream_response_length":"5""#),
        ),
        attempt(
            "11 nginx-answer-cut",
            "the client gave up",
            "access.log",
            "log",
            parent(r#""status":"201","request_completion":"""#) + &parent(r#""status":"499","request_completion":"""#),
        ),
        attempt(
            "12 envoy-urx-via-upstream",
            "URX beside the server's own",
            "envoy.log",
            "log",
            flags(503, "URX", r#","response_code_details":"via_upstream""#),
        ),
        attempt(
            "12 envoy-urx-via-upstream",
            "without details; DC beside a 500",
            "envoy.log",
            "log",
            flags(503, "URX", "") + &flags(500, "DC", ""),
        ),
        attempt(
            "12 envoy-urx-via-upstream",
            "Envoy's own",
            "envoy.log",
            "log",
            flags(504, "UT", r#","response_code_details":"upstream_response_timeout""#) + &flags(503, "UC", ""),
        ),
        attempt(
            "13 traefik-caddy",
            "Traefik, nanoseconds",
            "t.jsonl",
            "traefik",
            traefik(r#""DownstreamStatus":504,"Duration":30001234567"#),
        ),
        attempt(
            "13 traefik-caddy",
            "Traefik, the unit is not said",
            "t.jsonl",
            "traefik-without-unit",
            traefik(r#""DownstreamStatus":504,"Duration":30001234567"#),
        ),
        attempt(
            "13 traefik-caddy",
            "Caddy: 502; no status",
            "c.log",
            "caddy",
            caddy(r#""status":502"#) + &caddy(r#""status":0"#),
        ),
        attempt(
            "13 haproxy-apache",
            "HAProxy: whole, cut by the server, its time limit",
            "h.jsonl",
            "haproxy",
            ["--", "SD", "sD"]
                .map(|ts| {
                    plain(&format!("\"acc\":\"1740830400.1\",\"ta\":\"12\",\"ts\":\"{ts}\""))
                        .replace("a@", &format!("{}@", ts.replace('-', "w")))
                })
                .concat(),
        ),
        attempt(
            "13 haproxy-apache",
            "HAProxy: no status",
            "h.jsonl",
            "haproxy",
            plain("\"acc\":\"1740830400.1\",\"ta\":\"0\",\"ts\":\"CR\"").replace("201", "\"-1\""),
        ),
        attempt(
            "13 haproxy-apache",
            "Apache: kept, closed, cut",
            "a.jsonl",
            "apache",
            ["+", "-", "X"]
                .map(|x| plain(&format!("\"X\":\"{x}\"")).replace("a@", &format!("{}@", x.replace(['+', '-'], "w"))))
                .concat(),
        ),
        attempt(
            "14 copytruncate-nuls",
            "before the first record",
            "access.log",
            "log",
            [nuls(5000), delete("").into_bytes()].concat(),
        ),
        attempt(
            "14 copytruncate-nuls",
            "in the midst",
            "access.log",
            "log",
            [delete("").into_bytes(), nuls(70_000), delete(",\"n\":2").into_bytes()].concat(),
        ),
        attempt(
            "14 copytruncate-nuls",
            "at the end",
            "access.log",
            "log",
            [delete("").into_bytes(), nuls(5000)].concat(),
        ),
        attempt("15 gz", "gzip", "access.log.gz", "log", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        attempt("15 gz", "zstd, xz", "access.log.zst", "log", b"\x28\xb5\x2f\xfd\0\0\0\0".to_vec()),
        attempt("15 gz", "a zip archive", "a.zip", "", b"PK\x03\x04\0\0\0\0".to_vec()),
    ]
}

/// A CSV with this header, and a row for each of these.
fn csv(header: &str, rows: &[&str]) -> String {
    rows.iter().fold(format!("{header}\n"), |text, row| text + row + "\n")
}

/// A row of `request_id,operation_id,method,url,body,sent_at,failure,http_status`.
fn row(id: &str, operation: &str, sent: &str, failure: &str, status: &str) -> String {
    format!(
        "{id},{operation},POST,{NOWHERE}/api/v1.0/account,\"{{\"\"email\"\":\"\"{id}@x.com\"\"}}\",{sent},{failure},{status}"
    )
}

fn table_cases() -> Vec<Try> {
    const HEADER: &str = "request_id,operation_id,method,url,body,sent_at,failure,http_status";
    const NOON: &str = "2025-03-01T12:00:00Z";
    let rows = |rows: &[String]| csv(HEADER, &rows.iter().map(String::as_str).collect::<Vec<_>>());
    let operations = |word: &str| rows(&[row("a", word, NOON, "timeout", ""), row("b", word, NOON, "network", "")]);
    let times = |times: &[&str]| {
        rows(
            &times
                .iter()
                .enumerate()
                .map(|(at, time)| row(&format!("t{at}"), "", time, "timeout", ""))
                .collect::<Vec<_>>(),
        )
    };
    let line = |rest: &str| {
        format!(
            "{{\"request_id\":\"a\",\"method\":\"POST\",\"url\":\"{NOWHERE}/api/v1.0/account\",\"sent_at\":\"{NOON}\",{rest}}}\n"
        )
    };
    let semicolons = |text: &str| text.replace(',', ";");
    let one = rows(&[row("a", "", NOON, "timeout", "")]);
    let utf16: Vec<u8> = one.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        attempt("16 csv-duplicate-headers", "a column twice", "a.csv", "", one.replacen("http_status", "url", 1)),
        attempt("16 csv-duplicate-headers", "a column twice that nobody reads", "a.csv", "", one.replacen("http_status", "x,x", 1).replace(",timeout,", ",timeout,1,2")),
        attempt("16 csv-duplicate-headers", "a key twice", "a.jsonl", "", line("\"status\":503,\"status\":200")),
        attempt("16 csv-duplicate-headers", "a name twice in the body", "a.jsonl", "", line(r#""status":503,"body":{"email":"a@x.com","email":"b@x.com"}"#)),
        attempt("17 csv-null-operation", "NULL", "a.csv", "", operations("NULL")),
        attempt("17 csv-null-operation", "undefined", "a.csv", "", operations("undefined")),
        attempt("17 csv-null-operation", "\\N", "a.csv", "", operations("\\N")),
        attempt("17 csv-null-operation", "32 zeros", "a.csv", "", operations(&"0".repeat(32))),
        attempt("17 csv-null-operation", "rounded", "a.csv", "", operations("2.02503E+16")),
        attempt("17 csv-null-operation", "an id", "a.csv", "", operations("op-1")),
        attempt("17 csv-null-operation", "two people whose ids were rounded", "a.csv", "", rows(&[row("1E+017", "", NOON, "timeout", ""), row("1E+017", "", NOON, "timeout", "")])),
        attempt("17 csv-null-operation", "ids beyond 64 bits as numbers", "a.jsonl", "", [1, 2].map(|n| line(&format!(r#""status":503,"body":{{"email":"a@x.com"}},"operation_id":10000000000000000000000000{n}"#)).replace("\"a\"", &format!("\"r{n}\""))).concat()),
        attempt("18 csv-pandas-float", "503.0 and nan", "a.csv", "", rows(&[row("a", "nan", "2025-03-01 12:00:00+00:00", "", "503.0"), row("b", "NaN", "2025-03-01 12:00:00.250000+00:00", "timeout", "nan"), row("c", "<NA>", NOON, "http", "504.0")])),
        attempt("18 csv-pandas-float", "milliseconds, with and without .0", "a.csv", "", times(&["1740830400000.0", "1740830400000", "1740830400.25"])),
        attempt("18 csv-pandas-float", "as databases write times", "a.csv", "", times(&["2025-03-01 12:00:00.12+00", "2025-03-01 12:00:00 UTC", "2025-03-01 13:00:00.12+0100"])),
        attempt("18b csv-time-misread", "an Excel serial", "a.csv", "", times(&["45717.5"])),
        attempt("18b csv-time-misread", "a bare date, a year, digits of a time", "a.csv", "", times(&["20261130", "2026", "20250301120000"])),
        attempt("18b csv-time-misread", "rounded", "a.csv", "", times(&["1.7E+09", "1.7408304e+09", "1.74083E+12"])),
        attempt("18b csv-time-misread", "no offset, zero dates", "a.csv", "", times(&["2025-03-01 12:00:00", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"])),
        attempt("19 csv-excel", "semicolons", "a.csv", "", semicolons(&one)),
        attempt("19 csv-excel", "sep=; and CRLF", "a.csv", "", format!("sep=;\r\n{}", semicolons(&one).replace('\n', "\r\n"))),
        attempt("19 csv-excel", "tabs", "a.txt", "", one.replace(',', "\t")),
        attempt("19 csv-excel", "a mark, an empty row, a delimiter at the end", "a.csv", "", format!("\u{feff}{}", one.trim_end()) + ",\n,,,,,,,\n"),
        attempt("19 csv-excel", "CR alone", "a.csv", "", one.replace('\n', "\r")),
        attempt("19 csv-excel", "UTF-16 with a mark", "a.csv", "", [b"\xff\xfe".to_vec(), utf16.clone()].concat()),
        attempt("19 csv-excel", "UTF-16 without one", "a.csv", "", utf16),
        attempt("19 csv-excel", "Latin-1", "a.csv", "", [one.trim_end().as_bytes(), b"\n", &row("b", "", NOON, "timeout", "").into_bytes().split(|b| *b == b'@').collect::<Vec<_>>().join(&0xfc)[..], b"\n"].concat()),
        attempt("19 csv-excel", "an apostrophe before a time; a date as Excel shows it", "a.csv", "", times(&["'2025-03-01T12:00:00Z", "01.03.2025 13:00", NOON])),
    ]
}

fn exports() -> Vec<Try> {
    let maps = [
        ("chromium.har", ""),
        ("playwright.har", ""),
        ("playwright-attach.har", ""),
        ("service-worker.har", ""),
        ("mitmproxy.har", ""),
        ("nginx-with-bodies.log", "log"),
        ("nginx.log", "log"),
        ("haproxy.log", "haproxy"),
        ("libreoffice.csv", ""),
        ("pandas_na_NULL.csv", ""),
        ("pandas_records.jsonl", ""),
        ("pg_copy.csv", ""),
        ("pg_rowjson.jsonl", ""),
        ("sqlite_null.csv", ""),
        ("my_batch.tsv", "mariadb"),
        ("my_outfile3.csv", "mariadb"),
    ];
    let each = |(name, map): &(&str, &'static str)| {
        let text = std::fs::read(format!("{}/fixtures/import/exports/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        attempt("export", name, name, map, text)
    };
    maps.iter().map(each).collect()
}

fn dir() -> Dir {
    Dir::new(&Setup { rest: MAPPINGS.to_owned(), ..Setup::bare(NOWHERE) })
}

#[test]
fn what_becomes_of_other_tools_files_is_as_the_table_says() {
    let all = [har_cases(), log_cases(), table_cases(), exports()].into_iter().flatten();
    let mut table = "| case | what is tried | what comes of it |\n|---|---|---|\n".to_owned();
    for attempt in all {
        let said = outcome(&dir(), &attempt);
        writeln!(table, "| {} | {} | {} |", attempt.case, attempt.what, said.replace('|', "\\|")).unwrap();
    }
    let file = format!("{}/docs/IMPORT-CASES.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let held: String = text.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    let differs = held.lines().zip(table.lines()).find(|(held, found)| held != found);
    assert!(held == table, "docs/IMPORT-CASES.md differs first in {differs:?}; the whole table would be:\n{table}");
}
