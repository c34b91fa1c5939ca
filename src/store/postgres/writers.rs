//! What writers do, and what the ledger's triggers say to it.

use anyhow::Result;

use super::super::{End, Ended, NewEntry, Written, WrittenRow};
use super::wire::{Broken, Param};
use super::{OneRefused, PostgresStore, columns, in_schema, number, some_text, text};
use crate::clock::{Moment, Span};
use crate::words::Failure;

impl PostgresStore {
    /// Does what may be refused; gives how many rows it changed. What was refused is taken back alone; the transaction goes on.
    fn attempt(&mut self, sql: &'static str, params: Vec<Param>) -> Result<Result<u64, Broken>> {
        self.within(|store| {
            store.send_evidence();
            store.later(store.wire.batch("SAVEPOINT attempt".to_owned()));
            match store.wire.execute(in_schema(sql, &store.schema), params).wait() {
                Ok(answer) => {
                    store.later(store.wire.batch("RELEASE SAVEPOINT attempt".to_owned()));
                    Ok(Ok(answer.count))
                }
                Err(broken) if broken.is_of_the_row() => {
                    store.later(store.wire.batch("ROLLBACK TO SAVEPOINT attempt".to_owned()));
                    Ok(Err(broken))
                }
                Err(broken) => Err(store.failed(broken)),
            }
        })
    }

    /// As [`PostgresStore::attempt`]; a refusal is an error.
    fn one_step(&mut self, sql: &'static str, params: Vec<Param>) -> Result<u64> {
        self.attempt(sql, params)?.map_err(|broken| anyhow::Error::new(OneRefused(broken.error().to_string())))
    }

    /// As [`PostgresStore::attempt`]; what the ledger's triggers say is an answer.
    pub(super) fn written(&mut self, sql: &'static str, params: Vec<Param>) -> Result<Written> {
        match self.attempt(sql, params)? {
            Ok(0) => Ok(Written::Unchanged),
            Ok(_) => Ok(Written::Done),
            Err(broken) if broken.is_refusal() => Ok(Written::Refused),
            Err(broken) => Err(anyhow::Error::new(OneRefused(broken.error().to_string()))),
        }
    }

    pub(super) fn record_entry(&mut self, entry: &NewEntry, clock_error: Option<Span>) -> Result<bool> {
        self.within(|store| {
            let inserted = store.one_step(INSERT, columns::recorded(entry))?;
            if let Some(error) = clock_error.filter(|_| inserted > 0) {
                store.put(
                    "UPDATE privo_reconcile.state SET clock_error_ms = $2
                     WHERE entry_id = (SELECT id FROM privo_reconcile.entries WHERE request_id = $1)",
                    vec![text(entry.request_id), number(error.0)],
                );
            }
            Ok(inserted > 0)
        })
    }

    pub(super) fn write_row(&mut self, row: &WrittenRow) -> Result<Written> {
        self.written(INSERT, columns::written(row))
    }

    pub(super) fn change_row(&mut self, row: &WrittenRow) -> Result<Written> {
        self.written(
            "UPDATE privo_reconcile.entries SET operation_id = $2, direction = $3, method = $4, url = $5, body = $6, sent_at = $7,
               ended_at = $8, failure = $9, http_status = $10, error = $11
             WHERE request_id = $1",
            columns::written(row),
        )
    }

    pub(super) fn delete_row(&mut self, request_id: &str) -> Result<Written> {
        self.written("DELETE FROM privo_reconcile.entries WHERE request_id = $1", vec![text(request_id)])
    }

    pub(super) fn end_intent(&mut self, request_id: &str, ended_at: Moment, end: &End) -> Result<Ended> {
        let (failure, http_status, error) = match *end {
            End::Answered { keep: false, .. } if self.forget(request_id)? => return Ok(Ended::Forgotten),
            End::Answered { status, .. } => (Failure::Answered, Some(status), None),
            End::Failed { failure, http_status, error } => (failure, http_status, error),
        };
        let changed = self.one_step(
            "UPDATE privo_reconcile.entries SET failure = $2, http_status = $3, ended_at = $4, error = $5
             WHERE request_id = $1 AND failure = 'intent'",
            vec![
                text(request_id),
                text(failure.text()),
                some_text(http_status.map(|status| status.to_string()).as_deref()),
                text(&ended_at.to_string()),
                some_text(error),
            ],
        )?;
        Ok(if changed == 0 { Ended::NoIntent } else { Ended::Kept })
    }

    /// Deletes an intent that was answered, unless the triggers find that it is evidence.
    fn forget(&mut self, request_id: &str) -> Result<bool> {
        let sql = "DELETE FROM privo_reconcile.entries WHERE request_id = $1 AND failure = 'intent'";
        Ok(self.written(sql, vec![text(request_id)])? == Written::Done)
    }

    pub(super) fn add_body(&mut self, request_id: &str, body: &str) -> Result<bool> {
        let completed = self.written(
            "UPDATE privo_reconcile.entries AS e SET body = $2 WHERE request_id = $1 AND body IS NULL AND NOT EXISTS (
               SELECT 1 FROM privo_reconcile.state AS s WHERE s.entry_id = e.id AND (
                 NOT s.unread AND s.reason IS DISTINCT FROM 'bad-row' OR s.erased_id IS NOT NULL))",
            vec![text(request_id), text(body)],
        )?;
        Ok(completed == Written::Done)
    }
}

const INSERT: &str = "INSERT INTO privo_reconcile.entries
    (request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
