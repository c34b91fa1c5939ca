//! Proves what becomes of an import as a whole: what is a duplicate and what is not, what a second import completes, files
//! that are read through a pipe, entries of any size, and that nothing is decided too early of what had no answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::util::{Dir, Platform, Ran, Setup, wait, wait_at_most};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::NewAccount;
use serde_json::Value;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

fn dir() -> Dir {
    Dir::new(&Setup { rest: format!("[import.log]\nbase_url = \"{NOWHERE}\"\n"), ..Setup::bare(NOWHERE) })
}

/// Imports a text; imported, duplicates, completed, left out, rejected.
fn import(dir: &Dir, name: &str, text: &str) -> [u64; 5] {
    std::fs::write(dir.file(name), text).unwrap();
    let ran = wait(dir.command(&["import", "--json", "--map", "log", name]).spawn().unwrap());
    let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    ["imported", "duplicates", "completed", "left_out", "rejected"].map(|key| shown[key].as_u64().unwrap())
}

/// A line of JSON: an attempt of this time with these members.
fn line(time: &str, rest: &str) -> String {
    format!(
        "{{\"method\":\"POST\",\"url\":\"{NOWHERE}/api/v1.0/account\",\"sent_at\":\"2025-03-01T12:00:{time}Z\",\"http_status\":503{rest}}}\n"
    )
}

fn body(email: &str) -> String {
    format!(",\"body\":{{\"email\":\"{email}@example.com\"}}")
}

#[test]
fn a_body_is_made_of_columns_and_paths_go_to_the_configured_server() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("ann@example.com".into()), ..NewAccount::default() });
    let mapping = "[import.sheet]\nbody = { email = \"Mail\", first_name = \"Name\", address = { city = \"City\" } }\n\
                   sent_at = \"When\"\nmethod = \"Verb\"\nurl = \"Path\"\nhttp_status = \"Status\"\nrequest_id = \"Id\"\n";
    let dir = Dir::new(&Setup { rest: mapping.to_owned(), ..Setup::of(&platform) });
    let sheet = "Id,Verb,Path,Mail,Name,City,When,Status\n\
                 r1,POST,/api/v1.0/account,ann@example.com,Ann,NULL,2025-03-01T12:00:00Z,503\n\
                 r2,POST,/api/v1.0/account,,,,2025-03-01T12:00:01Z,503\n";
    std::fs::write(dir.file("sheet.csv"), sheet).unwrap();
    let ran = wait(dir.command(&["import", "--map", "sheet", "sheet.csv"]).spawn().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let body = |id: &str| -> Option<String> {
        dir.db().query_row("SELECT body FROM entries WHERE request_id = ?", [id], |row| row.get(0)).unwrap()
    };
    let ann: Value = serde_json::from_str(&body("r1").unwrap()).unwrap();
    assert_eq!(
        (&ann["email"], &ann["first_name"], ann.get("address")),
        (&"ann@example.com".into(), &"Ann".into(), None)
    );
    assert_eq!(body("r2"), None, "where no column says anything there is no body");
    dir.runs(3);
    assert!(dir.says("r1").starts_with("resolved satisfied present "), "it went to the server: {:?}", dir.row("r1"));
    let broken = Setup { rest: "[import.sheet]\nbody = {}\n".to_owned(), ..Setup::bare(NOWHERE) };
    dir.configure(&broken);
    assert!(dir.run(&["status"]).err.contains("a body of no fields"));
}

#[test]
fn a_file_of_an_unknown_kind_is_refused_with_what_to_do() {
    let dir = dir();
    let text = line("00", &body("ann"));
    for (name, remedy) in [
        ("a.xlsx", "save the sheet as CSV"),
        ("a.ods", "save the sheet as CSV"),
        ("a.dat", "--format"),
        ("a.pdf", "--format"),
    ] {
        std::fs::write(dir.file(name), &text).unwrap();
        let ran = wait(dir.command(&["import", name]).spawn().unwrap());
        assert!(ran.code == 2 && ran.err.contains(remedy), "{ran:?}");
    }
    assert_eq!(wait(dir.command(&["import", "--format", "jsonl", "a.dat"]).spawn().unwrap()).code, 0);
    for name in ["b.log", "b.txt", "b.log.1", "b.log-20260301", "b", "b.json"] {
        std::fs::write(dir.file(name), &text).unwrap();
        assert_eq!(wait(dir.command(&["import", name]).spawn().unwrap()).code, 0, "{name}");
    }
}

