//! Proves that the job's own schedule begins its runs one after the other, outlives whatever becomes of them, and stops and
//! reloads when it is told to. The schedule's clock goes faster here (`--speed`); the job's own does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::util::{Answer, Dir, Entry, Hostile, Platform, Ran, Setup, finish, signal, until};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::Faults;

/// A server that nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";

/// What the sandbox calls the lookup by email.
const BY_EMAIL: &str = "GET /api/v1.0/account/lookup";

fn scheduled(setup: Setup, schedule: &str) -> Setup {
    Setup { rest: format!("[schedule]\n{schedule}\n"), ..setup }
}

/// A ledger with nothing in it and a start every minute.
fn every_minute() -> Dir {
    Dir::new(&scheduled(Setup::bare(NOWHERE), "at = \"* * * * *\""))
}

/// The service with a minute that takes a fifth of a second.
fn fast(dir: &Dir) -> Child {
    dir.command(&["schedule", "--speed", "300"]).spawn().unwrap()
}

fn runs(dir: &Dir) -> i64 {
    dir.count("SELECT count(*) FROM runs")
}

/// What was said but for late starts: a minute of a fifth of a second is soon over on a busy machine.
fn said(ran: &Ran) -> Vec<&str> {
    ran.err.lines().filter(|line| !line.contains(" late")).collect()
}

fn stopped(child: Child, name: &str) -> Ran {
    signal(name, child.id());
    finish(child)
}

/// A platform that takes its time, and entries that are absent there.
fn busy(schedule: &str, latency_ms: u64, entries: usize) -> (Platform, Dir) {
    let platform = Platform::with(Faults { latency_ms, ..Faults::default() });
    let dir = Dir::new(&scheduled(Setup::of(&platform), schedule));
    for n in 0..entries {
        dir.insert(&Entry::register(&format!("r{n}"), &platform.url, &format!("p{n}@example.com")));
    }
    (platform, dir)
}

#[test]
fn runs_follow_their_starts_in_silence_until_a_signal() {
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        let dir = every_minute();
        let service = fast(&dir);
        until("three runs", || runs(&dir) >= 3);
        let ran = stopped(service, name);
        assert_eq!((ran.code, ran.out.as_str(), said(&ran)), (code, "", vec![]));
    }
}

