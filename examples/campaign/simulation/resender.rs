//! The partner's code that sends again by permit. People read lists and approve them, at once or hours later; calls of
//! `resend` ask, two at once; each may crash before the permit is there, before it sends, and before it says how that ended.
//!
//! What is approved and permitted, the ledger and [`Permits`] of the job say: the same code that `resend` runs.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use anyhow::{Result, bail};
use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::journal::{Became, Step};
use privo_reconcile::ledger::record::End as Ended;
use privo_reconcile::ledger::{Approved, Ledger, RunEnd, RunStart, WrittenRow};
use privo_reconcile::lookup::Lookups;
use privo_reconcile::run::permit::{Answer, Permit, Permits};
use privo_reconcile::words::Reason;
use tokio::time::Duration;

use super::client::End;
use super::net::{Mode, Net};
use super::ops::Attempt;
use super::partner::How;
use super::stage::{Event, Stage};
use super::story::{DAY, HOUR, MINUTE, SECOND, Trouble};
use super::time;
use super::twist::Twist;

/// One line of a list that a person read: an operation by its first attempt, and the verdict that advises.
#[derive(Clone, Debug)]
pub struct Shown {
    entry: i64,
    verdict: i64,
    op: usize,
    request_id: String,
    reason: Option<Reason>,
}

/// A permit that is about to be used, and by which call.
#[derive(Debug)]
pub struct Sending {
    op: usize,
    attempt: usize,
    call: usize,
    deadline: Moment,
}

/// A permit as it was given.
#[derive(Clone, Debug)]
pub struct Given {
    pub op: usize,
    pub request_id: String,
    pub entry: i64,
    /// By which the list advised it just before; `None`: it did not.
    pub verdict: Option<i64>,
    pub reason: Option<Reason>,
    /// When it was asked for and when it was given, by the true time.
    pub asked: i64,
    pub at: i64,
}

/// One call of `resend`.
#[derive(Debug, Default)]
struct Call {
    passed: HashSet<i64>,
    given: u32,
    ended: bool,
    /// It has no trouble of its own: what it sends arrives, and is answered.
    quiet: bool,
}

/// All that is known of sending by permit.
#[derive(Debug, Default)]
pub struct Resenders {
    calls: Vec<Call>,
    /// A run or a call has the lock.
    pub busy: bool,
    /// What was shown, by entry.
    shown: BTreeMap<i64, Shown>,
    /// What was approved and when, by the true time: entry and verdict.
    pub approved: Vec<(i64, Vec<(i64, i64)>)>,
    pub given: Vec<Given>,
    /// Ends that the ledger did not take, and what became of them.
    pub unheard: Vec<(String, String)>,
    /// What was approved in the end, when nothing is in the way, and got no permit; why.
    pub refused: Vec<(usize, String)>,
}

/// What was asked for by its first attempt, the verdict by which the list advised it then, and what was said.
type Answered = (i64, Option<i64>, Answer);

/// Permits of one call at the most.
const MOST: u32 = 10;

thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(0) };
    /// The host's clock is set to this offset when a permit has read it so many times more.
    static SET_AFTER: Cell<Option<(u32, i64)>> = const { Cell::new(None) };
}

/// What the host's clock shows, which may be set just before.
fn clock() -> Moment {
    match SET_AFTER.get() {
        Some((0, offset)) => {
            time::set_offset(offset);
            SET_AFTER.set(None);
        }
        Some((left, offset)) => SET_AFTER.set(Some((left - 1, offset))),
        None => {}
    }
    time::host_now()
}

/// The next permit's request id; one of the world's own, so that it replays.
fn fresh_id(_: &Ledger) -> String {
    NUMBER.set(NUMBER.get() + 1);
    format!("permit-{}", NUMBER.get())
}

/// A world begins.
pub fn begin() {
    NUMBER.set(0);
    SET_AFTER.set(None);
}

impl Stage {
    /// What `resend` lists now.
    fn shown(&mut self) -> Result<Vec<Shown>> {
        self.heed()?;
        let advised = self.ledger.advised()?.into_iter().filter(|advised| advised.left_to_a_person().is_none());
        let shown = advised.filter_map(|advised| {
            let op = *self.of_request.get(&advised.row.request_id)?;
            let (verdict, reason) = (advised.verdict, advised.row.reason);
            Some(Shown { entry: advised.row.entry, verdict, op, request_id: advised.row.request_id, reason })
        });
        Ok(shown.collect())
    }

