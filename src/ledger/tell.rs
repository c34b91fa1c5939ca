//! Telling: what the ledger says, for status, report and the story of one entry. Everything is read from the file,
//! never from a run's memory.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rusqlite::{OptionalExtension, params};

use super::groups::looks_of;
use super::intake::{cell, id_text, row_of};
use super::select::{FOR_RESEND, attempts_of, for_support, found_by, passes, sent};
use super::{Ledger, schema};
use crate::clock::{Moment, Span};
use crate::decide::told_apart;
use crate::evidence::Facts;
use crate::plan::operation;
use crate::standing::{
    Audience, Counts, Entries, Filter, ReportRow, RunFacts, Standing, Story, StoryLook, StoryVerdict, ToDo,
};
use crate::words::{Reason, Status};

const ROW: &str = "SELECT s.entry_id, CASE WHEN w.entry_id IS NULL THEN s.status ELSE 'pending' END,
       CASE WHEN w.entry_id IS NULL THEN s.reason ELSE 'unsettled' END,
       CASE WHEN w.entry_id IS NULL THEN s.action ELSE 'wait' END, coalesce(w.why, s.explanation), s.not_before_ms, s.checks, s.first_checked_ms,
       s.last_checked_ms, r.facts, v.outcome, v.server_id, v.matched_on, v.explanation, v.correction,
       s.revision, e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at, e.ended_at, e.failure,
       e.http_status, s.arrived_ms, s.clock_error_ms, v.run_id, v.decided_ms, p.pseudonym, s.vanished_ms
FROM standings s
JOIN entries e ON e.id = s.entry_id
LEFT JOIN readings r ON r.id = coalesce(s.reading_id,
    (SELECT max(id) FROM readings WHERE entry_id = s.entry_id AND s.status IN ('resolved', 'duplicate-risk')))
LEFT JOIN verdicts v ON v.id = s.verdict_id
LEFT JOIN pseudonyms p ON p.entry_id = s.entry_id
LEFT JOIN temp.waits w ON w.entry_id = s.entry_id
WHERE s.status IS NOT NULL";

/// What a later run will know more of, without anybody's doing.
const WAITS_FOR_A_RUN: &str =
    "(s.status = 'pending' AND coalesce(s.action, 'wait') = 'wait' OR s.status IS NOT NULL AND w.entry_id IS NOT NULL)";

/// What a person must look at.
const REVIEWED: &str = "s.action = 'review' AND w.entry_id IS NULL";

const UNREADABLE: &str = "failed to read a reading";

