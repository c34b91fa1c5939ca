//! Selecting: which rows a report has, as conditions of its query, so that what does not fit is never read.

use anyhow::{Context, Result};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::intake::id_text;
use crate::evidence::Record;
use crate::standing::{Audience, Filter, NOT_PRIVOS};

/// Two passes instead of one sort: a million rows stream in the order of the index.
const CORRECTIONS_FIRST: &[&str] = &[
    "v.correction = 1 AND s.entry_id IN (SELECT entry_id FROM verdicts WHERE correction = 1)",
    "coalesce(v.correction, 0) = 0",
];

/// What PRIVO can answer: a correction, and a duplicate-risk that is not the partner's own mistake. What a person closed is
/// resolved, by a verdict that is no correction.
pub(super) fn for_support() -> String {
    let reasons: Vec<String> = NOT_PRIVOS.iter().map(|reason| format!("'{reason}'")).collect();
    let reasons = reasons.join(", ");
    format!("(+s.status = 'duplicate-risk' AND s.reason NOT IN ({reasons}) OR coalesce(v.correction, 0) = 1)")
}

/// The first attempt of an operation: proven not applied, of which no attempt stands otherwise and none waits for a row that
/// came since; and after those what the server would refuse to do twice, of which no attempt says otherwise.
pub(super) const FOR_RESEND: [&str; 2] = [
    "+s.status = 'resolved' AND s.action = 'resend' AND v.outcome = 'not-applied' AND s.lead IS NULL
    AND w.entry_id IS NULL AND NOT EXISTS (
      SELECT 1 FROM standings o WHERE o.lead = s.entry_id AND o.status IS NOT NULL
        AND (o.status <> 'resolved' OR o.action IS NOT 'resend'))",
    "+s.status = 'pending' AND s.action = 'may-resend' AND s.lead IS NULL
    AND w.entry_id IS NULL AND NOT EXISTS (
      SELECT 1 FROM standings o LEFT JOIN temp.waits ow ON ow.entry_id = o.entry_id
      WHERE o.lead = s.entry_id AND o.status IS NOT NULL
        AND (o.status <> 'pending' OR o.action IS NOT 'may-resend' OR ow.entry_id IS NOT NULL))",
];

/// Something of the operation was settled since: its first attempt may have been settled long before.
const NEW_OF_OPERATION: &str =
    "(SELECT max(o.verdict_id) FROM standings o WHERE o.entry_id = s.entry_id OR o.lead = s.entry_id) > ?";

/// The instant sent, in milliseconds, as SQL. It stands in an index once a run has read the row; as long as there are
/// others, theirs is worked out from what the writer wrote, and rows are sorted in memory.
pub(super) fn sent(connection: &Connection) -> Result<&'static str> {
    let unread = connection.prepare_cached("SELECT 1 FROM standings WHERE reading_id IS NULL")?.exists([])?;
    Ok(if unread {
        "CASE WHEN s.reading_id IS NULL THEN CAST(round(1000 * unixepoch(e.sent_at, 'subsec')) AS INTEGER) ELSE s.sent_ms END"
    } else {
        "s.sent_ms"
    })
}

/// A filter as SQL: conditions with their values, one for each pass in their order.
///
/// # Performance
/// Rows stream in the order of the index by `sent_ms`, whatever is asked for: a pass over a million entries takes a second,
/// and no sorting of them takes memory. The plus signs keep SQLite from the other indexes. `sent` is [`sent`]'s.
pub(super) fn passes(filter: &Filter, sent: &str) -> Vec<Conditions> {
    let by_reader = match filter.audience {
        Audience::All | Audience::Support => CORRECTIONS_FIRST,
        Audience::Resend => &FOR_RESEND,
    };
    let times: &[fn(&mut Conditions, &Filter, &str)] = match (filter.since, filter.until) {
        (None, None) => &[|_, _, _| ()],
        // What has no time comes first, as the index has it.
        _ => &[|conditions, _, sent| conditions.need(&format!("{sent} IS NULL"), []), Conditions::sent_within],
    };
    let mut passes = Vec::new();
    for of_reader in by_reader {
        for of_time in times {
            let mut conditions = Conditions { sql: format!(" AND {of_reader}"), values: Vec::new() };
            conditions.of(filter);
            of_time(&mut conditions, filter, sent);
            passes.push(conditions);
        }
    }
    passes
}

/// Conditions of one pass; the values in the order of the marks.
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    fn of(&mut self, filter: &Filter) {
        match filter.audience {
            Audience::All | Audience::Resend => {}
            Audience::Support => self.need(&for_support(), []),
        }
        if let Some(name) = &filter.operation {
            let sql = "(r.id IS NULL OR json_extract(r.facts, '$.operation') = ?)";
            self.need(sql, [Value::Text(name.clone())]);
        }
        self.one_of(
            "CASE WHEN w.entry_id IS NULL THEN s.status ELSE 'pending' END",
            filter.statuses.iter().map(|status| status.text()),
        );
        // Nothing is known of an entry that was not looked at yet: the report calls that inconclusive.
        let reason = "CASE WHEN w.entry_id IS NULL THEN coalesce(s.reason, 'inconclusive') ELSE 'unsettled' END";
        self.one_of(reason, filter.reasons.iter().map(|reason| reason.text()));
        if let Some(run) = filter.run {
            self.need("+v.run_id = ?", [Value::Integer(run)]);
        }
        if let Some(verdict) = filter.after_verdict {
            let newer = if filter.audience == Audience::Resend { NEW_OF_OPERATION } else { "+s.verdict_id > ?" };
            self.need(newer, [Value::Integer(verdict)]);
        }
    }

    fn sent_within(&mut self, filter: &Filter, sent: &str) {
        if let Some(since) = filter.since {
            self.need(&format!("{sent} >= ?"), [Value::Integer(since.0)]);
        }
        if let Some(until) = filter.until {
            self.need(&format!("{sent} < ?"), [Value::Integer(until.0)]);
        }
    }

    fn need(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn one_of<'a>(&mut self, column: &str, words: impl Iterator<Item = &'a str>) {
        let words: Vec<Value> = words.map(|word| Value::Text(word.to_owned())).collect();
        if !words.is_empty() {
            let marks = vec!["?"; words.len()].join(", ");
            self.need(&format!("{column} IN ({marks})"), words);
        }
    }
}

/// The request ids of an operation's attempts that are examined, by its first one, in order of sending.
pub(super) fn attempts_of(connection: &Connection, lead: i64) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT f.request_id FROM standings o CROSS JOIN entries f ON f.id = o.entry_id
         WHERE (o.entry_id = ?1 OR o.lead = ?1) AND o.status IS NOT NULL
         ORDER BY o.sent_ms, f.request_id COLLATE BINARY",
    )?;
    let attempts = statement.query_map([lead], |row| row.get_ref(0).map(id_text))?;
    Ok(attempts.collect::<rusqlite::Result<_>>()?)
}

/// The server's ids of the records that the last look at each effect of an entry found: what support must find.
pub(super) fn found_by(connection: &Connection, entry: i64) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT records FROM observations WHERE records IS NOT NULL AND id IN (
           SELECT max(id) FROM observations WHERE entry_id = ? AND seen IN ('present', 'several') GROUP BY effect)
         ORDER BY effect",
    )?;
    let mut rows = statement.query([entry])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let records: Vec<Record> =
            serde_json::from_str(row.get_ref(0)?.as_str()?).context("failed to read what a look found")?;
        found.extend(records.into_iter().filter_map(|record| record.id).filter(|id| !id.is_empty()));
    }
    found.dedup();
    Ok(found)
}
