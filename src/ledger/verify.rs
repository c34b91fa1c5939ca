//! Verifying: every verdict decided again from its stored evidence, and all beside it held against it. What is compared is
//! the end that it came to, by the rules of the version that its decision bears; never prose.

mod contradictions;

use std::collections::HashMap;

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension};

use super::Ledger;
use super::blanking::evidence_digest;
use super::groups::{looks_of, settled, told_before};
use super::intake::id_text;
use crate::decide::{Decision, RULES, Verdict, decide};
use crate::evidence::{Attempt, Case};
use crate::standing::Verified;

/// A verdict as it is stored, and what its decision says when it is made again.
pub(super) struct Again {
    /// `verdicts.id`.
    pub verdict: i64,
    pub entry: i64,
    pub stored: Verdict,
    pub again: Anew,
}

/// What comes of making a decision again.
pub(super) enum Anew {
    Says(Decision),
    /// Its evidence does not speak of the entry.
    Silent,
    /// It cannot be made: this row of its evidence is not there.
    Lacks(Missing),
    /// It was made by rules of this version, which are not these.
    Elsewise(i64),
}

/// A row of evidence that is not there, in words.
type Missing = String;

impl Again {
    /// The evidence comes to the end that was stored.
    pub fn same(&self) -> bool {
        matches!(&self.again, Anew::Says(Decision::Settle(again)) if again.same_end(&self.stored))
    }

    /// What differs.
    fn difference(&self) -> String {
        let stored = self.stored.reason;
        match &self.again {
            Anew::Says(Decision::Settle(again)) if again.reason == stored => {
                format!("stored {}, decided again {}", end(&self.stored), end(again))
            }
            Anew::Says(decision) => format!("stored {stored}, decided again {}", decision.reason()),
            Anew::Elsewise(rules) => format!("stored {stored}, by rules of version {rules}"),
            Anew::Silent => format!("stored {stored}, decided again nothing"),
            Anew::Lacks(missing) => format!("stored {stored}, and it cannot be decided again: {missing}"),
        }
    }
}

/// The end that a verdict comes to, in words; the record's id may be anybody's.
fn end(verdict: &Verdict) -> String {
    let record = if verdict.server_id.is_some() { ", a record" } else { "" };
    let correction = if verdict.correction { ", a correction" } else { "" };
    let Verdict { status, outcome, reason, action, .. } = verdict;
    format!("{reason} ({status}, {outcome}, {action}{record}{correction})")
}

/// One decision as it is stored: its id, its run's windows, its evidence, how far the observations went, the removals, and
/// the version of the rules.
type StoredDecision = (i64, String, String, i64, Option<String>, i64);

const DECISION: &str = "SELECT d.id, r.windows, d.evidence, d.last_observation, d.removals, d.rules FROM decisions d JOIN runs r ON r.id = d.run_id";

fn stored_decision(row: &rusqlite::Row) -> rusqlite::Result<StoredDecision> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

/// Makes one decision again.
pub(super) fn decide_again(connection: &Connection, decision: i64) -> Result<Vec<Again>> {
    let mut statement = connection.prepare_cached(&format!("{DECISION} WHERE d.id = ?"))?;
    again(connection, &statement.query_row([decision], stored_decision)?)
}

fn again(
    connection: &Connection,
    (id, windows, evidence, last, removals, rules): &StoredDecision,
) -> Result<Vec<Again>> {
    let evidence: Vec<(i64, Option<i64>)> = serde_json::from_str(evidence).context("failed to read a decision")?;
    let stored = verdicts_of(connection, *id)?;
    if *rules != RULES {
        let of = |(verdict, entry, stored)| Again { verdict, entry, stored, again: Anew::Elsewise(*rules) };
        return Ok(stored.into_iter().map(of).collect());
    }
    let first = stored.first().map_or(i64::MAX, |(verdict, ..)| *verdict);
    let stored = stored.into_iter();
    let attempts = match attempts_as_of(connection, evidence, (*last, first))? {
        Ok(attempts) => attempts,
        Err(missing) => {
            let lacks = || Anew::Lacks(missing.clone());
            return Ok(stored
                .map(|(verdict, entry, stored)| Again { verdict, entry, stored, again: lacks() })
                .collect());
        }
    };
    let windows = serde_json::from_str(windows).context("failed to read a run's windows")?;
    let removals = removals.as_deref().map(serde_json::from_str).transpose().context("failed to read removals")?;
    let case = Case { windows, attempts, removals: removals.unwrap_or_default() };
    let decisions = decide(&case);
    let at: HashMap<i64, usize> = case.attempts.iter().enumerate().map(|(at, attempt)| (attempt.entry, at)).collect();
    let of = |entry| at.get(&entry).map_or(Anew::Silent, |at| Anew::Says(decisions[*at].clone()));
    Ok(stored.map(|(verdict, entry, stored)| Again { verdict, entry, stored, again: of(entry) }).collect())
}

/// The attempts as they were known then, or the first row that is not there.
fn attempts_as_of(
    connection: &Connection,
    evidence: Vec<(i64, Option<i64>)>,
    known: (i64, i64),
) -> Result<std::result::Result<Vec<Attempt>, Missing>> {
    let mut attempts = Vec::with_capacity(evidence.len());
    for (reading, verdict) in evidence {
        match attempt_as_of(connection, reading, verdict, known)? {
            Ok(attempt) => attempts.push(attempt),
            Err(missing) => return Ok(Err(missing)),
        }
    }
    Ok(Ok(attempts))
}

/// `last` was the last observation that was known, `first` the first verdict that the decision made.
fn attempt_as_of(
    connection: &Connection,
    reading: i64,
    verdict: Option<i64>,
    (last, first): (i64, i64),
) -> Result<std::result::Result<Attempt, Missing>> {
    let found: Option<(i64, String, String)> = connection
        .prepare_cached("SELECT entry_id, basis, facts FROM readings WHERE id = ?")?
        .query_row([reading], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((entry, basis, facts)) = found else { return Ok(Err(format!("reading {reading} is missing"))) };
    if let Some(verdict) = verdict
        && !connection.prepare_cached("SELECT 1 FROM verdicts WHERE id = ?")?.exists([verdict])?
    {
        return Ok(Err(format!("verdict {verdict} is missing")));
    }
    Ok(Ok(Attempt {
        entry,
        facts: serde_json::from_str(&facts).context("failed to read a reading")?,
        looks: looks_of(connection, entry, &basis, last)?,
        verdict: verdict.map(|id| settled(connection, id)).transpose()?,
        told: if verdict.is_none() { told_before(connection, entry, first)? } else { None },
    }))
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

impl Ledger {
    /// Decides the whole ledger again, and compares; what stands beside the evidence must not contradict it. What differs
    /// is told by request id.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut statement = self.connection.prepare(&format!("{DECISION} ORDER BY d.id"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for again in again(&self.connection, &stored_decision(row)?)? {
                if let Anew::Elsewise(rules) = again.again {
                    *verified.by_other_rules.entry(rules).or_default() += 1;
                    continue;
                }
                verified.verdicts += u64::from(!matches!(again.again, Anew::Lacks(_)));
                if !again.same() {
                    verified.differ(self.request_id(again.entry)?, again.difference());
                }
            }
        }
        contradictions::each(&self.connection, |entry, what| {
            verified.differ(self.request_id(entry)?, what.to_owned());
            Ok(())
        })?;
        self.verify_blanked(&mut verified)?;
        Ok(verified)
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
