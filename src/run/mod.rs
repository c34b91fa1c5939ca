//! A run: take in what is new, look at what is due, settle what can be, and wait if asked to.
//!
//! One pass streams the due groups: up to `concurrency` of them are looked at at once (the one concurrent stage), one
//! consumer decides and writes. What was decided is written in batches, at the latest after a quarter of a second, each
//! in one transaction: a kill loses at most looks, never an entry or half a verdict.

mod due;
pub mod halt;
mod look;
pub mod permit;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::clock::{Moment, Span, tick};
use crate::config::Config;
use crate::evidence::Case;
use crate::exit::Stopped;
use crate::http::Transport;
use crate::ledger::{Due, Group, Ledger, News, Ruling, RunEnd, RunId, RunStart, Stored};
use crate::lookup::pace::TRIAL_EVERY;
use crate::lookup::{Lookups, Stop};
use crate::plan::Reader;
use crate::words::{Seen, Status};
use halt::{Ending, Halt};
use look::Turn;

/// So many groups are written at once, as soon as the ledger is free; a writer may have its turn first.
const BATCH: usize = 500;

/// So many wait to be written, at the most.
const LARGEST_BATCH: usize = 2000;

/// What was decided is written at the latest after this time.
const FLUSH_AFTER: Duration = Duration::from_millis(250);

/// Due entries read at once.
const PAGE: usize = 1000;

/// Groups loaded at once, ahead of their turn.
const AHEAD: usize = 64;

/// Waiting never polls more often than this.
const SHORTEST_NAP: Span = Span(200);

/// While it waits for what will be due, a run looks for new rows at least so often.
const LONGEST_NAP: Span = Span::seconds(60);

/// What a run is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Go on until waiting can decide nothing more or this time is up.
    pub wait: Option<Span>,
    /// Look again at everything that was found not applied.
    pub recheck: bool,
}

/// What a run tells while it goes on.
pub trait Watcher {
    /// A pass begins over so many due entries.
    fn begins(&mut self, due: u64);
    /// So many entries were looked at, and so many of them are settled now.
    fn did(&mut self, entries: u64, settled: u64);
    /// Waiting until then.
    fn waits(&mut self, until: Moment);
    /// Something that a person must hear of at once: a correction, a server that is left alone. `event` names its kind.
    fn says(&mut self, event: &'static str, what: &str);
    /// The run ended, well or not, and this is what it did.
    fn ended(&mut self, _: &Summary) {}
}

/// Nobody watches.
impl Watcher for () {
    fn begins(&mut self, _: u64) {}
    fn did(&mut self, _: u64, _: u64) {}
    fn waits(&mut self, _: Moment) {}
    fn says(&mut self, _: &'static str, _: &str) {}
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub run: i64,
    pub examined: u64,
    pub requests: u64,
    pub settled: u64,
    /// Of those settled: as duplicate-risk.
    pub settled_duplicate_risk: u64,
    pub deferred: u64,
    /// Observations that were written, by what was seen.
    pub seen: BTreeMap<Seen, u64>,
    /// Corrections: verdicts that were superseded loudly.
    pub corrections: u64,
    /// Why the server was left alone.
    pub trouble: Option<String>,
}

/// A run under way.
struct Run<'a, T> {
    ledger: &'a mut Ledger,
    config: &'a Config,
    reader: &'a Reader<'a>,
    lookups: &'a Lookups<'a, T>,
    watcher: &'a mut dyn Watcher,
    clock: fn() -> Moment,
    id: RunId,
    summary: Summary,
}

/// How a pass ended.
enum Pass {
    Done,
    LeftAlone(String),
}

/// Runs the job once, until it is done or `halt` asks it to stop. The lock is the caller's.
///
/// Asked to stop, it begins nothing new, and what is in flight is finished and written; what is not answered within the
/// configuration's `stop_timeout`, or when it is asked again, is dropped and stays due.
///
/// # Errors
/// When the ledger cannot be read or written, when credentials are refused, or when stopped by a signal. Whatever was
/// decided until then is kept.
pub async fn run(
    config: &Config,
    ledger: &mut Ledger,
    options: &Options,
    watcher: &mut dyn Watcher,
    clock: fn() -> Moment,
    halt: Halt,
) -> Result<Summary> {
    let lookups = Lookups::new(config, clock)?;
    run_over(&lookups, config, ledger, options, watcher, clock, halt).await
}

/// As [`run`], over lookups that are set up already.
///
/// # Errors
/// As [`run`].
pub async fn run_over<T: Transport>(
    lookups: &Lookups<'_, T>,
    config: &Config,
    ledger: &mut Ledger,
    options: &Options,
    watcher: &mut dyn Watcher,
    clock: fn() -> Moment,
    halt: Halt,
) -> Result<Summary> {
    let salt = ledger.salt().to_vec();
    let reader = config.reader(&salt);
    let id = ledger.begin_run(&RunStart {
        command: "run",
        started: clock(),
        plan: &config.plan.name,
        plan_digest: &config.plan.digest,
        server: &config.server.base_url.origin().ascii_serialization(),
        windows: &config.windows,
    })?;
    tracing::Span::current().record("run", id.0);
    tracing::info!(event = "run-begins", plan = %config.plan.name, "run {} begins", id.0);
    if options.recheck {
        ledger.recheck()?;
    }
    let summary = Summary { run: id.0, ..Summary::default() };
    let mut run = Run { ledger, config, reader: &reader, lookups, watcher, clock, id, summary };
    let result = run.passes(options, halt).await;
    run.summary.requests = lookups.requests();
    let controls = serde_json::to_string(&lookups.last_controls().await)?;
    let summary = run.summary.clone();
    let trouble = match &result {
        Err(error) => Some(format!("{error:#}")),
        Ok(()) => summary.trouble.clone(),
    };
    run.watcher.ended(&summary);
    let end = RunEnd {
        examined: summary.examined,
        requests: summary.requests,
        settled: summary.settled,
        deferred: summary.deferred,
        controls,
        trouble,
    };
    ledger.end_run(id, clock(), &end)?;
    result.map(|()| summary)
}

impl<T: Transport> Run<'_, T> {
    async fn passes(&mut self, options: &Options, mut halt: Halt) -> Result<()> {
        let deadline = options.wait.map(|wait| tick() + wait.duration());
        loop {
            self.ledger.hold_on()?;
            let pass = self.pass(&mut halt).await?;
            self.summary.trouble = match &pass {
                Pass::LeftAlone(why) => Some(why.clone()),
                Pass::Done => None,
            };
            let now = (self.clock)();
            let Some(deadline) = deadline else { return self.said_trouble() };
            let next = match pass {
                Pass::LeftAlone(_) if self.lookups.pace().breaker_open() => Some(now + TRIAL_EVERY),
                Pass::LeftAlone(_) => self.lookups.pace().alone_for().map(|rest| now + rest),
                Pass::Done => self.ledger.next_due()?,
            };
            let rest = deadline.saturating_duration_since(tick());
            let in_time = |next: &Moment| next.since(now).duration() <= rest;
            let Some(next) = next.map(|next| next.max(now + SHORTEST_NAP)).filter(in_time) else {
                return self.said_trouble();
            };
            self.watcher.waits(next);
            // Rows that come meanwhile are not to wait for what others wait for.
            let longest = match self.lookups.pace().breaker_open() {
                true => TRIAL_EVERY,
                false => LONGEST_NAP.min(self.config.windows.confirm_after.max(SHORTEST_NAP)),
            };
            nap(next.since(now).min(longest), &mut halt).await?;
            if self.lookups.pace().breaker_open() {
                tokio::select! {
                    code = halt.asked() => return Err(anyhow::Error::new(Stopped(code))),
                    tried = self.lookups.trial() => if let Err(Stop::Fatal(error)) = tried {
                        return Err(error);
                    },
                }
            }
        }
    }

