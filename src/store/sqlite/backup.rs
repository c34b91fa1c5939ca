//! Backups: a consistent copy while writers go on, whole or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OpenFlags};

use super::explain::Explained;
use super::{SqliteStore, version};
use crate::exit::Refused;
use crate::leftovers;
use crate::outputs;

impl SqliteStore {
    /// Copies the ledger, as it stands at one instant, into a new file that only this user may read. Free pages are left
    /// out, so nothing that was removed is in it. The copy is checked before it bears its name.
    ///
    /// # Errors
    /// [`Refused`] when something is there already; when the copy cannot be made, or is not whole.
    pub fn backup(&self, to: &Path) -> Result<()> {
        let taken = || Refused(format!("{} is there already (name a new file, or move that one away)", to.display()));
        if to.symlink_metadata().is_ok() {
            bail!(taken());
        }
        let folder = outputs::folder_of(to);
        let place = || {
            let remedy = "does the folder exist, is there room, and does `check` find the ledger whole?";
            Explained(format!("failed to write the backup {} ({remedy})", to.display()))
        };
        // A folder of its own, closed to others: SQLite keeps its journals beside the copy while it is made.
        let workshop = leftovers::begin(folder).tempdir_in(folder).with_context(place)?;
        let copy = workshop.path().join("ledger.db");
        make_file(&copy).with_context(place)?;
        let target = copy.to_str().with_context(|| format!("{} is not UTF-8 (name it otherwise)", to.display()))?;
        self.connection.execute("VACUUM INTO ?", [target]).with_context(place)?;
        check(&copy, &self.identity.name).with_context(|| {
            let remedy = "`check` says whether the ledger itself is damaged";
            Explained(format!("the backup {} is not whole, and was thrown away ({remedy})", to.display()))
        })?;
        std::fs::File::open(&copy).and_then(|file| file.sync_all()).with_context(place)?;
        // A link, unlike a renaming, never takes another file's place.
        match std::fs::hard_link(&copy, to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => bail!(taken()),
            Err(_) => std::fs::rename(&copy, to).with_context(place)?,
        }
        workshop.close().with_context(place)?;
        #[cfg(unix)]
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
        Ok(())
    }
}

fn make_file(path: &PathBuf) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The copy is a ledger, this one, whole, and in WAL mode: writers find it as they found the first.
fn check(copy: &Path, identity: &str) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    let found: String = connection.query_row("SELECT identity FROM ledger", [], |row| row.get(0))?;
    let version = version::version(&connection)?;
    if said != "ok" || found != identity || version != version::VERSION {
        bail!("it says {said}, ledger {found}, version {version}");
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}
