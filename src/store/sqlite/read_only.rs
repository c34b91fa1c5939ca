//! A ledger on a file system that is mounted read-only: a snapshot, a backup's volume, a container that may only look.
//!
//! SQLite wants to make its `-shm` file, and cannot there. Where no log waits beside the file, nobody is writing it and all
//! is in the file itself, so that SQLite may be told that it does not change. With a log and its `-shm`, SQLite reads both
//! by itself.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::unchanged::beside_is_empty;
use super::{SqliteStore, explain};
use crate::exit::Refused;

/// Opens a ledger that SQLite could not open as usual. `None`: its file system is not mounted read-only, so something else
/// is wrong.
pub(super) fn open(path: &Path) -> Option<Result<SqliteStore>> {
    let mounted = statvfs(path).ok()?;
    if !mounted.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return None;
    }
    if !beside_is_empty(path) {
        let remedy = "copy the ledger with its -wal to a folder that may be written, and read it there";
        return Some(Err(anyhow::Error::new(Refused(format!(
            "the ledger {} is mounted read-only, and its log holds what the file itself does not ({remedy})",
            path.display()
        )))));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let opened = Connection::open_with_flags(unchanging(path), flags).map_err(|error| explain::unopened(path, error));
    Some(opened.and_then(|connection| SqliteStore::of_connection(path, connection)))
}

/// The file as a URI that says that it does not change.
fn unchanging(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            other => _ = write!(uri, "%{other:02X}"),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_part_of_the_query() {
        assert_eq!(unchanging(Path::new("/a b/c?mode=rw#%.db")), "file:/a%20b/c%3Fmode%3Drw%23%25.db?immutable=1");
    }
}
