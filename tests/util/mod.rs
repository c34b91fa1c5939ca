//! The harness: a folder with configuration and ledger, a platform (the sandbox, in this process), and the real binary.
//!
//! A test is then a few lines: what happened at the platform, what the partner wrote down, a run, what the report says.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::recording::{self, Recorder};
use rusqlite::Connection;

mod browser;
pub mod by_hand;
#[path = "../../src/store/postgres/tests/cluster.rs"]
pub mod cluster;
mod disk;
mod entry;
mod golden;
mod hostile;
pub mod leaks;
mod markup;
mod past;
mod platform;
pub mod resends;
pub mod truth;
mod writers;

pub use browser::{Browser, policy_hash};
pub use disk::SmallDisk;
pub use entry::Entry;
pub use golden::{PSEUDONYMS, golden, golden_ledger};
pub use hostile::{After, Answer, Asked, Hostile};
pub use markup::{Tag, tags};
pub use platform::{Platform, http};
pub use writers::{Writer, kill_group};

/// No command of a test takes longer, and nothing is waited for longer, on however slow a machine: who takes longer hangs.
pub const LONGEST: Duration = Duration::from_secs(300);

/// The secret of the configuration's client; no output may ever show it.
pub const SECRET: &str = "sandbox";

/// The key of the controls by email.
pub const CANARY: &str = "canary@control.example";

/// What evidence says, in plain tables that go with their connection.
const EVIDENCE: &str = "
    CREATE TEMP VIEW turns AS
      SELECT evidence.id AS evidence_id, run_id, at_ms, entry.value ->> 0 AS entry_id, entry.value -> 2 AS reading,
             entry.value -> 3 AS looks, entry.value -> 4 AS said
      FROM evidence, json_each(doc, '$[0]') AS entry;
    CREATE TEMP VIEW readings AS SELECT evidence_id, run_id, entry_id FROM turns WHERE json_type(reading) = 'array';
    CREATE TEMP VIEW looks AS
      SELECT evidence_id, run_id, entry_id, look.value ->> 2 AS asked_ms, (look.value ->> 2) + (look.value ->> 3) AS seen_ms,
             look.value ->> '$[9][2]' AS near_control, look.value ->> '$[10][0]' AS skew_least_ms,
             look.value ->> '$[10][1]' AS skew_most_ms, look.value ->> 11 AS made_error_ms
      FROM turns, json_each(looks) AS look;
    CREATE TEMP VIEW verdicts AS SELECT evidence_id, run_id, entry_id, at_ms FROM turns WHERE said ->> 0 IN (0, 2);
    CREATE TEMP VIEW deferrals AS SELECT evidence_id, run_id, entry_id, at_ms FROM turns WHERE said ->> 0 = 1;";

pub type Row = BTreeMap<String, String>;

/// What a configuration says; the windows are none unless a test is about them.
pub struct Setup {
    pub plan: String,
    pub base_url: String,
    pub token_url: String,
    pub settle: Vec<(&'static str, &'static str)>,
    pub controls: String,
    pub server: String,
    /// Appended as it is.
    pub rest: String,
}

impl Setup {
    /// For a platform, with every control.
    pub fn of(platform: &Platform) -> Setup {
        let control = |lookup: &str, key: &str| format!("[[control]]\nlookup = \"{lookup}\"\nkey = \"{key}\"\n");
        let controls = [
            control("account-by-email", CANARY),
            control("account-by-user-name", "canary"),
            control("account-by-display-name", "canary"),
            control("account-by-external-id", "canary"),
            control("children-of-parent", CANARY) + &format!("member = \"{}\"\n", platform.canary_child),
        ];
        Setup { controls: controls.concat(), ..Setup::bare(&platform.url) }
    }

    /// For a platform under the plan of the consent service.
    pub fn consent(platform: &Platform) -> Setup {
        let control = |lookup: &str, key: &str| format!("[[control]]\nlookup = \"{lookup}\"\nkey = \"{key}\"\n");
        let controls = control("account-by-eid", "canary") + &control("account-by-sid", &platform.canary_sid);
        Setup { plan: "privo-consent".to_owned(), controls, ..Setup::bare(&platform.url) }
    }

    /// For any server, without controls.
    pub fn bare(url: &str) -> Setup {
        Setup {
            plan: "privo-gateway".to_owned(),
            base_url: url.to_owned(),
            token_url: format!("{url}/oauth/token"),
            settle: Vec::new(),
            controls: String::new(),
            server: String::new(),
            rest: String::new(),
        }
    }

