//! The ledger is safe where it lies: its lock is its own file's, who comes and goes beside a run takes nothing away, and a
//! place where its log would be elsewhere is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use crate::util::{Dir, Entry, Platform, Ran, Setup, finish, signal, until, wait};
use privo_reconcile::config::Config;
use privo_reconcile::recording;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

/// A run that goes on until there is news of the intent `open`, and has looked once.
fn long_run(dir: &Dir, platform: &Platform) -> Child {
    dir.insert(&Entry::register("open", &platform.url, "open@example.com").failure("intent"));
    dir.insert(&Entry::register("r0", &platform.url, "p0@example.com"));
    let run = dir.command(&["run", "--wait", "2h"]).spawn().unwrap();
    until("the first look", || dir.count("SELECT count(*) FROM looks") > 0);
    run
}

fn news(dir: &Dir) {
    let sql = "UPDATE entries SET failure = 'answered', http_status = 201 WHERE request_id = 'open'";
    assert_eq!(dir.db().execute(sql, []).unwrap(), 1);
}

fn patient(platform: &Platform) -> Dir {
    Dir::new(&Setup::of(platform).windows(&[("confirm_after", "1s"), ("intent", "1h")]))
}

/// Who closes the file last puts the log into it and removes the log. A run that had lost its own locks on the file would
/// go on in a log without a name.
#[test]
fn writers_open_write_and_close_beside_a_run_and_nothing_is_lost() {
    let platform = Platform::start();
    let dir = patient(&platform);
    let run = long_run(&dir, &platform);
    let log = dir.file("ledger.db-wal");
    let before = inode(&log);
    for n in 1..8 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com")));
        assert_eq!(inode(&log), before, "a writer took the run's log away");
        for command in [&["status"][..], &["run"], &["run", "--dry-run"]] {
            let ran = finish(dir.command(command).spawn().unwrap());
            assert_eq!(ran.code, if command[0] == "run" { 11 } else { 0 }, "{ran:?}");
            assert_eq!(inode(&log), before, "{command:?} took the run's log away");
        }
    }
    if let Ok(locks) = std::fs::read_to_string("/proc/locks") {
        let of_run = |kind: &str| {
            let words =
                [format!(" {kind} "), format!(" {} ", run.id()), format!(":{} ", inode(&dir.file("ledger.db")))];
            locks.lines().any(|line| words.iter().all(|word| line.contains(word.as_str())))
        };
        assert!(of_run("POSIX") && of_run("FLOCK"), "{locks}");
    }
    let looked =
        "SELECT count(*) FROM state JOIN entries e ON e.id = entry_id WHERE checks > 0 AND request_id LIKE 'r%'";
    until("looks at all", || dir.count(looked) == 8);
    news(&dir);
    assert_eq!(finish(run).code, 0);
    assert_eq!((dir.count("SELECT count(*) FROM entries"), dir.count(looked)), (9, 8));
    assert_eq!(dir.run(&["check"]).code, 0);
}

#[test]
fn the_lock_of_a_killed_run_is_free() {
    let platform = Platform::start();
    let dir = patient(&platform);
    let mut run = long_run(&dir, &platform);
    assert_eq!(dir.run(&["run"]).code, 11);
    signal("-KILL", run.id());
    run.wait().unwrap();
    news(&dir);
    dir.runs(4);
}

#[test]
fn nothing_beside_the_ledger_is_the_lock() {
    let platform = Platform::start();
    let dir = patient(&platform);
    let place = dir.file("ledger.db.lock");
    dir.runs(0);
    assert!(!place.exists());
    let made = Command::new("mkfifo").arg(&place).status();
    if made.is_ok_and(|made| made.success()) {
        for command in [&["run"][..], &["run", "--dry-run"], &["check"], &["prune", "--older-than", "1d"]] {
            assert_eq!(dir.run(command).code, 0, "{command:?}");
        }
        std::fs::remove_file(&place).unwrap();
    }
    std::fs::write(&place, "").unwrap();
    let run = long_run(&dir, &platform);
    std::fs::remove_file(&place).unwrap();
    assert_eq!(dir.run(&["run"]).code, 11);
    news(&dir);
    finish(run);
}

