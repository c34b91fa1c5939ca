//! How many requests a verdict takes, and how long it is waited for: the real `run` in virtual time, against the sandbox.
//!
//! ```text
//! cargo run --release --example requests
//! cargo run --release --example requests -- --entries 50000
//! cargo run --release --example requests -- --server limited       # or flapping: how the pace gets on with it
//! ```
//!
//! An outage of ten minutes leaves so many registrations in doubt. The job runs every 15 minutes, at 5 requests a second, until
//! the watch over every verdict is over. Of those that a 5xx left unapplied, engineers repair one in twenty within a day. Ends
//! with 1 when a verdict is wrong, or what was repaired was found later than its age had doubled, but for the timer.

#[path = "campaign/simulation/time.rs"]
mod time;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::Parser;
use fastrand::Rng;
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::http::{Broken, Exchange, Outgoing, Transport};
use privo_reconcile::ledger::{Ledger, NewEntry};
use privo_reconcile::lookup::Lookups;
use privo_reconcile::plan::search::Answer;
use privo_reconcile::run::halt::Halt;
use privo_reconcile::run::{Options, run_over};
use privo_reconcile::sandbox::{CAUSE_HEADER, FATE_HEADER, Faults, Partner, Request, World};
use privo_reconcile::views::{Entries, Filter};
use privo_reconcile::words::{Direction, Failure, Outcome};
use secrecy::ExposeSecret;
use tokio::time::{Duration, sleep};
use url::form_urlencoded;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The job is started so often.
const TIMER: i64 = 15 * MINUTE;

/// The key of the control.
const CANARY: &str = "canary@control.example";

#[derive(Parser)]
#[command(about = "Requests for each verdict, and the time until it")]
struct Arguments {
    /// Entries in doubt after the outage.
    #[arg(long, default_value_t = 2000)]
    entries: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the server answers reads: well, limited (429 to more than two a second) or flapping (down 40 of every 97 seconds).
    #[arg(long, default_value = "well")]
    server: String,
}

/// How the server answers reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Limited,
    Flapping,
}

impl Health {
    fn parse(text: &str) -> Result<Health> {
        Ok(match text {
            "well" => Health::Well,
            "limited" => Health::Limited,
            "flapping" => Health::Flapping,
            other => anyhow::bail!("no such server: {other} (write well, limited or flapping)"),
        })
    }
}

/// One outage.
#[derive(Clone, Copy)]
struct Outage {
    name: &'static str,
    entries: usize,
    server_error: bool,
    /// Of so many, one was applied.
    one_in: u32,
    health: Health,
}

fn main() -> Result<ExitCode> {
    let Arguments { entries, seed, server } = Arguments::parse();
    let health = Health::parse(&server)?;
    let outage = |name, server_error, one_in| Outage { name, entries, server_error, one_in, health };
    println!(
        "A server that is {server}, {entries} entries, 5 requests a second, a run every 15 minutes, seed {seed}; requests per entry:\n"
    );
    println!(
        "| outage | first look | early | confirming | watch | second step | controls | token | all | verdict after, p50 | p99 | wrong | late |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut good = true;
    for outage in [
        outage("timeouts, half applied", false, 2),
        outage("timeouts, a tenth applied", false, 10),
        outage("5xx, half applied", true, 2),
        outage("5xx, a tenth applied", true, 10),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let figures = runtime.block_on(Play::of(outage, seed)?.played_out())?;
        figures.print(outage);
        good &= figures.wrong == 0 && (figures.late == 0 || health != Health::Well);
        if health != Health::Well {
            println!(
                "\nanswered 429: {}, 5xx: {}; all were looked at once after {}",
                figures.refused, figures.failed, figures.looked
            );
            break;
        }
    }
    Ok(ExitCode::from(u8::from(!good)))
}

/// What kind of request it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    First,
    Early,
    Confirming,
    Watch,
    SecondStep,
    Control,
    Token,
}

/// An entry, as the wire sees it.
#[derive(Default)]
struct Seen {
    /// Its window is over then.
    settled: i64,
    looks: u32,
    looks_settled: u32,
}

