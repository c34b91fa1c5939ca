//! Any text as a configuration: it is taken with sane values, or refused with file and line and without a secret.

use std::path::Path;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::import::Format;

/// A secret is longer than what stands in a message by chance.
const LONG: usize = 6;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::parse(Path::new("none/c.toml"), text) {
        Ok(config) => taken(&config),
        Err(error) => refused(text, &format!("{error:#}")),
    }
}

fn taken(config: &Config) {
    let server = &config.server;
    assert!(matches!(server.base_url.scheme(), "http" | "https") && server.base_url.host_str().is_some());
    assert!(server.base_url.username().is_empty() && server.base_url.password().is_none());
    assert!(server.requests_per_second > 0.0 && server.requests_per_second.is_finite());
    assert!((1..=1024).contains(&server.concurrency) && server.timeout > Span::ZERO);
    let windows = serde_json::to_value(&config.windows).unwrap();
    assert!(windows.as_object().unwrap().values().all(|window| window.as_i64().unwrap() >= 0), "{windows}");
    for control in &config.controls {
        assert!(config.plan.lookup(&control.lookup).is_ok() && !control.key.trim().is_empty());
    }
    for mapping in config.imports.values() {
        for format in [Format::Csv, Format::Jsonl, Format::Har, Format::Nginx, Format::Envoy] {
            let complete = mapping.complete(format);
            assert_eq!(complete.written(), complete.complete(format).written(), "complete is complete");
        }
    }
    if let Some(schedule) = &config.schedule {
        let from = Moment::parse("2026-03-01T00:00:00Z").unwrap();
        let starts: Vec<Moment> = schedule.starts.starts(from).take(4).map(|start| start.at).collect();
        assert!(starts.first().is_none_or(|first| *first > from) && starts.is_sorted(), "{starts:?}");
        assert!(schedule.starts.lines.iter().all(|line| !line.in_words().is_empty()));
    }
}

fn refused(text: &str, message: &str) {
    assert!(message.contains("c.toml"), "a message without the file: {message}");
    let Ok(table) = toml::from_str::<toml::Table>(text) else {
        // No TOML at all: of what stands there nothing is shown. Seeds have this word for their secrets.
        assert!(!message.contains("hush"), "{message}");
        return;
    };
    let mut secrets = Vec::new();
    for section in ["auth", "ping", "pseudonym"] {
        table.get(section).into_iter().for_each(|value| gather(value, &mut secrets));
    }
    // A secret that stands elsewhere too may be shown for that. One that is shown for itself follows its text.
    for secret in secrets.iter().filter(|secret| secret.len() >= LONG && text.matches(secret.as_str()).count() == 1) {
        if !message.contains(secret.as_str()) {
            continue;
        }
        let other: String = secret.chars().map(another).collect();
        let changed = Config::parse(Path::new("none/c.toml"), &text.replace(secret.as_str(), &other));
        let follows =
            changed.err().is_some_and(|error| format!("{error:#}") == message.replace(secret.as_str(), &other));
        assert!(!follows, "a secret is shown: {message}");
    }
}

/// Every value that may be a secret: all but the names of variables and files.
fn gather(value: &toml::Value, secrets: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            let hidden =
                table.iter().filter(|(key, _)| !matches!(key.as_str(), "env" | "file" | "scope" | "token_url"));
            hidden.for_each(|(_, value)| gather(value, secrets));
        }
        toml::Value::Array(items) => items.iter().for_each(|item| gather(item, secrets)),
        toml::Value::String(text) => secrets.push(text.clone()),
        toml::Value::Boolean(_) => {}
        toml::Value::Integer(number) => secrets.push(number.to_string()),
        toml::Value::Float(number) => secrets.push(number.to_string()),
        toml::Value::Datetime(time) => secrets.push(time.to_string()),
    }
}

/// Another character of the same kind.
fn another(letter: char) -> char {
    match letter {
        '1'..='8' => char::from_u32(u32::from(letter) + 1).unwrap_or(letter),
        'a'..='y' | 'A'..='Y' => char::from_u32(u32::from(letter) + 1).unwrap_or(letter),
        other => other,
    }
}
