//! The campaign: a partner's service in each language goes through an outage and is killed with SIGKILL at random points.
//! Afterwards every request whose outcome it did not learn must be in the ledger exactly once, and the job must settle all
//! of them without a wrong verdict. The judge knows what the service learned (its log) and what the sandbox did.
//!
//! A small one runs with the other tests; the whole one, whose figures are in `docs/PROOFS.md`, with
//! `cargo test --test laws campaign:: -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::util::{Dir, Platform, Setup, Writer, finish, kill_group, signal, truth, until};
use fastrand::Rng;
use privo_reconcile::sandbox::{BY_HAND, Faults, Truth};

/// What is applied late or by hand is so within the windows below.
fn outage_faults() -> Faults {
    Faults {
        lost_before: 0.10,
        lost_after: 0.10,
        error_before: 0.08,
        error_after: 0.08,
        late: 0.10,
        late_ms_min: 200,
        late_ms_max: 1_500,
        repaired: 0.06,
        repair_ms_min: 500,
        repair_ms_max: 3_000,
        twice: 0.05,
        partial: 0.0,
        hang: 0.1,
        hang_ms: 700,
        too_many: 0.03,
        retry_after_s: 1,
        token_lifetime_s: 3_600,
        token_dropped: 0.0,
        replica_lag_ms: 0,
        flapping: None,
        read_errors: 0.2,
        read_lost: 0.2,
        hostile: 0.0,
        hostile_only: None,
        big_body_bytes: 0,
        latency_ms: 2,
        jitter_ms: 6,
        shows_created_at: true,
        ..Faults::default()
    }
}

const WINDOWS: [(&str, &str); 4] =
    [("network", "3s"), ("server_error", "5s"), ("intent", "5s"), ("confirm_after", "1s")];

/// Registrations that a service begins with beyond what it is to make before it is killed.
const MORE: usize = 500;

/// What a service wrote down durably of itself.
#[derive(Default)]
struct Log {
    /// The next registration.
    next: usize,
    begun: BTreeSet<String>,
    learned: BTreeMap<String, u16>,
    lines: usize,
}

impl Log {
    fn read(dir: &Dir) -> Log {
        let text = std::fs::read_to_string(dir.file("log")).unwrap_or_default();
        let mut log = Log::default();
        // A kill may have cut the last line.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            log.lines += 1;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["sending", n] => log.next = log.next.max(n.parse::<usize>().unwrap() + 1),
                ["begun", id] => _ = log.begun.insert(id.to_owned()),
                ["learned", id, status] => _ = log.learned.insert(id.to_owned(), status.parse().unwrap()),
                _ => {}
            }
        }
        log
    }

    /// Ends a line that was cut.
    fn correct(dir: &Dir) {
        let text = std::fs::read_to_string(dir.file("log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        std::fs::write(dir.file("log"), &text[..whole]).unwrap();
    }
}

/// What a campaign came to.
#[derive(Debug)]
struct Figures {
    registrations: usize,
    attempts: usize,
    learned: usize,
    kills: usize,
    /// Entries that ended in doubt, those of them that are intents of killed services, and answers kept as evidence.
    in_doubt: usize,
    intents: usize,
    evidence: usize,
    outcomes: BTreeMap<String, usize>,
    lost: Vec<String>,
    wrong: Vec<String>,
    open: usize,
}

fn campaign(name: &'static str, registrations: usize, kills: usize, seed: u64) -> Option<Figures> {
    let writer = Writer::of(name)?;
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::of(&platform).windows(&WINDOWS));
    platform.set_faults(outage_faults());
    let killed = outage(&writer, &platform, &dir, registrations, kills, seed);
    platform.set_faults(Faults { shows_created_at: true, ..Faults::default() });
    Some(Figures { kills: killed, ..judged(&platform, &dir) })
}

/// Runs the service until all is sent, killing it on the way; in the midst of it the job runs too.
fn outage(writer: &Writer, platform: &Platform, dir: &Dir, registrations: usize, kills: usize, seed: u64) -> usize {
    let mut random = Rng::with_seed(seed);
    let mut points: Vec<usize> = (0..kills).map(|_| random.usize(1..registrations)).collect();
    points.sort_unstable();
    let mut killed = 0;
    let mut job = None;
    // A service that is killed sends at least one more before the next kill.
    for point in points.into_iter().map(Some).chain([None]) {
        let log = Log::read(dir);
        // One that is to be killed has more to do than it can before that.
        let rest = registrations.saturating_sub(log.next) + if point.is_some() { MORE } else { 0 };
        if rest == 0 {
            break;
        }
        let (first, count) = (log.next.to_string(), rest.to_string());
        let more = ["--first", &first, "--count", &count, "--timeout-ms", "400"];
        let mut child = writer.register(dir, platform, &platform.url, &more);
        if let Some(point) = point {
            until("the service to come so far", || {
                let now = Log::read(dir);
                let here = now.lines > log.lines && now.next >= point;
                here || child.try_wait().unwrap().is_some()
            });
            std::thread::sleep(Duration::from_micros(random.u64(0..30_000)));
            // The machine goes down, or the service alone; then its recorder, where it has one, ends by itself.
            if random.bool() { kill_group(child.id()) } else { signal("-KILL", child.id()) }
        }
        let ran = finish(child);
        assert_eq!(ran.err, "", "{writer:?}");
        killed += usize::from(ran.code == -1);
        Log::correct(dir);
        if job.is_none() && killed >= kills / 2 {
            job = Some(dir.command(&["run", "--wait", "3s"]).spawn().unwrap());
        }
    }
    if let Some(job) = job {
        let ran = finish(job);
        assert!([0, 4].contains(&ran.code), "{ran:?}");
    }
    assert!(Log::read(dir).next >= registrations);
    killed
}

