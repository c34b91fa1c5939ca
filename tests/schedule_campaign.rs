//! The campaign of the schedule: an hour of it, compressed, against a sandbox that goes down and comes back, with reloads of
//! good and bad configurations, kills, stops, runs by hand and a full disk in between, while writers insert all the time.
//! Afterwards nothing that a writer committed may be lost or settled wrongly, and no two runs may have overlapped.
//!
//! Some minutes of it run with the other tests; the whole one, whose figures are in `docs/PROOFS.md`, with
//! `cargo test --test laws schedule_campaign:: -- --ignored --nocapture`. `SCHEDULE_MINUTES=120` makes it two hours of schedule,
//! `SCHEDULE_SPEED=15` lets a minute of schedule take four seconds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::util::{Dir, Platform, Setup, SmallDisk, signal, truth, until};
use fastrand::Rng;
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, Flapping};
use rusqlite::Connection;

/// Within these the sandbox applies what it applies late.
const WINDOWS: [(&str, &str); 4] =
    [("network", "3s"), ("server_error", "5s"), ("intent", "5s"), ("confirm_after", "1s")];

const WRITERS: u64 = 2;

/// What befalls a request, one like the other.
const FATES: [&str; 12] = [
    "plain",
    "plain",
    "plain",
    "plain",
    "lost-before",
    "lost-after",
    "error-before",
    "error-after",
    "late:1500",
    "repaired:3000",
    "twice",
    "hang-after",
];

/// A server that works, at a distance.
fn calm() -> Faults {
    Faults { latency_ms: 2, jitter_ms: 6, hang_ms: 500, shows_created_at: true, ..Faults::default() }
}

/// A server that is down half of the time, and fails else.
fn flapping() -> Faults {
    Faults {
        flapping: Some(Flapping { period_ms: 2_000, down_fraction: 0.5 }),
        read_errors: 0.2,
        read_lost: 0.1,
        too_many: 0.02,
        token_dropped: 0.02,
        hostile: 0.05,
        ..calm()
    }
}

fn setup(platform: &Platform, schedule: &str, concurrency: usize) -> Setup {
    let setup = Setup::of(platform).windows(&WINDOWS);
    Setup {
        server: format!("concurrency = {concurrency}\ntimeout = \"2s\""),
        rest: format!("[schedule]\n{schedule}\nstop_timeout = \"3s\"\n"),
        ..setup
    }
}

/// What a writer knows to be in the ledger, and what it could not write.
#[derive(Debug, Default)]
struct Written {
    committed: Vec<String>,
    /// Intents that could not be written: their requests were not sent.
    refused: usize,
    /// Ends that could not be written: their intents stay.
    unended: usize,
}

/// Registers one person after the other, each written ahead, until it is told to stop.
fn write(number: u64, dir: &Dir, platform: &Platform, stop: &AtomicBool) -> Written {
    let mut random = Rng::with_seed(number);
    let mut written = Written::default();
    let db = dir.db();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        register(&db, platform, &format!("w{number}-{n}"), &mut random, &mut written);
        std::thread::sleep(Duration::from_millis(random.u64(20..80)));
    }
    written
}

fn register(db: &Connection, platform: &Platform, operation: &str, random: &mut Rng, written: &mut Written) {
    let path = "/api/v1.0/account";
    let body = format!(r#"{{"email":"{operation}@example.com","first_name":"Ann","birth_date_yyyymmdd":"19900102"}}"#);
    for attempt in 1..=2 {
        let id = format!("{operation}-{attempt}");
        let url = format!("{}{path}", platform.url);
        let sql = "INSERT INTO entries (request_id, operation_id, method, url, body, sent_at, failure)
                   VALUES (?, ?, 'POST', ?, ?, ?, 'intent')";
        if db.execute(sql, (&id, operation, url, &body, Moment::now().to_string())).is_err() {
            written.refused += 1;
            return;
        }
        written.committed.push(id.clone());
        let fate = FATES[random.usize(..FATES.len())];
        let (failure, status) = match platform.send(&id, "POST", path, &body, fate) {
            None => ("network", None),
            Some((status, _)) if status >= 500 => ("http", Some(status)),
            Some((status, _)) => ("answered", Some(status)),
        };
        let sql = "UPDATE entries SET failure = ?, http_status = ?, ended_at = ? WHERE request_id = ?";
        if db.execute(sql, (failure, status, Moment::now().to_string(), &id)).is_err() {
            written.unended += 1;
        }
        if failure == "answered" || random.u8(..4) > 0 {
            return;
        }
    }
}

/// What came of the service.
#[derive(Debug, Default)]
struct Events {
    kills: Vec<Moment>,
    killed_in_a_run: usize,
    stops: usize,
    reloads: usize,
    bad_reloads: usize,
    by_hand: usize,
    by_hand_held: usize,
    /// When the disk was full, from and to.
    full: Vec<(Moment, Moment)>,
    /// It ended by itself and was started again, as a service manager does.
    restarts: usize,
}

/// The service, its manager, and all that is done to them.
struct Play<'a> {
    dir: &'a Dir,
    platform: &'a Platform,
    disk: Option<&'a SmallDisk>,
    /// The service's clock was right then.
    from: Moment,
    speed: u32,
    said: &'a File,
    service: Child,
    full_since: Option<Moment>,
    events: Events,
    random: Rng,
}

