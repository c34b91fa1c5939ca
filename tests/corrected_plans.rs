//! Proves, through the real binary, what becomes of verdicts when the plan is corrected: what is read otherwise is decided
//! anew, once, and what is read alike stays as it is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::sandbox::NewAccount;

/// The shipped plan with a part of it written otherwise.
fn plan(dir: &Dir, part: &str, otherwise: &str) -> String {
    let plan = std::fs::read_to_string("plans/privo-gateway.toml").unwrap();
    assert!(plan.contains(part), "{part}");
    std::fs::write(dir.file("mine.toml"), plan.replacen(part, otherwise, 1)).unwrap();
    "mine.toml".to_owned()
}

const ALREADY_THERE: &str = r#"already_there = [{ status = 412, lookup = "account-by-email" }]"#;
const COMPARED: &str = r#"compare.given_name = ["$.first_name", "$.firstName", "$.given_name", "$.givenName"]
compare.birth_date = ["$.birth_date_yyyymmdd", "$.birthDate_YYYYMMDD", "$.birthDateYYYYMMDD", "$.birthDate", "$.birth_date"]"#;
const NORMALISED: &str = r#"normalise = ["trim", "casefold"]"#;

fn watched(platform: &Platform) -> Setup {
    Setup::of(platform).windows(&[("watch", "7d")])
}

fn account(email: &str, name: &str) -> NewAccount {
    let (email, given_name) = (Some(email.to_owned()), Some(name.to_owned()));
    NewAccount { email, given_name, ..NewAccount::default() }
}

/// A ledger whose plan lacks or misstates a part.
fn under(platform: &Platform, part: &str, otherwise: &str) -> Dir {
    let dir = Dir::new(&watched(platform));
    let plan = plan(&dir, part, otherwise);
    dir.configure(&Setup { plan, ..watched(platform) });
    dir
}

fn looks(dir: &Dir) -> i64 {
    dir.count("SELECT count(*) FROM looks")
}

