//! Proves that no command writes over a file that the job reads, that what is no plain file stays what it is, that new
//! files give others no right, and that files which are missing, empty or endless are said at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::util::{Dir, Entry, Ran, Setup, wait};

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

fn setup() -> Setup {
    Setup { plan: "plan.toml".to_owned(), ..Setup::bare(NOWHERE) }
}

/// A folder with a plan of its own and an entry that can be decided without the server.
fn dir() -> Dir {
    let dir = Dir::without_ledger(&setup());
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/privo-gateway.toml"), dir.file("plan.toml")).unwrap();
    assert_eq!(dir.run(&["init"]).code, 0);
    dir.insert(&Entry::register("r1", NOWHERE, "ann@example.com").failure("not_sent"));
    dir
}

/// Runs a command without looking into its files, some of which have no end.
fn run(dir: &Dir, arguments: &[&str]) -> Ran {
    wait(dir.command(arguments).spawn().unwrap())
}

/// Runs a command through a shell, in the folder: `$BIN` is the program.
fn shell(dir: &Dir, script: &str) -> Ran {
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(dir.path()).env("BIN", env!("CARGO_BIN_EXE_privo-reconcile"));
    wait(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn no_command_writes_over_what_the_job_reads() {
    let dir = dir();
    std::fs::create_dir(dir.file("below")).unwrap();
    std::fs::hard_link(dir.file("ledger.db"), dir.file("hard")).unwrap();
    symlink("ledger.db", dir.file("soft.csv")).unwrap();
    symlink("ledger.db", dir.file("log.rejected.jsonl")).unwrap();
    symlink("privo-reconcile.toml", dir.file("out.csv.meta.json")).unwrap();
    std::fs::write(dir.file("log"), "").unwrap();
    let kept = ["privo-reconcile.toml", "plan.toml", "secret"];
    let before: Vec<Vec<u8>> = kept.iter().map(|name| std::fs::read(dir.file(name)).unwrap()).collect();
    let inode = std::fs::metadata(dir.file("ledger.db")).unwrap().ino();
    let names = [
        "ledger.db",
        "./ledger.db",
        "below/../ledger.db",
        "hard",
        "soft.csv",
        "ledger.db-wal",
        "ledger.db-shm",
        "ledger.db-journal",
        "privo-reconcile.toml",
        "plan.toml",
        "secret",
        "out.csv",
    ];
    let mut tried = 0;
    for name in names {
        for arguments in [
            ["report", name].as_slice(),
            &["report", "--report", name],
            &["report", "--format", "html", name],
            &["report", "--json", name],
            &["run", "--report", name],
            &["backup", name],
        ] {
            if arguments[0] == "backup" && name == "out.csv" {
                continue;
            }
            let ran = run(&dir, arguments);
            if ran.err.contains("unexpected argument") {
                continue;
            }
            tried += 1;
            assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
            let says = ["never written over", "is there already"].iter().any(|why| ran.err.contains(why));
            assert!(says && ran.err.contains("name a"), "{arguments:?}: {ran:?}");
        }
    }
    assert!(tried >= 60, "{tried}");
    // With two names it is refused for that alone.
    std::fs::remove_file(dir.file("hard")).unwrap();
    let ran = run(&dir, &["import", "log"]);
    assert!(ran.code == 2 && ran.err.contains("never written over"), "{ran:?}");
    for name in ["ledger.db", "soft.csv"] {
        let ran = run(&dir, &["import", name]);
        assert!(ran.code == 2 && ran.err.contains("is the ledger"), "{name}: {ran:?}");
    }
    symlink("ledger.db", dir.file("privo-reconcile.1")).unwrap();
    let ran = run(&dir, &["man", "."]);
    assert!(ran.code == 2 && ran.err.contains("is a link"), "{ran:?}");
    for (name, before) in kept.iter().zip(before) {
        assert_eq!(std::fs::read(dir.file(name)).unwrap(), before, "{name}");
    }
    assert_eq!(std::fs::metadata(dir.file("ledger.db")).unwrap().ino(), inode);
    assert_eq!(dir.count("SELECT count(*) FROM entries"), 1);
    // Nothing was looked at: the report is refused before the run begins.
    assert_eq!(dir.count("SELECT count(*) FROM runs"), 0);
}

/// Another job lies beside this one, and a third one somewhere else.
#[test]
fn what_another_job_reads_is_never_written_over() {
    let (dir, far) = (dir(), dir());
    std::fs::create_dir(dir.file("theirs")).unwrap();
    let text = dir.read("privo-reconcile.toml").replace("\"ledger.db\"", "\"theirs/other.db\"");
    let text =
        text.replace("\"plan.toml\"", "\"theirs/plan.toml\"").replace("file = \"secret\"", "file = \"theirs/key\"");
    std::fs::copy(dir.file("plan.toml"), dir.file("theirs/plan.toml")).unwrap();
    std::fs::write(dir.file("theirs/key"), "hush").unwrap();
    std::fs::write(dir.file("other.toml"), &text).unwrap();
    assert_eq!(run(&dir, &["--config", "other.toml", "init"]).code, 0);
    std::fs::write(far.file("broken.toml"), text.replace("[settle]", "[setle]")).unwrap();
    let beside = ["theirs/other.db", "theirs/other.db-wal", "theirs/plan.toml", "theirs/key", "other.toml"];
    let elsewhere =
        ["ledger.db", "ledger.db-wal", "ledger.db-journal", "plan.toml", "privo-reconcile.toml", "broken.toml"];
    let elsewhere = elsewhere.map(|name| far.file(name).display().to_string());
    let files: Vec<&str> = beside.into_iter().chain(elsewhere.iter().map(String::as_str)).collect();
    let content = |name: &&str| std::fs::read(dir.file(name)).ok();
    let before: Vec<_> = files.iter().map(content).collect();
    for name in &files {
        for command in [
            &["report", name][..],
            &["report", "--format", "html", name],
            &["run", "--report", name],
            &["backup", name],
        ] {
            let ran = run(&dir, command);
            assert_eq!(ran.code, 2, "{command:?}: {ran:?}");
            assert!(ran.err.contains("(name a"), "{command:?}: {ran:?}");
        }
        dir.configure(&Setup { rest: format!("[metrics]\nfile = \"{name}\"\n"), ..setup() });
        assert_eq!(run(&dir, &["run"]).code, 2, "metrics {name}");
        dir.configure(&setup());
    }
    assert!(files.iter().map(content).eq(before), "one of them was changed");
    assert_eq!(run(&dir, &["report", "ours.csv"]).code, 0);
    assert_eq!(run(&dir, &["report", "ours.csv"]).code, 0, "a report may be replaced");
}

#[test]
fn metrics_take_no_file_that_the_job_reads() {
    let dir = dir();
    symlink("ledger.db", dir.file("out.prom")).unwrap();
    dir.configure(&Setup { rest: "[metrics]\nfile = \"out.prom\"\n".to_owned(), ..setup() });
    let ran = run(&dir, &["run"]);
    assert!(ran.code == 2 && ran.err.contains("never written over"), "{ran:?}");
    assert_eq!(dir.count("SELECT count(*) FROM entries"), 1);
}

#[test]
fn what_is_no_plain_file_is_written_into() {
    let dir = dir();
    assert!(shell(&dir, "mkfifo pipe").code == 0);
    let read = shell(&dir, "timeout 30 cat pipe & timeout 30 $BIN report pipe; code=$?; wait; exit $code");
    assert!(read.code == 0 && read.out.starts_with("request_id,") && read.out.contains("\nr1,"), "{read:?}");
    assert!(std::fs::metadata(dir.file("pipe")).unwrap().file_type().is_fifo());
    for script in [
        "$BIN report /dev/stdout | cat",
        "$BIN report /dev/stdout > out.csv; cat out.csv",
        "$BIN report /proc/self/fd/1 | cat",
    ] {
        let ran = shell(&dir, script);
        assert!(ran.code == 0 && ran.out.contains("\nr1,"), "{script}: {ran:?}");
    }
    let appended = shell(&dir, "echo first > all.csv; $BIN report /dev/stdout >> all.csv; cat all.csv");
    assert!(appended.out.starts_with("first\nrequest_id,"), "{appended:?}");
    let ran = shell(&dir, "$BIN report /dev/null");
    assert!(ran.code == 0 && std::fs::metadata("/dev/null").unwrap().file_type().is_char_device(), "{ran:?}");
    let folder = run(&dir, &["report", "."]);
    assert!(folder.code == 2 && folder.err.contains("is a folder"), "{folder:?}");
    let revealed = shell(&dir, "timeout 30 $BIN report --reveal --purpose x pipe");
    assert!(revealed.code == 2 && revealed.err.contains("plain file"), "{revealed:?}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("meta.json")), "{left:?}");
}

#[test]
fn new_files_give_others_no_right() {
    let dir = dir();
    dir.configure(&Setup {
        rest: "[metrics]\nfile = \"out.prom\"\n[report]\ndir = \"reports\"\n".to_owned(),
        ..setup()
    });
    std::fs::write(dir.file("bad.jsonl"), "{\"method\":\"POST\"}\nx\n").unwrap();
    let script = "umask 0; rm -f ledger.db*; $BIN init; $BIN run; $BIN import bad.jsonl; $BIN report r.csv; \
                  $BIN backup copy.db; $BIN man .; stat -c '%a %n' ledger.db* reports reports/* out.prom bad.jsonl.rejected.jsonl r.csv* \
                  copy.db privo-reconcile.1";
    let ran = shell(&dir, script);
    let modes: Vec<&str> = ran.out.lines().collect();
    assert!(modes.len() >= 7, "{ran:?}");
    for line in &modes {
        let (mode, name) = line.split_once(' ').unwrap();
        let most = match name {
            "copy.db" => 0o600,
            "reports" => 0o770,
            name if name.starts_with("ledger.db") || name.ends_with(".rejected.jsonl") => 0o660,
            _ => 0o640,
        };
        assert_eq!(u32::from_str_radix(mode, 8).unwrap(), most, "{line}");
    }
}

#[test]
fn files_that_are_missing_empty_or_endless_are_said_at_once() {
    let dir = dir();
    std::fs::write(dir.file("empty"), "").unwrap();
    for file in ["missing.pem", "empty", "/dev/zero", "."] {
        dir.configure(&Setup { server: format!("ca_file = \"{file}\"\n"), ..setup() });
        let ran = run(&dir, &["run"]);
        assert!(ran.code == 2 && ran.err.contains("server.ca_file"), "{file}: {ran:?}");
    }
    assert_eq!(dir.count("SELECT count(*) FROM runs"), 0);
    for file in ["/dev/zero", "missing.toml"] {
        dir.configure(&Setup { plan: file.to_owned(), ..setup() });
        let ran = run(&dir, &["run"]);
        assert!(ran.code == 2 && ran.err.contains("failed to read the plan"), "{file}: {ran:?}");
    }
    dir.configure(&setup());
    let text = dir.read("privo-reconcile.toml");
    for file in ["/dev/zero", "missing", "empty"] {
        std::fs::write(
            dir.file("privo-reconcile.toml"),
            text.replace("file = \"secret\"", &format!("file = \"{file}\"")),
        )
        .unwrap();
        dir.insert(&Entry::register(file, NOWHERE, "bea@example.com"));
        let ran = run(&dir, &["run"]);
        assert!(ran.code == 2 && ran.err.contains("the credential"), "{file}: {ran:?}");
    }
    std::fs::write(dir.file("privo-reconcile.toml"), text.replace("\"secret\"", "\"ledger.db\"")).unwrap();
    let ran = run(&dir, &["run"]);
    assert!(ran.code == 2 && ran.err.contains("is the ledger"), "{ran:?}");
    let ran = run(&dir, &["--config", "/dev/zero", "status"]);
    assert!(ran.code == 2 && ran.err.contains("larger than"), "{ran:?}");
}

#[test]
fn a_base_url_has_no_query() {
    for tail in ["?tenant=1", "/v1?", "/#top"] {
        let dir = Dir::without_ledger(&Setup { base_url: format!("{NOWHERE}{tail}"), ..Setup::bare(NOWHERE) });
        let ran = run(&dir, &["init"]);
        assert!(ran.code == 2 && ran.err.contains("neither `?` nor `#`"), "{tail}: {ran:?}");
    }
}

#[test]
fn a_limit_of_the_files_size_is_said() {
    let dir = dir();
    for n in 0..200 {
        dir.insert(&Entry::register(&format!("long-{n}"), NOWHERE, "ann@example.com"));
    }
    for (limit, command) in [(1, "report r.csv"), (1, "report --format html r.html"), (1, "run"), (1, "backup b.db")] {
        let ran = shell(&dir, &format!("ulimit -f {limit}; $BIN {command}"));
        assert!(ran.code == 1 && !ran.err.is_empty(), "{command}: {ran:?}");
    }
    assert!(!dir.file("r.csv").exists() && !dir.file("b.db").exists());
    assert_eq!(dir.run(&["status"]).code, 0);
}

#[test]
fn a_report_that_was_there_keeps_its_place_until_the_new_one_is_whole() {
    let dir = dir();
    std::fs::write(dir.file("r.csv"), "old").unwrap();
    std::fs::set_permissions(dir.file("r.csv"), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(shell(&dir, "ulimit -f 0; $BIN report r.csv").code, 1);
    assert_eq!(dir.read("r.csv"), "old");
    assert_eq!(run(&dir, &["report", "r.csv"]).code, 0);
    assert!(dir.read("r.csv").contains("\nr1,"));
}

/// Mounts the folder `m` read-only in a mount space of the script's own; `None`, said, where this user may not.
fn read_only(dir: &Dir, script: &str) -> Option<Ran> {
    let mount = "mount --bind m m && mount -o remount,ro,bind m && ! touch m/x 2>/dev/null";
    if shell(dir, &format!("unshare --mount bash -c '{mount}'")).code != 0 {
        eprintln!("skipped: nothing can be mounted here");
        return None;
    }
    Some(shell(dir, &format!("unshare --mount bash -c '{mount}; {script}'")))
}

#[test]
fn a_ledger_on_a_read_only_mount_is_read() {
    let dir = dir();
    std::fs::create_dir(dir.file("m")).unwrap();
    let text = dir.read("privo-reconcile.toml").replace("\"ledger.db\"", "\"m/ledger?.db\"");
    std::fs::write(dir.file("privo-reconcile.toml"), text).unwrap();
    assert_eq!(run(&dir, &["run"]).code, 2, "there is none yet");
    std::fs::rename(dir.file("ledger.db"), dir.file("m/ledger?.db")).unwrap();
    assert_eq!(run(&dir, &["run"]).code, 0);
    let usual = run(&dir, &["report"]).out;
    for command in ["report", "report -", "status", "verify", "show r1", "report ../r.csv"] {
        let Some(ran) = read_only(&dir, &format!("$BIN {}", command.replace("../", ""))) else { return };
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        assert!(!command.starts_with("report -") || ran.out == usual, "{ran:?}");
    }
    let ran = read_only(&dir, "$BIN run").unwrap();
    assert!(ran.code == 1 && ran.err.contains("cannot be written"), "{ran:?}");
    // A writer that was killed left its log: with SQLite's shared memory it is read, without it that is said.
    let killed = "import sqlite3,os; d=sqlite3.connect(\"m/ledger?.db\"); d.execute(\"update entries set error=1\"); \
                  d.execute(\"insert into entries(request_id,method,url,sent_at,failure) select request_id||2,method,url,sent_at,failure from entries\"); \
                  d.commit(); os._exit(0)";
    if shell(&dir, &format!("python3 -c '{killed}'")).code != 0 {
        eprintln!("skipped: no Python");
        return;
    }
    let ran = read_only(&dir, "$BIN report").unwrap();
    assert!(ran.code == 0 && ran.out.contains("\nr12,"), "{ran:?}");
    std::fs::remove_file(dir.file("m/ledger?.db-shm")).unwrap();
    let ran = read_only(&dir, "$BIN report").unwrap();
    assert!(ran.code == 2 && ran.err.contains("its log holds"), "{ran:?}");
}
