//! Proves that the exit code says how the ledger stands or why a command could not do its work, that the message names the
//! remedy and no secret, and that a command which has nothing to say is silent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;

use crate::util::{Dir, Entry, Platform, Ran, Setup, finish, signal, until};
use privo_reconcile::ledger::Ledger;
use privo_reconcile::sandbox::{Faults, NewAccount};

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The command was refused for a mistake that the user can correct; gives what it said.
fn refused(ran: &Ran) -> &str {
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.out.is_empty() && !ran.err.contains("panicked"), "{ran:?}");
    &ran.err
}

#[test]
fn an_empty_ledger_is_done_in_silence() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    for arguments in [&["init"][..], &["run"], &["run", "--wait", "10s"], &["run", "--report", "out.csv"]] {
        let ran = dir.run(arguments);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{arguments:?}");
    }
}

/// SQLite reads the missing end of a last page as zeroes and says nothing.
#[test]
fn a_ledger_whose_last_page_is_cut_is_damaged() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "GET", NOWHERE));
    dir.runs(0);
    let whole = std::fs::read(dir.file("ledger.db")).unwrap();
    for missing in [1, 2000, 4095] {
        std::fs::write(dir.file("ledger.db"), &whole[..whole.len() - missing]).unwrap();
        for command in ["report", "status", "run", "verify"] {
            let ran = dir.run(&[command]);
            assert!(
                ran.code == 1 && ran.out.is_empty() && ran.err.contains("is damaged"),
                "{missing} {command}: {ran:?}"
            );
        }
        assert_eq!(std::fs::read(dir.file("ledger.db")).unwrap().len(), whole.len() - missing);
    }
    std::fs::write(dir.file("ledger.db"), whole).unwrap();
    dir.runs(0);
}

#[test]
fn a_settled_ledger_is_0() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "GET", NOWHERE));
    let ran = dir.runs(0);
    assert!(ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
}

#[test]
fn a_duplicate_risk_is_3_until_a_person_closes_it() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "POST", &format!("{NOWHERE}/unknown")));
    dir.runs(3);
    dir.due();
    dir.runs(3);
    let closed = dir.run(&["close", "r1", "--who", "Ann", "--why", "asked PRIVO", "--outcome", "applied"]);
    assert_eq!(closed.code, 0, "{closed:?}");
    dir.runs(0);
    let row = dir.row("r1");
    assert_eq!(util::said(&row), "resolved applied closed none");
    assert!(row["explanation"].contains("Ann: asked PRIVO") && row["explanation"].contains("no-plan"), "{row:?}");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn close_takes_filters_and_refuses_what_is_not_there() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for id in ["r1", "r2"] {
        dir.insert(&Entry::new(id, "POST", &format!("{NOWHERE}/unknown")));
    }
    dir.insert(&Entry::new("r3", "POST", "nowhere"));
    dir.runs(3);
    let who = ["--who", "Ann", "--why", "asked"];
    let close = |what: &[&str]| dir.run(&[&["close"], what, &who].concat());
    assert!(refused(&close(&["r1", "r9"])).contains("nothing was closed"));
    assert!(refused(&close(&[])).contains("filter"));
    assert!(refused(&dir.run(&["close", "r1", "--who", " ", "--why", "x"])).contains("must say something"));
    assert_eq!(dir.says("r1"), "duplicate-risk unknown no-plan review");
    assert_eq!(close(&["--reason", "no-plan"]).code, 3, "r3 is still open");
    assert_eq!(close(&["--status", "duplicate-risk"]).code, 0);
}

#[test]
fn what_is_pending_is_4_and_3_wins() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::register("r1", "https://elsewhere.example", "ann@example.com"));
    dir.runs(4);
    dir.insert(&Entry::new("r2", "POST", &format!("{NOWHERE}/unknown")));
    dir.runs(3);
}

#[test]
fn reading_commands_are_0_whatever_stands_there() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::register("r1", "https://elsewhere.example", "ann@example.com"));
    dir.insert(&Entry::new("r2", "POST", &format!("{NOWHERE}/unknown")));
    dir.runs(3);
    for arguments in [&["report"][..], &["status"], &["status", "--json"], &["show", "r1"], &["show", "r2"]] {
        let ran = dir.run(arguments);
        assert!(ran.code == 0 && ran.err.is_empty() && !ran.out.is_empty(), "{arguments:?} {ran:?}");
    }
    let ran = dir.run(&["report", "out.csv"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}

#[test]
fn a_server_that_is_down_leaves_everything_pending() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for n in 0..3 {
        dir.insert(&Entry::register(&format!("r{n}"), NOWHERE, "ann@example.com"));
    }
    let ran = dir.runs(4);
    assert!(!ran.err.contains("@example"), "{ran:?}");
    for row in dir.report() {
        assert_eq!(util::said(&row), "pending . inconclusive wait");
    }
}

