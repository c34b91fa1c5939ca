//! The ledger in PostgreSQL: the same words and promises as in a file, for writers and jobs on several hosts.
//!
//! `schema.postgres.sql` makes it; its triggers hold the promises, whoever writes. [`PostgresStore`] is the job's side.
//! - One run at a time: a lease with an epoch ([`PostgresStore::hold`]). Every transaction begins with the lease's row, so that
//!   the job's own transactions follow each other, and one whose lease was taken over writes nothing more.
//! - What is written within a transaction is put on the wire without waiting, but where there is something to be known of it;
//!   [`Store::commit`](super::Store::commit) hears of everything. So a transaction costs few round trips, however much is in it.
//! - PostgreSQL's text cannot hold U+0000: it becomes U+FFFD.

mod address;
mod check;
mod columns;
mod hold;
mod imports;
mod moving;
mod operations;
mod rows;
mod sums;
#[cfg(test)]
mod tests;
mod tls;
mod upkeep;
mod wire;
mod writers;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

pub use address::Options;

use self::address::Address;
use self::hold::Hold;
use self::wire::{Answer, Broken, Param, Reply, Wire};
use super::{Evidence, Identity, NewEvidence};
use crate::clock::{Span, Tick, tick};
use crate::exit::{Held, Refused};

/// What makes a ledger: the text of `schema.postgres.sql`.
pub const SCHEMA: &str = include_str!("../../../schema.postgres.sql");

/// The version of [`SCHEMA`].
const VERSION: i32 = 1;

/// The schema that statements name; another one takes its place.
const NAMED: &str = "privo_reconcile";

/// A transaction lasts no longer: a writer that changes a row which the job is deciding about waits for it.
const LONGEST_TRANSACTION: Duration = Duration::from_millis(200);

/// Evidence that is sent at once.
const EVIDENCE_AT_ONCE: usize = 500;

/// A ledger in PostgreSQL.
pub struct PostgresStore {
    wire: Wire,
    place: String,
    schema: String,
    identity: Identity,
    is_encrypted: bool,
    hold: Option<Hold>,
    open: RefCell<Option<Open>>,
    /// How long the last transaction lasted.
    lasted: Duration,
    /// How many readings of many pages are under way: they see one moment.
    snapshots: Cell<u32>,
}

/// One step that PostgreSQL refused and that was taken back alone: nothing of the transaction is lost with it.
#[derive(Debug)]
struct OneRefused(String);

