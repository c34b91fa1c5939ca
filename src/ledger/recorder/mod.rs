//! Recording from Rust: an intent that is durable before the request leaves, and its end.
//!
//! ```no_run
//! use privo_reconcile::ledger::recorder::{Attempt, Recorder};
//! use privo_reconcile::ledger::record::End;
//! use privo_reconcile::{config::Config, words::Failure};
//!
//! # async fn send() -> Result<u16, bool> { Ok(201) }
//! # async fn partner() -> anyhow::Result<()> {
//! let config = Config::load(None)?;
//! let recorder = Recorder::open(&config.ledger, config.plan, config.server.base_url)?;
//! let url = "https://api-gw-svc-int.privo.com/api/v1.0/account";
//! let attempt = Attempt::new("POST", url).body(r#"{"email":"ann@example.com"}"#).operation("order-7");
//! let id = recorder.begin(&attempt).await?; // on disk; only now may the request leave
//! match send().await {
//!     Ok(status) => recorder.end(&id, &End::Answered { status, keep: false }).await?,
//!     Err(_) => recorder.end(&id, &End::Failed { failure: Failure::Network, http_status: None, error: None }).await?,
//! };
//! # Ok(())
//! # }
//! ```
//!
//! # Two forms
//! `begin` and `end` go to a thread that owns a connection and writes what many callers ask for in one transaction and one
//! fsync. `begin_in` and `end_in` write on a connection of yours and join the transaction that it has open: your own row
//! and the intent are then there both, or neither. Your tables must be in the ledger's file for that, the connection wants
//! `busy_timeout` and `synchronous = FULL`, and the intent is durable when *you* have committed, which must be before the
//! request leaves. Do not wait for the first form while you hold a transaction: it waits for you.
//!
//! # What is kept
//! Of a body only what the plan reads, unless the full body is asked for; never a header; the URL without credentials.

mod queue;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use url::Url;

use super::Ledger;
use super::record::{End, Ended, OwnedEntry};
use crate::clock::Moment;
use crate::config::Place;
use crate::plan::{Plan, Reader};
use crate::store::sqlite::{self, Connection};
use crate::words::{Direction, Failure};
use queue::{Change, Done, HowEnded, Queue};

/// Records attempts. Cloning gives another handle on the same writer; when the last one is dropped, what is queued is
/// written first.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    full_bodies: bool,
    keep_answers: bool,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    server: Url,
    also: Vec<Url>,
    salt: Vec<u8>,
    path: PathBuf,
    queue: Queue,
    ids: Ids,
}

