//! What about a database would make a promise untrue, each with its remedy.

use anyhow::Result;

use super::super::Finding;
use super::{PostgresStore, SCHEMA, VERSION, cell};
use crate::clock::{Moment, Span};

/// Clocks that are further apart are worth a word.
const CLOCKS_APART: Span = Span::seconds(1);

fn grave(what: &str, remedy: &'static str) -> Finding {
    Finding { what: what.to_owned(), remedy, is_grave: true }
}

fn advice(what: &str, remedy: &'static str) -> Finding {
    Finding { is_grave: false, ..grave(what, remedy) }
}

impl PostgresStore {
    /// Looks for all that would make a promise untrue.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub fn check(&self) -> Result<Vec<Finding>> {
        let mut findings = self.server()?;
        findings.extend(self.standbys()?);
        findings.extend(self.schema_as_it_is()?);
        match self.rights()? {
            // Without them, more cannot be asked.
            Some(missing) => findings.push(missing),
            None => findings.extend(self.clock()?.into_iter().chain(self.rows_without_state()?)),
        }
        Ok(findings)
    }

    fn server(&self) -> Result<Vec<Finding>> {
        let line = self.row_of(
            "SELECT pg_is_in_recovery(), current_setting('fsync'), current_setting('full_page_writes'),
               current_setting('synchronous_commit'), current_setting('server_encoding'),
               current_setting('server_version_num')::bigint, current_setting('transaction_read_only'),
               current_setting('session_replication_role'), inet_server_addr() IS NULL",
            vec![],
        )?;
        let text = |column| cell::<String>(&line, column);
        let mut findings = Vec::new();
        if cell(&line, 0)? {
            findings.push(grave("the server is a standby, which nothing can be written to", "connect to the primary"));
        } else if text(6)? == "on" {
            findings.push(grave(
                "transactions are read-only",
                "set default_transaction_read_only = off for the job's user",
            ));
        }
        if text(1)? == "off" {
            findings.push(grave("fsync is off: a crash of the host can lose or tear the ledger", "set fsync = on"));
        }
        if text(2)? == "off" {
            findings.push(grave(
                "full_page_writes is off: a crash of the host can tear pages",
                "set full_page_writes = on",
            ));
        }
        if ["off", "local"].contains(&text(3)?.as_str()) {
            let what = format!("synchronous_commit is {}; the ledger's own transactions raise it to on", text(3)?);
            findings.push(advice(&what, "nothing is to be done, or set synchronous_commit = on"));
        }
        if text(4)? != "UTF8" {
            let what = format!("the database's encoding is {}, which cannot hold every row", text(4)?);
            findings.push(grave(&what, "make the ledger in a database with ENCODING 'UTF8'"));
        }
        if cell::<i64>(&line, 5)? < 130_000 {
            findings.push(grave("the server is older than PostgreSQL 13", "upgrade the server"));
        }
        if text(7)? != "origin" {
            findings
                .push(grave("session_replication_role keeps the ledger's triggers from firing", "set it to origin"));
        }
        // By the server, which sees the connection that a pooler made; a socket leaves no host.
        if !self.is_encrypted && !cell::<bool>(&line, 8)? {
            let remedy = "if this is a tunnel or a pooler, see that what is behind it is encrypted";
            findings.push(advice("the connection to the loopback is not encrypted", remedy));
        }
        Ok(findings)
    }

    /// A standby that may take over without the last commits.
    fn standbys(&self) -> Result<Vec<Finding>> {
        let line = self.row_of(
            "SELECT count(*) FILTER (WHERE state IS NULL), count(*) FILTER (WHERE sync_state = 'async'),
               count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')),
               current_setting('synchronous_standby_names') = '' FROM pg_stat_replication",
            vec![],
        )?;
        let counted = |column| cell::<i64>(&line, column);
        let remedy = "set synchronous_standby_names, or know that a failover can lose the last commits";
        let mut findings = Vec::new();
        if counted(1)? > 0 && counted(2)? == 0 {
            findings
                .push(advice("a standby follows asynchronously: a failover can lose rows that were committed", remedy));
        }
        if counted(0)? > 0 && cell(&line, 3)? {
            let what = "whether a standby follows synchronously is hidden from this user";
            findings.push(advice(what, "GRANT pg_monitor to the job's user"));
        }
        Ok(findings)
    }

    /// How far the database's clock is ahead of this host's, at the least and at the most: between them lies the way there
    /// and back.
    pub fn clock_ahead(&self) -> Result<(Span, Span)> {
        let before = Moment::now();
        let line = self.row_of("SELECT privo_reconcile.now_ms()", vec![])?;
        let (there, after) = (Moment(cell(&line, 0)?), Moment::now());
        Ok((there.since(after), there.since(before)))
    }

    fn clock(&self) -> Result<Option<Finding>> {
        let (least, most) = self.clock_ahead()?;
        let apart = least.0.max(-most.0);
        Ok((apart > CLOCKS_APART.0).then(|| {
            let what = format!("the database's clock is {} off this host's", Span(apart));
            advice(
                &what,
                "set both by NTP; `settle.writer_error` must cover how far writers' clocks are from the database's",
            )
        }))
    }

    pub(super) fn rights(&self) -> Result<Option<Finding>> {
        let line = self.row_of(
            "SELECT count(*) FROM (VALUES
               ('entries', 'SELECT'), ('entries', 'INSERT'), ('entries', 'UPDATE'), ('entries', 'DELETE'),
               ('state', 'SELECT'), ('state', 'UPDATE'), ('keys', 'INSERT'), ('keys', 'DELETE'), ('merges', 'INSERT'),
               ('evidence', 'SELECT'), ('evidence', 'INSERT'), ('texts', 'INSERT'), ('runs', 'INSERT'), ('runs', 'UPDATE'),
               ('notes', 'INSERT'), ('words', 'UPDATE'), ('lease', 'UPDATE'), ('imports', 'UPDATE'),
               ('import_records', 'INSERT')) AS needed (name, privilege)
             WHERE NOT has_table_privilege('privo_reconcile.' || name, privilege)",
            vec![],
        )?;
        let remedy = "GRANT privo_reconcile_job to the job's user";
        let is_missing = cell::<i64>(&line, 0)? > 0;
        Ok(is_missing.then(|| grave("this user may not do all of the job's work in the schema", remedy)))
    }

    /// Triggers that are missing or disabled, functions that search elsewhere, a schema of another version.
    fn schema_as_it_is(&self) -> Result<Vec<Finding>> {
        let line = self.row_of(
            "SELECT (SELECT version FROM privo_reconcile.ledger)::bigint,
               (SELECT count(*) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
                 JOIN pg_namespace AS n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'privo_reconcile' AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')),
               (SELECT count(*) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                 WHERE n.nspname = 'privo_reconcile'
                   AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false)),
               (SELECT count(*) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                 WHERE n.nspname = 'privo_reconcile' AND p.prorettype = 'trigger'::regtype AND NOT p.prosecdef)",
            vec![],
        )?;
        let counted = |column| cell::<i64>(&line, column);
        let made = |what: &str| SCHEMA.lines().filter(|line| line.starts_with(what)).count();
        let mut findings = Vec::new();
        if counted(0)? != i64::from(VERSION) {
            findings.push(grave("the schema is of another version", "use the privo-reconcile that made it"));
        }
        if usize::try_from(counted(1)?)? < made("CREATE TRIGGER") {
            let what = "triggers of the ledger are missing or disabled, so rows may have come without what they bring";
            findings.push(grave(
                what,
                "ALTER TABLE … ENABLE TRIGGER ALL, or make the ledger anew from schema.postgres.sql",
            ));
        }
        if counted(2)? + counted(3)? > 0 {
            let what = "functions of the ledger search for their tables where others may put some, or run by the writer's rights";
            findings.push(grave(what, "restore them from schema.postgres.sql"));
        }
        Ok(findings)
    }

    /// Rows that came while the triggers did not fire: a restore, a replication. No run would ever see them.
    fn rows_without_state(&self) -> Result<Option<Finding>> {
        let line = self.row_of(
            "SELECT EXISTS (SELECT 1 FROM privo_reconcile.entries AS e
               WHERE NOT EXISTS (SELECT 1 FROM privo_reconcile.state AS s WHERE s.entry_id = e.id))",
            vec![],
        )?;
        Ok(cell::<bool>(&line, 0)?
            .then(|| grave("rows came past the ledger's triggers, and no run reads them", BRING_STATE)))
    }
}

/// What gives such rows their state.
pub(super) const BRING_STATE: &str = "INSERT INTO privo_reconcile.state (entry_id, status)
SELECT id, CASE WHEN failure IS DISTINCT FROM 'answered' THEN 'pending' END FROM privo_reconcile.entries
ON CONFLICT DO NOTHING";
