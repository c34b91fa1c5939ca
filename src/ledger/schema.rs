//! What a tool of the partner's may have done to `entries`: one that rebuilds the table (a new table, a copy, the old one
//! dropped) takes its triggers, its indexes and perhaps its unique key away, and nothing notes the rows that come then.
//!
//! So rows are found by their being there. Every opening compares `entries` with what this version wants, puts back what
//! is missing or altered, and looks for rows that nothing noted whenever the schema was changed by whomever: SQLite counts
//! that, and `ledger.schema_seen` says for which schema all rows were found. Columns, indexes and triggers of the
//! partner's own are no fault. What cannot be put back is refused by name.

mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::intake::{cell, id_text};
use super::{BUSY, Ledger, SCHEMA};
use crate::clock::Moment;
use crate::evidence::Facts;
use crate::exit::Refused;
use crate::plan::{Cell, hex, link, operation};
use crate::words::{Direction, Failure};

/// What this version wants of `entries`.
struct Wanted {
    /// The statement that makes the table.
    table: String,
    /// Its triggers and indexes: what it is, its name, the statement that makes it.
    objects: Vec<(String, String, String)>,
}

impl Wanted {
    fn new() -> Result<Wanted> {
        let model = Connection::open_in_memory()?;
        model.execute_batch(SCHEMA)?;
        let table = table_of(&model)?.context("schema.sql makes no table `entries`")?;
        let mut statement = model.prepare(
            "SELECT upper(type), name, sql FROM sqlite_schema
             WHERE tbl_name = 'entries' AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
        )?;
        let objects = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let objects = objects.collect::<rusqlite::Result<_>>()?;
        Ok(Wanted { table, objects })
    }
}

fn table_of(connection: &Connection) -> Result<Option<String>> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'entries'";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?)
}

/// What of `entries` is not as it should be, and can be put back.
#[derive(Default)]
struct Faults<'a> {
    /// The table itself must be made anew; why.
    table: Option<&'static str>,
    /// Triggers and indexes that are missing or altered.
    objects: Vec<&'a (String, String, String)>,
}

impl Faults<'_> {
    fn none(&self) -> bool {
        self.table.is_none() && self.objects.is_empty()
    }

    /// In words.
    fn named(&self) -> Vec<String> {
        let objects = self.objects.iter().map(|(kind, name, _)| format!("its {} `{name}`", kind.to_lowercase()));
        self.table.map(str::to_owned).into_iter().chain(objects).collect()
    }
}

/// Compares. [`Refused`] when something is missing that nobody but the partner can put back.
fn faults<'a>(connection: &Connection, path: &Path, wanted: &'a Wanted) -> Result<Faults<'a>> {
    let Some(table) = table_of(connection)? else {
        let remedy = "restore it from a backup; a tool of yours may have left it under another name";
        bail!(Refused(format!("the ledger {} has no table `entries` ({remedy})", path.display())));
    };
    let mut statement = connection.prepare(
        "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL",
    )?;
    let there = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?))))?;
    let there: BTreeMap<String, (String, String)> = there.collect::<rusqlite::Result<_>>()?;
    let fits = |(_, name, sql): &&(String, String, String)| {
        there.get(name).is_some_and(|(table, is)| table == "entries" && is == sql)
    };
    Ok(Faults {
        table: if table == wanted.table { None } else { table::fault(connection, path, &table, &wanted.table)? },
        objects: wanted.objects.iter().filter(|object| !fits(object)).collect(),
    })
}

/// The schema of `entries` as it is: how often any schema was changed in the file, by whomever, and a digest of what was
/// made, beside that of what is wanted.
fn now(connection: &Connection) -> Result<String> {
    let changes: i64 = connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    let mut statement = connection
        .prepare_cached("SELECT sql FROM sqlite_schema WHERE tbl_name = 'entries' AND sql IS NOT NULL ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut digest = Sha256::new_with_prefix(SCHEMA);
    while let Some(row) = rows.next()? {
        digest.update(row.get_ref(0)?.as_str()?);
    }
    Ok(format!("{changes} {}", hex(&digest.finalize()[..16])))
}

/// So many new rows are looked at by each opening before it is noted that they were.
const NOTED_EVERY: i64 = 1000;

/// Whether no change of the schema is new, and no row since the last note came without triggers: taking them away is a
/// change, but a writer may switch them off for its connection.
fn is_seen(connection: &Connection) -> Result<bool> {
    let sql = "SELECT schema_seen, rows_seen FROM ledger";
    let (seen, rows): (Option<String>, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let unseen = "SELECT EXISTS (SELECT 1 FROM entries e
                  WHERE e.id > ? AND NOT EXISTS (SELECT 1 FROM standings WHERE entry_id = e.id))";
    Ok(seen == Some(now(connection)?) && !connection.query_row(unseen, [rows], |row| row.get::<_, bool>(0))?)
}

/// Whether many rows came since the last note.
fn many_came(connection: &Connection) -> Result<bool> {
    let sql = "SELECT coalesce((SELECT max(id) FROM entries), 0) - rows_seen > ? FROM ledger";
    Ok(connection.query_row(sql, [NOTED_EVERY], |row| row.get(0))?)
}

/// All rows that are there were found under a schema.
const NOTE: &str = "UPDATE ledger SET schema_seen = ?, rows_seen = coalesce((SELECT max(id) FROM entries), 0)";

/// Whether there is a row that nothing noted.
fn any_unseen(connection: &Connection) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM entries e WHERE NOT EXISTS (SELECT 1 FROM standings WHERE entry_id = e.id))";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// What stands for a row that is gone.
const GONE: &str = "entry_id NOT IN (SELECT id FROM entries)";

