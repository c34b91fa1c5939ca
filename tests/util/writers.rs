//! A partner's service in each language: the programs of `fixtures/writers/` and `examples/partner.rs`, which all take the
//! same options.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Dir, Platform};

/// One language's service.
#[derive(Clone, Debug)]
pub struct Writer {
    pub name: &'static str,
    program: PathBuf,
    first: Vec<String>,
}

impl Writer {
    /// The service in a language. `None`, said on standard error, when the language is not installed.
    pub fn of(name: &'static str) -> Option<Writer> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = |file: &str| root.join("fixtures/writers").join(file).display().to_string();
        let there = |program: &str, arguments: &[&str]| {
            let ran = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            ran.is_ok_and(|status| status.success())
        };
        let writer = |program: &str, first: Vec<String>| Writer { name, program: program.into(), first };
        let found = match name {
            "rust" => Some(writer(&example("partner"), Vec::new())),
            "python" => there("python3", &["-c", "import sqlite3, sys; sys.exit(sys.version_info < (3, 8))"])
                .then(|| writer("python3", vec![script("python/partner.py")])),
            "node" => there("node", &["-e", "process.exit(Number(process.versions.node.split('.')[0]) >= 18 ? 0 : 1)"])
                .then(|| writer("node", vec![script("node/partner.mjs")])),
            "java" => (there("javac", &["--version"]) && there("java", &["--version"]))
                .then(|| writer("java", vec!["-XX:TieredStopAtLevel=1".to_owned(), script("java/Partner.java")])),
            other => panic!("no writer in {other}"),
        };
        if found.is_none() {
            eprintln!("skipped: {name} is not installed");
        }
        found
    }

    /// Those of all languages that are installed.
    pub fn installed() -> Vec<Writer> {
        ["rust", "python", "node", "java"].into_iter().filter_map(Writer::of).collect()
    }

    /// Starts the service, in a process group of its own, on the ledger and with the log `log` of this folder.
    pub fn register(&self, dir: &Dir, platform: &Platform, url: &str, more: &[&str]) -> Child {
        let mut command = Command::new(&self.program);
        command.args(&self.first).args(["register", "--url", url, "--token", platform.token()]);
        for (name, file) in [("--ledger", "ledger.db"), ("--config", "privo-reconcile.toml"), ("--log", "log")] {
            command.arg(name).arg(dir.file(file));
        }
        command.args(["--command", env!("CARGO_BIN_EXE_privo-reconcile")]).args(more).process_group(0);
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// The program of an example. `cargo test` builds them all; a single `--test` does not.
fn example(name: &str) -> String {
    let deps = std::env::current_exe().unwrap();
    let profile = deps.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    if !program.exists() {
        let release = profile.ends_with("release").then_some("--release");
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--example", name]).args(release).status();
        assert!(built.is_ok_and(|status| status.success()), "the example {name} does not build");
    }
    program.display().to_string()
}

/// Kills a process that a test started, with all that it started itself.
pub fn kill_group(leader: u32) {
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).status();
}