    fn said_trouble(&mut self) -> Result<()> {
        if let Some(why) = &self.summary.trouble {
            self.watcher.says("left-alone", why);
        }
        Ok(())
    }

    /// One pass over everything that is due now.
    async fn pass(&mut self, halt: &mut Halt) -> Result<Pass> {
        let now = (self.clock)();
        while self.ledger.ingest(self.reader, now)? {
            // A million entries take long: signals are heard and signs of life are given in between.
            if let Some(code) = halt.asked_meanwhile().await {
                return Err(anyhow::Error::new(Stopped(code)));
            }
        }
        let due = self.ledger.count_due(now)?;
        tracing::debug!(event = "pass-begins", due, "a pass begins, {due} entries are due");
        self.watcher.begins(due);
        let (lookups, reader) = (self.lookups, self.reader);
        let (windows, removals) =
            (self.config.windows.clone(), self.ledger.removals(self.reader, &self.config.windows, now)?);
        let blank = Case { windows, attempts: Vec::new(), removals };
        let mut queue = Queue::new(now, blank);
        let mut looking = FuturesUnordered::new();
        let mut batch: Vec<Stored> = Vec::new();
        let mut flush = std::pin::pin!(tokio::time::sleep(FLUSH_AFTER));
        let mut alone = None;
        let mut ending = Ending::new(halt, self.config.stop_timeout());
        loop {
            // Nothing is begun by a run that another one has taken the ledger over from.
            self.ledger.hold_on()?;
            while alone.is_none() && ending.begun().is_none() && looking.len() < self.config.server.concurrency {
                let Some(turn) = queue.next(self.ledger, reader)? else { break };
                looking.push(turn.look(lookups, reader));
            }
            if looking.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = ending.at_once() => break,
                () = flush.as_mut() => {
                    self.write(std::mem::take(&mut batch), &mut queue)?;
                    flush.set(tokio::time::sleep(FLUSH_AFTER));
                }
                Some(looked) = looking.next() => match looked {
                    Ok(looked) => {
                        batch.push(looked.tell((self.clock)()));
                        let due = batch.len() >= BATCH && self.ledger.is_free();
                        if due || batch.len() >= LARGEST_BATCH {
                            self.write(std::mem::take(&mut batch), &mut queue)?;
                            flush.set(tokio::time::sleep(FLUSH_AFTER));
                            // What needs no answer from the server is ready at once, and would never let go.
                            tokio::task::yield_now().await;
                        }
                    }
                    Err(Stop::Alone(why) | Stop::Failed(why)) => alone = Some(why),
                    Err(Stop::Fatal(error)) => {
                        self.write(batch, &mut queue)?;
                        return Err(error);
                    }
                },
            }
        }
        self.write(batch, &mut queue)?;
        if let Some(code) = ending.begun() {
            return Err(anyhow::Error::new(Stopped(code)));
        }
        Ok(alone.map_or(Pass::Done, Pass::LeftAlone))
    }

    /// Writes a batch. A group that a writer changed meanwhile stays due.
    fn write(&mut self, batch: Vec<Stored>, queue: &mut Queue) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let now = (self.clock)();
        let passed_over = self.ledger.store_groups(self.id, &batch, self.reader, &mut queue.news, now)?;
        let before = (self.summary.settled, self.summary.deferred);
        for (index, stored) in batch.iter().enumerate() {
            for member in &stored.members {
                queue.in_flight.remove(&member.state.entry);
            }
            if !passed_over.contains(&index) {
                self.count(stored);
            }
        }
        let (settled, deferred) = (self.summary.settled - before.0, self.summary.deferred - before.1);
        tracing::debug!(
            event = "written",
            groups = batch.len(),
            passed_over = passed_over.len(),
            settled,
            deferred,
            "{} groups written",
            batch.len()
        );
        Ok(())
    }

    fn count(&mut self, stored: &Stored) {
        let (mut did, before) = (0, self.summary.settled);
        for new in stored.members.iter().flat_map(|member| &member.looks) {
            *self.summary.seen.entry(new.look.seen).or_default() += 1;
        }
        for member in &stored.members {
            match &member.ruling {
                Ruling::Nothing => continue,
                Ruling::Verdict { verdict, .. } => {
                    self.summary.settled += 1;
                    self.summary.settled_duplicate_risk += u64::from(verdict.status == Status::DuplicateRisk);
                    if let Some(request_id) = &member.corrected {
                        self.summary.corrections += 1;
                        let id = crate::mask::id(request_id);
                        let (outcome, reason) = (verdict.outcome, verdict.reason);
                        let what = format!("correction: {id} is {outcome} after all ({reason}); see `show`");
                        self.watcher.says("correction", &what);
                    }
                }
                Ruling::Deferral { .. } => self.summary.deferred += 1,
                Ruling::Stands { .. } => {}
            }
            did += u64::from(member.state.status != Some(Status::DuplicateRisk));
            self.summary.examined += 1;
        }
        self.watcher.did(did, self.summary.settled - before);
    }
}

