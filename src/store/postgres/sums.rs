//! What is counted and summed up in the database.

use anyhow::{Context, Result};
use tokio_postgres::Row as Line;

use super::super::Stats;
use super::operations::PART;
use super::{PostgresStore, cell, columns, number};
use crate::clock::Moment;
use crate::words::{Reason, Status};

impl PostgresStore {
    pub(super) fn due_at(&self, now: Moment) -> Result<u64> {
        let counted = format!(
            "SELECT count(*) FROM privo_reconcile.state WHERE due_ms IS NOT NULL AND {PART} IN (0, 1) AND due_ms <= $1"
        );
        let lines = self.found(counted, vec![number(now.0)])?;
        lines.first().map_or(Ok(0), |line| Ok(cell::<i64>(line, 0)?.unsigned_abs()))
    }

    pub(super) fn first_due(&self) -> Result<Option<Moment>> {
        let next = format!(
            "SELECT due_ms FROM privo_reconcile.state
             WHERE due_ms IS NOT NULL AND {PART} = 0 AND status = 'pending'
               AND (reason IS NULL OR reason NOT IN ('other-environment', 'uncontrolled'))
             ORDER BY {PART}, due_ms, entry_id LIMIT 1"
        );
        self.found(next, vec![])?.first().map(|line| cell(line, 0).map(Moment)).transpose()
    }

    pub(super) fn by_status(&self) -> Result<Vec<(Status, Option<Reason>, u64)>> {
        let lines = self.rows_of(
            "SELECT status, reason, count(*) FROM privo_reconcile.state WHERE status IS NOT NULL GROUP BY status, reason",
            vec![],
        )?;
        let counted = |line: &Line| {
            let status = columns::word(line, 0)?.context("a status is missing")?;
            Ok((status, columns::word(line, 1)?, cell::<i64>(line, 2)?.unsigned_abs()))
        };
        let mut counts = lines.iter().map(counted).collect::<Result<Vec<(Status, Option<Reason>, u64)>>>()?;
        counts.sort_unstable();
        Ok(counts)
    }

    pub(super) fn sums(&self) -> Result<Stats> {
        let line = self.row_of(
            "SELECT (SELECT min(sent_ms) FROM privo_reconcile.state WHERE status = 'pending'),
               EXISTS (SELECT 1 FROM privo_reconcile.state WHERE status = 'pending'),
               EXISTS (SELECT 1 FROM privo_reconcile.state WHERE status = 'duplicate-risk'),
               EXISTS (SELECT 1 FROM privo_reconcile.state WHERE status IN ('resolved', 'duplicate-risk'))",
            vec![],
        )?;
        Ok(Stats {
            oldest_pending: cell::<Option<i64>>(&line, 0)?.map(Moment),
            pending: cell(&line, 1)?,
            duplicate_risk: cell(&line, 2)?,
            settled: cell(&line, 3)?,
        })
    }
}
