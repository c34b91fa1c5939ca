//! The file itself: damaged, of another version, not to be written, held by another for long.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use privo_reconcile::clock::{Moment, Span};

use privo_reconcile::sandbox::Faults;

use crate::campaign::has_remedy;
use crate::scenes;
use crate::stage::{Stage, fed, leaked};
use crate::tally::{self, Tally, Wrong};
use crate::util::{Dir, Entry, Platform, Ran, Setup, leaks, until, wait};

/// What a user might do with a ledger; nothing that needs a server.
const COMMANDS: [&[&str]; 8] = [
    &["report"],
    &["report", "out.csv"],
    &["status"],
    &["show", "present"],
    &["verify"],
    &["backup", "copy.db"],
    &["close", "unknown", "--who", "Dana", "--why", "asked"],
    &["record", "begin"],
];

const RECORD: &str =
    r#"{"request_id":"b1","method":"POST","url":"https://api.example/x","body":{"email":"b1@example.com"}}"#;

const OUTAGE: &str = r#"{"request_id":"i1","method":"POST","url":"https://api.example/x","body":{"email":"i1@example.com"},"sent_at":"2026-03-01T12:00:00Z","failure":"timeout"}
"#;

fn settled(platform: &Platform) -> Stage {
    let dir = scenes::ledger(platform, &Setup::of(platform));
    for _ in 0..2 {
        assert_eq!(dir.run(&["run"]).code, 3);
    }
    let stage = Stage::new(dir);
    leaks::note(RECORD);
    leaks::note(OUTAGE);
    stage
}

/// What is wrong with what a command gave, if anything is.
type Fine<'a> = dyn Fn(&[&str], &Ran) -> Option<(Wrong, String)> + 'a;

fn try_all(stage: &Stage, tally: &mut Tally, what: &str, fine: &Fine) {
    for command in COMMANDS {
        let ran = stage.plainly(command, Some(RECORD));
        tally.cases += 1;
        tally.says(ran.code, &ran.err, &stage.dir.path().display().to_string());
        // What damage made of a value is nobody's value; of the values themselves none may be shown.
        for leak in leaked(&ran) {
            tally.found(Wrong::Leak, format!("{what}, {command:?}: {leak} in {ran:?}"));
        }
        if ran.err.contains("panicked") || !(0..=11).contains(&ran.code) {
            tally.found(Wrong::Code, format!("{what}, {command:?}: {ran:?}"));
        }
        if let Some((wrong, why)) = fine(command, &ran) {
            tally.found(wrong, format!("{what}, {command:?}: {why}"));
        }
    }
}

/// Either it is told what is wrong, with a remedy, or what was asked for is right.
fn told_or_right(command: &[&str], ran: &Ran, expected: &str) -> Option<(Wrong, String)> {
    let remedy = has_remedy(&ran.err) || command == ["verify"];
    match ran.code {
        // A difference that `verify` finds, or what `show` does not find, is told, too.
        1 | 2 if remedy || (ran.err.is_empty() && !ran.out.is_empty()) => None,
        0 | 3 if command == ["report"] && ran.out != expected => {
            Some((Wrong::Verdict, "another report, and not a word".to_owned()))
        }
        0 | 3 => None,
        _ => Some((Wrong::Code, format!("{ran:?}"))),
    }
}