impl Ledger {
    /// How many entries stand where.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn counts(&self) -> Result<Counts> {
        let mut statement = self.connection.prepare_cached(
            "SELECT status, reason, count(*) FROM standings WHERE status IS NOT NULL GROUP BY status, reason
             UNION ALL SELECT s.status, s.reason, -count(*) FROM temp.waits w CROSS JOIN standings s USING (entry_id)
               GROUP BY s.status, s.reason
             UNION ALL SELECT 'pending', 'unsettled', count(*) FROM temp.waits HAVING count(*) > 0",
        )?;
        let mut rows = statement.query([])?;
        let mut sums: BTreeMap<(Status, Option<Reason>), i64> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let reason: Option<String> = row.get(1)?;
            let reason = reason.map(|reason| reason.parse()).transpose()?;
            *sums.entry((row.get_ref(0)?.as_str()?.parse()?, reason)).or_default() += row.get::<_, i64>(2)?;
        }
        let sums = sums.into_iter().filter(|(_, count)| *count > 0);
        let rows = sums.map(|((status, reason), count)| (status, reason, count.unsigned_abs())).collect();
        let mut counts = Counts { rows, ..Counts::default() };
        let oldest: Option<i64> =
            self.connection
                .query_row("SELECT min(sent_ms) FROM standings WHERE status = 'pending'", [], |row| row.get(0))?;
        counts.oldest_pending = oldest.map(Moment);
        Ok(counts)
    }

    /// The counts, and when runs went well: what alerts and metrics are made of.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn standing(&self) -> Result<Standing> {
        let moment = |sql: &str| -> Result<Option<Moment>> {
            let found: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
            Ok(found.map(Moment))
        };
        Ok(Standing {
            counts: self.counts()?,
            last_success: moment(
                "SELECT ended_ms FROM runs WHERE command = 'run' AND ended_ms IS NOT NULL AND trouble IS NULL
                 ORDER BY id DESC LIMIT 1",
            )?,
            first_run: moment("SELECT started_ms FROM runs WHERE command = 'run' ORDER BY id LIMIT 1")?,
        })
    }

    /// What is to be done now: as many as the reports for each reader have rows.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn to_do(&self) -> Result<ToDo> {
        let count = |condition: &str| -> Result<(u64, Option<Moment>)> {
            let sql = format!(
                "SELECT count(*), min(s.due_ms) FROM standings s LEFT JOIN verdicts v ON v.id = s.verdict_id
                 LEFT JOIN temp.waits w ON w.entry_id = s.entry_id WHERE {condition}"
            );
            let found = |row: &rusqlite::Row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?));
            let (count, due) = self.connection.query_row(&sql, [], found)?;
            Ok((count.unsigned_abs(), due.map(Moment)))
        };
        let [must, may] = FOR_RESEND;
        let (waiting, until) = count(WAITS_FOR_A_RUN)?;
        Ok(ToDo {
            resend: count(must)?.0,
            may_resend: count(may)?.0,
            privo: count(&for_support())?.0,
            review: count(&format!("{} AND NOT {}", REVIEWED, for_support()))?.0,
            waiting,
            until,
        })
    }

    /// How far the server's clock is behind this host's, at the least, by the last look that measured it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn server_behind(&self) -> Result<Span> {
        let sql = "SELECT skew_most_ms FROM observations WHERE skew_most_ms IS NOT NULL ORDER BY id DESC LIMIT 1";
        let most: Option<i64> = self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(Span(most.unwrap_or(0).saturating_neg().max(0)))
    }

    /// Whether there is a duplicate-risk that no person closed, and whether anything is pending: what exit codes tell.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn state(&self) -> Result<(bool, bool)> {
        // Rows that came while the command went on, and that nothing noted.
        schema::heal(&self.connection, &self.path)?;
        let any = |status: Status| {
            self.connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM standings WHERE status = ?)",
                [status.text()],
                |row| row.get(0),
            )
        };
        Ok((any(Status::DuplicateRisk)?, any(Status::Pending)?))
    }

    /// Gives each row of the report to `each`: corrections first, then by the instant sent, then by the request's id in
    /// bytes; what is to be sent again in order of sending, and then what may be. All of it is read as of one instant; gives the id of the
    /// last verdict there was then.
    ///
    /// # Errors
    /// When the ledger cannot be read, or `each` fails.
    pub fn each_row(
        &self,
        filter: &Filter,
        entries: Entries,
        mut each: impl FnMut(ReportRow) -> Result<()>,
    ) -> Result<i64> {
        let instant = self.connection.unchecked_transaction()?;
        let last = instant.query_row("SELECT coalesce(max(id), 0) FROM verdicts", [], |row| row.get(0))?;
        let sent = sent(&instant)?;
        for pass in passes(filter, sent) {
            let order = format!("ORDER BY {sent}, e.request_id COLLATE BINARY");
            let mut statement = instant.prepare(&format!("{ROW}{} {order}", pass.sql))?;
            let mut rows = statement.query(rusqlite::params_from_iter(&pass.values))?;
            while let Some(row) = rows.next()? {
                let mut row = report_row(row, entries)?;
                match filter.audience {
                    Audience::All => {}
                    Audience::Support => row.found = found_by(&instant, row.entry)?,
                    Audience::Resend => row.attempts = attempts_of(&instant, row.entry)?,
                }
                each(row)?;
            }
        }
        Ok(last)
    }

    /// The row of one request. `None` when there is none.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn row_of_request(&self, request_id: &str) -> Result<Option<ReportRow>> {
        let mut statement = self.connection.prepare(&format!("{ROW} AND e.request_id = ?"))?;
        let mut rows = statement.query([request_id])?;
        rows.next()?.map(|row| report_row(row, Entries::All)).transpose()
    }

    /// The story of one request. `None` when there is none, or it is an `answered` one.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn story(&self, request_id: &str) -> Result<Option<Story>> {
        let Some(row) = self.row_of_request(request_id)? else { return Ok(None) };
        let entry = row.entry;
        let reading: Option<(String, String)> = self
            .connection
            .query_row(
                "SELECT basis, facts FROM readings r JOIN standings s ON s.reading_id = r.id WHERE s.entry_id = ?",
                [entry],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let (basis, facts) = reading.unzip();
        let facts = facts.map(|json| serde_json::from_str(&json)).transpose().context(UNREADABLE)?;
        let looks = looks_of(&self.connection, entry, &basis.unwrap_or_default(), i64::MAX)?;
        let mut runs = self.connection.prepare("SELECT run_id FROM observations WHERE entry_id = ? ORDER BY id")?;
        let runs: Vec<i64> = runs.query_map([entry], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let looks = runs.into_iter().zip(looks).map(|(run, look)| StoryLook { run, look }).collect();
        let mut statement = self.connection.prepare(
            "SELECT run_id, decided_ms, status, outcome, reason, action, explanation, correction FROM verdicts
             WHERE entry_id = ? ORDER BY id",
        )?;
        let verdicts = statement.query_map([entry], |row| {
            Ok(StoryVerdict {
                run: row.get(0)?,
                decided: Moment(row.get(1)?),
                status: row.get(2)?,
                outcome: row.get(3)?,
                reason: row.get(4)?,
                action: row.get(5)?,
                explanation: row.get(6)?,
                correction: row.get(7)?,
            })
        })?;
        let verdicts = verdicts.collect::<rusqlite::Result<_>>()?;
        let mut blanked = self.connection.prepare(
            "SELECT b.at_ms, b.command FROM blanked JOIN blankings b ON b.id = blanked.blanking_id WHERE entry_id = ?",
        )?;
        let blanked =
            blanked.query_row([entry], |row| Ok((Moment(row.get(0)?), row.get::<_, String>(1)?))).optional()?;
        let shares_id_with = self.others_of_its_id(entry, facts.as_ref())?;
        Ok(Some(Story { row, facts, looks, verdicts, blanked, shares_id_with }))
    }

    /// The requests that bear an entry's operation id and are another operation than it.
    fn others_of_its_id(&self, entry: i64, facts: Option<&Facts>) -> Result<Vec<String>> {
        let Some(identity) = facts.map(|facts| facts.identity) else { return Ok(Vec::new()) };
        let mut statement = self.connection.prepare_cached(
            "SELECT e.id, e.request_id, r.facts FROM links l JOIN standings s ON s.entry_id = l.entry_id
             JOIN readings r ON r.id = s.reading_id JOIN entries e ON e.id = l.entry_id WHERE l.link = ? ORDER BY e.id",
        )?;
        let rows = statement.query_map([identity.0], |row| {
            Ok((row.get::<_, i64>(0)?, id_text(row.get_ref(1)?), row.get::<_, String>(2)?))
        })?;
        let rows: Vec<(i64, String, String)> = rows.collect::<rusqlite::Result<_>>()?;
        let facts: Vec<Facts> =
            rows.iter().map(|(.., json)| serde_json::from_str(json)).collect::<Result<_, _>>().context(UNREADABLE)?;
        let operations = told_apart(facts);
        let own = rows.iter().position(|(id, ..)| *id == entry).map(|place| operations[place]);
        let others =
            rows.into_iter().zip(&operations).filter(|(_, operation)| own.is_some_and(|own| own != **operation));
        Ok(others.map(|((_, request, _), _)| request).collect())
    }

    /// The last run, or the one of this id.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn run_facts(&self, id: Option<i64>) -> Result<Option<RunFacts>> {
        let mut statement = self.connection.prepare(
            "SELECT id, command, started_ms, ended_ms, version, plan, plan_digest, server, windows, controls, examined, requests,
                    settled, deferred, trouble
             FROM runs WHERE ?1 IS NULL AND command = 'run' OR id = ?1 ORDER BY id DESC LIMIT 1",
        )?;
        let mut rows = statement.query(params![id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let json = |text: Option<String>| {
            text.map_or(Ok(serde_json::Value::Null), |text| serde_json::from_str(&text)).context("failed to read a run")
        };
        Ok(Some(RunFacts {
            run: row.get(0)?,
            command: row.get(1)?,
            started: Moment(row.get(2)?).to_string(),
            ended: row.get::<_, Option<i64>>(3)?.map(|ended| Moment(ended).to_string()),
            version: row.get(4)?,
            plan: row.get(5)?,
            plan_digest: row.get(6)?,
            server: row.get(7)?,
            windows: windows(row.get_ref(8)?.as_str()?)?,
            controls: json(row.get(9)?)?,
            examined: row.get(10)?,
            requests: row.get(11)?,
            settled: row.get(12)?,
            deferred: row.get(13)?,
            trouble: row.get(14)?,
        }))
    }
}

/// The windows in the configuration's form.
fn windows(json: &str) -> Result<BTreeMap<String, String>> {
    let spans: BTreeMap<String, Span> = serde_json::from_str(json).context("failed to read a run's windows")?;
    Ok(spans.into_iter().map(|(name, span)| (name, span.to_string())).collect())
}

fn report_row(row: &rusqlite::Row, entries: Entries) -> Result<ReportRow> {
    let request_id = id_text(row.get_ref(17)?);
    let operation_id = cell(row.get_ref(18)?);
    let gist = row.get_ref(9)?.as_str_or_null()?.map(serde_json::from_str).transpose().context(UNREADABLE)?;
    let whole = entries == Entries::All || gist.is_none();
    let word = |column: usize| row.get::<_, Option<String>>(column);
    let deferral: Option<String> = row.get(4)?;
    let verdict: Option<String> = row.get(13)?;
    let status: Status = row.get_ref(1)?.as_str()?.parse()?;
    let settled = status != Status::Pending;
    let vanished = if settled { row.get::<_, Option<i64>>(32)?.map(Moment) } else { None };
    let of_verdict = |column: usize| Ok::<_, anyhow::Error>(if settled { word(column)? } else { None });
    Ok(ReportRow {
        entry: row.get(0)?,
        operation_id: operation(&operation_id, &request_id).to_owned(),
        request_id,
        gist,
        row: if whole { row_of(row, 15)? } else { None },
        status,
        outcome: of_verdict(10)?.map(|text| text.parse()).transpose()?,
        reason: word(2)?.map(|text| text.parse()).transpose()?,
        action: word(3)?.map(|text| text.parse()).transpose()?,
        server_id: of_verdict(11)?,
        matched_on: of_verdict(12)?,
        explanation: if settled { noting(verdict, vanished) } else { deferral },
        correction: settled && row.get::<_, Option<bool>>(14)?.unwrap_or(false),
        checks: row.get(6)?,
        first_checked: row.get::<_, Option<i64>>(7)?.map(Moment),
        last_checked: row.get::<_, Option<i64>>(8)?.map(Moment),
        not_before: row.get::<_, Option<i64>>(5)?.map(Moment),
        run: if settled { row.get(29)? } else { None },
        decided: if settled { row.get::<_, Option<i64>>(30)?.map(Moment) } else { None },
        pseudonym: row.get(31)?,
        attempts: Vec::new(),
        vanished,
        found: Vec::new(),
    })
}

/// A verdict's explanation, and that its record was not found any more since.
fn noting(explanation: Option<String>, vanished: Option<Moment>) -> Option<String> {
    match vanished {
        Some(moment) => {
            explanation.map(|text| format!("{text}; when it was looked for at {moment}, it was not there any more"))
        }
        None => explanation,
    }
}
