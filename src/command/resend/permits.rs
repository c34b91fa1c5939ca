//! Permits one after the other: each decided under the run's lock, which is let go in between, until the list, the number
//! or the first surprise ends it.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::list::List;
use crate::cli::ResendArgs;
use crate::clock::{Moment, Span, tick};
use crate::command::opened;
use crate::command::record::form::{Ending, FormContext, Order, Wrong};
use crate::config::Config;
use crate::exit::{self, Held, Refused};
use crate::ledger::journal::Became;
use crate::ledger::{Ledger, RunEnd, RunId, RunStart};
use crate::lookup::{Lookups, Stop};
use crate::plan::Reader;
use crate::run::permit::{self, Answer, Permit, Permits};

/// Between two tries to have the lock.
const TRY_AGAIN: Span = Span(100);

/// What a sender is given.
pub enum Given {
    Permit(Permit),
    /// None, and why.
    None(String),
}

/// One call of `resend` that hands permits out.
pub struct Handing<'a> {
    config: &'a Config,
    reader: &'a Reader<'a>,
    lookups: &'a Lookups<'a>,
    /// The ledger's name.
    pub identity: &'a str,
    most: u32,
    wait_lock: Span,
    run: Option<RunId>,
    /// The request id of the permit that was given and not ended.
    open: Option<String>,
    /// Operations that could not be permitted when they were looked at, and why the last of them could not.
    passed: (HashSet<i64>, String),
    /// No more permits, for this reason.
    stopped: Option<String>,
    pub given: u32,
    pub succeeded: u32,
    /// There is something to send, and nobody approved it.
    unapproved: bool,
}

