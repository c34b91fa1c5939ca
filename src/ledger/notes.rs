//! What people said beside the entries: who closed, who was shown what and for which purpose, who approved and who had
//! something removed, where a file stood. A person who is forgotten is named there no more.

use anyhow::Result;
use rusqlite::{Connection, params};

use super::Ledger;
use super::blanking::evidence_digest;
use crate::plan::subject::Subject;

/// The texts that people gave, by table; each table's rows bear an `id`.
const SAID: &[(&str, &[&str])] = &[
    ("disclosures", &["purpose", "who", "report"]),
    ("approvals", &["who"]),
    ("blankings", &["who", "why"]),
    ("imports", &["file"]),
];

impl Ledger {
    /// Takes the words that name the subject out of what people said. There are few such rows: it is one short transaction.
    pub(super) fn forget_in_notes(&mut self, subject: &Subject) -> Result<()> {
        if !is_named(&self.connection, subject)? {
            return Ok(());
        }
        let turn = self.turn()?;
        turn.execute("UPDATE ledger SET blanking = 1", [])?;
        for (table, columns) in SAID {
            for column in *columns {
                unname(&turn, (table, column), subject)?;
            }
        }
        unname_who_closed(&turn, subject)?;
        turn.execute("UPDATE ledger SET blanking = 0", [])?;
        turn.commit()
    }
}

/// Whether anything that people said names the subject.
fn is_named(connection: &Connection, subject: &Subject) -> Result<bool> {
    for (table, columns) in SAID {
        for column in *columns {
            if said(connection, (table, column))?.iter().any(|(_, said)| subject.is_named_in(said)) {
                return Ok(true);
            }
        }
    }
    let closed = who_closed(connection)?;
    Ok(closed.iter().any(|(_, said)| parts(said).is_some_and(|(who, _)| subject.is_named_in(who))))
}

fn said(connection: &Connection, (table, column): (&str, &str)) -> Result<Vec<(i64, String)>> {
    texts(connection, &format!("SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL"))
}

fn who_closed(connection: &Connection) -> Result<Vec<(i64, String)>> {
    texts(connection, "SELECT id, explanation FROM verdicts WHERE decision_id IS NULL AND reason = 'closed'")
}

/// Who closed an entry, and what else is said of it.
fn parts(said: &str) -> Option<(&str, &str)> {
    said.strip_prefix(CLOSED)?.split_once(": ")
}

const CLOSED: &str = "closed by ";

fn unname(connection: &Connection, (table, column): (&str, &str), subject: &Subject) -> Result<()> {
    for (id, said) in said(connection, (table, column))? {
        if subject.is_named_in(&said) {
            let left = match serde_json::from_str(&said) {
                Ok(document @ serde_json::Value::Object(_)) => left_of(document, subject).to_string(),
                _ => subject.removed_from(&said),
            };
            connection.execute(&format!("UPDATE {table} SET {column} = ? WHERE id = ?"), params![left, id])?;
        }
    }
    Ok(())
}

/// A document whose texts name the subject no more.
fn left_of(value: serde_json::Value, subject: &Subject) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) if subject.is_named_in(&text) => Value::String(subject.removed_from(&text)),
        Value::Array(items) => items.into_iter().map(|item| left_of(item, subject)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, item)| (name, left_of(item, subject))).collect())
        }
        other => other,
    }
}

/// Who closed an entry is no word about the entry, which stays as it is.
fn unname_who_closed(connection: &Connection, subject: &Subject) -> Result<()> {
    for (id, said) in who_closed(connection)? {
        let Some((who, rest)) = parts(&said) else { continue };
        if !subject.is_named_in(who) {
            continue;
        }
        let entry: i64 = connection.query_row("SELECT entry_id FROM verdicts WHERE id = ?", [id], |row| row.get(0))?;
        let left = format!("{CLOSED}{}: {rest}", subject.removed_from(who));
        restamped(connection, entry, || {
            connection.execute("UPDATE verdicts SET explanation = ? WHERE id = ?", params![left, id])?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Changes what stands under the digest of a blanked entry. One that did not fit before does not fit after.
fn restamped(connection: &Connection, entry: i64, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let sql = "SELECT last_reading, last_observation, last_verdict, evidence FROM blanked WHERE entry_id = ?";
    let stamp = |row: &rusqlite::Row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get::<_, String>(3)?));
    let mut statement = connection.prepare_cached(sql)?;
    let mut stamps = statement.query_map([entry], stamp)?;
    let Some((limits, before)) = stamps.next().transpose()? else { return change() };
    let intact = evidence_digest(connection, entry, limits)? == before;
    change()?;
    if intact {
        let after = evidence_digest(connection, entry, limits)?;
        connection.execute("UPDATE blanked SET evidence = ? WHERE entry_id = ?", params![after, entry])?;
    }
    Ok(())
}

fn texts(connection: &Connection, sql: &str) -> Result<Vec<(i64, String)>> {
    let mut statement = connection.prepare(sql)?;
    let texts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(texts.collect::<rusqlite::Result<_>>()?)
}
