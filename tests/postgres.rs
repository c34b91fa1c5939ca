//! Proves that the commands do on a ledger in PostgreSQL what they do on one in a file: the same rows, verdicts and words,
//! one run at a time, and what only a server can get wrong is named with a remedy.
//!
//! Without PostgreSQL on the machine there is nothing to prove, and each says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use privo_reconcile::clock::Span;
use privo_reconcile::config::Config;
use privo_reconcile::ledger::Ledger;
use privo_reconcile::ledger::record::End;
use privo_reconcile::ledger::recorder::Attempt;
use privo_reconcile::report;
use privo_reconcile::views::{Entries, Filter};
use privo_reconcile::words::Failure;

use crate::util::cluster::{Cluster, Pooler, program, until};
use crate::util::{Dir, Entry, Platform, Ran, Setup, finish, leaks, rows};

/// A server whose crash is a kill, never a power cut, so nothing need reach the disk.
pub const FAST: &[&str] = &["fsync=off", "full_page_writes=off", "synchronous_commit=off"];

/// A folder with a configuration whose ledger is in the server.
pub fn in_database(cluster: &Cluster, setup: &Setup) -> Dir {
    let dir = Dir::without_ledger(setup);
    point_at(&dir, &format!("postgres = \"{}\"", cluster.address()));
    dir
}

/// Has the configuration of a folder name its ledger by other settings.
fn point_at(dir: &Dir, settings: &str) {
    let text = dir.read("privo-reconcile.toml").replace("path = \"ledger.db\"", settings);
    std::fs::write(dir.file("privo-reconcile.toml"), text).unwrap();
}

/// Says something to the server as its owner does, and gives what it says.
pub fn psql(cluster: &Cluster, sql: &str) -> String {
    let mut command = Command::new(program("psql").unwrap());
    let said = command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &cluster.address(), "-c", sql]);
    let said = said.env("PGCONNECT_TIMEOUT", "30").stdin(Stdio::null()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// One ledger in a file, one in PostgreSQL, and whatever is done is done to both.
struct Twins<'p> {
    platform: &'p Platform,
    cluster: &'p Cluster,
    file: Dir,
    database: Dir,
}

impl<'p> Twins<'p> {
    fn new(cluster: &'p Cluster, platform: &'p Platform) -> Twins<'p> {
        Twins::at(cluster, platform, &cluster.address())
    }

    /// Where the job reaches the server at this address.
    fn at(cluster: &'p Cluster, platform: &'p Platform, address: &str) -> Twins<'p> {
        let setup = Setup::of(platform);
        let database = Dir::without_ledger(&setup);
        point_at(&database, &format!("postgres = \"{address}\""));
        let ran = database.run(&["init"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        Twins { platform, cluster, file: Dir::new(&setup), database }
    }

    fn insert(&self, entry: &Entry) {
        self.file.insert(entry);
        psql(self.cluster, &entry.sql("privo_reconcile.entries"));
    }

    /// Sends a request that meets this fate, and writes down what the partner knows of it.
    fn attempt(&self, entry: Entry, fate: &str) {
        let (platform, sent) = (self.platform, self.platform.now() + Span::seconds(-10));
        let (id, body) = (entry.text("request_id"), entry.text("body"));
        let entry = match platform.send(&id, &entry.method(), &entry.path(), &body, fate) {
            None => entry.failure("network"),
            Some((status, _)) if status >= 500 => entry.http(status),
            Some((status, _)) => entry.answered(status),
        };
        self.insert(&entry.sent(sent).ended(platform.now()));
    }

    /// Runs a command on both, which end alike.
    fn run(&self, arguments: &[&str], code: i32) -> [Ran; 2] {
        let both = [&self.file, &self.database].map(|dir| dir.run(arguments));
        both.iter().for_each(|ran| assert_eq!(ran.code, code, "{arguments:?}: {ran:?}"));
        both
    }

    /// What the reports say: the same, but for when each job looked.
    fn same_reports(&self) -> Vec<BTreeMap<String, String>> {
        let [file, database] = self.run(&["report"], 0).map(|ran| rows(&ran.out).into_iter().map(timeless).collect());
        assert_eq!(file, database);
        file
    }
}

/// A row of a report without the times of this job's own looks.
fn timeless(mut row: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for name in ["first_checked_at", "last_checked_at", "not_before"] {
        row.remove(name);
    }
    let is_time =
        |word: &str| word.trim_matches(['(', ')', ',', ';']).len() >= 20 && word.contains('T') && word.contains(':');
    let words = |text: &str| {
        text.split(' ').map(|word| if is_time(word) { "then" } else { word }).collect::<Vec<_>>().join(" ")
    };
    row.into_iter().map(|(name, cell)| (name, words(&cell))).collect()
}

