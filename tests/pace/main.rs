//! Proves that the real binary eases its pace when a server is in trouble, and says so where one looks for it; and makes
//! the picture of `docs/PACE.md`:
//!
//! ```text
//! cargo test --test pace -- --ignored      # two and a half minutes; writes docs/images/pace.svg
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

#[path = "../util/mod.rs"]
mod util;

mod picture;
mod played;

use std::path::Path;

use privo_reconcile::sandbox::Faults;
use serde_json::Value;
use util::{Dir, Entry, Platform, Setup};

#[test]
fn a_run_eases_its_pace_when_many_requests_fail_says_so_once_asked_and_the_next_one_starts_at_the_limits() {
    let platform = Platform::start();
    let dir = Dir::new(&Setup { rest: "[log]\nlevel = \"debug\"\n".to_owned(), ..Setup::of(&platform) });
    for n in 0..60 {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("ann{n}@example.com")));
    }
    let pace_events = |code: i32| {
        let ran = dir.run(&["run", "--log", "json"]);
        assert_eq!(ran.code, code, "{ran:?}");
        let events = ran.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["event"].as_str().unwrap().starts_with("pace")).collect::<Vec<_>>()
    };
    platform.set_faults(Faults { read_errors: 0.3, ..Faults::default() });
    let eased = pace_events(4);
    let percents: Vec<f64> = eased.iter().map(|event| event["percent"].as_f64().unwrap()).collect();
    assert!(percents.first() == Some(&50.0) && percents.is_sorted_by(|a, b| a > b), "{eased:?}");
    let last = eased.last().unwrap();
    assert_eq!((&last["level"], &last["in_flight"]), (&"debug".into(), &1.into()), "{last}");
    assert!(last["message"].as_str().unwrap().contains("requests failed"), "{last}");

    platform.set_faults(Faults::default());
    dir.db().execute_batch("UPDATE standings SET due_ms = 0").unwrap();
    assert_eq!(pace_events(4), Vec::<Value>::new());
    assert_eq!(pace_events(0), Vec::<Value>::new());
}

#[test]
#[ignore = "two and a half minutes; it makes a picture"]
fn picture_of_the_pace() {
    let samples = played::play();
    let svg = picture::draw(&samples);
    assert!(svg.len() < 60_000, "{}", svg.len());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images/pace.svg");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, svg).unwrap();
}
