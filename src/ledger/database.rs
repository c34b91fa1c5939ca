//! Opening a ledger that lives in PostgreSQL.

#[cfg(feature = "postgres")]
mod with {
    use anyhow::Result;

    use crate::clock::{self, Span};
    use crate::config::Database;
    use crate::exit::Refused;
    use crate::store::postgres::{self, Options, PostgresStore};

    use crate::store::Store;
    pub use crate::store::postgres::schema_named;

    pub type Opened = PostgresStore;

    /// How long nobody else can take the ledger of a run that was killed or cut off. A run extends it, and naps for less
    /// than three quarters of it ([`Ledger::hold_on`](super::super::Ledger::hold_on)).
    const LEASE: Span = Span::seconds(120);

    pub fn open(database: &Database) -> Result<PostgresStore> {
        PostgresStore::connect(&database.address, &options(database)?)
    }

    pub fn open_to_record(database: &Database) -> Result<PostgresStore> {
        let mut store = open(database)?;
        store.check_writable()?;
        Ok(store)
    }

    pub fn open_held(database: &Database) -> Result<PostgresStore> {
        let mut store = open(database)?;
        // At the least: a record is not to seem younger than the row that tells of its request.
        clock::store_is_ahead(store.clock_ahead()?.0);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        store.hold(&format!("process {} on {}", std::process::id(), host.trim()), LEASE)?;
        Ok(store)
    }

    /// Makes one, unless there is one already: it may be a database administrator who made it.
    pub fn create(database: &Database) -> Result<bool> {
        match PostgresStore::create(&database.address, &options(database)?) {
            Ok(_) => Ok(true),
            Err(error) => open(database).map(|_| false).map_err(|_| error),
        }
    }

    fn options(database: &Database) -> Result<postgres::Options> {
        let password = database.password.as_ref().map(|password| password.read());
        let password = password.transpose().map_err(|error| Refused(format!("{error:#}")))?;
        Ok(Options { password, schema: database.schema.clone(), ca_file: database.ca_file.clone() })
    }
}

#[cfg(not(feature = "postgres"))]
mod without {
    use anyhow::{Result, bail};

    use crate::config::Database;
    use crate::exit::Refused;
    use crate::store::memory::MemoryStore;

    pub type Opened = MemoryStore;

    pub fn open(_: &Database) -> Result<MemoryStore> {
        let remedy = "use a build with the feature `postgres`, which packages have";
        bail!(Refused(format!("this privo-reconcile knows no ledger in PostgreSQL ({remedy})")))
    }

    pub fn open_to_record(database: &Database) -> Result<MemoryStore> {
        open(database)
    }

    pub fn open_held(database: &Database) -> Result<MemoryStore> {
        open(database)
    }

    pub fn create(database: &Database) -> Result<bool> {
        open(database).map(|_| false)
    }

    pub fn schema_named(_: &str) -> String {
        String::new()
    }
}

#[cfg(feature = "postgres")]
pub use with::*;
#[cfg(not(feature = "postgres"))]
pub use without::*;