/// Every cell of the report of a ledger.
fn cells(ledger: &Ledger) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let each = |row: privo_reconcile::views::ReportRow| {
        all.push(
            ["request_id", "status", "outcome", "reason", "action", "first_checked_at", "explanation"]
                .map(|name| report::cell(&row, name))
                .to_vec(),
        );
        Ok(())
    };
    ledger.each_row(&Filter::default(), Entries::Unread, each).unwrap();
    all
}

pub fn register(platform: &Platform, id: &str) -> Entry {
    Entry::register(id, &platform.url, &format!("{id}@example.com"))
}

#[test]
fn an_outage_comes_to_the_same_in_postgresql_as_in_a_file() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::dated();
    // Where there is a pooler, the job goes through it: its transactions get whichever connection is free.
    let pooler = Pooler::start(&cluster);
    let address = pooler.as_ref().map_or_else(|| cluster.address(), Pooler::address);
    let twins = Twins::at(&cluster, &platform, &address);
    for (id, fate) in
        [("applied", "lost-after"), ("lost", "lost-before"), ("broke", "error-after"), ("gone", "error-before")]
    {
        twins.attempt(register(&platform, id), fate);
    }
    twins.attempt(register(&platform, "first").operation("retried"), "lost-before");
    let again = register(&platform, "second").body(&register(&platform, "first").text("body"));
    twins.attempt(again.operation("retried"), "plain");
    twins.insert(&register(&platform, "bad").with("sent_at", "yesterday".to_owned()));
    twins.insert(&register(&platform, "elsewhere").with("url", "https://other.example/api/v1.0/account".to_owned()));
    twins.insert(&register(&platform, "begun").failure("intent"));
    // A repeated INSERT changes nothing, whatever it says.
    twins.database.run(&["status"]);
    psql(&cluster, &register(&platform, "applied").failure("timeout").sql("privo_reconcile.entries"));
    for dir in [&twins.file, &twins.database] {
        let ran = dir.run(&["run", "--wait", "20s"]);
        assert!([0, 3, 4].contains(&ran.code), "{ran:?}");
    }
    let report = twins.same_reports();
    assert_eq!(report.len(), 8, "{report:?}");
    let reasons: Vec<&str> = report.iter().map(|row| row["reason"].as_str()).collect();
    for reason in ["present", "confirmed-absent", "bad-row", "other-environment"] {
        assert!(reasons.contains(&reason), "{reason} of {reasons:?}");
    }
    // A copy in memory tells every cell alike.
    let config = Config::load(Some(&twins.database.file("privo-reconcile.toml"))).unwrap();
    let ledger = Ledger::open(&config.ledger).unwrap();
    assert_eq!(cells(&ledger), cells(&ledger.copy_in_memory().unwrap()));
    drop(ledger);
    twins.run(&["verify"], 0);
    twins.run(&["prune", "--older-than", "0s"], 0);
    twins.same_reports();
    for dir in [&twins.file, &twins.database] {
        let forget = ["forget", "-", "--who", "Jo", "--why", "letter of 1 March", "--even-pending"];
        let ran = fed(dir, &forget, "begun@example.com\n");
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    twins.same_reports();
    twins.run(&["verify"], 0);
    assert_eq!(psql(&cluster, "SELECT count(*) FROM privo_reconcile.entries WHERE body LIKE '%begun@%'"), "0");
}

/// Gives a command this on standard input.
fn fed(dir: &Dir, arguments: &[&str], input: &str) -> Ran {
    let mut child = dir.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    finish(child)
}

