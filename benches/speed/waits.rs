//! Waits: how long whoever records waits for the file while each command works, and how often it is refused.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use privo_reconcile::clock::Moment;
use rusqlite::{Connection, ErrorCode, params};

use crate::contest::{job, measure};
use crate::{Arguments, server, work};

/// The writers' busy timeouts in seconds, a quarter of the writers each.
const TIMEOUTS: [u64; 4] = [0, 1, 5, 10];

const WRITERS: usize = 32;

/// What became of the INSERTs of the writers with one timeout.
#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    inserts: u64,
    refused: u64,
    longest: Duration,
    all: Duration,
}

/// Threads with a connection each that insert one row by one statement, again and again.
struct Writers {
    ends: Arc<AtomicBool>,
    waited: Arc<Mutex<[Waited; TIMEOUTS.len()]>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(ledger: &Path, url: &str, every: Duration) -> Writers {
        let (ends, waited) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let count = Arc::new(AtomicU64::new(0));
        let thread = |n: usize| {
            let (ends, waited, count) = (Arc::clone(&ends), Arc::clone(&waited), Arc::clone(&count));
            let (ledger, url) = (ledger.to_owned(), format!("{url}/api/v1.0/account"));
            std::thread::spawn(move || {
                let connection = Connection::open(ledger).unwrap();
                connection.busy_timeout(Duration::from_secs(TIMEOUTS[n % TIMEOUTS.len()])).unwrap();
                connection.pragma_update(None, "synchronous", "FULL").unwrap();
                while !ends.load(Ordering::Relaxed) {
                    insert(&connection, &url, count.fetch_add(1, Ordering::Relaxed), n, &waited);
                    std::thread::sleep(every);
                }
            })
        };
        let threads = (0..WRITERS).map(thread).collect();
        Writers { ends, waited, threads }
    }

    /// What was waited since it was asked before.
    fn take(&self) -> [Waited; TIMEOUTS.len()] {
        std::mem::take(&mut *self.waited.lock().unwrap())
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn insert(connection: &Connection, url: &str, id: u64, writer: usize, waited: &Mutex<[Waited; TIMEOUTS.len()]>) {
    // A key that the server knows how to answer, and no other entry has.
    let body = work::body(1_000_000_000 + 2 * id);
    let began = Instant::now();
    let inserted = connection
        .prepare_cached(
            "INSERT INTO entries (request_id, method, url, body, sent_at, failure) VALUES (?, 'POST', ?, ?, ?, 'timeout')",
        )
        .unwrap()
        .execute(params![format!("w{}-{id}", Moment::now().0), url, body, Moment::now().to_string()]);
    let took = began.elapsed();
    let mut waited = waited.lock().unwrap();
    let waited = &mut waited[writer % TIMEOUTS.len()];
    waited.inserts += 1;
    waited.longest = waited.longest.max(took);
    waited.all += took;
    match inserted {
        Ok(_) => {}
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => waited.refused += 1,
        Err(error) => panic!("{error}"),
    }
}

fn heading() {
    let columns = TIMEOUTS.map(|timeout| format!(" {timeout} s: longest, refused of all |")).concat();
    println!("| writers of which one waits at most | wall, s |{columns} mean, ms |");
    println!("|---|---|{} ---|", "---|".repeat(TIMEOUTS.len()));
}

fn row(name: &str, wall: f64, waited: [Waited; TIMEOUTS.len()]) {
    let cells = waited.map(|w| format!(" {:.2} s, {} of {} |", w.longest.as_secs_f64(), w.refused, w.inserts)).concat();
    let (inserts, all) = waited.iter().fold((0, 0.0), |(n, all), w| (n + w.inserts, all + w.all.as_secs_f64()));
    println!("| {name} | {wall:.1} |{cells} {:.1} |", all * 1e3 / inserts.max(1) as f64);
}

/// The writers alone, then beside each command over a ledger of so many entries.
pub fn waits(arguments: &Arguments, entries: u64) {
    let (url, _) = server::start(arguments.latency, arguments.jitter);
    let folder = tempfile::tempdir().unwrap();
    work::of_job(folder.path(), &url, entries, arguments.connections[0], true);
    println!("{WRITERS} writers, each an INSERT every {} ms; {entries} entries", arguments.every);
    heading();
    let writers = Writers::start(&folder.path().join("ledger.db"), &url, Duration::from_millis(arguments.every));
    std::thread::sleep(Duration::from_secs(5));
    row("nothing else", 5.0, writers.take());
    let said = ["--who", "bench", "--why", "measured"];
    let closes = [&["close", "--status", "resolved"], &said[..]].concat();
    let forgets = [&["forget", "u2@example.com"], &said[..]].concat();
    let steps: [(&str, &[&str]); 11] = [
        ("`run`, all are new", &["run"]),
        ("`run`, nothing to do", &["run"]),
        ("`run` under another plan", &["run"]),
        ("`verify`", &["verify"]),
        ("`report`, the page", &["report", "report.html"]),
        ("`backup`", &["backup", "copy.db"]),
        ("`run --recheck`", &["run", "--recheck"]),
        ("`close` of everything", &closes),
        ("`forget`", &forgets),
        ("`prune` of everything", &["prune", "--older-than", "0s"]),
        ("`prune --compact`, which may hold it", &["prune", "--compact"]),
    ];
    for (name, words) in steps {
        if name.contains("another plan") {
            another_plan(folder.path());
        }
        writers.take();
        let cost = measure(job(arguments, folder.path()).args(words).stderr(std::process::Stdio::null()), &[0, 3, 4]);
        row(name, cost.wall, writers.take());
    }
    writers.end();
}

/// The same plan in other words: all is read anew.
fn another_plan(folder: &Path) {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/privo-gateway.toml")).unwrap();
    std::fs::write(folder.join("other.toml"), shipped + "\n# other words\n").unwrap();
    let file = folder.join("privo-reconcile.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, settings.replace("plan = \"privo-gateway\"", "plan = \"other.toml\"")).unwrap();
}