/// Damage by seed: bytes of the header, bytes anywhere, zeroed pages, a cut.
fn damaged(stage: &Stage, cases: u64) -> Vec<(&'static str, Tally)> {
    let whole = std::fs::read(stage.dir.file("ledger.db")).unwrap();
    let expected = stage.plainly(&["report"], None).out;
    let mut tallies = Vec::new();
    type Damage = fn(&mut Vec<u8>, &mut fastrand::Rng);
    let kinds: [(&'static str, Damage); 4] = [
        ("a byte of the header wrong", |bytes, random| bytes[random.usize(..100)] ^= random.u8(1..)),
        ("eight bytes wrong", |bytes, random| {
            for _ in 0..8 {
                let at = random.usize(100..bytes.len());
                bytes[at] ^= random.u8(1..);
            }
        }),
        ("a page of zeroes", |bytes, random| {
            let page = random.usize(1..bytes.len() / 4096) * 4096;
            bytes[page..page + 4096].fill(0);
        }),
        ("cut short", |bytes, random| bytes.truncate(random.usize(..bytes.len()))),
    ];
    for (name, damage) in kinds {
        let mut tally = Tally::default();
        for seed in 0..cases {
            stage.reset();
            let mut bytes = whole.clone();
            damage(&mut bytes, &mut fastrand::Rng::with_seed(seed));
            std::fs::write(stage.dir.file("ledger.db"), bytes).unwrap();
            // Whether damage within a row can be seen is SQLite's business; only that nothing worse comes of it is ours.
            let strict = name != "eight bytes wrong";
            try_all(stage, &mut tally, &format!("seed {seed}"), &|command, ran| {
                told_or_right(command, ran, if strict { &expected } else { &ran.out })
            });
        }
        tallies.push((name, tally));
    }
    tallies
}

/// A ledger of another version is refused with both versions, and not a byte of it is changed.
fn newer(stage: &Stage) -> Tally {
    let mut tally = Tally::default();
    stage.reset();
    stage.dir.db().execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 99").unwrap();
    let before = std::fs::read(stage.dir.file("ledger.db")).unwrap();
    let known = privo_reconcile::ledger::VERSION.to_string();
    try_all(stage, &mut tally, "another schema", &|_, ran| {
        let shown = ran.code == 2 && ran.err.contains("version 99") && ran.err.contains(&known);
        (!shown).then(|| (Wrong::Code, format!("{ran:?}")))
    });
    if std::fs::read(stage.dir.file("ledger.db")).unwrap() != before {
        tally.found(Wrong::Torn, "a ledger of another version was changed".to_owned());
    }
    tally
}

/// As another user than the one whose folder it is.
fn unwritable(stage: &Stage) -> Tally {
    let mut tally = Tally::default();
    let mode = |name: &str, mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(stage.dir.file(name), mode).unwrap();
    };
    for (what, folder, file) in [
        ("a read-only file", 0o777, 0o444),
        ("a read-only folder", 0o555, 0o666),
        ("no permission at all", 0o755, 0o000),
    ] {
        stage.reset();
        for name in ["secret", "privo-reconcile.toml"] {
            mode(name, 0o644);
        }
        mode("ledger.db", file);
        mode("", folder);
        for command in
            [&["run"][..], &["run", "--report", "out.csv"], &["close", "unknown", "--who", "D", "--why", "a"]]
        {
            let Some(ran) = as_nobody(stage.dir.command(command)) else { continue };
            tally.cases += 1;
            tally.says(ran.code, &ran.err, &stage.dir.path().display().to_string());
            if ran.code != 1 || !has_remedy(&ran.err) {
                tally.found(Wrong::Code, format!("{what}, {command:?}: {ran:?}"));
            }
            for leak in leaked(&ran) {
                tally.found(Wrong::Leak, leak);
            }
        }
        mode("", 0o700);
    }
    tally
}

fn as_nobody(mut command: Command) -> Option<Ran> {
    if Command::new("id").arg("-u").output().is_ok_and(|ran| ran.stdout == b"0\n") {
        command.uid(65534).gid(65534);
    }
    let child = command.spawn();
    if child.is_err() {
        eprintln!("skipped: another user may not run the program");
    }
    Some(wait(child.ok()?))
}

