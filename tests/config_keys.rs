//! Proves that every key of the configuration's parser stands in docs/CONFIG.md and in the commented configuration, that what
//! is commented out there shows the default, and that `init` writes it and never replaces one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::util::{Dir, Setup};
use privo_reconcile::config::{Config, starter};
use privo_reconcile::evidence::Windows;
use privo_reconcile::log;

/// What a configuration needs, without any section that is not needed.
const LEAST: &str = "plan = \"privo-gateway\"\nledger.path = \"ledger.db\"\nserver.base_url = \"http://127.0.0.1:9\"\n";

/// No key of any section.
const UNKNOWN: &str = "no_such_key";

/// Every section, and how the unknown key is put into it.
const SECTIONS: &[(&str, &str)] = &[
    ("", "no_such_key = 1\n"),
    ("ledger", "ledger.no_such_key = 1\n"),
    ("server", "server.no_such_key = 1\n"),
    ("auth", "auth.no_such_key = 1\n"),
    ("hosts.NAME", "hosts.hub.no_such_key = 1\n"),
    ("settle", "settle.no_such_key = 1\n"),
    ("control", "[[control]]\nno_such_key = 1\n"),
    ("report", "report.no_such_key = 1\n"),
    ("run", "run.no_such_key = 1\n"),
    ("import.NAME", "import.mine.no_such_key = 1\n"),
    ("ping", "ping.no_such_key = 1\n"),
    ("metrics", "metrics.no_such_key = 1\n"),
    ("hook", "hook.no_such_key = 1\n"),
    ("alert", "[[alert]]\nno_such_key = 1\n"),
    ("log", "log.no_such_key = 1\n"),
    ("pseudonym", "pseudonym.no_such_key = 1\n"),
    ("retention", "retention.no_such_key = 1\n"),
    ("schedule", "schedule.no_such_key = 1\n"),
];

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The keys that the parser names where it meets one that it does not know.
fn keys(unknown: &str) -> Vec<String> {
    let said = format!("{:#}", Config::parse(Path::new("c.toml"), &format!("{LEAST}{unknown}")).unwrap_err());
    let (_, list) =
        said.split_once(&format!("unknown field `{UNKNOWN}`, expected ")).unwrap_or_else(|| panic!("{said}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_section_is_looked_through() {
    let known: BTreeSet<&str> = SECTIONS.iter().map(|(name, _)| name.split('.').next().unwrap()).collect();
    let single = ["plan", "params"];
    let others: Vec<String> = keys(SECTIONS[0].1)
        .into_iter()
        .filter(|key| !known.contains(key.as_str()) && !single.contains(&key.as_str()))
        .collect();
    assert!(others.is_empty(), "add these to SECTIONS: {others:?}");
}

#[test]
fn every_key_stands_on_the_page() {
    let page = read("docs/CONFIG.md");
    for (section, unknown) in &SECTIONS[1..] {
        for key in keys(unknown) {
            assert!(page.contains(&format!("`{section}.{key}`")), "docs/CONFIG.md does not know {section}.{key}");
        }
    }
    for key in ["plan", "params"] {
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}

/// The section that a line begins, commented out or not.
fn section(line: &str) -> Option<&str> {
    let name = line.trim_start_matches("# ").trim_start_matches('[').split_once(']')?.0;
    line.trim_start_matches("# ").starts_with('[').then_some(name)
}

/// The key that a line sets, commented out or not.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(key)
}

#[test]
fn every_key_stands_in_the_commented_configuration() {
    for text in
        [read("deploy/config.example.toml"), starter::commented("privo-gateway"), starter::commented("mine.toml")]
    {
        let mut at = String::new();
        let mut shown: BTreeSet<(String, String)> = BTreeSet::new();
        for line in text.lines() {
            match (section(line), key(line)) {
                (Some(name), _) => at = name.replace("hosts.hub", "hosts.NAME"),
                (None, Some(key)) => _ = shown.insert((at.clone(), key.to_owned())),
                (None, None) => {}
            }
        }
        for (section, unknown) in &SECTIONS[1..] {
            for key in keys(unknown) {
                assert!(shown.contains(&((*section).to_owned(), key.clone())), "[{section}] lacks {key}");
            }
        }
        assert!(shown.contains(&(String::new(), "params".to_owned())));
    }
}

/// Each line that is commented out is one that the parser takes, in its section.
#[test]
fn what_is_commented_out_can_be_used() {
    let text = read("deploy/config.example.toml");
    let lines: Vec<&str> = text.lines().collect();
    let mut head = 0;
    for (place, line) in lines.iter().enumerate() {
        if section(line).is_some() {
            head = place;
        }
        if !line.starts_with("# ") || key(line).is_none() {
            continue;
        }
        let opened = |(number, line): (usize, &&str)| {
            let within = number == place || number == head && section(line).is_some();
            if within { line.trim_start_matches("# ").to_owned() } else { (*line).to_owned() }
        };
        let with: Vec<String> = lines.iter().enumerate().map(opened).collect();
        let said = Config::parse(Path::new("c.toml"), &with.join("\n")).err().map(|error| format!("{error:#}"));
        // One key alone may lack another one, or contradict it; none is unknown or of the wrong kind.
        let wrong = ["unknown field", "invalid", "not a", "must be", "expected"];
        let said = said.unwrap_or_default();
        assert!(!wrong.iter().any(|word| said.contains(word)), "{line}: {said}");
    }
}

#[test]
fn what_is_commented_out_shows_the_default() {
    let text = read("deploy/config.example.toml");
    let mut at = String::new();
    let mut all = String::new();
    for line in text.lines() {
        at = section(line).map_or(at, str::to_owned);
        let defaults = ["settle", "run"].contains(&at.as_str())
            || at == "server"
                && ["requests", "concurr", "timeout"].iter().any(|key| line.starts_with(&format!("# {key}")))
            || ["log", "schedule"].contains(&at.as_str());
        let setting = section(line).is_some() || key(line).is_some();
        all.push_str(if defaults && setting { line.strip_prefix("# ").unwrap_or(line) } else { line });
        all.push('\n');
    }
    let (plain, shown) = (Config::parse(Path::new("c.toml"), &text), Config::parse(Path::new("c.toml"), &all));
    let (plain, shown) = (plain.unwrap(), shown.unwrap_or_else(|error| panic!("{error:#}\n{all}")));
    assert_eq!(format!("{:?}", shown.windows), format!("{:?}", Windows::default()));
    let limits = |config: &Config| {
        format!("{} {} {}", config.server.requests_per_second, config.server.concurrency, config.server.timeout)
    };
    assert_eq!((limits(&shown), shown.success.len()), (limits(&plain), 0));
    assert_eq!((shown.log.format, shown.log.level), (Some(log::Format::Text), Some(log::Level::Warn)));
    assert_eq!(shown.schedule.as_ref().unwrap().starts.zone.to_string(), "UTC");
    assert_eq!(shown.stop_timeout(), plain.stop_timeout());
}

/// A folder without anything in it but the secret of the harness.
fn empty() -> Dir {
    let dir = Dir::without_ledger(&Setup::bare("http://127.0.0.1:9"));
    std::fs::remove_file(dir.file("privo-reconcile.toml")).unwrap();
    dir
}

#[test]
fn init_writes_a_configuration_where_there_is_none_and_says_what_comes_next() {
    let dir = empty();
    let ran = dir.run(&["init"]);
    assert!(ran.code == 0 && ran.err.is_empty(), "{ran:?}");
    for step in
        ["1. set PRIVO_CLIENT_ID and PRIVO_CLIENT_SECRET", "2. privo-reconcile check", "3. privo-reconcile import FILE"]
    {
        assert!(ran.out.contains(step), "{step}: {ran:?}");
    }
    let text = dir.read("privo-reconcile.toml");
    assert_eq!(text, dir.run(&["config"]).out);
    assert!(dir.file("ledger.db").exists());
    assert_eq!(dir.file("privo-reconcile.toml").metadata().unwrap().permissions().mode() & 0o007, 0);
    // It is there now: nothing is replaced, and nothing is said.
    let again = dir.run(&["init"]);
    assert_eq!((again.code, again.out.as_str()), (0, ""), "{again:?}");
    assert_eq!(dir.run(&["init", "--plan", "privo-gateway"]).code, 0);
    let other = dir.run(&["init", "--plan", "privo-consent"]);
    assert!(other.code == 2 && other.err.contains("never replaced"), "{other:?}");
    assert_eq!(dir.read("privo-reconcile.toml"), text);
    assert_eq!(dir.run(&["status"]).code, 0);
}

#[test]
fn init_takes_a_plan_and_a_place() {
    let dir = empty();
    let ran = dir.run(&["--config", "mine.toml", "init", "--plan", "privo-consent"]);
    assert!(ran.code == 0 && ran.out.contains("privo-reconcile --config mine.toml check"), "{ran:?}");
    assert_eq!(dir.read("mine.toml"), dir.run(&["config", "--plan", "privo-consent"]).out);
    assert!(!dir.file("privo-reconcile.toml").exists());
    let ran = dir.run(&["init", "--plan", "nosuch.toml"]);
    assert!(ran.code == 2 && ran.err.contains("shipped plans"), "{ran:?}");
    assert!(!dir.file("privo-reconcile.toml").exists(), "only one that can be read is written");
    std::fs::copy("plans/privo-gateway.toml", dir.file("own.toml")).unwrap();
    let ran = dir.run(&["init", "--plan", "own.toml"]);
    assert!(ran.code == 0 && ran.out.contains("add a [[control]]"), "{ran:?}");
    assert_eq!(dir.run(&["init", "--plan", "own.toml"]).code, 0);
}

#[test]
fn a_configuration_of_the_user_s_is_used_and_none_is_written() {
    let dir = Dir::without_ledger(&Setup::bare("http://127.0.0.1:9"));
    std::fs::create_dir(dir.file("privo-reconcile")).unwrap();
    std::fs::rename(dir.file("privo-reconcile.toml"), dir.file("privo-reconcile/config.toml")).unwrap();
    assert_eq!(dir.run(&["init"]).code, 0);
    assert!(dir.file("privo-reconcile/ledger.db").exists() && !dir.file("privo-reconcile.toml").exists());
}