impl std::fmt::Display for OneRefused {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for OneRefused {}

/// A transaction that is open.
struct Open {
    began: Tick,
    /// By the clock since boot, before the lease was extended in it.
    asked: Span,
    /// What was not waited for.
    replies: Vec<Reply>,
    /// The last evidence's id.
    last_evidence: i64,
    /// Evidence that is not sent yet.
    appended: Vec<Evidence>,
    /// Something in it failed; nothing of it can be committed.
    has_failed: bool,
}

/// [`SCHEMA`] for a schema of another name.
pub fn schema_named(schema: &str) -> String {
    in_schema(SCHEMA, schema).into_owned()
}

/// A statement for the schema that the ledger lives in. The roles keep their names.
fn in_schema(sql: &'static str, schema: &str) -> Cow<'static, str> {
    if schema == NAMED {
        return Cow::Borrowed(sql);
    }
    let role = format!("{schema}_");
    Cow::Owned(sql.replace(NAMED, schema).replace(&role, "privo_reconcile_"))
}

impl PostgresStore {
    /// Opens the ledger that is there.
    ///
    /// # Errors
    /// [`Refused`] when the address, the user or the schema is not right; when the server cannot be reached.
    pub fn connect(dsn: &str, options: &Options) -> Result<PostgresStore> {
        let mut store = PostgresStore::reach(dsn, options)?;
        let sql = "SELECT version, name, salt FROM privo_reconcile.ledger";
        let found = store.rows_of(sql, vec![]).with_context(|| format!("there is no ledger in {}", store.place))?;
        let row = found.first().context("the table `ledger` is empty (run `init` for a schema of another name)")?;
        let version: i32 = cell(row, 0)?;
        if version != VERSION {
            let remedy = "use the privo-reconcile that made it";
            bail!(Refused(format!("{} is a ledger of version {version}, not {VERSION} ({remedy})", store.place)));
        }
        store.identity = Identity { name: cell(row, 1)?, salt: cell(row, 2)? };
        Ok(store)
    }

    /// Makes a ledger, which is not there yet, with its roles, and opens it.
    ///
    /// # Errors
    /// As [`PostgresStore::connect`]; [`Refused`] when there is one, or when the user may not make one.
    pub fn create(dsn: &str, options: &Options) -> Result<PostgresStore> {
        let store = PostgresStore::reach(dsn, options)?;
        if let Err(broken) = store.wire.batch(schema_named(&store.schema)).wait() {
            let place = &store.place;
            let message = broken.message.clone();
            bail!(match broken.code.as_ref().map(|code| code.code()) {
                Some("42P06") =>
                    Refused(format!("{place} is there already (correct [ledger] schema, or use what is there)")),
                Some("42501") => {
                    let remedy = "let who may create schema and roles run what `init --print` prints";
                    Refused(format!("failed to make {place}: {message} ({remedy})"))
                }
                _ => return Err(broken.error().context(format!("failed to make {place}"))),
            });
        }
        drop(store);
        PostgresStore::connect(dsn, options)
    }

    fn reach(dsn: &str, options: &Options) -> Result<PostgresStore> {
        let Address { config, tls, place, schema } = Address::parse(dsn, options)?;
        let is_encrypted = tls.is_some();
        Ok(PostgresStore {
            wire: Wire::open(config, tls, &place)?,
            place,
            schema,
            identity: Identity { name: String::new(), salt: Vec::new() },
            is_encrypted,
            hold: None,
            open: RefCell::new(None),
            lasted: Duration::ZERO,
            snapshots: Cell::new(0),
        })
    }

    /// Sends a query and waits for its rows.
    fn rows_of(&self, sql: &'static str, params: Vec<Param>) -> Result<Vec<Row>> {
        self.rows_from(in_schema(sql, &self.schema), params)
    }

    fn rows_from(&self, sql: Cow<'static, str>, params: Vec<Param>) -> Result<Vec<Row>> {
        self.send_evidence();
        let reply = self.wire.query(sql, params);
        self.hear(reply).map(|answer| answer.rows)
    }

    /// The one row that a query gives.
    fn row_of(&self, sql: &'static str, params: Vec<Param>) -> Result<Row> {
        self.rows_of(sql, params)?.into_iter().next().context("PostgreSQL gave no row where there is one")
    }

    /// Sends a statement and waits for how many rows it changed.
    fn count_of(&self, sql: &'static str, params: Vec<Param>) -> Result<u64> {
        self.send_evidence();
        let reply = self.wire.execute(in_schema(sql, &self.schema), params);
        self.hear(reply).map(|answer| answer.count)
    }

    /// Sends a statement of the open transaction, whose end hears of it.
    fn put(&self, sql: &'static str, params: Vec<Param>) {
        self.later(self.wire.execute(in_schema(sql, &self.schema), params));
    }

    fn later(&self, reply: Reply) {
        if let Some(open) = self.open.borrow_mut().as_mut() {
            open.replies.push(reply);
        }
    }

    /// Waits for a reply.
    fn hear(&self, reply: Reply) -> Result<Answer> {
        reply.wait().map_err(|broken| self.failed(broken))
    }

    /// Notes that something failed. What failed before it in the transaction says why.
    fn failed(&self, broken: Broken) -> anyhow::Error {
        let mut open = self.open.borrow_mut();
        let Some(open) = open.as_mut() else { return broken.error() };
        open.has_failed = true;
        let before = open.replies.drain(..).find_map(|reply| reply.wait().err());
        before.unwrap_or(broken).error()
    }

    /// Waits for all that was not waited for.
    fn hear_all(&self) -> Result<()> {
        let replies = self.open.borrow_mut().as_mut().map(|open| std::mem::take(&mut open.replies));
        for reply in replies.into_iter().flatten() {
            self.hear(reply)?;
        }
        Ok(())
    }

    /// Begins a transaction: with the lease's row, so that all of the job's follow each other.
    fn begin_transaction(&mut self) -> Result<()> {
        if self.open.borrow().is_some() {
            bail!("a transaction is open already");
        }
        let asked = crate::clock::since_boot();
        let answer = match self.wire.batch(self.opening()).wait() {
            Ok(answer) => answer,
            Err(broken) => {
                self.wire.batch("ROLLBACK".to_owned());
                return Err(broken.error());
            }
        };
        // The lease's epoch, if it is ours (or nobody's need), and the last evidence.
        let [held, last] = answer.words.as_slice() else {
            self.wire.batch("ROLLBACK".to_owned());
            return Err(self.was_taken_over());
        };
        let last = last.as_deref().and_then(|last| last.parse().ok());
        let last_evidence =
            last.context("PostgreSQL gave no id of evidence").inspect(|_| debug_assert!(held.is_some()))?;
        let open =
            Open { began: tick(), asked, replies: Vec::new(), last_evidence, appended: Vec::new(), has_failed: false };
        *self.open.borrow_mut() = Some(open);
        Ok(())
    }

    /// What a transaction begins with. A job that stands still within one does not keep others waiting for long.
    fn opening(&self) -> String {
        let lease = match &self.hold {
            Some(hold) => hold.extending(),
            None => "SELECT epoch FROM privo_reconcile.lease FOR UPDATE".to_owned(),
        };
        let sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SET LOCAL idle_in_transaction_session_timeout = '15s';
             SET LOCAL lock_timeout = '30s';
             SELECT 1 WHERE CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
               THEN set_config('synchronous_commit', 'on', true) IS NULL ELSE false END;
             {lease};
             SELECT coalesce(max(id), 0) FROM privo_reconcile.evidence"
        );
        sql.replace("privo_reconcile.", &format!("{}.", self.schema))
    }

    fn was_taken_over(&self) -> anyhow::Error {
        let what = format!(
            "another run has taken over the ledger in {}, for this one did not extend its lease in time",
            self.place
        );
        anyhow!(Held(format!("{what} (nothing is lost; it goes on with the work)")))
    }

    fn commit_transaction(&mut self) -> Result<()> {
        self.send_evidence();
        let heard = self.hear_all();
        let Some(open) = self.open.borrow_mut().take() else { bail!("no transaction is open") };
        if heard.is_err() || open.has_failed {
            self.wire.batch("ROLLBACK".to_owned());
            heard?;
            bail!("a part of the transaction failed, so nothing of it was stored (nothing is lost, run again)");
        }
        self.wire.batch("COMMIT".to_owned()).wait().map_err(Broken::error)?;
        self.lasted = tick() - open.began;
        if let Some(hold) = &mut self.hold {
            hold.was_extended(open.asked);
        }
        Ok(())
    }

    /// Does something within the open transaction, or in one of its own.
    fn within<T>(&mut self, work: impl FnOnce(&mut PostgresStore) -> Result<T>) -> Result<T> {
        if self.open.borrow().is_some() {
            return work(self);
        }
        self.begin_transaction()?;
        match work(self) {
            Ok(done) => self.commit_transaction().map(|()| done),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn roll_back(&mut self) {
        if self.open.borrow_mut().take().is_some() {
            self.wire.batch("ROLLBACK".to_owned());
        }
    }

    /// Whether the open transaction has lasted long enough.
    fn has_lasted(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| tick() - open.began >= LONGEST_TRANSACTION)
    }

    /// Appends evidence to what will be sent; gives its id. Nobody else appends meanwhile, for the lease's row is locked.
    fn append_evidence(&mut self, row: &NewEvidence) -> Result<i64> {
        let (id, is_full) = {
            let mut open = self.open.borrow_mut();
            let open = open.as_mut().context("no transaction is open")?;
            open.last_evidence += 1;
            open.appended.push(Evidence { id: open.last_evidence, row: row.clone() });
            (open.last_evidence, open.appended.len() >= EVIDENCE_AT_ONCE)
        };
        if is_full {
            self.send_evidence();
        }
        Ok(id)
    }

    /// Sends the evidence that was appended.
    fn send_evidence(&self) {
        let appended =
            self.open.borrow_mut().as_mut().map(|open| std::mem::take(&mut open.appended)).unwrap_or_default();
        if appended.is_empty() {
            return;
        }
        let rows = || appended.iter().map(|evidence| &evidence.row);
        // Arrays of several lengths are no array of PostgreSQL's.
        let after = |row: &NewEvidence| {
            let ids: Vec<String> = row.after.iter().map(i64::to_string).collect();
            format!("{{{}}}", ids.join(","))
        };
        let params = vec![
            of_numbers(appended.iter().map(|evidence| evidence.id).collect()),
            of_numbers(rows().map(|row| row.run.0).collect()),
            of_numbers(rows().map(|row| row.at.0).collect()),
            of_numbers(rows().map(|row| row.rules).collect()),
            of_texts(rows().map(after).collect()),
            of_texts(rows().map(|row| clean(&row.doc).into_owned()).collect()),
            of_texts(rows().map(|row| clean(&row.names).into_owned()).collect()),
        ];
        self.put(
            "INSERT INTO privo_reconcile.evidence (id, run_id, at_ms, rules, after_ids, doc, names)
             SELECT id, run_id, at_ms, rules, after_ids::bigint[], doc, names
             FROM unnest($1, $2, $3, $4, $5, $6, $7) AS new (id, run_id, at_ms, rules, after_ids, doc, names)",
            params,
        );
    }

    /// Reads in one moment, however many queries it takes.
    fn snapshot(&self) -> Result<Snapshot<'_>> {
        let is_outermost = self.open.borrow().is_none() && self.snapshots.get() == 0;
        if is_outermost {
            let begun = self.wire.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned());
            begun.wait().map_err(Broken::error)?;
        }
        self.snapshots.set(self.snapshots.get() + 1);
        Ok(Snapshot { store: self, is_outermost })
    }
}