#[test]
fn every_command_does_the_same_with_a_ledger_in_postgresql() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let twins = Twins::new(&cluster, &platform);
    let (url, sent) = (format!("{}/api/v1.0/account", platform.url), platform.now() - Span::seconds(600));
    let begin = |id: &str| {
        format!(r#"{{"request_id":"{id}","method":"POST","url":"{url}","body":{{"email":"{id}@a.example"}}}}"#)
    };
    let csv = format!(
        "request_id,method,url,body,sent_at,failure\nr1,POST,{url},\"{{\"\"email\"\":\"\"r1@a.example\"\"}}\",{sent},timeout\n\
         r2,POST,{url},\"{{\"\"email\"\":\"\"r2@a.example\"\"}}\",{sent},timeout\n"
    );
    twins.insert(&register(&platform, "far").with("url", "https://other.example/api/v1.0/account".to_owned()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for dir in [&twins.file, &twins.database] {
        leaks::note(&csv);
        std::fs::write(dir.file("failed.csv"), &csv).unwrap();
        for id in ["begun", "ended"] {
            assert_eq!(fed(dir, &["record", "begin"], &begin(id)).code, 0);
        }
        let ended = fed(dir, &["record", "end", "ended"], r#"{"failure":"timeout"}"#);
        assert_eq!(ended.code, 0, "{ended:?}");
        let lines =
            format!("{{\"begin\":{}}}\n{{\"end\":{{\"request_id\":\"line\",\"answered\":201}}}}\n", begin("line"));
        let answers = fed(dir, &["record", "--stdin"], &lines).out;
        assert!(answers.contains("recorded") && answers.contains("forgotten"), "{answers}");
        let recorder = dir.recorder();
        let body = r#"{"email":"layer@a.example"}"#;
        let attempt = Attempt::new("POST", &url).id("layer").body(body).sent_at(sent);
        let timeout = End::Failed { failure: Failure::Timeout, http_status: None, error: None };
        runtime.block_on(recorder.record(&attempt, &timeout)).unwrap();
    }
    for again in ["2 imported", "0 imported"] {
        let [file, database] = twins.run(&["import", "--json", "failed.csv"], 0);
        let counts = |ran: &Ran| serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["imported"].clone();
        assert_eq!(counts(&file), counts(&database), "{again}");
    }
    twins.run(&["run", "--dry-run"], 4);
    let [file, database] = [&twins.file, &twins.database].map(|dir| dir.run(&["run", "--wait", "20s"]).code);
    assert_eq!(file, database);
    assert_eq!(twins.same_reports().len(), 6);
    for arguments in [&["status"][..], &["health", "--within", "1h"], &["show", "r1"], &["resend"], &["verify"]] {
        twins.run(arguments, 0);
    }
    twins.run(&["close", "far", "--outcome", "applied", "--who", "Jo", "--why", "seen at PRIVO"], 0);
    twins.same_reports();
    let [_, database] = twins.run(&["prune", "--older-than", "0s"], 0);
    assert!(database.err.contains("VACUUM"), "{database:?}");
    twins.same_reports();
}

#[test]
fn a_server_that_dies_ends_a_run_with_1_and_loses_nothing() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let platform = Platform::start();
    let dir = in_database(&cluster, &Setup::of(&platform).windows(&[("network", "1h"), ("confirm_after", "1s")]));
    assert_eq!(dir.run(&["init"]).code, 0);
    let entry = register(&platform, "a");
    leaks::note(&entry.text("body"));
    psql(&cluster, &entry.sql("privo_reconcile.entries"));
    let running = dir.command(&["run", "--wait", "2h"]).spawn().unwrap();
    let states = "SELECT count(*) FROM privo_reconcile.state WHERE checks > 0";
    until(|| psql(&cluster, states) == "1");
    cluster.crash();
    let ran = finish(running);
    assert!(ran.code == 1 && ran.err.contains("nothing is lost"), "{ran:?}");
    cluster.run();
    // Its lease ends by itself: nobody waits for it here.
    psql(&cluster, "UPDATE privo_reconcile.lease SET until_ms = 0");
    dir.runs(4);
    assert_eq!(dir.run(&["verify"]).code, 0);
    assert_eq!(psql(&cluster, states), "1");
}

/// The clock that stamps rows is the database's, and the job decides by it: here it is an hour behind this host's, and so are
/// the writers', who keep its time.
#[test]
fn a_record_is_as_old_as_the_databases_clock_says() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::dated();
    let dir = in_database(&cluster, &Setup::of(&platform).windows(&[("network", "30m")]));
    assert_eq!(dir.run(&["init"]).code, 0);
    psql(
        &cluster,
        "CREATE OR REPLACE FUNCTION privo_reconcile.now_ms() RETURNS bigint LANGUAGE sql
           SET search_path = pg_catalog, pg_temp
           AS 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 3600000'",
    );
    let entry = register(&platform, "ann");
    leaks::note(&entry.text("body"));
    let (sent, hour) = (platform.now() - Span::seconds(10), Span::seconds(3600));
    assert!(platform.send("ann", &entry.method(), &entry.path(), &entry.text("body"), "lost-after").is_none());
    let entry = entry.failure("network").sent(sent - hour).ended(platform.now() - hour);
    psql(&cluster, &entry.sql("privo_reconcile.entries"));
    dir.runs(0);
    assert_eq!(dir.says("ann"), "resolved applied created store-id");
    let ran = dir.run(&["check"]);
    assert!(ran.out.contains("off this host's"), "{ran:?}");
}

#[test]
fn one_run_at_a_time_has_a_ledger_in_postgresql() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let dir = in_database(&cluster, &Setup::of(&platform).windows(&[("network", "1h"), ("confirm_after", "1s")]));
    assert_eq!(dir.run(&["init"]).code, 0);
    let config = Config::load(Some(&dir.file("privo-reconcile.toml"))).unwrap();
    let held = Ledger::open_locked(&config.ledger).unwrap();
    let ran = dir.run(&["run"]);
    assert!(ran.code == 11 && ran.err.contains("another run"), "{ran:?}");
    // Writers and readers go on.
    psql(&cluster, &register(&platform, "a").sql("privo_reconcile.entries"));
    assert_eq!(dir.run(&["status"]).code, 0);
    drop(held);
    // One that was cut off and lost the ledger meanwhile writes nothing more.
    leaks::note(&register(&platform, "a").text("body"));
    let running = dir.command(&["run", "--wait", "2h"]).spawn().unwrap();
    let states = "SELECT count(*) FROM privo_reconcile.state WHERE NOT unread";
    until(|| psql(&cluster, states) == "1");
    psql(
        &cluster,
        "UPDATE privo_reconcile.lease SET epoch = epoch + 1, token = gen_random_uuid(), holder = 'the other host'",
    );
    psql(&cluster, &register(&platform, "b").sql("privo_reconcile.entries"));
    let ran = finish(running);
    assert!(ran.code == 11 && ran.err.contains("taken over"), "{ran:?}");
    assert_eq!(psql(&cluster, states), "1");
}