#[test]
fn without_a_schedule_or_a_ledger_nothing_looks_healthy() {
    let dir = Dir::new(&Setup::bare(NOWHERE));
    let ran = dir.run(&["schedule"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("privo-reconcile.toml: there is no schedule in it (add a section [schedule]"), "{ran:?}");
    let dir = Dir::without_ledger(&scheduled(Setup::bare(NOWHERE), "at = \"@hourly\""));
    let ran = dir.run(&["schedule"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("run `privo-reconcile init`"), "{ran:?}");
    dir.configure(&scheduled(Setup::bare(NOWHERE), "at = \"@hourly\"\ntime_zone = \"Berlin\""));
    let ran = dir.run(&["schedule"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("`schedule.time_zone`: unknown time zone"), "{ran:?}");
}

/// Everything that was asked was also written: each look is one request, and so are the two controls.
fn finished_what_was_in_flight(platform: &Platform, dir: &Dir, entries: i64) {
    let looks = dir.count("SELECT count(*) FROM looks");
    assert!(looks > 0 && looks < entries, "stopped in the middle: {looks}");
    assert_eq!(platform.requests(BY_EMAIL) as i64, looks + 2);
    assert_eq!(dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NULL"), 0);
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_begins_nothing() {
    for name in ["-TERM", "-INT"] {
        let (platform, dir) = busy("at = \"* * * * *\"", 400, 100);
        let service = fast(&dir);
        until("a look", || dir.count("SELECT count(*) FROM looks") > 0);
        let ran = stopped(service, name);
        assert_eq!((ran.code, said(&ran)), (if name == "-TERM" { 143 } else { 130 }, vec![]));
        finished_what_was_in_flight(&platform, &dir, 100);
    }
}

#[test]
fn a_stopped_run_finishes_what_is_in_flight_too() {
    let (platform, dir) = busy("at = \"@daily\"", 400, 100);
    let run = dir.command(&["run"]).spawn().unwrap();
    until("a look", || dir.count("SELECT count(*) FROM looks") > 0);
    let ran = stopped(run, "-TERM");
    assert_eq!(ran.code, 143, "{ran:?}");
    assert!(ran.err.contains("nothing is lost"), "{ran:?}");
    finished_what_was_in_flight(&platform, &dir, 100);
}

#[test]
fn a_stop_is_heard_in_the_midst_of_what_needs_no_server() {
    // Long rows end what is read at once, so that there are three parts of it, and the second one has many rows.
    const LONG: i64 = 40;
    const SHORT: i64 = 8_000;
    const ENTRIES: i64 = LONG + SHORT + LONG;
    let dir = every_minute();
    // By one statement: as bodies of the test's own, all of it would be searched for personal values.
    let insert = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < ?1)
         INSERT INTO entries (request_id, method, url, body, sent_at, failure)
         SELECT 'r' || n, 'GET', ?2, iif(n BETWEEN ?3 AND ?3 + ?4 - 1, '', printf('%.*c', 2097152, 'x')), ?5, 'timeout' FROM n";
    let sent = Moment::now().to_string();
    assert_eq!(dir.db().execute(insert, (ENTRIES, NOWHERE, LONG, SHORT, sent)), Ok(ENTRIES as usize));
    let held = dir.db();
    held.busy_timeout(Duration::ZERO).unwrap();
    for so_far in ["state WHERE unread = 0", "verdicts"] {
        let service = fast(&dir);
        let count = || dir.count(&format!("SELECT count(*) FROM {so_far}"));
        // The file is held from the first gap between two transactions on until the signal is sent: however fast the
        // machine is, there is more to do then.
        until(so_far, || {
            if held.execute_batch("BEGIN IMMEDIATE").is_err() {
                return false;
            }
            let some = count() > 0;
            if !some {
                held.execute_batch("COMMIT").unwrap();
            }
            some
        });
        signal("-TERM", service.id());
        held.execute_batch("COMMIT").unwrap();
        let ran = finish(service);
        assert_eq!(ran.code, 143, "{ran:?}");
        assert!(count() < ENTRIES, "all {so_far} were made first");
    }
}

/// A service whose look is never answered; gives it when the look is under way.
fn hanging(stop_timeout: &str) -> (Hostile, Dir, Child) {
    let server = Hostile::start(|asked, _| {
        if asked.for_token() {
            Answer::json("200 OK", r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#)
        } else {
            Answer::Hang
        }
    });
    let mut setup = Setup::bare(&server.url);
    // No test waits that long for a command.
    setup.server = "timeout = \"1h\"".to_owned();
    setup.controls = "[[control]]\nlookup = \"account-by-email\"\nkey = \"canary@control.example\"\n".to_owned();
    let dir = Dir::new(&scheduled(setup, &format!("at = \"* * * * *\"\nstop_timeout = \"{stop_timeout}\"")));
    dir.insert(&Entry::register("r1", &server.url, "ann@example.com"));
    let service = fast(&dir);
    until("the look", || server.counts().1 > 0);
    (server, dir, service)
}

#[test]
fn what_is_not_answered_within_the_timeout_is_dropped() {
    let (_server, dir, service) = hanging("1s");
    let asked = Moment::now();
    let ran = stopped(service, "-TERM");
    let took = Moment::now().since(asked);
    assert_eq!(ran.code, 143, "{ran:?}");
    assert!(took >= Span::seconds(1), "{took}");
    assert_eq!(dir.count("SELECT count(*) FROM state WHERE status = 'pending'"), 1);
}

#[test]
fn a_second_signal_stops_at_once() {
    let (_server, dir, service) = hanging("1h");
    signal("-TERM", service.id());
    std::thread::sleep(Duration::from_millis(300));
    let ran = stopped(service, "-INT");
    assert_eq!(ran.code, 143, "{ran:?}");
    assert_eq!(dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NULL"), 0);
}

#[test]
fn a_good_configuration_is_taken_and_a_bad_one_changes_nothing() {
    let dir = every_minute();
    let service = fast(&dir);
    until("a run", || runs(&dir) > 0);
    dir.configure(&scheduled(Setup::bare(NOWHERE), "at = \"61 * * * *\""));
    signal("-HUP", service.id());
    let before = runs(&dir);
    until("further runs by the old one", || runs(&dir) > before + 2);
    // Nothing for a long time, once a run that was due already is over.
    dir.configure(&scheduled(Setup::bare(NOWHERE), "at = \"0 0 29 2 *\""));
    signal("-HUP", service.id());
    until("the new schedule, which has no start", || {
        let before = runs(&dir);
        std::thread::sleep(Duration::from_millis(1_500));
        runs(&dir) == before
    });
    // The next run is made under the server of the new configuration.
    dir.configure(&scheduled(Setup::bare("http://127.0.0.1:10"), "at = \"* * * * *\""));
    signal("-HUP", service.id());
    until("the other server", || dir.count("SELECT count(*) FROM runs WHERE server = 'http://127.0.0.1:10'") > 1);
    let ran = stopped(service, "-TERM");
    let said = said(&ran);
    assert_eq!(said.len(), 1, "{ran:?}");
    let line = dir.read("privo-reconcile.toml").lines().count();
    let expected = "the old configuration is kept:";
    assert!(
        said[0].contains(expected) && said[0].contains(&format!("privo-reconcile.toml, line {line}, `schedule.at`"))
    );
}

#[test]
fn a_configuration_that_loses_its_schedule_is_a_bad_one() {
    let dir = every_minute();
    let service = fast(&dir);
    until("a run", || runs(&dir) > 0);
    dir.configure(&Setup::bare(NOWHERE));
    signal("-HUP", service.id());
    let before = runs(&dir);
    until("further runs", || runs(&dir) > before + 2);
    let ran = stopped(service, "-TERM");
    assert!(ran.err.contains("kept: ") && ran.err.contains("there is no schedule in it"), "{ran:?}");
}

#[test]
fn a_ledger_that_another_run_holds_is_said_once_and_its_starts_are_skipped() {
    let dir = every_minute();
    let lock = dir.hold();
    let err = std::fs::File::create(dir.file("err")).unwrap();
    let service = dir.command(&["schedule", "--speed", "300"]).stderr(err).spawn().unwrap();
    until("the first start", || dir.read("err").contains("another run holds the ledger"));
    // Further starts come, and are skipped without a word.
    std::thread::sleep(Duration::from_millis(1_000));
    assert_eq!(runs(&dir), 0);
    drop(lock);
    until("runs", || runs(&dir) >= 2);
    let ran = Ran { err: String::new(), ..stopped(service, "-TERM") };
    assert_eq!(ran.code, 143, "{ran:?}");
    let ran = Ran { err: dir.read("err"), ..ran };
    assert_eq!(ran.err.matches("another run holds the ledger").count(), 1, "{ran:?}");
    assert_eq!(said(&ran).len(), 1, "{ran:?}");
}

#[test]
fn a_failed_run_is_said_and_the_schedule_goes_on() {
    let platform = Platform::start();
    let dir = Dir::new(&scheduled(Setup::of(&platform), "at = \"* * * * *\""));
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    std::fs::write(dir.file("secret"), "wrong\n").unwrap();
    let service = fast(&dir);
    until("refused runs", || runs(&dir) >= 2);
    std::fs::write(dir.file("secret"), format!("{}\n", util::SECRET)).unwrap();
    until("the verdict", || dir.count("SELECT count(*) FROM verdicts") == 1);
    let ran = stopped(service, "-TERM");
    assert_eq!(ran.code, 143, "{ran:?}");
    assert!(ran.err.contains("the run failed with exit code 2, and the schedule goes on: "), "{ran:?}");
    assert!(!ran.err.contains("wrong") && !ran.err.contains("ann@"), "{ran:?}");
}

#[test]
fn runs_never_overlap_and_one_makes_up_for_the_starts_that_a_long_one_missed() {
    let (platform, dir) = busy("at = \"* * * * *\"", 60, 60);
    let service = fast(&dir);
    until("two runs", || dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NOT NULL") >= 2);
    let ran = stopped(service, "-TERM");
    assert_eq!(ran.code, 143, "{ran:?}");
    let overlaps = "SELECT count(*) FROM runs a JOIN runs b ON b.id > a.id AND b.started_ms < a.ended_ms";
    assert_eq!(dir.count(overlaps), 0);
    assert!(ran.err.contains(" late, and makes up for the "), "{ran:?}");
    assert!(platform.requests(BY_EMAIL) > 60);
}

#[test]
fn a_start_that_was_missed_while_it_was_off_is_made_up_for_by_one_run() {
    let dir = Dir::new(&scheduled(Setup::bare(NOWHERE), "at = \"@yearly\""));
    dir.runs(0);
    let service = dir.command(&["schedule"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(runs(&dir), 1, "nothing was missed yet");
    stopped(service, "-TERM");
    dir.db().execute("UPDATE runs SET started_ms = started_ms - 1100 * 86400000", []).unwrap();
    let service = dir.command(&["schedule"]).spawn().unwrap();
    until("the run", || dir.count("SELECT count(*) FROM runs WHERE ended_ms IS NOT NULL") == 2);
    std::thread::sleep(Duration::from_millis(500));
    let ran = stopped(service, "-TERM");
    assert_eq!(runs(&dir), 2);
    assert!(ran.err.contains(" late, and makes up for the "), "{ran:?}");
}

#[test]
fn the_schedule_is_told_in_words_and_what_a_change_of_clocks_moves_is_marked() {
    let rest =
        "at = [\"30 2 * 3 sun\", \"@yearly\"]\ntime_zone = \"America/New_York\"\njitter = \"30s\"\nwait = \"5m\"";
    let dir = Dir::without_ledger(&scheduled(Setup::bare(NOWHERE), rest));
    let ran = dir.run(&["schedule", "--check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "schedule of privo-reconcile.toml, time zone America/New_York",
            "  30 2 * 3 sun  at 02:30 on Sunday in March",
            "  @yearly       at 00:00 on day 1 of the month in January",
            "  each start is put off by a random time of up to 30s",
            "  each run goes on for up to 5m while waiting can decide something",
            "next starts",
        ]
    );
    assert_eq!(lines.len(), 6 + 10, "{ran:?}");
    // New York's clocks change on the second Sunday of March, until its law is changed.
    let moved: Vec<&&str> = lines.iter().filter(|line| line.contains("moved")).collect();
    assert!(!moved.is_empty(), "{ran:?}");
    for line in moved {
        assert!(
            line.contains("03:00:00 -04:00") && line.ends_with("T07:00:00Z  moved: clocks leave out 02:30"),
            "{line}"
        );
    }
    let few = dir.run(&["schedule", "--check", "--count", "3"]);
    assert_eq!(few.out.lines().count(), 6 + 3);
    assert_eq!(dir.run(&["schedule", "--count", "3"]).code, 2, "it goes with --check");
}

/// What the service manager was told up to now.
fn heard(socket: &UnixDatagram) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        heard.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
    }
    heard
}

#[test]
fn the_service_manager_is_told_how_it_goes_and_gets_signs_of_life_in_the_midst_of_a_run() {
    let (_server, dir, hanging) = hanging("1s");
    stopped(hanging, "-TERM");
    let socket = UnixDatagram::bind(dir.file("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = dir.command(&["schedule", "--speed", "300"]);
    command.env("NOTIFY_SOCKET", dir.file("notify")).env("WATCHDOG_USEC", "200000");
    let service = command.spawn().unwrap();
    let mut shown = Vec::new();
    until("a run", || {
        shown.extend(heard(&socket));
        shown.iter().any(|line| line.starts_with("STATUS=a run goes on since "))
    });
    assert_eq!(shown.iter().filter(|line| *line == "READY=1").count(), 1);
    // The run hangs at its look, and gives signs of life at half the time: no more than that, but for the ten that may have
    // waited in the socket.
    let began = Moment::now();
    let mut signs = 0;
    until("signs of life", || {
        signs += heard(&socket).iter().filter(|line| *line == "WATCHDOG=1").count() as i64;
        signs >= 25
    });
    let took = Moment::now().since(began);
    assert!(signs <= 11 + took.0 / 100, "{signs} signs of life in {took}");
    signal("-HUP", service.id());
    let mut shown = Vec::new();
    until("the reload", || {
        shown.extend(heard(&socket));
        shown.iter().any(|line| line == "READY=1")
    });
    shown.retain(|line| line != "WATCHDOG=1");
    assert_eq!(shown[0], "RELOADING=1");
    assert!(shown[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|now| now.parse::<u64>().is_ok()), "{shown:?}");
    // A service manager goes on listening: ten messages that nobody takes are all that a socket holds.
    let ended = AtomicBool::new(false);
    let (ran, shown) = std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            let mut shown = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                shown.extend(heard(&socket));
                std::thread::sleep(Duration::from_millis(10));
            }
            shown.extend(heard(&socket));
            shown
        });
        let ran = stopped(service, "-TERM");
        ended.store(true, Ordering::SeqCst);
        (ran, listening.join().unwrap())
    });
    assert_eq!(ran.code, 143, "{ran:?}");
    assert_eq!(shown.iter().filter(|line| *line == "STOPPING=1").count(), 1);
}

#[test]
fn the_next_start_and_the_last_run_are_told_to_the_service_manager() {
    let dir = every_minute();
    let socket = UnixDatagram::bind(dir.file("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = dir.command(&["schedule", "--speed", "300"]);
    let service = command.env("NOTIFY_SOCKET", dir.file("notify")).spawn().unwrap();
    let mut shown = Vec::new();
    until("a run's end", || {
        shown.extend(heard(&socket));
        shown.iter().any(|line| line.starts_with("STATUS=next start ") && line.ends_with(" ended with 0"))
    });
    assert!(
        shown.iter().any(|line| line.starts_with("STATUS=next start ") && line.ends_with("; no run yet")),
        "{shown:?}"
    );
    assert!(!shown.iter().any(|line| line == "WATCHDOG=1"), "it was not asked for");
    stopped(service, "-TERM");
}

#[test]
fn a_service_manager_that_cannot_be_told_is_said_once() {
    let dir = every_minute();
    let mut command = dir.command(&["schedule", "--speed", "300"]);
    let service = command.env("NOTIFY_SOCKET", dir.file("nobody")).spawn().unwrap();
    until("runs", || runs(&dir) >= 3);
    let ran = stopped(service, "-TERM");
    assert_eq!(ran.code, 143);
    assert!(ran.err.contains("failed to notify the service manager") && said(&ran).len() == 1, "{ran:?}");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: there is no /dev/full");
        return;
    };
    let dir = every_minute();
    let lock = dir.hold();
    let mut command = dir.command(&["schedule", "--speed", "300"]);
    let service = command.stderr(full).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    drop(lock);
    until("runs", || runs(&dir) >= 2);
    assert_eq!(stopped(service, "-TERM").code, 143);
}