    /// After a report somebody reads the list, and approves it then or later; and resenders come, two at once.
    pub fn plan_resending(&mut self) -> Result<()> {
        if !self.story.has(Twist::Permits) || time::true_ms() > time::BEGINNING + 14 * DAY {
            return Ok(());
        }
        let shown = self.shown()?;
        if shown.is_empty() || self.wide.u8(..10) < 3 {
            return Ok(());
        }
        let approved = time::true_ms() + if self.wide.bool() { SECOND } else { self.wide.i64(SECOND..3 * HOUR) };
        for one in &shown {
            // A colleague sends it by hand meanwhile, and writes nothing down, or late.
            if self.wide.u8(..12) == 0 && self.ops[one.op].attempts.len() < 6 {
                let how = [How::Unrecorded, How::Late, How::Drawn][self.wide.usize(..3)];
                let at = time::true_ms() + self.wide.i64(SECOND..2 * HOUR);
                self.at(at, Event::Resend(one.op, how));
            }
        }
        self.at(approved, Event::Approve(shown));
        let gap = match self.wide.u8(..6) {
            0 => self.wide.i64(20 * HOUR..30 * HOUR),
            1..3 => self.wide.i64(MINUTE..6 * HOUR),
            _ => self.wide.i64(SECOND..MINUTE),
        };
        let several = self.wide.u8(1..4);
        for _ in 0..several {
            let call = self.begin_call(false);
            let apart = if self.wide.bool() { 0 } else { self.wide.i64(0..40 * SECOND) };
            self.at(approved + gap + apart, Event::Ask(call));
        }
        Ok(())
    }

    fn begin_call(&mut self, quiet: bool) -> usize {
        self.resenders.calls.push(Call { quiet, ..Call::default() });
        self.resenders.calls.len() - 1
    }

    /// Approves a list as it was read, however long ago: what does not stand any more gets no permit.
    pub fn approve(&mut self, shown: &[Shown]) -> Result<()> {
        let operations: Vec<(i64, i64)> = shown.iter().map(|one| (one.entry, one.verdict)).collect();
        self.ledger.approve("0123456789abcdef", "Dana", time::host_now(), &operations)?;
        self.note(|| format!("approved: {:?}", shown.iter().map(|one| &one.request_id).collect::<Vec<_>>()));
        self.resenders.approved.push((time::true_ms(), operations));
        self.resenders.shown.extend(shown.iter().map(|one| (one.entry, one.clone())));
        Ok(())
    }

    /// A call asks for its next permit. It has the lock until that is given or refused, and the world goes on beside it.
    pub async fn ask(&mut self, call: usize) -> Result<()> {
        let asked = time::true_ms();
        if self.resenders.busy {
            self.at(asked + 100, Event::Ask(call));
            return Ok(());
        }
        if self.resenders.calls[call].ended {
            return Ok(());
        }
        let corrected = self.resenders.calls[call].quiet;
        let bad = !corrected && asked < self.mended_from || self.story.trouble == Trouble::WrongControls;
        self.server.mode.set(if corrected || asked >= self.mended_from { Mode::Honest } else { self.trouble_mode() });
        self.ledger.reopen()?;
        let stepped = !corrected && self.clock_is_set();
        self.resenders.busy = true;
        let answered = self.answer(call, bad, stepped).await;
        self.resenders.busy = false;
        self.server.mode.set(Mode::Honest);
        self.server.step.set(None);
        let answered = answered?;
        if let Some((entry, verdict, answer)) = answered {
            self.hear((call, asked, stepped), (entry, verdict), answer)?;
        }
        // Only now: what was permitted was sent, and refused, by the clock that was wrong.
        time::set_offset(self.story.skew);
        SET_AFTER.set(None);
        Ok(())
    }

    /// In a world whose clock is set to and fro: before the permit, during its looks, or after them.
    fn clock_is_set(&mut self) -> bool {
        if !self.story.steps || self.wide.u8(..10) >= 4 {
            return false;
        }
        let offset = self.story.skew + self.other_hour();
        match self.wide.u8(..3) {
            0 => time::set_offset(offset),
            1 => self.server.step.set(Some((self.wide.u32(1..20), offset))),
            _ => SET_AFTER.set(Some((self.wide.u32(0..2), offset))),
        }
        true
    }

