//! Migrations: what was added to `schema.sql` since version 1. The list is only ever added to.
//!
//! A new ledger gets `schema.sql` and every migration; an older one gets what it lacks when it is opened. All that is
//! missing is done in one transaction that asks for the version within, so two that open at once do it once.

use anyhow::{Context, Result};
use rusqlite::{Connection, TransactionBehavior};

/// From version 1 to 2, from 2 to 3, …
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/2.sql")];

/// The version of the schema that this binary reads and writes.
pub const VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// The version that a file says it is of.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a ledger to [`VERSION`]; a newer one is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    if version(connection)? >= VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&transaction)?;
    for (number, sql) in (2..).zip(MIGRATIONS).filter(|(number, _)| *number > from) {
        transaction.execute_batch(sql).with_context(|| format!("failed to bring the ledger to version {number}"))?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_version() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../schema.sql")).unwrap();
        connection
    }

    fn made(connection: &Connection) -> String {
        let sql = "SELECT group_concat(name || coalesce(sql, ''), char(10)) FROM sqlite_schema";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_ledger_of_the_first_version_is_migrated_once() {
        let mut connection = first_version();
        assert_eq!(version(&connection).unwrap(), 1);
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);
        let once = made(&connection);
        migrate(&mut connection).unwrap();
        assert_eq!((version(&connection).unwrap(), made(&connection)), (VERSION, once));
    }

    #[test]
    fn a_newer_ledger_is_left_as_it_is() {
        let mut connection = first_version();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let before = made(&connection);
        migrate(&mut connection).unwrap();
        assert_eq!((version(&connection).unwrap(), made(&connection)), (VERSION + 1, before));
    }

    #[test]
    fn two_that_open_at_once_migrate_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        Connection::open(&path).unwrap().execute_batch(include_str!("../../schema.sql")).unwrap();
        let openers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || super::super::Ledger::open(&path).map(|_| ()))
            })
            .collect();
        for opener in openers {
            opener.join().unwrap().unwrap();
        }
        assert_eq!(version(&Connection::open(&path).unwrap()).unwrap(), VERSION);
    }
}
