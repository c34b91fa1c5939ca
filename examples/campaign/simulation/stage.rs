//! One world on stage: its server, its ledger, its operations, and what is still to happen.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use fastrand::Rng;
use privo_reconcile::clock::Span;
use privo_reconcile::config::Config;
use privo_reconcile::ledger::{Ledger, WrittenRow};
use privo_reconcile::sandbox::{Account, CAUSE_HEADER, FATE_HEADER, NewAccount, Partner, Reply, Request, World};
use privo_reconcile::store::sqlite::Simulated;
use privo_reconcile::words::{Action, Outcome, Reason, Status};
use serde_json::{Value, json};

use super::fixtures::Seeded;
use super::net::{Mode, Server};
use super::ops::{Op, SERVICE};
use super::partner::{How, Removal};
use super::plot::TABLES;
use super::resender::{Resenders, Sending, Shown};
use super::story::Story;
use super::time;
use super::twist::Twist;

/// Where the simulated server is.
pub const BASE: &str = "https://sim.privo.example";

/// Something that will happen at a true time.
#[derive(Debug)]
pub enum Event {
    /// The client sends an operation; so many retries are left to it.
    Send(usize, u32),
    /// A client that wrote an intent sends it at last.
    Deliver(usize, usize, u32),
    /// A row is inserted: of this operation and attempt.
    Record(usize, usize, Box<WrittenRow>),
    /// News of an intent.
    News(Box<WrittenRow>),
    /// An engineer applies by hand what a request asked for.
    Repair(String),
    /// Another system makes an account.
    Foreign(Box<NewAccount>),
    /// A person removes what an operation made.
    RemoveMadeBy(usize),
    /// A person removes an account.
    Remove(String),
    /// A person removes the account that this cause put in.
    RemoveCausedBy(String),
    /// A person removes the owner of what an operation makes.
    RemoveOwner(usize),
    /// A person removes the account under this eid.
    RemoveUnder(String),
    /// The partner follows an advice to send again.
    Resend(usize, How),
    /// The partner deletes what an operation made, or its owner.
    Delete(usize, Removal),
    /// A writer takes an intent away that went well.
    Withdraw(usize, Box<WrittenRow>),
    /// A granter decides.
    Decide(String, &'static str),
    /// The faults of reads end.
    Heal,
    /// A tool of the partner's makes the table `entries` anew, in one of these ways.
    Rebuild(usize),
    /// A person approves what was shown.
    Approve(Vec<Shown>),
    /// A resender asks for a permit, in this call.
    Ask(usize),
    /// It sends what it was permitted.
    SendPermitted(Box<Sending>),
    /// It says how that ended.
    EndPermitted(Box<WrittenRow>, usize),
}

/// What a run said of one entry.
#[derive(Clone, Debug)]
pub struct Listed {
    pub op: usize,
    pub request_id: String,
    /// The run's beginning and end, by the true clock.
    pub from: i64,
    pub to: i64,
    pub status: Status,
    pub outcome: Option<Outcome>,
    pub reason: Option<Reason>,
    pub action: Option<Action>,
    pub server_id: Option<String>,
    pub explanation: String,
    pub correction: bool,
    /// Rows that came into the ledger until then could be known.
    pub knew: i64,
    /// When the report says that it was looked at last, by the job's clock.
    pub last_checked: Option<i64>,
    /// When its verdict was given, by the job's clock.
    pub decided: Option<i64>,
}

/// What one report said of all entries, and when.
pub struct Report {
    pub at: i64,
    /// A run has just ended.
    pub after_run: bool,
    pub rows: Vec<Listed>,
}

pub struct Stage {
    pub story: Story,
    pub rng: Rng,
    /// For the twists alone.
    pub wide: Rng,
    pub server: Rc<Server>,
    pub ledger: Ledger,
    /// Where others have it open, too.
    pub beside: Option<Simulated>,
    pub ops: Vec<Op>,
    /// Request id to operation.
    pub of_request: BTreeMap<String, usize>,
    /// When each row came into the ledger, by the true clock.
    pub recorded_at: BTreeMap<String, i64>,
    pub events: BTreeMap<(i64, u64), Event>,
    pub listed: Vec<Listed>,
    /// Reports before and after each run, in worlds with twists.
    pub reports: Vec<Report>,
    /// When the last run began.
    pub last_run: i64,
    /// Since then the server as a whole, and the job's configuration, can be believed.
    pub mended_from: i64,
    pub configs: Rc<Configs>,
    /// Rows that are in the ledger and are no answers.
    pub in_doubt: BTreeSet<String>,
    /// Rows of reports that were answered, and are to have none.
    pub answered_rows: BTreeSet<String>,
    pub resenders: Resenders,
    /// After each run, what was settled so long ago is pruned.
    pub keeps: Option<Span>,
    /// So many entries were.
    pub pruned: u64,
    pub token: Option<(i64, String)>,
    /// The readable story, when it is asked for.
    pub lines: Option<Vec<String>>,
    numbered: u64,
}

/// The configurations that the job may run with.
pub struct Configs {
    pub good: Config,
    /// Without controls, or with a wrong one.
    pub bad: Config,
}

impl Stage {
    pub fn new(story: Story, (rng, wide): (Rng, Rng), secrets: &Path, tell: bool) -> Result<(Stage, Vec<Seeded>)> {
        let partner = Partner {
            client_id: "partner".to_owned(),
            client_secret: "s3cret".to_owned(),
            service: SERVICE.to_owned(),
        };
        let faults = story.faults();
        let server = Rc::new(Server {
            world: RefCell::new(World::new(story.seed, faults, partner)),
            mode: Cell::new(Mode::Honest),
            step: Cell::new(None),
            canaries: RefCell::default(),
            requests: Cell::new(0),
            tokens: Cell::new(0),
            controls: Cell::new(0),
        });
        let beside = match story.has(Twist::Permits) {
            true => Some(Simulated::new(story.seed, &format!("{}-{}", story.seed, unique()), time::host_now)?),
            false => None,
        };
        let ledger = match &beside {
            Some(beside) => Ledger::simulated_for_several(beside)?,
            None => Ledger::simulated(story.seed, time::host_now),
        };
        let (keys, seeded) = seed(&server, &story)?;
        let configs = Rc::new(Configs::of(&story, &keys, secrets)?);
        let stage = Stage {
            story,
            rng,
            wide,
            server,
            ledger,
            beside,
            ops: Vec::new(),
            of_request: BTreeMap::new(),
            recorded_at: BTreeMap::new(),
            events: BTreeMap::new(),
            listed: Vec::new(),
            reports: Vec::new(),
            last_run: time::BEGINNING,
            mended_from: i64::MAX,
            configs,
            in_doubt: BTreeSet::new(),
            answered_rows: BTreeSet::new(),
            resenders: Resenders::default(),
            keeps: None,
            pruned: 0,
            token: None,
            lines: tell.then(Vec::new),
            numbered: 0,
        };
        Ok((stage, seeded))
    }

