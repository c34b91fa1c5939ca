//! Moving a ledger out of a file into PostgreSQL: the same ledger, with its name, its rows, its evidence and its verdicts.
//!
//! Both sides are held as for a run. All of it is one transaction of the database. Writers of the file go on while it is
//! copied; then they wait for as long as it takes to catch up with them and to commit, and are refused: nobody could record
//! in between. Only who kills the command between both commits leaves both sides open. To move again then finds that the
//! ledger is there, catches up with what was recorded into the file meanwhile, and closes it.

use crate::store::whole::Altered;

/// What a move did.
#[derive(Debug, Default)]
pub struct Moved {
    /// The ledger's name.
    pub ledger: String,
    /// Where it is now, for people.
    pub place: String,
    pub entries: u64,
    pub evidence: u64,
    /// It was there already.
    pub again: bool,
    /// What was recorded into the file, changed or deleted there, after the others were read: the database has it, too.
    pub later: u64,
    /// Entries that were changed or deleted in the file after that, and are in the database as they were.
    pub kept: Vec<i64>,
    /// Entries with a cell that could not be moved as it is.
    pub altered: Vec<Altered>,
    /// What of the partner's own stays in the file: columns and tables.
    pub left: Vec<String>,
}

#[cfg(feature = "postgres")]
mod with {
    use std::path::Path;

    use anyhow::{Context, Result, bail};
    use serde_json::Value;

    use super::Moved;
    use crate::config::Database;
    use crate::exit::Refused;
    use crate::ledger::database;
    use crate::store::postgres::PostgresStore;
    use crate::store::sqlite::SqliteStore;
    use crate::store::whole::LastIds;
    use crate::store::{Store, Written};

    /// Entries whose revisions are compared at once.
    const COMPARED_AT_ONCE: usize = 10_000;

    /// Moves the ledger of a file into the empty one of a database. `progress` hears of each table how many rows of it went.
    ///
    /// # Errors
    /// [`Refused`] when the file is no ledger, or the database holds another one; [`Held`](crate::exit::Held) when a run has one
    /// of both; when one of both fails.
    pub fn move_file(from: &Path, to: &Database, progress: &mut dyn FnMut(&str, u64)) -> Result<Moved> {
        let mut file = SqliteStore::open_to_move(from)?;
        let mut there = database::open_held(to)?;
        let again = file.identity() == there.identity();
        let was_closed = file.was_moved()?;
        let mut moved = Moved {
            ledger: file.identity().name.clone(),
            place: there.place(),
            again,
            left: file.partners_own()?,
            ..Moved::default()
        };
        if was_closed && !again {
            let remedy = "the database that it was moved into has it";
            bail!(Refused(format!("the ledger {} was moved to another PostgreSQL before ({remedy})", from.display())));
        }
        if was_closed {
            return Ok(moved);
        }
        tracing::warn!(event = "moves", "{} refuses whoever records into it once it has moved", from.display());
        there.begin()?;
        let last = match again {
            true => there.moved_up_to()?,
            false => copy(&file, &mut there, &mut moved, progress)?,
        };
        // From here on the file's writers wait.
        file.begin()?;
        catch_up(&file, &mut there, last, &mut moved)?;
        there.commit()?;
        let closed = file.refuse_writers().and_then(|()| file.commit());
        closed.context("the ledger was moved, but the file could not be closed to its writers (do it again)")?;
        Ok(moved)
    }

    /// Copies all that stands in the file at one instant; gives the last entry that there was.
    fn copy(
        file: &SqliteStore,
        there: &mut PostgresStore,
        moved: &mut Moved,
        progress: &mut dyn FnMut(&str, u64),
    ) -> Result<i64> {
        let mut last = LastIds::default();
        file.as_of_one_instant(&mut || {
            last = file.last_ids()?;
            there.become_ledger(file.identity(), last)?;
            moved.altered = file.each_whole_entry(&mut |rows| {
                there.insert_whole("entries", &rows)?;
                moved.entries += rows.len() as u64;
                progress("entries", moved.entries);
                Ok(())
            })?;
            let mut now = ("", 0);
            file.each_whole_row(&mut |table, rows| {
                there.insert_whole(table, &rows)?;
                let before = if now.0 == table { now.1 } else { 0 };
                now = (table, before + rows.len() as u64);
                if table == "evidence" {
                    moved.evidence = now.1;
                }
                progress(table, now.1);
                Ok(())
            })
        })?;
        Ok(last.entry)
    }

    /// Does in the database what writers did in the file since it was read.
    fn catch_up(file: &SqliteStore, there: &mut PostgresStore, last: i64, moved: &mut Moved) -> Result<()> {
        let (mut later, mut kept) = (0, Vec::new());
        let mut note = |entry: Option<i64>, became: Written| match became {
            Written::Done => later += 1,
            Written::Unchanged => {}
            Written::Refused => kept.extend(entry),
        };
        for entry in file.gone(&there.intents_up_to(last)?)? {
            note(Some(entry), there.withdraw_later(entry)?);
        }
        let mut changed = Vec::new();
        for page in file.revisions(last)?.chunks(COMPARED_AT_ONCE) {
            changed.extend(there.changed_since(page)?);
        }
        let altered = file.each_entry_of(&changed, &mut |rows| {
            rows.iter().try_for_each(|row| {
                note(row.get("id").and_then(Value::as_i64), there.change_later(row)?);
                Ok(())
            })
        })?;
        moved.altered.extend(altered);
        let altered = file.each_later_entry(last, &mut |rows| {
            rows.iter().try_for_each(|row| {
                note(None, there.record_later(row)?);
                Ok(())
            })
        })?;
        moved.altered.extend(altered);
        (moved.later, moved.kept) = (later, kept);
        Ok(())
    }
}

#[cfg(not(feature = "postgres"))]
mod without {
    use std::path::Path;

    use anyhow::Result;

    use super::Moved;
    use crate::config::Database;
    use crate::ledger::database;

    /// No ledger can be moved by a build that knows no PostgreSQL.
    ///
    /// # Errors
    /// Always.
    pub fn move_file(_: &Path, to: &Database, _: &mut dyn FnMut(&str, u64)) -> Result<Moved> {
        database::open(to).map(|_| Moved::default())
    }
}

#[cfg(feature = "postgres")]
pub use with::move_file;
#[cfg(not(feature = "postgres"))]
pub use without::move_file;
