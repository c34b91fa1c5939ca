//! The connection: a thread of its own with a runtime of its own, so that the store can be used from within any runtime and
//! outside of one. Calls go to it by a channel, and what is said in an order arrives in that order.
//!
//! No statement is ever named, so that it works behind a pooler that gives each transaction another connection.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};

use super::tls::Tls;
use crate::exit::Refused;

/// A server that says nothing for so long is as good as gone. Statements that wait for a lock give up before.
const LONGEST: Duration = Duration::from_secs(60);

/// What a closing connection may still take.
const CLOSING: Duration = Duration::from_secs(2);

/// A parameter, with the type that the statement is told.
pub type Param = (Box<dyn ToSql + Sync + Send>, Type);

/// What came of a statement.
#[derive(Debug, Default)]
pub struct Answer {
    pub rows: Vec<Row>,
    /// How many rows it changed.
    pub count: u64,
    /// Of a batch: the first column of all rows, as text.
    pub words: Vec<Option<String>>,
}

enum What {
    /// It gives rows.
    Query(Cow<'static, str>, Vec<Param>),
    /// It changes rows.
    Execute(Cow<'static, str>, Vec<Param>),
    /// Statements without parameters.
    Batch(String),
}

struct Request {
    what: What,
    reply: SyncSender<Outcome>,
}

type Outcome = Result<Answer, Broken>;

/// Why a statement failed; without the values that it was about.
#[derive(Debug)]
pub struct Broken {
    pub code: Option<SqlState>,
    pub message: String,
}

impl Broken {
    fn new(error: &tokio_postgres::Error) -> Broken {
        match error.as_db_error() {
            Some(db) => Broken { code: Some(db.code().clone()), message: db.message().to_owned() },
            None => Broken { code: None, message: plain(error) },
        }
    }

    /// The ledger's own triggers refused it.
    pub fn is_refusal(&self) -> bool {
        self.code.as_ref() == Some(&SqlState::RESTRICT_VIOLATION)
    }

    /// It is about this one row (what it says, keys, limits of size), not about the server.
    pub fn is_of_the_row(&self) -> bool {
        self.code.as_ref().is_some_and(|code| ["22", "23", "54"].contains(&&code.code()[..2]))
    }

    /// As the caller is to hear it.
    pub fn error(self) -> anyhow::Error {
        let Broken { code, message } = self;
        let Some(code) = code else {
            return anyhow!("the connection to PostgreSQL failed: {message} (nothing is lost; run again)");
        };
        let state = code.code();
        if code == SqlState::INSUFFICIENT_PRIVILEGE {
            let remedy = "GRANT privo_reconcile_job to the job's user";
            return anyhow!(Refused(format!("PostgreSQL refused a statement: {message} ({remedy})")));
        }
        if code == SqlState::UNDEFINED_TABLE || code == SqlState::INVALID_SCHEMA_NAME {
            return anyhow!(Refused(format!("PostgreSQL: {message} (run `init`, or correct [ledger] schema)")));
        }
        anyhow!("PostgreSQL refused a statement: {message} (SQLSTATE {state}; nothing is lost, run again)")
    }
}

/// An error of the connection with its cause; drivers put the server's name there at most.
fn plain(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}").replace("\n", " "),
        None => error.to_string(),
    }
}

/// A reply that is to come.
#[derive(Debug)]
pub struct Reply(Receiver<Outcome>);

impl Reply {
    /// Waits for it.
    pub fn wait(self) -> Outcome {
        let gone = || Broken { code: None, message: "it was closed".to_owned() };
        self.0.recv().map_err(|_| gone())?
    }
}

/// A connection.
pub struct Wire {
    /// `None`: it is being closed.
    requests: Option<UnboundedSender<Request>>,
    /// The server is gone, or said nothing for too long: nobody waits for it a second time.
    is_lost: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Connects.
    pub fn open(config: Config, tls: Option<Tls>, place: &str) -> Result<Wire> {
        let (requests, received) = unbounded_channel();
        let (reply, connected) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("failed to start a runtime for PostgreSQL")?;
        let is_lost = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&is_lost);
        let serve = move || runtime.block_on(serve(config, tls, received, reply, lost));
        let thread = std::thread::Builder::new().name("postgres".to_owned()).spawn(serve);
        let thread = thread.context("failed to start a thread for PostgreSQL")?;
        let wire = Wire { requests: Some(requests), is_lost, thread: Some(thread) };
        match connected.recv() {
            Ok(Ok(())) => Ok(wire),
            Ok(Err(broken)) => Err(not_connected(broken, place)),
            Err(_) => bail!("the connection to {place} ended at once"),
        }
    }

    fn send(&self, what: What) -> Reply {
        let (reply, receiver) = sync_channel(1);
        if let Some(requests) = self.requests.as_ref().filter(|_| !self.is_lost.load(Ordering::Relaxed)) {
            // Whoever waits for the reply hears that nobody is there any more.
            let _ = requests.send(Request { what, reply });
        }
        Reply(receiver)
    }

    pub fn query(&self, sql: Cow<'static, str>, params: Vec<Param>) -> Reply {
        self.send(What::Query(sql, params))
    }

    pub fn execute(&self, sql: Cow<'static, str>, params: Vec<Param>) -> Reply {
        self.send(What::Execute(sql, params))
    }

    pub fn batch(&self, sql: String) -> Reply {
        self.send(What::Batch(sql))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It ends by itself, and soon.
            let _ = thread.join();
        }
    }
}

