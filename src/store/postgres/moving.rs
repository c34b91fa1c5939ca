//! A ledger that moves in from a file: into an empty schema, which becomes that ledger, whole or not at all.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio_postgres::types::Type;

use super::{OneRefused, PostgresStore, bytes, cell, columns, number, of_numbers, param, text};
use crate::exit::Refused;
use crate::store::whole::{LastIds, WholeRow};
use crate::store::{Identity, Written};

impl PostgresStore {
    /// Becomes the ledger that is about to move in, within the open transaction.
    ///
    /// # Errors
    /// [`Refused`] when it is not empty.
    pub fn become_ledger(&mut self, identity: &Identity, last: LastIds) -> Result<()> {
        let line = self.row_of(
            "SELECT privo_reconcile.become($1, $2, $3, $4, $5, $6, $7)",
            vec![
                text(&identity.name),
                bytes(&identity.salt),
                number(last.entry),
                number(last.text),
                number(last.run),
                number(last.note),
                number(last.import),
            ],
        )?;
        if !cell::<bool>(&line, 0)? {
            let remedy = format!(
                "name another schema and run `init`, or drop the schema {} if nobody needs what is in it",
                self.schema
            );
            bail!(Refused(format!(
                "{} holds a ledger of its own, and only an empty one takes another in ({remedy})",
                self.place
            )));
        }
        // One transaction records all: there are not as many locks as rows.
        self.rows_of("SELECT set_config('privo_reconcile.recorded', '1000', true)", vec![]).map(drop)
    }

    /// Up to which entry a ledger moved in. Later ones are of this database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn moved_up_to(&self) -> Result<i64> {
        let found = self.rows_of("SELECT value FROM privo_reconcile.words WHERE name = 'moved'", vec![])?;
        let word: String = cell(found.first().context("nothing says that the ledger moved in here")?, 0)?;
        word.parse().context("the word `moved` is no number")
    }

    /// Stores rows of a table as they are, within the open transaction.
    ///
    /// # Errors
    /// When one of them cannot be stored.
    pub fn insert_whole(&mut self, table: &'static str, rows: &[WholeRow]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        if table == "state" {
            // The rows' arrival made one for each.
            let entries = rows.iter().filter_map(|row| row.get("entry_id")?.as_i64()).collect();
            let sql = "DELETE FROM privo_reconcile.state WHERE entry_id = ANY ($1)";
            self.count_of(sql, vec![of_numbers(entries)])?;
        }
        let columns: Vec<&str> = first.keys().map(String::as_str).collect();
        let inserted = self.insert_json(table, &columns.join(", "), rows)?;
        if inserted != rows.len() as u64 {
            bail!(
                "of {} rows of `{table}` {inserted} could be stored (nothing is lost, and nothing was moved)",
                rows.len()
            );
        }
        Ok(())
    }

    fn insert_json(&mut self, table: &str, columns: &str, rows: &[WholeRow]) -> Result<u64> {
        let sql = format!(
            "INSERT INTO privo_reconcile.{table} ({columns}) OVERRIDING SYSTEM VALUE
             SELECT {columns} FROM json_populate_recordset(NULL::privo_reconcile.{table}, $1::json)"
        );
        let sql = Cow::Owned(sql.replace(super::NAMED, &self.schema));
        let reply = self.wire.execute(sql, vec![json(rows)?]);
        self.hear(reply).map(|answer| answer.count)
    }

    /// Which of these entries have another revision in the file, a greater one: their writers changed them there. What was
    /// erased meanwhile stays erased.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn changed_since(&self, revisions: &[(i64, i64)]) -> Result<Vec<i64>> {
        let (entries, revisions) = revisions.iter().copied().unzip();
        let lines = self.rows_of(
            "SELECT n.entry FROM unnest($1, $2) AS n (entry, revision)
             JOIN privo_reconcile.state AS s ON s.entry_id = n.entry
             WHERE s.revision < n.revision AND s.erased_id IS NULL",
            vec![of_numbers(entries), of_numbers(revisions)],
        )?;
        lines.iter().map(|line| cell(line, 0)).collect()
    }

    /// The intents up to an entry of which nothing was heard yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn intents_up_to(&self, entry: i64) -> Result<Vec<i64>> {
        let sql = "SELECT id FROM privo_reconcile.entries WHERE failure = 'intent' AND id <= $1";
        self.rows_of(sql, vec![number(entry)])?.iter().map(|line| cell(line, 0)).collect()
    }

    /// Records a row, as its writer did in the file after the others had been read, within the open transaction.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn record_later(&mut self, row: &WholeRow) -> Result<Written> {
        if self.insert_json("entries", columns::WRITTEN, std::slice::from_ref(row))? == 0 {
            return Ok(Written::Unchanged);
        }
        if let Some(error) = row.get("clock_error_ms").and_then(Value::as_i64) {
            let id = row.get("request_id").and_then(Value::as_str).unwrap_or_default();
            self.put(
                "UPDATE privo_reconcile.state SET clock_error_ms = $2
                 WHERE entry_id = (SELECT id FROM privo_reconcile.entries WHERE request_id = $1)",
                vec![text(id), number(error)],
            );
        }
        Ok(Written::Done)
    }

    /// Changes a row, likewise.
    ///
    /// # Errors
    /// When the database fails.
    pub fn change_later(&mut self, row: &WholeRow) -> Result<Written> {
        self.written(
            "UPDATE privo_reconcile.entries AS e SET request_id = n.request_id, operation_id = n.operation_id,
               direction = n.direction, method = n.method, url = n.url, body = n.body, sent_at = n.sent_at, ended_at = n.ended_at,
               failure = n.failure, http_status = n.http_status, error = n.error
             FROM json_populate_recordset(NULL::privo_reconcile.entries, $1::json) AS n WHERE e.id = n.id",
            vec![json(std::slice::from_ref(row))?],
        )
    }

    /// Deletes an intent, likewise.
    ///
    /// # Errors
    /// When the database fails.
    pub fn withdraw_later(&mut self, entry: i64) -> Result<Written> {
        self.written("DELETE FROM privo_reconcile.entries WHERE id = $1", vec![number(entry)])
    }
}

fn json(rows: &[WholeRow]) -> Result<super::Param> {
    let rows = serde_json::to_string(rows).map_err(|_| OneRefused("a row cannot be written as JSON".to_owned()))?;
    Ok(param(rows, Type::TEXT))
}
