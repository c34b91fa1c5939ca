//! Sending again: what is advised, what of it people approved, and the intent that is written ahead of a sending.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::fellows::{self, Fellows};
use super::intake::take_in_few;
use super::writing::Writing;
use super::{Ledger, RunId, Stored, schema};
use crate::clock::{Moment, Span};
use crate::evidence::{Facts, Kind};
use crate::plan::Reader;
use crate::standing::{Audience, Entries, Filter, ReportRow};
use crate::words::{Direction, Failure};

/// An approval holds for a day.
const HOLDS: Span = Span::seconds(24 * 3600);

/// An approval from so far ahead is of a clock that was set back since, and holds all the same.
const AHEAD: Span = Span::seconds(60);

/// An operation that is advised to be sent again.
#[derive(Clone, Debug)]
pub struct Advised {
    /// Its first attempt, with the request ids of all.
    pub row: ReportRow,
    /// The verdict of that attempt.
    pub verdict: i64,
    facts: Facts,
    blanked: bool,
}

impl Advised {
    /// Why it is for a person to send and no permit is ever given for it; `None`: it may be permitted.
    pub fn left_to_a_person(&self) -> Option<&'static str> {
        if self.facts.direction == Direction::Inbound {
            Some("it is a webhook, which the platform sends")
        } else if self.blanked {
            Some("its personal fields were removed, so that it cannot be looked up again")
        } else if self.facts.effects.iter().any(|effect| effect.kind == Kind::Blind) {
            Some("nothing shows whether what it makes is there, and the server does not keep it unique")
        } else {
            None
        }
    }
}

/// A list that somebody approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub digest: String,
    pub who: String,
    pub at: Moment,
}

impl Approval {
    /// Until then it holds.
    pub fn until(&self) -> Moment {
        self.at + HOLDS
    }
}

/// One operation of an approved list that was not permitted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    pub approval: i64,
    /// The operation's first attempt.
    pub entry: i64,
    /// The verdict that was shown.
    pub verdict: i64,
}

/// What is written ahead of a sending.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// What permits it.
    pub approved: Approved,
    pub request_id: &'a str,
    pub operation_id: &'a str,
    /// The attempt whose method, URL and body it has.
    pub like: i64,
    pub sent: Moment,
}

impl Ledger {
    /// The operations that are advised to be sent again, in order of sending.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn advised(&self) -> Result<Vec<Advised>> {
        let mut rows = Vec::new();
        let filter = Filter { audience: Audience::Resend, ..Filter::default() };
        self.each_row(&filter, Entries::Unread, |row| {
            rows.push(row);
            Ok(())
        })?;
        let mut known = self.connection.prepare_cached(
            "SELECT s.verdict_id, r.facts, EXISTS (SELECT 1 FROM blanked b WHERE b.entry_id = s.entry_id)
             FROM standings s JOIN readings r ON r.id = s.reading_id
             WHERE s.entry_id = ? AND s.verdict_id IS NOT NULL",
        )?;
        let mut advised = Vec::with_capacity(rows.len());
        for row in rows {
            let found = known.query_row([row.entry], |known| Ok((known.get(0)?, known.get(1)?, known.get(2)?)));
            // A writer may have changed it since.
            let Some((verdict, facts, blanked)) = found.optional()? else { continue };
            let facts: String = facts;
            let facts = serde_json::from_str(&facts).context("failed to read a reading")?;
            advised.push(Advised { row, verdict, facts, blanked });
        }
        Ok(advised)
    }

    /// Writes down that somebody approved a list: its operations by their first attempt and the verdict that was shown.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing is approved.
    pub fn approve(&mut self, digest: &str, who: &str, at: Moment, operations: &[(i64, i64)]) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .execute("INSERT INTO approvals (digest, who, at_ms) VALUES (?, ?, ?)", params![digest, who, at.0])
            .context("failed to write the approval down")?;
        let approval = transaction.last_insert_rowid();
        let mut permit =
            transaction.prepare_cached("INSERT INTO permits (approval_id, entry_id, verdict_id) VALUES (?, ?, ?)")?;
        for (entry, verdict) in operations {
            permit.execute(params![approval, entry, verdict])?;
        }
        drop(permit);
        Ok(transaction.commit()?)
    }

    /// The last approval, if it holds at this moment.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn approval(&self, now: Moment) -> Result<Option<Approval>> {
        let sql = "SELECT digest, who, at_ms FROM approvals WHERE at_ms > ? AND at_ms <= ? ORDER BY id DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let approval = statement.query_row([(now - HOLDS).0, (now + AHEAD).0], |row| {
            Ok(Approval { digest: row.get(0)?, who: row.get(1)?, at: Moment(row.get(2)?) })
        });
        Ok(approval.optional()?)
    }

    /// What is approved at this moment, not permitted yet, and still advised by the verdict that was shown, in order of
    /// sending.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn approved(&self, now: Moment) -> Result<Vec<Approved>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT max(p.approval_id), p.entry_id, p.verdict_id FROM approvals a JOIN permits p ON p.approval_id = a.id
             JOIN standings s ON s.entry_id = p.entry_id AND s.verdict_id = p.verdict_id
             WHERE a.at_ms > ? AND a.at_ms <= ? AND p.permitted_ms IS NULL
               AND s.status = 'resolved' AND s.action = 'resend' AND s.joined IS NULL
               AND NOT EXISTS (SELECT 1 FROM blanked b WHERE b.entry_id = p.entry_id)
             GROUP BY p.entry_id, p.verdict_id ORDER BY s.sent_ms, p.entry_id",
        )?;
        let approved = statement.query_map([(now - HOLDS).0, (now + AHEAD).0], |row| {
            Ok(Approved { approval: row.get(0)?, entry: row.get(1)?, verdict: row.get(2)? })
        })?;
        Ok(approved.collect::<rusqlite::Result<_>>()?)
    }

    /// Ends what was approved of an operation, without a permit: a person is to look at it again.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn disapprove(&mut self, approved: &Approved, at: Moment) -> Result<()> {
        let sql = "UPDATE permits SET permitted_ms = ? WHERE entry_id = ? AND verdict_id = ? AND permitted_ms IS NULL";
        self.connection.prepare_cached(sql)?.execute(params![at.0, approved.entry, approved.verdict])?;
        Ok(())
    }

    /// The first of what is approved and was not passed over, once all that came was read.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn next_approved(&mut self, reader: &Reader, now: Moment, passed: &HashSet<i64>) -> Result<Option<Approved>> {
        while self.take_in(reader, now)? {}
        Ok(self.approved(now)?.into_iter().find(|approved| !passed.contains(&approved.entry)))
    }

    /// Writes what was seen of a group, and the intent to send one operation of it again, in one transaction; when this
    /// returns true, it is durable, and the operation is advised to be sent again no more. False: a writer changed the group
    /// meanwhile, or the approval holds no more; nothing of it was written.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing was.
    pub fn permit(&mut self, run: RunId, seen: &Stored, reader: &Reader, intent: &Intent) -> Result<bool> {
        let now = intent.sent;
        let mut fellows = Fellows::default();
        loop {
            // A row that came without triggers counts as well.
            schema::heal(&self.connection, &self.path)?;
            let turn = self.turn()?;
            let Some(news) = take_in_few(&turn, reader, now)? else {
                drop(turn);
                let (news, _) = self.take_in_part(reader, now)?;
                fellows::note(&self.connection, &mut fellows, news)?;
                continue;
            };
            fellows::note(&turn, &mut fellows, news)?;
            let mut writing = Writing::prepare(&turn, run, now)?;
            if writing.changed(seen, &fellows)? || !still_approved(&turn, &intent.approved, now)? {
                return Ok(false);
            }
            writing.group(seen, &reader.basis())?;
            drop(writing);
            write_ahead(&turn, intent)?;
            if take_in_few(&turn, reader, now)?.is_some() {
                refuse_misread(&turn, intent)?;
                turn.commit()?;
            } else {
                // A delete by an id that is nobody's opens others again, which may take longer than a turn.
                turn.commit()?;
                while self.take_in(reader, now)? {}
                refuse_misread(&self.connection, intent)?;
            }
            return Ok(true);
        }
    }
}

