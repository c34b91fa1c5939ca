//! Settling: evidence, verdict and standing of many groups in one short transaction.
//!
//! Guarded: when a writer changed an entry of the group since it was loaded, or recorded another one that belongs to
//! it, nothing of the group is written and it is looked at again.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::fellows::{self, Fellows};
use super::intake::take_in_all;
use super::writing::Writing;
use super::{Group, Ledger, Member, RunId};
use crate::clock::Moment;
use crate::decide::{Deferral, Verdict};
use crate::evidence::{Attempt, Effect, Facts, Link, Look};
use crate::mask;
use crate::plan::Reader;
use crate::words::{Action, Outcome, Reason, Status};

/// What is written of a group, and no more of it: hundreds of them wait for the next transaction.
#[derive(Debug)]
pub struct Stored {
    /// In the order of arrival.
    pub members: Vec<StoredMember>,
}

/// What is written of one member.
#[derive(Debug)]
pub struct StoredMember {
    /// `entries.id`.
    pub entry: i64,
    /// How it stood when it was loaded.
    pub status: Option<Status>,
    /// What is said of it.
    pub told: Told,
    /// Of one that is corrected: `entries.request_id`.
    pub corrected: Option<String>,
    /// What was seen of it since it was loaded.
    pub looks: Vec<NewLook>,
    pub(super) answered: bool,
    pub(super) revision: i64,
    pub(super) reading: i64,
    pub(super) verdict_id: Option<i64>,
    pub(super) links: Vec<Link>,
}

/// A look that is not in the ledger yet.
#[derive(Debug)]
pub struct NewLook {
    /// Its records are JSON already.
    pub look: Look,
    pub(super) lookup: String,
    pub(super) records: Option<String>,
}

impl Stored {
    /// What is written of a group, of whose members this is told.
    ///
    /// # Errors
    /// Never, in practice: when a record is no JSON.
    pub fn of(group: Group, told: Vec<Told>) -> Result<Stored> {
        let members = group.members.into_iter().zip(group.case.attempts).zip(told);
        let members = members.map(|((member, attempt), told)| StoredMember::of(member, attempt, told));
        Ok(Stored { members: members.collect::<Result<_>>()? })
    }
}

impl StoredMember {
    fn of(member: Member, attempt: Attempt, told: Told) -> Result<StoredMember> {
        let answered = attempt.answered();
        let Facts { effects, identity, .. } = attempt.facts;
        let new = attempt.looks.into_iter().skip(member.stored_looks);
        let looks = new.map(|look| NewLook::of(look, &effects)).collect::<Result<_>>()?;
        let corrected = matches!(&told, Told::Verdict { verdict, .. } if verdict.correction);
        Ok(StoredMember {
            entry: attempt.entry,
            status: member.status,
            told,
            corrected: corrected.then_some(member.row.request_id),
            looks,
            answered,
            revision: member.row.revision,
            reading: member.reading,
            verdict_id: member.verdict_id,
            links: effects.iter().filter_map(|effect| effect.key).chain([identity]).collect(),
        })
    }
}

impl NewLook {
    fn of(mut look: Look, effects: &[Effect]) -> Result<NewLook> {
        let lookup = effects.get(look.effect).and_then(|effect| effect.lookup.clone()).unwrap_or_default();
        let records = std::mem::take(&mut look.records);
        let records = if records.is_empty() { None } else { Some(serde_json::to_string(&records)?) };
        Ok(NewLook { look, lookup, records })
    }
}

/// What is said of one member, and when it is looked at again.
#[derive(Clone, Debug)]
pub enum Told {
    /// Evidence only, or not examined this time.
    Nothing,
    /// A verdict; `due` while it is watched.
    Verdict { verdict: Verdict, due: Option<Moment> },
    /// Still pending.
    Deferral { deferral: Deferral, due: Moment },
    /// Its verdict stands; the watch goes on or ends.
    Watched { due: Option<Moment> },
}

/// What a person says of an entry.
#[derive(Clone, Debug)]
pub struct Close {
    pub who: String,
    pub why: String,
    pub outcome: Outcome,
    pub at: Moment,
}

impl Ledger {
    /// Writes what is said of many groups. Gives those that were not written because a writer was there first.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing was.
    pub fn store(
        &mut self,
        run: RunId,
        batch: &[Stored],
        reader: &Reader,
        fellows: &mut Fellows,
        now: Moment,
    ) -> Result<Vec<usize>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let news = take_in_all(&transaction, reader, now)?;
        fellows::note(&transaction, fellows, news)?;
        let basis = reader.basis();
        let mut writing = Writing::prepare(&transaction, run, now)?;
        let mut passed_over = Vec::new();
        for (index, stored) in batch.iter().enumerate() {
            if writing.changed(stored, fellows)? {
                passed_over.push(index);
            } else {
                writing.group(stored, &basis)?;
            }
        }
        drop(writing);
        transaction.commit()?;
        Ok(passed_over)
    }

    /// Closes entries by a person's word. Gives how many of them there are.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing was.
    pub fn close(&mut self, run: RunId, entries: &[i64], close: &Close) -> Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for entry in entries {
            close_entry(&transaction, run, *entry, close)?;
        }
        transaction.commit()?;
        Ok(entries.len())
    }
}

/// Closes one entry by a person's word; an `answered` one has nothing to close.
pub(super) fn close_entry(connection: &Connection, run: RunId, entry: i64, close: &Close) -> Result<()> {
    let before: Option<(Option<String>, Option<String>)> = connection
        .query_row("SELECT status, reason FROM standings WHERE entry_id = ?", [entry], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((Some(status), reason)) = before else { return Ok(()) };
    let reason = reason.unwrap_or_else(|| "not looked at yet".to_owned());
    let verdict = Verdict {
        status: Status::Resolved,
        outcome: close.outcome,
        reason: Reason::Closed,
        action: Action::None,
        server_id: None,
        matched_on: None,
        // Reports show it.
        explanation: format!("closed by {}: {} (was {status}, {reason})", close.who, mask::words(&close.why)),
        correction: false,
    };
    Writing::prepare(connection, run, close.at)?.settle(entry, None, &verdict, (None, None))
}
