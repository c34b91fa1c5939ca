//! How far files were read.

use anyhow::Result;

use super::super::{Import, Imported, Mark};
use super::columns::import_of;
use super::{PostgresStore, bytes, cell, count, number, text};
use crate::clock::Moment;

impl PostgresStore {
    pub(super) fn imports_of(&self, mapping: &[u8; 16]) -> Result<Vec<Import>> {
        let lines = self.rows_of(
            "SELECT id, file, mapping, head_bytes, head, bytes, lines, tail, imported, duplicates, left_out, rejected
             FROM privo_reconcile.imports WHERE mapping = $1 ORDER BY bytes DESC, id DESC",
            vec![bytes(mapping)],
        )?;
        lines.iter().map(import_of).collect()
    }

    pub(super) fn put_one_import(&mut self, import: &Import, was: Mark, at: Moment) -> Result<Option<i64>> {
        let Imported { imported, duplicates, left_out, rejected } = import.counts;
        let mut params = vec![
            text(&import.known.file),
            count(import.mark.bytes),
            count(import.mark.lines),
            bytes(&import.tail),
            count(imported),
            count(duplicates),
            count(left_out),
            count(rejected),
            number(at.0),
        ];
        let Some(id) = import.id else {
            params.extend([bytes(&import.known.mapping), count(import.known.head_bytes), bytes(&import.known.head)]);
            let sql = "INSERT INTO privo_reconcile.imports
                 (file, bytes, lines, tail, imported, duplicates, left_out, rejected, at_ms, mapping, head_bytes, head)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id";
            return self.id_of(sql, params).map(Some);
        };
        params.extend([number(id), count(was.bytes), count(was.lines)]);
        let moved = self.within(|store| {
            store.count_of(
                "UPDATE privo_reconcile.imports SET file = $1, bytes = $2, lines = $3, tail = $4, imported = $5, duplicates = $6,
                   left_out = $7, rejected = $8, at_ms = $9 WHERE id = $10 AND bytes = $11 AND lines = $12",
                params,
            )
        })?;
        Ok((moved > 0).then_some(id))
    }

    pub(super) fn rename_imports(&mut self, new: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        self.within(|store| {
            for line in store.rows_of("SELECT id, file FROM privo_reconcile.imports", vec![])? {
                if let Some(file) = new(cell(&line, 1)?) {
                    let sql = "UPDATE privo_reconcile.imports SET file = $2 WHERE id = $1";
                    store.put(sql, vec![number(cell(&line, 0)?), text(&file)]);
                }
            }
            Ok(())
        })
    }

    pub(super) fn drop_one_import(&mut self, import: i64) -> Result<()> {
        self.within(|store| {
            for sql in [
                "DELETE FROM privo_reconcile.import_records WHERE import_id = $1",
                "DELETE FROM privo_reconcile.imports WHERE id = $1",
            ] {
                store.put(sql, vec![number(import)]);
            }
            Ok(())
        })
    }

    pub(super) fn seen_of_import(&self, import: i64, record: &[u8; 16]) -> Result<i64> {
        let sql = "SELECT seen FROM privo_reconcile.import_records WHERE import_id = $1 AND record = $2";
        let lines = self.rows_of(sql, vec![number(import), bytes(record)])?;
        lines.first().map_or(Ok(0), |line| cell(line, 0))
    }

    pub(super) fn set_seen_of_import(&mut self, import: i64, record: &[u8; 16], seen: i64) -> Result<()> {
        self.send(
            "INSERT INTO privo_reconcile.import_records (import_id, record, seen) VALUES ($1, $2, $3)
             ON CONFLICT (import_id, record) DO UPDATE SET seen = EXCLUDED.seen",
            vec![number(import), bytes(record), number(seen)],
        )
    }
}
