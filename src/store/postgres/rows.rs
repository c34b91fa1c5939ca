//! Writers' rows, as they are read.

use anyhow::Result;
use tokio_postgres::Row as Line;

use super::super::{LONGEST_CELL, Texts};
use super::columns::{self, ROW, SIZE, row_of};
use super::operations::{PAGE, PAGE_BYTES};
use super::{PostgresStore, cell, number, of_numbers};
use crate::plan::{Cell, NoText, Row};

impl PostgresStore {
    pub(super) fn rows_of_entries(&self, entries: &[i64]) -> Result<Vec<Row>> {
        let sql = format!(
            "SELECT {} FROM privo_reconcile.entries AS e LEFT JOIN privo_reconcile.state AS s ON s.entry_id = e.id
             WHERE e.id = ANY ($1) ORDER BY e.id",
            *ROW
        );
        let lines = self.found(sql, vec![of_numbers(entries.to_vec())])?;
        lines.iter().filter_map(|line| row_of(line, 0).transpose()).collect()
    }

    pub(super) fn ids_of(&self, entries: &[i64]) -> Result<Vec<(i64, String, Cell)>> {
        let sql = format!(
            "SELECT id, request_id, CASE WHEN octet_length(operation_id) <= {LONGEST_CELL} THEN operation_id END,
               coalesce(octet_length(operation_id) > {LONGEST_CELL}, false)
             FROM privo_reconcile.entries WHERE id = ANY ($1) ORDER BY id"
        );
        let ids = |line: &Line| -> Result<(i64, String, Cell)> {
            let operation_id = if cell(line, 3)? { Err(NoText) } else { Ok(cell(line, 2)?) };
            Ok((cell(line, 0)?, cell(line, 1)?, operation_id))
        };
        self.found(sql, vec![of_numbers(entries.to_vec())])?.iter().map(ids).collect()
    }

    pub(super) fn every_row(&self, each: &mut dyn FnMut(i64, Texts) -> Result<()>) -> Result<()> {
        self.pages(i64::MIN, |store, from| {
            let sql = format!(
                "WITH page AS (
                   SELECT e.id, {} AS size FROM privo_reconcile.entries AS e
                   LEFT JOIN privo_reconcile.state AS s ON s.entry_id = e.id
                   WHERE e.id >= $1 AND s.erased_id IS NULL ORDER BY e.id LIMIT $2),
                 part AS (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM page)
                 SELECT e.id, {} FROM part JOIN privo_reconcile.entries AS e USING (id) WHERE before <= $3 ORDER BY e.id",
                *SIZE,
                columns::WRITTEN
            );
            let lines = store.found(sql, vec![number(from), number(PAGE), number(PAGE_BYTES)])?;
            for line in &lines {
                each(cell(line, 0)?, &columns::texts_of(line)?)?;
            }
            lines.last().map(|line| cell(line, 0)).transpose()
        })
    }
}