/// One attempt that is about to be sent.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    request_id: Option<&'a str>,
    operation_id: Option<&'a str>,
    direction: Direction,
    method: &'a str,
    url: &'a str,
    body: Option<&'a str>,
    sent_at: Option<Moment>,
    note: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    /// A request to PRIVO; the URL as it is sent, absolute.
    pub fn new(method: &'a str, url: &'a str) -> Attempt<'a> {
        Attempt {
            request_id: None,
            operation_id: None,
            direction: Direction::Outbound,
            method,
            url,
            body: None,
            sent_at: None,
            note: None,
        }
    }

    /// A webhook from PRIVO; the URL is your own path.
    pub fn inbound(method: &'a str, url: &'a str) -> Attempt<'a> {
        Attempt { direction: Direction::Inbound, ..Attempt::new(method, url) }
    }

    /// The JSON that is sent.
    #[must_use]
    pub fn body(self, body: &'a str) -> Attempt<'a> {
        Attempt { body: Some(body), ..self }
    }

    /// What the retries of one operation share; without it, the attempt's own id.
    #[must_use]
    pub fn operation(self, id: &'a str) -> Attempt<'a> {
        Attempt { operation_id: Some(id), ..self }
    }

    /// Your own id of this attempt, never used before; without it, one is made.
    #[must_use]
    pub fn id(self, id: &'a str) -> Attempt<'a> {
        Attempt { request_id: Some(id), ..self }
    }

    /// When it was sent; without it, now.
    #[must_use]
    pub fn sent_at(self, sent_at: Moment) -> Attempt<'a> {
        Attempt { sent_at: Some(sent_at), ..self }
    }

    /// Free text for people, without personal data.
    #[must_use]
    pub fn note(self, note: &'a str) -> Attempt<'a> {
        Attempt { note: Some(note), ..self }
    }
}

/// The ledger could not be written: why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten(String);

impl Unwritten {
    fn taken() -> Unwritten {
        Unwritten("this request_id is in the ledger already (give each attempt its own)".to_owned())
    }
}

impl From<anyhow::Error> for Unwritten {
    fn from(error: anyhow::Error) -> Unwritten {
        Unwritten(format!("{error:#}"))
    }
}

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwritten {}

impl Recorder {
    /// Opens a ledger and starts the thread that writes it. Plan and server are the job's, for what is kept of a body is
    /// what they will read.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`Refused`](crate::exit::Refused) when it belongs to another server; when it cannot be written,
    /// or the thread cannot be started.
    pub fn open(ledger: impl Into<Place>, plan: Plan, server: Url) -> Result<Recorder> {
        Recorder::open_moved(ledger, plan, server, Vec::new())
    }

    /// As [`Recorder::open`], for a server that had these addresses before (`also` of the configuration).
    ///
    /// # Errors
    /// As [`Recorder::open`].
    pub fn open_moved(ledger: impl Into<Place>, plan: Plan, server: Url, also: Vec<Url>) -> Result<Recorder> {
        let place = ledger.into();
        // A connection of the caller's is one to a file.
        let path = place.file().map(Path::to_owned).unwrap_or_default();
        let ledger = Ledger::open_to_record(place)?;
        ledger.refuse_other_server(&server, &also)?;
        let salt = ledger.salt().to_owned();
        let queue = Queue::start(ledger)?;
        let shared = Arc::new(Shared { plan, server, also, salt, path, queue, ids: Ids::new() });
        Ok(Recorder { shared, full_bodies: false, keep_answers: false })
    }

    /// A handle that keeps bodies whole.
    #[must_use]
    pub fn full_bodies(&self) -> Recorder {
        Recorder { full_bodies: true, ..self.clone() }
    }

    /// A handle that keeps a trace of attempts that were answered, as evidence for later ones.
    #[must_use]
    pub fn keep_answers(&self) -> Recorder {
        Recorder { keep_answers: true, ..self.clone() }
    }

    /// Whether a request may change something that the plan knows of at its server. Recording any other says nothing but
    /// `no-plan`.
    pub fn concerns(&self, method: &str, url: &str) -> bool {
        self.shared.reader().changes_something(method, url)
    }

    /// Whether an answer leaves open what became of the request: a 5xx, or a status that the plan lists.
    pub fn in_doubt(&self, status: u16) -> bool {
        self.shared.plan.statuses.in_doubt(status)
    }

    /// A new id for an attempt.
    pub fn new_id(&self) -> String {
        self.shared.ids.next()
    }

    /// Records that an attempt is about to be sent; gives its id. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`Unwritten`]: it is not in the ledger, or another attempt has this id.
    pub async fn begin(&self, attempt: &Attempt<'_>) -> Result<String, Unwritten> {
        let row = self.owned(attempt, None);
        let id = row.request_id.clone();
        self.shared.queue.written(Change::Begin(row)).await.map(|_| id)
    }

    /// [`Recorder::begin`] that blocks the thread.
    ///
    /// # Errors
    /// As [`Recorder::begin`].
    pub fn begin_blocking(&self, attempt: &Attempt) -> Result<String, Unwritten> {
        let row = self.owned(attempt, None);
        let id = row.request_id.clone();
        self.shared.queue.written_blocking(Change::Begin(row)).map(|_| id)
    }

    /// [`Recorder::begin`] within the transaction that this connection has open.
    ///
    /// # Errors
    /// As [`Recorder::begin`].
    pub fn begin_in(&self, connection: &Connection, attempt: &Attempt) -> Result<String, Unwritten> {
        let row = self.owned(attempt, None);
        match sqlite::record_within(&self.shared.path, connection, &row.entry()) {
            Ok(true) => Ok(row.request_id),
            Ok(false) => Err(Unwritten::taken()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records how an attempt ended, now.
    ///
    /// # Errors
    /// [`Unwritten`]: it is still an intent, which the job takes for a timeout.
    pub async fn end(&self, request_id: &str, end: &End<'_>) -> Result<Ended, Unwritten> {
        let change = self.ending(request_id, end);
        self.shared.queue.written(change).await.map(Done::ended)
    }

    /// [`Recorder::end`] that blocks the thread.
    ///
    /// # Errors
    /// As [`Recorder::end`].
    pub fn end_blocking(&self, request_id: &str, end: &End) -> Result<Ended, Unwritten> {
        let change = self.ending(request_id, end);
        self.shared.queue.written_blocking(change).map(Done::ended)
    }

    /// [`Recorder::end`] without waiting. A crash before it is written leaves the intent, which is on the safe side.
    pub fn end_later(&self, request_id: &str, end: &End, trouble: impl FnOnce(Unwritten) + Send + 'static) {
        let answer = Box::new(|written: Result<Done, Unwritten>| written.map_or_else(trouble, |_| ()));
        self.shared.queue.later(self.ending(request_id, end), answer);
    }

    /// [`Recorder::end`] within the transaction that this connection has open: what you store of the answer and the end of
    /// the doubt are then there both, or neither.
    ///
    /// # Errors
    /// As [`Recorder::end`].
    pub fn end_in(&self, connection: &Connection, request_id: &str, end: &End) -> Result<Ended, Unwritten> {
        let ended = sqlite::end_within(&self.shared.path, connection, request_id, Moment::now(), &self.kept(end));
        ended.map_err(Unwritten::from)
    }

    /// Records an attempt that is over: one that was not written ahead, a webhook that was refused or taken. False: it is
    /// recorded already and stays as it is.
    ///
    /// # Errors
    /// [`Unwritten`]: it is not in the ledger.
    pub async fn record(&self, attempt: &Attempt<'_>, end: &End<'_>) -> Result<bool, Unwritten> {
        let row = self.owned(attempt, Some(end));
        self.shared.queue.written(Change::Record(row)).await.map(Done::recorded)
    }

    /// [`Recorder::record`] that blocks the thread.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn record_blocking(&self, attempt: &Attempt, end: &End) -> Result<bool, Unwritten> {
        let row = self.owned(attempt, Some(end));
        self.shared.queue.written_blocking(Change::Record(row)).map(Done::recorded)
    }

    /// Waits until all that was asked for before is written.
    ///
    /// # Errors
    /// When the writer is gone.
    pub async fn flush(&self) -> Result<(), Unwritten> {
        self.shared.queue.written(Change::Nothing).await.map(|_| ())
    }

    /// [`Recorder::flush`] that blocks the thread.
    ///
    /// # Errors
    /// As [`Recorder::flush`].
    pub fn flush_blocking(&self) -> Result<(), Unwritten> {
        self.shared.queue.written_blocking(Change::Nothing).map(|_| ())
    }

    fn kept<'a>(&self, end: &End<'a>) -> End<'a> {
        match *end {
            End::Answered { status, keep } => End::Answered { status, keep: keep || self.keep_answers },
            failed => failed,
        }
    }

    fn ending(&self, request_id: &str, end: &End) -> Change {
        let how = HowEnded::of(&self.kept(end));
        Change::End { request_id: request_id.to_owned(), ended_at: Moment::now(), how }
    }

    fn owned(&self, attempt: &Attempt, end: Option<&End>) -> OwnedEntry {
        let (failure, http_status, error) = match end {
            None => (Failure::Intent, None, None),
            Some(End::Answered { status, .. }) => (Failure::Answered, Some(*status), None),
            Some(End::Failed { failure, http_status, error }) => (*failure, *http_status, *error),
        };
        let now = Moment::now();
        let url = without_credentials(attempt.url);
        let body = attempt.body.and_then(|body| match self.full_bodies {
            true => Some(body.to_owned()),
            false => self.shared.reader().minimal(attempt.direction, attempt.method, &url, body),
        });
        OwnedEntry {
            request_id: attempt.request_id.map_or_else(|| self.new_id(), str::to_owned),
            operation_id: attempt.operation_id.map(str::to_owned),
            direction: attempt.direction,
            method: attempt.method.to_owned(),
            url,
            body,
            sent_at: attempt.sent_at.unwrap_or(now),
            ended_at: end.map(|_| now),
            failure,
            http_status,
            error: error.or(attempt.note).map(str::to_owned),
        }
    }
}

impl Shared {
    fn reader(&self) -> Reader<'_> {
        Reader { plan: &self.plan, server: &self.server, salt: &self.salt, also: &self.also }
    }
}

/// Ids that no other process makes: a random beginning and a count.
#[derive(Debug)]
struct Ids {
    beginning: String,
    count: AtomicU64,
}

impl Ids {
    fn new() -> Ids {
        // The one source of the system's randomness in the standard library.
        let random = || RandomState::new().build_hasher().finish();
        let mut own = RandomState::new().build_hasher();
        own.write_u32(std::process::id());
        own.write_i64(Moment::now().0);
        Ids { beginning: format!("{:016x}{:016x}", own.finish(), random()), count: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{}-{}", self.beginning, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

fn without_credentials(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            let stripped = parsed.set_username("").and_then(|()| parsed.set_password(None));
            stripped.map_or_else(|()| url.to_owned(), |()| parsed.into())
        }
        _ => url.to_owned(),
    }
}