/// Whether a process has handlers of its own for SIGTERM and SIGHUP.
fn hears_signals(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    [1, 15].iter().all(|signal| caught & (1 << (signal - 1)) != 0)
}

impl Play<'_> {
    /// The service, or where no disk can be filled, one that cannot make its files any larger.
    fn start(dir: &Dir, from: Moment, speed: u32, said: &File, limited: bool) -> Child {
        let (speed, from) = (speed.to_string(), from.to_string());
        let arguments = ["schedule", "--speed", &speed, "--speed-from", &from];
        let mut command = dir.command(&arguments);
        if limited {
            // 4 KiB: less than a page of the ledger with its frame.
            let limit = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
            command = Command::new("sh");
            command.args(["-c", limit, env!("CARGO_BIN_EXE_privo-reconcile")]).args(arguments);
            command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        }
        command.stderr(said.try_clone().unwrap()).spawn().unwrap()
    }

    fn start_again(&mut self) {
        let limited = self.disk.is_none() && self.full_since.is_some();
        self.service = Play::start(self.dir, self.from, self.speed, self.said, limited);
    }

    fn minute(&self) -> Duration {
        Duration::from_millis(60_000 / u64::from(self.speed))
    }

    /// Sleeps until so many minutes of schedule are over, and starts the service again when it ended by itself.
    fn until(&mut self, minutes: f64) {
        let end = self.from + Span((self.minute().as_millis() as f64 * minutes) as i64);
        while Moment::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            self.start_again_if_ended();
        }
    }

    fn start_again_if_ended(&mut self) {
        if self.service.try_wait().unwrap().is_some() {
            self.events.restarts += 1;
            std::thread::sleep(Duration::from_millis(300));
            self.start_again();
        }
    }

    /// A service manager signals nobody who is not ready.
    fn signal(&mut self, name: &str) {
        until("the service to be ready", || {
            self.start_again_if_ended();
            hears_signals(self.service.id())
        });
        signal(name, self.service.id());
    }

    /// In the midst of a run, if one begins within the minute.
    fn kill(&mut self) {
        // What is asked of a full disk need not be answered.
        let sql = "SELECT count(*) FROM runs WHERE id = (SELECT max(id) FROM runs) AND ended_ms IS NULL";
        let db = self.dir.db();
        let goes_on = || db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0) > 0;
        let end = Moment::now() + Span(self.minute().as_millis() as i64);
        while !goes_on() && Moment::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(self.random.u64(0..150)));
        let open = goes_on();
        signal("-KILL", self.service.id());
        self.service.wait().unwrap();
        self.events.kills.push(Moment::now());
        self.events.killed_in_a_run += usize::from(open);
        self.start_again();
    }

    fn stop(&mut self) {
        self.signal("-TERM");
        until("the stop", || self.service.try_wait().unwrap().is_some());
        let ended = self.service.wait().unwrap();
        assert!(ended.code() == Some(143), "{ended:?}");
        self.events.stops += 1;
    }

    fn reload(&mut self, setup: &Setup, bad: bool) {
        self.dir.configure(setup);
        self.signal("-HUP");
        self.events.reloads += usize::from(!bad);
        self.events.bad_reloads += usize::from(bad);
    }

    fn full(&mut self, full: bool) {
        match (full, self.disk) {
            (true, Some(disk)) => disk.fill(),
            (false, Some(disk)) => disk.free(),
            (_, None) => {}
        }
        match self.full_since.take() {
            Some(since) => self.events.full.push((since, Moment::now())),
            None => self.full_since = Some(Moment::now()),
        }
        if self.disk.is_none() {
            self.kill();
        }
    }

    fn by_hand(&mut self) {
        let ran = self.dir.run(&["run"]);
        assert!([0, 3, 4, 11].contains(&ran.code), "{ran:?}");
        self.events.by_hand += 1;
        self.events.by_hand_held += usize::from(ran.code == 11);
    }

    /// What happens in a minute of the schedule.
    fn happens(&mut self, minute: u32) {
        match minute % 20 {
            1 | 11 => self.platform.set_faults(flapping()),
            6 | 16 => self.platform.set_faults(calm()),
            2 | 3 | 9 | 13 | 18 => self.kill(),
            4 | 14 => self.reload(&setup(self.platform, "at = \"61 * * * *\"", 4), true),
            7 => self.reload(&setup(self.platform, "at = \"*/1 * * * *\"\njitter = \"10s\"", 8), false),
            15 => self.reload(
                &setup(self.platform, "at = [\"0-59 * * * *\", \"@hourly\"]\ntime_zone = \"Asia/Kathmandu\"", 2),
                false,
            ),
            8 => self.full(true),
            10 => self.full(false),
            12 | 17 => self.by_hand(),
            19 => {
                self.stop();
                self.start_again();
            }
            _ => {}
        }
    }
}