/// The due groups in their order, each once: what can be settled before what is watched.
struct Queue {
    /// The pass began then; what became due later is the next pass's.
    now: Moment,
    page: VecDeque<Due>,
    after: Option<Due>,
    /// What can be settled was all read; now it is the turn of what is watched.
    watched: bool,
    ended: bool,
    /// Loaded, and not looked at yet.
    groups: VecDeque<Group>,
    /// Entries of groups that are loaded, looked at or not written yet.
    in_flight: HashSet<i64>,
    /// What came into groups since they were loaded.
    news: News,
    /// A group without attempts.
    blank: Case,
}

impl Queue {
    fn new(now: Moment, blank: Case) -> Queue {
        let (page, groups) = (VecDeque::new(), VecDeque::new());
        Queue {
            now,
            page,
            after: None,
            watched: false,
            ended: false,
            groups,
            in_flight: HashSet::new(),
            news: News::default(),
            blank,
        }
    }

    fn next(&mut self, ledger: &Ledger, reader: &Reader) -> Result<Option<Turn>> {
        loop {
            if let Some(group) = self.groups.pop_front() {
                return Ok(Some(Turn::prepare(group, reader, self.now)));
            }
            if self.page.is_empty() {
                if self.ended {
                    return Ok(None);
                }
                let page = ledger.due(self.now, self.watched, self.after, PAGE)?;
                self.after = page.last().copied().or(self.after);
                if page.len() < PAGE {
                    self.ended = self.watched;
                    (self.watched, self.after) = (true, None);
                }
                self.page.extend(page);
            }
            let ahead: Vec<Due> = self.page.drain(..AHEAD.min(self.page.len())).collect();
            let groups = ledger.groups_of(&ahead, reader, self.now, &self.blank, &mut self.in_flight)?;
            self.groups.extend(groups);
        }
    }
}

async fn nap(span: Span, halt: &mut Halt) -> Result<()> {
    tokio::select! {
        code = halt.asked() => Err(anyhow::Error::new(Stopped(code))),
        () = tokio::time::sleep(span.duration()) => Ok(()),
    }
}
