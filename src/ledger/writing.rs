//! Writing what was seen and decided, row by row. The statements are prepared once for a batch: finding each of them
//! again for every row costs as much as running it.

use anyhow::Result;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::RunId;
use super::fellows::Fellows;
use super::settle::{NewLook, Stored, StoredMember, Told};
use crate::clock::Moment;
use crate::decide::{Deferral, RULES, Verdict};

/// When an entry is looked at again, and when it was looked at just now, if it was.
type Looked = (Option<Moment>, Option<Moment>);

/// The statements of one transaction.
pub(super) struct Writing<'c> {
    connection: &'c Connection,
    run: RunId,
    now: Moment,
    /// The newest look; within the transaction nobody else adds one.
    last_observation: i64,
    revision: CachedStatement<'c>,
    look: CachedStatement<'c>,
    decision: CachedStatement<'c>,
    verdict: CachedStatement<'c>,
    stand: CachedStatement<'c>,
    defer: CachedStatement<'c>,
    checked: CachedStatement<'c>,
    stands: CachedStatement<'c>,
    lead: CachedStatement<'c>,
    vanished: CachedStatement<'c>,
}

impl<'c> Writing<'c> {
    pub(super) fn prepare(connection: &'c Connection, run: RunId, now: Moment) -> Result<Writing<'c>> {
        let last = "SELECT coalesce(max(id), 0) FROM observations";
        Ok(Writing {
            connection,
            run,
            now,
            last_observation: connection.prepare_cached(last)?.query_row([], |row| row.get(0))?,
            revision: connection.prepare_cached("SELECT revision, reading_id FROM standings WHERE entry_id = ?")?,
            look: connection.prepare_cached(
                "INSERT INTO observations (run_id, entry_id, effect, basis, lookup, asked_ms, seen_ms, server_ms, seen, cause,
                                           records, state, known_control, random_control, near_control, skew_least_ms,
                                           skew_most_ms, made_error_ms, fields_control)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            decision: connection
                .prepare_cached("INSERT INTO decisions (run_id, evidence, last_observation, removals, rules) VALUES (?, ?, ?, ?, ?)")?,
            verdict: connection.prepare_cached(
                "INSERT INTO verdicts (entry_id, run_id, decision_id, decided_ms, status, outcome, reason, action, server_id,
                                       matched_on, explanation, correction)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            stand: connection.prepare_cached(
                "UPDATE standings SET status = ?1, reason = ?2, action = ?3, explanation = NULL, not_before_ms = NULL,
                   verdict_id = ?4, due_ms = ?5, joined = NULL, vanished_ms = NULL, checks = checks + (?6 IS NOT NULL),
                   first_checked_ms = coalesce(first_checked_ms, ?6), last_checked_ms = coalesce(?6, last_checked_ms)
                 WHERE entry_id = ?7",
            )?,
            defer: connection.prepare_cached(
                "UPDATE standings SET status = 'pending', reason = ?1, action = ?2, explanation = ?3, not_before_ms = ?4,
                   due_ms = ?5, verdict_id = NULL, checks = checks + (?6 IS NOT NULL),
                   first_checked_ms = coalesce(first_checked_ms, ?6), last_checked_ms = coalesce(?6, last_checked_ms)
                 WHERE entry_id = ?7",
            )?,
            checked: connection.prepare_cached(
                "UPDATE standings SET checks = checks + 1, first_checked_ms = coalesce(first_checked_ms, ?1),
                   last_checked_ms = ?1
                 WHERE entry_id = ?2",
            )?,
            stands: connection.prepare_cached(
                "UPDATE standings SET due_ms = ?1, joined = CASE WHEN ?2 THEN joined END WHERE entry_id = ?3",
            )?,
            lead: connection.prepare_cached("UPDATE standings SET lead = nullif(?1, entry_id) WHERE entry_id = ?2")?,
            vanished: connection.prepare_cached("UPDATE standings SET vanished_ms = ?1 WHERE entry_id = ?2")?,
        })
    }

    /// Whether a writer changed an entry of the group, or recorded another one that belongs to it.
    pub(super) fn changed(&mut self, stored: &Stored, fellows: &Fellows) -> Result<bool> {
        let among = |entry| stored.members.iter().any(|member| member.entry == entry);
        for member in &stored.members {
            let now: Option<(i64, Option<i64>)> =
                self.revision.query_row([member.entry], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            if now != Some((member.revision, Some(member.reading))) {
                return Ok(true);
            }
            if member.links.iter().any(|link| fellows.came(*link, among)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the looks at a group, and what is said of its members.
    pub(super) fn group(&mut self, stored: &Stored, basis: &str) -> Result<()> {
        for member in &stored.members {
            for look in &member.looks {
                self.look(member.entry, basis, look)?;
            }
        }
        let settles = stored.members.iter().any(|member| matches!(member.told, Told::Verdict { .. }));
        let decision = if settles { Some(self.decision(stored)?) } else { None };
        for member in &stored.members {
            let entry = member.entry;
            let checked = member.looks.first().filter(|_| !member.answered).map(|new| new.look.asked);
            if let Some(lead) = member.lead {
                self.lead.execute([lead, entry])?;
            }
            match &member.told {
                Told::Nothing if member.answered => self.stands(entry, None, false)?,
                // The looks that a verdict rests on are those that were made before it.
                Told::Nothing => {}
                Told::Verdict { verdict, due } => self.settle(entry, decision, verdict, (*due, checked))?,
                Told::Deferral { deferral, due } => self.defer(entry, deferral, (*due, checked))?,
                Told::Stands { due, open } => {
                    self.checked(entry, checked.filter(|_| watched(member)))?;
                    self.stands(entry, *due, *open)?;
                }
            }
            if let Some(vanished) = member.vanished {
                self.vanished.execute(params![vanished.map(|moment| moment.0), entry])?;
            }
        }
        Ok(())
    }

    fn stands(&mut self, entry: i64, due: Option<Moment>, open: bool) -> Result<()> {
        self.stands.execute(params![due.map(|due| due.0), open, entry])?;
        Ok(())
    }

    fn look(&mut self, entry: i64, basis: &str, NewLook { look, lookup, records }: &NewLook) -> Result<()> {
        self.last_observation = self.look.insert(params![
            self.run.0,
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
            look.near.text(),
            look.skew.map(|(least, _)| least.0),
            look.skew.map(|(_, most)| most.0),
            look.made_error.0,
            look.fields.text(),
        ])?;
        Ok(())
    }

    fn decision(&mut self, stored: &Stored) -> Result<i64> {
        let members = stored.members.iter();
        let evidence: Vec<(i64, Option<i64>)> = members.map(|member| (member.reading, member.verdict_id)).collect();
        let evidence = serde_json::to_string(&evidence)?;
        let removals = if stored.removals.is_empty() { None } else { Some(serde_json::to_string(&stored.removals)?) };
        Ok(self.decision.insert(params![self.run.0, evidence, self.last_observation, removals, RULES])?)
    }

    /// Writes a verdict, and that it holds.
    pub(super) fn settle(
        &mut self,
        entry: i64,
        decision: Option<i64>,
        verdict: &Verdict,
        (due, checked): Looked,
    ) -> Result<()> {
        self.verdict.execute(params![
            entry,
            self.run.0,
            decision,
            self.now.0,
            verdict.status.text(),
            verdict.outcome.text(),
            verdict.reason.text(),
            verdict.action.text(),
            verdict.server_id,
            verdict.matched_on,
            verdict.explanation,
            verdict.correction,
        ])?;
        self.stand.execute(params![
            verdict.status.text(),
            verdict.reason.text(),
            verdict.action.text(),
            self.connection.last_insert_rowid(),
            due.map(|due| due.0),
            checked.map(|checked| checked.0),
            entry
        ])?;
        Ok(())
    }

    fn defer(&mut self, entry: i64, deferral: &Deferral, (due, checked): (Moment, Option<Moment>)) -> Result<()> {
        self.defer.execute(params![
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

    /// It was looked at; nothing new is said of it.
    fn checked(&mut self, entry: i64, checked: Option<Moment>) -> Result<()> {
        if let Some(checked) = checked {
            self.checked.execute([checked.0, entry])?;
        }
        Ok(())
    }
}

/// A verdict that says what is not there rests on the looks that went on not finding it; one that names a record on those
/// that found it.
fn watched(member: &StoredMember) -> bool {
    !member.names_one
}
