//! Whose ledger it is: one belongs to one server, by scheme, host and port, from its first completed look on.
//!
//! What was seen at one server says nothing of another. Under the configuration of another one, the next run would look there
//! for what was sent here, and settle it by that.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rusqlite::Connection;
use url::Url;

use super::{Ledger, RunId};
use crate::exit::Refused;

impl Ledger {
    /// Refuses a ledger that belongs to another server than this one, or than one of the addresses that it had before.
    ///
    /// # Errors
    /// [`Refused`], naming both; when the ledger cannot be read.
    pub fn refuse_other_server(&self, server: &Url, also: &[Url]) -> Result<()> {
        let whose = self.connection.query_row("SELECT server FROM ledger", [], |row| row.get::<_, Option<String>>(0));
        match whose.context("failed to read whose ledger it is")? {
            Some(whose) if !std::iter::once(server).chain(also).any(|one| origin(one) == whose) => {
                bail!(Refused(refusal(&self.path, &whose, &origin(server))))
            }
            _ => Ok(()),
        }
    }
}

fn refusal(path: &Path, whose: &str, other: &str) -> String {
    format!(
        "the ledger {} belongs to the server {whose}, and the configuration names {other} (give each server a ledger.path of its own; if it is the same server under a new name, add also = [\"{whose}\"] to [server])",
        path.display()
    )
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// From the first completed look on the ledger is that server's which the run asked.
pub(super) fn bind(connection: &Connection, run: RunId) -> Result<()> {
    let sql = "UPDATE ledger SET server = (SELECT server FROM runs WHERE id = ?) WHERE server IS NULL";
    connection.prepare_cached(sql)?.execute([run.0])?;
    Ok(())
}
