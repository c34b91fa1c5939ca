//! Proves who hears of a run: pings, metrics, hooks and alerts, that none of them changes what a run did, and that none of
//! them is told anybody's data.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::util::{Answer, CANARY, Dir, Entry, Hostile, Platform, SECRET, Setup, finish, signal, until};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};
use serde_json::Value;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Where hooks find `cat` and `sleep`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What makes a ping's URL a secret.
const UUID: &str = "5e1f0e9a-uuid";

fn taken() -> Hostile {
    Hostile::start(|_, _| Answer::json("200 OK", "{}"))
}

/// A setup without a server, with these sections.
fn with(rest: &str) -> Setup {
    Setup { rest: rest.to_owned(), ..Setup::bare(NOWHERE) }
}

fn ping(server: &Hostile) -> String {
    format!("[ping]\nurl = \"{}/{UUID}\"\n", server.url)
}

fn paths(server: &Hostile) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.path.replace(UUID, "u")).collect()
}

/// Pending for as long as it is not closed.
fn pending(id: &str) -> Entry {
    Entry::register(id, "https://elsewhere.example", "ann@example.com")
}

fn risk(id: &str) -> Entry {
    Entry::new(id, "POST", &format!("{NOWHERE}/unknown"))
}

#[test]
fn a_run_pings_when_it_begins_and_with_its_exit_code() {
    let server = taken();
    let dir = Dir::new(&with(&ping(&server)));
    dir.runs(0);
    dir.insert(&pending("r1"));
    dir.runs(4);
    dir.insert(&risk("r2"));
    dir.runs(3);
    assert_eq!(paths(&server), ["/u/start", "/u/0", "/u/start", "/u/4", "/u/start", "/u/3"]);
    for asked in server.asked() {
        assert_eq!((asked.method.as_str(), asked.authorization.as_str()), ("GET", ""));
    }
}

#[test]
fn codes_may_be_told_as_success() {
    let server = taken();
    let dir = Dir::new(&with(&format!("{}success = [3, 4]\n", ping(&server))));
    dir.insert(&pending("r1"));
    dir.runs(4);
    assert_eq!(paths(&server), ["/u/start", "/u/0"]);
}

#[test]
fn the_end_of_the_path_is_found_behind_slashes_and_before_a_query() {
    let server = taken();
    let dir = Dir::new(&with(&format!("[ping]\nurl = \"{}/key/slug/?create=1\"\n", server.url)));
    dir.runs(0);
    assert_eq!(paths(&server), ["/key/slug/start?create=1", "/key/slug/0?create=1"]);
}

