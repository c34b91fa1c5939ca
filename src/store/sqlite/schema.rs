//! What a tool of the partner's may have done to `entries`: one that rebuilds the table (a new table, a copy, the old one
//! dropped) takes its triggers, its indexes and perhaps its unique key away, and nothing notes the rows that come then.
//!
//! So rows are found by their being there. Every opening compares `entries` with what this version wants, puts back what
//! is missing or altered, and looks for rows that nothing noted whenever the schema was changed by whomever: SQLite counts
//! that, and `ledger.schema_seen` says for which schema all rows were found. Columns, indexes and triggers of the
//! partner's own are no fault. What cannot be put back is refused by name.
//!
//! While the triggers were away any row may have been changed or deleted. So all of them are marked as unread, but for those
//! whose personal fields were erased; who reads them anew finds what changed. Marking a large ledger takes several
//! transactions: `ledger.reread` says how many entries are left, so that none is forgotten if the first of them was the last.

mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::{BUSY, SCHEMA, SqliteStore};
use crate::exit::Refused;
use crate::plan::hex;
use crate::store::Store;

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

/// Whether no change of the schema is new, no row is left to be marked, and no row since the last note came without
/// triggers: taking them away is a change, but a writer may switch them off for its connection.
fn is_seen(connection: &Connection) -> Result<bool> {
    let sql = "SELECT schema_seen, rows_seen, reread IS NULL FROM ledger";
    let (seen, rows, marked): (Option<String>, i64, bool) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let unseen = "SELECT EXISTS (SELECT 1 FROM entries e
                  WHERE e.id > ? AND NOT EXISTS (SELECT 1 FROM state WHERE entry_id = e.id))";
    Ok(marked
        && seen == Some(now(connection)?)
        && !connection.query_row(unseen, [rows], |row| row.get::<_, bool>(0))?)
}

/// Whether many rows came since the last note.
fn many_came(connection: &Connection) -> Result<bool> {
    let sql = "SELECT coalesce((SELECT max(id) FROM entries), 0) - rows_seen > ? FROM ledger";
    Ok(connection.query_row(sql, [NOTED_EVERY], |row| row.get(0))?)
}

/// All rows that are there were found under a schema.
const NOTE: &str = "UPDATE ledger SET schema_seen = ?, rows_seen = coalesce((SELECT max(id) FROM entries), 0)";

/// Whether there is a row that nothing noted, or one that is still to be marked as unread.
fn any_unseen(connection: &Connection) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM entries e WHERE NOT EXISTS (SELECT 1 FROM state WHERE entry_id = e.id))
                 OR EXISTS (SELECT 1 FROM ledger WHERE reread IS NOT NULL)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// What is kept for a row that is gone.
const GONE: &str = "entry_id NOT IN (SELECT id FROM entries)";

/// Whether a row is gone that the triggers would have kept.
fn any_gone(connection: &Connection) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM state WHERE {GONE})");
    Ok(connection.query_row(&sql, [], |row| row.get(0))?)
}

/// Drops the states of rows that are gone, which count no more; their evidence stays. Gives how many there were that were not
/// settled or under watch.
fn drop_gone(connection: &Connection) -> Result<i64> {
    let gone = format!("SELECT count(*) FROM state WHERE (due_ms IS NOT NULL OR unread = 1) AND {GONE}");
    let gone = connection.query_row(&gone, [], |row| row.get(0))?;
    connection.execute_batch(&format!("DELETE FROM state WHERE {GONE}"))?;
    Ok(gone)
}

/// Notes that all rows were found under this schema. Whoever cannot write that finds them anew next time.
fn note(connection: &Connection, now: &str) -> Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let _unwritten = connection.execute(NOTE, [now]);
    connection.busy_timeout(BUSY)?;
    Ok(())
}

/// So many entries are marked as unread before the time of a transaction is asked for.
const MARKED_AT_ONCE: i64 = 500;

/// Rows that nothing noted, and how many are gone.
#[derive(Default)]
struct Rows {
    came: usize,
    gone: i64,
}