    /// With these windows.
    pub fn windows(mut self, settle: &[(&'static str, &'static str)]) -> Setup {
        self.settle.extend(settle);
        self
    }

    pub fn text(&self) -> String {
        let mut settle = BTreeMap::from([
            ("network", "0s"),
            ("server_error", "0s"),
            ("intent", "0s"),
            ("confirm_after", "0s"),
            ("webhook", "0s"),
            ("watch", "0s"),
        ]);
        settle.extend(self.settle.iter().copied());
        let settle: String = settle.iter().map(|(name, value)| format!("{name} = \"{value}\"\n")).collect();
        let params = if self.plan == "privo-consent" { "params = { service = \"sandbox\" }\n" } else { "" };
        let Setup { plan, base_url, token_url, controls, server, rest, .. } = self;
        format!(
            "plan = \"{plan}\"\n{params}[ledger]\npath = \"ledger.db\"\n\
             [server]\nbase_url = \"{base_url}\"\nrequests_per_second = 10000\n{server}\n\
             [auth]\ntoken_url = \"{token_url}\"\nclient_id = {{ value = \"sandbox\" }}\nclient_secret = {{ file = \"secret\" }}\n\
             [settle]\n{settle}{controls}{rest}"
        )
    }
}

/// A folder with configuration, secret and ledger.
pub struct Dir {
    folder: tempfile::TempDir,
}