#[test]
fn usage_is_2() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    for arguments in [&["frobnicate"][..], &[], &["run", "--wait", "soon"], &["run", "--wait", "1.5h"], &["show"]] {
        assert_eq!(dir.run(arguments).code, 2, "{arguments:?}");
    }
    assert!(refused(&dir.run(&["show", "r9"])).contains("no entry"));
    assert!(refused(&dir.run(&["sandbox", "--listen", "0.0.0.0:0"])).contains("127.0.0.1"));
}

#[test]
fn no_configuration_is_2_and_says_where_it_was_looked_for() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    std::fs::remove_file(dir.file("privo-reconcile.toml")).unwrap();
    let ran = dir.run(&["run"]);
    assert!(refused(&ran).contains("privo-reconcile.toml") && ran.err.contains("--config"), "{ran:?}");
    let ran = dir.run(&["--config", "missing.toml", "run"]);
    assert!(refused(&ran).contains("missing.toml"), "{ran:?}");
}

#[test]
fn the_configuration_is_found_in_the_users_folder_and_by_name() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let text = dir
        .read("privo-reconcile.toml")
        .replace("\"ledger.db\"", "\"../ledger.db\"")
        .replace("\"secret\"", "\"../secret\"");
    std::fs::create_dir(dir.file("privo-reconcile")).unwrap();
    std::fs::rename(dir.file("privo-reconcile.toml"), dir.file("old.toml")).unwrap();
    std::fs::write(dir.file("privo-reconcile/config.toml"), text).unwrap();
    dir.runs(0);
    assert_eq!(dir.run(&["--config", "old.toml", "run"]).code, 0);
    assert_eq!(dir.run(&["run", "--config", "old.toml"]).code, 0);
}

#[test]
fn a_missing_ledger_is_2_and_says_init() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    let who = ["close", "r1", "--who", "a", "--why", "b"];
    for arguments in [&["run"][..], &["report"], &["status"], &["show", "r1"], &who, &["run", "--dry-run"]] {
        let ran = dir.run(arguments);
        assert!(refused(&ran).contains("ledger.db") && ran.err.contains("run `privo-reconcile init`"), "{ran:?}");
    }
    assert!(!dir.file("ledger.db").exists());
}

#[test]
fn mistakes_in_the_configuration_are_2_with_line_and_remedy() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let good = dir.read("privo-reconcile.toml");
    for (from, to, says) in [
        ("[settle]", "[setle]", "unknown field"),
        ("confirm_after = \"0s\"", "confirm_after = \"0\"", "not a duration"),
        ("watch = \"0s\"", "watch = \"7 days\"", "not a duration"),
        ("[settle]", "[[control]]\nlookup = \"by-magic\"\nkey = \"x\"\n[settle]", "account-by-email"),
        ("{ file = \"secret\" }", "{ value = \"hunter2\" }", "never written"),
        ("{ file = \"secret\" }", "{ env = \"PRIVO_UNSET\" }", "PRIVO_UNSET is not set"),
        ("{ file = \"secret\" }", "{ file = \"nosuch\" }", "nosuch"),
        ("plan = \"privo-gateway\"", "plan = \"privo-consent\"", "service"),
        ("plan = \"privo-gateway\"", "plan = \"mine.toml\"", "shipped plans"),
        ("requests_per_second = 10000", "requests_per_second = 0", "requests_per_second"),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(dir.file("privo-reconcile.toml"), good.replacen(from, to, 1)).unwrap();
        let ran = dir.run(&["run"]);
        assert!(refused(&ran).contains(says) && ran.err.contains("privo-reconcile.toml"), "{to}: {ran:?}");
        assert!(!ran.err.contains("hunter2") && ran.err.lines().count() == 1, "{ran:?}");
    }
}

#[test]
fn refused_credentials_are_2_and_lose_nothing() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    std::fs::write(dir.file("secret"), "hunter2-wrong").unwrap();
    let ran = dir.run(&["run"]);
    assert!(refused(&ran).contains("client_secret"), "{ran:?}");
    assert!(!ran.err.contains("hunter2") && !ran.err.contains("@example"), "{ran:?}");
    assert_eq!(dir.says("r1"), "pending . inconclusive wait");
    let check = dir.run(&["check"]);
    assert!(check.code == 2 && check.out.contains("BAD") && !check.out.contains("hunter2"), "{check:?}");
    assert!(check.out.lines().last().unwrap().starts_with("BAD   a run would not do its work"), "{check:?}");
}