    /// What the job says to a call.
    async fn answer(&mut self, call: usize, bad: bool, stepped: bool) -> Result<Option<Answered>> {
        let (configs, asked) = (Rc::clone(&self.configs), time::true_ms());
        let config = if bad { &configs.bad } else { &configs.good };
        let salt = self.ledger.salt().to_vec();
        let reader = config.reader(&salt);
        let passed = &self.resenders.calls[call].passed;
        let Some(approved) = self.ledger.next_approved(&reader, time::host_now(), passed)? else { return Ok(None) };
        let verdict = self.shown()?.iter().find(|one| one.entry == approved.entry).map(|one| one.verdict);
        let net = Net { server: self.server.clone(), prefix: "" };
        let token_net = Net { server: self.server.clone(), prefix: "/oauth/token" };
        let lookups = Lookups::over(config, net, Some(token_net), time::host_now)?;
        let run = self.ledger.begin_run(&RunStart {
            command: "resend",
            started: time::host_now(),
            plan: &config.plan.name,
            plan_digest: &config.plan.digest,
            server: &config.server.base_url.origin().ascii_serialization(),
            windows: &config.windows,
        })?;
        let (lookups, reader) = (&lookups, &reader);
        let permits = Permits { config, reader, lookups, run, clock, fresh_id };
        let longest = self.patience(call);
        let answer = if self.story.steps || stepped {
            // Who writes while the clock is wrong writes what nobody can know.
            permits.of(&mut self.ledger, &approved).await?
        } else {
            self.somebody_writes(call, &approved);
            let beside = self.opened_again()?;
            let mut ledger = std::mem::replace(&mut self.ledger, beside);
            let answer = self.meanwhile(tokio::time::timeout(longest, permits.of(&mut ledger, &approved))).await?;
            self.ledger = ledger;
            match answer {
                Ok(answer) => answer?,
                Err(_) => {
                    self.note(|| format!("call {call} is killed before it is given anything"));
                    self.resenders.calls[call].ended = true;
                    return Ok(None);
                }
            }
        };
        let end = RunEnd { requests: lookups.requests(), ..RunEnd::default() };
        self.ledger.end_run(run, time::host_now(), &end)?;
        // What it saw may have corrected a verdict.
        self.listen(Some(run.0), asked, time::true_ms())?;
        Ok(Some((approved.entry, verdict, answer)))
    }

    /// Some calls are killed while they look.
    fn patience(&mut self, call: usize) -> Duration {
        let killed = !self.resenders.calls[call].quiet && self.wide.u8(..12) == 0;
        if killed { Duration::from_millis(self.wide.u64(1..300)) } else { Duration::from_secs(7200) }
    }

    /// While it is looked at, somebody sends the same and writes that down.
    fn somebody_writes(&mut self, call: usize, approved: &Approved) {
        let Some(op) = self.resenders.shown.get(&approved.entry).map(|shown| shown.op) else { return };
        if self.resenders.calls[call].quiet
            || self.wide.u8(..8) > 0
            || self.ops[op].attempts.len() > 7
            || self.far_off(op)
        {
            return;
        }
        let at = time::true_ms() + self.wide.i64(1..200);
        let how = [How::Late, How::Drawn, How::IntentStays][self.wide.usize(..3)];
        self.at(at, Event::Resend(op, how));
    }

    /// The call hears what was said, and goes on, or not.
    fn hear(
        &mut self,
        (call, asked, stepped): (usize, i64, bool),
        (entry, verdict): (i64, Option<i64>),
        answer: Answer,
    ) -> Result<()> {
        self.note(|| format!("call {call} asked for {entry}: {answer:?}"));
        let now = time::true_ms();
        let state = &mut self.resenders.calls[call];
        let why = match answer {
            Answer::Permit(permit) => return self.begin_permitted((call, asked, stepped), (entry, verdict), permit),
            Answer::NotNow(why) => {
                state.passed.insert(entry);
                self.at(now + 1, Event::Ask(call));
                why
            }
            // It ends a call; the next one is another.
            Answer::Surprise(why) | Answer::NoAnswer(why) => {
                state.passed.insert(entry);
                let quiet = state.quiet;
                state.ended |= !quiet;
                if quiet {
                    self.at(now + 1, Event::Ask(call));
                }
                why
            }
        };
        if let Some(shown) = self.resenders.shown.get(&entry).filter(|_| self.resenders.calls[call].quiet) {
            self.resenders.refused.push((shown.op, why));
        }
        Ok(())
    }

    /// A permit was given: its intent is in the ledger, whatever becomes of it.
    fn begin_permitted(
        &mut self,
        (call, asked, stepped): (usize, i64, bool),
        (entry, verdict): (i64, Option<i64>),
        permit: Permit,
    ) -> Result<()> {
        let now = time::true_ms();
        let Some(op) = permit.attempts.last().and_then(|last| self.of_request.get(last)).copied() else {
            bail!("a permit of nobody's: {permit:?}")
        };
        let open_until = self.open_until("intent", now);
        let attempt = self.ops[op].attempts.len();
        self.ops[op].attempts.push(Attempt {
            request_id: permit.request_id.clone(),
            sent_ms: now,
            sent: false,
            answer: None,
            recorded: true,
            lean: false,
            open_until,
            jumped: false,
        });
        self.of_request.insert(permit.request_id.clone(), op);
        self.in_doubt.insert(permit.request_id.clone());
        self.recorded_at.insert(permit.request_id.clone(), now);
        let reason = self.resenders.shown.get(&entry).and_then(|shown| shown.reason);
        let request_id = permit.request_id;
        self.resenders.given.push(Given { op, request_id, entry, verdict, reason, asked, at: now });
        let state = &mut self.resenders.calls[call];
        state.given += 1;
        let sending = Sending { op, attempt, call, deadline: permit.deadline };
        if stepped || state.quiet {
            return self.send_permitted(sending);
        }
        if self.wide.u8(..8) == 0 {
            self.note(|| format!("call {call} crashes before it sends"));
            self.resenders.calls[call].ended = true;
            return Ok(());
        }
        let gap = if self.wide.bool() { 1 } else { self.wide.i64(1..70 * SECOND) };
        self.at(now + gap, Event::SendPermitted(Box::new(sending)));
        Ok(())
    }