#[test]
fn a_run_that_fails_pings_too_and_what_is_no_run_does_not() {
    let server = taken();
    let dir = Dir::without_ledger(&with(&ping(&server)));
    assert_eq!(dir.run(&["run"]).code, 2);
    dir.run(&["init"]);
    let lock = dir.hold();
    assert_eq!(dir.run(&["run"]).code, 11);
    drop(lock);
    assert_eq!(dir.run(&["run", "--report", "no/such/out.csv"]).code, 1);
    assert_eq!(paths(&server), ["/u/start", "/u/2", "/u/start", "/u/11", "/u/start", "/u/1"]);
    for arguments in [&["run", "--dry-run"][..], &["status"], &["report"], &["verify"]] {
        assert_eq!(dir.run(arguments).code, 0, "{arguments:?}");
    }
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn a_run_that_is_stopped_pings_its_code() {
    let server = taken();
    let platform = Platform::start();
    let setup = Setup { rest: ping(&server), ..Setup::of(&platform).windows(&[("network", "5m")]) };
    let dir = Dir::new(&setup);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    let run = dir.command(&["run", "--wait", "10m"]).spawn().unwrap();
    until("the first look", || dir.count("SELECT count(*) FROM looks") > 0);
    signal("-TERM", run.id());
    assert_eq!(finish(run).code, 143);
    assert_eq!(paths(&server), ["/u/start", "/u/143"]);
}

#[test]
fn a_signal_ends_the_wait_for_a_ping_that_nobody_answers() {
    let server = Hostile::start(|_, _| Answer::Hang);
    let dir = Dir::new(&with(&ping(&server)));
    let run = dir.command(&["run"]).spawn().unwrap();
    for pings in 1..=2 {
        until("the ping", || server.asked().len() == pings);
        signal("-TERM", run.id());
    }
    let ran = finish(run);
    assert!([0, 143].contains(&ran.code), "{ran:?}");
    // A ping that was waited for to its end is tried a second time.
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_ping_that_is_not_taken_is_a_warning_without_its_url() {
    for (what, answer, tries, says) in [
        ("404", Answer::json("404 Not Found", "{}"), 1, "status 404"),
        ("503", Answer::json("503 Service Unavailable", "{}"), 2, "status 503"),
        ("closed", Answer::closed(), 2, "the connection broke"),
        ("redirect", Answer::Whole("302 Found", "location: /elsewhere\r\n", String::new()), 1, "status 302"),
    ] {
        let server = Hostile::start(move |_, _| answer.clone());
        let dir = Dir::new(&with(&ping(&server)));
        let ran = dir.runs(0);
        assert_eq!(ran.err.lines().count(), 2, "{what}: {ran:?}");
        assert!(ran.err.contains("warning: [ping] start") && ran.err.contains("warning: [ping] 0"), "{what}: {ran:?}");
        assert!(ran.err.contains(says), "{what}: {ran:?}");
        assert!(!ran.err.contains(UUID) && !ran.err.contains(&server.url), "{what}: {ran:?}");
        assert_eq!(server.asked().len(), 2 * tries, "{what}");
    }
}

#[test]
fn the_pings_url_comes_from_a_file_or_the_environment_too() {
    let server = taken();
    let dir = Dir::new(&with("[ping]\nurl = { file = \"ping-url\" }\n"));
    std::fs::write(dir.file("ping-url"), format!("{}/{UUID}\n", server.url)).unwrap();
    dir.runs(0);
    dir.configure(&with("[ping]\nurl = { env = \"PING_URL\" }\n"));
    let mut command = dir.command(&["run"]);
    assert_eq!(finish(command.env("PING_URL", format!("{}/{UUID}", server.url)).spawn().unwrap()).code, 0);
    assert_eq!(server.asked().len(), 4);
    // One that is missing is a ping that failed.
    let ran = dir.runs(0);
    assert!(ran.err.contains("PING_URL is not set"), "{ran:?}");
}

#[test]
fn mistakes_in_the_sections_are_2_with_line_and_remedy() {
    let dir = Dir::new(&with(""));
    let lines = dir.read("privo-reconcile.toml").lines().count();
    for (section, line, says) in [
        (&format!("[ping]\nurl = \"hc.example/{UUID}\"\n")[..], 2, "not an http or https URL"),
        ("[ping]\nurl = { env = \"A\", file = \"b\" }\n", 2, "one of env, file or value"),
        ("[ping]\nurl = 3\n", 2, "ping.url"),
        ("[ping]\nadress = \"http://x\"\n", 2, "unknown field"),
        ("[metrics]\nfile = \"out.txt\"\n", 1, ".prom"),
        ("[hook]\ncommand = []\n", 1, "hook.command is empty"),
        ("[hook]\ncommand = [\"x\"]\non = \"never\"\n", 3, "hook.on"),
        ("[hook]\ncommand = [\"x\"]\ntimeout = \"0s\"\n", 1, "more than 0s"),
        ("[log]\nlevel = \"loud\"\n", 2, "log.level"),
        ("[[alert]]\nname = \"a\"\n", 1, "one condition"),
        ("[[alert]]\npending_more_than = 1\nno_success_for = \"1d\"\n", 1, "one condition"),
        ("[[alert]]\npending_older_than = \"3 days\"\n", 2, "not a duration"),
        ("[[alert]]\npending_more_than = 1\n[[alert]]\npending_more_than = 1\n", 3, "two alerts are named"),
    ] {
        dir.configure(&with(section));
        let ran = dir.run(&["run"]);
        assert_eq!(ran.code, 2, "{section}: {ran:?}");
        assert!(ran.err.contains(says), "{section}: {ran:?}");
        assert!(ran.err.contains(&format!("line {}", lines + line)), "{section}: {ran:?}");
        assert!(!ran.err.contains(UUID), "{ran:?}");
    }
}

/// The samples of a metrics file: what stands before the value, without the ledger's label, and the value. Panics where
/// the text is not what the format allows.
fn samples(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with('\n'), "the last line must end");
    let (mut helped, mut typed) = (String::new(), String::new());
    let mut samples = Vec::new();
    let is_name =
        |name: &str| name.starts_with("privo_reconcile_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split_once(' ').unwrap().0.to_owned();
            assert!(is_name(&helped), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.strip_suffix(" gauge").unwrap().to_owned();
            assert_eq!(typed, helped);
        } else {
            let (name, rest) = line.split_once("{ledger=\"").unwrap();
            assert_eq!(name, typed, "{line}");
            let (labels, value) = rest.rsplit_once("} ").unwrap();
            let labels = labels.split_once('"').unwrap().1.trim_start_matches(',');
            let sample = format!("{}{{{labels}}}", name.strip_prefix("privo_reconcile_").unwrap());
            assert!(!samples.iter().any(|(other, _)| *other == sample), "twice: {line}");
            samples.push((sample, value.parse::<f64>().unwrap()));
        }
    }
    samples
}

fn metric(dir: &Dir, sample: &str) -> Option<f64> {
    let samples = samples(&dir.read("out.prom"));
    samples.iter().find(|(name, _)| name == sample).map(|(_, value)| *value)
}

const METRICS: &str = "[metrics]\nfile = \"out.prom\"\n";

/// Prometheus' own parser, where Python has it.
fn parsed_by_prometheus(dir: &Dir) {
    let program = "import sys; from prometheus_client.parser import text_string_to_metric_families as parse\n\
        print(sum(len(family.samples) for family in parse(open(sys.argv[1]).read())))";
    let has = Command::new("python3").args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        eprintln!("skipped in part: python3 with prometheus_client is missing (pip install prometheus_client)");
        return;
    }
    let ran = Command::new("python3").arg("-c").arg(program).arg(dir.file("out.prom")).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    assert_eq!(said, samples(&dir.read("out.prom")).len().to_string(), "{ran:?}");
}