/// Whether a row is gone that the triggers would have kept.
fn any_gone(connection: &Connection) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM standings WHERE {GONE})");
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}

/// Drops what stands for rows that are gone, which count no more; their evidence stays. Gives how many there were that were
/// not settled or under watch.
fn drop_gone(connection: &Connection) -> Result<i64> {
    let gone = format!("SELECT count(*) FROM standings WHERE due_ms IS NOT NULL AND {GONE}");
    let gone = connection.query_row(&gone, [], |row| row.get(0))?;
    connection.execute_batch(&format!("DELETE FROM links WHERE {GONE}; DELETE FROM standings WHERE {GONE};"))?;
    Ok(gone)
}

/// Notes that all rows were found under this schema. Whoever cannot write that finds them anew next time.
fn note(connection: &Connection, now: &str) -> Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let _unwritten = connection.execute(NOTE, [now]);
    connection.busy_timeout(BUSY)?;
    Ok(())
}

/// Compares `entries` with what this version wants, puts back what is missing, and finds the rows that came meanwhile. Costs
/// next to nothing when no schema was changed since.
///
/// # Errors
/// [`Refused`] for what only the partner can put back; when the ledger cannot be read or written.
pub(super) fn heal(connection: &Connection, path: &Path) -> Result<()> {
    if is_seen(connection)? {
        return if many_came(connection)? { note(connection, &now(connection)?) } else { Ok(()) };
    }
    let wanted = Wanted::new()?;
    let now = now(connection)?;
    if faults(connection, path, &wanted)?.none() && !any_unseen(connection)? && !any_gone(connection)? {
        return note(connection, &now);
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // Whoever opens it at the same time may have been first.
    let found = faults(&transaction, path, &wanted)?;
    let named = found.named();
    if found.table.is_some() {
        table::rebuild(&transaction, path, &wanted.table, |name| wanted.objects.iter().any(|(_, its, _)| its == name))?;
    }
    for (kind, name, sql) in faults(&transaction, path, &wanted)?.objects {
        // It may stand on a table that was `entries` before.
        transaction.execute_batch(&format!("DROP {kind} IF EXISTS \"{name}\"; {sql};"))?;
    }
    let rows = find_rows(&transaction, !named.is_empty())?;
    transaction.execute(NOTE, [self::now(&transaction)?])?;
    transaction.commit()?;
    rows.tell(&named);
    Ok(())
}

/// Rows that nothing noted.
#[derive(Default)]
struct Rows {
    came: usize,
    changed: usize,
    gone: i64,
}

impl Rows {
    fn tell(&self, named: &[String]) {
        let lost = if named.is_empty() { "its triggers for a while".to_owned() } else { named.join(", ") };
        if !named.is_empty() || self.came > 0 {
            let Rows { came, changed, .. } = self;
            tracing::warn!(
                event = "entries-healed",
                "the table `entries` had lost {lost}, as when a migration rebuilds it: put back; {came} rows had come unnoticed and {changed} were changed (give the table back as schema.sql makes it, in the same migration)"
            );
        }
        if self.gone > 0 {
            tracing::warn!(
                event = "entries-gone",
                "{} rows of `entries` are gone that were not settled or under watch; nobody will know what became of them (restore them from a backup, if nobody meant to delete them)",
                self.gone
            );
        }
    }
}

/// The time as the triggers stamp it.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

/// Notes what the triggers would have noted. `away`: they were missing just now.
fn find_rows(connection: &Connection, away: bool) -> Result<Rows> {
    // As if its writer had changed it: whatever came after it does not know it yet.
    let came = connection.execute(
        &format!(
            "INSERT INTO standings (entry_id, revision, status, due_ms, arrived_ms)
             SELECT id, 1, CASE WHEN failure IS NOT 'answered' THEN 'pending' END,
                    CASE WHEN failure IS NOT 'answered' THEN 0 END, {NOW}
             FROM entries e WHERE NOT EXISTS (SELECT 1 FROM standings WHERE entry_id = e.id)"
        ),
        [],
    )?;
    let gone = drop_gone(connection)?;
    if !away && came == 0 {
        return Ok(Rows { gone, ..Rows::default() });
    }
    let changed = changed(connection)?;
    // What is still to be decided, and what may be corrected, is read anew: that finds a body or an id that was changed.
    connection.execute_batch(
        "UPDATE standings SET reading_id = NULL, due_ms = CASE WHEN status = 'pending' THEN 0 ELSE due_ms END
         WHERE (due_ms IS NOT NULL OR reason = 'bad-row') AND entry_id NOT IN (SELECT entry_id FROM blanked);
         DELETE FROM links WHERE entry_id IN (SELECT entry_id FROM standings WHERE reading_id IS NULL);
         UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max(entry_id), 0) FROM readings)) WHERE name = 'entries';",
    )?;
    Ok(Rows { came, changed, gone })
}