    /// Plans something for a true time.
    pub fn at(&mut self, ms: i64, event: Event) {
        self.numbered += 1;
        self.events.insert((ms, self.numbered), event);
    }

    /// Adds a line to the readable story.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let now = privo_reconcile::clock::Moment(time::true_ms());
            lines.push(format!("{now} {}", line()));
        }
    }

    /// Lets everything happen that is due until then, in its order.
    pub async fn pass_until(&mut self, ms: i64) -> Result<()> {
        while let Some(entry) = self.events.first_entry() {
            let (due, _) = *entry.key();
            if due > ms {
                break;
            }
            let event = entry.remove();
            time::until(due).await;
            match event {
                Event::Ask(call) => self.ask(call).await?,
                event => self.happen(event)?,
            }
        }
        time::until(ms).await;
        Ok(())
    }

    /// What comes of something while the job works at the same time; gives that.
    pub async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let next = self.events.first_key_value().map_or(i64::MAX, |((at, _), _)| *at);
            tokio::select! {
                biased;
                done = work.as_mut() => return Ok(done),
                () = time::until(next), if next < i64::MAX => if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event)?;
                },
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        let now = time::true_ms();
        match event {
            // Another one has the lock.
            Event::Ask(call) => self.at(now + 100, Event::Ask(call)),
            Event::Rebuild(way) => {
                self.note(|| format!("a migration makes the table `entries` anew: {way}"));
                if let Some(beside) = &self.beside {
                    beside.rebuild_entries(TABLES[way])?;
                }
            }
            Event::Approve(shown) => self.approve(&shown)?,
            Event::SendPermitted(sending) => self.send_permitted(*sending)?,
            Event::EndPermitted(row, call) => self.end_permitted(&row, call)?,
            Event::Send(op, left) => self.send(op, left)?,
            Event::Deliver(op, attempt, left) => self.deliver_intent(op, attempt, left)?,
            Event::Record(op, attempt, row) => self.record(op, attempt, &row)?,
            Event::News(row) => {
                self.note(|| format!("news of {}: {:?} {:?}", row.request_id, row.failure, row.http_status));
                self.write_news(&row)?;
            }
            Event::Repair(cause) => {
                let repair = self.server.world.borrow_mut().repair(now, &cause);
                self.note(|| format!("repair of {cause}: {repair:?}"));
            }
            Event::Foreign(account) => {
                self.note(|| format!("another system makes {account:?}"));
                // A conflict means that nothing is made.
                let _ = self.server.world.borrow_mut().add_account(now, *account);
            }
            Event::RemoveMadeBy(op) => {
                let causes: Vec<&str> = self.ops[op].attempts.iter().map(|a| a.request_id.as_str()).collect();
                let mut world = self.server.world.borrow_mut();
                let made = |a: &&Account| a.deleted_ms.is_none() && causes.contains(&a.cause.as_str());
                let sid = world.accounts().iter().rfind(made).map(|account| account.service_id.clone());
                if let Some(sid) = sid {
                    world.remove(now, &sid);
                    drop(world);
                    self.note(|| format!("a person removes {sid}"));
                }
            }
            Event::Remove(sid) => {
                self.server.world.borrow_mut().remove(now, &sid);
                self.note(|| format!("a person removes {sid}"));
            }
            Event::RemoveCausedBy(cause) => self.remove_where(|account| account.cause == cause),
            Event::RemoveOwner(op) => {
                let owner = self.ops[op].owner.clone();
                self.remove_where(|account| account.details.email.is_some() && account.details.email == owner);
            }
            Event::RemoveUnder(eid) => self.remove_where(|account| account.details.eid.as_ref() == Some(&eid)),
            Event::Resend(op, how) => self.resend(op, how)?,
            Event::Delete(op, removal) => self.delete_made(op, removal)?,
            Event::Withdraw(op, row) => self.withdraw(op, &row)?,
            Event::Decide(consent, state) => {
                self.server.world.borrow_mut().decide_consent(now, &consent, state);
            }
            Event::Heal => {
                let healed = self.story.faults();
                self.server.world.borrow_mut().set_faults(healed);
            }
        }
        Ok(())
    }

    fn remove_where(&mut self, matches: impl Fn(&Account) -> bool) {
        let mut world = self.server.world.borrow_mut();
        let found = world.accounts().iter().rfind(|account| account.deleted_ms.is_none() && matches(account));
        if let Some(sid) = found.map(|account| account.service_id.clone()) {
            world.remove(time::true_ms(), &sid);
            drop(world);
            self.note(|| format!("a person removes {sid}"));
        }
    }

    /// The ledger once more, for who works while others write.
    ///
    /// # Errors
    /// When it is for one only.
    pub fn opened_again(&self) -> Result<Ledger> {
        Ledger::simulated_for_several(self.beside.as_ref().context("nobody else has this ledger")?)
    }

    /// News of an intent.
    pub fn write_news(&mut self, row: &WrittenRow) -> Result<()> {
        self.ledger.write_news(row)?;
        self.heard(row);
        Ok(())
    }

    /// Notes whether a row of the ledger leaves its outcome in doubt.
    pub fn heard(&mut self, row: &WrittenRow) {
        match row.failure.as_deref() {
            Some("answered") => self.in_doubt.remove(&row.request_id),
            _ => self.in_doubt.insert(row.request_id.clone()),
        };
    }

    fn record(&mut self, op: usize, attempt: usize, row: &WrittenRow) -> Result<()> {
        match &self.beside {
            Some(beside) if self.story.has(Twist::NoTriggers) && self.wide.u8(..3) == 0 => beside.write_unnoted(row)?,
            _ => self.ledger.write_row(row)?,
        }
        self.heard(row);
        self.ops[op].attempts[attempt].recorded = true;
        self.of_request.insert(row.request_id.clone(), op);
        if self.ops[op].doubled.is_none() {
            // Whoever cannot read a row knows nothing of it.
            self.recorded_at.insert(row.request_id.clone(), time::true_ms());
        }
        self.note(|| format!("recorded {} {:?} {:?}", row.request_id, row.failure, row.http_status));
        Ok(())
    }
}

