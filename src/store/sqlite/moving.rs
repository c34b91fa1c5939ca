//! A file whose ledger moves into PostgreSQL: all that stands in it is read in one transaction, and triggers that stay behind
//! refuse who would go on recording there. What they refuse its writer hears at once; what went into the file would be lost.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::SqliteStore;
use super::columns::as_text;
use super::entries::in_order;
use crate::exit::Refused;
use crate::plan::hex;
use crate::store::Finding;
use crate::store::whole::{Altered, LastIds, WholeRow};

/// The writers' columns.
const ENTRY: &str =
    "e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at, e.ended_at, e.failure,
    e.http_status, e.error";

/// Every other table, as PostgreSQL has it: arrays in its form, and a text where the file may have none.
const TABLES: [(&str, &str); 10] = [
    (
        "words",
        "SELECT 'server' AS name, server AS value FROM ledger WHERE server IS NOT NULL
         UNION ALL SELECT 'fingerprint', fingerprint FROM ledger WHERE fingerprint IS NOT NULL
         UNION ALL SELECT 'sealed', sealed FROM ledger WHERE sealed IS NOT NULL",
    ),
    ("state", "SELECT * FROM state ORDER BY entry_id"),
    ("keys", "SELECT * FROM keys ORDER BY key"),
    ("merges", "SELECT * FROM merges ORDER BY group_id"),
    ("texts", "SELECT * FROM texts ORDER BY id"),
    ("runs", "SELECT *, coalesce(controls, '') AS controls FROM runs ORDER BY id"),
    (
        "evidence",
        "SELECT id, run_id, at_ms, rules, '{' || trim(coalesce(after, ''), '[]') || '}' AS after_ids, doc, names
         FROM evidence ORDER BY id",
    ),
    ("notes", "SELECT * FROM notes ORDER BY id"),
    ("imports", "SELECT * FROM imports ORDER BY id"),
    ("import_records", "SELECT * FROM import_records"),
];

/// A page of rows is full with so many, or with so many bytes of cells.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// A longer id is cut: PostgreSQL cannot index it.
const LONGEST_ID: usize = 2000;

/// Refuse whoever records after the ledger was moved.
const REFUSING: &str = "
CREATE TRIGGER moved_no_insert BEFORE INSERT ON entries BEGIN
  SELECT RAISE(ABORT, 'this ledger was moved to PostgreSQL (record there: nobody reads this file any more)');
END;
CREATE TRIGGER moved_no_update BEFORE UPDATE ON entries BEGIN
  SELECT RAISE(ABORT, 'this ledger was moved to PostgreSQL (record there: nobody reads this file any more)');
END;
CREATE TRIGGER moved_no_delete BEFORE DELETE ON entries BEGIN
  SELECT RAISE(ABORT, 'this ledger was moved to PostgreSQL (record there: nobody reads this file any more)');
END;";

impl SqliteStore {
    /// As [`SqliteStore::open_locked`], also where the ledger was moved away.
    ///
    /// # Errors
    /// As [`SqliteStore::open_locked`].
    pub fn open_to_move(path: &Path) -> Result<SqliteStore> {
        if !path.try_exists().unwrap_or(true) {
            bail!(Refused(format!(
                "there is no file {} (name the file of the ledger that is to move)",
                path.display()
            )));
        }
        let ledger = SqliteStore::locked(path, SqliteStore::open_healed)?;
        if ledger.connection.is_readonly("main")? {
            bail!(super::explain::unwritable(path));
        }
        Ok(ledger)
    }

    /// Refuses a ledger that was moved away.
    pub(super) fn refuse_moved(&self) -> Result<()> {
        if self.was_moved()? {
            let remedy = "point [ledger] of the configuration to that PostgreSQL";
            bail!(Refused(format!("the ledger {} was moved to PostgreSQL ({remedy})", self.path.display())));
        }
        Ok(())
    }

