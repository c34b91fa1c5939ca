//! What the tests of `resend` share: lost registrations that are to be sent again, and a conversation with the command.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use super::{Dir, Entry, Platform, Ran, Setup, finish};

pub const RESEND: &str = "resolved not-applied confirmed-absent resend";
pub const WAIT: &str = "pending . unsettled wait";
pub const ACCOUNT: &str = "/api/v1.0/account";

pub fn setup(platform: &Platform) -> Setup {
    Setup::of(platform).windows(&[("intent", "1h")])
}

pub fn email(n: u32) -> String {
    format!("kid{n}@example.com")
}

pub fn register(platform: &Platform, n: u32) -> Entry {
    Entry::register(&format!("r{n}/1"), &platform.url, &email(n)).operation(&format!("r{n}"))
}

/// A ledger of registrations that were lost on the way, confirmed absent.
pub fn lost(platform: &Platform, count: u32) -> Dir {
    let dir = Dir::new(&setup(platform));
    for n in 0..count {
        dir.insert(&register(platform, n));
    }
    dir.run_twice();
    for n in 0..count {
        assert_eq!(dir.says(&format!("r{n}/1")), RESEND);
    }
    dir
}

pub fn list(dir: &Dir) -> Value {
    let ran = dir.run(&["resend", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

pub fn operations(list: &Value) -> Vec<&str> {
    list["operations"].as_array().unwrap().iter().map(|row| row["operation_id"].as_str().unwrap()).collect()
}

pub fn digest(dir: &Dir) -> String {
    list(dir)["digest"].as_str().unwrap().to_owned()
}

pub fn approve(dir: &Dir) {
    let ran = dir.run(&["resend", "--approve", &digest(dir), "--who", "Dana"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// A conversation under way.
pub struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    pub fn of(dir: &Dir, more: &[&str]) -> Talk {
        let mut command = dir.command(&[&["resend", "--stdin"], more].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Talk { child, stdin, stdout }
    }

    pub fn say(&mut self, line: &str) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.answer()
    }

    pub fn next(&mut self) -> Value {
        self.say(r#"{"next":{}}"#)
    }

    /// Asks for the next permit and waits for no answer.
    pub fn ask(&mut self) {
        writeln!(self.stdin.as_mut().unwrap(), r#"{{"next":{{}}}}"#).unwrap();
    }

    pub fn answer(&mut self) -> Value {
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// The next permit.
    pub fn permit(&mut self) -> Value {
        let answer = self.next();
        assert!(answer["permit"].is_object(), "{answer}");
        answer["permit"].clone()
    }

    /// There is none; gives why.
    pub fn none(&mut self) -> String {
        let answer = self.next();
        answer["none"]["why"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub fn end(&mut self, permit: &Value, how: &str) -> Value {
        self.say(&format!(r#"{{"end":{{"request_id":{},{how}}}}}"#, permit["request_id"]))
    }

    /// Killed, with nothing said.
    pub fn dies(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn ends(mut self) -> Ran {
        drop(self.stdin.take());
        drop(self.stdout);
        finish(self.child)
    }
}

/// What the partner's code does with a permit: it knows its request by the operation's id.
pub fn send(platform: &Platform, permit: &Value, fate: &str) -> Option<(u16, String)> {
    let operation = permit["operation_id"].as_str().unwrap();
    let n = operation.trim_start_matches('r').parse().unwrap();
    let body = register(platform, n).text("body");
    platform.send(permit["request_id"].as_str().unwrap(), "POST", ACCOUNT, &body, fate)
}

pub fn sent(platform: &Platform) -> u64 {
    platform.requests(&format!("POST {ACCOUNT}"))
}

/// A program that does what this script says; it stands in the folder.
pub fn program(dir: &Dir, script: &str) -> String {
    let file = dir.file("send-one");
    std::fs::write(&file, format!("#!/bin/sh\nread -r permit\nprintf '%s\\n' \"$permit\" >> permits\n{script}\n"))
        .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    "./send-one".to_owned()
}

/// The last words of a program that was answered 201.
pub const ANSWERED: &str = r#"id=$(printf '%s' "$permit" | sed 's/.*"request_id":"\([^"]*\)".*/\1/')
echo noise
echo "{\"end\":{\"request_id\":\"$id\",\"answered\":201}}""#;

pub fn intents(dir: &Dir) -> i64 {
    dir.count("SELECT count(*) FROM entries WHERE failure = 'intent'")
}
