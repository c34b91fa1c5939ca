//! Group commit: what a recording process was told meanwhile goes into the ledger in one transaction, with one sync.

use anyhow::{Result, bail};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::explain::{unrecorded, unwritable};
use super::record::{End, Ended, NewEntry};
use super::{Ledger, record};
use crate::clock::Moment;

/// One thing to write down.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// An attempt: an intent, or what is known of it already.
    Record(NewEntry<'a>),
    /// How a recorded intent ended.
    End { request_id: &'a str, ended_at: Moment, end: End<'a> },
}

/// What became of a [`Step`] that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is in the ledger now.
    Recorded,
    /// It was answered, and nothing is in doubt: the ledger does not hold it any more.
    Forgotten,
    /// It was there already, or had ended already; nothing was changed.
    Unchanged,
    /// An end of something that is not in the ledger; nothing was changed.
    Unknown,
}

impl Ledger {
    /// Takes steps in their order, in one transaction: when this returns, they are durable. A step that the ledger
    /// refuses has its own error and does not hold up the others.
    ///
    /// # Errors
    /// When the ledger cannot be written: then none of the steps was taken.
    pub fn take_down(&mut self, steps: &[Step]) -> Result<Vec<Result<Became>>> {
        let path = self.path.clone();
        let explained = |error| unrecorded(&path, error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explained)?;
        let mut taken = Vec::with_capacity(steps.len());
        for step in steps {
            match take(&transaction, step) {
                Err(error) if transaction.is_autocommit() || is_the_disks(&error) => return Err(explained(error)),
                became => taken.push(became.map_err(explained)),
            }
        }
        transaction.commit().map_err(explained)?;
        Ok(taken)
    }

    /// An id that no other request has.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub fn fresh_id(&self) -> Result<String> {
        Ok(self.connection.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))?)
    }

    /// Whether the file, and its log beside it, may be written by this user.
    ///
    /// # Errors
    /// When not, with the remedy.
    pub fn check_writable(&mut self) -> Result<()> {
        if self.connection.is_readonly("main")? {
            bail!(unwritable(&self.path));
        }
        self.take_down(&[]).map(|_| ())
    }
}

/// Whether it is the file that cannot be written, not the step that is refused.
fn is_the_disks(error: &rusqlite::Error) -> bool {
    !matches!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig))
}

fn take(connection: &Connection, step: &Step) -> rusqlite::Result<Became> {
    match step {
        Step::Record(entry) => {
            Ok(if record::record(connection, entry)? { Became::Recorded } else { Became::Unchanged })
        }
        Step::End { request_id, ended_at, end } => match record::end(connection, request_id, *ended_at, end)? {
            Ended::Forgotten => Ok(Became::Forgotten),
            Ended::Kept => Ok(Became::Recorded),
            Ended::NoIntent => {
                let there = connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE request_id = ?)")?
                    .query_row([request_id], |row| row.get(0))?;
                Ok(if there { Became::Unchanged } else { Became::Unknown })
            }
        },
    }
}
