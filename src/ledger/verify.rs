//! Verifying: every verdict decided again from its stored evidence.

use std::collections::HashMap;

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::Ledger;
use super::blanking::evidence_digest;
use super::groups::{looks_of, settled, told_before};
use super::intake::id_text;
use crate::decide::{Decision, Verdict, decide};
use crate::evidence::{Attempt, Case};
use crate::standing::Verified;

/// A verdict as it is stored, and what its decision says when it is made again.
pub(super) struct Again {
    /// `verdicts.id`.
    pub verdict: i64,
    pub entry: i64,
    pub stored: Verdict,
    /// `None`: its evidence does not speak of the entry.
    pub again: Option<Decision>,
}

impl Again {
    /// The evidence says what was stored.
    pub fn same(&self) -> bool {
        matches!(&self.again, Some(Decision::Settle(again)) if *again == self.stored)
    }
}

/// One decision as it is stored: its id, its run's windows, its evidence and how far the observations went.
type StoredDecision = (i64, String, String, i64);

const DECISION: &str =
    "SELECT d.id, r.windows, d.evidence, d.last_observation FROM decisions d JOIN runs r ON r.id = d.run_id";

fn stored_decision(row: &rusqlite::Row) -> rusqlite::Result<StoredDecision> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// Makes one decision again.
pub(super) fn decide_again(connection: &Connection, decision: i64) -> Result<Vec<Again>> {
    let mut statement = connection.prepare_cached(&format!("{DECISION} WHERE d.id = ?"))?;
    again(connection, &statement.query_row([decision], stored_decision)?)
}

fn again(connection: &Connection, (id, windows, evidence, last): &StoredDecision) -> Result<Vec<Again>> {
    let evidence: Vec<(i64, Option<i64>)> = serde_json::from_str(evidence).context("failed to read a decision")?;
    let mut attempts = Vec::with_capacity(evidence.len());
    let stored = verdicts_of(connection, *id)?;
    let first = stored.first().map_or(i64::MAX, |(verdict, ..)| *verdict);
    for (reading, verdict) in evidence {
        attempts.push(attempt_as_of(connection, reading, verdict, (*last, first))?);
    }
    let case = Case { windows: serde_json::from_str(windows).context("failed to read a run's windows")?, attempts };
    let decisions = decide(&case);
    let at: HashMap<i64, usize> = case.attempts.iter().enumerate().map(|(at, attempt)| (attempt.entry, at)).collect();
    let of = |entry| at.get(&entry).map(|at| decisions[*at].clone());
    Ok(stored.into_iter().map(|(verdict, entry, stored)| Again { verdict, entry, stored, again: of(entry) }).collect())
}

/// `last` was the last observation that was known, `first` the first verdict that the decision made.
fn attempt_as_of(
    connection: &Connection,
    reading: i64,
    verdict: Option<i64>,
    (last, first): (i64, i64),
) -> Result<Attempt> {
    let (entry, basis, facts): (i64, String, String) = connection
        .prepare_cached("SELECT entry_id, basis, facts FROM readings WHERE id = ?")?
        .query_row([reading], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .with_context(|| format!("reading {reading} is missing"))?;
    Ok(Attempt {
        entry,
        facts: serde_json::from_str(&facts).context("failed to read a reading")?,
        looks: looks_of(connection, entry, &basis, last)?,
        verdict: verdict.map(|id| settled(connection, id)).transpose()?,
        told: if verdict.is_none() { told_before(connection, entry, first)? } else { None },
    })
}

fn verdicts_of(connection: &Connection, decision: i64) -> Result<Vec<(i64, i64, Verdict)>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, entry_id, status, outcome, reason, action, server_id, matched_on, explanation, correction FROM verdicts
         WHERE decision_id = ? ORDER BY id",
    )?;
    let mut rows = statement.query([decision])?;
    let mut verdicts = Vec::new();
    while let Some(row) = rows.next()? {
        let verdict = Verdict {
            status: row.get_ref(2)?.as_str()?.parse()?,
            outcome: row.get_ref(3)?.as_str()?.parse()?,
            reason: row.get_ref(4)?.as_str()?.parse()?,
            action: row.get_ref(5)?.as_str()?.parse()?,
            server_id: row.get(6)?,
            matched_on: row.get(7)?,
            explanation: row.get(8)?,
            correction: row.get(9)?,
        };
        verdicts.push((row.get(0)?, row.get(1)?, verdict));
    }
    Ok(verdicts)
}

