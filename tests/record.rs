//! Proves what `record` promises to every language: what it answered is durable, what it refuses it says in one clear line
//! without anybody's data, and neither a full disk, nor missing permissions, nor other writers and a run tear or lose
//! anything.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::util::{Dir, Platform, Ran, Setup, finish, signal};
use serde_json::{Value, json};

const HOST: &str = "https://privo.example";

fn dir() -> Dir {
    Dir::new(&Setup::bare(HOST))
}

fn begin(id: &str) -> Value {
    let body = json!({"email": format!("{id}@example.com"), "first_name": "Kim", "phone": "555"});
    json!({"request_id": id, "method": "POST", "url": format!("{HOST}/api/v1.0/account"), "body": body})
}

/// A command that is given this on standard input.
fn fed(mut command: Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || _ = stdin.write_all(input.as_bytes()));
    let ran = finish(child);
    feeding.join().unwrap();
    ran
}

fn record(dir: &Dir, arguments: &[&str], input: &str) -> Ran {
    fed(dir.command(&[&["record"], arguments].concat()), input)
}

fn answers(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows, shortly.
fn entries(dir: &Dir) -> Vec<String> {
    let db = dir.db();
    let sql = "SELECT concat_ws(' ', request_id, failure, http_status, error) FROM entries ORDER BY id";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn begin_prints_the_id_and_end_ends_it() {
    let dir = dir();
    let mut unnamed = begin("x");
    unnamed.as_object_mut().unwrap().remove("request_id");
    let ran = record(&dir, &["begin"], &unnamed.to_string());
    let id = ran.out.trim().to_owned();
    assert_eq!((ran.code, id.len(), ran.err.as_str()), (0, 32, ""));
    assert_eq!(entries(&dir), [format!("{id} intent")]);
    let body: String = dir.db().query_row("SELECT body FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"email": "x@example.com", "first_name": "Kim"}));
    let ended = record(&dir, &["end", &id], r#"{"failure":"http","http_status":503,"error":"down"}"#);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", ""));
    assert_eq!(entries(&dir), [format!("{id} http 503 down")]);
    assert_eq!(record(&dir, &["begin"], &begin("b").to_string()).out, "b\n");
    assert_eq!(record(&dir, &["end", "b"], r#"{"answered":201}"#).code, 0);
    assert_eq!(entries(&dir).len(), 1, "a clean answer is forgotten");
}

#[test]
fn a_whole_body_is_kept_on_request_only() {
    let dir = dir();
    assert_eq!(record(&dir, &["begin", "--full-body"], &begin("a").to_string()).code, 0);
    let body: String = dir.db().query_row("SELECT body FROM entries", [], |row| row.get(0)).unwrap();
    assert!(body.contains("555"));
}

#[test]
fn the_status_says_whether_an_answer_is_definite() {
    let dir = dir();
    let ends = [
        (json!({"answered": 201}), "forgotten"),
        (json!({"answered": 404}), "forgotten"),
        (json!({"failure": "http", "http_status": 404}), "forgotten"),
        (json!({"answered": 201, "keep": true}), "recorded"),
        (json!({"answered": 503}), "recorded"),
        (json!({"answered": 429}), "recorded"),
        (json!({"failure": "timeout"}), "recorded"),
        (json!({"failure": "network", "error": "reset"}), "recorded"),
        (json!({"failure": "not_sent", "ended_at": "2026-03-01T12:00:00+01:00"}), "recorded"),
    ];
    let mut input = String::new();
    for (n, (end, _)) in ends.iter().enumerate() {
        let mut end = end.clone();
        end["request_id"] = json!(format!("r{n}"));
        input += &format!("{}\n{}\n", json!({"begin": begin(&format!("r{n}"))}), json!({"end": end}));
    }
    let ran = record(&dir, &["--stdin"], &input);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let became: Vec<Value> = answers(&ran).iter().skip(1).step_by(2).map(|answer| answer["became"].clone()).collect();
    assert_eq!(became, ends.iter().map(|(_, became)| json!(became)).collect::<Vec<_>>());
    let expected = ["r3 answered 201", "r4 http 503", "r5 http 429", "r6 timeout", "r7 network reset", "r8 not_sent"];
    assert_eq!(entries(&dir), expected);
}

#[test]
fn whole_rows_are_taken_answers_and_webhooks_too() {
    let dir = dir();
    let sent = "2026-03-01T12:00:00.120+01:00";
    let mut late = begin("a/1");
    late["failure"] = json!("timeout");
    late["sent_at"] = json!(sent);
    late["operation_id"] = json!("a");
    let mut retry = late.clone();
    (retry["request_id"], retry["failure"], retry["http_status"]) = (json!("a/2"), json!("answered"), json!(412));
    let hook = json!({"request_id": "h", "direction": "inbound", "method": "POST", "url": "/hook", "sent_at": sent,
        "body": {"id": "42", "sid": "s", "consent_identifiers": ["c"]}, "failure": "http", "http_status": 404});
    let lines: String = [late, retry, hook].map(|row| json!({"entry": row}).to_string() + "\n").concat();
    let ran = record(&dir, &["--stdin"], &lines);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(entries(&dir), ["a/1 timeout", "a/2 answered 412", "h http 404"]);
    let at: String = dir.db().query_row("SELECT sent_at FROM entries", [], |row| row.get(0)).unwrap();
    assert_eq!(at, "2026-03-01T11:00:00.120Z");
}

#[test]
fn repeating_oneself_changes_nothing() {
    let dir = dir();
    let line = |value: Value| value.to_string() + "\n";
    let end = json!({"end": {"request_id": "a", "failure": "timeout"}});
    let began = line(json!({"begin": begin("a")}));
    let ran = record(&dir, &["--stdin"], &(began.clone() + &began + &line(end.clone()) + &line(end) + &began));
    let became: Vec<Value> = answers(&ran).iter().map(|answer| answer["became"].clone()).collect();
    assert_eq!(became, ["recorded", "unchanged", "recorded", "unchanged", "unchanged"]);
    assert_eq!(entries(&dir), ["a timeout"]);
    let again = record(&dir, &["begin"], &begin("a").to_string());
    assert_eq!((again.code, again.out.as_str()), (0, "a\n"));
    assert!(again.err.contains("recorded before"));
}

#[test]
fn mistakes_are_one_clear_line_without_anybodys_data() {
    let dir = dir();
    let with = |name: &str, value: Value| {
        let mut form = begin("ann@example.com");
        form[name] = value;
        form.to_string()
    };
    for (input, said) in [
        (String::new(), "not JSON"),
        ("ann@example.com".to_owned(), "not JSON"),
        (r#"["ann@example.com"]"#.to_owned(), "not a JSON object"),
        (with("sent_at", json!("ann@example.com 12:00")), "`sent_at` is not RFC 3339"),
        (with("sent_at", json!("2026-03-01T12:00:00")), "with an offset"),
        (with("method", Value::Null), "`method` is missing"),
        (with("method", json!("ann@example.com")), "`method` is no HTTP method"),
        (with("url", json!("/api/ann@example.com")), "`url` is not absolute"),
        (with("body", json!(5)), "`body` is neither"),
        (with("request_id", json!(7)), "`request_id` is no text"),
        (with("request_id", json!(" ")), "`request_id` is empty"),
        (with("direction", json!("ann@example.com")), "unknown direction (one of: outbound, inbound)"),
        (with("http_stauts", json!(1)), "unknown field `http_stauts`"),
        (with("ann@example.com", json!(1)), "unknown field"),
        (with("body", json!("x".repeat(2_000_000))), "longer than 1048576 bytes"),
    ] {
        let ran = record(&dir, &["begin"], &input);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (2, "", 1), "{ran:?}");
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
        assert!(!ran.err.contains("ann@") && !ran.err.contains("Kim"), "{}", ran.err);
    }
    assert_eq!(record(&dir, &["begin"], &begin("a").to_string()).code, 0);
    for (input, said) in [
        ("{}", "one of `answered` (a status) and `failure`"),
        (r#"{"answered":201,"failure":"timeout"}"#, "one of `answered`"),
        (r#"{"answered":"yes"}"#, "`answered` is no HTTP status"),
        (r#"{"failure":"http"}"#, "`http_status` is missing"),
        (r#"{"failure":"timeout","http_status":503}"#, "does not go with timeout"),
        (r#"{"failure":"lost"}"#, "one of: intent, not_sent, timeout"),
        (r#"{"failure":"intent"}"#, "no end"),
        (r#"{"failure":"timeout","request_id":"b"}"#, "two different"),
    ] {
        let ran = record(&dir, &["end", "a"], input);
        assert!((ran.code, ran.err.lines().count()) == (2, 1) && ran.err.contains(said), "{said}: {ran:?}");
    }
    let unknown = record(&dir, &["end", "b"], r#"{"failure":"timeout"}"#);
    assert!(unknown.code == 2 && unknown.err.contains("no such intent"), "{unknown:?}");
    assert_eq!(record(&dir, &["end", "b"], r#"{"answered":201}"#).code, 0, "nothing is in doubt");
    assert_eq!(entries(&dir), ["a intent"]);
    for arguments in [&["--stdin", "begin"][..], &["--full-body"]] {
        assert_eq!(record(&dir, arguments, "").code, 2);
    }
}

#[test]
fn a_bad_line_is_answered_in_its_place_and_stops_no_other() {
    let dir = dir();
    let long = json!({"begin": {"body": "x".repeat(2_000_000)}}).to_string();
    let good = |id: &str| json!({"begin": begin(id)}).to_string();
    let lines =
        [good("a"), "{".to_owned(), String::new(), long, json!({"start": {}}).to_string(), good("b")].join("\n");
    // The last line is cut by its writer's death.
    let ran = record(&dir, &["--stdin"], &(lines + "\n{\"begin\":{\"request_id\":\"c\",\"me"));
    let ok: Vec<bool> = answers(&ran).iter().map(|answer| answer["ok"].as_bool().unwrap()).collect();
    assert_eq!((ran.code, ok), (2, vec![true, false, false, false, true, false]));
    assert_eq!(entries(&dir), ["a intent", "b intent"]);
}

/// A recorder that goes on.
struct Recorder {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Recorder {
    fn start(dir: &Dir) -> Recorder {
        let mut child = dir.command(&["record", "--stdin"]).stdin(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Recorder { child, answers }
    }

    fn say(&mut self, line: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

#[test]
fn an_answer_means_durable_whenever_the_recorder_is_killed() {
    let dir = dir();
    for round in 0..5 {
        let mut recorder = Recorder::start(&dir);
        for n in 0..20 {
            let id = format!("r{round}-{n}");
            assert_eq!(recorder.say(&json!({"begin": begin(&id)}))["request_id"], json!(id));
        }
        signal("-KILL", recorder.child.id());
        recorder.child.wait().unwrap();
        assert_eq!(entries(&dir).len(), 20 * (round + 1));
    }
    assert_eq!(dir.db().query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
}

#[test]
fn two_processes_record_while_a_run_goes_on() {
    const EACH: usize = 150;
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform));
    std::thread::scope(|scope| {
        for process in 0..2 {
            let (dir, url) = (&dir, &platform.url);
            scope.spawn(move || {
                let mut recorder = Recorder::start(dir);
                for n in 0..EACH {
                    let id = format!("p{process}-{n}");
                    let mut form = begin(&id);
                    form["url"] = json!(format!("{url}/api/v1.0/account"));
                    assert_eq!(recorder.say(&json!({"begin": form}))["ok"], json!(true));
                    let end = match n % 3 {
                        0 => json!({"request_id": id, "answered": 400, "keep": true}),
                        1 => json!({"request_id": id, "failure": "timeout"}),
                        _ => continue,
                    };
                    assert_eq!(recorder.say(&json!({"end": end}))["became"], json!("recorded"));
                }
                drop(recorder.child.stdin.take());
                assert!(recorder.child.wait().unwrap().success());
            });
        }
        scope.spawn(|| {
            for _ in 0..4 {
                let ran = dir.run(&["run"]);
                assert!([0, 4].contains(&ran.code), "{ran:?}");
            }
        });
    });
    assert_eq!(entries(&dir).len(), 2 * EACH);
    assert_eq!(dir.run(&["run", "--wait", "30s"]).code, 0);
    let report = dir.report();
    assert_eq!(report.len(), 2 * EACH * 2 / 3);
    assert!(report.iter().all(|row| row["outcome"] == "not-applied"));
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// Begins until one is not taken; then each answered one must be there, and the ledger whole.
const LINES: usize = 4_000;

fn begins() -> String {
    (0..LINES).map(|n| json!({"begin": begin(&format!("r{n}"))}).to_string() + "\n").collect()
}

fn nothing_is_torn(dir: &Dir, ran: &Ran, said: &str) {
    let answers = answers(ran);
    assert_eq!((ran.code, answers.len()), (1, LINES), "{}", ran.err);
    let (taken, refused): (Vec<&Value>, Vec<&Value>) = answers.iter().partition(|answer| answer["ok"] == json!(true));
    assert!(!taken.is_empty() && !refused.is_empty(), "{} taken, {} refused", taken.len(), refused.len());
    assert!(refused.iter().any(|answer| answer["error"].as_str().unwrap().contains(said)), "{}", refused[0]);
    let there: std::collections::BTreeSet<String> =
        entries(dir).iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect();
    for answer in taken {
        assert!(there.contains(answer["request_id"].as_str().unwrap()), "answered, and not there: {answer}");
    }
    assert_eq!(dir.db().query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    assert_eq!(record(dir, &["begin"], &begin("afterwards").to_string()).code, 0, "with space again, it goes on");
}

#[test]
fn at_a_limit_of_the_files_size_nothing_is_torn() {
    let dir = dir();
    let binary = env!("CARGO_BIN_EXE_privo-reconcile");
    // The signal that a limit sends would end the process: ignored, the write fails instead, as on a full disk.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1200; exec \"$0\" record --stdin", binary]);
    command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = fed(command, &begins());
    nothing_is_torn(&dir, &ran, "nothing of this was recorded");
}

#[test]
fn on_a_full_disk_nothing_is_torn() {
    let dir = dir();
    let small = dir.file("small");
    std::fs::create_dir(&small).unwrap();
    // A file system of its own, in a mount namespace of its own: gone with the process. Needs root.
    let script = "mount -t tmpfs -o size=900k none small && cp ledger.db small/ && cd small && \
        \"$0\" --config ../small.toml record --stdin; code=$?; cp ledger.db* ..; exit $code";
    std::fs::write(
        dir.file("small.toml"),
        dir.read("privo-reconcile.toml").replace("\"ledger.db\"", "\"small/ledger.db\""),
    )
    .unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_privo-reconcile")]);
    command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let may = Command::new("unshare").args(["--mount", "sh", "-c", "mount -t tmpfs none /mnt"]).output();
    if !may.is_ok_and(|ran| ran.status.success()) {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    }
    let ran = fed(command, &begins());
    nothing_is_torn(&dir, &ran, "is full, nothing of this was recorded");
}

/// As a user to whom the folder does not belong; root may do everything.
fn as_nobody(mut command: Command) -> Option<Ran> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|ran| ran.stdout == b"0\n");
    if is_root {
        command.uid(65534).gid(65534);
    }
    let child = command.stdin(Stdio::null()).spawn();
    if child.is_err() {
        eprintln!("skipped: another user may not run the program");
    }
    Some(finish(child.ok()?))
}

#[test]
fn what_may_not_be_written_is_said_with_the_remedy() {
    let dir = dir();
    let mode = |name: &str, mode: u32| {
        std::fs::set_permissions(dir.file(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let says = |folder: u32, file: u32| {
        mode("ledger.db", file);
        mode("", folder);
        let ran = as_nobody(dir.command(&["record", "--stdin"]));
        mode("", 0o755);
        mode("ledger.db", 0o644);
        ran
    };
    for (folder, file) in [(0o555, 0o666), (0o555, 0o444), (0o755, 0o000)] {
        let Some(ran) = says(folder, file) else { return };
        assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{folder:o} {file:o} {ran:?}");
        assert!(ran.err.contains("cannot be written") && ran.err.contains("2770"), "{}", ran.err);
    }
    // A folder into which this user may not even look.
    let hidden = dir.file("hidden");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::rename(dir.file("ledger.db"), hidden.join("ledger.db")).unwrap();
    let config = dir.read("privo-reconcile.toml").replace("\"ledger.db\"", "\"hidden/ledger.db\"");
    std::fs::write(dir.file("privo-reconcile.toml"), config).unwrap();
    mode("hidden", 0o700);
    if as_nobody(Command::new("true")).is_some() && Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
        let ran = as_nobody(dir.command(&["record", "--stdin"])).unwrap();
        assert!(ran.code == 1 && ran.err.contains("2770"), "{ran:?}");
    }
}