    /// That it was moved away, where it was.
    pub(super) fn moved_away(&self) -> Result<Vec<Finding>> {
        let moved = Finding {
            what: "the ledger was moved to PostgreSQL; what is left in this file is as it was then".to_owned(),
            remedy: "point [ledger] of the configuration to that PostgreSQL",
            is_grave: true,
        };
        Ok(if self.was_moved()? { vec![moved] } else { Vec::new() })
    }

    /// Whether the ledger was moved away.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn was_moved(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = 'moved_no_insert')";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Has the file refuse every writer from now on, within the open transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn refuse_writers(&self) -> Result<()> {
        Ok(self.connection.execute_batch(REFUSING)?)
    }

    /// Where its ids end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last_ids(&self) -> Result<LastIds> {
        let last = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(LastIds {
            entry: last("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries'")?
                .max(last("SELECT coalesce(max(id), 0) FROM entries")?),
            text: last("SELECT coalesce(max(id), 0) FROM texts")?,
            run: last("SELECT coalesce(max(id), 0) FROM runs")?,
            note: last("SELECT coalesce(max(id), 0) FROM notes")?,
            import: last("SELECT coalesce(max(id), 0) FROM imports")?,
        })
    }

    /// Gives the writers' rows to `each`, page by page, in order. Every cell is text; gives the entries of which one had to be
    /// altered for that.
    ///
    /// # Errors
    /// When the file cannot be read; what `each` fails with.
    pub fn each_whole_entry(&self, each: &mut dyn FnMut(Vec<WholeRow>) -> Result<()>) -> Result<Vec<Altered>> {
        self.entries_by(&format!("SELECT {ENTRY} FROM entries e ORDER BY e.id"), each)
    }

    /// Likewise those that came after an entry, with `clock_error_ms` of their states.
    ///
    /// # Errors
    /// As [`SqliteStore::each_whole_entry`].
    pub fn each_later_entry(
        &self,
        after: i64,
        each: &mut dyn FnMut(Vec<WholeRow>) -> Result<()>,
    ) -> Result<Vec<Altered>> {
        let sql = format!(
            "SELECT {ENTRY}, s.clock_error_ms FROM entries e JOIN state s ON s.entry_id = e.id
             WHERE e.id > {after} ORDER BY e.id"
        );
        self.entries_by(&sql, each)
    }

    /// Likewise these.
    ///
    /// # Errors
    /// As [`SqliteStore::each_whole_entry`].
    pub fn each_entry_of(
        &self,
        entries: &[i64],
        each: &mut dyn FnMut(Vec<WholeRow>) -> Result<()>,
    ) -> Result<Vec<Altered>> {
        let ids = in_order(entries)?;
        self.entries_by(
            &format!("SELECT {ENTRY} FROM json_each('{ids}') w CROSS JOIN entries e ON e.id = w.value"),
            each,
        )
    }

    /// The entries up to one that their writers changed at any time, with their revisions.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn revisions(&self, up_to: i64) -> Result<Vec<(i64, i64)>> {
        let sql = "SELECT entry_id, revision FROM state WHERE revision > 0 AND entry_id <= ? ORDER BY entry_id";
        let mut statement = self.connection.prepare(sql)?;
        let found = statement.query_map([up_to], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Which of these entries are not there any more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn gone(&self, entries: &[i64]) -> Result<Vec<i64>> {
        let sql = "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM entries)";
        let mut statement = self.connection.prepare(sql)?;
        let gone = statement.query_map([in_order(entries)?], |row| row.get(0))?;
        Ok(gone.collect::<rusqlite::Result<_>>()?)
    }

    fn entries_by(&self, sql: &str, each: &mut dyn FnMut(Vec<WholeRow>) -> Result<()>) -> Result<Vec<Altered>> {
        let (mut altered, mut given) = (Vec::new(), HashSet::new());
        self.pages_by(sql, each, &mut |names, row| {
            let entry: i64 = row.get(0)?;
            let mut columns = Vec::new();
            let mut whole = WholeRow::new();
            for (at, name) in names.iter().enumerate() {
                let value = row.get_ref(at)?;
                let mut text = standing(value, name.ends_with("_id"));
                // As text it may be the id of another row.
                if name == "request_id"
                    && !is_plain(value, &text)
                    && (is_taken(&self.connection, entry, &text)? || !given.insert(text.clone()))
                {
                    text = Value::String(format!("{} (entry {entry})", text.as_str().unwrap_or_default()));
                }
                if !is_same(value, &text) {
                    columns.push(name.clone());
                }
                whole.insert(name.clone(), text);
            }
            if !columns.is_empty() {
                altered.push(Altered { entry, columns });
            }
            Ok(whole)
        })?;
        Ok(altered)
    }

    /// Gives the rows of every other table to `each`, page by page.
    ///
    /// # Errors
    /// When the file cannot be read; what `each` fails with.
    pub fn each_whole_row(&self, each: &mut dyn FnMut(&'static str, Vec<WholeRow>) -> Result<()>) -> Result<()> {
        for (table, sql) in TABLES {
            self.pages_by(sql, &mut |rows| each(table, rows), &mut |names, row| {
                let cells = names.iter().enumerate();
                cells.map(|(at, name)| Ok((name.clone(), stored(row.get_ref(at)?)))).collect()
            })?;
        }
        Ok(())
    }

    fn pages_by(
        &self,
        sql: &str,
        each: &mut dyn FnMut(Vec<WholeRow>) -> Result<()>,
        read: &mut dyn FnMut(&[String], &Row) -> Result<WholeRow>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare(sql)?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = statement.query([])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let row = read(&names, row)?;
            bytes += row.values().filter_map(Value::as_str).map(str::len).sum::<usize>();
            page.push(row);
            if page.len() >= PAGE || bytes >= PAGE_BYTES {
                each(std::mem::take(&mut page))?;
                bytes = 0;
            }
        }
        if page.is_empty() { Ok(()) } else { each(page) }
    }

    /// What of the partner's own stands in the file and does not move: columns of `entries`, and tables, by their names.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn partners_own(&self) -> Result<Vec<String>> {
        let ours = TABLES.map(|(table, _)| format!("'{table}'")).join(", ");
        let columns = ENTRY.split(',').map(|name| format!("'{}'", name.trim().trim_start_matches("e.")));
        let sql = format!(
            "SELECT 'entries.' || name FROM pragma_table_info('entries') WHERE name NOT IN ({})
             UNION ALL SELECT name FROM sqlite_schema
             WHERE type = 'table' AND name NOT IN ('entries', 'ledger', {ours}) AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
            columns.collect::<Vec<_>>().join(", ")
        );
        let mut statement = self.connection.prepare(&sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }
}

