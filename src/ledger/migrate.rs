//! Migrations: what was added to `schema.sql` since version 1. The list is only ever added to.
//!
//! A new ledger gets `schema.sql` and every migration; an older one gets what it lacks when it is opened. All that is
//! missing is done in one transaction that asks for the version within, so two that open at once do it once.
//!
//! `schema.sql` run over a later ledger changes nothing in it but the version, which then says 1 (a shell goes on after
//! errors). What stands in the file tells its true version, and the number is put right.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rusqlite::{Connection, TransactionBehavior};

/// From version 1 to 2, from 2 to 3, …: each `include_str!` of a file of its own.
const MIGRATIONS: &[&str] = &[include_str!("migration-2.sql"), include_str!("migration-3.sql")];

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
    let mut from = version(&transaction)?;
    if lacking(from).next().is_some() {
        from = from.max(made_up_to(&transaction, migrations)?);
        transaction.pragma_update(None, "user_version", from)?;
    }
    for (number, sql) in lacking(from) {
        transaction.execute_batch(sql).with_context(|| format!("failed to bring the ledger to version {number}"))?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    Ok(transaction.commit()?)
}

/// The version that a file is of by what stands in it: the last one whose new tables, indexes and triggers are all there.
/// A model of each version says which those are.
fn made_up_to(connection: &Connection, migrations: &[&str]) -> Result<i64> {
    let there = names(connection)?;
    let model = Connection::open_in_memory()?;
    model.execute_batch(super::SCHEMA)?;
    let (mut before, mut found) = (names(&model)?, 1);
    for (number, sql) in (2..).zip(migrations) {
        model.execute_batch(sql)?;
        let after = names(&model)?;
        if after.is_subset(&before) || !after.difference(&before).all(|name| there.contains(name)) {
            break;
        }
        (before, found) = (after, number);
    }
    Ok(found)
}

/// The names of all tables, indexes and triggers but SQLite's own.
fn names(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
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
    fn a_version_that_says_less_than_the_file_is_put_right() {
        for (says, made) in [(1, 2), (1, 3), (2, 3)] {
            let mut connection = Connection::open_in_memory().unwrap();
            first_version(&connection);
            bring_up(&mut connection, &MIGRATIONS[..made - 1]).unwrap();
            connection.pragma_update(None, "user_version", says).unwrap();
            migrate(&mut connection).unwrap();
            assert_eq!(version(&connection).unwrap(), VERSION, "{says} {made}");
            let mut fresh = Connection::open_in_memory().unwrap();
            first_version(&fresh);
            migrate(&mut fresh).unwrap();
            assert_eq!(self::made(&connection), self::made(&fresh), "{says} {made}");
        }
    }

    #[test]
    fn every_migration_makes_something_that_it_is_known_by() {
        let mut connection = Connection::open_in_memory().unwrap();
        first_version(&connection);
        migrate(&mut connection).unwrap();
        assert_eq!(made_up_to(&connection, MIGRATIONS).unwrap(), VERSION);
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