/// The server, and what was asked of it.
struct Server {
    world: RefCell<World>,
    entries: RefCell<HashMap<String, Seen>>,
    canary: String,
    counts: RefCell<BTreeMap<Kind, u64>>,
    health: Health,
    /// When the latest requests came, and how many were answered 429 and 5xx.
    latest: RefCell<VecDeque<i64>>,
    refused: Cell<u64>,
    failed: Cell<u64>,
    /// When the last entry was looked at for the first time.
    looked: Cell<i64>,
}

impl Server {
    fn count(&self, request: &Request, for_token: bool) {
        let kind = if for_token { Kind::Token } else { self.kind(&request.path_and_query) };
        *self.counts.borrow_mut().entry(kind).or_default() += 1;
    }

    /// The status of a server that is not well.
    fn unwell(&self) -> Option<u16> {
        let now = time::true_ms();
        match self.health {
            Health::Well => None,
            Health::Flapping => (now / 1000 % 97 < 40).then(|| {
                self.failed.set(self.failed.get() + 1);
                503
            }),
            Health::Limited => {
                let mut latest = self.latest.borrow_mut();
                while latest.front().is_some_and(|at| *at <= now - 1000) {
                    latest.pop_front();
                }
                if latest.len() >= 2 {
                    self.refused.set(self.refused.get() + 1);
                    return Some(429);
                }
                latest.push_back(now);
                None
            }
        }
    }

    fn kind(&self, path_and_query: &str) -> Kind {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let value = form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned());
        let value = value.unwrap_or_default();
        if path == "/userinfo" {
            return if value == self.canary { Kind::Control } else { Kind::SecondStep };
        }
        let mut entries = self.entries.borrow_mut();
        let Some(seen) = entries.get_mut(&value) else { return Kind::Control };
        seen.looks += 1;
        let settled = time::true_ms() > seen.settled;
        seen.looks_settled += u32::from(settled);
        if seen.looks == 1 {
            self.looked.set(time::true_ms());
        }
        match (settled, seen.looks) {
            (_, 1) => Kind::First,
            (false, _) => Kind::Early,
            (true, _) if seen.looks_settled <= 2 => Kind::Confirming,
            (true, _) => Kind::Watch,
        }
    }
}

/// One client of the server.
struct Net {
    server: Rc<Server>,
    prefix: &'static str,
}

impl Transport for Net {
    async fn send(&self, outgoing: &Outgoing<'_>) -> Result<Exchange, Broken> {
        let authorization = outgoing.token.map(|token| format!("Bearer {}", token.expose_secret()));
        let body =
            outgoing.form.map(|form| form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish());
        let request = Request {
            method: outgoing.method.to_owned(),
            path_and_query: format!("{}{}", self.prefix, outgoing.path_and_query),
            headers: authorization.map(|value| ("authorization".to_owned(), value)).into_iter().collect(),
            body: body.unwrap_or_default().into_bytes(),
        };
        if let Some(status) = self.server.unwell() {
            sleep(Duration::from_millis(20)).await;
            let answer = Answer { status, ..Answer::default() };
            return Ok(Exchange { answer, retry_after: (status == 429).then_some(Span::seconds(1)) });
        }
        self.server.count(&request, outgoing.form.is_some());
        let reply = self.server.world.borrow_mut().answer(time::true_ms(), &request);
        sleep(Duration::from_millis(80)).await;
        let header =
            |name: &str| reply.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
        let date = header("date").and_then(|text| Moment::parse_http_date(&text, Moment(time::BEGINNING)));
        let answer = Answer {
            status: reply.status,
            content_type: header("content-type"),
            date,
            body: reply.body.clone(),
            ..Answer::default()
        };
        Ok(Exchange { answer, retry_after: None })
    }
}

/// A registration that ended in doubt.
struct Entry {
    ended: i64,
    applied: bool,
    /// When an engineer applies it.
    repaired: Option<i64>,
}

/// What came of an outage.
#[derive(Default)]
struct Figures {
    counts: BTreeMap<Kind, u64>,
    /// From the end of the request to its last verdict, in milliseconds.
    waits: Vec<i64>,
    wrong: usize,
    late: usize,
    refused: u64,
    failed: u64,
    looked: Span,
}

