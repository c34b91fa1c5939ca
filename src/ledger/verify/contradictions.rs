//! What an honest ledger has none of: rows beside the evidence that contradict it, or each other.
//!
//! Each rule must be silent whatever writers may do by the triggers of `schema.sql`, in the midst of a run, and after a
//! kill, another plan, a `prune` or a `forget`.

use anyhow::{Context, Result};
use rusqlite::Connection;

use crate::evidence::{Facts, Link};

/// Entries, by what contradicts what.
const RULES: &[(&str, &str)] = &[
    ("SELECT id FROM entries WHERE id NOT IN (SELECT entry_id FROM standings)", "nothing says where it stands"),
    (
        // One that was not read yet may be its writer's to take back, and so is an intent that was never looked up, with
        // whatever was decided of it. A bad row may have become an intent before it went.
        "SELECT entry_id FROM standings WHERE reading_id IS NOT NULL AND entry_id NOT IN (SELECT id FROM entries)
         UNION SELECT entry_id FROM observations WHERE entry_id NOT IN (SELECT id FROM entries)
         UNION SELECT entry_id FROM blanked WHERE entry_id NOT IN (SELECT id FROM entries)
         UNION SELECT entry_id FROM readings r
         WHERE entry_id NOT IN (SELECT id FROM entries)
           AND id = (SELECT max(id) FROM readings WHERE entry_id = r.entry_id)
           AND facts ->> '$.failure' IS NOT 'intent' AND json_type(facts, '$.class.\"bad-row\"') IS NULL",
        "the entry is not there",
    ),
    (
        "SELECT entry_id FROM standings WHERE status NOT IN ('pending', 'resolved', 'duplicate-risk')",
        "nobody knows its status",
    ),
    (
        // Blanking spells `failure` as it was understood.
        "SELECT s.entry_id FROM standings s JOIN entries e ON e.id = s.entry_id
         WHERE (s.status IS NULL AND e.failure IS NOT 'answered')
            OR (s.status IS NOT NULL AND e.failure IS 'answered' AND s.entry_id NOT IN (SELECT entry_id FROM blanked))",
        "an answer has no status, and all else has one",
    ),
    ("SELECT entry_id FROM standings WHERE status = 'pending' AND due_ms IS NULL", "it is pending, and no look is due"),
    (
        "SELECT entry_id FROM standings WHERE verdict_id IS NOT NULL AND coalesce(status, 'pending') = 'pending'",
        "it is not settled, and a verdict holds",
    ),
    (
        "SELECT s.entry_id FROM standings s LEFT JOIN verdicts v ON v.id = s.verdict_id AND v.entry_id = s.entry_id
         WHERE s.status IN ('resolved', 'duplicate-risk')
           AND (v.id IS NULL OR v.status <> s.status OR v.reason IS NOT s.reason OR v.action IS NOT s.action
                OR EXISTS (SELECT 1 FROM verdicts later WHERE later.entry_id = s.entry_id AND later.id > v.id))",
        "its standing does not follow from its last verdict",
    ),
    (
        // The last of its plan and server: configurations that are run in turn come back to theirs.
        "SELECT s.entry_id FROM standings s LEFT JOIN readings r ON r.id = s.reading_id
         WHERE s.reading_id IS NOT NULL
           AND (r.entry_id IS NOT s.entry_id
                OR EXISTS (SELECT 1 FROM readings later
                           WHERE later.entry_id = s.entry_id AND later.id > s.reading_id AND later.basis = r.basis))",
        "its standing does not follow from its last reading",
    ),
    (
        // A completed look is one observation for each effect that was looked at.
        "SELECT entry_id FROM standings s
         WHERE checks > 0 AND checks > (SELECT count(*) FROM observations WHERE entry_id = s.entry_id)",
        "it was looked at more often than there are looks",
    ),
    (
        "SELECT entry_id FROM verdicts WHERE decision_id IS NULL AND reason <> 'closed'",
        "a verdict that neither a decision nor a person stands behind",
    ),
    (
        "SELECT entry_id FROM verdicts v
         WHERE run_id NOT IN (SELECT id FROM runs)
            OR (decision_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.id = v.decision_id AND d.run_id = v.run_id))",
        "a verdict of a decision, or of a run, that is not there",
    ),
    (
        "SELECT DISTINCT r.entry_id
         FROM decisions d CROSS JOIN json_each(d.evidence) of CROSS JOIN readings r ON r.id = of.value ->> 0
         WHERE NOT EXISTS (SELECT 1 FROM verdicts WHERE decision_id = d.id)",
        "a decision of which no verdict is there",
    ),
    (
        "SELECT DISTINCT entry_id FROM observations WHERE run_id NOT IN (SELECT id FROM runs)",
        "a look of a run that is not there",
    ),
];

/// Tells each entry that contradicts something, and what.
pub(super) fn each(connection: &Connection, mut tell: impl FnMut(i64, &str) -> Result<()>) -> Result<()> {
    for (sql, what) in RULES {
        let mut statement = connection.prepare(sql)?;
        let entries: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for entry in entries {
            tell(entry, what)?;
        }
    }
    each_unlinked(connection, |entry| tell(entry, "a link to what it is decided with is not there"))
}

/// Readings in the order of their entries, each with the links that are there: both indices are gone through once.
const LINKED: &str = "
SELECT s.entry_id, r.facts, (SELECT group_concat(hex(link), '') FROM links WHERE entry_id = s.entry_id)
FROM standings s CROSS JOIN readings r ON r.id = s.reading_id
WHERE s.entry_id NOT IN (SELECT entry_id FROM blanked)
ORDER BY s.entry_id";

/// Tells each entry that its reading links to others and the ledger does not. Of a blanked one they may have been sealed.
fn each_unlinked(connection: &Connection, mut tell: impl FnMut(i64) -> Result<()>) -> Result<()> {
    let mut statement = connection.prepare(LINKED)?;
    let mut rows = statement.query([])?;
    let mut there: Vec<Link> = Vec::new();
    while let Some(row) = rows.next()? {
        let facts: Facts = serde_json::from_str(row.get_ref(1)?.as_str()?).context("failed to read a reading")?;
        let digits = row.get_ref(2)?.as_str_or_null()?.unwrap_or_default();
        there.clear();
        there.extend(
            digits.as_bytes().chunks(32).filter_map(|link| std::str::from_utf8(link).ok()?.parse::<Link>().ok()),
        );
        there.sort_unstable();
        if facts.links().iter().any(|link| there.binary_search(link).is_err()) {
            tell(row.get(0)?)?;
        }
    }
    Ok(())
}