/// As a user who may read the folder's files and write none; `None`, said, where this one cannot become another.
fn as_reader(dir: &Dir, arguments: &[&str]) -> Option<Ran> {
    let mode = |name: &str, mode: u32| {
        std::fs::set_permissions(dir.file(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("", 0o755);
    for name in ["ledger.db", "privo-reconcile.toml", "secret"] {
        mode(name, 0o644);
    }
    let mut command = dir.command(arguments);
    let child = command.uid(65534).gid(65534).spawn();
    if child.is_err() {
        eprintln!("skipped: another user may not run the program");
    }
    Some(wait(child.ok()?))
}

#[test]
fn who_may_not_write_the_ledger_is_told_so() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for command in [&["run"][..], &["close", "r1", "--who", "a", "--why", "b"], &["prune", "--older-than", "1d"]] {
        let Some(ran) = as_reader(&dir, command) else { return };
        assert_eq!(ran.code, 1, "{command:?}: {ran:?}");
        assert!(ran.err.contains("cannot be written (this user must be allowed to"), "{command:?}: {ran:?}");
    }
    // The lock that he had for a moment is nobody's hindrance.
    dir.runs(0);
}

/// Every command that opens a ledger.
const COMMANDS: [&[&str]; 17] = [
    &["init"],
    &["check"],
    &["run"],
    &["run", "--dry-run"],
    &["record", "begin"],
    &["record", "--stdin"],
    &["import", "outage.jsonl"],
    &["report"],
    &["report", "--new"],
    &["status"],
    &["show", "r1"],
    &["verify"],
    &["close", "r1", "--who", "a", "--why", "b"],
    &["prune", "--older-than", "1d"],
    &["prune", "--older-than", "1d", "--dry-run"],
    &["forget", "x@example.com", "--who", "a", "--why", "b"],
    &["backup", "copy.db"],
];

/// Every command refuses the ledger, with these words; and so does the library.
fn refused_everywhere(dir: &Dir, words: &[&str]) {
    for command in COMMANDS {
        let ran = dir.run(command);
        assert_eq!(ran.code, 2, "{command:?}: {ran:?}");
        let said = ran.err + &ran.out;
        assert!(words.iter().all(|word| said.contains(word)), "{command:?}: {said}");
    }
    let config = Config::load(Some(&dir.file("privo-reconcile.toml"))).unwrap();
    let error = recording::recorder(config).err().unwrap();
    let said = format!("{error:#}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn with_import(dir: Dir) -> Dir {
    std::fs::write(dir.file("outage.jsonl"), "").unwrap();
    dir
}

#[test]
fn a_ledger_with_two_names_is_refused_under_both() {
    let dir = with_import(Dir::new(&Setup::bare(NOWHERE)));
    dir.runs(0);
    std::fs::hard_link(dir.file("ledger.db"), dir.file("other.db")).unwrap();
    let number = inode(&dir.file("ledger.db")).to_string();
    refused_everywhere(&dir, &["more than one name", "remove the other name", &number]);
    let text = dir.read("privo-reconcile.toml");
    std::fs::write(dir.file("privo-reconcile.toml"), text.replace("\"ledger.db\"", "\"other.db\"")).unwrap();
    assert_eq!(dir.run(&["run"]).code, 2);
    std::fs::write(dir.file("privo-reconcile.toml"), text).unwrap();
    std::fs::remove_file(dir.file("other.db")).unwrap();
    dir.runs(0);
}

#[test]
fn what_is_no_plain_file_is_refused_and_hangs_nothing() {
    let dir = with_import(Dir::without_ledger(&Setup::bare(NOWHERE)));
    let place = dir.file("ledger.db");
    std::fs::create_dir(&place).unwrap();
    refused_everywhere(&dir, &["no plain file", "name a file"]);
    std::fs::remove_dir(&place).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(&place).unwrap();
    refused_everywhere(&dir, &["no plain file"]);
    drop(socket);
    std::fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink("/dev/null", &place).unwrap();
    refused_everywhere(&dir, &["no plain file"]);
    std::fs::remove_file(&place).unwrap();
    if Command::new("mkfifo").arg(&place).status().is_ok_and(|made| made.success()) {
        refused_everywhere(&dir, &["no plain file"]);
    }
}

#[test]
fn a_ledger_that_is_mounted_by_itself_is_refused_and_in_a_mounted_folder_it_is_not() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.runs(0);
    std::fs::rename(dir.file("ledger.db"), dir.file("real.db")).unwrap();
    std::fs::write(dir.file("ledger.db"), "").unwrap();
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "bash", "-c", script]).current_dir(dir.path());
        command.env("BIN", env!("CARGO_BIN_EXE_privo-reconcile"));
        let output = command.output().ok()?;
        Some((output.status.code()?, String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    if within("mount --bind real.db ledger.db").is_none_or(|(code, _)| code != 0) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    for command in ["run", "status", "init", "check", "backup copy.db", "verify"] {
        let (code, said) = within(&format!("mount --bind real.db ledger.db; $BIN {command} >&2")).unwrap();
        assert_eq!(code, 2, "{command}: {said}");
        assert!(said.contains("mounted by itself") && said.contains("mount the folder"), "{command}: {said}");
    }
    std::fs::rename(dir.file("real.db"), dir.file("ledger.db")).unwrap();
    let (code, said) = within("mkdir m; mount --bind . m; cd m; $BIN run").unwrap();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_symbolic_link_leads_to_the_ledger_and_its_log() {
    let platform = Platform::start();
    let dir = patient(&platform);
    std::fs::create_dir(dir.file("data")).unwrap();
    std::fs::rename(dir.file("ledger.db"), dir.file("data/real.db")).unwrap();
    std::os::unix::fs::symlink("data/real.db", dir.file("ledger.db")).unwrap();
    let run = long_run(&dir, &platform);
    assert!(dir.file("data/real.db-wal").exists());
    assert_eq!(dir.run(&["run"]).code, 11);
    news(&dir);
    finish(run);
    assert_eq!(dir.run(&["check"]).code, 0);
}

#[test]
fn a_link_that_leads_nowhere_is_named_as_one_with_the_way_out() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    for (target, what, remedy) in
        [("ledger.db", "leads to itself", "name the file itself"), ("gone/ledger.db", "is not there", "not mounted")]
    {
        std::os::unix::fs::symlink(target, dir.file("ledger.db")).unwrap();
        for command in [&["init"][..], &["run"], &["status"], &["check"], &["report"]] {
            let ran = dir.run(command);
            let said = ran.err + &ran.out;
            assert!(ran.code == 2 && said.contains(what) && said.contains(remedy), "{command:?}: {said}");
        }
        assert!(dir.file("ledger.db").is_symlink());
        std::fs::remove_file(dir.file("ledger.db")).unwrap();
    }
}