#[test]
fn a_verdict_under_watch_is_decided_anew_by_an_answer_that_the_corrected_plan_understands() {
    let platform = Platform::start();
    let dir = under(&platform, ALREADY_THERE, "");
    let entry = |id: &str| Entry::register(id, &platform.url, "ann@example.com").operation("o");
    dir.insert(&entry("r1"));
    dir.insert(&entry("r2").answered(412));
    dir.run_twice();
    assert_eq!(dir.says("r1"), "resolved not-applied confirmed-absent resend");
    dir.configure(&watched(&platform));
    let first = dir.run(&["run"]);
    assert!(dir.says("r1").starts_with("pending . "), "nothing is advised before it is decided anew: {first:?}");
    dir.due();
    let second = dir.run(&["run"]);
    assert_eq!(dir.says("r1"), "duplicate-risk unknown removed-since review");
    assert!(second.code == 3 && second.err.contains("correction"), "{second:?}");
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn a_settled_verdict_is_decided_anew_by_a_field_that_the_corrected_plan_compares() {
    for arguments in [&["run", "--recheck"][..], &["run"]] {
        let platform = Platform::start();
        let dir = under(&platform, COMPARED, "");
        platform.add(account("ann@example.com", "Eve"));
        dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
        dir.runs(0);
        assert!(dir.says("r1").starts_with("resolved satisfied present "), "{}", dir.says("r1"));
        dir.configure(&watched(&platform));
        if arguments.len() == 1 {
            // What is settled is read anew when something is to be decided.
            dir.insert(&Entry::register("r2", &platform.url, "bob@example.com"));
        }
        let ran = dir.run(arguments);
        assert_eq!(dir.says("r1"), "duplicate-risk unknown key-taken review");
        assert!(ran.code == 3 && ran.err.contains("correction"), "{ran:?}");
        assert_eq!(dir.run(&["verify"]).code, 0);
    }
}

/// The one whose key is read otherwise comes to the other, which is read as before: both are decided anew, together.
#[test]
fn whoever_shares_a_key_under_the_corrected_plan_is_decided_anew_too() {
    let platform = Platform::start();
    let dir = under(&platform, NORMALISED, r#"normalise = ["trim"]"#);
    dir.insert(&Entry::register("upper", &platform.url, "Ann@example.com"));
    dir.insert(&Entry::register("lower", &platform.url, "ann@example.com"));
    dir.run_twice();
    let verdicts = dir.count("SELECT count(*) FROM verdicts");
    let shipped = Setup { plan: "privo-gateway".to_owned(), ..watched(&platform) };
    dir.configure(&shipped);
    dir.run(&["run"]);
    for id in ["upper", "lower"] {
        assert!(dir.says(id).starts_with("pending . unconfirmed"), "{id}: {}", dir.says(id));
    }
    dir.due();
    dir.run(&["run"]);
    assert_eq!(dir.count("SELECT count(*) FROM verdicts"), verdicts + 2);
    assert_eq!(dir.run(&["verify"]).code, 0);
}

#[test]
fn two_plans_that_read_otherwise_and_are_run_in_turn_decide_once_each() {
    let platform = Platform::start();
    let dir = under(&platform, COMPARED, "");
    std::fs::write(dir.file("two.toml"), watched(&platform).text()).unwrap();
    platform.add(account("ann@example.com", "Eve"));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    // A person's to find out: there is something to decide.
    dir.insert(&Entry::new("none", "POST", &format!("{}/nowhere", platform.url)));
    let in_turn = |times| {
        for _ in 0..times {
            dir.run(&["run"]);
            dir.run(&["--config", "two.toml", "run"]);
        }
    };
    in_turn(2);
    let said = dir.says("r1");
    assert_eq!(said, "duplicate-risk unknown key-taken review", "by the plan that came second");
    let tables = ["readings", "looks", "verdicts"];
    let counts = || tables.map(|table| dir.count(&format!("SELECT count(*) FROM {table}")));
    let before = counts();
    in_turn(3);
    assert_eq!((dir.says("r1"), counts()), (said, before));
}

/// Whoever corrected a plan wrongly comes back by `--recheck`: under the plan of before all was decided once.
#[test]
fn recheck_decides_by_the_plan_that_it_is_run_with() {
    let platform = Platform::start();
    let dir = under(&platform, COMPARED, "");
    let wrong = dir.read("privo-reconcile.toml");
    platform.add(account("ann@example.com", "Eve"));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.runs(0);
    let before = dir.says("r1");
    dir.configure(&watched(&platform));
    assert_eq!(dir.run(&["run", "--recheck"]).code, 3);
    std::fs::write(dir.file("privo-reconcile.toml"), wrong).unwrap();
    assert_eq!(dir.run(&["run"]).code, 3, "in turn they would supersede each other for ever");
    let ran = dir.run(&["run", "--recheck"]);
    assert_eq!(dir.says("r1"), before);
    assert!(ran.code == 0 && ran.err.contains("correction"), "{ran:?}");
}

#[test]
fn what_a_changed_plan_reads_alike_causes_no_look() {
    let platform = Platform::start();
    let dir = Dir::new(&watched(&platform));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    platform.add(account("bob@example.com", "Ann"));
    dir.insert(&Entry::register("r2", &platform.url, "bob@example.com"));
    dir.run_twice();
    let before = (looks(&dir), dir.count("SELECT count(*) FROM readings"));
    let plan = plan(&dir, "name = \"privo-gateway\"", "# ours\n\nname   =   'privo-gateway'");
    dir.configure(&Setup { plan, ..watched(&platform) });
    dir.runs(0);
    assert_eq!((looks(&dir), dir.count("SELECT count(*) FROM readings")), before, "comments and layout mean nothing");
    let closed = dir.run(&["close", "r2", "--who", "ann", "--why", "by hand", "--outcome", "unknown"]);
    assert_eq!(closed.code, 0, "{closed:?}");
}