#[test]
fn metrics_say_how_the_ledger_stands_and_how_the_run_went() {
    let platform = Platform::start();
    let alert = "[[alert]]\nname = \"say \\\"old\\\" \\\\\"\npending_older_than = \"30s\"\n";
    let dir = Dir::new(&Setup { rest: format!("{METRICS}{alert}"), ..Setup::of(&platform) });
    platform.add(NewAccount { email: Some("ann@example.com".to_owned()), ..NewAccount::default() });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.insert(&Entry::new("r2", "POST", &format!("{}/unknown", platform.url)));
    let oldest = Moment::now() + Span::seconds(-600);
    dir.insert(&pending("r3").sent(oldest));
    dir.runs(5);
    parsed_by_prometheus(&dir);
    for (sample, value) in [
        ("entries{status=\"pending\",reason=\"other-environment\"}", 1.0),
        ("entries{status=\"duplicate-risk\",reason=\"no-plan\"}", 1.0),
        ("entries{status=\"resolved\",reason=\"\"}", 0.0),
        ("last_run_exit_code{}", 5.0),
        ("last_run_lookups{result=\"present\"}", dir.count("SELECT count(*) FROM looks") as f64),
        ("last_run_lookups{result=\"inconclusive\"}", 0.0),
        ("alerts{name=\"say \\\"old\\\" \\\\\"}", 1.0),
        ("oldest_pending_sent_timestamp_seconds{}", oldest.0 as f64 / 1000.0),
    ] {
        assert_eq!(metric(&dir, sample), Some(value), "{sample}: {}", dir.read("out.prom"));
    }
    let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(metric(&dir, &version), Some(1.0));
    let mode = || std::fs::metadata(dir.file("out.prom")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode() & 0o007, 0, "a new file gives others no right");
    // Who lets the collector's user in keeps it that way.
    std::fs::set_permissions(dir.file("out.prom"), std::fs::Permissions::from_mode(0o644)).unwrap();
    dir.run(&["run"]);
    assert_eq!(mode(), 0o644);
}