    /// Sends what was permitted, if it is not too late by the host's clock.
    pub fn send_permitted(&mut self, sending: Sending) -> Result<()> {
        let Sending { op, attempt, call, deadline } = sending;
        let now = time::true_ms();
        let quiet = self.resenders.calls[call].quiet;
        let mut row =
            WrittenRow { request_id: self.ops[op].attempts[attempt].request_id.clone(), ..Default::default() };
        if time::host_now() > deadline {
            self.note(|| format!("{} comes too late and is not sent", row.request_id));
            row.failure = Some("not_sent".to_owned());
            self.at(now + 1, Event::EndPermitted(Box::new(row), call));
            return Ok(());
        }
        let crashes = !quiet && self.wide.u8(..6) == 0;
        (self.ops[op].attempts[attempt].sent, self.ops[op].attempts[attempt].sent_ms) = (true, now);
        let token = self.token();
        let fate = match quiet {
            true => "plain".to_owned(),
            false => self.fate(self.ops[op].kind, crashes),
        };
        let end = self.attempt_under(op, attempt, &token, fate, crashes);
        if crashes {
            self.resenders.calls[call].ended = true;
            return Ok(());
        }
        let mut took = 50;
        match end {
            End::Definite(status) => {
                self.ops[op].attempts[attempt].answer = Some(status);
                (row.failure, row.http_status) = (Some("answered".to_owned()), Some(status.into()));
            }
            End::Doubt(failure, status, lasted) => {
                took = lasted;
                if status != Some(429) {
                    let open = self.open_until(failure, now + took);
                    let attempt = &mut self.ops[op].attempts[attempt];
                    attempt.open_until = attempt.open_until.max(open);
                }
                (row.failure, row.http_status) = (Some(failure.to_owned()), status.map(i64::from));
            }
        }
        // Who crashes leaves an intent, which counts as a timeout: the server keeps to that window, as to any.
        if !quiet && self.wide.u8(..8) == 0 && row.failure.as_deref() != Some("http") {
            self.note(|| format!("call {call} crashes before it says how {} ended", row.request_id));
            self.resenders.calls[call].ended = true;
            return Ok(());
        }
        self.at(now + took + 1, Event::EndPermitted(Box::new(row), call));
        Ok(())
    }

    /// It says how that ended, and asks for more if it went well.
    pub fn end_permitted(&mut self, row: &WrittenRow, call: usize) -> Result<()> {
        let status = row.http_status.and_then(|status| u16::try_from(status).ok());
        let end = match (row.failure.as_deref().map(str::parse), status) {
            (Some(Ok(privo_reconcile::words::Failure::Answered)), Some(status)) => {
                Ended::Answered { status, keep: false }
            }
            (Some(Ok(failure)), http_status) => Ended::Failed { failure, http_status, error: None },
            _ => bail!("no end: {row:?}"),
        };
        let step = Step::End { request_id: &row.request_id, ended_at: time::host_now(), end };
        let became = self.ledger.take_down(&[step])?.pop().transpose()?;
        if became != Some(Became::Recorded) {
            self.resenders.unheard.push((row.request_id.clone(), format!("{became:?}")));
        }
        self.heard(row);
        self.note(|| format!("{} ended: {:?} {:?}", row.request_id, row.failure, row.http_status));
        let state = &mut self.resenders.calls[call];
        let went_well = status.is_some_and(|status| (200..300).contains(&status)) || state.quiet;
        if went_well && (state.given < MOST || state.quiet) {
            self.at(time::true_ms() + 1, Event::Ask(call));
        } else {
            state.ended = true;
        }
        Ok(())
    }

    /// In the end, when nothing is in the way: all that is advised is approved, permitted, and arrives.
    pub async fn send_all_that_is_left(&mut self) -> Result<bool> {
        let shown = self.shown()?;
        if shown.is_empty() {
            self.resenders.refused.clear();
            return Ok(false);
        }
        self.approve(&shown)?;
        let before = self.resenders.given.len();
        self.resenders.refused.clear();
        let call = self.begin_call(true);
        self.at(time::true_ms() + 1, Event::Ask(call));
        self.pass_until(time::true_ms() + HOUR).await?;
        Ok(self.resenders.given.len() > before)
    }
}