/// What it came to.
#[derive(Debug)]
struct Figures {
    minutes: u32,
    runs: i64,
    unended_runs: i64,
    committed: usize,
    refused: usize,
    unended: usize,
    outcomes: BTreeMap<String, usize>,
    lost: Vec<String>,
    wrong: Vec<String>,
    open: usize,
    overlaps: Vec<String>,
    events: Events,
    /// Lines that the service said, by what they begin with.
    said: BTreeMap<String, usize>,
}

fn campaign(minutes: u32, speed: u32, seed: u64) -> Figures {
    let disk = SmallDisk::new(96);
    let platform = Platform::with(calm());
    let place = disk.as_ref().map_or(std::env::temp_dir(), |disk| disk.path().to_owned());
    let dir = Dir::inside(&place, &setup(&platform, "at = \"* * * * *\"", 4));
    assert_eq!(dir.run(&["init"]).code, 0);
    let said = tempfile::NamedTempFile::new().unwrap();
    let (from, stop) = (Moment::now(), AtomicBool::new(false));
    let (written, events) = std::thread::scope(|scope| {
        let (dir, platform, stop) = (&dir, &platform, &stop);
        let writers: Vec<_> =
            (0..WRITERS).map(|number| scope.spawn(move || write(number, dir, platform, stop))).collect();
        let service = Play::start(dir, from, speed, said.as_file(), false);
        let mut play = Play {
            dir,
            platform,
            disk: disk.as_ref(),
            from,
            speed,
            said: said.as_file(),
            service,
            full_since: None,
            events: Events::default(),
            random: Rng::with_seed(seed),
        };
        for minute in 0..minutes {
            play.until(f64::from(minute));
            play.happens(minute);
        }
        play.until(f64::from(minutes));
        if play.full_since.is_some() {
            play.full(false);
        }
        stop.store(true, Ordering::SeqCst);
        let written: Vec<Written> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        play.stop();
        (written, play.events)
    });
    platform.set_faults(Faults { shows_created_at: true, ..Faults::default() });
    let said = std::fs::read_to_string(said.path()).unwrap();
    judged(minutes, &dir, &platform, written, events, &said)
}