#[test]
fn a_healthy_setup_passes_its_check() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let ran = dir.run(&["check"]);
    assert!(ran.code == 0 && ran.out.contains("ok    credentials"), "{ran:?}");
    assert_eq!(ran.out.lines().last(), Some("ok    a run would do its work"));
}

#[test]
fn a_report_into_a_missing_folder_is_1_and_the_ledger_keeps_its_verdicts() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "GET", NOWHERE));
    let ran = dir.run(&["run", "--report", "no/such/out.csv"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("no/such/out.csv"), "{ran:?}");
    assert_eq!(dir.run(&["report", "no/such/out.csv"]).code, 1);
    assert_eq!(dir.says("r1"), "resolved not-applied no-effect none");
}

#[test]
fn a_report_that_fails_leaves_the_last_one_whole() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "GET", NOWHERE));
    assert_eq!(dir.run(&["run", "--report", "out.csv"]).code, 0);
    let before = dir.read("out.csv");
    std::fs::create_dir(dir.file("folder.csv")).unwrap();
    assert_eq!(dir.run(&["report", "folder.csv"]).code, 2);
    assert_eq!(dir.run(&["report", "no/such/out.csv"]).code, 1);
    assert_eq!(dir.read("out.csv"), before);
    let left = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with(".privo-reconcile-"));
    assert_eq!(left.count(), 0, "half a report was left behind");
}

#[test]
fn a_ledger_that_cannot_be_read_is_1() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "GET", NOWHERE));
    std::fs::set_permissions(dir.file("ledger.db"), std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(dir.file("ledger.db")).is_ok() {
        eprintln!("skipped: this user may read every file");
        return;
    }
    assert_eq!(dir.run(&["run"]).code, 1);
}

#[test]
fn a_damaged_ledger_is_1_and_said_by_check() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for n in 0..200 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, "ann@example.com"));
    }
    dir.db().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut bytes = std::fs::read(dir.file("ledger.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    std::fs::write(dir.file("ledger.db"), &bytes).unwrap();
    let ran = dir.run(&["run"]);
    assert!(ran.code == 1 && !ran.err.contains("panicked"), "{ran:?}");
    assert_eq!(dir.run(&["check"]).code, 1);
}

#[test]
fn two_runs_at_once_is_11() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let lock = dir.hold();
    let close = ["close", "--status", "pending", "--who", "a", "--why", "b"];
    for arguments in [&["run"][..], &["run", "--dry-run"], &close] {
        let ran = dir.run(arguments);
        assert!(ran.code == 11 && ran.err.contains("another run holds the ledger"), "{ran:?}");
    }
    assert_eq!(dir.run(&["report"]).code, 0);
    drop(lock);
    dir.runs(0);
}

#[test]
fn what_is_named_as_success_is_given_as_0_and_nothing_else_is() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::register("r1", "https://elsewhere.example", "ann@example.com"));
    let run = |codes: &str| dir.run(&["run", "--success", codes]).code;
    assert_eq!((run("4"), run("3, 4"), run("3"), run("11")), (0, 0, 4, 4));
    dir.insert(&Entry::new("r2", "POST", &format!("{NOWHERE}/unknown")));
    assert_eq!((run("4"), run("3")), (3, 0));
    let shown = dir.run(&["run", "--success", "3,4", "--json"]);
    assert!(shown.code == 0 && shown.out.contains("\"exit\": 3"), "what is told stays as it is: {shown:?}");
    for codes in ["0", "1", "2", "5", "143", "3,1", "x", ""] {
        assert!(refused(&dir.run(&["run", "--success", codes])).contains("3, 4 and 11"), "{codes}");
    }
    let mut setup = Setup { rest: "[run]\nsuccess = [3, 4]\n".to_owned(), ..Setup::bare(NOWHERE) };
    dir.configure(&setup);
    dir.runs(0);
    assert_eq!(run("4"), 3, "the command line goes before");
    for codes in ["[1]", "[3, 5]", "[-1]", "[259]"] {
        setup.rest = format!("[run]\nsuccess = {codes}\n");
        dir.configure(&setup);
        assert!(refused(&dir.run(&["run"])).contains("`run.success["), "{codes}");
    }
}

