//! The job's clock steps by an hour, between runs and in the middle of one, while the server's and the partner's are
//! right. Whatever is decided meanwhile must be true, and all must be decided once the time has really passed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use privo_reconcile::clock::Moment;

use crate::shim;
use crate::tally::{self, Tally, Wrong};
use crate::util::{Dir, Entry, Platform, Setup, leaks, rows, truth, wait};

const HOUR: i64 = 3600;

/// How far the server's clock is on: nobody waits for the end of an hour that a clock was wrong by.
static LATER_MS: AtomicI64 = AtomicI64::new(0);

fn server_clock() -> i64 {
    Moment::now().0 + LATER_MS.load(Ordering::SeqCst)
}

/// What becomes of the requests; the latest comes within the window of network failures.
const FATES: [&str; 5] = ["lost-before", "lost-after", "late:900", "late:1800", "late:2600"];

struct World {
    platform: Platform,
    dir: Dir,
    seed: u64,
    tally: Tally,
}

impl World {
    fn new(seed: u64) -> World {
        let platform = Platform::at(server_clock);
        let dir = Dir::new(&Setup::of(&platform).windows(&[
            ("network", "3s"),
            ("server_error", "3s"),
            ("confirm_after", "1s"),
            ("watch", "1s"),
        ]));
        World { platform, dir, seed, tally: Tally::default() }
    }

    /// An outage, and runs in the midst of it under a clock that steps.
    fn outage(&mut self) {
        let mut random = fastrand::Rng::with_seed(self.seed);
        for (n, fate) in FATES.iter().enumerate() {
            let entry = Entry::register(&format!("r{n}"), &self.platform.url, &email(&n.to_string()));
            self.dir.attempt(&self.platform, entry, fate);
        }
        for _ in 0..10 {
            let wrong_by = [-HOUR, 0, HOUR][random.usize(..3)];
            let then = [-HOUR, 0, HOUR][random.usize(..3)];
            let steps = format!("1:{wrong_by},{}:{then}", random.usize(2..60));
            self.run(&["run"], &steps);
            self.judge();
            std::thread::sleep(Duration::from_millis(random.u64(100..700)));
        }
    }

    fn run(&mut self, arguments: &[&str], steps: &str) {
        // What is known of personal values is known to one thread.
        (0..FATES.len()).for_each(|n| leaks::note(&email(&n.to_string())));
        let mut command = self.dir.command(arguments);
        shim::preload(&mut command);
        command.env("FAULT_STEPS", steps);
        let ran = wait(command.spawn().unwrap());
        self.tally.cases += 1;
        self.tally.says(ran.code, &ran.err, &self.dir.path().display().to_string());
        if ![0, 4].contains(&ran.code) {
            self.tally.found(Wrong::Code, format!("world {}, {steps}: {ran:?}", self.seed));
        }
        for leak in crate::stage::leaked(&ran) {
            self.tally.found(Wrong::Leak, leak);
        }
    }

    /// Compares what is settled with what the server knows; gives how many are.
    fn judge(&mut self) -> usize {
        let ran = self.dir.run(&["report"]);
        let known = self.platform.world().truth(server_clock());
        let rows = rows(&ran.out);
        if rows.len() != FATES.len() {
            self.tally.found(Wrong::Lost, format!("{ran:?}"));
        }
        let mut settled = 0;
        for row in rows.iter().filter(|row| row["status"] != "pending") {
            settled += 1;
            let id = row["request_id"].clone();
            let email = email(id.trim_start_matches('r'));
            if row["status"] != "resolved"
                || !truth::is_true(&known, std::slice::from_ref(&id), &email, &row["outcome"])
            {
                let did = known.per_request.get(&id);
                let said = &row["explanation"];
                self.tally.found(Wrong::Verdict, format!("world {}, {id}: {said}; truly {did:?}", self.seed));
            }
        }
        settled
    }

    /// All clocks are right, and two hours have passed.
    fn heals(&mut self) {
        for _ in 0..3 {
            let steps = format!("1:{}", LATER_MS.load(Ordering::SeqCst) / 1000);
            self.run(&["run", "--wait", "1m"], &steps);
        }
        if self.judge() != FATES.len() {
            self.tally.found(Wrong::Lost, format!("world {}: not all is decided", self.seed));
        }
        let verified = self.dir.run(&["verify"]);
        if verified.code != 0 {
            self.tally.found(Wrong::Verdict, format!("world {}: {verified:?}", self.seed));
        }
    }
}

fn email(n: &str) -> String {
    format!("p{n}@example.com")
}

fn worlds(count: u64) {
    if shim::built().is_none() {
        return;
    }
    let mut worlds: Vec<World> = (0..count).map(World::new).collect();
    at_once(&mut worlds, World::outage);
    LATER_MS.store(2 * HOUR * 1000, Ordering::SeqCst);
    at_once(&mut worlds, World::heals);
    let mut all = Tally::default();
    for world in worlds {
        all.add(world.tally);
    }
    tally::conclude(&[("the clock steps by an hour", all)]);
}

/// They wait more than they work.
fn at_once(worlds: &mut [World], act: fn(&mut World)) {
    for some in worlds.chunks_mut(6) {
        std::thread::scope(|scope| {
            for world in some {
                scope.spawn(|| act(world));
            }
        });
    }
}

#[test]
fn a_clock_that_steps_makes_no_verdict_wrong() {
    worlds(2);
}

#[test]
#[ignore = "minutes: many worlds"]
fn a_clock_that_steps_in_many_worlds() {
    worlds(60);
}
