//! Verifying: every verdict decided again from its stored evidence.

use anyhow::{Context, Result};
use rusqlite::params;

use super::Ledger;
use super::groups::{looks_of, settled};
use crate::decide::{Decision, Verdict, decide};
use crate::evidence::{Attempt, Case};
use crate::standing::Verified;

/// One decision as it is stored: its id, its run's windows, its evidence and how far the observations went.
type StoredDecision = (i64, String, String, i64);

impl Ledger {
    /// Decides the whole ledger again, and compares. What differs is told by request id.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        let mut statement = self.connection.prepare(
            "SELECT d.id, r.windows, d.evidence, d.last_observation FROM decisions d JOIN runs r ON r.id = d.run_id ORDER BY d.id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let decision: StoredDecision = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            self.verify_decision(&decision, &mut verified)?;
        }
        self.verify_standings(&mut verified)?;
        Ok(verified)
    }

    fn verify_decision(&self, (id, windows, evidence, last): &StoredDecision, verified: &mut Verified) -> Result<()> {
        let evidence: Vec<(i64, Option<i64>)> = serde_json::from_str(evidence).context("failed to read a decision")?;
        let mut attempts = Vec::with_capacity(evidence.len());
        for (reading, verdict) in evidence {
            attempts.push(self.attempt_as_of(reading, verdict, *last)?);
        }
        let case = Case { windows: serde_json::from_str(windows).context("failed to read a run's windows")?, attempts };
        let decisions = decide(&case);
        for (entry, stored) in self.verdicts_of(*id)? {
            verified.verdicts += 1;
            let again = case.attempts.iter().position(|attempt| attempt.entry == entry).map(|index| &decisions[index]);
            if again != Some(&Decision::Settle(stored.clone())) {
                let now = again.map_or("nothing", |decision| decision.reason().text());
                verified.differ(self.request_id(entry)?, format!("stored {}, decided again {now}", stored.reason));
            }
        }
        Ok(())
    }

    fn attempt_as_of(&self, reading: i64, verdict: Option<i64>, last_observation: i64) -> Result<Attempt> {
        let (entry, basis, facts): (i64, String, String) = self
            .connection
            .prepare_cached("SELECT entry_id, basis, facts FROM readings WHERE id = ?")?
            .query_row([reading], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .with_context(|| format!("reading {reading} is missing"))?;
        Ok(Attempt {
            entry,
            facts: serde_json::from_str(&facts).context("failed to read a reading")?,
            looks: looks_of(&self.connection, entry, &basis, last_observation)?,
            verdict: verdict.map(|id| settled(&self.connection, id)).transpose()?,
        })
    }

    fn verdicts_of(&self, decision: i64) -> Result<Vec<(i64, Verdict)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT entry_id, status, outcome, reason, action, server_id, matched_on, explanation, correction FROM verdicts
             WHERE decision_id = ? ORDER BY id",
        )?;
        let mut rows = statement.query([decision])?;
        let mut verdicts = Vec::new();
        while let Some(row) = rows.next()? {
            let verdict = Verdict {
                status: row.get_ref(1)?.as_str()?.parse()?,
                outcome: row.get_ref(2)?.as_str()?.parse()?,
                reason: row.get_ref(3)?.as_str()?.parse()?,
                action: row.get_ref(4)?.as_str()?.parse()?,
                server_id: row.get(5)?,
                matched_on: row.get(6)?,
                explanation: row.get(7)?,
                correction: row.get(8)?,
            };
            verdicts.push((row.get(0)?, verdict));
        }
        Ok(verdicts)
    }

    /// Every standing follows from a verdict, and every verdict from a decision or a person.
    fn verify_standings(&self, verified: &mut Verified) -> Result<()> {
        let mut differing = |sql: &str, what: &str| -> Result<()> {
            let mut statement = self.connection.prepare(sql)?;
            let entries: Vec<i64> =
                statement.query_map(params![], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for entry in entries {
                verified.differ(self.request_id(entry)?, what.to_owned());
            }
            Ok(())
        };
        differing(
            "SELECT s.entry_id FROM standings s LEFT JOIN verdicts v ON v.id = s.verdict_id AND v.entry_id = s.entry_id
             WHERE s.status IN ('resolved', 'duplicate-risk')
               AND (v.id IS NULL OR v.status <> s.status OR v.reason <> s.reason OR v.action <> s.action
                    OR EXISTS (SELECT 1 FROM verdicts later WHERE later.entry_id = s.entry_id AND later.id > v.id))",
            "its standing does not follow from its last verdict",
        )?;
        differing(
            "SELECT entry_id FROM verdicts WHERE decision_id IS NULL AND reason <> 'closed'",
            "a verdict that neither a decision nor a person stands behind",
        )
    }

    fn request_id(&self, entry: i64) -> Result<String> {
        let mut statement = self.connection.prepare_cached("SELECT request_id FROM entries WHERE id = ?")?;
        let mut rows = statement.query([entry])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?.unwrap_or_else(|| format!("entry {entry}")))
    }
}