/// What an honest ledger has none of: entries, by what contradicts what.
const CONTRADICTIONS: &[(&str, &str)] = &[
    ("SELECT id FROM entries WHERE id NOT IN (SELECT entry_id FROM standings)", "nothing says where it stands"),
    (
        // One that was not read yet may be its writer's to take back.
        "SELECT entry_id FROM standings WHERE reading_id IS NOT NULL AND entry_id NOT IN (SELECT id FROM entries)",
        "the entry is not there",
    ),
    ("SELECT entry_id FROM standings WHERE status = 'pending' AND due_ms IS NULL", "it is pending, and no look is due"),
    (
        "SELECT s.entry_id FROM standings s LEFT JOIN verdicts v ON v.id = s.verdict_id AND v.entry_id = s.entry_id
         WHERE s.status IN ('resolved', 'duplicate-risk')
           AND (v.id IS NULL OR v.status <> s.status OR v.reason <> s.reason OR v.action <> s.action
                OR EXISTS (SELECT 1 FROM verdicts later WHERE later.entry_id = s.entry_id AND later.id > v.id))",
        "its standing does not follow from its last verdict",
    ),
    (
        "SELECT entry_id FROM verdicts WHERE decision_id IS NULL AND reason <> 'closed'",
        "a verdict that neither a decision nor a person stands behind",
    ),
    (
        "SELECT entry_id FROM verdicts v
         WHERE decision_id IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM decisions d JOIN runs r ON r.id = d.run_id WHERE d.id = v.decision_id)",
        "a verdict of a decision, or of a run, that is not there",
    ),
];

impl Ledger {
    /// Decides the whole ledger again, and compares. What differs is told by request id.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut statement = self.connection.prepare(&format!("{DECISION} ORDER BY d.id"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for again in again(&self.connection, &stored_decision(row)?)? {
                verified.verdicts += 1;
                if !again.same() {
                    let now = again.again.as_ref().map_or("nothing", |decision| decision.reason().text());
                    let what = format!("stored {}, decided again {now}", again.stored.reason);
                    verified.differ(self.request_id(again.entry)?, what);
                }
            }
        }
        self.verify_standings(&mut verified)?;
        self.verify_blanked(&mut verified)?;
        Ok(verified)
    }

    /// Every entry has a standing, every standing follows from a verdict, and every verdict from a decision or a person.
    fn verify_standings(&self, verified: &mut Verified) -> Result<()> {
        for (sql, what) in CONTRADICTIONS {
            let mut statement = self.connection.prepare(sql)?;
            let entries: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for entry in entries {
                verified.differ(self.request_id(entry)?, (*what).to_owned());
            }
        }
        Ok(())
    }

    /// What is left of a blanked entry is what was left when it was blanked.
    fn verify_blanked(&self, verified: &mut Verified) -> Result<()> {
        let mut statement = self.connection.prepare(
            "SELECT entry_id, last_reading, last_observation, last_verdict, evidence FROM blanked ORDER BY entry_id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let entry: i64 = row.get(0)?;
            let digest = evidence_digest(&self.connection, entry, (row.get(1)?, row.get(2)?, row.get(3)?))?;
            if digest != row.get_ref(4)?.as_str()? {
                let what = "its evidence was changed after its personal fields had been removed";
                verified.differ(self.request_id(entry)?, what.to_owned());
            }
        }
        Ok(())
    }

    fn request_id(&self, entry: i64) -> Result<String> {
        let mut statement = self.connection.prepare_cached("SELECT request_id FROM entries WHERE id = ?")?;
        let mut rows = statement.query([entry])?;
        Ok(rows.next()?.map(|row| row.get_ref(0).map(id_text)).transpose()?.unwrap_or_else(|| format!("entry {entry}")))
    }
}