impl Figures {
    fn print(&self, outage: Outage) {
        let per = |count: u64| count as f64 / outage.entries as f64;
        let of = |kind| per(self.counts.get(&kind).copied().unwrap_or(0));
        let all = per(self.counts.values().sum());
        let [first, early, confirming, watch, second, controls, token] =
            [Kind::First, Kind::Early, Kind::Confirming, Kind::Watch, Kind::SecondStep, Kind::Control, Kind::Token]
                .map(of);
        let at = |share: usize| Span(self.waits[(self.waits.len() - 1) * share / 100] / MINUTE * MINUTE);
        println!(
            "| {} | {first:.2} | {early:.2} | {confirming:.2} | {watch:.2} | {second:.2} | {controls:.3} | {token:.3} | **{all:.2}** | {} | {} | {} | {} |",
            outage.name,
            at(50),
            at(99),
            self.wrong,
            self.late
        );
    }
}

struct Play {
    outage: Outage,
    rng: Rng,
    server: Rc<Server>,
    config: Config,
    ledger: Ledger,
    _folder: tempfile::TempDir,
    entries: BTreeMap<String, Entry>,
}

const BASE: &str = "http://sandbox.example";

impl Play {
    fn of(outage: Outage, seed: u64) -> Result<Play> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("secret"), "s3cret\n")?;
        let text = format!(
            "plan = \"privo-gateway\"\n[ledger]\npath = \"ledger.db\"\n[server]\nbase_url = \"{BASE}\"\n\
             [auth]\ntoken_url = \"{BASE}/oauth/token\"\nclient_id = {{ value = \"partner\" }}\n\
             client_secret = {{ file = \"secret\" }}\n[[control]]\nlookup = \"account-by-email\"\nkey = \"{CANARY}\"\n"
        );
        let config = Config::parse(&folder.path().join("privo-reconcile.toml"), &text)?;
        Ledger::create(&config.ledger)?;
        let ledger = Ledger::open(&config.ledger)?;
        let partner =
            Partner { client_id: "partner".to_owned(), client_secret: "s3cret".to_owned(), service: "acme".to_owned() };
        let faults = Faults { shows_created_at: true, ..Faults::default() };
        let mut world = World::new(seed, faults, partner);
        let canary = world.seed_canary(time::BEGINNING - DAY, CANARY).map_err(anyhow::Error::msg)?;
        let server = Rc::new(Server {
            world: RefCell::new(world),
            entries: RefCell::default(),
            canary,
            counts: RefCell::default(),
            health: outage.health,
            latest: RefCell::default(),
            refused: Cell::default(),
            failed: Cell::default(),
            looked: Cell::default(),
        });
        let rng = Rng::with_seed(seed);
        Ok(Play { outage, rng, server, config, ledger, _folder: folder, entries: BTreeMap::new() })
    }

    async fn played_out(mut self) -> Result<Figures> {
        time::begin();
        // The host's clock is right.
        time::set_offset(0);
        fastrand::seed(7);
        self.break_down().await?;
        let mut repairs: Vec<(i64, String)> =
            self.entries.iter().filter_map(|(id, entry)| Some((entry.repaired?, id.clone()))).collect();
        repairs.sort();
        let mut repairs = repairs.into_iter().peekable();
        let mut start = time::BEGINNING + TIMER;
        loop {
            while let Some((at, id)) = repairs.next_if(|(at, _)| *at <= start) {
                time::until(at).await;
                self.server.world.borrow_mut().repair(at, &id);
            }
            time::until(start).await;
            self.run().await?;
            let now = time::true_ms();
            if repairs.peek().is_none() && self.is_over()? {
                return self.judge();
            }
            // Under a timer a run that is still on is not started twice.
            start = (now / TIMER + 1) * TIMER;
        }
    }

    /// Ten minutes in which every answer is lost.
    async fn break_down(&mut self) -> Result<()> {
        let mut token = self.token();
        let mut rows = Vec::new();
        for number in 0..self.outage.entries {
            let sent = time::BEGINNING + 10 * MINUTE * number as i64 / self.outage.entries as i64;
            time::until(sent).await;
            // A token does not last for the whole outage.
            if number % 100 == 0 {
                token = self.token();
            }
            let (id, email) = (format!("r{number}"), format!("person{number}@mail.example"));
            let applied = self.rng.u32(..self.outage.one_in) == 0;
            let fate = match (self.outage.server_error, applied) {
                (false, true) => "lost-after",
                (false, false) => "lost-before",
                (true, true) => "error-after",
                (true, false) => "error-before",
            };
            let body = format!(r#"{{"email":"{email}","first_name":"Ann","birth_date_yyyymmdd":"19900102"}}"#);
            let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let request = Request {
                method: "POST".to_owned(),
                path_and_query: "/api/v1.0/account".to_owned(),
                headers: vec![
                    header("authorization", &format!("Bearer {token}")),
                    header(CAUSE_HEADER, &id),
                    header(FATE_HEADER, fate),
                ],
                body: body.clone().into_bytes(),
            };
            self.server.world.borrow_mut().answer(time::true_ms(), &request);
            let ended = sent + if self.outage.server_error { 200 } else { 10_000 };
            let windows = &self.config.windows;
            let window = if self.outage.server_error { windows.server_error } else { windows.network };
            let seen = Seen { settled: ended + window.0, ..Seen::default() };
            self.server.entries.borrow_mut().insert(email, seen);
            let repaired = self.outage.server_error && !applied && self.rng.u32(..20) == 0;
            let repaired = repaired.then(|| ended + self.rng.i64(10 * MINUTE..window.0 - MINUTE));
            rows.push((id.clone(), body, sent, ended));
            self.entries.insert(id, Entry { ended, applied, repaired });
        }
        let url = format!("{BASE}/api/v1.0/account");
        let (failure, http_status) =
            if self.outage.server_error { (Failure::Http, Some(503)) } else { (Failure::Timeout, None) };
        let mut entries = Vec::with_capacity(rows.len());
        for (id, body, sent, ended) in &rows {
            entries.push(NewEntry {
                request_id: id,
                operation_id: None,
                direction: Direction::Outbound,
                method: "POST",
                url: &url,
                body: Some(body),
                sent_at: Moment(*sent),
                ended_at: Some(Moment(*ended)),
                failure,
                http_status,
                error: None,
            });
        }
        self.ledger.record(&entries)
    }

    fn token(&self) -> String {
        let request = Request {
            method: "POST".to_owned(),
            path_and_query: "/oauth/token".to_owned(),
            headers: Vec::new(),
            body: b"grant_type=client_credentials&client_id=partner&client_secret=s3cret".to_vec(),
        };
        let reply = self.server.world.borrow_mut().answer(time::true_ms(), &request);
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        answer["access_token"].as_str().unwrap_or_default().to_owned()
    }

    async fn run(&mut self) -> Result<()> {
        let net = |prefix| Net { server: Rc::clone(&self.server), prefix };
        let lookups = Lookups::over(&self.config, net(""), Some(net("/oauth/token")), time::host_now)?;
        let options = Options::default();
        run_over(&lookups, &self.config, &mut self.ledger, &options, &mut (), time::host_now, Halt::never()).await?;
        Ok(())
    }

    /// Nothing will be looked at any more.
    fn is_over(&self) -> Result<bool> {
        Ok(self.ledger.count_due(Moment(i64::MAX))? == 0)
    }

    fn judge(self) -> Result<Figures> {
        let mut figures = Figures {
            counts: self.server.counts.borrow().clone(),
            refused: self.server.refused.get(),
            failed: self.server.failed.get(),
            looked: Span((self.server.looked.get() - time::BEGINNING) / 1000 * 1000),
            ..Figures::default()
        };
        let entries = &self.entries;
        self.ledger.each_row(&Filter::default(), Entries::Unread, |row| {
            let entry = entries.get(&row.request_id).context("a row that nobody wrote")?;
            let there = entry.applied || entry.repaired.is_some();
            let said = matches!(row.outcome, Some(Outcome::Applied | Outcome::Satisfied));
            if said != there || row.outcome.is_none() {
                figures.wrong += 1;
                eprintln!("wrong: {} {:?} {:?}: {:?}", row.request_id, row.outcome, row.reason, row.explanation);
            }
            let decided = row.decided.map_or(i64::MAX, |decided| decided.0);
            figures.waits.push(decided - entry.ended);
            // Found by the time at which it was twice as old, or with what confirms an absence; and the run itself takes a while.
            if let Some(repaired) = entry.repaired {
                let doubled = entry.ended + 2 * (repaired - entry.ended).max(HOUR);
                figures.late += usize::from(decided > doubled.max(repaired) + 2 * TIMER + entries.len() as i64 * 600);
            }
            Ok(())
        })?;
        figures.waits.sort_unstable();
        Ok(figures)
    }
}
