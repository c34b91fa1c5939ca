//! Migrations: what was added to `schema.sql` since version 1. The list is only ever added to.
//!
//! A new ledger gets `schema.sql` and every migration; an older one gets what it lacks when it is opened. All that is
//! missing is done in one transaction that asks for the version within, so two that open at once do it once.

use anyhow::{Context, Result};
use rusqlite::{Connection, TransactionBehavior};

/// From version 1 to 2, from 2 to 3, …: each `include_str!` of a file of its own.
const MIGRATIONS: &[&str] = &[include_str!("migration-2.sql")];

/// The version of the schema that this binary reads and writes.
pub const VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// The version that a file says it is of.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a ledger to [`VERSION`]; a newer one is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    bring_up(connection, MIGRATIONS)
}

fn bring_up(connection: &mut Connection, migrations: &[&str]) -> Result<()> {
    let lacking = |from: i64| (2..).zip(migrations).filter(move |(number, _)| *number > from);
    if lacking(version(connection)?).next().is_none() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (number, sql) in lacking(version(&transaction)?) {
        transaction.execute_batch(sql).with_context(|| format!("failed to bring the ledger to version {number}"))?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE_UP: &[&str] = &["CREATE TABLE two (a);", "ALTER TABLE two ADD COLUMN b;"];

    fn first_version(connection: &Connection) {
        connection.execute_batch(include_str!("../../schema.sql")).unwrap();
    }

    fn made(connection: &Connection) -> String {
        let sql = "SELECT group_concat(name || coalesce(sql, ''), char(10)) FROM sqlite_schema";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_ledger_of_the_first_version_is_migrated_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        first_version(&connection);
        assert_eq!(version(&connection).unwrap(), 1);
        bring_up(&mut connection, MADE_UP).unwrap();
        assert_eq!(version(&connection).unwrap(), 3);
        let once = made(&connection);
        bring_up(&mut connection, MADE_UP).unwrap();
        assert_eq!((version(&connection).unwrap(), made(&connection)), (3, once));
    }

    #[test]
    fn a_newer_ledger_is_left_as_it_is() {
        let mut connection = Connection::open_in_memory().unwrap();
        first_version(&connection);
        connection.pragma_update(None, "user_version", 9).unwrap();
        let before = made(&connection);
        bring_up(&mut connection, MADE_UP).unwrap();
        assert_eq!((version(&connection).unwrap(), made(&connection)), (9, before));
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before() {
        let mut connection = Connection::open_in_memory().unwrap();
        first_version(&connection);
        let before = made(&connection);
        assert!(bring_up(&mut connection, &["CREATE TABLE two (a);", "CREATE TABLE two (b);"]).is_err());
        assert_eq!((version(&connection).unwrap(), made(&connection)), (1, before));
    }

    #[test]
    fn those_that_open_at_once_migrate_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        first_version(&Connection::open(&path).unwrap());
        let open = |path: std::path::PathBuf| {
            let mut connection = Connection::open(path).unwrap();
            connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
            bring_up(&mut connection, MADE_UP).unwrap();
        };
        let openers: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn({
                    let path = path.clone();
                    move || open(path)
                })
            })
            .collect();
        openers.into_iter().for_each(|opener| opener.join().unwrap());
        assert_eq!(version(&Connection::open(&path).unwrap()).unwrap(), 3);
    }
}