/// Another writer holds the ledger for this long while each command begins.
fn held(stage: &Stage, long: u64, sql: &str, fine: &dyn Fn(&[&str], &Ran) -> bool) -> Tally {
    let mut tally = Tally::default();
    stage.reset();
    let commands: [&[&str]; 6] =
        [&["record", "begin"], &["run"], &["report"], &["status"], &["import", "outage.jsonl"], &["init"]];
    std::fs::write(stage.dir.file("outage.jsonl"), OUTAGE).unwrap();
    let other = stage.dir.db();
    other.execute_batch(sql).unwrap();
    let started = Moment::now();
    let waiting: Vec<_> = commands
        .into_iter()
        .map(|command| {
            let command_line = stage.dir.command(command);
            (command, std::thread::spawn(move || (fed(command_line, Some(RECORD)), Moment::now())))
        })
        .collect();
    std::thread::sleep(Duration::from_secs(long));
    drop(other);
    for (command, waiting) in waiting {
        let (ran, ended) = waiting.join().unwrap();
        tally.cases += 1;
        tally.says(ran.code, &ran.err, &stage.dir.path().display().to_string());
        for leak in leaked(&ran) {
            tally.found(Wrong::Leak, leak);
        }
        if !fine(command, &ran) || ended > started + Span::seconds(long as i64 + 20) {
            tally.found(Wrong::Code, format!("{command:?} after {}: {ran:?}", ended.since(started)));
        }
    }
    for command in [&["record", "begin"][..], &["run"], &["verify"]] {
        let ran = fed(stage.dir.command(command), Some(RECORD));
        if ![0, 3, 4].contains(&ran.code) {
            tally.found(Wrong::Code, format!("afterwards {command:?}: {ran:?}"));
        }
    }
    if !stage.entries().unwrap().iter().any(|entry| entry.starts_with("b1|")) {
        tally.found(Wrong::Lost, "b1".to_owned());
    }
    tally
}

/// Many runs at once: one works, the others say that it does.
fn at_once(count: usize) -> Tally {
    let mut tally = Tally::default();
    // The one that works comes to no end before the others have begun.
    let platform = Platform::with(Faults { latency_ms: 3_000, ..Faults::default() });
    let dir = Dir::of(&platform);
    for n in 0..16 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com")));
    }
    let mut runs: Vec<Child> = (0..count).map(|_| dir.command(&["run"]).spawn().unwrap()).collect();
    until("all but one", || runs.iter_mut().filter_map(|run| run.try_wait().unwrap()).count() >= count - 1);
    platform.set_faults(Faults::default());
    let mut codes: Vec<i32> = Vec::new();
    for run in runs {
        let ran = wait(run);
        tally.cases += 1;
        tally.says(ran.code, &ran.err, &dir.path().display().to_string());
        if ran.code == 11 && !ran.err.contains("another run holds the ledger") {
            tally.found(Wrong::Code, format!("{ran:?}"));
        }
        codes.push(ran.code);
    }
    let (worked, held) =
        (codes.iter().filter(|code| **code == 4).count(), codes.iter().filter(|code| **code == 11).count());
    if (worked, held) != (1, count - 1) {
        tally.found(Wrong::Code, format!("{codes:?}"));
    }
    tally
}

#[test]
fn one_of_many_runs_works() {
    tally::conclude(&[("16 runs at once", at_once(16))]);
}

#[test]
fn a_damaged_or_foreign_file_is_told_and_makes_nothing_worse() {
    if crate::shim::built().is_none() {
        return;
    }
    let platform = scenes::platform();
    let stage = settled(&platform);
    let mut tallies = damaged(&stage, 1);
    tallies.push(("another schema", newer(&stage)));
    tallies.push(("a file or folder that may not be written", unwritable(&stage)));
    tally::conclude(&tallies);
}

#[test]
#[ignore = "minutes: much damage, and waiting for one who holds the ledger"]
fn every_damage_and_long_waits() {
    if crate::shim::built().is_none() {
        return;
    }
    let platform = scenes::platform();
    let stage = settled(&platform);
    let mut tallies = damaged(&stage, 100);
    tallies.push(("another schema", newer(&stage)));
    tallies.push(("a file or folder that may not be written", unwritable(&stage)));
    let well = |_: &[&str], ran: &Ran| [0, 3, 4].contains(&ran.code);
    let short = held(&stage, 5, "BEGIN IMMEDIATE", &well);
    tallies.push(("another writes for 5 s", short));
    // Readers and those who have nothing to write do not wait.
    let long = held(&stage, 40, "BEGIN IMMEDIATE", &|command, ran| match command {
        ["report" | "status" | "init", ..] => ran.code == 0,
        _ => ran.code == 1 && ran.err.contains("for too long"),
    });
    tallies.push(("another writes for 40 s", long));
    let alone = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE ledger SET identity = identity";
    let exclusive = held(&stage, 40, alone, &|_, ran| ran.code == 1 && ran.err.contains("for too long"));
    tallies.push(("another has it alone for 40 s", exclusive));
    tallies.push(("16 runs at once", at_once(16)));
    tally::conclude(&tallies);
}