#[test]
fn requests_of_two_hosts_in_one_second_are_two() {
    let dir = dir();
    let of = |host: &str| line("00", &format!(",\"host\":\"{host}\""));
    assert_eq!(import(&dir, "gw1.log", &of("gw1")), [1, 0, 0, 0, 0]);
    assert_eq!(import(&dir, "gw2.log", &of("gw2")), [1, 0, 0, 0, 0]);
    // The same records under another name are the same ones, and beside new ones too.
    assert_eq!(import(&dir, "gw1.log.1", &(of("gw3") + &of("gw1"))), [1, 1, 0, 0, 0]);
    // Where a time is known to the millisecond, an export with other columns tells of the same request.
    assert_eq!(import(&dir, "a.jsonl", &line("00.123", &body("ann"))), [1, 0, 0, 0, 0]);
    assert_eq!(import(&dir, "b.jsonl", &line("00.123", &(body("ann") + ",\"host\":\"gw1\""))), [0, 1, 0, 0, 0]);
    assert_eq!(import(&dir, "c.jsonl", &line("00.123", &body("bea"))), [1, 0, 0, 0, 0]);
}

#[test]
fn a_duplicate_is_equal_in_its_body_too() {
    let dir = dir();
    let of = |email: &str| line("00.5", &(",\"request_id\":\"r1\"".to_owned() + &body(email)));
    assert_eq!(import(&dir, "a.jsonl", &of("ann")), [1, 0, 0, 0, 0]);
    let spaced = of("ann").replace("\"email\":", " \"phone\": 1, \"email\" : ");
    assert_eq!(import(&dir, "b.jsonl", &spaced), [0, 1, 0, 0, 0], "what the plan does not read is no difference");
    assert_eq!(import(&dir, "c.jsonl", &of("bea")), [0, 0, 0, 0, 1]);
    assert!(dir.read("c.jsonl.rejected.jsonl").contains("another attempt's"));
    assert_eq!(import(&dir, "d.jsonl", &line("00.5", ",\"request_id\":\"r1\"")), [0, 1, 0, 0, 0], "it says less");
}

#[test]
fn a_second_import_with_bodies_completes_rows_that_came_without() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("ann@example.com".into()), ..NewAccount::default() });
    let dir = Dir::new(&Setup { rest: "[import.log]\n".to_owned(), ..Setup::of(&platform) });
    let at = |text: String| text.replace(NOWHERE, &platform.url);
    let of = |id: &str, rest: &str| at(line("00", &format!(",\"request_id\":\"{id}\"{rest}")));
    assert_eq!(import(&dir, "a.log", &(of("r1", "") + &of("r2", ""))), [2, 0, 0, 0, 0]);
    assert_eq!(wait(dir.command(&["run"]).spawn().unwrap()).code, 3);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown bad-row review");
    assert_eq!(import(&dir, "b.log", &(of("r1", &body("ann")) + &of("r2", &body("bea")))), [0, 0, 2, 0, 0]);
    assert_eq!(wait(dir.command(&["run", "--wait", "20s"]).spawn().unwrap()).code, 0);
    assert_eq!(
        (dir.says("r1"), dir.says("r2")),
        ("resolved satisfied present store-id".into(), "resolved not-applied confirmed-absent resend".into())
    );
    // What was decided is not changed any more.
    assert_eq!(import(&dir, "c.log", &of("r1", &body("ann"))), [0, 1, 0, 0, 0]);
}

