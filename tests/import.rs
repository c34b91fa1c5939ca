//! Proves that an outage which nobody recorded can be taken out of files: each format, again, grown, killed and gone on,
//! with mistakes told and no personal values where they do not belong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::io::Write;

use crate::util::{Dir, Platform, Ran, Setup, finish, signal, until};
use privo_reconcile::clock::Moment;
use privo_reconcile::sandbox::NewAccount;
use serde_json::Value;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

const EACH: [&str; 5] = ["outage.csv", "outage.jsonl", "outage.har", "nginx.log", "envoy.log"];

/// Records, imported, left out and rejected of each fixture.
const EXPECTED: [(u64, u64, u64, u64); 5] = [(7, 4, 2, 1), (7, 4, 1, 2), (4, 2, 1, 1), (6, 4, 2, 0), (5, 4, 1, 0)];

fn setup(base: &str) -> Setup {
    let rest = format!("[import.log]\nbase_url = \"{base}\"\n");
    Setup { rest, ..Setup::bare(base) }
}

fn dir() -> Dir {
    Dir::new(&setup(NOWHERE))
}

/// Puts a fixture into the folder, for the server at `base`.
fn put(dir: &Dir, name: &str, base: &str) {
    let text = std::fs::read_to_string(format!("{}/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    std::fs::write(dir.file(name), text.replace("BASE", base)).unwrap();
}

fn append(dir: &Dir, name: &str, text: &str) {
    let mut file = std::fs::File::options().append(true).create(true).open(dir.file(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn import(dir: &Dir, arguments: &[&str]) -> (Ran, Value) {
    let ran = dir.run(&[&["import", "--json"], arguments].concat());
    let shown = serde_json::from_str(&ran.out).unwrap_or(Value::Null);
    (ran, shown)
}

/// Imported, duplicates, left out, rejected.
fn counts(dir: &Dir, arguments: &[&str]) -> [u64; 4] {
    let (ran, shown) = import(dir, arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    ["imported", "duplicates", "left_out", "rejected"].map(|name| shown[name].as_u64().unwrap())
}

fn line(n: usize) -> String {
    format!(
        "{{\"method\":\"POST\",\"url\":\"{NOWHERE}/api/v1.0/account\",\"body\":{{\"email\":\"p{n}@example.com\"}},\
         \"sent_at\":\"2025-03-01T12:00:00Z\",\"http_status\":503}}\n"
    )
}

#[test]
fn every_format_is_read_and_every_record_counted() {
    for (name, (records, imported, left_out, rejected)) in EACH.into_iter().zip(EXPECTED) {
        let dir = dir();
        put(&dir, name, NOWHERE);
        let (ran, shown) = import(&dir, &["--map", "log", name]);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        let file = &shown["files"][0];
        let found =
            ["records", "imported", "left_out", "rejected", "duplicates"].map(|key| file[key].as_u64().unwrap());
        assert_eq!(found, [records, imported, left_out, rejected, 0], "{name}: {shown}");
        assert_eq!(dir.count("SELECT count(*) FROM entries"), i64::try_from(imported).unwrap(), "{name}");
        assert_eq!(dir.count("SELECT count(*) FROM entries WHERE failure IN ('answered', 'intent')"), 0);
        // Again, under another name, and by its format's name: nothing is added.
        assert_eq!(counts(&dir, &["--map", "log", name]), [0; 4], "{name}");
        let copy = format!("copy-of-{name}");
        std::fs::copy(dir.file(name), dir.file(&copy)).unwrap();
        assert_eq!(counts(&dir, &["--map", "log", &copy]), [0; 4], "{name}");
        assert_eq!(dir.count("SELECT count(*) FROM entries"), i64::try_from(imported).unwrap(), "{name}");
    }
}

#[test]
fn endings_times_and_urls_are_the_records_own() {
    let dir = dir();
    for name in EACH {
        put(&dir, name, NOWHERE);
    }
    let (ran, _) = import(&dir, &[["--map", "log"].as_slice(), EACH.as_slice()].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let db = dir.db();
    let mut statement = db
        .prepare("SELECT coalesce(sent_at, '') || ' ' || coalesce(ended_at, '') || ' ' || failure || ' ' || coalesce(http_status, '') || ' ' || method || ' ' || url FROM entries ORDER BY id")
        .unwrap();
    let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let has = |expected: &str| assert!(found.iter().any(|row| row == expected), "{expected} is not in {found:#?}");
    let create = "POST http://127.0.0.1:9/api/v1.0/account";
    has(&format!("2025-03-01T12:00:00.000Z 2025-03-01T12:00:10.999Z timeout  {create}"));
    has(&format!("2025-03-01T12:00:04.000Z  not_sent  {create}"));
    has("2025-03-01T12:00:06.000Z  http 503 POST https://elsewhere.example.com/api/v1.0/account");
    // HAR: a start, and a duration where there was an answer; nginx: an end of whole seconds and a duration; Envoy: a start and a duration.
    has(&format!("2025-03-01T12:00:00.000Z  network  {create}"));
    has(&format!("2025-03-01T11:59:59.996Z 2025-03-01T12:00:10.999Z http 504 {create}"));
    has(&format!("2025-03-01T12:00:08.000Z 2025-03-01T12:00:11.999Z timeout  {create}"));
    has(
        "2025-03-01T12:00:13.960Z 2025-03-01T12:00:14.999Z http 502 GET http://127.0.0.1:9/api/v1.0/account/lookup?email=ngx5@example.com",
    );
    has(&format!("2025-03-01T12:00:00.120Z 2025-03-01T12:00:15.120Z timeout  {create}"));
    has(&format!("2025-03-01T12:00:01.120Z 2025-03-01T12:00:01.123Z not_sent  {create}"));
    has(&format!("2025-03-01T12:00:02.120Z 2025-03-01T12:00:02.129Z network  {create}"));
}

#[test]
fn bodies_are_minimised_and_headers_never_kept() {
    let dir = dir();
    for name in EACH {
        put(&dir, name, NOWHERE);
    }
    import(&dir, &[["--map", "log"].as_slice(), EACH.as_slice()].concat());
    dir.db().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let ledger = String::from_utf8_lossy(&std::fs::read(dir.file("ledger.db")).unwrap()).into_owned();
    for gone in ["555-0101", "secret-token", "secret4", "secret5", "secret6", "192.0.2.1"] {
        assert!(!ledger.contains(gone), "{gone}");
    }
    let kept = "SELECT body FROM entries WHERE request_id = 'csv-1'";
    let body: String = dir.db().query_row(kept, [], |row| row.get(0)).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"email": "csv1@example.com", "first_name": "Ann", "birth_date_yyyymmdd": "19900102"})
    );
}

#[test]
fn what_a_log_cannot_decide_is_said() {
    let dir = dir();
    put(&dir, "nginx.log", NOWHERE);
    let ran = dir.run(&["import", "--map", "log", "nginx.log"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("2 of the imported cannot be decided: `body` is missing"), "{ran:?}");
    assert!(!ran.err.contains("example.com"), "{ran:?}");
}

#[test]
fn rejects_are_quarantined_with_line_and_reason_and_without_their_values() {
    let dir = dir();
    put(&dir, "outage.jsonl", NOWHERE);
    put(&dir, "outage.csv", NOWHERE);
    let ran = dir.run(&["import", "outage.jsonl", "outage.csv"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<Value> =
        dir.read("outage.jsonl.rejected.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["line"], &lines[1]["line"]), (&Value::from(5), &Value::from(6)));
    assert!(lines[0]["reason"].as_str().unwrap().contains("neither `http_status` nor `failure`"));
    assert!(lines[1]["reason"].as_str().unwrap().contains("no JSON object"));
    let csv = dir.read("outage.csv.rejected.jsonl");
    assert!(csv.contains("\"line\":8") && csv.contains("`sent_at` is no time"), "{csv}");
    for text in [csv, dir.read("outage.jsonl.rejected.jsonl"), ran.out, ran.err] {
        assert!(!text.contains("secret") && !text.contains("yesterday"), "{text}");
    }
}

#[test]
fn all_rejected_is_a_failure_again_and_again_until_it_is_mended() {
    let dir = dir();
    let text = line(1).replace("sent_at", "when") + &line(2).replace("sent_at", "when");
    std::fs::write(dir.file("a.jsonl"), text).unwrap();
    for _ in 0..2 {
        let (ran, shown) = import(&dir, &["a.jsonl"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(shown["rejected"], 2);
        assert!(ran.err.contains("every record of a.jsonl was rejected"), "{ran:?}");
        assert_eq!(dir.read("a.jsonl.rejected.jsonl").lines().count(), 2);
    }
    dir.configure(&Setup { rest: "[import.when]\nsent_at = \"when\"\n".to_owned(), ..setup(NOWHERE) });
    assert_eq!(counts(&dir, &["--map", "when", "a.jsonl"]), [2, 0, 0, 0]);
    assert!(!dir.file("a.jsonl.rejected.jsonl").exists());
}

#[test]
fn a_file_that_grew_is_read_on_from_where_it_ended() {
    let dir = dir();
    append(&dir, "a.jsonl", &(line(1) + &line(1) + "no object\n"));
    assert_eq!(counts(&dir, &["a.jsonl"]), [2, 0, 0, 1]);
    // The same request again, in the part that is new, is another attempt; an unfinished line waits.
    append(&dir, "a.jsonl", &(line(1) + &line(2)[..60]));
    assert_eq!(counts(&dir, &["a.jsonl"]), [1, 0, 0, 1]);
    append(&dir, "a.jsonl", &line(2)[60..]);
    let (ran, shown) = import(&dir, &["a.jsonl"]);
    assert_eq!(
        (ran.code, &shown["imported"], &shown["files"][0]["lines_before"]),
        (0, &Value::from(1), &Value::from(4))
    );
    assert_eq!(dir.read("a.jsonl.rejected.jsonl").lines().count(), 1);
    assert_eq!(dir.count("SELECT count(*) FROM entries"), 4);
    // Rotated: the first bytes differ, and what overlaps is known.
    std::fs::write(dir.file("a.jsonl"), line(3) + &line(1)).unwrap();
    assert_eq!(counts(&dir, &["a.jsonl"]), [1, 1, 0, 0]);
}

#[test]
fn a_last_line_without_an_end_is_imported_and_read_again() {
    let dir = dir();
    append(&dir, "a.jsonl", line(1).trim_end());
    append(&dir, "a.csv", &format!("method,url,sent_at,status\nGET,{NOWHERE}/x,2025-03-01T12:00:00Z,503"));
    assert_eq!(counts(&dir, &["a.jsonl", "a.csv"]), [2, 0, 0, 0]);
    assert_eq!(counts(&dir, &["a.jsonl", "a.csv"]), [0, 2, 0, 0]);
    append(&dir, "a.jsonl", &format!("\n{}", line(1)));
    append(&dir, "a.csv", &format!("\r\nGET,{NOWHERE}/x,2025-03-01T12:00:00Z,503\r\n"));
    assert_eq!(counts(&dir, &["a.jsonl", "a.csv"]), [2, 2, 0, 0]);
    assert_eq!(counts(&dir, &["a.jsonl", "a.csv"]), [0; 4]);
}

#[test]
fn a_csv_grows_too_with_its_lines_counted_right() {
    let dir = dir();
    let row = |n: u32| format!("GET,{NOWHERE}/x?{n},2025-03-01T12:00:0{n}Z,503\r\n");
    append(&dir, "a.csv", &format!("\u{feff}method,url,sent_at,status\r\n{}{}", row(1), row(2)));
    assert_eq!(counts(&dir, &["a.csv"]), [2, 0, 0, 0]);
    append(&dir, "a.csv", &format!("{}GET,\r\n{}GET,\r\n", row(3), row(4)));
    let (ran, shown) = import(&dir, &["a.csv"]);
    assert_eq!((ran.code, &shown["imported"], &shown["rejected"]), (0, &Value::from(2), &Value::from(2)), "{ran:?}");
    append(&dir, "a.csv", &row(5));
    assert_eq!(counts(&dir, &["a.csv"]), [1, 0, 0, 0]);
    let rejected = dir.read("a.csv.rejected.jsonl");
    assert!(rejected.contains("\"line\":5,") && rejected.contains("\"line\":7,"), "{rejected}");
}

#[test]
fn a_har_that_grew_is_read_whole_and_adds_what_is_new() {
    let dir = dir();
    put(&dir, "outage.har", NOWHERE);
    let (ran, _) = import(&dir, &["outage.har"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = dir.read("outage.har");
    let at = text.find("{\"startedDateTime\": \"2025-03-01T12:00:11").unwrap();
    let end = text.find("{\"startedDateTime\": \"2025-03-01T12:00:12").unwrap();
    // Twice the same now.
    std::fs::write(dir.file("outage.har"), text[..end].to_owned() + &text[at..]).unwrap();
    assert_eq!(counts(&dir, &["outage.har"]), [1, 2, 1, 1]);
    // Cut: what stands before is known, and the fault is told without a value.
    std::fs::write(dir.file("cut.har"), &text[..end + 40]).unwrap();
    let ran = dir.run(&["import", "cut.har"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no whole HAR document") && ran.err.contains("after 2 entries"), "{ran:?}");
    assert!(!ran.err.contains("example.com"), "{ran:?}");
}

#[test]
fn an_import_that_is_killed_goes_on_and_adds_each_record_once() {
    const LINES: usize = 15_000;
    let dir = dir();
    // Every request stands twice: two attempts.
    let text: String = (0..LINES).map(|n| line(n / 2)).collect();
    std::fs::write(dir.file("a.jsonl"), text).unwrap();
    let mut killed = 0;
    for _ in 0..4 {
        let before = dir.count("SELECT count(*) FROM entries");
        let mut child = dir.command(&["import", "a.jsonl"]).spawn().unwrap();
        until("a page", || dir.count("SELECT count(*) FROM entries") > before || child.try_wait().unwrap().is_some());
        signal("-KILL", child.id());
        finish(child);
        let stored = dir.count("SELECT count(*) FROM entries");
        assert_eq!(stored, dir.count("SELECT lines FROM imports"), "rows and mark are one transaction");
        killed += usize::from(stored < LINES as i64);
    }
    assert!(killed >= 2, "only {killed} imports were killed in the middle");
    let (ran, shown) = import(&dir, &["a.jsonl"]);
    assert_eq!((ran.code, &shown["duplicates"], &shown["rejected"]), (0, &Value::from(0), &Value::from(0)), "{ran:?}");
    assert_eq!(dir.count("SELECT count(*) FROM entries"), LINES as i64);
    assert_eq!(counts(&dir, &["a.jsonl"]), [0; 4]);
}

#[test]
fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let dir = dir();
    put(&dir, "outage.jsonl", NOWHERE);
    for _ in 0..2 {
        assert_eq!(counts(&dir, &["--dry-run", "outage.jsonl"]), [4, 0, 1, 2]);
    }
    assert_eq!(dir.count("SELECT (SELECT count(*) FROM entries) + (SELECT count(*) FROM imports)"), 0);
    assert!(!dir.file("outage.jsonl.rejected.jsonl").exists());
}

#[test]
fn an_id_that_retries_share_is_refused_and_taken_as_operation_id() {
    let dir = dir();
    let of = |time: u32| {
        line(1)
            .replace("12:00:00Z", &format!("12:00:0{time}Z"))
            .replace("{\"method\"", "{\"x_request_id\":\"x-1\",\"method\"")
    };
    std::fs::write(dir.file("a.jsonl"), of(1) + &of(1) + &of(2)).unwrap();
    let rest = "[import.a]\nrequest_id = \"x_request_id\"\n[import.b]\noperation_id = \"$.x_request_id\"\n";
    dir.configure(&Setup { rest: rest.to_owned(), ..setup(NOWHERE) });
    assert_eq!(counts(&dir, &["--map", "a", "a.jsonl"]), [1, 1, 0, 1]);
    assert!(dir.read("a.jsonl.rejected.jsonl").contains("mapped as `operation_id`"));
    let dir = Dir::new(&Setup { rest: rest.to_owned(), ..setup(NOWHERE) });
    std::fs::write(dir.file("a.jsonl"), of(1) + &of(1) + &of(2)).unwrap();
    assert_eq!(counts(&dir, &["--map", "b", "a.jsonl"]), [3, 0, 0, 0]);
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE operation_id = 'x-1'"), 3);
}

#[test]
fn answers_are_recorded_when_asked_for() {
    let rest = "[import.all]\nanswers = true\n";
    let dir = Dir::new(&Setup { rest: rest.to_owned(), ..setup(NOWHERE) });
    put(&dir, "outage.csv", NOWHERE);
    assert_eq!(counts(&dir, &["--map", "all", "outage.csv"]), [6, 0, 0, 1]);
    assert_eq!(dir.count("SELECT sum(http_status) FROM entries WHERE failure = 'answered'"), 201 + 412);
}

#[test]
fn a_mapping_names_columns_times_and_the_host() {
    let rest = r#"
[import.legacy]
format = "csv"
delimiter = ";"
base_url = "http://127.0.0.1:9"
request_id = "id"
method = "verb"
url = ["request_url", "path"]
body = "payload"
sent_at = { field = "time", format = "%d.%m.%Y %H:%M:%S", offset = "+01:00" }
duration = { field = "took", unit = "s" }
http_status = "code"
"#;
    let dir = Dir::new(&Setup { rest: rest.to_owned(), ..setup(NOWHERE) });
    let text = "id;verb;path;payload;time;took;code\n\
                1;post;/api/v1.0/account;\"{\"\"email\"\":\"\"a@example.com\"\"}\";01.03.2025 13:00:00;10;000\n";
    std::fs::write(dir.file("a.txt"), text).unwrap();
    assert_eq!(counts(&dir, &["--map", "legacy", "a.txt"]), [1, 0, 0, 0]);
    let row = "SELECT method || ' ' || url || ' ' || body || ' ' || sent_at || ' ' || ended_at || ' ' || failure FROM entries";
    let found: String = dir.db().query_row(row, [], |row| row.get(0)).unwrap();
    assert_eq!(
        found,
        "POST http://127.0.0.1:9/api/v1.0/account {\"email\":\"a@example.com\"} 2025-03-01T12:00:00.000Z 2025-03-01T12:00:10.999Z network"
    );
}

#[test]
fn mistakes_are_exit_2_with_file_line_and_remedy() {
    let lines = setup(NOWHERE).text().lines().count();
    let dir = Dir::new(&setup(NOWHERE));
    put(&dir, "outage.csv", NOWHERE);
    for (offset, mistake, expected) in [
        (2, "[import.a]\nurll = \"x\"\n", "unknown field"),
        (2, "[import.a]\nurl = \"$..[\"\n", "is not a JSON path"),
        (2, "[import.a]\nformat = \"xml\"\n", "unknown variant"),
        (2, "[import.a]\nbase_url = \"nowhere\"\n", "not an http or https URL"),
        (2, "[import.a]\nsent_at = { field = \"t\", format = \"%H:%M\" }\n", "no offset"),
        (2, "[import.a]\nduration = { field = \"t\", unit = \"h\" }\n", "\"ms\" or \"s\""),
        (1, "[import.a]\nformat = \"csv\"\nurl = \"$.x\"\n", "not a JSON path (leave out"),
        (1, "[import.a]\ndelimiter = \";\"\n", "`delimiter` belongs to"),
    ] {
        dir.configure(&Setup { rest: setup(NOWHERE).rest + mistake, ..Setup::bare(NOWHERE) });
        let ran = dir.run(&["import", "--map", "a", "outage.csv"]);
        let place = format!("privo-reconcile.toml, line {}", lines + offset);
        assert_eq!(ran.code, 2, "{mistake}: {ran:?}");
        assert!(ran.err.contains(&place) && ran.err.contains(expected), "{mistake}: {place}: {ran:?}");
    }
    dir.configure(&setup(NOWHERE));
    std::fs::write(dir.file("x.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(dir.file("list.json"), "[{}]\n").unwrap();
    for (arguments, expected) in [
        (vec!["--map", "nobody", "outage.csv"], "has no [import.nobody]"),
        (vec!["missing.csv"], "failed to open missing.csv"),
        (vec!["."], "it is no file"),
        (vec!["x.csv"], "has no column for `method`"),
        (vec!["list.json"], "JSON array"),
        (vec!["secret"], "is the credential"),
        (vec!["--format", "xml", "outage.csv"], "invalid value"),
    ] {
        let ran = dir.run(&[&["import"], arguments.as_slice()].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(expected), "{arguments:?}: {ran:?}");
    }
    assert_eq!(dir.count("SELECT count(*) FROM entries"), 0);
}

#[test]
fn an_open_quote_and_an_endless_line_are_bounded() {
    let dir = dir();
    let long = "x".repeat(33 << 20);
    std::fs::write(dir.file("a.csv"), format!("method,url,sent_at,status\nGET,\"{long}")).unwrap();
    let ran = dir.run(&["import", "a.csv"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is a quote left open?"), "{ran:?}");
    std::fs::write(dir.file("a.jsonl"), format!("{long}\n{}", line(1))).unwrap();
    assert_eq!(counts(&dir, &["a.jsonl"]), [1, 0, 0, 1]);
    assert!(dir.read("a.jsonl.rejected.jsonl").contains("longer than 32 MiB"));
}

#[test]
fn what_was_imported_is_reconciled() {
    let platform = Platform::start();
    let rest = format!("[import.log]\nbase_url = \"{}\"\n", platform.url);
    let dir = Dir::new(&Setup { rest, ..Setup::of(&platform) });
    for name in EACH {
        put(&dir, name, &platform.url);
    }
    platform.add(NewAccount {
        email: Some("har1@example.com".to_owned()),
        given_name: Some("Ann".to_owned()),
        birth_date_yyyymmdd: Some("19900102".to_owned()),
        ..NewAccount::default()
    });
    let (ran, _) = import(&dir, &[["--map", "log"].as_slice(), EACH.as_slice()].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = dir.run_twice();
    assert_eq!(ran.code, 3, "{ran:?}");
    // The logs hold a DELETE by an id, and nothing tells whose it was.
    assert_eq!(dir.says("csv-1"), "duplicate-risk unknown removed-since review");
    assert_eq!(dir.says("csv-5"), "resolved not-applied never-sent resend");
    assert_eq!(dir.says("csv-7"), "pending . other-environment review");
    assert_eq!(dir.says("ngx-1"), "duplicate-risk unknown bad-row review");
    assert_eq!(dir.says("ngx-4"), "duplicate-risk unknown removed-since review");
    assert_eq!(dir.says("ngx-5"), "resolved not-applied no-effect none");
    let rows = dir.report();
    let har = rows.iter().filter(|row| row["request_id"].starts_with("import-") && row["reason"] == "present");
    assert_eq!(har.count(), 1, "{rows:#?}");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

/// Memory stays flat: `cargo test --test laws import:: -- --ignored --nocapture` makes a file of 200 MB and prints the figures.
#[test]
#[ignore = "takes long; docs/IMPORT.md has its figures"]
fn a_large_file_streams_in_flat_memory() {
    let dir = dir();
    for (name, bytes) in [("small", 20_000_000), ("large", 200_000_000)] {
        let mut file = std::io::BufWriter::new(std::fs::File::create(dir.file(&format!("{name}.jsonl"))).unwrap());
        let (mut written, mut n) = (0, 0);
        while written < bytes {
            // One of ten is in doubt.
            let line = if n % 10 == 0 { line(n) } else { line(n).replace("503", "201") };
            file.write_all(line.as_bytes()).unwrap();
            written += line.len() as u64;
            n += 1;
        }
    }
    let mut peaks = Vec::new();
    for name in ["small.jsonl", "large.jsonl"] {
        let started = Moment::now();
        let mut child = dir.command(&["import", name]).spawn().unwrap();
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(resident(child.id()));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let took = Moment::now().since(started);
        eprintln!("{name}: {} ms, at most {peak} KiB resident", took.0);
        peaks.push(peak);
    }
    assert!(peaks[1] < peaks[0] * 3 / 2, "{peaks:?}");
}

/// The most memory that a process had so far, in KiB; 0 where that cannot be known.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
