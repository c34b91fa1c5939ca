//! Sums over states. What a run asks for when it has nothing to do is answered by indexes that are small then.

use anyhow::Result;
use rusqlite::Connection;

use super::columns::word;
use crate::clock::Moment;
use crate::store::Stats;
use crate::words::{Reason, Status};

pub(super) const COUNT_DUE: &str = "SELECT count(*) FROM state
    WHERE due_ms IS NOT NULL AND (status IS NOT 'pending' AND joined_id IS NULL) IN (0, 1) AND due_ms <= ?";

/// How many are due, watched ones among them.
pub(super) fn count_due(connection: &Connection, now: Moment) -> Result<u64> {
    Ok(connection.prepare_cached(COUNT_DUE)?.query_row([now.0], |row| row.get(0))?)
}

pub(super) const NEXT_DUE: &str = "SELECT due_ms FROM state
    WHERE due_ms IS NOT NULL AND (status IS NOT 'pending' AND joined_id IS NULL) = 0 AND status = 'pending'
      AND (reason IS NULL OR reason NOT IN ('other-environment', 'uncontrolled'))
    ORDER BY due_ms LIMIT 1";

/// When the next pending entry is due that waiting can help.
pub(super) fn next_due(connection: &Connection) -> Result<Option<Moment>> {
    let mut statement = connection.prepare_cached(NEXT_DUE)?;
    let mut rows = statement.query([])?;
    Ok(rows.next()?.map(|row| row.get(0).map(Moment)).transpose()?)
}

/// By status and reason, in the order of both lists.
pub(super) fn counts(connection: &Connection) -> Result<Vec<(Status, Option<Reason>, u64)>> {
    let mut statement = connection.prepare_cached("SELECT status, reason FROM state WHERE status IS NOT NULL")?;
    let mut rows = statement.query([])?;
    // There are few kinds, and sorting a million rows for them takes longer than to read them.
    let mut counts: Vec<(Status, Option<Reason>, u64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (status, reason) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str_or_null()?);
        let same =
            |one: &&mut (Status, Option<Reason>, u64)| one.0.text() == status && one.1.map(Reason::text) == reason;
        match counts.iter_mut().find(same) {
            Some((_, _, count)) => *count += 1,
            None => counts.push((status.parse()?, word(row, 1)?, 1)),
        }
    }
    counts.sort_unstable();
    Ok(counts)
}

/// Pending entries are unread, or due, or (which no rule says) neither: an index for each.
pub(super) const PENDING: &str = "
    SELECT sent_ms FROM state INDEXED BY state_unread WHERE unread = 1 AND status = 'pending'
    UNION ALL
    SELECT sent_ms FROM state
    WHERE due_ms IS NOT NULL AND (status IS NOT 'pending' AND joined_id IS NULL) = 0 AND status = 'pending'
    UNION ALL
    SELECT sent_ms FROM state INDEXED BY state_never_due WHERE status = 'pending' AND due_ms IS NULL AND unread = 0";

pub(super) const AT_RISK: &str = "SELECT 1 FROM state INDEXED BY state_at_risk WHERE status = 'duplicate-risk'";

pub(super) fn stats(connection: &Connection) -> Result<Stats> {
    let any = |sql: &str| connection.prepare_cached(sql)?.exists([]);
    let oldest: Option<i64> =
        connection.prepare_cached(&format!("SELECT min(sent_ms) FROM ({PENDING})"))?.query_row([], |row| row.get(0))?;
    let duplicate_risk = any(AT_RISK)?;
    Ok(Stats {
        oldest_pending: oldest.map(Moment),
        pending: any(&format!("SELECT 1 FROM ({PENDING})"))?,
        duplicate_risk,
        settled: duplicate_risk || any("SELECT 1 FROM state WHERE status = 'resolved'")?,
    })
}