/// Lets the job settle all, and holds ledger and report to the log and the sandbox's truth.
fn judged(platform: &Platform, dir: &Dir) -> Figures {
    let log = Log::read(dir);
    let kept: HashMap<String, String> = {
        let db = dir.db();
        let mut statement = db.prepare("SELECT request_id, failure FROM entries").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap().into_iter().collect()
    };
    assert_eq!(dir.count("SELECT count(*) FROM entries"), kept.len() as i64, "an entry is there more than once");
    let ran = dir.run(&["run", "--wait", "4m"]);
    assert!([0, 3, 4].contains(&ran.code), "{ran:?}");
    let truth = platform.truth();
    let did_something = truth.per_request.keys().chain(truth.blocked.iter().map(|blocked| &blocked.cause));
    let did_something = did_something.filter(|cause| *cause != BY_HAND);
    let must_be_known: BTreeSet<&String> = log.begun.iter().chain(did_something).collect();
    let known = |id: &&&String| log.learned.contains_key(**id) || kept.contains_key(**id);
    let lost = must_be_known.iter().filter(|id| !known(id)).map(|id| (**id).clone()).collect();
    let mut figures = Figures {
        registrations: log.next,
        attempts: log.begun.len(),
        learned: log.learned.len(),
        kills: 0,
        in_doubt: kept.values().filter(|failure| *failure != "answered").count(),
        intents: kept.values().filter(|failure| *failure == "intent").count(),
        evidence: kept.values().filter(|failure| *failure == "answered").count(),
        outcomes: BTreeMap::new(),
        lost,
        wrong: Vec::new(),
        open: 0,
    };
    let report = dir.report();
    assert_eq!(report.len(), figures.in_doubt, "every entry in doubt has its row");
    for row in report {
        let outcome = row["outcome"].as_str();
        *figures.outcomes.entry(outcome.to_owned()).or_default() += 1;
        figures.open += usize::from(row["status"] != "resolved");
        if row["status"] == "resolved" && !is_true(&truth, &row["request_id"], outcome) {
            figures.wrong.push(format!("{} {outcome} {}", row["request_id"], row["reason"]));
        }
    }
    figures
}

/// Whether the verdict on an attempt says what the sandbox knows of its operation.
fn is_true(truth: &Truth, request_id: &str, outcome: &str) -> bool {
    let (operation, _) = request_id.rsplit_once('-').unwrap();
    let (seed, n) = operation.split_once('-').unwrap();
    let email = format!("p{n}-s{seed}@example.com");
    let attempts = [format!("{operation}-1"), format!("{operation}-2")];
    truth::is_true(truth, &attempts, &email, outcome)
}

/// Nothing lost, nothing wrong, nothing left open.
fn holds(name: &'static str, registrations: usize, kills: usize, seed: u64) {
    let Some(figures) = campaign(name, registrations, kills, seed) else { return };
    let Figures { attempts, learned, in_doubt, intents, evidence, outcomes, kills: killed, .. } = &figures;
    println!(
        "| {name} | {} | {attempts} | {killed} | {learned} | {in_doubt} | {intents} | {evidence} | {} | {} | {} | {} |",
        figures.registrations,
        outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", "),
        figures.lost.len(),
        figures.wrong.len(),
        figures.open
    );
    assert!(figures.registrations >= registrations, "{figures:?}");
    assert!(figures.lost.is_empty() && figures.wrong.is_empty() && figures.open == 0, "{figures:?}");
    assert_eq!(*killed, kills, "not every kill met the service alive: {figures:?}");
}

#[test]
fn a_killed_service_in_rust_loses_nothing() {
    holds("rust", 60, 4, 1);
}

#[test]
fn a_killed_service_in_python_loses_nothing() {
    holds("python", 60, 4, 2);
}

#[test]
fn a_killed_service_in_node_loses_nothing() {
    holds("node", 60, 4, 3);
}

#[test]
fn a_killed_service_in_java_loses_nothing() {
    holds("java", 60, 4, 4);
}

#[test]
#[ignore = "takes some minutes: the figures of docs/PROOFS.md"]
fn a_thousand_requests_and_twenty_kills_in_every_language() {
    println!(
        "| language | registrations | attempts | kills | answers learned | in doubt | of these intents | evidence | verdicts | lost | wrong | open |"
    );
    for (seed, name) in (11..).zip(["rust", "python", "node", "java"]) {
        holds(name, 1_000, 20, seed);
    }
}
