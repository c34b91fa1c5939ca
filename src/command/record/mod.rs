//! `record`: the way into the ledger from every language. One record by one command, or a long-lived process that takes
//! JSON lines.
//!
//! # Durability
//! What was answered `ok` is in the ledger and synced. A process that is killed between a line and its answer may or may
//! not have written it: saying it again, with the same request id, changes nothing.
//!
//! # Performance
//! A thread reads lines while the ledger syncs; those that came meanwhile share the next transaction.

pub(super) mod form;

use std::io::{BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::cli::{RecordArgs, RecordForm};
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::Ledger;
use crate::ledger::journal::{Became, Step};
use crate::plan::Reader;
use form::{FormContext, Order, Wrong};

/// The longest line, and the longest form of one command, in bytes.
const LONGEST_LINE: u64 = 1024 * 1024;

/// Lines in one transaction, at the most; as many more wait while it is written.
const BATCH: usize = 200;

/// Records what standard input says; gives the exit code.
pub fn record(config: &Config, args: &RecordArgs, json: bool) -> Result<u8> {
    let mut ledger = super::opened(config, Ledger::open)?;
    ledger.check_writable()?;
    let salt = ledger.salt().to_owned();
    let reader = config.reader(&salt);
    let mut handler = Handler { ledger: &mut ledger, reader: &reader, full_body: args.full_body, json };
    match (&args.form, args.stdin) {
        (Some(RecordForm::Begin), false) => handler.one(|form, text| form.begin(text), true),
        (Some(RecordForm::End { request_id }), false) => handler.one(|form, text| form.end(request_id, text), false),
        (None, true) => handler.serve(),
        _ => bail!(Refused("say one of `record begin`, `record end REQUEST_ID` and `record --stdin`".to_owned())),
    }
}

/// Where forms are handed in.
struct Handler<'a> {
    ledger: &'a mut Ledger,
    reader: &'a Reader<'a>,
    full_body: bool,
    /// One record is answered by a JSON document.
    json: bool,
}

/// What became of one form.
enum Taken {
    Ok {
        request_id: String,
        became: Became,
    },
    /// The caller's mistake.
    Wrong(Wrong),
    /// The ledger could not take it.
    Failed(String),
}

impl Handler<'_> {
    fn read(&self, read: impl FnOnce(&FormContext) -> Result<Order, Wrong>) -> Result<Order, Wrong> {
        let fresh_id = || Ok(self.ledger.fresh_id());
        read(&FormContext { reader: self.reader, full_body: self.full_body, now: Moment::now(), fresh_id: &fresh_id })
    }

    /// One form, from the whole of standard input.
    fn one(&mut self, read: impl FnOnce(&FormContext, &str) -> Result<Order, Wrong>, tells: bool) -> Result<u8> {
        let mut text = String::new();
        let input = std::io::stdin().lock().take(LONGEST_LINE + 1).read_to_string(&mut text);
        input.map_err(|_| Refused("standard input is not UTF-8".to_owned()))?;
        if text.len() as u64 > LONGEST_LINE {
            bail!(Refused(too_long()));
        }
        let order = self.read(|form| read(form, &text)).map_err(Refused)?;
        let Some(taken) = self.take(vec![Ok(order)]).pop() else { return Ok(exit::FAILED) };
        match taken {
            Taken::Ok { request_id, became } => {
                if became == Became::Unchanged {
                    tracing::warn!(
                        event = "recorded-before",
                        "this request had been recorded before; nothing was changed"
                    );
                }
                if self.json {
                    let shown = json!({ "request_id": request_id, "became": became_text(became) });
                    document::print("record", exit::DONE, &shown)?;
                } else if tells {
                    writeln!(std::io::stdout(), "{request_id}")?;
                }
                Ok(exit::DONE)
            }
            Taken::Wrong(why) => Err(anyhow::Error::new(Refused(why))),
            Taken::Failed(why) => Err(anyhow!(why)),
        }
    }

    /// Lines until there are no more.
    fn serve(&mut self) -> Result<u8> {
        let (put, lines) = sync_channel(BATCH);
        // It ends with standard input; a reader that blocks when the process ends is of no harm.
        std::thread::Builder::new().spawn(move || read_lines(&put)).context("failed to start reading")?;
        let mut out = std::io::stdout().lock();
        let mut code = exit::DONE;
        while let Some(batch) = next_batch(&lines) {
            let orders =
                batch.into_iter().map(|line| line.and_then(|line| self.read(|form| form.line(&line)))).collect();
            let mut answers = String::new();
            for taken in self.take(orders) {
                code = code.max(taken.code());
                answers.push_str(&taken.answer());
                answers.push('\n');
            }
            out.write_all(answers.as_bytes()).and_then(|()| out.flush())?;
        }
        Ok(code)
    }

    /// Writes what could be read, in one transaction.
    fn take(&mut self, orders: Vec<Result<Order, Wrong>>) -> Vec<Taken> {
        let steps: Vec<Step> = orders.iter().flatten().map(Order::step).collect();
        let written = match steps.is_empty() {
            true => Ok(Vec::new()),
            false => self.ledger.take_down(&steps),
        };
        let mut written = written.map(Vec::into_iter).map_err(|error| format!("{error:#}"));
        let outcome = |order: Result<Order, Wrong>| match (order, &mut written) {
            (Err(why), _) => Taken::Wrong(why),
            (Ok(_), Err(why)) => Taken::Failed(why.clone()),
            (Ok(order), Ok(written)) => match written.next() {
                Some(Ok(became)) => taken(&order, became),
                Some(Err(why)) => Taken::Wrong(format!("{why:#}")),
                None => Taken::Failed("the ledger did not say what became of this".to_owned()),
            },
        };
        orders.into_iter().map(outcome).collect()
    }
}