/// What a command gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Dir {
    /// With a ledger that `init` made.
    pub fn new(setup: &Setup) -> Dir {
        let dir = Dir::without_ledger(setup);
        assert_eq!(dir.run(&["init"]).code, 0);
        dir
    }

    pub fn without_ledger(setup: &Setup) -> Dir {
        Dir::inside(&std::env::temp_dir(), setup)
    }

    /// In another place than the usual one, without a ledger.
    pub fn inside(place: &Path, setup: &Setup) -> Dir {
        // Of one user alone, as a folder with a secret in it is to be.
        let alone = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = Dir { folder: tempfile::Builder::new().permissions(alone).tempdir_in(place).unwrap() };
        dir.configure(setup);
        std::fs::write(dir.file("secret"), format!("{SECRET}\n")).unwrap();
        dir
    }

    pub fn of(platform: &Platform) -> Dir {
        Dir::new(&Setup::of(platform))
    }

    pub fn configure(&self, setup: &Setup) {
        std::fs::write(self.file("privo-reconcile.toml"), setup.text()).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    /// The command, in this folder and with nothing of the environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privo-reconcile"));
        command.args(arguments).current_dir(self.path()).env_clear().env("XDG_CONFIG_HOME", self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command. Unless it is asked to reveal them, it shows no personal value of the entries, nor leaves one in a
    /// file.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        for file in arguments.iter().filter_map(|argument| std::fs::read(self.file(argument)).ok()) {
            leaks::note(&String::from_utf8_lossy(&file));
        }
        if arguments.contains(&"--reveal") {
            return wait(self.command(arguments).spawn().unwrap());
        }
        let before = leaks::files(self.path());
        let ran = finish(self.command(arguments).spawn().unwrap());
        leaks::forbid_in_files(self.path(), &before);
        ran
    }

    /// `run`, with the exit code that is expected.
    pub fn runs(&self, code: i32) -> Ran {
        let ran = self.run(&["run"]);
        assert_eq!(ran.code, code, "{ran:?}");
        ran
    }

    /// Makes all that is pending due: the next run looks at it, however soon it is made.
    pub fn due(&self) {
        self.db().execute("UPDATE state SET due_ms = 0 WHERE status = 'pending'", []).unwrap();
    }

    /// Runs twice. The second run looks again at all that is pending, and confirms absences.
    pub fn run_twice(&self) -> Ran {
        self.due();
        self.run(&["run"]);
        self.due();
        self.run(&["run"])
    }

    /// A run of the job in this process, by the platform's clock ([`Platform::set_back`]).
    pub fn run_then(&self, platform: &Platform) {
        past::run_at(&self.file("privo-reconcile.toml"), platform);
    }

    /// The ledger's file, with what its evidence says in plain tables: `readings`, `looks`, `verdicts` and `deferrals`.
    pub fn db(&self) -> Connection {
        let db = Connection::open(self.file("ledger.db")).unwrap();
        db.busy_timeout(LONGEST).unwrap();
        db.execute_batch(EVIDENCE).unwrap();
        db
    }

    /// What a run does to keep others out. Dropped while no connection of this process is open: it would lose its locks.
    pub fn hold(&self) -> std::fs::File {
        let file = std::fs::File::open(self.file("ledger.db")).unwrap();
        file.try_lock().unwrap();
        file
    }

    /// A single number out of the ledger.
    pub fn count(&self, sql: &str) -> i64 {
        self.db().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// A recorder as a partner's code opens it.
    pub fn recorder(&self) -> Recorder {
        recording::recorder(Config::load(Some(&self.file("privo-reconcile.toml"))).unwrap()).unwrap()
    }

    /// Request id, failure and status of every entry, in the order they came.
    pub fn recorded(&self) -> Vec<(String, String, Option<u16>)> {
        let db = self.db();
        let mut statement = db.prepare("SELECT request_id, failure, http_status FROM entries ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(|row| row.unwrap()).collect()
    }

    /// Makes the ledger refuse every new entry.
    pub fn refuse_entries(&self) {
        let trigger = "CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'no more'); END";
        self.db().execute_batch(trigger).unwrap();
    }

    pub fn insert(&self, entry: &Entry) {
        entry.insert(&self.db()).unwrap();
    }

    /// Sends a request that meets this fate, and writes down what the partner knows of it, by the platform's clock.
    pub fn attempt(&self, platform: &Platform, entry: Entry, fate: &str) {
        // The server took it ten seconds later: within the uncertainty of clocks nothing is known of a record's age.
        let sent = platform.now() + Span::seconds(-10);
        let answer =
            platform.send(&entry.text("request_id"), &entry.method(), &entry.path(), &entry.text("body"), fate);
        let entry = match answer {
            None => entry.failure("network"),
            Some((status, _)) if status >= 500 => entry.http(status),
            Some((status, _)) => entry.answered(status),
        };
        self.insert(&entry.sent(sent).ended(platform.now()));
    }

    /// The report's rows.
    pub fn report(&self) -> Vec<Row> {
        let ran = self.run(&["report"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        rows(&ran.out)
    }

    pub fn row(&self, request_id: &str) -> Row {
        let found = self.report().into_iter().find(|row| row["request_id"] == request_id);
        found.unwrap_or_else(|| panic!("the report has no {request_id}"))
    }

    /// Status, outcome, reason and action of an entry; a dot for what is empty.
    pub fn says(&self, request_id: &str) -> String {
        said(&self.row(request_id))
    }
}

/// Status, outcome, reason and action of a row; a dot for what is empty.
pub fn said(row: &Row) -> String {
    let cells = ["status", "outcome", "reason", "action"].map(|name| row[name].as_str());
    cells.map(|cell| if cell.is_empty() { "." } else { cell }).join(" ")
}

/// The rows of a report.
pub fn rows(text: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let row = |cells: csv::StringRecord| {
        header.iter().map(str::to_owned).zip(cells.iter().map(str::to_owned)).collect::<Row>()
    };
    reader.records().map(|cells| row(cells.unwrap())).collect()
}

/// Waits for a command, which must show no personal value of the test's entries; kills it when it takes too long.
pub fn finish(child: Child) -> Ran {
    let ran = wait(child);
    leaks::forbid("a command", &format!("{}\n{}", ran.out, ran.err));
    ran
}

/// Waits for a command, whatever it shows; kills it when it takes too long.
pub fn wait(child: Child) -> Ran {
    wait_at_most(child, LONGEST)
}

/// The same for a command that may take longer than others, or less.
pub fn wait_at_most(child: Child, longest: Duration) -> Ran {
    let (done, ended) = mpsc::channel::<()>();
    let id = child.id();
    let watchdog = std::thread::spawn(move || {
        if ended.recv_timeout(longest) == Err(mpsc::RecvTimeoutError::Timeout) {
            signal("-KILL", id);
        }
    });
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Sends a signal to a process that the test started.
pub fn signal(name: &str, process: u32) {
    let _ = Command::new("kill").args([name, &process.to_string()]).status();
}

/// Waits until something holds, a bounded time.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let pause = Duration::from_millis(5);
    for _ in 0..LONGEST.as_millis() / pause.as_millis() {
        if holds() {
            return;
        }
        std::thread::sleep(pause);
    }
    panic!("waited too long for {what}");
}