/// Opens anew every row that does not say any more what was read of it, as the trigger would have. Gives how many.
fn changed(connection: &Connection) -> Result<usize> {
    let mut statement = connection.prepare(
        "SELECT s.entry_id, e.failure, e.http_status, e.sent_at, e.ended_at, r.facts, e.request_id, e.operation_id
         FROM standings s CROSS JOIN readings r ON r.id = s.reading_id CROSS JOIN entries e ON e.id = s.entry_id
         WHERE s.entry_id NOT IN (SELECT entry_id FROM blanked)",
    )?;
    let salt: Vec<u8> = connection.query_row("SELECT salt FROM ledger", [], |row| row.get(0))?;
    let mut rows = statement.query([])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let facts: Facts = serde_json::from_str(row.get_ref(5)?.as_str()?).context("failed to read a reading")?;
        let [failure, status, sent, ended] =
            [cell(row.get_ref(1)?), cell(row.get_ref(2)?), cell(row.get_ref(3)?), cell(row.get_ref(4)?)];
        // A rebuild that numbers the rows anew gives one row what another was read as.
        let (request, operation_id) = (id_text(row.get_ref(6)?), cell(row.get_ref(7)?));
        let is_it = facts.direction == Direction::Inbound
            || facts.identity == link(&salt, "operation", operation(&operation_id, &request));
        if !is_it || !says(&facts, failure, status, sent, ended) {
            changed.push((row.get::<_, i64>(0)?, facts.failure == Some(Failure::Intent)));
        }
    }
    let mut open = connection.prepare(&format!(
        "UPDATE standings SET
           revision = revision + 1, reading_id = NULL, reason = NULL, action = NULL, explanation = NULL, not_before_ms = NULL,
           verdict_id = NULL,
           status = CASE WHEN (SELECT failure FROM entries WHERE id = ?1) IS NOT 'answered' THEN 'pending' END,
           due_ms = CASE WHEN (SELECT failure FROM entries WHERE id = ?1) IS NOT 'answered' THEN 0 END,
           arrived_ms = CASE WHEN ?2 THEN {NOW} ELSE arrived_ms END
         WHERE entry_id = ?1"
    ))?;
    for (entry, intent) in &changed {
        open.execute(params![entry, intent])?;
    }
    Ok(changed.len())
}

/// Whether a row still says of its end and its times what was read of it.
fn says(facts: &Facts, failure: Cell, status: Cell, sent: Cell, ended: Cell) -> bool {
    let text = |cell: Cell| cell.ok().flatten();
    let sent = text(sent).as_deref().and_then(Moment::parse);
    // Without a time of its own it had ended when it was read, or when it was sent.
    let ended = text(ended).as_deref().and_then(Moment::parse).filter(|ended| sent.is_none_or(|sent| *ended >= sent));
    text(failure).and_then(|word| word.parse().ok()) == facts.failure
        && text(status).and_then(|number| number.trim().parse().ok()) == facts.http_status
        && sent == facts.sent
        && ended.is_none_or(|ended| facts.ended == ended)
}

impl Ledger {
    /// What of the table `entries` is not as this version wants it, in words; whatever opens the ledger to write puts it back.
    ///
    /// # Errors
    /// [`Refused`] for what only the partner can put back.
    pub fn faults_of_entries(&self) -> Result<Vec<String>> {
        Ok(faults(&self.connection, &self.path, &Wanted::new()?)?.named())
    }

    /// Unique indexes of the partner's on `request_id` alone. The table's own key says that a repeated INSERT changes nothing;
    /// they are asked first, and refuse it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn second_keys(&self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare(
            "SELECT name FROM pragma_index_list('entries') WHERE \"unique\" = 1 AND origin = 'c'
               AND (SELECT group_concat(lower(i.name)) FROM pragma_index_info(pragma_index_list.name) i) = 'request_id'",
        )?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether rows may be there that nothing noted.
    pub(super) fn may_overlook(&self) -> Result<bool> {
        let seen = is_seen(&self.connection)?;
        Ok(!seen
            && (!self.faults_of_entries()?.is_empty() || any_unseen(&self.connection)? || any_gone(&self.connection)?))
    }
}