fn judged(minutes: u32, dir: &Dir, platform: &Platform, written: Vec<Written>, events: Events, said: &str) -> Figures {
    let runs = dir.count("SELECT count(*) FROM runs");
    let unended_runs = dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NULL");
    let overlaps = overlaps(dir, &events);
    let ran = dir.run(&["run", "--wait", "4m"]);
    assert!([0, 3, 4].contains(&ran.code), "{ran:?}");
    let whole: String = dir.db().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let verified = dir.run(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(!said.contains("@example.com") && !said.contains("panicked"), "{said}");

    let there: BTreeSet<String> = dir.recorded().into_iter().map(|(id, ..)| id).collect();
    let committed: Vec<&String> = written.iter().flat_map(|written| &written.committed).collect();
    let lost = committed.iter().filter(|id| !there.contains(**id)).map(|id| (**id).clone()).collect();
    let (mut outcomes, mut wrong, mut open) = (BTreeMap::new(), Vec::new(), 0);
    let knows = platform.truth();
    for row in dir.report() {
        let (id, outcome) = (&row["request_id"], row["outcome"].as_str());
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
        open += usize::from(row["status"] != "resolved");
        let (operation, _) = id.rsplit_once('-').unwrap();
        let attempts = [format!("{operation}-1"), format!("{operation}-2")];
        if row["status"] == "resolved"
            && !truth::is_true(&knows, &attempts, &format!("{operation}@example.com"), outcome)
        {
            wrong.push(format!("{id} {outcome} {}", row["reason"]));
        }
    }
    let sum = |count: fn(&Written) -> usize| written.iter().map(count).sum();
    Figures {
        minutes,
        runs,
        unended_runs,
        committed: committed.len(),
        refused: sum(|written| written.refused),
        unended: sum(|written| written.unended),
        outcomes,
        lost,
        wrong,
        open,
        overlaps,
        events,
        said: kinds(said),
    }
}

/// Runs that began before the one before them was over. One that was killed, or could not write its end, was over by then.
fn overlaps(dir: &Dir, events: &Events) -> Vec<String> {
    let db = dir.db();
    let mut statement = db.prepare("SELECT id, started_ms, ended_ms FROM runs ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let runs: Vec<(i64, i64, Option<i64>)> = rows.collect::<rusqlite::Result<_>>().unwrap();
    let mut overlaps = Vec::new();
    for pair in runs.windows(2) {
        let ((id, started, ended), (_, next, _)) = (pair[0], pair[1]);
        let killed = events.kills.iter().any(|kill| (started..=next).contains(&kill.0));
        let full = events.full.iter().any(|(from, to)| started <= to.0 && from.0 <= next);
        let over = ended.map_or(killed || full, |ended| ended <= next);
        if !over {
            overlaps.push(format!("run {id}: {started} to {ended:?}, the next at {next}"));
        }
    }
    overlaps
}

/// What was said, by kind.
fn kinds(said: &str) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in said.lines() {
        let known = [
            "late",
            "the old configuration is kept",
            "another run holds the ledger",
            "the run failed with exit code 1",
            "left alone",
            "line 37, `schedule.at`",
            "correction",
        ];
        let kind = known.into_iter().find(|kind| line.contains(kind)).unwrap_or(line);
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

impl Figures {
    fn print(&self) {
        let shown = |counts: &BTreeMap<String, usize>| {
            counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
        };
        let Events { kills, killed_in_a_run, stops, reloads, bad_reloads, by_hand, by_hand_held, full, restarts } =
            &self.events;
        let full_ms: i64 = full.iter().map(|(from, to)| to.since(*from).0).sum();
        println!("| figure | |\n|---|---|");
        println!("| minutes of schedule | {} |", self.minutes);
        println!("| runs | {}, of them {} without an end |", self.runs, self.unended_runs);
        println!("| kills | {}, of them {killed_in_a_run} in the midst of a run |", kills.len());
        println!("| stops by SIGTERM, each with 143 | {stops} |");
        println!("| reloads | {reloads} good, {bad_reloads} bad |");
        println!("| full disk | {} times, {} s |", full.len(), full_ms / 1000);
        println!("| ended by itself and was started again | {restarts} |");
        println!("| runs by hand | {by_hand}, of them {by_hand_held} found the ledger held |");
        println!("| entries committed | {} |", self.committed);
        println!("| intents that the full disk refused; ends | {}; {} |", self.refused, self.unended);
        println!("| verdicts | {} |", shown(&self.outcomes));
        println!("| said on standard error | {} |", shown(&self.said));
        println!("| **lost** | {} |", self.lost.len());
        println!("| **wrong** | {} |", self.wrong.len());
        println!("| **open** | {} |", self.open);
        println!("| **overlaps** | {} |", self.overlaps.len());
    }
}

fn holds(minutes: u32, speed: u32, seed: u64) {
    let figures = campaign(minutes, speed, seed);
    figures.print();
    assert!(figures.lost.is_empty() && figures.wrong.is_empty() && figures.open == 0, "{figures:?}");
    assert!(figures.overlaps.is_empty(), "{figures:?}");
    assert!(figures.runs * 2 >= i64::from(minutes), "too few runs: {figures:?}");
    assert!(figures.committed as u32 > minutes * 10, "too few entries: {figures:?}");
}

#[test]
fn some_minutes_of_schedule_lose_nothing() {
    // Long enough for a kill, both reloads and the full disk.
    holds(11, 60, 1);
}

#[test]
#[ignore = "takes some minutes: the figures of docs/PROOFS.md"]
fn an_hour_of_schedule_loses_nothing() {
    #[expect(clippy::disallowed_methods, reason = "the campaign's own options")]
    let option = |name: &str, usual: u32| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    holds(option("SCHEDULE_MINUTES", 60), option("SCHEDULE_SPEED", 15), 2);
}