/// An intent that is no attempt of its operation would not keep the next one from being permitted.
fn refuse_misread(connection: &Connection, intent: &Intent) -> Result<()> {
    if !reads_the_same(connection, intent)? || is_advised(connection, intent.approved.entry)? {
        bail!(
            "an intent to send an operation again would not be read as an attempt of it (report this; nothing was permitted)"
        );
    }
    Ok(())
}

fn still_approved(connection: &Connection, approved: &Approved, now: Moment) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM approvals a JOIN permits p ON p.approval_id = a.id
         JOIN standings s ON s.entry_id = p.entry_id AND s.verdict_id = p.verdict_id
         WHERE p.approval_id = ? AND p.entry_id = ? AND p.verdict_id = ? AND p.permitted_ms IS NULL
           AND a.at_ms > ? AND a.at_ms <= ? AND s.action = 'resend' AND s.joined IS NULL",
    )?;
    let Approved { approval, entry, verdict } = *approved;
    Ok(statement.exists(params![approval, entry, verdict, (now - HOLDS).0, (now + AHEAD).0])?)
}

/// The intent's row, the cells of the attempt as they are, and that the operation was permitted.
fn write_ahead(connection: &Connection, intent: &Intent) -> Result<()> {
    let written = connection
        .prepare_cached(
            "INSERT INTO entries (request_id, operation_id, direction, method, url, body, sent_at, failure)
             SELECT ?1, ?2, direction, method, url, body, ?3, ?4 FROM entries WHERE id = ?5",
        )?
        .execute(params![
            intent.request_id,
            intent.operation_id,
            intent.sent.to_string(),
            Failure::Intent.text(),
            intent.like
        ])
        .context("failed to write the intent")?;
    if written != 1 {
        bail!("the attempt that is to be sent again is gone (nothing was permitted)");
    }
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached(
            // It may be approved twice; it is permitted once.
            "UPDATE permits SET permitted_ms = ?, intent_id = ? WHERE entry_id = ? AND verdict_id = ? AND permitted_ms IS NULL",
        )?
        .execute(params![intent.sent.0, id, intent.approved.entry, intent.approved.verdict])?;
    Ok(())
}

/// Whether the plan reads the intent as it reads the attempt.
fn reads_the_same(connection: &Connection, intent: &Intent) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT r.facts FROM entries e JOIN standings s ON s.entry_id = e.id JOIN readings r ON r.id = s.reading_id
         WHERE e.id = ?1 OR e.request_id = ?2",
    )?;
    let facts = statement.query_map(params![intent.like, intent.request_id], |row| row.get::<_, String>(0))?;
    let facts: Vec<Facts> =
        facts.map(|json| serde_json::from_str(&json?).context("failed to read a reading")).collect::<Result<_>>()?;
    let same = |one: &Facts, other: &Facts| {
        (one.identity, &one.operation, &one.effects) == (other.identity, &other.operation, &other.effects)
    };
    Ok(matches!(&facts[..], [one, other] if same(one, other)))
}

fn is_advised(connection: &Connection, entry: i64) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM standings WHERE entry_id = ? AND action = 'resend'")?;
    Ok(statement.exists([entry])?)
}
