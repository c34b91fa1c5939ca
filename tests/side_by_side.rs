//! Proves that several ledgers live side by side on one host, that one ledger is held by one run however it is named, and
//! that the configuration is found in its order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Dir, Entry, Platform, Setup, finish, until};
use privo_reconcile::sandbox::Faults;

/// A configuration of this name beside the first, with a ledger of this name.
fn beside(dir: &Dir, setup: &Setup, name: &str, ledger: &str) -> String {
    let file = format!("{name}.toml");
    std::fs::write(dir.file(&file), setup.text().replace("\"ledger.db\"", &format!("\"{ledger}\""))).unwrap();
    file
}

fn insert(dir: &Dir, ledger: &str, entry: &Entry) {
    let db = rusqlite::Connection::open(dir.file(ledger)).unwrap();
    db.busy_timeout(util::LONGEST).unwrap();
    entry.insert(&db).unwrap();
}

fn runs_of(dir: &Dir, ledger: &str) -> i64 {
    let db = rusqlite::Connection::open(dir.file(ledger)).unwrap();
    db.busy_timeout(util::LONGEST).unwrap();
    db.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap()
}

fn first_run(dir: &Dir, ledger: &str) -> (i64, i64) {
    let db = rusqlite::Connection::open(dir.file(ledger)).unwrap();
    let sql = "SELECT started_ms, ended_ms FROM runs ORDER BY id LIMIT 1";
    db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[test]
fn two_ledgers_are_run_at_once_and_neither_hinders_the_other() {
    // Two environments: what is at the one is not at the other.
    let platforms = [Platform::start(), Platform::start()];
    let dir = Dir::without_ledger(&Setup::of(&platforms[0]));
    let mut runs = Vec::new();
    let ledgers = ["production", "integration"].map(|name| (name, format!("{name}.db")));
    for ((name, ledger), platform) in ledgers.iter().zip(&platforms) {
        let config = beside(&dir, &Setup::of(platform), name, ledger);
        assert_eq!(dir.run(&["--config", &config, "init"]).code, 0);
        for n in 0..40 {
            let email = format!("p{n}@{name}.example");
            insert(&dir, ledger, &Entry::register(&format!("r{n}"), &platform.url, &email));
            let there = privo_reconcile::sandbox::NewAccount { email: Some(email), ..Default::default() };
            platform.add(there);
        }
        // Neither comes to an end before both have begun.
        platform.set_faults(Faults { latency_ms: 3_000, ..Faults::default() });
        runs.push((ledger, dir.command(&["--config", &config, "run"]).spawn().unwrap()));
    }
    until("both runs", || ledgers.iter().all(|(_, ledger)| runs_of(&dir, ledger) == 1));
    platforms.iter().for_each(|platform| platform.set_faults(Faults::default()));
    let mut times = Vec::new();
    for (ledger, run) in runs {
        let ran = finish(run);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ledger}");
        times.push(first_run(&dir, ledger));
    }
    assert!(times[0].0 < times[1].1 && times[1].0 < times[0].1, "they were to overlap: {times:?}");
    for name in ["production", "integration"] {
        let ran = dir.run(&["--config", &format!("{name}.toml"), "report"]);
        let rows = util::rows(&ran.out);
        assert_eq!(rows.len(), 40);
        assert!(rows.iter().all(|row| row["status"] == "resolved"), "{rows:?}");
    }
}

#[test]
fn two_configurations_of_one_ledger_keep_each_other_out() {
    let platform = Platform::start();
    let setup = Setup::of(&platform).windows(&[("network", "5m")]);
    let dir = Dir::new(&setup);
    // Named through another folder, so that only the file itself can tell that it is the same.
    std::fs::create_dir(dir.file("other")).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.file("other/way")).unwrap();
    let other = beside(&dir, &setup, "other", "other/way/ledger.db");
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    let first = dir.command(&["run", "--wait", "10m"]).spawn().unwrap();
    until("the first look", || dir.count("SELECT count(*) FROM looks") > 0);
    let ran = dir.run(&["--config", &other, "run"]);
    assert!(ran.code == 11 && ran.err.contains("another run holds the ledger"), "{ran:?}");
    util::signal("-TERM", first.id());
    assert_eq!(finish(first).code, 143);
    assert_eq!(dir.run(&["--config", &other, "run"]).code, 4);
}

#[test]
fn the_first_place_that_has_a_configuration_is_used_and_check_tells_the_order() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let text = dir.read("privo-reconcile.toml").replace("\"ledger.db\"", "\"../ledger.db\"");
    std::fs::create_dir(dir.file("privo-reconcile")).unwrap();
    let users = dir.file("privo-reconcile/config.toml").display().to_string();
    std::fs::write(&users, text.replace("\"secret\"", "\"../secret\"")).unwrap();
    let ran = dir.run(&["check"]);
    let order =
        format!("(in this order: privo-reconcile.toml is there, {users} is there, /etc/privo-reconcile/config.toml is");
    assert!(ran.code == 0 && ran.out.contains(&order), "{ran:?}");
    assert!(ran.out.contains(&format!("note  the configuration {users} is not used")), "{ran:?}");

    std::fs::remove_file(dir.file("privo-reconcile.toml")).unwrap();
    let ran = dir.run(&["check"]);
    assert!(ran.code == 0 && ran.out.contains(&format!("ok    configuration {users}: plan")), "{ran:?}");
    assert!(ran.out.contains("privo-reconcile.toml is not,") && !ran.out.contains("is not used"), "{ran:?}");
    let ran = dir.run(&["check", "--config", &users]);
    assert!(ran.code == 0 && ran.out.contains("(named by --config)"), "{ran:?}");

    std::fs::remove_file(&users).unwrap();
    let run = dir.run(&["run"]);
    let check = dir.run(&["check"]);
    for said in [&run.err, &check.out] {
        assert!(said.contains(&format!("privo-reconcile.toml is not, {users} is not, /etc/")), "{said}");
        assert!(said.contains("name one with --config"), "{said}");
    }
    assert!(run.code == 2 && check.code == 2 && check.out.starts_with("BAD   no configuration found"), "{check:?}");
}

#[test]
fn the_users_folder_is_in_their_home_unless_they_say_otherwise() {
    let dir = Dir::new(&Setup::bare("http://127.0.0.1:9"));
    let text = dir.read("privo-reconcile.toml").replace("\"ledger.db\"", "\"../../ledger.db\"");
    std::fs::remove_file(dir.file("privo-reconcile.toml")).unwrap();
    std::fs::create_dir_all(dir.file(".config/privo-reconcile")).unwrap();
    std::fs::write(dir.file(".config/privo-reconcile/config.toml"), text).unwrap();
    for other in [None, Some(""), Some("relative")] {
        let mut command = dir.command(&["status"]);
        command.env_remove("XDG_CONFIG_HOME").env("HOME", dir.path());
        if let Some(other) = other {
            command.env("XDG_CONFIG_HOME", other);
        }
        let ran = finish(command.spawn().unwrap());
        assert_eq!(ran.code, 0, "{other:?} {ran:?}");
    }
}