#[test]
fn the_last_success_outlives_runs_that_fail() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup { rest: METRICS.to_owned(), ..Setup::of(&platform) });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.run(&["run"]);
    let success = metric(&dir, "last_success_timestamp_seconds{}").unwrap();
    assert!(metric(&dir, "last_run_timestamp_seconds{}").unwrap() >= success);
    dir.insert(&Entry::register("r2", &platform.url, "bob@example.com"));
    std::fs::write(dir.file("secret"), "wrong").unwrap();
    assert_eq!(dir.run(&["run"]).code, 2);
    assert_eq!(metric(&dir, "last_run_exit_code{}"), Some(2.0));
    assert_eq!(metric(&dir, "last_success_timestamp_seconds{}"), Some(success));
    parsed_by_prometheus(&dir);
}

#[test]
fn metrics_that_cannot_be_written_are_a_warning_and_leave_nothing_behind() {
    let dir = Dir::new(&with("[metrics]\nfile = \"no/such/out.prom\"\n"));
    let ran = dir.runs(0);
    assert!(ran.err.contains("warning: [metrics]") && ran.err.contains("no/such/out.prom"), "{ran:?}");
    std::fs::create_dir(dir.file("out.prom")).unwrap();
    dir.configure(&with(METRICS));
    assert!(dir.runs(0).err.contains("warning: [metrics]"));
    let left = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().starts_with(".privo")).count(), 0);
}

/// A hook that runs this shell script, with further keys.
fn hook(script: &str, keys: &str) -> String {
    format!("[hook]\ncommand = [\"/bin/sh\", \"-c\", '{script}']\n{keys}")
}

fn run_with_path(dir: &Dir) -> util::Ran {
    finish(dir.command(&["run"]).env("PATH", PATH).env("SHOWN", "yes").env("PING", "secret-ping").spawn().unwrap())
}

#[test]
fn a_hook_is_given_the_summary_and_no_credentials() {
    let sections = hook("cat > got.json; env > env.txt; echo said", "");
    let dir = Dir::new(&with(&format!("[ping]\nurl = {{ env = \"PING\" }}\n{sections}")));
    dir.insert(&risk("r1"));
    let ran = run_with_path(&dir);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(!ran.err.contains("hook") && !ran.err.contains("said"), "{ran:?}");
    let got: Value = serde_json::from_str(&dir.read("got.json")).unwrap();
    assert_eq!((got["format"].as_u64(), got["exit"].as_u64(), got["run"].as_u64()), (Some(1), Some(3), Some(1)));
    assert_eq!((&got["settled"]["duplicate_risk"], &got["duplicate_risk"]), (&1.into(), &1.into()));
    let environment = dir.read("env.txt");
    assert!(environment.contains("SHOWN=yes") && !environment.contains("secret-ping"), "{environment}");
}

