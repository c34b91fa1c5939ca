//! The commands that meet the faults, each on a ledger of its own.

use std::path::Path;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};
use serde_json::json;

use crate::stage::Stage;
use crate::tally::Wrong;
use crate::util::{CANARY, Dir, Entry, Platform, Ran, Setup, rows};

/// A command, and how to go on after it failed.
pub struct Scene {
    pub name: &'static str,
    pub stage: Stage,
    pub command: &'static [&'static str],
    pub input: Option<String>,
    /// What a user does next, until all is done. The last one's exit code is expected to be as without a fault.
    pub then: &'static [&'static [&'static str]],
    /// What must hold right after the fault, besides what holds of every scene.
    pub right_after: fn(&Stage, &Ran) -> Vec<(Wrong, String)>,
    /// What must hold in the end.
    pub in_the_end: fn(&Stage) -> Vec<(Wrong, String)>,
}

/// Of which nothing more is asked than of every scene.
fn scene(
    name: &'static str,
    dir: Dir,
    command: &'static [&'static str],
    then: &'static [&'static [&'static str]],
) -> Scene {
    let (right_after, in_the_end) = (|_: &Stage, _: &Ran| Vec::new(), |_: &Stage| Vec::new());
    Scene { name, stage: Stage::new(dir), command, input: None, then, right_after, in_the_end }
}

pub fn platform() -> Platform {
    Platform::with(Faults { shows_created_at: true, ..Faults::default() })
}