/// A moment that is read.
struct Snapshot<'s> {
    store: &'s PostgresStore,
    is_outermost: bool,
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.store.snapshots.set(self.store.snapshots.get() - 1);
        if self.is_outermost {
            self.store.wire.batch("COMMIT".to_owned());
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.roll_back();
        self.give_back();
    }
}

/// Reads a cell.
fn cell<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|_| anyhow!("PostgreSQL gave something else in column {column} than it should"))
}

/// Text without what PostgreSQL cannot hold.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn param<T: ToSql + Sync + Send + 'static>(value: T, of: Type) -> Param {
    (Box::new(value), of)
}

fn number(value: i64) -> Param {
    param(value, Type::INT8)
}

/// A count; nothing that is counted here comes near the end of its numbers.
fn count(value: u64) -> Param {
    number(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(value: &str) -> Param {
    param(clean(value).into_owned(), Type::TEXT)
}

fn some_text(value: Option<&str>) -> Param {
    param(value.map(|value| clean(value).into_owned()), Type::TEXT)
}

fn bytes(value: &[u8]) -> Param {
    param(value.to_vec(), Type::BYTEA)
}

fn of_numbers(values: Vec<i64>) -> Param {
    param(values, Type::INT8_ARRAY)
}

fn of_texts(values: Vec<String>) -> Param {
    param(values, Type::TEXT_ARRAY)
}