#[test]
fn a_hook_that_fails_is_a_warning_with_what_it_said() {
    let dir = Dir::new(&with(&hook("echo to out; echo to err >&2; exit 7", "")));
    let ran = run_with_path(&dir);
    assert_eq!(ran.code, 0);
    for says in ["warning: [hook]", "exit status: 7", "to out", "to err"] {
        assert!(ran.err.contains(says), "{says}: {ran:?}");
    }
    dir.configure(&with("[hook]\ncommand = [\"no-such-program\"]\n"));
    let ran = run_with_path(&dir);
    assert!(ran.code == 0 && ran.err.contains("failed to start no-such-program"), "{ran:?}");
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_children() {
    // It is not waited for: no test waits that long for a command.
    let dir = Dir::new(&with(&hook("sleep 3600 & echo $! > child; echo waiting; wait", "timeout = \"5s\"\n")));
    let ran = run_with_path(&dir);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("longer than hook.timeout (5s)") && ran.err.contains("waiting"), "{ran:?}");
    let child = dir.read("child").trim().to_owned();
    // A killed child may be a zombie until its new parent asks for it.
    let stat = |child: &str| std::fs::read_to_string(format!("/proc/{child}/stat"));
    until("the child's end", || stat(&child).map_or(true, |stat| stat.contains(") Z ")));
}

#[test]
fn a_hook_that_reads_nothing_and_leaves_something_running_is_no_failure() {
    // What is left running is not waited for: no test waits that long for a command.
    let dir = Dir::new(&with(&hook("sleep 3600 & echo $! > child; exit 0", "timeout = \"1h\"\n")));
    let ran = run_with_path(&dir);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    signal("-KILL", dir.read("child").trim().parse().unwrap());
}

#[test]
fn a_hook_may_be_called_for_changes_or_trouble_only() {
    for (on, expected) in [("always", "xxxx"), ("change", "xx"), ("trouble", "xx")] {
        let dir = Dir::new(&with(&hook("printf x >> calls", &format!("on = \"{on}\"\n"))));
        run_with_path(&dir);
        dir.insert(&Entry::new("r1", "GET", NOWHERE));
        run_with_path(&dir);
        dir.insert(&risk("r2"));
        run_with_path(&dir);
        run_with_path(&dir);
        assert_eq!(dir.read("calls"), expected, "{on}");
    }
}