impl<'a> Handing<'a> {
    /// Of a ledger of this name. Nothing is sent.
    ///
    /// # Errors
    /// [`Refused`] when the configuration leaves no time to send in.
    pub fn new(
        config: &'a Config,
        reader: &'a Reader<'a>,
        lookups: &'a Lookups<'a>,
        identity: &'a str,
        args: &ResendArgs,
    ) -> Result<Handing<'a>> {
        if permit::deadline_after(config) <= Span::ZERO {
            bail!(Refused(
                "settle.intent leaves no time to send in (give it at least what your client waits)".to_owned()
            ));
        }
        Ok(Handing {
            config,
            reader,
            lookups,
            identity,
            most: args.most,
            wait_lock: args.wait_lock,
            run: None,
            open: None,
            passed: (HashSet::new(), String::new()),
            stopped: None,
            given: 0,
            succeeded: 0,
            unapproved: false,
        })
    }

    /// The next permit, written ahead; or why there is none.
    ///
    /// # Errors
    /// When the ledger cannot be read or written, credentials are refused, or another run holds the ledger for too long.
    pub async fn next(&mut self) -> Result<Given> {
        if let Some(open) = &self.open {
            let id = crate::mask::id(open);
            return Ok(Given::None(format!("the permit {id} was given and is not ended (send its `end` line first)")));
        }
        loop {
            if let Some(why) = &self.stopped {
                return Ok(Given::None(why.clone()));
            }
            if self.given >= self.most {
                return Ok(Given::None(format!("{} were permitted, the most of one call (see --most)", self.given)));
            }
            // Held while this one is decided and written, and no longer.
            let mut ledger = self.opened_alone().await?;
            let now = Moment::by_the_store();
            let Some(approved) = ledger.next_approved(self.reader, now, &self.passed.0)? else {
                return self.nothing_approved(&ledger);
            };
            let run = self.run(&mut ledger)?;
            self.try_again().await?;
            let Handing { config, reader, lookups, .. } = *self;
            let permits =
                Permits { config, reader, lookups, run, clock: Moment::by_the_store, fresh_id: Ledger::fresh_id };
            match permits.of(&mut ledger, &approved).await? {
                Answer::Permit(permit) => {
                    self.given += 1;
                    self.open = Some(permit.request_id.clone());
                    return Ok(Given::Permit(permit));
                }
                Answer::Surprise(found) => {
                    self.stop(&format!(
                        "a look found what was not expected: {found}; no more is permitted in this call"
                    ));
                }
                Answer::NotNow(why) => {
                    self.passed.0.insert(approved.entry);
                    self.passed.1 = why;
                }
                Answer::NoAnswer(why) => {
                    return Ok(Given::None(format!("the server gave no answer to rely on: {why}")));
                }
            }
        }
    }

    /// No approved operation is left: why, and what to do. What was passed over may be looked at again the next time.
    fn nothing_approved(&mut self, ledger: &Ledger) -> Result<Given> {
        let list = List::of(ledger)?;
        let (passed, why) = std::mem::take(&mut self.passed);
        let open = list.operations.iter().filter(|advised| !passed.contains(&advised.row.entry)).count();
        self.unapproved = open > 0;
        Ok(Given::None(match (open, passed.len()) {
            (0, 0) => "nothing is to be sent again now".to_owned(),
            (0, count) => {
                format!("what is approved cannot be permitted now: {count}, the last of them for this: {why}")
            }
            _ => format!(
                "{open} may be sent again and no approval holds for them: look at the list of `privo-reconcile resend`, then `{}`",
                list.to_approve()
            ),
        }))
    }

    /// Opens the ledger with the run's lock, and waits for it as long as the caller said.
    async fn opened_alone(&self) -> Result<Ledger> {
        let until = tick() + self.wait_lock.duration();
        loop {
            match opened(self.config, Ledger::open_locked) {
                Err(error) if error.is::<Held>() && tick() < until => tokio::time::sleep(TRY_AGAIN.duration()).await,
                ledger => return ledger,
            }
        }
    }

    /// A server that was left alone is tried with one request: a conversation may last longer than its trouble.
    async fn try_again(&self) -> Result<()> {
        if !self.lookups.pace().breaker_open() {
            return Ok(());
        }
        match self.lookups.trial().await {
            Err(Stop::Fatal(error)) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What the looks are noted under.
    fn run(&mut self, ledger: &mut Ledger) -> Result<RunId> {
        if let Some(run) = self.run {
            return Ok(run);
        }
        let run = ledger.begin_run(&RunStart {
            command: "resend",
            started: Moment::now(),
            plan: &self.config.plan.name,
            plan_digest: &self.config.plan.digest,
            server: &self.config.server.base_url.origin().ascii_serialization(),
            windows: &self.config.windows,
        })?;
        Ok(*self.run.insert(run))
    }

    /// Takes the `end` line of the permit that is open.
    ///
    /// # Errors
    /// What is wrong with the line, for its sender; the permit stays open.
    pub fn end(&mut self, line: &str) -> Result<(String, Became), Wrong> {
        let ending = self.read(line)?;
        if self.open.as_ref() != Some(&ending.request_id) {
            return Err(
                "no permit of this call is open under this request_id (`record end` ends an earlier one)".to_owned()
            );
        }
        let order = Order::End(ending);
        let became = self.take_down(&order).map_err(|error| format!("{error:#}"))?;
        self.open = None;
        let Order::End(ending) = order else { return Err("not an end".to_owned()) };
        match ending.success(&self.reader.plan.statuses.already_there) {
            true => self.succeeded += 1,
            false => {
                self.stop(&format!("what was sent ended with {}; no more is permitted in this call", ending.words()))
            }
        }
        Ok((ending.request_id, became))
    }

    /// A writer needs no lock.
    fn take_down(&self, order: &Order) -> Result<Became> {
        let taken = opened(self.config, Ledger::open)?.take_down(&[order.step()])?.pop();
        taken.context("the ledger did not say what became of this")?
    }

    fn read(&self, line: &str) -> Result<Ending, Wrong> {
        let fresh_id = || Err("an end has the permit's `request_id`".to_owned());
        let form = FormContext { reader: self.reader, full_body: false, now: Moment::now(), fresh_id: &fresh_id };
        let is_an_end = serde_json::from_str::<Value>(line).is_ok_and(|said| said.get("end").is_some());
        match form.line(line) {
            Ok(Order::End(ending)) => Ok(ending),
            Err(wrong) if is_an_end => Err(wrong),
            Ok(Order::Attempt(_)) | Err(_) => Err(r#"a line is {"next":{}} or {"end":{…}}"#.to_owned()),
        }
    }

    /// The sender did not say how it ended: the intent stays as it is, in doubt.
    pub fn left_in_doubt(&mut self, why: &str) {
        self.open = None;
        self.stop(&format!(
            "{why}; the request stays in doubt until `run` finds out, and no more is permitted in this call"
        ));
    }

    fn stop(&mut self, why: &str) {
        tracing::warn!(event = "resend-stopped", "{why}");
        self.stopped = Some(why.to_owned());
    }

    /// Why it stopped before its time.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The id of the run that its looks are noted under.
    pub fn run_id(&self) -> Option<i64> {
        self.run.map(|run| run.0)
    }

    /// Ends the call; gives its exit code, which is the ledger's state.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub async fn close(&mut self) -> Result<u8> {
        let mut ledger = opened(self.config, Ledger::open)?;
        if let Some(run) = self.run {
            let controls = serde_json::to_string(&self.lookups.last_controls().await)?;
            let requests = self.lookups.requests();
            let trouble = self.stopped.clone();
            ledger.end_run(run, Moment::now(), &RunEnd { requests, controls, trouble, ..RunEnd::default() })?;
        }
        if self.unapproved && self.given == 0 {
            return Ok(exit::REFUSED);
        }
        let (duplicate_risk, pending) = ledger.state()?;
        Ok(exit::of_state(duplicate_risk, pending))
    }
}
