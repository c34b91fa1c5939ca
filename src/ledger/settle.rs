//! Settling: evidence, verdict and standing of many groups in one short transaction.
//!
//! Guarded: when a writer changed an entry of the group since it was loaded, or recorded another one that belongs to
//! it, nothing of the group is written and it is looked at again.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::fellows::{self, Fellows};
use super::intake::take_in_all;
use super::{Group, Ledger, RunId};
use crate::clock::Moment;
use crate::decide::{Deferral, Verdict};
use crate::evidence::Look;
use crate::mask;
use crate::plan::Reader;
use crate::words::{Action, Outcome, Reason, Status};

/// What is written of a group.
#[derive(Debug)]
pub struct Stored {
    pub group: Group,
    /// Per member: what is said of it.
    pub told: Vec<Told>,
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
        let mut passed_over = Vec::new();
        let mut last_observation = last_observation(&transaction)?;
        for (index, stored) in batch.iter().enumerate() {
            if changed(&transaction, &stored.group, fellows)? {
                passed_over.push(index);
            } else {
                store_group(&transaction, run, stored, (&basis, &mut last_observation), now)?;
            }
        }
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
    let id = insert_verdict(connection, run, entry, None, &verdict, close.at)?;
    stand(connection, entry, &verdict, id, (None, None))
}

/// A writer changed an entry of the group, or recorded another one that belongs to it.
fn changed(connection: &Connection, group: &Group, fellows: &Fellows) -> Result<bool> {
    let mut statement = connection.prepare_cached("SELECT revision, reading_id FROM standings WHERE entry_id = ?")?;
    let among = |entry| group.members.iter().any(|member| member.row.entry == entry);
    for (member, attempt) in group.each() {
        let now: Option<(i64, Option<i64>)> =
            statement.query_row([attempt.entry], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if now != Some((member.row.revision, Some(member.reading))) {
            return Ok(true);
        }
        let facts = &attempt.facts;
        let mut links = facts.effects.iter().filter_map(|effect| effect.key).chain([facts.identity]);
        if links.any(|link| fellows.came(link, among)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn store_group(
    connection: &Connection,
    run: RunId,
    stored: &Stored,
    (basis, last_observation): (&str, &mut i64),
    now: Moment,
) -> Result<()> {
    for ((_, attempt), looks) in stored.group.each().zip(stored.group.new_looks()) {
        for look in looks {
            let lookup = attempt.facts.effects.get(look.effect).and_then(|effect| effect.lookup.as_deref());
            let of = (attempt.entry, basis, lookup.unwrap_or_default());
            *last_observation = insert_look(connection, run, of, look)?;
        }
    }
    let settles = stored.told.iter().any(|told| matches!(told, Told::Verdict { .. }));
    let decision = if settles { Some(insert_decision(connection, run, stored, *last_observation)?) } else { None };
    for ((attempt, told), looks) in stored.group.case.attempts.iter().zip(&stored.told).zip(stored.group.new_looks()) {
        let entry = attempt.entry;
        let checked = looks.first().filter(|_| !attempt.answered()).map(|look| look.asked);
        match told {
            Told::Nothing if attempt.answered() => {
                connection.prepare_cached("UPDATE standings SET due_ms = NULL WHERE entry_id = ?")?.execute([entry])?;
            }
            Told::Nothing => looked(connection, entry, checked)?,
            Told::Verdict { verdict, due } => {
                let id = insert_verdict(connection, run, entry, decision, verdict, now)?;
                stand(connection, entry, verdict, id, (*due, checked))?;
            }
            Told::Deferral { deferral, due } => defer(connection, entry, deferral, (*due, checked))?,
            Told::Watched { due } => watched(connection, entry, (*due, checked))?,
        }
    }
    Ok(())
}

fn insert_look(
    connection: &Connection,
    run: RunId,
    (entry, basis, lookup): (i64, &str, &str),
    look: &Look,
) -> Result<i64> {
    let records = if look.records.is_empty() { None } else { Some(serde_json::to_string(&look.records)?) };
    connection
        .prepare_cached(
            "INSERT INTO observations (run_id, entry_id, effect, basis, lookup, asked_ms, seen_ms, server_ms, seen, cause, records,
                                       state, known_control, random_control)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            run.0,
            entry,
            look.effect,
            basis,
            lookup,
            look.asked.0,
            look.answered.0,
            look.server.map(|server| server.0),
            look.seen.text(),
            look.cause,
            records,
            look.state,
            look.known.text(),
            look.random.text(),
        ])?;
    Ok(connection.last_insert_rowid())
}

/// The newest look; within the transaction nobody else adds one.
fn last_observation(connection: &Connection) -> Result<i64> {
    Ok(connection.prepare_cached("SELECT coalesce(max(id), 0) FROM observations")?.query_row([], |row| row.get(0))?)
}

fn insert_decision(connection: &Connection, run: RunId, stored: &Stored, last_observation: i64) -> Result<i64> {
    let members = stored.group.members.iter();
    let evidence: Vec<(i64, Option<i64>)> = members.map(|member| (member.reading, member.verdict_id)).collect();
    connection
        .prepare_cached("INSERT INTO decisions (run_id, evidence, last_observation) VALUES (?, ?, ?)")?
        .execute(params![run.0, serde_json::to_string(&evidence)?, last_observation])?;
    Ok(connection.last_insert_rowid())
}

fn insert_verdict(
    connection: &Connection,
    run: RunId,
    entry: i64,
    decision: Option<i64>,
    verdict: &Verdict,
    at: Moment,
) -> Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO verdicts (entry_id, run_id, decision_id, decided_ms, status, outcome, reason, action, server_id, matched_on,
                                   explanation, correction)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            entry,
            run.0,
            decision,
            at.0,
            verdict.status.text(),
            verdict.outcome.text(),
            verdict.reason.text(),
            verdict.action.text(),
            verdict.server_id,
            verdict.matched_on,
            verdict.explanation,
            verdict.correction,
        ])?;
    Ok(connection.last_insert_rowid())
}