impl Rows {
    fn warn(&self, named: &[String]) {
        let lost = if named.is_empty() { "its triggers for a while".to_owned() } else { named.join(", ") };
        if !named.is_empty() || self.came > 0 {
            tracing::warn!(
                event = "entries-healed",
                "the table `entries` had lost {lost}, as when a migration rebuilds it: put back; {} rows had come unnoticed, and all are read anew (give the table back as schema.sql makes it, in the same migration)",
                self.came
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

/// Notes what the triggers would have noted. `away`: they were missing just now.
fn find_rows(connection: &Connection, away: bool) -> Result<Rows> {
    // As if its writer had changed it: whatever came after it does not know it yet.
    let came = connection.execute(
        "INSERT INTO state (entry_id, revision, status, arrived_ms)
         SELECT id, 1, CASE WHEN failure IS NOT 'answered' THEN 'pending' END,
                CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
         FROM entries e WHERE NOT EXISTS (SELECT 1 FROM state WHERE entry_id = e.id)",
        [],
    )?;
    let gone = drop_gone(connection)?;
    if !away && came == 0 {
        return Ok(Rows { gone, ..Rows::default() });
    }
    connection.execute_batch(
        "UPDATE ledger SET reread = (SELECT max(entry_id) FROM state);
         UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max(entry_id), 0) FROM state), (SELECT rows_seen FROM ledger))
         WHERE name = 'entries';",
    )?;
    Ok(Rows { came, gone })
}

/// Marks the next entries as unread that are to be, the last ones first. False: there are no more.
fn mark(connection: &Connection) -> Result<bool> {
    let last: Option<i64> = connection.query_row("SELECT reread FROM ledger", [], |row| row.get(0))?;
    let Some(last) = last else { return Ok(false) };
    connection
        .prepare_cached(
            "UPDATE state SET unread = 1
             WHERE entry_id > ?1 - ?2 AND entry_id <= ?1 AND unread = 0 AND erased_id IS NULL",
        )?
        .execute([last, MARKED_AT_ONCE])?;
    // As the trigger would have: an answer has no status, and all else has one.
    connection
        .prepare_cached(
            "UPDATE state SET
               revision = revision + 1, outcome = NULL, reason = NULL, action = NULL, not_before_ms = NULL, due_ms = NULL,
               holds = 0, correction = 0, said_id = NULL, decided_ms = NULL,
               status = CASE WHEN status IS NULL THEN 'pending' END
             WHERE entry_id > ?1 - ?2 AND entry_id <= ?1 AND erased_id IS NULL
               AND (status IS NULL) <> ((SELECT failure FROM entries WHERE id = entry_id) IS 'answered')",
        )?
        .execute([last, MARKED_AT_ONCE])?;
    connection
        .prepare_cached("UPDATE ledger SET reread = (SELECT max(entry_id) FROM state WHERE entry_id <= ?1 - ?2)")?
        .execute([last, MARKED_AT_ONCE])?;
    Ok(true)
}

impl SqliteStore {
    /// Compares `entries` with what this version wants, puts back what is missing, and finds the rows that came meanwhile.
    /// Costs next to nothing when no schema was changed since.
    ///
    /// # Errors
    /// [`Refused`] for what only the partner can put back; when the ledger cannot be read or written.
    pub(super) fn heal(&mut self) -> Result<()> {
        if is_seen(&self.connection)? {
            return match many_came(&self.connection)? {
                true => note(&self.connection, &now(&self.connection)?),
                false => Ok(()),
            };
        }
        let wanted = Wanted::new()?;
        let now = now(&self.connection)?;
        if faults(&self.connection, &self.path, &wanted)?.none()
            && !any_unseen(&self.connection)?
            && !any_gone(&self.connection)?
        {
            return note(&self.connection, &now);
        }
        let healed = self.put_back(&wanted).and_then(|()| self.mark_all());
        if healed.is_err() {
            self.rollback();
        }
        healed
    }

    /// Puts back what is missing, in one transaction with the rows that are found.
    fn put_back(&mut self, wanted: &Wanted) -> Result<()> {
        self.begin()?;
        let (connection, path) = (&self.connection, &self.path);
        // Whoever opens it at the same time may have been first.
        let found = faults(connection, path, wanted)?;
        let named = found.named();
        if found.table.is_some() {
            table::rebuild(connection, path, &wanted.table, |name| {
                wanted.objects.iter().any(|(_, its, _)| its == name)
            })?;
        }
        for (kind, name, sql) in faults(connection, path, wanted)?.objects {
            // It may stand on a table that was `entries` before.
            connection.execute_batch(&format!("DROP {kind} IF EXISTS \"{name}\"; {sql};"))?;
        }
        let rows = find_rows(connection, !named.is_empty())?;
        connection.execute(NOTE, [now(connection)?])?;
        self.commit()?;
        rows.warn(&named);
        Ok(())
    }

    /// Marks all entries as unread that are to be.
    fn mark_all(&mut self) -> Result<()> {
        loop {
            self.begin()?;
            let mut more = mark(&self.connection)?;
            while more && !self.is_over() {
                more = mark(&self.connection)?;
            }
            self.commit()?;
            if !more {
                return Ok(());
            }
        }
    }

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
    pub(super) fn second_keys_of_entries(&self) -> Result<Vec<String>> {
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
