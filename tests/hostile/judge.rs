//! One case: a server that knows the truth and does something to its clients, the job against it, and what came of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use privo_reconcile::clock::{Moment, Span};

use crate::answers::elsewhere;
use crate::util::{
    Answer, Asked, CANARY, Dir, Entry, Hostile, LONGEST, Ran, Row, Setup, leaks, rows, said, wait_at_most,
};

/// The client's secret and the token, which no output may show.
pub const HUSH: &str = "hunter2-hush";
pub const TOKEN: &str = "token-hush";

/// What a command may use of memory, in KiB of address space: far less than what an endless answer sends.
const MEMORY_KIB: u64 = 320 * 1024;

/// Controls that are answered at once: a random key, and the known one in two steps.
pub const CONTROLS: usize = 3;

/// The breaker opens after ten failures; as many as `concurrency` may be under way then.
pub const FEW: usize = 10 + 4;

/// Of the messages that a fault leads to, so many are shown.
const SHOWN: usize = 3;

/// What is done to a request; `None`: it is answered honestly. `usize` counts the requests of this run.
type Script = dyn Fn(&Asked, usize, &mut Rng) -> Option<Answer> + Send + Sync;

/// A fault in one of its forms.
#[derive(Clone)]
pub struct Case {
    /// The row of the table that it belongs to.
    pub fault: &'static str,
    /// Which form of it.
    pub form: String,
    pub entries: usize,
    /// In one run, at the most: requests for a token, and others.
    pub bound: (usize, usize),
    /// What a run under the fault may end with.
    pub codes: &'static [i32],
    /// The server's answers speak against the entries, so that a person is asked.
    pub doubt: bool,
    /// It waits for time to pass.
    pub slow: bool,
    pub runs: usize,
    pub concurrency: usize,
    /// Longer is too long for one run.
    pub within: Span,
    pub listens: bool,
    pub script: Arc<Script>,
}

impl Case {
    /// A fault whose every request may be answered, so that each entry is asked for.
    pub fn new(
        fault: &'static str,
        form: impl Into<String>,
        script: impl Fn(&Asked, usize, &mut Rng) -> Option<Answer> + Send + Sync + 'static,
    ) -> Case {
        let entries = 6;
        Case {
            fault,
            form: form.into(),
            entries,
            bound: (1, CONTROLS + 2 * entries),
            codes: &[4],
            doubt: false,
            slow: false,
            runs: 2,
            concurrency: 4,
            within: Span::seconds(100),
            listens: true,
            script: Arc::new(script),
        }
    }

    /// A fault that stands for a server in trouble: it is left alone soon.
    pub fn trouble(
        fault: &'static str,
        form: impl Into<String>,
        script: impl Fn(&Asked, usize, &mut Rng) -> Option<Answer> + Send + Sync + 'static,
    ) -> Case {
        Case { entries: 24, bound: (1, CONTROLS + FEW), ..Case::new(fault, form, script) }
    }

    /// As many requests as there may be, whatever fails at random: controls are asked eight times, and each request once
    /// more after a 401.
    pub fn at_random(self) -> Case {
        let lookups = 2 * (8 * CONTROLS + 2 * self.entries);
        Case { bound: (lookups, lookups), codes: &[0, 4], concurrency: 1, runs: 3, ..self }
    }
}

/// Whether a request belongs to an entry, and not to a control or the token.
pub fn of_an_entry(asked: &Asked) -> bool {
    asked.path.contains("child")
}