/// A number of its own for each ledger of this process: a world may be played twice at once.
fn unique() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The keys of control accounts, per lookup: key and, of a list, the member.
type ControlKeys = Vec<(&'static str, String, Option<String>)>;

/// Puts in what is there from the beginning.
fn seed(server: &Server, story: &Story) -> Result<(ControlKeys, Vec<Seeded>)> {
    let mut world = server.world.borrow_mut();
    let now = time::BEGINNING;
    let mut add = |account: NewAccount| world.add_account(now, account).map_err(anyhow::Error::msg);
    let mut seeded = Vec::new();
    let count = story.operations / 5 + 6;
    if story.consent {
        let eid = "canary-eid".to_owned();
        let sid = add(NewAccount { eid: Some(eid.clone()), ..NewAccount::default() })?;
        drop(world);
        let consent = seed_consents(server, "canary", 1)?.remove(0).consent.context("a consent")?;
        seeded.extend(seed_consents(server, "seed", count)?);
        *server.canaries.borrow_mut() = vec![eid.clone(), sid.clone(), consent.clone()];
        let keys = vec![("account-by-eid", eid, None), ("account-by-sid", sid, None), ("consent", consent, None)];
        return Ok((keys, seeded));
    }
    let some = |text: &str| Some(text.to_owned());
    // A key of eight characters or more lets a search by parts be told.
    let (user, display) = if story.has(Twist::Search) { ("canary-user", "Canary-name") } else { ("canary", "Canary") };
    let sid = add(NewAccount {
        email: some("canary@partner.example"),
        user_name: some(user),
        display_name: some(display),
        external_user_identifier: some("canary-ext"),
        ..NewAccount::default()
    })?;
    let child = add(NewAccount {
        parent_email: some("canary@partner.example"),
        given_name: some("Kit"),
        ..NewAccount::default()
    })?;
    for number in 0..parents(story) {
        add(NewAccount { email: Some(parent_email(number)), ..NewAccount::default() })?;
    }
    for number in 0..count {
        let sid = add(NewAccount { email: Some(format!("seed{number}@x.example")), ..NewAccount::default() })?;
        seeded.push(Seeded { sid, eid: None, granter: None, consent: None });
    }
    // Keys that are nearly theirs are controls as well.
    *server.canaries.borrow_mut() = ["anary", sid.as_str()].map(str::to_owned).to_vec();
    let keys = vec![
        ("account-by-email", "canary@partner.example".to_owned(), None),
        ("account-by-user-name", user.to_owned(), None),
        ("account-by-display-name", display.to_owned(), None),
        ("account-by-external-id", "canary-ext".to_owned(), None),
        ("account-by-service-id", sid, None),
        ("children-of-parent", "canary@partner.example".to_owned(), Some(child)),
    ];
    Ok((keys, seeded))
}

pub fn parents(story: &Story) -> usize {
    story.operations / 12 + 2
}

pub fn parent_email(number: usize) -> String {
    format!("mum{number}@x.example")
}

/// Principals with a consent each, asked for before the world's story begins.
fn seed_consents(server: &Server, prefix: &str, count: usize) -> Result<Vec<Seeded>> {
    let token = fetch_token(server, time::BEGINNING);
    let mut seeded = Vec::new();
    for number in 0..count {
        let eid = format!("{prefix}-{number}");
        let nick = json!([{ "identifier": "nick", "value": "k" }]);
        let body = json!({ "granter": { "email": format!("mum{number}@x.example") },
                           "principal": { "eid": eid, "given_name": "Kim", "attributes": nick } });
        let path = format!("/s2s/api/v1.0/{SERVICE}/requests");
        let reply = ask(server, time::BEGINNING, ("POST", &path), Some(&body), (&token, &eid, "plain"));
        let answer: Value = serde_json::from_slice(&reply.body)?;
        let text = |place: &str| answer.pointer(place).and_then(Value::as_str).map(str::to_owned);
        seeded.push(Seeded {
            sid: text("/principal_identifiers/sid").context("a sid")?,
            eid: Some(eid),
            granter: text("/granter_identifiers/sid"),
            consent: text("/consent_identifier"),
        });
    }
    Ok(seeded)
}

/// A token of the client's own.
pub fn fetch_token(server: &Server, now: i64) -> String {
    let path = "/oauth/token?grant_type=client_credentials&client_id=partner&client_secret=s3cret";
    let reply = ask(server, now, ("POST", path), None, ("", "token", "plain"));
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    answer["access_token"].as_str().unwrap_or_default().to_owned()
}

/// A request of the client's: with token, cause and fate.
pub fn ask(
    server: &Server,
    now: i64,
    (method, path): (&str, &str),
    body: Option<&Value>,
    (token, cause, fate): (&str, &str, &str),
) -> Reply {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
        method: method.to_owned(),
        path_and_query: path.to_owned(),
        headers: vec![
            header("authorization", &format!("Bearer {token}")),
            header(CAUSE_HEADER, cause),
            header(FATE_HEADER, fate),
        ],
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
    };
    server.world.borrow_mut().answer(now, &request)
}

