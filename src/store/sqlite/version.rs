//! Which schema a file is of. `schema.sql` is the whole of version 1, the first that is released; what a development
//! version made is refused by name, for nobody has a ledger of it and nothing here could read one rightly.
//!
//! A partner may add tables, columns and indexes of his own; they are no fault. The writers' table `entries` is not judged here:
//! a migration tool that rebuilds it drops its triggers, and [`schema`](super::schema) puts them back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};
use rusqlite::Connection;

use super::{SCHEMA, not_a_ledger};
use crate::exit::Refused;

/// The version of the schema that this binary reads and writes.
pub const VERSION: i64 = 1;

/// The writers' table.
const WRITERS: &str = "entries";

/// The version that a file says it is of.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses a file that is not of this version.
pub(super) fn refuse_others(connection: &Connection, path: &Path) -> Result<()> {
    match version(connection).map_err(|error| super::unread(path, error))? {
        VERSION => {}
        0 => bail!(not_a_ledger(path, "it has no schema version")),
        other => bail!(Refused(format!(
            "the ledger {} is of version {other}, and this binary knows version {VERSION} alone: it was made by a development version, or by a newer privo-reconcile (run `privo-reconcile init` on a new path, or install the newer one)",
            path.display()
        ))),
    }
    if is_as_written(connection).map_err(|error| super::unread(path, error))? {
        return Ok(());
    }
    let (found, wanted) = (Made::read(connection).map_err(|error| super::unread(path, error))?, wanted()?);
    if !found.columns.contains_key(WRITERS) && found.columns.contains_key("state") {
        bail!(Refused(format!(
            "the ledger {} has no table `entries` (a tool of yours may have left it under another name: give it its name back, or restore the file from a backup)",
            path.display()
        )));
    }
    if !found.columns.contains_key(WRITERS) {
        bail!(not_a_ledger(path, "it has no table `entries`"));
    }
    match found.differs(&wanted) {
        None => Ok(()),
        Some(difference) => bail!(Refused(format!(
            "the ledger {} was made by a development version, or changed by other hands: {difference} (run `privo-reconcile init` on a new path)",
            path.display()
        ))),
    }
}

/// Whether the file has every statement of `schema.sql` as it stands there: SQLite keeps their text. To make a model of the
/// schema would take each command some milliseconds.
fn is_as_written(connection: &Connection) -> rusqlite::Result<bool> {
    let wanted = SCHEMA.lines().filter(|line| line.starts_with("CREATE ")).count();
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found = texts.filter(|text| text.as_ref().map_or(true, |text| SCHEMA.contains(text.as_str())));
    Ok(found.collect::<rusqlite::Result<Vec<_>>>()?.len() == wanted)
}

/// What `schema.sql` makes.
fn wanted() -> Result<Made> {
    let model = Connection::open_in_memory()?;
    model.execute_batch(SCHEMA)?;
    Ok(Made::read(&model)?)
}

/// What stands in a file.
struct Made {
    /// The columns of each table.
    columns: BTreeMap<String, BTreeSet<String>>,
    /// Table and text of each trigger.
    triggers: BTreeMap<String, (String, String)>,
}

impl Made {
    fn read(connection: &Connection) -> rusqlite::Result<Made> {
        let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            columns.entry(row.get(0)?).or_default().insert(row.get(1)?);
        }
        let mut statement =
            connection.prepare("SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'")?;
        let triggers = statement.query_map([], |row| {
            let text: String = row.get(2)?;
            Ok((row.get(0)?, (row.get(1)?, text.split_whitespace().collect::<Vec<_>>().join(" "))))
        })?;
        Ok(Made { columns, triggers: triggers.collect::<rusqlite::Result<_>>()? })
    }

    /// The first thing in which this is not what was wanted.
    fn differs(&self, wanted: &Made) -> Option<String> {
        for (table, columns) in wanted.columns.iter().filter(|(table, _)| *table != WRITERS) {
            let Some(found) = self.columns.get(table) else { return Some(format!("it has no table `{table}`")) };
            if let Some(column) = columns.difference(found).next() {
                return Some(format!("its table `{table}` has no column `{column}`"));
            }
        }
        let mut triggers = wanted.triggers.iter().filter(|(_, (table, _))| table != WRITERS);
        triggers.find_map(|(name, trigger)| match self.triggers.get(name) {
            Some(found) if found != trigger => Some(format!("its trigger `{name}` says something else")),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differs_after(change: &str) -> Option<String> {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(SCHEMA).unwrap();
        file.execute_batch(change).unwrap();
        Made::read(&file).unwrap().differs(&wanted().unwrap())
    }

    #[test]
    fn what_is_missing_or_says_something_else_is_named() {
        for (change, difference) in [
            ("DROP TABLE texts", "no table `texts`"),
            ("ALTER TABLE state DROP COLUMN vanished_ms", "`state` has no column `vanished_ms`"),
            (
                "DROP TRIGGER evidence_kept; CREATE TRIGGER evidence_kept BEFORE UPDATE ON evidence BEGIN SELECT 1; END",
                "trigger `evidence_kept` says something else",
            ),
        ] {
            let said = differs_after(change).unwrap_or_default();
            assert!(said.contains(difference), "{change}: {said}");
        }
    }

    #[test]
    fn what_schema_sql_made_is_known_by_its_text() {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(SCHEMA).unwrap();
        assert!(is_as_written(&file).unwrap());
        file.execute_batch("CREATE TABLE orders (id)").unwrap();
        assert!(is_as_written(&file).unwrap());
        file.execute_batch("DROP TRIGGER evidence_kept").unwrap();
        assert!(!is_as_written(&file).unwrap());
    }

    #[test]
    fn what_a_partner_adds_is_no_fault_and_what_his_tools_drop_is_not_judged_here() {
        for change in [
            "",
            "CREATE TABLE orders (id)",
            "ALTER TABLE entries ADD COLUMN tenant TEXT",
            "CREATE INDEX entries_by_url ON entries (url)",
            "CREATE TRIGGER theirs AFTER INSERT ON entries BEGIN SELECT 1; END",
            "DROP TRIGGER entry_kept",
            "DROP TRIGGER evidence_kept",
        ] {
            assert_eq!(differs_after(change), None, "{change}");
        }
    }
}
