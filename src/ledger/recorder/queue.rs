//! The thread that writes: whatever is waiting goes into one transaction and one fsync, and then everyone is answered.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use super::super::Ledger;
use super::super::journal::{Became, Step};
use super::super::record::{End, Ended, OwnedEntry};
use super::Unwritten;
use crate::clock::{Moment, Span};
use crate::words::Failure;

/// Changes in one transaction, at the most: other writers wait that long.
const LONGEST_BATCH: usize = 512;

/// How long a change that nobody waits for may wait for one that somebody waits for.
const LINGER: Span = Span(50);

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
    Begin(OwnedEntry),
    End {
        request_id: String,
        ended_at: Moment,
        how: HowEnded,
    },
    Record(OwnedEntry),
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

type Written = Result<Done, Unwritten>;

/// Tells a caller. It runs on the writer's thread and must be quick.
type Answer = Box<dyn FnOnce(Written) + Send>;

struct Job {
    change: Change,
    answer: Answer,
    /// Whether somebody waits for it.
    awaited: bool,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Queue {
    jobs: Option<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the thread.
    pub fn start(ledger: Ledger) -> Result<Queue> {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || work(ledger, &waiting))
            .context("failed to start the recorder's thread")?;
        Ok(Queue { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    /// Asks for a change that nobody waits for.
    pub fn later(&self, change: Change, answer: Answer) {
        self.send(Job { change, answer, awaited: false });
    }

    /// The answer comes when the change is durable, or could not be made.
    fn send(&self, job: Job) {
        let Some(jobs) = &self.jobs else { return };
        if let Err(mpsc::SendError(job)) = jobs.send(job) {
            (job.answer)(Err(gone()));
        }
    }

    pub async fn written(&self, change: Change) -> Written {
        let (tell, written) = oneshot::channel();
        // A caller that went away needs no answer.
        let answer = Box::new(move |result| drop(tell.send(result)));
        self.send(Job { change, answer, awaited: true });
        written.await.unwrap_or_else(|_| Err(gone()))
    }

    pub fn written_blocking(&self, change: Change) -> Written {
        let (tell, written) = mpsc::sync_channel(1);
        let answer = Box::new(move |result| drop(tell.send(result)));
        self.send(Job { change, answer, awaited: true });
        written.recv().unwrap_or_else(|_| Err(gone()))
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
    Unwritten("the recorder's thread has ended".to_owned())
}

/// What is there already. What nobody waits for waits a little itself, to share the sync of what somebody waits for.
fn batch(first: Job, waiting: &Receiver<Job>) -> Vec<Job> {
    let mut jobs = vec![first];
    let until = Moment::now() + LINGER;
    while jobs.len() < LONGEST_BATCH && !jobs.last().is_some_and(|job| job.awaited) {
        // Never longer than that, should the clock be set back.
        let Ok(job) = waiting.recv_timeout(until.since(Moment::now()).min(LINGER).duration()) else { break };
        jobs.push(job);
    }
    let room = LONGEST_BATCH - jobs.len();
    jobs.extend(waiting.try_iter().take(room));
    jobs
}

fn work(mut ledger: Ledger, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let jobs = batch(first, waiting);
        let written = write(&mut ledger, &jobs);
        for (job, written) in jobs.into_iter().zip(written) {
            // A caller's own code may run here; if it panics, the others must still be heard.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| (job.answer)(written)));
        }
    }
}

/// One transaction. A change that is refused leaves the others.
fn write(ledger: &mut Ledger, jobs: &[Job]) -> Vec<Written> {
    let steps: Vec<Step> = jobs.iter().filter_map(|job| job.change.step()).collect();
    let mut became = match steps.is_empty() {
        true => Vec::new().into_iter(),
        false => match ledger.take_down(&steps) {
            Ok(became) => became.into_iter(),
            Err(error) => return vec![Err(error.into()); jobs.len()],
        },
    };
    let written = |job: &Job| match job.change {
        Change::Nothing => Ok(Done::Written),
        _ => job.change.written(became.next().ok_or_else(gone)??),
    };
    jobs.iter().map(written).collect()
}

impl Change {
    fn step(&self) -> Option<Step<'_>> {
        match self {
            Change::Begin(row) | Change::Record(row) => Some(Step::Record(row.entry())),
            Change::End { request_id, ended_at, how } => {
                Some(Step::End { request_id, ended_at: *ended_at, end: how.end() })
            }
            Change::Nothing => None,
        }
    }

    fn written(&self, became: Became) -> Written {
        match self {
            // Its end could not be told from the other's.
            Change::Begin(_) if became != Became::Recorded => Err(Unwritten::taken()),
            Change::Begin(_) | Change::Nothing => Ok(Done::Written),
            Change::Record(_) => Ok(Done::Recorded(became == Became::Recorded)),
            Change::End { .. } => Ok(Done::Ended(match became {
                Became::Recorded => Ended::Kept,
                Became::Forgotten => Ended::Forgotten,
                Became::Unchanged | Became::Unknown => Ended::NoIntent,
            })),
        }
    }
}