impl Configs {
    fn of(story: &Story, keys: &ControlKeys, secrets: &Path) -> Result<Configs> {
        let good = config(story, keys, secrets)?;
        let bad = match story.trouble {
            super::story::Trouble::MissingControls => config(story, &Vec::new(), secrets)?,
            super::story::Trouble::WrongControls => {
                let wrong: ControlKeys = keys
                    .iter()
                    .map(|(lookup, _, member)| (*lookup, "nobody-there".to_owned(), member.clone()))
                    .collect();
                config(story, &wrong, secrets)?
            }
            _ => config(story, keys, secrets)?,
        };
        Ok(Configs { good, bad })
    }
}

fn config(story: &Story, keys: &ControlKeys, secrets: &Path) -> Result<Config> {
    let plan = if story.consent { "privo-consent" } else { "privo-gateway" };
    let params = if story.consent { format!("params = {{ service = \"{SERVICE}\" }}") } else { String::new() };
    let s = |ms: i64| format!("\"{}s\"", ms / 1000);
    let w = &story.windows;
    let mut text = format!(
        "plan = \"{plan}\"\n{params}\n[ledger]\npath = \"ledger.db\"\n[server]\nbase_url = \"{BASE}\"\n\
         requests_per_second = 1000000\nconcurrency = 4\n[auth]\ntoken_url = \"{BASE}/oauth/token\"\n\
         client_id = {{ value = \"partner\" }}\nclient_secret = {{ file = \"secret\" }}\n[settle]\nnetwork = {}\n\
         server_error = {}\nintent = {}\nreplica_lag = {}\nconfirm_after = {}\nwatch = {}\n",
        s(w.network),
        s(w.server_error),
        s(w.intent),
        s(w.replica_lag),
        s(w.confirm_after),
        s(w.watch)
    );
    for (lookup, key, member) in keys {
        let member = member.as_ref().map(|member| format!("member = \"{member}\"\n")).unwrap_or_default();
        text.push_str(&format!("[[control]]\nlookup = \"{lookup}\"\nkey = \"{key}\"\n{member}"));
    }
    Config::parse(&secrets.join("simulated.toml"), &text)
}