#[test]
fn an_alert_that_fires_is_5_and_told_everywhere() {
    let server = taken();
    let rules = "[[alert]]\nname = \"old\"\npending_older_than = \"3d\"\n[[alert]]\nduplicate_risk_more_than = 1\n";
    let dir = Dir::new(&with(&format!("{}{rules}", ping(&server))));
    dir.insert(&risk("r1"));
    dir.insert(&pending("r2").sent(Moment::now() + Span::seconds(-2 * 86_400)));
    let ran = dir.runs(3);
    assert!(ran.err.is_empty(), "{ran:?}");
    dir.insert(&pending("r3").sent(Moment::now() + Span::seconds(-4 * 86_400)));
    let ran = dir.runs(5);
    assert!(ran.err.contains("alert old: the oldest pending entry was sent at 20"), "{ran:?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    dir.insert(&risk("r4"));
    assert_eq!(dir.runs(5).err.lines().count(), 2);
    assert_eq!(paths(&server)[3..], ["/u/5", "/u/start", "/u/5"]);
    let status = dir.run(&["status"]);
    assert!(status.code == 0 && status.out.contains("alert old: "), "{status:?}");
    assert!(status.out.contains("alert duplicate_risk_more_than 1: 2 entries"), "{status:?}");
    let shown: Value = serde_json::from_str(&dir.run(&["status", "--json"]).out).unwrap();
    assert_eq!(shown["alerts"][0]["name"], "old");
    assert_eq!(shown["alerts"][0]["limit"], "3d");
    // Whatever keeps the job from its work wins.
    let _lock = dir.hold();
    assert_eq!(dir.run(&["run"]).code, 11);
}

#[test]
fn no_success_is_told_when_no_run_did_its_work() {
    let platform = Platform::start();
    let rule = "[[alert]]\nno_success_for = \"1h\"\n";
    let dir = Dir::new(&Setup { rest: rule.to_owned(), ..Setup::of(&platform) });
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
    let shown = |dir: &Dir| {
        let shown: Value = serde_json::from_str(&dir.run(&["status", "--json"]).out).unwrap();
        shown["alerts"].as_array().unwrap().len()
    };
    assert_eq!(shown(&dir), 0, "no run yet");
    let ran = dir.run(&["run"]);
    assert!(ran.err.contains("left alone") || ran.err.contains("no answer"), "{ran:?}");
    assert_eq!(shown(&dir), 0, "the hour is not over");
    dir.db().execute("UPDATE runs SET started_ms = started_ms - 3600000, ended_ms = ended_ms - 3600000", []).unwrap();
    assert_eq!(shown(&dir), 1);
    platform.set_faults(Faults::default());
    let good = dir.run(&["run"]);
    assert_ne!(good.code, 5, "{good:?}");
    assert_eq!(shown(&dir), 0);
}

#[test]
fn nobody_is_told_anybodys_data() {
    let server = taken();
    let platform = Platform::start();
    let sections = format!(
        "{METRICS}{}[log]\nlevel = \"debug\"\n[[alert]]\npending_more_than = 0\n{}",
        hook("cat >> hook.json; cat out.prom >> seen.prom", ""),
        ping(&server)
    );
    let dir = Dir::new(&Setup { rest: sections, ..Setup::of(&platform).windows(&[("watch", "1h")]) });
    let wanted = |email: &str| NewAccount { email: Some(email.to_owned()), ..NewAccount::default() };
    platform.add(wanted("here@secret.example"));
    dir.insert(&Entry::register("r1", &platform.url, "here@secret.example"));
    dir.insert(&Entry::register("sue@secret.example", &platform.url, "gone@secret.example"));
    dir.insert(&Entry::register("bad", &platform.url, "bad@secret.example").body("{\"email\": Kimberley"));
    dir.insert(&pending("r4"));
    let mut all = String::new();
    let listen = |dir: &Dir, all: &mut String| {
        for arguments in [&["run"][..], &["run", "--json", "--log", "json"], &["run", "--recheck"]] {
            let ran = finish(dir.command(arguments).env("PATH", PATH).spawn().unwrap());
            assert!(!ran.err.is_empty(), "{ran:?}");
            all.push_str(&format!("{}{}", ran.out, ran.err));
        }
    };
    listen(&dir, &mut all);
    // A record that turns up corrects a verdict, loudly; then the server fails in every way.
    platform.add(wanted("gone@secret.example"));
    listen(&dir, &mut all);
    assert!(all.contains("correction: s***@s***.example"), "{all}");
    dir.insert(&Entry::register("r5", &platform.url, "late@secret.example"));
    platform.set_faults(Faults { read_errors: 1.0, ..Faults::default() });
    listen(&dir, &mut all);
    std::fs::write(dir.file("secret"), "another-secret").unwrap();
    listen(&dir, &mut all);
    all.push_str(&dir.read("hook.json"));
    all.push_str(&dir.read("seen.prom"));
    all.push_str(&paths(&server).join("\n"));
    assert!(server.asked().len() == 24 && all.len() > 20_000, "{} {}", server.asked().len(), all.len());
    let shown = ["@secret", "secret.example", "ann@", "Ann", "Kimberley", "19900102", "1990-01-02", CANARY, UUID];
    for personal in shown.iter().chain(&["another-secret", platform.token()]) {
        let found = all.lines().find(|line| line.contains(personal));
        assert!(found.is_none(), "{personal}: {found:?}");
    }
    // The secret is a word of the sandbox too, but nobody is told a password.
    assert!(!all.contains(&format!("client_secret={SECRET}")));
}
