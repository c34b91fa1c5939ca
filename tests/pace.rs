//! Proves that the real binary halves its pace when a server asks for fewer requests, and says so where one looks for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup};
use privo_reconcile::sandbox::Faults;
use serde_json::Value;

#[test]
fn a_run_halves_its_pace_after_a_429_says_so_once_asked_and_the_next_one_starts_at_the_limits() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup { rest: "[log]\nlevel = \"debug\"\n".to_owned(), ..Setup::of(&platform) });
    for n in 0..30 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("ann{n}@example.com")));
    }
    let pace_events = || {
        let ran = dir.run(&["run", "--log", "json"]);
        assert!([0, 4].contains(&ran.code), "{ran:?}");
        let events = ran.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["event"].as_str().unwrap() == "pace-eased").collect::<Vec<_>>()
    };
    platform.set_faults(Faults { too_many: 0.2, retry_after_s: 1, ..Faults::default() });
    let eased = pace_events();
    let first = eased.first().unwrap();
    assert_eq!((&first["level"], &first["percent"]), (&"DEBUG".into(), &50.0.into()), "{eased:?}");
    assert!(first["message"].as_str().unwrap().contains("asked for fewer requests"), "{first}");

    platform.set_faults(Faults::default());
    dir.db().execute_batch("UPDATE state SET due_ms = 0").unwrap();
    assert_eq!(pace_events(), Vec::<Value>::new());
}