#[test]
fn what_a_server_can_get_wrong_is_named_with_a_remedy() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let dir = in_database(&cluster, &Setup::of(&platform));
    let ran = dir.run(&["run"]);
    assert!(ran.code == 2 && ran.err.contains("there is no ledger") && ran.err.contains("init"), "{ran:?}");
    let ran = dir.run(&["init", "--print"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, include_str!("../schema.postgres.sql")));
    psql(&cluster, &ran.out);
    assert_eq!(dir.run(&["init"]).code, 0, "what an administrator made is taken");
    let ran = dir.run(&["check"]);
    assert!(ran.code != 0 && ran.out.contains("fsync is off") && ran.out.contains("set fsync = on"), "{ran:?}");
    let ran = dir.run(&["backup", "copy.db"]);
    assert!(ran.code == 2 && ran.err.contains("pg_dump --schema=privo_reconcile"), "{ran:?}");
    let (path, address) = ("path = \"ledger.db\"", format!("postgres = \"{}\"", cluster.address()));
    for (settings, said) in [
        (format!("{path}\n{address}"), "needs one of path and postgres"),
        (format!("{path}\nschema = \"other\""), "are for a ledger in PostgreSQL"),
        (address.replace("owner@", "owner:hush@"), "it holds a password"),
        (format!("{address}\npassword = {{ env = \"LEDGER_PASSWORD\" }}"), "LEDGER_PASSWORD is not set"),
        (format!("{address}\nschema = \"nowhere\""), "there is no ledger"),
        ("postgres = \"postgresql://job@db.example/d?sslmode=disable\"".to_owned(), "in the open"),
    ] {
        let dir = Dir::without_ledger(&Setup::of(&platform));
        point_at(&dir, &settings);
        let ran = dir.run(&["status"]);
        assert!(ran.code == 2 && ran.err.contains(said), "{settings}: {ran:?}");
        assert!(!ran.err.contains("hush"), "{ran:?}");
    }
}

#[test]
fn the_demo_is_played_in_postgresql_and_never_over_what_is_there() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let play = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privo-reconcile"));
        command.args(["demo", "--registrations", "100", "--postgres", &cluster.address()]);
        let child = command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        finish(child.unwrap())
    };
    let ran = play();
    assert!(ran.code == 0 && ran.out.contains(" 0 wrong, 0 undecided"), "{ran:?}");
    let entries = "SELECT count(*) > 10 FROM privo_reconcile_demo.entries";
    assert_eq!(psql(&cluster, entries), "t");
    let ran = play();
    assert!(ran.code == 2 && ran.err.contains("DROP SCHEMA privo_reconcile_demo CASCADE"), "{ran:?}");
}

#[test]
fn times_may_be_as_postgresql_writes_them() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::dated();
    let dir = in_database(&cluster, &Setup::of(&platform));
    assert_eq!(dir.run(&["init"]).code, 0);
    for zone in ["UTC", "Asia/Kolkata", "America/New_York"] {
        psql(
            &cluster,
            &format!(
                "SET TimeZone = '{zone}';
                 INSERT INTO privo_reconcile.entries (request_id, method, url, sent_at, ended_at, failure)
                 VALUES ('{zone}', 'GET', '{}', '2026-03-01 12:00:00.25+00'::timestamptz::text, clock_timestamp()::text, 'timeout')",
                platform.url
            ),
        );
    }
    assert_eq!(dir.run(&["run"]).code, 0);
    for row in dir.report() {
        assert_eq!((row["reason"].as_str(), row["sent_at"].as_str()), ("no-effect", "2026-03-01T12:00:00.250Z"));
    }
    assert_eq!(dir.report().len(), 3);
}
