//! The thread that writes: whatever is waiting goes into one transaction and one fsync, and then everyone is answered.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::super::record::{self, End, Ended, NewEntry};
use super::Unwritten;
use crate::clock::Moment;
use crate::words::{Direction, Failure};

/// Changes in one transaction, at the most: other writers wait that long.
const LONGEST_BATCH: usize = 512;

/// An entry to be, owned.
#[derive(Debug)]
pub struct Row {
    pub request_id: String,
    pub operation_id: Option<String>,
    pub direction: Direction,
    pub method: String,
    pub url: String,
    pub body: Option<String>,
    pub sent_at: Moment,
    pub ended_at: Option<Moment>,
    pub failure: Failure,
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

impl Row {
    fn entry(&self) -> NewEntry<'_> {
        NewEntry {
            request_id: &self.request_id,
            operation_id: self.operation_id.as_deref(),
            direction: self.direction,
            method: &self.method,
            url: &self.url,
            body: self.body.as_deref(),
            sent_at: self.sent_at,
            ended_at: self.ended_at,
            failure: self.failure,
            http_status: self.http_status,
            error: self.error.as_deref(),
        }
    }
}

/// [`End`], owned.
#[derive(Debug)]
pub enum HowEnded {
    Answered { status: u16, keep: bool },
    Failed { failure: Failure, http_status: Option<u16>, error: Option<String> },
}

impl HowEnded {
    pub fn of(end: &End) -> HowEnded {
        match *end {
            End::Answered { status, keep } => HowEnded::Answered { status, keep },
            End::Failed { failure, http_status, error } => {
                HowEnded::Failed { failure, http_status, error: error.map(str::to_owned) }
            }
        }
    }

    fn end(&self) -> End<'_> {
        match self {
            HowEnded::Answered { status, keep } => End::Answered { status: *status, keep: *keep },
            HowEnded::Failed { failure, http_status, error } => {
                End::Failed { failure: *failure, http_status: *http_status, error: error.as_deref() }
            }
        }
    }
}

/// What a caller asks for.
#[derive(Debug)]
pub enum Change {
    Begin(Row),
    End {
        request_id: String,
        ended_at: Moment,
        how: HowEnded,
    },
    Record(Row),
    /// To be told when all before it is written.
    Nothing,
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub enum Done {
    Written,
    Recorded(bool),
    Ended(Ended),
}

impl Done {
    pub fn ended(self) -> Ended {
        match self {
            Done::Ended(ended) => ended,
            Done::Written | Done::Recorded(_) => Ended::NoIntent,
        }
    }

    pub fn recorded(self) -> bool {
        matches!(self, Done::Recorded(true))
    }
}

type Told = Result<Done, Unwritten>;

/// Tells a caller. It runs on the writer's thread and must be quick.
type Answer = Box<dyn FnOnce(Told) + Send>;

struct Job {
    change: Change,
    answer: Answer,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Queue {
    jobs: Option<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the thread.
    pub fn start(connection: Connection) -> Result<Queue> {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || work(connection, &waiting))
            .context("failed to start the recorder's thread")?;
        Ok(Queue { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Asks for a change; the answer comes when it is durable, or could not be made.
    pub fn send(&self, change: Change, answer: Answer) {
        let Some(jobs) = &self.jobs else { return };
        if let Err(mpsc::SendError(job)) = jobs.send(Job { change, answer }) {
            (job.answer)(Err(gone()));
        }
    }

    pub async fn written(&self, change: Change) -> Told {
        let (tell, told) = oneshot::channel();
        // A caller that went away needs no answer.
        self.send(change, Box::new(move |result| drop(tell.send(result))));
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    pub fn written_blocking(&self, change: Change) -> Told {
        let (tell, told) = mpsc::sync_channel(1);
        self.send(change, Box::new(move |result| drop(tell.send(result))));
        told.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let thread = self.thread.get_mut().map(Option::take).unwrap_or_default();
        // The last handle may be dropped by an answer, on the thread itself: then it ends by itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

fn gone() -> Unwritten {
    Unwritten::new("the recorder's thread has ended")
}

fn work(mut connection: Connection, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let mut jobs = vec![first];
        jobs.extend(waiting.try_iter().take(LONGEST_BATCH - 1));
        let told = match write(&mut connection, &jobs) {
            Ok(told) => told,
            Err(error) => vec![Err(error.into()); jobs.len()],
        };
        for (job, told) in jobs.into_iter().zip(told) {
            // A caller's own code may run here; if it panics, the others must still be heard.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| (job.answer)(told)));
        }
    }
}

/// One transaction. A change that is refused leaves the others; when SQLite gives the transaction up, all have failed.
fn write(connection: &mut Connection, jobs: &[Job]) -> rusqlite::Result<Vec<Told>> {
    if jobs.iter().all(|job| matches!(job.change, Change::Nothing)) {
        return Ok(vec![Ok(Done::Written); jobs.len()]);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut told = Vec::with_capacity(jobs.len());
    for job in jobs {
        let result = apply(&transaction, &job.change);
        if transaction.is_autocommit() {
            let all = |why: &Unwritten| vec![Err(why.clone()); jobs.len()];
            return Ok(result.as_ref().map_or_else(all, |_| all(&Unwritten::new("the transaction was given up"))));
        }
        told.push(result);
    }
    transaction.commit()?;
    Ok(told)
}

fn apply(connection: &Connection, change: &Change) -> Told {
    Ok(match change {
        Change::Begin(row) => {
            begin(connection, row)?;
            Done::Written
        }
        Change::End { request_id, ended_at, how } => {
            Done::Ended(record::end(connection, request_id, *ended_at, &how.end())?)
        }
        Change::Record(row) => Done::Recorded(record::record(connection, &row.entry())?),
        Change::Nothing => Done::Written,
    })
}

/// Writes an intent. An id that is there already is refused: its answer could not be told from the other's.
pub fn begin(connection: &Connection, row: &Row) -> Result<(), Unwritten> {
    match record::record(connection, &row.entry())? {
        true => Ok(()),
        false => Err(Unwritten::new("this request_id is in the ledger already (give each attempt its own)")),
    }
}