/// Why no connection came about: what a person must correct is told apart from what passes.
fn not_connected(Broken { code, message }: Broken, place: &str) -> anyhow::Error {
    let Some(code) = code else {
        let remedy = "is it up, and is this its address? nothing is lost, run again";
        return anyhow!("failed to connect to {place}: {message} ({remedy})");
    };
    let remedy = match code.code() {
        state if state.starts_with("28") => {
            "check user and password of [ledger] postgres, and the server's pg_hba.conf"
        }
        "3D000" => "correct the database's name in [ledger] postgres, or create it",
        _ => return anyhow!("{place} refused the connection: {message} (nothing is lost, run again)"),
    };
    anyhow!(Refused(format!("{place} refused the connection: {message} ({remedy})")))
}

/// The thread's work.
async fn serve(
    config: Config,
    tls: Option<Tls>,
    mut requests: UnboundedReceiver<Request>,
    connected: SyncSender<Result<(), Broken>>,
    is_lost: Arc<AtomicBool>,
) {
    let (client, connection) = match connect(&config, tls).await {
        Ok(both) => both,
        Err(broken) => {
            let _ = connected.send(Err(broken));
            return;
        }
    };
    let connection = tokio::spawn(connection);
    let _ = connected.send(Ok(()));
    let client = Arc::new(client);
    while let Some(Request { what, reply }) = requests.recv().await {
        let (client, is_lost) = (Arc::clone(&client), Arc::clone(&is_lost));
        let mut work = Box::pin(async move {
            let outcome = match timeout(LONGEST, ask(&client, what)).await {
                Ok(outcome) => outcome.map_err(|error| Broken::new(&error)),
                Err(_) => Err(Broken { code: None, message: "no answer came in time".to_owned() }),
            };
            if matches!(&outcome, Err(Broken { code: None, .. })) {
                is_lost.store(true, Ordering::Relaxed);
            }
            let _ = reply.send(outcome);
        });
        // The first step puts it on the wire, before the next request is taken.
        if poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await {
            tokio::spawn(work);
        }
    }
    drop(client);
    let mut connection = pin!(connection);
    if timeout(CLOSING, &mut connection).await.is_err() {
        connection.abort();
    }
}

type Connection = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn connect(config: &Config, tls: Option<Tls>) -> Result<(Client, Connection), Broken> {
    let broken = |error: tokio_postgres::Error| Broken::new(&error);
    let late = |_| Broken { code: None, message: "no answer came in time".to_owned() };
    match tls {
        Some(tls) => {
            let (client, connection) = timeout(LONGEST, config.connect(tls)).await.map_err(late)?.map_err(broken)?;
            Ok((client, Box::pin(async move { drop(connection.await) })))
        }
        None => {
            let connecting = config.connect(tokio_postgres::NoTls);
            let (client, connection) = timeout(LONGEST, connecting).await.map_err(late)?.map_err(broken)?;
            Ok((client, Box::pin(async move { drop(connection.await) })))
        }
    }
}

async fn ask(client: &Client, what: What) -> Result<Answer, tokio_postgres::Error> {
    fn refs(params: &[Param]) -> Vec<(&(dyn ToSql + Sync), Type)> {
        params.iter().map(|(value, of)| (&**value as &(dyn ToSql + Sync), of.clone())).collect()
    }
    match what {
        What::Query(sql, params) => {
            let rows = client.query_typed(&sql, &refs(&params)).await?;
            Ok(Answer { rows, ..Answer::default() })
        }
        What::Execute(sql, params) => {
            let count = client.execute_typed(&sql, &refs(&params)).await?;
            Ok(Answer { count, ..Answer::default() })
        }
        What::Batch(sql) => {
            let messages = client.simple_query(&sql).await?;
            let word = |message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            };
            Ok(Answer { words: messages.into_iter().filter_map(word).collect(), ..Answer::default() })
        }
    }
}