/// When an entry is looked at again, and when it was looked at just now, if it was.
type Looked = (Option<Moment>, Option<Moment>);

fn stand(connection: &Connection, entry: i64, verdict: &Verdict, id: i64, (due, checked): Looked) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE standings SET status = ?1, reason = ?2, action = ?3, explanation = NULL, not_before_ms = NULL, verdict_id = ?4,
               due_ms = ?5, checks = checks + (?6 IS NOT NULL), first_checked_ms = coalesce(first_checked_ms, ?6),
               last_checked_ms = coalesce(?6, last_checked_ms)
             WHERE entry_id = ?7",
        )?
        .execute(params![
            verdict.status.text(),
            verdict.reason.text(),
            verdict.action.text(),
            id,
            due.map(|due| due.0),
            checked.map(|checked| checked.0),
            entry
        ])?;
    Ok(())
}

fn defer(
    connection: &Connection,
    entry: i64,
    deferral: &Deferral,
    (due, checked): (Moment, Option<Moment>),
) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE standings SET status = 'pending', reason = ?1, action = ?2, explanation = ?3, not_before_ms = ?4, due_ms = ?5,
               checks = checks + (?6 IS NOT NULL), first_checked_ms = coalesce(first_checked_ms, ?6),
               last_checked_ms = coalesce(?6, last_checked_ms)
             WHERE entry_id = ?7",
        )?
        .execute(params![
            deferral.reason.text(),
            deferral.action.text(),
            deferral.explanation,
            deferral.not_before.map(|moment| moment.0),
            due.0,
            checked.map(|checked| checked.0),
            entry
        ])?;
    Ok(())
}

/// Nothing is said of it; it was looked at for another's sake.
fn looked(connection: &Connection, entry: i64, checked: Option<Moment>) -> Result<()> {
    let Some(checked) = checked else { return Ok(()) };
    connection
        .prepare_cached(
            "UPDATE standings SET checks = checks + 1, first_checked_ms = coalesce(first_checked_ms, ?1), last_checked_ms = ?1
             WHERE entry_id = ?2",
        )?
        .execute([checked.0, entry])?;
    Ok(())
}

/// Its verdict stands.
fn watched(connection: &Connection, entry: i64, (due, checked): Looked) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE standings SET due_ms = ?1, checks = checks + (?2 IS NOT NULL),
               first_checked_ms = coalesce(first_checked_ms, ?2), last_checked_ms = coalesce(?2, last_checked_ms)
             WHERE entry_id = ?3",
        )?
        .execute(params![due.map(|due| due.0), checked.map(|checked| checked.0), entry])?;
    Ok(())
}