#[test]
fn a_run_that_is_not_needed_may_be_a_success_and_still_says_why() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let lock = Ledger::open_locked(&dir.file("ledger.db")).unwrap();
    for arguments in [&["run", "--success", "11"][..], &["run", "--dry-run", "--success", "3,4,11"]] {
        let ran = dir.run(arguments);
        assert!(ran.code == 0 && ran.err.contains("another run holds the ledger"), "{ran:?}");
        let shown = dir.run(&[arguments, &["--json"]].concat());
        assert!(shown.code == 0 && shown.out.contains("\"exit\": 11"), "{shown:?}");
    }
    assert_eq!(dir.run(&["run", "--success", "3,4"]).code, 11);
    drop(lock);
}

#[test]
fn health_is_0_after_a_run_that_did_its_work_and_1_with_a_sentence_else() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    let health = |within: &str| dir.run(&["health", "--within", within]);
    let ill = |says: &str| {
        let ran = health("1h");
        assert!(ran.code == 1 && ran.err.contains(says) && ran.err.lines().count() == 1, "{ran:?}");
    };
    ill("there is no ledger");
    dir.run(&["init"]);
    ill("no run has ended with 0, 3 or 4 yet");
    // What is no run's end: one that failed, one that is under way, one that found the ledger held.
    dir.run(&["run", "--report", "no/such/out.csv"]);
    ill("no run has ended");
    for (entry, code) in [
        (Entry::new("r1", "GET", NOWHERE), 0),
        (Entry::register("r2", "https://elsewhere.example", "ann@example.com"), 4),
        (Entry::new("r3", "POST", &format!("{NOWHERE}/unknown")), 3),
    ] {
        dir.insert(&entry);
        dir.runs(code);
        assert_eq!(health("1h").code, 0, "{code}");
        dir.db().execute("UPDATE runs SET ended_ms = ended_ms - 3600001", []).unwrap();
        ill("longer than 1h ago");
        assert_eq!(health("2h").code, 0);
        dir.db().execute("UPDATE runs SET exit = 1", []).unwrap();
    }
    assert_eq!(dir.run(&["run", "--success", "3"]).code, 0);
    assert_eq!(health("1h").code, 0, "the true code is what counts");
    dir.db().execute("UPDATE runs SET exit = 5", []).unwrap();
    ill("no run has ended");
    assert_eq!(health("soon").code, 2);
    std::fs::write(dir.file("ledger.db"), "no ledger").unwrap();
    assert!(refused(&dir.run(&["status"])).contains("not a ledger"));
    ill("not a ledger");
}

#[test]
fn health_needs_no_credentials_and_no_server() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.runs(0);
    std::fs::remove_file(dir.file("secret")).unwrap();
    assert_eq!(dir.run(&["health"]).code, 0);
}

#[test]
fn maintenance_waits_for_a_run_as_long_as_it_is_told_to() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    dir.insert(&Entry::new("r1", "POST", &format!("{NOWHERE}/unknown")));
    dir.runs(3);
    let lock = Ledger::open_locked(&dir.file("ledger.db")).unwrap();
    let who = ["--who", "Jo", "--why", "asked", "--wait-lock"];
    let prune = ["prune", "--older-than", "1d", "--wait-lock"];
    let (close, forget) = ([&["close", "r1"], &who[..]].concat(), [&["forget", "kim"], &who[..]].concat());
    for command in [&prune[..], &close, &forget] {
        let ran = dir.run(&[command, &["1s"]].concat());
        assert!(ran.code == 11 && ran.err.contains("another run holds the ledger"), "{ran:?}");
    }
    let waiting =
        [&prune[..], &close, &forget].map(|command| dir.command(&[command, &["5m"]].concat()).spawn().unwrap());
    drop(lock);
    for waited in waiting {
        assert_eq!(finish(waited).code, 0);
    }
}