pub fn token() -> Answer {
    Answer::json("200 OK", &format!(r#"{{"access_token":"{TOKEN}","expires_in":599}}"#))
}

/// Accounts with an even number exist.
fn exists(n: usize) -> bool {
    n.is_multiple_of(2)
}

/// What an honest server answers.
pub fn honest(asked: &Asked) -> Answer {
    let number = |after: &str| {
        let rest = &asked.path[asked.path.find(after)? + after.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    };
    let absent = || Answer::json("404 Not Found", r#"{"message":"not found"}"#);
    if asked.for_token() {
        token()
    } else if ["canary%40control", "canary%40control.example"].iter().any(|key| asked.path.ends_with(key)) {
        Answer::json("200 OK", r#"{"sid":"canary","eid":"canary@control"}"#)
    } else if asked.path.ends_with("service_id=canary") {
        Answer::json("200 OK", r#"{"sub":"canary","email":"canary@control.example","given_name":"Canary"}"#)
    } else if let Some(n) = number("service_id=child-") {
        Answer::json("200 OK", &record(n))
    } else {
        match number("email=child") {
            Some(n) if exists(n) => Answer::json("200 OK", &format!(r#"{{"sid":"child-{n}"}}"#)),
            _ => absent(),
        }
    }
}

/// The record of an account.
pub fn record(n: usize) -> String {
    format!(r#"{{"sub":"child-{n}","given_name":"Ann","birthdate":"19900102"}}"#)
}

/// What came of one case.
#[derive(Debug, Default)]
pub struct Trial {
    pub requests: usize,
    pub wrong: Vec<String>,
    pub lost: Vec<String>,
    leaked: Vec<String>,
    /// What breaks the contract otherwise: an exit code, a bound, a time.
    broken: Vec<String>,
    sees: BTreeSet<(i32, String)>,
}

/// What came of all cases of one fault.
#[derive(Debug, Default)]
pub struct Line {
    cases: usize,
    requests: usize,
    bound: usize,
    wrong: Vec<String>,
    lost: Vec<String>,
    leaked: Vec<String>,
    broken: Vec<String>,
    sees: BTreeSet<(i32, String)>,
}

/// What came of many cases, by fault.
pub struct Figures {
    order: Vec<&'static str>,
    lines: BTreeMap<&'static str, Line>,
}

impl Figures {
    /// Tries every case, some at once, for most of the time is waiting.
    pub fn of(cases: Vec<Case>) -> Figures {
        let mut order: Vec<&'static str> = cases.iter().map(|case| case.fault).collect();
        order.dedup();
        let open: Mutex<VecDeque<Case>> = Mutex::new(cases.into());
        let lines: Mutex<BTreeMap<&'static str, Line>> = Mutex::default();
        let next = || open.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some(case) = next() {
                        let trial = tried(&case);
                        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                        let bound = case.bound.0 + case.bound.1;
                        lines.entry(case.fault).or_default().take(1, bound, &case.form, trial);
                    }
                });
            }
        });
        Figures { order, lines: lines.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Of what was tried elsewhere.
    pub fn from(tried: Vec<(&'static str, Line)>) -> Figures {
        Figures { order: tried.iter().map(|(name, _)| *name).collect(), lines: tried.into_iter().collect() }
    }

    /// The table of the documentation.
    pub fn print(&self) {
        println!(
            "| fault | cases | requests in a run, at most (bound) | verdicts wrong | entries lost | leaks | exit: message |"
        );
        println!("|---|---|---|---|---|---|---|");
        for fault in &self.order {
            let line = &self.lines[fault];
            let mut sees: Vec<String> = line.sees.iter().map(|(code, says)| format!("{code}: {says}")).collect();
            if sees.len() > SHOWN {
                let more = sees.split_off(SHOWN).len();
                sees.push(format!("and {more} more like these"));
            }
            println!(
                "| {fault} | {} | {} ({}) | {} | {} | {} | {} |",
                line.cases,
                line.requests,
                line.bound,
                line.wrong.len(),
                line.lost.len(),
                line.leaked.len(),
                sees.join("<br>")
            );
        }
    }

    /// Nothing wrong, nothing lost, nothing leaked, no bound passed.
    pub fn hold(&self) {
        let bad: Vec<String> = self
            .lines
            .iter()
            .flat_map(|(fault, line)| {
                let said =
                    [("wrong", &line.wrong), ("lost", &line.lost), ("leaked", &line.leaked), ("broken", &line.broken)];
                said.into_iter()
                    .flat_map(move |(what, list)| list.iter().map(move |text| format!("{fault}: {what}: {text}")))
            })
            .collect();
        assert!(bad.is_empty(), "{}", bad.join("\n"));
    }
}

impl Trial {
    /// What the user of a command sees.
    pub fn sees(&mut self, ran: &Ran) {
        let says = ran.err.lines().next().unwrap_or("(nothing)").trim_start_matches("privo-reconcile: ").to_owned();
        self.sees.insert((ran.code, says));
    }

    pub fn check_that(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }
}

impl Line {
    /// Takes what came of other cases of the same fault.
    pub fn join(&mut self, other: Line) {
        self.cases += other.cases;
        self.requests = self.requests.max(other.requests);
        self.bound = self.bound.max(other.bound);
        self.wrong.extend(other.wrong);
        self.lost.extend(other.lost);
        self.leaked.extend(other.leaked);
        self.broken.extend(other.broken);
        self.sees.extend(other.sees);
    }

    /// Takes what came of so many cases.
    pub fn take(&mut self, cases: usize, bound: usize, form: &str, trial: Trial) {
        let shown = |list: Vec<String>| list.into_iter().map(|text| format!("{form}: {text}")).collect::<Vec<_>>();
        self.cases += cases;
        self.requests = self.requests.max(trial.requests);
        self.bound = self.bound.max(bound);
        self.wrong.extend(shown(trial.wrong));
        self.lost.extend(shown(trial.lost));
        self.leaked.extend(shown(trial.leaked));
        self.broken.extend(shown(trial.broken));
        self.sees.extend(trial.sees);
    }
}

/// Runs a command in bounded memory, and looks for leaks in what it says.
pub fn limited_run(dir: &Dir, arguments: &[&str], trial: &mut Trial) -> Ran {
    let ran = wait_at_most(limited(dir, arguments).spawn().unwrap(), LONGEST * 3);
    let text = format!("{}\n{}", ran.out, ran.err);
    let hush = [HUSH, TOKEN].into_iter().filter(|hush| text.contains(hush)).map(str::to_owned);
    trial.leaked.extend(leaks::shown(&text).into_iter().chain(hush));
    if text.contains("panicked") || ran.code < 0 {
        trial.broken.push(format!("{arguments:?} {ran:?}"));
    }
    ran
}

/// A command in bounded memory.
pub fn limited(dir: &Dir, arguments: &[&str]) -> std::process::Command {
    let binary = dir.command(&[]);
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"")])
        .arg(binary.get_program())
        .args(arguments);
    command.current_dir(dir.path()).env_clear().env("XDG_CONFIG_HOME", dir.path());
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

fn tried(case: &Case) -> Trial {
    let mut trial = Trial::default();
    let (script, healed) = (Arc::clone(&case.script), Arc::new(AtomicBool::new(false)));
    let seed = case.form.bytes().fold(17, |seed, byte| (seed * 31 + u64::from(byte)) % 1_000_003);
    let random = Mutex::new(Rng::with_seed(seed));
    let since = Arc::new(AtomicUsize::new(0));
    let (well, start) = (Arc::clone(&healed), Arc::clone(&since));
    let mut server = Some(Hostile::start(move |asked, before| {
        let before = before.saturating_sub(start.load(Ordering::SeqCst));
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        let done = if well.load(Ordering::SeqCst) { None } else { script(asked, before, &mut random) };
        done.unwrap_or_else(|| honest(asked))
    }));
    let url = server.as_ref().map(|server| server.url.clone()).unwrap();
    let dir = dir_of(case, &url);
    if !case.listens {
        server = None;
    }
    let asked = |server: &Option<Hostile>| server.as_ref().map_or((0, 0), Hostile::counts);
    for _ in 0..case.runs {
        let before = asked(&server);
        since.store(before.0 + before.1, Ordering::SeqCst);
        let began = Moment::now();
        let ran = limited_run(&dir, &["run"], &mut trial);
        let after = asked(&server);
        case.check(&ran, Moment::now().since(began), (after.0 - before.0, after.1 - before.1), &mut trial);
        judge(case, &dir, &mut trial);
    }
    healed.store(true, Ordering::SeqCst);
    let address = url.trim_start_matches("http://").parse().unwrap();
    let _again = server.is_none().then(|| Hostile::at(address, None, |asked, _| honest(asked)));
    recovers(case, &dir, &mut trial);
    trial.leaked.extend(elsewhere().asked().into_iter().map(|asked| format!("sent elsewhere: {asked:?}")));
    let mut all = server.iter().flat_map(Hostile::asked);
    if let Some(asked) = all.find(|asked| asked.method != "GET" && !asked.for_token()) {
        trial.broken.push(format!("not a read: {asked:?}"));
    }
    trial
}

impl Case {
    /// What a run under the fault may do, and what its user sees.
    fn check(&self, ran: &Ran, took: Span, (tokens, lookups): (usize, usize), trial: &mut Trial) {
        trial.requests = trial.requests.max(tokens + lookups);
        if tokens > self.bound.0 || lookups > self.bound.1 {
            trial.broken.push(format!("{tokens} tokens and {lookups} lookups are more than {:?}", self.bound));
        }
        if took > self.within {
            trial.broken.push(format!("a run took {took}"));
        }
        if !self.codes.contains(&ran.code) {
            trial.broken.push(format!("{ran:?}"));
        }
        trial.sees(ran);
    }
}

fn dir_of(case: &Case, url: &str) -> Dir {
    let controls = format!("[[control]]\nlookup = \"account-by-email\"\nkey = \"{CANARY}\"\n");
    // Where nothing hangs, no answer is given up on however slow a machine.
    let timeout = if case.slow { "1s" } else { "1m" };
    let server = format!("timeout = \"{timeout}\"\nconcurrency = {}", case.concurrency);
    let dir = Dir::new(&Setup { controls, server, ..Setup::bare(url) });
    std::fs::write(dir.file("secret"), HUSH).unwrap();
    let db = dir.db();
    db.execute_batch("BEGIN").unwrap();
    for n in 0..case.entries {
        Entry::register(&format!("r{n}"), url, &format!("child{n}@secret.example")).insert(&db).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    dir
}

/// Holds every verdict to the truth, and sees that each entry is there.
fn judge(case: &Case, dir: &Dir, trial: &mut Trial) -> Vec<Row> {
    let shown = limited_run(dir, &["report"], trial);
    let rows = rows(&shown.out);
    for n in 0..case.entries {
        let id = format!("r{n}");
        match rows.iter().find(|row| row["request_id"] == id) {
            None => trial.lost.push(format!("{id} is gone")),
            Some(row) if !is_true(row, n, case.doubt) => trial.wrong.push(format!("{id}: {}", said(row))),
            Some(_) => {}
        }
    }
    rows
}

/// Whether a row says nothing but the truth.
pub fn is_true(row: &Row, n: usize, doubt: bool) -> bool {
    match (row["status"].as_str(), row["outcome"].as_str()) {
        ("pending", _) => true,
        ("resolved", "applied" | "satisfied") => exists(n) && row["server_id"] == format!("child-{n}"),
        ("resolved", "not-applied") => !exists(n),
        _ => doubt && row["action"] == "review",
    }
}

/// With an honest server everything is settled, and everything that was decided can be decided again.
fn recovers(case: &Case, dir: &Dir, trial: &mut Trial) {
    limited_run(dir, &["run", "--wait", "4m"], trial);
    for row in judge(case, dir, trial) {
        let settled = row["status"] == "resolved" || (case.doubt && row["status"] == "duplicate-risk");
        if !settled {
            trial.lost.push(format!("{} stays {}", row["request_id"], said(&row)));
        }
    }
    let verified = limited_run(dir, &["verify"], trial);
    if verified.code != 0 {
        trial.wrong.push(format!("{verified:?}"));
    }
}