/// A cell of the job's own.
fn stored(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Blob(bytes) => format!("\\x{}", hex(bytes)).into(),
        ValueRef::Real(_) | ValueRef::Text(_) => held(value).into(),
    }
}

/// As text that every store can hold: without U+0000.
fn held(value: ValueRef) -> String {
    as_text(value).replace('\0', "\u{fffd}")
}

/// A writer's cell as such text, and an id not too long for an index.
fn standing(value: ValueRef, is_id: bool) -> Value {
    if let ValueRef::Null = value {
        return Value::Null;
    }
    if let ValueRef::Integer(number) = value {
        return number.into();
    }
    let text = held(value);
    if !is_id || text.len() <= LONGEST_ID {
        return text.into();
    }
    let digest = hex(&Sha256::digest(&text)[..16]);
    format!("{}… ({digest})", text.chars().take(LONGEST_ID / 8).collect::<String>()).into()
}

/// Whether the text is what stood there.
fn is_same(value: ValueRef, text: &Value) -> bool {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => text.as_str().is_some_and(|text| text.as_bytes() == bytes),
        _ => true,
    }
}

/// Whether it was that text, and as text: then no other row has it.
fn is_plain(value: ValueRef, text: &Value) -> bool {
    matches!(value, ValueRef::Text(_)) && is_same(value, text)
}

/// Whether another row has that text as its id.
fn is_taken(connection: &Connection, entry: i64, text: &Value) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM entries WHERE request_id = ? AND id <> ?)";
    connection.prepare_cached(sql)?.query_row((text.as_str(), entry), |row| row.get(0))
}