fn taken(order: &Order, became: Became) -> Taken {
    match became {
        Became::Unknown if order.is_in_doubt() => Taken::Wrong(
            "there is no such intent in the ledger (record the whole row: {\"entry\":{…}} of `record --stdin`)"
                .to_owned(),
        ),
        // It was answered and forgotten before, or never begun: either way nothing is in doubt.
        Became::Unknown => Taken::Ok { request_id: order.request_id().to_owned(), became: Became::Unchanged },
        became => Taken::Ok { request_id: order.request_id().to_owned(), became },
    }
}

pub(super) fn became_text(became: Became) -> &'static str {
    match became {
        Became::Recorded => "recorded",
        Became::Forgotten => "forgotten",
        Became::Unchanged | Became::Unknown => "unchanged",
    }
}

impl Taken {
    fn answer(&self) -> String {
        match self {
            Taken::Ok { request_id, became } => {
                json!({ "ok": true, "request_id": request_id, "became": became_text(*became) }).to_string()
            }
            Taken::Wrong(why) | Taken::Failed(why) => json!({ "ok": false, "error": why }).to_string(),
        }
    }

    /// A mistake weighs more than a failure: it will not go away by itself.
    fn code(&self) -> u8 {
        match self {
            Taken::Ok { .. } => exit::DONE,
            Taken::Failed(_) => exit::FAILED,
            Taken::Wrong(_) => exit::REFUSED,
        }
    }
}

/// The next line, and those that are there already. `None`: there will be none.
fn next_batch(lines: &Receiver<Line>) -> Option<Vec<Line>> {
    let first = lines.recv().ok()?;
    Some(std::iter::once(first).chain(lines.try_iter()).take(BATCH).collect())
}

/// A line of standard input; or why it is none.
pub(super) type Line = Result<String, Wrong>;

fn read_lines(put: &SyncSender<Line>) {
    let mut input = std::io::stdin().lock();
    while let Some(line) = read_next(&mut input) {
        if put.send(line).is_err() {
            return;
        }
    }
}

/// The next line that is not blank.
pub(super) fn read_next(input: &mut impl BufRead) -> Option<Line> {
    let is_blank = |line: &Line| matches!(line, Ok(line) if line.trim().is_empty());
    std::iter::from_fn(|| next_line(input)).find(|line| !is_blank(line))
}

/// The next line without its end. One that is too long is passed over whole, so that the next is read right.
fn next_line(input: &mut impl BufRead) -> Option<Line> {
    let mut bytes = Vec::new();
    let read = input.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
    match read {
        Ok(0) => None,
        Ok(_) if bytes.last() == Some(&b'\n') || (bytes.len() as u64) <= LONGEST_LINE => {
            Some(String::from_utf8(bytes).map_err(|_| "the line is not UTF-8".to_owned()))
        }
        Ok(_) => {
            let _ = input.skip_until(b'\n');
            Some(Err(too_long()))
        }
        Err(_) => None,
    }
}

fn too_long() -> Wrong {
    format!("longer than {LONGEST_LINE} bytes")
}
