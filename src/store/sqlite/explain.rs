//! Errors of SQLite in the user's words: which file, what became of the work, what to do.

use std::fmt;
use std::path::Path;

use anyhow::Error;
use rusqlite::ErrorCode;

use crate::exit;

/// Stands in a chain of errors that names file and remedy already.
#[derive(Debug)]
pub(super) struct Explained(pub String);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error of whatever was done with the ledger at `path`: when it is the file that failed, and nothing said so yet, with
/// file and remedy before it.
pub fn explained(path: &Path, error: Error) -> Error {
    if error.downcast_ref::<Explained>().is_some() || exit::of_error(&error) != exit::FAILED {
        return error;
    }
    let code = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code());
    match code {
        Some(code) if is_the_files(code) => {
            error.context(Explained(said(path, code, "all that was written before is safe")))
        }
        Some(ErrorCode::ConstraintViolation) => {
            let remedy = "a trigger or a constraint of your own on its tables raised that: let it pass what the job writes, or drop it, and do it again";
            let said = "refused what was to be written, and all that was written before is safe";
            error.context(Explained(format!("the ledger {} {said} ({remedy})", path.display())))
        }
        _ if error.chain().any(cannot_be_read_back) => {
            let remedy = "`check` says whether it is damaged; then restore it from a backup";
            error.context(Explained(format!("the ledger {} holds what cannot be read back ({remedy})", path.display())))
        }
        _ => error,
    }
}

/// What the job wrote is not what it reads: a column, a text, a JSON document.
fn cannot_be_read_back(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<rusqlite::Error>() || cause.is::<rusqlite::types::FromSqlError>() || cause.is::<serde_json::Error>()
}

/// An error of recording, with its remedy.
pub fn unrecorded(path: &Path, error: rusqlite::Error) -> Error {
    let said = match error.sqlite_error_code() {
        Some(code) if is_the_files(code) => said(path, code, "nothing of this was recorded"),
        Some(ErrorCode::Unknown) => {
            format!("failed to write the ledger {} (`check` says whether it is damaged)", path.display())
        }
        _ => format!("failed to write the ledger {}", path.display()),
    };
    Error::new(error).context(Explained(said))
}

/// An error of opening, with its remedy.
pub(super) fn unopened(path: &Path, error: rusqlite::Error) -> Error {
    explained(path, Error::new(error))
}

/// What to do about a file that this user may not write.
pub(super) fn unwritable(path: &Path) -> String {
    format!(
        "the ledger {} cannot be written (this user must be allowed to write the file, its -wal and -shm, and the folder: say, a common group and the folder's mode 2770; and the disk must have room)",
        path.display()
    )
}

/// It is the file that fails, not what was asked of it.
fn is_the_files(code: ErrorCode) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, FileLockingProtocolFailed, NotADatabase, PermissionDenied,
        ReadOnly, SystemIoFailure,
    };
    matches!(
        code,
        CannotOpen
            | DatabaseBusy
            | DatabaseCorrupt
            | DiskFull
            | FileLockingProtocolFailed
            | NotADatabase
            | PermissionDenied
            | ReadOnly
            | SystemIoFailure
    )
}

/// The file is not what was written.
pub fn damaged(path: &Path) -> String {
    format!("the ledger {} is damaged (restore it from a backup; `check` says more)", path.display())
}

fn said(path: &Path, code: ErrorCode, became: &str) -> String {
    let place = path.display();
    match code {
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => unwritable(path),
        ErrorCode::DiskFull => format!("the disk of the ledger {place} is full, {became} (free some space)"),
        ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed => {
            format!("another writer has held the ledger {place} for too long, {became} (keep transactions short)")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => damaged(path),
        _ => format!("failed to write or read the ledger {place}, {became} (is the disk full, or a limit reached?)"),
    }
}
