//! The lock of a run: one at a time for each ledger, freed by the kernel however the run ends.
//!
//! It is an flock on the ledger's file itself, so nothing can stand in its place, be removed or belong to another user. SQLite
//! locks the same file by POSIX record locks, which an flock does not touch. But POSIX drops *all* record locks of a process
//! on a file as soon as the process closes *any* descriptor of it; another process would then take itself for the last one,
//! and remove a log that holds committed rows. So a descriptor that was opened for the lock is never closed as long as the
//! file is there: the lock is freed by unlocking, and the next lock of this process takes the same descriptor.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};

use super::explain;
use crate::exit::Held;

/// The descriptors of this process.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

struct Kept {
    identity: Identity,
    file: File,
    /// An flock is the descriptor's: asked again through the same one, the kernel would give it to a second run too.
    held: bool,
}

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// Held while a run goes on.
#[derive(Debug)]
pub(super) struct RunLock {
    identity: Identity,
}

impl RunLock {
    /// Takes the lock of the ledger at `path`, which is there.
    ///
    /// # Errors
    /// [`Held`] when another run has it; when the file cannot be opened or locked.
    pub fn take(path: &Path) -> Result<RunLock> {
        let place = || explain::unwritable(path);
        let identity = identity_of(path).with_context(place)?;
        let mut all = kept();
        // Nobody opens a file without a name any more, and its locks matter to nobody.
        all.retain(|one| one.held || one.file.metadata().is_ok_and(|file| file.nlink() > 0));
        let at = match all.iter().position(|one| one.identity == identity) {
            Some(at) => at,
            None => {
                // Not blocking: a FIFO that was put there meanwhile must not hang the run.
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
                let file = File::from(file.with_context(place)?);
                let about = file.metadata().with_context(place)?;
                all.push(Kept { identity: (about.dev(), about.ino()), file, held: false });
                all.len() - 1
            }
        };
        let one = &mut all[at];
        match one.file.try_lock() {
            Ok(()) if !one.held => {}
            Ok(()) | Err(std::fs::TryLockError::WouldBlock) => {
                let remedy = "wait for it; the lock is freed when it ends, however it ends";
                bail!(Held(format!("another run holds the ledger {} ({remedy})", path.display())))
            }
            Err(std::fs::TryLockError::Error(error)) => {
                let remedy = "the file system must know locks; move the ledger to a local one";
                return Err(error).with_context(|| format!("failed to lock the ledger {} ({remedy})", path.display()));
            }
        }
        one.held = true;
        Ok(RunLock { identity: one.identity })
    }

    /// Whether the ledger at `path` is the file that is locked.
    pub fn is_of(&self, path: &Path) -> bool {
        identity_of(path).is_ok_and(|identity| identity == self.identity)
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        for one in kept().iter_mut().filter(|one| one.identity == self.identity) {
            // What cannot be unlocked is freed when the process ends.
            one.held = one.file.unlock().is_err();
        }
    }
}

fn kept() -> MutexGuard<'static, Vec<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asked by stat, which opens nothing.
pub(super) fn identity_of(path: &Path) -> std::io::Result<Identity> {
    path.metadata().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::super::SqliteStore;
    use super::*;
    use crate::exit;

    /// The record locks that this process has on a file, as the kernel tells them.
    fn record_locks(path: &Path) -> usize {
        let inode = format!(":{} ", path.metadata().unwrap().ino());
        let process = format!(" {} ", std::process::id());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks
            .lines()
            .filter(|line| line.contains(" POSIX ") && line.contains(&inode) && line.contains(&process))
            .count()
    }

    #[test]
    fn one_run_at_a_time_also_within_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        SqliteStore::create(&path).unwrap();
        for _ in 0..3 {
            let first = SqliteStore::open_locked(&path).unwrap();
            let error = SqliteStore::open_locked(&path).err().unwrap();
            assert_eq!(exit::of_error(&error), exit::HELD, "{error:#}");
            // A try that failed frees nothing.
            assert!(SqliteStore::open_locked_unchanged(&path).is_err());
            assert!(SqliteStore::open(&path).is_ok(), "who takes no lock needs none");
            drop(first);
        }
        let elsewhere = folder.path().join("other.db");
        SqliteStore::create(&elsewhere).unwrap();
        let _both = (SqliteStore::open_locked(&path).unwrap(), SqliteStore::open_locked(&elsewhere).unwrap());
    }

    #[test]
    fn a_lock_that_is_freed_leaves_sqlites_locks_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        SqliteStore::create(&path).unwrap();
        // Whatever came first: the connection that stays, or the one with the lock.
        for stays_first in [true, false] {
            let before = stays_first.then(|| SqliteStore::open(&path).unwrap());
            let run = SqliteStore::open_locked(&path).unwrap();
            let stays = before.unwrap_or_else(|| SqliteStore::open(&path).unwrap());
            drop(run);
            assert!(record_locks(&path) > 0, "{stays_first}");
            drop(stays);
            assert_eq!(record_locks(&path), 0, "{stays_first}");
        }
    }

    #[test]
    fn a_ledger_that_was_replaced_is_locked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        SqliteStore::create(&path).unwrap();
        let old = SqliteStore::open_locked(&path).unwrap();
        std::fs::rename(&path, folder.path().join("moved.db")).unwrap();
        for beside in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(crate::outputs::with_suffix(&path, beside));
        }
        SqliteStore::create(&path).unwrap();
        assert!(SqliteStore::open_locked(&path).is_ok());
        drop(old);
    }
}
