//! What keeps a ledger in PostgreSQL in order. Most of it is PostgreSQL's own business, and its administrators'.

use std::path::Path;

use anyhow::{Result, bail};

use super::PostgresStore;
use crate::exit::Refused;

impl PostgresStore {
    /// Whether this user may do the job's work now: on a standby, or without rights, nothing can be begun.
    pub(super) fn may_be_written(&mut self) -> Result<()> {
        if let Some(missing) = self.rights()? {
            bail!(Refused(format!("{}: {} ({})", self.place, missing.what, missing.remedy)));
        }
        self.begin_transaction()?;
        self.roll_back();
        Ok(())
    }

    /// A copy of one schema alone is `pg_dump`'s to make; one with all that belongs to it is the server's.
    pub(super) fn not_backed_up(&self, to: &Path) -> Result<()> {
        let schema = &self.schema;
        let dump = format!("pg_dump --schema={schema} --format=custom --file={}", to.display());
        bail!(Refused(format!(
            "{} is backed up with its database (back up the server as you do, or run `{dump}` and the database's name)",
            self.place
        )))
    }
}