/// A run over many slow lookups, interrupted in the middle.
fn interrupted(name: &str, code: i32) {
    // All looks would take ten seconds and more.
    let platform = Platform::with(Faults { latency_ms: 200, ..Faults::default() });
    let dir = Dir::of(&platform);
    platform.add(NewAccount { email: Some("p1@example.com".to_owned()), ..NewAccount::default() });
    for n in 0..200 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com")));
    }
    let run = dir.command(&["run", "--wait", "60s"]).spawn().unwrap();
    until("the first looks", || dir.count("SELECT count(*) FROM looks") > 0);
    signal(name, run.id());
    let ran = finish(run);
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.err.contains("nothing is lost"), "{ran:?}");
    let looked = dir.count("SELECT count(*) FROM looks");
    assert!(looked > 0 && looked < 200, "{looked}");
    assert_eq!(dir.report().len(), 200);
    assert_eq!(dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NOT NULL"), 1);
    platform.set_faults(Faults::default());
    assert_eq!(dir.run_twice().code, 0);
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn sigint_is_130_and_loses_nothing() {
    interrupted("-INT", 130);
}

#[test]
fn sigterm_is_143_and_loses_nothing() {
    interrupted("-TERM", 143);
}

#[test]
fn a_run_that_waits_is_interrupted_at_once() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup::of(&platform).windows(&[("network", "5m"), ("confirm_after", "1h")]));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com").sent(privo_reconcile::clock::Moment::now()));
    let run = dir.command(&["run", "--wait", "10m"]).spawn().unwrap();
    until("the first look", || dir.count("SELECT count(*) FROM looks") > 0);
    signal("-TERM", run.id());
    assert_eq!(finish(run).code, 143);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let db = dir.db();
    db.execute_batch("BEGIN").unwrap();
    for n in 0..3000 {
        Entry::new(&format!("r{n}"), "GET", NOWHERE).insert(&db).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    dir.runs(0);
    let mut report = dir.command(&["report"]).spawn().unwrap();
    let mut line = String::new();
    // `report | head -1`
    BufReader::new(report.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut said = String::new();
    report.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((report.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    assert!(line.starts_with("request_id,"));
}

#[test]
fn the_sandbox_serves_until_it_is_stopped() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let mut sandbox = dir.command(&["sandbox", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(sandbox.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let answer = util::http(url.trim(), "GET", "/_sandbox/truth", &[], "");
    signal("-TERM", sandbox.id());
    assert_eq!(finish(sandbox).code, 0);
    assert_eq!(answer.unwrap().0, 200);
}

#[test]
fn close_finds_by_filter_whatever_the_report_shows_and_says_why_it_finds_nothing() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    for (id, email) in [("r1", "ann@example.com"), ("r2", "bob@example.com")] {
        dir.insert(&Entry::register(id, &platform.url, email));
    }
    dir.run_twice();
    dir.insert(&Entry::register("r3", &platform.url, "cleo@example.com"));
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    let close = |what: &[&str]| dir.run(&[&["close"], what, &["--who", "Dana", "--why", "asked"]].concat());
    let said = refused(&close(&["--operation", "register-account", "--operation-id", "r1"])).to_owned();
    assert!(said.contains("1 entry resolved (add --status resolved or its --reason"), "{said}");
    let said = refused(&close(&["--reason", "confirmed-absent", "--status", "pending"])).to_owned();
    assert!(said.contains("1 entry by --status alone, 2 entries by --reason alone"), "{said}");
    let said = refused(&close(&["--reason", "expired"])).to_owned();
    assert!(said.contains("no entry fits the filters, and nothing was closed (`report`"), "{said}");
    assert_eq!(close(&["--reason", "confirmed-absent"]).code, 4, "r3 is pending");
    for id in ["r1", "r2"] {
        assert!(dir.says(id).ends_with(" closed none"), "{}", dir.says(id));
    }
    // What was not looked at yet, and not even read, fits as the report shows it.
    assert_eq!(dir.row("r3")["operation"], "register-account");
    assert_eq!(close(&["--operation", "register-account", "--reason", "inconclusive"]).code, 0);
    let said = refused(&close(&["--operation", "register-account"])).to_owned();
    assert!(said.contains("3 entries closed already"), "{said}");
}

#[test]
fn a_plan_or_a_folder_that_there_is_not_is_2_with_what_there_is() {
    let dir = Dir::without_ledger(&Setup::bare(NOWHERE));
    let said = refused(&dir.run(&["config", "--plan", "nosuch"])).to_owned();
    assert!(said.contains("privo-gateway or privo-consent"), "{said}");
    assert_eq!(dir.run(&["config", "--plan", "privo-consent"]).code, 0);
    let said = refused(&dir.run(&["--config", "nodir/x.toml", "init"])).to_owned();
    assert!(said.contains("make the folder"), "{said}");
    std::fs::write(dir.file("privo-reconcile.toml"), dir.read("privo-reconcile.toml").replace("ledger.db", "no/l.db"))
        .unwrap();
    let said = refused(&dir.run(&["init"])).to_owned();
    assert!(said.contains("make the folder, or correct ledger.path"), "{said}");
}