/// Requests of every kind in doubt, and a server that has some of the records.
pub fn ledger(platform: &Platform, setup: &Setup) -> Dir {
    let dir = Dir::new(setup);
    let base = &platform.url;
    let add = |email: &str, name: &str, made_ms: Option<i64>| {
        let (email, given_name) = (Some(email.to_owned()), Some(name.to_owned()));
        platform.add(NewAccount { email, given_name, made_ms, ..NewAccount::default() });
    };
    let yesterday = Some((Moment::now() + Span::seconds(-86_400)).0);
    add("there@example.com", "Ann", None);
    add("older@example.com", "Ann", yesterday);
    add("taken@example.com", "Zoë", None);
    add("stays@example.com", "Ann", yesterday);
    let register = |id: &str, email: &str| Entry::register(id, base, email);
    let post = |id: &str, path: &str, body: &str| Entry::new(id, "POST", &format!("{base}{path}")).body(body);
    let delete = |id: &str, email: &str| Entry::new(id, "DELETE", &format!("{base}/api/v1.0/account?email={email}"));
    for entry in [
        register("present", "there@example.com"),
        register("preexisting", "older@example.com"),
        register("taken", "taken@example.com"),
        register("absent", "gone@example.com"),
        register("retry-1", "again@example.com").operation("retried"),
        register("retry-2", "Again@Example.com").operation("retried").http(503),
        register("retry-3", "again@example.com").operation("retried").failure("not_sent"),
        register("answered", "known@example.com").operation("known").answered(201),
        register("before-it", "known@example.com").operation("known"),
        register("intent", "intent@example.com").failure("intent"),
        register("elsewhere", "other@example.com").with("url", "https://other.example/api/v1.0/account".to_owned()),
        register("never-sent", "never@example.com").failure("not_sent"),
        register("broken", "broken@example.com").body(r#"{"email":"#),
        post("shadow", "/api/account/shadow", r#"{"display_name":"Shady"}"#),
        post("unknown", "/unknown", r#"{"email":"unknown@example.com"}"#),
        Entry::new("read", "GET", &format!("{base}/api/v1.0/account/lookup")),
        delete("deleted", "away%40example.com"),
        delete("not-deleted", "stays%40example.com"),
    ] {
        dir.insert(&entry);
    }
    let child = format!(r#"{{"parentEmail":"{CANARY}","first_name":"Kim","birth_date_yyyymmdd":"20150102"}}"#);
    for id in ["child-1", "child-2"] {
        dir.attempt(platform, post(id, "/api/v1.0/account", &child).operation("child"), "lost-after");
    }
    dir
}

/// The same ledger in a folder of its own.
fn copy(platform: &Platform, of: &Dir) -> Dir {
    let dir = Dir::without_ledger(&Setup::of(platform));
    of.db().execute("VACUUM INTO ?", [dir.file("ledger.db").to_str().unwrap()]).unwrap();
    dir
}

fn settled(platform: &Platform, of: &Dir) -> Dir {
    let dir = copy(platform, of);
    for _ in 0..2 {
        let ran = dir.run(&["run"]);
        assert_eq!(ran.code, 3, "{ran:?}");
    }
    dir
}

/// What was written before, and is replaced.
const OLD_REPORT: &str = "the last good report\n";

fn with_report(dir: Dir) -> Dir {
    std::fs::write(dir.file("out.csv"), OLD_REPORT).unwrap();
    std::fs::write(dir.file("out.csv.meta.json"), "{}").unwrap();
    dir
}

/// The old report or a whole new one, and meta data that can be read.
fn report_is_whole(stage: &Stage, _: &Ran) -> Vec<(Wrong, String)> {
    let mut wrong = Vec::new();
    let text = std::fs::read_to_string(stage.dir.file("out.csv")).unwrap_or_default();
    if text != OLD_REPORT && !whole_csv(&text, 19) {
        wrong.push((Wrong::Torn, format!("out.csv: {text}")));
    }
    let meta = std::fs::read(stage.dir.file("out.csv.meta.json")).unwrap_or_default();
    if serde_json::from_slice::<serde_json::Value>(&meta).is_err() {
        wrong.push((Wrong::Torn, "out.csv.meta.json".to_owned()));
    }
    wrong
}

fn whole_csv(text: &str, count: usize) -> bool {
    text.ends_with('\n') && rows(text).len() == count
}

fn report_is_new(stage: &Stage) -> Vec<(Wrong, String)> {
    let text = std::fs::read_to_string(stage.dir.file("out.csv")).unwrap_or_default();
    if whole_csv(&text, 19) { Vec::new() } else { vec![(Wrong::Torn, format!("no new report: {text}"))] }
}

/// What was told as new is told at least once: in the file of the failed command or in the next.
fn new_is_told(stage: &Stage) -> Vec<(Wrong, String)> {
    let shown = |name: &str| std::fs::read_to_string(stage.dir.file(name)).unwrap_or_default();
    // What is pending has no verdict that could be new.
    let verdicts = stage.dir.count("SELECT count(*) FROM state WHERE status <> 'pending'") as usize;
    if ["new.csv", "next.csv"].iter().any(|name| whole_csv(&shown(name), verdicts)) {
        return Vec::new();
    }
    vec![(Wrong::Lost, "neither report tells what is new".to_owned())]
}

/// There is none, or a whole one that opens as a ledger with every entry.
fn backup_is_whole(stage: &Stage, _: &Ran) -> Vec<(Wrong, String)> {
    let copy = stage.dir.file("copy.db");
    if copy.exists() { copy_is_whole(&copy) } else { Vec::new() }
}

fn backup_is_there(stage: &Stage) -> Vec<(Wrong, String)> {
    copy_is_whole(&stage.dir.file(if stage.dir.file("copy.db").exists() { "copy.db" } else { "copy-2.db" }))
}

fn copy_is_whole(copy: &Path) -> Vec<(Wrong, String)> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let asked = rusqlite::Connection::open_with_flags(copy, flags).and_then(|db| {
        let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let entries: i64 = db.query_row("SELECT count(*) FROM entries", [], |row| row.get(0))?;
        Ok((whole, entries))
    });
    match asked {
        Ok((whole, 20)) if whole == "ok" => Vec::new(),
        other => vec![(Wrong::Torn, format!("the backup: {other:?}"))],
    }
}

/// Whatever was answered is durable.
fn answered_is_there(stage: &Stage, ran: &Ran) -> Vec<(Wrong, String)> {
    let there = stage.entries().unwrap_or_default();
    let shown = ran.out.lines().map(|line| {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let ok = answer["ok"] == true;
        if line.starts_with('{') {
            answer["request_id"].as_str().filter(|_| ok).map(str::to_owned)
        } else {
            Some(line.to_owned())
        }
    });
    let lost = |id: &String| !there.iter().any(|entry| entry.starts_with(&format!("{id}|")));
    shown.flatten().filter(lost).map(|id| (Wrong::Lost, format!("{id} was answered and is not there"))).collect()
}

/// The quarantine is whole lines of JSON.
fn quarantine_is_whole(stage: &Stage) -> Vec<(Wrong, String)> {
    let text = std::fs::read_to_string(stage.dir.file("outage.jsonl.rejected.jsonl")).unwrap_or_default();
    let whole = text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    if whole && text.lines().count() == 1 { Vec::new() } else { vec![(Wrong::Torn, format!("quarantine: {text}"))] }
}

fn pruned(stage: &Stage) -> Vec<(Wrong, String)> {
    let mut bytes = Vec::new();
    for name in ["ledger.db", "ledger.db-wal"] {
        bytes.extend(std::fs::read(stage.dir.file(name)).unwrap_or_default());
    }
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let stays =
        ["there@example.com", "older@example.com", "gone@example.com"].into_iter().filter(|who| text.contains(who));
    stays.map(|who| (Wrong::Leak, format!("{who} is still in the pruned file"))).collect()
}

fn record(platform: &Platform, id: &str) -> String {
    let body = json!({"email": format!("{id}@example.com"), "first_name": "Ann"});
    json!({"request_id": id, "method": "POST", "url": format!("{}/api/v1.0/account", platform.url), "body": body, "sent_at": "2026-03-01T12:00:00Z"})
        .to_string()
}

fn import_file(dir: &Dir, platform: &Platform) {
    let mut lines = String::new();
    for n in 0..6 {
        let line = json!({"request_id": format!("i{n}"), "method": "POST", "url": format!("{}/api/v1.0/account", platform.url),
            "body": {"email": format!("i{n}@example.com")}, "sent_at": "2026-03-01T12:00:00Z", "http_status": 503});
        lines.push_str(&format!("{line}\n"));
        if n == 3 {
            lines.push_str("{\"method\":\"POST\"}\n");
        }
    }
    crate::util::leaks::note(&lines);
    std::fs::write(dir.file("outage.jsonl"), lines).unwrap();
}

/// All of them, on one server: none sends anything but reads.
pub fn all(platform: &Platform) -> Vec<Scene> {
    let master = ledger(platform, &Setup::of(platform));
    let half_way = copy(platform, &master);
    half_way.run(&["run"]);
    let importing = Dir::of(platform);
    import_file(&importing, platform);
    let begun = Dir::of(platform);
    let lines =
        |ids: &[&str]| ids.iter().map(|id| format!("{{\"begin\":{}}}\n", record(platform, id))).collect::<String>();
    vec![
        scene("run, the first", copy(platform, &master), &["run"], &[&["run"], &["run"]]),
        Scene {
            right_after: report_is_whole,
            in_the_end: report_is_new,
            ..scene(
                "run, the second, with a report",
                with_report(half_way),
                &["run", "--report", "out.csv"],
                &[&["run", "--report", "out.csv"]],
            )
        },
        Scene {
            right_after: report_is_whole,
            in_the_end: report_is_new,
            ..scene(
                "report FILE",
                with_report(settled(platform, &master)),
                &["report", "out.csv"],
                &[&["report", "out.csv"]],
            )
        },
        Scene {
            in_the_end: new_is_told,
            ..scene(
                "report --new",
                settled(platform, &master),
                &["report", "--new", "new.csv"],
                &[&["report", "--new", "next.csv"]],
            )
        },
        scene("init", Dir::without_ledger(&Setup::of(platform)), &["init"], &[&["init"]]),
        scene(
            "close",
            settled(platform, &master),
            &["close", "unknown", "--who", "Dana", "--why", "asked"],
            &[&["close", "unknown", "--who", "Dana", "--why", "asked"]],
        ),
        Scene {
            in_the_end: pruned,
            ..scene(
                "prune",
                settled(platform, &master),
                &["prune", "--older-than", "0s"],
                &[&["prune", "--older-than", "0s"]],
            )
        },
        Scene {
            right_after: backup_is_whole,
            in_the_end: backup_is_there,
            ..scene("backup", settled(platform, &master), &["backup", "copy.db"], &[&["backup", "copy-2.db"]])
        },
        Scene {
            in_the_end: quarantine_is_whole,
            ..scene("import", importing, &["import", "outage.jsonl"], &[&["import", "outage.jsonl"]])
        },
        Scene {
            input: Some(record(platform, "b1")),
            right_after: answered_is_there,
            ..scene("record begin", Dir::of(platform), &["record", "begin"], &[&["record", "begin"]])
        },
        Scene {
            input: Some(r#"{"failure":"http","http_status":503,"ended_at":"2026-03-01T12:00:01Z"}"#.to_owned()),
            ..scene(
                "record end",
                {
                    let ran = crate::stage::fed(begun.command(&["record", "begin"]), Some(&record(platform, "b1")));
                    assert_eq!(ran.code, 0, "{ran:?}");
                    begun
                },
                &["record", "end", "b1"],
                &[&["record", "end", "b1"]],
            )
        },
        Scene {
            input: Some(lines(&["s1", "s2", "s3"])),
            right_after: answered_is_there,
            ..scene("record --stdin", Dir::of(platform), &["record", "--stdin"], &[&["record", "--stdin"]])
        },
    ]
}