#[test]
fn a_body_that_was_removed_for_its_persons_sake_does_not_come_back() {
    let dir = dir();
    let text = line("00", &(",\"request_id\":\"r1\"".to_owned() + &body("ann")));
    assert_eq!(import(&dir, "a.jsonl", &text), [1, 0, 0, 0, 0]);
    let mut forget = dir
        .command(&["forget", "-", "--who", "Jo", "--why", "letter", "--even-pending"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    forget.stdin.take().unwrap().write_all(b"ann@example.com\n").unwrap();
    let forgot = wait(forget);
    assert_eq!(forgot.code, 0, "{forgot:?}");
    let left = dir.count("SELECT count(*) FROM entries WHERE body LIKE '%ann@%'");
    assert_eq!(left, 0, "{forgot:?}");
    let again = import(&dir, "b.jsonl", &text);
    assert_eq!((again[0], again[2]), (0, 0), "{again:?}");
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body LIKE '%ann@%'"), 0);
}

#[test]
fn a_body_in_a_file_of_the_export_is_read_from_beside_the_har() {
    let dir = dir();
    let digest = "3f8c55f3adb229f3946bd6162ddac03e08ccd670";
    let har = |file: &str| {
        format!(
            r#"{{"log":{{"entries":[{{"startedDateTime":"2025-03-01T12:00:00.1Z","time":5,"request":{{"method":"POST","url":"{NOWHERE}/api/v1.0/account","postData":{{"text":"","_file":"{file}"}}}},"response":{{"status":503}}}}]}}}}"#
        )
    };
    std::fs::write(dir.file(&format!("{digest}.json")), r#"{"email":"ann@example.com"}"#).unwrap();
    assert_eq!(import(&dir, "a.har", &har(&format!("{digest}.json"))), [1, 0, 0, 0, 0]);
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body LIKE '%ann@example.com%'"), 1);
    // Nothing else is opened on a file's word, least of all the ledger.
    std::fs::create_dir(dir.file("below")).unwrap();
    for (n, file) in
        ["ledger.db", "secret", "privo-reconcile.toml", &format!("../{digest}.json"), &format!("{digest}.json/x")]
            .iter()
            .enumerate()
    {
        import(&dir, &format!("below/{n}.har"), &har(file).replace("00.1Z", &format!("0{n}.2Z")));
        import(&dir, &format!("{n}.har"), &har(file).replace("00.1Z", &format!("0{n}.3Z")));
    }
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body IS NOT NULL"), 1);
}

#[test]
fn what_can_be_read_only_once_is_read() {
    let dir = dir();
    let text = line("00.1", &body("ann")) + &line("00.2", &body("bea")) + "no object\n";
    std::fs::write(dir.file("a.jsonl"), &text).unwrap();
    let shell = |script: &str| -> Ran {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(dir.path()).env("BIN", env!("CARGO_BIN_EXE_privo-reconcile"));
        wait(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    for script in [
        "$BIN import - < a.jsonl",
        "cat a.jsonl | $BIN import -",
        "$BIN import <(cat a.jsonl)",
        "cat a.jsonl | $BIN import /dev/stdin",
    ] {
        let ran = shell(script);
        assert_eq!(ran.code, 0, "{script}: {ran:?}");
        assert!(ran.err.contains("1 rejected") || ran.err.is_empty(), "{script}: {ran:?}");
        assert_eq!(dir.count("SELECT count(*) FROM entries"), 2, "{script}");
    }
    assert!(dir.read("standard-input.rejected.jsonl").contains("\"line\":3"));
    for none in ["$BIN import .", "$BIN import /dev/zero", "$BIN import nowhere"] {
        let ran = shell(none);
        assert!(ran.code == 2 && ran.err.contains("failed to open"), "{none}: {ran:?}");
    }
}

#[test]
fn an_entry_of_any_size_takes_little_memory_and_costs_no_other() {
    let dir = dir();
    let mut file = std::io::BufWriter::new(std::fs::File::create(dir.file("a.har")).unwrap());
    let post = |email: &str, more: &str| {
        format!(
            r#"{{"startedDateTime":"2025-03-01T12:00:00.1Z","time":5,"request":{{"method":"POST","url":"{NOWHERE}/api/v1.0/account","postData":{{"text":"{{\"email\":\"{email}@x.com\"}}"{more}}}}},"response":{{"status":503,"content":{{"size":1,"text":""#
        )
    };
    let block = "x".repeat(1 << 20);
    write!(file, "{{\"log\":{{\"entries\":[").unwrap();
    // An answer of 100 MB, which nobody reads; a body of 60 MB, which is too long.
    write!(file, "{}", post("ann", "")).unwrap();
    (0..100).for_each(|_| file.write_all(block.as_bytes()).unwrap());
    write!(
        file,
        "\"}}}}}},{}",
        post("bea", ",\"comment\":\"").trim_end_matches(r#"}},"response":{"status":503,"content":{"size":1,"text":""#)
    )
    .unwrap();
    (0..60).for_each(|_| file.write_all(block.as_bytes()).unwrap());
    write!(file, "\"}}}},\"response\":{{\"status\":503}}}},{}\"}}}}}}]}}}}", post("cem", "")).unwrap();
    file.flush().unwrap();
    // The most that it held at any time: what a line may be long, and not what these two are, once and again.
    let mut command = Command::new("bash");
    let script = "$BIN import --json a.har & pid=$!; peak=0; while kill -0 $pid 2>/dev/null; do \
                  now=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null); [ \"${now:-0}\" -gt $peak ] && peak=$now; sleep 0.05; done; \
                  wait $pid; code=$?; echo \"PEAK $peak\" >&2; exit $code";
    command.args(["-c", script]).current_dir(dir.path()).env("BIN", env!("CARGO_BIN_EXE_privo-reconcile"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ran = wait_at_most(child, Duration::from_secs(120));
    let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!((&shown["imported"], &shown["rejected"]), (&Value::from(2), &Value::from(1)), "{shown}");
    let peak: u64 = ran.err.lines().find_map(|line| line.strip_prefix("PEAK ")).unwrap().trim().parse().unwrap();
    assert!(peak < 150_000, "{peak} KiB");
}

/// A HAR with one registration that got no answer, sent at a time.
fn unanswered(platform: &Platform, email: &str, at: &[Moment]) -> String {
    let entry = |at: &Moment| {
        format!(
            r#"{{"startedDateTime":"{at}","time":3,"request":{{"method":"POST","url":"{}/api/v1.0/account","postData":{{"text":"{{\"email\":\"{email}\"}}"}}}},"response":{{"status":0}}}}"#,
            platform.url
        )
    };
    format!(r#"{{"log":{{"entries":[{}]}}}}"#, at.iter().map(entry).collect::<Vec<_>>().join(","))
}

#[test]
fn what_had_no_answer_in_a_browser_waits_as_an_intent_does() {
    let platform = Platform::start();
    let windows = [("network", "15m"), ("intent", "1h")];
    let dir = Dir::new(&Setup::of(&platform).windows(&windows));
    let sent = Moment::now() + Span::seconds(-60);
    std::fs::write(dir.file("a.har"), unanswered(&platform, "ann@example.com", &[sent])).unwrap();
    assert_eq!(wait(dir.command(&["import", "a.har"]).spawn().unwrap()).code, 0);
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE failure = 'network' AND ended_at IS NULL"), 1);
    assert_eq!(wait(dir.command(&["run"]).spawn().unwrap()).code, 4);
    let row = &dir.report()[0];
    let until = sent + Span::seconds(3600 + 15 * 60);
    assert_eq!((row["status"].as_str(), row["not_before"].as_str()), ("pending", until.to_string().as_str()));
}

#[test]
fn a_request_of_a_page_and_its_service_worker_is_resent_once() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let sent = Moment::now() + Span::seconds(-3600);
    let text = unanswered(&platform, "ann@example.com", &[sent, sent + Span(4)]);
    std::fs::write(dir.file("a.har"), text).unwrap();
    assert_eq!(wait(dir.command(&["import", "a.har"]).spawn().unwrap()).code, 0);
    assert_eq!(wait(dir.command(&["run", "--wait", "20s"]).spawn().unwrap()).code, 0);
    let resend = wait(dir.command(&["report", "--for", "resend"]).spawn().unwrap()).out;
    assert_eq!(resend.lines().count(), 2, "{resend}");
    // Read again, and grown: nothing is added, and the third is of the same operation.
    assert_eq!(wait(dir.command(&["import", "a.har"]).spawn().unwrap()).code, 0);
    assert_eq!(dir.count("SELECT count(*) FROM entries"), 2);
    std::fs::write(
        dir.file("a.har"),
        unanswered(&platform, "ann@example.com", &[sent, sent + Span(4), sent + Span(9)]),
    )
    .unwrap();
    assert_eq!(wait(dir.command(&["import", "a.har"]).spawn().unwrap()).code, 0);
    assert_eq!(dir.count("SELECT count(DISTINCT coalesce(operation_id, request_id)) * 10 + count(*) FROM entries"), 13);
}

#[test]
fn people_whose_operation_is_no_id_are_each_their_own() {
    let platform = Platform::start();
    platform.add(NewAccount { email: Some("a2@x.com".into()), ..NewAccount::default() });
    for word in ["NULL", "undefined", "nan", "\\N", "00000000000000000000000000000000"] {
        let dir = Dir::of(&platform);
        let mut text = "request_id,operation_id,method,url,body,sent_at,failure\n".to_owned();
        for n in 1..=4 {
            text += &format!(
                "r{n},{word},POST,{}/api/v1.0/account,\"{{\"\"email\"\":\"\"a{n}@x.com\"\"}}\",2025-03-01T12:00:0{n}Z,timeout\n",
                platform.url
            );
        }
        std::fs::write(dir.file("a.csv"), text).unwrap();
        assert_eq!(wait(dir.command(&["import", "a.csv"]).spawn().unwrap()).code, 0, "{word}");
        assert_eq!(wait(dir.command(&["run", "--wait", "20s"]).spawn().unwrap()).code, 0, "{word}");
        let resend = wait(dir.command(&["report", "--for", "resend"]).spawn().unwrap()).out;
        let ids: Vec<&str> = resend.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(ids, ["r1", "r3", "r4"], "{word}: {resend}");
    }
}
